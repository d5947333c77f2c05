"""What of the forward part is kept for the adjoint, and what is computed again: `Options(remat="memory")`.

In: a graph, and which nodes are late: those of the adjoint, and all that needs them.  Out: the nodes to compute again.

The cut of least weight (`graphc/ops/save.py`) keeps as few bytes as it can.  What it computes again of one stretch of the
program may all be there at once, since each node is computed again once, however many read it.  So the forward part is
divided: what crosses a border is kept, and computing again begins anew behind it.  Tried are ever shorter stretches;
that division is the best by which what is kept and what the fullest stretch makes again are the fewest bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from graphc.graph import Graph, Node
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import depending
from graphc.ops.index import CHECKS
from graphc.ops.min_cut import NEVER
from graphc.ops.save import bytes_of, instructions, worth_saving

_A_BYTE = 64  # instructions, for an element of a vector, for which a byte is rather kept
_KEPT = (Family.KERNEL, Family.GATHER, Family.SCATTER, Family.REGION, *HOLDERS)  # never computed again
_SHORTEST = 64  # stretches at most


def late_nodes(graph: Graph) -> set[Node]:
    """The nodes that were declared as an adjoint, and all that depend on one.

    A result that is selected of a node with several belongs to that node.
    """
    late: set[Node] = set()
    for node in graph.nodes:
        declared = node.line.purpose.part == "adjoint" and node.op.family not in (Family.LEAF, Family.ITEM)
        if declared or any(o in late for o in node.operands):
            late.add(node)
    return late


def computed_again(graph: Graph, late: Collection[Node]) -> list[Node]:
    """The forward nodes to compute again for late ones, in order; what else these read is kept.

    Symbolic dimensions count as 32.
    """
    part = _Forward(graph, late)
    best = part.division(frozenset())
    if best.filled:
        whole = sum(best.filled.values())
        for parts in (2**k for k in range(1, _SHORTEST.bit_length())):
            tried = part.division(part.crossing(best.filled, whole // parts))
            best = min(best, tried, key=lambda d: d.weight)
    return best.again


@dataclass(frozen=True)
class _Division:
    """What is computed again, the most bytes that are there at once, kept ones and others, and where others are."""

    again: list[Node]
    weight: int
    filled: Mapping[int, int] = field(default_factory=dict)  # bytes wanted by late nodes, by place in the forward order


class _Forward:
    """The forward part of a graph."""

    def __init__(self, graph: Graph, late: Collection[Node]) -> None:
        self.graph, self.late = graph, late
        self.nodes = [n for n in graph.nodes if n not in late]
        self.place = {n: k for k, n in enumerate(self.nodes)}
        self.outputs = {n: None for n in graph.outputs if n in self.place}
        self.moving = [n for n in self.nodes if n.op.name in ("input", "parameter")]
        self.at_hand = self._at_hand()
        self.variant = depending(self.nodes, self.moving).difference(self.at_hand)
        self.wanted = {o for n in graph.nodes if n in late for o in n.operands if o in self.variant}

    def _at_hand(self) -> set[Node]:
        """Leaves, and movement of them."""
        found: set[Node] = set()
        for node in self.nodes:
            moved = node.op.family is Family.MOVEMENT and all(o in found for o in node.operands)
            if node.op.family is Family.LEAF or moved:
                found.add(node)
        return found

    def division(self, kept: Collection[Node]) -> _Division:
        """The cut of least weight that computes none of `kept` again."""
        saved = dict.fromkeys(worth_saving(
            self.graph.nodes,
            self.late,
            (),
            self.moving,
            at_hand=self.at_hand,
            yielded=self.outputs,
            again=lambda node: NEVER if node in kept else _instructions(node),
            a_byte=_A_BYTE,
        ))
        again, waiting = set[Node](), [n for n in self.wanted.difference(saved)]
        while waiting:
            node = waiting.pop()
            if node not in again:
                again.add(node)
                waiting += [o for o in node.operands if o in self.variant and o not in saved]
        filled = {self.place[n]: _stored(n) for n in again & self.wanted if _stored(n)}
        bytes_kept = sum(_stored(n) for n in saved if n not in self.outputs)
        return _Division(sorted(again, key=self.place.__getitem__), bytes_kept + self._fullest(filled, kept), filled)

    def _fullest(self, filled: Mapping[int, int], kept: Collection[Node]) -> int:
        """The most bytes wanted of what lies between two nodes that are kept for crossing a border."""
        total, borders = list(accumulate(filled.get(k, 0) for k in range(len(self.nodes)))), sorted(map(self.place.get, kept))
        marks = [0, *(total[k] for k in borders), total[-1]]
        return max(b - a for a, b in pairwise(marks))

    def crossing(self, filled: Mapping[int, int], most: int) -> frozenset[Node]:
        """What crosses the borders of stretches that hold at most so many bytes, where few bytes do."""
        last = self._last_readers()
        crossed = self._crossed(last)
        borders, sum_, best = [], 0, None
        for k in range(len(self.nodes)):
            sum_ += filled.get(k, 0)
            if 2 * sum_ >= most and (best is None or crossed[k] <= crossed[best]):
                best = k
            if sum_ >= most and best is not None:
                borders.append(best)
                sum_, best = sum(filled.get(j, 0) for j in range(best + 1, k + 1)), None
        return frozenset(n for k in borders for n in self.nodes[: k + 1] if last[n] > k and _stored(n) and n in self.variant)

    def _last_readers(self) -> dict[Node, int]:
        """The place of the last forward node that reads each one, by movement or as it is."""
        last: dict[Node, int] = {}
        for node in reversed(self.nodes):
            end = last.setdefault(node, self.place[node])
            reader = end if node.op.family is Family.MOVEMENT else self.place[node]
            for operand in node.operands:
                last[operand] = max(last.get(operand, 0), reader)
        return last

    def _crossed(self, last: Mapping[Node, int]) -> list[int]:
        """The bytes that are made up to each place and read behind it."""
        steps = [0] * (len(self.nodes) + 1)
        for k, node in enumerate(self.nodes):
            if node in self.variant:
                steps[k] += _stored(node)
                steps[last[node]] -= _stored(node)
        return list(accumulate(steps))


def _instructions(node: Node) -> int:
    """What computing a node again weighs; NEVER for products, loops, gathers, sorts, and what may fail."""
    checks = node.op.scalar is not None or any(mode in CHECKS for mode in node.attrs.get("modes", ()))
    return NEVER if node.op.family in _KEPT or checks else instructions(node)


def _stored(node: Node) -> int:
    """The bytes that a node takes if it is stored; movement is not."""
    return 0 if node.op.family is Family.MOVEMENT or len(node.types) != 1 else bytes_of(node)
