"""Losses with the names, arguments and meaning that Keras gives them.

In: y_true, a node or values, and y_pred, a float node.  Out: a scalar node of y_pred's dtype, the mean over the batch.
A class holds the options of the function of the same name, for `Model.compile` and for calls with y_true and y_pred.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphc.declare import BUILDER as ops
from graphc.dims import same
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.graph import Node, describe
from graphc.line import users_line
from graphc.ops.index import along_axis, read
from graphc.types import int64, normalize_axis

Loss = Callable[..., Node]

_EPSILON = 1e-7  # probabilities are clipped to [_EPSILON, 1 - _EPSILON] before a logarithm
_REACH = 4  # how far above its result the argument of a softmax is looked for


def mean_squared_error(y_true: Any, y_pred: Node) -> Node:
    """mean((y_true - y_pred)**2) over all elements.

    Raises ShapeError if the shapes differ, save for a last dimension of 1 that one of them lacks.

    >>> import graphc as gc
    >>> y = gc.input("y", (2,))
    >>> gc.compile([y], gc.losses.mean_squared_error([1.0, 2.0], y))([1.0, 4.0])
    array(2.)
    """
    target, y = _alike("mean_squared_error", y_true, y_pred)
    return _node(ops.mean(ops.square(target - y)))


def binary_crossentropy(y_true: Any, y_pred: Node, from_logits: bool = False, label_smoothing: float = 0.0) -> Node:
    """mean(-y_true log(y_pred) - (1 - y_true) log(1 - y_pred)) over all elements.

    With `from_logits`, or where y_pred is a sigmoid, it is computed from the logits, without clipping; elsewhere y_pred
    is clipped to [1e-7, 1 - 1e-7].  `label_smoothing` moves the targets towards 1/2.

    Raises ShapeError if the shapes differ, save for a last dimension of 1 that one of them lacks, DTypeError if y_pred
    is not float, DeclarationError for a smoothing outside [0, 1].

    >>> import graphc as gc
    >>> x = gc.input("x", (2,))
    >>> gc.compile([x], gc.losses.binary_crossentropy([1.0, 0.0], gc.sigmoid(x)))([0.0, -1000.0])
    array(0.34657359)
    """
    target, y = _alike("binary_crossentropy", y_true, y_pred)
    target = _smoothed(target, label_smoothing, 2)
    logits = _logits(ops.sigmoid, y, from_logits)
    if logits is not None:
        return _node(ops.mean(ops.softplus(logits) - logits * target))
    y = ops.clip(y, _EPSILON, 1.0 - _EPSILON)
    return _node(-ops.mean(target * ops.log(y) + (1.0 - target) * ops.log(1.0 - y)))


def categorical_crossentropy(
    y_true: Any, y_pred: Node, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Node:
    """mean(-sum(y_true log(y_pred), axis)), with the classes along `axis`.

    With `from_logits`, or where y_pred is a softmax along `axis`, it is computed from the logits, without clipping;
    elsewhere y_pred is divided by its sum and clipped to [1e-7, 1 - 1e-7].  `label_smoothing` moves the targets
    towards 1 / classes.

    Raises ShapeError if the shapes differ or there is no such axis, DTypeError if y_pred is not float,
    DeclarationError for a smoothing outside [0, 1].

    >>> import graphc as gc
    >>> x = gc.input("x", (1, 2))
    >>> gc.compile([x], gc.losses.categorical_crossentropy([[0.0, 1.0]], gc.softmax(x)))([[0.0, 0.0]])
    array(0.69314718)
    """
    target, y = _alike("categorical_crossentropy", y_true, y_pred)
    axis = normalize_axis(axis, y.ndim, "categorical_crossentropy")
    target = _smoothed(target, label_smoothing, y.shape[axis])
    logits = _logits(lambda x: ops.softmax(x, axis=axis), y, from_logits)
    if logits is not None:
        return _node(-ops.mean(ops.sum(target * ops.log_softmax(logits, axis=axis), axis=axis)))
    y = ops.clip(y / ops.sum(y, axis=axis, keepdims=True), _EPSILON, 1.0 - _EPSILON)
    return _node(-ops.mean(ops.sum(target * ops.log(y), axis=axis)))


def sparse_categorical_crossentropy(y_true: Any, y_pred: Node, from_logits: bool = False) -> Node:
    """mean(-log(y_pred[label])), with integer labels and the classes along the last axis.

    y_true has y_pred's shape without the last dimension, or with 1 in its place.  Logits and `from_logits` as in
    `categorical_crossentropy`; elsewhere y_pred is clipped to [1e-7, 1 - 1e-7], then divided by its sum.  A label that
    is not a class makes the loss NaN and adds nothing to the gradient.

    Raises ShapeError for another shape of y_true, DTypeError for labels that are float or y_pred that is not.

    >>> import graphc as gc
    >>> x = gc.input("x", (1, 2))
    >>> gc.compile([x], gc.losses.sparse_categorical_crossentropy([1], gc.softmax(x)))([[0.0, 0.0]])
    array(0.69314718)
    """
    name = "sparse_categorical_crossentropy"
    label, y = ops.convert(y_true), _floating(name, y_pred)
    if label.dtype.is_float:
        advice = "labels are integers; write y_true.astype('int64')"
        raise DTypeError(f"{name}: {advice}\n  y_true: {describe(label)}\n  at {users_line()}")
    if label.ndim == y.ndim and label.shape[-1] == 1:
        label = ops.squeeze(label, axis=-1)
    _require_shape(name, label, y, y.shape[:-1])
    logits = _logits(lambda x: ops.softmax(x, axis=-1), y, from_logits)
    if logits is not None:  # log(y) is the logits, moved to at most 0, less log(every): neither is made of the other
        log_y = logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
        every = ops.log(ops.sum(ops.exp(log_y), axis=-1))
    else:
        y = ops.clip(y, _EPSILON, 1.0 - _EPSILON)
        log_y, every = ops.log(y / ops.sum(y, axis=-1, keepdims=True)), 0.0
    label = ops.astype(label, int64)  # 8 bits do not count 300 classes, and what 63 do not hold is negative: no class
    known = ops.logical_and(label >= 0, label < y.shape[-1])
    label = ops.expand_dims(ops.where(known, label, 0), axis=-1)
    found = read(ops, log_y, (label,), along_axis(y.ndim, y.ndim - 1), ("inside",))
    loss = every - ops.squeeze(found, axis=-1)
    return _node(ops.mean(ops.where(known, loss, float("nan"))))


def kl_divergence(y_true: Any, y_pred: Node) -> Node:
    """mean(sum(y_true log(y_true / y_pred), -1)), with both clipped to [1e-7, 1].

    Raises ShapeError if the shapes differ, DTypeError if y_pred is not float.

    >>> import graphc as gc
    >>> y = gc.input("y", (1, 2))
    >>> gc.compile([y], gc.losses.kl_divergence([[0.5, 0.5]], y))([[0.5, 0.5]])
    array(0.)
    """
    target, y = _alike("kl_divergence", y_true, y_pred)
    target, y = (ops.clip(p, _EPSILON, 1.0) for p in (target, y))
    return _node(ops.mean(ops.sum(target * ops.log(target / y), axis=-1)))


@dataclass(frozen=True)
class MeanSquaredError:
    """`mean_squared_error` as an object.

    >>> MeanSquaredError()
    MeanSquaredError()
    """

    def __call__(self, y_true: Any, y_pred: Node) -> Node:
        """The loss as a scalar node, with the errors of `mean_squared_error`.

        >>> import graphc as gc
        >>> y = gc.input("y", (2,))
        >>> gc.compile([y], MeanSquaredError()([1.0, 2.0], y))([1.0, 4.0])
        array(2.)
        """
        return mean_squared_error(y_true, y_pred)


@dataclass(frozen=True)
class BinaryCrossentropy:
    """`binary_crossentropy` with options.

    >>> BinaryCrossentropy(label_smoothing=0.1)
    BinaryCrossentropy(from_logits=False, label_smoothing=0.1)
    """

    from_logits: bool = False
    label_smoothing: float = 0.0

    def __call__(self, y_true: Any, y_pred: Node) -> Node:
        """The loss as a scalar node, with the errors of `binary_crossentropy`.

        >>> import graphc as gc
        >>> y = gc.input("y", (2,))
        >>> gc.compile([y], BinaryCrossentropy()([1.0, 0.0], y))([0.5, 0.5])
        array(0.69314718)
        """
        return binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)


@dataclass(frozen=True)
class CategoricalCrossentropy:
    """`categorical_crossentropy` with options.

    >>> CategoricalCrossentropy(from_logits=True)
    CategoricalCrossentropy(from_logits=True, label_smoothing=0.0, axis=-1)
    """

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1

    def __call__(self, y_true: Any, y_pred: Node) -> Node:
        """The loss as a scalar node, with the errors of `categorical_crossentropy`.

        >>> import graphc as gc
        >>> y = gc.input("y", (1, 2))
        >>> gc.compile([y], CategoricalCrossentropy()([[0.0, 1.0]], y))([[0.5, 0.5]])
        array(0.69314718)
        """
        return categorical_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing, self.axis)


@dataclass(frozen=True)
class SparseCategoricalCrossentropy:
    """`sparse_categorical_crossentropy` with options.

    >>> SparseCategoricalCrossentropy(from_logits=True)
    SparseCategoricalCrossentropy(from_logits=True)
    """

    from_logits: bool = False

    def __call__(self, y_true: Any, y_pred: Node) -> Node:
        """The loss as a scalar node, with the errors of `sparse_categorical_crossentropy`.

        >>> import graphc as gc
        >>> y = gc.input("y", (1, 2))
        >>> gc.compile([y], SparseCategoricalCrossentropy()([1], y))([[0.5, 0.5]])
        array(0.69314718)
        """
        return sparse_categorical_crossentropy(y_true, y_pred, self.from_logits)


@dataclass(frozen=True)
class KLDivergence:
    """`kl_divergence` as an object.

    >>> KLDivergence()
    KLDivergence()
    """

    def __call__(self, y_true: Any, y_pred: Node) -> Node:
        """The loss as a scalar node, with the errors of `kl_divergence`.

        >>> import graphc as gc
        >>> y = gc.input("y", (1, 2))
        >>> gc.compile([y], KLDivergence()([[0.5, 0.5]], y))([[0.5, 0.5]])
        array(0.)
        """
        return kl_divergence(y_true, y_pred)


BY_NAME: dict[str, Loss] = {
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "kl_divergence": kl_divergence,
    "kld": kl_divergence,
}


def get(loss: Any) -> Loss:
    """The loss of this name, or `loss` itself if it can be called; DeclarationError for anything else.

    >>> get("mse").__name__
    'mean_squared_error'
    """
    if isinstance(loss, str) and loss.lower() in BY_NAME:
        return BY_NAME[loss.lower()]
    if not callable(loss) or isinstance(loss, (Node, type)):
        known = ", ".join(BY_NAME)
        raise DeclarationError(f"a loss is one of {known}, or a function of (y_true, y_pred), got {loss!r}")
    return loss  # type: ignore[no-any-return]


def _node(value: Any) -> Node:
    """The value, typed: what the builder's functions return has no type of its own."""
    assert isinstance(value, Node)
    return value


