"""Fold: a node whose operands are constants becomes a constant.

In: any graph.  Out: the same graph with those nodes evaluated by the interpreter, as long as the result takes little
memory; a constant that is broadcast stays small and is broadcast where it is read.
"""

from __future__ import annotations

from typing import Any

from graphc.declare import Builder
from graphc.dims import Poly
from graphc.errors import InputError
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import HOLDERS, Family
from graphc.rewrite import ANY, Rule

_MOST_ELEMENTS = 4096


def _fold(b: Builder, node: Node) -> Node | None:
    operands = node.operands
    if not operands or any(o.op.name != "constant" for o in operands):
        return None
    if len(node.types) > 1 or node.op.family in (Family.REGION, *HOLDERS) or not _is_small(node):
        return None
    if node.op.scalar is not None:  # Python may be slow, and overflow otherwise than what Numba makes of it
        return None
    try:
        (value,) = interpret(Graph((node,)), ())
    except InputError:  # a position outside of its axis: the call says so
        return None
    folded: Node = b.constant(value)
    return folded


def _is_small(node: Node) -> bool:
    if not _is_concrete((node.shape, *node.attrs.values())):
        return False
    most = max(o.size for o in node.operands)
    return bool(node.size <= most) or (node.size <= _MOST_ELEMENTS and node.op.name != "broadcast_to")


def _is_concrete(value: Any) -> bool:
    """Whether no symbolic dimension stands in the value."""
    return all(map(_is_concrete, value)) if isinstance(value, tuple) else not isinstance(value, Poly)


FOLDING: tuple[Rule, ...] = (Rule("fold", ANY, _fold, "what depends on constants alone is computed here", "constant"),)
