"""What of a computation is best saved, what computed again: a cut of least weight.

In: a graph by numbers, what saving each node and computing it again weighs.  Out: the nodes to save.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

NEVER = 1 << 60


def min_cut(
    saving: Sequence[int], again: Mapping[int, int], edges: Iterable[tuple[int, int]], wanted: Iterable[int]
) -> set[int]:
    """The nodes to save, so that all `wanted` ones are at hand and saving and computing again weigh least in sum.

    A node is computed again from all nodes with an edge to it; what is not in `again` costs nothing.  NEVER says that
    a node can't be saved or computed again.  Of several best ways the one is taken that saves what comes last.

    >>> sorted(min_cut([8, 8, 3], {0: NEVER}, [(0, 1), (0, 2), (1, 2)], [2]))
    [2]
    >>> sorted(min_cut([8, 8, 8], {0: NEVER, 1: 5}, [(0, 1), (0, 2)], [1, 2]))
    [0]
    >>> sorted(min_cut([8, 8, 8], {0: NEVER, 1: 9}, [(0, 1), (0, 2)], [1, 2]))
    [1, 2]
    """
    flow = _Flow(2 * len(saving) + 2)  # node k is at hand if 2k + 1 is behind the cut, computed again if 2k is too
    source, sink = flow.size - 2, flow.size - 1
    for k, weight in enumerate(saving):
        flow.add(2 * k, 2 * k + 1, weight)
    for k, weight in again.items():
        flow.add(source, 2 * k, weight)
    for first, second in edges:
        flow.add(2 * first + 1, 2 * second, NEVER)
    for k in wanted:
        flow.add(2 * k + 1, sink, NEVER)
    flow.fill(source, sink)
    behind = flow.reaching(sink)
    assert source not in behind, "what is wanted can be neither saved nor computed again"
    return {k for k in range(len(saving)) if 2 * k not in behind and 2 * k + 1 in behind}


class _Flow:
    """A flow in a network: edge 2k leads forward, edge 2k + 1 is the same one backward; `room` is what still fits."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.edges: list[list[int]] = [[] for _ in range(size)]
        self.ends: list[int] = []
        self.room: list[int] = []

    def add(self, first: int, second: int, weight: int) -> None:
        for start, end, room in ((first, second, weight), (second, first, 0)):
            self.edges[start].append(len(self.ends))
            self.ends.append(end)
            self.room.append(room)

    def fill(self, source: int, sink: int) -> None:
        """Send as much as fits, by Dinic's method: along all shortest ways, then along all that are shortest then."""
        while (levels := self._levels(source))[sink] >= 0:
            tried = [0] * self.size
            while way := self._way(source, sink, levels, tried):
                most = min(self.room[edge] for edge in way)
                if most >= NEVER // 2:
                    return  # nothing can be cut on this way
                for edge in way:
                    self.room[edge] -= most
                    self.room[edge ^ 1] += most

    def _levels(self, source: int) -> list[int]:
        """How many edges with room lead from the source to each node; -1 where none do."""
        levels = [-1] * self.size
        levels[source] = 0
        queue = deque([source])
        while queue:
            node = queue.popleft()
            for edge in self.edges[node]:
                if self.room[edge] and levels[self.ends[edge]] < 0:
                    levels[self.ends[edge]] = levels[node] + 1
                    queue.append(self.ends[edge])
        return levels

    def _way(self, source: int, sink: int, levels: list[int], tried: list[int]) -> list[int]:
        """The edges of a way that goes up a level with each; so many edges of a node are `tried` and lead nowhere."""
        way: list[int] = []
        node = source
        while node != sink:
            if tried[node] == len(self.edges[node]):
                if not way:
                    return []
                node = self.ends[way.pop() ^ 1]
                tried[node] += 1
                continue
            edge = self.edges[node][tried[node]]
            if self.room[edge] and levels[self.ends[edge]] == levels[node] + 1:
                way.append(edge)
                node = self.ends[edge]
            else:
                tried[node] += 1
        return way

    def reaching(self, sink: int) -> set[int]:
        """The nodes from which there still is a way with room to the sink."""
        found, waiting = {sink}, [sink]
        while waiting:
            for edge in self.edges[waiting.pop()]:
                start = self.ends[edge]
                if self.room[edge ^ 1] and start not in found:
                    found.add(start)
                    waiting.append(start)
        return found
