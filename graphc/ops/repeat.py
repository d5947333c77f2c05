"""Rolling, repeating and tiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, Poly
from graphc.errors import DeclarationError, ShapeError
from graphc.op import Array, Attrs, Family, Op, Piece, Reject, Sample, register
from graphc.ops.movement import ALL
from graphc.ops.samples import example
from graphc.types import Constraint, Shape, TensorType, as_dim, is_int, normalize_axis

Types = tuple[TensorType, ...]
_X = Array((2, 3, 4))


# roll


def _turn(shift: Dim, size: Dim) -> Dim:
    """shift modulo size; for one place nothing has to be divided in the loop, since no axis is shorter."""
    return {1: 1, -1: size - 1}.get(shift, shift % size) if isinstance(shift, int) else shift % size


def _access_roll(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    axis, size = attrs["axis"], shapes[0][attrs["axis"]]
    shift, along = _turn(attrs["shift"], size), index[axis]

    def moved(by: Dim) -> tuple[Dim, ...]:
        return (*index[:axis], along + by, *index[axis + 1 :])

    return [Piece(0, moved(size - shift), ((along, 0, shift),)), Piece(0, moved(-shift))]


def _infer_roll(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    return (types[0],)


register(
    Op(
        name="_roll",
        doc="Element i along `axis` is element (i - shift) modulo its length.",
        family=Family.MOVEMENT,
        infer=_infer_roll,
        reference=lambda x, shift, axis: np.roll(x, shift, axis),
        access=_access_roll,
        adjoint=lambda b, g, y, x, *, shift, axis: (b.primitive("_roll", (g,), shift=-shift, axis=axis),),
    )
)


def _as_shift(value: Any) -> Any:
    if isinstance(value, Poly):
        return value
    if not is_int(value):
        raise DeclarationError(f"a shift is an int or a dimension, got {value!r}")
    return int(value)


def _roll(b: Any, x: Any, /, shift: Any, axis: Any = None) -> Any:
    node = b.convert(x)
    if axis is None:
        return b.reshape(_roll(b, b.reshape(node, -1), shift, 0), node.shape)
    axes = list(axis) if isinstance(axis, (tuple, list)) else [axis]
    shifts = list(shift) if isinstance(shift, (tuple, list)) else [shift] * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(f"there are {len(shifts)} shifts for {len(axes)} axes")
    for k, by in zip(axes, map(_as_shift, shifts), strict=True):
        k = normalize_axis(k, node.ndim, "roll")
        if node.shape[k] not in (0, 1) and by != 0:
            node = b.primitive("_roll", (node,), shift=by, axis=k)
    return node


register(
    Op(
        name="roll",
        doc="The elements moved by `shift` places along `axis`, those that leave at one end coming in at the other.\n\n"
        "Several axes have a shift each, or the same; without an axis the operand is rolled as if flattened."
        + example("gc.roll([1, 2, 3], 1)", "array([3, 1, 2])"),
        define=_roll,
        reference=np.roll,
        dtypes=ALL,
        samples=(
            Sample((_X, 1), {"axis": 1}),
            Sample((_X, -6), {"axis": -1}),
            Sample((_X, (1, 2)), {"axis": (0, 2)}),
            Sample((_X, 1), {"axis": (0, 1)}),
            Sample((_X, 5)),
            Sample((Array((0, 3)), 1), {"axis": 0}),
            Sample((Array(()), 2)),
            Sample((_X, (1, 1)), {"axis": (1, 1)}),
        ),
        rejects=(
            Reject((_X, 1), ShapeError, "axis 3 does not exist", {"axis": 3}),
            Reject((_X, (1, 2)), ShapeError, "2 shifts for 3 axes", {"axis": (0, 1, 2)}),
            Reject((_X, 0.5), DeclarationError, "an int or a dimension"),
        ),
        tf=lambda tf, x, shift, axis=None: tf.reshape(tf.roll(tf.reshape(x, [-1]), shift, 0), x.shape)
        if axis is None
        else tf.roll(x, [shift] * len(axis) if isinstance(shift, int) and isinstance(axis, tuple) else shift, axis),
    )
)


# repeat and tile


def _repeat(b: Any, x: Any, /, repeats: Any, axis: int | None = None) -> Any:
    node = b.convert(x)
    node, k = (b.reshape(node, -1), 0) if axis is None else (node, normalize_axis(axis, node.ndim, "repeat"))
    if isinstance(repeats, (tuple, list, np.ndarray)):
        return b.take(node, _positions(np.asarray(repeats), node.shape[k]), axis=k)
    if not isinstance(repeats, (int, np.integer, str, Poly)):
        raise DeclarationError(
            f"repeats is an int, a dimension, or a list of ints, got {repeats!r}: a shape never depends on values"
        )
    times, shape = as_dim(repeats), node.shape
    spread = b.broadcast_to(b.expand_dims(node, k + 1), (*shape[: k + 1], times, *shape[k + 1 :]))
    return b.reshape(spread, (*shape[:k], shape[k] * times, *shape[k + 1 :]))


def _positions(counts: Any, size: Dim) -> Any:
    """Where each element of the result comes from, if element i is repeated counts[i] times."""
    if counts.dtype.kind not in "iu" or counts.ndim != 1 or (counts < 0).any():
        raise DeclarationError(f"repeats is an int, a dimension, or a list of ints >= 0, got {counts.tolist()}")
    if not isinstance(size, int) or len(counts) not in (1, size):
        raise ShapeError(f"there are {len(counts)} numbers of repeats for an axis of length {size}")
    return np.repeat(np.arange(size), counts)


register(
    Op(
        name="repeat",
        doc="Each element `repeats` times along `axis`, or of the flattened operand where there is none.\n\n"
        "`repeats` is a number, a dimension, or a list with a number for each element of an axis of known length."
        + example("gc.repeat([1, 2], 2)", "array([1, 1, 2, 2])"),
        define=_repeat,
        reference=np.repeat,
        dtypes=ALL,
        samples=(
            Sample((_X, 2), {"axis": 1}),
            Sample((_X, 3)),
            Sample((_X, 0), {"axis": -1}),
            Sample((Array((3,)), [2, 0, 1])),
            Sample((_X, [2]), {"axis": 0}),
            Sample((Array(()), 2)),
            Sample((Array((0, 3)), 2), {"axis": 0}),
        ),
        rejects=(
            Reject((_X, 2), ShapeError, "axis 3 does not exist", {"axis": 3}),
            Reject((_X, [1, 2]), ShapeError, "2 numbers of repeats for an axis of length 3", {"axis": 1}),
            Reject((_X, [-1]), DeclarationError, ">= 0"),
            Reject((_X, Array((), kind="index")), DeclarationError, "never depends on values"),
            Reject((_X, -1), ShapeError, ">= 0"),
        ),
        tf=lambda tf, x, repeats, axis=None: tf.repeat(x, repeats, axis),
    )
)


def _tile(b: Any, x: Any, repetitions: Any, /) -> Any:
    node = b.convert(x)
    times = [as_dim(t) for t in (repetitions if isinstance(repetitions, (tuple, list)) else (repetitions,))]
    rank = max(node.ndim, len(times))
    shape = (*(1,) * (rank - node.ndim), *node.shape)
    times = [*[1] * (rank - len(times)), *times]
    apart = b.reshape(node, tuple(d for size in shape for d in (1, size)))
    spread = b.broadcast_to(apart, tuple(d for pair in zip(times, shape, strict=True) for d in pair))
    return b.reshape(spread, tuple(t * size for t, size in zip(times, shape, strict=True)))


register(
    Op(
        name="tile",
        doc="The operand side by side with itself, `repetitions` times along each axis, counted from the last."
        + example("gc.tile([1, 2], (2, 2))", "array([[1, 2, 1, 2],\n       [1, 2, 1, 2]])"),
        define=_tile,
        reference=np.tile,
        dtypes=ALL,
        samples=(
            Sample((_X, 2)),
            Sample((_X, (2, 1, 3))),
            Sample((Array((3,)), (2, 2))),
            Sample((Array(()), (2, 3))),
            Sample((Array((2, 3)), (0, 1))),
            Sample((Array((0, 3)), 2)),
            Sample((_X, ())),
        ),
        rejects=(Reject((_X, -1), ShapeError, ">= 0"), Reject((_X, 1.5), ShapeError, "1.5")),
    )
)
