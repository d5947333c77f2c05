"""Which values are not stored but computed again wherever they are read.

In: what nodes read, and the groups that there are.  Out: answers, each in bounded time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.ops.save import bytes_of
from graphc.scalar import effort
from graphc.schedule.access import Read, atoms
from graphc.schedule.beside import shifts
from graphc.schedule.group import is_expensive
from graphc.schedule.settle import ATOMS, PIECES

_CHEAP = 12  # nodes that may be computed again wherever their value is read
_AGAIN = 16  # instructions of a value that is computed again at elements beside
_STREAMS = 3  # arrays that they load
_FEW = 8  # an array of so many times fewer elements stays in cache


class Again:
    """What is computed again; `grouped` are the nodes that are stored, or at hand in a group."""

    def __init__(self, graph: Graph, reads_of: Callable[[Node], tuple[Read, ...]], grouped: Collection[Node]) -> None:
        self._reads_of, self._grouped = reads_of, grouped
        self._shifts = shifts(graph, reads_of)
        self._work: dict[Node, tuple[int, frozenset[Node]]] = {}

    def is_cheap(self, node: Node) -> bool:
        stack, seen, reads, size = [node], {node}, 0, 0
        stored, few = set[Node](), set[Node]()  # arrays that it loads; those of a value for each row or column
        while stack:
            n = stack.pop()
            if is_expensive(n) or len(seen) > _CHEAP:
                return False
            for read in self._reads_of(n):
                m = read.node
                if m.op.name == "constant" and not m.ndim:
                    continue
                reads, size = reads + 1, size + atoms(read.index)
                if reads > PIECES or size > ATOMS:
                    return False
                if m in self._grouped or m.op.family is Family.LEAF:
                    (few if bytes_of(m) * _FEW <= bytes_of(node) else stored).add(m)
                elif read.guarded:  # each branch computes it anew, and so would every branch around it
                    return False
                elif m not in seen:
                    seen.add(m)
                    stack.append(m)
        return len(stored) <= 1 and len(stored) + len(few) <= _STREAMS

    def is_shifted(self, node: Node) -> bool:
        """Whether a value that is wanted at elements beside is rather computed there once more.

        So stages that read each other one element further are one nest, which reads few arrays, instead of many that
        write and read as many.
        """
        if node.op.family is not Family.ELEMENTWISE or is_expensive(node) or self._shifts[node] != 1:
            return False
        work, stored = self._again(node)
        return work <= _AGAIN and len(stored) <= _STREAMS

    def _again(self, node: Node) -> tuple[int, frozenset[Node]]:
        """What computing an element once more costs, of each node as often as it is read, and the arrays it loads."""
        found = self._work.get(node)
        if found is None:
            work, stored = max(effort(node.op.body), 1), set()
            for m in (read.node for read in self._reads_of(node)):
                if m in self._grouped or m.op.family is Family.LEAF:
                    stored |= {m} if m.ndim else set()
                elif work <= _AGAIN:
                    more, loaded = self._again(m)
                    work, stored = work + more, stored | loaded
            found = self._work[node] = work, frozenset(stored)
        return found
