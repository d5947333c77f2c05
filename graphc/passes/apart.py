"""Sums over rows of what other sums over them scale: the scales come after the sum, which no longer waits for them.

In: any graph, adjoints and all.  Out: the same values up to rounding.  The adjoint of a norm sums g / s + k * c over
rows where s and k come of sums over the same rows; sum(g) / s + k * sum(c) takes a sweep over them less.  Every term is
to be scaled so, and rounded for that: of x - mean the difference is exact where both are nearly equal, and stays.  So
does what a maximum scales, which keeps sums in range.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphc.declare import Builder
from graphc.graph import Node
from graphc.op import Family
from graphc.passes.move import ADDING
from graphc.rewrite import Rule, if_some, scaled_along
from graphc.types import Shape

_DEEPEST = 6  # sums, products and signs on the way to a term
_FURTHEST = 64  # nodes that are looked at for the sums behind one
_SEEN_THROUGH = (Family.ELEMENTWISE, Family.MOVEMENT)


def _sum_of_scaled(b: Builder, node: Node) -> Node | None:
    """The sums of the terms, scaled, if none of the terms waits for a sum that the scales come of."""
    (x,), axes = node.operands, node.attrs["axis"]
    if not node.dtype.is_float or x.ndim - 1 not in axes:
        return None  # down columns it is a loop of its own
    terms = _terms(x, axes, _DEEPEST)
    late = set().union(*(sums for _, sums in terms))
    early = set().union(*(_sums_behind(term, x.shape, axes) for term, _ in terms))
    if not all(sums for _, sums in terms) or late <= early:
        return None
    total = _total(b, x, axes, {term for term, _ in terms})
    return b.reshape(if_some(total, x.shape, axes), node.shape)  # type: ignore[no-any-return]


def _terms(x: Node, axes: Sequence[int], depth: int) -> list[tuple[Node, set[Node]]]:
    """What x adds up, and for each term the sums of which comes what it is scaled by, the same along the axes."""
    if depth and x.op.name == "negative":
        return _terms(x.operands[0], axes, depth - 1)
    found = scaled_along(x, axes)
    if depth and found is not None:
        own = _sums_behind(found[1], x.shape, axes)
        return [(term, sums | own) for term, sums in _terms(found[0], axes, depth - 1)]
    if depth and x.op.name in ("add", "subtract") and all(o.shape == x.shape for o in x.operands):
        terms = [term for o in x.operands for term in _terms(o, axes, depth - 1)]
        if all(sums for _, sums in terms):
            return terms
    return [(x, set())]


def _total(b: Builder, x: Node, axes: Sequence[int], terms: Collection[Node]) -> Node:
    """The sum of x, of which the terms are known; the axes stay with length 1."""
    if x in terms:
        total: Node = b.sum(x, axis=tuple(axes), keepdims=True)
        return total
    combine, found = getattr(b, x.op.name), scaled_along(x, axes)
    if found is not None:
        return combine(_total(b, found[0], axes, terms), found[1])  # type: ignore[no-any-return]
    return combine(*(_total(b, o, axes, terms) for o in x.operands))  # type: ignore[no-any-return]


def _sums_behind(node: Node, shape: Shape, axes: Sequence[int]) -> set[Node]:
    """The sums over these axes of arrays of the shape, that come before the node without a product or a loop between.

    What is far away is not found; then a sum is taken apart that no sweep is saved by, or is not.
    """
    found: set[Node] = set()
    seen, stack = {node}, [node]
    while stack and len(seen) < _FURTHEST:
        n = stack.pop()
        if n.op.name in ADDING and n.attrs["axis"] == axes and n.operands[0].shape == shape:
            found.add(n)
        elif n.op.family in _SEEN_THROUGH:
            new = [o for o in n.operands if o not in seen]
            seen.update(new)
            stack += new
    return found


APART = (
    Rule(
        "sum of scaled",
        "sum",
        _sum_of_scaled,
        "scales come after it, so that it waits for none",
        "multiply divide add subtract negative",
    ),
)
