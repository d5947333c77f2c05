"""Reads along an axis at positions that an operand holds, and their counterpart for classes.

Positions are integers of any dtype; negative ones count from the end.  One that does not lie on the axis is an error:
at declaration where it is a constant, else at the call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.index import along_axis, gather_reference, positions_on, read
from graphc.ops.movement import ALL
from graphc.ops.samples import example
from graphc.types import INTEGERS, as_dim, as_dtype, int64, normalize_axis, shape_text


def _take_along_axis(b: Any, x: Any, indices: Any, /, axis: int = -1) -> Any:
    node, positions = b.convert(x), b.convert(indices)
    if positions.dtype.is_integer and node.ndim != positions.ndim:
        shapes = f"{shape_text(node.shape)} and {shape_text(positions.shape)}"
        raise ShapeError(f"operand and positions must have as many axes, got {shapes}")
    k = normalize_axis(axis, node.ndim, "take_along_axis")
    at, mode = positions_on(b, positions, node.shape[k], k)
    return read(b, node, (at,), along_axis(node.ndim, k), (mode,))


def _take(b: Any, x: Any, indices: Any, /, axis: int | None = None, *, mode: str | None = None) -> Any:
    node, positions = b.convert(x), b.convert(indices)
    if axis is None:
        node, axis = b.reshape(node, -1), 0
    k = normalize_axis(axis, node.ndim, "take")
    if mode == "drop":
        raise DeclarationError("mode is None (an error), 'clip' or 'wrap'; x.at[...].get(mode='fill') fills")
    at, how = positions_on(b, positions, node.shape[k], k, mode)
    behind = node.ndim - k - 1
    along = (*range(k), -1, *range(k + at.ndim, k + at.ndim + behind))
    return read(b, node, (b.reshape(at, (*[1] * k, *at.shape, *[1] * behind)),), along, (how,))


def take_along_reference(x: Any, indices: Any, axis: int = -1) -> Any:
    k = axis % x.ndim
    return gather_reference(x, indices, along=along_axis(x.ndim, k), modes=("check",))


register(
    Op(
        name="take_along_axis",
        doc="y[..., i, ...] = x[..., indices[..., i, ...], ...] along `axis`; the other axes broadcast together.\n\n"
        "Negative positions count from the end; one that does not lie on the axis is an error."
        + example("gc.take_along_axis([[10, 20], [30, 40]], [[1], [0]], axis=1)", "array([[20],\n       [30]])"),
        define=_take_along_axis,
        reference=take_along_reference,
        dtypes=ALL,
        samples=(
            Sample((Array((3, 4)), Array((3, 2), -4, 4, "index"))),
            Sample((Array((3, 4)), Array((5, 1), 0, 3, "index"), 0)),
            Sample((Array((1, 4)), Array((3, 2), 0, 4, "index"), 1)),
            Sample((Array((2, 3, 4)), Array((1, 6, 1), -3, 3, "index")), {"axis": -2}),
            Sample((Array((3, 4)), Array((3, 0), 0, 4, "index"))),
        ),
        rejects=(
            Reject((Array((3, 4)), Array((3, 2))), DTypeError, "positions are integers"),
            Reject((Array((3, 4)), Array((3,), kind="index")), ShapeError, "as many axes"),
            Reject((Array((3, 4)), Array((2, 2), kind="index")), ShapeError, "broadcast"),
            Reject((Array((3, 4)), [[0, 4]]), ShapeError, "position 4 does not lie on axis 1"),
        ),
        tf=lambda tf, x, indices, axis=-1: tf.experimental.numpy.take_along_axis(
            *_tf_spread(tf, x, indices, axis % len(x.shape)), axis
        ),
    )
)


def _others(shape: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _at(shape: tuple[Any, ...], axis: int, length: Any) -> tuple[Any, ...]:
    return (*shape[:axis], length, *shape[axis:])


def _tf_spread(tf: Any, x: Any, indices: Any, axis: int) -> tuple[Any, Any]:
    others = np.broadcast_shapes(_others(tuple(x.shape), axis), _others(tuple(indices.shape), axis))
    x, indices = (tf.broadcast_to(a, _at(others, axis, a.shape[axis])) for a in (x, indices))
    return x, tf.where(indices < 0, indices + x.shape[axis], indices)


def _taken(x: Any, indices: Any, axis: int | None = None, mode: str | None = None) -> Any:
    size = x.size if axis is None else x.shape[axis]
    if mode == "wrap":
        indices = indices % size
    if mode == "clip":
        indices = np.clip(np.where(indices < 0, indices + size, indices), 0, size - 1)
    return np.take(x, indices, axis)


def _tf_take(tf: Any, x: Any, indices: Any, axis: int | None = None, mode: str | None = None) -> Any:
    x, k = (tf.reshape(x, [-1]), 0) if axis is None else (x, axis)
    positions = tf.where(indices < 0, indices + x.shape[k], indices)
    modes = {"clip": lambda: tf.clip_by_value(positions, 0, x.shape[k] - 1), "wrap": lambda: indices % x.shape[k]}
    return tf.gather(x, modes[mode]() if mode else positions, axis=k)


register(
    Op(
        name="take",
        doc="Elements at integer positions along `axis`, of the flattened operand where it is None.\n\n"
        "The axes of `indices` stand in the result where the axis was.  Negative positions count from the end; one "
        "beyond the axis is an error, or with `mode` 'clip' the nearest end, with 'wrap' the rest by its length."
        + example("gc.take([[1, 2], [3, 4], [5, 6]], [2, -3], axis=0)", "array([[5, 6],\n       [1, 2]])"),
        define=_take,
        reference=_taken,
        dtypes=ALL,
        samples=(
            Sample((Array((3, 4)), Array((5,), -4, 4, "index")), {"axis": 1}),
            Sample((Array((3, 4)), Array((2, 2), 0, 3, "index")), {"axis": 0}),
            Sample((Array((3, 4)), Array((2, 2), -12, 12, "index"))),
            Sample((Array((2, 3, 4)), Array((), 0, 3, "index")), {"axis": -2}),
            Sample((Array((3, 4)), Array((0,), 0, 3, "index")), {"axis": 0}),
            Sample((Array((3, 4)), Array((5,), -9, 9, "index")), {"axis": 1, "mode": "clip"}),
            Sample((Array((3, 4)), Array((2, 3), -9, 9, "index")), {"axis": 0, "mode": "wrap"}),
        ),
        rejects=(
            Reject((Array((3, 4)), [0]), DeclarationError, "mode is None", {"mode": "drop"}),
            Reject((Array((3, 4)), Array((2,)), 0), DTypeError, "positions are integers"),
            Reject((Array((3, 4)), [3], 0), ShapeError, "position 3 does not lie on axis 0"),
            Reject((Array((3, 4)), [0], 2), ShapeError, "axis 2 does not exist"),
        ),
        tf=_tf_take,
    )
)


def _one_hot(b: Any, indices: Any, /, num_classes: Any, *, dtype: Any = "float64") -> Any:
    positions = b.convert(indices)
    if not positions.dtype.is_integer:
        raise DTypeError(f"classes are integers, got {positions.dtype}; convert them with gc.astype")
    classes = b.arange(as_dim(num_classes), dtype=int64)
    return b.astype(b.equal(b.expand_dims(b.astype(positions, int64), -1), classes), as_dtype(dtype))


register(
    Op(
        name="one_hot",
        doc="A last axis of length `num_classes` that is 1 at the position each index names and 0 elsewhere.\n\n"
        "An index outside 0 ... num_classes - 1 gives zeros only.  The dtype is float64 where none is given."
        + example("gc.one_hot([2, 0], 3)", "array([[0., 0., 1.],\n       [1., 0., 0.]])"),
        define=_one_hot,
        reference=lambda indices, num_classes, dtype="float64": np.equal(
            indices[..., None], np.arange(num_classes)
        ).astype(dtype),
        dtypes=INTEGERS,
        samples=(
            Sample((Array((3, 2), 0, 4, "index"), 4)),
            Sample((Array((5,), -1, 6, "index"), 4), {"dtype": "float32"}),
            Sample((Array((), 0, 3, "index"), 3)),
            Sample((Array((0,), 0, 3, "index"), 3)),
        ),
        rejects=(
            Reject((Array((3,)), 4), DTypeError, "classes are integers"),
            Reject((Array((3,), kind="index"), -1), ShapeError, ">= 0"),
        ),
        tf=lambda tf, indices, num_classes, dtype="float64": tf.one_hot(indices, num_classes, dtype=dtype),
    )
)
