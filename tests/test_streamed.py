"""Large outputs are written past the caches: the same values, at every border of pieces, lines and rows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen import streamed
from graphc.codegen import wanted as ahead
from graphc.codegen.intrinsics.target import LINE, has_many_registers, host_vector_bytes

COLD = gc.Options(cache=False)
DTYPES = ("float32", "float64", "int64", "int16", "int8", "bool")
BORDERS = (0, 1, 15, 16, 17, 255, 256, 257, 1_000, 16_369, 16_383, 16_384, 16_385, 32_768, 40_001)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves 64 bytes is large, and no row is too short."""
    monkeypatch.setattr(streamed, "PAST_CACHES", 64)
    for name in ("SHORTEST", "SHORTER"):
        monkeypatch.setattr(streamed, name, 1)


@pytest.fixture(params=[False, True], ids=["one multiply-add", "two multiply-adds"])
def twice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether two multiply-adds are said to start in a cycle."""
    for module in (streamed, ahead):
        monkeypatch.setattr(module, "has_two_multiply_adds", lambda: request.param)
        monkeypatch.setattr(module, "one_line_a_cycle", lambda: host_vector_bytes() == LINE and not request.param)
    return bool(request.param)


@pytest.fixture
def in_lines(twice: bool) -> bool:
    """Whether loops over neighbours write line by line: else a line is a vector, of one a cycle."""
    return twice or host_vector_bytes() != LINE


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).integers(-100, 100, shape) / 7).astype(dtype)


def calls(function: Any) -> int:
    return sum(str(function.source).count(f"{kernel}_") for kernel in ("stream", "store_lines"))


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_the_same_wherever_pieces_and_lines_end(dtype: str, in_lines: bool) -> None:
    """Of outputs that begin at the same place of a line and at others; the narrow one is stored as ever."""
    x, y = gc.input("x", ("n",), dtype), gc.input("y", ("n",), dtype)
    larger, smaller = (gc.where(x > y, x, y), gc.where(x > y, y, x)) if dtype != "bool" else (x | y, x & y)
    f = gc.compile([x, y], (larger, smaller, x == y), options=COLD)
    narrow = np.dtype(dtype).itemsize > (1 if in_lines else 2)
    assert calls(f) == (2 if narrow else 3)
    assert f.source.count("store_lines_") == (calls(f) if in_lines else 0)
    for n in BORDERS:
        a, b = drawn((n,), dtype), drawn((n,), dtype, 1)
        wanted = np.maximum(a, b), np.minimum(a, b), a == b
        for shifts in ((0, 0, 0), (1, 1, 1), (3, 3, 15), (15, 15, 0), (60, 4, 7), (8, 0, 32)):
            around = tuple(np.ones(n + 64, t) for t in (dtype, dtype, bool))
            given = tuple(whole[shift : shift + n] for whole, shift in zip(around, shifts, strict=True))
            f(a, b, out=given)
            for whole, shift, found, want in zip(around, shifts, given, wanted, strict=True):
                assert np.array_equal(found, want)
                assert whole[:shift].all()
                assert whole[shift + n :].all()


@pytest.mark.parametrize("length", [16_385, 40_001, 100_000, 30_000_000])
def test_chunks_end_with_lines_where_the_size_is_known(length: int) -> None:
    x = gc.input("x", (length,), "int8")
    chunk = re.search(r"chunk ?\* ?(\d+)", gc.compile([x], x + x, options=COLD).source)
    assert chunk is not None
    assert int(chunk[1]) % LINE == 0


@pytest.mark.usefixtures("little", "twice")
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (70, 257), (300, 5), (129, 512)])
def test_rows_and_what_lies_across_them(shape: tuple[int, int], symbolic: bool) -> None:
    m, n = ("m", "n") if symbolic else shape
    x, row, turned = gc.input("x", (m, n)), gc.input("row", (1, n)), gc.input("turned", (n, m))
    f = gc.compile([x, row, turned], (x * row, x - turned.T, turned.T[::-1]), options=COLD)
    a, b, c = drawn(shape, "float64"), drawn((1, shape[1]), "float64", 1), drawn(shape[::-1], "float64", 2)
    for got, want in zip(f(a, b, c), (a * b, a - c.T, c.T[::-1]), strict=True):
        assert np.array_equal(got, want)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int8"])
def test_rows_of_tiles_end_within_lines(dtype: str) -> None:
    """What follows in the line comes with another tile: parts of lines do not go past the caches there."""
    x, row = gc.input("x", ("m", "n"), dtype), gc.input("row", ("m",), dtype)
    f = gc.compile([x, row], (x.T + row, x * row[:, None]), options=COLD)
    assert f.source.count("stream_apart_") == 1
    assert calls(f) == 2
    for shape in ((64, 64), (65, 130), (200, 63), (17, 300), (300, 1), (0, 5)):
        a, b = drawn(shape, dtype), drawn(shape[:1], dtype, 1)
        wanted = a.T + b, a * b[:, None]
        for shift in (0, 1, 16, 31):
            wholes = [np.ones(a.size + 64, dtype) for _ in wanted]
            given = tuple(w[shift : shift + a.size].reshape(v.shape) for w, v in zip(wholes, wanted, strict=True))
            f(a, b, out=given)
            for whole, got, want in zip(wholes, given, wanted, strict=True):
                assert np.array_equal(got, want)
                assert whole[:shift].all()
                assert whole[shift + a.size :].all()


@pytest.mark.usefixtures("little")
def test_the_interpreter_does_the_same() -> None:
    x, turned = gc.input("x", (20, "n"), gc.float32), gc.input("turned", ("n", 20), gc.float32)
    outputs = (x + 1.0, x - turned.T)
    checked = gc.compile([x, turned], outputs, options=gc.Options(debug=True))
    assert calls(checked)
    for n in (0, 1, 255, 257, 700):
        a, b = drawn((20, n), "float32"), drawn((n, 20), "float32", 1)
        for got, want in zip(checked(a, b), (a + np.float32(1), a - b.T), strict=True):
            assert np.array_equal(got, want)


def test_what_is_small_dear_or_read_is_written_as_ever() -> None:
    x = gc.input("x", ("n",))
    large, rows = gc.input("large", (10_000_000,)), gc.input("rows", (1_000_000, 16))
    assert calls(gc.compile([x], x + 1.0)) == 1
    assert calls(gc.compile([large], large + 1.0)) == 1
    assert "if" not in gc.compile([large], large + 1.0).source.partition("def kernel")[2].partition("# phases")[0]
    w = gc.parameter("w", np.zeros(4_000_000))
    for function in (
        gc.compile([y := gc.input("y", (1_000,))], y + 1.0),
        gc.compile([x], gc.exp(x)),
        gc.compile([x], gc.sum(x)),
        gc.compile([rows, z := gc.input("z", (16,))], rows * z),
        gc.compile([large], gc.cumulative_sum(large + 1.0)),
        gc.compile([], (), updates={w: w + 1.0}),
    ):
        assert calls(function) == 0


def test_rows_from_a_length_on_are_streamed(twice: bool) -> None:
    for columns in (127, 128, 255, 256):
        x, row = gc.input("x", (100_000, columns)), gc.input("row", (columns,))
        f = gc.compile([x, row], x * row, options=COLD)
        assert calls(f) == (columns >= (128 if twice else 256))


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("rows", [7, "n"])
@pytest.mark.parametrize("columns", [1, 16, 33, 257])
def test_long_rows_are_made_line_by_line(
    columns: int, rows: int | str, in_lines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each begins and ends where it does, a narrow output is stored as ever; rows that are gathered go by pieces."""
    monkeypatch.setattr(streamed, "LONG_ROW", 1)
    x, row = gc.input("x", (rows, 3, columns), "float32"), gc.input("row", (columns,), "float32")
    column, k = gc.input("column", (rows, 1, 1), "float32"), gc.input("k", (rows,), "int64")
    f = gc.compile([x, row, column], (x * row + column, x - row, x > row), options=COLD)
    assert calls(f) == 2
    assert f.source.count("store_lines_") == (2 if in_lines else 0)
    taken = gc.compile([x, row, k], gc.take(x, k, axis=0) + row, options=COLD)
    for n in (7,) if rows == 7 else (0, 1, 7):
        shape = (n, 3, columns)
        a, b, c = drawn(shape, "float32"), drawn((columns,), "float32", 1), drawn((n, 1, 1), "float32", 2)
        at = np.random.default_rng(3).integers(0, max(n, 1), n)
        assert np.array_equal(taken(a, b, at), a[at] + b)
        for shifts in ((0, 0, 0), (1, 3, 5), (15, 0, 63)):
            wholes = [np.ones(a.size + 64, t) for t in ("float32", "float32", "bool")]
            given = tuple(w[k : k + a.size].reshape(shape) for w, k in zip(wholes, shifts, strict=True))
            f(a, b, c, out=given)
            for whole, shift, got, want in zip(wholes, shifts, given, (a * b + c, a - b, a > b), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5)
                assert whole[:shift].all()
                assert whole[shift + a.size :].all()


