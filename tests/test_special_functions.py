"""Special functions: within four units of the spacing of mpmath's values, float32 and float64, and right at the edges.

One row of TABLE a function.  Where a function has zeros next to which no digits can be held, the row's `least` tells
below which size errors count in units of it instead of the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import minimax_special
import mpmath
import numpy as np
import pytest
import ulp
from numba import from_dtype, njit, types

import graphc as gc
from graphc.codegen.intrinsics import bessel, beta, gamma, logistic, normal

BOUND = 4.0
DTYPES = (np.float32, np.float64)
INF, NAN = math.inf, math.nan

Floats = np.ndarray[Any, Any]
Rng = np.random.Generator


@dataclass(frozen=True)
class Row:
    """A function under test.

    `draws` has a function (dtype, count, rng) -> points for each operand; `near` centres for the first, with others
    drawn; `domain` the bounds of the first, beyond which points are left out (poles below 0 are, too).  Each of
    `special` is operands and result.
    """

    name: str
    intrinsic: Any
    exact: Callable[..., Any]
    draws: tuple[Callable[[Any, int, Rng], Floats], ...]
    near: tuple[float, ...]
    domain: tuple[float, float]
    special: tuple[tuple[float, ...], ...]
    least: Callable[..., Any] = lambda *operands: 0.0


def anywhere(dtype: Any, count: int, rng: Rng) -> Floats:
    return ulp.finite(dtype, count, rng)


def above_zero(dtype: Any, count: int, rng: Rng) -> Floats:
    return np.abs(ulp.finite(dtype, count, rng))


def between(low: float, high: float, *parts: Any) -> Callable[[Any, int, Rng], Floats]:
    """Evenly, in turn with points of other draws."""

    def draw(dtype: Any, count: int, rng: Rng) -> Floats:
        drawn = [rng.uniform(low, high, count).astype(dtype), *(part(dtype, count, rng) for part in parts)]
        return np.choose(np.arange(count) % len(drawn), drawn).astype(dtype)

    return draw


def tenfold(low: float, high: float) -> Callable[[Any, int, Rng], Floats]:
    return lambda dtype, count, rng: (10 ** rng.uniform(low, high, count)).astype(dtype)


def erfcx(x: Any) -> Any:
    if x > 1e9:
        return (1 - 1 / (2 * x * x)) / (x * mpmath.sqrt(mpmath.pi))
    return mpmath.exp(x * x) * mpmath.erfc(x)


def ndtr(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def log_ndtr(x: Any) -> Any:
    return mpmath.log1p(-ndtr(-x)) if x > 0 else mpmath.log(ndtr(x))


def erfc_inverse(q: Any) -> Any:
    """By Newton's method on the logarithm."""
    x, step = mpmath.sqrt(-mpmath.log(q)) * mpmath.mpf("0.9"), mpmath.mpf(1)
    while abs(step) > abs(x) * mpmath.mpf(10) ** -30:
        scaled = erfcx(x)
        step = (mpmath.log(scaled) - x * x - mpmath.log(q)) * scaled * mpmath.sqrt(mpmath.pi) / 2
        x += step
    return x


def erfinv(y: Any) -> Any:
    return mpmath.erfinv(y) if abs(y) < 0.9 else mpmath.sign(y) * erfc_inverse(1 - abs(y))


def ndtri(p: Any) -> Any:
    if 0.05 < p < 0.95:
        return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)
    return mpmath.sqrt(2) * (-erfc_inverse(2 * p) if p < 0.5 else erfc_inverse(2 * (1 - p)))


def log1mexp(x: Any) -> Any:
    return mpmath.log(-mpmath.expm1(-x)) if x < 1 else mpmath.log1p(-mpmath.exp(-x))


def bessel_scaled(order: int) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        size = abs(x)
        if size < 1000:
            value = mpmath.exp(-size) * mpmath.besseli(order, size)
        else:
            term = value = mpmath.mpf(1)
            for k in range(1, 16):
                term *= -(mpmath.mpf(4) * order * order - (2 * k - 1) ** 2) / (8 * k * size)
                value += term
            value /= mpmath.sqrt(2 * mpmath.pi * size)
        return value * mpmath.sign(x) ** order

    return function


def betaln(a: Any, b: Any) -> Any:
    with mpmath.workprec(1300 if max(a, b) > 1e20 else 300):
        return mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)


