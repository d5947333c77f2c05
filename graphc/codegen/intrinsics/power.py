"""Powers and roots as intrinsics: sqrt rsqrt cbrt hypot pow, float32 and float64.

Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.codegen.intrinsics.exponential import EXP_RANGE, exp_of
from graphc.codegen.intrinsics.exponents import nearest, scale, split_any
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, machine_intrinsic
from graphc.codegen.intrinsics.logarithmic import one_plus_half
from graphc.codegen.intrinsics.pairs import LN2, Pair, constant, product, quotient

ROUGH_SHARE = 0.06802  # of a power of two, which makes the largest error of the rough cube root as small as can be
# ((2·atanh(t/2) - t)/t³ - 1/12)/t² in t² up to 0.16; the error relative to log is 2^-68.9
POW_TAIL = (
    2.3989002462717596e-07, 8.843482392444064e-07, 4.071417660035465e-06, 1.8779789519459366e-05,
    8.877842576470935e-05, 0.00043402777715482023, 0.002232142857154966, 0.012499999999999909,
)  # fmt: skip
# log2(1 + f)/f for 1 + f from 3/4 to 3/2, for float32; the relative error is 2^-32.9
LOG2 = (
    -0.04381892599965166, 0.11390505974774255, -0.15228619359907433, 0.16477083099160195, -0.18041242623438158,
    0.20582471706884672, -0.24042324760005138, 0.2885455815273308, -0.36067445541805826, 0.4808982897076475,
    -0.7213475163131705, 1.44269504097789,
)  # fmt: skip
# (2^r - 1)/r for |r| <= 1/2, for float32; the error relative to 2^r is 2^-29.0
EXP2 = (
    0.0001546736497289471, 0.0013400432165377564, 0.009618035958600904, 0.055503272142092296, 0.24022651084149668,
    0.6931472067106199,
)  # fmt: skip
TWELFTH = (0.08333333333333333, 4.625929269271485e-18)


@machine_intrinsic
def sqrt(lanes: Lanes, x: ir.Value) -> ir.Value:
    """The machine's square root, rounded once; 0.5 and 0.5."""
    return lanes.sqrt(x)


@machine_intrinsic
def rsqrt(lanes: Lanes, x: ir.Value) -> ir.Value:
    """1/sqrt(x), rounded twice; 1.5 and 1.5."""
    return lanes.div(lanes.const(1.0), lanes.sqrt(x))


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
    size = lanes.abs(x)
    small = lanes.compare("<", size, lanes.const(2.0 ** (3 * lanes.mantissa - lanes.bias)))
    m = lanes.select(small, lanes.mul(size, lanes.const(2.0 ** (3 * lanes.mantissa))), size)
    v = nearer_inverse_cube_root(lanes, m, rough_inverse_cube_root(lanes, m))
    v = nearer_inverse_cube_root(lanes, m, v) if lanes.double else v
    square = lanes.mul(v, v)
    root = lanes.mul(m, square)
    excess = lanes.fma(lanes.mul(root, root), root, lanes.neg(m))
    root = lanes.fma(excess, lanes.mul(square, lanes.const(-1 / 3)), root)
    root = lanes.select(small, lanes.mul(root, lanes.const(2.0**-lanes.mantissa)), root)
    return lanes.copysign(lanes.select(lanes.compare("<", size, lanes.const(math.inf)), root, size), x)


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


def log_pair(lanes: Lanes, x: ir.Value) -> Pair:
    """log x for x > 0 in float64 with an error of 2^-65: the leading terms of k·ln2 + t + t³/12 + … as pairs."""
    k, m = split_any(lanes, x)
    f = lanes.sub(m, lanes.const(1.0)), lanes.const(0.0)
    t = quotient(lanes, f, one_plus_half(lanes, f))
    square = product(lanes, t, t)
    rest = lanes.mul(square[0], lanes.two_chains(square[0], POW_TAIL))
    twelfth = constant(lanes, TWELFTH)
    factor, low = lanes.fast_two_sum(twelfth[0], rest)
    cubic = product(lanes, product(lanes, t, square), (factor, lanes.add(low, twelfth[1])))
    near_one = pair_sum(lanes, t, cubic)
    ln2 = constant(lanes, LN2)
    high, low = lanes.two_product(k, ln2[0])
    return pair_sum(lanes, (high, lanes.fma(k, ln2[1], low)), near_one)


def pair_sum(lanes: Lanes, a: Pair, b: Pair) -> Pair:
    """a + b where |a| >= |b| or a is 0; low may reach a few last places of high."""
    high, low = lanes.fast_two_sum(a[0], b[0])
    return high, lanes.add(low, lanes.add(a[1], b[1]))


@float_intrinsic
def pow(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """|x|^y, and sign and special values by C99; 0.67 and 1.26."""
    power = _power_double if lanes.double else _power_single
    return with_sign(lanes, x, y, power(lanes, lanes.abs(x), y))


def _power_double(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """e^(y·log x), the exponent as a pair."""
    infinity, enough = lanes.const(math.inf), 2.0**64  # a larger y does no more, even to the number next to 1
    y = lanes.clamp(y, -enough, enough)
    log, log_low = log_pair(lanes, x)
    log = lanes.select(lanes.compare("<", x, infinity), log, x)
    log = lanes.select(lanes.compare("==", x, lanes.const(0.0)), lanes.neg(infinity), log)
    exponent, low = lanes.two_product(y, log)
    high = lanes.clamp(exponent, *lanes.pick(*EXP_RANGE))
    low = lanes.select(lanes.compare("==", high, exponent), lanes.fma(y, log_low, low), lanes.const(0.0))
    return exp_of(lanes, high, low)


def _power_single(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """2^(y·log2 x) by short polynomials in float64, which takes fewer steps than pairs of float32."""
    double, one = lanes.in_double(), lanes.in_double().const(1.0)
    k, m = split_any(double, lanes.widen(x))
    f = double.sub(m, one)
    exponent = double.mul(lanes.widen(y), double.fma(f, double.two_chains(f, LOG2), k))
    exponent = double.clamp(exponent, -200.0, 200.0)  # far out of range, and narrowing rounds below the smallest normal
    n = nearest(double, exponent)
    r = double.sub(exponent, n)
    return lanes.narrow(scale(double, double.fma(r, double.horner(r, EXP2), one), n))


def with_sign(lanes: Lanes, x: ir.Value, y: ir.Value, power: ir.Value) -> ir.Value:
    """x^y given |x|^y: x's sign for odd y, NaN for negative x and y not whole, 1 for x = 1 or y = 0 even with NaN."""
    zero, one, infinity = lanes.const(0.0), lanes.const(1.0), lanes.const(math.inf)
    power = lanes.select(lanes.compare("==", lanes.abs(x), one), one, power)
    whole = lanes.compare("==", lanes.rint(y), y)
    half = lanes.mul(y, lanes.const(0.5))
    odd = lanes.builder.and_(whole, lanes.compare("!=", lanes.rint(half), half))
    power = lanes.copysign(power, lanes.select(odd, x, one))
    negative = lanes.builder.and_(lanes.compare("<", x, zero), lanes.compare(">", x, lanes.neg(infinity)))
    power = lanes.select(lanes.builder.and_(negative, lanes.builder.not_(whole)), lanes.const(math.nan), power)
    return lanes.select(lanes.compare("==", y, zero), one, power)
