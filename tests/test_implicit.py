"""implicit: derivatives of a root are those of the theorem, whatever found it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from support_loops import close, held, optimised, values

import graphc as gc
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.graph import Node
from graphc.op import Family

A = np.array([[4.0, 1.0, -0.5], [0.3, 5.0, 1.0], [-1.0, 0.2, 3.0]])
B = np.array([1.0, -2.0, 0.5])


def _newton(a: Any) -> Any:
    return gc.while_loop(lambda x: gc.any(gc.abs(x * x - a) > 1e-13), lambda x: 0.5 * (x + a / x), gc.ones(a.shape))


def _sqrt(a: Any) -> Any:
    return gc.implicit(_newton, lambda x, a: x * x - a)(a)


def _fixed(w: Any, b: Any) -> Any:
    """x = tanh(w @ x + b), by iteration."""

    def go(c: Any) -> Any:
        return gc.tanh(w @ c[0] + b), c[0]

    far = gc.full(b.shape, 9.0)
    return gc.while_loop(lambda c: gc.max(gc.abs(c[0] - c[1])) > 1e-15, go, (gc.zeros(b.shape), far))[0]


def _layer(w: Any, b: Any, **how: Any) -> Any:
    return gc.implicit(_fixed, lambda x, w, b: x - gc.tanh(w @ x + b), **how)(w, b)


def _direct(w: Any, b: Any) -> Any:
    """The same by so many steps that derivatives through them are exact."""
    return gc.fori_loop(0, 60, lambda k, x: gc.tanh(w @ x + b), gc.zeros(b.shape))


def test_a_scalar_to_third_order() -> None:
    a = gc.input("a", ())
    r = _sqrt(a)
    first = gc.grad(r, a)
    second = gc.grad(first, a)
    outputs = [r, first, second, gc.grad(second, a), gc.jvp(r, a, 1.0), gc.jvp(first, a, 1.0)]
    close(values(outputs, [a], [4.0]), [2.0, 1 / 4, -1 / 32, 3 / 256, 1 / 4, -1 / 32])


def test_elements_apart_are_divisions() -> None:
    """Of any number, without a matrix and without a loop for the derivative."""
    a = gc.input("a", ("n",))
    r = _sqrt(a)
    v = np.array([1.0, 4.0, 9.0])
    (g,) = values([gc.grad(gc.sum(r * [1.0, 2.0, 3.0]), a)], [a], [v])
    close([g], [0.5 / np.sqrt(v) * [1, 2, 3]])
    slope = gc.vjp(r, a, gc.ones(a.shape))
    assert all(n.op.name not in ("_loop", "_contract") for n in gc.Graph((slope,)).nodes)


@pytest.mark.parametrize("how", ["eliminated", "conjugate", "solver"])
def test_a_system(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against derivatives through the iteration, to second order, forward and reverse, for each way to solve."""
    w, b, v = gc.input("w", (3, 3)), gc.input("b", (3,)), gc.input("v", (3,))
    if how == "conjugate":
        monkeypatch.setattr(sys.modules["graphc.implicit"], "MOST_ELIMINATED", 2)

    def richardson(product: Any, right: Any) -> Any:
        return gc.fori_loop(0, 60, lambda k, x: x + (right - product(x)), right)

    options = {"solver": richardson} if how == "solver" else {}
    found, wanted = [], []
    for outputs, f in ((found, lambda w, b: _layer(w, b, **options)), (wanted, _direct)):
        x = f(w, b)
        loss = gc.sum(x * x * [1.0, 2.0, 3.0])
        first = gc.grad(loss, [w, b])
        outputs += [x, *first, gc.jvp(x, [w, b], [gc.outer(v, v), v]), gc.hvp(loss, b, v)]
        outputs += gc.grad(gc.sum(first[0] * first[0]), [w, b])
    arrays = [A / 20, B, [1.0, 0.5, -0.25]]
    close(values(found, [w, b, v], arrays), values(wanted, [w, b, v], arrays), 1e-9)


def test_pivots_are_looked_for() -> None:
    """A matrix with zeros on its diagonal, which is no contraction, and its transpose."""
    m = np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 0.0]])
    b = gc.input("b", (3,))
    solution = np.linalg.inv(m)
    x = gc.implicit(lambda b: solution @ b, lambda x, b: m @ x - b)(b)
    found = values([gc.jacobian(x, b), gc.jvp(x, b, [1.0, 2.0, 3.0])], [b], [B])
    close(found, [solution, solution @ [1, 2, 3]])


def test_conjugate_gradients_say_where_they_fail() -> None:
    """A singular matrix has no solution, and NaN is none."""
    b = gc.input("b", ("n",))
    x = gc.implicit(lambda b: b, lambda x, b: gc.sum(x) * gc.ones(b.shape) - b)(b)
    (g,) = values([gc.vjp(x, b, gc.arange(b.size) * 1.0)], [b], [B])
    assert np.isnan(g).all()


