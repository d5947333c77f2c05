"""gammaln and digamma as intrinsics, float32 and float64; special values as C99 and SciPy.

    0 < x < 8   gammaln p = (p - 1)(p - 2)·G, digamma p = (p - ZERO)·G: the zeros are factors, so no digits go near them
    8 <= x      Stirling's series
    x < 0       reflection, lane by lane: who has likelihoods has x > 0

G is a polynomial in s = (p - c)/(p + c), c = 1 below 2 and 4 above, with p = x from 1/2 on.  Below it p is x + 1, and
the step from x is made by log x or 1/x.
Polynomials: interpolation at Chebyshev points with mpmath (tests/minimax_special.py), highest power first.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics.angle import PI, parts
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, in_plain_float64, shortened
from graphc.codegen.intrinsics.logarithmic import log_in_terms, logarithm
from graphc.codegen.intrinsics.pairs import LN2, Pair, product, quotient, total
from graphc.codegen.intrinsics.rare import unless_rare
from graphc.codegen.intrinsics.trigonometric import sine_cosine

# error 2^-54.2
GAMMALN_NEAR = (
    -0.046106700871703384, 0.042754524274209914, -0.02430211192149397, 0.02369389141914847, -0.034497031952919005,
    0.03238271268771238, -0.038850175055752355, 0.036351706452587666, -0.04604829074178912, 0.04260881291356496,
    -0.05633645499360727, 0.051359917828663816, -0.0724964958469808, 0.06462417257285816, -0.10147337754641468,
    0.08701556721839289, -0.1682009506443873, 0.13123432641066837, -0.49050273704516045, 0.5772156649015329,
)  # fmt: skip
# error 2^-53.4
GAMMALN_MIDDLE = (
    -0.04063518066399182, 0.04024821306016413, -0.02088822527237609, 0.021854157771971423, -0.029404332114805174,
    0.02985462657235705, -0.03244413224210268, 0.03313820537097542, -0.037536952822649426, 0.03836886500758346,
    -0.04451875711320314, 0.04557122596122213, -0.05504156214000284, 0.0564575933162713, -0.07321835498283347,
    0.07542463365102418, -0.11429311744755237, 0.11915394488448501, -0.31602029678877136, 0.2986265782046758,
)  # fmt: skip
# error 2^-54.0
STIRLING = (
    0.004980233245697777, -0.001886026056198474, 0.0008413848381460077, -0.0005952357835782889,
    0.0007936507860923872, -0.0027777777777668144, 0.08333333333333333,
)  # fmt: skip
# error 2^-55.8
DIGAMMA_NEAR = (
    2.6450856409313337, -2.671937215941247, 0.9771625896736874, -0.9621099012394186, 1.4299159810700024,
    -1.4384101642067733, 1.3604564241201562, -1.3633011262619141, 1.3663781416574128, -1.3714688346450425,
    1.3652169789787025, -1.3719726474315717, 1.363954285170185, -1.3736686223361225, 1.36169106138228,
    -1.3768340115816355, 1.3570600884015478, -1.384011780046313, 1.3450715669192095, -1.4059662366919763,
    1.3004863679558645, -1.7093867212035752, 1.2503801375034054,
)  # fmt: skip
# error 2^-55.1
DIGAMMA_MIDDLE = (
    0.6118515155634208, -0.66539026208122, 0.27584898206860614, -0.24215035223129247, 0.3487129325657084,
    -0.35924488305122565, 0.3415349563066553, -0.3410233212244957, 0.34158481975515764, -0.34319580142240047,
    0.34172107544277647, -0.34386234373175134, 0.34219500892182025, -0.34575274370735437, 0.343894805944096,
    -0.35064326422754105, 0.3492171527669877, -0.364335395726716, 0.36562796373947987, -0.40875540866333127,
    0.4219998899015747, -0.665087338506167, 0.4948524958436903,
)  # fmt: skip
# error 2^-54.0
DIGAMMA_FAR = (
    -0.2783490342627995, 0.07878769623480823, -0.021022079453322812, 0.007575113717441801, -0.004166663286354425,
    0.003968253958722231, -0.008333333333321119, 0.08333333333333333,
)  # fmt: skip
DIGAMMA_ZERO = (1.4616321449683622, 9.549995429965697e-17)  # the positive zero of digamma
STIRLING_CONSTANT = 0.4189385332046727  # (log 2·pi - 1)/2
TINY, MIDDLE, FAR = 0.5, 2.0, 8.0
REACH = 1 / 3  # of s in either table
# near and middle, for float32 and float64
GAMMALN, DIGAMMA = (
    (tuple(shortened(table, REACH) for table in both), both)
    for both in ((GAMMALN_NEAR, GAMMALN_MIDDLE), (DIGAMMA_NEAR, DIGAMMA_MIDDLE))
)
OVERFLOW = 2.5563481638716906e305  # the largest x whose gammaln is a float64
PI_PAIR = parts(PI, 2)


class Place(NamedTuple):
    """Where x stands: below TINY, whether in the upper table, and s."""

    tiny: ir.Value
    middle: ir.Value
    s: ir.Value


def _place(lanes: Lanes, x: ir.Value) -> Place:
    """For 0 < x < FAR; the numerator of s has no error."""
    tiny, middle = lanes.compare("<", x, lanes.const(TINY)), lanes.compare(">=", x, lanes.const(MIDDLE))
    centre = lanes.select(middle, lanes.const(4.0), lanes.const(1.0))
    numerator = lanes.select(tiny, x, lanes.sub(x, centre))
    denominator = lanes.add(x, lanes.select(tiny, lanes.const(2.0), centre))
    return Place(tiny, middle, lanes.div(numerator, denominator))


def _gammaln_near(lanes: Lanes, x: ir.Value, log: Pair) -> ir.Value:
    """gammaln x for 0 < x < FAR, given log x for what is below TINY."""
    place, one, zero = _place(lanes, x), lanes.const(1.0), lanes.const(0.0)
    tables = lanes.table(*GAMMALN)
    polynomial = lanes.horner_of(place.s, (place.middle, tables[1]), (None, tables[0]))
    below_one = lanes.select(place.tiny, x, lanes.sub(x, one))
    below_two = lanes.sub(x, lanes.select(place.tiny, one, lanes.const(2.0)))
    high, low = (lanes.select(place.tiny, lanes.neg(part), zero) for part in log)
    return lanes.add(lanes.fma(lanes.mul(below_one, below_two), polynomial, low), high)


def _gammaln_far(lanes: Lanes, x: ir.Value, log: Pair) -> ir.Value:
    """Stirling's formula as (x - 1/2)·(log x - 1) + …, for x >= FAR."""
    inverse = lanes.div(lanes.const(1.0), x)
    rest = lanes.fma(inverse, lanes.horner(lanes.mul(inverse, inverse), STIRLING), lanes.const(STIRLING_CONSTANT))
    lead = lanes.sub(x, lanes.const(0.5))
    return lanes.fma(lead, lanes.sub(log[0], lanes.const(1.0)), lanes.fma(lead, log[1], rest))


