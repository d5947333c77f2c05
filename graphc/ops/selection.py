"""Selection: the k largest or smallest elements along an axis, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import ShapeError
from graphc.op import Array, Attrs, Family, Job, Op, Reject, Sample, register
from graphc.ops.index import along_axis, read
from graphc.ops.movement import ALL
from graphc.ops.order import positions_in_order
from graphc.ops.reduce import CUBE
from graphc.ops.rules import letters, no_cotangents
from graphc.ops.samples import example
from graphc.types import Constraint, TensorType, as_dim, int64, normalize_axis

Types = tuple[TensorType, ...]


def _top_k(b: Any, x: Any, k: Any, /, *, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    node = b.convert(x)
    along = normalize_axis(axis, node.ndim, "top_k")
    at = b.primitive("_top_k", (node,), axis=along, k=as_dim(k), largest=bool(largest))
    return read(b, node, (at,), along_axis(node.ndim, along), ("inside",)), at


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    shape, axis, k = types[0].shape, attrs["axis"], attrs["k"]
    room: Dim = shape[axis] - k
    if isinstance(room, int) and room < 0:
        raise ShapeError(f"k is {k}, but axis {axis} has length {shape[axis]}")
    if not isinstance(room, int):
        found.append(Constraint(shape[axis], ">=", k, f"axis {axis} must have k elements"))
    return (TensorType(int64, (*shape[:axis], k, *shape[axis + 1 :])),)


def _job(attrs: Attrs, ndim: int) -> Job:
    labels = letters(ndim)
    own = labels[attrs["axis"]]
    name = "largest" if attrs["largest"] else "smallest"
    return Job(name, (labels, labels.replace(own, "z")), labels.replace(own, ""))


def _positions(x: Any, axis: int, k: int, largest: bool) -> Any:
    return np.take(positions_in_order(x, axis, largest), np.arange(k), axis)


def _selected(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    at = _positions(x, axis, k, largest)
    return np.take_along_axis(x, at, axis), at


_DISTINCT = Array(CUBE.shape, distinct=True)

register(
    Op(
        name="_top_k",
        doc="The positions, int64, of the `k` largest or smallest elements along `axis`, from the most extreme one on.",
        family=Family.KERNEL,
        job=_job,
        infer=_infer,
        reference=_positions,
        adjoint=no_cotangents,
        dtypes=ALL,
    )
)

register(
    Op(
        name="top_k",
        doc="The `k` largest elements along `axis`, the largest first, and their positions, int64, as a tuple; where "
        "not `largest` the smallest, the smallest first.\n\n"
        "Both have length k there.  Of equal elements, -0.0 and 0.0 too, those with lower positions come first; NaN is "
        "above all numbers.  `k` is a dimension; more than the axis has are an error, at the call if one is symbolic."
        + example("gc.top_k([3, 1, 4, 4], 2)", "(array([4, 4]), array([2, 3]))"),
        define=_top_k,
        reference=_selected,
        dtypes=ALL,
        samples=(
            Sample((Array((3, 7), distinct=True), 2)),
            Sample((_DISTINCT, 1), {"axis": 0}),
            Sample((_DISTINCT, 2), {"axis": 1, "largest": False}),
            Sample((Array((300,), -4.0, 4.0, distinct=True), 4), {"largest": False}),
            Sample((Array((1,)), 1)),
            Sample((Array((4, 3)), 0), {"axis": 0}),
            Sample((Array((3, 0)), 0)),
            Sample((Array((0, 3)), 2), {"largest": False}),
        ),
        rejects=(
            Reject((CUBE, 1), ShapeError, "axis 3 does not exist", {"axis": 3}),
            Reject((Array((2, 3)), 4), ShapeError, "k is 4, but axis 1 has length 3"),
            Reject((Array((2, 3)), -1), ShapeError, ">= 0"),
            Reject((Array((2, 3)), 1.5), ShapeError, "a dimension is an int"),
            Reject((Array(()), 1), ShapeError, "0-d"),
        ),
    )
)
