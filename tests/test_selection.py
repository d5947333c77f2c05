"""The largest and smallest elements, with their positions: every dtype, size and layout, to the bit as NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_sort import LAYOUTS, Values, drawn, same

import graphc as gc
from graphc.codegen.intrinsics.selection import room_for
from graphc.ops.movement import ALL
from graphc.types import FLOATS, DType

KEPT = (0, 1, 2, 5, 31, 32, 33, 100)


def selected(a: Values, k: int, axis: int = -1, largest: bool = True) -> tuple[Values, Values]:
    """NumPy's: by a stable sort from either end."""
    order = np.argsort(np.flip(a, axis) if largest else a, axis, kind="stable")
    order = np.flip(a.shape[axis] - 1 - order, axis) if largest else order
    at = np.take(order, np.arange(k), axis)
    return np.take_along_axis(a, at, axis), at


def check(found: Any, a: Values, k: int, axis: int = -1, largest: bool = True) -> None:
    for actual, expected in zip(found, selected(a, k, axis, largest), strict=True):
        same(actual, expected)


def sizes(k: int) -> list[int]:
    """Around the room of the candidates, and blocks that are tested together behind it."""
    room = room_for(k, 1 << 30)
    assert isinstance(room, int)
    return [k, k + 1, k + 17, *(room + d for d in (-1, 0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 1000))]


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_size(dtype: DType) -> None:
    rng = np.random.default_rng(1)
    x = gc.input("x", ("n",), dtype)
    for k in KEPT:
        f = gc.compile([x], (*gc.top_k(x, k), *gc.top_k(x, k, largest=False)))
        for n in sizes(k):
            a = drawn(rng, dtype, (n,))
            found = f(a)
            check(found[:2], a, k)
            check(found[2:], a, k, largest=False)


def in_order(n: int) -> Values:
    return np.arange(n, dtype=np.float32)


ORDERS: dict[str, Any] = {
    "rising": in_order,
    "falling": lambda n: in_order(n)[::-1].copy(),
    "equal": lambda n: np.zeros(n, np.float32),
    "zeros of both signs": lambda n: np.where(in_order(n) % 3 == 0, -0.0, 0.0).astype(np.float32),
    "not a number": lambda n: np.full(n, np.nan, np.float32),
    "numbers at the end": lambda n: np.where(in_order(n) < n - 20, np.nan, in_order(n)).astype(np.float32),
    "late extremes": lambda n: np.where(in_order(n) % 97 == 0, in_order(n), -in_order(n) / 4).astype(np.float32),
}


@pytest.mark.parametrize("order", ORDERS)
def test_any_order(order: str) -> None:
    """Of rising elements every one is a candidate."""
    x = gc.input("x", ("n",), "float32")
    for k in (1, 7, 64, 300):
        f = gc.compile([x], (*gc.top_k(x, k), *gc.top_k(x, k, largest=False)))
        for n in (room_for(k, 10**9), 5000, 20_011):
            a = ORDERS[order](n)
            found = f(a)
            check(found[:2], a, k)
            check(found[2:], a, k, largest=False)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_axis_of_any_layout(layout: str, debug: bool) -> None:
    rng, moved = np.random.default_rng(3), LAYOUTS[layout]
    for shape in ((3, 4, 5), (1, 1, 1), (0, 2, 3), (2, 0, 3), (3, 2, 0)):
        a = drawn(rng, FLOATS[0], shape)
        x = gc.input("x", shape, "float32")
        view = moved(x)
        ways = [(k, axis, up) for axis in range(view.ndim) for k in {0, 1, view.shape[axis]} for up in (True, False)]
        ways = [(k, axis, up) for k, axis, up in ways if k <= view.shape[axis]]
        outputs = tuple(gc.top_k(view, k, axis=axis, largest=up) for k, axis, up in ways)
        for found, (k, axis, up) in zip(
            gc.compile([x], outputs, options=gc.Options(debug=debug))(a), ways, strict=True
        ):
            check(found, moved(a), k, axis, up)


