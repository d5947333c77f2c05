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

from graphc.dims import Dim, dim_max, floor_div, is_nonnegative, same
from graphc.errors import DeclarationError, ShapeError
from graphc.op import Array, Attrs, Family, Job, Op, Reject, Sample, register
from graphc.ops.linalg import NUMBERS
from graphc.ops.rules import meet, require
from graphc.ops.samples import example
from graphc.ops.shape import pad_widths
from graphc.types import Constraint, Shape, TensorType, shape_text

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


def convolve(
    b: Any, u: Any, u_labels: str, v: Any, v_labels: str, out: str, windows: Sequence[Window], least: int = 0
) -> Any:
    """The node of a sum of products with windows on axes of u, of which there must be at least so many on each."""
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
        least=least,
    )


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    require(types, NUMBERS)
    lengths: dict[str, Dim] = {}
    for w in windows_of(attrs):
        lengths |= {w.position: w.positions, w.place: w.places}
        if not is_nonnegative(w.positions - attrs["least"]):
            d = types[0].shape[attrs["a_labels"].index(w.axis)]
            text = f"a window reaches over {(w.places - 1) * w.dilation + 1} elements, which an axis of {d} must have"
            found.append(Constraint(w.positions, ">=", attrs["least"], text))
    for t, labels in zip(types, (attrs["a_labels"], attrs["b_labels"]), strict=True):
        for label, d in zip(labels, t.shape, strict=True):
            lengths[label] = meet(lengths[label], d, found, _PAIRED) if label in lengths else d
    return (TensorType(types[0].dtype, tuple(lengths[label] for label in attrs["out_labels"])),)


def _evaluate(a: Any, b: Any, a_labels: str, b_labels: str, out_labels: str, **attrs: Any) -> Any:
    """Windows as an array, with a zero at the end of each axis for what lies outside, and a contraction."""
    for w in windows_of(attrs):
        k = a_labels.index(w.axis)
        places = np.add.outer(w.stride * np.arange(w.positions) - w.before, w.dilation * np.arange(w.places))
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
    turned, merged, start, kept = [], list(shape), [0] * len(shape), out
    for w in windows:
        axis = kept.index(w.axis)
        small, window, phases = _turned(b, small, places.index(w.place), w, shape[axis])
        turned.append(window)
        if phases > 1:
            phase = next(free)
            places, out = (text.replace(c, c + phase) for text, c in ((places, w.place), (out, w.axis)))
            merged[axis], start[axis] = window.positions * phases, w.before % phases
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
    first = floor_div(w.before, w.stride)
    positions = ceil_div(w.before + length, w.stride) - first
    return v, Window(w.position, w.axis, w.place, 1, 1, count - 1 - first, positions, count), w.stride


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
        doc="out[out_labels] = sum(a[a_labels] * b[b_labels]) over the labels that the result has not, where axes of a are\n"
        "read in windows, which `windows` tells of.",
        family=Family.KERNEL,
        infer=_infer,
        job=_job,
        reference=_evaluate,
        adjoint=_adjoint,
        dtypes=NUMBERS,
    )
)


# The public function.


