"""Folds along rows across which arrays lie: these are copied row by row; the same values at every border of strips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special
from support import seeded

import graphc as gc

COLD = gc.Options(cache=False)
BORDERS = [(16, 16), (17, 33), (33, 300), (64, 65), (65, 64), (130, 129), (257, 48), (15, 300), (300, 15)]
EXACT = ("sum", "max", "argmax", "any")


def drawn(shape: tuple[int, ...], dtype: str) -> Any:
    """Small whole numbers, whose sums are exact in every order."""
    return seeded("turned folds", shape).integers(-9, 10, shape).astype(dtype)


def folds(np_: Any, x: Any, y: Any, more: Any) -> list[Any]:
    """Of one array across the rows, of two that are the same from different elements on, beside one along them."""
    rows, columns = x.shape
    across, turned_over = x - y.T, more[::-2, 3:].T * x + more[:columns, 1 : 1 + rows].T
    found = [getattr(np_, name)(across, axis=axis) for name in EXACT for axis in (0, 1)]
    alone = [np_.max(x, axis=0), np_.sum(x, axis=1), np_.sum(x, axis=0)]
    totals = [np_.sum(across), np_.max(turned_over)]
    return [*found, *alone, *totals, np_.sum(turned_over, axis=0), np_.sum(across**2, axis=1)]


def compiled(m: Any, n: Any, dtype: str, **options: Any) -> Any:
    x, y = gc.input("x", (m, n), dtype), gc.input("y", (n, m), dtype)
    more = gc.input("more", (2 * y.shape[0], 3 + x.shape[0]), dtype)
    return gc.compile([x, y, more], folds(gc, x, y, more), options=gc.Options(cache=False, **options))


def agree(function: Any, m: int, n: int, dtype: str) -> None:
    arrays = drawn((m, n), dtype), drawn((n, m), dtype), drawn((2 * n, 3 + m), dtype)
    for got, want in zip(function(*arrays), folds(np, *arrays), strict=True):
        np.testing.assert_array_equal(got, want.astype(got.dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_sizes_that_the_call_tells(dtype: str) -> None:
    f = compiled("m", "n", dtype)
    assert "turn_" in f.source
    for m, n in (*BORDERS, (1, 1), (1, 40), (40, 1), (2_000, 20)):
        agree(f, m, n, dtype)


@pytest.mark.parametrize(("m", "n"), BORDERS)
def test_sizes_that_are_known(m: int, n: int) -> None:
    f = compiled(m, n, "float32")
    assert ("turn_" in f.source) == (min(m, n) >= 16 and max(m, n) >= 32)
    agree(f, m, n, "float32")


@pytest.mark.parametrize(("m", "n"), [(17, 39), (70, 33)])
def test_the_interpreter_reads_nothing_that_is_not_there(m: int, n: int) -> None:
    for sizes in ((m, n), ("m", "n")):
        f = compiled(*sizes, "float32", debug=True)
        assert "turn_" in f.source
        agree(f, m, n, "float32")


@pytest.mark.parametrize("columns", [600, 3_000, 9_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strips_are_as_high_as_fits_and_rows_are_swept_several_times(columns: int, dtype: str) -> None:
    x, y = gc.input("x", (150, columns), dtype), gc.input("y", (columns, 150), dtype)
    f = gc.compile([x, y], (gc.softmax(x + y.T, axis=1), gc.var(y.T, axis=1), x * y.T), options=COLD)
    fits = 2**19 // (columns * np.dtype(dtype).itemsize)
    assert f", {64 if fits >= 64 else 32 if fits >= 32 else 16}):\n        for j in range(0, " in f.source
    a, b = seeded("strips").normal(size=(2, 150, columns)).astype(dtype)
    soft, var, product = f(a, np.ascontiguousarray(b.T))
    near = {"rtol": 2e-5 if dtype == "float32" else 1e-13}
    np.testing.assert_allclose(soft, special.softmax(a + b, axis=1), **near)
    np.testing.assert_allclose(var, b.var(axis=1), **near)
    np.testing.assert_array_equal(product, a * b)


@pytest.mark.parametrize("shape", [(3, 70, 40), (40, 33, 65), (2, 1_100, 40), (1, 90, 100), (3, 0, 40), (3, 40, 0)])
def test_batches(shape: tuple[int, ...]) -> None:
    """Of matrices that are transposed each, folded along all axes, rows, columns and the batch."""
    axes = ((0, 1, 2), 2, 1, 0, (0, 1), (1, 2), (0, 2))
    a, b = drawn(shape, "float32"), drawn((shape[0], shape[2], shape[1]), "float32")
    for sizes in (shape, ("p", "q", "r")):
        x, y = gc.input("x", sizes, "float32"), gc.input("y", (sizes[0], sizes[2], sizes[1]), "float32")
        f = gc.compile([x, y], [gc.sum(x * gc.swapaxes(y, 1, 2), axis=axis) for axis in axes], options=COLD)
        for got, axis in zip(f(a, b), axes, strict=True):
            np.testing.assert_array_equal(got, (a * b.swapaxes(1, 2)).sum(axis=axis), err_msg=str(axis))


def test_what_is_not_copied() -> None:
    """Elements of other sizes, and arrays that are not there at every element, are read where they lie."""
    small, x = gc.input("small", (70, 90), "int8"), gc.input("x", (90, 70), "float32")
    padded, y = gc.pad(x[1:], ((1, 0), (0, 0))).T, gc.input("y", (70, 90), "float32")
    f = gc.compile([small, x, y], (gc.sum(small.T * x), gc.sum(y * padded, axis=1)), options=COLD)
    assert "turn_" not in f.source
    a, b, c = drawn((70, 90), "int8"), drawn((90, 70), "float32"), drawn((70, 90), "float32")
    total, rows = f(a, b, c)
    assert total == (a.T * b).sum()
    np.testing.assert_array_equal(rows, (c * np.pad(b[1:], ((1, 0), (0, 0))).T).sum(axis=1))


def test_threads_share_strips() -> None:
    """Each has copies of its own; the bits are those of one."""
    x, y = gc.input("x", (700, 500)), gc.input("y", (500, 700))
    a, b = seeded("threads").normal(size=(2, 700, 500))
    outputs = gc.softmax(x - y.T, axis=1), gc.sum(x * y.T), gc.logsumexp(x + y.T, axis=1), gc.sum(x * y.T, axis=0)
    found = [gc.compile([x, y], outputs, options=gc.Options(cache=False, threads=k))(a, b.T.copy()) for k in (1, 2)]
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
