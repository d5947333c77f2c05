"""Cumulative sums and products: any axis of any layout, accuracy, gradients at zeros, updates by themselves."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.turned import STRIP
from graphc.codegen.views import ELEMENTS

Values = np.ndarray[Any, Any]

LAYOUTS: dict[str, Any] = {
    "as it is": lambda m, x: x,
    "transposed": lambda m, x: m.permute_dims(x, (2, 0, 1)),
    "flipped": lambda m, x: m.flip(x),
    "every other": lambda m, x: x[::-2, :, 1::2],
    "in the middle": lambda m, x: m.reshape(m.permute_dims(x, (1, 0, 2)), (x.shape[1], x.shape[0] * x.shape[2])),
    "broadcast": lambda m, x: m.broadcast_to(x[:, None, None, :, :], (x.shape[0], 3, 2, *x.shape[1:])),
    "rank 5": lambda m, x: x[None, :, :, None, :],
    "computed": lambda m, x: x * 2.0 + 1.0,
}


def both(build: Any, values: list[Values], shapes: list[Any] | None = None) -> list[Any]:
    """The results by machine code and by the interpreter of loops."""
    shapes = shapes or [v.shape for v in values]
    inputs = [gc.input(f"x{k}", s, v.dtype) for k, (s, v) in enumerate(zip(shapes, values, strict=True))]
    node = build(*inputs)
    return [gc.compile(inputs, node, options=gc.Options(debug=debug))(*values) for debug in (False, True)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 4, 6), (1, 1, 1), (2, 1, 5), (0, 3, 4), (4, 3, 0), (2, 0, 3)], ids=str)
def test_any_axis_of_any_layout(layout: str, shape: tuple[int, ...]) -> None:
    x, moved = np.random.default_rng(3).normal(size=shape), LAYOUTS[layout]
    for axis in range(moved(Namespace, x).ndim):
        for ours, theirs in ((gc.cumulative_sum, np.cumsum), (gc.cumulative_prod, np.cumprod)):
            expected = theirs(moved(Namespace, x), axis=axis)
            for actual in both(lambda x, axis=axis, ours=ours: ours(moved(gc, x), axis=axis), [x]):
                np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)


class Namespace:
    """NumPy under graphc's names."""

    permute_dims, flip, reshape, broadcast_to = np.transpose, np.flip, np.reshape, np.broadcast_to


