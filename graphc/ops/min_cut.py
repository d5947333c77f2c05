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
    while flow.augment(source, sink):
        pass
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

    def augment(self, source: int, sink: int) -> bool:
        """Send as much as fits along a shortest way that has room, if there is one."""
        came: dict[int, int] = {source: -1}
        queue = deque([source])
        while queue and sink not in came:
            node = queue.popleft()
            for edge in self.edges[node]:
                if self.room[edge] and self.ends[edge] not in came:
                    came[self.ends[edge]] = edge
                    queue.append(self.ends[edge])
        if sink not in came:
            return False
        way = []
        node = sink
        while node != source:
            way.append(came[node])
            node = self.ends[came[node] ^ 1]
        most = min(self.room[edge] for edge in way)
        if most >= NEVER // 2:
            return False
        for edge in way:
            self.room[edge] -= most
            self.room[edge ^ 1] += most
        return True

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
