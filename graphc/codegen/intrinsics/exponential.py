"""exp and what is made of it, as intrinsics: exp exp2 expm1 tanh sinh cosh sigmoid, float32 and float64.

All of them reduce x = n·ln2 + r with n whole and |r| <= ln2/2, and take e^r = 1 + r + tail with r and the tail apart,
so that a sum with 2^n, or of e^x with 1, rounds once.
Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics.exponents import nearest, power_of_two, scale
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic
from graphc.codegen.intrinsics.pairs import LN2, LOG2_E, Pair, constant, ordered_fma, quotient, total

# (e^r - 1 - r)/r² on |r| <= ln2/2; the error relative to r is 2^-26.1 and 2^-55.6
EXP_TAIL = (
    (0.001393369, 0.0083668195, 0.041666478, 0.1666654, 0.5),
    (2.5109145832168022e-08, 2.762631306591546e-07, 2.7557243862350308e-06, 2.4801504476758892e-05,
     0.00019841269886514685, 0.0013888888932357046, 0.008333333333321454, 0.04166666666657367,
     0.16666666666666677, 0.5000000000000006),
)
# (sinh r - r)/r³ and (cosh r - 1)/r² in r²; relative to sinh and cosh the errors are 2^-34.1, 2^-61.7 and 2^-33, 2^-58
SINH_TAIL = (
    (0.00019959327, 0.008333191, 0.16666667),
    (2.5109145832168022e-08, 2.7557243862350308e-06, 0.00019841269886514685, 0.008333333333321454,
     0.16666666666666677),
)
COSH_TAIL = (
    (0.0013935758, 0.041666456, 0.5),
    (2.7631517209714487e-07, 2.4801489193658203e-05, 0.0013888888947850466, 0.04166666666651161,
     0.5000000000000013),
)
# Where e^x has rounded to 0 and where it has overflowed
EXP_RANGE = ((-104.0, 89.0), (-746.0, 710.0))


class Reduced(NamedTuple):
    """x = n·ln2 + r + low: n whole, low the part of r below its last place."""

    n: ir.Value
    r: ir.Value
    low: ir.Value


def reduce(lanes: Lanes, high: ir.Value, low: ir.Value | None = None) -> Reduced:
    """Cody and Waite's reduction of high + low: high - n·LN2[0] is exact by fma, being a small multiple of 2^-53."""
    n = nearest(lanes, high, LOG2_E[0])
    minus_n = lanes.neg(n)
    ln2 = constant(lanes, LN2)
    exact = lanes.fma(minus_n, ln2[0], high)
    rest = lanes.mul(minus_n, ln2[1]) if low is None else lanes.fma(minus_n, ln2[1], low)  # may be fused with the sum
    return Reduced(n, *lanes.fast_two_sum(exact, rest))


def tail(lanes: Lanes, r: ir.Value) -> ir.Value:
    """e^r - 1 - r."""
    return lanes.mul(lanes.mul(r, r), lanes.two_chains(r, lanes.pick(*EXP_TAIL)))


def exp_of(lanes: Lanes, high: ir.Value, low: ir.Value | None = None) -> ir.Value:
    """e^(high + low) for high within EXP_RANGE."""
    x = reduce(lanes, high, low)
    return exp_reduced(lanes, x.n, x.r)


def exp_reduced(lanes: Lanes, n: ir.Value, r: ir.Value) -> ir.Value:
    """2^n·e^r, the addition of 1 last."""
    one = lanes.const(1.0)
    slope = lanes.fma(r, lanes.two_chains(r, lanes.pick(*EXP_TAIL)), one)
    return scale(lanes, lanes.fma(r, slope, one), n)


@float_intrinsic
def exp(lanes: Lanes, x: ir.Value) -> ir.Value:
    """e^x = 2^n·e^r; 1.04 and 1.06."""
    return exp_of(lanes, lanes.clamp(x, *lanes.pick(*EXP_RANGE)))


@float_intrinsic
def exp2(lanes: Lanes, x: ir.Value) -> ir.Value:
    """2^x = 2^n·e^((x - n)·ln2), n the whole number nearest to x; 1.05 and 1.11."""
    x = lanes.clamp(x, *lanes.pick((-151.0, 129.0), (-1077.0, 1025.0)))
    n = nearest(lanes, x)
    return exp_reduced(lanes, n, lanes.mul(lanes.sub(x, n), lanes.const(LN2[0])))


def expm1_of(lanes: Lanes, x: Reduced, power: ir.Value, one: float) -> Pair:
    """power·e^(r + low) - one as a pair, power being one·2^n: (power - one) + power·r without error, then the tail."""
    high, low = ordered_fma(lanes, power, x.r, lanes.sub(power, lanes.const(one)))
    return high, lanes.fma(power, lanes.add(tail(lanes, x.r), x.low), low)


