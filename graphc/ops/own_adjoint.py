"""The record of functions with an adjoint of the user's own.

The node holds two bodies: `body`, over (arguments, givens), and `adjoint`, over (arguments, givens, results, cotangents
of the float results), whose outputs are the cotangents of those arguments that `moved` numbers.  Its operands are
(arguments, givens).  It is a region: once adjoints are derived, the body takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.graph import Graph, Node
from graphc.op import Attrs, Family, Op, register
from graphc.ops.bodies import below, substituted
from graphc.ops.loop_parts import check_slots, constraints_of
from graphc.types import Constraint, TensorType

Types = tuple[TensorType, ...]


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    body, adjoint = attrs["body"], attrs["adjoint"]
    results = [o.type for o in body.outputs]
    check_slots(body, types)
    check_slots(adjoint, (*types, *results, *(t for t in results if t.dtype.is_float)))
    found += constraints_of(body)
    return tuple(results)


def _run(*operands: Any, body: Any, adjoint: Any, moved: Sequence[int]) -> Any:
    found = body(*operands)
    return found if len(found) > 1 else found[0]


def _inlined(b: Any, node: Node) -> Sequence[Node]:
    body = node.attrs["body"]
    return substituted(body.outputs, dict(zip(body.inputs, node.operands, strict=True)))


def _adjoint(b: Any, g: Any, y: Any, *operands: Node, body: Graph, adjoint: Graph, moved: Sequence[int]) -> Any:
    results = y if isinstance(y, tuple) else (y,)
    pairs = zip(g if isinstance(g, tuple) else (g,), results, strict=True)
    seeds = [b.zeros(r.shape, dtype=r.dtype) if c is None else c for c, r in pairs if r.dtype.is_float]
    known = dict(zip(adjoint.inputs, (*operands, *results, *seeds), strict=True))
    by_number = dict(zip(moved, substituted(adjoint.outputs, known), strict=True))
    return tuple(by_number.get(k) for k in range(len(operands)))


def may_move(node: Node) -> bool:
    """Whether a gradient of a float node may be asked for: it depends on a float input, not by stop_gradient alone."""
    stops = [n for n in below([node], ()) if n.op.name == "stop_gradient"]
    leaves = (n for n in below([node], stops) if n.op.name in ("input", "parameter"))
    return node.dtype.is_float and any(n.dtype.is_float for n in leaves)


OWN_ADJOINT = register(
    Op(
        name="_own_adjoint",
        doc="The results of a body, of which gradients are what another body tells.",
        family=Family.REGION,
        infer=_infer,
        reference=_run,
        define=_inlined,
        adjoint=_adjoint,
    )
)
