"""checkpoint: the same values and gradients, of which nothing but arguments is saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support_loops import check_slopes, close, held, optimised, values

import graphc as gc
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.graph import Node

RNG = np.random.default_rng(5)
X, W = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3))


def _inputs() -> tuple[Node, Node]:
    return gc.input("x", (3, 3)), gc.input("w", (3, 3))


def test_values_and_gradients_of_any_order_stay() -> None:
    x, w = _inputs()

    def block(p: Any) -> Any:
        h = gc.tanh(w @ p["x"])
        return {"y": gc.sin(h) @ p["x"], "s": (gc.sum(h), None)}

    def loss(f: Any) -> Node:
        found = f({"x": gc.sin(x)})
        assert found["s"][1] is None
        return gc.sum(found["y"] ** 2) * found["s"][0]

    wanted, found = loss(block), loss(gc.checkpoint(block))
    nodes = [(y, *gc.grad(y, [x, w]), gc.hvp(y, x, X)) for y in (wanted, found)]
    close(values(nodes[1], [x, w], [X, W]), values(nodes[0], [x, w], [X, W]), 1e-12)
    check_slopes(found, [x, w], [X, W])


def test_what_is_inside_is_computed_again() -> None:
    x, w = _inputs()

    def chain(h: Any) -> Any:
        for _ in range(4):
            h = gc.tanh(w @ h)
        return h

    block = gc.checkpoint(chain)
    graph = optimised([*gc.grad(gc.sum(block(block(x)) ** 2), [x, w])], [x, w])
    loops = [n for n in held(graph) if n in set(graph.nodes)]
    assert len(loops) == 4
    saved = [t for n in loops for t in n.types if t.ndim == 4]
    assert len(saved) == 4, "two results, two cotangents of arguments"
    for loop in loops:
        inner = [n for m in held(loop.attrs["body"]) for n in m.attrs["body"].nodes]
        assert sum(n.op.name == "tanh" for n in inner) == 4


def test_other_arguments_are_handed_on() -> None:
    x, _ = _inputs()
    found = gc.checkpoint(lambda x, how, k: getattr(gc, how)(x) * k)(x, "sin", 2)
    close(values([found, gc.checkpoint(lambda: gc.constant(3.0))()], [x], [X]), [2 * np.sin(X), 3.0])
    half = gc.input("half", (2,), "float32")
    assert gc.checkpoint(lambda x, k: x * k)(half, 2.0).dtype == "float32"


def test_in_a_batch_and_in_a_loop() -> None:
    x, w = _inputs()
    block = gc.checkpoint(lambda c, w: gc.tanh(w @ c) * c)
    batched = gc.vmap(block, (0, None))(x, w)
    looped = gc.scan(lambda c, e: (block(c, w) + e, None), x[0], x)[0]
    (found,) = values([batched], [x, w], [X, W])
    close([found], [np.tanh(X @ W.T) * X])
    check_slopes(gc.sum(batched**2) + gc.sum(looped**2), [x, w], [X, W])


def test_sizes_that_are_symbols() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.grad(gc.sum(gc.checkpoint(gc.sin)(x)), x))
    for n in (0, 1, 5):
        close([f(np.arange(n) * 1.0)], [np.cos(np.arange(n))])


def test_what_can_not_be() -> None:
    x, _ = _inputs()
    with pytest.raises(DeclarationError, match="takes a function"):
        gc.checkpoint(x)
    with pytest.raises(DTypeError, match="checkpoint: y can't be a node"):
        gc.checkpoint(lambda x: "a")(x)
    with pytest.raises(ShapeError, match="got 3 and 2"):
        gc.checkpoint(lambda x: x @ gc.ones((2, 2)))(x)
