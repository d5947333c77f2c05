"""Angles modulo a quarter turn, for sin, cos and tan: x = quadrant * pi/2 + high + low.

In: x >= 0.  Out: |high + low| <= 1.01 pi/4, low being small beside high unless nearly all cancels, and an integer whose
two lowest bits are the quadrant.  The error of high + low is below 2^-8 units of the spacing at high, but for some half
a unit where nearly all cancels, or where no more is asked for; infinity and NaN give NaN.

Below HUGE fma subtracts quadrant * pi/2 in three parts (Cody and Waite 1980): straight-line code.  In float32 the
number of turns is right up to 2^17.  From HUGE on the significand is multiplied by a window of the bits of 2/pi (Payne
and Hanek 1983).  That is scalar code which reads a table, taken lane by lane (`rare.py`): the window chosen by selects
would cost every argument, measured, 0.5 ns more in float32, and an estimated 3 ns in float64.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from llvmlite import ir

from graphc.codegen.intrinsics.lanes import I64, Lanes

I128 = ir.IntType(128)
Angle = tuple[ir.Value, ir.Value, ir.Value]


def _pi(bits: int) -> Fraction:
    """pi, cut after this many bits (Machin 1706: pi/4 = 4 arctan 1/5 - arctan 1/239)."""
    one = 1 << (bits + 16)

    def arctan_inverse(n: int) -> int:
        power, total, k = one // n, 0, 0
        while power:
            total += (power if k % 2 == 0 else -power) // (2 * k + 1)
            power, k = power // (n * n), k + 1
        return total

    return Fraction((16 * arctan_inverse(5) - 4 * arctan_inverse(239)) >> 16, 1 << bits)


PI = _pi(1400)


def parts(value: Fraction, count: int, double: bool = True) -> tuple[float, ...]:
    """Floats that sum up to `value`, each what the ones before it leave, rounded to float64 (or float32)."""
    floats: list[float] = []
    for _ in range(count):
        rest = float(value - sum(map(Fraction, floats)))
        floats.append(rest if double else float(np.float32(rest)))
    return tuple(floats)


HALF_PI = parts(PI / 2, 3)
# x·2^-this is an angle at most that is no larger than what the second part of pi/2 adds up to
CANCELS = (24, 53)
# below it the number of quarter turns is right but for ties, and x less so many times the first part of pi/2 is exact
HUGE = (2.0**17, 2.0**44)
# 64 zeros, then the bits of 2/pi after the point, in words of 64
TWO_OVER_PI = [int(2 / PI * (1 << 64 * i)) & ((1 << 64) - 1) for i in range(20)]


def reduce(lanes: Lanes, x: ir.Value, fine: bool = True, cancels: bool = True) -> Angle:
    """The angle of x, 0 <= x < HUGE of its type; unless it is `fine`, high is half a unit off.

    It may be nothing beside what it was taken from (below x·2^-CANCELS), unless the caller sees to that.

    x less turns by the first part of pi/2 is exact.  What `high` was rounded by is got from a difference that is exact
    too, but where nearly all cancels: there it is 0, or nothing beside `low`.
    """
    shift = lanes.const(1.5 * 2.0**lanes.mantissa)
    quadrant = lanes.fma(x, lanes.const(float(2 / PI)), shift)
    minus = lanes.sub(shift, quadrant)
    first, second, third = map(lanes.const, parts(PI / 2, 3, lanes.double))
    exact = lanes.fma(minus, first, x)
    high = lanes.fma(minus, second, exact)
    low = lanes.mul(minus, third)
    if fine:
        moved = lanes.sub(exact, high)
        missing = lanes.fma(minus, second, moved)
        if cancels:
            known = lanes.compare("==", lanes.sub(exact, moved), high)
            missing = lanes.select(known, missing, lanes.const(0.0))
        # where x·2^-CANCELS or more is left, the third part of float32 is a third of a unit at most
        low = lanes.fma(minus, third, missing) if cancels or lanes.double else missing
    return high, low, lanes.as_int(quadrant)


def reduce_huge(lanes: Lanes, x: ir.Value) -> Angle:
    """The angle of a float64 2^17 <= x < inf, in scalar code.

    x = significand * 2^(exponent - 1075).  The window is 2/pi * 2^(exponent - 885) modulo 2^192, so it starts at bit
    exponent - 1013 of the stream; the product modulo 2^192 has 190 bits after the point, of which 126 are kept.
    """
    builder = lanes.builder
    bits = lanes.as_int(x)
    start = builder.sub(builder.lshr(bits, I64(52)), I64(1013))
    top, middle, bottom = _load_window(builder, start)
    significand = builder.or_(builder.and_(bits, I64((1 << 52) - 1)), I64(1 << 52))
    wide = builder.zext(significand, I128)
    product = builder.shl(builder.zext(builder.mul(significand, top), I128), I128(64))
    product = builder.add(product, builder.mul(wide, builder.zext(middle, I128)))
    product = builder.add(product, builder.lshr(builder.mul(wide, builder.zext(bottom, I128)), I128(64)))
    turns = builder.lshr(builder.add(product, I128(1 << 125)), I128(126))
    high, low = _quarter_turns(lanes, builder.shl(product, I128(2)))
    return high, low, builder.trunc(turns, I64)


def _load_window(builder: ir.IRBuilder, start: ir.Value) -> list[ir.Value]:
    """Three words of 64 bits from bit `start` (at least 0) of 2/pi."""
    name = "graphc_two_over_pi"
    table = builder.module.globals.get(name)
    if table is None:
        table = ir.GlobalVariable(builder.module, ir.ArrayType(I64, len(TWO_OVER_PI)), name)
        table.linkage, table.global_constant = "internal", True
        table.initializer = ir.Constant(table.value_type, TWO_OVER_PI)
    index = builder.lshr(start, I64(6))
    chosen = []
    for i in range(4):
        place = builder.gep(table, [I64(0), builder.add(index, I64(i))])
        chosen.append(builder.load(place))
    shift = builder.and_(start, I64(63))
    funnel = builder.module.declare_intrinsic("llvm.fshl", [I64], ir.FunctionType(I64, [I64, I64, I64]))
    return [builder.call(funnel, [chosen[i], chosen[i + 1], shift]) for i in range(3)]


def _quarter_turns(lanes: Lanes, fraction: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The angle, as high + low, of a signed number of 2^-128 quarter turns.

    Three pieces of 32 (signed), 48 and 48 bits convert exactly; what is summed before a piece is zero or no smaller
    than it.
    """
    builder = lanes.builder
    pieces = []
    for piece, unit in ((builder.ashr(fraction, I128(96)), 96), (builder.lshr(fraction, I128(48)), 48), (fraction, 0)):
        word = builder.trunc(piece, I64)
        if unit < 96:
            word = builder.and_(word, I64((1 << 48) - 1))
        pieces.append(lanes.mul(lanes.from_int(word), lanes.const(2.0 ** (unit - 128))))
    high, error = lanes.fast_two_sum(pieces[0], pieces[1])
    high, low = lanes.fast_two_sum(high, pieces[2])
    low = lanes.add(low, error)
    product, product_error = lanes.two_product(high, lanes.const(HALF_PI[0]))
    product_error = lanes.fma(high, lanes.const(HALF_PI[1]), product_error)
    return lanes.fast_two_sum(product, lanes.fma(low, lanes.const(HALF_PI[0]), product_error))
