"""log and what is made of it, as intrinsics: log log2 log10 log1p asinh acosh atanh, float32 and float64.

All of them write the argument as 2^k·(1 + f) with 1 + f from 3/4 to 3/2, f being exact or rounded once, and add up
k·ln2 + f + (log(1 + f) - f), what is least first.  Where more digits are wanted k·ln2 is a term of its own, or
log(1 + f) = 2·atanh(t/2) with t = f/(1 + f/2) is a pair.
Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from graphc.codegen.intrinsics.exponents import near_one, power_of_two, scale, split_any
from graphc.codegen.intrinsics.instructions import there
from graphc.codegen.intrinsics.inverses import ACCURATE_LOG2, ACCURATE_LOG10, Accurate
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, number_of
from graphc.codegen.intrinsics.pairs import (
    LN2,
    LOG2_E,
    LOG10_2,
    LOG10_E,
    Pair,
    constant,
    ordered_fma,
    quotient,
    quotient_beside,
    rough_inverse,
)
from graphc.codegen.intrinsics.rare import unless_special

# (2·atanh(t/2) - t)/t³ in t² up to 0.16; the error relative to log is 2^-28.3 and 2^-62.6
LOG_TAIL = (
    (0.002372588, 0.012486658, 0.08333369),
    (1.0558327066899494e-06, 4.020440550962227e-06, 1.878793784019566e-05, 8.877767010948397e-05,
     0.000434027818004387, 0.0022321428559326077, 0.012500000000017617, 0.08333333333333325),
)
# (f - log(1 + f))/f² for 1 + f from 3/4 to 3/2, float32; the error relative to f is 2^-27.5
LOG_EXCESS = (
    0.04522251, -0.1048792, 0.13174164, -0.14478987, 0.16645999, -0.19990613, 0.25000125, -0.33333457, 0.5,
)  # fmt: skip
# the same over log 2, the error relative to log2
LOG2_EXCESS = (
    0.06554048, -0.15168667, 0.19017419, -0.20885517, 0.2401335, -0.2884039, 0.36067632, -0.48090014, 0.7213475,
)  # fmt: skip

LN2_DIGITS = round(LN2[0] * 2.0**40) / 2.0**40  # of which float64 holds multiples up to 2^12
LN2_REST = LN2[0] - LN2_DIGITS + LN2[1]


def log_near_one(lanes: Lanes, f: Pair) -> Pair:
    """log(1 + f) as a pair with some five bits more than the mantissa, for 1 + f from 3/4 to 3/2."""
    if lanes.plain:
        a, b = excess(lanes, f[0])
        return lanes.fma(lanes.neg(a), b, f[0]), lanes.const(0.0)
    t, low = quotient(lanes, f, one_plus_half(lanes, f))
    square = lanes.mul(t, t)
    return t, lanes.fma(lanes.mul(t, square), lanes.horner(square, lanes.pick(*LOG_TAIL)), low)


def one_plus_half(lanes: Lanes, f: Pair) -> Pair:
    """1 + f/2 without error."""
    half = lanes.const(0.5)
    high, low = ordered_fma(lanes, half, f[0], lanes.const(1.0))
    return high, lanes.fma(half, f[1], low)


def on_domain(lanes: Lanes, x: ir.Value, log: ir.Value) -> ir.Value:
    """`log` for 0 < x < inf, and what a logarithm is elsewhere: -inf at 0, NaN below, x for inf and NaN."""
    pole = lanes.select(lanes.compare("==", x, lanes.const(0.0)), lanes.const(-math.inf), lanes.const(math.nan))
    log = lanes.select(lanes.compare(">", x, lanes.const(0.0)), log, pole)
    return lanes.select(lanes.compare("<", x, lanes.const(math.inf)), log, x)


def excess(lanes: Lanes, f: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Two factors of f - log(1 + f): f² and a polynomial, or t and f/2 - t²·LOG_TAIL, where the polynomial is long."""
    if not lanes.double or lanes.short:
        return lanes.mul(f, f), lanes.two_chains(f, LOG_EXCESS)
    half = lanes.const(0.5)
    t = lanes.div(f, lanes.fma(f, half, lanes.const(1.0)))
    square = lanes.mul(t, t)
    tail = lanes.horner(square, LOG_TAIL[1])
    return t, lanes.fma(lanes.neg(square), tail, lanes.mul(f, half))


def from_below(lanes: Lanes, value: tuple[float, float]) -> Pair:
    """The constant as a pair of positive words, so that infinite multiples of both have one sign."""
    high, low = (number_of(word) for word in constant(lanes, value))
    if low < 0:
        above, high = high, float(np.nextafter(lanes.pick(np.float32, np.float64)(high), 0))
        low += above - high
    return lanes.const(high), lanes.const(low)


