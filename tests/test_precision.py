"""Sums, means and variances as exact as NumPy's pairwise ones; special values travel; the bits are always the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import graphc as gc

Values = np.ndarray[Any, Any]
FLOATS = ["float32", "float64"]
NAMES = ["sum", "mean", "var"]
SIZE = 10**6


def uniform(rng: np.random.Generator) -> Values:
    return rng.random(SIZE)


def alternating(rng: np.random.Generator) -> Values:
    """Every other value is 10,000 times as large; the large ones drown the small in a sum that is not careful."""
    return rng.random(SIZE) * np.where(np.arange(SIZE) % 2, 1e4, 1.0)


def cancelling(rng: np.random.Generator) -> Values:
    return rng.normal(size=SIZE) * np.where(np.arange(SIZE) % 2, 1e4, 1.0)


@cache
def reducer(dtype: str, rank: int, axis: Any) -> Any:
    x = gc.input("x", tuple("abc"[:rank]), dtype)
    return gc.compile([x], {name: getattr(gc, name)(x, axis=axis) for name in NAMES})


def sums(rows: Values) -> Values:
    return np.array([math.fsum(row) for row in rows.tolist()])


def exact(rows: Values, totals: Values, name: str) -> tuple[Values, Values]:
    """The reduction of each row, of which the sum is known, and the size of what is added up: the unit of error is
    its spacing."""
    terms, count = rows.astype(np.float64), 1 if name == "sum" else rows.shape[1]
    if name == "var":
        terms = (terms - (totals / count)[:, None]) ** 2
        totals = sums(terms)
    return totals / count, np.sum(np.abs(terms), axis=1) / count


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("draw", [uniform, alternating, cancelling])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((SIZE,), 0),
        ((1000, 1000), None),
        ((1000, 1000), 0),
        ((1000, 1000), 1),
        ((100_000, 10), 0),
        ((10, 100_000), 1),
        ((100, 100, 100), 1),
        ((100, 100, 100), (0, 2)),
    ],
)
def test_errors_are_at_most_twice_numpys(
    dtype: str, draw: Callable[[np.random.Generator], Values], shape: tuple[int, ...], axis: Any
) -> None:
    values = draw(np.random.default_rng(0)).astype(dtype).reshape(shape)
    axes = tuple(range(len(shape))) if axis is None else np.atleast_1d(axis).tolist()
    rows = np.moveaxis(values, axes, range(-len(axes), 0)).reshape(-1, math.prod(shape[k] for k in axes))
    found, totals = reducer(dtype, len(shape), axis)(values), sums(rows)
    for name in NAMES:
        right, size = exact(rows, totals, name)
        unit = np.spacing(size.astype(dtype)).astype(np.float64)
        ours, theirs = (
            (np.abs(np.ravel(result).astype(np.float64) - right) / unit).max()
            for result in (found[name], getattr(np, name)(values, axis=axis))
        )
        assert ours <= max(1, 2 * theirs), f"{name} is off by {ours} units, NumPy by {theirs}"


def test_a_plain_sum_would_not_do() -> None:
    """What the test above must refuse: float32 added one by one."""
    values = uniform(np.random.default_rng(0)).astype(np.float32)
    right, size = exact(values[None], sums(values[None]), "sum")
    error = abs(float(np.cumsum(values)[-1]) - right[0]) / np.spacing(np.float32(size[0]))
    assert error > 20


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [1, 7, 100, 5000])
@pytest.mark.parametrize(
    "special", [[np.inf], [-np.inf], [np.inf, -np.inf], [np.nan], [np.nan, np.inf], [np.inf, np.inf]]
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_infinities_and_nan_travel_as_in_numpy(dtype: str, count: int, special: list[float]) -> None:
    rng = np.random.default_rng(count)
    values = rng.normal(size=(3, count)).astype(dtype)
    for value in special:
        values[1, rng.integers(count)] = value
    for axis in (0, 1):
        found = reducer(dtype, 2, axis)(values)
        for name in NAMES:
            expected = getattr(np, name)(values, axis=axis)
            for test in (np.isnan, np.isposinf, np.isneginf):
                np.testing.assert_array_equal(test(found[name]), test(expected), err_msg=f"{name} {axis}")


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_that_overflow(dtype: str) -> None:
    largest = np.finfo(dtype).max
    for row in ([largest, largest], [-largest, -largest]):
        with np.errstate(over="ignore"):
            expected = np.sum(np.array(row, dtype))
        assert reducer(dtype, 1, 0)(np.array(row, dtype))["sum"] == expected


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [0, 1, 2, 16, 1000, 5000])
def test_sums_of_negative_zeros_and_of_nothing(dtype: str, count: int) -> None:
    values = np.full((count, 3), -0.0, dtype)
    x = gc.input("x", ("n", 3), dtype)
    total, columns = gc.compile([x], (gc.sum(x), gc.sum(x, axis=0)))(values)
    for found, expected in ((total, np.sum(values)), (columns, np.sum(values, axis=0))):
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_mean_of_nothing_is_nan(dtype: str) -> None:
    x = gc.input("x", ("n",), dtype)
    assert np.isnan(gc.compile([x], gc.mean(x))(np.zeros(0, dtype)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [3, 1000, 100_003])
def test_the_bits_depend_on_neither_the_run_nor_the_place_in_memory(dtype: str, size: int) -> None:
    values = np.random.default_rng(0).normal(size=size).astype(dtype)
    f = reducer(dtype, 1, 0)
    expected = {name: result.tobytes() for name, result in f(values).items()}
    block = np.zeros(values.nbytes + 128, np.uint8)
    start = -block.ctypes.data % 64
    for offset in (0, 0, values.itemsize, 16, 24, 32, 60, 1):
        moved = block[start + offset : start + offset + values.nbytes].view(dtype)
        moved[:] = values
        assert {name: result.tobytes() for name, result in f(moved).items()} == expected, f"offset {offset}"
    spread = np.zeros(2 * size, dtype)
    spread[::2] = values
    assert {name: result.tobytes() for name, result in f(spread[::2]).items()} == expected
