"""sin, cos, tan and their inverses as Numba intrinsics, float32 and float64, within 2 units of the spacing.

In: one or two floats of one type.  Out: a float of it; special values as C99, Annex F.  Straight-line code with one
exception: sin, cos and tan from 2^17 on in float32, from 2^44 in float64 (`angle.py`).

Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics.angle import CANCELS, HUGE, PI, Angle, parts, reduce, reduce_huge
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic
from graphc.codegen.intrinsics.pairs import Pair
from graphc.codegen.intrinsics.rare import unless_rare

# sin x = x + x³·p(x²) on [0, 1.01·pi/4], error 2^-27.9 and 2^-57.8
SINE = (
    (-0.00019508562, 0.00833211, -0.16666654),
    (
        1.5893389759682302e-10, -2.5050700243724358e-08, 2.755731332799228e-06, -0.0001984126982877408,
        0.008333333333321136, -0.16666666666666627,
    ),
)  # fmt: skip

# cos x = 1 - x²/2 + x⁴·p(x²) on [0, 1.01·pi/4], error 2^-33.1 and 2^-63.9
COSINE = (
    (2.4430881e-05, -0.0013887302, 0.041666646),
    (
        -1.1357101814847948e-11, 2.087567448842649e-09, -2.7557313995896176e-07, 2.4801587288254125e-05,
        -0.0013888888888872158, 0.04166666666666659,
    ),
)  # fmt: skip

# tan x = x + x³·p(x²) on [0, 1.01·pi/4], error 2^-25.4 and 2^-55.6
TANGENT = (
    (0.009557059, 0.0028357853, 0.024603557, 0.053363644, 0.13339368, 0.33333135),
    (
        2.1751298511263108e-05, -4.857817543456086e-05, 9.6325541802417e-05, -3.388242547583795e-05,
        0.00014185694208819884, 0.00021978439293868484, 0.0005959479837364883, 0.0014545471689270894,
        0.003592323951783371, 0.008863215274882336, 0.021869489887387194, 0.05396825391491139, 0.1333333333343973,
        0.3333333333333259,
    ),
)  # fmt: skip

# atan x = x + x³·p(x²) on [0, 1], error 2^-28.3 and 2^-57.5
ARC_TANGENT = (
    (-0.0017704167, 0.010808225, -0.030974017, 0.057746187, -0.08390611, 0.10947579, -0.14263308, 0.19998454,
     -0.33333296),
    (
        1.3106194468563715e-05, -0.0001509669088532969, 0.00082577409857579, -0.0028690958167492484,
        0.007165514589975707, -0.013856385748353765, 0.02193745271999353, -0.029864802868332926,
        0.036616927426597876, -0.042179326019381215, 0.047218377827638054, -0.05253372740204917,
        0.05880494215121533, -0.06666398235336478, 0.07692279100140803, -0.09090906936789253, 0.11111111003070195,
        -0.14285714282430603, 0.19999999999948692, -0.3333333333333305,
    ),
)  # fmt: skip

# the same up to 0.0339, error 2^-61.1, float64
ARC_TANGENT_OF_STEP = (0.11085609339263225, -0.1428568956533832, 0.19999999990529424, -0.333333333333322)
# About 0 to 15 fifteenths, and their arc tangents, to a thousandth of the last place (Gal 1986)
SLOPES = (
    0.0, 0.06643778483072917, 0.13320363362630208, 0.20041437149047853, 0.26678492228190104, 0.3334821065266927,
    0.399718189239502, 0.4669794718424479, 0.533290417989095, 0.6000128746032715, 0.6667505900065104,
    0.733656628926595, 0.7999175071716309, 0.8664988199869792, 0.933621342976888, 0.9996700286865234,
)  # fmt: skip
ANGLES = (
    0.0, 0.06634029123364302, 0.13242409592209817, 0.19779396220684153, 0.2607127931165722, 0.32188444429409724,
    0.38026341319607937, 0.43688399458501004, 0.48992391405816593, 0.5404289668368666, 0.5880607020708607,
    0.632959038165139, 0.6746906396942979, 0.713994839118998, 0.7510829646805209, 0.7852331505174491,
)  # fmt: skip
LARGE = 2.0**1000  # of slopes; of this and its inverse the machine has a rough inverse

# asin x = x + x³·p(x²) on [0, 1/2], error 2^-27.5 and 2^-59.7
ARC_SINE = (
    (0.0421625, 0.024178796, 0.045471452, 0.07495277, 0.16666754),
    (
        0.03256583927490458, -0.020898809490814328, 0.021636856974466507, 0.0037352343200085705, 0.01077270078341017,
        0.011400238094136402, 0.013980662389073067, 0.017351624732641444, 0.022372214318213676, 0.03038194272950777,
        0.044642857174224136, 0.07499999999971095, 0.1666666666666676,
    ),
)  # fmt: skip


# circular functions
def sine_cosine(lanes: Lanes, high: ir.Value, low: ir.Value) -> tuple[Pair, Pair]:
    """sin and cos of high + low, |high| < 0.8, each as a float and a correction not yet added to it."""
    square = lanes.mul(high, high)
    half = lanes.fma(square, lanes.const(-0.5), lanes.const(1.0))
    half_error = lanes.fma(square, lanes.const(-0.5), lanes.sub(lanes.const(1.0), half))
    sine = lanes.two_chains(square, lanes.pick(*SINE))
    sine = lanes.fma(lanes.mul(square, high), sine, lanes.mul(low, half))
    cosine = lanes.two_chains(square, lanes.pick(*COSINE))
    cosine = lanes.fma(lanes.mul(square, square), cosine, lanes.fma(lanes.neg(high), low, half_error))
    return (high, sine), (half, cosine)


def _is_odd(lanes: Lanes, quadrant: ir.Value) -> ir.Value:
    return lanes.builder.icmp_unsigned("!=", lanes.builder.and_(quadrant, lanes.integer(1)), lanes.integer(0))


def _bit_as_sign(lanes: Lanes, integer: ir.Value, bit: int) -> ir.Value:
    """The sign bit, set if that bit of the integer is."""
    shifted = lanes.builder.shl(integer, lanes.integer(lanes.bits - 1 - bit))
    return lanes.builder.and_(shifted, lanes.integer(1 << (lanes.bits - 1)))


def _choose(lanes: Lanes, condition: ir.Value, a: Pair, b: Pair) -> Pair:
    return lanes.select(condition, a[0], b[0]), lanes.select(condition, a[1], b[1])


def _sine_of_angle(lanes: Lanes, angle: Angle) -> ir.Value:
    high, low, quadrant = angle
    odd = _is_odd(lanes, quadrant)
    if lanes.double:
        sine, cosine = sine_cosine(lanes, high, low)
        value = lanes.add(*_choose(lanes, odd, cosine, sine))
    else:
        value = _sine_or_cosine(lanes, high, low, odd)
    return lanes.flip(value, _bit_as_sign(lanes, quadrant, 1))


def _sine_or_cosine(lanes: Lanes, high: ir.Value, low: ir.Value, odd: ir.Value) -> ir.Value:
    """cos where `odd`, else sin, as base + base·x²·p(x²) with base 1 or x: short polynomials are chosen beforehand."""
    base = lanes.select(odd, lanes.const(1.0), high)
    square = lanes.mul(high, high)
    slope = lanes.horner_of(square, (odd, (*COSINE[0], -0.5)), (None, SINE[0]))
    rest = lanes.fma(lanes.mul(base, square), slope, lanes.select(odd, lanes.const(0.0), low))
    return lanes.add(base, rest)


def _cosine_of_angle(lanes: Lanes, angle: Angle) -> ir.Value:
    high, low, quadrant = angle
    return _sine_of_angle(lanes, (high, low, lanes.builder.add(quadrant, lanes.integer(1))))


def _tangent_of_angle(lanes: Lanes, angle: Angle) -> ir.Value:
    """tan r, or -cot r = -1/tan r, where the last rounding of tan r is up to a unit of the inverse."""
    high, low, quadrant = angle
    square = lanes.mul(high, high)
    low = lanes.fma(low, square, low)  # the slope of tan is 1 + tan² r, roughly 1 + r²
    rest = lanes.fma(lanes.mul(high, square), lanes.horner(square, lanes.pick(*TANGENT)), low)
    tangent = lanes.add(high, rest)
    return lanes.select(_is_odd(lanes, quadrant), lanes.div(lanes.const(-1.0), tangent), tangent)


OfAngle = Callable[[Lanes, Angle], ir.Value]


def _is_huge(lanes: Lanes, x: ir.Value) -> ir.Value:
    return lanes.compare(">=", x, lanes.const(lanes.pick(*HUGE)))


def _slowly(of_angle: OfAngle, scalar: Lanes, x: ir.Value, *_: ir.Value) -> ir.Value:
    """of_angle(the angle of x), for any x >= 0."""
    lanes = scalar.in_double()
    wide = x if scalar.double else scalar.widen(x)
    huge, least = _is_huge(lanes, wide), lanes.const(HUGE[1])
    below, above = reduce(lanes, wide), reduce_huge(lanes, lanes.select(huge, wide, least))
    angle = tuple(lanes.select(huge, a, b) for a, b in zip(above, below, strict=True))
    value = of_angle(lanes, angle)
    value = value if scalar.double else scalar.narrow(value)
    return scalar.select(scalar.compare("<", x, scalar.const(float("inf"))), value, scalar.const(float("nan")))


def _circular(lanes: Lanes, name: str, of_angle: OfAngle, x: ir.Value) -> ir.Value:
    """of_angle(the angle of |x|), by the reduction that fits |x|."""
    x = lanes.abs(x)
    common = of_angle(lanes, reduce(lanes, x, fine=lanes.double))
    return unless_rare(lanes, f"graphc_{name}_f{lanes.bits}", common, _is_huge, partial(_slowly, of_angle), (x,))


@float_intrinsic
def sin(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Sine: sin(q·pi/2 + r) is one of ±sin r, ±cos r, |r| <= pi/4; error below 1.6 and 0.9 ULP."""
    return lanes.flip(_circular(lanes, "sin", _sine_of_angle, x), lanes.sign_bit(x))


