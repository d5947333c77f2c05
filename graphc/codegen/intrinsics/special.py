"""erf and erfc as Numba intrinsics, float32 and float64, within 2 units of the spacing.

In: one float.  Out: a float of its type; special values as C99, Annex F.  Straight-line code.

    erfc x = exp(-x^2) p(q) / (1 + 2x),  q = (x - k)/(x + k),  x >= 0

after Shepherd and Laframboise 1981 (Math. Comp. 36, 249): (1 + 2x) exp(x^2) erfc x runs from 1 over 1.27 to 1.13, so
that one polynomial serves all x up to where erfc is zero.  The three factors are carried in two floats each.
Polynomials are minimax: Remez exchange in 60 digits on the relative error, then each coefficient rounded; highest power
first, `NAME[lanes.double]` chooses between float32 and float64.
"""

from __future__ import annotations

from llvmlite import ir

from .lanes import Lanes, float_intrinsic

Pair = tuple[ir.Value, ir.Value]

# erf x = x + x p(x^2) on [0, 1], relative error 2^-29.2 and 2^-55.1
ERF = (
    (7.854072e-05, -0.00080102636, 0.0051883366, -0.026853818, 0.112835854, -0.37612626, 0.12837917),
    (
        -7.779462971757835e-10, 1.3710988704188354e-08, -1.6206318752968666e-07, 1.6447132699786543e-06,
        -1.4924712439534808e-05, 0.0001205529358693695, -0.0008548325929766244, 0.005223977606130842,
        -0.026866170643113415, 0.112837916709442, -0.3761263890318352, 0.12837916709551256,
    ),
)  # fmt: skip

# (1 + 2x) exp(x^2) erfc x = c + q p(q), q = (x - k)/(x + k), on [0, LAST], relative error 2^-28.8 and 2^-56.3
CENTRE = (3.0, 4.0)  # k
SCALED_ERFC = (
    (
        -0.00026436493, -0.00076788646, 0.0020076905, 0.0025639595,
        -0.02380151, 0.06829577, -0.11927025, 0.12964648,
        -0.047562443, -0.13562115,
    ),
    (
        -1.717517074522439e-09, -1.3386015830541108e-08, -7.779069664178292e-09, 1.1456056213431133e-07,
        6.238904171146565e-08, -8.342394587922107e-07, 3.019567582083474e-07, 5.717294599062838e-06,
        -1.1225283399818988e-05, -2.44029412440077e-05, 0.0001506224717490655, -0.00019925556132899505,
        -0.000757773404909498, 0.005031969763579507, -0.016197734048417647, 0.03716751556185137,
        -0.06633036581256431, 0.09373283499682393, -0.10103906603630115, 0.0680970542547366,
        0.015379652102619764, -0.1396211168405629,
    ),
)  # fmt: skip
SCALED_ERFC_CONSTANT = ((1.253008, 5.1505392e-08), (1.2329951186255526, -4.547869890185556e-17))  # c, in two floats
LAST = (10.5, 28.0)  # from here on erfc is less than half the smallest float
ONE_FROM = (4.0, 6.0)  # from here on erf rounds to 1

# exp r = 1 + r + r^2 p(r) on [-ln2/2, ln2/2], absolute error 2^-26.9 and 2^-56.1
EXP = (
    (0.0013941468, 0.008363237, 0.041666374, 0.16666576, 0.5),
    (
        2.5110154397352388e-08, 2.7620203756934503e-07, 2.7557242178667157e-06, 2.4801521057594578e-05,
        0.0001984126988654893, 0.0013888888917362072, 0.008333333333322325, 0.04166666666662385,
        0.16666666666666674, 0.5000000000000001,
    ),
)  # fmt: skip
# ln2 in two parts, the first short enough for an exact product with any exponent
LN2 = ((0.693145751953125, 1.4286068e-06), (0.6931471805598903, 5.497923018708371e-14))


def _exp_minus_square(lanes: Lanes, x: ir.Value) -> tuple[Pair, ir.Value]:
    """exp(-x^2) as (high + low) 2^n, |high + low - 1| < 0.42, n a float."""
    square, square_low = lanes.two_product(x, x)
    n = lanes.rint(lanes.mul(square, lanes.const(-1.4426950408889634)))
    ln2, ln2_low = map(lanes.const, LN2[lanes.double])
    minus_n = lanes.neg(n)
    high = lanes.fma(minus_n, ln2, lanes.neg(square))
    r, low = lanes.fast_two_sum(high, lanes.fma(minus_n, ln2_low, lanes.neg(square_low)))
    power = lanes.fma(lanes.mul(r, r), lanes.two_chains(r, EXP[lanes.double]), lanes.fma(low, r, low))
    high, low = lanes.fast_two_sum(lanes.const(1.0), r)
    return lanes.fast_two_sum(high, lanes.add(low, power)), n


