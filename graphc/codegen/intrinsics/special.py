"""erf and erfc as Numba intrinsics, float32 and float64, within 2 units of the spacing.

In: one float.  Out: a float of its type; special values as C99, Annex F.  Straight-line code.

    erfc x = exp(-x²)·P / (1 + 2x),  x >= 0

after Shepherd and Laframboise (Mathematics of Computation 36, 1981): P = (1 + 2x)·exp(x²)·erfc x runs from 1 over 1.27
to 1.13, so that one polynomial in (x - k)/(x + k) serves all x up to where erfc is zero.  With AVX-512 erfc of float64
has polynomials by pieces, without a division.
Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics import exponential
from graphc.codegen.intrinsics.exponents import power_between, scale, scale_down
from graphc.codegen.intrinsics.lanes import Lanes, PlainLanes, float_intrinsic
from graphc.codegen.intrinsics.pairs import Pair, product
from graphc.codegen.intrinsics.piecewise import ERFCX, by_pieces

# erf x = x + x·p(x²) on [0, 1], error 2^-29.5 and 2^-55.9
ERF = (
    (7.919902e-05, -0.0008030654, 0.005190726, -0.026855124, 0.11283618, -0.3761263, 0.12837917),
    (
        -7.783072047256754e-10, 1.3712628814674872e-08, -1.6206608356867929e-07, 1.6447154868122808e-06,
        -1.4924712509522804e-05, 0.0001205529346521502, -0.000854832591965114, 0.005223977605729029,
        -0.026866170643026575, 0.11283791670943219, -0.3761263890318347, 0.12837916709551256,
    ),
)  # fmt: skip

# log(erfc x) on [1, 6], weighted by erfc: error of erfc 2^-29.6 and 2^-56.9
LOG_ERFC = (
    (0.00018792375, -0.0029619613, 0.021892054, -0.1032132, -0.6380291, -1.1271551, -0.00032616942),
    (
        -4.784138791903268e-12, 1.988932718655825e-10, -3.833569577212234e-09, 4.5309230298737985e-08,
        -3.648123419405965e-07, 2.0883233450424383e-06, -8.467092725369946e-06, 2.2168398237605987e-05,
        -1.8591234878321157e-05, -0.00013843208231174248, 0.0007760226343387017, -0.0019226500754727072,
        0.0004171020651895036, 0.018985440545601504, -0.10270089991865614, -0.6366445675882959, -1.1283738752344383,
        -5.25530610055349e-07,
    ),
)  # fmt: skip

CENTRE = 3.5  # k
# P = 1 + t·p(t - 1), t = 2x/(x + k), on [0, 28], error 2^-26.3 and 2^-55.6
SCALED_ERFC = (
    (
        0.00052043854, -0.0009923101, -0.003218454, 0.022417618, -0.071232215, 0.15918829, -0.27428105, 0.37180325,
        -0.38235852, 0.24234924,
    ),
    (
        2.742518075741012e-09, 8.458764406358025e-09, -1.6954230549912515e-08, -7.878040450044373e-08,
        8.381490567402702e-08, 5.202833371891931e-07, -5.750149736787276e-07, -3.2425759181534893e-06,
        5.576176596276952e-06, 1.868635665565854e-05, -6.147031274787392e-05, -6.004261320999761e-05,
        0.0006244273962872463, -0.000926695174294973, -0.003288324782746347, 0.022387655713437246,
        -0.07121098153733406, 0.15919413536295346, -0.2742837335233222, 0.3718028286765587, -0.3823584250087736,
        0.24234924487115436,
    ),
)  # fmt: skip

ZERO_FROM = (10.5, 28.0)  # where erfc is less than half the smallest float
ONE_FROM = (4.0, 6.0)  # where erf rounds to 1


class Factors(NamedTuple):
    """erfc x = 2^n·exponential·scaled / divisor, for x >= 0; inverse is 1/divisor within two units of the spacing."""

    n: ir.Value
    exponential: Pair
    scaled: Pair
    divisor: Pair
    inverse: ir.Value


def scaled_erfc(lanes: Lanes, t: ir.Value) -> ir.Value:
    """(P - 1)/t.  Of t a relative error counts a quarter, that of t - 1 hardly."""
    return lanes.horner(lanes.sub(t, lanes.const(1.0)), lanes.table(*SCALED_ERFC))


def _factors(lanes: Lanes, x: ir.Value, square: Pair) -> Factors:
    """For 0 <= x <= ZERO_FROM and its square.  Both divisions share one: 1/a = b·(1/ab), 1/b = a·(1/ab)."""
    twice = lanes.add(x, x)
    divisor = lanes.two_sum(twice, lanes.const(1.0))
    shifted = lanes.add(x, lanes.const(CENTRE))
    both = lanes.div(lanes.const(1.0), lanes.mul(shifted, divisor[0]))
    scaled = _scaled(lanes, x, twice, lanes.mul(divisor[0], both))
    return Factors(*_exp_minus(lanes, square), scaled, divisor, lanes.mul(shifted, both))


def _scaled(lanes: Lanes, x: ir.Value, twice: ir.Value, inverse: ir.Value) -> Pair:
    """P, given 2x and about 1/(x + k), by a t that is corrected."""
    t = lanes.mul(twice, inverse)
    minus_t = lanes.neg(t)
    rest = lanes.fma(minus_t, lanes.const(CENTRE), lanes.fma(minus_t, x, twice))
    t = lanes.fma(rest, inverse, t)
    return lanes.fast_two_sum(lanes.const(1.0), lanes.rounded_product(t, scaled_erfc(lanes, t)))


def _exp_minus(lanes: Lanes, square: Pair) -> tuple[ir.Value, Pair]:
    """exp(-square) as n and a pair, to be multiplied by 2^n."""
    reduced = exponential.reduce(lanes, *map(lanes.neg, square))
    one_and_r, error = lanes.fast_two_sum(lanes.const(1.0), reduced.r)
    low = lanes.fma(reduced.low, one_and_r, lanes.add(error, exponential.tail(lanes, reduced.r)))
    return reduced.n, lanes.fast_two_sum(one_and_r, low)


def _by_quotient(lanes: Lanes, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """erfc x as n and what is to be multiplied by 2^n: the quotient of the high parts and what it leaves over, rounded
    about once."""
    factors = _factors(lanes, x, lanes.two_product(x, x))
    high, low = product(lanes, factors.exponential, factors.scaled)
    quotient = lanes.mul(high, factors.inverse)
    minus = lanes.neg(quotient)
    rest = lanes.add(lanes.fma(minus, factors.divisor[0], high), lanes.fma(minus, factors.divisor[1], low))
    return factors.n, lanes.fma(rest, factors.inverse, quotient)


def _by_pieces(lanes: Lanes, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The same as power·(1 + rise)·(erfcx + less): a product, and what it lacks, rounded about once."""
    high, low = lanes.two_product(x, x)
    step, r = exponential.step_and_rest(lanes, lanes.neg(high), lanes.neg(low))
    power, rise = power_between(lanes, step.place), exponential.rise_of_rest(lanes, r)
    erfcx, less = lanes.fast_two_sum(*by_pieces(lanes, x, ERFCX))
    product, lost = lanes.two_product(power, erfcx)
    return step.n, lanes.add(product, lanes.fma(power, less, lanes.fma(product, rise, lost)))


