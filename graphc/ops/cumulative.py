"""Cumulative sums and products: scans along one axis, and the recurrence that differentiates products.

`axis` of a primitive is a non-negative int; the result has the operand's shape.  With `reverse` it begins at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import DTypeError, ShapeError
from graphc.op import Array, Attrs, Family, Job, Op, Reject, Sample, register
from graphc.ops.reduce import CUBE, NUMBERS, widened
from graphc.ops.rules import letters, meet, require
from graphc.ops.samples import example
from graphc.types import FLOATS, Constraint, TensorType, as_dtype, bool_, normalize_axis


def along(kernel: str, operands: int) -> Callable[[Attrs, int], Job]:
    """The job of a kernel that runs along one axis of its operands; around it are loops over all others."""

    def job(attrs: Attrs, ndim: int) -> Job:
        labels = letters(ndim)
        batch = labels.replace(labels[attrs["axis"]], "")
        return Job(kernel, (labels,) * (operands + 1), batch, bool(attrs.get("reverse")))

    return job


def _infer(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    require(types, NUMBERS)
    return (types[0],)


def _define(name: str, initial: int) -> Callable[..., Any]:
    def define(b: Any, x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
        node = b.convert(x)
        if axis is None and node.ndim != 1:
            raise ShapeError(f"{name} of an array of {node.ndim} axes needs to be told along which: give axis")
        k = normalize_axis(0 if axis is None else axis, node.ndim, name)
        node = widened(b, node) if dtype is None else b.astype(node, as_dtype(dtype))
        out = b.primitive(name, (node,), axis=k, reverse=False)
        return b.pad(out, _widths(node, k, 1, 0), constant_values=initial) if include_initial else out

    return define


def _widths(x: Any, axis: int, before: int, behind: int) -> list[tuple[int, int]]:
    return [(before, behind) if k == axis else (0, 0) for k in range(x.ndim)]


def _shifted(b: Any, x: Any, axis: int, reverse: bool, fill: float) -> Any:
    """Element i is x[i-1], or x[i+1] where reversed; `fill` comes in where none is."""
    padded = b.pad(x, _widths(x, axis, int(not reverse), int(reverse)), constant_values=fill)
    start: tuple[Dim, ...] = tuple(int(reverse and k == axis) for k in range(x.ndim))
    return b.primitive("_slice", (padded,), start=start, step=(1,) * x.ndim, shape=x.shape)


def _backwards(b: Any, g: Any, y: Any, x: Any, *, axis: int, reverse: bool) -> tuple[Any]:
    return (b.primitive("cumulative_sum", (g,), axis=axis, reverse=not reverse),)


def _times_the_others(b: Any, g: Any, y: Any, x: Any, *, axis: int, reverse: bool) -> tuple[Any]:
    """The product of all before, times h[i] = g[i] + x[i+1] * h[i+1]: no quotient, so that zeros are like any other."""
    h = b.primitive("_recurrence", (x, g), axis=axis, reverse=not reverse)
    return (_shifted(b, y, axis, reverse, 1.0) * h,)


def _of_recurrence(b: Any, g: Any, y: Any, a: Any, x: Any, *, axis: int, reverse: bool) -> tuple[Any, Any]:
    """h[i] = g[i] + a[i] * h[i+1] is what x gets, and y[i] * h[i+1] what a gets."""
    h = b.primitive("_recurrence", (_shifted(b, a, axis, reverse, 0.0), g), axis=axis, reverse=not reverse)
    return y * _shifted(b, h, axis, not reverse, 0.0), h


def _infer_recurrence(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    require(types, FLOATS)
    pairs = zip(types[0].shape, types[1].shape, strict=True)
    return (TensorType(types[1].dtype, tuple(meet(p, q, found, "shapes of a recurrence") for p, q in pairs)),)


def _evaluate_recurrence(a: Any, x: Any, axis: int, reverse: bool) -> Any:
    a, out = (_from_end(np.moveaxis(v, axis, 0), 0, reverse) for v in (a, np.array(x)))
    for k in range(1, len(out)):
        out[k] += a[k - 1] * out[k - 1]
    return np.moveaxis(_from_end(out, 0, reverse), 0, axis)


def _from_end(x: Any, axis: int, reverse: bool) -> Any:
    return np.flip(x, axis) if reverse else x


register(
    Op(
        name="_recurrence",
        doc="y[i] = x[i] + a[i-1] * y[i-1] along `axis`, from y[0] = x[0]; with `reverse`, i+1 for i-1.",
        family=Family.KERNEL,
        job=along("scan", 2),
        infer=_infer_recurrence,
        state="linear",
        reference=_evaluate_recurrence,
        adjoint=_of_recurrence,
        dtypes=FLOATS,
    )
)


def _evaluate(scan: Any) -> Callable[..., Any]:
    """Sums of float32 are rounded once, not at every step."""

    def evaluate(x: Any, axis: int, reverse: bool) -> Any:
        dtype = np.float64 if scan is np.cumsum and x.dtype == np.float32 else x.dtype
        return _from_end(scan(_from_end(x, axis, reverse), axis=axis, dtype=dtype), axis, reverse)

    return evaluate


def _reference(scan: Any, initial: int) -> Callable[..., Any]:
    def reference(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
        out = scan(x, axis=axis, dtype=dtype)
        before = [(int(include_initial and k == (axis or 0) % x.ndim), 0) for k in range(x.ndim)]
        return np.pad(out, before, constant_values=initial)

    return reference


def _tf(name: str, initial: int) -> Callable[..., Any]:
    def call(tf: Any, x: Any, axis: int = 0, dtype: Any = None, include_initial: bool = False) -> Any:
        out = getattr(tf.math, name)(x if dtype is None else tf.cast(x, dtype), axis)
        before = [[int(include_initial and k == axis % len(x.shape)), 0] for k in range(len(x.shape))]
        return tf.pad(out, before, constant_values=tf.cast(initial, out.dtype))

    return call


for _name, _what, _state, _initial, _scan, _adjoint, _gives in (
    ("cumulative_sum", "sum", "sum", 0, np.cumsum, _backwards, "1, 3, 6"),
    ("cumulative_prod", "product", "product", 1, np.cumprod, _times_the_others, "1, 2, 6"),
):
    register(
        Op(
            name=_name,
            doc=f"The {_what} of each element along `axis` and all before it; integers and bool in 64 bits.\n\n"
            f"`axis` may be left out where there is one; `dtype` is what the elements are converted to first.  With "
            f"`include_initial` the result begins with the {_what} of nothing, {_initial}, and is one longer.  "
            + (
                "Sums of floats keep what rounding loses."
                if _name == "cumulative_sum"
                else "Its gradients are right where elements are zero."
            )
            + example(f"gc.{_name}([1, 2, 3])", f"array([{_gives}])"),
            family=Family.KERNEL,
            job=along("scan", 1),
            infer=_infer,
            define=_define(_name, _initial),
            state=_state,
            reference=_reference(_scan, _initial),
            evaluate=_evaluate(_scan),
            adjoint=_adjoint,
            dtypes=(*NUMBERS, bool_),
            samples=(
                Sample((CUBE,), {"axis": 1}),
                Sample((CUBE,), {"axis": 0, "include_initial": True}),
                Sample((CUBE,), {"axis": -1, "dtype": "float64"}),
                Sample((Array((7,)),), {"include_initial": True}),
                Sample((Array((7,)),), {"dtype": "int32"}),
                Sample((Array((3, 1)),), {"axis": 1}),
                Sample((Array((0, 3)),), {"axis": 0, "include_initial": True}),
                Sample((Array((0, 3)),), {"axis": 1}),
            ),
            rejects=(
                Reject((CUBE,), ShapeError, "3 axes"),
                Reject((CUBE,), ShapeError, "axis 3 does not exist", {"axis": 3}),
                Reject((CUBE,), ShapeError, "an axis is an int", {"axis": (0, 1)}),
                Reject((Array(()),), ShapeError, "0 axes"),
                Reject((Array((3,)),), DTypeError, "is bool", {"dtype": "bool"}),
            ),
            tf=_tf(f"cum{_what[:4].removesuffix('u')}", _initial),
        )
    )
