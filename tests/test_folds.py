"""Folds of what lies in memory, beside NumPy: along rows, down columns, of all; every border of vectors and parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from support import seeded

import graphc as gc

DTYPES = ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FOLDS = ["sum", "prod", "max", "min"]
INF, NAN = np.inf, np.nan


def drawn(shape: tuple[int, ...], dtype: str) -> Any:
    """Floats that are added and multiplied exactly; integers, which wrap."""
    rng = seeded("folds", shape, dtype)
    if dtype.startswith("float"):
        return rng.choice([1.0, -1.0, 2.0], shape, p=[0.5, 0.49, 0.01]).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def offset(array: Any, nbytes: int) -> Any:
    """The same, in memory that begins so many bytes behind a page."""
    room = np.empty(array.nbytes + 8192, np.uint8)
    start = -room.ctypes.data % 4096 + nbytes
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def all_ways(fold: Callable[..., Any], x: Any) -> tuple[Any, Any, Any]:
    return fold(x, axis=0), fold(x, axis=1), fold(x)


def check(name: str, arrays: list[Any], symbolic: bool = False) -> None:
    shape = ("n", "m") if symbolic else arrays[0].shape
    x = gc.input("x", shape, str(arrays[0].dtype))
    f = gc.compile([x], all_ways(getattr(gc, name), x))
    for a in arrays:
        with np.errstate(all="ignore"):
            wanted = all_ways(getattr(np, name), a)
        for found, want in zip(f(a), wanted, strict=True):
            want = np.asarray(want).astype(found.dtype)
            np.testing.assert_array_equal(found, want, err_msg=str((a.shape, a.dtype, a.ctypes.data % 64)))


def check_zeros(name: str, found: Any, a: Any, axis: int | None) -> None:
    """-0 is less than 0, which NumPy leaves open."""
    zeros = {sign: ((a == 0) & (np.signbit(a) == sign)).any(axis=axis) for sign in (False, True)}
    negative = zeros[True] if name == "min" else ~zeros[False]
    is_zero = np.asarray(found == 0)
    np.testing.assert_array_equal(np.signbit(found)[is_zero], np.asarray(negative)[is_zero])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FOLDS)
def test_sizes_known_at_run_time(name: str, dtype: str) -> None:
    """Any number of rows is cut into parts, any number of columns into vectors."""
    shapes = [(1, 1), (2, 3), (3, 64), (4, 65), (5, 127), (7, 128), (8, 129), (9, 1000), (31, 16), (33, 15), (130, 257)]
    check(name, [drawn(shape, dtype) for shape in (*shapes, (2, 20_001))], symbolic=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FOLDS)
@pytest.mark.parametrize("shape", [(1, 1), (37, 1), (70, 10), (6, 16), (41, 64), (9, 100), (5, 257), (8, 1024), (0, 3)])
def test_sizes_known_before(name: str, dtype: str, shape: tuple[int, int]) -> None:
    """Few columns are folded in registers."""
    if shape[0] or name in ("sum", "prod"):
        check(name, [drawn(shape, dtype)])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
@pytest.mark.parametrize("name", FOLDS)
def test_arrays_anywhere_in_a_line(name: str, dtype: str) -> None:
    """Rows whose lines end alike are read line by line, from wherever they begin."""
    size = np.dtype(dtype).itemsize
    places = [k * size for k in (0, 1, 3, 64 // size - 1)]
    check(name, [offset(drawn(s, dtype), place) for s in ((13, 512), (12, 2048)) for place in places], symbolic=True)


@pytest.mark.parametrize("columns", [5, 16, 40, 300, 1024, 4_095, 8_192, 8_203, 17_001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["max", "min"])
def test_one_nan_or_zero_anywhere(name: str, dtype: str, columns: int) -> None:
    """Extremes are taken by an instruction that ignores NaN and the sign of zero, then looked at once more.

    Of 64 KB and more four parts are read at the same time, and what is left after them.
    """
    rng, better = seeded("nan", name, dtype, columns), {"max": -1.0, "min": 1.0}[name]
    x = gc.input("x", (19, columns), dtype)
    f = gc.compile([x], all_ways(getattr(gc, name), x))
    for fills in ((NAN,), (0.0, -0.0), (INF, -INF), (NAN, INF, -INF), (-0.0,), (better * INF,)):
        for _ in range(30):
            a = (better * rng.uniform(1, 2, (19, columns))).astype(dtype)
            for fill in fills:
                a[rng.integers(19), rng.integers(columns)] = fill
            if rng.random() < 0.2:
                a[:, rng.integers(columns)] = fills[0]
            for found, axis in zip(f(a), (0, 1, None), strict=True):
                np.testing.assert_array_equal(found, getattr(np, name)(a, axis=axis))
                check_zeros(name, found, a, axis)


NUMBERS = itertools.product(("sum", "mean", "max", "min"), ("float32", "float64", "int32"))
NAMES = [*NUMBERS, ("any", "bool")]


@pytest.mark.parametrize(("name", "dtype"), NAMES)
def test_rows_that_are_folded_two_at_a_time_have_the_bits_of_each_alone(name: str, dtype: str) -> None:
    """Of any number, in every chunk, turned round and with steps between them, with more done to what they come to.

    Each of these is combined with each shape for some of the folds.
    """
    fold, views = getattr(gc, name), (slice(None, None, -1), slice(None, None, 2), slice(1, None))
    shapes = ((2, 1_000), (3, 1_001), (15, 1_024), (33, 1_024), (101, 700), (40, 4_000), (9, 7_001))
    for number, (rows, columns) in enumerate(shapes, NAMES.index((name, dtype))):
        a = seeded("rows", name, dtype, rows).normal(size=(rows, columns)) * 100
        a = (a > 280) if dtype == "bool" else a.astype(dtype)
        x, row = gc.input("x", a.shape, dtype), gc.input("row", (columns,), dtype)
        wanted = np.stack([gc.compile([row], fold(row))(r) for r in a])
        if rows >= 15 and columns <= 1_024 and dtype.startswith("float"):
            assert "rows_" in gc.compile([x], fold(x, axis=1)).source
        for view in (slice(None), views[number % 3]):
            np.testing.assert_array_equal(gc.compile([x], fold(x[view], axis=1))(a), wanted[view])
        found = gc.compile([x], gc.where(fold(x, axis=1) > wanted[0], 3, 5))(a)
        np.testing.assert_array_equal(found, np.where(wanted > wanted[0], 3, 5))


@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (70, 64), (9, 1000), (33, 4097), (1, 20_000), (20_000, 1)])
@pytest.mark.parametrize("name", ["any", "all"])
def test_bools(name: str, shape: tuple[int, int]) -> None:
    """One element of the other kind, or none."""
    rng = seeded("bools", name, shape)
    a = np.full(shape, name == "all")
    x = gc.input("x", ("n", "m"), "bool")
    f = gc.compile([x], all_ways(getattr(gc, name), x))
    for _ in range(8):
        for found, wanted in zip(f(a), all_ways(getattr(np, name), a), strict=True):
            np.testing.assert_array_equal(found, wanted)
        a = np.full(shape, name == "all")
        a[rng.integers(shape[0]), rng.integers(shape[1])] ^= True


@pytest.mark.parametrize("shape", [(60, 1200), (1000, 64), (16_384, 512)])
def test_integers_that_are_computed(shape: tuple[int, int]) -> None:
    """Counts, and folds of what a nest computes, beside those of what lies in memory."""
    x, y = gc.input("x", shape, "float32"), gc.input("y", shape, "int64")
    a, b = drawn(shape, "float32"), seeded("computed").integers(-9, 9, shape)
    computed = {"sum": (x > 0, a > 0), "any": (x > 1, a > 1), "all": (x < 2, a < 2), "max": (3 - y, 3 - b)}
    for name, (declared, values) in {**computed, "min": (y, b)}.items():
        f = gc.compile([x, y], all_ways(getattr(gc, name), declared))
        for found, wanted in zip(f(a, b), all_ways(getattr(np, name), values), strict=True):
            np.testing.assert_array_equal(found, wanted, err_msg=name)


def test_rows_that_are_apart_and_rows_read_backwards() -> None:
    """Columns of parts of an array whose rows do not follow one another, or are taken from the last to the first."""
    a = drawn((40, 700), "float32")
    x = gc.input("x", a.shape, "float32")
    for part in (np.s_[3:37, 5:600], np.s_[::3, 2:18], np.s_[::-1, :], np.s_[30:2:-2, 100:164]):
        for name in FOLDS:
            found = gc.compile([x], getattr(gc, name)(x[part], axis=0))(a)
            np.testing.assert_array_equal(found, getattr(np, name)(a[part], axis=0), err_msg=f"{name} {part}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("known", [False, True])
def test_infinities_and_zeros_in_the_blocks_of_a_total(known: bool, dtype: str) -> None:
    """Blocks are folded two at a time, and what is left after them, which may be nothing."""
    for n in (0, 1, 1_023, 2_047, 2_048, 2_049, 3_072, 16_384, 16_385, 33_000):
        x = gc.input("x", (n if known else "n",), dtype)
        added, multiplied = gc.compile([x], gc.sum(x)), gc.compile([x], gc.prod(x))
        assert ("rows_" in added.source) == (not known or n >= 2_048)
        for fills in ((), (INF,), (INF, -INF), (NAN,), (0.0,)):
            for first in (0, n // 2, n - 1) if n else ():
                a = seeded("totals", n, first).choice([1.0, -1.0], n).astype(dtype)
                for k, fill in enumerate(fills):
                    a[(first + k * 1_024) % n] = fill
                with np.errstate(all="ignore"):
                    wanted = np.sum(a), np.prod(a)
                np.testing.assert_array_equal((added(a), multiplied(a)), wanted)
        zeros = np.zeros(n, dtype)
        assert (added(zeros), multiplied(zeros)) == (0, 0 if n else 1)


def test_what_else_the_loop_makes_of_elements_is_made() -> None:
    """Rows and blocks are given to a kernel only where there is nothing else to do."""
    rng = seeded("beside")
    a, table, k = rng.normal(size=(64, 800)), rng.normal(size=(500, 800)), rng.integers(0, 500, 64)
    x, t, at = gc.input("x", a.shape), gc.input("t", table.shape), gc.input("k", (64,), "int64")
    others = {
        "joined": (gc.concatenate([x[:32], x[32:] * 1]), a),
        "turned": (x[::-1], a[::-1]),
        "padded": (gc.pad(x[:, 1:], ((0, 0), (1, 0))), np.pad(a[:, 1:], ((0, 0), (1, 0)))),
        "spread": (gc.broadcast_to(x[0], (64, 800)), np.broadcast_to(a[0], (64, 800))),
        "counted": (gc.reshape(gc.arange(51_200), (64, 800)), np.arange(51_200).reshape(64, 800)),
        "gathered": (t[at], table[k]),
        "computed": (x * 2, a * 2),
        "folded": (gc.max(x, axis=1), a.max(axis=1)),
    }
    for name, (other, wanted) in others.items():
        for fold, axis in ((gc.sum, 1), (gc.max, 1), (gc.sum, None)):
            f = gc.compile([x, t, at], (fold(x, axis=axis), other))
            found, beside = f(a, table, k)
            np.testing.assert_allclose(found, getattr(np, fold.__name__)(a, axis=axis), rtol=1e-12, err_msg=name)
            np.testing.assert_allclose(beside, wanted, rtol=1e-15, err_msg=name)


@pytest.mark.parametrize("known", [False, True])
def test_chunks_of_many_elements_are_longer(known: bool) -> None:
    """From two million elements on, up to 16 times as long: at their ends, and in the middle."""
    for n, chunks in ((2_097_151, 128), (2_097_152, 64), (5_000_003, 78), (17_000_000, 66)):
        x = gc.input("x", (n if known else "n",), "int8")
        f = gc.compile([x], (gc.max(x), gc.argmax(x), gc.sum(x)))
        assert f" {chunks} chunks" in f.explain() or not known
        a = np.zeros(n, np.int8)
        for at in (n - 1, n - 2, n // 2, 262_144, 262_143, 32_768, 16_383, 0):
            a[at] = a.max() + 1
            assert f(a) == (a[at], at, a.sum(dtype=np.int8))


def over_first_and_last(xp: Any, logsumexp: Any, x: Any) -> list[Any]:
    """Seven numbers a column wait to be joined with what chunks or rows before have come to."""
    axis = (0, x.ndim - 1)
    return [xp.var(x, axis=axis), logsumexp(x, axis), xp.sum(x, axis=axis), xp.max(x, axis=axis)]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [(1,), (145,), (146,), (147,), (513,), (1100,), (5, 3), (2, 150)])
def test_columns_of_what_several_rows_come_to(columns: tuple[int, ...], dtype: str, known: bool) -> None:
    """They are joined some at a time, of an array and of what is computed; several axes of them do not merge."""
    values = seeded("columns", columns, dtype).normal(size=(4, *columns, 6)).astype(dtype)
    scale = np.linspace(1, 2, columns[-1], dtype=dtype)[:, None]
    x = gc.input("x", values.shape if known else (4, *"nm"[: len(columns)], 6), dtype)
    s = gc.input("s", scale.shape if known else ("nm"[len(columns) - 1], 1), dtype)
    outputs = [r for a in (x, x * s) for r in over_first_and_last(gc, gc.logsumexp, a)]
    wanted = [r for a in (values, values * scale) for r in over_first_and_last(np, scipy.special.logsumexp, a)]
    for debug in (False, True) if sum(columns) < 9 else (False,):
        f = gc.compile([x, s], outputs, options=gc.Options(debug=debug))
        for found, want in zip(f(values, scale), wanted, strict=True):
            np.testing.assert_allclose(found, want, *((1e-5, 1e-6) if dtype == "float32" else (1e-13, 1e-14)))


def test_chunks_of_many_rows_are_longer() -> None:
    """Chunks of 16 rows, of 64, and of 240; those of short rows have at most 1,024."""
    x, y = gc.input("x", ("n", 1_000), "float32"), gc.input("y", (70_001, 64), "float32")
    rows = gc.compile([x], (gc.max(x, axis=1), gc.sum(x, axis=1)))
    for n in (0, 1, 16, 17, 1_023, 2_047, 2_048, 4_097, 15_361):
        a = seeded("rows", n).integers(-9, 9, (n, 1_000)).astype("float32")
        for found, wanted in zip(rows(a), (a.max(axis=1), a.sum(axis=1)), strict=True):
            np.testing.assert_array_equal(found, wanted)
    short = gc.compile([y], gc.max(y, axis=1))
    b = seeded("short rows").normal(size=(70_001, 64)).astype("float32")
    np.testing.assert_array_equal(short(b), b.max(axis=1))
    assert " 70 chunks" in short.explain()


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_what_caches_do_not_hold(dtype: str, known: bool) -> None:
    """More than 24 MiB are asked for ahead, and half of it is not: ends of blocks, chunks and memory, rows and all."""
    columns, size = 1_037, np.dtype(dtype).itemsize
    rows = (26 << 20) // (columns * size) + 3
    a = seeded("far", dtype).integers(-9, 9, (rows, columns)).astype(dtype)  # which are added exactly
    if dtype == "float32":
        a[3, 5], a[rows // 3], a[-1, -1] = NAN, -INF, INF
    for name in ("any", "all") if dtype == "bool" else ("sum", "max", "min"):
        for n in (rows, rows // 2):
            x = gc.input("x", (n, columns) if known else ("n", "m"), dtype)
            y = gc.input("y", (n * columns,) if known else ("n",), dtype)
            ours, numpys = getattr(gc, name), getattr(np, name)
            np.testing.assert_array_equal(gc.compile([x], ours(x, axis=1))(a[:n]), numpys(a[:n], axis=1))
            whole = gc.compile([y], ours(y))
            for flat in (a[:n].ravel(), a[:n].ravel()[::-1].copy(), np.zeros(n * columns, dtype)):
                assert np.array_equal(whole(flat), numpys(flat), equal_nan=dtype == "float32")


def folded_numpy(name: str, a: Any, axes: tuple[int, ...]) -> Any:
    a = a.astype("f8")
    return np.log(np.exp(a).sum(axes)) if name == "logsumexp" else getattr(np, name)(a, axis=axes)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(3, 70, 4, 4), (2, 9, 3, 17), (5, 1, 7, 3), (2, 6, 1, 8), (40, 3, 2, 1), (3, 2, 0, 2)]
)
def test_axes_apart_of_which_the_last_are_short(shape: tuple[int, ...], dtype: str, known: bool) -> None:
    """Folded down the others first, if they are known to be short; views and what is computed, too."""
    a = seeded("apart", shape).normal(1, 0.1, shape).astype(dtype)
    x = gc.input("x", shape if known else ("a", "b", "c", shape[3]), dtype)
    cases = [(name, axes) for name in (*FOLDS, "var", "logsumexp") for axes in ((1, 3), (0, 3), (0, 2), (0, 1, 3))]
    if 0 in shape:  # of axes that are not folded
        cases = [case for case in cases if 2 not in case[1]]
    found = gc.compile([x], [getattr(gc, name)(x, axis=axes) for name, axes in cases])(a)
    for (name, axes), y in zip(cases, found, strict=True):
        wanted, bound = folded_numpy(name, a, axes), 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(y, wanted, bound, 1e-6 if name == "var" else 0, err_msg=f"{name} {axes}")
    turned = gc.permute_dims(x, (3, 1, 2, 0))
    (y, z), ones = gc.compile([x], [gc.sum(turned, axis=(1, 3)), gc.sum(gc.exp(x), axis=(1, 3))])(a), (1, 3)
    np.testing.assert_allclose(y, a.transpose(3, 1, 2, 0).sum(ones, "f8"), 1e-5 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(z, np.exp(a.astype("f8")).sum(ones), 1e-5 if dtype == "float32" else 1e-13)


def test_a_group_norm_goes_by_vectors() -> None:
    """No piece of four is folded by itself, where known; longer pieces are, where they lie."""
    for channels, pieces in ((4, 0), (16, 0), (17, 1), ("k", 1)):
        x = gc.input("x", (8, 100, 4, channels), "float32")
        text = gc.compile([x], gc.sum(x, axis=(1, 3))).source
        assert text.count("= sum_f4(") == pieces, text
