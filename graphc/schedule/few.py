"""Sums and products of few elements as explicit expressions: a body that runs often has no loop for three additions.

In: the graph of a body.  Out: the graph in which a fold of few elements is a chain of operations of its elements, in
their order, and a contraction of few of them such a chain of products.
"""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any

from graphc.declare import BUILDER, Builder
from graphc.dims import Dim, product
from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.ops.bodies import rebuilt
from graphc.rewrite import Rule, rewrite
from graphc.scalar import is_dear
from graphc.schedule.access import job_of
from graphc.schedule.lower import labels_of, product_and_sum
from graphc.schedule.split import reduced

_SHORT = 8  # elements of a chain, however many chains there are
_FOLDED = 16  # elements of one of few chains
_EVERY = 128  # elements of all of these, or products of each matrix of a batch
_PAIRS: dict[str, Any] = {
    "sum": BUILDER.add,
    "product": BUILDER.multiply,
    "max": BUILDER.maximum,
    "min": BUILDER.minimum,
}


def explicit(graph: Graph) -> Graph:
    """The graph without folds and contractions of few elements."""
    return rewrite(graph, _FEW)[0]


def _contraction(b: Builder, node: Node) -> Node | None:
    job = job_of(node)
    if job.kernel != "product":
        return None
    labels = "".join(job.labels[:2])
    sizes: dict[str, Dim] = dict(zip(labels, (d for o in node.operands for d in o.shape), strict=True))
    parts = labels_of(job)
    each = product(d for c, d in sizes.items() if c not in parts.batch)
    if not _is_within(each, _EVERY) or not _is_few(product(sizes[c] for c in parts.summed), product(sizes.values())):
        return None
    return product_and_sum(node, parts)


def _is_few(folded: Dim, every: Dim) -> bool:
    """Whether chains of so many elements, of which there are so many in all, are better than loops."""
    return _is_within(folded, _SHORT) or (_is_within(folded, _FOLDED) and _is_within(every, _EVERY))


def _is_within(count: Dim, limit: int) -> bool:
    return isinstance(count, int) and 0 < count <= limit


def _fold(b: Builder, node: Node) -> Node | None:
    pair, operand, axes = _PAIRS.get(str(node.op.state)), node.operands[0], reduced(node)
    lengths = [operand.shape[k] for k in axes]
    if pair is None or not _is_few(product(lengths), product(operand.shape)):
        return None
    places = itertools.product(*(range(int(d)) for d in lengths))  # type: ignore[arg-type]
    if node.op.state in ("max", "min"):  # which gradients compare with their elements
        return reduce(pair, (_element(operand, dict(zip(axes, at, strict=True))) for at in places))
    return reduce(pair, (_taken(operand, dict(zip(axes, at, strict=True)), {}) for at in places))


def _taken(node: Node, at: dict[int, int], known: dict[Node, Node]) -> Node:
    """What is at these positions of some axes, which the result lacks: cheap functions are computed of it."""
    if node in known:
        return known[node]
    cheap = node.op.family is Family.ELEMENTWISE and len(node.types) == 1 and not is_dear(node.op.body)
    if cheap and node.dtype.is_float:  # what is computed again may be rounded otherwise, so it must not be compared
        parts = [_taken(o, _aligned(at, node, o), known) for o in node.operands]
        found = rebuilt(node, parts)
    else:
        found = _element(node, at)
    known[node] = found
    return found


def _element(node: Node, at: dict[int, int]) -> Node:
    return node[tuple(at.get(k, slice(None)) for k in range(node.ndim))] if at else node


def _aligned(at: dict[int, int], node: Node, operand: Node) -> dict[int, int]:
    """The same positions in an operand that is broadcast."""
    more = node.ndim - operand.ndim
    return {k - more: 0 if operand.shape[k - more] == 1 else place for k, place in at.items() if k >= more}


_FEW = (
    Rule("few products", Family.KERNEL, _contraction, "explicit products and sums"),
    Rule("few elements", Family.REDUCTION, _fold, "explicit operations"),
)
