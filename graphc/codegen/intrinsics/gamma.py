"""gammaln and digamma as intrinsics, float32 and float64; special values as C99 and SciPy.

    gammaln, 0 < x < 8   (p - 1)(p - 2)·G, where the zeros are factors, so no digits go near them
    gammaln, 8 <= x      Stirling's series
    digamma, 0 < x       log(1 + d/h) + d·(1/(x·ZERO) + SLOPE/(x + g)), d = x - ZERO, h = 49/16, g = h - ZERO
    x < 0                reflection, lane by lane: who has likelihoods has x > 0

G is a polynomial in s = (p - c)/(p + c), c = 1 below 2 and 4 above, with p = x from 1/2 on.  Below it p is x + 1, and
the step from x is made by log x.  SLOPE, by which digamma(x + 1) - log(x + g) has its value at ZERO as a term and the
rest with d as factor, is a polynomial in (x - g)/(x + g) from 0 to infinity.
Polynomials: interpolation at Chebyshev points with mpmath (tests/minimax_special.py), highest power first.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics.angle import PI, parts
from graphc.codegen.intrinsics.exponents import split_any
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, in_plain_float64, shortened
from graphc.codegen.intrinsics.logarithmic import log_near_one, multiple_plus_log
from graphc.codegen.intrinsics.pairs import LN2, Pair, constant, leading_fma, ordered_fma, product, quotient, total
from graphc.codegen.intrinsics.rare import unless_rare
from graphc.codegen.intrinsics.trigonometric import sine_cosine

# error 2^-52.1
GAMMALN_NEAR = (
    -0.04186446130714885, 0.039064545491135305, -0.021631567048951188, 0.021165003370949835, -0.03043653141319959,
    0.02875759866728247, -0.033636156516114714, 0.03172654084921062, -0.038924286737789755, 0.03640292890908202,
    -0.04604425901573351, 0.042606350567963795, -0.056336592616672426, 0.05135998926118524, -0.07249649301825543,
    0.06462417140295165, -0.10147337757846846, 0.08701556722772688, -0.16820095064421975, 0.13123432641064356,
)  # fmt: skip
# error 2^-52.2
GAMMALN_MIDDLE = (
    -0.037279346280019214, 0.03689378219883711, -0.018841730783504106, 0.019697532484537025,
    -0.026350184006340153, 0.02672143617715917, -0.0286378820556125, 0.029216024505735908, -0.03251010906033422,
    0.03318887939528988, -0.03753336404781075, 0.03836637337067413, -0.04451887959762012, 0.04557130068360256,
    -0.05504155962297109, 0.05645759202500256, -0.07321835501134616, 0.07542463366243186, -0.1142931174474034,
    0.11915394488444518,
)  # fmt: skip
# G of both tables: the constant term and the slope, each in two words; the tables have the rest over s²
NEAR_TERMS = ((0.5772156649015329, -4.942915152430645e-18), (-0.49050273704516073, 1.5218597422411777e-17))
MIDDLE_TERMS = ((0.2986265782046758, 2.57536834522465e-17), (-0.3160202967887716, -1.0903027169352958e-17))
# error 2^-54.0
STIRLING = (
    0.004980233245697777, -0.001886026056198474, 0.0008413848381460077, -0.0005952357835782889,
    0.0007936507860923872, -0.0027777777777668144, 0.08333333333333333,
)  # fmt: skip
# error 2^-54.5
DIGAMMA_SLOPE = (
    -1.5039960574453913e-11, 2.8284946429558246e-11, -1.3247917250875695e-10, 6.774700204974801e-10,
    -2.476665243643327e-09, 1.1842169937164501e-08, -5.042246646179478e-08, 2.1292385872920886e-07,
    -9.486992726608838e-07, 4.0494389135521975e-06, -1.7474035934412888e-05, 7.654802712223892e-05,
    -0.0003283330359779134, 0.0014174611604315778, -0.006222863387746095, 0.026698342412123887,
    -0.11142907595948448, 0.5248670257384673,
)  # fmt: skip
DIGAMMA_ZERO = (1.4616321449683622, 9.549995429965697e-17)  # the positive zero of digamma
STIRLING_CONSTANT = (0.4189385332046727, 1.6728209650585413e-17)  # (log 2·pi - 1)/2
TINY, MIDDLE, FAR = 0.5, 2.0, 8.0
REACH = 1 / 3  # of s in either table
# near and middle, for float32 and float64
GAMMALN = tuple(shortened(table, REACH) for table in (GAMMALN_NEAR, GAMMALN_MIDDLE)), (GAMMALN_NEAR, GAMMALN_MIDDLE)
DIGAMMA = shortened(DIGAMMA_SLOPE, 1.0), DIGAMMA_SLOPE
DIGAMMA_WHOLE = 49 / 16  # h
DIGAMMA_GROUND = DIGAMMA_WHOLE - DIGAMMA_ZERO[0]  # g
OVERFLOW = 2.5563481638716906e305  # the largest x whose gammaln is a float64
PI_PAIR = parts(PI, 2)


class Place(NamedTuple):
    """Where x stands: below TINY, whether in the upper table, and s with its rest."""

    tiny: ir.Value
    middle: ir.Value
    s: Pair


def _place(lanes: Lanes, x: ir.Value) -> Place:
    """For 0 < x < FAR; numerator and denominator of s have no error."""
    tiny, middle = lanes.compare("<", x, lanes.const(TINY)), lanes.compare(">=", x, lanes.const(MIDDLE))
    centre = lanes.select(middle, lanes.const(4.0), lanes.const(1.0))
    numerator = lanes.select(tiny, x, lanes.sub(x, centre))
    denominator = lanes.two_sum(x, lanes.select(tiny, lanes.const(2.0), centre))
    return Place(tiny, middle, quotient(lanes, (numerator, lanes.const(0.0)), denominator))


def _log_as_pair(lanes: Lanes, x: ir.Value) -> Pair:
    """log x for 0 < x < inf with some five bits more than the mantissa."""
    k, m = split_any(lanes, x)
    log = log_near_one(lanes, (lanes.sub(m, lanes.const(1.0)), lanes.const(0.0)))
    ln2 = constant(lanes, LN2)
    high, lost = leading_fma(lanes, k, ln2[0], log[0])
    return lanes.fast_two_sum(high, lanes.add(log[1], lanes.fma(k, ln2[1], lost)))


def _gammaln_near(lanes: Lanes, x: ir.Value, place: Place) -> Pair:
    """gammaln p, p = x or x + 1: the last two steps of the polynomial and all products as pairs."""
    s, middle = place.s, place.middle
    tables = lanes.table(*GAMMALN)
    slope = lanes.horner_of(s[0], (middle, tables[1]), (None, tables[0]))

    def lowest(k: int) -> Pair:
        upper, lower = (constant(lanes, terms[k]) for terms in (MIDDLE_TERMS, NEAR_TERMS))
        return lanes.select(middle, upper[0], lower[0]), lanes.select(middle, upper[1], lower[1])

    constant_term, first = lowest(0), lowest(1)
    high, low = ordered_fma(lanes, s[0], slope, first[0])
    inner = high, lanes.add(low, lanes.fma(s[1], slope, first[1]))
    step = product(lanes, inner, s)
    high, low = lanes.fast_two_sum(constant_term[0], step[0])
    polynomial = high, lanes.add(low, lanes.add(step[1], constant_term[1]))
    below_one = lanes.select(place.tiny, x, lanes.sub(x, lanes.const(1.0)))
    below_two = lanes.two_sum(x, lanes.select(place.tiny, lanes.const(-1.0), lanes.const(-2.0)))
    zeros = product(lanes, (below_one, lanes.const(0.0)), below_two)
    return product(lanes, zeros, polynomial)


def _stirling_rest(lanes: Lanes, x: ir.Value) -> ir.Value:
    """What gammaln x has beyond (x - 1/2)·(log x - 1) + STIRLING_CONSTANT, for x >= FAR."""
    inverse = lanes.div(lanes.const(1.0), x)
    return lanes.mul(inverse, lanes.horner(lanes.mul(inverse, inverse), STIRLING))


def _gammaln_far(lanes: Lanes, x: ir.Value, log: Pair) -> Pair:
    """Stirling's formula as (x - 1/2)·(log x - 1) + …, for x >= FAR."""
    high, low = lanes.fast_two_sum(log[0], lanes.const(-1.0))
    lead = product(lanes, lanes.two_sum(x, lanes.const(-0.5)), (high, lanes.add(low, log[1])))
    high, low = lanes.fast_two_sum(lead[0], lanes.const(STIRLING_CONSTANT[0]))
    return high, lanes.add(low, lanes.add(lead[1], _stirling_rest(lanes, x)))


