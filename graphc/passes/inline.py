"""Inline regions: what they hold takes their place.

In: a graph with all adjoints derived, which was what regions were there for.  Out: the same without REGION nodes, in
bodies too, so that later passes see what regions compute and not how it is differentiated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graphc.declare import Builder
from graphc.graph import Graph, Node
from graphc.op import HOLDERS, Family
from graphc.rewrite import Rule, rewrite


def inline(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph without regions, and how many were there."""
    return rewrite(graph, INLINING) if _holds_regions(graph) else (graph, Counter())


def _holds_regions(graph: Graph) -> bool:
    families = {n.op.family for n in graph.nodes}
    if Family.REGION in families or families.isdisjoint(HOLDERS):
        return Family.REGION in families
    held = [v for n in graph.nodes if n.op.family in HOLDERS for v in n.attrs.values() if isinstance(v, Graph)]
    return any(map(_holds_regions, held))


def _inlined(b: Builder, node: Node) -> Node | None:
    return _outputs(b, node)[0] if len(node.types) == 1 else None


def _inlined_item(b: Builder, node: Node) -> Node | None:
    region = node.operands[0]
    return _outputs(b, region)[int(node.attrs["index"])] if region.op.family is Family.REGION else None


def _outputs(b: Builder, region: Node) -> Sequence[Node]:
    """The outputs of a region's sub-graph on its operands."""
    assert region.op.define is not None
    outputs: Sequence[Node] = region.op.define(b, region)
    return outputs


INLINING = (
    Rule("region", Family.REGION, _inlined, "its sub-graph takes its place"),
    Rule("result of a region", Family.ITEM, _inlined_item, "its result in the sub-graph takes its place"),
)
