"""erf and erfc as Numba intrinsics, float32 and float64, within 2 units of the spacing.

In: one float.  Out: a float of its type; special values as C99, Annex F.  Straight-line code.

    erfc x = exp(-x²)·P / (1 + 2x),  x >= 0

after Shepherd and Laframboise (Mathematics of Computation 36, 1981): P = (1 + 2x)·exp(x²)·erfc x runs from 1 over 1.27
to 1.13, so that one polynomial in (x - k)/(x + k) serves all x up to where erfc is zero.
Polynomials are minimax: Remez exchange with mpmath in 60 digits on the relative error, then each coefficient rounded;
highest power first, float32 and float64.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from . import exponential
from .exponents import power_of_two, scale
from .lanes import Lanes, float_intrinsic
from .pairs import Pair, product

# erf x = x + x·p(x²) on [0, 1], relative error 2^-29.2 and 2^-55.1
ERF = (
    (7.854072e-05, -0.00080102636, 0.0051883366, -0.026853818, 0.112835854, -0.37612626, 0.12837917),
    (
        -7.779462971757835e-10, 1.3710988704188354e-08, -1.6206318752968666e-07, 1.6447132699786543e-06,
        -1.4924712439534808e-05, 0.0001205529358693695, -0.0008548325929766244, 0.005223977606130842,
        -0.026866170643113415, 0.112837916709442, -0.3761263890318352, 0.12837916709551256,
    ),
)  # fmt: skip

# P = 1 + t·p(t - 1), t = 2x/(x + k), on [0, ZERO_FROM], relative error 2^-25.5 and 2^-55.5
CENTRE = (3.0, 4.0)  # k
SCALED_ERFC = (
    (
        -0.00026547117, -0.0005043076, 0.002512118, 5.3275824e-05, -0.023854539,
        0.09214993, -0.21142024, 0.34106678, -0.3886292, 0.25300807,
    ),
    (
        -1.741936585900455e-09, -1.1699183164662262e-08, 3.961733145384907e-09, 1.1076383470813709e-07,
        -4.837578325702686e-08, -7.860768286688996e-07, 1.087984268448924e-06, 4.6294658675393925e-06,
        -1.5854697471477682e-05, -8.548314238028478e-06, 0.00015917075979894618, -0.00035842630063678284,
        -0.00039934709669538687, 0.005431316856463754, -0.02162905090616508, 0.05879656646845257,
        -0.12512693228089514, 0.21885976727769094, -0.3198988333139978, 0.38799588756873526,
        -0.3726162354661154, 0.2329951186255525,
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


def _factors(lanes: Lanes, x: ir.Value) -> Factors:
    """For 0 <= x <= ZERO_FROM.  Both divisions share one: 1/a = b·(1/ab), 1/b = a·(1/ab)."""
    twice = lanes.add(x, x)
    divisor = lanes.two_sum(twice, lanes.const(1.0))
    shifted = lanes.add(x, lanes.const(lanes.pick(*CENTRE)))
    both = lanes.div(lanes.const(1.0), lanes.mul(shifted, divisor[0]))
    scaled = _scaled(lanes, x, twice, lanes.mul(divisor[0], both))
    return Factors(*_exp_minus_square(lanes, x), scaled, divisor, lanes.mul(shifted, both))


def _scaled(lanes: Lanes, x: ir.Value, twice: ir.Value, inverse: ir.Value) -> Pair:
    """P, given 2x and about 1/(x + k).

    t is corrected: its relative error counts a quarter, that of t - 1 hardly.  One chain for the polynomial: even and
    odd powers apart cancel for large x, which cost a unit of the spacing.
    """
    t = lanes.mul(twice, inverse)
    minus_t = lanes.neg(t)
    rest = lanes.fma(minus_t, lanes.const(lanes.pick(*CENTRE)), lanes.fma(minus_t, x, twice))
    t = lanes.fma(rest, inverse, t)
    slope = lanes.horner(lanes.sub(t, lanes.const(1.0)), lanes.pick(*SCALED_ERFC))
    return lanes.fast_two_sum(lanes.const(1.0), lanes.rounded_product(t, slope))


def _exp_minus_square(lanes: Lanes, x: ir.Value) -> tuple[ir.Value, Pair]:
    """exp(-x²) as n and a pair, to be multiplied by 2^n."""
    square, square_low = lanes.two_product(x, x)
    reduced = exponential.reduce(lanes, lanes.neg(square), lanes.neg(square_low))
    one_and_r, error = lanes.fast_two_sum(lanes.const(1.0), reduced.r)
    low = lanes.fma(reduced.low, one_and_r, lanes.add(error, exponential.tail(lanes, reduced.r)))
    return reduced.n, lanes.fast_two_sum(one_and_r, low)


def _quotient(lanes: Lanes, factors: Factors) -> ir.Value:
    """exponential·scaled / divisor, rounded about once: the quotient of the high parts and what it leaves over."""
    high, low = product(lanes, factors.exponential, factors.scaled)
    quotient = lanes.mul(high, factors.inverse)
    minus = lanes.neg(quotient)
    rest = lanes.add(lanes.fma(minus, factors.divisor[0], high), lanes.fma(minus, factors.divisor[1], low))
    return lanes.fma(rest, factors.inverse, quotient)


@float_intrinsic
def erfc(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Complementary error function: exp(-x²)·P/(1 + 2x), and erfc x = 2 - erfc(-x) for x < 0; error below 1.4 ULP."""
    factors = _factors(lanes, lanes.clamp(lanes.abs(x), 0.0, lanes.pick(*ZERO_FROM)))
    positive = scale(lanes, _quotient(lanes, factors), factors.n)
    negative = lanes.compare("<", x, lanes.const(0.0))
    return lanes.select(negative, lanes.sub(lanes.const(2.0), positive), positive)


@float_intrinsic
def erf(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Error function: x + x·p(x²) for |x| < 1, else 1 - erfc |x|, factors plainly multiplied; error below 1.4 ULP."""
    size = lanes.abs(x)
    near = lanes.fma(size, lanes.two_chains(lanes.mul(size, size), lanes.pick(*ERF)), size)
    factors = _factors(lanes, lanes.clamp(size, 0.0, lanes.pick(*ONE_FROM)))
    power = power_of_two(lanes, factors.n)
    complement = lanes.mul(lanes.mul(factors.exponential[0], factors.scaled[0]), lanes.mul(factors.inverse, power))
    value = lanes.select(lanes.compare("<", size, lanes.const(1.0)), near, lanes.sub(lanes.const(1.0), complement))
    return lanes.flip(value, lanes.sign_bit(x))
