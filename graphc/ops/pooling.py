"""Pooling: the largest value, or the mean, of each window of an image; of long windows one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from string import ascii_letters
from typing import Any

import numpy as np

from graphc.dims import Dim, dim_max
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.convolution import as_counts, padded_reference, placed
from graphc.ops.convolve import Window, convolve
from graphc.ops.linalg import NUMBERS
from graphc.ops.samples import example
from graphc.ops.windows import Windows, shifted, windowed
from graphc.types import shape_text

_CHAIN = 9  # places of a window whose extremes are taken one by one


@dataclass(frozen=True)
class Pool:
    """The windows along one axis: how long, how far apart, how far they begin before it, and how many there are."""

    axis: int
    length: int
    stride: int
    before: Dim
    count: Dim

    def behind(self, size: Dim) -> Dim:
        """How far the last window ends behind an axis of this size."""
        return dim_max(0, (self.count - 1) * self.stride + self.length - self.before - size)


def _pools(b: Any, x: Any, window: Any, strides: Any, padding: Any) -> tuple[Any, list[Pool]]:
    """x [batch, *spatial, channels], and the windows along each spatial axis."""
    n = x.ndim - 2
    if n < 1:
        raise ShapeError(f"x is [batch, *spatial, channels], got {shape_text(x.shape)}")
    lengths = as_counts(window, n, "window")
    steps = lengths if strides is None else as_counts(strides, n, "strides")
    x, where = placed(b, x, padding, lengths, steps)
    pools = [Pool(k + 1, *row[:2], *row[2]) for k, row in enumerate(zip(lengths, steps, where, strict=True))]
    for pool in pools:
        size = x.shape[pool.axis]
        if any(isinstance(d, int) and d >= pool.length for d in (pool.before, pool.behind(size))):
            raise ShapeError(f"a window of {pool.length} along axis {pool.axis} would hold nothing but padding")
    return x, pools


def _max_pool(b: Any, x: Any, /, window: Any, strides: Any = None, padding: Any = "valid") -> Any:
    node = b.convert(x)
    if node.dtype not in NUMBERS:
        raise DTypeError(f"values are numbers, got {node.dtype}; convert them with gc.astype")
    node, pools = _pools(b, node, window, strides, padding)
    if math.prod(pool.length for pool in pools) <= _CHAIN:
        return _largest(b, node, pools)
    for pool in reversed(pools):
        node = _largest(b, node, [pool])
    return node


def _largest(b: Any, x: Any, pools: Sequence[Pool]) -> Any:
    """The largest value of each window along some axes; the first of equal ones gets the whole cotangent."""
    widths: list[tuple[Dim, Dim]] = [(0, 0)] * x.ndim
    for pool in pools:
        widths[pool.axis] = (pool.before, pool.behind(x.shape[pool.axis]))
    x = b.pad(x, widths, constant_values=_lowest(x.dtype.numpy))
    along = {pool.axis: Windows(0, pool.stride, pool.count, 1, pool.length) for pool in pools}
    lengths = [pool.length for pool in pools]
    if math.prod(lengths) <= _CHAIN:
        return reduce(b.maximum, (shifted(b, x, along, place) for place in np.ndindex(*lengths)))
    (pool,) = pools
    first = b.arange(pool.count) * pool.stride
    place = b.argmax(windowed(b, x, along), axis=-1)
    at = place + b.reshape(first, tuple(pool.count if k == pool.axis else 1 for k in range(x.ndim)))
    return b.take_along_axis(x, at, axis=pool.axis)


def _lowest(dtype: np.dtype[Any]) -> Any:
    """What every value of the dtype is at least as large as."""
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _avg_pool(b: Any, x: Any, /, window: Any, strides: Any = None, padding: Any = "valid") -> Any:
    (node,) = b.floating(x)
    node, pools = _pools(b, node, window, strides, padding)
    shape = node.shape
    for pool in reversed(pools):
        node = _total(b, node, pool)
    for pool in pools:
        node = node / _elements(b, pool, shape[pool.axis], node)
    return node


def _total(b: Any, x: Any, pool: Pool) -> Any:
    """The sum of each window along an axis: a convolution with ones."""
    labels, position, place = ascii_letters[: x.ndim], *ascii_letters[x.ndim : x.ndim + 2]
    axis = labels[pool.axis]
    along = Window(axis, position, place, pool.stride, 1, pool.before, pool.count, pool.length)
    ones = b.ones((pool.length,), dtype=x.dtype)
    return convolve(b, x, labels, ones, place, labels.replace(axis, position), [along])


def _elements(b: Any, pool: Pool, size: Dim, like: Any) -> Any:
    """How many elements of an axis of this size each window holds, along that axis of a node like this."""
    if pool.before == 0 and pool.behind(size) == 0:
        return float(pool.length)
    begin = b.arange(pool.count) * pool.stride - pool.before
    counts = b.minimum(begin + pool.length, size) - b.maximum(begin, 0)
    shape = tuple(d if k == pool.axis else 1 for k, d in enumerate(like.shape))
    return b.reshape(b.astype(counts, like.dtype), shape)


def _reference(fold: Any, fill: Any) -> Any:
    """fold(the elements at each place of the windows, beside which of them lie inside)."""

    def reference(x: Any, window: Any, strides: Any = None, padding: Any = "valid") -> Any:
        n = x.ndim - 2
        lengths = np.broadcast_to(window, n)
        steps = np.broadcast_to(window if strides is None else strides, n)
        lowest = fill(x.dtype)
        (padded, counts), (inside, _) = (
            padded_reference(v, lengths, steps, padding, (1,) * n, f) for v, f in ((x, lowest), (np.ones(x.shape), 0))
        )
        parts = []
        for place in np.ndindex(*lengths):
            at = tuple(slice(p, p + (c - 1) * s + 1, s) for p, c, s in zip(place, counts, steps, strict=True))
            parts.append((padded[(slice(None), *at)], inside[(slice(None), *at)]))
        return fold(np.stack([p for p, _ in parts]), np.stack([i for _, i in parts]))

    return reference


def _mean_of_inside(values: Any, inside: Any) -> Any:
    total = values.sum(0) / inside.sum(0)
    return total.astype(values.dtype if values.dtype.kind == "f" else np.float64)


def _in_tensorflow(name: str) -> Any:
    def call(tf: Any, x: Any, window: Any, strides: Any = None, padding: Any = "valid") -> Any:
        """TensorFlow pads by names alone, and x with -inf is what else it would see outside."""
        if not isinstance(padding, str):
            n = len(x.shape) - 2
            x = tf.pad(x, [(0, 0), *np.broadcast_to(padding, (n, 2)), (0, 0)], constant_values=-np.inf)
            padding = "valid"
        return getattr(tf.nn, name)(x, window, window if strides is None else strides, padding.upper())

    return call


_X1, _X2 = Array((2, 7, 3), distinct=True), Array((2, 6, 5, 2), distinct=True)
_SAMPLES = (
    Sample((_X1, 2)),
    Sample((_X1, 3), {"strides": 2, "padding": "same"}),
    Sample((_X2, (2, 3)), {"strides": (1, 2)}),
    Sample((_X2, 2), {"padding": "same"}),
    Sample((_X2, 3), {"strides": 1, "padding": "same"}),
    Sample((Array((1, 20, 2), distinct=True), 11), {"strides": 4, "padding": "same"}),
    Sample((Array((0, 4, 2)), 2)),
    Sample((Array((1, 1, 1)), 1)),
)
_REJECTS = (
    Reject((_X1, 8), ShapeError, "reaches over 8 elements, and the axis has 7"),
    Reject((_X1, 0), ShapeError, "window is an int of at least 1"),
    Reject((_X2, (2, 2, 2)), ShapeError, "each of the 2 spatial axes"),
    Reject((_X1, 2), ShapeError, "strides is an int of at least 1", {"strides": -1}),
    Reject((_X1, 2), DeclarationError, "'valid', 'same'", {"padding": "full"}),
    Reject((_X1, 2), ShapeError, "nothing but padding", {"padding": 2}),
    Reject((Array((3, 4)), 2), ShapeError, "[batch, *spatial, channels]"),
)
_DOC = (
    "of each window of x [batch, *spatial, channels].\n\n"
    "`window` and `strides` (which is the window where it is None) are an int, or one for each spatial axis;\n"
    "`padding` is 'valid', 'same' or as in `convolution`; what lies outside "
)

register(
    Op(
        name="max_pool",
        doc=f"The largest value {_DOC}does not count, and the first of\nequal values gets the whole cotangent."
        + example("gc.max_pool([[[1.0], [3.0], [2.0], [4.0]]], 2)", "array([[[3.],\n        [4.]]])"),
        define=_max_pool,
        reference=_reference(lambda values, inside: values.max(0), _lowest),
        dtypes=NUMBERS,
        samples=(*_SAMPLES, Sample((_X2, 2), {"padding": 1})),
        rejects=_REJECTS,
        tf=_in_tensorflow("max_pool"),
    )
)

register(
    Op(
        name="avg_pool",
        doc=f"The mean {_DOC}is not counted."
        + example("gc.avg_pool([[[1.0], [3.0], [2.0], [4.0]]], 2)", "array([[[2.],\n        [3.]]])"),
        define=_avg_pool,
        reference=_reference(_mean_of_inside, lambda dtype: 0),
        dtypes=NUMBERS,
        samples=_SAMPLES,
        rejects=_REJECTS,
        tf=_in_tensorflow("avg_pool"),
    )
)