def _scaled_erfc(lanes: Lanes, x: ir.Value, inverse: ir.Value) -> Pair:
    """(1 + 2x) exp(x^2) erfc x in two floats, given about 1/(x + k): q is corrected, its error counts near x = 0."""
    k = lanes.const(CENTRE[lanes.double])
    q = lanes.mul(lanes.sub(x, k), inverse)
    rest = lanes.fma(lanes.add(q, lanes.const(1.0)), lanes.neg(k), x)
    q = lanes.fma(lanes.fma(lanes.neg(q), x, rest), inverse, q)
    constant, constant_low = map(lanes.const, SCALED_ERFC_CONSTANT[lanes.double])
    slope = lanes.two_chains(q, SCALED_ERFC[lanes.double])
    high, low = lanes.fast_two_sum(constant, lanes.rounded_product(q, slope))
    return high, lanes.add(low, constant_low)


def _quotient(lanes: Lanes, a: Pair, b: Pair, divisor: Pair, inverse: ir.Value) -> ir.Value:
    """a b / divisor, each high + low, rounded about once, given about 1/divisor."""
    product, error = lanes.two_product(a[0], b[0])
    low = lanes.fma(a[0], b[1], lanes.fma(a[1], b[0], error))
    quotient = lanes.mul(product, inverse)
    minus = lanes.neg(quotient)
    rest = lanes.add(lanes.fma(minus, divisor[0], product), lanes.fma(minus, divisor[1], low))
    return lanes.fma(rest, inverse, quotient)


def _powers(lanes: Lanes, n: ir.Value) -> Pair:
    """Two floats whose product is 2^n, n integral, twice the lowest exponent < n <= 0; the first is 1 or less."""
    builder = lanes.builder
    shift = lanes.const(1.5 * 2.0**lanes.mantissa)
    whole = builder.sub(lanes.as_int(lanes.add(n, shift)), lanes.as_int(shift))
    half = builder.ashr(whole, lanes.integer(1))
    return lanes.power(half), lanes.power(builder.sub(whole, half))


def _inverses(lanes: Lanes, a: ir.Value, b: ir.Value) -> Pair:
    """About 1/a and 1/b (two units of the spacing), by one division."""
    inverse = lanes.div(lanes.const(1.0), lanes.mul(a, b))
    return lanes.mul(b, inverse), lanes.mul(a, inverse)


def _factors(lanes: Lanes, x: ir.Value) -> tuple[Pair, Pair, Pair, ir.Value, Pair]:
    """exp(-x^2) 2^-n, the polynomial, 1 + 2x, about 1/(1 + 2x), and 2^n in two powers; for 0 <= x <= LAST."""
    divisor = lanes.two_sum(lanes.add(x, x), lanes.const(1.0))
    inverse, inverse_divisor = _inverses(lanes, lanes.add(x, lanes.const(CENTRE[lanes.double])), divisor[0])
    exponential, n = _exp_minus_square(lanes, x)
    return exponential, _scaled_erfc(lanes, x, inverse), divisor, inverse_divisor, _powers(lanes, n)


def _clamp(lanes: Lanes, x: ir.Value, last: float) -> ir.Value:
    """The lesser of x and last; NaN stays."""
    return lanes.select(lanes.compare(">", x, lanes.const(last)), lanes.const(last), x)


@float_intrinsic
def erfc(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Complementary error function: exp(-x^2) p(q)/(1 + 2x), and erfc x = 2 - erfc(-x) for x < 0."""
    exponential, scaled, divisor, inverse, powers = _factors(lanes, _clamp(lanes, lanes.abs(x), LAST[lanes.double]))
    positive = _quotient(lanes, exponential, scaled, divisor, inverse)
    for power in powers:  # one after the other, so that only the second product rounds
        positive = lanes.mul(positive, power)
    negative = lanes.compare("<", x, lanes.const(0.0))
    return lanes.select(negative, lanes.sub(lanes.const(2.0), positive), positive)


@float_intrinsic
def erf(lanes: Lanes, x: ir.Value) -> ir.Value:
    """Error function: x + x p(x^2) for |x| < 1, else 1 - erfc |x|, for which the low parts are not needed."""
    size = lanes.abs(x)
    near = lanes.fma(size, lanes.two_chains(lanes.mul(size, size), ERF[lanes.double]), size)
    exponential, scaled, _, inverse, powers = _factors(lanes, _clamp(lanes, size, ONE_FROM[lanes.double]))
    complement = lanes.mul(lanes.mul(exponential[0], scaled[0]), lanes.mul(inverse, lanes.mul(*powers)))
    value = lanes.select(lanes.compare("<", size, lanes.const(1.0)), near, lanes.sub(lanes.const(1.0), complement))
    return lanes.flip(value, lanes.sign_bit(x))
