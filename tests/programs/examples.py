"""A random program under `vmap`: some of its leaves are batched, along any axis, and the others are shared."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.graph import Graph

from .program import Leaf, Program, Values
from .unrolled import HELPERS

_APART = 1_000_003  # from seed to seed of the examples


class Examples:
    """Up to three examples, of which the first has the program's own values; `axes` tell where those of a leaf lie."""

    def __init__(self, program: Program) -> None:
        rng = np.random.default_rng([program.seed % 2**32, 1])
        self.program, self.count = program, 1 + int(rng.integers(3))
        self.size: int | str = "examples" if rng.random() < 0.5 else self.count
        self.axes = [
            None if rng.random() < 0.3 else int(rng.integers(-len(leaf.shape) - 1, len(leaf.shape) + 1))
            for leaf in program.leaves
        ]
        self.axes[0] = self.axes[0] or 0
        self.each = [
            {leaf.name: self._values(leaf, 0 if axis is None else k) for leaf, axis in self._leaves()}
            for k in range(self.count)
        ]

    def __str__(self) -> str:
        return f"vmap of {self.size} examples along {self.axes}"

    def _leaves(self) -> list[tuple[Leaf, int | None]]:
        return list(zip(self.program.leaves, self.axes, strict=True))

    def _values(self, leaf: Leaf, example: int) -> Values:
        return leaf.values(self.program.seed + example * _APART, self.program.sizes)

    @property
    def together(self) -> list[Values]:
        """The values of the inputs of the graph."""
        columns = [[values[leaf.name] for values in self.each] for leaf in self.program.leaves]
        return [c[0] if axis is None else np.stack(c, axis) for c, axis in zip(columns, self.axes, strict=True)]

    def graph(self, names: list[str]) -> Graph:
        """These values of all examples, along the first axis."""
        inputs = []
        for leaf, axis in self._leaves():
            shape = list(leaf.shape)
            if axis is not None:
                shape.insert(axis % (len(shape) + 1), self.size)
            inputs.append(gc.input(leaf.name, shape, leaf.dtype))
        roots = gc.vmap(lambda *nodes: self._run(nodes, names), in_axes=tuple(self.axes))(*inputs)
        return Graph(tuple(roots), tuple(inputs))

    def _run(self, nodes: tuple[Any, ...], names: list[str]) -> list[Any]:
        leaves = (leaf.name for leaf in self.program.leaves)
        known = {"gc": gc, "np": np, **HELPERS, **dict(zip(leaves, nodes, strict=True))}
        for line in self.program.lines:
            exec(line.text, known)
        return [known[name] for name in names]