@pytest.mark.parametrize("rows", [1, 2, 3, 40, 3000])
def test_at_the_borders_of_chunks(rows: int) -> None:
    """Rows along either axis, and in threads."""
    a = np.random.default_rng(4).integers(0, 999, (rows, 300)).astype(np.int32)
    for shape in ((rows, 300), ("r", 300), ("r", "c")):
        x = gc.input("x", shape, "int32")
        outputs = (gc.top_k(x, 3), gc.top_k(x, 1, axis=0), gc.top_k(x.T, 4, axis=0, largest=False))
        for threads in (1, 2, 8):
            one, two, three = gc.compile([x], outputs, options=gc.Options(threads=threads))(a)
            check(one, a, 3)
            check(two, a, 1, 0)
            check(three, a.T, 4, 0, largest=False)


def test_true_is_any_byte() -> None:
    a = np.array([7, 0, 255, 1, 0] * 100, np.uint8).view(bool)
    x = gc.input("x", (500,), "bool")
    for largest in (True, False):
        values, at = gc.compile([x], gc.top_k(x, 400, largest=largest))(a)
        assert np.array_equal(at, selected(a.view(np.uint8) != 0, 400, largest=largest)[1])
        assert np.array_equal(values, a[at])


def test_how_many_is_a_dimension() -> None:
    """A half, as many as another input has, and more than there are."""
    a = np.random.default_rng(5).normal(size=(3, 9))
    x, w = gc.input("x", (3, "n")), gc.input("w", ("k",))
    f = gc.compile([x, w], (gc.top_k(x, x.shape[1] // 2), gc.top_k(x, "k")[0] * w))
    half, weighted = f(a, np.array([1.0, 2.0]))
    check(half, a, 4)
    same(weighted, selected(a, 2)[0] * [1.0, 2.0])
    with pytest.raises(gc.InputError, match="axis 1 must have k elements"):
        f(a, np.zeros(10))


def test_gradients_go_where_elements_came_from() -> None:
    a = np.array([[3.0, 1.0, 2.0], [0.5, 0.5, -1.0]])
    x, w = gc.input("x", (2, 3)), np.array([10.0, 20.0])
    for debug in (False, True):
        up = gc.grad(gc.sum(gc.top_k(x, 2)[0] * w), x)
        down = gc.grad(gc.sum(gc.top_k(x, 1, axis=0, largest=False)[0] ** 3), x)
        twice = gc.grad(gc.sum(down * down), x)
        found = gc.compile([x], (up, down, twice), options=gc.Options(debug=debug))(a)
        least = np.array([[0, 0, 0], [1, 1, 1]])
        for actual, expected in zip(
            found, ([[10, 0, 20], [10, 20, 0]], 3 * a**2 * least, 36 * a**3 * least), strict=True
        ):
            np.testing.assert_allclose(actual, expected)


def test_nearest_neighbours() -> None:
    """In a program of many parts: distances, the nearest of all, and what lies there."""
    rng = np.random.default_rng(6)
    points, labels, queries = rng.normal(size=(500, 3)), rng.normal(size=500), rng.normal(size=(40, 3))
    p, v, q = gc.input("p", ("n", 3)), gc.input("v", ("n",)), gc.input("q", ("m", 3))
    distances, at = gc.top_k(gc.sum((q[:, None] - p) ** 2, axis=-1), 5, largest=False)
    near = gc.mean(gc.take(v, at), axis=1) + gc.sqrt(distances[:, 0])
    found = gc.compile([p, v, q], near)(points, labels, queries)
    squares = ((queries[:, None] - points) ** 2).sum(-1)
    order = np.argsort(squares, 1)[:, :5]
    np.testing.assert_allclose(found, labels[order].mean(1) + np.sqrt(squares.min(1)), rtol=1e-12)


def test_for_each_example() -> None:
    a = np.random.default_rng(7).normal(size=(6, 4, 5))
    x = gc.input("x", (6, 4, 5))
    mapped = gc.vmap(lambda r: gc.top_k(r, 2, axis=0))(x)
    check(gc.compile([x], mapped)(a), a, 2, 1)
