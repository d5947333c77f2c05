"""Folds of computed rows that have their accumulators side by side, beside NumPy: lengths, dtypes, special values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

Values = np.ndarray[Any, Any]
LENGTHS = [128, 192, 256, 512, 768, 769, 784, 1000, 1001, 1024, 1088, 1280, 2001, 2048, 4096]
# 1088 has no whole blocks of 1,024
TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


def values(shape: tuple[int, ...], dtype: str) -> tuple[Values, Values]:
    rng = np.random.default_rng(len(shape) + shape[-1])
    return rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)


FOLDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (lambda x, y: gc.sum(x * y, axis=-1), lambda a, b: (a * b).sum(-1)),
    "product": (lambda x, y: gc.prod(1 + x / 100, axis=-1), lambda a, b: (1 + a / 100).prod(-1)),
    "max": (lambda x, y: gc.max(x * y, axis=-1), lambda a, b: (a * b).max(-1)),
    "min": (lambda x, y: gc.min(x - y, axis=-1), lambda a, b: (a - b).min(-1)),
    "variance": (lambda x, y: gc.var(x * y, axis=-1), lambda a, b: (a * b).var(-1)),
    "logsumexp": (lambda x, y: gc.logsumexp(x * y, axis=-1), lambda a, b: np.log(np.exp(a * b).sum(-1))),
    "argmax": (lambda x, y: gc.argmax(x * y, axis=-1), lambda a, b: (a * b).argmax(-1)),
    "count": (lambda x, y: gc.sum(gc.astype(x > y, "int64"), axis=-1), lambda a, b: (a > b).sum(-1)),
    "column": (lambda x, y: gc.sum(x * y, axis=0), lambda a, b: (a * b).sum(0)),
    "total": (lambda x, y: gc.sum(x * y), lambda a, b: (a * b).sum()),
}


def check(names: list[str], shape: tuple[int, ...], dtype: str) -> gc.Function:
    """Folds in one program, which takes them in the same sweeps."""
    x, y = gc.input("x", shape, dtype), gc.input("y", shape, dtype)
    a, b = values(shape, dtype)
    f = gc.compile([x, y], [FOLDS[name][0](x, y) for name in names])
    exact = a.astype("float64"), b.astype("float64")
    for name, found in zip(names, f(a, b), strict=True):
        expected = FOLDS[name][1](*((a, b) if name == "argmax" else exact))
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)
    return f


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", LENGTHS)
def test_folds_of_rows_of_any_length(length: int, dtype: str) -> None:
    """Alone, and all together: those of one number beside those of several, columns, integers and totals."""
    check(["sum"], (3, length), dtype)
    check(["sum", "max", "product", "min"], (2, 2, length), dtype)
    check([*FOLDS], (5, length), dtype)


@pytest.mark.parametrize(
    ("length", "dtype", "lanes"),
    [(1024, "float32", 64), (784, "float32", 112), (1001, "float32", 64), (512, "float64", 32)],
)
def test_accumulators_are_side_by_side(length: int, dtype: str, lanes: int) -> None:
    source = check(["sum"], (3, length), dtype).source
    assert f"for i1 in range(f, f + {lanes}):" in source
    assert f"(r0, {lanes})" in source


@pytest.mark.parametrize("length", [100, 250, 701])
def test_other_rows_wait_on_the_stack(length: int) -> None:
    assert f"(r0, {length})" in check(["sum"], (3, length), "float32").source


def test_folds_of_two_dtypes_in_one_sweep() -> None:
    x = gc.input("x", (3, 1024), "float32")
    a, _ = values((3, 1024), "float32")
    wide = gc.astype(x, "float64")
    f = gc.compile([x], [gc.sum(x * 3, axis=1), gc.sum(wide * wide, axis=1)])
    exact = a.astype("float64")
    np.testing.assert_allclose(f(a)[0], (3 * exact).sum(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(f(a)[1], (exact * exact).sum(1), rtol=1e-13)


@pytest.mark.parametrize("where", [0, 7, 63, 64, 255])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values(special: float, where: int) -> None:
    x, y = gc.input("x", (3, 256)), gc.input("y", (3, 256))
    a, b = values((3, 256), "float64")
    a[1, where] = special
    folds = {gc.sum: np.sum, gc.max: np.max, gc.min: np.min, gc.prod: np.prod}
    f = gc.compile([x, y], [fold(x * y, axis=1) for fold in folds])
    assert "for i1 in range(f, f + 32):" in f.source
    with np.errstate(all="ignore"):
        for found, fold in zip(f(a, b), folds.values(), strict=True):
            np.testing.assert_allclose(found, fold(a * b, axis=1), rtol=1e-12)


def row_sums(x: Values, y: Values) -> Values:
    p, q = gc.input("p", x.shape, x.dtype.name), gc.input("q", x.shape, x.dtype.name)
    return np.asarray(gc.compile([p, q], gc.sum(p * q, axis=1))(x, y))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_negative_zeros_are_negative(dtype: str) -> None:
    found = row_sums(np.full((2, 512), -0.0, dtype), np.ones((2, 512), dtype))
    np.testing.assert_array_equal(found, 0)
    assert np.signbit(found).all()


@pytest.mark.parametrize("length", [1024, 784])
def test_sums_are_as_exact_as_pairwise_ones(length: int) -> None:
    a = np.random.default_rng(2).uniform(size=(300, length)).astype("float32")
    two = np.full_like(a, 2)
    exact = np.array([math.fsum(row) for row in (a * two).astype("float64")])
    assert np.abs(row_sums(a, two) - exact).mean() < 2 * np.abs((a * two).sum(1) - exact).mean()
