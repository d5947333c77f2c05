"""Matrix products against NumPy in float64: any shape, strides and tile, between pages that may not be touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from fenced import fenced
from numba import njit, types
from numpy.typing import NDArray

from graphc.codegen.intrinsics import gemm
from graphc.codegen.intrinsics.gemm import (
    collect,
    deal,
    dots,
    dots_tile,
    host_vector_bytes,
    micro,
    micro_transposed,
    pack,
    sweep,
    tail_of,
    tile,
)
from graphc.codegen.intrinsics.target import host_vector_registers
from graphc.codegen.views import up

Array = NDArray[Any]
DTYPES = ("float32", "float64")
TILES = ((6, 4), (16, 1), (3, 3), (1, 8))
ASKING = ((6, 2, "asking_rows"), (4, 4, "asking_lines"), (16, 1, "asking_ahead"), (6, 2, "asking_ahead"))
PANELS = ((8, 3, "panel"), (6, 4, "panel"), (12, 2, "panel"), (16, 1, "panel"))  # beside contiguous rows of A
PACKING = ((8, 3, "packing"), (6, 4, "packing"), (5, 1, "packing"))  # and of B
EXCHANGED = ((10, 2), (3, 1))
DOTS = ((4, 5), (2, 8), (1, 1), (8, 1), (4, 3, "rows_in_turn"), (8, 1, "rows_in_turn"), (2, 5, "columns_in_turn"))


def placed(values: Array, strides: tuple[int, ...], at_end: bool) -> Array:
    """A copy of the values with these strides, in fenced memory; the bytes between them are 0xFF (a NaN)."""
    spans = [(n - 1) * stride for n, stride in zip(values.shape, strides, strict=True)]
    low, high = sum(min(0, span) for span in spans), sum(max(0, span) for span in spans) + values.itemsize
    memory = fenced(high - low, at_end)
    memory[:] = 0xFF
    array: Array = np.ndarray(values.shape, values.dtype, memory, -low, strides)
    array[...] = values
    return array


@cache
def tiles(dtype: str, MR: int, NV: int, more: str = "", tail: int | None = None) -> Callable[..., None]:
    """The loop over rows that a text has around `micro`."""
    if more == "packing":
        return packing_tiles(dtype, MR, NV, tail)
    multiply = micro(dtype, MR, NV, tail, more)

    @njit([types.void(*[types.int64] * 11)])
    def run(
        M: int, cols: int, K: int, a: int, a_row: int, a_col: int, b: int, b_row: int, c: int, c_row: int, add: int
    ) -> None:
        for i in range(0, M, MR):
            multiply(min(MR, M - i), cols, K, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add)

    return run


def packing_tiles(dtype: str, MR: int, NV: int, tail: int | None) -> Callable[..., None]:
    """The same around a first tile that fills a panel with B, and the others, which read it there."""
    fill, multiply = micro(dtype, MR, NV, tail, "packing"), micro(dtype, MR, NV, tail, "panel")
    width = NV * host_vector_bytes()

    @njit([types.void(*[types.int64] * 12)])
    def run(
        M: int, cols: int, K: int, a: int, a_row: int, a_col: int, b: int, b_row: int, c: int, c_row: int, add: int,
        panel: int,
    ) -> None:  # fmt: skip
        fill(min(MR, M), cols, K, a, a_row, a_col, b, b_row, c, c_row, add, panel)
        for i in range(MR, M, MR):
            multiply(min(MR, M - i), cols, K, a + i * a_row, a_row, a_col, panel, width, c + i * c_row, c_row, add)

    return run


@cache
def exchanged_product(dtype: str, MR: int, NV: int) -> Callable[..., None]:
    """The loops around `micro_transposed`, for an A whose columns are contiguous."""
    size = np.dtype(dtype).itemsize
    NR = NV * host_vector_bytes() // size
    multiply = micro_transposed(dtype, MR, NV)

    @njit([types.void(*[types.int64] * 10)])
    def run(M: int, N: int, K: int, a: int, a_col: int, b: int, b_row: int, b_col: int, c: int, c_row: int) -> None:
        for i in range(0, M, NR):
            for j in range(0, N, MR):
                rows, cols, c_ij = min(MR, N - j), min(NR, M - i), c + i * c_row + j * size
                multiply(rows, cols, K, b + j * b_col, b_col, b_row, a + i * size, a_col, c_ij, c_row)

    return run


@cache
def transposed_product(dtype: str, MR: int, NR: int, more: str = "") -> Callable[..., None]:
    """The loops around `dots`."""
    size, multiply = np.dtype(dtype).itemsize, dots(dtype, MR, NR, more)

    @njit([types.void(*[types.int64] * 10)])
    def run(
        M: int, N: int, K: int, a: int, a_row: int, b: int, b_col: int, c: int, c_row: int, accumulate: int
    ) -> None:
        for j in range(0, N, NR):
            for i in range(0, M, MR):
                rows, cols, c_ij = min(MR, M - i), min(NR, N - j), c + i * c_row + j * size
                multiply(rows, cols, K, a + i * a_row, a_row, b + j * b_col, b_col, c_ij, c_row, accumulate)

    return run


@cache
def packing(dtype: str, width: int, way: str = "") -> Callable[..., None]:
    copy = pack(dtype, width, way)

    @njit([types.void(*[types.int64] * 6)])
    def run(K: int, cols: int, b: int, b_row: int, b_col: int, p: int) -> None:
        copy(K, cols, b, b_row, b_col, p)

    return run


def layouts(rows: int, cols: int, size: int) -> list[tuple[int, int]]:
    """Strides of a matrix: by rows, by columns, each with gaps, neither contiguous, and backwards."""
    return [
        (cols * size, size), (size, rows * size), ((cols + 3) * size, size), (size, (rows + 5) * size),
        (2 * cols * size, 2 * size), (-cols * size, size), (size, -rows * size), (cols * size, -size),
    ]  # fmt: skip


def assert_product(c: Array, before: Array, a: Array, b: Array, accumulate: int) -> None:
    """Within the rounding of a chain of K multiply-adds, and the bytes between the rows of C as they were."""
    wide_a, wide_b = a.astype(float), b.astype(float)
    expected, size = wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b)
    if accumulate:
        expected, size = expected + before, size + np.abs(before)
    bound = (a.shape[1] + 2) * np.finfo(c.dtype).eps * size
    assert (np.abs(c - expected) <= bound).all()
    assert c.base is not None
    gaps = np.ones(c.base.size, bool)
    for i in range(c.shape[0]):
        gaps[i * c.strides[0] : i * c.strides[0] + c.shape[1] * c.itemsize] = False
    assert (c.base[gaps] == 0xFF).all()


def operands(rng: np.random.Generator, dtype: str, M: int, N: int, K: int) -> tuple[Array, Array, Array]:
    """A [M, K], B [K, N] and C [M, N] of random layouts, C with gaps between its rows."""
    size, at_end = np.dtype(dtype).itemsize, bool(rng.integers(2))
    a, b = (
        placed(rng.standard_normal(shape).astype(dtype), layouts(*shape, size)[rng.integers(8)], at_end)
        for shape in ((M, K), (K, N))
    )
    c = placed(rng.standard_normal((M, N)).astype(dtype), ((N + int(rng.integers(4))) * size, size), at_end)
    return a, b, c


def multiply(dtype: str, shape: tuple[Any, ...], a: Array, b: Array, c: Array, KC: int, accumulate: int) -> None:
    """C = A @ B by tiles of this shape, the sum in blocks of KC.

    B is packed before, unless its rows are contiguous and K is even (to try both ways), or tiles do so themselves.
    """
    (M, K), N, (b_row, b_col) = a.shape, b.shape[1], b.strides
    width = shape[1] * host_vector_bytes()
    NR, run = width // c.itemsize, tiles(dtype, *shape)
    by_tile = "packing" in shape
    in_place = by_tile or (b_col == b.itemsize and K % 2 == 0 and "panel" not in shape)
    panel = fenced(min(K, KC) * width, True)
    for k in range(0, K, KC):
        depth, a_k = min(KC, K - k), a.ctypes.data + k * a.strides[1]
        for j in range(0, N, NR):
            cols, place, step = min(NR, N - j), b.ctypes.data + k * b_row + j * b_col, b_row
            if not in_place:
                packing(dtype, NR)(depth, cols, place, b_row, b_col, panel.ctypes.data)
                place, step = panel.ctypes.data, width
            c_j = c.ctypes.data + j * c.itemsize
            own = (panel.ctypes.data,) if by_tile else ()
            run(M, cols, depth, a_k, *a.strides, place, step, c_j, c.strides[0], accumulate + k, *own)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products(dtype: str) -> None:
    """Every tile shape and every blocking of K computes the same bits; of some large ones, too."""
    rng = np.random.default_rng(0)
    for number in range(126):
        M, N, K = (int(n) for n in rng.integers(1, 41 if number < 120 else 200, 3))
        a, b, c = operands(rng, dtype, M, N, K)
        before, accumulate, first = c.copy(), int(rng.integers(2)), None
        tails = [(height, width, "", tail_of(dtype, N, width)) for height, width in ((3, 3), (4, 1))]
        shapes = [*TILES, *ASKING, *tails]
        if a.strides[1] == a.itemsize:
            ways = [("panel", PANELS), ("packing", PACKING)]
            for more, shapes_of_panel in ways if b.strides[1] == b.itemsize else ways[:1]:
                shapes += [*shapes_of_panel, *((height, width, more, tail) for height, width, _, tail in tails)]
        for shape in shapes:
            c[...] = before
            multiply(dtype, shape, a, b, c, int(rng.choice([K, 1 + K // 3])), accumulate)
            assert c.base is not None
            if first is None:
                assert_product(c, before, a, b, accumulate)
                first = c.base.copy()
            assert c.base.tobytes() == first.tobytes()  # the bytes between rows, too


@pytest.mark.parametrize("dtype", DTYPES)
def test_exchanged_products(dtype: str) -> None:
    """`micro_transposed` computes the bits of `micro`."""
    rng, size = np.random.default_rng(4), np.dtype(dtype).itemsize
    for _ in range(80):
        M, N, K = (int(n) for n in rng.integers(1, 41, 3))
        _, b, c = operands(rng, dtype, M, N, K)
        gap, at_end = int(rng.integers(4)) * size, bool(rng.integers(2))
        a = placed(rng.standard_normal((M, K)).astype(dtype), (size, M * size + gap), at_end)
        multiply(dtype, TILES[0], a, b, c, K, 0)
        expected = c.copy()
        for shape in EXCHANGED:
            c[...] = np.nan
            where = (a.ctypes.data, a.strides[1], b.ctypes.data, *b.strides, c.ctypes.data, c.strides[0])
            exchanged_product(dtype, *shape)(M, N, K, *where)
            assert_product(c, c, a, b, 0)
            np.testing.assert_array_equal(c, expected)


@cache
def swept_product(dtype: str, rows: int, M: int) -> Callable[..., None]:
    multiply = sweep(dtype, rows, M, rows % 3)

    @njit([types.void(*[types.int64] * 9)])
    def run(N: int, K: int, a: int, a_row: int, a_col: int, b: int, b_row: int, c: int, c_row: int) -> None:
        multiply(N, K, a, a_row, a_col, b, b_row, c, c_row)

    return run


@pytest.mark.parametrize(("rows", "M"), [(1, 1), (3, 1), (8, 1), (4, 2), (4, 12)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_swept_products(dtype: str, rows: int, M: int) -> None:
    """`sweep` computes the bits of `micro`."""
    rng, size = np.random.default_rng(5), np.dtype(dtype).itemsize
    for _ in range(100):
        N, K = (int(n) for n in rng.integers(1, 70, 2))
        a, _, c = operands(rng, dtype, M, N, K)
        row = (N + int(rng.integers(3))) * size * int(rng.choice([1, -1]))
        b = placed(rng.standard_normal((K, N)).astype(dtype), (row, size), bool(rng.integers(2)))
        multiply(dtype, TILES[0], a, b, c, K, 0)
        expected, c[...] = c.copy(), np.nan
        where = (a.ctypes.data, *a.strides, b.ctypes.data, b.strides[0], c.ctypes.data, c.strides[0])
        swept_product(dtype, rows, M)(N, K, *where)
        assert_product(c, c, a, b, 0)
        np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed_products(dtype: str) -> None:
    """`dots`: the bits of an element depend neither on the tile, nor on what is read in turn, nor on where C lies."""
    rng, size = np.random.default_rng(2), np.dtype(dtype).itemsize
    for case in range(100):
        M, N, K = (int(n) for n in rng.integers(1, 41 if case < 90 else 200, 3))
        N = 1 if case % 4 == 0 else N
        _, _, c = operands(rng, dtype, M, N, K)
        gap, at_end = int(rng.integers(4)) * size, bool(rng.integers(2))
        a = placed(rng.standard_normal((M, K)).astype(dtype), (K * size + gap, size), at_end)
        b = placed(rng.standard_normal((K, N)).astype(dtype), (size, K * size + gap), at_end)
        before, accumulate, first = c.copy(), int(rng.integers(2)), None
        for shape in DOTS:
            c[...] = before
            where = (a.ctypes.data, a.strides[0], b.ctypes.data, b.strides[1], c.ctypes.data, c.strides[0])
            transposed_product(dtype, *shape)(M, N, K, *where, accumulate)
            assert_product(c, before, a, b, accumulate)
            first = c.copy() if first is None else first
            np.testing.assert_array_equal(c, first)


@cache
def tile_call(name: str, dtype: str, shape: tuple[int, int], count: int, more: str = "nested") -> Callable[..., None]:
    """One call of a tile, with as many arguments as it takes."""
    multiply = getattr(gemm, name)(dtype, *shape, more=more)
    names = ", ".join(f"n{k}" for k in range(count))
    scope: dict[str, Any] = {"multiply": multiply}
    exec(f"def run({names}):\n    multiply({names})", scope)
    return njit([types.void(*[types.int64] * count)])(scope["run"])  # type: ignore[no-any-return]


def stacked(rng: np.random.Generator, dtype: str, shape: tuple[int, int, int], backwards: bool = False) -> Array:
    """Matrices with rows that are contiguous, which follow one another with gaps or overlap as windows do."""
    _, rows, cols = shape
    size, row = np.dtype(dtype).itemsize, (cols + int(rng.integers(3))) * np.dtype(dtype).itemsize
    step = (rows * row + size) * (-1 if backwards else 1)
    return placed(rng.standard_normal(shape).astype(dtype), (step, row, size), bool(rng.integers(2)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_sums_in_two_loops(dtype: str, count: int) -> None:
    """Of `micro` and `micro_transposed` the bits are those of one product after the other."""
    rng, lanes = np.random.default_rng(count), host_vector_bytes() // np.dtype(dtype).itemsize
    for _ in range(20):
        (M, N, K), accumulate = (int(n) for n in rng.integers(1, (7, 2 * lanes + 1, 20))), int(rng.integers(2))
        a, b = stacked(rng, dtype, (count, M, K)), stacked(rng, dtype, (count, K, N), backwards=True)
        c = placed(rng.standard_normal((M, N)).astype(dtype), (N * c_size(dtype), c_size(dtype)), True)
        before, one = c.copy(), tile_call("micro", dtype, (6, 2), 11, more="")
        at_a, at_b, at_c = ([v.ctypes.data, *v.strides] for v in (a, b, c))
        tail = (count, at_a[1], at_b[1])
        where = (at_a[0], *at_a[2:], at_b[0], at_b[2], at_c[0], at_c[1])
        expected = before * accumulate
        for o in range(count):
            one(M, N, K, at_a[0] + o * at_a[1], *at_a[2:], at_b[0] + o * at_b[1], *where[4:], accumulate + o)
            expected = c.copy()
        c[...] = before
        tile_call("micro", dtype, (6, 2), 14)(M, N, K, *where, accumulate, *tail)
        np.testing.assert_array_equal(c, expected)
        if not accumulate:
            columns = placed(np.full((N, M), np.nan, dtype).T, (c_size(dtype), M * c_size(dtype)), True)
            exchanged = (*where[:5], columns.ctypes.data, columns.strides[1])
            tile_call("micro_transposed", dtype, (6, 2), 13)(M, N, K, *exchanged, *tail)
            np.testing.assert_array_equal(columns, expected)
        dotted = stacked(rng, dtype, (count, min(N, 5), K))
        near = placed(before[:, :5].copy(), c.strides, True)
        far = (dotted.ctypes.data, dotted.strides[1], near.ctypes.data, near.strides[0])
        call = tile_call("dots", dtype, (6, 5), 13)
        call(M, min(N, 5), K, *at_a[:1], at_a[2], *far, accumulate, count, at_a[1], dotted.strides[0])
        right = np.einsum("omk,onk->mn", a.astype(float), dotted.astype(float)) + before[:, :5] * accumulate
        np.testing.assert_allclose(near, right, rtol=0, atol=1e4 * np.finfo(dtype).eps)


def c_size(dtype: str) -> int:
    return np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 3, 8, 12, 16, 17, 24, 64])
def test_panels(dtype: str, width: int) -> None:
    """A panel holds B and zeros beyond it, for every layout and every number of columns, whatever is known of it."""
    rng, size = np.random.default_rng(3), np.dtype(dtype).itemsize
    for cols in range(1, width + 1, max(1, width // 16)):
        K = int(rng.integers(1, 41))
        values = rng.standard_normal((K, cols)).astype(dtype)
        for strides in layouts(K, cols, size):
            b = placed(values, strides, bool(rng.integers(2)))
            contiguous = [way for way, step in zip(("columns", "rows"), strides, strict=True) if step == size]
            for way in ("", "elements", *contiguous):
                panel = placed(np.full((K, width), np.nan, dtype), (width * size, size), bool(rng.integers(2)))
                packing(dtype, width, way)(K, cols, b.ctypes.data, *b.strides, panel.ctypes.data)
                np.testing.assert_array_equal(panel, np.pad(values, ((0, 0), (0, width - cols))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 10, 15, 16])
def test_rows_are_dealt(dtype: str, count: int) -> None:
    """Columns hold B's, up to a whole vector; nothing else is read of B, whatever its rows' steps, or written."""
    rng, size = np.random.default_rng(4), np.dtype(dtype).itemsize
    lanes = host_vector_bytes() // size
    for K in (0, 1, 2, lanes - 1, lanes, lanes + 1, 3 * lanes - 1):
        pitch = up(K, lanes) + lanes
        copy = deal(dtype, count, pitch)

        @njit([types.void(*[types.int64] * 5)])
        def run(K: int, there: int, b: int, b_row: int, p: int) -> None:
            copy(K, there, b, b_row, p)  # noqa: B023

        values = rng.standard_normal((max(K, 1), count)).astype(dtype)
        for step in (count, count + 3, -count):
            b = placed(values, (step * size, size), bool(rng.integers(2)))
            columns = placed(np.full((count, pitch), np.nan, dtype), (pitch * size, size), bool(rng.integers(2)))
            run(K, K, b.ctypes.data, b.strides[0], columns.ctypes.data)
            np.testing.assert_array_equal(columns[:, :K], values[:K].T)
            assert np.isnan(columns[:, up(K, lanes) :]).all()
            for there in range(1, K):
                run(K, there, b[:there].ctypes.data, b.strides[0], columns.ctypes.data)
                np.testing.assert_array_equal(columns[:, :K], values[np.minimum(np.arange(K), there - 1)].T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 10, 15, 16])
def test_columns_are_collected(dtype: str, count: int) -> None:
    """Rows hold the columns' elements, whatever their steps; nothing else is written."""
    rng, size, pitch = np.random.default_rng(4), np.dtype(dtype).itemsize, 64
    copy = collect(dtype, count, pitch)

    @njit([types.void(*[types.int64] * 4)])
    def run(K: int, p: int, b: int, b_row: int) -> None:
        copy(K, p, b, b_row)

    for K in (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33):
        values = rng.standard_normal((count, pitch)).astype(dtype)
        for step in (count, count + 3, -count - 1):
            columns = placed(values, (pitch * size, size), bool(rng.integers(2)))
            b = placed(np.full((max(K, 1), count), np.nan, dtype), (step * size, size), bool(rng.integers(2)))
            run(K, columns.ctypes.data, b.ctypes.data, b.strides[0])
            np.testing.assert_array_equal(b[:K], values[:, :K].T)
            assert K > 0 or np.isnan(b).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_terms(dtype: str) -> None:
    """With K = 0 the product is zero, or C as it was."""
    size = np.dtype(dtype).itemsize
    single = np.ones((1, 1), dtype)
    multiply_tile, dot_tile = micro(dtype, 6, 4), dots(dtype, 4, 5)

    @njit([types.void(types.int64, types.int64, types.int64, types.int64)])
    def run(a: int, c: int, c_row: int, accumulate: int) -> None:
        multiply_tile(3, 5, 0, a, 0, 0, a, 0, c, c_row, accumulate)
        dot_tile(3, 5, 0, a, 0, a, 0, c, c_row, accumulate)

    for accumulate in (1, 0):
        c = placed(np.ones((3, 5), dtype), (5 * size, size), True)
        run(single.ctypes.data, c.ctypes.data, c.strides[0], accumulate)
        np.testing.assert_array_equal(c, np.full((3, 5), accumulate, dtype))


