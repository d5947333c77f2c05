"""Segments: rows that belong together by their labels, added up or the like.

A label is a whole number from 0 on.  One that is negative or too large is an error at the call, or is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dims import same
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.index import labels_on, updated
from graphc.ops.samples import example
from graphc.types import FLOATS, INTEGERS, as_dim, float64, int64, shape_text

NUMBERS = (*FLOATS, *INTEGERS)


def _least(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _greatest(dtype: Any) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


_START: dict[str, Callable[[Any], Any]] = {
    "add": lambda dtype: 0,
    "multiply": lambda dtype: 1,
    "maximum": _least,
    "minimum": _greatest,
}
_UFUNCS = {"add": np.add, "multiply": np.multiply, "minimum": np.minimum, "maximum": np.maximum}


def _segments(b: Any, data: Any, labels: Any, count: Any, combine: str, mode: str | None) -> Any:
    size, rank = as_dim(count), labels.ndim
    leading = data.shape[:rank]
    if not rank or rank > data.ndim or any(same(d, e) is False for d, e in zip(labels.shape, leading, strict=True)):
        raise ShapeError(
            f"there is a label for each row: the labels have shape {shape_text(labels.shape)}, the data "
            f"{shape_text(data.shape)}"
        )
    if data.dtype.kind == "b":
        raise DTypeError("operand 0 is bool; convert it with gc.astype")
    at, how = labels_on(b, labels, mode)
    rest = data.shape[rank:]
    whole = b.broadcast_to(b.constant(_START[combine](data.dtype.numpy), data.dtype), (size, *rest))
    along = (-1, *range(rank, data.ndim))
    at = b.reshape(at, (*labels.shape, *[1] * len(rest)))
    return updated(b, whole, b.broadcast_to(data, (*labels.shape, *rest)), (at,), along, (how,), combine)


def _define(combine: str) -> Callable[..., Any]:
    def define(b: Any, data: Any, segment_ids: Any, num_segments: Any, /, *, mode: str | None = None) -> Any:
        return _segments(b, b.convert(data), b.convert(segment_ids), num_segments, combine, mode)

    return define


def _reference(combine: str) -> Callable[..., Any]:
    def call(data: Any, labels: Any, num_segments: int, mode: str | None = None) -> Any:
        segment_ids = np.asarray(labels)
        out = np.full((num_segments, *data.shape[segment_ids.ndim :]), _START[combine](data.dtype), data.dtype)
        kept = (segment_ids >= 0) & (segment_ids < num_segments)
        _UFUNCS[combine].at(out, segment_ids[kept], data[kept])
        return out

    return call


def _tf(name: str) -> Callable[..., Any]:
    def call(tf: Any, data: Any, segment_ids: Any, num_segments: int, mode: str | None = None) -> Any:
        segment_ids = tf.convert_to_tensor(segment_ids)
        labels = tf.where(segment_ids < num_segments, segment_ids, -1)
        return getattr(tf.math, f"unsorted_segment_{name}")(data, labels, num_segments)

    return call


_X = Array((6, 3), 0.5, 2.0, distinct=True)
_FULL = (  # of infinite values there is no slope
    Sample((_X, [0, 3, 1, 2, 0, 0], 4)),
    Sample((_X, [1, -1, 0, 7, 0, 0], 2), {"mode": "drop"}),
    Sample((Array((2, 3, 2), 0.5, 2.0, distinct=True), [[0, 1, 0], [1, 1, 0]], 2)),
    Sample((Array((5,), 0.5, 2.0, distinct=True), Array((5,), 0, 1, "index"), 1)),
)
_SAMPLES = (
    *_FULL,
    Sample((_X, Array((6,), 0, 4, "index"), 4)),
    Sample((_X, Array((6,), -3, 9, "index"), 4), {"mode": "drop"}),
    Sample((Array((0, 3)), Array((0,), 0, 3, "index"), 2)),
)
_REJECTS = (
    Reject((_X, Array((6,)), 4), DTypeError, "labels are integers"),
    Reject((_X, Array((5,), kind="index"), 4), ShapeError, "the labels have shape [5], the data [6, 3]"),
    Reject((_X, Array((6,), kind="index"), -1), ShapeError, ">= 0"),
    Reject((Array((6,), kind="bool"), Array((6,), kind="index"), 4), DTypeError, "is bool"),
    Reject((_X, Array((6,), kind="index"), 4), DeclarationError, "mode is None", {"mode": "clip"}),
)
_SAYS = (
    "\n\nThe labels have the shape of the data's leading axes; the result has `num_segments` rows.  A label that is "
    "not 0 ... num_segments - 1 is an error, or left out with `mode` 'drop'.  A segment without rows is "
)
for _name, _combine, _what, _empty, _gives in (
    ("sum", "add", "The sum", "0.", "array([ 1, 11,  0])"),
    ("prod", "multiply", "The product", "1.", "array([ 1, 30,  1])"),
    ("max", "maximum", "The greatest", "-inf, or the least integer.", "array([1, 6])"),
    ("min", "minimum", "The least", "inf, or the greatest integer.", "array([1, 5])"),
):
    _count = 2 if _name in ("max", "min") else 3
    register(
        Op(
            name=f"segment_{_name}",
            doc=f"{_what} of the rows of each segment: of those whose label is its number."
            + _SAYS
            + _empty
            + example(f"gc.segment_{_name}([1, 5, 6], [0, 1, 1], {_count})", _gives),
            define=_define(_combine),
            reference=_reference(_combine),
            dtypes=NUMBERS,
            samples=_FULL if _name in ("max", "min") else _SAMPLES,
            rejects=_REJECTS,
            tf=_tf(_name),
        )
    )


def _bincount(b: Any, x: Any, /, weights: Any = None, *, length: Any = None, mode: str | None = None) -> Any:
    labels = b.convert(x)
    if length is None:
        raise DeclarationError("the number of bins would depend on the values; give it as length")
    if labels.ndim != 1:
        raise ShapeError(f"labels have one axis, got {shape_text(labels.shape)}")
    if weights is None:
        amounts = b.ones(labels.shape, dtype=int64)
    else:
        amounts = b.convert(weights)
        amounts = amounts if amounts.dtype.is_float else b.astype(amounts, float64)
        if amounts.ndim != 1:
            raise ShapeError(f"there is a weight for each label, got {shape_text(amounts.shape)}")
    return _segments(b, amounts, labels, length, "add", mode)


def _counted(x: Any, weights: Any = None, length: int = 0, mode: str | None = None) -> Any:
    kept = (x >= 0) & (x < length)
    if weights is None:
        return np.bincount(x[kept], minlength=length)
    out = np.bincount(x[kept], weights[kept], minlength=length)
    return out.astype(weights.dtype if weights.dtype.kind == "f" else np.float64)


register(
    Op(
        name="bincount",
        doc="How often each of 0 ... length - 1 occurs in x, or the sum of its weights.\n\n"
        "Counts are int64; weights keep their float dtype, others are added in float64.  `length`, which must be "
        "given, is the number of bins.  Another value in x is an error, or left out with `mode` 'drop'."
        + example("gc.bincount([0, 2, 2], length=4)", "array([1, 0, 2, 0])"),
        define=_bincount,
        reference=_counted,
        dtypes=INTEGERS,
        samples=(
            Sample((Array((9,), 0, 5),), {"length": 5}),
            Sample((Array((9,), 0, 5), Array((9,), kind="float")), {"length": 6}),
            Sample((Array((9,), -3, 9), Array((9,), 0, 5, kind="index")), {"length": 4, "mode": "drop"}),
            Sample((Array((0,), 0, 5),), {"length": 2}),
        ),
        rejects=(
            Reject((Array((3,), kind="index"),), DeclarationError, "give it as length"),
            Reject((Array((3,)),), DTypeError, "labels are integers", {"length": 3}),
            Reject((Array((3, 2), kind="index"),), ShapeError, "one axis", {"length": 3}),
            Reject((Array((3,), kind="index"), Array((2,))), ShapeError, "a label for each row", {"length": 3}),
            Reject((Array((3,), kind="index"), 1.0), ShapeError, "a weight for each label", {"length": 3}),
        ),
    )
)
