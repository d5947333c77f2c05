"""Positions for a drawing in layers: every edge leads downwards, few edges cross, long edges run straight.

In: sizes of boxes and the edges between them, an acyclic graph.  Out: centres of the boxes, and the points through
which each edge goes.  Edges that leave one box share their way until they part.

Source: K. Sugiyama, S. Tagawa, M. Toda, Methods for visual understanding of hierarchical system structures (1981).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

Point = tuple[float, float]
Edge = tuple[int, int]
Values = np.ndarray[tuple[int], np.dtype[np.float64]]

BETWEEN = 14.0  # boxes of a layer
BELOW = 30.0  # between layers
_THIN = 6.0  # the width that an edge takes where it passes a layer
_SWEEPS = 24


@dataclass(frozen=True)
class Layout:
    centres: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


def layout(sizes: Sequence[Point], edges: Sequence[Edge]) -> Layout:
    """Place boxes of these widths and heights."""
    return _Layers(sizes, edges).placed()


class _Layers:
    """The graph with a bend, a vertex as thin as a line, wherever an edge passes a layer."""

    def __init__(self, sizes: Sequence[Point], edges: Sequence[Edge]) -> None:
        self.sizes, self.edges = sizes, edges
        self.layer = _layers(len(sizes), edges)
        self.widths = [w for w, _ in sizes]
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.bends: dict[Edge, int] = {}  # the bend of a source's edges in a layer
        self.ways = [self._way(*edge) for edge in edges]
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for v in self._in_order():
            self.rows[self.layer[v]].append(v)

    def _way(self, source: int, target: int) -> list[int]:
        """The vertices from source to target, one a layer."""
        way = [source]
        for layer in range(self.layer[source] + 1, self.layer[target]):
            if (source, layer) not in self.bends:
                self.bends[source, layer] = self._new_bend(layer)
                self._connect(way[-1], self.bends[source, layer])
            way.append(self.bends[source, layer])
        self._connect(way[-1], target)
        return [*way, target]

    def _new_bend(self, layer: int) -> int:
        self.layer.append(layer)
        self.widths.append(_THIN)
        self.above.append([])
        self.below.append([])
        return len(self.layer) - 1

    def _connect(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def _in_order(self) -> list[int]:
        """All vertices, from each end of the graph back to what is above it: neighbours come together."""
        order: dict[int, None] = {}
        stack = [v for v in reversed(range(len(self.layer))) if not self.below[v]]
        while stack:
            v = stack.pop()
            if v not in order:
                order[v] = None
                stack += reversed(self.above[v])
        return list(order)

    def placed(self) -> Layout:
        self._sort_rows()
        x = self._columns()
        middle, height = self._lines()
        centres = [(x[v], middle[self.layer[v]]) for v in range(len(self.sizes))]
        routes = [self._route(way, x, middle) for way in self.ways]
        width = max((c + w / 2 for c, w in zip(x, self.widths, strict=True)), default=0.0)
        return Layout(centres, routes, width, height)

    def _sort_rows(self) -> None:
        """Order each row by the mean place of its neighbours in the row before, sweeping down and up in turn."""
        place = [0.0] * len(self.layer)

        def settle(row: Sequence[int]) -> None:
            for k, v in enumerate(row):
                place[v] = (k + 0.5) / len(row)

        for row in self.rows:
            settle(row)
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            neighbours = self.above if down else self.below
            for row in self.rows if down else reversed(self.rows):
                row.sort(key=lambda v: fmean(place[u] for u in neighbours[v]) if neighbours[v] else place[v])
                settle(row)

    def _columns(self) -> list[float]:
        """Horizontal centres: as near to the mean of the neighbours as order and widths allow."""
        # With the room that boxes need taken off, order is all that is asked for: isotonic regression.
        from scipy.optimize import isotonic_regression

        x = [0.0] * len(self.layer)
        weights = [self._weight(v) for v in range(len(self.layer))]
        rooms = [self._room(row) for row in self.rows]
        for row, room in zip(self.rows, rooms, strict=True):
            for v, place in zip(row, room - room.mean(), strict=True):
                x[v] = place
        for sweep in range(4 * _SWEEPS):
            order = range(len(self.rows)) if sweep % 2 == 0 else reversed(range(len(self.rows)))
            for k in order:
                row, room = self.rows[k], rooms[k]
                wanted = [self._wanted(v, x, weights) for v in row]
                if len(row) == 1:
                    x[row[0]] = wanted[0]
                else:
                    fitted = isotonic_regression(np.array(wanted) - room, weights=[weights[v] for v in row]).x
                    for v, place in zip(row, fitted + room, strict=True):
                        x[v] = place
        left = min((x[v] - w / 2 for v, w in enumerate(self.widths)), default=0.0)
        return [float(value - left) for value in x]

    def _weight(self, v: int) -> float:
        """How much a vertex pulls: what reads nothing follows its reader, a bend keeps its edge straight."""
        return 4.0 if v >= len(self.sizes) else 1.0 if self.above[v] else 0.1

    def _wanted(self, v: int, x: Sequence[float], weights: Sequence[float]) -> float:
        near = [*self.above[v], *self.below[v]]
        return sum(x[u] * weights[u] for u in near) / sum(weights[u] for u in near) if near else x[v]

    def _room(self, row: Sequence[int]) -> Values:
        """Centres of a row's vertices, side by side."""
        widths = np.array([self.widths[v] for v in row]) + BETWEEN
        centres: Values = np.cumsum(widths) - widths / 2
        return centres

    def _lines(self) -> tuple[list[float], float]:
        """The middle of each layer, as high as its highest box, and the height of all."""
        middle: list[float] = []
        y = 0.0
        for row in self.rows:
            height = max((self.sizes[v][1] for v in row if v < len(self.sizes)), default=0.0)
            middle.append(y + height / 2)
            y += height + BELOW
        return middle, max(y - BELOW, 0.0)

    def _route(self, way: Sequence[int], x: Sequence[float], middle: Sequence[float]) -> list[Point]:
        """From the lower side of the source through the bends to the upper side of the target."""
        points = [(x[v], middle[self.layer[v]]) for v in way]
        (x0, y0), (x1, y1) = points[0], points[-1]
        points[0] = x0, y0 + self.sizes[way[0]][1] / 2
        points[-1] = x1, y1 - self.sizes[way[-1]][1] / 2
        return points


def _layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """The layer of each vertex, below all that it reads; one that can is as low as its readers let it.

    Vertices are numbered so that every edge leads to a higher number.
    """
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        below[source].append(target)
        above[target].append(source)
    layer: list[int] = []
    for v in range(count):
        layer.append(max((layer[u] + 1 for u in above[v]), default=0))
    for v in reversed(range(count)):
        if len(below[v]) >= max(len(above[v]), 1):
            layer[v] = min(layer[u] for u in below[v]) - 1
    return layer
