"""Convolution: one primitive, a sum of products in which axes of the first operand are read in windows.

The primitive is closed under adjoints.  It has the labels of a contraction; `windows` tells of three labels for each
axis that is read in windows: the axis, the position of a window, the place within it.  Element (position, place) is
element position * stride + place * dilation - before of the axis, and 0 where there is none.  One of the two is a label
of the result, the other one of the second operand: in a convolution the position is the result's; in its adjoint by the
kernel, whose second operand is the cotangent, it is the place; its adjoint by the first operand is a convolution again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any

import numpy as np

from graphc.dims import Dim, floor_div
from graphc.op import Attrs, Family, Job, Op, register
from graphc.ops.linalg import NUMBERS
from graphc.ops.rules import meet, require
from graphc.types import Constraint, Shape, TensorType

Types = tuple[TensorType, ...]
_PAIRED = "dimensions that are paired in a convolution must be equal"


def ceil_div(p: Dim, k: Dim) -> Dim:
    """How many pieces of length k cover p elements."""
    return floor_div(p + k - 1, k)


@dataclass(frozen=True)
class Window:
    """An axis that is read in windows: its labels, and where the elements of a window lie on it."""

    axis: str
    position: str
    place: str
    stride: int
    dilation: int
    before: Dim
    positions: Dim
    places: Dim


def windows_of(attrs: Attrs) -> list[Window]:
    """The windowed axes of a convolution."""
    labels = attrs["windows"]
    rows = zip(*(attrs[k] for k in ("strides", "dilation", "before", "positions", "places")), strict=True)
    return [Window(*labels[3 * k : 3 * k + 3], *row) for k, row in enumerate(rows)]


def convolve(b: Any, u: Any, u_labels: str, v: Any, v_labels: str, out: str, windows: Sequence[Window]) -> Any:
    """The node of a sum of products with windows on axes of u."""
    return b.primitive(
        "_convolve",
        (u, v),
        a_labels=u_labels,
        b_labels=v_labels,
        out_labels=out,
        windows="".join(w.axis + w.position + w.place for w in windows),
        strides=tuple(w.stride for w in windows),
        dilation=tuple(w.dilation for w in windows),
        before=tuple(w.before for w in windows),
        positions=tuple(w.positions for w in windows),
        places=tuple(w.places for w in windows),
    )


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    require(types, NUMBERS)
    lengths: dict[str, Dim] = {}
    for w in windows_of(attrs):
        lengths |= {w.position: w.positions, w.place: w.places}
    for t, labels in zip(types, (attrs["a_labels"], attrs["b_labels"]), strict=True):
        for label, d in zip(labels, t.shape, strict=True):
            lengths[label] = meet(lengths[label], d, found, _PAIRED) if label in lengths else d
    return (TensorType(types[0].dtype, tuple(lengths[label] for label in attrs["out_labels"])),)


def _evaluate(a: Any, b: Any, a_labels: str, b_labels: str, out_labels: str, **attrs: Any) -> Any:
    """Windows as an array, with a zero at the end of each axis for what lies outside, and a contraction."""
    for w in windows_of(attrs):
        k = a_labels.index(w.axis)
        positions, within = (np.arange(n) for n in (w.positions, w.places))  # type: ignore[arg-type]
        places = np.add.outer(w.stride * positions - w.before, w.dilation * within)
        places = np.where((places >= 0) & (places < a.shape[k]), places, a.shape[k])
        a = np.take(np.pad(a, [(0, int(axis == k)) for axis in range(a.ndim)]), places, k)
        a_labels = a_labels.replace(w.axis, w.position + w.place)
    return np.einsum(f"{a_labels},{b_labels}->{out_labels}", a, b, optimize=True)


def _job(attrs: Attrs, ndim: int) -> Job:
    a, b, out = (attrs[k] for k in ("a_labels", "b_labels", "out_labels"))
    return Job("convolution", (a, b, out), "".join(c for c in out if c in a and c in b))


# The adjoints.


def _adjoint(b: Any, g: Any, y: Any, u: Any, v: Any, **attrs: Any) -> tuple[Any, Any]:
    labels, v_labels, out = (attrs[k] for k in ("a_labels", "b_labels", "out_labels"))
    windows = windows_of(attrs)
    by_windowed = _by_windowed(b, (g, out), (v, v_labels), windows, u.shape, labels)
    return by_windowed, convolve(b, u, labels, g, out, v_labels, windows)


def _by_windowed(
    b: Any, g: tuple[Any, str], v: tuple[Any, str], windows: Sequence[Window], shape: Shape, out: str
) -> Any:
    """The cotangent, of this shape and labels, of the windowed operand, of that of the result and the other operand.

    The one that has the positions is read in windows, the one that has the places is turned over and summed over.
    """
    (large, labels), (small, places) = (g, v) if windows[0].position in g[1] else (v, g)
    free = iter(c for c in ascii_letters if c not in labels + places + out)
    turned, merged, kept = [], list(shape), out
    start: list[Dim] = [0] * len(shape)
    for w in windows:
        axis = kept.index(w.axis)
        small, window, phases = _turned(b, small, places.index(w.place), w, shape[axis])
        turned.append(window)
        if phases > 1:
            phase = next(free)
            places, out = (text.replace(c, c + phase) for text, c in ((places, w.place), (out, w.axis)))
            merged[axis], start[axis] = window.positions * phases, w.before
    y = convolve(b, large, labels, small, places, out, turned)
    if out == kept:
        return y
    return b.primitive("_slice", (b.reshape(y, merged),), start=tuple(start), step=(1,) * len(shape), shape=shape)


def _turned(b: Any, v: Any, axis: int, w: Window, length: Dim) -> tuple[Any, Window, int]:
    """v with the places of a window, on this axis, turned over; the window by which it meets the positions; phases.

    Element m of the windowed axis, of this length, meets position p at place i where p stride + i dilation is
    m + before.  For a stride over 1 both sides are taken apart by their remainder, the phase: v has an axis of them
    behind that of places, and so has the result.
    """
    if w.stride == 1:
        before = w.dilation * (w.places - 1) - w.before
        return b.flip(v, axis=axis), Window(w.position, w.axis, w.place, 1, w.dilation, before, length, w.places), 1
    if w.dilation > 1:
        v = _padded(b, v, axis, w.dilation, (w.places - 1) * w.dilation + 1)
    count = ceil_div(v.shape[axis], w.stride)
    v = _padded(b, v, axis, 1, count * w.stride)
    v = b.flip(b.reshape(v, (*v.shape[:axis], count, w.stride, *v.shape[axis + 1 :])), axis=axis)
    reached = w.positions + ceil_div((w.places - 1) * w.dilation, w.stride)  # what is behind has no window
    return v, Window(w.position, w.axis, w.place, 1, 1, count - 1, reached, count), w.stride


def _padded(b: Any, x: Any, axis: int, step: int, length: Dim) -> Any:
    """x with its elements `step` apart on an axis of this length, and zeros between and behind."""
    shape, steps = list(x.shape), [1] * x.ndim
    shape[axis], steps[axis] = length, step
    if tuple(shape) == x.shape:
        return x
    zero = 0.0 if x.dtype.is_float else 0
    return b.primitive("_pad", (x,), start=(0,) * x.ndim, step=tuple(steps), shape=tuple(shape), fill=zero)


register(
    Op(
        name="_convolve",
        doc="out[out_labels] = sum(a[a_labels] * b[b_labels]) over the labels that the result has not.\n\n"
        "Axes of a are read in windows, which `windows` and what goes with it tell of.",
        family=Family.KERNEL,
        infer=_infer,
        job=_job,
        reference=_evaluate,
        adjoint=_adjoint,
        dtypes=NUMBERS,
    )
)
