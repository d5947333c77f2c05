"""Searches: every dtype, number of elements and of values, and layout, as NumPy's; whatever order elements are in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_sort import drawn

import graphc as gc
from graphc.ops.search import NUMBERS
from graphc.types import DType

SIDES: tuple[Any, ...] = ("left", "right")
COUNTS = (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65, 100)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("side", SIDES)
def test_every_number_of_elements_and_values(dtype: DType, side: Any) -> None:
    """With NaN, zeros of either sign and infinities among both, and many that are equal."""
    rng = np.random.default_rng(1)
    x, v = gc.input("x", ("n",), dtype), gc.input("v", ("m",), dtype)
    f = gc.compile([x, v], gc.searchsorted(x, v, side=side))
    for n in (0, 1, 2, 3, 4, 5, 7, 8, 9, 100, 1023, 1024, 1025):
        for m in COUNTS:
            a, b = np.sort(drawn(rng, dtype, (n,))), drawn(rng, dtype, (m,))
            b[: m // 2] = rng.choice(a, m // 2) if n else 0
            assert f(a, b).tolist() == np.searchsorted(a, b, side).tolist()


LAYOUTS: dict[str, Any] = {
    "as it is": lambda v: v,
    "transposed": lambda v: np.transpose(v, (2, 0, 1)),
    "flipped and cut": lambda v: v[::-1, :, ::-2],
    "broadcast": lambda v: np.broadcast_to(v[:, None, :1, :], (v.shape[0], 3, 1, v.shape[2])),
    "rank 5": lambda v: np.expand_dims(v, (0, 3)),
    "one": lambda v: v[1, 2, 3],
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_values_and_elements(layout: str, debug: bool) -> None:
    rng, moved = np.random.default_rng(2), LAYOUTS[layout]
    a, b = np.sort(rng.normal(size=60)), rng.normal(size=(3, 4, 5))
    x, v = gc.input("x", (60,)), gc.input("v", (3, 4, 5))
    views = (x, x[::3], gc.flip(x * -1.0, axis=0), gc.broadcast_to(x[:1], (7,)), x[5:5])
    f = gc.compile([x, v], tuple(gc.searchsorted(y, moved(v)) for y in views), options=gc.Options(debug=debug))
    rising = (a, a[::3], -a[::-1], np.repeat(a[:1], 7), a[:0])
    for found, y in zip(f(a, b), rising, strict=True):
        assert np.array_equal(found, np.searchsorted(y, moved(b)))


@pytest.mark.parametrize("count", [16383, 16384, 16385, 33000])
def test_at_the_borders_of_chunks(count: int) -> None:
    """In one row and in two, for any number of threads."""
    rng = np.random.default_rng(3)
    a, b = np.sort(rng.normal(size=50)).astype(np.float32), rng.normal(size=(2, count)).astype(np.float32)
    for shape in ((2, count), (2, "m"), ("r", "m")):
        x, v = gc.input("x", ("n",), "float32"), gc.input("v", shape, "float32")
        for threads in (1, 2, 8):
            options = gc.Options(threads=threads)
            one, two = gc.compile([x, v], (gc.searchsorted(x, v[1]), gc.searchsorted(x, v.T)), options=options)(a, b)
            assert np.array_equal(one, np.searchsorted(a, b[1]))
            assert np.array_equal(two, np.searchsorted(a, b.T))


@pytest.mark.parametrize("side", SIDES)
def test_in_no_order_it_is_anywhere(side: Any) -> None:
    """The same place whether compiled or not, and never beyond the elements."""
    rng = np.random.default_rng(4)
    x, v = gc.input("x", ("n",)), gc.input("v", ("m",))
    found = gc.searchsorted(x, v, side=side)
    fast, slow = gc.compile([x, v], found), gc.compile([x, v], found, options=gc.Options(debug=True))
    for n in (1, 2, 3, 10, 33, 100):
        a, b = rng.normal(size=n), rng.normal(size=50)
        positions = fast(a, b)
        assert ((positions >= 0) & (positions <= n)).all()
        assert np.array_equal(positions, slow(a, b))


def test_nothing_beside_the_result_is_written() -> None:
    a, b = np.arange(100.0), np.arange(37.0)
    out = np.full(80, -7)
    x, v = gc.input("x", (100,)), gc.input("v", (37,))
    gc.compile([x, v], gc.searchsorted(x, v))(a, b, out=out[20:57])
    assert (out[:20] == -7).all()
    assert (out[57:] == -7).all()
    assert np.array_equal(out[20:57], np.arange(37))
