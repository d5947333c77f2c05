"""log and what is made of it, as intrinsics: log log2 log10 log1p asinh acosh atanh, float32 and float64.

All of them write the argument as 2^k·(1 + f) with 1 + f from sqrt(1/2) to sqrt(2) and take log(1 + f) = 2·atanh(t/2)
with t = f/(1 + f/2), both f and the result as pairs.
Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.codegen.intrinsics.exponents import power_of_two, split, split_any
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic
from graphc.codegen.intrinsics.pairs import (
    LN2,
    LOG2_E,
    LOG10_2,
    LOG10_E,
    Pair,
    constant,
    ordered_fma,
    product,
    quotient,
    square_root,
)

# (2·atanh(t/2) - t)/t³ in t² up to 0.1178; the error relative to log is 2^-30.2 and 2^-59.4
LOG_TAIL = (
    (0.0023336385, 0.012492997, 0.08333347),
    (4.515796968346076e-06, 1.8693720371889895e-05, 8.878696805387133e-05, 0.0004340273130107661,
     0.0022321428706298355, 0.012499999999814214, 0.0833333333333342),
)


def log_near_one(lanes: Lanes, f: Pair) -> Pair:
    """log(1 + f) as a pair with some five bits more than the mantissa, for 1 + f from sqrt(1/2) to sqrt(2)."""
    t, low = quotient(lanes, f, one_plus_half(lanes, f))
    square = lanes.mul(t, t)
    return t, lanes.fma(lanes.mul(t, square), lanes.horner(square, lanes.pick(*LOG_TAIL)), low)


def one_plus_half(lanes: Lanes, f: Pair) -> Pair:
    """1 + f/2 without error."""
    half = lanes.const(0.5)
    high, low = ordered_fma(lanes, half, f[0], lanes.const(1.0))
    return high, lanes.fma(half, f[1], low)


def multiple_plus(lanes: Lanes, k: ir.Value, unit: tuple[float, float], log: Pair) -> ir.Value:
    """k·unit + log for whole k, rounded as if once: log is at most half the unit, so that k·unit leads or is 0."""
    high, low = constant(lanes, unit)
    value = lanes.fma(k, high, log[0])
    lost = lanes.add(lanes.fma(k, high, lanes.neg(value)), log[0])
    return lanes.add(value, lanes.add(log[1], lanes.fma(k, low, lost)))


def on_domain(lanes: Lanes, x: ir.Value, log: ir.Value) -> ir.Value:
    """`log` for 0 < x < inf, and what a logarithm is elsewhere: -inf at 0, NaN below, x for inf and NaN."""
    pole = lanes.select(lanes.compare("==", x, lanes.const(0.0)), lanes.const(-math.inf), lanes.const(math.nan))
    log = lanes.select(lanes.compare(">", x, lanes.const(0.0)), log, pole)
    return lanes.select(lanes.compare("<", x, lanes.const(math.inf)), log, x)


def logarithm(lanes: Lanes, x: ir.Value, base: tuple[float, float] | None, unit: tuple[float, float]) -> ir.Value:
    """k·unit + base·log(1 + f) for x = 2^k·(1 + f): unit is log(2) and base is log(e) in the base wanted."""
    k, m = split_any(lanes, x)
    log = log_near_one(lanes, (lanes.sub(m, lanes.const(1.0)), lanes.const(0.0)))
    if base is not None:
        log = product(lanes, log, constant(lanes, base))
    return on_domain(lanes, x, multiple_plus(lanes, k, unit, log))


@float_intrinsic
def log(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log x = k·ln2 + log(1 + f); 0.56 and 0.56."""
    return logarithm(lanes, x, None, LN2)


@float_intrinsic
def log2(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log2 x = k + log2(e)·log(1 + f); 0.59 and 0.59."""
    return logarithm(lanes, x, LOG2_E, (1.0, 0.0))


@float_intrinsic
def log10(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log10 x = k·log10(2) + log10(e)·log(1 + f); 0.56 and 0.56."""
    return logarithm(lanes, x, LOG10_E, LOG10_2)


def log_one_plus(lanes: Lanes, x: Pair, doublings: ir.Value | None = None) -> ir.Value:
    """log((1 + x)·2^doublings): 1 + x is summed without error and split as 2^k·(1 + f)."""
    u, lost = lanes.two_sum(lanes.const(1.0), x[0])
    k, m = split(lanes, u)
    shrink = power_of_two(lanes, lanes.neg(lanes.clamp(k, -lanes.bias, lanes.bias - 1)))  # larger k: lost is nothing
    low = lanes.mul(lanes.add(lost, x[1]), shrink)
    f = lanes.fast_two_sum(lanes.sub(m, lanes.const(1.0)), low)
    k = k if doublings is None else lanes.add(k, doublings)
    return on_domain(lanes, u, multiple_plus(lanes, k, LN2, log_near_one(lanes, f)))


@float_intrinsic
def log1p(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log(1 + x), 1 + x summed without error; 0.57 and 0.56."""
    return lanes.copysign(log_one_plus(lanes, (x, lanes.const(0.0))), x)


@float_intrinsic
def atanh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """atanh|x| = log(1 + 2|x|/(1 - |x|))/2; 0.56 and 0.56."""
    size = lanes.abs(x)
    denominator = lanes.two_sum(lanes.const(1.0), lanes.neg(size))
    ratio = quotient(lanes, (lanes.add(size, size), lanes.const(0.0)), denominator)
    return lanes.copysign(lanes.mul(log_one_plus(lanes, ratio), lanes.const(0.5)), x)


def log_large(lanes: Lanes, x: ir.Value, small: Pair) -> ir.Value:
    """log(1 + small), or log 2x where x² would drown the 1 beside it (and might overflow)."""
    zero = lanes.const(0.0)
    large = lanes.compare(">=", x, lanes.const(2.0 ** (lanes.mantissa + 2)))
    argument = lanes.select(large, x, small[0]), lanes.select(large, zero, small[1])
    return log_one_plus(lanes, argument, lanes.select(large, lanes.const(1.0), zero))


def root_of_square_plus(lanes: Lanes, x: ir.Value, one: float) -> Pair:
    """sqrt(x² + one), for one = ±1."""
    square, low = lanes.two_product(x, x)
    high, lost = lanes.two_sum(square, lanes.const(one))
    return square_root(lanes, (high, lanes.add(lost, low)))


@float_intrinsic
def asinh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """asinh|x| = log(1 + (|x| + (sqrt(x² + 1) - 1))); 0.57 and 0.56."""
    size = lanes.abs(x)
    root, low = root_of_square_plus(lanes, size, 1.0)
    high, lost = lanes.two_sum(size, lanes.sub(root, lanes.const(1.0)))
    return lanes.copysign(log_large(lanes, size, (high, lanes.add(lost, low))), x)


@float_intrinsic
def acosh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """acosh x = log(1 + ((x - 1) + sqrt(x² - 1))); 0.56 and 0.57."""
    root, low = root_of_square_plus(lanes, x, -1.0)
    one = lanes.const(1.0)
    above = lanes.select(lanes.compare("<", x, one), lanes.const(math.nan), lanes.sub(x, one))
    high, lost = lanes.two_sum(above, root)
    low = lanes.select(lanes.compare(">", root, lanes.const(0.0)), low, lanes.const(0.0))  # at 1 it is 0·inf
    return log_large(lanes, x, (high, lanes.add(lost, low)))
