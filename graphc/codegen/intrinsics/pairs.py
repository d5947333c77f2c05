"""Unevaluated sums: a value held as high + low, with low below the last place of high, or nearly so.

In: floats of one Lanes.  Out: pairs of them, good for about twice the mantissa.  No product that is taken to be rounded
is left where LLVM's `contract` could fuse it with a sum: it is a `rounded_product`.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from graphc.codegen.intrinsics.instructions import there
from graphc.codegen.intrinsics.lanes import Lanes

Pair = tuple[ir.Value, ir.Value]

# Constants as the float64 nearest and the float64 nearest to what is left of it (made with mpmath at 60 digits).
LN2 = (0.6931471805599453, 2.3190468138462996e-17)
LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
LOG10_E = (0.4342944819032518, 1.098319650216765e-17)
LOG10_2 = (0.3010299956639812, -2.8037281277851704e-18)


# what the bits of x and of about 1/x add up to; the largest error is the smallest possible
BITS_OF_INVERSE = {False: 0x7EF311C3, True: 0x7FDE623822FC16E6}


def constant(lanes: Lanes, value: tuple[float, float]) -> Pair:
    """The constant as a pair of this float type; float32 takes both its words from the first float64."""
    if lanes.double:
        return lanes.const(value[0]), lanes.const(0.0 if lanes.plain else value[1])
    return lanes.const(value[0]), lanes.const(value[0] - float(np.float32(value[0])))


def ordered_fma(lanes: Lanes, a: ir.Value, b: ir.Value, c: ir.Value) -> Pair:
    """a·b + c where |c| >= |a·b| or c is 0: the rounded value and what it lacks, itself rounded once."""
    high = lanes.fma(a, b, c)
    return high, lanes.const(0.0) if lanes.plain else lanes.fma(a, b, lanes.sub(c, high))


def leading_fma(lanes: Lanes, a: ir.Value, b: ir.Value, c: ir.Value) -> Pair:
    """a·b + c where |a·b| >= |c| or a·b is 0: the rounded value and what it lacks."""
    high = lanes.fma(a, b, c)
    return high, lanes.const(0.0) if lanes.plain else lanes.add(lanes.fma(a, b, lanes.neg(high)), c)


def product(lanes: Lanes, a: Pair, b: Pair) -> Pair:
    """a·b to about three units of the square of epsilon."""
    high, low = lanes.two_product(a[0], b[0])
    return high, lanes.fma(a[0], b[1], lanes.fma(a[1], b[0], low))


def quotient(lanes: Lanes, a: Pair, b: Pair) -> Pair:
    """a/b by one reciprocal: q = a·(1/b), then its remainder, exact but for the low words, times 1/b."""
    if lanes.plain:
        return lanes.div(a[0], b[0]), lanes.const(0.0)
    inverse = lanes.div(lanes.const(1.0), b[0])
    q = lanes.rounded_product(a[0], inverse)
    minus_q = lanes.neg(q)
    remainder = lanes.add(lanes.fma(minus_q, b[0], a[0]), lanes.fma(minus_q, b[1], a[1]))
    return q, lanes.mul(remainder, inverse)


def rough_inverse(lanes: Lanes, x: ir.Value) -> ir.Value:
    """1/x within 5.1 %: the bits of a float are, roughly, its logarithm."""
    return lanes.as_float(lanes.builder.sub(lanes.integer(BITS_OF_INVERSE[lanes.double]), lanes.as_int(x)))


def newton_inverse(lanes: Lanes, x: ir.Value, guess: ir.Value) -> ir.Value:
    """1/x, its relative error the square of the guess's."""
    return lanes.mul(guess, lanes.fma(lanes.neg(x), guess, lanes.const(2.0)))


def brief_quotient(lanes: Lanes, a: ir.Value, b: Pair) -> ir.Value:
    """a/b within 0.6 units, for normal b of which the reciprocal is normal, too."""
    if there():
        inverse = lanes.instruction("rcp14", b[0])
        inverse = newton_inverse(lanes, b[0], inverse) if lanes.double else inverse
    else:
        inverse = lanes.div(lanes.const(1.0), b[0])
    rough = lanes.mul(a, inverse)
    minus_rough = lanes.neg(rough)
    return lanes.fma(lanes.fma(minus_rough, b[1], lanes.fma(minus_rough, b[0], a)), inverse, rough)


def quotient_beside(lanes: Lanes, a: ir.Value, b: ir.Value) -> ir.Value:
    """a/b for b > 0 within two units, beside another division or a root: float64 keeps the divider long enough."""
    if not lanes.double:
        return lanes.div(a, b)
    steps, inverse = (2, lanes.instruction("rcp14", b)) if there() else (4, rough_inverse(lanes, b))
    for _ in range(steps):
        inverse = newton_inverse(lanes, b, inverse)
    return lanes.mul(a, inverse)


def total(lanes: Lanes, a: Pair) -> ir.Value:
    return lanes.add(*a)