@float_intrinsic
def cos(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Cosine: sin((q + 1)·pi/2 + r) with the reduction of sin; error below 1.6 and 0.9 ULP."""
    return _circular(lanes, "cos", _cosine_of_angle, x)


@float_intrinsic
def tan(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Tangent: tan r in even quadrants, -1/tan r in odd ones; the largest errors found are 1.997 and 1.56 ULP."""
    size = lanes.abs(x)
    angle = reduce(lanes, size, cancels=False)
    common, slow = _tangent_of_angle(lanes, angle), partial(_slowly, _tangent_of_angle)
    value = unless_rare(lanes, f"graphc_tan_f{lanes.bits}", common, _is_huge_or_cancels, slow, (size, angle[0]))
    return lanes.flip(value, lanes.sign_bit(x))


def _is_huge_or_cancels(lanes: Lanes, x: ir.Value, angle: ir.Value) -> ir.Value:
    """Whether x is huge, or the angle may be nothing beside what it was taken from."""
    part = lanes.builder.sub(lanes.as_int(x), lanes.integer(lanes.pick(*CANCELS) << lanes.mantissa))  # by exponents
    small = lanes.builder.icmp_signed("<", lanes.as_int(lanes.abs(angle)), part)
    return lanes.builder.or_(small, _is_huge(lanes, x))


# inverse functions
def _around(lanes: Lanes, base: Pair, x: ir.Value, low: ir.Value) -> ir.Value:
    """base + x + low, where |base| >= |x| or base = 0, rounded about once."""
    high, error = lanes.fast_two_sum(base[0], x)
    return lanes.add(high, lanes.add(error, lanes.add(base[1], low)))


def _multiples(lanes: Lanes, *quarters: int) -> tuple[Pair, ...]:
    return tuple(_multiple(lanes, n) for n in quarters)


def _multiple(lanes: Lanes, quarters: int) -> Pair:
    """So many times pi/4, in two constants."""
    high, low = parts(PI * quarters / 4, 2, lanes.double)
    return lanes.const(high), lanes.const(low)


def _turned(lanes: Lanes, slope: ir.Value, quarters: tuple[ir.Value, ir.Value]) -> ir.Value:
    """A multiple of pi/4 in two words plus atan of a slope of at most 1, which is all where the multiple is 0."""
    base, low = quarters
    square = lanes.mul(slope, slope)
    table, last = lanes.pick(*ARC_TANGENT), lanes.pick(2, 4)
    tail = lanes.two_chains(square, table[:-last])  # of alternating signs, which cancel: the last powers one by one
    for coefficient in table[-last:]:
        tail = lanes.fma(tail, square, lanes.const(coefficient))
    rest = lanes.fma(lanes.mul(slope, square), tail, low)
    return lanes.add(base, lanes.add(slope, rest))


def _turned_by_step(
    lanes: Lanes, less: ir.Value, more: ir.Value, backwards: ir.Value, quarters: tuple[ir.Value, ir.Value]
) -> ir.Value:
    """A multiple of pi/4 plus atan(less/more), minus it where a sign bit is set, for 0 <= less <= more, and more within
    LARGE: the angle of a slope c nearby, and atan of (less/more - c)/(1 + c·less/more)."""
    base, low = quarters
    ratio = lanes.mul(less, lanes.instruction("rcp14", more))
    place = lanes.as_int(lanes.fma(ratio, lanes.const(len(SLOPES) - 1), lanes.const(1.5 * 2.0**lanes.mantissa)))
    c, angle = lanes.lookup("slope", SLOPES, place), lanes.lookup("angle", ANGLES, place)
    slope = lanes.div(lanes.fma(lanes.neg(c), more, less), lanes.fma(c, less, more))
    square = lanes.mul(slope, slope)
    rest = lanes.fma(lanes.mul(slope, square), lanes.horner(square, ARC_TANGENT_OF_STEP), slope)
    return lanes.add(base, lanes.add(lanes.flip(angle, backwards), lanes.add(lanes.flip(rest, backwards), low)))


@float_intrinsic
def atan(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Arc tangent: atan a = pi/2 + atan(-1/a) for a > 1; error below 1.8 ULP."""
    size, one = lanes.abs(x), lanes.const(1.0)
    steep = lanes.compare(">", size, one)
    quarters = _choose(lanes, steep, *_multiples(lanes, 2, 0))
    if lanes.has_tables:
        held = lanes.select(lanes.compare("<", size, lanes.const(LARGE)), size, lanes.const(LARGE))
        less, more = lanes.select(steep, one, size), lanes.select(steep, held, one)
        backwards = lanes.sign_bit(lanes.select(steep, lanes.const(-0.0), lanes.const(0.0)))
        turned = _turned_by_step(lanes, less, more, backwards, quarters)
    else:
        turned = _turned(lanes, lanes.select(steep, lanes.div(lanes.neg(one), size), size), quarters)
    return lanes.flip(turned, lanes.sign_bit(x))


class Octant(NamedTuple):
    """Where the point (x, y) lies: its smaller and larger coordinate, and what multiple of pi/4 their angle is added
    to, or taken from."""

    less: ir.Value
    more: ir.Value
    backwards: ir.Value
    quarters: tuple[ir.Value, ir.Value]


def _octant(lanes: Lanes, y: ir.Value, x: ir.Value) -> Octant:
    builder, zero = lanes.builder, lanes.const(0.0)
    height, width = lanes.abs(y), lanes.abs(x)
    steep = lanes.compare(">", height, width)
    less, more = lanes.select(steep, width, height), lanes.select(steep, height, width)
    left = builder.icmp_signed("<", lanes.as_int(x), lanes.integer(0))
    half, none = _multiples(lanes, 2, 0)
    quarters = _choose(lanes, steep, half, _choose(lanes, left, _multiple(lanes, 4), none))
    backwards = builder.xor(lanes.sign_bit(x), lanes.as_int(lanes.select(steep, lanes.const(-0.0), zero)))
    return Octant(less, more, backwards, quarters)


def _angle(lanes: Lanes, y: ir.Value, x: ir.Value) -> ir.Value:
    """atan2 for all points."""
    less, more, backwards, quarters = _octant(lanes, y, x)
    least, infinity = lanes.as_float(lanes.integer(1)), lanes.const(float("inf"))
    slope = lanes.div(less, lanes.select(lanes.compare("<", more, least), least, more))  # of the origin 0
    both = lanes.builder.and_(lanes.compare("==", less, infinity), lanes.compare("==", more, infinity))
    slope = lanes.select(both, lanes.const(1.0), slope)
    return lanes.flip(_turned(lanes, lanes.flip(slope, backwards), quarters), lanes.sign_bit(y))


def _is_not_within(lanes: Lanes, y: ir.Value, x: ir.Value) -> ir.Value:
    """Whether the larger coordinate is not from 1/LARGE to LARGE."""
    more = _octant(lanes, y, x).more
    least, most = (lanes.as_int(lanes.const(limit)) for limit in (1 / LARGE, LARGE))
    builder = lanes.builder
    return builder.icmp_unsigned(">=", builder.sub(lanes.as_int(more), least), builder.sub(most, least))


@float_intrinsic
def atan2(lanes: Lanes, y: ir.Value, x: ir.Value) -> ir.Value:
    """Angle of the point (x, y) in [-pi, pi]: pi/2 some times, and atan of smaller over larger; error below 1.8 ULP."""
    if not lanes.has_tables:
        return _angle(lanes, y, x)
    turned = _turned_by_step(lanes, *_octant(lanes, y, x))
    near = lanes.flip(turned, lanes.sign_bit(y))
    return unless_rare(lanes, "graphc_angle_f64", near, _is_not_within, _angle, (y, x))


def _half_arc(lanes: Lanes, a: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(far, s, low): asin s = s + low, where s = a, or sqrt((1 - a)/2) if a > 1/2 (then far)."""
    far = lanes.compare(">", a, lanes.const(0.5))
    square = lanes.select(far, lanes.fma(a, lanes.const(-0.5), lanes.const(0.5)), lanes.mul(a, a))
    s = lanes.select(far, lanes.sqrt(square), a)
    return far, s, lanes.mul(lanes.mul(s, square), lanes.two_chains(square, lanes.pick(*ARC_SINE)))


def _arc_from(lanes: Lanes, base: Pair, factor: ir.Value, s: ir.Value, low: ir.Value) -> ir.Value:
    """base + factor * asin s; the factor is 1 or 2, either sign, so its product with s is exact."""
    return _around(lanes, base, lanes.mul(factor, s), lanes.mul(factor, low))


@float_intrinsic
def asin(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Arc sine: asin a = pi/2 - 2·asin sqrt((1 - a)/2) for a > 1/2; error below 1.2 ULP."""
    far, s, low = _half_arc(lanes, lanes.abs(x))
    base = _choose(lanes, far, _multiple(lanes, 2), _multiple(lanes, 0))
    factor = lanes.select(far, lanes.const(-2.0), lanes.const(1.0))
    return lanes.flip(_arc_from(lanes, base, factor, s, low), lanes.sign_bit(x))


@float_intrinsic
def acos(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Arc cosine: pi/2 - asin x, or 2·asin sqrt((1 - |x|)/2) for |x| > 1/2, from pi if x < 0; error below 1.2 ULP."""
    far, s, low = _half_arc(lanes, lanes.abs(x))
    negative = lanes.compare("<", x, lanes.const(0.0))
    ends = _choose(lanes, negative, _multiple(lanes, 4), _multiple(lanes, 0))
    base = _choose(lanes, far, ends, _multiple(lanes, 2))
    factor = lanes.flip(lanes.select(far, lanes.const(2.0), lanes.const(-1.0)), lanes.sign_bit(x))
    return _arc_from(lanes, base, factor, s, low)