def _gammaln_inner(lanes: Lanes, x: ir.Value, log: Pair) -> Pair:
    """gammaln x for 0 < x < FAR, given log x for what is below TINY."""
    place, zero = _place(lanes, x), lanes.const(0.0)
    value = _gammaln_near(lanes, x, place)
    high, low = lanes.two_sum(value[0], lanes.select(place.tiny, lanes.neg(log[0]), zero))
    return high, lanes.add(low, lanes.sub(value[1], lanes.select(place.tiny, log[1], zero)))


def _gammaln_positive(lanes: Lanes, x: ir.Value, log: Pair) -> Pair:
    """gammaln x for 0 < x < OVERFLOW, given log x, with some four bits more than the mantissa."""
    near, limit = lanes.compare("<", x, lanes.const(FAR)), lanes.const(FAR)
    inner = _gammaln_inner(lanes, lanes.select(near, x, limit), log)
    outer = _gammaln_far(lanes, lanes.select(near, limit, x), log)
    return lanes.select(near, inner[0], outer[0]), lanes.select(near, inner[1], outer[1])


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


def _gammaln_branched(lanes: Lanes, x: ir.Value, log: Pair) -> Pair:
    """`_gammaln_positive` in scalar code, which computes one of both."""
    with lanes.builder.if_else(lanes.compare("<", x, lanes.const(FAR))) as (near, far):
        with near:
            inner, inner_block = _gammaln_inner(lanes, x, log), lanes.builder.block
        with far:
            outer, outer_block = _gammaln_far(lanes, x, log), lanes.builder.block
    words = [lanes.builder.phi(lanes.float) for _ in range(2)]
    for word, a, b in zip(words, inner, outer, strict=True):
        word.add_incoming(a, inner_block)
        word.add_incoming(b, outer_block)
    return words[0], words[1]


