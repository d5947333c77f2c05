"""Leaves: inputs, parameters, constants, and positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.op import Attrs, Family, Op, register
from graphc.types import FLOATS, INTEGERS, Constraint, TensorType, as_dtype


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
