"""The last sweep of a row, made beside another one of the next row: values, bits and borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

Floats = np.ndarray[Any, Any]
MARK = "if i0 > lo:"  # what is done of the row before


def softmax(x: Floats) -> Floats:
    with np.errstate(all="ignore"):
        power = np.exp(x - x.max(-1, keepdims=True))
        return power / power.sum(-1, keepdims=True)


def with_slope(value: Callable[..., Any]) -> Callable[..., Any]:
    def both(x: Any, g: Any, k: Any) -> Any:
        y = value(x)
        return (y, *gc.vjp(y, [x], g))

    return both


def slope_of_labels(x: Any, g: Any, k: Any) -> Any:
    loss = gc.losses.sparse_categorical_crossentropy(k, x, from_logits=True)
    return (gc.grad(loss, x) * x.shape[0],)


def labels_expected(x: Floats, g: Floats, k: Any) -> tuple[Floats, ...]:
    right = (k >= 0) & (k < x.shape[1])
    slope = softmax(x)
    slope[np.arange(len(k))[right], k[right]] -= 1
    return (np.where(right[:, None], slope, 0),)


def centred(x: Any, g: Any, k: Any) -> Any:
    y = gc.tanh(x)
    y = y - gc.mean(y, axis=-1, keepdims=True)
    return y * g, y + x[:, ::-1]


def centred_expected(x: Floats, g: Floats, k: Any) -> tuple[Floats, ...]:
    y = np.tanh(x) - np.tanh(x).mean(-1, keepdims=True)
    return y * g, y + x[:, ::-1]


def softmax_expected(x: Floats, g: Floats, k: Any) -> tuple[Floats, ...]:
    y = softmax(x)
    return y, y * (g - (y * g).sum(-1, keepdims=True))


def log_softmax_expected(x: Floats, g: Floats, k: Any) -> tuple[Floats, ...]:
    y, apart = softmax(x), x - x.max(-1, keepdims=True)
    return apart - np.log(np.exp(apart).sum(-1, keepdims=True)), g - y * g.sum(-1, keepdims=True)


def standard(x: Any, g: Any, k: Any) -> Any:
    """Without vector math: beside the sweep that folds squares."""
    apart = x - gc.mean(x, axis=-1, keepdims=True)
    y = apart / gc.sqrt(gc.mean(apart * apart, axis=-1, keepdims=True) + 1e-5)
    return (y, *gc.vjp(y, [x], g), gc.sum(g * y, axis=0))


def standard_expected(x: Floats, g: Floats, k: Any) -> tuple[Floats, ...]:
    apart, deviation = x - x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    y = apart / deviation
    slope = (g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True)) / deviation
    return y, slope, (g * y).sum(0)


def of_unit_length(x: Any, g: Any, k: Any) -> Any:
    return (x / gc.sqrt(gc.sum(x * x, axis=-1, keepdims=True)),)


def of_unit_length_expected(x: Floats, g: Floats, k: Any) -> tuple[Floats, ...]:
    return (x / np.sqrt((x * x).sum(-1, keepdims=True)),)


ALONE = (lambda x, g, k: (gc.softmax(x),)), (lambda x, g, k: (softmax(x),))
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": ALONE,
    "softmax with slope": (with_slope(gc.softmax), softmax_expected),
    "log-softmax with slope": (with_slope(gc.log_softmax), log_softmax_expected),
    "slope of labels": (slope_of_labels, labels_expected),
    "centred": (centred, centred_expected),
    "standard with slope": (standard, standard_expected),
    "of unit length": (of_unit_length, of_unit_length_expected),
}


def inputs(shape: tuple[int, int], dtype: str) -> tuple[list[gc.Node], list[Any]]:
    rng = np.random.default_rng(3)
    rows, columns = shape
    k = rng.integers(0, columns, rows)
    k[:5] = [63, 64, columns - 1, -1, columns][:rows]  # at the borders of parts, and none
    k[-1:] = 0
    arrays = [rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype), k]
    nodes = [gc.input("x", shape, dtype), gc.input("g", shape, dtype), gc.input("k", (rows,), "int64")]
    return nodes, arrays


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("columns", [576, 640, 1024])
@pytest.mark.parametrize("rows", [0, 1, 2, 63, 64, 65, 130])
def test_rows_in_caches(name: str, columns: int, rows: int) -> None:
    build, expected = FUNCTIONS[name]
    nodes, arrays = inputs((rows, columns), "float32")
    f = gc.compile(nodes, build(*nodes))
    assert rows < 2 or MARK in f.source
    wide = [a.astype("float64") if a.dtype.kind == "f" else a for a in arrays]
    for got, want in zip(f(*arrays), expected(*wide), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 if name == "standard with slope" else 2e-6)


@pytest.mark.parametrize("name", ["softmax", "slope of labels", "standard with slope", "of unit length"])
@pytest.mark.parametrize(("shape", "dtype"), [((20_001, 256), "float32"), ((9_001, 1024), "float32"),
                                              ((12_000, 512), "float64")])  # fmt: skip
def test_rows_past_the_caches(name: str, shape: tuple[int, int], dtype: str) -> None:
    """Outputs begin with a line of cache, or within one as NumPy's do; threads and chunks change no bit."""
    build, expected = FUNCTIONS[name]
    nodes, arrays = inputs(shape, dtype)
    wanted = expected(*(a.astype("float64") if a.dtype.kind == "f" else a for a in arrays))
    rtol, atol = (2e-5, 2e-6) if dtype == "float32" else (1e-12, 1e-13)
    first: list[Floats] = []
    for threads in (1, 2, 3):
        f = gc.compile(nodes, build(*nodes), options=gc.Options(threads=threads))
        assert MARK in f.source
        assert "store_or_keep" in f.source
        for offset in (0, 16):
            out = [memory(want.shape, dtype, offset) for want in wanted]
            f(*arrays, out=tuple(out))
            first = first or out
            for one, made, want in zip(first, out, wanted, strict=True):
                if made is one:
                    np.testing.assert_allclose(one, want, rtol=rtol, atol=atol * (1 if want.ndim == 2 else 1e3))
                assert np.array_equal(one.view("u1"), made.view("u1"))