def as_counts(value: Any, axes: int, what: str) -> tuple[int, ...]:
    """One int of at least 1 for each of the axes, from one for all or a sequence."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < 1 for v in values):
        raise ShapeError(f"{what} is an int of at least 1, or one for each of the {axes} spatial axes, got {value!r}")
    return tuple(int(v) for v in values)


def placed(padding: Any, lengths: Shape, reach: Shape, strides: Sequence[int]) -> list[tuple[Dim, Dim]]:
    """How far windows begin before each axis, and how many there are: of axes of these lengths, for windows that reach so far.

    With 'valid' padding all of a window lies inside, with 'same' there is one for each stride, of which as much lies
    before an axis as behind it, or one element less.  Else it is how many elements there are before and behind.
    """
    if isinstance(padding, str):
        if padding.lower() not in ("valid", "same"):
            raise DeclarationError(f"padding is 'valid', 'same', or pairs of ints, got {padding!r}")
        pairs = [(0, 0)] * len(lengths)
        if padding.lower() == "same":
            needed = [
                dim_max((ceil_div(d, s) - 1) * s + r - d, 0) for d, r, s in zip(lengths, reach, strides, strict=True)
            ]
            pairs = [(floor_div(n, 2), n - floor_div(n, 2)) for n in needed]
    else:
        pairs = pad_widths(padding, len(lengths))
    found = []
    for (low, high), d, r, s in zip(pairs, lengths, reach, strides, strict=True):
        room = low + d + high - r
        if is_nonnegative(-room - 1):
            padded = f" and {low} + {high} of padding" if (low, high) != (0, 0) else ""
            raise ShapeError(f"a window reaches over {r} elements, and the axis has {d}{padded}")
        found.append((low, floor_div(room, s) + 1))
    return found


def _convolution(
    b: Any, x: Any, w: Any, /, *, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1
) -> Any:
    u, v = b.promoted(x, w)
    if v.ndim < 3 or u.ndim != v.ndim:
        raise ShapeError(
            "x is [batch, *spatial, channels] and w [*spatial, channels / groups, filters], of as many axes, "
            f"got {shape_text(u.shape)} and {shape_text(v.shape)}"
        )
    n = u.ndim - 2
    strides, dilation = as_counts(strides, n, "strides"), as_counts(dilation, n, "dilation")
    u, v = _in_groups(b, u, v, groups)
    lengths, places = u.shape[1 : n + 1], v.shape[:n]
    for k, d in enumerate(places):
        if d == 0:
            raise ShapeError(f"axis {k} of w is empty")
    reach = tuple((k - 1) * d + 1 for k, d in zip(places, dilation, strict=True))
    axes, positions, inner = (ascii_letters[k * n : k * n + n] for k in range(3))
    batch, group, channel, filters = ascii_letters[-4:]
    rows = zip(axes, positions, inner, strides, dilation, placed(padding, lengths, reach, strides), places, strict=True)
    windows = [Window(a, p, i, s, d, *at, k) for a, p, i, s, d, at, k in rows]
    labels = (batch + axes + group + channel, inner + channel + group + filters, batch + positions + group + filters)
    y = convolve(b, u, labels[0], v, labels[1], labels[2], windows, least=1)
    return b.reshape(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1]))


def _in_groups(b: Any, x: Any, w: Any, groups: Any) -> tuple[Any, Any]:
    """x [..., groups, channels of one], w [..., channels of one, groups, filters of one]."""
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
        raise DeclarationError(f"groups is an int of at least 1, got {groups!r}")
    channels, filters = w.shape[-2:]
    if same(x.shape[-1], channels * groups) is False:
        of = f" in each of {groups} groups" if groups > 1 else ""
        raise ShapeError(f"w takes {channels} channels{of}, and x has {x.shape[-1]}")
    if isinstance(filters, int) and filters % groups:
        raise ShapeError(f"{groups} groups must divide the {filters} filters of w")
    x = b.reshape(x, (*x.shape[:-1], groups, channels))
    return x, b.reshape(w, (*w.shape[:-1], groups, floor_div(filters, groups)))


def _reference(
    x: Any, w: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1
) -> Any:
    """A sum over the places of the kernel, each a product of a part of the padded input."""
    n = x.ndim - 2
    strides, dilation = np.broadcast_to(strides, n), np.broadcast_to(dilation, n)
    x, counts = padded_reference(x, w.shape[:n], strides, padding, dilation)
    filters = w.shape[-1] // groups
    y = np.zeros((x.shape[0], *counts, groups, filters), np.result_type(x, w))
    parts = x.reshape(*x.shape[:-1], groups, w.shape[-2])
    kernels = w.reshape(*w.shape[:-1], groups, filters)
    for place in np.ndindex(*w.shape[:n]):
        at = tuple(slice(p * d, p * d + (c - 1) * s + 1, s) for p, d, s, c in zip(place, dilation, strides, counts))
        y += np.einsum("...gc,cgf->...gf", parts[(slice(None), *at)], kernels[place])
    return y.reshape(*y.shape[:-2], groups * filters)


def padded_reference(x: Any, lengths: Any, strides: Any, padding: Any, dilation: Any, fill: Any = 0) -> Any:
    """x with its padding, and how many windows there are along each spatial axis."""
    rows, counts = [], []
    pairs = np.broadcast_to((0, 0) if isinstance(padding, str) else padding, (x.ndim - 2, 2))
    for d, k, s, a, (low, high) in zip(x.shape[1:-1], lengths, strides, dilation, pairs, strict=True):
        reach = (k - 1) * a + 1
        if padding == "same":
            more = max((int(np.ceil(d / s)) - 1) * s + reach - d, 0)
            low, high = more // 2, more - more // 2
        rows.append((low, high))
        counts.append((d + low + high - reach) // s + 1)
    return np.pad(x, [(0, 0), *rows, (0, 0)], constant_values=fill), counts


def _in_tensorflow(
    tf: Any, x: Any, w: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1
) -> Any:
    """TensorFlow's kernels for CPUs have no groups, and padding by names alone."""
    n = len(x.shape) - 2
    if not isinstance(padding, str):
        x = tf.pad(x, [(0, 0), *np.broadcast_to(padding, (n, 2)), (0, 0)])
        padding = "valid"
    parts = zip(tf.split(x, groups, -1), tf.split(w, groups, -1), strict=True)
    options = {"strides": np.broadcast_to(strides, n), "dilations": np.broadcast_to(dilation, n)}
    return tf.concat([tf.nn.convolution(p, k, padding=padding.upper(), **options) for p, k in parts], -1)


