"""Shape functions that are composites over the movement primitives."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.movement import ALL, listed
from graphc.ops.samples import example
from graphc.types import DType, as_dim, normalize_axes, normalize_axis, shape_text

_X = Array((2, 3, 4))


def _matrix_transpose(b: Any, x: Any, /) -> Any:
    node = b.convert(x)
    if node.ndim < 2:
        raise ShapeError("a matrix has at least two axes")
    return b.permute_dims(node, (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2))


def _expand_dims(b: Any, x: Any, /, axis: Any = 0) -> Any:
    node = b.convert(x)
    new = normalize_axes(axis, node.ndim + (len(axis) if isinstance(axis, (tuple, list)) else 1), "expand_dims")
    lengths = iter(node.shape)
    return b.reshape(node, tuple(1 if k in new else next(lengths) for k in range(node.ndim + len(new))))


def _squeeze(b: Any, x: Any, /, axis: Any = None) -> Any:
    node = b.convert(x)
    axes = (
        [k for k, d in enumerate(node.shape) if d == 1] if axis is None else normalize_axes(axis, node.ndim, "squeeze")
    )
    for k in axes:
        if node.shape[k] != 1:
            raise ShapeError(f"axis {k} has length {node.shape[k]}; only an axis of length 1 can be dropped")
    return b.reshape(node, tuple(d for k, d in enumerate(node.shape) if k not in axes))


def _stack(b: Any, arrays: Any, /, axis: int = 0) -> Any:
    nodes = b.promoted(*listed(arrays, "stack"))
    if any(n.ndim != nodes[0].ndim for n in nodes):
        raise ShapeError(f"all operands need the same shape, got {', '.join(shape_text(n.shape) for n in nodes)}")
    k = normalize_axis(axis, nodes[0].ndim + 1, "stack")
    return b.concat([b.expand_dims(n, k) for n in nodes], axis=k)


def _flip(b: Any, x: Any, /, axis: Any = None) -> Any:
    node = b.convert(x)
    axes = normalize_axes(axis, node.ndim, "flip")
    return b.getitem(node, tuple(slice(None, None, -1 if k in axes else 1) for k in range(node.ndim)))


def _moveaxis(b: Any, x: Any, /, source: Any, destination: Any) -> Any:
    node = b.convert(x)
    taken, put = (
        [normalize_axis(k, node.ndim, "moveaxis") for k in (axes if isinstance(axes, (tuple, list)) else (axes,))]
        for axes in (source, destination)
    )
    if len(taken) != len(put) or len(set(taken)) != len(taken) or len(set(put)) != len(put):
        raise ShapeError(f"source and destination must name as many axes, each once, got {source} and {destination}")
    others = iter(k for k in range(node.ndim) if k not in taken)
    moved = dict(zip(put, taken, strict=True))
    return b.permute_dims(node, tuple(moved[k] if k in moved else next(others) for k in range(node.ndim)))


def _swapaxes(b: Any, x: Any, axis1: int, axis2: int, /) -> Any:
    node = b.convert(x)
    first, second = (normalize_axis(k, node.ndim, "swapaxes") for k in (axis1, axis2))
    return b.permute_dims(node, tuple({first: second, second: first}.get(k, k) for k in range(node.ndim)))


def _pad(b: Any, x: Any, /, pad_width: Any, *, constant_values: Any = 0) -> Any:
    node = b.convert(x)
    widths = pad_widths(pad_width, node.ndim)
    if not any(low != 0 or high != 0 for low, high in widths):
        return node
    shape = tuple(low + d + high for d, (low, high) in zip(node.shape, widths, strict=True))
    start = tuple(low for low, _ in widths)
    fill = _as_fill(constant_values, node.dtype)
    return b.primitive("_pad", (node,), start=start, step=(1,) * node.ndim, shape=shape, fill=fill)


def pad_widths(pad_width: Any, ndim: int) -> list[tuple[Dim, Dim]]:
    """(before, after) for each axis, from one number, one pair, or a pair for each axis."""
    rows = list(pad_width) if isinstance(pad_width, (tuple, list, np.ndarray)) else [pad_width]
    if not any(isinstance(row, (tuple, list, np.ndarray)) for row in rows):
        rows = [rows]
    if len(rows) == 1:
        rows = rows * ndim
    pairs = [tuple(as_dim(w) for w in (row if len(row) == 2 else [*row, *row])) for row in rows if len(row) in (1, 2)]
    if len(pairs) != ndim:
        raise ShapeError(f"pad_width is a number, a pair, or a pair for each of the {ndim} axes, got {pad_width!r}")
    return [(low, high) for low, high in pairs]


def _as_fill(value: Any, dtype: DType) -> Any:
    """The constant as the Python number that stands for it in the operand's dtype."""
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "fiub":
        raise DeclarationError(f"constant_values is one number, got {value!r}")
    fill = array.astype(dtype.numpy).item()
    if not dtype.is_float and fill != value:
        raise DTypeError(f"an array of {dtype} can't be padded with {value!r}; convert it with gc.astype")
    return fill


