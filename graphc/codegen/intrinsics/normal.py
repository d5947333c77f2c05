"""The normal distribution as intrinsics: erfcx ndtr log_ndtr erfinv ndtri, float32 and float64.

    erfcx x = exp(x²)·erfc x = P/(1 + 2x) with the P of erfc, from 27.5 on (1 + …)/(x·sqrt(pi)); 2·exp(x²) - erfcx(-x)
    ndtr x = exp(-x²/2)·erfcx(-x/sqrt 2)/2 for x <= 0, where x² is held without error; 1 - ndtr(-x)
    erfinv y = y·P(w), w = -log(1 - y²)

Three polynomials have the quantiles (after Giles, GPU Computing Gems 2, 2011): in w below 6.25, beyond it in
(r - c)/(r + c) with r = sqrt(w), up to where p is the smallest float; with AVX-512 more of them, in w, do without.
Polynomials: interpolation at Chebyshev points with mpmath (tests/minimax_special.py), highest power first.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics.exponential import exp_of, exp_of_rest, step_and_rest, unless
from graphc.codegen.intrinsics.exponents import scale, split_any
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, in_plain_float64, shortened
from graphc.codegen.intrinsics.logarithmic import logarithm, multiple_plus_log
from graphc.codegen.intrinsics.pairs import LN2, Pair
from graphc.codegen.intrinsics.piecewise import NEAR_QUANTILE, QUANTILE, by_pieces
from graphc.codegen.intrinsics.rare import unless_special
from graphc.codegen.intrinsics.special import CENTRE as CENTRE_OF_ERFC
from graphc.codegen.intrinsics.special import scaled_erfc

# error 2^-60.9
ERFCX_FAR = (
    -28.906837224892225, 6.561596748033238, -1.8749994045349039, 0.7499999998280936, -0.4999999999999838, 1.0,
)  # fmt: skip
# error 2^-56.0
QUANTILE_NEAR = (
    -2.2171229987369406e-23, -3.19131889511806e-22, 4.547457808127695e-21, 1.7589192228725893e-20,
    -3.8370908938269377e-19, 6.705962242231697e-19, 1.6076094493642038e-17, -1.2311177490726577e-16,
    -4.5027519835723893e-17, 6.530558357847144e-15, -3.9982604938060145e-14, -8.077851651717256e-14,
    2.6303580317669455e-12, -1.297854890796217e-11, -5.41425203202834e-11, 1.0512226358831785e-09,
    -4.112661456471689e-09, -2.907038988803193e-08, 4.234788180813031e-07, -1.3654691774668238e-06,
    -1.3882523394836229e-05, 0.0001867342080208146, -0.000740702534154353, -0.0060336708714271384,
    0.2401581824255883, 1.6536545626831027,
)  # fmt: skip
# error 2^-55.6
QUANTILE_MEDIUM = (
    -175129513.90771067, -37941738.32454253, 80136208.47176248, 18104213.464611355, -19589074.208171044,
    -4596935.333145454, 3771858.9427442225, 786810.7508646008, -687226.4980039754, -73581.46771177072,
    115934.43251819222, -6511.712773341195, -14983.9668562465, 4023.413074562021, 893.7856338901522,
    -693.5183220919987, 121.30983685594836, 40.911371768801516, -15.231989338701537, 14.438372494260719,
    6.369214324921495, 8.125581100277193, 7.526265766935558, 7.9179968427571845, 7.82079543593085,
    3.713618605303242,
)  # fmt: skip
# error 2^-57.0
QUANTILE_FAR = (
    66.4599602425699, 60.45609264716661, 6.1852540000185146, 11.21484903089491, 30.59585194888959,
    28.78946895908074, 24.745496008987207, 25.2145623576391, 25.643853196394513, 25.690460502910256,
    25.533863791269184, 25.661910420854742, 25.533185963843305, 25.66962712781645, 25.53013139759005,
    25.66910295449322, 25.534296023292747, 25.661248705989287, 25.546686013619073, 25.644482913698624,
    25.569563506155276, 25.615830600862463, 25.609528077387033, 25.565044661139783, 25.712364763233168,
    12.704948512710178,
)  # fmt: skip
# each of the three for float32 and float64
QUANTILES = (
    (shortened(QUANTILE_NEAR, 3.125), shortened(QUANTILE_MEDIUM, 0.216), shortened(QUANTILE_FAR, 0.51)),
    (QUANTILE_NEAR, QUANTILE_MEDIUM, QUANTILE_FAR),
)
TABLE_END, TAIL_END = 27.5, 38.9  # where P is left, by x and by sqrt 2 times as much
NEAR, CENTRE = 6.25, 3.125  # where w is near, and the middle of it
MEDIUM_CENTRE, FAR_CENTRE, FAR_FROM = 3.875, 12.8, 6.0  # of r
ROOT_HALF, ROOT_TWO, INVERSE_ROOT_PI = math.sqrt(0.5), math.sqrt(2), 1 / math.sqrt(math.pi)


class Factors(NamedTuple):
    """erfc x is exponential·erfcx x, scaled by the step n, for x >= 0."""

    n: ir.Value
    exponential: ir.Value
    erfcx: ir.Value


def _factors(lanes: Lanes, x: ir.Value, unit: float, square: Pair) -> Factors:
    """Of erfc(x·unit), whose square is given, for what the table of P has."""
    t = lanes.div(lanes.add(x, x), lanes.add(x, lanes.const(CENTRE_OF_ERFC / unit)))
    scaled = lanes.fma(t, scaled_erfc(lanes, t), lanes.const(1.0))
    step, r = step_and_rest(lanes, *map(lanes.neg, square))
    divisor = lanes.fma(x, lanes.const(2 * unit), lanes.const(1.0))
    return Factors(step.n, exp_of_rest(lanes, step, r), lanes.div(scaled, divisor))


def _kind(lanes: Lanes) -> str:
    """What names of functions that are special somewhere end with."""
    return "_short" if lanes.short else ""


def _is_beyond(limit: float, lanes: Lanes, x: ir.Value) -> ir.Value:
    """Whether |x| is, or x is NaN."""
    return lanes.builder.not_(lanes.compare("<=", lanes.abs(x), lanes.const(limit)))


def _erfcx_near(lanes: Lanes, x: ir.Value, size: ir.Value) -> ir.Value:
    """erfcx x for a size in P's table."""
    square = lanes.two_product(size, size)
    positive = _factors(lanes, size, 1.0, square).erfcx
    exponential = exp_of(lanes, *square)
    reflected = lanes.sub(lanes.add(exponential, exponential), positive)
    return lanes.select(lanes.compare("<", x, lanes.const(0.0)), reflected, positive)


