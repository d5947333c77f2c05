"""Share: folds that compute what is there already are made of it.

In: any graph.  Out: the same values.  Alone, a logsumexp is one fold, which takes one pass over its operand; beside the
largest value over the same axes, as with its own adjoint, its exponentials are there already.  Squared deviations are
rather summed in a second sweep where the one fold does more than two: over axes that are apart in memory, beside the
mean or of pieces that `down` folds, for a row is many short pieces, too short for two looks at each; and of few
elements, for it begins each time with a guess at the mean, and ends with putting together what its lanes have.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from graphc.declare import Builder
from graphc.dims import product
from graphc.graph import Graph, Node
from graphc.ops.statistics import corrected_deviation, deviation, shifted_logsumexp
from graphc.passes.down import are_apart, short_end
from graphc.rewrite import Rule, rewrite

SHORT = 64  # elements, a few vectors


def share(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph, and how many there were."""
    tops, sums = (_folds(graph, name) for name in ("max", "sum"))

    def shifted(b: Builder, node: Node) -> Node | None:
        x, axes = node.operands[0], node.attrs["axis"]
        return shifted_logsumexp(b, x, axes) if _long(node) in tops.get(x, ()) else None

    def summed(b: Builder, node: Node) -> Node | None:
        x, axes = node.operands[0], node.attrs["axis"]
        fits = are_apart(x, axes) or _is_short(node)
        return deviation(b, x, axes) if fits and _long(node) in sums.get(x, ()) else None

    rules = (
        Rule("logsumexp beside max", "logsumexp", shifted, "they share their exponentials"),
        Rule("deviation beside mean", "_deviation", summed, "they share the mean"),
    )
    return rewrite(graph, rules)


def _of_short_rows(b: Builder, node: Node) -> Node | None:
    """Along short last axes, or of short pieces, without the mean to share; down columns one fold does less."""
    (x,), axes = node.operands, node.attrs["axis"]
    are_rows = axes == tuple(range(x.ndim - len(axes), x.ndim)) and any(d != 1 for d in x.shape[: axes[0]])
    fits = (are_rows and _is_short(node)) or short_end(x, axes)
    return corrected_deviation(b, x, axes) if fits else None


# With simplify's rules, which bring axes to where they lie.
SHORT_ROWS = (Rule("deviation of short rows", "_deviation", _of_short_rows, "sums of few elements take less"),)


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


def _is_short(node: Node) -> bool:
    """Whether few elements are folded."""
    n = product(node.operands[0].shape[k] for k in node.attrs["axis"])
    return isinstance(n, int) and 2 <= n <= SHORT