def test_a_symbolic_size() -> None:
    b = gc.input("b", ("n",))
    x = gc.implicit(lambda b: gc.cumulative_sum(b), lambda x, b: x - gc.concat([gc.zeros(1), x[:-1]]) - b)(b)
    seed = np.array([1.0, 10.0, 100.0])
    close(values([x, gc.vjp(x, b, seed)], [b], [B]), [np.cumsum(B), np.cumsum(seed[::-1])[::-1]], 1e-9)


def test_trees_and_what_is_no_node() -> None:
    """x of two parts, scalar and vector; an argument that is a text, and an integer."""
    p = {"a": gc.input("a", ()), "b": gc.input("b", (3,))}
    k = gc.input("k", (), "int64")

    def solve(p: Any, how: str, k: Any) -> Any:
        assert how == "exactly"
        return {"s": p["a"] * p["a"] + gc.sum(p["b"]), "v": [p["b"] * gc.astype(k, "float64")]}

    def residual(x: Any, p: Any, how: str, k: Any) -> Any:
        (v,) = x["v"]
        s = x["s"] - p["a"] * p["a"] - gc.sum(v) / gc.astype(k, "float64")
        return {"s": s, "v": [v - p["b"] * gc.astype(k, "float64")]}

    x = gc.implicit(solve, residual)(p, "exactly", k)
    slopes = gc.grad(x["s"] * 2.0 + gc.sum(x["v"][0]), p)
    found = values([x["s"], x["v"][0], slopes["a"], slopes["b"]], [p["a"], p["b"], k], [3.0, B, 4])
    close(found, [9 + B.sum(), 4 * B, 12.0, np.full(3, 2.0 + 4.0)])


def test_what_is_used_from_outside_counts() -> None:
    """A float that the residual uses is differentiated; what only the search uses moves no root."""
    a, w, guess = gc.input("a", ()), gc.input("w", ()), gc.input("guess", ())
    scale = gc.exp(w)

    def solve(a: Any) -> Any:
        return gc.fori_loop(0, 40, lambda k, x: 0.5 * (x + a * scale / x), guess * guess)

    r = gc.implicit(solve, lambda x, a: x * x - a * scale)(a)
    found = values([r, *gc.grad(r, [a, w, guess])], [a, w, guess], [4.0, np.log(4.0), 1.5])
    close(found, [4.0, 0.5, 2.0, 0.0])


def test_operands_that_depend_on_one_another() -> None:
    a = gc.input("a", ())
    b = a * a
    r = gc.implicit(lambda a, b: a * b, lambda x, a, b: x - a * b)(a, b)
    close(values([gc.grad(r, a)], [a], [2.0]), [12.0])


def test_in_a_batch() -> None:
    w, b = gc.input("w", (3, 3)), gc.input("b", ("batch", 3))
    rows = np.stack([B, B * 0.3])
    found, wanted = [], []
    for outputs, f in ((found, _layer), (wanted, _direct)):
        x = gc.vmap(f, (None, 0))(w, b)
        slope = gc.vmap(lambda b, f=f: gc.grad(gc.sum(f(w, b) ** 2), [w, b]))(b)
        outputs += [x, *slope, *gc.grad(gc.sum(x * x), [w, b])]
    arrays = [A / 20, rows]
    close(values(found, [w, b], arrays), values(wanted, [w, b], arrays), 1e-9)


def test_in_a_batch_of_batches_and_a_branch() -> None:
    """Examples for which a branch is not have no part in its search, nor in its derivatives."""
    a = gc.input("a", ("n", 2))

    def one(a: Any) -> Node:
        return gc.cond(a > 0, _sqrt, lambda a: a * a, a)

    x = gc.vmap(gc.vmap(one))(a)
    v = np.array([[4.0, -3.0], [-1.0, 9.0]])
    close(values([x, gc.grad(gc.sum(x), a)], [a], [v]), [[[2.0, 9.0], [1.0, 3.0]], [[0.25, -6.0], [-2.0, 1 / 6]]])


