"""What of the forward part is kept for the adjoint, and what is computed again: `Options(remat="memory")`.

In: a graph, and which nodes are late: those of the adjoint, and all that needs them.  Out: the nodes to compute again.

The cut of least weight (`graphc/ops/save.py`) keeps as few bytes as it can.  What it computes again between two kept
values may all be there at once, since each node is computed again once, however many read it.  So the forward part is
divided into stretches: what crosses a border is kept, and computing again begins anew behind it.  Tried are ever
shorter stretches; that division is the best with which what is kept and what the fullest stretch makes again are the
fewest bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate, pairwise

from graphc.graph import Graph, Node
from graphc.line import declared_adjoint
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import depending
from graphc.ops.index import CHECKS
from graphc.ops.min_cut import NEVER
from graphc.ops.save import bytes_of, instructions, worth_saving

_A_BYTE = 64  # instructions, for an element of a vector, for which a byte is rather kept
_KEPT = (Family.KERNEL, Family.GATHER, Family.SCATTER, Family.REGION, *HOLDERS)  # never computed again
_DIVISIONS = tuple(2**k for k in range(1, 7))  # into how many stretches, if all were as full


def late_nodes(graph: Graph) -> set[Node]:
    """The nodes that were declared as an adjoint, and all that depend on one.

    What selects a result of a node with several goes with that node.
    """
    declared = declared_adjoint(graph.nodes)
    late: set[Node] = set()
    for node in graph.nodes:
        if (node in declared and node.op.family is not Family.ITEM) or not late.isdisjoint(node.operands):
            late.add(node)
    return late


def computed_again(graph: Graph, late: Collection[Node]) -> list[Node]:
    """The forward nodes to compute again for late ones, in order; what else these read is kept.

    Symbolic dimensions count as 32.
    """
    part = _Forward(graph, late)
    whole = best = part.division()
    sizes = [part.filled(node) for node in whole.again]
    for stretches in _DIVISIONS if any(sizes) else ():
        borders = part.borders(whole.again, max(*sizes, sum(sizes) // stretches))
        best = min(best, part.division(borders, whole.again), key=lambda d: d.weight)
    return list(best.again)


@dataclass(frozen=True)
class _Division:
    """What is computed again, in order, and the bytes that are kept or made again at once."""

    again: Mapping[Node, None]
    weight: int


class _Forward:
    """The forward part of a graph."""

    def __init__(self, graph: Graph, late: Collection[Node]) -> None:
        self.graph, self.late = graph, late
        self.nodes = [n for n in graph.nodes if n not in late]
        self.place = {n: k for k, n in enumerate(self.nodes)}
        self.outputs = {n for n in graph.outputs if n in self.place}
        self.moving = [n for n in self.nodes if n.op.name in ("input", "parameter")]
        self.at_hand = self._at_hand()
        self.variant = depending(self.nodes, self.moving) - self.at_hand
        self.wanted = {o for n in graph.nodes if n in late for o in n.operands if o in self.variant}
        self.last = self._last_readers()

    def _at_hand(self) -> set[Node]:
        """Leaves, and movement of them."""
        found: set[Node] = set()
        for node in self.nodes:
            moved = node.op.family is Family.MOVEMENT and found.issuperset(node.operands)
            if node.op.family is Family.LEAF or moved:
                found.add(node)
        return found

    def _last_readers(self) -> dict[Node, int]:
        """The place of the last forward node that reads each one, as it is or through movement."""
        last: dict[Node, int] = {}
        for k, node in reversed(list(enumerate(self.nodes))):
            end = last.setdefault(node, k)
            reader = end if node.op.family is Family.MOVEMENT else k
            for operand in node.operands:
                last[operand] = max(last.get(operand, k), reader)
        return last

    def filled(self, node: Node) -> int:
        """The bytes that a node takes if it is computed again: what late nodes read is there for long."""
        return _stored(node) if node in self.wanted else 0

    def _total(self, again: Collection[Node]) -> list[int]:
        """The bytes of what is computed again of the first nodes, none of them, one, two …"""
        return list(accumulate((self.filled(n) if n in again else 0 for n in self.nodes), initial=0))

    def division(self, borders: Sequence[int] = (), before: Collection[Node] = ()) -> _Division:
        """The cut of least weight in which nothing is computed again that crosses a border and was so `before`."""
        kept = {n for n in before for k in borders if self.place[n] < k <= self.last[n]}
        saved = worth_saving(
            self.graph.nodes,
            self.late,
            (),
            self.moving,
            at_hand=self.at_hand,
            yielded=self.outputs,
            again=lambda node: NEVER if node in kept else _instructions(node),
            a_byte=_A_BYTE,
        )
        made = self.variant.difference(saved)
        found, waiting = set[Node](), [n for n in self.wanted if n in made]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += [o for o in node.operands if o in made]
        again = {n: None for n in self.nodes if n in found}
        total = self._total(again)
        fullest = max(total[b] - total[a] for a, b in pairwise((0, *borders, len(self.nodes))))
        return _Division(again, fullest + sum(_stored(n) for n in saved if n not in self.outputs))

    def borders(self, again: Collection[Node], most: int) -> list[int]:
        """Where to divide, so that at most so many bytes are made again between borders, and the fewest cross them.

        A border is the place of the node that follows it.
        """
        total, crossed = self._total(again), self._crossed(again)
        before: dict[int, int] = {}
        reached = [(0, 0)]  # bytes that cross all borders up to one, and that border
        for k in range(1, len(total)):
            while total[k] - total[reached[0][1]] > most:
                heappop(reached)
            bytes_, before[k] = reached[0]
            heappush(reached, (bytes_ + crossed[k], k))
        found, k = list[int](), before[len(self.nodes)]
        while k:
            found.append(k)
            k = before[k]
        return found[::-1]

    def _crossed(self, again: Collection[Node]) -> list[int]:
        """The bytes of what is computed again that cross a border at each place."""
        steps = [0] * (len(self.nodes) + 2)
        for node in again:
            steps[self.place[node] + 1] += _stored(node)
            steps[self.last[node] + 1] -= _stored(node)
        return list(accumulate(steps))


def _instructions(node: Node) -> int:
    """What computing a node again weighs; NEVER for products, loops, gathers, sorts, and what may fail."""
    checks = node.op.scalar is not None or any(mode in CHECKS for mode in node.attrs.get("modes", ()))
    return NEVER if node.op.family in _KEPT or checks else instructions(node)


def _stored(node: Node) -> int:
    """The bytes that a node takes if it is stored, as movement is not."""
    return 0 if node.op.family is Family.MOVEMENT or len(node.types) != 1 else bytes_of(node)
