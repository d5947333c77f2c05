"""Sorts and the positions of sorts: every dtype, size and layout, to the bit as NumPy's stable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics import radix
from graphc.codegen.intrinsics.network import Network
from graphc.codegen.intrinsics.sort import FEW, longest_row
from graphc.ops.movement import ALL
from graphc.types import FLOATS, DType, as_dtype

Values = np.ndarray[Any, Any]
SIZES = (*range(40), 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 300, 511, 513, 770, 1000, 1025, 1541)


def same(actual: Any, expected: Any) -> None:
    """Equal to the bit."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(np.ascontiguousarray(actual).view(np.uint8), np.ascontiguousarray(expected).view(np.uint8))


def drawn(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Values:
    """Values of all sizes with many ties; among floats NaN and zeros of either sign, and infinities."""
    if not dtype.is_float:
        width = max(1, dtype.size * 8 - 1) if dtype.kind != "b" else 1
        bits = rng.integers(0, 1 << min(width, 62), shape) >> rng.integers(0, width, shape)
        whole = np.where(rng.random(shape) < 0.5, bits, -bits if dtype.kind == "i" else bits).astype(dtype.numpy)
        for end in (np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max) if dtype.kind != "b" else ():
            whole[rng.random(shape) < 0.06] = end
        return whole
    x = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, shape)).round(1).astype(dtype.numpy)
    for value in (0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, np.finfo(dtype.numpy).smallest_subnormal):
        x[rng.random(shape) < 0.06] = value
    return x


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_size(dtype: DType) -> None:
    rng = np.random.default_rng(1)
    x = gc.input("x", ("n",), dtype)
    f = gc.compile([x], (gc.sort(x), gc.argsort(x), gc.sort(x, descending=True), gc.argsort(x, descending=True)))
    for n in SIZES:
        a = drawn(rng, dtype, (n,))
        up, down = np.argsort(a, kind="stable"), n - 1 - np.flip(np.argsort(a[::-1], kind="stable"))
        for actual, expected in zip(f(a), (a[up], up, a[down], down), strict=True):
            same(actual, expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("n", [radix.FEW // 2, 4 * radix.FEW])
def test_descending_keeps_the_order_of_equals(dtype: DType, n: int) -> None:
    a = np.random.default_rng(2).integers(-3, 4, n).astype(dtype.numpy)
    expected = np.argsort(-a, kind="stable")
    x = gc.input("x", (n,), dtype)
    same(gc.compile([x], gc.argsort(x, descending=True))(a), expected)


@pytest.mark.parametrize("dtype", ["int16", "float32", "int64", "float64"])
def test_at_the_borders_of_ways(dtype: str) -> None:
    """Of ranks and networks, and of networks and distribution; and runs that end anywhere in a block."""
    rng, size = np.random.default_rng(7), np.dtype(dtype).itemsize
    borders = (FEW, longest_row(size), longest_row(size, at=True)) if size > 2 else (FEW, longest_row(size))
    x = gc.input("x", ("n",), dtype)
    f = gc.compile([x], (gc.sort(x), gc.argsort(x)))
    for n in {border + k for border in borders for k in (-1, 0, 1)} | {*rng.integers(1500, 9000, 30)}:
        a = drawn(rng, as_dtype(dtype), (n,))
        order = np.argsort(a, kind="stable")
        for actual, expected in zip(f(a), (a[order], order), strict=True):
            same(actual, expected)


@pytest.mark.parametrize("step", [2, -1, -3])
def test_rows_with_gaps(step: int) -> None:
    a = drawn(np.random.default_rng(8), FLOATS[1], (5, 900))
    x = gc.input("x", (5, 900), "float64")
    y = x[:, ::step]
    found = gc.compile([x], (gc.sort(y), gc.argsort(y), gc.sort(y, axis=0), gc.sort(y, descending=True)))(a)
    b = a[:, ::step]
    up, down = np.argsort(b, kind="stable"), b.shape[1] - 1 - np.flip(np.argsort(b[:, ::-1], kind="stable"), 1)
    wanted = np.take_along_axis(b, up, 1), up, np.sort(b, 0, kind="stable"), np.take_along_axis(b, down, 1)
    for actual, expected in zip(found, wanted, strict=True):
        same(actual, expected)


@pytest.mark.parametrize("dtype", ["bool", "int16", "float32", "float64"])
def test_rows_that_lie_across(dtype: str) -> None:
    """Columns before, at and behind the end of a line of memory; as the last of three axes and as the only one."""
    rng, kind = np.random.default_rng(10), as_dtype(dtype)
    line = 64 // np.dtype(dtype).itemsize
    for columns in (1, 2, line - 1, line, line + 1, 3 * line + 2):
        a = drawn(rng, kind, (2, 37, columns))
        for shape in ((2, 37, columns), ("n", 37, "m")):
            x = gc.input("x", shape, dtype)
            found = gc.compile([x], (gc.sort(x, axis=1), gc.argsort(x, axis=1), gc.sort(x[1, ::-2], axis=0)))(a)
            made = (np.sort, a, 1), (np.argsort, a, 1), (np.sort, a[1, ::-2], 0)
            wanted = (f(y, k, kind="stable") for f, y, k in made)
            for actual, expected in zip(found, wanted, strict=True):
                same(actual, expected)


def test_rows_across_are_turned_in_debug_mode_and_shared_out() -> None:
    a = drawn(np.random.default_rng(11), FLOATS[0], (50, 600))
    x = gc.input("x", a.shape, "float32")
    for options in (gc.Options(debug=True), gc.Options(threads=1), gc.Options(threads=3)):
        f = gc.compile([x], (gc.sort(x, axis=0), gc.argsort(x, axis=0, descending=True)), options=options)
        assert f.source.count("turn_") == 2  # values to rows and back
        found = f(a)
        same(found[0], np.sort(a, 0, kind="stable"))
        same(found[1], 49 - np.flip(np.argsort(a[::-1], 0, kind="stable"), 0))


class _Arrays:
    """Shuffles arrays of NumPy as LLVM does vectors."""

    def shuffle_vector(self, a: Values, b: Values, lanes: Any) -> Values:
        return np.concatenate([a, b])[[lane.constant for lane in lanes.constant]]


@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("registers", [2, 4, 8, 16])
def test_networks_sort_and_merge(lanes: int, registers: int) -> None:
    """Zeros and ones, which are enough to tell (D. E. Knuth, The Art of Computer Programming 3, 5.3.4), and numbers."""
    rng, n = np.random.default_rng(9), lanes * registers
    network = Network(_Arrays(), lambda a, b: (least(a, b), most(a, b)), lanes, max(1, 16 // lanes), registers)
    for k in range(50):
        x = rng.permutation(n) if k < 10 else (rng.random(n) < rng.random()).astype(int)
        half = rng.integers(n + 1)
        hill = np.roll(np.concatenate([np.sort(x[:half]), np.sort(x[half:])[::-1]]), rng.integers(n))
        for order, items in ((network.sort, x), (network.merge, hill)):
            found = order([(v,) for v in items.reshape(registers, lanes)])
            assert np.array_equal(np.concatenate(found, axis=None), np.sort(x))


def least(a: Any, b: Any) -> Any:
    return (np.minimum(*a, *b),)


def most(a: Any, b: Any) -> Any:
    return (np.maximum(*a, *b),)


LAYOUTS: dict[str, Any] = {
    "as it is": lambda x: x,
    "transposed": lambda x: np.transpose(x, (2, 0, 1)),
    "flipped and cut": lambda x: x[::-1, :, ::-2],
    "broadcast": lambda x: np.broadcast_to(x[:, None, :1, :], (x.shape[0], 2, min(1, x.shape[1]), x.shape[2])),
    "rank 5": lambda x: np.expand_dims(x, (0, 3)),
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_axis_of_any_layout(layout: str, debug: bool) -> None:
    rng, moved = np.random.default_rng(3), LAYOUTS[layout]
    for shape in ((3, 4, 5), (1, 1, 1), (0, 2, 3), (2, 0, 3), (3, 2, 0)):
        a = drawn(rng, FLOATS[0], shape)
        x = gc.input("x", shape, "float32")
        view = moved(x)
        axes = range(view.ndim)
        outputs = tuple(f(view, axis=k) for k in axes for f in (gc.sort, gc.argsort))
        found = iter(gc.compile([x], outputs, options=gc.Options(debug=debug))(a))
        for k in axes:
            same(next(found), np.sort(moved(a), k, kind="stable"))
            same(next(found), np.argsort(moved(a), k, kind="stable"))


@pytest.mark.parametrize("rows", [1, 2, 16383, 16384, 16385, 40000])
def test_at_the_borders_of_chunks(rows: int) -> None:
    a = np.random.default_rng(4).integers(0, 99, (rows, 2)).astype(np.int16)
    for shape in ((rows, 2), ("r", 2), ("r", "c")):
        x = gc.input("x", shape, "int16")
        f = gc.compile([x], (gc.sort(x), gc.argsort(x), gc.sort(x, axis=0), gc.argsort(x, axis=0)))
        wanted = (g(a, axis=k, kind="stable") for k in (1, 0) for g in (np.sort, np.argsort))
        for actual, expected in zip(f(a), wanted, strict=True):
            same(actual, expected)


def test_true_is_any_byte() -> None:
    """Arrays of bool hold other bytes than 0 and 1 where they were viewed."""
    a = np.array([7, 0, 255, 1, 0], np.uint8).view(bool)
    x = gc.input("x", (5,), "bool")
    found, at = gc.compile([x], (gc.sort(x), gc.argsort(x)))(a)
    assert found.view(np.uint8).tolist() == [0, 0, 1, 1, 1]
    assert at.tolist() == [1, 4, 0, 2, 3]


def test_gradients_go_where_elements_came_from() -> None:
    a = np.array([[3.0, 1.0, 2.0], [0.5, 0.5, -1.0]])
    x, w = gc.input("x", (2, 3)), np.array([10.0, 20.0, 30.0])
    for debug in (False, True):
        up = gc.grad(gc.sum(gc.sort(x) * w), x)
        down = gc.grad(gc.sum(gc.sort(x, axis=0, descending=True) ** 3), x)
        twice = gc.grad(gc.sum(down * down), x)
        f = gc.compile([x], (up, down, twice), options=gc.Options(debug=debug))
        for actual, expected in zip(f(a), ([[30, 10, 20], [20, 30, 10]], 3 * a**2, 36 * a**3), strict=True):
            np.testing.assert_allclose(actual, expected)


def test_in_a_program_of_many_parts() -> None:
    """Computed operands, results read by a product, a scan and a choice; symbolic sizes."""
    a, b = np.random.default_rng(5).normal(size=(40, 30)), np.random.default_rng(6).normal(size=(30, 4))
    x, w = gc.input("x", ("n", "m")), gc.input("w", ("m", 4))
    s = gc.sort(gc.tanh(x) * 2.0, axis=0)
    quantile, ranks = s[s.shape[0] // 2], gc.argsort(gc.argsort(x, axis=1), axis=1)
    outputs = (s @ w, quantile, gc.cumulative_sum(s, axis=0), gc.where(x > s, x, s), ranks)
    t = np.sort(np.tanh(a) * 2, axis=0)
    wanted = (t @ b, t[20], np.cumsum(t, 0), np.where(a > t, a, t), np.argsort(np.argsort(a, 1), 1))
    for actual, expected in zip(gc.compile([x, w], outputs)(a, b), wanted, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_a_parameter_is_sorted() -> None:
    start = np.array([[3.0, 1.0], [2.0, 5.0], [1.0, 4.0]])
    for debug in (False, True):
        for axis in (0, 1):
            p = gc.parameter("p", start)
            step = gc.compile([], p * 1.0, updates={p: gc.sort(p, axis=axis)}, options=gc.Options(debug=debug))
            assert np.array_equal(step(), start)
            assert np.array_equal(p.value, np.sort(start, axis))


def test_numpys_functions_apply_to_nodes() -> None:
    x = gc.input("x", (3,))
    assert np.sort(x) is gc.sort(x)
    assert np.argsort(x, axis=0) is gc.argsort(x)