def _floating(name: str, y_pred: Any) -> Node:
    y = _node(ops.convert(y_pred))
    if not y.dtype.is_float:
        raise DTypeError(f"{name}: y_pred is float\n  y_pred: {describe(y)}\n  at {users_line()}")
    return y


def _alike(name: str, y_true: Any, y_pred: Any) -> tuple[Node, Node]:
    """Both as nodes of y_pred's dtype and of one shape; a last dimension of 1 that one of them lacks is added."""
    y = _floating(name, y_pred)
    target = ops.astype(ops.convert(y_true), y.dtype)
    if target.ndim == y.ndim - 1 and y.shape[-1] == 1:
        target = ops.expand_dims(target, axis=-1)
    elif target.ndim == y.ndim + 1 and target.shape[-1] == 1:
        y = _node(ops.expand_dims(y, axis=-1))
    _require_shape(name, target, y, y.shape)
    return target, y


def _require_shape(name: str, target: Node, y: Node, shape: Any) -> None:
    """Refuse a target that is not known to have `shape`, or whose 1 would broadcast against a symbol."""
    wrong = len(target.shape) != len(shape) or any(
        same(p, q) is False or (p != q and 1 in (p, q)) for p, q in zip(target.shape, shape, strict=True)
    )
    if wrong:
        wanted = "y_pred's shape without its last dimension, the classes" if shape != y.shape else "y_pred's shape"
        raise ShapeError(
            f"{name}: y_true has {wanted}\n  y_true: {describe(target)}\n  y_pred: {describe(y)}\n  at {users_line()}"
        )


