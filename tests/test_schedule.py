"""The schedule: splits, what is written in place, conflicts, what the verifier refuses, how its time grows."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import _unit
from graphc.graph import Node
from graphc.op import Job
from graphc.passes import run_pipeline
from graphc.schedule.lower import lower
from graphc.schedule.order import Entry, ordered
from graphc.schedule.split import Split, split_for
from graphc.schedule.storage import Schedule, schedule
from graphc.schedule.task import Copy, Kernel, Nest, Place, Scatter, before, needs, reads, writes
from graphc.schedule.verify import verify_schedule

Asked = tuple[Sequence[Node], Sequence[Node], Sequence[Node], Sequence[tuple[Node, Node]]]


def planned(inputs: Any, outputs: Any, updates: Mapping[Any, Any] | None = None) -> tuple[Schedule, Asked]:
    """A schedule, and inputs, parameters, outputs and updates to verify it with."""
    unit = _unit(inputs, outputs, updates or {}, gc.Options(), "f")
    graph = lower(run_pipeline(unit.graph)[0])
    results, values = graph.outputs[: unit.results], graph.outputs[unit.results :]
    changed = list(zip(unit.updated, values, strict=True))
    return schedule(graph, results, changed, unit.parameters), (graph.inputs, unit.parameters, results, changed)


def kinds(inputs: Any, outputs: Any, updates: Mapping[Any, Any] | None = None) -> list[str]:
    """Ops of each task, or where a copy goes from and to."""
    found, _ = planned(inputs, outputs, updates)
    return [
        f"{t.source} to {t.target}" if isinstance(t, Copy) else ", ".join(m.op.name for m in t.members)
        for t in found.tasks
    ]


# splits

X = gc.input("x", ("n", 4, 5))
ROW = gc.sum(X, axis=2)
SPLITS: dict[str, tuple[Sequence[Node], Split | None]] = {
    "nothing folded": ([], Split((0, 1, 2))),
    "a total": ([gc.sum(X)], Split((), (0, 1, 2))),
    "rows": ([gc.sum(X, axis=2)], Split((0, 1), (), (2,))),
    "rows of two axes": ([gc.max(X, axis=(1, 2))], Split((0,), (), (1, 2))),
    "columns": ([gc.sum(X, axis=(0, 1))], Split((), (0, 1), (2,))),
    "columns of each batch": ([gc.sum(X, axis=1)], Split((0,), (1,), (2,))),
    "columns of planes": ([gc.sum(X, axis=0)], Split((), (0,), (1, 2))),
    "rows and a total": ([gc.sum(X, axis=2), gc.sum(X * X)], Split((), (0, 1), (2,))),
    "a total and rows": ([gc.sum(X * X), gc.sum(X, axis=2)], Split((), (0, 1), (2,))),
    "rows and columns": ([gc.sum(X, axis=2), gc.sum(X, axis=(0, 1))], Split((), (0, 1), (2,))),
    "rows and a total of them": ([ROW, gc.sum(ROW)], Split((), (0, 1), (2,))),
    "a position in rows": ([gc.argmax(X, axis=2)], Split((0, 1), (), (2,))),
    "a position in columns": ([gc.argmax(X, axis=1)], Split((0,), (1,), (2,))),
    "two kinds of rows": ([gc.sum(X, axis=2), gc.sum(X, axis=(1, 2))], None),
    "two kinds of columns": ([gc.sum(X, axis=0), gc.sum(X, axis=(0, 1))], None),
    "a total and columns of each batch": ([gc.sum(X * X), gc.sum(X, axis=1)], None),
    "columns of each batch and a total": ([gc.sum(X, axis=1), gc.sum(X * X)], None),
    "rows and a part of them": ([ROW, gc.sum(ROW, axis=0)], None),
}


@pytest.mark.parametrize("name", SPLITS)
def test_split(name: str) -> None:
    reductions, wanted = SPLITS[name]
    assert split_for(X.shape, reductions) == wanted


# which groups become one

U, V, T = (gc.input(name, ("n", "n"), "float64") for name in "uvt")
W = gc.input("w", ("n",), "float64")
EXP, SIN, COS = gc.exp(U), gc.sin(V), gc.cos(T)
INTO = gc.exp(EXP @ V)  # comes after EXP, through a product


def _numpy(u: Any, v: Any, t: Any, w: Any) -> dict[str, Any]:
    """The values of the programs below, and in how many tasks they are computed."""
    e, s, c, z = np.exp(u), np.sin(v), np.cos(t), np.exp(np.exp(u) @ v)
    shares = e / e.sum(axis=1, keepdims=True)
    return {
        "two": ([e * s], 1),
        "three": ([e * s * c], 1),
        "three at once": ([np.where(e > s, c, e)], 1),
        "kept besides": ([e * s, e, s], 1),
        "a path between": ([e * z], 3),
        "a path to a third": ([np.where(s > e, z, s)], 3),
        "of other elements": ([e * s.T], 2),
        "here and elsewhere": ([e * s + e.T], 2),
        "guarded": ([e + np.pad(s[1:], ((0, 1), (0, 0)))], 2),
        "rows of each": ([e.sum(axis=1) * s.max(axis=1)], 1),
        "a row of one for the other": ([e * (t.sum(axis=1) + 1)[:, None]], 1),
        "shares and a sum": ([shares * t.sum(axis=1)[:, None]], 1),
        "columns of one": ([e * t.sum(axis=0)], 2),
        "columns and rows": ([e.sum(axis=0) + s.sum(axis=1)], 2),
        "totals": ([e.sum() * s.sum()], 3),
        "a sum of both": ([(e * s).sum(axis=0), (e * s).sum()], 1),
        "only a vector in common": ([np.exp(u * w), np.sin(t * w)], 2),
        "a matrix in common": ([np.exp(u * w), np.sin(u + w)], 1),
        "columns and a matrix in common": ([u.sum(axis=0), np.exp(u - u.max(axis=1, keepdims=True))], 1),
    }


TOGETHER: dict[str, Any] = {
    "two": [EXP * SIN],
    "three": [EXP * SIN * COS],
    "three at once": [gc.where(EXP > SIN, COS, EXP)],
    "kept besides": [EXP * SIN, EXP, SIN],
    "a path between": [EXP * INTO],
    "a path to a third": [gc.where(SIN > EXP, INTO, SIN)],
    "of other elements": [EXP * SIN.T],
    "here and elsewhere": [EXP * SIN + EXP.T],
    "guarded": [EXP + gc.pad(SIN[1:], ((0, 1), (0, 0)))],
    "rows of each": [gc.sum(EXP, axis=1) * gc.max(SIN, axis=1)],
    "a row of one for the other": [EXP * (gc.sum(T, axis=1) + 1)[:, None]],
    "shares and a sum": [gc.softmax(U) * gc.sum(T, axis=1)[:, None]],
    "columns of one": [EXP * gc.sum(T, axis=0)],
    "columns and rows": [gc.sum(EXP, axis=0) + gc.sum(SIN, axis=1)],
    "totals": [gc.sum(EXP) * gc.sum(SIN)],
    "a sum of both": [gc.sum(EXP * SIN, axis=0), gc.sum(EXP * SIN)],
    "only a vector in common": [gc.exp(U * W), gc.sin(T * W)],
    "a matrix in common": [gc.exp(U * W), gc.sin(U + W)],
    "columns and a matrix in common": [gc.sum(U, axis=0), gc.exp(U - gc.max(U, axis=1, keepdims=True))],
}


@pytest.mark.parametrize("name", TOGETHER)
def test_groups_that_a_node_reads_become_one(name: str) -> None:
    """If nothing stands between them and each has at hand what the node reads."""
    inputs = [U, V, T, W]
    function = gc.compile(inputs, TOGETHER[name])
    for size in (1, 7, 40):
        values = [np.random.default_rng(k).normal(size=[size] * x.ndim) * 0.3 for k, x in enumerate(inputs)]
        wanted, tasks = _numpy(*values)[name]
        for a, b in zip(function(*values), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11)
        assert len(planned(inputs, TOGETHER[name])[0].tasks) == tasks


def _rows(shape: Sequence[Any], dtype: str = "float64") -> tuple[Node, Node]:
    x = gc.input("x", shape, dtype)
    return x, gc.sum(x * x, axis=-1)


VALUES: dict[str, tuple[tuple[Node, Node], Callable[[Node, Node], Any], int]] = {
    "of rows": (_rows((8, 40)), lambda x, r: gc.tanh(r), 2),
    "of batches of rows": (_rows((2, 4, 40)), lambda x, r: gc.tanh(r), 2),
    "of unknown rows": (_rows(("n", "m")), lambda x, r: gc.tanh(r), 2),
    "and a total of them": (_rows((8, 40)), lambda x, r: [r, gc.sum(gc.tanh(r))], 2),
    "of folded vector math": (_rows((8, 40)), lambda x, r: gc.log(gc.sum(gc.cos(x), axis=-1)), 2),
    "of few rows": (_rows((7, 40)), lambda x, r: gc.tanh(r), 1),
    "of rows that go abreast": (_rows((8, 6)), lambda x, r: gc.tanh(r), 1),
    "of rows that do not": (_rows((8, 7)), lambda x, r: gc.tanh(r), 2),
    "of as many float32": (_rows((8, 12), "float32"), lambda x, r: gc.tanh(r), 1),
    "simple": (_rows((8, 40)), lambda x, r: gc.sqrt(r) + 1, 1),
    "read along rows": (_rows((8, 40)), lambda x, r: x * gc.tanh(r)[:, None], 3),
    "read along rows that go abreast": (_rows((8, 24)), lambda x, r: x * gc.tanh(r)[:, None], 1),
    "read along long rows": (_rows((8, 257)), lambda x, r: x * gc.tanh(r)[:, None], 1),
    "read along unknown rows": (_rows(("n", 40)), lambda x, r: x * gc.tanh(r)[:, None], 1),
    "read along rows that lie far": (_rows((6600, 40)), lambda x, r: x * gc.tanh(r)[:, None], 1),
    "read along rows of vector math": (
        _rows((8, 40)),
        lambda x, r: gc.exp(x) * gc.tanh(gc.sum(gc.exp(x), 1))[:, None],
        1,
    ),
    "read along rows, and what they come to": (_rows((8, 40)), lambda x, r: (x - r[:, None]) * gc.tanh(r)[:, None], 1),
    "read along other rows": (_rows((40, 40)), lambda x, r: [r, x * gc.tanh(r)], 3),
}


@pytest.mark.parametrize("name", VALUES)
def test_vector_math_of_what_rows_come_to_is_a_nest_of_its_own(name: str) -> None:
    """If there are many rows, longer than such as go abreast, and nothing along them reads what it makes; or arrays are
    so small that they may be read again.
    """
    (x, row), make, tasks = VALUES[name]
    assert len(planned([x], make(x, row))[0].tasks) == tasks


def test_an_update_is_still_written_in_place() -> None:
    p = gc.parameter("p", np.ones((4, 5)))
    assert kinds([], [], {p: p - gc.exp(p) * gc.sin(p)}) == ["exp, sin, multiply, subtract"]


# what is written in place


def test_a_new_value_that_others_read_is_written_in_place() -> None:
    x, w = gc.input("x", (6,)), gc.parameter("w", np.zeros(6))
    new = w - 0.1 * x
    assert kinds([x], gc.sum(new * new), {w: new}) == ["subtract", "sum"]
    assert kinds([x], gc.sum(new * new) + new[0], {w: new}) == ["subtract", "sum", "add"]
    assert kinds([x], (new, gc.exp(new)), {w: new}) == ["subtract, exp"]
    assert kinds([x], gc.softmax(new), {w: new})[0] == "subtract"


def test_an_output_that_reads_old_values_elsewhere_goes_before() -> None:
    x, w = gc.input("x", (6,)), gc.parameter("w", np.zeros(6))
    assert kinds([x], gc.exp(w[::-1] * x), {w: w - 0.1 * x}) == ["multiply, exp", "subtract"]
    assert kinds([x], gc.sum(w * w), {w: w - 0.1 * x}) == ["sum", "subtract"]


def test_a_leaf_is_copied_to_the_parameter_it_updates() -> None:
    x, w, old = gc.input("x", (3,)), gc.parameter("w", np.zeros(3)), gc.parameter("old", np.zeros(3))
    assert kinds([x], (), {w: w - x, old: w}) == ["parameter 0 to parameter 1", "subtract"]
    assert kinds([x], gc.sum(w), {w: x}) == ["sum", "input 0 to parameter 0"]
    assert kinds([x], (), {w: w}) == []


def test_of_a_circle_the_last_waits() -> None:
    a, b, c = (gc.parameter(name, np.zeros(3)) for name in "abc")
    assert kinds([], (), {a: b, b: c, c: a}) == [
        "parameter 2 to buffer 0",  # c's new value; b is parameter 0, since it is met first
        "parameter 0 to parameter 2",
        "parameter 1 to parameter 0",
        "buffer 0 to parameter 1",
    ]


def test_no_parameter_is_written_before_a_check() -> None:
    table, at = gc.parameter("table", np.zeros((5, 2))), gc.input("at", ("n",), "int64")
    rows = gc.take(table, at, axis=0)
    loss = gc.sum(rows * rows)
    tasks = planned([at], loss, {table: table - 0.1 * gc.grad(loss, table)})[0].tasks
    last = max(k for k, t in enumerate(tasks) if isinstance(t, Scatter))
    assert [k for k, t in enumerate(tasks) if Place("parameter", 0) in writes(t)] == [last + 1]
    new = table * 2.0  # what is read of the new value at positions is checked after it would be written
    assert kinds([at], gc.take(new, at, axis=0), {table: new})[-1] == "buffer 0 to parameter 0"


# order and conflicts


def entry(*needs: int, reads: Sequence[Node] = (), fails: bool = False, updates: Sequence[int] = ()) -> Entry:
    return Entry(needs, frozenset(reads), fails, tuple(updates))


A, B = gc.parameter("a", 0.0), gc.parameter("b", 0.0)
ORDERS: dict[str, tuple[list[Entry], list[Node], list[int], set[int]]] = {
    "as they come": ([entry(), entry(0), entry(0)], [], [0, 1, 2], set()),
    "needs first": ([entry(2), entry(), entry(1)], [], [1, 2, 0], set()),
    "readers first": ([entry(reads=[A], updates=[0]), entry(reads=[A])], [A], [1, 0], set()),
    "checks first": ([entry(updates=[0]), entry(2, fails=True), entry()], [A], [2, 1, 0], set()),
    "no writer is kept waiting": ([entry(), entry(0), entry(0, updates=[0]), entry(1)], [A], [0, 2, 1, 3], set()),
    "readers before what a writer needs": (
        [entry(), entry(0, updates=[0]), entry(reads=[A])],
        [A],
        [2, 0, 1],
        set(),
    ),
    "two that swap": ([entry(reads=[B], updates=[0]), entry(reads=[A], updates=[1])], [A, B], [1, 0], {1}),
    "a check of the new value": ([entry(updates=[0]), entry(0, fails=True)], [A], [0, 1], {0}),
    "a reader of the new value that reads the old one": ([entry(updates=[0]), entry(0, reads=[A])], [A], [0, 1], {0}),
    "both new values of a writer": (
        [entry(updates=[0, 1]), entry(0, reads=[A]), entry(reads=[B])],
        [A, B],
        [2, 0, 1],
        {0},
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_order(name: str) -> None:
    entries, parameters, order, waiting = ORDERS[name]
    assert ordered(entries, parameters, weigh=len) == (order, waiting)


def test_conflicts_are_those_of_places() -> None:
    x, y, a, b = (Place(kind, k) for kind, k in (("input", 0), ("output", 0), ("buffer", 0), ("buffer", 1)))

    def copy(source: Place, target: Place) -> Copy:
        return Copy(source, target, X.dtype, (3,))

    tasks = [copy(x, a), copy(a, b), copy(a, y), copy(x, a), copy(a, b)]
    assert before(tasks) == ((), (0,), (0,), (0, 1, 2), (1, 3))
    assert needs(tasks) == ((), (0,), (0,), (), (3,))
    assert [(reads(t), writes(t)) for t in tasks[:1]] == [({x}, {a})]


def test_kernels_have_views_of_what_they_load() -> None:
    x = gc.input("x", (4, 6))
    (task,) = planned([x], gc.cumulative_sum(x[::-1, 1::2].T, axis=1), {})[0].tasks
    assert isinstance(task, Kernel)
    source, result = task.views
    assert (source.place, source.shape, source.steps, source.offset) == (Place("input", 0), (3, 4), (2, -6), 19)
    assert (result.place, result.shape, result.steps, result.offset) == (Place("output", 0), (3, 4), (4, 1), 0)
    assert task.job == Job("scan", ("ab", "ab"), "a")


# the verifier


def step() -> tuple[Schedule, Asked]:
    x, w = gc.input("x", ("n", 5)), gc.parameter("w", np.zeros((5, 3)))
    h = gc.tanh(x @ w)
    loss = gc.sum(h * h)
    return planned([x], (loss, h), {w: w - 0.1 * gc.grad(loss, w)})


def without_a_store(tasks: list[Any]) -> None:
    k = next(k for k, t in enumerate(tasks) if isinstance(t, Nest) and len(t.stores) > 1)
    tasks[k] = replace(tasks[k], stores=tasks[k].stores[1:])


def without_a_load(tasks: list[Any]) -> None:
    k = next(k for k, t in enumerate(tasks) if isinstance(t, Nest))
    tasks[k] = replace(tasks[k], loads=())


def written_twice(tasks: list[Any]) -> None:
    tasks.insert(0, replace(tasks[0]))


def too_early(tasks: list[Any]) -> None:
    tasks.insert(0, tasks.pop())


def of_a_product_over_its_operand(tasks: list[Any]) -> None:
    k = next(k for k, t in enumerate(tasks) if isinstance(t, Kernel))
    tasks[k] = replace(tasks[k], stores=((tasks[k].member, tasks[k].loads[0][1]),))


def of_a_view_elsewhere(tasks: list[Any]) -> None:
    k = next(k for k, t in enumerate(tasks) if isinstance(t, Kernel))
    first, *others = tasks[k].operands
    tasks[k] = replace(tasks[k], operands=(replace(first, place=Place("parameter", 1)), *others))


def without_the_end(tasks: list[Any]) -> None:
    tasks.pop()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_a_store, "holds nothing"),
        (without_a_load, "does not load what it reads"),
        (written_twice, "once more"),
        (too_early, "holds nothing"),
        (of_a_product_over_its_operand, "writes parameter 0 while it still reads it"),
        (of_a_view_elsewhere, "its views lie in other places"),
        (without_the_end, "at the end: parameter 0 holds parameter 'w'"),
    ],
)
def test_a_spoilt_schedule_is_refused(spoil: Callable[[list[Any]], None], says: str) -> None:
    found, asked = step()
    tasks = list(found.tasks)
    verify_schedule(found, *asked)
    spoil(tasks)
    with pytest.raises(AssertionError, match=says):
        verify_schedule(replace(found, tasks=tuple(tasks)), *asked)


def test_writing_over_other_elements_is_refused() -> None:
    x, w = gc.input("x", (6,)), gc.parameter("w", np.zeros(6))
    found, asked = planned([x], (), {w: w[::-1] * x})
    (nest, _) = found.tasks
    assert isinstance(nest, Nest)
    spoilt = replace(nest, stores=((nest.members[0], Place("parameter", 0)),))
    with pytest.raises(AssertionError, match="of which it reads other elements"):
        verify_schedule(replace(found, tasks=(spoilt,)), *asked)


def test_writing_before_a_check_is_refused() -> None:
    x, w, at = gc.input("x", (6,)), gc.parameter("w", np.zeros(6)), gc.input("at", ("n",), "int64")
    found, asked = planned([x, at], gc.take(x, at), {w: w + 1.0})
    with pytest.raises(AssertionError, match=r"writes parameter 0 before task \d has made its checks"):
        verify_schedule(replace(found, tasks=(found.tasks[-1], *found.tasks[:-1])), *asked)


# time


def _chain(n: int) -> Any:
    z = y = gc.input("z", ())
    for _ in range(n):
        y = gc.sin(y) + 0.1
    return [z], (y, gc.grad(y, z))


def _fan_out(n: int) -> Any:
    z = gc.input("z", (3,))
    return [z], tuple(gc.sum(gc.sin(z * (k + 1.0))) for k in range(n))


def _fan_in(n: int) -> Any:
    xs = [gc.input(f"x{k}", (4,)) for k in range(n)]
    y = sum((gc.sin(x) for x in xs[1:]), xs[0])
    return xs, (y, gc.grad(gc.sum(y), xs))


def _logistic(n: int) -> Any:
    z = y = gc.input("z", (5,))
    for _ in range(n):
        y = 3.7 * y * (1 - y)
    return [z], gc.grad(gc.sum(y), z)


def _layers(n: int) -> Any:
    x = h = gc.input("x", ("b", 8))
    ws = [gc.parameter(f"w{k}", np.zeros((8, 8))) for k in range(n)]
    for w in ws:
        h = gc.tanh(h @ w)
    return [x], gc.mean(h), {w: w - 0.1 * g for w, g in zip(ws, gc.grad(gc.mean(h), ws), strict=True)}


def _ring_of_updates(n: int) -> Any:
    ps = [gc.parameter(f"p{k}", np.zeros(8)) for k in range(n)]
    return [], (), {p: p + ps[(k + 1) % n] for k, p in enumerate(ps)}


def _stack(n: int) -> Any:
    z = gc.input("z", (n,))
    y = gc.stack([gc.sin(z[k]) for k in range(n)])
    return [z], (y, y * 2.0 + gc.cos(y[::-1]))


def _rolls(n: int) -> Any:
    z = y = gc.input("z", (7,))
    for _ in range(n):
        y = gc.concat([y[1:], y[:1]])
    return [z], y


def _twists(n: int) -> Any:
    z = y = gc.input("z", (6, 10))
    for _ in range(n):
        y = gc.reshape(gc.permute_dims(y, (1, 0)), (6, 10))
    return [z], y


GROWTH = {
    "a chain": (_chain, 100),
    "a fan out": (_fan_out, 120),
    "a fan in": (_fan_in, 60),
    "a recurrence": (_logistic, 60),
    "layers": (_layers, 10),
    "a ring of updates": (_ring_of_updates, 100),
    "a stack": (_stack, 40),
    "rolls": (_rolls, 40),
    "twists": (_twists, 20),
}


@pytest.mark.parametrize("name", GROWTH)
def test_calls_grow_with_the_graph_and_no_faster(name: str) -> None:
    """Twice the nodes, at most 2.2 times the work of the scheduler, counted in calls."""
    make, n = GROWTH[name]
    short, long = (_calls(make(size)) for size in (n, 2 * n))
    assert long < 2.2 * short


def _calls(program: Any) -> int:
    unit = _unit(*program, *([{}] if len(program) == 2 else []), gc.Options(), "f")
    graph = lower(run_pipeline(unit.graph)[0])
    results, values = graph.outputs[: unit.results], graph.outputs[unit.results :]
    with cProfile.Profile() as profile:
        schedule(graph, results, list(zip(unit.updated, values, strict=True)), unit.parameters)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_far_rolls_and_twists_are_right() -> None:
    z = np.arange(60.0)
    rolls, twists = _rolls(9), _twists(9)
    np.testing.assert_array_equal(gc.compile(*rolls)(z[:7]), np.roll(z[:7], -9))
    expected = z.reshape(6, 10)
    for _ in range(9):
        expected = expected.T.reshape(6, 10)
    np.testing.assert_array_equal(gc.compile(*twists)(z.reshape(6, 10)), expected)


def test_outputs_that_are_reshapes_are_made_where_they_lie() -> None:
    """Loops have the axes of what is reshaped; it may be an output itself, a leaf, a product, a result of a loop."""
    x, y = gc.input("x", (6, "n")), gc.input("y", ("n", 6))
    product, far = x @ y, gc.exp(x)
    last, all_of_them = gc.scan(lambda c, k: (c + k, gc.reshape(c * k, (36,))), product, gc.arange(3.0))
    outputs = (
        *(gc.reshape(product, (36,)), product, gc.tile(x, (1, 3)), gc.repeat(y, 2, axis=1), gc.reshape(x, (-1,))),
        *(gc.reshape(gc.reshape(x.T, (-1,)), (2, -1)), far, gc.reshape(far, (3, -1)), gc.sum(gc.reshape(far, (-1,)))),
        *(gc.reshape(last, (4, 9)), all_of_them),
    )
    f = gc.compile([x, y], outputs, options=gc.Options(cache=False))
    slow = gc.compile([x, y], outputs, options=gc.Options(debug=True))
    a, b = np.arange(30.0).reshape(6, 5) / 9, np.arange(30.0).reshape(5, 6)[::-1] / 7
    p, e, k = a @ b, np.exp(a), np.arange(3.0)
    wanted = (
        *(p.reshape(36), p, np.tile(a, (1, 3)), np.repeat(b, 2, axis=1), a.reshape(-1), a.T.reshape(2, -1), e),
        *(e.reshape(3, -1), e.sum(), (p + 3).reshape(4, 9), [((p + k[:n].sum()) * n).ravel() for n in range(3)]),
    )
    for found, checked, want in zip(f(a, b), slow(a, b), wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-12)
        np.testing.assert_allclose(checked, want, rtol=1e-12)
    for whole in (gc.tile(x, (1, 3)), gc.repeat(x, 3, axis=1)):
        assert "quotient(i" not in gc.compile([x], whole).source
    assert "reshape" not in gc.compile([x, y], gc.reshape(product, (36,))).source
