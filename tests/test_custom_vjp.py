"""custom_vjp: gradients are what the user's adjoint says, wherever the function stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support_loops import close, values

import graphc as gc
from graphc.errors import DeclarationError, ShapeError

X = np.array([0.3, -1.2, 2.0])
W = np.arange(9.0).reshape(3, 3) / 5


def _shown(g: Any, y: Any, x: Any) -> Any:
    return (g * y * 10.0 + x,)


def test_the_adjoint_is_the_users() -> None:
    x = gc.input("x", (3,))
    f = gc.custom_vjp(gc.sin, _shown)
    y = f(gc.exp(x))
    found = values([y, gc.vjp(y, x, [1.0, 2.0, 3.0])], [x], [X])
    e = np.exp(X)
    close(found, [np.sin(e), (np.array([1.0, 2.0, 3.0]) * np.sin(e) * 10 + e) * e])


def test_forward_mode_and_second_order_are_those_of_the_adjoint() -> None:
    x = gc.input("x", (3,))
    f = gc.custom_vjp(lambda x: x * x * x, lambda g, y, x: (7.0 * g * x * x,))
    y = f(x)
    found = values([gc.jvp(y, x, [1.0, 2.0, 3.0]), gc.jacobian(y, x), gc.hessian(gc.sum(y), x)], [x], [X])
    close(found, [7 * X**2 * [1, 2, 3], np.diag(7 * X**2), np.diag(14 * X)])


def test_trees_and_what_is_no_node() -> None:
    x, w, k = gc.input("x", (3,)), gc.input("w", (3, 3)), gc.input("k", (), "int64")

    def function(p: Any, how: str, k: Any) -> Any:
        return {"y": getattr(gc, how)(p["w"] @ p["x"]), "k": k + 1, "n": None}

    def adjoint(g: Any, y: Any, p: Any, how: str, k: Any) -> Any:
        assert g["k"] is None
        assert g["n"] is None
        assert how == "cos"
        return {"x": g["y"] * gc.astype(y["k"], "float64"), "w": None}, None, None

    found = gc.custom_vjp(function, adjoint)({"x": x, "w": w}, "cos", k)
    dx, dw = gc.grad(gc.sum(found["y"] * [1.0, 2.0, 3.0]), [x, w])
    assert found["n"] is None
    got = values([found["y"], found["k"], dx, dw], [x, w, k], [X, W, 4])
    close(got, [np.cos(W @ X), 5, np.array([5.0, 10.0, 15.0]), np.zeros((3, 3))])


def test_in_loops_and_branches() -> None:
    x = gc.input("x", (3,))
    f = gc.custom_vjp(gc.sin, lambda g, y, x: (g * 2.0,))
    looped = gc.scan(lambda c, e: (f(c) * e, f(e)), x[0], x)
    chosen = gc.cond(x[0] > 0, f, lambda x: x, x)
    grads = [gc.grad(looped[0], x), gc.grad(gc.sum(looped[1]), x), gc.grad(gc.sum(chosen), x)]
    c = [0.3]
    for e in X:
        c.append(np.sin(c[-1]) * e)
    slope = [np.sin(c[0]) * 4 * X[1] * X[2] + 8 * X.prod(), np.sin(c[1]) * 2 * X[2], np.sin(c[2])]
    close(values(grads, [x], [X]), [slope, [2.0] * 3, [2.0] * 3])


def test_in_a_batch() -> None:
    """Of what all examples share the cotangents are added; nested, and under a derivative inside and outside."""
    x, w = gc.input("x", ("batch", 3)), gc.input("w", (3, 3))
    f = gc.custom_vjp(lambda w, x: w @ x, lambda g, y, w, x: (gc.outer(g, x) * 2.0, g * 3.0))
    y = gc.vmap(f, (None, 0))(w, x)
    inside = gc.vmap(lambda x: gc.grad(gc.sum(f(w, x)), [w, x]))(x)
    nodes = [y, *gc.grad(gc.sum(y), [w, x]), *inside, gc.vmap(gc.vmap(f, (None, 0)), (0, None))(gc.stack([w, w]), x)]
    a = np.stack([X, X * 2])
    ones = np.ones((3, 1))
    wanted = [a @ W.T, 2 * ones * a.sum(axis=0), np.full((2, 3), 3.0), 2 * ones * a[:, None], np.full((2, 3), 3.0)]
    close(values(nodes, [x, w], [a, W]), [*wanted, np.stack([a @ W.T] * 2)])


def test_what_is_outside_is_no_float() -> None:
    x, w = gc.input("x", (3,)), gc.input("w", (3,))
    with pytest.raises(DeclarationError, match="a float from outside is used, input 'w'"):
        gc.custom_vjp(lambda x: x * w, lambda g, y, x: (g,))(x)
    with pytest.raises(DeclarationError, match="a float from outside"):
        gc.custom_vjp(lambda x: x, lambda g, y, x: (g * gc.sum(gc.exp(w)),))(x)
    y = gc.custom_vjp(lambda x: x * gc.stop_gradient(w) + gc.exp(1.0), lambda g, y, x: (g * gc.stop_gradient(w),))(x)
    close(values(gc.grad(gc.sum(y), [x, w]), [x, w], [X, X + 1]), [X + 1, np.zeros(3)])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: gc.custom_vjp(gc.sin, None), DeclarationError, "takes two functions"),
        (lambda x: gc.custom_vjp(gc.sin, lambda g, y, x: g)(x), DeclarationError, "gives a tuple of 1"),
        (lambda x: gc.custom_vjp(gc.add, lambda g, y, a, b: (g,))(x, x), DeclarationError, "gives a tuple of 2"),
        (lambda x: gc.custom_vjp(gc.sin, lambda g, y, x: ({"x": g},))(x), DeclarationError, "argument: float64"),
        (lambda x: gc.custom_vjp(gc.sin, lambda g, y, x: (gc.sum(g),))(x), ShapeError, "has its shape"),
    ],
)
def test_what_can_not_be(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call(gc.input("x", (3,)))