def memory(shape: tuple[int, ...], dtype: str, offset: int) -> Floats:
    """An array that begins so many bytes into a line of cache."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(nbytes + 128, np.uint8)
    begin = -room.ctypes.data % 64 + offset
    return room[begin : begin + nbytes].view(dtype).reshape(shape)


@pytest.mark.parametrize("name", ["softmax", "slope of labels", "softmax with slope", "of unit length"])
def test_rows_whose_number_the_call_tells(name: str) -> None:
    """Their outputs go past the caches or not, by a branch, of which each has its own loops."""
    build, expected = FUNCTIONS[name]
    kinds = {"x": ("n", 1024, "float32"), "g": ("n", 1024, "float32"), "k": ("n", "int64")}
    nodes = [gc.input(letter, shape, dtype) for letter, (*shape, dtype) in kinds.items()]
    f = gc.compile(nodes, build(*nodes))
    assert MARK in f.source
    for rows in (0, 1, 2, 131, 9_001):
        _, arrays = inputs((rows, 1024), "float32")
        wide = [a.astype("float64") if a.dtype.kind == "f" else a for a in arrays]
        for got, want in zip(f(*arrays), expected(*wide), strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_rows_that_are_not_finite() -> None:
    """They stay what they are, and change no other row."""
    x = np.random.default_rng(4).standard_normal((8, 1024)).astype("float32")
    x[0, 7], x[3, 1000], x[4], x[6, 64] = np.nan, np.inf, -np.inf, -np.inf
    node = gc.input("x", x.shape, "float32")
    f = gc.compile([node], gc.softmax(node))
    assert MARK in f.source
    np.testing.assert_allclose(f(x), softmax(x.astype("float64")), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("rows", [1, 3, 130, 9_001])
def test_rows_in_place(rows: int) -> None:
    """A parameter keeps its rows until they have been read."""
    start = np.random.default_rng(5).standard_normal((rows, 1024)).astype("float32")
    p = gc.parameter("p", start.copy())
    f = gc.compile([], p[0, 0], updates={p: gc.softmax(3.0 * p)})
    want = start.astype("float64")
    for _ in range(3):
        f()
        want = softmax(3 * want)
    np.testing.assert_allclose(p.value, want, rtol=3e-5, atol=1e-7)


@pytest.mark.parametrize("columns", [1000, 64, 2048])
def test_other_rows_are_swept_as_before(columns: int) -> None:
    """No whole number of parts, so short that they go by bands, and so long that two do not fit L1."""
    x = np.random.default_rng(6).standard_normal((40, columns)).astype("float32")
    node = gc.input("x", x.shape, "float32")
    f = gc.compile([node], gc.softmax(node))
    assert MARK not in f.source
    np.testing.assert_allclose(f(x), softmax(x.astype("float64")), rtol=2e-5, atol=1e-7)


def test_a_row_that_the_last_sweep_folds_stays_in_place() -> None:
    """Its sum is wanted in its own turn."""
    x = np.random.default_rng(7).standard_normal((9, 1024)).astype("float32")
    node = gc.input("x", x.shape, "float32")
    y = gc.softmax(node)
    f = gc.compile([node], (y, gc.sum(y * node, axis=0)))
    assert MARK not in f.source
    want = softmax(x.astype("float64"))
    np.testing.assert_allclose(f(x)[1], (want * x).sum(0), rtol=2e-5, atol=1e-6)
