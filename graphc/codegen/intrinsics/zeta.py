"""Hurwitz's zeta function of whole s >= 2 as an intrinsic, float32 and float64: what polygamma is made of.

    2^m·zeta(s, x) = 2^m·(sum of (x + k)^-s over k < TERMS + the rest by Euler and Maclaurin's formula at a = x + TERMS)

Powers are exp(m·ln 2 - s·log(x + k)) with the exponent in two words, so that nothing overflows before the result does.
Below 0 the sum over all whole numbers, which is two of x > 0, is taken apart, lane by lane.
"""

from __future__ import annotations

import math
from fractions import Fraction

from llvmlite import ir

from graphc.codegen.intrinsics.lanes import Lanes, in_float64, long_intrinsic
from graphc.codegen.intrinsics.pairs import LOG2_E, Pair
from graphc.codegen.intrinsics.power import exp2_of_product, log2_pair
from graphc.codegen.intrinsics.rare import unless_rare
from graphc.codegen.intrinsics.routine import call_routine

TERMS = 10


def _bernoulli_over_factorial(count: int) -> list[float]:
    """B(2j)/(2j)! for j from 1, from the series of x/(e^x - 1)."""
    found = [Fraction(1)]
    for n in range(1, 2 * count + 1):
        found.append(-sum((found[k] / math.factorial(n + 1 - k) for k in range(n)), Fraction(0)))
    return [float(b) for b in found[2::2]]


REST = _bernoulli_over_factorial(12)


def _power(lanes: Lanes, base: Pair, s: ir.Value, m: ir.Value) -> ir.Value:
    """2^m·base^-s."""
    log, low = log2_pair(lanes, base[0])
    low = lanes.fma(lanes.div(base[1], base[0]), lanes.const(LOG2_E[0]), low)
    return exp2_of_product(lanes, (log, low), lanes.neg(s), m)


def _rest(lanes: Lanes, s: ir.Value, a: ir.Value) -> ir.Value:
    """The sum from a on, over a^(1 - s): 1/(s - 1) + 1/2a + s/a²·(B2/2! + (s + 1)(s + 2)/a²·(B4/4! + …))."""
    inverse = lanes.div(lanes.const(1.0), a)
    square = lanes.mul(inverse, inverse)
    value: ir.Value = lanes.const(REST[-1])
    for j in range(len(REST) - 1, 0, -1):
        rising = lanes.mul(lanes.add(s, lanes.const(2.0 * j - 1)), lanes.add(s, lanes.const(2.0 * j)))
        value = lanes.fma(lanes.mul(rising, square), value, lanes.const(REST[j - 1]))
    value = lanes.fma(lanes.mul(s, square), value, lanes.mul(inverse, lanes.const(0.5)))
    least = lanes.div(lanes.const(1.0), lanes.sub(s, lanes.const(1.0)))
    value = lanes.add(value, least)
    return lanes.select(lanes.compare(">", value, least), value, least)  # where s is far above a, nothing counts


def _positive(lanes: Lanes, s: ir.Value, m: ir.Value, x: ir.Value) -> ir.Value:
    """For x > 0; the smallest terms first."""
    end = lanes.two_sum(x, lanes.const(float(TERMS)))
    value = lanes.mul(_power(lanes, end, lanes.sub(s, lanes.const(1.0)), m), _rest(lanes, s, end[0]))
    for k in range(TERMS - 1, -1, -1):
        value = lanes.add(value, _power(lanes, lanes.two_sum(x, lanes.const(float(k))), s, m))
    return lanes.select(lanes.compare("==", x, lanes.const(math.inf)), lanes.const(0.0), value)


def _negative(lanes: Lanes, x: ir.Value, s: ir.Value, m: ir.Value) -> ir.Value:
    """zeta(s, d) + (-1)^s·(zeta(s, 1 - d) - zeta(s, 1 - x)) for d = x - floor x."""

    def positive(y: ir.Value) -> ir.Value:
        def body(builder: ir.IRBuilder, *operands: ir.Value) -> ir.Value:
            return _positive(Lanes(builder, True), *operands)

        return call_routine(lanes.builder, "zeta_positive", lanes.float, [s, m, y], body)

    one = lanes.const(1.0)
    above, below = lanes.sub(x, lanes.call("floor", x)), lanes.sub(lanes.call("ceil", x), x)
    mirrored = lanes.sub(positive(below), positive(lanes.sub(one, x)))
    half = lanes.mul(s, lanes.const(0.5))
    even = lanes.compare("==", lanes.rint(half), half)
    value = lanes.add(positive(above), lanes.select(even, mirrored, lanes.neg(mirrored)))
    pole = lanes.compare("==", lanes.rint(x), x)
    return lanes.select(pole, lanes.const(math.inf), value)


@long_intrinsic
@in_float64
def zeta(lanes: Lanes, s: ir.Value, m: ir.Value, x: ir.Value) -> ir.Value:
    """2^m times the sum of (x + k)^-s over k >= 0; infinite where x is 0 or a negative whole number."""
    value = lanes.select(lanes.compare("==", x, lanes.const(0.0)), lanes.const(math.inf), _positive(lanes, s, m, x))
    value = lanes.select(lanes.is_nan(x), x, value)
    return unless_rare(lanes, "graphc_zeta", value, _is_negative, _negative, (x, s, m))


def _is_negative(lanes: Lanes, x: ir.Value, s: ir.Value, m: ir.Value) -> ir.Value:
    return lanes.compare("<", x, lanes.const(0.0))
