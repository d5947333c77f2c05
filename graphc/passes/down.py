"""Down: a fold over axes that are apart, the last of which are short, goes down the others first.

In: an optimised graph.  Out: the same values up to rounding.  Of [n, s, g, k], folded over s and k, a loop would fold k
elements for each column of each of s rows, a few at a time.  Down s alone, g * k columns lie side by side and go by
vectors; what they come to is folded along k once, at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import groupby

from graphc.declare import Builder
from graphc.dims import product
from graphc.graph import Graph, Node
from graphc.op import HOLDERS, Family
from graphc.rewrite import Rule, rewrite

_PIECE = 64  # bytes; with their gradients, longer ones are folded as fast where they lie
_ASSOCIATIVE = ("sum", "prod", "max", "min", "any", "all", "logsumexp")


def down(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph, and how many there were."""
    if any(n.op.family is Family.REDUCTION or n.op.family in HOLDERS for n in graph.nodes):
        return rewrite(graph, _RULES)
    return graph, Counter()


def are_apart(x: Node, axes: Collection[int]) -> bool:
    """Whether axes that are folded have axes between them that stay."""
    return sum(folded for folded, _ in _runs(x, axes)) > 1


def short_end(x: Node, axes: Collection[int]) -> tuple[int, ...]:
    """The last axes, folded or not, if those that are folded are apart and these are few bytes; else none."""
    if not are_apart(x, axes):
        return ()
    end = _runs(x, axes)[-1][1]
    length = product(x.shape[k] for k in end)
    return end if isinstance(length, int) and length * x.dtype.size <= _PIECE else ()


def _runs(x: Node, axes: Collection[int]) -> list[tuple[bool, tuple[int, ...]]]:
    """Axes side by side that are all folded or all stay, and which of both; those of one element do not matter."""
    longer = [k for k, d in enumerate(x.shape) if d != 1]
    return [(folded, tuple(run)) for folded, run in groupby(longer, lambda k: k in axes)]


def _others_first(b: Builder, node: Node) -> Node | None:
    if node.op.name not in _ASSOCIATIVE:
        return None
    (x,), axes = node.operands, node.attrs["axis"]
    end = short_end(x, axes)
    if not end or end[-1] not in axes or x.op.name == "permute_dims":
        return None  # no such fold, or the last axes are not the last ones in memory
    others = tuple(k for k in axes if k not in end)
    left = [k for k in range(x.ndim) if k not in others]
    columns = b.primitive(node.op.name, (x,), axis=others)
    return b.primitive(node.op.name, (columns,), axis=tuple(left.index(k) for k in end))


_RULES = (Rule("short axes last", Family.REDUCTION, _others_first, "columns side by side go by vectors"),)
