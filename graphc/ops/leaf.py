"""Leaves: inputs, parameters, constants, and values computed from their position."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.op import Attrs, Family, Op, Sample, register
from graphc.ops.samples import example
from graphc.types import FLOATS, INTEGERS, Constraint, TensorType, as_dtype, as_shape, int64


def _as_attrs(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    return (attrs["type"],)


def _no_reference(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("the interpreter is given the values of inputs and parameters")


INPUT = register(
    Op(
        name="input",
        doc="A value given at the call.",
        family=Family.LEAF,
        infer=_as_attrs,
        reference=_no_reference,
    )
)

PARAMETER = register(
    Op(
        name="parameter",
        doc="A value that compiled functions share and update.",
        family=Family.LEAF,
        infer=_as_attrs,
        reference=_no_reference,
    )
)


def _infer_constant(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    array = attrs["value"].array
    return (TensorType(as_dtype(array.dtype), array.shape),)


CONSTANT = register(
    Op(
        name="constant",
        doc="A value that never changes.",
        family=Family.LEAF,
        infer=_infer_constant,
        reference=lambda value: value.array,
    )
)


def _infer_iota(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    if attrs["dtype"] not in (*FLOATS, *INTEGERS):
        raise DTypeError(f"positions can't be {attrs['dtype']}; write an integer or float dtype")
    return (TensorType(attrs["dtype"], (attrs["size"],)),)


IOTA = register(
    Op(
        name="_iota",
        doc="start, start + 1, ... start + size - 1.",
        family=Family.INDEX,
        infer=_infer_iota,
        reference=lambda start, size, dtype: np.arange(start, start + size).astype(dtype.numpy),
        body="i",
    )
)

register(
    Op(
        name="zeros",
        doc="An array of zeros; `shape` may hold symbolic dimensions."
        + example("gc.zeros((2,))", "array([0., 0.])"),
        define=lambda b, shape, *, dtype="float64": b.broadcast_to(b.constant(0, dtype=dtype), as_shape(shape)),
        reference=lambda shape, dtype="float64": np.zeros(shape, dtype),
        samples=(Sample(((2, 3),)), Sample(((0, 2),), {"dtype": "int32"})),
        tf=lambda tf, shape, dtype="float64": tf.zeros(shape, dtype),
    )
)

register(
    Op(
        name="ones",
        doc="An array of ones; `shape` may hold symbolic dimensions."
        + example('gc.ones((2,), dtype="int32")', "array([1, 1], dtype=int32)"),
        define=lambda b, shape, *, dtype="float64": b.broadcast_to(b.constant(1, dtype=dtype), as_shape(shape)),
        reference=lambda shape, dtype="float64": np.ones(shape, dtype),
        samples=(Sample(((2, 3),)),),
        tf=lambda tf, shape, dtype="float64": tf.ones(shape, dtype),
    )
)

register(
    Op(
        name="arange",
        doc="The integers 0, 1, ... size - 1; `size` may be a symbolic dimension."
        + example("gc.arange(4)", "array([0, 1, 2, 3])"),
        define=lambda b, size, *, dtype=int64: b.primitive(
            "_iota", (), start=0, size=as_shape(size)[0], dtype=as_dtype(dtype)
        ),
        reference=lambda size, dtype="int64": np.arange(size, dtype=str(dtype)),
        samples=(Sample((5,)), Sample((4,), {"dtype": "float32"})),
        tf=lambda tf, size, dtype="int64": tf.range(size, dtype=str(dtype)),
    )
)
