"""Merge: x + y and y + x become one node.

In: any graph.  Out: the same graph, in which of two nodes that differ by the order of their operands alone the first
one stands for both.  Equal nodes are one by construction, so this is all that is left of common subexpressions.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from graphc.graph import Graph, Node, make, map_graph
from graphc.op import HOLDERS
from graphc.ops.bodies import rebuilt

_COMMUTATIVE = {
    *("add", "multiply", "maximum", "minimum"),
    *("equal", "not_equal", "logical_and", "logical_or", "logical_xor"),
}


def merge(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph with mirrored nodes merged, and how many there were."""
    first: dict[Any, Node] = {}
    fired: Counter[str] = Counter()

    def replace(old: Node, operands: tuple[Node, ...]) -> Node:
        node = _with_merged_bodies(rebuilt(old, operands), fired)
        if node.op.name not in _COMMUTATIVE:
            return node
        kept = first.setdefault((node.op.name, frozenset(map(id, operands))), node)
        if kept is not node and kept.types == node.types:  # symbols that are equal may have two names
            fired["mirrored operands"] += 1
            return kept
        return node

    return map_graph(graph, replace), fired


def _with_merged_bodies(node: Node, fired: Counter[str]) -> Node:
    if node.op.family not in HOLDERS:
        return node
    attrs = dict(node.attrs)
    for name, body in node.attrs.items():
        if isinstance(body, Graph):
            attrs[name], inside = merge(body)
            fired += inside
    return make(node.op, node.operands, attrs, node.line)
