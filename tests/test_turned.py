"""What lies across the rows of a nest is copied tile by tile: the same values at every border of strips and tiles."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fenced import fenced

import graphc as gc
from graphc.codegen import streamed, tall
from graphc.codegen import wanted as ahead

COLD = gc.Options(cache=False)
BORDERS = (0, 1, 2, 15, 16, 17, 33, 63, 64, 65, 127, 128, 129, 257, 300)
DTYPES = ("float32", "float64", "int32", "int64")


def drawn(shape: Sequence[int], seed: int = 0, dtype: str = "float32") -> Any:
    return (1_000 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def copies(function: Any) -> int:
    return len(re.findall(r"turn_[fi][48]\(", function.source))


def turned(m: Any, n: Any, dtype: str = "float32") -> tuple[list[gc.Node], tuple[gc.Node, ...]]:
    """One array both ways round, and another one twice, from different elements on."""
    x, y = gc.input("x", (m, n), dtype), gc.input("y", (n, m), dtype)
    rows, columns = x.shape
    more, row = gc.input("more", (2 * columns, 3 + rows), dtype), gc.input("row", (n,), dtype)
    across = more[::-2, 3:].T
    return [x, y, more, row], (x + y.T, (y.T - across) * row, across + more[:columns, 1:-2].T)


def wanted(x: Any, y: Any, more: Any, row: Any) -> tuple[Any, ...]:
    across = more[::-2, 3:].T
    return x + y.T, (y.T - across) * row, across + more[: len(row), 1:-2].T


def arrays(m: int, n: int, dtype: str) -> list[Any]:
    return [drawn(shape, k, dtype) for k, shape in enumerate([(m, n), (n, m), (2 * n, 3 + m), (n,)])]


def agree(function: Any, m: int, n: int, dtype: str = "float32") -> None:
    given = arrays(m, n, dtype)
    for got, want in zip(function(*given), wanted(*given), strict=True):
        assert got.shape == want.shape
        assert np.array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_that_the_call_tells(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    inputs, outputs = turned("m", "n", dtype)
    monkeypatch.setattr(streamed, "PAST_CACHES", 2**20)
    f = gc.compile(inputs, outputs, options=COLD)
    assert copies(f)
    for m, n in itertools.product(BORDERS, BORDERS):
        agree(f, m, n, dtype)
    for m, n in ((3_000, 5), (5, 3_000), (700, 800)):
        agree(f, m, n, dtype)


@pytest.mark.parametrize(
    ("m", "n"), [(15, 40), (16, 16), (17, 31), (40, 15), (64, 256), (65, 257), (300, 20), (1, 700)]
)
def test_known_sizes(m: int, n: int) -> None:
    f = gc.compile(*turned(m, n), options=COLD)
    assert bool(copies(f)) == (min(m, n) >= 16 and max(m, n) >= 32)
    agree(f, m, n)


@pytest.mark.parametrize(("m", "n"), [(2_100, 64), (20_001, 33), (64, 6_000), (1_030, 1_100), (130, 5_000)])
def test_tiles_that_are_asked_for(monkeypatch: pytest.MonkeyPatch, m: int, n: int) -> None:
    """Of known size, written to caches: what is asked for lies up to two tiles after the arrays' ends."""
    monkeypatch.setattr(ahead, "FAR", 2**18)
    f = gc.compile(*turned(m, n), options=COLD)
    assert copies(f)
    assert all(word in f.source for word in ("fetch(", "fetch_lines_4("))
    assert "stream_" not in f.source
    agree(f, m, n)


def test_wide_elements_are_copied_where_lines_share_sets_of_l1() -> None:
    """Columns of 5,000 are 3,904 bytes apart modulo pages, of 768 half a page; those of 4 bytes are copied anyway."""
    for dtype, rows, count in (("float64", 5_000, 0), ("float64", 768, 1), ("int64", "m", 1), ("int32", 5_000, 1)):
        x, y = gc.input("x", (rows, 70), dtype), gc.input("y", (70, rows), dtype)
        assert copies(gc.compile([x, y], x + y.T, options=COLD)) == count
    x, y = gc.input("x", (5_000, 70), "int8"), gc.input("y", (70, 5_000), "int8")
    assert not copies(gc.compile([x, y], x + y.T, options=COLD))


@pytest.mark.parametrize(("m", "n"), [(17, 39), (40, 300), (70, 33)])
def test_the_interpreter_reads_nothing_that_is_not_there(m: int, n: int) -> None:
    for sizes in ((m, n), ("m", "n")):
        f = gc.compile(*turned(*sizes), options=gc.Options(debug=True))
        assert copies(f)
        agree(f, m, n)


