"""Functions of networks that are composites over the other ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.samples import example
from graphc.types import FLOATS, INTEGERS, normalize_axis


def _shifted(b: Any, x: Any, axis: int, what: str) -> tuple[Any, int]:
    """x less its largest value along the axis, which no result depends on."""
    (x,) = b.floating(x)
    k = normalize_axis(axis, x.ndim, what)
    return x - b.stop_gradient(b.max(x, axis=k, keepdims=True)), k


def _softmax(b: Any, x: Any, /, axis: int = -1) -> Any:
    shifted, k = _shifted(b, x, axis, "softmax")
    e = b.exp(shifted)
    return e / b.sum(e, axis=k, keepdims=True)


def _log_softmax(b: Any, x: Any, /, axis: int = -1) -> Any:
    shifted, k = _shifted(b, x, axis, "log_softmax")
    return shifted - b.log(b.sum(b.exp(shifted), axis=k, keepdims=True))


def _log_softmax_reference(x: Any, axis: int = -1) -> Any:
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    return x - np.logaddexp.reduce(x, axis=axis, keepdims=True)


_SAMPLES = (
    Sample((Array((3, 4)),)),
    Sample((Array((3, 4), -40, 40),), {"axis": 0}),
    Sample((Array((2, 3, 4)),), {"axis": -2}),
    Sample((Array((3, 1)),)),
    Sample((Array((0, 4)),)),
)
_REJECTS = (
    Reject((Array((3, 4)),), ShapeError, "axis 2 does not exist", {"axis": 2}),
    Reject((Array(()),), ShapeError, "0-d"),
    Reject((Array((3, 0)),), ShapeError, "is empty"),
)

register(
    Op(
        name="softmax",
        doc="exp(x) / sum(exp(x)) along `axis`, without overflow."
        + example("gc.softmax([[0.0, 0.0], [0.0, 1000.0]])", "array([[0.5, 0.5],\n       [0. , 1. ]])"),
        define=_softmax,
        reference=lambda x, axis=-1: np.exp(_log_softmax_reference(x, axis)),
        dtypes=(*FLOATS, *INTEGERS),
        samples=_SAMPLES,
        rejects=_REJECTS,
        tf=lambda tf, x, axis=-1: tf.nn.softmax(x, axis),
    )
)

register(
    Op(
        name="log_softmax",
        doc="x - log(sum(exp(x))) along `axis`, without overflow."
        + example("gc.log_softmax([0.0, 1000.0])", "array([-1000.,     0.])"),
        define=_log_softmax,
        reference=_log_softmax_reference,
        dtypes=(*FLOATS, *INTEGERS),
        samples=_SAMPLES,
        rejects=_REJECTS,
        tf=lambda tf, x, axis=-1: tf.nn.log_softmax(x, axis),
    )
)