def _erfcx_far(lanes: Lanes, x: ir.Value) -> ir.Value:
    """erfcx x for what is beyond P's table."""
    inverse = lanes.div(lanes.const(1.0), x)
    series = lanes.horner(lanes.mul(inverse, inverse), ERFCX_FAR)
    return lanes.mul(lanes.mul(inverse, lanes.const(INVERSE_ROOT_PI)), series)


def _erfcx_beyond(lanes: Lanes, value: ir.Value, x: ir.Value) -> ir.Value:
    """For x > 0 by the series; what is as far below 0 is infinite."""
    near = _erfcx_near(lanes, x, lanes.clamp(lanes.abs(x), 0.0, TABLE_END))
    far = lanes.select(lanes.compare(">", x, lanes.const(TABLE_END)), _erfcx_far(lanes, x), near)
    return lanes.select(_is_beyond(TABLE_END, lanes, x), far, value)


@float_intrinsic
@in_plain_float64
def erfcx(lanes: Lanes, x: ir.Value) -> ir.Value:
    """exp(x²)·erfc x; overflows below -26.6."""
    value = _erfcx_near(lanes, x, lanes.abs(x))
    is_beyond = partial(_is_beyond, TABLE_END)
    return unless_special(lanes, f"graphc_erfcx{_kind(lanes)}", value, is_beyond, _erfcx_beyond, (x,))


def _tail(lanes: Lanes, size: ir.Value) -> Factors:
    """The factors of erfc(size/sqrt 2), for a size up to TAIL_END."""
    half = lanes.const(0.5)
    high, low = lanes.two_product(size, size)
    return _factors(lanes, size, ROOT_HALF, (lanes.mul(high, half), lanes.mul(low, half)))


def _lower_tail(lanes: Lanes, parts: Factors, size: ir.Value) -> ir.Value:
    """Half of erfc; 0 for a size beyond TAIL_END."""
    gone = lanes.compare(">", size, lanes.const(TAIL_END))
    product = unless(lanes, gone, lanes.mul(parts.exponential, parts.erfcx))
    return scale(lanes, product, lanes.sub(parts.n, lanes.const(1.0)))


@float_intrinsic
@in_plain_float64
def ndtr(lanes: Lanes, x: ir.Value) -> ir.Value:
    """erfc(-x/sqrt 2)/2."""
    size = lanes.abs(x)
    lower = _lower_tail(lanes, _tail(lanes, lanes.clamp(size, 0.0, TAIL_END)), size)
    return lanes.select(lanes.compare(">", x, lanes.const(0.0)), lanes.sub(lanes.const(1.0), lower), lower)