_X1, _X2 = Array((2, 7, 3)), Array((2, 6, 5, 2))

register(
    Op(
        name="convolution",
        doc="Sums of products of windows of x [batch, *spatial, channels] and w [*spatial, channels / groups, filters].\n\n"
        "y[n, p, f] = sum over i and c of x[n, p * stride + i * dilation - before, c] * w[i, c, f]: w is not turned\n"
        "over, and x is 0 outside.  `strides` and `dilation` are an int, or one for each spatial axis.  `padding` is\n"
        "'valid' (no window begins or ends outside), 'same' (as many windows as elements, or as strides), or how many\n"
        "zeros there are: an int, a pair (before, behind), or a pair for each spatial axis.  With `groups`, channels\n"
        "and filters are in so many groups of neighbours, each by itself.  Products and sums as in `matmul`."
        + example("gc.convolution([[[1.0], [2.0], [4.0]]], [[[1.0]], [[-1.0]]])", "array([[[-1.],\n        [-2.]]])"),
        define=_convolution,
        reference=_reference,
        dtypes=NUMBERS,
        samples=(
            Sample((_X1, Array((3, 3, 4)))),
            Sample((_X1, Array((3, 3, 4))), {"padding": "same", "strides": 2}),
            Sample((_X1, Array((2, 3, 1))), {"padding": 3, "strides": 3}),
            Sample((_X2, Array((3, 2, 2, 3)))),
            Sample((_X2, Array((3, 3, 2, 3))), {"padding": "same"}),
            Sample((_X2, Array((3, 2, 2, 3))), {"padding": "same", "strides": (2, 3)}),
            Sample((_X2, Array((2, 3, 2, 3))), {"dilation": 2}),
            Sample((_X2, Array((2, 2, 2, 3))), {"padding": ((2, 1), (0, 3)), "dilation": (1, 2), "strides": (3, 1)}),
            Sample((Array((2, 5, 5, 4)), Array((2, 2, 2, 6))), {"groups": 2}),
            Sample((Array((2, 5, 5, 3)), Array((2, 2, 1, 6))), {"groups": 3, "strides": 2}),
            Sample((Array((1, 3, 3, 2, 1)), Array((2, 2, 2, 1, 2)))),
            Sample((Array((0, 4, 2)), Array((2, 2, 3)))),
            Sample((Array((2, 4, 0)), Array((2, 0, 3)))),
            Sample((Array((1, 1, 1)), Array((1, 1, 1)))),
        ),
        rejects=(
            Reject((_X1, Array((8, 3, 4))), ShapeError, "reaches over 8 elements, and the axis has 7"),
            Reject((_X1, Array((5, 3, 4))), ShapeError, "reaches over 9", {"dilation": 2, "padding": (1, 0)}),
            Reject((_X1, Array((0, 3, 4))), ShapeError, "axis 0 of w is empty"),
            Reject((_X1, Array((3, 2, 4))), ShapeError, "takes 2 channels, and x has 3"),
            Reject((_X2, Array((3, 3, 1, 3))), ShapeError, "2 groups must divide the 3 filters", {"groups": 2}),
            Reject((_X2, Array((3, 2, 3))), ShapeError, "as many axes"),
            Reject((Array((7, 3)), Array((3, 3))), ShapeError, "as many axes"),
            Reject((_X1, Array((3, 3, 4))), ShapeError, "strides is an int of at least 1", {"strides": 0}),
            Reject((_X1, Array((3, 3, 4))), ShapeError, "each of the 1 spatial axes", {"dilation": (1, 2)}),
            Reject((_X1, Array((3, 3, 4))), DeclarationError, "'valid', 'same'", {"padding": "full"}),
            Reject((_X1, Array((3, 3, 4))), ShapeError, "pad_width", {"padding": (1, 2, 3)}),
            Reject((_X1, Array((3, 3, 4))), DeclarationError, "groups is an int", {"groups": 0}),
        ),
        tf=_in_tensorflow,
    )
)
