"""What second derivatives, tangents and Jacobians cost, beside what they are derivatives of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import graphc as gc
from benchmarks.limits.line import Line, agree, drawn, fastest, inputs, jax_or_none, on_jax


def network(xp: Any, x: Any, w1: Any, w2: Any) -> Any:
    return xp.tanh(x @ w1) @ w2


def recurrent(x: Any, w: Any) -> Any:
    start = gc.zeros((w.shape[0],))
    return gc.scan(lambda h, x: (gc.tanh(w @ h + x), None), start, x)[0]


def second_derivatives() -> Iterator[Line]:
    network_arrays = drawn((128, 64), (64, 64), (64, 64), scale=0.1)
    yield _hvp("two-layer network", network_arrays, 1, lambda *a: gc.sum(network(gc, *a) ** 2))
    yield _hvp("scan", drawn((200, 16), (16, 16), scale=0.1), 1, lambda *a: gc.sum(recurrent(*a) ** 2))


def _hvp(name: str, arrays: list[Any], first: int, function: Callable[..., Any]) -> Line:
    """The derivative is by the arrays from `first` on."""
    nodes, wanted = inputs(arrays), arrays[first:]
    vectors = [gc.input(f"v{k}", array.shape) for k, array in enumerate(wanted)]
    value = function(*nodes)
    gradient = gc.compile(nodes, gc.grad(value, nodes[first:]))
    product = gc.compile(nodes + vectors, gc.hvp(value, nodes[first:], vectors))
    step = 1e-5
    moved = [[*arrays[:first], *(a + sign * step * a for a in wanted)] for sign in (1, -1)]
    ahead, behind = gradient(*moved[0]), gradient(*moved[1])
    agree(product(*arrays, *wanted), [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)], 1e-6)
    mine, plain = fastest(lambda: product(*arrays, *wanted), lambda: gradient(*arrays))
    return Line(f"Hessian-vector product, {name}", mine / plain, 3, "×", f"its gradient, {1e6 * plain:.0f} µs")


def tangent() -> Iterator[Line]:
    arrays = drawn((128, 64), (64, 64), (64, 64), scale=0.1)
    nodes, v = inputs(arrays), gc.input("v", arrays[0].shape)
    value = network(gc, *nodes)
    forward, along = gc.compile(nodes, value), gc.compile([*nodes, v], gc.jvp(value, nodes[0], v))
    step = 1e-5
    moved = [forward(arrays[0] + sign * step * arrays[0], *arrays[1:]) for sign in (1, -1)]
    agree(along(*arrays, arrays[0]), (moved[0] - moved[1]) / (2 * step), 1e-6)
    mine, plain = fastest(lambda: along(*arrays, arrays[0]), lambda: forward(*arrays))
    yield Line("jvp, two-layer network", mine / plain, 1.5, "×", f"its forward pass, {1e6 * plain:.0f} µs")


def whole_jacobian() -> Iterator[Line]:
    arrays = drawn((1_000,), (1_000, 64), (64, 26), scale=0.1)
    nodes = inputs(arrays)
    ours = gc.compile(nodes, gc.jacobian(network(gc, *nodes), nodes[0]))
    title = "jacobian of 1,000 to 26"
    if (jax := jax_or_none()) is None:
        yield Line(title, math.nan, 1, "×", "JAX")
        return
    makers = jax.jacrev, jax.jacfwd
    theirs = [on_jax(jax, maker(lambda *a: network(jax.numpy, *a)), arrays) for maker in makers]
    agree(ours(*arrays), theirs[0]())
    mine, *others = fastest(lambda: ours(*arrays), *theirs)
    yield Line(title, mine / min(others), 1, "×", f"JAX's {1e6 * min(others):.0f} µs")
