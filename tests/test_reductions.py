"""Reductions where it is easy to be wrong: ties, zeros, NaN, infinities, no elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import evaluate, seeded

import graphc as gc
from graphc.graph import Graph

INF, NAN = np.inf, np.nan


def gradient(declare: Any, values: Any) -> Any:
    """The gradient of sum(g * declare(x)) with a random g that is given back too."""
    x = gc.input("x", np.shape(values))
    y = declare(x)
    weights = seeded("weights").uniform(1, 2, tuple(map(int, y.shape)))
    return evaluate([gc.grad(gc.sum(y * weights), x)], [x], [np.array(values, float)])[0], weights


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_share_their_cotangent_among_ties(name: str) -> None:
    sign = 1 if name == "max" else -1
    rows = sign * np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, -2.0]])
    found, g = gradient(lambda x: getattr(gc, name)(x, axis=1), rows)
    shares = np.array([[0, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])
    np.testing.assert_allclose(found, g[:, None] * shares, rtol=1e-15)


@pytest.mark.parametrize("name", ["max", "min"])
def test_nan_travels_through_extremes(name: str) -> None:
    x = gc.input("x", (3, 3))
    a = np.array([[1, NAN, 2], [INF, -INF, 0], [NAN, NAN, NAN]])
    (found,) = evaluate([getattr(gc, name)(x, axis=1)], [x], [a])
    np.testing.assert_array_equal(found, getattr(np, name)(a, axis=1))


def test_product_has_a_gradient_at_zeros() -> None:
    rows = np.array([[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0], [-0.0, 5.0, 1.0]])
    found, g = gradient(lambda x: gc.prod(x, axis=1), rows)
    others = np.array([[12.0, 8.0, 6.0], [0.0, 8.0, 0.0], [0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    np.testing.assert_allclose(found, g[:, None] * others, rtol=1e-15)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_are_the_first_and_nan_wins(name: str) -> None:
    rows = np.array([[1.0, 3, 3], [-1, -3, -3], [0, NAN, NAN], [INF, -INF, INF], [-0.0, 0.0, -0.0]])
    x = gc.input("x", rows.shape)
    (found,) = evaluate([getattr(gc, name)(x, axis=1)], [x], [rows])
    np.testing.assert_array_equal(found, getattr(np, name)(rows, axis=1))


@pytest.mark.parametrize("name", ["argmax", "argmin", "max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_extremes_compiled_across_blocks(name: str, dtype: str) -> None:
    """Ties, NaN and infinities, in rows of fewer and more elements than a block of a reduction has."""
    x = gc.input("x", ("n", "m"), dtype)
    f = gc.compile([x], (getattr(gc, name)(x, axis=1), getattr(gc, name)(x, axis=0), getattr(gc, name)(x)))
    rng = seeded("blocks", name)
    values = [0.0, 1.0, 2.0] if dtype == "int32" else [0.0, 1.0, 2.0, NAN, INF, -INF]
    for shape in ((3, 1), (2, 5), (40, 17), (3, 1023), (2, 1025), (5, 3000)):
        for weights in (None, np.array([1.0, 0, 0, *[0] * (len(values) - 3)])):
            rows = rng.choice(values, shape, p=weights).astype(dtype)
            rows[-1, -1] += 1  # an extreme in the last place, if nothing before it is as large
            for found, wanted in zip(f(rows), (getattr(np, name)(rows, a) for a in (1, 0, None)), strict=True):
                np.testing.assert_array_equal(found, wanted, err_msg=str(shape))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_across_chunks(name: str, dtype: str) -> None:
    """Of a whole array, down columns, and of one value a row; equal values stand in chunks apart, and so do NaN."""
    x = gc.input("x", ("n", "m"), dtype)
    find = getattr(gc, name)
    f = gc.compile([x], (find(x), find(x, axis=0), find(gc.max(x, axis=1))))
    rng = seeded("chunks", name, dtype)
    for shape in ((5, 16384), (16385, 2), (1, 50000), (300, 301), (3000, 40)):
        for values in ([3, 7], [3], [3, NAN, 7], [3, NAN, INF, -INF]):
            if not dtype.startswith("float") and len(values) > 2:
                continue
            places = rng.integers(0, shape[0] * shape[1], 9)
            rows = np.full(shape, 5, dtype)
            rows.flat[places] = rng.choice(np.array(values, dtype), 9)
            wanted = (getattr(np, name)(rows, axis=None), getattr(np, name)(rows, axis=0))
            for found, expected in zip(f(rows), (*wanted, getattr(np, name)(rows.max(axis=1))), strict=True):
                np.testing.assert_array_equal(found, expected, err_msg=str((shape, values)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_at_every_place(name: str, dtype: str) -> None:
    """In each lane of each vector, and in what is left of them; the extreme, and a NaN."""
    x = gc.input("x", ("n", "m"), dtype)
    f = gc.compile([x], [getattr(gc, name)(x, axis=axis) for axis in (0, 1)])
    for n in (*range(1, 40), 63, 64, 65, 129, 257):
        for extreme in (2.0 if name == "argmax" else -2.0, *([NAN] if dtype.startswith("float") else [])):
            rows = np.eye(n, dtype=dtype)
            rows[rows == 1] = extreme
            for found in f(rows):
                np.testing.assert_array_equal(found, np.arange(n), err_msg=str(n))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 63, 64, 65, 255, 257, 1024, 1025, 16_385])
def test_positions_of_integers(length: int, dtype: str) -> None:
    """Ends of vectors, blocks and chunks, ties and the limits of the dtype; along rows, columns and computed values."""
    x = gc.input("x", (3, length), dtype)
    flat = gc.reshape(x, (3 * length,))
    f = gc.compile([x], [gc.argmax(x, axis=1), gc.argmin(x, axis=1), gc.argmax(flat), gc.argmin(x + x, axis=1)])
    limits = np.iinfo(dtype)
    ranges = (limits.min, limits.max), (0, 3), (limits.max - 1, limits.max), (limits.min, limits.min + 1)
    for low, high in ranges:
        a = seeded(dtype).integers(low, high, (3, length), dtype, endpoint=True)
        expected = a.argmax(1), a.argmin(1), a.argmax(), (a + a).argmin(1)
        for have, want in zip(f(a), expected, strict=True):
            np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("shape", [(130, 5, 130), (3, 40, 1025), (1025, 2, 3), (2, 1, 17), (0, 3, 4), (4, 3, 0)])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "any", "var", "logsumexp"])
def test_first_and_last_axis(name: str, shape: tuple[int, int, int], dtype: str) -> None:
    """As they lie, transposed, and computed in the loop; beside another fold of the same, and of other axes."""
    floats = dtype == "float32"
    if (name in ("var", "logsumexp") and not floats) or (0 in shape and name in ("max", "var", "logsumexp")):
        return
    x = gc.input("x", ("a", "b", "c"), dtype)
    fold, numpys = getattr(gc, name), np.logaddexp.reduce if name == "logsumexp" else getattr(np, name)
    moved = gc.permute_dims(x, (2, 1, 0))
    f = gc.compile([x], [fold(x, (0, 2)), fold(moved, (0, 2)), fold(x * 2, (0, 2)), gc.sum(x, (0, 2)), fold(x, 1)])
    rows = seeded("first and last", name, shape).normal(size=shape) * (1 if floats else 3)
    rows = (1 + rows / 100 if name == "prod" and floats else rows).astype(dtype)

    def wanted(values: Any, axes: Any) -> Any:
        if name != "logsumexp" or not isinstance(axes, tuple):
            return numpys(values, axis=axes)
        return numpys(numpys(values, axis=2), axis=0)

    with np.errstate(all="ignore"):
        expected = [wanted(rows, (0, 2)), wanted(rows, (0, 2)), wanted(rows * rows.dtype.type(2), (0, 2))]
        expected += [rows.sum((0, 2)), wanted(rows, 1)]
    for found, value in zip(f(rows), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4 if floats else 0, atol=1e-2 if floats else 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("noise", [1.0, 1e-2, 1e-5])
def test_variances_are_as_exact_as_numpys(dtype: str, noise: float) -> None:
    """Of values far from 0 beside their spread, in rows, in columns, of all, stored or computed in the loop."""
    x = gc.input("x", ("n", "m"), dtype)
    kinds = [(a, b) for a in (0, 1, None) for b in (False, True)]
    f = gc.compile([x], [gc.var(x + x if doubled else x, axis=axis) for axis, doubled in kinds])
    far = 1e8 if dtype == "float64" else 30.0
    for shape in ((1200, 1000), (70000, 3), (3, 70000), (17, 5)):
        rows = (far + noise * seeded("far", shape).normal(size=shape)).astype(dtype)
        for (axis, doubled), found in zip(kinds, f(rows), strict=True):
            values = rows + rows if doubled else rows
            exact = np.var(values.astype(np.longdouble), axis=axis)
            ours, numpys = (np.max(np.abs(v - exact)) for v in (found, np.var(values, axis=axis)))
            assert ours <= numpys + 16 * np.finfo(dtype).eps * np.max(exact), (shape, axis, doubled, ours, numpys)


def test_variances_of_infinities_and_of_huge_values() -> None:
    x = gc.input("x", ("n", "m"), "float32")
    f = gc.compile([x], [gc.var(x, axis=0), gc.var(x, axis=1), gc.var(x)])
    for value in (0.1, 1e-20, 12345.678):  # not below 0, whatever the mean is rounded to
        for found in f(np.full((40, 3000), value, np.float32)):
            np.testing.assert_array_equal(found, np.zeros(found.shape))
    for fill, everywhere in ((INF, False), (NAN, False), (1e30, False), (1e15, True)):
        rows = np.full((40, 3000), fill if everywhere else 1.0, np.float32)
        rows[33, 2500] = fill
        with np.errstate(all="ignore"):
            for found, axis in zip(f(rows), (0, 1, None), strict=True):
                np.testing.assert_allclose(found, np.var(rows, axis=axis), rtol=1e-5, atol=1e20)


@pytest.mark.parametrize("fills", [(-INF,), (-INF, 2.0), (INF, -INF), (NAN, 1.0), (1e4, -1e4)])
@pytest.mark.parametrize("shape", [(1, 1), (30, 700), (700, 30), (3, 20000), (20000, 3)])
def test_logsumexp_in_rows_columns_and_chunks(shape: tuple[int, int], fills: tuple[float, ...]) -> None:
    x = gc.input("x", ("n", "m"))
    f = gc.compile([x], [gc.logsumexp(y, axis=axis) for axis in (0, 1, None) for y in (x, gc.maximum(x, -1e5))])
    rows = seeded("logsumexp", shape).choice(fills, shape)
    with np.errstate(all="ignore"):
        wanted = [np.logaddexp.reduce(y, axis=axis) for axis in (0, 1) for y in (rows, np.maximum(rows, -1e5))]
        wanted += [np.logaddexp.reduce(y.ravel()) for y in (rows, np.maximum(rows, -1e5))]
    for found, expected in zip(f(rows), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_logsumexp_shares_its_exponentials_with_its_gradient() -> None:
    x = gc.input("x", (50, 3000), "float32")
    y = gc.logsumexp(x, axis=1)
    assert gc.compile([x], (y, gc.grad(gc.sum(y), x))).source.count(" exp(") == 1
    alone = gc.compile([x], y).source
    assert "logsumexp_f4(" in alone
    assert " exp(" not in alone


def test_logsumexp_of_infinities() -> None:
    rows = np.array(
        [[-INF, -INF, -INF], [0.0, -INF, 1.0], [INF, 0.0, -INF], [1000.0, 1000.0, -1000.0], [NAN, 0.0, 0.0]]
    )
    x = gc.input("x", rows.shape)
    (found,) = evaluate([gc.logsumexp(x, axis=1)], [x], [rows])
    np.testing.assert_allclose(found, [-INF, np.log1p(np.e), INF, 1000 + np.log(2), NAN], rtol=1e-15)
    slopes, g = gradient(lambda x: gc.logsumexp(x, axis=1), rows[[0, 1, 3]])
    p = 1 / (1 + np.e)
    np.testing.assert_allclose(slopes, g[:, None] * np.array([[0, 0, 0], [p, 0, 1 - p], [0.5, 0.5, 0]]), rtol=1e-14)


def test_softmax_of_large_logits() -> None:
    rows = np.array([[1e4, 0.0, -1e4], [-INF, 0.0, 0.0], [-1e308, -1e308, -1e308]])
    x = gc.input("x", rows.shape)
    soft, log = evaluate([gc.softmax(x), gc.log_softmax(x)], [x], [rows])
    np.testing.assert_allclose(soft, [[1, 0, 0], [0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-15)
    np.testing.assert_allclose(log, [[0.0, -1e4, -2e4], [-INF, -np.log(2), -np.log(2)], [-np.log(3)] * 3], rtol=1e-15)


def test_reductions_of_nothing() -> None:
    x = gc.input("x", ("n", 2))
    nodes = [getattr(gc, name)(x, axis=0) for name in ("sum", "prod", "any", "all", "mean", "var")]
    found = evaluate(nodes, [x], [np.zeros((0, 2))])
    for value, expected in zip(found, (0.0, 1.0, False, True, NAN, NAN), strict=True):
        np.testing.assert_array_equal(value, np.full(2, expected))


def test_means_count_symbolic_axes_without_a_loop() -> None:
    x = gc.input("x", ("n", "m", 3))
    a = seeded("mean").normal(size=(4, 5, 3))
    node = gc.mean(x, axis=(0, 1))
    np.testing.assert_allclose(evaluate([node], [x], [a])[0], a.mean(axis=(0, 1)), rtol=1e-14)
    assert sum(n.op.name == "sum" for n in Graph((node,)).nodes) == 1
    (slope,) = evaluate([gc.grad(gc.sum(node), x)], [x], [a])
    np.testing.assert_allclose(slope, np.full(a.shape, 1 / 20), rtol=1e-15)


@pytest.mark.parametrize("name", ["sum", "prod"])
@pytest.mark.parametrize(
    ("dtype", "wide"), [("int8", "int64"), ("uint8", "uint64"), ("bool", "int64"), ("float32", "float32")]
)
def test_narrow_integers_are_folded_in_64_bits(name: str, dtype: str, wide: str) -> None:
    x = gc.input("x", (40,), dtype)
    a = np.full(40, 1 if dtype == "bool" else 3).astype(dtype)
    node = getattr(gc, name)(x)
    assert str(node.dtype) == wide
    np.testing.assert_allclose(evaluate([node], [x], [a])[0], getattr(np, name)(a), rtol=1e-6)
