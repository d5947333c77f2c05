"""The record of roots: x with residual(x, arguments) = 0, found by a body, whose derivatives are those of the residual.

The node holds four bodies.  `body` gives x, of (arguments, givens); `residual` is over (x, arguments, givens).  The
other two solve linear systems with the matrix J, the derivative of the residual by x: over (right side, x, arguments,
givens), `forward` gives v with J v = right side, `backward` v with v J = right side.  Operands are (arguments, givens),
the results x.  It is a region: once adjoints are derived, the body takes its place.

Where x moves by dx and the arguments by da, J dx + (the derivative by a) da = 0.  So the cotangent g of x pulls on the
arguments as -v pulls on them through the residual, where v J = g.  This v is a root too, of v J - g, whose arguments
are g and what J is made of: that is how there are derivatives of any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.graph import Graph, Node, make
from graphc.op import REGISTRY, Attrs, Family, Op, register
from graphc.ops.bodies import results, slot, substituted
from graphc.ops.loop_parts import check_slots, constraints_of
from graphc.types import Constraint, TensorType

Types = tuple[TensorType, ...]


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    body, residual = attrs["body"], attrs["residual"]
    solved = tuple(o.type for o in body.outputs)
    check_slots(body, types)
    check_slots(residual, (*solved, *types))
    for system in (attrs["forward"], attrs["backward"]):
        check_slots(system, (*solved, *solved, *types))
    found += constraints_of(body)
    return solved


def _run(*operands: Any, body: Any, residual: Any, forward: Any, backward: Any) -> Any:
    found = body(*operands)
    return found if len(found) > 1 else found[0]


def _inlined(b: Any, node: Node) -> Sequence[Node]:
    body = node.attrs["body"]
    return substituted(body.outputs, dict(zip(body.inputs, node.operands, strict=True)))


def _adjoint(
    b: Any, g: Any, y: Any, *operands: Node, body: Graph, residual: Graph, forward: Graph, backward: Graph
) -> Sequence[Node | None]:
    xs = y if isinstance(y, tuple) else (y,)
    pairs = zip(g if isinstance(g, tuple) else (g,), xs, strict=True)
    seeds = [b.zeros(x.shape, dtype=x.dtype) if c is None else c for c, x in pairs]
    count = len(xs)
    solved, arguments = residual.inputs[:count], residual.inputs[count:]
    weights = [slot("weight", x.type) for x in solved]
    pulled = b.pull_back(list(zip(residual.outputs, weights, strict=True)), residual.inputs)
    sides = [slot("side", x.type) for x in solved]
    left = [pulled[x] - s if x in pulled else -s for x, s in zip(solved, sides, strict=True)]
    around = (*sides, *residual.inputs)
    attrs = {
        "body": backward,
        "residual": Graph(tuple(left), (*weights, *around)),
        "forward": _system(backward, weights, around),
        "backward": _system(forward, weights, around),
    }
    known = results(make(REGISTRY["_root"], (*seeds, *xs, *operands), attrs))
    instead = dict(zip((*weights, *residual.inputs), (*known, *xs, *operands), strict=True))
    moved = [n for n in arguments if n in pulled]
    found = dict(zip(moved, substituted([pulled[n] for n in moved], instead), strict=True))
    return [-found[n] if n in found else None for n in arguments]


def _system(solving: Graph, weights: Sequence[Node], around: Sequence[Node]) -> Graph:
    """The system of J, or of J turned over, as one around the weights, on which their own matrix does not depend."""
    sides = [slot("right", w.type) for w in weights]
    inner = around[len(weights) :]
    found = substituted(solving.outputs, dict(zip(solving.inputs, (*sides, *inner), strict=True)))
    return Graph(tuple(found), (*sides, *weights, *around))


ROOT = register(
    Op(
        name="_root",
        doc="What a body finds as a root of a residual, with the gradients of the root.",
        family=Family.REGION,
        infer=_infer,
        reference=_run,
        define=_inlined,
        adjoint=_adjoint,
    )
)
