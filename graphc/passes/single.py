"""Single: one element of each row is read before it is computed with, and an update of one is a choice within the row.

In: any graph.  Out: the same values.  A gather reads an array that lies in memory: all of it is made and stored for
one element of each row, unless what it is made of is read there.  A scatter goes through its values one after the
other, by itself, over an array that is made before.  A choice is made in the loops that make the array or read it.
Where the array lies in memory already, as what loops carry and parameters do, the scatter is the shorter way and stays.
"""

from __future__ import annotations

from collections import Counter

from graphc.declare import Builder
from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.ops.bodies import holds_bodies, rebuilt
from graphc.ops.index import CHECKS, checked, read
from graphc.ops.update import ELEMENTWISE
from graphc.rewrite import Rule, is_filled, rewrite
from graphc.types import int32, int64

_READING = (Family.ELEMENTWISE, Family.REDUCTION)


def single(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph, and how many there were."""
    if not (holds_bodies(graph) or any(n.op.family in (Family.GATHER, Family.SCATTER) for n in graph.nodes)):
        return graph, Counter()
    read_early, fired = rewrite(graph, _GATHERS)
    users: dict[Node, list[Node]] = {}
    for node in read_early.nodes:
        for operand in node.operands:
            users.setdefault(operand, []).append(node)
    kept = set(read_early.outputs)

    def choice(b: Builder, node: Node) -> Node | None:
        base, read = node.operands[0], users.get(node, ())
        passing = read and node not in kept and all(n.op.family in _READING for n in read)
        if not (base.op.family is Family.ELEMENTWISE or (passing and is_filled(base, 0))):
            return None
        return _chosen(b, node)

    rule = Rule("scatter of one a row", "_scatter", choice, "loops over the array choose the element on their way")
    chosen, more = rewrite(read_early, (rule,))
    return chosen, fired + more


def _axis(node: Node) -> int | None:
    """The axis along which one element is read or updated in each row; None if it is not so.

    What is read, or the values of an update, may have it as an axis of length 1, or not at all.
    """
    along, base = node.attrs["along"], node.operands[0]
    values, positions = (node, node.operands[1]) if node.op.family is Family.GATHER else node.operands[1:3]
    if min(along) != -1 or along.count(-1) != 1:
        return None
    axis: int = along.index(-1)
    others = [k for k in along if k >= 0]
    kept = values.ndim == base.ndim
    if others != [k for k in range(base.ndim) if k != axis] if kept else others != list(range(values.ndim)):
        return None
    rows = tuple(1 if k == axis else d for k, d in enumerate(base.shape) if kept or k != axis)
    is_one = positions.shape[axis] == 1 if kept else True
    return axis if values.shape == rows and is_one else None


def _within(b: Builder, x: Node, node: Node, axis: int) -> Node:
    """Values or positions of an update, with an axis of length 1 where the array has its own."""
    return x if x.ndim == node.ndim else b.expand_dims(x, axis)


def _chosen(b: Builder, node: Node) -> Node | None:
    """The choice that stands for an update."""
    axis = _axis(node)
    if axis is None:
        return None
    base, values, *_ = node.operands
    length, (mode,) = node.shape[axis], node.attrs["modes"]
    known = isinstance(length, int) and length < 2**31 and mode != "drop"
    dtype = int32 if known and node.dtype.size == 4 else int64  # as many lanes as the values have
    every = b.reshape(b.arange(length, dtype=dtype), [length if k == axis else 1 for k in range(node.ndim)])
    here = b.equal(b.astype(_position(b, node, axis), dtype), every)
    new = ELEMENTWISE[node.attrs["combine"]](b, base, _within(b, values, node, axis))
    return b.where(here, new, base)  # type: ignore[no-any-return]


def _before_it_is_made(b: Builder, node: Node) -> Node | None:
    """The same gather of what an array is computed from, element by element."""
    base, positions = node.operands[0], node.operands[1]
    axis = _axis(node)
    if axis is None or node.ndim != base.ndim or base.shape[axis] == 1:
        return None
    if base.op.family is not Family.ELEMENTWISE or base.op.scalar is not None:
        return None

    def there(operand: Node) -> Node:
        whole = b.reshape(operand, (1,) * (base.ndim - operand.ndim) + operand.shape)
        if whole.shape[axis] == 1:
            return whole  # type: ignore[no-any-return]
        return read(b, whole, (positions,), node.attrs["along"], node.attrs["modes"])  # type: ignore[no-any-return]

    found = rebuilt(base, tuple(o if o.ndim == 0 else there(o) for o in base.operands))
    return found if found.types == node.types else None


_GATHERS = (Rule("gather of one a row", "_gather", _before_it_is_made, "the others are not needed"),)


def _position(b: Builder, node: Node, axis: int) -> Node:
    """Where the element is, checked if that is the node's mode; beyond the axis if it may be left out."""
    (mode,), positions = node.attrs["modes"], _within(b, node.operands[2], node, axis)
    found: Node = checked(b, positions, node.shape[axis], axis, mode) if mode in CHECKS else positions
    return found


def _sum_of_row(b: Builder, node: Node) -> Node | None:
    """The value, if its position lies on the axis; others are an error or left out."""
    updated = node.operands[0]
    axis = _axis(updated) if updated.op.name == "_scatter" else None
    if axis is None or node.attrs["axis"] != (axis,) or updated.attrs["combine"] not in ("add", "set"):
        return None
    if not is_filled(updated.operands[0], 0):
        return None
    at = _position(b, updated, axis)
    inside = b.logical_and(b.greater_equal(at, 0), b.less(at, updated.shape[axis]))
    return b.reshape(b.where(inside, _within(b, updated.operands[1], updated, axis), 0), node.shape)  # type: ignore[no-any-return]


SUMS_OF_ROWS = (Rule("sum of one a row", "sum", _sum_of_row, "the others are zeros", "_scatter"),)
