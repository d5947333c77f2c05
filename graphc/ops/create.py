"""Arrays made of numbers and shapes: filled ones, ranges, the identity, and nodes of what is no node yet.

Shapes may hold symbolic dimensions, and so may bounds of a range; a value that fills an array may be a node.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Poly, dim_max, floor_div
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.movement import ALL
from graphc.ops.samples import example
from graphc.types import as_dim, as_dtype, as_shape, float64, int64

_X = Array((2, 3))


# filled with one value


def _full(b: Any, shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    return b.broadcast_to(_asarray(b, fill_value, dtype), as_shape(shape))


def _full_like(b: Any, x: Any, /, fill_value: Any, dtype: Any = None) -> Any:
    node = b.convert(x)
    return _full(b, node.shape, fill_value, node.dtype if dtype is None else dtype)


def _filled(value: int) -> Any:
    def define(b: Any, shape: Any, dtype: Any = "float64") -> Any:
        return _full(b, shape, value, dtype)

    return define


def _filled_like(value: int) -> Any:
    def define(b: Any, x: Any, /, dtype: Any = None) -> Any:
        return _full_like(b, x, value, dtype)

    return define


def _asarray(b: Any, obj: Any, /, dtype: Any = None, *, copy: bool | None = None) -> Any:
    if isinstance(obj, (list, tuple)) and b.holds_node(obj):
        node = b.stack([_asarray(b, o) for o in obj])
    elif dtype is not None and not b.is_declared(obj):
        return b.constant(obj, dtype=dtype)
    else:
        node = b.convert(obj)
    return node if dtype is None else b.astype(node, dtype)


for _name, _value, _what in (("zeros", 0, "zeros"), ("ones", 1, "ones")):
    register(
        Op(
            name=_name,
            doc=f"An array of {_what}; `shape` may hold symbolic dimensions."
            + example(f'gc.{_name}((2,), "int32")', f"array([{_value}, {_value}], dtype=int32)"),
            define=_filled(_value),
            reference=getattr(np, _name),
            samples=(Sample(((2, 3),)), Sample((2, "float32")), Sample(((0, 2),), {"dtype": "int32"})),
            rejects=(
                Reject(((2, -1),), ShapeError, ">= 0"),
                Reject((2, "complex64"), DTypeError, "not supported"),
            ),
            tf=lambda tf, shape, dtype="float64", f=_name: getattr(tf, f)(shape, dtype),
        )
    )
    register(
        Op(
            name=f"{_name}_like",
            doc=f"An array of {_what} with the shape of x, and its dtype where none is given."
            + example(f"gc.{_name}_like([3, 4])", f"array([{_value}, {_value}])"),
            define=_filled_like(_value),
            reference=getattr(np, f"{_name}_like"),
            dtypes=ALL,
            samples=(Sample((_X,)), Sample((Array((0, 2)),), {"dtype": "int32"}), Sample((Array(()), "float32"))),
            rejects=(Reject((_X, "complex64"), DTypeError, "not supported"),),
        )
    )

register(
    Op(
        name="full",
        doc="An array of one value, or of one that broadcasts to `shape`, in its dtype or in the one that is given."
        + example("gc.full((2, 2), 0.5)", "array([[0.5, 0.5],\n       [0.5, 0.5]])"),
        define=_full,
        reference=np.full,
        dtypes=ALL,
        samples=(
            Sample(((2, 3), Array(()))),
            Sample((2, Array((2,)))),
            Sample(((2, 3), 7)),
            Sample(((2, 0), True)),
            Sample(((2, 3), 1.5), {"dtype": "float32"}),
        ),
        rejects=(
            Reject(((2,), Array((3,))), ShapeError, "got 3 and 2"),
            Reject((2, 1.5, "int32"), DTypeError, "does not hold 1.5"),
        ),
    )
)

register(
    Op(
        name="full_like",
        doc="An array of one value with the shape of x, and its dtype where none is given."
        + example("gc.full_like([1, 2], 7)", "array([7, 7])"),
        define=_full_like,
        reference=np.full_like,
        dtypes=ALL,
        samples=(Sample((_X, 1)), Sample((_X, Array(()))), Sample((_X, 1.5), {"dtype": "float32"})),
        rejects=(Reject((Array((2,), kind="index"), 1.5), DTypeError, "does not hold 1.5"),),
    )
)

register(
    Op(
        name="asarray",
        doc="The node itself, or a constant of what is no node; lists may hold nodes of one shape.\n\n"
        "Nodes never change, so that `copy` changes nothing."
        + example("gc.asarray([1, 2, 3])", "array([1, 2, 3])"),
        define=_asarray,
        reference=lambda obj, dtype=None, copy=None: np.asarray(obj, dtype),
        dtypes=ALL,
        samples=(
            Sample((_X,)),
            Sample(([1.5, 2.0], "float32")),
            Sample(([[Array(()), Array(())], [Array(()), Array(())]],)),
            Sample((3,), {"copy": True}),
        ),
        rejects=(
            Reject(([Array((2,)), Array((3,))],), ShapeError, "must be equal"),
            Reject(([[1], [1, 2]],), ShapeError, "differ in length"),
        ),
    )
)


# ranges


def _arange(b: Any, start: Any, /, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    first, last = (0, start) if stop is None else (start, stop)
    first, last, stride = (_bound(v) for v in (first, last, step))
    if stride == 0:
        raise DeclarationError("the step of a range is not 0")
    if any(isinstance(v, float) for v in (first, last, stride)):
        return _float_range(b, first, last, stride, as_dtype(dtype or float64))
    size = dim_max(floor_div(last - first + stride - (1 if stride > 0 else -1), stride), 0)
    wanted = as_dtype(dtype or int64)
    if stride == 1:
        return b.primitive("_iota", (), start=first, size=size, dtype=wanted)
    count = b.primitive("_iota", (), start=0, size=size, dtype=int64)
    return b.astype(count * stride + first, wanted)


def _bound(value: Any) -> Any:
    """A bound or step of a range: an int, a dimension, or a finite float."""
    if isinstance(value, (str, Poly)):
        return as_dim(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, (float, np.floating)) and np.isfinite(value):
        return float(value)
    raise DeclarationError(f"a range goes from number or dimension to number or dimension, got {value!r}")


def _float_range(b: Any, first: Any, last: Any, stride: Any, dtype: Any) -> Any:
    if any(isinstance(v, Poly) for v in (first, last, stride)):
        raise DeclarationError("a range of dimensions has ints for its other bounds; write gc.arange(n) * 0.5, or so")
    return b.constant(np.arange(float(first), last, stride, dtype=dtype.numpy))


register(
    Op(
        name="arange",
        doc="The numbers from `start`, 0 if only one bound is given, up to `stop`, which is left out, in steps of "
        "`step`.\n\nBounds are numbers or symbolic dimensions, the step is a number; int64, or float64 where a bound "
        "is a float."
        + example("gc.arange(2, 10, 3)", "array([2, 5, 8])"),
        define=_arange,
        reference=lambda *args, dtype=None: np.arange(*args, dtype=dtype),
        samples=(
            Sample((5,)),
            Sample((4,), {"dtype": "float32"}),
            Sample((-2, 7, 3)),
            Sample((7, -2, -3), {"dtype": "int8"}),
            Sample((3, 1)),
            Sample((0.5, 2.5, 0.25)),
            Sample((2.5,)),
        ),
        rejects=(
            Reject((Array(()),), DeclarationError, "number or dimension"),
            Reject((0, 5, 0), DeclarationError, "not 0"),
            Reject(("n", 0.5), DeclarationError, "ints for its other bounds"),
            Reject((5,), DTypeError, "integer or float dtype", {"dtype": "bool"}),
        ),
        tf=lambda tf, *args, dtype=None: tf.cast(tf.range(*args), dtype or ("float64" if 2.5 in args else "int64")),
    )
)


def _linspace(
    b: Any, start: Any, stop: Any, /, num: Any = 50, endpoint: bool = True, *, dtype: Any = None
) -> Any:
    first, last = b.floating(start, stop)
    size = as_dim(num)
    apart = size - 1 if endpoint else size
    place = b.primitive("_iota", (), start=0, size=size, dtype=int64)
    rank = len(np.broadcast_shapes((1,) * first.ndim, (1,) * last.ndim))
    place = b.reshape(place, (size, *(1,) * rank))
    out = b.astype(place, first.dtype) * ((last - first) / dim_max(apart, 1)) + first
    if endpoint:
        out = b.where(b.logical_and(place == apart, place > 0), last, out)
    if dtype is None:
        return out
    return b.astype(b.floor(out) if as_dtype(dtype).is_integer else out, dtype)


register(
    Op(
        name="linspace",
        doc="`num` numbers at equal distances from `start` to `stop`, which is the last of them unless `endpoint` is "
        "false.\n\nBounds may be arrays, which broadcast: the numbers lie along a new first axis."
        + example("gc.linspace(0, 1, 5)", "array([0.  , 0.25, 0.5 , 0.75, 1.  ])"),
        define=_linspace,
        reference=np.linspace,
        dtypes=(float64,),
        samples=(
            Sample((Array(()), Array(())), {"num": 7}),
            Sample((Array((3, 1)), Array((2,)), 4)),
            Sample((0, 1)),
            Sample((2.0, -1.0, 5, False)),
            Sample((0, 10, 4), {"dtype": "int32"}),
            Sample((3.0, 4.0, 1)),
            Sample((3.0, 4.0, 0)),
        ),
        rejects=(
            Reject((0, 1, -1), ShapeError, ">= 0"),
            Reject((0, 1, 2.5), ShapeError, "2.5"),
        ),
    )
)


def _eye(b: Any, n_rows: Any, n_cols: Any = None, /, k: Any = 0, *, dtype: Any = "float64") -> Any:
    rows, columns = as_dim(n_rows), as_dim(n_rows if n_cols is None else n_cols)
    row, column = (b.primitive("_iota", (), start=0, size=d, dtype=int64) for d in (rows, columns))
    return b.astype(b.equal(b.expand_dims(row, 1) + k, column), dtype)


register(
    Op(
        name="eye",
        doc="A matrix of zeros with ones on the diagonal, or `k` places to the right of it."
        + example("gc.eye(2)", "array([[1., 0.],\n       [0., 1.]])"),
        define=_eye,
        reference=lambda n_rows, n_cols=None, k=0, dtype="float64": np.eye(n_rows, n_cols, k, dtype),
        samples=(Sample((3,)), Sample((2, 4), {"k": 1}), Sample((3, 2, -1), {"dtype": "int32"}), Sample((0, 2))),
        rejects=(Reject((-1,), ShapeError, ">= 0"), Reject((2.0,), ShapeError, "2.0")),
    )
)
