"""Indexing: reads and adds along an axis at positions that an operand holds.

Positions are integers of any dtype; negative ones count from the end.  One that does not lie on the axis is an error:
at declaration where it is a constant, else at the call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Dim, product
from graphc.errors import DTypeError, InputError, ShapeError
from graphc.op import Array, Attrs, Family, Op, Reject, Sample, register
from graphc.ops.movement import ALL, unbroadcast
from graphc.ops.rules import require
from graphc.ops.samples import example
from graphc.types import (
    FLOATS,
    INTEGERS,
    Constraint,
    TensorType,
    as_dim,
    as_dtype,
    broadcast,
    int64,
    normalize_axis,
    shape_text,
)

Types = tuple[TensorType, ...]


def _others(shape: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _require_positions(types: Types, positions: int) -> None:
    if not types[positions].dtype.is_integer:
        raise DTypeError(f"positions are integers, got {types[positions].dtype}; convert them with gc.astype")
    if types[0].ndim != types[1].ndim:
        shapes = f"{shape_text(types[0].shape)} and {shape_text(types[1].shape)}"
        raise ShapeError(f"operand and positions must have as many axes, got {shapes}")


def _at(shape: tuple[Any, ...], axis: int, length: Any) -> tuple[Any, ...]:
    return (*shape[:axis], length, *shape[axis:])


def _infer_gather(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    _require_positions(types, 1)
    axis = attrs["axis"]
    others = broadcast([_others(t.shape, axis) for t in types], found)
    return (TensorType(types[0].dtype, _at(others, axis, types[1].shape[axis])),)


def _infer_scatter(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    _require_positions(types, 0)
    require(types[1:], (*FLOATS, *INTEGERS))
    axis = attrs["axis"]
    others = _others(broadcast([t.shape for t in types], found), axis)
    return (TensorType(types[1].dtype, _at(others, axis, attrs["size"])),)


def _on_axis(indices: Any, size: int, axis: int) -> Any:
    """The positions as NumPy takes them; InputError names the first that does not lie on the axis."""
    outside = (indices < -size) | (indices >= size)
    if np.any(outside):
        raise InputError(f"position {indices[outside][0]} does not lie on axis {axis}, which has length {size}")
    return indices.astype(np.int64)


def _gather(x: Any, indices: Any, axis: int) -> Any:
    positions = _on_axis(indices, x.shape[axis], axis)
    others = np.broadcast_shapes(_others(x.shape, axis), _others(indices.shape, axis))
    x, positions = (np.broadcast_to(a, _at(others, axis, a.shape[axis])) for a in (x, positions))
    return np.take_along_axis(x, positions, axis)


def _scatter(indices: Any, values: Any, axis: int, size: int) -> Any:
    positions, values = np.broadcast_arrays(_on_axis(indices, size, axis), values)
    out = np.zeros(_at(_others(values.shape, axis), axis, size), values.dtype)
    at = [
        np.expand_dims(np.arange(n), tuple(j for j in range(values.ndim) if j != k)) for k, n in enumerate(values.shape)
    ]
    at[axis] = positions
    np.add.at(out, tuple(at), values)
    return out


def _refuse_constants_outside(indices: Any, size: Dim, axis: int) -> None:
    """Positions that are known already must lie on an axis whose length is."""
    if indices.op.name == "constant" and indices.dtype.is_integer and isinstance(size, int):
        try:
            _on_axis(indices.attrs["value"].array, size, axis)
        except InputError as error:
            raise ShapeError(str(error)) from None


def _take_along_axis(b: Any, x: Any, indices: Any, /, axis: int = -1) -> Any:
    node, positions = b.convert(x), b.convert(indices)
    k = normalize_axis(axis, node.ndim, "take_along_axis")
    _refuse_constants_outside(positions, node.shape[k], k)
    return b.primitive("take_along_axis", (node, positions), axis=k)


def _take(b: Any, x: Any, indices: Any, /, axis: int | None = None) -> Any:
    node, positions = b.convert(x), b.convert(indices)
    if axis is None:
        node, axis = b.reshape(node, -1), 0
    k = normalize_axis(axis, node.ndim, "take")
    _refuse_constants_outside(positions, node.shape[k], k)
    before, behind = node.shape[:k], node.shape[k + 1 :]
    row = b.reshape(positions, (*[1] * k, product(positions.shape), *[1] * len(behind)))
    return b.reshape(b.take_along_axis(node, row, axis=k), (*before, *positions.shape, *behind))


def _add_back(b: Any, g: Any, y: Any, x: Any, indices: Any, *, axis: int) -> tuple[Any, None]:
    whole = b.primitive("_add_at", (indices, g), axis=axis, size=x.shape[axis])
    return unbroadcast(b, whole, x.shape), None


register(
    Op(
        name="take_along_axis",
        doc="y[..., i, ...] = x[..., indices[..., i, ...], ...] along `axis`; the other axes broadcast together.\n\n"
        "Negative positions count from the end; one that does not lie on the axis is an error."
        + example("gc.take_along_axis([[10, 20], [30, 40]], [[1], [0]], axis=1)", "array([[20],\n       [30]])"),
        family=Family.GATHER,
        infer=_infer_gather,
        define=_take_along_axis,
        reference=lambda x, indices, axis=-1: _gather(x, indices, axis % x.ndim),
        adjoint=_add_back,
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


def _tf_spread(tf: Any, x: Any, indices: Any, axis: int) -> tuple[Any, Any]:
    others = np.broadcast_shapes(_others(tuple(x.shape), axis), _others(tuple(indices.shape), axis))
    x, indices = (tf.broadcast_to(a, _at(others, axis, a.shape[axis])) for a in (x, indices))
    return x, tf.where(indices < 0, indices + x.shape[axis], indices)


register(
    Op(
        name="_add_at",
        doc="Zeros of length `size` along `axis`, each value added at its position; the other axes broadcast together.",
        family=Family.SCATTER,
        infer=_infer_scatter,
        reference=_scatter,
        adjoint=lambda b, g, y, indices, values, *, axis, size: (
            None,
            unbroadcast(b, b.take_along_axis(g, indices, axis=axis), values.shape),
        ),
        dtypes=(*FLOATS, *INTEGERS),
    )
)

register(
    Op(
        name="take",
        doc="Elements at integer positions along `axis`, of the flattened operand where it is None.\n\n"
        "The axes of `indices` stand in the result where the axis was."
        + example("gc.take([[1, 2], [3, 4], [5, 6]], [2, -3], axis=0)", "array([[5, 6],\n       [1, 2]])"),
        define=_take,
        reference=lambda x, indices, axis=None: np.take(x, indices, axis),
        dtypes=ALL,
        samples=(
            Sample((Array((3, 4)), Array((5,), -4, 4, "index")), {"axis": 1}),
            Sample((Array((3, 4)), Array((2, 2), 0, 3, "index")), {"axis": 0}),
            Sample((Array((3, 4)), Array((2, 2), -12, 12, "index"))),
            Sample((Array((2, 3, 4)), Array((), 0, 3, "index")), {"axis": -2}),
            Sample((Array((3, 4)), Array((0,), 0, 3, "index")), {"axis": 0}),
        ),
        rejects=(
            Reject((Array((3, 4)), Array((2,)), 0), DTypeError, "positions are integers"),
            Reject((Array((3, 4)), [3], 0), ShapeError, "position 3 does not lie on axis 0"),
            Reject((Array((3, 4)), [0], 2), ShapeError, "axis 2 does not exist"),
        ),
        tf=lambda tf, x, indices, axis=None: tf_take(
            tf, tf.reshape(x, [-1]) if axis is None else x, indices, axis or 0
        ),
    )
)


def tf_take(tf: Any, x: Any, indices: Any, axis: int) -> Any:
    return tf.gather(x, tf.where(indices < 0, indices + x.shape[axis], indices), axis=axis)


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
