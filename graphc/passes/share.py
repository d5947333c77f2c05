"""Share: a logsumexp whose softmax is wanted too is made of the same exponentials.

In: any graph.  Out: the same values.  Alone, a logsumexp is one fold, which takes one pass over its operand; beside the
largest value over the same axes, as with its own adjoint, what it would compute is there already.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from graphc.declare import Builder
from graphc.graph import Graph, Node
from graphc.ops.statistics import shifted_logsumexp
from graphc.rewrite import Rule, rewrite


def share(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph, and how many there were."""
    tops: dict[Node, set[Any]] = {}
    for node in graph.nodes:
        if node.op.name == "max":
            tops.setdefault(node.operands[0], set()).add(node.attrs["axis"])

    def shifted(b: Builder, node: Node) -> Node | None:
        x, axes = node.operands[0], node.attrs["axis"]
        return shifted_logsumexp(b, x, axes) if axes in tops.get(x, ()) else None

    return rewrite(graph, (Rule("logsumexp beside max", "logsumexp", shifted, "they share their exponentials"),))
