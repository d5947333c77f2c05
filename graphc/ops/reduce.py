"""Reductions: six primitives fold axes away, two find positions.

`axis` of a primitive is a sorted tuple of non-negative ints (one int for a position); its result drops those axes,
and `keepdims` is a reshape that the public function adds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.dims import is_positive
from graphc.errors import DTypeError, ShapeError
from graphc.op import Array, Attrs, Family, Infer, Op, Reject, Sample, register
from graphc.ops.rules import no_cotangents, require
from graphc.ops.samples import FOLDED, example
from graphc.types import (
    FLOATS,
    INTEGERS,
    Constraint,
    DType,
    Shape,
    TensorType,
    bool_,
    int64,
    normalize_axes,
    normalize_axis,
    uint8,
    uint64,
)

NUMBERS = (*FLOATS, *INTEGERS)


# The shape rules.


def _require_elements(shape: Shape, axes: Sequence[int], found: list[Constraint]) -> None:
    """Every reduced axis must have an element: an extreme value of nothing does not exist."""
    for k in axes:
        if shape[k] == 0:
            raise ShapeError(f"axis {k} is empty, and an extreme value of nothing does not exist")
        if not is_positive(shape[k]):
            found.append(
                Constraint(shape[k], ">=", 1, f"axis {k} must not be empty: an extreme value of nothing does not exist")
            )


def _without(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(d for k, d in enumerate(shape) if k not in axes)


def kept(shape: Shape, axes: Sequence[int]) -> Shape:
    """The shape of a reduction that keeps the reduced axes with length 1."""
    return tuple(1 if k in axes else d for k, d in enumerate(shape))


def folding(allowed: Sequence[DType], non_empty: bool = False) -> Infer:
    def infer(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
        require(types, allowed)
        if non_empty:
            _require_elements(types[0].shape, attrs["axis"], found)
        return (TensorType(types[0].dtype, _without(types[0].shape, attrs["axis"])),)

    return infer


def _infer_position(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    require(types, NUMBERS)
    _require_elements(types[0].shape, (attrs["axis"],), found)
    return (TensorType(int64, _without(types[0].shape, (attrs["axis"],))),)


# The public functions.


def fold(
    name: str, prepare: Callable[[Any, Any], Any], finish: Callable[[Any, Any], Any] = lambda y, x: y
) -> Callable[..., Any]:
    """The public call of a primitive: `prepare` gives the operand its dtype, `finish` the result."""

    def define(b: Any, x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
        source = b.convert(x)
        node = prepare(b, source)
        axes = normalize_axes(axis, node.ndim, name)
        out = b.primitive(name, (node,), axis=axes) if axes else node
        return finish(b.reshape(out, kept(node.shape, axes)) if keepdims else out, source)

    return define


def widened(b: Any, x: Any) -> Any:
    """Sums and products of narrow integers and bool are taken in 64 bits, as in NumPy."""
    return x if x.dtype.is_float else b.astype(x, uint64 if x.dtype.kind == "u" else int64)


def _total(name: str) -> Callable[..., Any]:
    """The public call of sum or prod, whose elements are converted to `dtype` first."""
    of_wide, as_it_is = fold(name, widened), fold(name, lambda b, x: x)

    def define(b: Any, x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
        if dtype is None:
            return of_wide(b, x, axis, keepdims=keepdims)
        return as_it_is(b, b.astype(x, dtype), axis, keepdims=keepdims)

    return define


def _ordered(b: Any, x: Any) -> Any:
    return b.astype(x, uint8) if x.dtype == bool_ else x


def _as_bool(b: Any, x: Any) -> Any:
    return b.astype(x, bool_)


def _position(name: str) -> Callable[..., Any]:
    def define(b: Any, x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Any:
        node = _ordered(b, b.convert(x))
        if axis is None:
            out, shape = b.primitive(name, (b.reshape(node, (-1,)),), axis=0), (1,) * node.ndim
        else:
            k = normalize_axis(axis, node.ndim, name)
            out, shape = b.primitive(name, (node,), axis=k), kept(node.shape, (k,))
        return b.reshape(out, shape) if keepdims else out

    return define


# The adjoints.


def spread(b: Any, g: Any, axis: Sequence[int], shape: Shape) -> Any:
    """g, which lacks the axes, over the whole shape."""
    return b.broadcast_to(b.reshape(g, kept(shape, axis)), shape)


def _share_among_ties(b: Any, g: Any, y: Any, x: Any, *, axis: Sequence[int]) -> tuple[Any]:
    chosen = b.equal(x, spread(b, y, axis, x.shape))
    ties = b.sum(b.astype(chosen, x.dtype), axis=axis)
    return (b.where(chosen, spread(b, g / ties, axis, x.shape), 0.0),)


def _times_the_others(b: Any, g: Any, y: Any, x: Any, *, axis: Sequence[int]) -> tuple[Any]:
    """Each element's cotangent is g times the product of the others, which a quotient gives only without zeros."""
    zero = b.equal(x, 0.0)
    zeros = spread(b, b.sum(b.astype(zero, int64), axis=axis), axis, x.shape)
    factors = b.where(zero, 1.0, x)
    whole = spread(b, b.prod(factors, axis=axis), axis, x.shape)
    others = b.where(zero, b.where(b.equal(zeros, 1), whole, 0.0), b.where(b.equal(zeros, 0), whole / factors, 0.0))
    return (spread(b, g, axis, x.shape) * others,)


