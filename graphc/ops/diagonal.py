"""Diagonals of matrices, taken out and put in, and triangles.

The primitives have the attribute `offset`, how far to the right of the first element the diagonal begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, dim_max, dim_min
from graphc.errors import DeclarationError, ShapeError
from graphc.op import Array, Attrs, Family, Op, Piece, Reject, Sample, register
from graphc.ops.movement import ALL
from graphc.ops.samples import example
from graphc.types import Constraint, Shape, TensorType, bool_, int64, is_int, normalize_axis

Types = tuple[TensorType, ...]


# The primitives.


def _corner(offset: int) -> tuple[int, int]:
    """Row and column of a diagonal's first element."""
    return max(-offset, 0), max(offset, 0)


def _infer_taken(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    *batch, rows, columns = types[0].shape
    down, right = _corner(attrs["offset"])
    return (TensorType(types[0].dtype, (*batch, dim_max(dim_min(rows - down, columns - right), 0))),)


def _access_taken(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    down, right = _corner(attrs["offset"])
    return [Piece(0, (*index[:-1], index[-1] + down, index[-1] + right))]


def _infer_put(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    return (TensorType(types[0].dtype, (*types[0].shape[:-1], *attrs["matrix"])),)


def _access_put(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    *batch, i, j = index
    down, _ = _corner(attrs["offset"])
    return [Piece(0, (*batch, i - down), ((i - down, 0, shapes[0][-1]), (j - i - attrs["offset"], 0, 1)))]


def _put(x: Any, offset: int, matrix: Any, fill: Any) -> Any:
    out, place = np.full((*x.shape[:-1], *matrix), fill, x.dtype), np.arange(x.shape[-1])
    down, right = _corner(offset)
    out[..., place + down, place + right] = x
    return out


register(
    Op(
        name="_diagonal",
        doc="Element i along the last axis is element (i, i + offset), or (i - offset, i), of the last two axes.",
        family=Family.MOVEMENT,
        infer=_infer_taken,
        reference=lambda x, offset: np.diagonal(x, offset, -2, -1),
        access=_access_taken,
        adjoint=lambda b, g, y, x, *, offset: (_on_diagonal(b, g, offset, x.shape[-2:]),),
    )
)

register(
    Op(
        name="_on_diagonal",
        doc="Matrices of `fill`, with rows and columns as `matrix` tells, and the last axis's elements on a diagonal.",
        family=Family.MOVEMENT,
        infer=_infer_put,
        reference=_put,
        access=_access_put,
        adjoint=lambda b, g, y, x, *, offset, matrix, fill: (b.primitive("_diagonal", (g,), offset=offset),),
    )
)


def _on_diagonal(b: Any, x: Any, offset: int, matrix: Shape) -> Any:
    fill = {"f": 0.0, "b": False}.get(x.dtype.kind, 0)
    return b.primitive("_on_diagonal", (x,), offset=offset, matrix=matrix, fill=fill)


# The public functions.


def _as_offset(value: Any) -> int:
    if not is_int(value):
        raise DeclarationError(f"the offset of a diagonal is an int, got {value!r}")
    return int(value)


def _diagonal(b: Any, x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    node = b.convert(x)
    if node.ndim < 2:
        raise ShapeError("a matrix has at least two axes")
    first, second = (normalize_axis(k, node.ndim, "diagonal") for k in (axis1, axis2))
    if first == second:
        raise ShapeError(f"a diagonal needs two axes, got {axis1} and {axis2}")
    others = tuple(k for k in range(node.ndim) if k not in (first, second))
    return b.primitive("_diagonal", (b.permute_dims(node, (*others, first, second)),), offset=_as_offset(offset))


def _diag(b: Any, x: Any, /, k: int = 0) -> Any:
    node, offset = b.convert(x), _as_offset(k)
    if node.ndim not in (1, 2):
        raise ShapeError("diag takes one axis or two; of more, write gc.diagonal")
    if node.ndim == 2:
        return b.primitive("_diagonal", (node,), offset=offset)
    size = node.shape[0] + abs(offset)
    return _on_diagonal(b, node, offset, (size, size))


_CUBE, _MATRIX = Array((2, 3, 4)), Array((3, 4))
_NO_MATRIX = (
    Reject((Array((3,)),), ShapeError, "at least two axes"),
    Reject((_CUBE,), ShapeError, "axis 3 does not exist", {"axis2": 3}),
    Reject((_CUBE,), ShapeError, "two axes, got 1 and -2", {"axis1": 1, "axis2": -2}),
    Reject((_CUBE, 0.5), DeclarationError, "is an int"),
)
_DIAGONALS = (
    Sample((_MATRIX,)),
    Sample((_MATRIX, 2)),
    Sample((_MATRIX, -1)),
    Sample((_MATRIX, 7)),
    Sample((_CUBE,), {"offset": 1, "axis1": 2, "axis2": 0}),
    Sample((Array((0, 3)),)),
)

register(
    Op(
        name="diagonal",
        doc="The elements at (i, i + offset) of two axes, along a new last axis."
        + example("gc.diagonal([[1, 2], [3, 4]])", "array([1, 4])"),
        define=_diagonal,
        reference=np.diagonal,
        dtypes=ALL,
        samples=_DIAGONALS,
        rejects=_NO_MATRIX,
    )
)

register(
    Op(
        name="diag",
        doc="Of one axis a matrix with it on the diagonal `k` places to the right, of two axes that diagonal."
        + example("gc.diag([1, 2])", "array([[1, 0],\n       [0, 2]])"),
        define=_diag,
        reference=np.diag,
        dtypes=ALL,
        samples=(
            Sample((Array((3,)),)),
            Sample((Array((3,)), 1)),
            Sample((Array((2,)), -2)),
            Sample((Array((0,)),)),
            *_DIAGONALS[:4],
        ),
        rejects=(
            Reject((_CUBE,), ShapeError, "gc.diagonal"),
            Reject((_MATRIX, True), DeclarationError, "is an int"),
        ),
    )
)

register(
    Op(
        name="trace",
        doc="The sum of a diagonal; integers and bool are added in 64 bits."
        + example("gc.trace([[1, 2], [3, 4]])", "array(5)"),
        define=lambda b, x, /, offset=0, axis1=0, axis2=1: b.sum(_diagonal(b, x, offset, axis1, axis2), axis=-1),
        reference=lambda x, offset=0, axis1=0, axis2=1: np.sum(np.diagonal(x, offset, axis1, axis2), axis=-1),
        dtypes=ALL,
        samples=_DIAGONALS,
        rejects=_NO_MATRIX,
    )
)


def _triangle(lower: bool) -> Any:
    def define(b: Any, x: Any, /, k: Any = 0) -> Any:
        node = b.convert(x)
        if node.ndim < 2:
            raise ShapeError("a matrix has at least two axes")
        row, column = (b.primitive("_iota", (), start=0, size=d, dtype=int64) for d in node.shape[-2:])
        edge = b.expand_dims(row, 1) + k
        inside = b.less_equal(column, edge) if lower else b.greater_equal(column, edge)
        return b.where(inside, node, False if node.dtype == bool_ else 0)

    return define


for _name, _where, _gives in (("tril", "right of", "[1, 0]"), ("triu", "left of", "[1, 2]")):
    _second = "[3, 4]" if _name == "tril" else "[0, 4]"
    register(
        Op(
            name=_name,
            doc=f"The matrices of the last two axes, 0 {_where} the diagonal that begins `k` places to the right."
            + example(f"gc.{_name}([[1, 2], [3, 4]])", f"array([{_gives},\n       {_second}])"),
            define=_triangle(_name == "tril"),
            reference=getattr(np, _name),
            dtypes=ALL,
            samples=(
                Sample((_MATRIX,)),
                Sample((_MATRIX, 1)),
                Sample((_CUBE,), {"k": -1}),
                Sample((Array((0, 3)),)),
            ),
            rejects=(Reject((Array((3,)),), ShapeError, "at least two axes"),),
        )
    )
