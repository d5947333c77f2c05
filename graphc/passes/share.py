"""Share: folds that compute what is there already are made of it.

In: any graph.  Out: the same values.  Alone, a logsumexp is one fold, which takes one pass over its operand; beside the
largest value over the same axes, as with its own adjoint, its exponentials are there already.  Beside the mean over
axes that are apart in memory, squared deviations are rather summed in a second sweep: a row is many short pieces, too
short for two looks at each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from graphc.declare import Builder
from graphc.graph import Graph, Node
from graphc.ops.statistics import deviation, shifted_logsumexp
from graphc.rewrite import Rule, rewrite


def share(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph, and how many there were."""
    tops, sums = (_folds(graph, name) for name in ("max", "sum"))

    def shifted(b: Builder, node: Node) -> Node | None:
        x, axes = node.operands[0], node.attrs["axis"]
        return shifted_logsumexp(b, x, axes) if _long(node) in tops.get(x, ()) else None

    def summed(b: Builder, node: Node) -> Node | None:
        x, axes = node.operands[0], node.attrs["axis"]
        return deviation(b, x, axes) if _are_apart(axes) and _long(node) in sums.get(x, ()) else None

    rules = (
        Rule("logsumexp beside max", "logsumexp", shifted, "they share their exponentials"),
        Rule("deviation beside mean", "_deviation", summed, "they share the mean"),
    )
    return rewrite(graph, rules)


def _folds(graph: Graph, name: str) -> dict[Node, set[Any]]:
    """The axes over which each operand is folded, if there is something to fold."""
    found: dict[Node, set[Any]] = {}
    for node in graph.nodes:
        if node.op.name == name and _long(node):
            found.setdefault(node.operands[0], set()).add(_long(node))
    return found


def _long(node: Node) -> tuple[int, ...]:
    """The axes that are folded but for those of one element, which other rules leave out."""
    return tuple(k for k in node.attrs["axis"] if node.operands[0].shape[k] != 1)


def _are_apart(axes: Sequence[int]) -> bool:
    return axes[-1] - axes[0] + 1 != len(axes)