# The primitives.

CUBE = Array((2, 3, 4))
ANY_AXIS = (
    Sample((CUBE,)),
    Sample((CUBE,), {"axis": 1}),
    Sample((CUBE,), {"axis": -1, "keepdims": True}),
    Sample((CUBE,), {"axis": (0, -1)}),
    Sample((CUBE,), {"axis": (-2, 0), "keepdims": True}),
    Sample((CUBE,), {"axis": ()}),
    Sample((Array((5, 1)),), {"axis": 1}),
    Sample((Array(()),)),
    Sample((Array((0, 3)),), {"axis": 1}),
)
EMPTY_AXIS = (Sample((Array((0, 3)),), {"axis": 0}), Sample((Array((2, 0)),)))
AS_DTYPE = (Sample((CUBE, 1), {"dtype": "float64"}), Sample((Array((5,)),), {"dtype": "int32"}))
NO_DTYPE = (Reject((CUBE,), DTypeError, "is bool", {"dtype": "bool"}),)
BAD_AXIS = (
    Reject((CUBE,), ShapeError, "axis 3 does not exist", {"axis": 3}),
    Reject((CUBE,), ShapeError, "names an axis twice", {"axis": (1, -2)}),
    Reject((Array(()),), ShapeError, "0-d", {"axis": 0}),
    Reject((CUBE,), ShapeError, "an axis is an int", {"axis": 1.0}),
)
NO_ELEMENT = (Reject((Array((0, 3)),), ShapeError, "is empty", {"axis": 0}),)


