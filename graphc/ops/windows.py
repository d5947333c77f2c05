"""Windows: movement that reads an axis at overlapping stretches, and what tells where the windows of an axis lie.

In: an array and, for some of its axes, how many windows there are, how long each is and where it begins.  Out: the
array in which each of these axes tells the window, with a further axis at the end for the place within it.  Nothing is
copied: a windowed array is a view in which two axes step along the same elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.dims import Dim, is_nonnegative
from graphc.errors import ShapeError
from graphc.op import Attrs, Family, Op, Piece, register
from graphc.ops.index import updated
from graphc.ops.slicing import check_steps
from graphc.types import Constraint, TensorType


def _infer(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    """The first window and the last lie inside, at both ends."""
    source = types[0].shape
    positions, lengths = attrs["shape"][: len(source)], attrs["shape"][len(source) :]
    last = list(attrs["start"])
    for k, length, dilation in zip(attrs["axis"], lengths, attrs["dilation"], strict=True):
        last[k] = last[k] + (length - 1) * dilation
    for start in (attrs["start"], last):
        check_steps(positions, source, start, attrs["step"], found)
    return (TensorType(types[0].dtype, attrs["shape"]),)


def _places(index: Sequence[Any], attrs: Attrs) -> tuple[Any, ...]:
    """Where on each axis of the operand an element of the result lies."""
    places = [a + i * s for i, a, s in zip(index, attrs["start"], attrs["step"], strict=False)]
    for k, within, dilation in zip(attrs["axis"], index[len(places) :], attrs["dilation"], strict=True):
        places[k] = places[k] + within * dilation
    return tuple(places)


def _windowed(x: Any, **attrs: Any) -> Any:
    return x[_places(np.indices(attrs["shape"], sparse=True), attrs)]


def _adjoint(b: Any, g: Any, y: Any, x: Any, **attrs: Any) -> tuple[Any]:
    """Each cotangent is added where its element was read."""

    def along(axis: int, count: Dim, step: int) -> Any:
        """count places, `step` apart, on an axis of the result."""
        return b.reshape(b.arange(count) * step, tuple(count if k == axis else 1 for k in range(g.ndim)))

    steps = [(k, g.shape[k], step) for k, step in enumerate(attrs["step"])]
    places = [start + along(*row) for start, row in zip(attrs["start"], steps, strict=True)]
    for at, (k, dilation) in enumerate(zip(attrs["axis"], attrs["dilation"], strict=True), start=x.ndim):
        places[k] = places[k] + along(at, g.shape[at], dilation)
    axes, zeros = tuple(-1 - k for k in range(x.ndim)), b.zeros(x.shape, dtype=x.dtype)
    return (updated(b, zeros, g, places, axes, ("inside",) * x.ndim, "add"),)


register(
    Op(
        name="_windows",
        doc="Element (i, j) is the operand's element start + i * step + j * dilation; j is behind, for `axis` alone.",
        family=Family.MOVEMENT,
        infer=_infer,
        reference=_windowed,
        access=lambda index, shapes, attrs: [Piece(0, _places(index, attrs))],
        adjoint=_adjoint,
    )
)


@dataclass(frozen=True)
class Windows:
    """The windows of an axis: how many, `step` apart from `start` on, and elements in each, `dilation` apart."""

    start: Dim
    step: int
    count: Dim
    dilation: int
    length: Dim


def windowed(b: Any, x: Any, along: Mapping[int, Windows]) -> Any:
    """The view of x in windows along these axes; further axes at the end, in their order, tell the place within one."""
    start: list[Dim] = [0] * x.ndim
    step, counts = [1] * x.ndim, list(x.shape)
    for k, w in along.items():
        start[k], step[k], counts[k] = w.start, w.step, w.count
    shape = (*counts, *(w.length for w in along.values()))
    dilation = tuple(w.dilation for w in along.values())
    return b.primitive(
        "_windows", (x,), start=tuple(start), step=tuple(step), shape=shape, axis=tuple(along), dilation=dilation
    )


def shifted(b: Any, x: Any, along: Mapping[int, Windows], place: Sequence[int]) -> Any:
    """What is at one place of every window."""
    start: list[Dim] = [0] * x.ndim
    step, shape = [1] * x.ndim, list(x.shape)
    for (k, w), p in zip(along.items(), place, strict=True):
        start[k], step[k], shape[k] = w.start + p * w.dilation, w.step, w.count
    return b.primitive("_slice", (x,), start=tuple(start), step=tuple(step), shape=tuple(shape))


def _infer_fitted(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    found.append(Constraint(attrs["room"], ">=", 0, attrs["says"]))
    return types


register(
    Op(
        name="_fitted",
        doc="The operand, at sizes for which `room` is at least 0; `says` tells what is wrong at others.",
        family=Family.MOVEMENT,
        infer=_infer_fitted,
        reference=lambda x, room, says: x,
        access=lambda index, shapes, attrs: [Piece(0, tuple(index))],
        adjoint=lambda b, g, y, x, **attrs: (g,),
    )
)


def fitted(b: Any, x: Any, room: Dim, says: str) -> Any:
    """x, if `room` is at least 0: an error that says so at declaration, or at a call whose sizes do not fit."""
    if is_nonnegative(-room - 1):
        raise ShapeError(says)
    return x if is_nonnegative(room) else b.primitive("_fitted", (x,), room=room, says=says)