def multiple_plus_log(lanes: Lanes, k: ir.Value, f: ir.Value) -> ir.Value:
    """k·ln2 + log(1 + f), the larger terms added last; infinite with k."""
    high, low = from_below(lanes, LN2)
    a, b = excess(lanes, f)
    return lanes.fma(k, high, lanes.add(f, lanes.fma(lanes.neg(a), b, lanes.mul(k, low))))


def log_terms(lanes: Lanes, k: ir.Value, f: ir.Value) -> Pair:
    """k·ln2 + log(1 + f) in two terms: a multiple of ln2's first digits without error, and what is left of both."""
    a, b = excess(lanes, f)
    low = lanes.fma(lanes.neg(a), b, lanes.mul(k, lanes.const(LN2_REST)))
    return lanes.mul(k, lanes.const(LN2_DIGITS)), lanes.add(f, low)


def log_in_terms(lanes: Lanes, x: ir.Value) -> Pair:
    """log x for 0 < x < inf in the same two terms: products and differences of the first are rounded but once."""
    k, m = split_any(lanes, x)
    return log_terms(lanes, k, lanes.sub(m, lanes.const(1.0)))


def logarithm(lanes: Lanes, x: ir.Value, base: tuple[float, float] | None, unit: tuple[float, float]) -> ir.Value:
    """k·unit + base·log(1 + f) for x = 2^k·(1 + f): unit is log(2) and base is log(e) in the base wanted."""
    k, m = split_any(lanes, x)
    f = lanes.sub(m, lanes.const(1.0))
    if base is None:
        return multiple_plus_log(lanes, k, f)
    high, low = constant(lanes, base)
    if base is LOG2_E and not lanes.double:
        rest = lanes.fma(lanes.neg(lanes.mul(f, f)), lanes.two_chains(f, LOG2_EXCESS), lanes.mul(f, low))
        return lanes.add(k, lanes.fma(f, high, rest))
    a, b = excess(lanes, f)
    rest = lanes.fma(lanes.mul(lanes.neg(a), b), high, lanes.mul(f, low))
    if base is LOG2_E:
        return lanes.add(k, lanes.fma(f, high, rest))
    unit_high, unit_low = from_below(lanes, unit)
    return lanes.fma(k, unit_high, lanes.fma(f, high, lanes.fma(k, unit_low, rest)))