def real_loggamma(x: Any) -> Any:
    return mpmath.re(mpmath.loggamma(x))


ODD = ((0.0, 0.0), (-0.0, -0.0), (NAN, NAN))
ENDS = tuple(high for _, high in minimax_special.bounds_by_place(minimax_special.PIECES[1]))  # of w = -log(1 - y²)
ENDS_BELOW_1 = tuple(math.sqrt(-math.expm1(-w)) for w in ENDS if w < 36)
ENDS_ABOVE_0 = tuple(math.exp(-w) / (2 + 2 * math.sqrt(-math.expm1(-w))) for w in ENDS if w < 745)

TABLE = (
    Row("xlogy", logistic.xlogy, lambda x, y: x * mpmath.log(y), (anywhere, between(0, 4, above_zero)), (),
        (-INF, INF),
        ((0.0, 0.0, 0.0), (-0.0, 0.0, 0.0), (0.0, INF, 0.0), (0.0, -1.0, 0.0), (0.0, NAN, NAN), (NAN, 1.0, NAN),
         (1.0, 0.0, -INF), (-1.0, 0.0, INF), (1.0, -1.0, NAN), (INF, 1.0, NAN), (INF, 2.0, INF), (2.0, INF, INF))),
    Row("xlog1py", logistic.xlog1py, lambda x, y: x * mpmath.log1p(y), (anywhere, between(-1, 4, above_zero)), (),
        (-INF, INF),
        ((0.0, -1.0, 0.0), (-0.0, 0.0, 0.0), (0.0, INF, 0.0), (0.0, NAN, NAN), (NAN, 0.0, NAN), (1.0, -1.0, -INF),
         (1.0, -0.0, -0.0), (1.0, 0.0, 0.0), (-1.0, 0.0, -0.0), (1.0, -2.0, NAN), (INF, 0.0, NAN), (2.0, INF, INF))),
    Row("logaddexp", logistic.logaddexp, lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
        (between(-30, 30), between(-30, 30)), (0.0, -math.log(2), 80.0), (-INF, INF),
        ((INF, INF, INF), (-INF, -INF, -INF), (INF, -INF, INF), (-INF, 2.0, 2.0), (2.0, -INF, 2.0), (NAN, INF, NAN),
         (-INF, NAN, NAN), (1e30, 0.0, 1e30)), lambda x, y: np.maximum(np.abs(np.maximum(x, y)), math.log(2))),
    Row("log1mexp", logistic.log1mexp, log1mexp, (between(0, 4, above_zero),), (math.log(2), 87.0, 700.0), (0, 745),
        ((0.0, -INF), (-0.0, -INF), (-1.0, NAN), (-INF, NAN), (INF, -0.0), (NAN, NAN), (1e30, -0.0))),
    Row("logit", logistic.logit, lambda x: mpmath.log(x / (1 - x)), (between(0, 1, above_zero),), (0.0, 0.25, 0.5, 1.0),
        (0, 1), ((0.0, -INF), (-0.0, -INF), (1.0, INF), (0.5, 0.0), (-1e-30, NAN), (1.5, NAN), (INF, NAN), (NAN, NAN))),
    Row("erfcx", normal.erfcx, erfcx, (between(-26, 40, anywhere),), (0.0, 27.5, 9.19, -9.38), (-26.7, 1e300),
        ((0.0, 1.0), (-0.0, 1.0), (INF, 0.0), (-INF, INF), (-30.0, INF), (NAN, NAN))),
    Row("ndtr", normal.ndtr, ndtr, (between(-38.5, 9, anywhere),), (0.0, -13.0, -14.2, -37.5, -38.48), (-38.6, 1e30),
        ((0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (-40.0, 0.0), (40.0, 1.0), (NAN, NAN))),
    Row("log_ndtr", normal.log_ndtr, log_ndtr, (between(-50, 14, anywhere),), (0.0, -38.9, -13.0, -1.89e154),
        (-1.89e154, 38),
        ((INF, -0.0), (50.0, -0.0), (-INF, -INF), (-1e200, -INF), (NAN, NAN))),
    Row("erfinv", normal.erfinv, erfinv, (between(-1, 1, anywhere),),
        (0.0, 0.5, 0.999, 1.0, -1.0, *ENDS_BELOW_1), (-1, 1),
        (*ODD, (1.0, INF), (-1.0, -INF), (1.5, NAN), (-INF, NAN))),
    Row("ndtri", normal.ndtri, ndtri, (between(0, 1, above_zero),), (0.0, 0.25, 0.5, 1.0, *ENDS_ABOVE_0), (0, 1),
        ((0.0, -INF), (-0.0, -INF), (1.0, INF), (0.5, 0.0), (-1e-30, NAN), (1.5, NAN), (NAN, NAN), (INF, NAN))),
    Row("gammaln", gamma.gammaln, real_loggamma, (between(0, 20, above_zero),), (0.0, 0.5, 1.0, 2.0, 8.0), (0, INF),
        ((0.0, INF), (-0.0, INF), (1.0, 0.0), (2.0, 0.0), (-1.0, INF), (-30.0, INF), (INF, INF), (-INF, INF),
         (-1e30, INF), (NAN, NAN))),
    Row("gammaln below 0", gamma.gammaln, real_loggamma, (between(-40, 0, lambda *a: -tenfold(-30, 9)(*a)),),
        (0.0, -0.5, -1.0, -2.4570247, -2.7476826, -8.0), (-INF, 0), (), lambda x: np.where(x < -2, 1.0, 0.0)),
    Row("digamma", gamma.digamma, mpmath.digamma, (between(0, 20, above_zero),),
        (0.0, 0.5, 1.0, gamma.DIGAMMA_ZERO[0], 2.0, 8.0), (0, INF),
        ((0.0, -INF), (-0.0, INF), (-1.0, NAN), (-30.0, NAN), (INF, INF), (-INF, NAN), (NAN, NAN))),
    Row("digamma below 0", gamma.digamma, mpmath.digamma, (between(-40, 0, lambda *a: -tenfold(-30, 9)(*a)),),
        (0.0, -0.5, -0.50408301, -1.0, -8.0), (-INF, 0), (), lambda x: np.maximum(np.log(-x + 1), 1)),
    Row("betaln", beta.betaln, betaln, (tenfold(-8, 30), tenfold(-8, 30)), (1.0, beta.GROUND, 8.0), (0, INF),
        ((1.0, 1.0, 0.0), (0.0, 2.0, INF), (2.0, -0.0, INF), (0.0, INF, INF), (INF, 2.0, -INF), (INF, INF, -INF),
         (-1.0, 2.0, NAN), (2.0, NAN, NAN), (0.0, NAN, NAN)), lambda x, y: 1.0),
    Row("betaln of small numbers", beta.betaln, betaln, (between(0, 12), between(0, 12)), (1.0, beta.GROUND, 8.0),
        (0, INF), (), lambda x, y: 1.0),
    Row("i0e", bessel.i0e, bessel_scaled(0), (between(-20, 20, anywhere),), (0.0, 10.0), (-INF, INF),
        ((0.0, 1.0), (-0.0, 1.0), (INF, 0.0), (-INF, 0.0), (NAN, NAN))),
    Row("i1e", bessel.i1e, bessel_scaled(1), (between(-20, 20, anywhere),), (0.0, 10.0), (-INF, INF),
        (*ODD, (INF, 0.0), (-INF, -0.0))),
)  # fmt: skip

each = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
both = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)


