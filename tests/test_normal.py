"""Loops in normal form: which axes merge, in which order they stand, and that every element is met once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from support import seeded

import graphc as gc
from graphc.compile import _unit
from graphc.dims import Dim, evaluate, substitute, symbol
from graphc.graph import Graph, Node
from graphc.passes import run_pipeline
from graphc.schedule.access import Index, canonical, linear, loop_symbol, offset, through_movement
from graphc.schedule.loops import Loops, loops_of
from graphc.schedule.lower import lower
from graphc.schedule.normal import normalised
from graphc.schedule.split import Split
from graphc.schedule.storage import schedule
from graphc.schedule.task import Nest

P, Q, R = (loop_symbol(k) for k in range(3))
N, M = symbol("n"), symbol("m")
ROW_MAJOR = 20 * P + 5 * Q + R  # in an array of shape (3, 4, 5)

MERGED: dict[str, tuple[Sequence[Dim], Sequence[Dim], Sequence[Dim]]] = {
    "one array": ([ROW_MAJOR], [], [60]),
    "two in step": ([ROW_MAJOR, 40 * P + 10 * Q + 2 * R + 7], [], [60]),
    "one value for all": ([ROW_MAJOR, 0], [], [60]),
    "an operand broadcast along rows": ([ROW_MAJOR, R], [], [12, 5]),
    "an operand broadcast along columns": ([ROW_MAJOR, 4 * P + Q], [], [12, 5]),
    "an operand broadcast in the middle": ([ROW_MAJOR, 5 * P + R], [], [3, 4, 5]),
    "planes": ([ROW_MAJOR, 5 * Q + R], [], [3, 20]),
    "reversed": ([59 - ROW_MAJOR], [], [60]),
    "one axis reversed": ([20 * P + 5 * Q - R], [], [12, 5]),
    "every second row": ([20 * P + 10 * Q + R], [], [3, 4, 5]),
    "every second plane": ([40 * P + 5 * Q + R], [], [3, 20]),
    "transposed": ([ROW_MAJOR, P + 3 * Q + 12 * R], [], [3, 4, 5]),
    "a condition along the last axis": ([ROW_MAJOR], [R - 1], [12, 5]),
    "a condition along the first axis": ([ROW_MAJOR], [P], [3, 20]),
    "a condition that steps evenly": ([ROW_MAJOR], [4 * P + Q - 2], [12, 5]),
    "divided": ([ROW_MAJOR, symbol("%1") // 2], [], [3, 4, 5]),
}


@pytest.mark.parametrize("name", MERGED)
def test_axes_merge_where_all_step_evenly(name: str) -> None:
    memory, others, sizes = MERGED[name]
    assert list(normalised((3, 4, 5), memory, others)[0]) == sizes


def test_symbols_merge_as_numbers_do() -> None:
    position = offset((P, Q, R), (N, M, 6))
    assert normalised((N, M, 6), [position]) == ((6 * N * M,), normalised((N, M, 6), [position])[1])
    assert normalised((N, M, 6), [position, R])[0] == (N * M, 6)
    assert normalised((N, M, 6), [position, P * M + Q])[0] == (N * M, 6)
    assert normalised((N, M, 6), [position, P * N + Q])[0] == (N, M, 6)


def test_axes_of_size_1_have_no_loop() -> None:
    assert normalised((1, 4, 1, 5), [5 * Q + loop_symbol(3)]) == ((20,), (0, P // 5, 0, P - 5 * (P // 5)))
    assert normalised((1, 1), [0]) == ((), (0, 0))
    assert normalised((1, N), [Q], keep=[0]) == ((1, N), (P, Q))


def test_classes_stay_apart() -> None:
    assert normalised((3, 4, 5), [ROW_MAJOR], classes=["a", "a", "b"])[0] == (12, 5)
    assert normalised((3, 4, 5), [ROW_MAJOR], classes=["a", "b", "b"])[0] == (3, 20)
    assert normalised((3, 4, 5), [ROW_MAJOR], classes=["a", "b", "a"])[0] == (3, 4, 5)


SORTED: dict[str, tuple[Sequence[Dim], Sequence[Dim], Index]] = {
    "in order": ([ROW_MAJOR, R], [12, 5], (P // 4, P - 4 * (P // 4), Q)),
    "transposed": ([P + 3 * Q + 12 * R, P], [20, 3], (Q, P - 4 * (P // 4), P // 4)),
    "transposed, one array": (
        [P + 3 * Q + 12 * R],
        [60],
        (P - 3 * (P // 3), P // 3 - 4 * ((P // 3) // 4), (P // 3) // 4),
    ),
    "most arrays have it so": ([ROW_MAJOR, P + 3 * Q, P + 3 * Q], [4, 3, 5], (Q, P, R)),
    "arrays that disagree": ([ROW_MAJOR, P + 3 * Q + 12 * R], [3, 4, 5], (P, Q, R)),
    "backwards": ([-P + 15 * Q + 3 * R, P], [20, 3], (Q, P // 5, P - 5 * (P // 5))),
}


@pytest.mark.parametrize("name", SORTED)
def test_loops_are_sorted_by_steps(name: str) -> None:
    memory, sizes, at = SORTED[name]
    found = normalised((3, 4, 5), memory, sort=True)
    assert (list(found[0]), found[1]) == (sizes, at)


def test_symbolic_steps_are_compared_as_if_axes_were_long() -> None:
    found = normalised((N, M), [P + Q * N, P], sort=True)
    assert found == ((M, N), (Q, P))


def test_every_element_is_met_once_and_positions_are_linear() -> None:
    rng = seeded("normal")
    for _ in range(60):
        shape = tuple(rng.choice([1, 2, 3, 4], rng.integers(1, 5)).tolist())
        x = gc.input("x", shape)
        views = [_moved(x, rng) for _ in range(int(rng.integers(1, 3)))]
        shape = views[0].shape
        views = [v for v in views if v.shape == shape]
        memory, conditions = [], []
        for view in views:
            reads = through_movement(view, canonical(shape), False, conditions)
            memory += [offset(read.index, read.node.shape) for read in reads]
        sizes, at = normalised(shape, memory, conditions, sort=bool(rng.integers(2)))
        names = {f"%{k}": i for k, i in enumerate(at)}
        assert all(linear(substitute(e, names)) is not None for e in memory if linear(e) is not None)
        met = []
        for index in itertools.product(*(range(int(s)) for s in sizes)):  # type: ignore[call-overload]
            loops = {f"%{k}": i for k, i in enumerate(index)}
            met.append(tuple(evaluate(i, loops) for i in at))
        assert sorted(met) == sorted(itertools.product(*(range(int(s)) for s in shape)))  # type: ignore[call-overload]


def _moved(x: Node, rng: np.random.Generator) -> Node:
    moves: list[Callable[[Node], Any]] = [
        lambda v: gc.permute_dims(v, tuple(rng.permutation(v.ndim).tolist())),
        lambda v: v[::-1],
        lambda v: gc.pad(v[..., :1], [(0, 0)] * (v.ndim - 1) + [(0, int(v.shape[-1]) - 1)]),
        lambda v: gc.broadcast_to(v[:1], v.shape),
        lambda v: gc.reshape(v, v.shape[::-1]),
    ]
    for k in rng.integers(0, len(moves), 3).tolist():
        x = moves[k](x)
    return x


# the loops of nests


def loops(inputs: Any, output: Any) -> list[Loops]:
    unit = _unit(inputs, output, {}, gc.Options(), "f")
    graph = lower(run_pipeline(unit.graph)[0])
    tasks = schedule(graph, graph.outputs, [], unit.parameters).tasks
    return [loops_of(t) for t in tasks if isinstance(t, Nest)]


X = gc.input("x", ("n", 4, 6))
T, U = gc.input("t", (1000, 1200)), gc.input("u", (1200, 1000))
V, W = gc.input("v", ("n", 4, 5, 60)), gc.input("w", ("n", 4, 60))
LOOPS: dict[str, tuple[Node, Sequence[Dim], Split]] = {
    "elementwise": (gc.exp(X), [24 * N], Split((0,))),
    "a bias": (gc.exp(X + gc.input("b", (6,))), [4 * N, 6], Split((0, 1))),
    "positions": (gc.exp(X) + gc.astype(gc.arange(4), "float64")[:, None], [N, 4, 6], Split((0, 1, 2))),
    "padded rows": (gc.exp(gc.pad(X, ((0, 0), (0, 0), (1, 1)))), [4 * N, 8], Split((0, 1))),
    "rows": (gc.softmax(X), [4 * N, 6], Split((0,), (), (1,))),
    "rows of two axes": (gc.sum(X, axis=(1, 2)), [N, 24], Split((0,), (), (1,))),
    "columns": (gc.sum(X, axis=(0, 1)), [4 * N, 6], Split((), (0,), (1,))),
    "columns of two axes": (gc.sum(X, axis=0), [N, 24], Split((), (0,), (1,))),
    "columns of batches": (gc.sum(X, axis=1), [N, 4, 6], Split((0,), (1,), (2,))),
    "a total": (gc.sum(X), [24 * N], Split((), (0,))),
    "a total of what is transposed": (gc.sum(gc.exp(T.T)), [1_200_000], Split((), (0,))),
    "columns of what is transposed": (gc.sum(T.T, axis=0), [1000, 1200], Split((0,), (), (1,))),
    "rows of what is transposed": (gc.sum(T.T, axis=1), [1000, 1200], Split((), (0,), (1,))),
    "the first and the last axis": (gc.max(W, axis=(0, 2)), [N, 4, 60], Split((), (0,), (1,), (2,))),
    "an axis between that stays": (gc.sum(V, axis=(1, 3)), [N, 4, 5, 60], Split((0,), (1,), (2,), (3,))),
    "wide columns": (gc.sum(gc.reshape(T, (100, 12000)), axis=0), [6, 100, 2000], Split((0,), (1,), (2,))),
    "wide columns of a number that has no divisor": (
        gc.sum(gc.reshape(gc.input("q", (100 * 10007,)), (100, 10007)), axis=0),
        [100, 10007],
        Split((), (0,), (1,)),
    ),
    "columns of arrays that disagree": (gc.max(T.T + U, axis=0), [1200, 1000], Split((), (0,), (1,))),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_of_a_nest(name: str) -> None:
    output, sizes, split = LOOPS[name]
    inputs = list(dict.fromkeys(Graph((output,)).leaves("input")))
    found = loops(inputs, output)[0]
    assert (list(found.domain), found.split) == (sizes, split)


def test_columns_of_one_element_are_columns() -> None:
    x, y = gc.input("x", (3, 4, 50, 1)), gc.input("y", (3, 4, 1, 1))
    (found,) = loops([x, y], (x * y, gc.max(x, axis=(0, 2))))
    assert (found.domain, found.split) == ((3, 4, 50, 1), Split((1,), (0, 2), (3,)))


@pytest.mark.parametrize("activation", [gc.relu, gc.tanh, gc.softmax])
def test_a_dense_layer_of_three_axes_is_one_phase(activation: Any) -> None:
    x, w, b = gc.input("x", ("b", "t", 8)), gc.parameter("w", np.ones((8, 5))), gc.parameter("c", np.ones(5))
    layer = gc.compile([x], activation(x @ w + b))
    assert len(layer.program.phases) == 1
    values = seeded("layer").normal(size=(3, 4, 8))
    expected = gc.compile([x], activation(gc.reshape(gc.reshape(x, (-1, 8)) @ w, (*x.shape[:2], 5)) + b))
    np.testing.assert_allclose(layer(values), expected(values), rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 1), (0, 2), (1, 2), None])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_reductions_of_every_layout(order: tuple[int, ...], axis: Any) -> None:
    values = seeded("layouts").normal(size=(3, 40, 1030))
    x = gc.input("x", values.shape)
    view, array = gc.permute_dims(x, order), values.transpose(order)
    outputs = (gc.sum(view, axis=axis), gc.max(gc.exp(view), axis=axis), gc.var(view, axis=axis))
    expected = (np.sum(array, axis=axis), np.max(np.exp(array), axis=axis), np.var(array, axis=axis))
    for actual, wanted in zip(gc.compile([x], outputs)(values), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-10, atol=1e-10)
    if isinstance(axis, int):
        np.testing.assert_array_equal(gc.compile([x], gc.argmax(view, axis=axis))(values), np.argmax(array, axis=axis))
