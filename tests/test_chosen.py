"""What a row has at one position alone is stored after what is around it: the same as by NumPy, wherever that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen import form, rows, streamed

COLD = gc.Options(cache=False)


def chosen(x: Any, k: Any, dtype: str = "int32", columns: int | None = None) -> Any:
    """Twice x, and 5 less at position k of each row."""
    counted = gc.arange(columns or x.shape[-1], dtype=dtype)
    return gc.where(gc.astype(k, dtype)[..., None] == counted, 2 * x - 5, 2 * x)


def by_numpy(x: Any, k: Any) -> Any:
    return 2 * x - 5 * (k[..., None] == np.arange(x.shape[-1]))


def is_one_store(function: Any) -> bool:
    return " in range(t" in function.source


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("columns", [256, 300, 1000, 3000, 4096])
def test_first_last_and_no_position(columns: int, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, and beside folds of the same rows; also where rows are written past the caches by pieces or parts."""
    if large:
        monkeypatch.setattr(streamed, "PAST_CACHES", 64)
        monkeypatch.setattr(rows, "_FETCHED", 0)
        monkeypatch.setattr(form, "CHUNK", 3 * columns)
    n = 7
    x, k = gc.input("x", (n, columns), "float32"), gc.input("k", (n,), "int64")
    soft = gc.exp(x - gc.max(x, axis=1, keepdims=True))
    share = soft / gc.sum(soft, axis=1, keepdims=True)
    outputs = [chosen(x, k), gc.where(k[:, None] == gc.arange(columns), share - 1, share), gc.sum(share * x, axis=1)]
    a = np.random.default_rng(0).normal(size=(n, columns)).astype(np.float32)
    at = np.array([0, columns - 1, 255, -1, columns, 2**32 + 5, -(2**31)])
    e = np.exp(a - a.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    wrapped = at.astype(np.int32)
    wanted = by_numpy(a, wrapped), p - (at[:, None] == np.arange(columns)), (p * a).sum(1)
    for debug in (False, True):
        f = gc.compile([x, k], outputs, options=gc.Options(cache=False, debug=debug))
        assert is_one_store(f)
        for have, want in zip(f(a, at), wanted, strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("counts", ["int8", "int16", "uint8", "int64", "float32"])
def test_positions_that_their_type_does_not_have(counts: str) -> None:
    """Of 300 columns an int8 counts 256 and begins again: then a number is met more than once."""
    x, k = gc.input("x", (4, 300)), gc.input("k", (4,), "int64")
    f = gc.compile([x, k], chosen(x, k, counts), options=COLD)
    a, at = np.random.default_rng(0).normal(size=(4, 300)), np.array([0, 44, 127, 299])
    wanted = 2 * a - 5 * (at.astype(counts)[:, None] == np.arange(300).astype(counts))
    np.testing.assert_array_equal(f(a, at), wanted)
    assert is_one_store(f) == (counts in ("int16", "int64"))


def test_what_else_wants_a_choice_and_what_is_none() -> None:
    x, k, j = gc.input("x", ("n", 300)), gc.input("k", ("n",), "int64"), gc.input("j", (300,), "int64")
    y, counted = chosen(x, k), gc.arange(300)
    few = x[:, :20]
    outputs = [
        (y, y > 0),
        (y, gc.sum(y, axis=1)),
        gc.where(k[:, None] == counted + 1, x, -x),
        gc.where(k[:, None] == j, x, -x),
        gc.where(k[:, None] == counted[::-1], x, -x),
        gc.where((k[:, None] == counted) | (x > 0), x, -x),
        chosen(few, k),
    ]
    a, at = np.random.default_rng(0).normal(size=(5, 300)), np.array([0, 3, 299, 300, -1])
    other = np.random.default_rng(1).integers(-1, 300, 300)
    z, c, is_there = by_numpy(a, at), np.arange(300), at[:, None] == np.arange(300)
    wanted = [
        (z, z > 0),
        (z, z.sum(1)),
        np.where(at[:, None] == c + 1, a, -a),
        np.where(at[:, None] == other, a, -a),
        np.where(at[:, None] == c[::-1], a, -a),
        np.where(is_there | (a > 0), a, -a),
        by_numpy(a[:, :20], at),
    ]
    for output, want in zip(outputs, wanted, strict=True):
        f = gc.compile([x, k, j], output, options=COLD)
        assert not is_one_store(f)
        found = f(a, at, other)
        for have, right in zip(*((found, want) if isinstance(want, tuple) else ((found,), (want,))), strict=True):
            np.testing.assert_allclose(have, right, rtol=1e-12)


def test_what_is_written_over() -> None:
    """A parameter, and a buffer that nobody reads any more: what is chosen is made of what was there."""
    a, at = np.random.default_rng(0).normal(size=(4, 300)), np.array([0, 5, 299, 300])
    p, k, x = gc.parameter("p", a), gc.input("k", (4,), "int64"), gc.input("x", (4, 300))
    gc.compile([k], (), updates={p: chosen(p, k)}, options=COLD)(at)
    np.testing.assert_array_equal(p.value, by_numpy(a, at))
    sums = gc.cumulative_sum(gc.cumulative_sum(x, axis=1), axis=1)
    outputs = gc.cumulative_sum(chosen(sums, k), axis=1), gc.cumulative_sum(sums * 3, axis=1)
    f = gc.compile([x, k], outputs, options=COLD)
    twice = a.cumsum(1).cumsum(1)
    for have, want in zip(f(a, at), (by_numpy(twice, at), twice * 3), strict=True):
        np.testing.assert_allclose(have, want.cumsum(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 5, 300), (2, 3, 2, 257)])
def test_more_axes_and_gradients_of_what_is_taken(shape: tuple[int, ...]) -> None:
    x, k = gc.input("x", shape), gc.input("k", shape[:-1], "int32")
    taken = gc.take_along_axis(x, k[..., None], axis=-1)[..., 0]
    f = gc.compile([x, k], (chosen(x, k), gc.grad(gc.sum(taken**2), x)), options=COLD)
    a = np.random.default_rng(0).normal(size=shape)
    at = np.random.default_rng(1).integers(0, shape[-1], shape[:-1]).astype(np.int32)
    y, slope = f(a, at)
    np.testing.assert_array_equal(y, by_numpy(a, at))
    np.testing.assert_allclose(slope, 2 * a * (at[..., None] == np.arange(shape[-1])), rtol=1e-15)