@cache
def loop(intrinsic: Any, arity: int, dtype: Any) -> Any:
    """out[i] = f(x[i], …), compiled as graphc compiles."""
    names = ("x", "y")[:arity]
    scope = {"f": intrinsic}
    call = ", ".join(f"{name}[i]" for name in names)
    text = f"def run({', '.join(names)}, out):\n    for i in range(out.size):\n        out[i] = f({call})"
    exec(text, scope)
    array = from_dtype(np.dtype(dtype))[::1]
    return njit([types.void(*[array] * (arity + 1))], fastmath={"contract"}, error_model="numpy")(scope["run"])


def results(row: Row, *operands: Floats) -> Floats:
    out = np.empty_like(operands[0])
    loop(row.intrinsic, len(row.draws), out.dtype.type)(*operands, out)
    return out


def points(row: Row, dtype: Any, count: int, rng: Rng) -> tuple[Floats, ...]:
    centres = [c for c in row.near if abs(c) <= float(np.finfo(dtype).max)]
    first = [row.draws[0](dtype, count, rng), *(ulp.near(c, dtype, count // 8, rng) for c in centres)]
    x = np.concatenate(first)
    others = [draw(dtype, x.size, rng) for draw in row.draws[1:]]
    low, high = row.domain
    inside = (x.astype(np.float64) > low) & (x.astype(np.float64) < high) & ((x > 0) | (x != np.rint(x)) | (low > -INF))
    regular = inside & np.all([(v != 0) & np.isfinite(v) for v in (x, *others)], axis=0)
    return tuple(v[regular] for v in (x, *others))


def worst(row: Row, operands: tuple[Floats, ...]) -> tuple[float, tuple[float, ...]]:
    exact, got = ulp.exactly(row.exact, *operands), results(row, *operands)
    least = np.maximum(np.abs(exact), row.least(*operands))
    relative = ulp.spacing(exact, got.dtype) / ulp.spacing(least, got.dtype)
    errors = ulp.error(got, exact) * np.where(exact == 0, 1, relative).astype(np.float64)
    at = int(np.argmax(errors))
    return float(errors[at]), tuple(float(v[at]) for v in operands)


@each
@both
def test_within_four_units(row: Row, dtype: Any) -> None:
    error, at = worst(row, points(row, dtype, 500, np.random.default_rng(1)))
    assert error <= BOUND, f"{row.name}{at} is wrong by {error:.3f} units"


@pytest.mark.long
@each
@both
def test_within_four_units_long(row: Row, dtype: Any) -> None:
    for seed in range(4):
        error, at = worst(row, points(row, dtype, 4000, np.random.default_rng(100 + seed)))
        assert error <= BOUND, f"{row.name}{at} is wrong by {error:.3f} units"


@each
@both
def test_special_values(row: Row, dtype: Any) -> None:
    for *operands, expected in row.special:
        for lanes in (1, 64):  # alone, and as a vector
            with np.errstate(over="ignore"):
                want = dtype(expected)
                got = results(row, *(np.full(lanes, v, dtype) for v in operands))
            same = np.isnan(got) if np.isnan(want) else (got == want) & (np.signbit(got) == np.signbit(want))
            assert same.all(), f"{row.name}{operands} gave {got[0]}, expected {want}"


@each
@both
def test_vector_and_scalar_agree(row: Row, dtype: Any) -> None:
    operands = points(row, dtype, 200, np.random.default_rng(3))
    alone = np.concatenate([results(row, *(v[i : i + 1] for v in operands)) for i in range(operands[0].size)])
    np.testing.assert_array_equal(results(row, *operands), alone)


@each
@both
def test_loop_is_vectorised(row: Row, dtype: Any) -> None:
    code = loop(row.intrinsic, len(row.draws), dtype)
    text = code.inspect_llvm(code.signatures[0])
    assert "x double> @llvm.fma." in text or "x float> @llvm.fma." in text


@both
def test_betaln_of_the_smallest_and_largest(dtype: Any) -> None:
    """Where sums and products of the operands overflow, or are subnormal."""
    limits = np.finfo(dtype)
    numbers = [float(limits.smallest_subnormal), 3e-45, float(limits.tiny), 1e-20, 0.3, 1.0, 1e30]
    numbers += [float(limits.max) / 3, float(limits.max)]
    numbers += [] if dtype is np.float32 else [beta.TINY[0], 2.0**-899, 1e-300, 2.0**511, 2.0**512, 1e300, 2.0**1022]
    a, b = (side.ravel().astype(dtype) for side in np.meshgrid(numbers, numbers))
    row = next(row for row in TABLE if row.name == "betaln")
    exact = ulp.exactly(row.exact, a, b)
    finite = np.abs(exact) <= limits.max
    error, at = worst(row, (a[finite], b[finite]))
    assert error <= BOUND, f"betaln{at} is wrong by {error:.3f} units"
    assert (results(row, a[~finite], b[~finite]) == -INF).all()


def test_the_measure_sees_five_units() -> None:
    row = TABLE[0]
    operands = points(row, np.float64, 100, np.random.default_rng(5))
    wrong = Row(**{**vars(row), "exact": lambda x, y: row.exact(x, y) * (1 + mpmath.mpf(2) ** -50)})
    assert worst(wrong, operands)[0] > BOUND


# through graphs


def at(build: Callable[[gc.Node], Any], x: Any, order: int = 0, dtype: str = "float64") -> Floats:
    """The derivative of this order of a function of one operand."""
    node = gc.input("x", ("n",), dtype)
    y = build(node)
    for _ in range(order):
        y = gc.grad(gc.sum(y), node)
    result: Floats = gc.compile([node], y)(np.asarray(x, dtype))
    return result


def hurwitz(s: int, x: Any) -> Any:
    """The sum of (x + k)^-s: mpmath's zeta takes minutes where s is large."""
    first = 20 + s // 4 + max(0, int(-x))
    a = x + first
    rest, factor = a / (s - 1) + mpmath.mpf(1) / 2, s / a
    for j in range(1, 30):
        rest += mpmath.bernoulli(2 * j) / mpmath.factorial(2 * j) * factor
        factor *= (s + 2 * j - 1) * (s + 2 * j) / a**2
    return sum((x + k) ** -s for k in range(first)) + rest * a**-s


@pytest.mark.parametrize("n", [1, 2, 3, 20, 200, 1000])
@both
def test_polygamma(n: int, dtype: Any) -> None:
    name = np.dtype(dtype).name
    rng = np.random.default_rng(n)
    x = np.concatenate([tenfold(-2, 4)(dtype, 200, rng), between(0.1, 20)(dtype, 100, rng)])

    value = ulp.exactly(lambda v: (-1) ** (n + 1) * mpmath.factorial(n) * hurwitz(n + 1, v), x)
    got = at(lambda v: gc.polygamma(n, v), x, dtype=name)
    error, (where,) = ulp.worst(got, value, x)
    assert error <= BOUND, f"polygamma({n}, {where}) is wrong by {error:.3f} units"


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_polygamma_below_zero(n: int) -> None:
    """In units of the two sums that it is made of: with even n they cancel."""
    x = -np.random.default_rng(n).uniform(0, 30, 100)
    sums = np.array([sum(abs(math.factorial(n) / (v + k) ** (n + 1)) for k in range(60)) for v in x])
    exact = ulp.exactly(lambda v: (-1) ** (n + 1) * mpmath.factorial(n) * hurwitz(n + 1, v), x)
    errors = np.abs(at(lambda v: gc.polygamma(n, v), x) - exact) / ulp.spacing(sums, np.float64)
    assert errors.max() <= BOUND


def test_poles_of_polygamma() -> None:
    x = [0.0, -0.0, -1.0, -7.0, INF, -INF, NAN, 1e-200, 1e200]
    expected = [INF, INF, INF, INF, 0.0, INF, NAN, INF, 1e-200]
    np.testing.assert_allclose(at(lambda v: gc.polygamma(1, v), x), expected, rtol=1e-15)
    assert at(lambda v: gc.polygamma(2, v), x)[0] == -INF


def test_multigammaln() -> None:
    x = np.random.default_rng(0).uniform(2.01, 60, 200)
    for d in (1, 3, 5):
        exact = ulp.exactly(
            lambda v, d=d: mpmath.mpf(d * (d - 1)) / 4 * mpmath.log(mpmath.pi)
            + sum(mpmath.loggamma(v - mpmath.mpf(j) / 2) for j in range(d)), x
        )  # fmt: skip
        assert ulp.worst(at(lambda v, d=d: gc.multigammaln(v, d), x), exact, x)[0] <= BOUND
    assert np.isnan(at(lambda v: gc.multigammaln(v, 3), [1.0, 0.5, -3.0])).all()


def test_derivatives_of_gammaln_are_polygammas() -> None:
    x = np.linspace(0.2, 9, 50)
    for order in range(1, 6):
        exact = ulp.exactly(lambda v, n=order - 1: mpmath.polygamma(n, v), x)
        np.testing.assert_allclose(at(gc.gammaln, x, order), exact.astype(float), rtol=2e-15)


@pytest.mark.parametrize("x", [-1e6, -30.0, -0.5, 0.0, 3.0, 24.9, 25.1, 1e5, 1e100])
def test_derivatives_of_erfcx_and_log_ndtr_keep_their_digits(x: float) -> None:
    """Where the plain rule would cancel, overflow or give NaN."""
    with mpmath.workprec(1200):
        point = mpmath.mpf(x)
        density = mpmath.exp(-point * point / 2) / mpmath.sqrt(2 * mpmath.pi)
        ratio = density / ndtr(point)
        slopes = {
            gc.erfcx: [2 * point * erfcx(point) - 2 / mpmath.sqrt(mpmath.pi)],
            gc.log_ndtr: [ratio, -ratio * (point + ratio)],
        }
        for function, exact in slopes.items():
            for order, value in enumerate(exact, 1):
                got = float(at(function, [x], order)[0])
                tolerance = 1e-11 if order == 1 else 1e-3 if x < -100 else 1e-9
                assert got == pytest.approx(float(value), rel=tolerance, abs=1e-300), (function, order)


def test_slopes_at_zeros_of_logarithms() -> None:
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    for function, edge in ((gc.xlogy, 0.0), (gc.xlog1py, -1.0)):
        slopes = gc.grad(gc.sum(function(x, y)), [x, y])
        mixed = gc.grad(gc.sum(slopes[0]), y)
        f = gc.compile([x, y], [*slopes, mixed])
        along_x, along_y, both_ways = f([0.0, 0.0, 1.0], [edge, edge + 2.0, edge + 2.0])
        np.testing.assert_allclose(along_x, [0.0, math.log(2), math.log(2)])
        np.testing.assert_allclose(along_y, [0.0, 0.0, 0.5])
        np.testing.assert_allclose(both_ways, [0.0, 0.5, 0.5])


def test_slopes_of_logaddexp_where_operands_are_equal() -> None:
    assert at(lambda v: gc.logaddexp(v, 1.0), [1.0], 1) == 0.5
    assert at(lambda v: gc.logaddexp(v, 1.0), [1.0], 2) == 0.25
    assert at(lambda v: gc.logaddexp(v, -INF), [-INF, 0.0], 1).tolist() == [0.5, 1.0]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_slopes_of_log1mexp_far_out(order: int) -> None:
    x = [3.0, 90.0, 1000.0, INF]
    expected = (-1.0) ** (order + 1) * np.exp(-np.array(x[1:]))
    np.testing.assert_allclose(at(gc.log1mexp, x, order)[1:], expected, rtol=1e-13)
    assert np.isfinite(at(gc.log1mexp, x, order, "float32")).all()


def test_many_functions_in_one_kernel() -> None:
    """Then they are called as routines, which take rare arguments as well."""
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        x = gc.input("x", ("n",), dtype)
        y = sum((gc.gammaln(x - k / 8) * gc.digamma(x + k / 8) for k in range(9)), gc.ndtr(x))
        points = np.linspace(-3.3, 9.1, 203).astype(dtype)
        scipy = pytest.importorskip("scipy.special")
        wide = points.astype(np.float64)
        exact = sum((scipy.gammaln(wide - k / 8) * scipy.digamma(wide + k / 8) for k in range(9)), scipy.ndtr(wide))
        np.testing.assert_allclose(gc.compile([x], y)(points), exact, rtol=tolerance, atol=100 * tolerance)


def test_slopes_of_bessel_functions_at_zero() -> None:
    assert at(gc.i0e, [0.0], 1) == 0
    assert at(gc.i1e, [0.0], 1) == 0.5


def test_interpreted_kernels_have_the_functions() -> None:
    x = gc.input("x", (5,))
    names = {row.name: len(row.draws) for row in TABLE if " " not in row.name}
    nodes = [gc.polygamma(2, x), *(getattr(gc, name)(*[x] * arity) for name, arity in names.items())]
    outputs = [gc.compile([x], tuple(nodes), options=gc.Options(debug=debug)) for debug in (True, False)]
    interpreted, compiled = (f(np.linspace(0.1, 0.9, 5)) for f in outputs)
    for one, other in zip(interpreted, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_scipys_functions_take_nodes() -> None:
    special = pytest.importorskip("scipy.special")
    x = gc.input("x", ("n",))
    for name in ("gammaln", "digamma", "ndtri", "erfcx", "i0e", "logit"):
        assert getattr(special, name)(x) is getattr(gc, name)(x)
    assert special.xlogy(2.0, x) is gc.xlogy(2.0, x)
    assert np.logaddexp(x, 1.0) is gc.logaddexp(x, 1.0)