@float_intrinsic
def log(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log x = k·ln2 + log(1 + f); 1.06 and 0.91."""
    return logarithm(lanes, x, None, LN2)


@float_intrinsic
def log2(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log2 x = k + log2(e)·log(1 + f), or with AVX-512 by a table; 1.67 both ways, and 1.49 or 1.75."""
    if not there():
        return logarithm(lanes, x, LOG2_E, (1.0, 0.0))
    return lanes.add(*by_table(lanes, x, "log2_of_16", lanes.pick(*ACCURATE_LOG2)))


@float_intrinsic
def log10(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log10 x = k·log10(2) + log10(e)·log(1 + f), or with AVX-512 by a table; 1.44 or 1.92, and 1.35 or 1.88."""
    if not there():
        return logarithm(lanes, x, LOG10_E, LOG10_2)
    k, log = by_table(lanes, x, "log10_of_16", lanes.pick(*ACCURATE_LOG10))
    high, low = from_below(lanes, LOG10_2)
    return lanes.fma(k, high, lanes.fma(k, low, log))


def by_table(lanes: Lanes, x: ir.Value, name: str, table: Accurate) -> tuple[ir.Value, ir.Value]:
    """k and -log c + log(1 + r) for x = 2^k·(1 + r)/c; `name` must stand for the table all over the process."""
    k, place, r = near_one(lanes, x, f"{name}_inverse", table.inverse)
    return k, lanes.fma(r, lanes.horner(r, table.slope), lanes.lookup(name, table.log, place))


def log_one_plus(
    lanes: Lanes, x: ir.Value, low: ir.Value | None = None, doublings: ir.Value | None = None
) -> ir.Value:
    """log((1 + x + low)·2^doublings) with 1 + x = 2^k·(1 + f), f = x·2^-k + (2^-k - 1) where 1 counts beside x."""
    one, counts = lanes.const(1.0), lanes.const(2.0 ** (lanes.mantissa + 2))
    u = lanes.add(x, one)
    k, m = split_any(lanes, u)
    shrink = power_of_two(lanes, lanes.neg(k))
    f = lanes.fma(x, shrink, lanes.sub(shrink, one))
    f = f if low is None else lanes.fma(low, shrink, f)
    near = lanes.builder.and_(lanes.compare("<", x, counts), lanes.compare(">", u, lanes.const(0.0)))
    f = lanes.select(near, f, lanes.sub(m, one))
    return multiple_plus_log(lanes, k if doublings is None else lanes.add(k, doublings), f)


@float_intrinsic
def log1p(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log(1 + x), f being x·2^-k + (2^-k - 1); 1.09 and 0.91."""
    return lanes.copysign(log_one_plus(lanes, x), x)


def halvings(lanes: Lanes, s: ir.Value) -> tuple[ir.Value, ir.Value]:
    """k and 2^k with 2^k·(1 - s)/s from 2/3 to 3/2, for 0 < s <= 1/2; k is -inf where s is 0."""
    one = lanes.const(1.0)
    k, m = split_any(lanes, s)
    apart = lanes.compare("<", lanes.sub(one, s), lanes.mul(m, lanes.const(0.75)))
    k = lanes.select(apart, lanes.add(k, one), k)
    return k, scale(lanes, one, k)


def log_of_odds(
    lanes: Lanes, s: ir.Value, k: ir.Value, difference: ir.Value, whole: ir.Value, factor: float = 1.0
) -> ir.Value:
    """factor·log((1 - s)/s), given k of `halvings` and in one proportion 2^k·(1 - s) - s and 2^k·(1 - s) + s.

    The factor is a power of two, by which each power of t is divided without error.
    """
    t = lanes.div(lanes.mul(difference, lanes.const(2 * factor)), whole)
    square = lanes.mul(t, t)
    powers = lanes.table(*LOG_TAIL)
    table = [c / factor ** (2 * (len(powers) - n)) for n, c in enumerate(powers)]
    high, low = constant(lanes, (-LN2[0] * factor, -LN2[1] * factor))
    rest = lanes.fma(lanes.mul(t, square), lanes.horner(square, table), lanes.mul(k, low))
    log = lanes.fma(k, high, lanes.add(t, rest))
    return unless_special(lanes, f"graphc_log_of_odds_f{lanes.bits}", log, _is_not_positive, _limit_of_odds, (s,))


def _is_not_positive(lanes: Lanes, s: ir.Value) -> ir.Value:
    return lanes.builder.not_(lanes.compare(">", s, lanes.const(0.0)))


def _limit_of_odds(lanes: Lanes, log: ir.Value, s: ir.Value) -> ir.Value:
    zero = lanes.const(0.0)
    log = lanes.select(lanes.compare("==", s, zero), lanes.const(math.inf), log)
    return lanes.select(lanes.compare("<", s, zero), lanes.const(math.nan), log)


@float_intrinsic
def atanh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """atanh|x| = log((1 - s)/s)/2 with s = (1 - |x|)/2, which is exact from |x| = 1/2 on; 1.65 and 1.62."""
    size, one = lanes.abs(x), lanes.const(1.0)
    rest = lanes.sub(one, size)
    s = lanes.mul(rest, lanes.const(0.5))
    k, power = halvings(lanes, s)
    near, twice = lanes.compare("<", size, lanes.const(0.5)), lanes.add(power, power)
    more, less = lanes.add(power, one), lanes.sub(power, one)
    factor = lanes.select(near, size, lanes.neg(rest))
    difference = lanes.fma(factor, more, lanes.select(near, less, twice))
    whole = lanes.fma(factor, less, lanes.select(near, more, twice))
    return lanes.copysign(log_of_odds(lanes, s, k, difference, whole, 0.5), x)


def log_large(lanes: Lanes, x: ir.Value, small: ir.Value, low: ir.Value | None = None) -> ir.Value:
    """log(1 + small + low), or log 2x where x² would drown the 1 beside it (and might overflow)."""
    one, zero = lanes.const(1.0), lanes.const(0.0)
    large = lanes.compare(">=", x, lanes.const(2.0 ** (lanes.mantissa + 2)))
    return log_one_plus(lanes, lanes.select(large, x, small), low, lanes.select(large, one, zero))


@float_intrinsic
def asinh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """asinh|x| = log(1 + y) with y = |x| + |x|·|x|/(1 + sqrt(x² + 1)); 1.63 and 1.51."""
    size, one = lanes.abs(x), lanes.const(1.0)
    root = lanes.sqrt(lanes.fma(size, size, one))
    slope = quotient_beside(lanes, size, lanes.add(root, one))
    return lanes.copysign(log_large(lanes, size, lanes.fma(size, slope, size)), x)


@float_intrinsic
def acosh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """acosh x = log(1 + (d + sqrt(d² + 2d))) with d = x - 1; root and sum as pairs; 1.51 and 1.73."""
    above = lanes.sub(x, lanes.const(1.0))
    square = lanes.fma(above, above, lanes.add(above, above))
    root = lanes.sqrt(square)
    rest = lanes.mul(lanes.fma(lanes.neg(root), root, square), lanes.mul(rough_inverse(lanes, root), lanes.const(0.5)))
    high, lost = lanes.fast_two_sum(root, above)
    log = log_large(lanes, x, high, lanes.add(lost, rest))
    return lanes.select(lanes.compare("<", x, lanes.const(1.0)), lanes.const(math.nan), log)
