"""Linear systems that a root's derivatives ask for, solved by what their matrix is known to be.

In: a matrix as its products with trees of nodes, in both directions, and a right side.  Out: nodes of the solution.
A matrix of known size up to 256 is made as an array and eliminated, with the largest pivots; others are never made:
conjugate gradients on the normal equations take products alone, and need no symmetry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.control import fori_loop, while_loop
from graphc.declare import BUILDER
from graphc.dims import Dim
from graphc.graph import Node
from graphc.standard import finfo

Nodes = Sequence[Node]
Product = Callable[[Nodes], Nodes]
MOST_ELIMINATED = 256  # rows of a matrix: 0.5 MB, some milliseconds
_MOST_TURNS = 20  # steps of conjugate gradients for each unknown


def eliminate(matrix: Node, right: Node) -> Node:
    """x with matrix @ x = right, by Gaussian elimination; where the matrix is singular, NaN or infinite."""
    n = right.shape[0]
    rows = BUILDER.arange(n)

    def column(k: Any, state: tuple[Node, Node]) -> tuple[Node, Node]:
        a, b = state
        size = BUILDER.where(rows >= k, BUILDER.abs(a[:, k]), -1.0)
        pivot = BUILDER.argmax(size)
        a, b = _exchanged(a, k, pivot), _exchanged(b, k, pivot)
        share = BUILDER.where(rows > k, a[:, k] / a[k, k], 0.0)
        return a - BUILDER.outer(share, a[k]), b - share * b[k]

    upper, side = fori_loop(0, n, column, (matrix, right))

    def row(k: Any, x: Node) -> Node:
        k = n - 1 - k
        known = BUILDER.sum(BUILDER.where(rows > k, upper[k] * x, 0.0))
        changed: Node = x.at[k].set((side[k] - known) / upper[k, k])
        return changed

    solved: Node = fori_loop(0, n, row, BUILDER.zeros_like(right))
    return solved


def _exchanged(array: Any, k: Any, other: Any) -> Any:
    first, second = array[k], array[other]
    return array.at[k].set(second).at[other].set(first)


def conjugate(forward: Product, backward: Product, right: Nodes, size: Dim) -> Nodes:
    """x with forward(x) = right, by conjugate gradients on the normal equations; NaN where they do not come to an end.

    The end is a residual of eps ** 0.75 of the right side, within 20 steps for each unknown.
    """
    limit = float(max(finfo(r.dtype).eps for r in right)) ** 1.5
    goal = _dot(right, right) * limit

    def going(state: Any) -> Node:
        _, rest, _, slope, step = state
        moving = BUILDER.logical_and(slope > 0, step < _MOST_TURNS * size)
        goes_on: Node = BUILDER.logical_and(_dot(rest, rest) > goal, moving)
        return goes_on

    def turn(state: Any) -> Any:
        x, rest, along, slope, step = state
        image = forward(along)
        length = slope / _dot(image, image)
        x, rest = _moved(x, length, along), _moved(rest, -length, image)
        pulled = backward(rest)
        following = _dot(pulled, pulled)
        return x, rest, _moved(pulled, following / slope, along), following, step + 1

    begun = list(backward(right))
    nothing = [BUILDER.zeros_like(r) for r in right]
    x, rest, *_ = while_loop(going, turn, (nothing, list(right), begun, _dot(begun, begun), 0))
    solved = _dot(rest, rest) <= goal
    return [BUILDER.where(solved, v, BUILDER.constant(float("nan"), v.dtype)) for v in x]


def _dot(a: Nodes, b: Nodes) -> Any:
    return sum((BUILDER.sum(p * q) for p, q in zip(a[1:], b[1:], strict=True)), BUILDER.sum(a[0] * b[0]))


def _moved(a: Nodes, by: Any, along: Nodes) -> list[Any]:
    return [p + BUILDER.astype(by, p.dtype) * q for p, q in zip(a, along, strict=True)]
