"""What tests of loops share: values by the interpreter, before and after the passes, and slopes by differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import Family
from graphc.passes import run_pipeline
from graphc.runtime.places import every_node

Values = np.ndarray[Any, Any]


def values(outputs: Sequence[Node], inputs: Sequence[Node], arrays: Sequence[Any]) -> tuple[Values, ...]:
    """The outputs, which verified graphs give alike before and after the passes, and compiled if they are small."""
    graph = Graph(tuple(outputs), tuple(inputs))
    graph.verify()
    found = interpret(graph, arrays)
    for output, value in zip(outputs, found, strict=True):
        assert value.dtype == output.dtype.numpy
    close(interpret(run_pipeline(graph)[0], arrays), found, 1e-11)
    size = len(list(every_node(graph)))
    for options in [gc.Options(debug=True)] * (size <= 200) + [gc.Options()] * (size <= 500):
        close(gc.compile(list(inputs), tuple(outputs), options=options)(*arrays), found, 1e-11)
    return found


def close(found: Sequence[Any], wanted: Sequence[Any], rtol: float = 1e-10) -> None:
    """Equal up to a part of the largest element."""
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        b = np.asarray(b)
        assert np.shape(a) == b.shape, f"value {k} has shape {np.shape(a)}, not {b.shape}"
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0))) if b.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale, err_msg=f"value {k}")


def derivatives(y: Node, wrt: Sequence[Node]) -> list[Node]:
    """The gradients of y, and those of the sum of their squares."""
    first = gc.grad(y, list(wrt))
    total = gc.constant(0.0)
    for k, g in enumerate(first):
        total = total + gc.sum(g * g) * (1.0 + 0.1 * k)
    return [*first, *gc.grad(total, list(wrt))]


def check_slopes(y: Node, inputs: Sequence[Node], arrays: Sequence[Any], step: float = 1e-6) -> None:
    """The gradient of y along a direction for all float inputs, against central differences."""
    rng = np.random.default_rng(7)
    arrays = [np.asarray(a) for a in arrays]
    floats = [k for k, n in enumerate(inputs) if n.dtype.is_float]
    direction = [rng.uniform(0.5, 1.5, a.shape) if k in floats else None for k, a in enumerate(arrays)]

    def along(t: float) -> float:
        moved = [a if d is None else a + t * d for a, d in zip(arrays, direction, strict=True)]
        return float(interpret(Graph((y,), tuple(inputs)), moved)[0])

    found = values(gc.grad(y, [inputs[k] for k in floats]), inputs, arrays)
    slope = sum(float(np.sum(g * direction[k])) for g, k in zip(found, floats, strict=True))
    numeric = (along(step) - along(-step)) / (2 * step)
    assert abs(slope - numeric) <= 1e-7 * max(1.0, abs(numeric)), f"{slope} instead of {numeric}"


def held(graph: Graph, family: Family = Family.LOOP) -> list[Node]:
    """The nodes of a family in a graph, those in bodies too."""
    found = []
    for n in graph.nodes:
        found += [n] if n.op.family is family else []
        for body in n.attrs.values():
            found += held(body, family) if isinstance(body, Graph) else []
    return found


def optimised(outputs: Sequence[Node], inputs: Sequence[Node] = ()) -> Graph:
    return run_pipeline(Graph(tuple(outputs), tuple(inputs)))[0]


def unrolled(step: Callable[[Any, Any], Any], carry: Any, xs: Sequence[Any], reverse: bool = False) -> tuple[Any, Any]:
    """What scan means: `step` for each x, and the ys in the order of the xs."""
    ys = []
    for x in reversed(xs) if reverse else xs:
        carry, y = step(carry, x)
        ys.append(y)
    return carry, ys[::-1] if reverse else ys
