"""Ops that only tests have, compiled: one with two results and one that holds a sub-graph, and what an edit changes."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support_ops import CALL, call, sin_cos

import graphc as gc
from graphc.graph import Graph, Node, item
from graphc.interpret import interpret

Values = np.ndarray[Any, Any]


def check(outputs: Sequence[Node], inputs: Sequence[Node], values: Sequence[Values], pickled: bool = False) -> None:
    """Compiled against interpreted."""
    f = gc.compile(inputs, list(outputs))
    f = pickle.loads(pickle.dumps(f)) if pickled else f
    expected = interpret(Graph(tuple(outputs), tuple(inputs)), values)
    for found, value in zip(f(*values), expected, strict=True):
        tolerance = 8 * np.finfo(value.dtype).eps
        np.testing.assert_allclose(found, value, rtol=tolerance, atol=tolerance)


def body(dtype: str) -> Graph:
    """(sin(u) v, log(exp(u)) + v, sum(u v)), with the cosine of an op with two results left unused."""
    u, v = gc.input("u", ("n",), dtype), gc.input("v", ("n",), dtype)
    s, _ = sin_cos(u)
    return Graph((s * v, gc.log(gc.exp(u)) + v, gc.sum(u * v)), (u, v))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("used", [(0, 1), (0,), (1,)])
def test_two_results_forward_and_gradient(dtype: str, used: tuple[int, ...]) -> None:
    x = gc.input("x", ("n",), dtype)
    results = [sin_cos(x * 2)[k] for k in used]
    y = gc.sum(results[0] * results[-1])
    first = gc.grad(y, x)
    outputs = [*results, y, first, gc.grad(gc.sum(first * first), x)]
    for size in (0, 1, 37):
        check(outputs, [x], [np.linspace(-2, 2, size).astype(dtype)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("used", [(0, 1, 2), (0,), (1,), (2,)])
def test_a_sub_graph_forward_and_gradient(dtype: str, used: tuple[int, ...]) -> None:
    x = gc.input("x", ("n",), dtype)
    held = call(body(dtype), x, gc.exp(x))  # the operands depend on one another
    results = [item(held, k) for k in used]
    y = gc.sum(results[0] * results[-1])
    first = gc.grad(y, x)
    outputs = [*results, y, first, gc.grad(gc.sum(first * first), x)]
    for size in (0, 1, 37):
        check(outputs, [x], [np.linspace(-1, 1, size).astype(dtype)])


def test_a_sub_graph_that_holds_one() -> None:
    u, v = gc.input("u", ("n",)), gc.input("v", ("n",))
    inner = call(body("float64"), v, u)
    outer = Graph((item(inner, 0) + u, item(inner, 2)), (u, v))
    x = gc.input("x", ("n",))
    held = call(outer, x, x * x)
    y = gc.sum(item(held, 0)) * item(held, 1)
    check([y, gc.grad(y, x)], [x], [np.linspace(-1, 1, 9)])


def test_one_sub_graph_at_several_places_and_in_a_pickle() -> None:
    x, b = gc.input("x", ("n",)), body("float64")
    held = item(call(b, x, x), 0)
    twice = item(call(b, held, x), 1) * item(call(b, x, held), 2)
    check([twice, gc.grad(gc.sum(twice), x)], [x], [np.linspace(-1, 1, 9)], pickled=True)


def test_a_parameter_learns_through_both() -> None:
    x, w = gc.input("x", ("n",)), gc.parameter("w", np.array(0.5))
    s, c = sin_cos(x * w)
    held = call(body("float64"), s, c)
    loss = gc.mean((item(held, 0) + item(held, 1)) ** 2)
    step = gc.compile([x], loss, updates={w: w - 0.1 * gc.grad(loss, w)})
    values = np.linspace(-1, 1, 20)
    for _ in range(3):
        value, new = interpret(Graph((loss, w - 0.1 * gc.grad(loss, w)), (x,)), [values])
        np.testing.assert_allclose(step(values), value, rtol=1e-14)
        np.testing.assert_allclose(w.value, new, rtol=1e-14)


def test_what_runs_names_no_sub_graph() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], item(call(body("float64"), x, x), 1))
    assert CALL.name not in f.source
    assert "sin(" not in f.source, "an unused result of the sub-graph is not computed"