def test_one_body() -> None:
    """Calls of one intrinsic share one function of the module, also across njit functions that call each other."""
    multiply_tile = micro("float32", 2, 1)

    @njit([types.void(types.int64)])
    def inner(a: int) -> None:
        multiply_tile(1, 1, 1, a, 4, 4, a, 4, a, 4, 0)

    @njit([types.void(types.int64)])
    def outer(a: int) -> None:
        inner(a)
        multiply_tile(1, 1, 1, a, 4, 4, a, 4, a, 4, 0)
        multiply_tile(1, 1, 1, a, 4, 4, a, 4, a, 4, 1)

    (text,) = outer.inspect_llvm().values()
    bodies = [line for line in text.splitlines() if line.startswith("define") and "@graphc_micro_f32_2x1" in line]
    assert len(bodies) == 1
    one = np.full(1, 3, np.float32)
    inner(one.ctypes.data)
    assert one[0] == 9


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_fit(dtype: str) -> None:
    """A tile fits the registers and is not much taller than the product."""
    for rows in (None, 1, 2, 3, 10, 32, 128, 784):
        for columns in (None, 1, 10, 16, 17, 48, 80, 512):
            for height, width, *_ in (tile(dtype, columns, rows), dots_tile(columns, rows)):
                assert height * width + 2 < host_vector_registers()
                assert rows is None or height < 2 * rows


@pytest.mark.parametrize("features", ["+avx,+avx2,+fma", ""])
def test_narrower_vectors(features: str) -> None:
    """The same tests on a machine without AVX-512, and without AVX."""
    if os.environ.get("NUMBA_CPU_NAME") or host_vector_bytes() < 64:
        pytest.skip("already narrow")
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
    command = [sys.executable, "-m", "pytest", "-q", "-x", __file__, "-k", "float32 and (products or panels)"]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
