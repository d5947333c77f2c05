"""Vector math: every function within two units of the spacing, float32 and float64, and right at special values.

One row of TABLE a function.  All are compiled in one function a float type, as loops that LLVM vectorises.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import erf_reference
import mpmath
import numpy as np
import pytest
import ulp
from numba import from_dtype, njit, types

import graphc as gc
from graphc.codegen.intrinsics import exponential, logarithmic, power, special, trigonometric
from graphc.codegen.intrinsics.target import underflows_slowly

BOUND = 2.0
DTYPES = (np.float32, np.float64)
INF, NAN = math.inf, math.nan
LN2 = math.log(2)

Floats = np.ndarray[Any, Any]
Companion = Callable[[Floats, np.random.Generator], Floats]


@dataclass(frozen=True)
class Row:
    """A function under test.

    `exact` is mpmath's, `reference` NumPy's (on long double or float64).  `near` holds zeros, poles, branches and
    reduction boundaries, `span` an interval to sample evenly where bit patterns are mostly trivial.  For two operands,
    `companion` draws the second for a given first.  Each of `special` is operands and result, the same for both types.
    """

    name: str
    intrinsic: Any
    exact: Callable[..., Any]
    reference: Callable[..., Any]
    near: tuple[float, ...]
    span: tuple[float, float]
    special: tuple[tuple[float, ...], ...]
    companion: Companion | None = None


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def inverse_root(x: Any) -> Any:
    return 1 / np.sqrt(x)


def exponent_in_range(x: Floats, rng: np.random.Generator) -> Floats:
    """Exponents for which x^y is anything from the smallest subnormal to overflow, and whole numbers now and then."""
    info = np.finfo(x.dtype)
    with np.errstate(all="ignore"):
        wide = x.astype(np.longdouble)
        y = rng.uniform(info.minexp - info.nmant - 2, info.maxexp + 1, x.size) / np.log2(np.abs(wide))
    y = np.where(np.isfinite(y), np.clip(y, -1e30, 1e30), 2.0)
    return np.where(x < 0, np.rint(y), y).astype(x.dtype)


def of_like_size(x: Floats, rng: np.random.Generator) -> Floats:
    """Numbers up to 2^30 times as large or as small as x, of either sign."""
    with np.errstate(over="ignore"):
        y = x * np.exp2(rng.uniform(-30, 30, x.size)).astype(x.dtype) * rng.choice(np.array([1, -1], x.dtype), x.size)
    return np.nan_to_num(y)


HALVES = tuple((k + 0.5) * LN2 for k in (-2, -1, 0, 1))  # where the nearest multiple of ln 2 changes
LARGEST = (88.72284, 709.782712893384)  # logarithms of the largest floats, of the smallest normal and of half the least
SMALLEST = (-87.33655, -103.97208, -708.3964185322641, -745.1332191019412)
CUTS = (0.75, 1.5, 3.0)  # where the exponent taken out changes
NORMAL = (2.0**-126, 2.0**-1022)
ZERO = ((0.0, 0.0), (-0.0, -0.0), (NAN, NAN))
ODD = (*ZERO, (INF, INF), (-INF, -INF))
LOG = ((0.0, -INF), (-0.0, -INF), (-1.0, NAN), (-INF, NAN), (INF, INF), (NAN, NAN), (1.0, 0.0))
POW = (
    # 1 whatever the other operand is
    *((x, y, 1.0) for y in (0.0, -0.0) for x in (0.0, -0.0, 1.0, -2.0, INF, -INF, NAN)),
    *((1.0, y, 1.0) for y in (2.5, -3.0, INF, -INF, NAN)), (-1.0, INF, 1.0), (-1.0, -INF, 1.0),
    # NaN
    (NAN, 1.0, NAN), (2.0, NAN, NAN), (-2.0, NAN, NAN), (0.0, NAN, NAN), (INF, NAN, NAN), (NAN, NAN, NAN),
    (NAN, INF, NAN), (-2.0, 0.5, NAN), (-0.5, -1.5, NAN), (-1.0, 0.5, NAN), (-1e30, 1e-30, NAN),
    # base 0
    (0.0, 3.0, 0.0), (-0.0, 3.0, -0.0), (0.0, 2.0, 0.0), (-0.0, 2.0, 0.0), (-0.0, 0.5, 0.0), (-0.0, INF, 0.0),
    (0.0, -3.0, INF), (-0.0, -3.0, -INF), (0.0, -2.0, INF), (-0.0, -2.0, INF), (-0.0, -0.5, INF), (0.0, -INF, INF),
    (-0.0, -INF, INF), (0.0, INF, 0.0),
    # exponent infinite
    (0.5, INF, 0.0), (-0.5, INF, 0.0), (0.5, -INF, INF), (-0.5, -INF, INF), (2.0, INF, INF), (-2.0, INF, INF),
    (2.0, -INF, 0.0), (-2.0, -INF, 0.0), (1.0000001192092896, INF, INF), (0.9999999403953552, -INF, INF),
    # base infinite
    (INF, 2.0, INF), (INF, 0.5, INF), (INF, -1.0, 0.0), (INF, INF, INF), (INF, -INF, 0.0), (-INF, 3.0, -INF),
    (-INF, 2.0, INF), (-INF, 0.5, INF), (-INF, -3.0, -0.0), (-INF, -2.0, 0.0), (-INF, -0.5, 0.0), (-INF, INF, INF),
    (-INF, -INF, 0.0),
    # the sign of odd powers, parity at the end of the mantissa
    (-2.0, 3.0, -8.0), (-2.0, 2.0, 4.0), (-2.0, -1.0, -0.5), (-1.0, 16777215.0, -1.0), (-1.0, 16777216.0, 1.0),
    (-2.0, 1e30, INF), (-0.5, 1e30, 0.0), (-2.0, 16777215.0, -INF), (-2.0, -16777215.0, -0.0),
)  # fmt: skip
HYPOT = (
    (INF, NAN, INF), (NAN, -INF, INF), (-INF, 1.0, INF), (NAN, 1.0, NAN), (1.0, NAN, NAN), (0.0, -0.0, 0.0),
    (-0.0, -0.0, 0.0), (3.0, -4.0, 5.0), (-0.0, -2.0, 2.0),
)  # fmt: skip

PI, QUARTER = math.pi, 2.356194490192345  # pi, and 3/4 of it, to the nearest float64
TURNS = (0.0, PI / 4, PI / 2, -3 * PI / 4, -PI, 5 * PI / 4, 1e4 * PI, 1e5 * PI, 2.0**17, 2.0**44, 2.0**100)
HARD = (16367173 * 2.0**72, 6381956970095103 * 2.0**797)  # the float32 and the float64 nearest to a multiple of pi/2
WORST = (64904.519, 124343.453125, 391.6067)  # the float32 at which errors of tan are largest
UNIT = ((1.5, NAN), (-2.0, NAN), (INF, NAN), (-INF, NAN), (NAN, NAN))
AT_INFINITY = ((INF, NAN), (-INF, NAN), (NAN, NAN))
ATAN2 = (
    # y = 0
    (0.0, 0.0, 0.0), (-0.0, 0.0, -0.0), (0.0, -0.0, PI), (-0.0, -0.0, -PI), (0.0, 2.0, 0.0), (-0.0, 2.0, -0.0),
    (0.0, -2.0, PI), (-0.0, -2.0, -PI), (0.0, INF, 0.0), (-0.0, INF, -0.0), (0.0, -INF, PI), (-0.0, -INF, -PI),
    # x = 0
    (2.0, 0.0, PI / 2), (2.0, -0.0, PI / 2), (-2.0, 0.0, -PI / 2), (-2.0, -0.0, -PI / 2), (1e-30, 0.0, PI / 2),
    # infinities
    (2.0, -INF, PI), (-2.0, -INF, -PI), (2.0, INF, 0.0), (-2.0, INF, -0.0), (INF, 2.0, PI / 2), (INF, -2.0, PI / 2),
    (-INF, 2.0, -PI / 2), (-INF, -2.0, -PI / 2), (INF, 0.0, PI / 2), (-INF, -0.0, -PI / 2), (INF, INF, PI / 4),
    (INF, -INF, QUARTER), (-INF, INF, -PI / 4), (-INF, -INF, -QUARTER), (1e30, INF, 0.0), (INF, 1e38, PI / 2),
    # NaN
    (NAN, 1.0, NAN), (1.0, NAN, NAN), (NAN, NAN, NAN), (INF, NAN, NAN), (NAN, -INF, NAN), (0.0, NAN, NAN),
    # diagonals
    (1.0, 1.0, PI / 4), (-1.0, 1.0, -PI / 4), (1.0, -1.0, QUARTER), (-1.0, -1.0, -QUARTER), (1e38, 1e38, PI / 4),
)  # fmt: skip

STEPS = tuple((k + 0.5) / 15 for k in (0, 1, 7, 14))  # where slopes change from one step to the next

TABLE = (
    Row("exp", exponential.exp, mpmath.exp, np.exp, (0.0, *HALVES, *LARGEST, *SMALLEST), (-750, 715),
        ((0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e30, INF), (-1e30, 0.0))),
    Row("exp2", exponential.exp2, lambda x: mpmath.power(2, x), np.exp2,
        (0.0, -0.5, 0.5, 1.5, 128.0, 1024.0, -126.0, -149.0, -150.0, -1022.0, -1075.0), (-1080, 1030),
        ((0.0, 1.0), (-0.0, 1.0), (1.0, 2.0), (-1.0, 0.5), (INF, INF), (-INF, 0.0), (NAN, NAN))),
    Row("expm1", exponential.expm1, mpmath.expm1, np.expm1, (0.0, *HALVES, *LARGEST, -17.33, -37.43, 37.43), (-40, 60),
        (*ZERO, (INF, INF), (-INF, -1.0), (1e30, INF), (-1e30, -1.0))),
    Row("tanh", exponential.tanh, mpmath.tanh, np.tanh, (0.0, *(x / 2 for x in HALVES), 0.203, 9.01, 19.06), (-20, 20),
        (*ZERO, (INF, 1.0), (-INF, -1.0), (1e30, 1.0))),
    Row("sinh", exponential.sinh, mpmath.sinh, np.sinh, (0.0, 1.2, *HALVES, 89.415985, -89.415985, 710.4758600739439),
        (-715, 715), (*ODD, (1e30, INF), (-1e30, -INF))),
    Row("cosh", exponential.cosh, mpmath.cosh, np.cosh, (0.0, *HALVES, 89.415985, 710.4758600739439), (-715, 715),
        ((0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, INF), (NAN, NAN), (-1e30, INF))),
    Row("sigmoid", exponential.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), logistic,
        (0.0, *HALVES, *SMALLEST, 17.33, 36.74), (-750, 50),
        ((0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN))),
    Row("log", logarithmic.log, mpmath.log, np.log, (0.0, 1.0, *CUTS, *NORMAL), (0, 4), LOG),
    Row("log2", logarithmic.log2, lambda x: mpmath.log(x, 2), np.log2, (0.0, 1.0, *CUTS, *NORMAL), (0, 4),
        (*LOG, (2.0, 1.0), (0.25, -2.0), (2.0**-149, -149.0))),
    Row("log10", logarithmic.log10, mpmath.log10, np.log10, (0.0, 1.0, *CUTS, *NORMAL), (0, 4), LOG),
    Row("log1p", logarithmic.log1p, mpmath.log1p, np.log1p, (0.0, -1.0, *(x - 1 for x in CUTS), 2.0**24, 2.0**53),
        (-1, 3), (*ZERO, (INF, INF), (-INF, NAN), (-1.0, -INF), (-2.0, NAN))),
    Row("asinh", logarithmic.asinh, mpmath.asinh, np.arcsinh, (0.0, 0.375, -1.0, 2.0**25, 2.0**54), (-3, 3), ODD),
    Row("acosh", logarithmic.acosh, mpmath.acosh, np.arccosh, (1.0, 1.06, 2.0**25, 2.0**54), (1, 3),
        ((1.0, 0.0), *((x, NAN) for x in (0.5, 0.0, -1.0, -2.0, -1e30, -INF, NAN)), (INF, INF))),
    Row("atanh", logarithmic.atanh, mpmath.atanh, np.arctanh, (0.0, -1.0, 1.0, 0.1716, 0.4776), (-1, 1),
        (*ZERO, (1.0, INF), (-1.0, -INF), (1.5, NAN), (-2.0, NAN), (INF, NAN), (-INF, NAN))),
    Row("sqrt", power.sqrt, mpmath.sqrt, np.sqrt, (0.0, 1.0), (0, 4),
        (*ZERO, (-1.0, NAN), (INF, INF), (-INF, NAN), (4.0, 2.0))),
    Row("rsqrt", power.rsqrt, lambda x: 1 / mpmath.sqrt(x), inverse_root, (0.0, 1.0, *NORMAL), (0, 4),
        ((0.0, INF), (-0.0, -INF), (-1.0, NAN), (INF, 0.0), (-INF, NAN), (NAN, NAN), (4.0, 0.5))),
    Row("cbrt", power.cbrt, lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), np.cbrt, (0.0, 1.0, -1.0, *CUTS, *NORMAL),
        (-8, 8), ODD),
    Row("pow", power.pow, mpmath.power, np.power, (0.0, 1.0, -1.0, *CUTS, *NORMAL), (-4, 4), POW, exponent_in_range),
    Row("hypot", power.hypot, mpmath.hypot, np.hypot, (0.0, 1.0, *NORMAL, 2.0**60, 2.0**-37, 2.0**508, 2.0**-456),
        (-4, 4), HYPOT, of_like_size),
    Row("sin", trigonometric.sin, mpmath.sin, np.sin, (*TURNS, *HARD), (-1e3, 1e3),
        ((0.0, 0.0), (-0.0, -0.0), *AT_INFINITY)),
    Row("cos", trigonometric.cos, mpmath.cos, np.cos, (*TURNS, *HARD), (-1e3, 1e3),
        ((0.0, 1.0), (-0.0, 1.0), *AT_INFINITY)),
    Row("tan", trigonometric.tan, mpmath.tan, np.tan, (*TURNS, *HARD, *WORST), (-1e3, 1e3),
        ((0.0, 0.0), (-0.0, -0.0), *AT_INFINITY)),
    Row("asin", trigonometric.asin, mpmath.asin, np.arcsin, (0.0, 0.5, -0.5, 0.999999, -0.999999), (-1, 1),
        ((0.0, 0.0), (-0.0, -0.0), (1.0, PI / 2), (-1.0, -PI / 2), *UNIT)),
    Row("acos", trigonometric.acos, mpmath.acos, np.arccos, (0.0, 0.5, -0.5, 0.999999, -0.999999), (-1, 1),
        ((0.0, PI / 2), (-0.0, PI / 2), (1.0, 0.0), (-1.0, PI), *UNIT)),
    Row("atan", trigonometric.atan, mpmath.atan, np.arctan,
        (0.0, 0.5, -1.0, 2.0, 2.0**33, -(2.0**62), *STEPS, 1 / STEPS[0], 2.0**1000), (-8, 8),
        ((0.0, 0.0), (-0.0, -0.0), (INF, PI / 2), (-INF, -PI / 2), (1e38, PI / 2), (NAN, NAN))),
    Row("atan2", trigonometric.atan2, mpmath.atan2, np.arctan2,
        (0.0, 0.5, -1.0, *NORMAL, 1e38, 1e308, 2.0**1000, 2.0**-1000), (-4, 4), ATAN2, of_like_size),
    Row("erf", special.erf, mpmath.erf, erf_reference.erf, (0.0, 0.5, -1.0, 1.0, 4.0, 6.0), (-7, 7),
        (*ODD[:2], (INF, 1.0), (-INF, -1.0), (1e30, 1.0), (NAN, NAN))),
    Row("erfc", special.erfc, mpmath.erfc, erf_reference.erfc,
        (0.0, 1e-4, -1.0, 1.0, 2.0, 4.0, 6.0, 10.0, 14.0, 22.0, 9.1945, 10.0546, 26.5432, 27.2262), (-7, 28),
        ((0.0, 1.0), (-0.0, 1.0), (INF, 0.0), (-INF, 2.0), (1e30, 0.0), (-1e30, 2.0), (NAN, NAN))),
)  # fmt: skip

each = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
both = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)


@cache
def compiled(dtype: Any) -> Callable[..., None]:
    """run(number of the row, x, y, out) for one float type: a loop a function."""
    lines = ["def run(row, x, y, out):"]
    for number, row in enumerate(TABLE):
        call = f"{row.name}(x[i], y[i])" if row.companion else f"{row.name}(x[i])"
        lines += [f"    if row == {number}:", "        for i in range(x.size):", f"            out[i] = {call}"]
    scope = {row.name: row.intrinsic for row in TABLE}
    exec("\n".join(lines), scope)
    array = from_dtype(np.dtype(dtype))[::1]
    signature = types.void(types.int64, array, array, array)
    run: Callable[..., None] = njit([signature], fastmath={"contract"}, error_model="numpy")(scope["run"])
    return run


def results(row: Row, x: Floats, y: Floats | None = None) -> Floats:
    out = np.empty_like(x)
    compiled(x.dtype.type)(TABLE.index(row), x, x if y is None else y, out)
    return out


def spread(row: Row, dtype: Any, patterns: int, rng: np.random.Generator) -> tuple[Floats, ...]:
    """Bit patterns uniform over the floats, both operands independently, and an even sample of the row's interval."""
    x = ulp.finite(dtype, patterns, rng)
    even = rng.uniform(*row.span, patterns // 4).astype(dtype)
    if row.companion is None:
        return (np.concatenate([x, even]),)
    related, even_related = row.companion(x, rng), row.companion(even, rng)
    y = ulp.finite(dtype, patterns, rng)
    return np.concatenate([x, x, even]), np.concatenate([y, related, even_related])


def boundaries(row: Row, dtype: Any, count: int, rng: np.random.Generator) -> tuple[Floats, ...]:
    info = np.finfo(dtype)
    centres = [c for c in row.near if c == 0 or float(info.tiny) <= abs(c) <= float(info.max)]
    x = np.concatenate([ulp.near(c, dtype, count, rng) for c in centres])
    return (x,) if row.companion is None else (x, row.companion(x, rng))


def assert_accurate(row: Row, points: tuple[Floats, ...]) -> None:
    """In blocks, so that the long doubles stay in cache."""
    wide = np.float64 if points[0].dtype == np.float32 else np.longdouble
    for start in range(0, points[0].size, 1 << 15):
        block = tuple(x[start : start + (1 << 15)] for x in points)
        with np.errstate(all="ignore"):
            exact = row.reference(*(x.astype(wide) for x in block))
        error, at = ulp.worst(results(row, *block), exact, *block)
        assert error <= BOUND, f"{row.name}{at} is wrong by {error:.3f} units"


@each
@both
def test_special_values(row: Row, dtype: Any) -> None:
    *columns, expected = (np.array(column, dtype) for column in zip(*row.special, strict=True))
    for lanes in (1, 64):  # alone, and as a vector
        for index, want in enumerate(expected):
            got = results(row, *(np.full(lanes, column[index]) for column in columns))
            same = np.isnan(got) if np.isnan(want) else (got == want) & (np.signbit(got) == np.signbit(want))
            assert same.all(), f"{row.name}{row.special[index][:-1]} gave {got[0]}, expected {want}"


@each
@both
def test_within_two_units(row: Row, dtype: Any) -> None:
    if dtype is np.float64 and not ulp.WIDE:
        pytest.skip("long double is no wider than float64 here")
    rng = np.random.default_rng(1)
    assert_accurate(row, spread(row, dtype, 1_000_000, rng))
    assert_accurate(row, boundaries(row, dtype, 100_000, rng))


@pytest.mark.long
@each
@both
def test_within_two_units_long(row: Row, dtype: Any) -> None:
    if dtype is np.float64 and not ulp.WIDE:
        pytest.skip("long double is no wider than float64 here")
    for seed in range(10):
        rng = np.random.default_rng(100 + seed)
        assert_accurate(row, spread(row, dtype, 1_000_000, rng))
        assert_accurate(row, boundaries(row, dtype, 100_000, rng))


@each
@both
def test_against_mpmath(row: Row, dtype: Any) -> None:
    """At points that are neither infinite nor 0, where mpmath's own special values do not come in."""
    rng = np.random.default_rng(2)
    parts = zip(spread(row, dtype, 800, rng), boundaries(row, dtype, 100, rng), strict=True)
    points = tuple(np.concatenate(part) for part in parts)
    with np.errstate(all="ignore"):
        reference = row.reference(*(x.astype(np.longdouble) for x in points))
        rounded = reference.astype(dtype)
    regular = np.isfinite(rounded) & np.all([x != 0 for x in (rounded, *points)], axis=0)
    points = tuple(x[regular] for x in points)
    exact = ulp.exactly(row.exact, *points)
    error, at = ulp.worst(results(row, *points), exact, *points)
    assert error <= BOUND, f"{row.name}{at} is wrong by {error:.3f} units"
    if ulp.WIDE:  # the reference of the large samples is itself known good
        assert float(np.max(np.abs(reference[regular] - exact) / ulp.spacing(exact, dtype))) < 0.01


@each
@both
def test_vector_and_scalar_agree(row: Row, dtype: Any) -> None:
    """The vectorised loop and its scalar remainder give the same bits."""
    rng = np.random.default_rng(3)
    points = spread(row, dtype, 400, rng)
    together = results(row, *points)
    alone = np.concatenate([results(row, *(x[i : i + 1] for x in points)) for i in range(points[0].size)])
    assert np.array_equal(together, alone, equal_nan=True)
    assert np.array_equal(np.signbit(together[together == 0]), np.signbit(alone[together == 0]))


@both
def test_checker_sees_an_error_of_three_units(dtype: Any) -> None:
    x = np.linspace(-5, 5, 1001).astype(dtype)
    exact = np.exp(x.astype(np.longdouble))
    right = exact.astype(dtype)
    assert ulp.worst(right, exact)[0] <= 0.5
    wrong = right.copy()
    wrong[700] = ulp.steps(right[700:701], 3)[0]
    error, (at,) = ulp.worst(wrong, exact, x)
    assert BOUND < 2.5 <= error <= 3.5
    assert at == x[700]


@both
def test_checker_at_the_ends_of_the_range(dtype: Any) -> None:
    info = np.finfo(dtype)
    beyond = np.ldexp(np.longdouble(1), int(info.maxexp))
    least = np.longdouble(info.smallest_subnormal)
    cases = (
        (INF, beyond * 4, 0.0), (info.max, beyond * 4, 1.0), (INF, info.max, 1.0), (-INF, info.max, None),
        (NAN, 1.0, None), (1.0, NAN, None), (NAN, NAN, 0.0), (0.0, -0.0, None), (0.0, least * 3, 3.0), (INF, 1.0, None),
    )  # fmt: skip
    for got, exact, expected in cases:
        error = float(ulp.error(np.array([got], dtype), np.array([exact], np.longdouble))[0])
        assert error == expected if expected is not None else error > BOUND, (got, exact, error)


WHOLE = (0, 1, 2, 3, 4, 5, 6, 7, 11, 15, -1, -2, -3, -6, -15)
HALF = (0.5, 1.5, 2.5, 5.5, 7.5, -0.5, -1.5, -2.5, -7.5)


@both
def test_powers_of_numbers_and_roots(dtype: Any) -> None:
    """As constants, of which products are made: within two units, and special values as those of any power."""
    if dtype is np.float64 and not ulp.WIDE:
        pytest.skip("long double is no wider than float64 here")
    rng, info = np.random.default_rng(5), np.finfo(dtype)
    node = gc.input("x", ("n",), dtype)
    powers = gc.compile([node], tuple(node**n for n in WHOLE + HALF))
    ends = [info.max, info.tiny, info.smallest_subnormal]
    special = np.array([0.0, 1.0, 2.0, INF, *ends], dtype)
    special = np.concatenate([special, -special, np.array([NAN], dtype)])
    x = np.concatenate([ulp.finite(dtype, 200_000, rng), rng.uniform(-4, 4, 50_000).astype(dtype), special])
    wide = np.float64 if dtype is np.float32 else np.longdouble
    for n, found in zip(WHOLE + HALF, powers(x), strict=True):
        with np.errstate(all="ignore"):
            exact = np.power(x.astype(wide), np.full(x.shape, n, wide))  # not by a root of -inf
            here, wanted = found[-special.size :], exact[-special.size :].astype(dtype)
        error, at = ulp.worst(found, exact, x)
        assert error <= BOUND, f"{at}**{n} is wrong by {error:.3f} units"
        known = ~np.isnan(wanted)
        assert np.array_equal(np.isnan(here), ~known)
        assert np.array_equal(np.signbit(here)[known], np.signbit(wanted)[known])


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_whole_powers_of_integers(dtype: str) -> None:
    x = np.random.default_rng(6).integers(0, 256, 1000, np.uint8).astype(dtype)
    node = gc.input("x", ("n",), dtype)
    numbers = (0, 1, 2, 3, 4, 7, 15, 16, 31)
    for n, found in zip(numbers, gc.compile([node], tuple(node**n for n in numbers))(x), strict=True):
        assert np.array_equal(found, np.power(x, np.array(n, dtype)))


def test_exact_values_beyond_float64() -> None:
    value = ulp.exactly(lambda x: mpmath.exp(x), np.array([-11000.0]))[0]
    assert abs(value / np.exp(np.longdouble(-11000)) - 1) < 1e-18


@pytest.mark.parametrize(("name", "unit"), [("exp", LN2), ("exp2", 1.0)])
@both
def test_powers_at_the_borders_of_steps(name: str, unit: float, dtype: Any) -> None:
    """Halfway between whole numbers, and between sixteenths of them, all over the range; 0 and infinite beyond it."""
    row = next(row for row in TABLE if row.name == name)
    info = np.finfo(dtype)
    lowest, highest = int(info.minexp - info.nmant), int(info.maxexp)
    borders = (np.arange(32 * lowest + 1, 32 * highest, 2) / 32 * unit).astype(dtype)
    assert_accurate(row, (np.concatenate([borders, *(np.nextafter(borders, dtype(end)) for end in (-INF, INF))]),))
    beyond = np.geomspace(1.05 * highest, float(info.max) / 1.01, 999).astype(dtype)
    assert np.isinf(results(row, beyond)).all()
    assert np.array_equal(results(row, np.minimum(-beyond, dtype(1.05 * lowest))), np.zeros(999, dtype))
    if name == "exp2":
        whole = np.arange(lowest, highest)
        assert np.array_equal(results(row, whole.astype(dtype)), np.ldexp(dtype(1), whole))


# through graphs


@pytest.mark.parametrize("name", ["pow", "cbrt", "atanh", "sin", "cos", "tan", "atan2"])
@both
def test_lanes_that_are_special_change_no_other(name: str, dtype: Any) -> None:
    """What hides behind a branch: special values among others, and scalars outside of loops, give the same bits."""
    row = next(row for row in TABLE if row.name == name)
    count, kind = len(row.special[0]) - 1, np.dtype(dtype).name
    scalars, arrays = ([gc.input(f"x{k}", shape, kind) for k in range(count)] for shape in ((), ("n",)))
    alone, together = (gc.compile(nodes, getattr(gc, name)(*nodes)) for nodes in (scalars, arrays))
    rng = np.random.default_rng(11)
    lines = np.array([line[:-1] for line in row.special] * 3, dtype)
    some = np.stack([ulp.finite(dtype, 700, rng) for _ in range(count)], axis=1)
    mixed = rng.permutation(np.concatenate([lines, some]))
    columns = [np.ascontiguousarray(column) for column in mixed.T]
    got, want = together(*columns), np.array([alone(*line) for line in mixed], dtype)
    assert np.array_equal(got, want, equal_nan=True)
    assert np.array_equal(np.signbit(got[got == 0]), np.signbit(want[got == 0]))


LIBM, UNDERFLOW, EVERY_FLAG = ctypes.CDLL(ctypes.util.find_library("m")), 0x10, 0x3D  # of x86's MXCSR
GONE = {  # what lies beyond the smallest number of either type
    "exp": (-104.5, -746.5, -1e30, -INF),
    "exp2": (-152.0, -1078.0, -1e30, -INF),
    "sigmoid": (-104.5, -747.0, -1e30, -INF),
    "log1mexp": (104.5, 747.0, 1e30, INF),
    "ndtr": (39.0, -39.0, -1e30, INF, -INF),
    "erfc": (28.5, 1e30, INF),
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads the flags of x86")
@pytest.mark.skipif(not underflows_slowly(), reason="it may underflow, as that takes no time")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GONE)
def test_what_is_gone_does_not_underflow(name: str, dtype: Any) -> None:
    """Intel's processors take 150 cycles for an underflow, so -inf in a mask would make softmax ten times slower."""
    x, y = gc.input("x", ("n",), np.dtype(dtype).name), gc.input("y", ("n",), np.dtype(dtype).name)
    f = gc.compile([x], getattr(gc, name)(x))
    g = gc.compile([x, y], gc.logaddexp(x, y))
    for value in GONE[name]:
        if dtype is np.float32 or abs(value) > 500 or name in ("ndtr", "erfc"):
            whole = np.full(100, value, dtype)
            LIBM.feclearexcept(EVERY_FLAG)
            f(whole)
            g(whole, np.zeros(100, dtype))
            assert not LIBM.fetestexcept(UNDERFLOW), value
    LIBM.feclearexcept(EVERY_FLAG)
    gc.compile([x], gc.exp(x))(np.full(100, -100 if dtype is np.float32 else -740, dtype))
    assert LIBM.fetestexcept(UNDERFLOW)
