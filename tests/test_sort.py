"""Sorts and the positions of sorts: every dtype, size and layout, to the bit as NumPy's stable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics.sort import FEW
from graphc.ops.movement import ALL
from graphc.types import FLOATS, DType

Values = np.ndarray[Any, Any]
SIZES = (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, FEW - 1, FEW, FEW + 1, 1000)


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
@pytest.mark.parametrize("n", [FEW // 2, 4 * FEW])
def test_descending_keeps_the_order_of_equals(dtype: DType, n: int) -> None:
    a = np.random.default_rng(2).integers(-3, 4, n).astype(dtype.numpy)
    expected = np.argsort(-a, kind="stable")
    x = gc.input("x", (n,), dtype)
    same(gc.compile([x], gc.argsort(x, descending=True))(a), expected)


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