def _log_ndtr_near(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log(1 - tail) for x > 0, log(erfcx/2) - x²/2 for x <= 0, by one logarithm, for |x| up to TAIL_END."""
    size, zero, half, one = lanes.abs(x), lanes.const(0.0), lanes.const(0.5), lanes.const(1.0)
    parts, upper = _tail(lanes, size), lanes.compare(">", x, zero)
    tail = _lower_tail(lanes, parts, size)
    rest = lanes.sub(one, tail)
    lost = lanes.sub(lanes.sub(one, rest), tail)  # which counts for float32 too
    k, m = split_any(lanes, lanes.select(upper, rest, lanes.mul(parts.erfcx, half)))
    shrink = lanes.sub(one, k)  # 2^-k where k is 0 or -1, as that of the rest is
    f = lanes.fma(lanes.select(upper, lost, zero), shrink, lanes.sub(m, one))
    log = multiple_plus_log(lanes, k, f)
    high, low = lanes.two_product(size, lanes.mul(size, half))
    return lanes.select(upper, lanes.neg(lanes.abs(log)), lanes.sub(lanes.sub(log, low), high))


def _log_ndtr_beyond(lanes: Lanes, value: ir.Value, x: ir.Value) -> ir.Value:
    """log(erfcx/2) - x²/2 by erfcx's series for x < 0, 0 for x > 0."""
    size, zero, half = lanes.abs(x), lanes.const(0.0), lanes.const(0.5)
    scaled = lanes.mul(_erfcx_far(lanes, lanes.mul(size, lanes.const(ROOT_HALF))), half)
    high, low = lanes.two_product(size, lanes.mul(size, half))
    low = lanes.select(lanes.compare("<", size, lanes.const(2.0**500)), low, zero)  # beyond it, high may overflow
    lower = lanes.sub(lanes.sub(logarithm(lanes, scaled, None, LN2), low), high)
    far = lanes.select(lanes.compare(">", x, zero), lanes.const(-0.0), lower)
    return lanes.select(_is_beyond(TAIL_END, lanes, x), far, value)


@float_intrinsic
@in_plain_float64
def log_ndtr(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log of ndtr, also where that is 0."""
    value, is_beyond = _log_ndtr_near(lanes, x), partial(_is_beyond, TAIL_END)
    return unless_special(lanes, f"graphc_log_ndtr{_kind(lanes)}", value, is_beyond, _log_ndtr_beyond, (x,))


def _quantile(lanes: Lanes, y: ir.Value, rest: ir.Value, far: bool) -> ir.Value:
    """erfinv(y) for rest = 1 - y²; where that is below 2^-52, `far` is needed."""
    w = lanes.neg(logarithm(lanes, rest, None, LN2))
    if lanes.has_tables:
        return lanes.mul(y, lanes.add(*by_pieces(lanes, w, QUANTILE if far else NEAR_QUANTILE)))
    r = lanes.sqrt(w)
    near = lanes.compare("<", w, lanes.const(NEAR))
    distant = lanes.compare(">", r, lanes.const(FAR_FROM))
    centre: ir.Value = lanes.const(MEDIUM_CENTRE)
    centre = lanes.select(distant, lanes.const(FAR_CENTRE), centre) if far else centre
    ratio = lanes.div(lanes.sub(r, centre), lanes.add(r, centre))
    variable = lanes.select(near, lanes.sub(w, lanes.const(CENTRE)), ratio)
    table = lanes.table(*QUANTILES)
    choices = [(near, table[0]), *([(distant, table[2])] if far else []), (None, table[1])]
    return lanes.mul(y, lanes.horner_of(variable, *choices))


@float_intrinsic
@in_plain_float64
def erfinv(lanes: Lanes, x: ir.Value) -> ir.Value:
    """The inverse of erf."""
    one, size = lanes.const(1.0), lanes.abs(x)
    rest = lanes.mul(lanes.sub(one, size), lanes.add(one, size))
    value = _quantile(lanes, x, rest, far=False)
    return lanes.select(lanes.compare("==", size, one), lanes.copysign(lanes.const(math.inf), x), value)


@float_intrinsic
@in_plain_float64
def ndtri(lanes: Lanes, x: ir.Value) -> ir.Value:
    """sqrt 2·erfinv(2x - 1), down to the smallest x."""
    one, infinity = lanes.const(1.0), lanes.const(math.inf)
    y = lanes.fma(x, lanes.const(2.0), lanes.const(-1.0))
    rest = lanes.mul(lanes.mul(x, lanes.const(4.0)), lanes.sub(one, x))
    value = lanes.mul(_quantile(lanes, y, rest, far=True), lanes.const(ROOT_TWO))
    value = lanes.select(lanes.compare("==", x, one), infinity, value)
    return lanes.select(lanes.compare("==", x, lanes.const(0.0)), lanes.neg(infinity), value)
