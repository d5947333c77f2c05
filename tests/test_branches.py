"""Choices, loops with a condition, and the short forms of scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support_loops import check_slopes, close, derivatives, held, optimised, values

import graphc as gc
from graphc.errors import GradientError
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import Family

# cond and switch


@pytest.mark.parametrize("value", [4.0, -3.0])
def test_a_choice_and_its_derivatives(value: float) -> None:
    x, w = gc.input("x", ()), gc.input("w", ())
    y = gc.cond(x > 0, lambda: gc.sqrt(x) * w * w, lambda: x * x * w)
    z = gc.sqrt(x) * w * w if value > 0 else x * x * w
    found, wanted = ([n, *derivatives(n, [x, w])] for n in (y, z))
    close(values(found, [x, w], [value, 0.7]), values(wanted, [x, w], [value, 0.7]))


def test_only_the_branch_that_is_taken_is_computed() -> None:
    """A position outside of the array raises where it is read; in a gradient too."""
    x, k = gc.input("x", (3,)), gc.input("k", (), "int64")
    y = gc.cond(k < 3, lambda: gc.take(x, k), lambda: -1.0)
    close(values([y, gc.grad(y, x)], [x, k], [[1.0, 2.0, 3.0], 7]), [-1.0, np.zeros(3)])
    close(values([y, gc.grad(y, x)], [x, k], [[1.0, 2.0, 3.0], 1]), [2.0, [0.0, 1.0, 0.0]])


def test_operands_trees_and_python_scalars() -> None:
    x = gc.input("x", (), "float32")
    operands = ({"a": x, "none": None}, [x * 2])
    found = gc.cond(x > 0, lambda d, s: {"y": (d["a"], 1)}, lambda d, s: {"y": (0, s[0])}, *operands)
    first, second = found["y"]
    assert (first.dtype, second.dtype) == ("float32", "float32")
    close(values([first, second], [x], [np.float32(3)]), [3, 1])
    close(values([first, second], [x], [np.float32(-3)]), [0, -6])


@pytest.mark.parametrize(("index", "wanted"), [(-5, 0.5), (0, 0.5), (1, 0.25), (2, 0.125), (9, 0.125)])
def test_a_switch_takes_the_nearest_branch(index: int, wanted: float) -> None:
    k, x = gc.input("k", (), "int8"), gc.input("x", ())
    y = gc.switch(k, [lambda x: x, lambda x: x * x, lambda x: x * x * x], x)
    close(values([y], [k, x], [np.int8(index), 0.5]), [wanted])


def test_a_condition_that_is_known_leaves_its_branch() -> None:
    x = gc.input("x", ())
    for known in (True, False):
        graph = optimised([gc.cond(known, gc.sin, gc.cos, x)], [x])
        assert [n.op.name for n in graph.nodes] == ["input", "sin" if known else "cos"]


def test_branches_that_do_nothing_or_give_nothing() -> None:
    x = gc.input("x", ())
    assert gc.cond(x > 0, lambda: None, lambda: None) is None
    assert gc.cond(x > 0, lambda: (), lambda: ()) == ()
    y = gc.cond(x > 0, lambda: x, lambda: -x)
    close(values([y, gc.grad(y, x)], [x], [-2.0]), [2.0, -1.0])


def test_a_gradient_of_one_branch_only() -> None:
    x, w = gc.input("x", ()), gc.input("w", ())
    y = gc.cond(x > 0, lambda: w * w, lambda: 1.0)
    close(values(gc.grad(y, [x, w]), [x, w], [1.0, 3.0]), [0.0, 6.0])
    close(values(gc.grad(y, [x, w]), [x, w], [-1.0, 3.0]), [0.0, 0.0])


def test_integer_results_of_a_choice() -> None:
    x, k = gc.input("x", ()), gc.input("k", (), "int64")
    n, y = gc.cond(x > 0, lambda: (k + 1, x * gc.astype(k, "float64")), lambda: (k, x))
    close(values([n, y, gc.grad(y, x)], [x, k], [2.0, 5]), [6, 10.0, 5.0])


def test_choices_in_loops_and_loops_in_choices() -> None:
    x, a = gc.input("x", ("n",)), gc.input("a", ())

    def step(c: Node, e: Node) -> Any:
        c = gc.cond(c > e, lambda: gc.sin(c) * a, lambda: gc.fori_loop(0, 3, lambda i, d: d * 0.9 + e, c))
        return c, c

    carry, ys = gc.scan(step, a, x)
    arrays = [np.array([0.5, -0.3, 0.9, 0.1]), 0.7]
    c, rows = 0.7, []
    for e in arrays[0]:
        if c > e:
            c = np.sin(c) * 0.7
        else:
            for _ in range(3):
                c = c * 0.9 + e
        rows.append(c)
    close(values([carry, ys], [x, a], arrays), [c, rows])
    check_slopes(carry * gc.sum(ys), [x, a], arrays)
    check_slopes(gc.grad(carry * gc.sum(ys), a), [x, a], arrays)


# while_loop


def collatz(n: int) -> int:
    steps = 0
    while n > 1:
        n, steps = (n // 2 if n % 2 == 0 else 3 * n + 1), steps + 1
    return steps


@pytest.mark.parametrize("n", [1, 2, 7, 27])
def test_a_loop_with_a_condition(n: int) -> None:
    start = gc.input("n", (), "int64")

    def step(c: Any) -> Any:
        k, steps = c
        return gc.where(k % 2 == 0, k // 2, 3 * k + 1), steps + 1

    _, steps = gc.while_loop(lambda c: c[0] > 1, step, (start, 0))
    close(values([steps], [start], [n]), [collatz(n)])


@pytest.mark.parametrize("bound", [0, 2, 7, "n", None])
def test_a_bound_is_the_most_steps(bound: Any) -> None:
    x = gc.input("x", ("n",))
    c = gc.while_loop(lambda c: c < 5, lambda c: c + 1, 0, bound=bound)
    close(values([c], [x], [np.zeros(3)]), [min(5, 3 if bound == "n" else 5 if bound is None else bound)])


def test_derivatives_of_a_bounded_loop() -> None:
    """Halving until it is small: the number of steps depends on the values, and they steer the slope."""
    a, b = gc.input("a", ()), gc.input("b", ())
    c, k = gc.while_loop(lambda c: c[0] > 0.3, lambda c: (gc.sin(c[0] * b), c[1] + 1), (a, 0), bound=12)
    arrays = [1.3, 0.8]
    value, steps = arrays[0], 0
    while value > 0.3:
        value, steps = np.sin(value * arrays[1]), steps + 1
    assert 2 < steps < 12
    close(values([c, k], [a, b], arrays), [value, steps])
    by_hand = a
    for _ in range(steps):
        by_hand = gc.sin(by_hand * b)
    found, wanted = (derivatives(y, [a, b]) for y in (c, by_hand))
    close(values(found, [a, b], arrays), values(wanted, [a, b], arrays))


def test_a_loop_without_a_bound_has_no_gradient() -> None:
    a = gc.input("a", ())
    c = gc.while_loop(lambda c: c > 0.3, lambda c: c * 0.5, a)
    with pytest.raises(GradientError, match=r"bound=n.*\n  at .*test_branches"):
        gc.grad(c, a)


def test_a_step_that_the_condition_guards() -> None:
    """The step is not run where the condition does not hold: it reads at a position that is outside then."""
    x = gc.input("x", ("n",))
    total, k = gc.while_loop(lambda c: c[1] < x.shape[0], lambda c: (c[0] + gc.take(x, c[1]), c[1] + 1), (0.0, 0))
    close(values([total, k], [x], [[1.0, 2.0]]), [3.0, 2])
    close(values([total, k], [x], [np.zeros(0)]), [0.0, 0])
    total, _ = gc.while_loop(
        lambda c: c[1] < x.shape[0], lambda c: (c[0] + gc.take(x, c[1]), c[1] + 1), (0.0, 0), bound=5
    )
    close(values([gc.grad(total, x)], [x], [[1.0, 2.0]]), [[1.0, 1.0]])


def test_carries_that_nobody_reads_leave_a_loop_with_a_condition() -> None:
    a = gc.input("a", ())
    c, _, _ = gc.while_loop(lambda c: c[0] < 5, lambda c: (c[0] * 2, c[1] + c[2], gc.exp(c[2])), (a, 0.0, 0.0))
    (loop,) = held(optimised([c], [a]), Family.WHILE)
    assert loop.attrs["carries"] == 1
    assert "exp" not in optimised([c], [a]).text


# fori_loop and map


@pytest.mark.parametrize(("low", "high"), [(0, 4), (2, 5), (-2, 2), (3, 3), (4, 1)])
def test_fori_loop_gives_the_position(low: int, high: int) -> None:
    c = gc.fori_loop(low, high, lambda i, c: c * 2 + i, 1)
    wanted = 1
    for i in range(low, high):
        wanted = wanted * 2 + i
    close(values([c], [], []), [wanted])


def test_fori_loop_between_dimensions() -> None:
    x = gc.input("x", ("n",))
    n = x.shape[0]
    c = gc.fori_loop(n // 2, n, lambda i, c: c + gc.take(x, i), 0.0)
    for size in (0, 1, 5):
        array = np.arange(size, dtype=float)
        close(values([c, gc.grad(c, x)], [x], [array]), [array[size // 2 :].sum(), np.arange(size) >= size // 2])


def test_map_over_trees() -> None:
    x, y = gc.input("x", ("n", 3)), gc.input("y", ("n",))
    found = gc.map(lambda e: {"s": gc.sum(e["x"]) * e["y"], "c": 1.0}, {"x": x, "y": y})
    arrays = [np.arange(6.0).reshape(2, 3), np.array([2.0, 3.0])]
    close(values([found["s"], found["c"]], [x, y], arrays), [[6.0, 36.0], [1.0, 1.0]])
    check_slopes(gc.sum(found["s"] * found["s"]), [x, y], arrays)
    assert interpret(Graph((found["c"],), (x, y)), [np.zeros((0, 3)), np.zeros(0)])[0].shape == (0,)


# associative_scan


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("reverse", [False, True])
def test_prefixes_along_an_axis(axis: int, reverse: bool) -> None:
    x, n = gc.input("x", ("n", 3, 2)), gc.input("m", (4, "n"))
    array = np.random.default_rng(2).normal(size=(5, 3, 2))
    found = gc.associative_scan(lambda a, b: a * b + b, x, axis=axis, reverse=reverse)
    rows = np.moveaxis(array, axis, 0)
    rows = rows[::-1] if reverse else rows
    wanted = [rows[0]]
    for row in rows[1:]:
        wanted.append(wanted[-1] * row + row)
    stacked = np.moveaxis(np.stack(wanted[::-1] if reverse else wanted), 0, axis)
    assert found.shape == x.shape
    close(values([found], [x], [array]), [stacked])
    check_slopes(gc.sum(found * found), [x], [array])
    sums = gc.associative_scan(gc.add, n, axis=-1)
    close(values([sums], [n], [np.ones((4, 3))]), [np.cumsum(np.ones((4, 3)), 1)])


def test_prefixes_of_trees_and_of_one_element() -> None:
    a, b = gc.input("a", ("n",)), gc.input("b", ("n",))

    def combine(first: Any, second: Any) -> Any:
        return {"a": first["a"] * second["a"], "b": first["b"] * second["a"] + second["b"]}

    found = gc.associative_scan(combine, {"a": a, "b": b})
    arrays = [np.array([0.5, 2.0, 3.0]), np.array([1.0, 1.0, 1.0])]
    close(values([found["a"], found["b"]], [a, b], arrays), [[0.5, 1.0, 3.0], [1.0, 3.0, 10.0]])
    close(values([found["b"]], [a, b], [[2.0], [7.0]]), [[7.0]])
    with pytest.raises(gc.ShapeError, match="has no element"):
        gc.associative_scan(gc.add, gc.zeros((0,)))
    with pytest.raises(gc.ShapeError, match="axis 1 does not exist"):
        gc.associative_scan(gc.add, a, axis=1)
    with pytest.raises(gc.ShapeError, match="a step gives back carries"):
        gc.associative_scan(lambda x, y: gc.stack([x, y]), a)