@float_intrinsic
def erfc(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Complementary error function: exp(-x²)·P/(1 + 2x), and erfc x = 2 - erfc(-x) for x < 0; error below 1.4 ULP, by
    pieces below 1.7."""
    last = lanes.pick(*ZERO_FROM)
    gone = lanes.compare(">", lanes.abs(x), lanes.const(last))
    size = lanes.clamp(lanes.abs(x), 0.0, last)
    n, value = (_by_pieces if lanes.has_tables else _by_quotient)(lanes, size)
    down = scale if lanes.double else scale_down  # float32 is below its smallest normal from 9.2 on
    positive = down(lanes, exponential.unless(lanes, gone, value), n)
    negative = lanes.compare("<", x, lanes.const(0.0))
    return lanes.select(negative, lanes.sub(lanes.const(2.0), positive), positive)


@float_intrinsic
def erf(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Error function: x + x·p(x²) for |x| < 1, else 1 - exp(log erfc |x|), plainly evaluated; error below 1.4 ULP."""
    size = lanes.abs(x)
    near = lanes.fma(size, lanes.two_chains(lanes.mul(size, size), lanes.table(*ERF)), size)
    plain = PlainLanes(lanes.builder, lanes.double, lanes.count)  # the complement is at most 0.16
    held = lanes.clamp(size, 0.0, lanes.pick(*ONE_FROM))
    complement = exponential.normal_exp_of(plain, plain.two_chains(held, plain.table(*LOG_ERFC)))
    value = lanes.select(lanes.compare("<", size, lanes.const(1.0)), near, lanes.sub(lanes.const(1.0), complement))
    return lanes.flip(value, lanes.sign_bit(x))
