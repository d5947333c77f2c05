"""Reads of elements beside the one that is computed: stages that read each other one element further.

In: a graph, and what computing an element of each node reads.  Out: at how many places each node is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from graphc.graph import Graph, Node
from graphc.op import HOLDERS, Family
from graphc.schedule.access import Index, Read, canonical
from graphc.schedule.split import domain_of

_MANY = 2  # places at which a value is read, for which it is stored


def shifts(graph: Graph, reads_of: Callable[[Node], Iterable[Read]]) -> dict[Node, int]:
    """At how many places beside its own each node is read, or what is computed of it element by element.

    A place that is no shift counts as many: it may be read there again and again.
    """
    beside: dict[Node, set[Index]] = {}
    found: dict[Node, int] = {}
    for node in reversed(graph.nodes):
        if node.op.family in (Family.LEAF, Family.MOVEMENT) or (len(node.types) > 1 and node.op.family not in HOLDERS):
            continue
        here = canonical(domain_of(node)) if node.op.family not in HOLDERS else ()
        own = found.get(node, 0) + len(beside.get(node, ())) if node.op.family is Family.ELEMENTWISE else 0
        found[node] = own
        for read in reads_of(node):
            if read.whole or not _is_beside(read.index, here):
                found[read.node] = found.get(read.node, 0) + _MANY
            elif read.index == here:
                found[read.node] = found.get(read.node, 0) + own
            else:
                beside.setdefault(read.node, set()).add(read.index)
    return found


def _is_beside(index: Index, here: Index) -> bool:
    """Whether an element is so many places from where the loops are, be it none."""
    return len(index) == len(here) and all(isinstance(i - k, int) for i, k in zip(index, here, strict=True))