@float_intrinsic
def expm1(lanes: Lanes, x: ir.Value) -> ir.Value:
    """e^x - 1 = 2·(2^(n-1)·e^r - 1/2), halved so that 2^n does not overflow before the result; 1.36 and 1.52."""
    lowest, highest = lanes.pick((-20.0, 89.0), (-40.0, 710.0))
    reduced = reduce(lanes, lanes.clamp(x, lowest, highest))
    power = power_of_two(lanes, lanes.sub(reduced.n, lanes.const(1.0)))
    half = total(lanes, expm1_of(lanes, reduced, power, 0.5))
    tiny = lanes.compare("<", lanes.abs(x), lanes.const(2.0 ** -(lanes.mantissa + 2)))
    return lanes.select(tiny, x, lanes.add(half, half))


@float_intrinsic
def tanh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """tanh|x| = -t/(2 + t) with t = e^(-2|x|) - 1 as a pair; 1.42 and 1.42."""
    twice = lanes.mul(lanes.abs(x), lanes.const(-2.0))
    reduced = reduce(lanes, lanes.clamp(twice, lanes.pick(-20.0, -44.0), 0.0))
    high, low = lanes.fast_two_sum(*expm1_of(lanes, reduced, power_of_two(lanes, reduced.n), 1.0))
    denominator, lost = lanes.fast_two_sum(lanes.const(2.0), high)
    ratio = quotient(lanes, (high, low), (denominator, lanes.add(lost, low)))
    return lanes.copysign(total(lanes, ratio), x)


@float_intrinsic
def sigmoid(lanes: Lanes, x: ir.Value) -> ir.Value:
    """1/(1 + e^-x) = 2^p·a/(1 + 2^n·e^r) for -|x| = n·ln2 + r; 0.91 and 0.91.

    a = 1 and p = 0 for x >= 0, a = e^r and p = n below.
    """
    lowest, _ = lanes.pick(*EXP_RANGE)
    reduced = reduce(lanes, lanes.clamp(lanes.neg(lanes.abs(x)), lowest, 0.0))
    one, zero = lanes.const(1.0), lanes.const(0.0)
    high, low = lanes.fast_two_sum(one, lanes.add(reduced.r, lanes.add(tail(lanes, reduced.r), reduced.low)))
    power = power_of_two(lanes, lanes.clamp(reduced.n, -100.0, 0.0))  # below that, 1 + e^-|x| is 1
    denominator, lost = ordered_fma(lanes, power, high, one)
    negative = lanes.compare("<", x, zero)
    numerator = lanes.select(negative, high, one), lanes.select(negative, low, zero)
    ratio = total(lanes, quotient(lanes, numerator, (denominator, lanes.fma(power, low, lost))))
    return scale(lanes, ratio, lanes.select(negative, reduced.n, zero))


class Halves(NamedTuple):
    """Parts of sinh and cosh of n·ln2 + r: `odd` and `even` are a quarter of 2^n ∓ 2^-n, tails what r adds."""

    odd: ir.Value
    even: ir.Value
    even_low: ir.Value
    r: ir.Value
    sinh_tail: ir.Value
    cosh_tail: ir.Value


def halves(lanes: Lanes, x: ir.Value) -> Halves:
    """For |x|, which is clamped where both have overflowed; 2^-n is held where it is too small to matter."""
    highest = lanes.pick(89.5, 710.6)
    reduced = reduce(lanes, lanes.clamp(lanes.abs(x), 0.0, highest))
    rise = power_of_two(lanes, lanes.sub(reduced.n, lanes.const(2.0)))
    fall = power_of_two(lanes, lanes.sub(lanes.const(-2.0), lanes.clamp(reduced.n, 0.0, 100.0)))
    square = lanes.mul(reduced.r, reduced.r)
    cube = lanes.mul(square, reduced.r)
    return Halves(
        lanes.sub(rise, fall),
        *lanes.fast_two_sum(rise, fall),
        reduced.r,
        lanes.fma(cube, lanes.horner(square, lanes.pick(*SINH_TAIL)), reduced.low),
        lanes.mul(square, lanes.horner(square, lanes.pick(*COSH_TAIL))),
    )


@float_intrinsic
def sinh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """sinh(n·ln2 + r) = (2^n - 2^-n)/2·cosh r + (2^n + 2^-n)/2·sinh r; 0.91 and 1.28."""
    h = halves(lanes, x)
    high, low = ordered_fma(lanes, h.even, h.r, h.odd)
    half = lanes.add(high, lanes.fma(h.even, h.sinh_tail, lanes.fma(h.odd, h.cosh_tail, low)))
    tiny = lanes.compare("<", lanes.abs(x), lanes.const(2.0 ** -(lanes.mantissa // 2 + 2)))
    return lanes.select(tiny, x, lanes.copysign(lanes.add(half, half), x))


@float_intrinsic
def cosh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """cosh(n·ln2 + r) = (2^n + 2^-n)/2·cosh r + (2^n - 2^-n)/2·sinh r; 0.69 and 0.77."""
    h = halves(lanes, x)
    high, low = ordered_fma(lanes, h.odd, h.r, h.even)
    low = lanes.fma(h.odd, h.sinh_tail, lanes.add(low, h.even_low))
    half = lanes.add(high, lanes.fma(h.even, h.cosh_tail, low))
    return lanes.add(half, half)