def _smoothed(target: Any, amount: float, classes: Any) -> Any:
    """The target moved towards the uniform distribution over the classes."""
    if not 0.0 <= amount <= 1.0:
        raise DeclarationError(f"label_smoothing lies in [0, 1], got {amount!r}\n  at {users_line()}")
    if amount and not isinstance(classes, int):
        raise ShapeError(f"label_smoothing needs a fixed number of classes, got {classes}\n  at {users_line()}")
    return target * (1.0 - amount) + amount / classes if amount else target


def _logits(squash: Callable[[Any], Any], y: Node, from_logits: bool) -> Node | None:
    """The logits behind y: y itself if it is said to be logits, x if y = squash(x), else None."""
    x = _argument(squash, y)
    if x is not None and from_logits:
        text = "from_logits=True, but y_pred is a softmax or sigmoid; its argument is taken as the logits"
        warnings.warn(text, stacklevel=3)
    return x if x is not None or not from_logits else y


def _argument(function: Callable[[Any], Any], y: Node) -> Node | None:
    """The x with y = function(x), or None.

    Nodes are hash-consed, so function(x) is y itself; this holds whatever primitives the function is made of.
    """
    level = [y]
    for _ in range(_REACH):
        level = [o for n in level for o in n.operands if o.types == y.types]
        for x in level:
            if function(x) is y:
                return x
    return None