@pytest.mark.parametrize("rows", [1, 3, ELEMENTS // 8, ELEMENTS // 8 + 1])
@pytest.mark.parametrize("lanes", [1, 3, 4, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_at_the_borders_of_chunks_and_blocks(rows: int, lanes: int) -> None:
    x = np.random.default_rng(4).integers(-9, 9, (rows, 2, lanes)).astype(np.float32)
    for shape in (x.shape, ("r", 2, "l"), ("r", "k", lanes)):
        node = gc.input("x", shape, "float32")
        outputs = tuple(gc.cumulative_sum(node, axis=k) for k in range(3))
        for axis, actual in enumerate(gc.compile([node], outputs)(x)):
            assert np.array_equal(actual, np.cumsum(x, axis, dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int16"])
@pytest.mark.parametrize("length", [1, STRIP - 1, STRIP, STRIP + 1, 2 * STRIP + 3])
def test_at_the_borders_of_tiles_that_are_turned_over(length: int, dtype: str) -> None:
    """Arrays that step by one along the scan, beside others that do so across it; from either end."""
    ours = gc.cumulative_sum, gc.cumulative_prod, _from_behind(gc)
    theirs = np.cumsum, np.cumprod, _from_behind(np)
    for lanes in (4, 15, 17):
        for axis, shape in ((0, (lanes, length)), (1, (length, lanes))):
            x = np.random.default_rng(length).integers(-2, 3, shape).astype(dtype)
            expected = [scan(x.T, axis=axis) for scan in theirs]
            for results in both(lambda x, axis=axis: tuple(scan(x.T, axis=axis) for scan in ours), [x]):
                for actual, wanted in zip(results, expected, strict=True):
                    np.testing.assert_allclose(actual, wanted, rtol=1e-5 if dtype == "float32" else 1e-13)


def _from_behind(m: Any) -> Any:
    sums = gc.cumulative_sum if m is gc else np.cumsum
    return lambda x, axis: m.flip(sums(m.flip(x, axis=axis), axis=axis), axis=axis)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_wrap(dtype: str) -> None:
    x = np.array([[100, 100, 57], [3, 2, 101]], dtype)
    for axis in (0, 1):
        for ours, theirs in ((gc.cumulative_sum, np.cumsum), (gc.cumulative_prod, np.cumprod)):
            for actual in both(lambda x, axis=axis, ours=ours: ours(x, axis=axis, dtype=dtype), [x]):
                assert actual.dtype == dtype
                assert np.array_equal(actual, theirs(x, axis=axis, dtype=dtype))


def test_sums_are_as_exact_as_the_last_bit() -> None:
    """A million equal numbers: NumPy's float32 sum is off by a percent, this one by less than one unit."""
    x = np.full((1_000_000,), 0.1, np.float32)
    node = gc.input("x", ("n",), "float32")
    actual = gc.compile([node], gc.cumulative_sum(node))(x)
    exact = np.arange(1, len(x) + 1) * np.float64(x[0])
    assert np.max(np.abs(actual - exact) / np.spacing(exact.astype(np.float32))) <= 1.0
    assert np.abs(np.cumsum(x)[-1] - exact[-1]) > 100 * np.spacing(np.float32(exact[-1]))


@pytest.mark.parametrize("axis", [0, 1])
def test_sums_that_cancel(axis: int) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(64, 64)) * 10.0 ** rng.integers(0, 12, (64, 64))
    x = np.where(rng.random(x.shape) < 0.5, x, -np.roll(x, 1, axis))
    rows = x if axis else x.T
    exact = np.array([[float(sum(map(Fraction, row[: k + 1]))) for k in range(64)] for row in rows])
    for actual in both(lambda x: gc.cumulative_sum(x, axis=axis), [x]):
        np.testing.assert_allclose(actual if axis else actual.T, exact, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1])
def test_special_values(axis: int, dtype: str) -> None:
    top = float(np.finfo(dtype).max)
    lines = [[-0.0, -0.0, 0.0, -0.0], [top, top, 1.0, 1.0], [-top, top, top, -top], [np.inf, 1.0, -np.inf, 1.0]]
    lines += [[1.0, np.nan, 1.0, 2.0], [top, -np.inf, np.inf, 0.0], [-0.0, 0.5, -0.5, 0.0], [np.inf, 0.0, 1.0, -1.0]]
    x = np.array(lines, dtype)
    x = x if axis else np.ascontiguousarray(x.T)
    for ours, theirs in ((gc.cumulative_sum, np.cumsum), (gc.cumulative_prod, np.cumprod)):
        wide = np.float64 if ours is gc.cumulative_sum else dtype  # what has left the range of float32 may come back
        with np.errstate(all="ignore"):
            expected = theirs(x, axis=axis, dtype=wide).astype(dtype)
        for actual in both(lambda x, ours=ours: ours(x, axis=axis), [x]):
            np.testing.assert_array_equal(actual, expected)
            assert np.array_equal(np.signbit(actual[actual == 0]), np.signbit(expected[expected == 0]))


def products_gradient(x: Values, g: Values) -> Values:
    """By the definition: the sum over all products that have the element."""
    out = np.zeros_like(x)
    for j in range(len(x)):
        for i in range(j, len(x)):
            out[j] += g[i] * np.prod(np.delete(x[: i + 1], j))
    return out


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (4,), (1, 3), (0, 1, 2, 3, 4)], ids=str)
def test_gradients_of_products_at_zeros(zeros: tuple[int, ...]) -> None:
    rng = np.random.default_rng(6)
    x, g = rng.normal(size=5), rng.normal(size=5)
    x[list(zeros)] = 0.0
    expected = products_gradient(x, g)
    for actual in both(lambda x, g: gc.vjp(gc.cumulative_prod(x), x, g), [x, g]):
        np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-15)
    step = 1e-6
    for actual in both(lambda x, g: gc.grad(gc.sum(gc.vjp(gc.cumulative_prod(x), x, g) ** 2), x), [x, g]):
        slopes = [
            np.sum(products_gradient(x + step * e, g) ** 2 - products_gradient(x - step * e, g) ** 2) / (2 * step)
            for e in np.eye(5)
        ]
        np.testing.assert_allclose(actual, slopes, rtol=1e-6, atol=1e-8)


def test_gradients_along_a_symbolic_axis() -> None:
    x = gc.input("x", ("n", "m"))
    for axis in (0, 1):
        w = gc.cumulative_prod(gc.cumulative_sum(x, axis=axis), axis=axis, include_initial=True)
        first = gc.grad(gc.sum(w * w), x)
        f = gc.compile([x], (first, gc.grad(gc.sum(first * first), x)), options=gc.Options(debug=True))
        for shape in ((3, 4), (1, 1), (0, 2), (2, 0)):
            for found in f(np.full(shape, 0.5)):
                assert found.shape == shape
        one = f([[0.5, 0.25, -0.5]]) if axis else f([[0.5], [0.25], [-0.5]])
        a, b, c = 0.5, 0.75, 0.25  # the sums; w = 1, a, ab, abc
        da, db, dc = 2 * a * (1 + b * b * (1 + c * c)), 2 * b * a * a * (1 + c * c), 2 * c * a * a * b * b
        np.testing.assert_allclose(one[0].ravel(), [da + db + dc, db + dc, dc], rtol=1e-14)


@pytest.mark.parametrize("debug", [False, True])
def test_a_parameter_is_updated_by_its_own_sum(debug: bool) -> None:
    for axis in (0, 1):
        start = np.arange(12.0).reshape(3, 4)
        p = gc.parameter("p", start)
        step = gc.compile(
            [], gc.sum(p), updates={p: gc.cumulative_sum(p, axis=axis)}, options=gc.Options(debug=debug)
        )
        assert step() == start.sum()
        np.testing.assert_array_equal(p.value, np.cumsum(start, axis))
        assert step() == np.cumsum(start, axis).sum()


def test_in_a_program_of_many_parts() -> None:
    """Read by a product, a reduction and a choice, with itself as another output."""
    x, w = np.random.default_rng(7).normal(size=(6, 5)), np.random.default_rng(8).normal(size=(5, 3))

    def build(x: Any, w: Any) -> Any:
        c = gc.cumulative_sum(x * 2.0, axis=0)
        return c, c @ w, gc.max(gc.where(c > 0.0, c, x), axis=1), gc.cumulative_prod(gc.tanh(c), axis=1)[:, ::-1] + c

    c = np.cumsum(2 * x, 0)
    wanted = (c, c @ w, np.max(np.where(c > 0, c, x), axis=1), np.cumprod(np.tanh(c), 1)[:, ::-1] + c)
    for found in both(build, [x, w]):
        for actual, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_inner_loops_are_contiguous() -> None:
    """Down the columns a row of accumulators moves; along rows one scalar does."""
    x = gc.input("x", (100, 200))
    down, along = (gc.compile([x], gc.cumulative_sum(x, axis=k)).source for k in (0, 1))
    assert "r0 = stack_0()" in down
    assert "for i in range(lo, hi)" in down.partition("for k in range(")[2]
    assert "stack" not in along.partition("def kernel")[2]


def test_numpys_function_applies_to_nodes() -> None:
    x = gc.input("x", (3,))
    assert np.cumulative_sum(x) is gc.cumulative_sum(x)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(5, 16, 33), (2, 40, 15), (1, 3, 4), (3, 1, 17), (2, 0, 16)], ids=str)
