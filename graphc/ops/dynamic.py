"""Slices that begin where nodes say: their length is fixed, and one that would leave its axis is moved back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import is_nonnegative
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.index import from_start, read, updated
from graphc.ops.movement import ALL
from graphc.ops.samples import example
from graphc.ops.update import values_for
from graphc.types import Shape, as_shape, int64, shape_text


def _starts(b: Any, x: Any, starts: Any) -> list[Any]:
    """A whole number for each axis of x, from a node of one axis or a sequence."""
    if hasattr(starts, "op"):
        if starts.ndim != 1 or not isinstance(starts.shape[0], int):
            raise ShapeError(f"where a slice starts is a whole number for each axis, got {shape_text(starts.shape)}")
        found = [starts[k] for k in range(starts.shape[0])]
    elif isinstance(starts, (list, tuple, np.ndarray)):
        found = [b.convert(s, int64) for s in starts]
    else:
        raise DeclarationError(f"where a slice starts is a whole number for each axis, got {starts!r}")
    if len(found) != x.ndim or any(s.ndim for s in found):
        raise ShapeError(f"where a slice starts is one whole number for each of {x.ndim} axes, got {len(found)}")
    for s in found:
        if not s.dtype.is_integer:
            raise DTypeError(f"a slice starts at an integer, got {s.dtype}; convert it with gc.astype")
    return found


def _rows(b: Any, x: Any, starts: Any, sizes: Shape) -> tuple[tuple[int, ...], list[Any], list[str]]:
    """How each axis is read: along, positions and modes."""
    along: list[int] = []
    positions: list[Any] = []
    modes: list[str] = []
    for axis, (start, size) in enumerate(zip(_starts(b, x, starts), sizes, strict=True)):
        room = x.shape[axis] - size
        if is_nonnegative(-1 - room):
            raise ShapeError(f"a slice of {size} does not fit axis {axis}, which has length {x.shape[axis]}")
        if room == 0:
            along.append(axis)
            continue
        first = b.maximum(b.minimum(from_start(b, start, x.shape[axis]), room), 0)
        row = b.arange(size, dtype=int64) + first
        positions.append(b.reshape(row, tuple(size if k == axis else 1 for k in range(x.ndim))))
        modes.append("inside" if is_nonnegative(room) else "check")  # where it does not fit, its last is outside
        along.append(-len(positions))
    return tuple(along), positions, modes


def _checked_sizes(x: Any, sizes: Any) -> Shape:
    found = as_shape(sizes)
    if len(found) != x.ndim:
        raise ShapeError(f"a slice has a size for each of {x.ndim} axes, got {shape_text(found)}")
    return found


def _dynamic_slice(b: Any, x: Any, start_indices: Any, slice_sizes: Any, /) -> Any:
    node = b.convert(x)
    along, positions, modes = _rows(b, node, start_indices, _checked_sizes(node, slice_sizes))
    return read(b, node, positions, along, modes) if positions else node


def _dynamic_update_slice(b: Any, x: Any, update: Any, start_indices: Any, /) -> Any:
    node = b.convert(x)
    values = values_for(b, node, update)
    along, positions, modes = _rows(b, node, start_indices, _checked_sizes(node, values.shape))
    return updated(b, node, values, positions, along, modes, "set", True) if positions else values


def _where(x: Any, starts: Any, sizes: Sequence[int]) -> tuple[slice, ...]:
    found = []
    for start, size, length in zip(starts, sizes, x.shape, strict=True):
        first = int(np.clip(start + length if start < 0 else start, 0, length - size))
        found.append(slice(first, first + size))
    return tuple(found)


def _updated(x: Any, update: Any, start_indices: Any) -> Any:
    out = x.copy()
    out[_where(x, start_indices, update.shape)] = update
    return out


_X, _STARTS = Array((4, 5, 6)), Array((3,), -9, 9, "index")
_RULES = (
    "\n\n`start_indices` is a sequence of ints and nodes, or a node with one integer an axis; negative ones count from "
    "the end.  Where the slice would leave x it is moved back, so that it lies inside."
)
_TOO_FEW = Reject((_X, [0, 0], (1, 1, 1)), ShapeError, "one whole number for each of 3 axes, got 2")

register(
    Op(
        name="dynamic_slice",
        doc="The slice of x that has these sizes and starts where nodes say."
        + _RULES
        + example("gc.dynamic_slice([1, 2, 3, 4], [gc.constant(3)], (2,))", "array([3, 4])"),
        define=_dynamic_slice,
        reference=lambda x, start_indices, slice_sizes: x[_where(x, start_indices, slice_sizes)],
        dtypes=ALL,
        samples=(
            Sample((_X, _STARTS, (2, 5, 3))),
            Sample((_X, (1, Array((), -9, 9, "index"), -1), (1, 2, 6))),
            Sample((_X, (1, 2, 3), (4, 5, 6))),
            Sample((_X, (1, 2, 3), (0, 1, 2))),
            Sample((Array(()), [], ())),
        ),
        rejects=(
            _TOO_FEW,
            Reject((_X, [0, 0, 0], (1, 1)), ShapeError, "a size for each of 3 axes"),
            Reject((_X, [0, 0, 0], (1, 1, 7)), ShapeError, "a slice of 7 does not fit axis 2, which has length 6"),
            Reject((_X, [0, 0, 0.5], (1, 1, 1)), DTypeError, "hold 0.5"),
            Reject((_X, Array((3,)), (1, 1, 1)), DTypeError, "starts at an integer"),
            Reject((_X, Array((3, 1), kind="index"), (1, 1, 1)), ShapeError, "for each axis, got [3, 1]"),
            Reject((_X, 0, (1, 1, 1)), DeclarationError, "for each axis, got 0"),
        ),
    )
)
register(
    Op(
        name="dynamic_update_slice",
        doc="x with `update` in the place of the slice of its shape that starts where nodes say."
        + _RULES
        + example("gc.dynamic_update_slice([1, 2, 3, 4], [8, 9], [gc.constant(1)])", "array([1, 8, 9, 4])"),
        define=_dynamic_update_slice,
        reference=_updated,
        dtypes=ALL,
        samples=(
            Sample((_X, Array((2, 5, 3)), _STARTS)),
            Sample((_X, Array((1, 2, 6)), (1, Array((), -9, 9, "index"), -1))),
            Sample((_X, _X, (1, 2, 3))),
            Sample((_X, Array((0, 1, 2)), (1, 2, 3))),
        ),
        rejects=(
            Reject((_X, Array((1, 1, 1)), [0, 0]), ShapeError, "one whole number for each of 3 axes, got 2"),
            Reject((_X, Array((5, 1, 1)), [0, 0, 0]), ShapeError, "a slice of 5 does not fit axis 0"),
            Reject((_X, Array((1, 1)), [0, 0, 0]), ShapeError, "a size for each of 3 axes"),
            Reject((Array((3,), kind="index"), Array((1,)), [0]), DTypeError, "values of float64 do not fit"),
        ),
    )
)
