"""Searching among elements in rising order."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Attrs, Family, Job, Op, Reject, Sample, register
from graphc.ops.rules import letters, no_cotangents, require
from graphc.ops.samples import example
from graphc.types import FLOATS, INTEGERS, Constraint, TensorType, int64, shape_text

NUMBERS = (*FLOATS, *INTEGERS)
_SIDES = ("left", "right")


def _infer(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    require(types, NUMBERS)
    return (TensorType(int64, types[1].shape),)


def _job(attrs: Attrs, ndim: int) -> Job:
    labels = letters(ndim)
    return Job(f"search_{attrs['side']}", ("z", labels, labels), labels)


def _searchsorted(b: Any, x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    x, values = b.convert(x1), b.convert(x2)
    if side not in _SIDES:
        raise DeclarationError(f"side is 'left' or 'right', got {side!r}")
    if x.ndim != 1:
        raise ShapeError(f"operand 0 has one axis, along which it rises, got {shape_text(x.shape)}")
    for k, node in enumerate((x, values)):
        if node.dtype.kind == "b":
            raise DTypeError(f"operand {k} is bool; convert it with gc.astype")
    if sorter is not None:
        x = b.take(x, sorter, axis=0)
    return b.primitive("searchsorted", b.promoted(x, values), side=side)


def _reference(x1: Any, x2: Any, side: Any = "left", sorter: Any = None) -> Any:
    return np.asarray(np.searchsorted(x1, x2, side, sorter), np.int64)


def _tf(tf: Any, x1: Any, x2: Any, side: str = "left", sorter: Any = None) -> Any:
    x1 = x1 if sorter is None else tf.gather(x1, sorter)
    found = tf.searchsorted(tf.cast(x1, "float64"), tf.reshape(tf.cast(x2, "float64"), [-1]), side, "int64")
    return tf.reshape(found, x2.shape)


_RISING = [-1.5, -0.5, -0.5, 0.0, 0.25, 1.0, 1.0, 1.5]

register(
    Op(
        name="searchsorted",
        doc="Where each of x2 belongs among the elements of x1, which rise: how many of them come before it.\n\n"
        "int64, of the shape of x2.  With side 'right', elements equal to it come before it too.  `sorter` has the "
        "positions that put x1 in order.  NaN comes last, as in sort.  If x1 does not rise, the result is any of "
        "0 ... n." + example("gc.searchsorted([1, 3, 3, 5], [3, 9], side='right')", "array([3, 4])"),
        family=Family.KERNEL,
        job=_job,
        infer=_infer,
        define=_searchsorted,
        reference=_reference,
        adjoint=no_cotangents,
        dtypes=NUMBERS,
        samples=(
            Sample((_RISING, Array((4, 3)))),
            Sample((_RISING, Array((20,))), {"side": "right"}),
            Sample((Array((1,)), Array(())), {"side": "right"}),
            Sample((Array((0,)), Array((3,)))),
            Sample((Array((5,), distinct=True), Array((3, 0)))),
            Sample(([1.5, 0.25, 1.0], Array((6,))), {"sorter": [1, 2, 0]}),
        ),
        rejects=(
            Reject((_RISING, Array((3,))), DeclarationError, "side is 'left' or 'right'", {"side": "both"}),
            Reject((Array((3, 2)), Array((3,))), ShapeError, "one axis"),
            Reject((Array((3,), kind="bool"), Array((3,))), DTypeError, "operand 0 is bool"),
            Reject((_RISING, Array((3,))), DTypeError, "positions are integers", {"sorter": Array((8,))}),
        ),
        tf=_tf,
    )
)