register(
    Op(
        name="matrix_transpose",
        doc="The last two axes exchanged."
        + example("gc.matrix_transpose([[1, 2], [3, 4]])", "array([[1, 3],\n       [2, 4]])"),
        define=_matrix_transpose,
        reference=lambda x: np.swapaxes(x, -1, -2),
        dtypes=ALL,
        samples=(Sample((Array((3, 4)),)), Sample((_X,)), Sample((Array((2, 0, 3)),))),
        rejects=(Reject((Array((3,)),), ShapeError, "at least two axes"),),
        tf=lambda tf, x: tf.linalg.matrix_transpose(x),
    )
)

register(
    Op(
        name="expand_dims",
        doc="New axes of length 1 at the positions `axis`, an int or a tuple, of the result."
        + example("gc.expand_dims([1, 2], axis=1)", "array([[1],\n       [2]])"),
        define=_expand_dims,
        reference=lambda x, axis=0: np.expand_dims(x, axis),
        dtypes=ALL,
        samples=(
            Sample((Array((3, 4)),)),
            Sample((Array((3, 4)),), {"axis": -1}),
            Sample((Array((3, 4)),), {"axis": (0, -1)}),
            Sample((Array(()), 0)),
        ),
        rejects=(Reject((_X, 4), ShapeError, "axis 4 does not exist"), Reject((_X, (1, 1)), ShapeError, "twice")),
        tf=lambda tf, x, axis=0: tf.reshape(x, np.expand_dims(np.empty(x.shape), axis).shape),
    )
)

register(
    Op(
        name="squeeze",
        doc="Axes of length 1 dropped: `axis`, an int or a tuple, or all that are known to have it."
        + example("gc.squeeze([[1, 2]])", "array([1, 2])"),
        define=_squeeze,
        reference=np.squeeze,
        dtypes=ALL,
        samples=(
            Sample((Array((1, 3, 1)),)),
            Sample((Array((1, 3, 1)),), {"axis": 0}),
            Sample((Array((1, 3, 1)),), {"axis": (0, -1)}),
            Sample((_X,)),
        ),
        rejects=(
            Reject((Array((1, 3)), 1), ShapeError, "axis 1 has length 3"),
            Reject((Array((1, 3)), 2), ShapeError, "axis 2 does not exist"),
        ),
        tf=lambda tf, x, axis=None: tf.squeeze(x, axis),
    )
)

register(
    Op(
        name="stack",
        doc="Operands of one shape joined along a new axis, which stands at position `axis` of the result."
        + example("gc.stack([[1, 2], [3, 4]], axis=1)", "array([[1, 3],\n       [2, 4]])"),
        define=_stack,
        reference=lambda arrays, axis=0: np.stack(arrays, axis),
        dtypes=ALL,
        samples=(
            Sample(([Array((2, 3)), Array((2, 3))],)),
            Sample(([Array((2, 3)), Array((2, 3))],), {"axis": -1}),
            Sample(([Array(()), Array(()), Array(())],)),
        ),
        rejects=(
            Reject(([Array((2,)), Array((3,))],), ShapeError, "must be equal"),
            Reject(([Array((2,)), Array((2, 1))],), ShapeError, "same shape"),
            Reject(([Array((2,))], 2), ShapeError, "axis 2 does not exist"),
            Reject(([],), DeclarationError, "non-empty list"),
        ),
        tf=lambda tf, arrays, axis=0: tf.stack(arrays, axis),
    )
)

