"""Metrics: functions of (y_true, y_pred) that return the mean over the batch, reported beside the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc import losses
from graphc.declare import BUILDER as ops
from graphc.errors import DeclarationError
from graphc.graph import Node

Metric = Callable[[Node, Node], Node]


def accuracy(y_true: Node, y_pred: Node) -> Node:
    """The share of samples whose class is right.

    With one column in y_pred the class is y_pred > 1/2; else it is the greatest column, and y_true holds labels (no
    last dimension, or 1) or a row of values for each class.
    """
    if y_pred.shape[-1] == 1:
        target = y_true if y_true.ndim == y_pred.ndim else ops.expand_dims(y_true, axis=-1)
        right = ops.astype(y_pred > 0.5, target.dtype) == target
    else:
        right = _label(y_true, y_pred) == ops.argmax(y_pred, axis=-1)
    share: Node = ops.mean(right)
    return share


def _label(y_true: Node, y_pred: Node) -> Any:
    if y_true.ndim < y_pred.ndim:
        return y_true
    return ops.squeeze(y_true, axis=-1) if y_true.shape[-1] == 1 else ops.argmax(y_true, axis=-1)


def get(metrics: Any) -> dict[str, Metric]:
    """Metrics by the name that a History gives them; `metrics` is a sequence of names and functions, or None.

    >>> list(get(["acc", "mse"]))
    ['acc', 'mse']
    """
    if metrics is not None and (isinstance(metrics, str) or not isinstance(metrics, Sequence)):
        raise DeclarationError(f"metrics is a list of names or functions, got {metrics!r}")
    found: dict[str, Metric] = {}
    for metric in metrics or ():
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name == "loss" or name in found:
            raise DeclarationError(f"the name {name!r} stands for two values; give one function another __name__")
        found[name] = accuracy if metric in ("accuracy", "acc") else _by_name_or_function(metric)
    return found


def _by_name_or_function(metric: Any) -> Metric:
    try:
        return losses.get(metric)
    except DeclarationError:
        known = ", ".join(["accuracy", "acc", *losses.BY_NAME])
        text = f"a metric is one of {known}, or a function of (y_true, y_pred), got {metric!r}"
        raise DeclarationError(text) from None
