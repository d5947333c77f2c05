"""Long cumulative sums, in blocks that threads share out; columns of them, page by page."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen import in_blocks
from graphc.codegen.in_blocks import BLOCK, FEWEST

Values = np.ndarray[Any, Any]
SMALL = 32  # elements of a block in tests that look at every access


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few elements, and rows of few blocks."""
    monkeypatch.setattr(in_blocks, "BLOCK", SMALL)
    monkeypatch.setattr(in_blocks, "FEWEST", {4: 3, 8: 3})
    monkeypatch.setattr(in_blocks, "_TOTALS", 2)


def summed(x: Values, axis: int = -1) -> Values:
    """By more digits than the dtype has."""
    return np.cumsum(x.astype(np.longdouble), axis=axis).astype(x.dtype)


def close(found: Values, x: Values) -> None:
    """Within a unit; of sums that cancel, what float64 leaves of float32's and long doubles of float64's."""
    exact, lost = summed(x), 1e-15 if x.dtype == np.float32 else 1e-17
    unit = np.maximum(np.spacing(np.abs(exact)).astype(float), lost * np.max(np.abs(x), initial=0) * len(x.T))
    assert found.dtype == x.dtype
    assert np.max(np.abs(found - exact) / unit, initial=0) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [0, 1, 3, 15, 16])
