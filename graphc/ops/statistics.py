"""Statistics, float64 for integers and bool: two more folds in one pass, and composites over them.

A sum of squared deviations and a log-sum-exp are primitives, for a fold knows both after one sweep over its operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from graphc.dims import product
from graphc.op import Family, Op, Sample, register
from graphc.ops.reduce import ANY_AXIS, BAD_AXIS, CUBE, NO_ELEMENT, NUMBERS, fold, folding, kept, spread, tf_fold
from graphc.ops.samples import FOLDED, example
from graphc.types import FLOATS, bool_, normalize_axes


def _count(b: Any, x: Any, axis: Any, what: str) -> Any:
    axes = normalize_axes(axis, x.ndim, what)
    return b.convert(product(x.shape[k] for k in axes), x.dtype)


def _mean(b: Any, x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    (x,) = b.floating(x)
    return b.sum(x, axis=axis, keepdims=keepdims) / _count(b, x, axis, "mean")


def _var(b: Any, x: Any, /, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Any:
    (x,) = b.floating(x)
    axes = normalize_axes(axis, x.ndim, "var")
    squares = b.primitive("_deviation", (x,), axis=axes) if axes else x - x
    freedom = b.maximum(_count(b, x, axis, "var") - correction, 0.0)
    return (b.reshape(squares, kept(x.shape, axes)) if keepdims else squares) / freedom


def deviation(b: Any, x: Any, axes: Sequence[int]) -> Any:
    """The sum of the squared distances from the mean, by the mean."""
    return b.sum(b.square(x - b.mean(x, axis=axes, keepdims=True)), axis=axes)


def corrected_deviation(b: Any, x: Any, axes: Sequence[int]) -> Any:
    """The same less what the mean's rounding adds to it (Chan, Golub and LeVeque, 1983), as exact as the one fold."""
    distances = x - b.mean(x, axis=axes, keepdims=True)
    added = b.square(b.sum(distances, axis=axes)) / _count(b, x, axes, "var")
    return b.maximum(b.sum(b.square(distances), axis=axes) - added, 0.0)


def _deviation_reference(x: Any, axis: Any) -> Any:
    return np.sum(np.square(x - np.mean(x, axis=axis, keepdims=True)), axis=axis) if x.size else np.sum(x, axis=axis)


def _from_mean(b: Any, g: Any, y: Any, x: Any, *, axis: Sequence[int]) -> tuple[Any]:
    """The mean moves too, but distances from it add up to 0."""
    return (2.0 * spread(b, g, axis, x.shape) * (x - b.mean(x, axis=axis, keepdims=True)),)


def _exponentials(b: Any, x: Any, axes: Sequence[int]) -> tuple[Any, Any, Any]:
    """exp(x - top), what they add up to, and top, which is the largest x if that is finite."""
    top = b.stop_gradient(b.max(x, axis=axes, keepdims=True))
    top = b.where(b.isfinite(top), top, 0.0)
    terms = b.exp(x - top)
    return terms, b.sum(terms, axis=axes, keepdims=True), top


def shifted_logsumexp(b: Any, x: Any, axes: Sequence[int]) -> Any:
    """logsumexp of the exponentials that its adjoint has too."""
    _, total, top = _exponentials(b, x, axes)
    return b.squeeze(b.log(total) + top, axes)


def _shares(b: Any, g: Any, y: Any, x: Any, *, axis: Sequence[int]) -> tuple[Any]:
    """The softmax, to all digits where y is large; of a row of -inf no element can move anything."""
    terms, total, _ = _exponentials(b, x, axis)
    return (spread(b, g, axis, x.shape) * (terms / b.where(b.equal(total, 0.0), 1.0, total)),)


def _logsumexp_reference(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    axes, add = normalize_axes(axis, x.ndim, "logsumexp"), cast(Any, np.logaddexp.reduce)
    for k in reversed(axes):
        x = add(x, axis=k)
    return np.expand_dims(x, axes) if keepdims else x


def _moment_reference(function: Any) -> Callable[..., Any]:
    return lambda x, axis=None, correction=0.0, keepdims=False: function(
        x, axis=axis, ddof=correction, keepdims=keepdims
    )


def _tf_var(tf: Any, x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    whole = tf.reduce_sum(tf.ones_like(x), axis=axis, keepdims=keepdims)
    return tf.math.reduce_variance(x, axis=axis, keepdims=keepdims) * whole / (whole - correction)


register(
    Op(
        name="mean",
        doc="The arithmetic mean over axes; float64 for integers and bool; NaN where there is nothing."
        + FOLDED
        + example("gc.mean([[1, 2], [3, 4]], axis=1)", "array([1.5, 3.5])"),
        define=_mean,
        reference=np.mean,
        dtypes=(*NUMBERS, bool_),
        samples=ANY_AXIS,
        rejects=BAD_AXIS,
        tf=tf_fold("reduce_mean"),
    )
)

_CORRECTED = (Sample((CUBE,), {"axis": 1, "correction": 1}), Sample((CUBE,), {"correction": 1, "keepdims": True}))

register(
    Op(
        name="_deviation",
        doc="The sum of the squared distances from the mean over axes.",
        family=Family.REDUCTION,
        infer=folding(FLOATS),
        reference=_deviation_reference,
        state="deviation",
        adjoint=_from_mean,
    )
)

register(
    Op(
        name="var",
        doc="The variance over axes, sum((x - mean(x))**2) / (n - correction)."
        + FOLDED
        + example("gc.var([1.0, 3.0], correction=1)", "array(2.)"),
        define=_var,
        reference=_moment_reference(np.var),
        dtypes=(*NUMBERS, bool_),
        samples=(*(s for s in ANY_AXIS if s.args[0].shape), *_CORRECTED),
        rejects=BAD_AXIS,
        tf=_tf_var,
    )
)

register(
    Op(
        name="std",
        doc="The standard deviation over axes, sqrt(sum((x - mean(x))**2) / (n - correction))."
        + FOLDED
        + example("gc.std([1.0, 3.0])", "array(1.)"),
        define=lambda b, x, /, axis=None, *, correction=0.0, keepdims=False: b.sqrt(
            b.var(x, axis, correction=correction, keepdims=keepdims)
        ),
        reference=_moment_reference(np.std),
        dtypes=(*NUMBERS, bool_),
        samples=(
            *(s for s in ANY_AXIS if s.args[0].shape in ((2, 3, 4), (0, 3)) and s.kwargs.get("axis") != ()),
            *_CORRECTED,
        ),
        rejects=BAD_AXIS,
        tf=lambda tf, x, axis=None, correction=0.0, keepdims=False: tf.sqrt(_tf_var(tf, x, axis, correction, keepdims)),
    )
)

register(
    Op(
        name="logsumexp",
        doc="log(sum(exp(x))) over axes, without overflow; -inf where every element is -inf."
        + FOLDED
        + example("gc.logsumexp([1000.0, 1000.0])", "array(1000.69314718)"),
        family=Family.REDUCTION,
        infer=folding(FLOATS, non_empty=True),
        define=fold("logsumexp", lambda b, x: b.floating(x)[0]),
        reference=_logsumexp_reference,
        state="logsumexp",
        adjoint=_shares,
        dtypes=FLOATS,
        samples=ANY_AXIS,
        rejects=(*BAD_AXIS, *NO_ELEMENT),
        tf=tf_fold("reduce_logsumexp"),
    )
)
