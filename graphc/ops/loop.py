"""The record of loops over the positions of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import is_nonnegative
from graphc.errors import InputError
from graphc.graph import Node
from graphc.op import Attrs, Family, Op, register
from graphc.ops.loop_adjoint import cotangents
from graphc.ops.loop_parts import (
    POSITION,
    Loop,
    check_carries,
    check_slots,
    constraints_of,
    in_iteration,
    iteration_told,
)
from graphc.ops.rules import meet
from graphc.types import Constraint, TensorType

Types = tuple[TensorType, ...]


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    body, count, length = attrs["body"], attrs["carries"], attrs["length"]
    inits, arrays = types[:count], types[count : count + attrs["arrays"]]
    for t in arrays:
        meet(length, t.shape[0], found, "the leading axes of xs must have the length of the loop")
    if not is_nonnegative(length):
        found.append(Constraint(length, ">=", 0, "the number of steps must be >= 0"))
    elements = [TensorType(t.dtype, t.shape[1:]) for t in arrays]
    check_slots(body, (POSITION, *inits, *elements, *types[count + len(arrays) :]))
    check_carries(body.outputs[:count], inits)
    found += constraints_of(body)
    return (*inits, *(TensorType(o.dtype, (length, *o.shape)) for o in body.outputs[count:]))


def _run(*operands: Any, body: Any, carries: int, arrays: int, length: int, reverse: bool, again: bool) -> Any:
    state, rows, givens = operands[:carries], operands[carries : carries + arrays], operands[carries + arrays :]
    ys = [np.empty((length, *shape), dtype) for dtype, shape in body.types[carries:]]
    for k in reversed(range(length)) if reverse else range(length):
        try:
            found = body(np.int64(k), *state, *(row[k] for row in rows), *givens)
        except InputError as error:
            raise in_iteration(error, iteration_told(k, again, length)) from None
        state = found[:carries]
        for y, value in zip(ys, found[carries:], strict=True):
            y[k] = value
    every = (*state, *ys)
    return every if len(every) > 1 else every[0]


def _adjoint(b: Any, g: Any, y: Any, *operands: Node, wanted: Sequence[bool], **attrs: Any) -> Sequence[Node | None]:
    node = y if isinstance(y, Node) else y[0].operands[0]
    return cotangents(b, Loop.of(node), g if isinstance(g, tuple) else (g,), wanted)


register(
    Op(
        name="_loop",
        doc="The body once for each position of the leading axis; carries go from one run to the next.",
        family=Family.LOOP,
        infer=_infer,
        reference=_run,
        adjoint=_adjoint,
    )
)
