"""The op records, a file a family."""

from graphc.ops import (
    activation,
    einsum,
    elementwise,
    extremes,
    index,
    leaf,
    linalg,
    logic,
    movement,
    nn,
    reduce,
    shape,
    slicing,
    statistics,
    subscript,
    transcendental,
)

__all__ = [
    "activation",
    "einsum",
    "elementwise",
    "extremes",
    "index",
    "leaf",
    "linalg",
    "logic",
    "movement",
    "nn",
    "reduce",
    "shape",
    "slicing",
    "statistics",
    "subscript",
    "transcendental",
]
