"""Shape and dtype rules that whole families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.dims import Dim, same
from graphc.errors import DTypeError, ShapeError
from graphc.op import Attrs, Infer
from graphc.types import Constraint, DType, TensorType, broadcast


def require(types: Sequence[TensorType], allowed: Sequence[DType]) -> None:
    """Raise DTypeError unless every operand has an allowed dtype and all have the same."""
    dtypes = [t.dtype for t in types]
    if dtypes[0] in allowed and dtypes.count(dtypes[0]) == len(dtypes):
        return
    for k, t in enumerate(types):
        if t.dtype not in allowed:
            names = ", ".join(str(d) for d in allowed)
            raise DTypeError(f"operand {k} is {t.dtype}, but it takes {names}; convert it with gc.astype")
        if t.dtype != types[0].dtype:
            raise DTypeError(f"operands are {types[0].dtype} and {t.dtype}; convert one with gc.astype")


def elementwise(allowed: Sequence[DType], result: DType | None = None, results: int = 1) -> Infer:
    """Operands of one allowed dtype broadcast; results have that dtype, or `result`."""

    def infer(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
        require(types, allowed)
        first, shape = types[0], broadcast([t.shape for t in types], found)
        kept = shape is first.shape and result in (None, first.dtype)
        return (first if kept else TensorType(result or first.dtype, shape),) * results

    return infer


def meet(p: Dim, q: Dim, found: list[Constraint], text: str) -> Dim:
    """The dimension that p and q both are; `text` says why they must be equal, in the error or in the constraint."""
    equal = same(p, q)
    if equal is False:
        raise ShapeError(f"{text}, got {p} and {q}")
    if equal is None:
        found.append(Constraint(p, "==", q, text))
    return q if isinstance(q, int) else p


def letters(count: int) -> str:
    """A label for each of so many axes, for a Job."""
    return "".join(chr(ord("a") + k) for k in range(count))


def no_cotangents(b: Any, g: Any, y: Any, *operands: Any, **attrs: Any) -> tuple[None, ...]:
    """The adjoint of a piecewise constant function."""
    return (None,) * len(operands)
