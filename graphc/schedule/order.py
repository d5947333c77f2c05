"""The order of groups and copies, and which parameters can be written in place.

In: entries, each with what it needs, the parameters that it reads, whether it may fail, and the updates that it would
write in place.  Out: an order, and the updates that must wait, since their writer can't come after every other reader
of the parameter and after everything that may fail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from graphc.graph import Graph, Node


@dataclass(frozen=True, eq=False)
class Entry:
    """A group or copy to be ordered; `needs` are numbers of other entries, `updates` numbers of updates.

    `follows` are numbers of products that it reads: behind one of them it finds the rows in cache.
    """

    needs: tuple[int, ...]
    reads: frozenset[Node]
    may_fail: bool
    updates: tuple[int, ...]
    follows: tuple[int, ...] = ()


def nearest_first(graph: Graph) -> Graph:
    """The graph with its outputs by the length of the longest way to them, so that nodes come in a better order.

    What several outputs begin with is not computed far ahead for the last of them: the gradient of a layer, and the
    update that it is for, come before those of the layers below, and what they read is free for these.
    """
    length: dict[Node, int] = {}
    for node in graph.nodes:
        length[node] = 1 + max([length[o] for o in node.operands], default=0)
    return Graph(tuple(sorted(graph.outputs, key=length.__getitem__)), graph.inputs)


def ordered(
    entries: Sequence[Entry], parameters: Sequence[Node], weigh: Callable[[list[int]], int]
) -> tuple[list[int], set[int]]:
    """Numbers of entries in order, and the updates that must wait; `parameters` has that of each update.

    What reads a product follows it, where that order weighs no more than the other one.
    """
    first = _Order(entries, parameters, frozenset())
    last = _Order(entries, parameters, first.waiting) if first.waiting else first
    order, other = last.by_need(follows=True), last.by_need(follows=False)
    return order if order == other or weigh(order) <= weigh(other) else other, first.waiting


class _Order:
    """Entries taken as soon as they are free; where none is, an update on a circle is made to wait."""

    def __init__(self, entries: Sequence[Entry], parameters: Sequence[Node], waiting: Collection[int]) -> None:
        self.entries, self.parameters = entries, parameters
        self.waiting: set[int] = set(waiting)
        self.checks = len(entries)  # stands for all entries that may fail
        self.edges: list[dict[int, set[int] | None]] = [dict.fromkeys(e.needs) for e in entries]
        self.edges.append({k: None for k, e in enumerate(entries) if e.may_fail})
        self._hold_writers()
        self.users: list[list[int]] = [[] for _ in self.edges]
        for k, edges in enumerate(self.edges):
            for source in edges:
                self.users[source].append(k)
        self.missing = [len(edges) for edges in self.edges]
        self.done = [False] * len(self.edges)
        self.left = len(entries)
        self._run()

    def _hold_writers(self) -> None:
        """Edges from the readers of a parameter, and from what may fail, to its writer; each knows its updates."""
        readers: dict[Node, list[int]] = {}
        for k, entry in enumerate(self.entries):
            for node in entry.reads:
                readers.setdefault(node, []).append(k)
        for k, entry in enumerate(self.entries):
            for update in entry.updates:
                if update in self.waiting:
                    continue
                for reader in (*readers.get(self.parameters[update], ()), self.checks):
                    held = self.edges[k].setdefault(reader, set()) if reader != k else None
                    if held is not None:
                        held.add(update)

    def _run(self) -> None:
        self.ready: list[int] = []
        for k in range(len(self.edges)):
            self._offer(k)
        self.unfinished = list(range(len(self.edges)))
        self.sources = [list(edges) for edges in self.edges]
        while self.left:
            while self.ready:
                self._take(self.ready.pop())
            if self.left:
                self._release(*self._circle())

    def _offer(self, k: int) -> None:
        if not self.missing[k]:
            self.ready.append(k)

    def _take(self, k: int) -> None:
        self.done[k] = True
        self.left -= k != self.checks
        for user in self.users[k]:
            if k in self.edges[user]:
                self.missing[user] -= 1
                self._offer(user)

    def by_need(self, follows: bool) -> list[int]:
        """Numbers of entries in order: for each that nobody needs, first what it needs and is not there yet.

        Other readers of a parameter come before what makes its new value, which is then written at once.  If asked for,
        what reads a product `follows` it, where it needs nothing else.
        """
        found: dict[int, None] = {}
        stack = [(k, False) for k in reversed(range(len(self.edges))) if not self.users[k]]
        while stack:
            k, ready = stack.pop()
            if ready:
                found[k] = None
                if follows and (follower := self._follower(k, found)) is not None:
                    stack.append((follower, False))
            elif k not in found:
                edges = self.edges[k]
                stack.append((k, True))
                stack += [(s, False) for s in sorted(edges, key=lambda s: edges[s] is not None) if s not in found]
        found.pop(self.checks, None)
        return list(found)

    def _follower(self, k: int, found: Collection[int]) -> int | None:
        """What reads a product, and needs nothing that is not there."""
        followers = (u for u in self.users[k] if u != self.checks and k in self.entries[u].follows)
        return next((u for u in followers if u not in found and all(s in found for s in self.edges[u])), None)

    # circles

    def _circle(self) -> tuple[int, int, int]:
        """The edge of a circle whose updates had better wait: (update, writer, what it waits for)."""
        walk: dict[int, int] = {}
        while self.done[self.unfinished[-1]]:
            self.unfinished.pop()
        k = self.unfinished[-1]
        while k not in walk:
            walk[k] = self._blocking(k)
            k = walk[k]
        found, start = [], k
        while True:
            updates = self.edges[k][walk[k]]
            if updates:
                found.append((max(updates), k, walk[k]))
            k = walk[k]
            if k == start:
                return max(found)

    def _blocking(self, k: int) -> int:
        """Something unfinished that k waits for."""
        sources = self.sources[k]
        while self.done[sources[-1]] or sources[-1] not in self.edges[k]:
            sources.pop()
        return sources[-1]

    def _release(self, update: int, writer: int, source: int) -> None:
        """Have the updates wait for which the writer waited for the source."""
        gone = set(self.edges[writer][source] or ())
        self.waiting |= gone
        for other in list(self.edges[writer]):
            updates = self.edges[writer][other]
            if updates is not None:
                updates -= gone
                if not updates:
                    del self.edges[writer][other]
                    self.missing[writer] -= not self.done[other]
        self._offer(writer)
