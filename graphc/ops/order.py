"""Sorting along an axis: the elements, and their positions.  Every sort is stable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.op import Array, Attrs, Family, Op, Reject, Sample, register
from graphc.ops.cumulative import along
from graphc.ops.index import along_axis, updated
from graphc.ops.movement import ALL
from graphc.ops.reduce import CUBE
from graphc.ops.rules import no_cotangents
from graphc.ops.samples import example
from graphc.types import Constraint, TensorType, int64, normalize_axis

Types = tuple[TensorType, ...]


def _sort(b: Any, x: Any, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Any:
    node = b.convert(x)
    k = normalize_axis(axis, node.ndim, "sort")
    return _turned(b, lambda n: b.primitive("sort", (n,), axis=k), node, k, descending)


def _argsort(b: Any, x: Any, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Any:
    node = b.convert(x)
    k = normalize_axis(axis, node.ndim, "argsort")
    found = _turned(b, lambda n: b.primitive("argsort", (n,), axis=k), node, k, descending)
    return node.shape[k] - 1 - found if descending else found


def _turned(b: Any, sort: Callable[[Any], Any], x: Any, axis: int, descending: bool) -> Any:
    """A sort from the end to the start, so that equal elements keep their order where the largest comes first."""
    return b.flip(sort(b.flip(x, axis=axis)), axis=axis) if descending else sort(x)


def _infer_sort(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    return (types[0],)


def _infer_argsort(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    return (TensorType(int64, types[0].shape),)


def _back(b: Any, g: Any, y: Any, x: Any, *, axis: int) -> tuple[Any]:
    """Each cotangent where its element came from."""
    zeros, along = b.zeros(x.shape, dtype=x.dtype), along_axis(x.ndim, axis)
    return (updated(b, zeros, g, (b.argsort(x, axis=axis),), along, ("inside",), "add", True),)


def _ordered(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    return np.take_along_axis(x, positions_in_order(x, axis, descending), axis)


def positions_in_order(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """NumPy's, stable; NaN is above all numbers."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


def _tf(name: str) -> Callable[..., Any]:
    def call(tf: Any, x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
        if name == "sort" and 0 in x.shape:  # of nothing it has no gradient
            return tf.identity(x)
        more = {"stable": True} if name == "argsort" else {}
        return getattr(tf, name)(x, axis, "DESCENDING" if descending else "ASCENDING", **more)

    return call


_SAMPLES = (
    Sample((Array((3, 5), distinct=True),)),
    Sample((Array(CUBE.shape, distinct=True),), {"axis": 0}),
    Sample((Array(CUBE.shape, distinct=True),), {"axis": 1, "descending": True}),
    Sample((Array((70, 2), distinct=True),), {"axis": 0}),
    Sample((Array((1,)),)),
    Sample((Array((0, 3)),), {"axis": 0}),
    Sample((Array((3, 0)),), {"descending": True}),
)
_REJECTS = (
    Reject((CUBE,), ShapeError, "axis 3 does not exist", {"axis": 3}),
    Reject((CUBE,), ShapeError, "an axis is an int", {"axis": None}),
    Reject((Array(()),), ShapeError, "0-d"),
)
_ORDER = (
    "\n\nEqual elements keep their order, -0.0 and 0.0 too; NaN comes last, and where `descending` first.  "
    "Every sort is stable, so that `stable` changes nothing."
)

register(
    Op(
        name="sort",
        doc="The elements along `axis` in rising order, or `descending`."
        + _ORDER
        + example("gc.sort([[3, 1, 2]])", "array([[1, 2, 3]])"),
        family=Family.KERNEL,
        job=along("sort", 1),
        infer=_infer_sort,
        define=_sort,
        reference=_ordered,
        adjoint=_back,
        dtypes=ALL,
        samples=_SAMPLES,
        rejects=_REJECTS,
        tf=_tf("sort"),
    )
)

register(
    Op(
        name="argsort",
        doc="The positions, int64, of the elements along `axis` in rising order, or `descending`."
        + _ORDER
        + example("gc.argsort([[3, 1, 2]])", "array([[1, 2, 0]])"),
        family=Family.KERNEL,
        job=along("argsort", 1),
        infer=_infer_argsort,
        define=_argsort,
        reference=positions_in_order,
        adjoint=no_cotangents,
        dtypes=ALL,
        samples=_SAMPLES,
        rejects=_REJECTS,
        tf=_tf("argsort"),
    )
)
