"""Powers of two: taking a float apart into 2^k·m, and multiplying by 2^n down to the subnormals.

Whole numbers stay floats; their bits are reached by adding 1.5·2^mantissa, which puts them in the low bits of the sum.
That needs no conversion between float64 and int64 (a vector instruction only with AVX512DQ) and no arithmetic shift
of int64 (none in AVX2), and nothing here is poison for NaN, as a conversion to int would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics import instructions
from graphc.codegen.intrinsics.lanes import Lanes

STEPS = 16  # of a whole number, whose powers one register holds, or two
LARGEST_REST = 0.505 / STEPS  # a little more than half, where steps are rounded
POWERS = tuple(2.0 ** (k / STEPS) for k in range(STEPS))
THREE_QUARTERS = {False: 0x3F400000, True: 0x3FE8000000000000}  # bits of 3/4, float32 and float64


def nearest(lanes: Lanes, x: ir.Value, factor: float = 1.0) -> ir.Value:
    """The whole number nearest to x·factor, whose size is below 2^(mantissa - 1); two steps, where rint takes three."""
    shift = lanes.const(1.5 * 2.0**lanes.mantissa)
    return lanes.sub(lanes.fma(x, lanes.const(factor), shift), shift)


class Step(NamedTuple):
    """A whole number n; or, where AVX-512 has a register of the powers of two between, a multiple of 1/16, and an
    integer whose lowest bits tell which sixteenth it has."""

    n: ir.Value
    place: ir.Value | None


def nearest_step(lanes: Lanes, x: ir.Value, factor: float = 1.0) -> Step:
    """What is nearest to x·factor, whose size is below 2^(mantissa - 5)."""
    if not instructions.there():
        return Step(nearest(lanes, x, factor), None)
    shift = lanes.const(1.5 * 2.0**lanes.mantissa / STEPS)
    shifted = lanes.fma(x, lanes.const(factor), shift)
    return Step(lanes.sub(shifted, shift), lanes.as_int(shifted))


def held_rest(lanes: Lanes, r: ir.Value, unit: float = 1.0) -> ir.Value:
    """What a step leaves, in such units, held where it belongs: of a number that is infinite, NaN or beyond all powers
    n tells.  Whole steps have numbers within limits."""
    return lanes.instruction("range", r, lanes.const(unit * LARGEST_REST)) if instructions.there() else r


def between_steps(lanes: Lanes, place: ir.Value, rise: ir.Value) -> ir.Value:
    """(1 + rise)·2^f for the sixteenth f at a place: `scale` by the step makes it the power of two next to it."""
    power = power_between(lanes, place)
    return lanes.fma(power, rise, power)


def power_between(lanes: Lanes, place: ir.Value) -> ir.Value:
    """2^f for the sixteenth f at a place."""
    return lanes.lookup("power", POWERS, place)


def low_bits(lanes: Lanes, n: ir.Value, offset: int) -> ir.Value:
    """An integer whose low half is n + offset, n a whole number of small size; the high bits are rubbish."""
    return lanes.as_int(lanes.add(n, lanes.const(1.5 * 2.0**lanes.mantissa + offset)))


def power_of_two(lanes: Lanes, n: ir.Value) -> ir.Value:
    """2^n for whole n from 1 - bias to bias."""
    mantissa = lanes.integer(lanes.mantissa)
    return lanes.as_float(lanes.builder.shl(low_bits(lanes, n, lanes.bias), mantissa))


def near_one(
    lanes: Lanes, x: ir.Value, name: str, inverses: Sequence[float]
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(k, place, r) with x = 2^k·(1 + r)/c, c being the number at the place, of which the lowest bits count.

    `name` must stand for the table all over the process; it has c about 1/m at the whole number nearest to m times its
    length, for m from 3/4 to 3/2.
    """
    k, m = split_any(lanes, x)
    place = lanes.as_int(lanes.add(m, lanes.const(1.5 * 2.0**lanes.mantissa / len(inverses))))
    return k, place, lanes.fma(m, lanes.lookup(name, inverses, place), lanes.const(-1.0))


def scale(lanes: Lanes, y: ir.Value, n: ir.Value) -> ir.Value:
    """y·2^n for whole n from -2·bias + 2 to 2·bias: by two factors, of which only the second rounds or overflows.

    Of a step the next whole number below; any n, NaN and infinite ones too, where steps are sixteenths.
    """
    if instructions.there():
        return lanes.instruction("scalef", y, n)
    builder, mantissa = lanes.builder, lanes.integer(lanes.mantissa)
    whole = low_bits(lanes, n, 2 * lanes.bias)
    half = builder.lshr(whole, lanes.integer(1))
    for biased in (half, builder.sub(whole, half)):
        y = lanes.mul(y, lanes.as_float(builder.shl(biased, mantissa)))
    return y


def scale_down(lanes: Lanes, y: ir.Value, n: ir.Value) -> ir.Value:
    """y·2^n for n <= 0 and 0 < y < 2^mantissa: what is below the smallest normal is rounded as a whole number of it.

    The machine's own way there takes a hundred cycles.
    """
    ones, lowest = lanes.const(2.0**lanes.mantissa), lanes.bias + lanes.mantissa - 1
    count = scale(lanes, y, lanes.add(n, lanes.const(lowest)))
    low = lanes.compare("<", count, ones)
    normal = scale(lanes, y, lanes.select(low, lanes.const(0.0), n))
    bits = lanes.builder.sub(lanes.as_int(lanes.add(count, ones)), lanes.as_int(ones))
    return lanes.select(low, lanes.as_float(bits), normal)


def split(lanes: Lanes, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(k, m) with x = 2^k·m and m from 3/4 to 3/2, for normal x > 0: x over 3/4, as integers."""
    builder = lanes.builder
    least = THREE_QUARTERS[lanes.double]
    ratio = builder.add(lanes.as_int(x), lanes.integer((lanes.bias << lanes.mantissa) - least))
    fraction = builder.and_(ratio, lanes.integer((1 << lanes.mantissa) - 1))
    exponent = builder.lshr(ratio, lanes.integer(lanes.mantissa))
    ones = 2.0**lanes.mantissa  # a float whose low bits count ones
    shifted = lanes.as_float(builder.or_(exponent, lanes.as_int(lanes.const(ones))))
    k = lanes.sub(shifted, lanes.const(ones + lanes.bias))
    return k, lanes.as_float(builder.add(fraction, lanes.integer(least)))


def split_any(lanes: Lanes, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """`split` of any x: k is -inf at 0 and inf at infinity, m is NaN where x < 0, k or m where x is NaN."""
    if instructions.there():
        k, m = lanes.instruction("getexp", x), lanes.instruction("getmant", x)
        below = lanes.compare("<", m, lanes.const(1.0))  # m is half of what belongs to k
        return lanes.select(below, lanes.add(k, lanes.const(1.0)), k), m
    digits, zero = lanes.mantissa + 1, lanes.const(0.0)
    subnormal = lanes.compare("<", x, lanes.const(2.0 ** (1 - lanes.bias)))
    k, m = split(lanes, lanes.select(subnormal, lanes.mul(x, lanes.const(2.0**digits)), x))
    k = lanes.sub(k, lanes.select(subnormal, lanes.const(digits), zero))
    k = lanes.select(lanes.compare("==", x, zero), lanes.const(-math.inf), k)
    k = lanes.select(lanes.compare("<", x, lanes.const(math.inf)), k, x)
    return k, lanes.select(lanes.compare("<", x, zero), lanes.const(math.nan), m)
