"""Powers and roots as intrinsics: sqrt rsqrt cbrt hypot pow whole_power half_power, float32 and float64.

Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.codegen.intrinsics import instructions
from graphc.codegen.intrinsics.exponential import exp2_near_zero
from graphc.codegen.intrinsics.exponents import near_one, scale
from graphc.codegen.intrinsics.inverses import INVERSES
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, machine_intrinsic
from graphc.codegen.intrinsics.pairs import LOG2_E, Pair, constant, product, total
from graphc.codegen.intrinsics.rare import unless_special

ROUGH_SHARE = 0.06802  # of a power of two, which makes the largest error of the rough cube root as small as can be
# (log2(1 + r) - log2(e)·(r - r²/2))/r³ for the r of INVERSES; the error is 2^-19.3 and 2^-54.6
LOG2_TAIL = (
    (0.28837284, -0.36082897, 0.4808984),
    (
        -0.1188413049605411, 0.13190692333072515, -0.14427928549904576, 0.16029765922176786, -0.18033686108713795,
        0.2060992932955839, -0.2404491734944422, 0.28853900817720257, -0.36067376022223857, 0.48089834696298783,
    ),
)  # fmt: skip
ROOT_TAIL = (35 / 128, 5 / 16, 3 / 8, 1 / 2)  # ((1 - h)^(-1/2) - 1)/h
SCALES = ((-200.0, 200.0), (-1100.0, 1100.0))  # beyond, powers of two are 0 or infinite


@machine_intrinsic
def sqrt(lanes: Lanes, x: ir.Value) -> ir.Value:
    """The machine's square root, rounded once; 0.5 and 0.5."""
    return lanes.sqrt(x)


@machine_intrinsic
def rsqrt(lanes: Lanes, x: ir.Value) -> ir.Value:
    """1/sqrt(x), rounded twice, or with AVX-512 from a rough one; 1.5 or 0.99, and 1.5 or 1.0."""
    return _inverse_root(lanes, x)


def _inverse_root(lanes: Lanes, x: ir.Value) -> ir.Value:
    if not instructions.there():
        return lanes.div(lanes.const(1.0), lanes.sqrt(x))
    rough = lanes.instruction("rsqrt14", x)
    rest = lanes.fma(lanes.neg(lanes.mul(x, rough)), rough, lanes.const(1.0))
    slope = lanes.horner(rest, lanes.pick(ROOT_TAIL[2:], ROOT_TAIL))
    near = lanes.fma(lanes.mul(rough, rest), slope, rough)
    return lanes.select(lanes.compare("==", rest, rest), near, rough)  # of 0 and infinity it is exact, of others NaN


