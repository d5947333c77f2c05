"""Forward mode, Jacobians and Hessians: against differences and closed forms, through loops and branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from support_loops import close, values

import graphc as gc
from graphc.errors import GradientError, ShapeError
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import Family
from graphc.ops.bodies import is_slot

X = np.array([0.3, -1.2, 2.1])
V = np.array([0.7, 0.1, -0.4])


def _elementwise(x: Node) -> Node:
    return gc.tanh(x) * gc.exp(-0.1 * x)


def _softmax(x: Node) -> Node:
    return gc.softmax(x) * x[0]


def _matrix(x: Node) -> Node:
    return gc.outer(x, gc.sin(x)) @ x


def _scan(x: Node) -> Node:
    carry, ys = gc.scan(lambda c, e: (gc.sin(c) * e, c * e), x[0], x)
    return ys + carry


def _while(x: Node) -> Node:
    return gc.while_loop(lambda c: gc.sum(c) < 40.0, lambda c: c * c + 1.1, x, bound=6)


def _cond(x: Node) -> Node:
    return gc.cond(x[0] > 0.0, lambda x: x * x * x[1], gc.exp, x)


def _switch(x: Node) -> Node:
    return gc.switch(gc.astype(x[2], "int64"), [gc.sin, gc.cos, lambda x: x**3 + x[0]], x)


def _sorted(x: Node) -> Node:
    return gc.sort(x) * gc.cumulative_prod(x)


def _gathered(x: Node) -> Node:
    return gc.take(x, [2, 2, 0]) * gc.max(x)


def _fori(x: Node) -> Node:
    return gc.fori_loop(0, 4, lambda i, c: gc.sin(c) + x * c * gc.astype(i, "float64"), x)


EVERY = (_elementwise, _softmax, _matrix, _scan, _while, _cond, _switch, _sorted, _gathered, _fori)
every_function = pytest.mark.parametrize("function", EVERY, ids=lambda f: f.__name__)


def at(nodes: Sequence[Node], x: Node, value: Any = X) -> tuple[Any, ...]:
    return interpret(Graph(tuple(nodes), (x,)), [value])


def slope(function: Callable[[Any], Any], value: Any, along: Any, step: float = 1e-6) -> Any:
    return (function(value + step * along) - function(value - step * along)) / (2 * step)


@every_function
def test_a_tangent_is_the_slope_along_it(function: Any) -> None:
    x, v = gc.input("x", (3,)), gc.input("v", (3,))
    y = function(x)
    (found,) = values([gc.jvp(y, x, v)], [x, v], [X, V])
    close([found], [slope(lambda t: at([y], x, t)[0], X, V)], 1e-7)


@every_function
def test_tangents_of_tangents(function: Any) -> None:
    """Second order, forward over forward; third, reverse over both."""
    x = gc.input("x", (3,))
    y = function(x)
    first = gc.jvp(y, x, V)
    second = gc.jvp(first, x, V[::-1].copy())
    third = gc.grad(gc.sum(second), x)
    found = values([second, third], [x], [X])
    close(found[:1], [slope(lambda t: at([first], x, t)[0], X, V[::-1])], 1e-6)
    close([found[1] @ V], [slope(lambda t: np.sum(at([second], x, t)[0]), X, V)], 1e-5)


@every_function
def test_jacobians_of_both_directions(function: Any) -> None:
    x = gc.input("x", (3,))
    y = function(x)
    rows = np.stack([slope(lambda t: at([y], x, t)[0], X, e) for e in np.eye(3)], axis=-1)
    reverse = gc.jacobian(y, x)
    forward = gc.jacobian(gc.concat([y, gc.sum(y, keepdims=True)]), x)
    found = values([reverse, forward], [x], [X])
    close([found[0], found[1][:3]], [rows, rows], 1e-7)
    close([found[1][3]], [rows.sum(axis=0)], 1e-7)


@every_function
def test_hessians(function: Any) -> None:
    x, v = gc.input("x", (3,)), gc.input("v", (3,))
    y = gc.sum(function(x) ** 2)
    square, product = values([gc.hessian(y, x), gc.hvp(y, x, v)], [x, v], [X, V])
    g = gc.grad(y, x)
    close([square], [np.stack([slope(lambda t: at([g], x, t)[0], X, e) for e in np.eye(3)], axis=-1)], 1e-5)
    close([square, product], [square.T, square @ V])


def test_no_cotangent_is_left_in_a_tangent() -> None:
    x = gc.input("x", (3,))
    for function in EVERY:
        nodes = Graph((gc.jvp(function(x), x, V), gc.hvp(gc.sum(function(x)), x, V))).nodes
        assert not any(is_slot(n) for n in nodes), function.__name__


def test_a_jacobian_runs_its_function_once() -> None:
    """What does not depend on the row is computed for none of them in particular."""
    x, w = gc.input("x", (5,)), gc.input("w", (7, 5))
    y = gc.tanh(w @ x)
    for nodes in ([gc.jacobian(y, x)], [gc.jacobian(y, w)]):
        tanhs = [n for n in Graph(tuple(nodes)).nodes if n.op.name == "tanh"]
        assert [n.shape for n in tanhs] == [(7,)]


def test_a_jacobian_of_a_loop_is_one_loop_for_all_rows() -> None:
    x = gc.input("x", (3,))
    reverse, forward = gc.jacobian(_scan(x)[:2], x), gc.jacobian(gc.concat([_scan(x)] * 2), x)
    for node in (reverse, forward):
        assert sum(n.op.family is Family.LOOP for n in Graph((node,)).nodes) <= 3


class Pair(NamedTuple):
    a: Any
    b: Any


def test_trees() -> None:
    x = {"u": gc.input("u", (2,)), "w": [gc.input("w", ("n", 2))]}
    u, w = x["u"], x["w"][0]
    y = Pair(w @ u, (gc.sum(u * u),))
    tangent = {"u": np.array([1.0, 2.0]), "w": [gc.ones(w.shape)]}
    moved = gc.jvp(y, x, tangent)
    assert isinstance(moved, Pair)
    assert isinstance(moved.b, tuple)
    square = gc.jacobian(y, x)
    assert isinstance(square, Pair)
    assert square.a.keys() == x.keys()
    assert [str(d) for d in square.a["w"][0].shape] == ["n", "n", "2"]
    a, b = np.array([2.0, -1.0]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    found = values([moved.a, moved.b[0], square.a["u"], square.a["w"][0], square.b[0]["w"][0]], [u, w], [a, b])
    close(found[:2], [b @ [1.0, 2.0] + np.sum(a), 2 * a @ [1.0, 2.0]])
    close(found[2:], [b, np.einsum("ij,k->ijk", np.eye(3), a), np.zeros((3, 2))])


def test_a_jacobian_of_many_results_goes_both_ways() -> None:
    """Long results forward, short ones in reverse, whatever their order, and one that stands in two places."""
    x = gc.input("x", (3,))
    long = [gc.concat([x, x * x]), gc.outer(x, gc.sin(x)), gc.stack([gc.exp(x)] * 3)]
    short = [gc.sum(x * x), gc.sin(x), gc.trace(gc.outer(x, x))]
    for results in (long + short, short + long, [long[0], short[0], long[0], long[1], short[0]]):
        for node, found in zip(results, at(gc.jacobian(results, x), x), strict=True):
            (alone,) = at([gc.jacobian(node, x)], x)
            slopes = np.stack([slope(lambda v, node=node: at([node], x, v)[0], X, e) for e in np.eye(3)], axis=-1)
            np.testing.assert_array_equal(found, alone)
            np.testing.assert_allclose(found, slopes, rtol=0, atol=1e-7)


def test_a_hessian_of_a_tree_holds_trees() -> None:
    a, b = gc.input("a", (2,)), gc.input("b", ())
    found = gc.hessian(gc.sum(a * a * a) * b * b, {"a": a, "b": b})
    parts = [found[p][q] for p in "ab" for q in "ab"]
    assert [p.shape for p in parts] == [(2, 2), (2,), (2,), ()]
    one = np.array([1.0, 2.0])
    close(
        values(parts, [a, b], [one, 3.0]), [np.diag(6 * one * 9), 3 * one**2 * 6, 3 * one**2 * 6, 2 * np.sum(one**3)]
    )


def test_symbolic_sizes_down_to_nothing() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], (gc.jacobian(x * x, x), gc.hessian(gc.sum(x**3), x), gc.hvp(gc.sum(x**3), x, x)))
    for n in (0, 1, 4):
        v = np.arange(1.0, n + 1)
        close(f(v), [np.diag(2 * v), np.diag(6 * v), 6 * v * v])


def test_a_tangent_of_what_does_not_move_is_zero() -> None:
    x, z = gc.input("x", (3,)), gc.input("z", (2,))
    nodes = [gc.jvp(z, x, V), gc.jacobian(z, x), gc.jacobian(gc.stop_gradient(x), x), gc.hessian(gc.sum(x), x)]
    close(values(nodes, [x, z], [X, [1.0, 2.0]]), [np.zeros(s) for s in ((2,), (2, 3), (3, 3), (3, 3))])


def test_float32_stays() -> None:
    x = gc.input("x", (3,), "float32")
    for node in (gc.jvp(gc.sin(x), x, V), gc.jacobian(gc.sin(x), x), gc.hessian(gc.sum(gc.sin(x)), x)):
        assert node.dtype == "float32"


def test_linearize_takes_many_tangents_and_gives_the_value() -> None:
    x = gc.input("x", (3,))
    y, push = gc.linearize([gc.sin(x)], x)
    found = values([y[0], push(V)[0], push(1.0)[0]], [x], [X])
    close(found, [np.sin(X), np.cos(X) * V, np.cos(X)])


def test_cotangents_of_a_tree_add_up() -> None:
    x = gc.input("x", (3,))
    (found,) = values([gc.vjp({"a": x * x, "b": [gc.sum(x)]}, x, {"a": V, "b": [2.0]})], [x], [X])
    close([found], [2 * X * V + 2])
    assert gc.vjp([], {"x": x}, [])["x"].shape == (3,)
    assert gc.jvp({"y": x}, [], [])["y"].shape == (3,)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: gc.jvp(gc.astype(x, "int64"), x, V), GradientError, "is not float"),
        (lambda x: gc.jvp(x, gc.input("k", (), "int64"), 1), GradientError, "is not float"),
        (lambda x: gc.jvp(x, {"x": x}, {"y": V}), GradientError, "the tangent of x must be a tree like"),
        (lambda x: gc.jvp(x, x, [1.0, 2.0]), ShapeError, "got 2 and 3"),
        (lambda x: gc.vjp([x, x], x, [V]), GradientError, "the cotangent of y must be a tree like"),
        (lambda x: gc.jacobian(3.0, x), GradientError, "got 3.0"),
        (lambda x: gc.hessian(x, x), GradientError, "needs a scalar"),
        (lambda x: gc.grad([gc.sum(x)], x), GradientError, "needs a scalar"),
        (lambda x: gc.hvp(gc.sum(x), x, {"x": V}), GradientError, "the tangent of x"),
        (lambda x: gc.jvp(gc.while_loop(lambda c: gc.sum(c) < 9, gc.exp, x), x, V), GradientError, "bound=n"),
    ],
)
def test_what_can_not_be(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call(gc.input("x", (3,)))
