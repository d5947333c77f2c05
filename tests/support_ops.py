"""Two ops that only tests have: one with two results, one that holds a sub-graph.

They stand for what later ops need, and pass through every stage: verify, text, hashing, interpreter, adjoint, passes,
code generation, pickling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.graph import Graph, Node, make, map_graph
from graphc.op import Family, Op, register
from graphc.ops.item import item
from graphc.ops.rules import elementwise
from graphc.types import FLOATS, Constraint, TensorType


def _sin_cos_adjoint(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    along_sin, along_cos = g
    parts = [] if along_sin is None else [along_sin * y[1]]
    parts += [] if along_cos is None else [-(along_cos * y[0])]
    return (parts[0] if len(parts) == 1 else parts[0] + parts[1],)


SIN_COS = register(
    Op(
        name="_test_sin_cos",
        doc="The sine and the cosine of x, two results.",
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS, results=2),
        reference=lambda x: (np.sin(x), np.cos(x)),
        body=("sin(x)", "cos(x)"),
        adjoint=_sin_cos_adjoint,
    )
)


def sin_cos(x: Node) -> tuple[Node, Node]:
    node = make(SIN_COS, (x,))
    return item(node, 0), item(node, 1)


def inline(graph: Graph, operands: Sequence[Node]) -> tuple[Node, ...]:
    """The graph's outputs with operands in the place of its inputs."""
    given = dict(zip(graph.inputs, operands, strict=True))

    def replace(old: Node, new: tuple[Node, ...]) -> Node:
        return given[old] if old in given else make(old.op, new, old.attrs)

    return map_graph(graph, replace).outputs


def _infer_call(types: tuple[TensorType, ...], attrs: Any, found: list[Constraint]) -> tuple[TensorType, ...]:
    assert types == tuple(n.type for n in attrs["body"].inputs)
    return tuple(o.type for o in attrs["body"].outputs)


def _call_adjoint(b: Any, g: Any, y: Any, *operands: Node, body: Graph) -> tuple[Node, ...]:
    """The adjoint is derived inside of the body, so that operands that depend on each other are not mixed up."""
    cotangents = g if isinstance(g, tuple) else (g,)
    used = [(o, c) for o, c in zip(body.outputs, cotangents, strict=True) if c is not None]
    seeds = [gc.input(f"g{k}", o.shape, o.dtype) for k, (o, _) in enumerate(used)]
    total = None
    for (output, _), seed in zip(used, seeds, strict=True):
        term = gc.sum(output * seed)
        total = term if total is None else total + term
    assert total is not None
    gradients = gc.grad(total, list(body.inputs))
    return inline(Graph(tuple(gradients), (*body.inputs, *seeds)), (*operands, *(c for _, c in used)))


CALL = register(
    Op(
        name="_test_call",
        doc="The outputs of a sub-graph on the operands.",
        family=Family.REGION,
        infer=_infer_call,
        reference=lambda *values, body: body(*values) if len(body.types) > 1 else body(*values)[0],
        define=lambda b, node: inline(node.attrs["body"], node.operands),
        adjoint=_call_adjoint,
    )
)


def call(body: Graph, *operands: Node) -> Node:
    """The node that holds `body`; select results of several with `item`."""
    return make(CALL, operands, {"body": body})
