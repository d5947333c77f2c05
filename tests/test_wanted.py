"""Rows at positions that only the call knows are asked for some steps before they are read or written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc

COLD = gc.Options(cache=False)
ROWS = 5_000  # of 64 float64: far enough from the caches to be asked for


def table(dtype: str = "float64", columns: int = 64) -> Any:
    return np.random.default_rng(0).normal(size=(ROWS * 64 // columns, columns)).astype(dtype)


def positions(count: int, rows: int, dtype: str = "int64") -> Any:
    least = 0 if dtype.startswith("u") else -rows
    return np.random.default_rng(1).integers(least, rows, count).astype(dtype)


def asks(function: Any) -> bool:
    return "fetch_lines" in str(function.source)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16"])
@pytest.mark.parametrize("columns", [2, 8, 64, 200])
def test_rows_taken(columns: int, dtype: str) -> None:
    a = table(columns=columns)
    x, i = gc.input("x", a.shape), gc.input("i", ("n",), dtype)
    f = gc.compile([x, i], (gc.take(x, i, axis=0), gc.sum(gc.take(x, i, axis=0) ** 2, axis=1)), options=COLD)
    assert asks(f)
    for count in (0, 1, 2, 3, 10, 47, 48, 49, 300, 4_000):
        at = positions(count, min(len(a), 2**15), dtype)
        rows, squares = f(a, at)
        assert np.array_equal(rows, a[at])
        np.testing.assert_allclose(squares, (a[at] ** 2).sum(axis=1), rtol=1e-12)


def test_positions_of_more_axes_and_rows_within_a_batch() -> None:
    a, b = table(), table().reshape(50, 100, 64)
    at, within = positions(60, ROWS).reshape(3, 20), positions(50 * 7, 100).reshape(50, 7, 1)
    x, y = gc.input("x", a.shape), gc.input("y", b.shape)
    i, j = gc.input("i", at.shape, "int64"), gc.input("j", within.shape, "int64")
    bias = np.arange(20.0)[:, None]
    f = gc.compile([x, i, y, j], (gc.take(x, i, axis=0) + bias, gc.take_along_axis(y, j, axis=1)), options=COLD)
    taken, along = f(a, at, b, within)
    assert np.array_equal(taken, a[at] + bias)
    assert np.array_equal(along, np.take_along_axis(b, within, axis=1))


def test_positions_of_their_own_for_each_column() -> None:
    a, at = table(), positions(700 * 64, ROWS).reshape(700, 64)
    x, k, v = gc.input("x", a.shape), gc.input("k", at.shape, "int64"), gc.input("v", at.shape)
    taken = gc.take_along_axis(x, k, axis=0)
    for options in (COLD, gc.Options(debug=True)):
        f = gc.compile([x, k, v], (taken, gc.vjp(taken, [x], v)[0]), options=options)
        values = np.arange(700 * 64.0).reshape(700, 64)
        got, back = f(a, at, values)
        assert np.array_equal(got, np.take_along_axis(a, at, axis=0))
        np.add.at(want := np.zeros_like(a), (at, np.arange(64)), values)
        np.testing.assert_allclose(back, want)


def test_rows_added_and_put() -> None:
    a = table()
    x, v, i = gc.input("x", a.shape), gc.input("v", ("n", 64)), gc.input("i", ("n",), "int64")
    f = gc.compile([x, v, i], (x.at[i].add(v), x.at[i].set(v)), options=COLD)
    assert asks(f)
    for count in (0, 1, 9, 10, 11, 500):
        at, values = positions(count, ROWS), np.arange(64.0 * count).reshape(count, 64)
        added, put = a.copy(), a.copy()
        np.add.at(added, at, values)
        for k, row in zip(at, values, strict=True):
            put[k] = row
        got = f(a, values, at)
        np.testing.assert_allclose(got[0], added, rtol=1e-12)
        assert np.array_equal(got[1], put)


def test_the_interpreter_reads_no_position_that_is_not_there() -> None:
    a = table()
    x, i, v = gc.input("x", a.shape), gc.input("i", ("n",), "int64"), gc.input("v", ("n", 64))
    f = gc.compile([x, i, v], (gc.take(x, i, axis=0), x.at[i].add(v)), options=gc.Options(debug=True))
    assert asks(f)
    for count in (0, 1, 12):
        at = positions(count, ROWS)
        taken, added = f(a, at, np.ones((count, 64)))
        assert np.array_equal(taken, a[at])
        np.add.at(want := a.copy(), at, 1.0)
        np.testing.assert_allclose(added, want)


def test_a_position_out_of_range_is_told_and_nothing_else_happens() -> None:
    a = table()
    x, i = gc.input("x", a.shape), gc.input("i", ("n",), "int64")
    f = gc.compile([x, i], gc.take(x, i, axis=0), options=COLD)
    at = positions(700, ROWS)
    for wrong in (ROWS, -ROWS - 1, 2**62, -(2**63)):
        with pytest.raises(gc.InputError, match=f"position {wrong} does not lie on axis 0"):
            f(a, np.where(np.arange(700) == 650, wrong, at))
        assert np.array_equal(f(a, at), a[at])


def test_what_is_near_or_computed_is_not_asked_for() -> None:
    near, far = gc.input("near", (100, 64)), gc.input("far", (ROWS, 64))
    i, j = gc.input("i", (900,), "int64"), gc.input("j", (900, 1), "int64")
    assert not asks(gc.compile([near, i], gc.take(near, i, axis=0), options=COLD))
    assert not asks(gc.compile([far, i], gc.take(far, (i * i) % ROWS, axis=0), options=COLD))
    assert not asks(gc.compile([far, j], gc.take_along_axis(far[:900], j, axis=1), options=COLD))
