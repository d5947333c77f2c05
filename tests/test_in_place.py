"""Loops that change arrays in place: what they copy, what they check, and what must not be changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support_loops import close, derivatives, values

import graphc as gc
from graphc.graph import Graph, Node
from graphc.passes import run_pipeline

RNG = np.random.default_rng(0)


def sweeps(x: Any, b: Any, count: int) -> Any:
    def element(i: Any, j: Any, x: Any) -> Any:
        return x.at[i, j].set(0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] + b[i, j]))

    def row(i: Any, x: Any) -> Any:
        return gc.fori_loop(1, x.shape[1] - 1, lambda j, x: element(i, j, x), x)

    return gc.fori_loop(0, count, lambda _, x: gc.fori_loop(1, x.shape[0] - 1, row, x), x)


def swept(x: Any, b: Any, count: int) -> Any:
    x = x.copy()
    for _ in range(count):
        for i in range(1, x.shape[0] - 1):
            for j in range(1, x.shape[1] - 1):
                x[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] + b[i, j])
    return x


def fired(*outputs: Node) -> dict[str, int]:
    _, records = run_pipeline(Graph(outputs))
    return {rule: n for r in records for rule, n in r["rules"].items() if n}


# what is copied


@pytest.mark.parametrize("shape", [(5, 6), ("n", "m")])
def test_a_sweep_copies_its_array_once(shape: tuple[Any, Any]) -> None:
    x, b, w = (gc.input(name, shape) for name in "xbw")
    y = sweeps(x, b, 3)
    arrays = [RNG.normal(size=(5, 6)) for _ in range(3)]
    found = values([y, *gc.grad(gc.sum(w * y), [x, b])], [x, b, w], arrays)
    close(found[:1], [swept(*arrays[:2], 3)], 1e-14)
    moved = sum(float(np.sum(g * a)) for g, a in zip(found[1:], arrays, strict=False))  # y is linear in x and b
    close([moved], [np.sum(arrays[2] * found[0])])
    for outputs in (y, gc.grad(gc.sum(w * y), [x, b])):
        program = gc.compile([x, b, w], outputs).source
        in_loops = program[program.index("# phases, in order") :].partition("begin")[2]
        assert "broadcast_to" not in in_loops
        assert "input" not in in_loops
        assert "buffer" not in in_loops


def test_a_loop_changes_a_parameter_in_place() -> None:
    p = gc.parameter("p", np.arange(4.0))
    new = gc.fori_loop(1, 4, lambda k, p: p.at[k].add(p[k - 1]), p)
    f = gc.compile([], [], updates={p: new})
    assert "copy" not in f.explain()
    for _ in range(2):
        f()
    np.testing.assert_array_equal(p.value, np.cumsum(np.cumsum(np.arange(4.0))))


def test_a_loop_that_fails_leaves_the_parameter() -> None:
    p, k = gc.parameter("p", np.arange(4.0)), gc.input("k", ("steps",), gc.int64)
    new, _ = gc.scan(lambda p, k: (p.at[k].add(1.0), None), p, k)
    f = gc.compile([k], [], updates={p: new})
    f([1, 1])
    with pytest.raises(gc.InputError, match="position 4 does not lie on axis 0"):
        f([0, 4])
    np.testing.assert_array_equal(p.value, [0.0, 3.0, 2.0, 3.0])


def carried(step: Callable[..., Any], *inits: Any) -> list[Node]:
    """Both carries after three runs of a loop within a loop."""
    return list(gc.fori_loop(0, 3, lambda _, c: step(*c), inits))


@pytest.mark.parametrize(
    "step",
    [
        lambda a, b: gc.fori_loop(0, 2, lambda k, c: (c[0].at[k].add(c[1][k]), c[1] * 0.5), (b, a)),
        lambda a, b: (gc.fori_loop(0, 2, lambda k, c: c.at[k].add(a[1 - k]), a), b + a),
        lambda a, b: (gc.fori_loop(0, 2, lambda k, c: c.at[k].add(1.0), b), b),
        lambda a, b: (a + 1.0, gc.fori_loop(0, 2, lambda k, c: c.at[k].add(b[0] * a[1]), a)),
        lambda a, b: (gc.fori_loop(0, 2, lambda k, c: c.at[1 - k].multiply(c[k]), a), a + b),
        lambda a, b: (gc.cond(a[0] > 3.0, lambda a: a.at[0].set(b[1]), lambda a: a, a), a),
    ],
    ids=["swapped", "read as well", "one for both", "the other one", "read beside", "a choice"],
)
def test_carries_that_lie_in_each_others_way(step: Callable[..., Any]) -> None:
    a, b = gc.input("a", (2,)), gc.input("b", (2,))
    found = carried(step, a, b)
    unrolled: Any = (a, b)
    for _ in range(3):
        unrolled = step(*unrolled)
    arrays = [np.array([1.0, 2.0]), np.array([0.5, -1.5])]
    every = [[*found, *derivatives(gc.sum(found[0] * found[1]), [a, b])]]
    every.append([*unrolled, *derivatives(gc.sum(unrolled[0] * unrolled[1]), [a, b])])
    close(values(every[0], [a, b], arrays), values(every[1], [a, b], arrays))


def test_a_loop_that_does_nothing() -> None:
    x, k = gc.input("x", (3,)), gc.input("k", (), gc.int64)
    still = gc.fori_loop(0, 3, lambda _, c: c * 1.0, x)
    inner = gc.fori_loop(0, 2, lambda _, c: gc.fori_loop(0, 3, lambda _, c: c * 1.0, c) + 1.0, x)
    waits = gc.while_loop(lambda c: c[0] < k, lambda c: (c[0] + 1, c[1] * 1.0), (0, x))[1]
    found = values([still, inner, waits], [x, k], [[1.0, 2.0, 3.0], 2])
    close(found, [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [1.0, 2.0, 3.0]])


# sums that go on


def added(x: Any, start: Any) -> Any:
    return gc.scan(lambda total, x: (total + gc.sin(x), None), start, x)[0]


def test_sums_that_go_on() -> None:
    x, a = gc.input("x", (3, 2)), gc.input("a", (2,))
    zeros = gc.zeros((2,))
    total = added(x, zeros)
    apart = gc.scan(lambda c, x: ((c[0] + x, c[1] + c[0]), None), (zeros, zeros), x)[0]
    both = gc.scan(lambda c, x: ((c[0] + x, c[1] - x), None), (zeros, zeros), x)[0]
    cases = [
        (a + total, 1),
        (total + a, 1),
        (total + total, 0),
        (total * (a + total), 0),  # the sum is read as well
        (a + added(x, a), 0),  # it begins as something
        ((a + apart[0]) * apart[1], 0),  # a step reads it
        (a + apart[1], 1),
        (both[0] + both[1], 0),  # a loop would begin as what it makes
        ((a + both[0]) * (2.0 * a + both[1]), 1),  # what is subtracted is no sum
        (a + gc.scan(lambda total, x: (total + x, total), zeros, x)[1][2], 0),
        (a + added(gc.scan(lambda t, x: (t + added(x * a, gc.zeros(())), None), 0.0, x)[0] * x, zeros), 2),
    ]
    arrays = [RNG.normal(size=(3, 2)), RNG.normal(size=2)]
    for k, (node, count) in enumerate(cases):
        assert fired(node).get("sum that goes on", 0) == count, k
        values([node], [x, a], arrays)


def test_sums_of_two_loops_do_not_wait_for_each_other() -> None:
    x = gc.input("x", (3, 2))
    zeros = gc.zeros((2,))
    step = lambda c, x: ((c[0] + x, gc.sin(c[1]) + x), None)  # noqa: E731
    (sum1, last1), _ = gc.scan(step, (zeros, zeros), x)
    (sum2, last2), _ = gc.scan(step, (zeros, zeros), gc.exp(x))
    outputs = [last2 + sum1, last1 + sum2]
    assert fired(*outputs)["sum that goes on"] == 1
    values(outputs, [x], [RNG.normal(size=(3, 2))])


# positions that lie inside


def shifted(low: Any, high: Any, at: Callable[[Any], Any], n: Any = 5) -> tuple[Node, Node]:
    x = gc.input("x", (n,))
    return x, gc.fori_loop(low, high, lambda i, x: x.at[at(i)].add(1.0), x)


@pytest.mark.parametrize(
    ("low", "high", "at"),
    [
        (0, 5, lambda i: i),
        (1, 5, lambda i: i - 1),
        (0, 4, lambda i: i + 1),
        (0, 5, lambda i: 4 - i),
        (0, 3, lambda i: 2 * i),
        (0, 9, lambda i: gc.minimum(i, 4)),
        (-2, 3, lambda i: gc.maximum(i, 0)),
    ],
)
def test_positions_of_loops_are_not_checked(low: int, high: int, at: Callable[[Any], Any]) -> None:
    x, counts = shifted(low, high, at)
    assert fired(counts)["position inside"] == 1
    f = gc.compile([x], counts)
    assert "checked" not in f.source
    wanted = np.zeros(5)
    for i in range(low, high):
        wanted[int(gc.compile([], at(gc.constant(i)))())] += 1.0
    np.testing.assert_array_equal(f(np.zeros(5)), wanted)


@pytest.mark.parametrize(
    ("low", "high", "at", "position"),
    [
        (0, 5, lambda i: i + 1, 5),
        (-6, 0, lambda i: i, -6),
        (0, 5, lambda i: 2 * i, 6),
        (0, 5, lambda i: (i + 2**62) * 4, 4 * 5),
        (0, 9, lambda i: gc.minimum(i, 5), 5),
        (0, 5, lambda i: i * i, 9),
        (0, 6, lambda i: 5 - i, 5),
    ],
)
def test_positions_that_may_lie_outside_are_checked(
    low: int, high: int, at: Callable[[Any], Any], position: int
) -> None:
    x, counts = shifted(low, high, at)
    assert "position inside" not in fired(counts)
    if position != 20:  # that one wraps, and lies inside at first
        with pytest.raises(gc.InputError, match=f"position {position} does not lie on axis 0"):
            gc.compile([x], counts)(np.ones(5))


def test_negative_positions_still_count_from_the_end() -> None:
    x, counts = shifted(0, 3, lambda i: i - 1)
    assert "position inside" not in fired(counts)
    np.testing.assert_array_equal(gc.compile([x], counts)(np.zeros(5)), [1.0, 1.0, 0.0, 0.0, 1.0])


def test_positions_of_symbolic_loops() -> None:
    n = gc.input("x", ("n",)).shape[0]
    for high, at, count in ((n, lambda i: i, 1), (n - 1, lambda i: i + 1, 1), (n, lambda i: i + 1, 0)):
        _, counts = shifted(0, high, at, "n")
        assert fired(counts).get("position inside", 0) == count
    x, counts = shifted(1, n - 1, lambda i: i + 1, "n")
    f = gc.compile([x], counts)
    assert "checked" not in f.source
    assert [float(np.sum(f(np.zeros(k)))) for k in (0, 1, 2, 3, 5)] == [0.0, 0.0, 0.0, 1.0, 3.0]


def test_positions_within_loops_and_choices() -> None:
    x = gc.input("x", (4, 3))

    def row(i: Any, total: Any) -> Any:
        return gc.fori_loop(0, 3, lambda j, t: t + gc.cond(t > 0.0, lambda: x[i, j], lambda: -x[i - 1, j]), total)

    total = gc.fori_loop(1, 4, row, 0.0)
    assert fired(total)["position inside"] == 4
    values([total, *derivatives(total, [x])], [x], [RNG.normal(size=(4, 3))])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "n"), [("m", "n"), (70, 300), (5, 17), (1, 1), (0, 3)])
@pytest.mark.parametrize("itself", [False, True])
def test_a_nest_that_folds_writes_over_what_it_reads(itself: bool, m: Any, n: Any, dtype: str) -> None:
    """Sums of what is made of an array, in the sweep that writes over it; not if its own elements are summed."""
    x, w, v = (gc.input(name, shape, dtype) for name, shape in (("x", (m, 7)), ("w", (7, n)), ("v", (n, 3))))
    z = x @ w
    y = gc.relu(z) * 0.5 + 1.0
    outputs = (y @ v, gc.sum(z * z), gc.sum(y, axis=0), gc.sum(z) if itself else gc.sum(y * y, axis=0))
    f = gc.compile([x, w, v], outputs, options=gc.Options(cache=False))
    if n not in (1, 3):
        assert f.explain().count(f"{dtype}[{m}, {n}]: ") == 1 + itself
    rng = np.random.default_rng(0)
    sizes = [(m, n)] if isinstance(m, int) else [(70, 300), (3, 1025), (300, 5), (1, 1), (0, 2), (129, 64)]
    for rows, columns in sizes:
        a, b, c = (rng.normal(size=s).astype(dtype) for s in ((rows, 7), (7, columns), (columns, 3)))
        old = a.astype("f8") @ b
        new = np.maximum(old, 0) * 0.5 + 1.0
        last = old.sum() if itself else (new * new).sum(axis=0)
        for got, want in zip(f(a, b, c), (new @ c, (old * old).sum(), new.sum(axis=0), last), strict=True):
            close = {"rtol": 2e-5, "atol": 1e-3} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-10}
            np.testing.assert_allclose(got, want, **close)