def _gammaln_reflected(lanes: Lanes, x: ir.Value) -> ir.Value:
    """gammaln x for x < 0: -log(|x·sin(pi·x)|/pi) - gammaln |x|; below TINY x is left to gammaln(|x| + 1)."""
    size = lanes.abs(x)
    sine = lanes.abs(total(lanes, _half_turns(lanes, size)[0]))
    tiny = lanes.compare("<", size, lanes.const(TINY))
    one, zero = lanes.const(1.0), lanes.const(0.0)
    factor = lanes.mul(lanes.mul(sine, lanes.const(1 / math.pi)), lanes.select(tiny, one, size))
    log, base = _log_as_pair(lanes, factor), _log_as_pair(lanes, size)
    whole = _gammaln_branched(lanes, size, (lanes.select(tiny, zero, base[0]), lanes.select(tiny, zero, base[1])))
    high, low = lanes.two_sum(log[0], whole[0])
    value = lanes.neg(lanes.add(high, lanes.add(low, lanes.add(log[1], whole[1]))))
    pole = lanes.compare("==", lanes.rint(size), size)
    return lanes.select(pole, lanes.const(math.inf), value)


@float_intrinsic
@in_plain_float64
def gammaln(lanes: Lanes, x: ir.Value) -> ir.Value:
    """log|gamma x|.  Below -2, near its zeros, the error counts in units of 1."""
    infinity, zero = lanes.const(math.inf), lanes.const(0.0)
    plain = lanes.without_pairs()  # only what is reflected cancels so that they count
    value = total(plain, _gammaln_positive(plain, x, _log_as_pair(plain, x)))
    large = lanes.compare(">", lanes.abs(x), lanes.const(OVERFLOW))
    value = lanes.select(lanes.builder.or_(large, lanes.compare("==", x, zero)), infinity, value)
    return unless_rare(lanes, "graphc_gammaln", value, partial(_between, -OVERFLOW, 0.0), _gammaln_reflected, (x,))


def _between(low: float, high: float, lanes: Lanes, x: ir.Value) -> ir.Value:
    """Whether low <= x < high."""
    return lanes.builder.and_(lanes.compare(">=", x, lanes.const(low)), lanes.compare("<", x, lanes.const(high)))


def _digamma_positive(lanes: Lanes, x: ir.Value) -> ir.Value:
    """digamma x for 0 <= x < inf."""
    one, part, ground = map(lanes.const, (1.0, 1 / DIGAMMA_WHOLE, DIGAMMA_GROUND))
    above = lanes.sub(lanes.sub(x, lanes.const(DIGAMMA_ZERO[0])), lanes.const(DIGAMMA_ZERO[1]))
    k, m = split_any(lanes, lanes.fma(x, part, lanes.const(DIGAMMA_GROUND / DIGAMMA_WHOLE)))
    near = lanes.compare("==", k, lanes.const(0.0))
    log = multiple_plus_log(lanes, k, lanes.select(near, lanes.mul(above, part), lanes.sub(m, one)))
    inverse = lanes.div(one, lanes.add(x, ground))
    s = lanes.fma(inverse, lanes.const(-2 * DIGAMMA_GROUND), one)
    slope = lanes.mul(lanes.div(one, x), lanes.const(1 / DIGAMMA_ZERO[0]))
    slope = lanes.fma(inverse, lanes.horner(s, lanes.table(*DIGAMMA)), slope)
    return lanes.fma(above, slope, log)


def _digamma_reflected(lanes: Lanes, x: ir.Value) -> ir.Value:
    """digamma x for x < 0: digamma(1 - x) + pi·cot(-pi·x)."""
    size = lanes.abs(x)
    sine, cosine = _half_turns(lanes, size)
    slope = product(lanes, quotient(lanes, cosine, sine), (lanes.const(PI_PAIR[0]), lanes.const(PI_PAIR[1])))
    above = _digamma_positive(lanes, lanes.add(size, lanes.const(1.0)))
    value = lanes.add(slope[0], lanes.add(above, slope[1]))
    pole = lanes.compare("==", lanes.rint(size), size)
    return lanes.select(pole, lanes.const(math.nan), value)


@float_intrinsic
@in_plain_float64
def digamma(lanes: Lanes, x: ir.Value) -> ir.Value:
    """The derivative of gammaln.  Below 0, near its zeros, the error counts in units of digamma |x|."""
    value = lanes.select(lanes.compare("<", x, lanes.const(math.inf)), _digamma_positive(lanes, x), x)
    rare = partial(_between, -sys.float_info.max, -(2.0**-100))  # nearer to 0 than that -1/x is all there is
    return unless_rare(lanes, "graphc_digamma", value, rare, _digamma_reflected, (x,))
