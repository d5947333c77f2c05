"""Loops that gather and compute: positions are checked ahead of them, and what is wrong is told as ever."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc

LENGTHS = (0, 1, 31, 32, 33, 1023, 1024, 1025, 2500)
SIZE = 50


def drawn(length: int, dtype: str = "int64", size: int = SIZE) -> Any:
    low = -size if dtype[0] == "i" else 0
    return np.random.default_rng(length).integers(low, size, length).astype(dtype)


def test_what_is_done_ahead() -> None:
    """Of loops that are long enough and compute something, or read at positions on several axes."""
    a, i, o = gc.input("a", (SIZE,)), gc.input("i", ("n",), "int64"), gc.input("o", ("n",))
    ahead = gc.compile([a, i, o], gc.exp(o - a[i])).source
    assert ahead.count("checked(") == 1
    assert ahead.count("on_axis(") == 1
    main = ahead[ahead.index("on_axis(") :]
    assert "exp(" in main
    assert "checked(" not in main
    for same in (a[i], gc.exp(a[drawn(20)] + a[i[:20]])):
        assert "on_axis(" not in gc.compile([a, i, o], same).source


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64"])
@pytest.mark.parametrize("known", [False, True])
def test_at_the_borders_of_blocks(dtype: str, known: bool) -> None:
    """One position, two, one of one, and those of a fold, of rows."""
    table, grid = np.linspace(-1.0, 1.0, SIZE), np.random.default_rng(0).normal(size=(SIZE, SIZE))

    def programs(n: Any) -> list[Any]:
        a, x, i = gc.input("a", (SIZE,)), gc.input("x", (SIZE, SIZE)), gc.input("i", (n,), dtype)
        o = gc.input("o", (n,))
        outputs = (
            gc.exp(o - a[i]),
            gc.sum(gc.tanh(x[i, i[::-1]] * o)),
            gc.sin(a[gc.argsort(a)[i]] + o),
            gc.sum(gc.exp(x[:, i]), axis=1),
            gc.sum(a[i] * o),
        )
        return [gc.compile([a, x, i, o], outputs, options=gc.Options(debug=debug)) for debug in (False, True)]

    every = None if known else programs("n")
    for length in (33, 1025) if known else LENGTHS:
        at, b = drawn(length, dtype), np.random.default_rng(1).normal(size=length)
        with np.errstate(all="ignore"):
            k = at.astype(np.int64)
            wanted = (
                np.exp(b - table[k]),
                np.sum(np.tanh(grid[k, k[::-1]] * b)),
                np.sin(table[np.argsort(table)[k]] + b),
                np.exp(grid[:, k]).sum(1),
                np.sum(table[k] * b),
            )
        for f in (every or programs(length))[: 2 if length in (33, 1025) else 1]:
            for actual, expected in zip(f(table, grid, at, b), wanted, strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-11)


WRONG = (SIZE, -SIZE - 1, 2**63 - 1, -(2**63), 10**12)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_position_that_is_wrong(wrong: int, threads: int) -> None:
    """It is told wherever it is, the first one of several, and the next call is right."""
    table, b = np.linspace(-1.0, 1.0, SIZE), np.zeros(2500)
    a, i, o = gc.input("a", (SIZE,)), gc.input("i", ("n",), "int64"), gc.input("o", ("n",))
    options = gc.Options(threads=threads)
    for y in (gc.exp(o - a[i]), gc.sum(gc.exp(o - a[i])), gc.exp(a[gc.argsort(a)[i]] + o)):
        f = gc.compile([a, i, o], y, options=options)
        for where in (0, 31, 1022, 1023, 1024, 2047, 2048, 2499):
            at = drawn(2500)
            at[where] = wrong
            at[where + 1 :: 7] = SIZE + 7
            told = f"position {wrong} does not lie on axis 0, which has length {SIZE}"
            with pytest.raises(gc.InputError, match=told):
                f(table, at, b)
        f(table, drawn(2500), b)


def test_an_axis_without_elements() -> None:
    a, i, o = gc.input("a", ("k",)), gc.input("i", ("n",), "int64"), gc.input("o", ("n",))
    f = gc.compile([a, i, o], gc.exp(o - a[i]))
    assert f(np.zeros(0), np.zeros(0, int), np.zeros(0)).shape == (0,)
    for position in (0, -1, 1):
        with pytest.raises(gc.InputError, match=f"position {position} does not lie on axis 0, which has length 0"):
            f(np.zeros(0), np.full(100, position), np.zeros(100))


def test_a_label_that_is_negative() -> None:
    x, labels = gc.input("x", ("n",)), gc.input("labels", ("n",), "int64")
    slope = gc.grad(gc.sum(gc.segment_sum(gc.exp(x), labels, SIZE) ** 2), x)
    f = gc.compile([x, labels], slope)
    b, at = np.random.default_rng(2).normal(size=3000), drawn(3000, "uint8").astype(np.int64)
    totals = np.bincount(at, np.exp(b), SIZE)
    np.testing.assert_allclose(f(b, at), 2 * totals[at] * np.exp(b), rtol=1e-12)
    at[2000] = -1
    with pytest.raises(gc.InputError, match="-1"):
        f(b, at)


def test_gradients_of_what_is_gathered() -> None:
    """A hierarchical model: a mean for each group, and a common scale."""
    rng = np.random.default_rng(3)
    b, at, table = rng.normal(size=4000), drawn(4000), rng.normal(size=SIZE)
    a, s, i, o = gc.input("a", (SIZE,)), gc.input("s", ()), gc.input("i", (4000,), "int32"), gc.input("o", (4000,))
    z = (o - a[i]) / gc.exp(s)
    loss = gc.sum(0.5 * z * z + s)
    by_a, by_s = gc.compile([a, s, i, o], gc.grad(loss, [a, s]))(table, 0.3, at.astype(np.int32), b)
    r = (b - table[at]) / np.exp(0.3)
    np.testing.assert_allclose(by_a, -np.bincount(at % SIZE, r / np.exp(0.3), SIZE), rtol=1e-11)
    np.testing.assert_allclose(by_s, 4000 - np.sum(r * r), rtol=1e-11)
