"""Remat: values of the forward part that the adjoint reads are computed again instead of kept.

In: an optimised graph.  Out: a graph of the same values, in which late nodes read copies of what is computed again
(`graphc/passes/keep.py`).  A copy begins at barriers (`graphc/ops/barrier.py`) on what is kept: so it is another node,
and is computed after the cotangent with which its first reader combines it, not before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graphc.graph import Graph, Node, make, with_outputs
from graphc.op import HOLDERS, Family
from graphc.ops.barrier import barrier
from graphc.ops.bodies import rebuilt
from graphc.passes.keep import computed_again, late_nodes

_STORED = (Family.ELEMENTWISE, Family.REDUCTION)  # what is computed where it is read, unless it is kept
_WHOLE = (Family.GATHER, Family.SCATTER, *HOLDERS)  # what reads operands as they lie


def remat(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph that keeps less, and how many nodes it computes again."""
    late = late_nodes(graph)
    again = computed_again(graph, late)
    if not again:
        return graph, Counter()
    return _Copies(graph, late, again).graph(), Counter({"computed again": len(again)})


class _Copies:
    """The graph with copies, made in an order of late nodes in which each needs only earlier ones."""

    def __init__(self, graph: Graph, late: set[Node], again: Sequence[Node]) -> None:
        self.before, self.late, self.again = graph, late, dict.fromkeys(again)
        self.users = {n: [u for u in graph.users[n] if u in late] for n in graph.nodes}
        self._measure()
        self.order = self._ordered()
        self.place = {n: k for k, n in enumerate(self.order)}
        self.copies: dict[Node, Node] = {}
        self.new: dict[Node, Node] = {}

    def graph(self) -> Graph:
        due: dict[Node, list[Node]] = {}
        for node, reader in self._first_readers().items():
            due.setdefault(reader, []).append(node)
        for node in self.order:
            after = self._awaited(node)
            for old in reversed(due.get(node, ())):
                self.copies[old] = self._copied(old, after)
            self.new[node] = rebuilt(node, [self._read(o, node, after) for o in node.operands])
        return with_outputs(self.before, [self.new.get(o, o) for o in self.before.outputs])

    def _copied(self, old: Node, after: Node | None) -> Node:
        """The node computed again: of copies, and of kept nodes as they are after another one."""
        operands = [
            self.copies[o] if o in self.again else o if _is_fixed(o) else barrier(o, o if after is None else after)
            for o in old.operands
        ]
        return make(old.op, operands, old.attrs, old.line)

    def _read(self, operand: Node, reader: Node, after: Node | None) -> Node:
        """What a late node reads in the place of an operand; one that reads nothing late waits as a copy does."""
        if operand in self.again:
            return self.copies[operand]
        if operand in self.late:
            return self.new[operand]
        if reader.op.family in _WHOLE or _is_fixed(operand):
            return operand
        if after is not None and self.late.isdisjoint(reader.operands):
            return barrier(operand, after)
        return barrier(operand, operand) if operand.op.family in _STORED else operand

    # when

    def _measure(self) -> None:
        """How many late nodes stand on the longest way to each late node, and at most before it is of use."""
        self.length: dict[Node, int] = {}
        late = [n for n in self.before.nodes if n in self.late]
        for node in late:
            self.length[node] = 1 + max((self.length[o] for o in node.operands if o in self.late), default=0)
        self.latest: dict[Node, int] = {}
        for node in reversed(late):
            self.latest[node] = min((self.latest[u] - 1 for u in self.users[node]), default=self.length[node])

    def _ordered(self) -> list[Node]:
        """The late nodes; of what a node reads comes first what takes longest: the rest comes just before it."""
        found: dict[Node, None] = {}
        stack = sorted((o for o in self.before.outputs if o in self.late), key=self.length.__getitem__, reverse=True)
        opened: set[Node] = set()
        while stack:
            node = stack[-1]
            if node in found:
                stack.pop()
            elif node in opened:
                found[stack.pop()] = None
            else:
                opened.add(node)
                operands = [o for o in node.operands if o in self.late and o not in opened]
                stack += sorted(operands, key=self.length.__getitem__)
        return list(found)

    def _first_readers(self) -> dict[Node, Node]:
        """For each node that is computed again the first late node that needs it; users come first."""
        found: dict[Node, Node] = {}
        for node in reversed(self.again):
            users = [u for u in self.before.users[node] if u in self.late or u in found]
            found[node] = min((found.get(u, u) for u in users), key=self.place.__getitem__)
        return found

    def _awaited(self, reader: Node) -> Node | None:
        """What a copy for the reader comes after, in the new graph: with that it is combined.

        A reader may be apart from the way that cotangents take, as 1 - tanh(x)**2 is; then that is the operand of a
        user that takes longer than the reader itself.
        """
        node = reader
        while self.length[node] < self.latest[node]:
            user = min(self.users[node], key=self.latest.__getitem__)
            longest = self._longest(user, reader)
            if longest is not None and self.length[longest] > self.length[node]:
                return self.new[longest]
            node = user
        longest = self._longest(node, reader)
        return None if longest is None else self.new[longest]

    def _longest(self, node: Node, reader: Node) -> Node | None:
        """The operand that takes longest, of those that come before the reader."""
        late = [o for o in node.operands if o in self.late and self.place[o] < self.place[reader]]
        return max(late, key=self.length.__getitem__, default=None)


def _is_fixed(node: Node) -> bool:
    """Whether it is the same in every call."""
    return node.op.name == "constant" or node.op.family is Family.INDEX