@float_intrinsic
def hypot(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """sqrt(x² + y²), both operands multiplied by 2^s first where squares would overflow or underflow; 1.19 and 1.18."""
    x, y = lanes.abs(x), lanes.abs(y)
    reach = lanes.bias // 2 - 3
    shift = 3 * lanes.bias // 4  # brings any operand whose square matters to where squares are normal
    top = lanes.select(lanes.compare(">", x, y), x, y)
    large = lanes.compare(">", top, lanes.const(2.0**reach))
    small = lanes.compare("<", top, lanes.const(2.0 ** -(reach - lanes.mantissa)))
    one = lanes.const(1.0)
    up, down = lanes.const(2.0**shift), lanes.const(2.0**-shift)
    before = lanes.select(large, down, lanes.select(small, up, one))
    after = lanes.select(large, up, lanes.select(small, down, one))
    a, b = lanes.mul(x, before), lanes.mul(y, before)
    root = lanes.mul(lanes.sqrt(lanes.fma(a, a, lanes.mul(b, b))), after)
    infinite = lanes.builder.or_(*(lanes.compare("==", v, lanes.const(math.inf)) for v in (x, y)))
    return lanes.select(infinite, lanes.const(math.inf), root)


@float_intrinsic
def cbrt(lanes: Lanes, x: ir.Value) -> ir.Value:
    """cbrt m = m·v² for v near m^(-1/3), then a step by its remainder; small x are brought to where that is normal."""
    common = lanes.copysign(_cube_root(lanes, lanes.abs(x)), x)
    return unless_special(lanes, f"graphc_cbrt_f{lanes.bits}", common, _is_small_or_infinite, _small_or_infinite, (x,))


def _cube_root(lanes: Lanes, m: ir.Value) -> ir.Value:
    v = nearer_inverse_cube_root(lanes, m, rough_inverse_cube_root(lanes, m))
    v = nearer_inverse_cube_root(lanes, m, v) if lanes.double else v
    square = lanes.mul(v, v)
    root = lanes.mul(m, square)
    excess = lanes.fma(lanes.mul(root, root), root, lanes.neg(m))
    return lanes.fma(excess, lanes.mul(square, lanes.const(-1 / 3)), root)


def _smallest_cube(lanes: Lanes) -> float:
    return float(2.0 ** (3 * lanes.mantissa - lanes.bias))


def _is_small_or_infinite(lanes: Lanes, x: ir.Value) -> ir.Value:
    """By the bits; NaN is taken for infinite."""
    least, infinity = (lanes.as_int(lanes.const(limit)) for limit in (_smallest_cube(lanes), math.inf))
    above = lanes.builder.sub(lanes.as_int(lanes.abs(x)), least)
    return lanes.builder.icmp_unsigned(">=", above, lanes.builder.sub(infinity, least))


def _small_or_infinite(lanes: Lanes, root: ir.Value, x: ir.Value) -> ir.Value:
    size, scale_up, scale_down = lanes.abs(x), 2.0 ** (3 * lanes.mantissa), 2.0**-lanes.mantissa
    small = lanes.compare("<", size, lanes.const(_smallest_cube(lanes)))
    of_small = lanes.mul(_cube_root(lanes, lanes.mul(size, lanes.const(scale_up))), lanes.const(scale_down))
    root = lanes.select(small, lanes.copysign(of_small, x), root)
    return lanes.select(lanes.compare("<", size, lanes.const(math.inf)), root, x)


def rough_inverse_cube_root(lanes: Lanes, m: ir.Value) -> ir.Value:
    """m^(-1/3) within 3.6 %: the bits of a float are, roughly, its logarithm, here those that fit a mantissa."""
    builder, ones, shift = lanes.builder, 2.0**lanes.mantissa, lanes.integer(lanes.bits - lanes.mantissa)
    logarithm = builder.or_(builder.lshr(lanes.as_int(m), shift), lanes.as_int(lanes.const(ones)))
    level = (4 / 3 * lanes.bias - ROUGH_SHARE) * 2.0 ** (2 * lanes.mantissa - lanes.bits)
    third = lanes.fma(lanes.as_float(logarithm), lanes.const(-1 / 3), lanes.const(round(level + 4 / 3 * ones)))
    return lanes.as_float(builder.shl(lanes.as_int(third), shift))


def nearer_inverse_cube_root(lanes: Lanes, m: ir.Value, v: ir.Value) -> ir.Value:
    """v·(1 - h)^(-1/3) to third order in h = 1 - m·v³."""
    h = lanes.fma(lanes.neg(lanes.mul(lanes.mul(m, v), v)), v, lanes.const(1.0))
    return lanes.fma(lanes.mul(v, h), lanes.horner(h, (14 / 81, 2 / 9, 1 / 3)), v)


@float_intrinsic
def pow(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """|x|^y = 2^(y·log2 |x|), the exponent as a pair, and sign and special values by C99; 1.13 and 1.37."""
    power = exp2_of_product(lanes, log2_pair(lanes, lanes.abs(x)), y)
    return unless_special(lanes, f"graphc_pow_f{lanes.bits}", power, _is_special, _settled, (x, y))


@float_intrinsic
def whole_power(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y of a whole number y, -16 < y < 16, by squares and products that are pairs; 1.3 and 1.2.

    Where y is a constant, LLVM knows which of them are wanted.
    """
    zero, one = lanes.const(0.0), lanes.const(1.0)
    inverse, is_inverse = lanes.div(one, x), lanes.compare("<", y, zero)
    rest = lanes.mul(lanes.fma(lanes.neg(inverse), x, one), inverse)
    base = _either(lanes, is_inverse, (inverse, rest), (x, zero))
    power, is_odd = _power_of_pair(lanes, base, lanes.abs(y))
    return lanes.select(is_odd, lanes.copysign(power, x), power)  # zeros of pairs have no sign


@float_intrinsic
def half_power(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y of half of an odd number y, -8 < y < 8: a power of the root or of its inverse, as pairs; 1.5 and 1.5.

    Where y is a constant, LLVM knows which of them are wanted.  As of any power, -infinity and -0 have no sign.
    """
    zero, infinity = lanes.const(0.0), lanes.const(math.inf)
    x = lanes.add(lanes.select(lanes.compare("==", x, lanes.const(-math.inf)), infinity, x), zero)
    inverse, is_inverse = _inverse_root(lanes, x), lanes.compare("<", y, zero)
    root, lost = lanes.two_product(x, inverse)
    excess = lanes.fma(lanes.neg(lost), inverse, lanes.fma(lanes.neg(root), inverse, lanes.const(1.0)))
    rest = lanes.mul(lanes.mul(inverse, excess), lanes.const(0.5))
    base = _either(lanes, is_inverse, (inverse, rest), (root, lanes.fma(x, rest, lost)))
    n = lanes.mul(lanes.abs(y), lanes.const(2.0))
    power, _ = _power_of_pair(lanes, base, n)
    has_root = lanes.builder.and_(lanes.compare("!=", x, zero), lanes.compare("!=", x, infinity))
    power = lanes.select(has_root, power, lanes.select(is_inverse, inverse, x))
    is_root = lanes.compare("==", n, lanes.const(1.0))
    return lanes.select(is_root, lanes.select(is_inverse, inverse, lanes.sqrt(x)), power)


def _power_of_pair(lanes: Lanes, base: Pair, n: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The power for a whole number 0 <= n < 16, and whether n is odd."""
    zero, one = lanes.const(0.0), lanes.const(1.0)
    power, left, begun, is_odd = (one, zero), n, *[lanes.compare("<", one, zero)] * 2
    for bit in map(lanes.const, (8.0, 4.0, 2.0, 1.0)):
        is_odd = lanes.compare(">=", left, bit)
        left = lanes.select(is_odd, lanes.sub(left, bit), left)
        square = product(lanes, power, power)
        more = _either(lanes, is_odd, product(lanes, square, base), square)
        power = _either(lanes, begun, more, _either(lanes, is_odd, base, (one, zero)))
        begun = lanes.builder.or_(begun, is_odd)
    high = power[0]
    is_finite, is_some = lanes.compare("<", lanes.abs(high), lanes.const(math.inf)), lanes.compare("!=", high, zero)
    return lanes.select(lanes.builder.and_(is_finite, is_some), total(lanes, power), high), is_odd


def _either(lanes: Lanes, condition: ir.Value, a: Pair, b: Pair) -> Pair:
    return lanes.select(condition, a[0], b[0]), lanes.select(condition, a[1], b[1])


def exp2_of_product(lanes: Lanes, log: Pair, y: ir.Value, doublings: ir.Value | None = None) -> ir.Value:
    """2^(y·log + doublings), which may overflow; the product is a pair."""
    exponent, low = lanes.two_product(y, log[0])
    n = lanes.rint(lanes.fma(y, log[1], exponent))
    rest = lanes.add(lanes.sub(exponent, n), lanes.fma(y, log[1], low))
    n = n if doublings is None else lanes.add(n, doublings)
    near_one = exp2_near_zero(lanes, lanes.bound(rest, -1.0, 1.0))
    if not instructions.there():
        n = lanes.clamp(n, *lanes.pick(*SCALES))  # their scalef takes any
    return scale(lanes, near_one, n)


def log2_pair(lanes: Lanes, x: ir.Value) -> Pair:
    """log2 x for finite x > 0 in two parts, the second up to 2^-13 of the first: x = 2^k·(1 + r)/c, c of INVERSES."""
    table = lanes.pick(*INVERSES)
    k, place, r = near_one(lanes, x, "inverse", table.inverse)
    whole = lanes.add(k, lanes.lookup("log2", table.log, place))  # exact
    half, (square, square_low) = lanes.const(-0.5), lanes.two_product(r, r)
    main = lanes.fma(square, half, r)
    lost = lanes.fma(square_low, half, lanes.fma(square, half, lanes.sub(r, main)))
    unit, unit_low = constant(lanes, LOG2_E)
    leading, low = lanes.two_product(main, unit)
    low = lanes.fma(lost, unit, lanes.fma(main, unit_low, low))
    low = lanes.fma(lanes.mul(square, r), lanes.horner(r, lanes.pick(*LOG2_TAIL)), low)
    high, rest = lanes.fast_two_sum(whole, leading)
    return high, lanes.add(rest, lanes.add(low, lanes.lookup("log2_rest", table.rest, place)))


def _is_special(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """Whether x is not positive or one of both not finite, by their bits."""
    builder, infinity = lanes.builder, ((2 * lanes.bias + 1) << lanes.mantissa)
    below_x = builder.sub(lanes.as_int(x), lanes.integer(1))
    twice_y = builder.shl(lanes.as_int(y), lanes.integer(1))
    bad_x = builder.icmp_unsigned(">=", below_x, lanes.integer(infinity - 1))
    return builder.or_(bad_x, builder.icmp_unsigned(">=", twice_y, lanes.integer(2 * infinity)))


def _settled(lanes: Lanes, power: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y given |x|^y where that is no limit: limits, x's sign for odd y, NaN for negative x and y not whole, and 1 for
    x = 1 or y = 0 even with NaN."""
    builder, zero, one, infinity = lanes.builder, lanes.const(0.0), lanes.const(1.0), lanes.const(math.inf)
    size = lanes.abs(x)
    ends = builder.or_(lanes.compare("==", size, zero), lanes.compare("==", size, infinity))
    ends = builder.or_(ends, lanes.compare("==", lanes.abs(y), infinity))
    unknown = lanes.either_nan(x, y)
    shrinks = builder.xor(lanes.compare(">", size, one), lanes.compare(">", y, zero))
    power = lanes.select(ends, lanes.select(shrinks, zero, infinity), power)
    power = lanes.select(unknown, lanes.const(math.nan), power)
    power = lanes.select(lanes.compare("==", size, one), one, power)
    whole = lanes.compare("==", lanes.rint(y), y)
    half = lanes.mul(y, lanes.const(0.5))
    odd = builder.and_(whole, lanes.compare("!=", lanes.rint(half), half))
    power = lanes.copysign(power, lanes.select(odd, x, one))
    negative = builder.and_(lanes.compare("<", x, zero), lanes.compare(">", x, lanes.neg(infinity)))
    power = lanes.select(builder.and_(negative, builder.not_(whole)), lanes.const(math.nan), power)
    return lanes.select(lanes.compare("==", y, zero), one, power)