register(
    Op(
        name="flip",
        doc="The elements in reverse order along `axis`, an int or a tuple, or along all axes."
        + example("gc.flip([1, 2, 3])", "array([3, 2, 1])"),
        define=_flip,
        reference=np.flip,
        dtypes=ALL,
        samples=(
            Sample((_X,)),
            Sample((_X,), {"axis": -2}),
            Sample((_X,), {"axis": (0, 2)}),
            Sample((Array((0, 3)),)),
            Sample((Array(()),)),
        ),
        rejects=(Reject((_X, 3), ShapeError, "axis 3 does not exist"),),
        tf=lambda tf, x, axis=None: tf.reverse(x, list(normalize_axes(axis, len(x.shape), "flip"))),
    )
)

register(
    Op(
        name="moveaxis",
        doc="Axes moved from the positions `source` to the positions `destination`; the others keep their order."
        + example("gc.moveaxis([[1, 2, 3]], 0, 1)", "array([[1],\n       [2],\n       [3]])"),
        define=_moveaxis,
        reference=np.moveaxis,
        dtypes=ALL,
        samples=(Sample((_X, 0, -1)), Sample((_X, (0, 1), (2, 0))), Sample((_X, 1, 1))),
        rejects=(
            Reject((_X, 3, 0), ShapeError, "axis 3 does not exist"),
            Reject((_X, (0, 1), 0), ShapeError, "as many axes"),
        ),
        tf=lambda tf, x, source, destination: tf.experimental.numpy.moveaxis(x, source, destination),
    )
)

register(
    Op(
        name="ravel",
        doc="The elements in row-major order along one axis."
        + example("gc.ravel([[1, 2], [3, 4]])", "array([1, 2, 3, 4])"),
        define=lambda b, x, /: b.reshape(x, -1),
        reference=np.ravel,
        dtypes=ALL,
        samples=(Sample((_X,)), Sample((Array(()),)), Sample((Array((0, 3)),))),
    )
)

register(
    Op(
        name="swapaxes",
        doc="Two axes exchanged."
        + example("gc.swapaxes([[1, 2, 3]], 0, 1)", "array([[1],\n       [2],\n       [3]])"),
        define=_swapaxes,
        reference=np.swapaxes,
        dtypes=ALL,
        samples=(Sample((_X, 0, -1)), Sample((_X, 1, 1)), Sample((Array((0, 3)), 0, 1))),
        rejects=(Reject((_X, 0, 3), ShapeError, "axis 3 does not exist"),),
    )
)

register(
    Op(
        name="pad",
        doc="The operand with `constant_values` before and after it along each axis.\n\n"
        "`pad_width` is a number, a pair (before, after), or such a pair for each axis."
        + example("gc.pad([1, 2], (1, 2))", "array([0, 1, 2, 0, 0])"),
        define=_pad,
        reference=lambda x, pad_width, constant_values=0: np.pad(x, pad_width, constant_values=constant_values),
        dtypes=ALL,
        samples=(
            Sample((Array((2, 3)), 1)),
            Sample((Array((2, 3)), (1, 2)), {"constant_values": 1}),
            Sample((Array((2, 3)), ((0, 2), (1, 0)))),
            Sample((Array((0, 3)), ((2, 1), (0, 0)))),
            Sample((Array((3,)), 0)),
        ),
        rejects=(
            Reject((Array((2, 3)), ((1, 1), (1, 1), (1, 1))), ShapeError, "each of the 2 axes"),
            Reject((Array((2, 3)), (1, 2, 3)), ShapeError, "each of the 2 axes"),
            Reject((Array((2, 3)), -1), ShapeError, ">= 0"),
            Reject((Array((2, 3), kind="index"), 1), DTypeError, "can't be padded with 0.5", {"constant_values": 0.5}),
            Reject((Array((2, 3), kind="bool"), 1), DTypeError, "can't be padded with 2", {"constant_values": 2}),
            Reject((Array((2, 3)), 1), DeclarationError, "is one number", {"constant_values": (1, 2)}),
        ),
        tf=lambda tf, x, pad_width, constant_values=0: tf.pad(
            x, np.broadcast_to(pad_width, (len(x.shape), 2)), constant_values=tf.cast(constant_values, x.dtype)
        ),
    )
)
