"""Powers and roots as intrinsics: sqrt rsqrt cbrt hypot pow, float32 and float64.

Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.codegen.intrinsics.exponential import EXP_RANGE, exp_of
from graphc.codegen.intrinsics.exponents import power_of_two, split_any
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, machine_intrinsic
from graphc.codegen.intrinsics.logarithmic import one_plus_half
from graphc.codegen.intrinsics.pairs import LN2, Pair, constant, product, quotient

# (1 + f)^(-1/3) for 1 + f from 3/4 to 3/2, to 2^-14.5
INVERSE_CUBE_ROOT = (0.097198434, -0.17819172, 0.22608861, -0.33335316, 0.99996185)
# ((2·atanh(t/2) - t)/t³ - 1/12)/t² in t² up to 0.16; the error relative to log is 2^-41.3 and 2^-68.9
POW_TAIL = (
    (9.724068e-05, 0.00043273266, 0.0022322235, 0.012499998),
    (2.3989002462717596e-07, 8.843482392444064e-07, 4.071417660035465e-06, 1.8779789519459366e-05,
     8.877842576470935e-05, 0.00043402777715482023, 0.002232142857154966, 0.012499999999999909),
)
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
    """cbrt(2^3q·m) = 2^q·m·v², v near m^(-1/3) by a polynomial and a step; then one by the remainder; 0.74 and 0.74."""
    size = lanes.abs(x)
    k, fraction = split_any(lanes, size)
    third = lanes.const(1 / 3)
    q = lanes.rint(lanes.mul(k, third))
    left = lanes.fma(q, lanes.const(-3.0), k)  # -1, 0 or 1
    m = lanes.mul(fraction, power_of_two(lanes, left))
    guess = lanes.horner(lanes.sub(fraction, lanes.const(1.0)), INVERSE_CUBE_ROOT)
    v = refine_inverse_cube_root(lanes, m, lanes.mul(guess, root_factor(lanes, left)))
    square = lanes.mul(v, v)
    root = lanes.mul(m, square)
    excess = lanes.fma(lanes.mul(root, root), root, lanes.neg(m))
    root = lanes.fma(excess, lanes.mul(square, lanes.const(-1 / 3)), root)
    result = lanes.copysign(lanes.mul(root, power_of_two(lanes, q)), x)
    finite = lanes.compare("<", size, lanes.const(math.inf))
    return lanes.select(lanes.builder.and_(finite, lanes.compare(">", size, lanes.const(0.0))), result, x)


def root_factor(lanes: Lanes, left: ir.Value) -> ir.Value:
    """2^(-left/3) for left = -1, 0 or 1."""
    zero = lanes.const(0.0)
    factor = lanes.select(lanes.compare("<", left, zero), lanes.const(2 ** (1 / 3)), lanes.const(1.0))
    return lanes.select(lanes.compare(">", left, zero), lanes.const(2 ** (-1 / 3)), factor)


def refine_inverse_cube_root(lanes: Lanes, m: ir.Value, v: ir.Value) -> ir.Value:
    """v·(1 - h)^(-1/3) to second order in h = 1 - m·v³."""
    cube = lanes.mul(lanes.mul(v, v), v)
    h = lanes.fma(lanes.neg(m), cube, lanes.const(1.0))
    return lanes.fma(lanes.mul(v, h), lanes.fma(h, lanes.const(2 / 9), lanes.const(1 / 3)), v)


def log_pair(lanes: Lanes, x: ir.Value) -> Pair:
    """log x for x > 0 with a relative error of 2^-36 or 2^-65: the leading terms of k·ln2 + t + t³/12 + … as pairs."""
    k, m = split_any(lanes, x)
    f = lanes.sub(m, lanes.const(1.0)), lanes.const(0.0)
    t = quotient(lanes, f, one_plus_half(lanes, f))
    square = product(lanes, t, t)
    rest = lanes.mul(square[0], lanes.two_chains(square[0], lanes.pick(*POW_TAIL)))
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
    """|x|^y = e^(y·log|x|), the exponent as a pair; sign and special values by C99; 1.06 and 1.26."""
    size, infinity = lanes.abs(x), lanes.const(math.inf)
    log, log_low = log_pair(lanes, size)
    log = lanes.select(lanes.compare("<", size, infinity), log, size)
    log = lanes.select(lanes.compare("==", size, lanes.const(0.0)), lanes.neg(infinity), log)
    enough = 2.0 ** (lanes.mantissa + 12)  # any larger y has the same effect, even on the number next to 1
    bounded = lanes.clamp(y, -enough, enough)
    exponent, low = lanes.two_product(bounded, log)
    high = lanes.clamp(exponent, *lanes.pick(*EXP_RANGE))
    low = lanes.select(lanes.compare("==", high, exponent), lanes.fma(bounded, log_low, low), lanes.const(0.0))
    return with_sign(lanes, x, y, exp_of(lanes, high, low))


def with_sign(lanes: Lanes, x: ir.Value, y: ir.Value, power: ir.Value) -> ir.Value:
    """x^y given |x|^y: x's sign for odd y, NaN for negative x and y not whole, 1 for x = 1 or y = 0 even with NaN."""
    zero, one, infinity = lanes.const(0.0), lanes.const(1.0), lanes.const(math.inf)
    whole = lanes.compare("==", lanes.rint(y), y)
    half = lanes.mul(y, lanes.const(0.5))
    odd = lanes.builder.and_(whole, lanes.compare("!=", lanes.rint(half), half))
    power = lanes.copysign(power, lanes.select(odd, x, one))
    negative = lanes.builder.and_(lanes.compare("<", x, zero), lanes.compare(">", x, lanes.neg(infinity)))
    power = lanes.select(lanes.builder.and_(negative, lanes.builder.not_(whole)), lanes.const(math.nan), power)
    certain = lanes.builder.or_(lanes.compare("==", y, zero), lanes.compare("==", x, one))
    return lanes.select(certain, one, power)
