"""Folds of pairs, of which few numbers are made each: where points have coordinates, a vector has few.

In: a fold of values that are computed of smaller arrays, such as w[:, :, None] * (x[:, None] - y) over either axis of
pairs, as gradients of distances have them.  Out: the same fold with the last axis, the short one, before the axis of
one of the points, so that loops run along many points.  What has both axes is stored in that order first: points are
few beside pairs.
"""

from __future__ import annotations

from graphc.declare import BUILDER, Builder
from graphc.dims import Dim, floor_div, product
from graphc.graph import Node, make
from graphc.op import Family
from graphc.ops.bodies import rebuilt
from graphc.ops.stored import stored
from graphc.schedule.group import is_expensive
from graphc.schedule.split import reduced
from graphc.types import Shape

_FOLDS = ("sum", "product", "max", "min")
_BYTES = 32  # of a short axis, from which loops along it are as fast
_POINTS = 32  # along the other axis, from which loops along it are faster
_WORK = 4_096  # elements, from which it is worth storing arrays in another order
_STEPS = 32  # values that are computed of others, past which there are none to look for
_FEWER = 8  # times fewer elements than are computed, which arrays are to have


def turned_fold(b: Builder, node: Node) -> Node | None:
    """The fold of what is computed with its last two axes changed for each other."""
    (values,), axes = node.operands, reduced(node)
    if node.op.state not in _FOLDS or len(axes) != 1 or not _is_short(values, axes[0]):
        return None
    turned = _Turned(values.shape).of(values)
    if turned is None:
        return None
    *others, points, numbers = values.shape
    turned = BUILDER.broadcast_to(turned, (*others, numbers, points))
    last = values.ndim - 1
    if axes[0] == last - 1:
        return make(node.op, (turned,), {**node.attrs, "axis": (last,)})
    return _exchanged(make(node.op, (turned,), node.attrs))


def _is_short(values: Node, axis: int) -> bool:
    """Whether many points have few numbers each, of which a fold along another axis is made."""
    if values.ndim < 3 or axis == values.ndim - 1 or values.op.family is not Family.ELEMENTWISE:
        return False
    points, numbers = values.shape[-2:]
    if not isinstance(numbers, int) or numbers < 2 or numbers * values.dtype.size >= _BYTES:
        return False
    return _is_least(points, _POINTS) and _is_least(product(values.shape), _WORK)


def _is_least(size: Dim, least: int) -> bool:
    """Whether a size is at least so much, or only the call tells."""
    return not isinstance(size, int) or size >= least


class _Turned:
    """Values of a shape, or broadcast to it, with the last two axes exchanged."""

    def __init__(self, shape: Shape) -> None:
        self._size, self._ndim = product(shape), len(shape)
        self._known: dict[Node, Node | None] = {}
        self._steps = 0

    def of(self, node: Node) -> Node | None:
        """None where an array would have to be stored that is as large as what is computed."""
        if node not in self._known:
            self._known[node] = self._made(node)
        return self._known[node]

    def _made(self, node: Node) -> Node | None:
        if node.ndim == 0:
            return node
        *_, points, numbers = (1, *node.shape)
        if points == 1 or numbers == 1:
            return _exchanged(self._in_full(node if self._is_smaller(node) else _made_once(node)))
        if self._is_smaller(node):
            return stored(_exchanged(self._in_full(node)))
        if node.op.family is not Family.ELEMENTWISE or is_expensive(node) or len(node.types) > 1:
            return None
        self._steps += 1
        operands = [o for o in map(self.of, node.operands) if o is not None] if self._steps <= _STEPS else []
        return rebuilt(node, operands) if len(operands) == len(node.operands) else None

    def _in_full(self, node: Node) -> Node:
        full: Node = BUILDER.reshape(node, (*[1] * (self._ndim - node.ndim), *node.shape))
        return full

    def _is_smaller(self, node: Node) -> bool:
        """Whether it has far fewer elements than are computed, as far as is known."""
        return _is_least(floor_div(self._size, product(node.shape)), _FEWER)


def _made_once(node: Node) -> Node:
    """A value of each pair, which is not made for each of its numbers; of vector math it is stored anyway."""
    if node.op.family is Family.MOVEMENT and product(node.operands[0].shape) == product(node.shape):
        return rebuilt(node, [_made_once(node.operands[0]), *node.operands[1:]])
    return stored(node) if node.op.family is Family.ELEMENTWISE and not is_expensive(node) else node


def _exchanged(node: Node) -> Node:
    moved: Node = BUILDER.permute_dims(node, (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2))
    return moved
