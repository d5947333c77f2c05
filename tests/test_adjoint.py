"""The adjoint walk: what it gives for shapes of graphs rather than for ops, and the guards."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from support_ops import call, sin_cos

import graphc as gc
from graphc.errors import GradientError
from graphc.graph import Graph, Node, make
from graphc.interpret import interpret
from graphc.op import Family, Op, register
from graphc.ops.item import item
from graphc.ops.rules import elementwise
from graphc.passes import run_pipeline
from graphc.schedule.lower import lower
from graphc.types import FLOATS

X = np.array([0.3, -1.2, 2.0])


def values(nodes: Any, x: Node, value: Any = X) -> tuple[Any, ...]:
    return interpret(Graph(tuple(nodes), (x,)), [value])


def test_a_node_used_twice_gets_both_cotangents() -> None:
    x = gc.input("x", (3,))
    h = gc.tanh(x)
    y = gc.sum(h * gc.sin(h) + h)
    (slope,) = values([gc.grad(y, x)], x)
    t = np.tanh(X)
    np.testing.assert_allclose(slope, (np.sin(t) + t * np.cos(t) + 1) * (1 - t * t), rtol=1e-14)


def test_a_product_with_itself() -> None:
    x = gc.input("x", (3,))
    np.testing.assert_array_equal(*values([gc.grad(gc.sum(x * x), x), 2 * x], x))


def test_gradient_of_gradient_of_gradient() -> None:
    x = gc.input("x", ())
    node = gc.sin(x) * x
    for _ in range(3):
        node = gc.grad(node, x)
    (third,) = values([node], x, 0.7)
    np.testing.assert_allclose(third, -np.cos(0.7) * 0.7 - 3 * np.sin(0.7), rtol=1e-13)


def test_the_structure_of_wrt_comes_back() -> None:
    x, w = gc.input("x", (3,)), gc.input("w", (3,))
    y = gc.sum(x * w)
    assert isinstance(gc.grad(y, x), Node)
    assert type(gc.grad(y, [x, w])) is list
    assert type(gc.grad(y, (x, w))) is tuple
    value, slope = gc.value_and_grad(y, x)
    assert value is y
    assert slope is gc.grad(y, x)


def test_unused_nodes_have_gradient_zero() -> None:
    x, unused = gc.input("x", (3,)), gc.input("u", (2, "n"), "float32")
    g = gc.grad(gc.sum(x), unused)
    assert g.types == unused.types
    (zeros,) = interpret(Graph((g,), (unused,)), [np.ones((2, 4), np.float32)])
    assert not zeros.any()


def test_the_node_itself_and_stopped_nodes() -> None:
    x = gc.input("x", ())
    y = x * x
    assert values([gc.grad(y, y)], x, 3.0) == (1.0,)
    assert values([gc.grad(gc.stop_gradient(y) * x, x)], x, 3.0) == (9.0,)


def test_an_intermediate_node_stays_reachable_though_its_form_is_unstable() -> None:
    x = gc.input("x", (3,))
    p = gc.softmax(x)
    g_p, g_x = gc.grad(gc.log(p)[0], [p, x])
    got_p, got_x, q = values([g_p, g_x, p], x)
    np.testing.assert_allclose(got_p, [1 / q[0], 0, 0], rtol=1e-15)
    np.testing.assert_allclose(got_x, np.eye(3)[0] - q, atol=1e-15)


def test_a_constant_can_be_differentiated_by() -> None:
    x, one = gc.input("x", ()), gc.constant(1.0)
    assert values([gc.grad(gc.log(one + x), one)], x, 1.0) == (0.5,)


def test_a_constant_power_of_two_has_a_slope_at_zero() -> None:
    x = gc.input("x", ())
    first = gc.grad(x**2, x)
    assert values([first, gc.grad(first, x)], x, 0.0) == (0.0, 2.0)


def test_broadcasting_is_undone_for_symbols() -> None:
    x, w = gc.input("x", ("n", 3)), gc.input("w", (1, 3))
    g = gc.grad(gc.sum(x * w), w)
    assert g.shape == (1, 3)
    (got,) = interpret(Graph((g,), (x, w)), [np.arange(6.0).reshape(2, 3), np.ones((1, 3))])
    np.testing.assert_array_equal(got, [[3, 5, 7]])


def test_a_deep_graph_needs_no_recursion() -> None:
    x = gc.input("x", ())
    y = x
    for _ in range(3000):
        y = y + x
    assert values([gc.grad(y, x)], x, 1.0) == (3001.0,)


# Errors.


def test_what_has_no_gradient_is_refused() -> None:
    x, k = gc.input("x", (3,)), gc.input("k", (3,), "int64")
    with pytest.raises(GradientError, match=r"gc\.vjp"):
        gc.grad(x * x, x)
    with pytest.raises(GradientError, match=r"'k'.* is not float"):
        gc.grad(gc.sum(x * k), k)
    with pytest.raises(GradientError, match="is not float"):
        gc.grad(gc.sum(k), x)
    with pytest.raises(GradientError, match=r"with respect to a node, or .* of nodes; got 3"):
        gc.grad(gc.sum(x), [3])
    with pytest.raises(GradientError, match=r"taken of a node, or .*; got 1\.0"):
        gc.grad(1.0, x)


NOT_DIFFERENTIABLE = register(
    Op(
        name="_test_not_differentiable",
        doc="x, without a slope.",
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        reference=lambda x: x,
        body="x",
    )
)


def test_an_op_without_an_adjoint_names_the_way_out() -> None:
    x = gc.input("x", ())
    y = make(NOT_DIFFERENTIABLE, (x,))
    with pytest.raises(GradientError, match=r"can't be differentiated; gc\.stop_gradient"):
        gc.grad(y, x)
    assert values([gc.grad(gc.stop_gradient(y) + x, x)], x, 1.0) == (1.0,)


# Guards.

GUARDED = {
    "log": (lambda x: gc.where(x > 0, gc.log(x), 0.0), lambda x: np.where(x > 0, 1 / x, 0.0)),
    "the other side": (lambda x: gc.where(x <= 0, 0.0, gc.log(x)), lambda x: np.where(x > 0, 1 / x, 0.0)),
    "quotient": (
        lambda x: gc.where(x != 0, gc.sin(x) / x, 1.0),
        lambda x: np.where(x != 0, np.cos(x) / x - np.sin(x) / x**2, 0.0),
    ),
    "chain": (
        lambda x: gc.where(x > 0, gc.sqrt(gc.log(x * x) * 0 + x), 0.0),
        lambda x: np.where(x > 0, 0.5 / np.sqrt(x), 0.0),
    ),
    "product with itself": (
        lambda x: gc.where(x > 0, gc.log(x) * gc.log(x), 0.0),
        lambda x: np.where(x > 0, 2 * np.log(x) / x, 0),
    ),
    "two guards": (
        lambda x: gc.where(x > -5, gc.where(x > 0, gc.log(x), 0.0), 0.0),
        lambda x: np.where(x > 0, 1 / x, 0.0),
    ),
    "maximum": (lambda x: gc.sqrt(gc.maximum(x, 0)), lambda x: np.where(x > 0, 0.5 / np.sqrt(x), 0.0)),
    "two sides": (lambda x: gc.where(x > 0, gc.log(x), -x), lambda x: np.where(x > 0, 1 / x, -1.0)),
}


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_guard_guards_its_gradient(name: str) -> None:
    form, slope = GUARDED[name]
    points = np.array([-2.0, 0.0, 0.5, 3.0]) if name != "maximum" else np.array([-2.0, -1e-300, 0.5, 3.0])
    x = gc.input("x", points.shape)
    got, want = values([gc.grad(gc.sum(form(x)), x)], x, points)[0], slope(points)
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_a_guard_guards_the_second_gradient() -> None:
    points = np.array([-2.0, 0.0, 0.5])
    x = gc.input("x", points.shape)
    first = gc.grad(gc.sum(gc.where(x > 0, gc.log(x), 0.0)), x)
    np.testing.assert_array_equal(values([gc.grad(gc.sum(first), x)], x, points)[0], [0, 0, -4])


def test_a_guard_stops_at_other_ops() -> None:
    """Behind a sum the cotangent is one number, and the slope at the guarded points is that of the sum."""
    points = np.array([0.0, 4.0])
    x = gc.input("x", points.shape)
    total = gc.sum(gc.sqrt(x))
    y = gc.where(total > 100, total, 0.0)
    (slope,) = values([gc.grad(y, x)], x, points)
    assert np.isnan(slope[0])
    assert slope[1] == 0


def test_a_small_condition_guards_a_large_operand() -> None:
    c, x = gc.input("c", (2, 1), gc.bool), gc.input("x", (3,))
    g = gc.grad(gc.sum(gc.where(c, gc.log(x), 0.0)), x)
    (slope,) = interpret(Graph((g,), (c, x)), [np.array([[True], [False]]), np.array([1.0, 2.0, 4.0])])
    np.testing.assert_array_equal(slope, [1, 0.5, 0.25])


# An op with two results, and one that holds a sub-graph, through every stage before code.


def body() -> Graph:
    u, v = gc.input("u", (3,)), gc.input("v", (3,))
    s, _ = sin_cos(u)
    return Graph((s * v, gc.log(gc.exp(u)) + v), (u, v))


def outputs(x: Node) -> tuple[Node, ...]:
    s, c = sin_cos(x)
    held = call(body(), x, c)  # the second operand depends on the first
    y = gc.sum(item(held, 0) * s + item(held, 1))
    first = gc.grad(y, x)
    return y, first, gc.grad(gc.sum(first), x)


def plain(x: Node) -> tuple[Node, ...]:
    s, c = gc.sin(x), gc.cos(x)
    y = gc.sum(s * c * s + (x + c))
    first = gc.grad(y, x)
    return y, first, gc.grad(gc.sum(first), x)


def test_two_results_and_sub_graphs_through_interpreter_and_adjoint() -> None:
    x = gc.input("x", (3,))
    for got, want in zip(values(outputs(x), x), values(plain(x), x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)


def test_two_results_and_sub_graphs_through_verify_text_hash_and_pickle() -> None:
    x = gc.input("x", (3,))
    graph = Graph(outputs(x), (x,))
    graph.verify()
    assert "_test_call" in graph.text
    assert "{\n    " in graph.text
    assert graph == Graph(outputs(x), (x,))
    assert hash(graph) == hash(Graph(outputs(x), (x,)))
    copy = pickle.loads(pickle.dumps(graph))
    copy.verify()
    assert copy.text == graph.text
    for got, want in zip(interpret(copy, [X]), interpret(graph, [X]), strict=True):
        np.testing.assert_array_equal(got, want)


def test_two_results_and_sub_graphs_through_the_passes() -> None:
    x = gc.input("x", (3,))
    graph = Graph(outputs(x), (x,))
    optimised, records = run_pipeline(graph)
    assert records[1]["rules"]["log of exp"] > 0, "the sub-graph is optimised too"
    flat = lower(optimised)
    assert all(n.op.family is not Family.REGION for n in optimised.nodes)
    for stage in (optimised, flat):
        for got, want in zip(interpret(stage, [X]), interpret(graph, [X]), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-14)


def test_unused_results_are_dead_code() -> None:
    x = gc.input("x", (3,))
    held = call(body(), x, gc.exp(x))
    graph = lower(run_pipeline(Graph((item(held, 1),), (x,)))[0])
    assert {n.op.name for n in graph.nodes} == {"input", "exp", "add"}


def test_one_result_of_two_is_differentiated() -> None:
    x = gc.input("x", (3,))
    _, c = sin_cos(x)
    np.testing.assert_array_equal(values([gc.grad(gc.sum(c), x)], x)[0], -np.sin(X))


def test_a_guard_guards_an_op_with_two_results() -> None:
    x = gc.input("x", (2,))
    s, c = sin_cos(1 / x)
    g = gc.grad(gc.sum(gc.where(x > 0, s * c, 0.0)), x)
    (slope,) = values([g], x, np.array([0.0, 2.0]))
    np.testing.assert_allclose(slope, [0.0, -np.cos(1.0) / 4], rtol=1e-15)
