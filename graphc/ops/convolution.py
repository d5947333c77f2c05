"""The public convolution: windows of images and kernels, in any number of spatial dimensions, with channels last."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from graphc.dims import Dim, dim_max, floor_div, same
from graphc.errors import DeclarationError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.convolve import Window, ceil_div, convolve
from graphc.ops.linalg import NUMBERS
from graphc.ops.samples import example
from graphc.ops.shape import pad_widths
from graphc.ops.windows import fitted
from graphc.types import Shape, is_int, shape_text


def as_counts(value: Any, axes: int, what: str) -> tuple[int, ...]:
    """One int of at least 1 for each of the axes, from one for all or a sequence."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes or any(not is_int(v) or v < 1 for v in values):
        raise ShapeError(f"{what} is an int of at least 1, or one for each of the {axes} spatial axes, got {value!r}")
    return tuple(int(v) for v in values)


def placed(b: Any, x: Any, padding: Any, reach: Shape, strides: Sequence[int]) -> tuple[Any, list[tuple[Dim, Dim]]]:
    """x [batch, *spatial, channels]; how far windows begin before each spatial axis, and how many there are.

    With 'valid' padding all of a window, which reaches so far, lies inside; with 'same' there is one for each stride,
    and as much lies before an axis as behind it, or one element less.  Else it is how many elements there are before
    and behind.  A window that does not fit is refused, at the call where this is not known before.
    """
    if isinstance(padding, str) and padding.lower() not in ("valid", "same"):
        raise DeclarationError(f"padding is 'valid', 'same', or pairs of ints, got {padding!r}")
    rows = list(zip(x.shape[1:-1], reach, strides, strict=True))
    if isinstance(padding, str) and padding.lower() == "same":
        for length, r, _ in rows:
            x = fitted(b, x, length - 1, f"a window reaches over {r} elements, and the axis has {length}")
        return x, [_same(*row) for row in rows]
    found: list[tuple[Dim, Dim]] = []
    pairs = [(0, 0)] * len(rows) if isinstance(padding, str) else pad_widths(padding, len(rows))
    for (length, r, stride), (low, high) in zip(rows, pairs, strict=True):
        room = low + length + high - r
        padded = f" and {low} + {high} of padding" if (low, high) != (0, 0) else ""
        x = fitted(b, x, room, f"a window reaches over {r} elements, and the axis has {length}{padded}")
        found.append((low, floor_div(room, stride) + 1))
    return x, found


def _same(length: Dim, reach: Dim, stride: int) -> tuple[Dim, Dim]:
    """How many elements there are before an axis, and how many windows: one for each stride."""
    count = ceil_div(length, stride)
    return floor_div(dim_max((count - 1) * stride + reach - length, 0), 2), count


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
    places = v.shape[:n]
    for k, d in enumerate(places):
        if d == 0:
            raise ShapeError(f"axis {k} of w is empty")
    reach = tuple((k - 1) * d + 1 for k, d in zip(places, dilation, strict=True))
    u, where = placed(b, u, padding, reach, strides)
    u, v = _in_groups(b, u, v, groups)
    axes, positions, inner = (ascii_letters[k * n : k * n + n] for k in range(3))
    batch, channel, filters = tuple(ascii_letters[-4:-1])
    group = "" if groups == 1 else ascii_letters[-1]
    rows = zip(where, axes, positions, inner, strides, dilation, places, strict=True)
    windows = [Window(a, p, i, s, d, before, count, k) for (before, count), a, p, i, s, d, k in rows]
    labels = (batch + axes + group + channel, inner + channel + group + filters, batch + positions + group + filters)
    y = convolve(b, u, labels[0], v, labels[1], labels[2], windows)
    return y if groups == 1 else b.reshape(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1]))


def _in_groups(b: Any, x: Any, w: Any, groups: int) -> tuple[Any, Any]:
    """x [..., groups, channels of one], w [..., channels of one, groups, filters of one]; of one group as they are."""
    if not is_int(groups) or groups < 1:
        raise DeclarationError(f"groups is an int of at least 1, got {groups!r}")
    channels, filters = w.shape[-2:]
    if same(x.shape[-1], channels * groups) is False:
        of = f" in each of {groups} groups" if groups > 1 else ""
        raise ShapeError(f"w takes {channels} channels{of}, and x has {x.shape[-1]}")
    if isinstance(filters, int) and filters % groups:
        raise ShapeError(f"{groups} groups must divide the {filters} filters of w")
    if groups == 1:
        return x, w
    x = b.reshape(x, (*x.shape[:-1], groups, channels))
    return x, b.reshape(w, (*w.shape[:-1], groups, floor_div(filters, groups)))


def _reference(x: Any, w: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    """A sum over the places of the kernel, each a product of a part of the padded input."""
    n = x.ndim - 2
    strides, dilation = np.broadcast_to(strides, n), np.broadcast_to(dilation, n)
    x, counts = padded_reference(x, w.shape[:n], strides, padding, dilation)
    filters = w.shape[-1] // groups
    y = np.zeros((x.shape[0], *counts, groups, filters), np.result_type(x, w))
    parts = x.reshape(*x.shape[:-1], groups, w.shape[-2])
    kernels = w.reshape(*w.shape[:-1], groups, filters)
    for place in np.ndindex(*w.shape[:n]):
        rows = zip(place, dilation, strides, counts, strict=True)
        at = tuple(slice(p * d, p * d + (c - 1) * s + 1, s) for p, d, s, c in rows)
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
        doc="Sums of products of windows of x [batch, *spatial, channels] and w [*spatial, channels, filters].\n\n"
        "y[n, p, f] = sum over i and c of x[n, p * stride + i * dilation - before, c] * w[i, c, f]: w is not turned\n"
        "over, and x is 0 outside.  `strides` and `dilation` are an int, or one for each spatial axis.  `padding` is\n"
        "'valid' (all of a window lies inside), 'same' (as many windows as elements, or as strides), or how many\n"
        "zeros there are: an int, a pair (before, behind), or a pair for each spatial axis.  With `groups`, channels\n"
        "and filters are in so many groups of neighbours, each by itself, and w has the channels of one.\n"
        "Products and sums are as in `matmul`."
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
            Sample((_X2, Array((2, 2, 2, 3))), {"padding": ((2, 1), (0, 3)), "dilation": (1, 2)}),
            Sample((Array((2, 5, 5, 4)), Array((2, 2, 2, 6))), {"groups": 2}),
            Sample((Array((2, 5, 5, 3)), Array((2, 2, 1, 6))), {"groups": 3, "strides": 2}),
            Sample((Array((1, 3, 3, 2, 1)), Array((2, 2, 2, 1, 2)))),
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
