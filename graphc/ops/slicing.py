"""Slices and pads, each the other's transpose: element i of the small array is element start + i * step of the large.

Both have the attributes `start`, `step` (an int other than 0) and `shape`, one entry for each axis; `shape` is the
result's.  Steps may be negative; on a symbolic axis start and shape are dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, is_nonnegative
from graphc.errors import DTypeError, ShapeError
from graphc.op import Attrs, Family, Op, Piece, register
from graphc.types import Constraint, Shape, TensorType

Types = tuple[TensorType, ...]


def check_steps(
    small: Shape, large: Shape, start: Sequence[Dim], step: Sequence[int], found: list[Constraint]
) -> None:
    """Both ends of every axis lie inside, where that does not follow from how a symbolic length was made."""
    for k, (count, size, first, stride) in enumerate(zip(small, large, start, step, strict=True)):
        if not isinstance(count, int) or count == 0:
            continue
        for end in dict.fromkeys((first, first + (count - 1) * stride)):
            _check_inside(end, size, k, found)


def _check_inside(position: Dim, size: Dim, axis: int, found: list[Constraint]) -> None:
    text = f"index {position} must lie on axis {axis}, which has length {size}"
    for room in (position, size - 1 - position):
        if is_nonnegative(room):
            continue
        if isinstance(room, int) or is_nonnegative(-room - 1):
            raise ShapeError(text)
        found.append(Constraint(room, ">=", 0, text))


def _infer_slice(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    check_steps(attrs["shape"], types[0].shape, attrs["start"], attrs["step"], found)
    return (TensorType(types[0].dtype, attrs["shape"]),)


def _infer_pad(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    check_steps(types[0].shape, attrs["shape"], attrs["start"], attrs["step"], found)
    if type(attrs["fill"]) is not {"f": float, "b": bool}.get(types[0].dtype.kind, int):
        raise DTypeError(f"an array of {types[0].dtype} can't be padded with {attrs['fill']!r}")
    return (TensorType(types[0].dtype, attrs["shape"]),)


def _where(start: Sequence[int], step: Sequence[int], shape: Sequence[int]) -> tuple[Any, ...]:
    return np.ix_(*(a + s * np.arange(n) for a, s, n in zip(start, step, shape, strict=True)))


def _padded(x: Any, start: Any, step: Any, shape: Any, fill: Any) -> Any:
    out = np.full(shape, fill, x.dtype)
    out[_where(start, step, x.shape)] = x
    return out


def _access_slice(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    return [Piece(0, tuple(a + i * s for i, a, s in zip(index, attrs["start"], attrs["step"], strict=True)))]


def _access_pad(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    inner, inside, multiples = [], [], []
    for i, count, start, step, size in zip(
        index, shapes[0], attrs["start"], attrs["step"], attrs["shape"], strict=True
    ):
        offset, stride = (i - start, step) if step > 0 else (start - i, -step)
        inner.append(offset // stride)
        if (start, stride, count) != (0, 1, size):
            inside.append((offset, 0, count * stride))
        if stride != 1:
            multiples.append((offset, stride))
    return [Piece(0, tuple(inner), tuple(inside), tuple(multiples))]


register(
    Op(
        name="_slice",
        doc="Element i is the operand's element start + i * step, on each axis.",
        family=Family.MOVEMENT,
        infer=_infer_slice,
        reference=lambda x, start, step, shape: x[_where(start, step, shape)],
        access=_access_slice,
        adjoint=lambda b, g, y, x, *, start, step, shape: (
            b.primitive("_pad", (g,), start=start, step=step, shape=x.shape, fill=0.0),
        ),
    )
)

register(
    Op(
        name="_pad",
        doc="An array of `fill` whose element start + i * step, on each axis, is the operand's element i.",
        family=Family.MOVEMENT,
        infer=_infer_pad,
        reference=_padded,
        access=_access_pad,
        adjoint=lambda b, g, y, x, *, start, step, shape, fill: (
            b.primitive("_slice", (g,), start=start, step=step, shape=x.shape),
        ),
    )
)