def test_results_across_what_is_scanned(shape: tuple[int, int, int], reverse: bool) -> None:
    """One array lies along the scan and one beside it: some lanes are scanned side by side."""
    x = np.random.default_rng(6).normal(size=shape)

    def build(node: Any) -> Any:
        moved = gc.permute_dims(gc.flip(node, axis=2) if reverse else node, (0, 2, 1))
        return gc.cumulative_sum(moved, axis=1)

    expected = np.cumsum((x[:, :, ::-1] if reverse else x).transpose(0, 2, 1), axis=1)
    for found in both(build, [x]):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32", "int64"])
@pytest.mark.parametrize("rows", [1, 4, 7, 8, 17, 40])
@pytest.mark.parametrize("ours", [gc.cumulative_sum, gc.cumulative_prod])
def test_rows_abreast_have_the_bits_of_rows_alone(ours: Any, rows: int, dtype: str) -> None:
    """A kernel scans as many rows as a vector has lanes, in squares; a row by itself is scanned by a scalar."""
    rng = np.random.default_rng(rows)
    for length in (1, 7, 16, 33, 100):
        x = (rng.normal(size=(2, rows, length)) * 9).astype(dtype)
        for symbolic in (False, True):
            node = gc.input("x", ("a", "b", "c") if symbolic else x.shape, dtype)
            together = gc.compile([node], ours(node, axis=2))(x)
            row = gc.input("x", ("c",) if symbolic else (length,), dtype)
            alone = gc.compile([row], ours(row))
            for k in range(2):
                for r in range(rows):
                    assert np.array_equal(together[k, r], alone(x[k, r]), equal_nan=True), (k, r, length)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_rows_abreast_in_any_memory(dtype: str) -> None:
    """Rows that are apart, read from the last to the first, repeated, and backwards along the scan."""
    x = np.random.default_rng(8).choice([-2, -1, 1, 2], (40, 3, 50), p=[0.1, 0.4, 0.4, 0.1]).astype(dtype)
    node = gc.input("x", x.shape, dtype)
    for part in (np.s_[:, 1, 3:47], np.s_[::-1, 0, :], np.s_[::2, 2, 5:], np.s_[:, 1, ::-1]):
        for ours, theirs in ((gc.cumulative_sum, np.cumsum), (gc.cumulative_prod, np.cumprod)):
            for debug in (False, True):
                f = gc.compile([node], ours(node[part], axis=1, dtype=dtype), options=gc.Options(debug=debug))
                np.testing.assert_array_equal(f(x), theirs(x[part], axis=1, dtype=dtype))
    wide = gc.cumulative_prod(gc.broadcast_to(node[0, :1, :], (33, 50)), axis=1, dtype=dtype)
    np.testing.assert_array_equal(gc.compile([node], wide)(x)[32], np.cumprod(x[0, 0], dtype=dtype))