def _gammaln_positive(lanes: Lanes, x: ir.Value, log: Pair) -> ir.Value:
    """gammaln x for 0 < x < OVERFLOW, given log x."""
    near, limit = lanes.compare("<", x, lanes.const(FAR)), lanes.const(FAR)
    inner = _gammaln_near(lanes, lanes.select(near, x, limit), log)
    return lanes.select(near, inner, _gammaln_far(lanes, lanes.select(near, limit, x), log))


def _half_turns(lanes: Lanes, x: ir.Value) -> tuple[Pair, Pair]:
    """sin and cos of pi·x, but for a common sign, for any finite x."""
    rest = lanes.sub(x, lanes.rint(x))  # exact, in [-1/2, 1/2]
    steep = lanes.compare(">", lanes.abs(rest), lanes.const(0.25))
    angle = lanes.select(steep, lanes.copysign(lanes.sub(lanes.const(0.5), lanes.abs(rest)), rest), rest)
    pi = lanes.const(PI_PAIR[0]), lanes.const(PI_PAIR[1])
    turned = lanes.fast_two_sum(*product(lanes, (angle, lanes.const(0.0)), pi))
    sine, cosine = (lanes.fast_two_sum(*pair) for pair in sine_cosine(lanes, *turned))
    negative = lanes.sign_bit(rest)

    def swapped(a: Pair, b: Pair) -> Pair:
        return lanes.select(steep, a[0], b[0]), lanes.select(steep, a[1], b[1])

    odd = lanes.flip(cosine[0], negative), lanes.flip(cosine[1], negative)
    even = lanes.flip(sine[0], negative), lanes.flip(sine[1], negative)
    return swapped(odd, sine), swapped(even, cosine)


def _gammaln_branched(lanes: Lanes, x: ir.Value, log: Pair) -> ir.Value:
    """`_gammaln_positive` in scalar code, which computes one of both."""
    with lanes.builder.if_else(lanes.compare("<", x, lanes.const(FAR))) as (near, far):
        with near:
            inner, inner_block = _gammaln_near(lanes, x, log), lanes.builder.block
        with far:
            outer, outer_block = _gammaln_far(lanes, x, log), lanes.builder.block
    value = lanes.builder.phi(lanes.float)
    value.add_incoming(inner, inner_block)
    value.add_incoming(outer, outer_block)
    return value