def test_in_a_loop() -> None:
    """Implicit Euler's steps; a root is searched for once, however many derivatives go back through it."""
    a = gc.input("a", ())

    def step(y: Any, _: Any) -> Any:
        def search(y: Any, a: Any) -> Any:
            return gc.while_loop(
                lambda x: gc.abs(x - y + 0.1 * a * x**3) > 1e-14,
                lambda x: x - (x - y + 0.1 * a * x**3) / (1 + 0.3 * a * x**2),
                y,
            )

        y = gc.implicit(search, lambda x, y, a: x - y + 0.1 * a * x**3)(y, a)
        return y, y

    def unrolled(y: Any) -> Any:
        for _ in range(4):
            before, x = y, y
            for _ in range(12):
                x = x - (x - before + 0.1 * a * x**3) / (1 + 0.3 * a * x**2)
            y = x
        return y

    found, wanted = gc.scan(step, 1.0, length=4)[0], unrolled(gc.constant(1.0))
    lists = [[y, gc.grad(y, a), gc.grad(gc.grad(y, a), a), gc.jvp(y, a, 1.0)] for y in (found, wanted)]
    close(values(lists[0], [a], [0.7]), values(lists[1], [a], [0.7]))
    assert len(held(optimised([found, gc.grad(found, a)], [a]), Family.WHILE)) == 1


def test_float32() -> None:
    w, b = gc.input("w", (3, 3), "float32"), gc.input("b", (3,), "float32")

    def iterate(w: Any, b: Any) -> Any:
        return gc.fori_loop(0, 30, lambda k, x: gc.tanh(w @ x + b), gc.zeros(3, dtype="float32"))

    x = gc.implicit(iterate, lambda x, w, b: x - gc.tanh(w @ x + b))(w, b)
    g = gc.grad(gc.sum(x), b)
    assert g.dtype == gc.float32
    y, found = gc.compile([w, b], (x, g))(np.float32(A / 20), np.float32(B))
    slope = np.diag(1 - np.float64(y) ** 2)
    wanted = np.linalg.solve(np.eye(3) - slope @ A / 20, slope).sum(axis=0)
    np.testing.assert_allclose(found, wanted, rtol=2e-6)


def test_a_parameter_learns_through_a_root() -> None:
    w, target = gc.parameter("w", 2.0), gc.input("target", ())
    loss = (gc.implicit(_newton, lambda x, w: x * x - w)(w) - target) ** 2
    step = gc.compile([target], loss, updates={w: w - 10.0 * gc.grad(loss, w)})
    for _ in range(60):
        step(3.0)
    assert abs(w.value - 9.0) < 1e-6


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: gc.implicit(gc.sin, None), DeclarationError, "takes two functions"),
        (lambda x: gc.implicit(lambda x: gc.argmax(x), lambda y, x: y)(x), DTypeError, "x is a root, so it is float"),
        (lambda x: gc.implicit(lambda x: None, lambda y, x: y)(x), DeclarationError, "got nothing"),
        (lambda x: gc.implicit(gc.sin, lambda y, x: (y, x))(x), DeclarationError, "the residual is a tree like x"),
        (lambda x: gc.implicit(gc.sin, lambda y, x: gc.sum(y))(x), ShapeError, "the residual has the shapes of x"),
        (
            lambda x: gc.implicit(gc.sin, lambda y, x: y - x, solver=lambda f, b: [b])(x),
            DeclarationError,
            "what the solver gives is a tree like x",
        ),
        (
            lambda x: gc.implicit(gc.sin, lambda y, x: y - x, solver=lambda f, b: f({"v": b}))(x),
            DeclarationError,
            "what the solver multiplies",
        ),
    ],
)
def test_what_can_not_be(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        call(gc.input("x", (3,)))
    assert "test_implicit.py" in str(caught.value)


def test_a_root_within_a_root() -> None:
    """y(x) = x**2 a by a root; x with grad(y(x)**2 - 2 a x) = 0, by a root: 4 a**2 x**3 = 2 a."""
    a = gc.input("a", ())

    def inner(x: Any, a: Any) -> Any:
        return gc.implicit(lambda x, a: x * x * a, lambda y, x, a: gc.log(y / (x * x * a)))(x, a)

    def residual(x: Any, a: Any) -> Any:
        return gc.grad(inner(x, a) ** 2 - 2.0 * a * x, x)

    x = gc.implicit(lambda a: (0.5 / a) ** (1.0 / 3.0), residual)(a)
    v = 0.7
    exact = (0.5 / v) ** (1 / 3)
    close(values([x, gc.grad(x, a)], [a], [v]), [exact, -exact / v / 3])


def test_parts_of_two_dtypes_and_an_argument_for_a_root() -> None:
    a, b = gc.input("a", (2,), "float32"), gc.input("b", (2,))
    x, y = gc.implicit(lambda a, b: (a, b), lambda x, a, b: (x[0] + 0 * x[1] - a, x[1] - b + 2 * (x[0] - a)))(a, b)
    slopes = gc.grad(gc.sum(y * [1.0, 3.0]) + gc.sum(x), [a, b])
    assert [s.dtype for s in slopes] == [gc.float32, gc.float64]
    found = gc.compile([a, b], slopes)([1.0, 2.0], [3.0, 4.0])
    close(found, [[1.0, 1.0], [1.0, 3.0]], 1e-6)
