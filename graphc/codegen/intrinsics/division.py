"""Division by what is the same throughout a loop: by its reciprocal, which leaves the loop, to the bits of a quotient.

In: one lane of x, and y.  Out: x / y.  A quotient takes the machine some ten times as long as a product.
"""

from __future__ import annotations

from llvmlite import ir

from graphc.codegen.intrinsics.lanes import Lanes, machine_intrinsic
from graphc.codegen.intrinsics.target import host_features


@machine_intrinsic
def over(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x / y, rounded like a quotient where neither it nor what its remainder is made of is subnormal (Markstein, 1990).

    y is brought to [1/2, 1) by a power of two, and x with it, so that neither the reciprocal nor a product with it is
    out of range where the quotient is not.  The remainder of an infinity is NaN, and that of a zero has lost its sign:
    there the product is right.
    """
    if not host_features() & {"fma", "neon"}:
        return lanes.div(x, y)
    power = _inverse_power(lanes, y)
    y, x = lanes.mul(y, power), lanes.mul(x, power)
    inverse = lanes.div(lanes.const(1.0), y)
    rough = lanes.mul(x, inverse)
    rest = lanes.fma(lanes.neg(rough), y, x)
    exact = lanes.fma(rest, inverse, rough)
    return lanes.select(lanes.compare("!=", exact, lanes.const(0.0)), exact, rough)


def _inverse_power(lanes: Lanes, y: ir.Value) -> ir.Value:
    """The power of two, as far as it is normal, that brings |y| to [1/2, 1)."""
    builder, mantissa = lanes.builder, lanes.integer(lanes.mantissa)
    ones = (1 << (lanes.bits - 1 - lanes.mantissa)) - 1
    exponent = builder.and_(builder.lshr(lanes.as_int(y), mantissa), lanes.integer(ones))
    least = builder.icmp_signed("<", exponent, lanes.integer(2 * lanes.bias - 2))
    exponent = builder.select(least, exponent, lanes.integer(2 * lanes.bias - 2))
    return lanes.as_float(builder.shl(builder.sub(lanes.integer(2 * lanes.bias - 1), exponent), mantissa))