def _untied(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    return tuple(Sample((Array(s.args[0].shape, distinct=True),), s.kwargs) for s in samples)


def tf_fold(name: str) -> Callable[..., Any]:
    def call(tf: Any, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return getattr(tf, name)(x if dtype is None else tf.cast(x, dtype), axis=axis, keepdims=keepdims)

    return call


register(
    Op(
        name="sum",
        doc="The sum over axes; integers and bool are added in 64 bits; the sum of nothing is 0."
        + FOLDED
        + example("gc.sum([[1, 2], [3, 4]], axis=0)", "array([4, 6])"),
        family=Family.REDUCTION,
        infer=folding(NUMBERS),
        define=_total("sum"),
        reference=np.sum,
        state="sum",
        adjoint=lambda b, g, y, x, *, axis: (spread(b, g, axis, x.shape),),
        dtypes=(*NUMBERS, bool_),
        samples=(*ANY_AXIS, *EMPTY_AXIS, *AS_DTYPE),
        rejects=(*BAD_AXIS, *NO_DTYPE),
        tf=tf_fold("reduce_sum"),
    )
)

register(
    Op(
        name="prod",
        doc="The product over axes; integers and bool are multiplied in 64 bits; the product of nothing is 1.\n\n"
        "Its gradient is right where elements are zero; the gradient of that gradient, where none is."
        + FOLDED
        + example("gc.prod([[1, 2], [3, 4]], axis=1)", "array([ 2, 12])"),
        family=Family.REDUCTION,
        infer=folding(NUMBERS),
        define=_total("prod"),
        reference=np.prod,
        state="product",
        adjoint=_times_the_others,
        dtypes=(*NUMBERS, bool_),
        samples=(*ANY_AXIS, *EMPTY_AXIS, *AS_DTYPE),
        rejects=(*BAD_AXIS, *NO_DTYPE),
        tf=tf_fold("reduce_prod"),
    )
)


def _extreme(name: str) -> Callable[..., Any]:
    """NumPy's max or min, with the sign of zeros that IEEE 754-2019 gives them."""

    def reference(x: Any, axis: Any = None, keepdims: Any = False) -> Any:
        found = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        if found.dtype.kind != "f":
            return found
        wins = np.copysign(0.0, 1.0 if name == "max" else -1.0)
        among = np.any((x == 0) & (np.signbit(x) == np.signbit(wins)), axis=axis, keepdims=keepdims)
        return np.where(found == 0, np.where(among, wins, -wins), found).astype(found.dtype)

    return reference


for _name, _word, _combine, _gives in (("max", "largest", "maximum", "3, 5"), ("min", "smallest", "minimum", "1, 2")):
    register(
        Op(
            name=_name,
            doc=f"The {_word} value over axes, NaN if there is one; the axes must not be empty.\n\n"
            f"Zeros have an order: -0.0 < 0.0 (IEEE 754-2019, {_combine}).  "
            "Its gradient is shared equally by elements that tie."
            + FOLDED
            + example(f"gc.{_name}([[3, 1], [2, 5]], axis=1)", f"array([{_gives}])"),
            family=Family.REDUCTION,
            infer=folding(NUMBERS, non_empty=True),
            define=fold(_name, _ordered, lambda y, x: y.astype(x.dtype)),
            reference=_extreme(_name),
            state=_name,
            adjoint=_share_among_ties,
            dtypes=(*NUMBERS, bool_),
            samples=_untied(ANY_AXIS),
            rejects=(*BAD_AXIS, *NO_ELEMENT),
            tf=tf_fold(f"reduce_{_name}"),
        )
    )

for _name, _word, _state, _gives in (
    ("any", "whether any element is", "or", " True,  True"),
    ("all", "whether every element is", "and", "False,  True"),
):
    register(
        Op(
            name=_name,
            doc=f"Over axes, {_word} true, which every number but 0 is, NaN too; of nothing, {_name == 'all'}."
            + FOLDED
            + example(f"gc.{_name}([[0, 1], [2, 3]], axis=1)", f"array([{_gives}])"),
            family=Family.REDUCTION,
            infer=folding((bool_,)),
            define=fold(_name, _as_bool),
            reference=getattr(np, _name),
            state=_state,
            adjoint=no_cotangents,
            dtypes=(bool_, *NUMBERS),
            samples=(*ANY_AXIS, *EMPTY_AXIS),
            rejects=BAD_AXIS,
            tf=lambda tf, x, axis=None, keepdims=False, f=f"reduce_{_name}": getattr(tf, f)(
                tf.cast(x, tf.bool), axis=axis, keepdims=keepdims
            ),
        )
    )


def _tf_position(name: str) -> Callable[..., Any]:
    def call(tf: Any, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        found = getattr(tf, name)(tf.reshape(x, [-1]) if axis is None else x, axis=0 if axis is None else axis)
        if not keepdims:
            return found
        return tf.reshape(found, [1] * len(x.shape)) if axis is None else tf.expand_dims(found, axis)

    return call


for _name, _word, _gives in (("argmax", "largest", "0, 1"), ("argmin", "smallest", "1, 0")):
    register(
        Op(
            name=_name,
            doc=f"The position of the first {_word} value along `axis`, int64; the first NaN wins.\n\n"
            "Where `axis` is None the operand is flattened first; with `keepdims` the axis stays, with length 1."
            + example(f"gc.{_name}([[3, 1], [2, 5]], axis=1)", f"array([{_gives}])"),
            family=Family.REDUCTION,
            infer=_infer_position,
            define=_position(_name),
            reference=getattr(np, _name),
            state=_name,
            adjoint=no_cotangents,
            dtypes=(*NUMBERS, bool_),
            samples=_untied(
                [s for s in ANY_AXIS if not isinstance(s.kwargs.get("axis"), tuple) and s.args[0].shape != (0, 3)]
            )
            + (
                Sample((Array((0, 3), distinct=True),), {"axis": 1}),
                Sample((Array((3, 4), kind="bool"),), {"axis": 0}),
            ),
            rejects=(
                *BAD_AXIS[:1],
                *BAD_AXIS[2:],
                Reject((CUBE,), ShapeError, "an axis is an int", {"axis": (0, 1)}),
                *NO_ELEMENT,
            ),
            tf=_tf_position(_name),
        )
    )
