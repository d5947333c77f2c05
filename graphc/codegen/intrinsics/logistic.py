"""Logarithms of likelihoods as intrinsics: xlogy xlog1py logaddexp log1mexp logit, float32 and float64.

In: one or two floats.  Out: a float of their type; special values as SciPy has them.  Straight-line code.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

from llvmlite import ir

from graphc.codegen.intrinsics.exponential import EXP_RANGE, exp_of_any, reduce, tail, unless
from graphc.codegen.intrinsics.exponents import scale, split_any
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic
from graphc.codegen.intrinsics.logarithmic import (
    halvings,
    log_of_odds,
    log_one_plus,
    logarithm,
    multiple_plus_log,
    on_domain,
)
from graphc.codegen.intrinsics.pairs import LN2


def _times(lanes: Lanes, x: ir.Value, y: ir.Value, log: ir.Value) -> ir.Value:
    """x·log, and 0 where x is 0, unless y is NaN."""
    absent = lanes.builder.and_(lanes.compare("==", x, lanes.const(0.0)), lanes.compare("==", y, y))
    return lanes.select(absent, lanes.const(0.0), lanes.mul(x, log))


@float_intrinsic
def xlogy(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x·log y, rounded twice."""
    return _times(lanes, x, y, logarithm(lanes, y, None, LN2))


@float_intrinsic
def xlog1py(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x·log(1 + y), rounded twice."""
    log = lanes.copysign(log_one_plus(lanes, y), y)
    return _times(lanes, x, y, log)


@float_intrinsic
def logaddexp(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """max + log(1 + e^-|x - y|), where x = y the difference being 0 for infinities too.

    Next to its zeros the error counts in units of the larger operand, not of the result.
    """
    apart = lanes.select(lanes.compare("==", x, y), lanes.const(0.0), lanes.neg(lanes.abs(lanes.sub(x, y))))
    largest = lanes.select(lanes.compare(">", x, y), x, y)
    rest = _log_one_plus_share(lanes, exp_of_any(lanes, apart))
    both = lanes.compare("==", apart, apart)  # else an operand is NaN
    return lanes.select(both, lanes.add(largest, rest), apart)


def _log_one_plus_share(lanes: Lanes, p: ir.Value) -> ir.Value:
    """log(1 + p) for p from 0 to 1: 1 + f is 1 + p or half of it, and f exact."""
    one, half = lanes.const(1.0), lanes.const(0.5)
    far = lanes.compare(">", p, half)
    f = lanes.select(far, lanes.fma(p, half, lanes.neg(half)), p)
    return multiple_plus_log(lanes, lanes.select(far, one, lanes.const(0.0)), f)


@float_intrinsic
def log1mexp(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log u = k·ln2 + log(1 + f) for u = 1 - e^-x: f from u = -(e^-x - 1) below ln 2, above from e^-x itself."""
    one, zero, half = lanes.const(1.0), lanes.const(0.0), lanes.const(0.5)
    lowest = lanes.pick(*EXP_RANGE)[0]
    n, r, low = reduce(lanes, lanes.clamp(lanes.neg(x), lowest, 0.25))
    rest = lanes.add(tail(lanes, r), low)
    gone = lanes.compare(">", x, lanes.const(-lowest))
    p = scale(lanes, unless(lanes, gone, lanes.add(one, lanes.add(r, rest))), n)
    power = lanes.select(lanes.compare("==", n, zero), one, half)  # where x < ln 2 n is 0 or -1
    u = lanes.neg(lanes.fma(power, rest, lanes.fma(power, r, lanes.sub(power, one))))
    k, m = split_any(lanes, u)
    large = lanes.compare(">", p, lanes.const(0.25))
    minus_one, minus_p = lanes.const(-1.0), lanes.neg(p)
    near = lanes.compare("<", x, lanes.const(LN2[0]))
    k = lanes.select(near, k, lanes.select(large, minus_one, zero))
    f = lanes.select(near, lanes.sub(m, one), lanes.select(large, lanes.fma(minus_p, lanes.const(2.0), one), minus_p))
    log = on_domain(lanes, lanes.select(near, u, one), multiple_plus_log(lanes, k, f))
    return lanes.select(lanes.compare("==", log, zero), lanes.const(-0.0), log)  # where e^-x has gone


@float_intrinsic
def logit(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log(x/(1 - x)) = ±log((1 - s)/s) with s the smaller of x and 1 - x; 1.32 and 1.22.

    2^k·(1 - s) and s, whose ratio is from 2/3 to 3/2, have a difference and a sum that are rounded once.
    """
    one = lanes.const(1.0)
    upper = lanes.compare(">=", x, lanes.const(0.5))
    s = lanes.select(upper, lanes.sub(one, x), x)
    k, power = halvings(lanes, s)
    difference = lanes.fma(lanes.neg(s), lanes.add(power, one), power)
    log = log_of_odds(lanes, s, k, difference, lanes.fma(s, lanes.sub(one, power), power))
    return lanes.select(upper, log, lanes.neg(log))