def test_rows_from_some_kilobytes_on_are_made_line_by_line(in_lines: bool) -> None:
    for dtype, columns in (("float32", 1_535), ("float32", 1_536), ("float64", 767), ("float64", 768)):
        x, row = gc.input("x", (100_000, columns), dtype), gc.input("row", (columns,), dtype)
        f = gc.compile([x, row], x * row, options=COLD)
        assert ("store_lines_" in f.source) == (in_lines and columns % 2 == 0)


def test_the_size_of_a_call_decides() -> None:
    x, y = gc.input("x", ("n",), gc.float32), gc.input("y", ("n",), gc.float32)
    f = gc.compile([x, y], (x + y, x * y))
    border = streamed.PAST_CACHES // 16
    for n in (border - 1, border, border + 1):
        a, b = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
        plus, times = f(a, b)
        assert np.array_equal(plus, a + b)
        assert np.array_equal(times, a)


def test_lines_ahead_are_asked_for_where_arrays_are_large() -> None:
    x, turned = gc.input("x", (700, "n")), gc.input("turned", ("n", 700))
    f = gc.compile([x, turned], x + turned.T)
    large, small = f.source.partition("    if not ")[::2]
    assert "fetch(" in large
    assert "fetch(" not in small
    for n in (0, 1, 255, 256, 257, 2_000, 7_000):
        a, b = drawn((700, n), "float64"), drawn((n, 700), "float64", 1)
        assert np.array_equal(f(a, b), a + b.T)


