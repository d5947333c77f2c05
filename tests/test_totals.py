"""Totals over elements leave loops, and with them what keeps elements from going their own way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special
from support_loops import close, held, optimised

import graphc as gc
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import Family
from graphc.ops.loop_parts import Loop

N, STEPS = 300, 4
ARRAYS: list[Any] = [np.random.default_rng(0).normal(size=(STEPS, N)), 0.4, 1.3]


def inputs() -> list[Node]:
    return [gc.input("x", (STEPS, N)), gc.input("rate", ()), gc.input("noise", ())]


def likelihood(x: Node, rate: Node, noise: Node) -> Node:
    """Of many series that share two numbers."""

    def step(state: Any, x: Any) -> tuple[Any, None]:
        level, total = state
        error = x - rate * level
        return (x, total + 0.5 * error**2 / noise + 0.5 * gc.log(noise)), None

    zeros = gc.zeros((N,))
    return gc.sum(gc.scan(step, (zeros, zeros), x)[0][1])


def folds(outputs: list[Node]) -> int:
    bodies = [node.attrs["body"] for node in held(optimised(outputs))]
    return sum(n.op.family is Family.REDUCTION for body in bodies for n in body.nodes)


def right(outputs: list[Node], given: list[Node], arrays: list[Any]) -> None:
    found = gc.compile(given, tuple(outputs))(*arrays)
    close(found, interpret(Graph(tuple(outputs), tuple(given)), arrays), 1e-12)


def test_the_gradient_of_what_series_share_has_no_sums_in_the_loop() -> None:
    given = inputs()
    y = likelihood(*given)
    outputs = [y, *gc.grad(y, given)]
    assert folds(outputs) == 0
    titles = [p.title for p in gc.compile(given, tuple(outputs)).program.phases if "times" in p.title]
    assert len(titles) == 2
    assert all("for each" in title for title in titles)
    right(outputs, given, ARRAYS)


@pytest.mark.parametrize("negative", [False, True])
def test_totals_are_added_to_what_they_begin_with(negative: bool) -> None:
    x, first, w = inputs()

    def step(state: Any, x: Any) -> tuple[Any, None]:
        level, total = state
        more = gc.sum(gc.sin(level) * x)
        return (level * w + x, total - more if negative else total + more), None

    (level, total), _ = gc.scan(step, (gc.ones((N,)), first), x)
    assert folds([level, total]) == 0
    right([level, total], [x, first, w], ARRAYS)


def test_no_step_adds_nothing() -> None:
    x, first = gc.input("x", ("n", N)), gc.input("first", ())
    total, _ = gc.scan(lambda c, e: (c + gc.sum(gc.exp(e)), None), first, x)
    for steps in (0, 1, 3):
        right([total], [x, first], [np.ones((steps, N)), 2.5])


def test_totals_that_a_step_reads_stay() -> None:
    x, first, _ = inputs()

    def step(state: Any, x: Any) -> tuple[Any, Any]:
        level, total = state
        return (level * 0.5 + x, total + gc.sum(level)), total

    (level, total), totals = gc.scan(step, (gc.ones((N,)), first), x)
    assert folds([level, total, totals]) == 1
    right([level, total, totals], [x, first], ARRAYS[:2])


def test_a_loop_that_folds_for_itself_keeps_its_totals() -> None:
    x, first, _ = inputs()

    def step(state: Any, x: Any) -> tuple[Any, None]:
        level, total = state
        return (level - gc.mean(level) + x, total + gc.sum(level)), None

    (level, total), _ = gc.scan(step, (gc.ones((N,)), first), x)
    (node,) = held(optimised([level, total]))
    assert [c.shape for c in Loop.of(node).carries] == [(N,), ()]
    right([level, total], [x, first], ARRAYS[:2])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint64"])
@pytest.mark.parametrize("n", [1, 33, 255, 1025, 65_279, 65_281, 131_073])
def test_positions_of_integers(dtype: str, n: int) -> None:
    """Blocks are as long as a lane can count turns: an int8 counts to 255, each of 256 elements."""
    rng, info = np.random.default_rng(n), np.iinfo(dtype)
    x = gc.input("x", (n,), dtype)
    f = gc.compile([x], (gc.argmax(x), gc.argmin(x)))
    alone = np.full(n, info.min, dtype)
    alone[rng.integers(n)] = info.max
    few = rng.integers(0, 3, n)
    drawn = rng.integers(info.min, info.max, n, dtype, endpoint=True)
    late = np.arange(n) // max(1, n - 3)
    for values in (alone, few, drawn, late, np.full(n, info.min, dtype), np.full(n, info.max, dtype)):
        values = values.astype(dtype)
        assert [int(k) for k in f(values)] == [values.argmax(), values.argmin()]


@pytest.mark.parametrize("dtype", ["float32", "int8", "int64"])
def test_positions_and_states_in_more_than_caches_hold(dtype: str) -> None:
    """There each load asks for what comes later, which beyond the end is not there."""
    rows, columns = 5, (26 << 20) // (5 * np.dtype(dtype).itemsize)
    values = (np.random.default_rng(1).normal(size=(rows, columns)) * 30).astype(dtype)
    values[[0, 2, 4], [columns - 1, 0, columns // 2]] = 125
    x = gc.input("x", (rows, columns), dtype)
    f = gc.compile([x], (gc.argmax(x), gc.argmin(x), gc.argmax(x, axis=1), gc.argmin(x, axis=1)))
    g = gc.compile([x], (gc.var(x, axis=1), gc.logsumexp(x, axis=1))) if dtype == "float32" else None
    for nan in (False, True)[: 2 if g else 1]:
        values[3, columns - 2] = np.nan if nan else 0
        wanted = values.argmax(), values.argmin(), values.argmax(1), values.argmin(1)
        for found, k in zip(f(values), wanted, strict=True):
            np.testing.assert_array_equal(found, k)
        if g:
            wide = values.astype(np.float64)
            for found, right in zip(g(values), (wide.var(1), special.logsumexp(wide, 1)), strict=True):
                np.testing.assert_allclose(found, right, 1e-5)
