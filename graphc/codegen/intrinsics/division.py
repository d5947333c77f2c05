"""Division of floats: by what is the same throughout a loop, to the bits of a quotient, and to whole quotients.

In: one lane of x, and y.  Out: x / y by the reciprocal of y, which leaves the loop, for a quotient takes the machine
some ten times as long as a product; floor(x / y) and what it leaves, to the bits of NumPy.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.codegen.intrinsics.lanes import Lanes, machine_intrinsic
from graphc.codegen.intrinsics.rare import unless_rare
from graphc.codegen.intrinsics.target import host_features

LARGE = (2.0**21, 2.0**50)  # below, NumPy's whole quotients are right: two roundings move them by less than a half


@machine_intrinsic
def over(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x / y, rounded like a quotient where neither it nor what its remainder is made of is subnormal (Markstein, 1990).

    y is brought to [1/2, 1) by a power of two, and x with it, so that neither the reciprocal nor a product with it is
    out of range where the quotient is not.  The remainder of an infinity is NaN, and that of a zero has lost its sign:
    there the product is right.
    """
    if not _fuses():
        return lanes.div(x, y)
    power = _inverse_power(lanes, y)
    y, x = lanes.mul(y, power), lanes.mul(x, power)
    inverse = lanes.div(lanes.const(1.0), y)
    rough = lanes.mul(x, inverse)
    rest = lanes.fma(lanes.neg(rough), y, x)
    exact = lanes.fma(rest, inverse, rough)
    return lanes.select(lanes.compare("!=", exact, lanes.const(0.0)), exact, rough)


@machine_intrinsic
def share(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x / y for x of 0 to 1 and y of at least 1, or NaN: within 0.51 units, where it is not almost subnormal.

    The reciprocal of y in two parts, of which the second is what the first has lost, meets x in two roundings, of which
    one is of what is small.
    """
    if not _fuses():
        return lanes.div(x, y)
    one = lanes.const(1.0)
    inverse = lanes.div(one, y)
    rest = lanes.mul(lanes.fma(lanes.neg(inverse), y, one), inverse)
    return lanes.fma(x, inverse, lanes.mul(x, rest))


def _inverse_power(lanes: Lanes, y: ir.Value) -> ir.Value:
    """The power of two, as far as it is normal, that brings |y| to [1/2, 1)."""
    builder, mantissa = lanes.builder, lanes.integer(lanes.mantissa)
    ones = (1 << (lanes.bits - 1 - lanes.mantissa)) - 1
    exponent = builder.and_(builder.lshr(lanes.as_int(y), mantissa), lanes.integer(ones))
    least = builder.icmp_signed("<", exponent, lanes.integer(2 * lanes.bias - 2))
    exponent = builder.select(least, exponent, lanes.integer(2 * lanes.bias - 2))
    return lanes.as_float(builder.shl(builder.sub(lanes.integer(2 * lanes.bias - 1), exponent), mantissa))


def _fuses() -> bool:
    """Whether the machine multiplies and adds with one rounding; where it does not, that takes a call."""
    return bool(host_features() & {"fma", "neon"})


def divided(lanes: Lanes, x: ir.Value, y: ir.Value, part: int) -> ir.Value:
    """floor(x / y), x / y if y = 0 (part 0); x - y·floor(x / y), rounded once, with the sign of y, NaN if y = 0 (1)."""

    def far(lanes: Lanes, x: ir.Value, y: ir.Value, *_: ir.Value) -> ir.Value:
        return _by_fmod(lanes, x, y)[part]

    if not _fuses():
        return far(lanes, x, y)
    ratio = lanes.div(x, y)
    near, name = _near(lanes, x, y, ratio)[part], ("quotient", "remainder")[part]
    return unless_rare(lanes, f"graphc_{name}_f{lanes.bits}", near, _is_far, far, (x, y, ratio))


def _near(lanes: Lanes, x: ir.Value, y: ir.Value, ratio: ir.Value) -> tuple[ir.Value, ir.Value]:
    """floor(x / y) and what it leaves, for a ratio below LARGE and finite y.

    The ratio may have been rounded up to a whole number, or to 0.  Then what is left has not the sign of y and no
    rounding error, and is exact with one y more.
    """
    zero, sign = lanes.const(0.0), lanes.sign_bit(y)
    whole = lanes.call("floor", ratio)
    rest = lanes.fma(lanes.neg(whole), y, x)
    above = lanes.compare("<", lanes.flip(rest, sign), zero)
    whole = lanes.select(above, lanes.sub(whole, lanes.const(1.0)), whole)
    rest = lanes.select(above, lanes.add(rest, y), rest)
    return whole, lanes.select(lanes.compare("==", rest, zero), lanes.copysign(zero, y), rest)


def _is_far(lanes: Lanes, x: ir.Value, y: ir.Value, ratio: ir.Value) -> ir.Value:
    large = lanes.compare(">=", lanes.abs(ratio), lanes.const(lanes.pick(*LARGE)))
    return lanes.builder.or_(large, lanes.compare("==", lanes.abs(y), lanes.const(math.inf)))


def _by_fmod(lanes: Lanes, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Quotient and remainder, from C's fmod, which is exact and has the sign of x."""
    builder, zero = lanes.builder, lanes.const(0.0)
    rest = builder.frem(x, y)
    whole = lanes.div(lanes.sub(x, rest), y)  # an integer but for rounding
    nonzero = builder.fcmp_unordered("!=", rest, zero)
    differ = builder.and_(nonzero, builder.xor(lanes.compare("<", y, zero), lanes.compare("<", rest, zero)))
    mod = lanes.select(differ, lanes.add(rest, y), lanes.select(nonzero, rest, lanes.copysign(zero, y)))
    whole = lanes.select(differ, lanes.sub(whole, lanes.const(1.0)), whole)
    floor = lanes.call("floor", whole)
    up = lanes.compare(">", lanes.sub(whole, floor), lanes.const(0.5))
    quotient, ratio = lanes.select(up, lanes.add(floor, lanes.const(1.0)), floor), lanes.div(x, y)
    quotient = lanes.select(lanes.compare("==", whole, zero), lanes.copysign(zero, ratio), quotient)
    by_zero = lanes.compare("==", y, zero)
    return lanes.select(by_zero, ratio, quotient), lanes.select(by_zero, rest, mod)