MORE_AXES = [  # shape, how its axes are permuted
    ((3, 70, 130), (0, 2, 1)),
    ((40, 33, 65), (0, 2, 1)),
    ((2, 1_100, 40), (0, 2, 1)),  # two of the first axis, so that the one with tiles is cut
    ((5, 17, 6, 7), (0, 2, 3, 1)),
    ((5, 6, 7, 64), (0, 3, 1, 2)),
    ((20, 30, 40), (2, 1, 0)),
    ((35, 4, 3, 36), (3, 1, 2, 0)),
    ((2, 3, 33, 2, 37), (0, 4, 3, 2, 1)),
    ((3, 34, 5, 66), (1, 0, 3, 2)),
    ((1, 90, 100), (0, 2, 1)),
    ((3, 0, 40), (0, 2, 1)),
    ((6, 15, 300), (0, 2, 1)),
    ((6, 300, 15), (0, 2, 1)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize(("shape", "axes"), MORE_AXES)
def test_more_axes(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> None:
    """Alone, and beside an array in the order of the result and one of a row; sums of integers are exact.

    Sizes are known and not, tiles are asked for and not, and streamed.
    """
    a, b = drawn(shape, 0, dtype), drawn([shape[k] for k in axes], 1, dtype)
    a, b, c = (np.trunc(values / 32).astype(dtype) for values in (a, b, drawn(b.shape[-1:], 2, dtype)))
    for far, past in ((ahead.FAR, streamed.PAST_CACHES), (0, streamed.PAST_CACHES), (0, 0)):
        monkeypatch.setattr(ahead, "FAR", far)
        monkeypatch.setattr(streamed, "PAST_CACHES", past)
        for sizes in (shape, tuple("pqrst"[: len(shape)])):
            x = gc.input("x", sizes, dtype)
            y = gc.input("y", [sizes[k] for k in axes], dtype)
            z = gc.input("z", (sizes[axes[-1]],), dtype)
            outputs = (gc.transpose(x, axes), gc.transpose(x, axes) * y + z, gc.transpose(x, axes)[::-1, ..., ::-1] - y)
            turned = a.transpose(axes)
            f = gc.compile([x, y, z], outputs, options=COLD)
            for got, want in zip(f(a, b, c), (turned, turned * b + c, turned[::-1, ..., ::-1] - b), strict=True):
                assert np.array_equal(got, want)


@pytest.mark.parametrize(("shape", "axes"), MORE_AXES)
def test_the_interpreter_of_more_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    a, b = drawn(shape), drawn([shape[k] for k in axes], 1)
    x, y = gc.input("x", shape, "float32"), gc.input("y", b.shape, "float32")
    f = gc.compile([x, y], gc.transpose(x, axes) + y, options=gc.Options(debug=True))
    assert np.array_equal(f(a, b), a.transpose(axes) + b)


def test_threads_have_tiles_of_their_own() -> None:
    f = gc.compile(*turned("m", "n"), options=COLD)
    before = gc.get_num_threads()
    try:
        for count in range(1, before + 1):
            gc.set_num_threads(count)
            agree(f, 1_000, 1_100)
    finally:
        gc.set_num_threads(before)


def test_what_may_not_be_there_is_not_copied() -> None:
    """Padding reads under a condition: a tile of it would lie outside of the array."""
    x = gc.input("x", (40, 50), gc.float32)
    y = gc.input("y", (30, 20), gc.float32)
    padded = gc.pad(y, ((10, 10), (15, 5))).T
    f = gc.compile([x, y], (x[:, :40] + padded[:, :40], padded), options=COLD)
    a, b = drawn((40, 50)), drawn((30, 20), 1)
    want = np.pad(b, ((10, 10), (15, 5))).T
    assert not copies(f)
    for got, right in zip(f(a, b), (a[:, :40] + want[:, :40], want), strict=True):
        assert np.array_equal(got, right)


@pytest.mark.parametrize("size", [100, "n"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nor_is_the_last_part_of_a_whole(size: Any, dtype: str) -> None:
    """It is read where no other part is: before its first row there may be no memory."""
    x, y = gc.input("x", (size, size), dtype), gc.input("y", (size, size), dtype)
    f = gc.compile([x, y], (gc.roll(x.T, 1, axis=1), gc.concatenate([x.T, y.T], axis=1) + 1), options=COLD)
    a, b = (fenced(10_000 * np.dtype(dtype).itemsize, False).view(dtype).reshape(100, 100) for _ in "xy")
    a[...], b[...] = drawn((100, 100)), drawn((100, 100), 1)
    assert not copies(f)
    for got, right in zip(f(a, b), (np.roll(a.T, 1, axis=1), np.concatenate([a.T, b.T], axis=1) + 1), strict=True):
        assert np.array_equal(got, right)


def test_gradients_of_a_transposed_operand() -> None:
    w, x = gc.input("w", (70, 90), gc.float32), gc.input("x", (90, 70), gc.float32)
    loss = gc.sum((gc.tanh(w).T * x) ** 2)
    f = gc.compile([w, x], gc.grad(loss, [w, x]), options=COLD)
    a, b = drawn((70, 90)) / 1_000, drawn((90, 70), 1) / 1_000
    t = np.tanh(a.astype("f8")).T
    got = f(a, b)
    np.testing.assert_allclose(got[0], (2 * t * b * b * (1 - t * t)).T, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], 2 * t * t * b, rtol=2e-5, atol=1e-6)


def tiles_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a tenth of their real number, which may be any that are no whole strips."""
    monkeypatch.setattr(streamed, "PAST_CACHES", 2**16)
    monkeypatch.setattr(tall, "SHORTEST", 8)
    monkeypatch.setattr(tall, "TALLEST", 72)
    monkeypatch.setattr(tall, "TALL", 72)


def within(memory: Any, first: int, shape: tuple[int, ...], dtype: str) -> Any:
    """An array in this memory, so many elements after the begin of a line."""
    size = np.dtype(dtype).itemsize
    begin = -memory.ctypes.data % 64 + (64 + first * size)
    return memory[begin : begin + int(np.prod(shape)) * size].view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("m", "n"), [(64, 256), (601, 272), (577, 288), (130, 1_008), (65, 257), (601, 271), (577, 300), (130, 1_001)]
)
def test_tiles_from_memory_begin_with_lines_of_the_result(
    monkeypatch: pytest.MonkeyPatch, m: int, n: int, dtype: str
) -> None:
    """Wherever the result and what is read begin, and nothing beside the result is written."""
    tiles_from_memory(monkeypatch)
    inputs, outputs = turned(m, n, dtype)
    f = gc.compile(inputs, outputs, options=COLD)
    assert "into = into_line_" in f.source
    given = arrays(m, n, dtype)
    for first in (0, 1, 4, 7, *((13, 15) if dtype == "float32" else ())):
        memory = [np.full(m * n * np.dtype(dtype).itemsize + 256, 7, np.uint8) for _ in outputs]
        results = tuple(within(one, first + k, (m, n), dtype) for k, one in enumerate(memory))
        f(*given, out=results)
        for got, want in zip(results, wanted(*given), strict=True):
            assert np.array_equal(got, want)
            got[...] = 0
        for k, one in enumerate(memory):
            begin = -one.ctypes.data % 64 + 64 + (first + k) * np.dtype(dtype).itemsize
            assert (one[:begin] == 7).all()
            assert (one[begin + results[k].nbytes :] == 7).all()


@pytest.mark.parametrize(
    ("m", "n", "is_tall"), [(64, 256, True), (63, 256, False), (64, 255, False), (64, 264, True), (70, 240, False)]
)
def test_few_rows_and_columns_have_other_tiles(monkeypatch: pytest.MonkeyPatch, m: int, n: int, is_tall: bool) -> None:
    tiles_from_memory(monkeypatch)
    monkeypatch.setattr(streamed, "PAST_CACHES", 2**15)
    x, y = gc.input("x", (m, n), "float32"), gc.input("y", (n, m), "float32")
    f = gc.compile([x, y], x + y.T, options=COLD)
    assert ("for tile in range(" in f.source) == is_tall
    a, b = drawn((m, n)), drawn((n, m), 1)
    assert np.array_equal(f(a, b), a + b.T)


@pytest.mark.parametrize("n", [320, 321])
@pytest.mark.parametrize("which", ["bool", "bool float32", "int8", "float64", "float32 float64", "int16"])
def test_results_of_other_sizes_of_tiles_from_memory(monkeypatch: pytest.MonkeyPatch, which: str, n: int) -> None:
    """A line of a result of bytes has more elements than a tile; beside a wider one it ends where that does."""
    tiles_from_memory(monkeypatch)
    x, y = gc.input("x", (200, n), "float32"), gc.input("y", (n, 200), "float32")
    a, b = drawn((200, n)), drawn((n, 200), 1).clip(-100, 100)
    made, want = {"bool": x > y.T, "float32": x - y.T}, {"bool": a > b.T, "float32": a - b.T}
    names = which.split()
    made |= {name: y.T.astype(name) for name in names if name not in made}
    want |= {name: b.T.astype(name) for name in names if name not in want}
    f = gc.compile([x, y], [made[name] for name in names], options=COLD)
    for name, got in zip(names, f(a, b), strict=True):
        assert np.array_equal(got, want[name])


@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 320, 200), (0, 2, 1)), ((321, 3, 300), (2, 1, 0)), ((2, 2, 256, 300), (1, 0, 3, 2))]
)
def test_more_axes_of_tiles_from_memory(monkeypatch: pytest.MonkeyPatch, shape: Any, axes: Any) -> None:
    tiles_from_memory(monkeypatch)
    a, b = drawn(shape), drawn([shape[k] for k in axes], 1)
    x, y = gc.input("x", shape, "float32"), gc.input("y", b.shape, "float32")
    f = gc.compile([x, y], (gc.transpose(x, axes) + y, gc.transpose(x, axes)[::-1] * y), options=COLD)
    assert "for tile in range(" in f.source
    want = (a.transpose(axes) + b, a.transpose(axes)[::-1] * b)
    before = gc.get_num_threads()
    try:
        for count in {1, before}:
            gc.set_num_threads(count)
            for got, right in zip(f(a, b), want, strict=True):
                assert np.array_equal(got, right)
    finally:
        gc.set_num_threads(before)
    debugged = gc.compile([x, y], (gc.transpose(x, axes) + y,), options=gc.Options(debug=True))
    assert np.array_equal(debugged(a, b)[0], want[0])