@pytest.mark.usefixtures("little")
@pytest.mark.skipif(host_vector_bytes() != LINE, reason="loops go line by line")
def test_outputs_of_few_bytes_are_not_made_in_pieces(twice: bool) -> None:
    x = gc.input("x", ("n",))
    for dtype, streamed_by in (("bool", twice), ("int16", twice), ("float32", True), ("float64", True)):
        f = gc.compile([x], x > 0.5 if dtype == "bool" else (x * 2.0).astype(dtype), options=COLD)
        assert calls(f) == streamed_by
        for n in BORDERS:
            a = drawn((n,), "float64")
            assert np.array_equal(f(a), a > 0.5 if dtype == "bool" else (a * 2).astype(dtype))


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("step", [2, -3])
def test_elements_with_a_step_between_them(step: int, twice: bool, in_lines: bool) -> None:
    x = gc.input("x", ("n",), gc.float32)
    f = gc.compile([x], x[::step] * 2.0, options=COLD)
    for n in BORDERS:
        assert np.array_equal(f(drawn((n,), "float32")), drawn((n,), "float32")[::step] * 2)
    piece = 128 if twice else 64
    assert f"stream_f4(least({piece}, " in f.source
    asked = [f"{kernel}_{piece // 8}(" in f.source for kernel in ("fetch_lines", "fetch_near")]
    assert asked == [step == 2 and in_lines, step == 2 and not in_lines]


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_lines_of_as_many_arrays_are_asked_for_as_the_processor_does_not_foresee(
    count: int, busy: bool, twice: bool
) -> None:
    """What is asked for lies behind the arrays' ends in the last pieces."""
    for size, lengths in (("n", BORDERS), (20_000, (20_000,)), (40_001, (40_001,))):
        xs = [gc.input("abc"[k], (size,), "float32") for k in range(count)]
        f = gc.compile(xs, added(xs, 10 if busy else 1), options=COLD)
        two = twice if has_many_registers() else busy
        assert ("fetch_lines" in f.source) == (count <= (2 if two else 1))
        for n in lengths:
            arrays = [drawn((n,), "float32", k) for k in range(count)]
            assert np.array_equal(f(*arrays), added(arrays, 10 if busy else 1))


def added(xs: list[Any], times: int) -> Any:
    return sum(xs[1:] * times, xs[0] * 2) if xs[1:] else xs[0] * 2


@pytest.mark.usefixtures("little")
def test_strided_reversed_and_joined_arrays_go_by_pieces_on_the_stack() -> None:
    x, y = gc.input("x", ("n",), "float32"), gc.input("y", ("n",), "float32")
    f = gc.compile([x, y], (x[::2] * 2.0, x[::-1] + y, gc.concatenate([x, y]) * 3.0), options=COLD)
    assert "store_lines_" not in f.source
    assert calls(f) == 3
    for n in BORDERS:
        a, b = drawn((n,), "float32"), drawn((n,), "float32", 1)
        wanted = a[::2] * np.float32(2), a[::-1] + b, np.concatenate([a, b]) * np.float32(3)
        for found, want in zip(f(a, b), wanted, strict=True):
            assert np.array_equal(found, want)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("narrow", ["bool", "int8", "int16", "float32"])
def test_a_narrow_array_beside_a_wide_one(narrow: str) -> None:
    """A piece has so few elements of the narrow one that they are no whole line."""
    x, y = gc.input("x", ("n",), narrow), gc.input("y", ("n",), "float64")
    f = gc.compile([x, y], (gc.astype(x, "float64") * 2.0, gc.where(x != 0, y, -y)), options=COLD)
    assert calls(f) >= 1
    for n in (1, 31, 33, 1_000, 16_385):
        a, b = drawn((n,), narrow), drawn((n,), "float64", 1)
        for found, wanted in zip(f(a, b), (a.astype("float64") * 2.0, np.where(a != 0, b, -b)), strict=True):
            assert np.array_equal(found, wanted)
