"""Keys: what a subscript such as x[1:, u, None] names, as NumPy has it.

A slice is clamped to its axis, an int must lie on it.  With n for the length of an axis, all of it is said in
`_after(n, m) = max(n - m, 0)`, the elements that come after the first m, so that x[1:] and x[:-1] have one length in
normal form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.dims import Dim, Poly, dim_max, floor_div, is_nonnegative
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.graph import describe
from graphc.ops.index import positions_on
from graphc.types import DoesNotBroadcast, Shape, broadcast, int64, shape_text


def _after(size: Dim, skipped: Dim) -> Dim:
    return dim_max(size - skipped, 0)


def is_index(value: Any) -> bool:
    return isinstance(value, (int, np.integer, Poly)) and not isinstance(value, bool)


def from_start(position: Dim, what: Any) -> bool:
    """Whether a position counts from the start; from the end if it is negative."""
    if is_nonnegative(position):
        return True
    if is_nonnegative(-1 - position):
        return False
    raise DeclarationError(
        f"{what} may be negative or not, depending on its symbols; write gc.maximum or gc.minimum of it and a number"
    )


def steps(key: slice, size: Dim) -> tuple[Dim, int, Dim]:
    """(start, step, count) of a slice on an axis of this length."""
    step = 1 if key.step is None else key.step
    if not is_index(step) or isinstance(step, Poly) or step == 0:
        raise DeclarationError(f"the step of a slice is an int other than 0, got {step!r}")
    for bound in (key.start, key.stop):
        if bound is not None and not is_index(bound):
            raise DeclarationError(f"a slice goes from int to int, got {bound!r}")
    # backwards it runs forward on the reversed axis, where position p is called -1 - p
    first, last = (p if p is None or step > 0 else -1 - p for p in (key.start, key.stop))
    begin, length = _run(first, last, size)
    stride = abs(int(step))
    return begin if step > 0 else size - 1 - begin, int(step), floor_div(length + stride - 1, stride)


def _run(start: Any, stop: Any, size: Dim) -> tuple[Dim, Dim]:
    """Where start:stop begins and how many elements it has; the beginning only matters if it has any."""
    given = (0 if p is None else p for p in (start, stop))
    first, last = (p if isinstance(p, Poly) else int(p) for p in given)
    if from_start(first, start):
        if stop is None:
            return first, _after(size, first)
        return first, _between(first, last, size) if from_start(last, stop) else _after(size, first - last)
    begin = _after(size, -first)
    if stop is None:
        return begin, size - begin
    if from_start(last, stop):
        return begin, dim_max(size - _after(size, last) - begin, 0)
    return begin, _between(-last, -first, size)


def _between(low: Dim, high: Dim, size: Dim) -> Dim:
    """How many elements come after the first `low`, but not after the first `high`."""
    if is_nonnegative(low - high):
        return 0
    count = _after(size, low) - _after(size, high)
    return count if is_nonnegative(high - low) else dim_max(count, 0)


def as_items(b: Any, key: Any, shape: Shape) -> list[Any]:
    """What a key has for each axis, in order: ints, slices, nodes of integers; and None for the axes that it adds.

    An Ellipsis stays only where it stands for no axis, since it is between others all the same; masks, whose
    values must be known, are the positions at which they are true.
    """
    items = [_item(b, item) for item in (key if isinstance(key, tuple) else (key,))]
    named = sum(item.ndim if is_mask(item) else has_axis(item) for item in items)
    if sum(item is Ellipsis for item in items) > 1:
        raise DeclarationError("a subscript may hold only one '...'")
    if named > len(shape):
        raise ShapeError(f"the subscript names {named} axes, but the operand has {len(shape)}")
    dots = next((k for k, item in enumerate(items) if item is Ellipsis), len(items))
    found: list[Any] = []
    whole = [slice(None)] * (len(shape) - named) or items[dots : dots + 1]
    for item in [*items[:dots], *whole, *items[dots + 1 :]]:
        if not isinstance(item, slice) and is_mask(item):
            axis = sum(map(has_axis, found))
            found += _true_at(b, item, shape[axis : axis + item.ndim], axis)
        else:
            found.append(item)
    return found


def is_mask(item: Any) -> bool:
    return is_array(item) and not is_index(item) and item.dtype.kind == "b"


def _true_at(b: Any, mask: Any, sizes: Shape, axis: int) -> list[Any]:
    """The positions at which a mask is true, an array for each of its axes."""
    if mask.op.name != "constant":
        raise DeclarationError(
            "x[mask] has as many elements as the mask is true, which only the call knows; write gc.where(mask, x, "
            "0.0), or what else fits where it is false, and x.at[mask].set(values) for a new value"
        )
    if mask.shape != sizes:
        raise ShapeError(f"the mask has shape {shape_text(mask.shape)}, the axes from {axis} on {shape_text(sizes)}")
    return [b.constant(places) for places in np.nonzero(mask.attrs["value"].array)]


def _item(b: Any, item: Any) -> Any:
    if item is None or item is Ellipsis or isinstance(item, slice) or is_index(item):
        return item
    node = as_node(b, item)
    if node is not None and node.dtype.is_float:
        what = describe(node) if node is item else repr(item)
        raise DTypeError(f'positions are integers, got {what}; convert them with gc.astype(x, "int64")')
    if node is None or not (node.dtype.is_integer or (node.dtype.kind == "b" and node.ndim)):
        raise DeclarationError(
            f"a subscript holds ints, slices, None, '...', arrays of integers and masks, got {item!r}; see gc.where"
        )
    return node


def as_node(b: Any, item: Any) -> Any:
    """The node of an item that is an array; None if it is none."""
    if isinstance(item, list) and np.size(np.asarray(item, object)) == 0:
        return b.constant(np.asarray(item, np.int64))
    try:
        return b.convert(item)
    except (DTypeError, ShapeError):
        return None


@dataclass(frozen=True)
class Located:
    """What a key names: the shape of x[key], and how each axis of x is read or written; see graphc/ops/index.py.

    `distinct`: it surely names no element twice.
    """

    shape: Shape
    along: tuple[int, ...]
    positions: tuple[Any, ...]
    modes: tuple[str, ...]
    distinct: bool


def has_axis(item: Any) -> bool:
    """Whether an item names an axis of the array."""
    return item is not None and item is not Ellipsis


def is_array(item: Any) -> bool:
    """Whether an item holds positions, and is no slice or new axis."""
    return has_axis(item) and not isinstance(item, slice)


def located(b: Any, x: Any, items: Sequence[Any], mode: str | None = None) -> Located:
    """Where the items point: one for each axis of x, and None for new ones.

    Positions broadcast together.  Their axes stand where the first of them does, or first, if others stand between.
    """
    together = _stand_together(items)
    items = [item for item in items if item is not Ellipsis]
    arrays = [k for k, item in enumerate(items) if is_array(item)]
    nodes = {k: b.convert(items[k], int64) if is_index(items[k]) else items[k] for k in arrays}
    own = _together([n.shape for n in nodes.values()])
    first = arrays[0] if arrays and together else 0
    rank = len(items) - len(arrays) + len(own)
    others: list[Dim] = []
    along: list[int] = []
    found: list[tuple[Any, str]] = []

    def read_at(position: Any, how: str, before: int) -> None:
        shape = (*[1] * before, *position.shape, *[1] * (rank - before - position.ndim))
        found.append((b.reshape(position, shape), how))
        along.append(-len(found))

    for k, item in enumerate(items):
        axis, at = len(along), len(others) if len(others) < first else len(others) + len(own)
        if k in nodes:
            position, how = positions_on(b, nodes[k], x.shape[axis], axis, mode)
            read_at(position, how, first + len(own) - position.ndim)
        elif item is None:
            others.append(1)
        else:
            start, step, count = steps(item, x.shape[axis])
            others.append(count)
            if (start, step) == (0, 1) and count == x.shape[axis]:
                along.append(at)
            else:
                read_at(_row(b, start, step, count), "inside", at)
    positions, modes = tuple(p for p, _ in found), tuple(how for _, how in found)
    shape = (*others[:first], *own, *others[first:])
    return Located(shape, tuple(along), positions, modes, _is_distinct(own, list(nodes.values())))


def _stand_together(items: Sequence[Any]) -> bool:
    """Whether nothing else stands between the arrays."""
    arrays = [k for k, item in enumerate(items) if is_array(item)]
    return not arrays or arrays[-1] - arrays[0] == len(arrays) - 1


def _together(shapes: Sequence[Shape]) -> Shape:
    try:
        return broadcast(shapes, [])
    except DoesNotBroadcast:
        texts = ", ".join(map(shape_text, shapes))
        raise ShapeError(
            f"arrays of positions broadcast together to give an element each, but {texts} do not; for the elements "
            "at every position of one and every position of the other write x[u[:, None], i]"
        ) from None


def _row(b: Any, start: Dim, step: int, count: Dim) -> Any:
    """The positions that a slice names."""
    if step == 1:
        return b.primitive("_iota", (), start=start, size=count, dtype=int64)
    return b.arange(count, dtype=int64) * step + start


def _is_distinct(own: Shape, nodes: Sequence[Any]) -> bool:
    if all(d == 1 for d in own):
        return True
    if any(n.op.name != "constant" for n in nodes):
        return False
    rows = np.stack([a.ravel() for a in np.broadcast_arrays(*(n.attrs["value"].array for n in nodes))])
    return bool((rows >= 0).all()) and np.unique(rows, axis=1).shape[1] == rows.shape[1]