def test_at_the_borders_of_blocks_and_of_groups(rows: int, dtype: str, small: None) -> None:
    """Rows of as many elements as a block, a row of blocks, a group abreast, one less and one more; from either end."""
    borders = (SMALL, 3 * SMALL, 8 * SMALL, 16 * SMALL, 17 * SMALL)
    for length in (0, 1, *(n + more for n in borders for more in (-1, 0, 1))):
        x = np.random.default_rng(length).normal(size=(rows, length) if rows else (length,)).astype(dtype)
        for shape in (x.shape, (*x.shape[:-1], "n")):
            node = gc.input("x", shape, dtype)
            back = gc.flip(gc.cumulative_sum(gc.flip(node, axis=-1), axis=-1), axis=-1)
            for debug in (False, True) if length < 9 * SMALL and rows < 4 else (False,):
                options = gc.Options(debug=debug, cache=False)
                found = gc.compile([node], [gc.cumulative_sum(node, axis=-1), back], options=options)(x)
                close(found[0], x)
                close(found[1][..., ::-1], x[..., ::-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_blocks_on_any_number_of_threads(dtype: str) -> None:
    """The same bits as on one, of sizes that are known and such that are not."""
    least = FEWEST[np.dtype(dtype).itemsize] * BLOCK
    for length in (least - 1, least, 300 * BLOCK + 7):
        x = np.random.default_rng(1).normal(size=length).astype(dtype)
        found = []
        for shape in ((length,), ("n",)):
            node = gc.input("x", shape, dtype)
            f = gc.compile([node], gc.cumulative_sum(node))
            assert ("totals" in f.source) == (shape == ("n",) or length >= least)
            before = gc.get_num_threads()
            for threads in range(1, before + 1):
                gc.set_num_threads(threads)
                found.append(f(x))
            gc.set_num_threads(before)
        close(found[0], x)
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("debug", [False, True])
def test_operands_in_any_memory(debug: bool, small: None) -> None:
    x = np.random.default_rng(2).normal(size=(500, 3))
    node = gc.input("x", x.shape)
    for part in (np.s_[:, 1], np.s_[:, ::2], np.s_[::2, 0], np.s_[::-1, 2], np.s_[7:450:3, 1], np.s_[:, 0:1]):
        f = gc.compile([node], gc.cumulative_sum(node[part], axis=0), options=gc.Options(debug=debug, cache=False))
        np.testing.assert_allclose(f(x), summed(x[part], axis=0), rtol=1e-14, atol=1e-14)
    sums = gc.cumulative_sum(gc.reshape(node, (3, 250, 2)), axis=1)
    between = gc.compile([node], sums, options=gc.Options(debug=debug, cache=False))
    np.testing.assert_allclose(between(x), summed(x.reshape(3, 250, 2), axis=1), rtol=1e-14, atol=1e-14)
    options = gc.Options(debug=debug, cache=False)
    one = gc.compile([node], gc.cumulative_sum(gc.broadcast_to(node[0, 0], (500,))), options=options)
    np.testing.assert_allclose(one(x), np.arange(1, 501) * x[0, 0], rtol=1e-15)


def test_sums_that_cancel_keep_their_digits() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=20 * BLOCK) * 10.0 ** rng.integers(0, 12, 20 * BLOCK)
    x[1::2] = -x[::2] * (1 + 1e-9 * rng.normal(size=10 * BLOCK))
    node = gc.input("x", x.shape)
    found = gc.compile([node], gc.cumulative_sum(node))(x)
    places = rng.integers(0, len(x), 200)
    np.testing.assert_allclose(found[places], [math.fsum(x[: k + 1]) for k in places], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_leaves_the_range_of_floats(dtype: str, small: None) -> None:
    """A block that does so by itself, but not with what is before it; infinities and NaN, from where they are on."""
    top, n = float(np.finfo(dtype).max), 20 * SMALL
    ranges = np.zeros(n, dtype)
    ranges[: 2 * SMALL], ranges[2 * SMALL : 2 * SMALL + 30] = -top / (2 * SMALL), top / 20
    first, last, both, zeros = np.ones(n), np.ones(n), np.ones(n), np.full(n, -0.0)
    first[70], last[-1], both[100], both[300] = np.inf, -np.inf, np.inf, -np.inf
    nan = np.where(np.arange(n) == 5 * SMALL, np.nan, 1.0)
    node = gc.input("x", (n,), dtype)
    for debug in (False, True):
        f = gc.compile([node], gc.cumulative_sum(node), options=gc.Options(debug=debug, cache=False))
        for x in (ranges, *(each.astype(dtype) for each in (first, last, both, nan, zeros))):
            with np.errstate(all="ignore"):
                expected = np.cumsum(x, dtype=np.float64).astype(dtype)
            found = f(x)
            least = 1e-14 * top if x is ranges else 0
            np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == "float32" else 1e-13, atol=least)
            np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("debug", [False, True])
def test_a_long_parameter_is_updated_by_its_own_sum(debug: bool, small: None) -> None:
    start = np.arange(300.0)
    p = gc.parameter("p", start)
    options = gc.Options(debug=debug, cache=False)
    step = gc.compile([], gc.sum(p), updates={p: gc.cumulative_sum(p)}, options=options)
    assert step() == start.sum()
    np.testing.assert_array_equal(p.value, np.cumsum(start))


def test_in_a_loop_and_with_its_gradient(small: None) -> None:
    """Each step sums what the one before has made; the adjoint sums from behind."""
    x = np.random.default_rng(3).normal(size=400)
    node = gc.input("x", x.shape)
    final, _ = gc.scan(lambda c, _: (gc.cumulative_sum(c) / 400, None), node, None, length=3)
    value = gc.sum(final**2)
    f = gc.compile([node], [final, gc.grad(value, node)], options=gc.Options(cache=False))
    lower = np.tril(np.full((400, 400), 1 / 400))
    cubed = lower @ lower @ lower
    np.testing.assert_allclose(f(x)[0], cubed @ x, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(f(x)[1], 2 * cubed.T @ (cubed @ x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8"])
@pytest.mark.parametrize("lanes", [511, 512, 513, 1023, 1024, 1025, 1200, 4097])
def test_columns_are_cut_where_lines_begin(lanes: int, dtype: str) -> None:
    """More than a page of them: two threads have as many each."""
    x = np.random.default_rng(4).integers(-9, 9, (5, lanes)).astype(dtype)
    for shape in (x.shape, (5, "n")):
        node = gc.input("x", shape, dtype)
        f = gc.compile([node], gc.cumulative_sum(node, axis=0, dtype=dtype))
        np.testing.assert_array_equal(f(x), np.cumsum(x, axis=0, dtype=dtype))