def _gammaln_reflected(lanes: Lanes, x: ir.Value) -> ir.Value:
    """gammaln x for x < 0: -log(|x·sin(pi·x)|/pi) - gammaln |x|; below TINY x is left to gammaln(|x| + 1)."""
    size, zero = lanes.abs(x), lanes.const(0.0)
    sine = lanes.abs(total(lanes, _half_turns(lanes, size)[0]))
    tiny = lanes.compare("<", size, lanes.const(TINY))
    factor = lanes.mul(lanes.mul(sine, lanes.const(1 / math.pi)), lanes.select(tiny, lanes.const(1.0), size))
    log, base = log_in_terms(lanes, factor), log_in_terms(lanes, size)
    whole = _gammaln_branched(lanes, size, (lanes.select(tiny, zero, base[0]), lanes.select(tiny, zero, base[1])))
    value = lanes.neg(lanes.add(lanes.add(whole, log[1]), log[0]))
    pole = lanes.compare("==", lanes.rint(size), size)
    return lanes.select(pole, lanes.const(math.inf), value)


@float_intrinsic
@in_plain_float64
def gammaln(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log|gamma x|.  Below -2, near its zeros, the error counts in units of gammaln |x|."""
    infinity, zero = lanes.const(math.inf), lanes.const(0.0)
    value = _gammaln_positive(lanes, x, log_in_terms(lanes, x))
    large = lanes.compare(">", lanes.abs(x), lanes.const(OVERFLOW))
    value = lanes.select(lanes.builder.or_(large, lanes.compare("==", x, zero)), infinity, value)
    return unless_rare(lanes, "graphc_gammaln", value, partial(_between, -OVERFLOW, 0.0), _gammaln_reflected, (x,))


def _between(low: float, high: float, lanes: Lanes, x: ir.Value) -> ir.Value:
    """Whether low <= x < high."""
    return lanes.builder.and_(lanes.compare(">=", x, lanes.const(low)), lanes.compare("<", x, lanes.const(high)))


def _digamma_near(lanes: Lanes, x: ir.Value) -> ir.Value:
    """digamma p, p = x, or x + 1 below TINY, for 0 < x < FAR."""
    place = _place(lanes, x)
    tables = lanes.table(*DIGAMMA)
    polynomial = lanes.horner_of(place.s, (place.middle, tables[1]), (None, tables[0]))
    p = lanes.select(place.tiny, lanes.add(x, lanes.const(1.0)), x)
    above = lanes.sub(lanes.sub(p, lanes.const(DIGAMMA_ZERO[0])), lanes.const(DIGAMMA_ZERO[1]))
    return lanes.mul(above, polynomial)


def _digamma_far(lanes: Lanes, x: ir.Value) -> ir.Value:
    inverse = lanes.div(lanes.const(1.0), x)
    square = lanes.mul(inverse, inverse)
    rest = lanes.fma(square, lanes.horner(square, DIGAMMA_FAR), lanes.mul(inverse, lanes.const(0.5)))
    return lanes.sub(logarithm(lanes, x, None, LN2), rest)


def _digamma_shifted(lanes: Lanes, x: ir.Value) -> ir.Value:
    """digamma x from TINY on, digamma(x + 1) below."""
    near = lanes.compare("<", x, lanes.const(FAR))
    return lanes.select(near, _digamma_near(lanes, x), _digamma_far(lanes, x))


def _digamma_reflected(lanes: Lanes, x: ir.Value) -> ir.Value:
    """digamma x for x < 0: digamma(1 - x) + pi·cot(-pi·x)."""
    size = lanes.abs(x)
    sine, cosine = _half_turns(lanes, size)
    slope = product(lanes, quotient(lanes, cosine, sine), (lanes.const(PI_PAIR[0]), lanes.const(PI_PAIR[1])))
    step = lanes.div(lanes.const(1.0), size)
    tiny = lanes.compare("<", size, lanes.const(TINY))
    above = lanes.add(_digamma_shifted(lanes, size), lanes.select(tiny, lanes.const(0.0), step))
    value = lanes.add(slope[0], lanes.add(above, slope[1]))
    pole = lanes.compare("==", lanes.rint(size), size)
    return lanes.select(pole, lanes.const(math.nan), value)


@float_intrinsic
@in_plain_float64
def digamma(lanes: Lanes, x: ir.Value) -> ir.Value:
    """The derivative of gammaln.  Below 0, near its zeros, the error counts in units of digamma |x|."""
    zero, infinity = lanes.const(0.0), lanes.const(math.inf)
    tiny = lanes.compare("<", x, lanes.const(TINY))
    value = _digamma_shifted(lanes, x)
    value = lanes.select(tiny, lanes.sub(value, lanes.div(lanes.const(1.0), x)), value)
    value = lanes.select(lanes.compare("==", x, zero), lanes.copysign(infinity, lanes.neg(x)), value)
    lowest = lanes.compare("==", x, lanes.neg(infinity))
    value = lanes.select(lowest, lanes.const(math.nan), value)
    rare = partial(_between, -sys.float_info.max, -(2.0**-100))  # nearer to 0 than that -1/x is all there is
    return unless_rare(lanes, "graphc_digamma", value, rare, _digamma_reflected, (x,))
