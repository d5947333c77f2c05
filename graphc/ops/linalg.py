"""Products of arrays: one primitive, the sum of products over shared labels, and the public names for it."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import numpy as np

from graphc.dims import Dim, same
from graphc.errors import DeclarationError, ShapeError
from graphc.op import Array, Attrs, Family, Job, Op, Reject, Sample, register
from graphc.ops.rules import meet, require
from graphc.ops.samples import example
from graphc.types import FLOATS, INTEGERS, Constraint, Shape, TensorType, normalize_axis, shape_text

NUMBERS = (*FLOATS, *INTEGERS)


# The primitive.


def _infer(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    require(types, NUMBERS)
    lengths: dict[str, Dim] = {}
    for t, labels in zip(types, (attrs["a_labels"], attrs["b_labels"]), strict=True):
        for label, d in zip(labels, t.shape, strict=True):
            lengths[label] = meet(lengths[label], d, found, _PAIRED) if label in lengths else d
    return (TensorType(types[0].dtype, tuple(lengths[label] for label in attrs["out_labels"])),)


_PAIRED = "dimensions that are paired in a product must be equal"


def _evaluate(a: Any, b: Any, a_labels: str, b_labels: str, out_labels: str) -> Any:
    return np.einsum(f"{a_labels},{b_labels}->{out_labels}", a, b, optimize=True)


def _job(attrs: Attrs, ndim: int) -> Job:
    a, b, out = (attrs[k] for k in ("a_labels", "b_labels", "out_labels"))
    return Job("product", (a, b, out), "".join(c for c in out if c in a and c in b))


def _adjoint(
    b: Any, g: Any, y: Any, u: Any, v: Any, *, a_labels: str, b_labels: str, out_labels: str
) -> tuple[Any, Any]:
    return (
        b.reshape(contract(b, g, out_labels, v, b_labels, a_labels), u.shape),
        b.reshape(contract(b, u, a_labels, g, out_labels, b_labels), v.shape),
    )


register(
    Op(
        name="_contract",
        doc="out[out_labels] = sum(a[a_labels] * b[b_labels]) over the labels that the result has not.\n\n"
        "A label stands once in an operand; one that only one operand has stands in the result.",
        family=Family.KERNEL,
        infer=_infer,
        job=_job,
        reference=_evaluate,
        adjoint=_adjoint,
        dtypes=NUMBERS,
    )
)


def contract(b: Any, u: Any, u_labels: str, v: Any, v_labels: str, out: str) -> Any:
    """The sum of products as nodes: what only one operand has is summed first, axes of the result broadcast.

    Where nothing is left to be summed over, it is an elementwise product.
    """
    u, u_labels = summed(b, u, u_labels, v_labels + out)
    v, v_labels = summed(b, v, v_labels, u_labels + out)
    u, u_labels = _without_ones(b, u, u_labels, {c: d for c, d in zip(v_labels, v.shape, strict=True) if c in out})
    v, v_labels = _without_ones(b, v, v_labels, {c: d for c, d in zip(u_labels, u.shape, strict=True) if c in out})
    if set(u_labels + v_labels) <= set(out):
        return aligned(b, u, u_labels, out) * aligned(b, v, v_labels, out)
    return b.primitive("_contract", (u, v), a_labels=u_labels, b_labels=v_labels, out_labels=out)


def summed(b: Any, x: Any, labels: str, wanted: str) -> tuple[Any, str]:
    axes = tuple(k for k, label in enumerate(labels) if label not in wanted)
    return (b.astype(b.sum(x, axis=axes), x.dtype), "".join(c for c in labels if c in wanted)) if axes else (x, labels)


def _without_ones(b: Any, x: Any, labels: str, other: dict[str, Dim]) -> tuple[Any, str]:
    """x without the axes along which it is repeated for the other operand."""
    axes = tuple(k for k, (c, d) in enumerate(zip(labels, x.shape, strict=True)) if d == 1 and other.get(c, 1) != 1)
    return (b.squeeze(x, axes), "".join(c for k, c in enumerate(labels) if k not in axes)) if axes else (x, labels)


def aligned(b: Any, x: Any, labels: str, out: str) -> Any:
    """x with an axis for each label of `out`, of length 1 where x does not have it."""
    present = [c for c in out if c in labels]
    x = b.permute_dims(x, tuple(labels.index(c) for c in present))
    lengths = dict(zip(present, x.shape, strict=True))
    return b.reshape(x, tuple(lengths.get(c, 1) for c in out))


# matmul, tensordot, vecdot, outer


def _must_be_equal(p: Dim, q: Dim, what: str) -> None:
    if same(p, q) is False:
        raise ShapeError(f"{what} must be equal, got {p} and {q}")


def _must_broadcast(p: Shape, q: Shape) -> None:
    for d, e in zip(reversed(p), reversed(q), strict=False):
        if d != 1 and e != 1 and same(d, e) is False:
            raise ShapeError(
                f"leading dimensions {shape_text(p)} and {shape_text(q)} do not broadcast: they must be equal or 1"
            )


def _matmul(b: Any, x: Any, y: Any, /) -> Any:
    u, v = b.promoted(x, y)
    if not u.ndim or not v.ndim:
        raise ShapeError("a matrix product needs operands of at least one axis; multiply by a scalar with *")
    _must_be_equal(
        u.shape[-1], v.shape[-2:][0], "the last dimension of the first operand and the last but one of the second"
    )
    _must_broadcast(u.shape[:-2], v.shape[:-2])
    row, column = "i"[: u.ndim - 1], "j"[: v.ndim - 1]
    batch = [_leading(max(n.ndim - 2, 0)) for n in (u, v)]
    return contract(b, u, batch[0] + row + "k", v, batch[1] + "k" + column, max(batch, key=len) + row + column)


def _leading(count: int) -> str:
    """Labels of `count` leading axes, which broadcast from the right."""
    return "".join(reversed(_BATCH[:count]))


_BATCH = ascii_letters.upper()[: len(ascii_letters) // 2]


def _tensordot(b: Any, x: Any, y: Any, /, axes: Any = 2) -> Any:
    u, v = b.promoted(x, y)
    first, second = _paired_axes(axes, u.ndim, v.ndim)
    for i, j in zip(first, second, strict=True):
        _must_be_equal(u.shape[i], v.shape[j], f"axis {i} of the first operand and axis {j} of the second")
    labels = ascii_letters[: u.ndim]
    fresh = iter(ascii_letters[u.ndim :])
    shared = dict(zip(second, first, strict=True))
    others = "".join(labels[shared[k]] if k in shared else next(fresh) for k in range(v.ndim))
    out = [c for k, c in enumerate(labels) if k not in first] + [c for k, c in enumerate(others) if k not in second]
    return contract(b, u, labels, v, others, "".join(out))


def _paired_axes(axes: Any, m: int, n: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(m, n):
            raise ShapeError(f"axes is at most the number of axes of either operand, {min(m, n)}, got {axes}")
        return list(range(m - int(axes), m)), list(range(int(axes)))
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        raise DeclarationError(f"axes is a number or a pair of axes or of sequences of axes, got {axes!r}")
    first, second = (
        [normalize_axis(k, ndim, "tensordot") for k in (side if isinstance(side, (tuple, list)) else (side,))]
        for side, ndim in zip(axes, (m, n), strict=True)
    )
    if len(first) != len(second) or len(set(first)) != len(first) or len(set(second)) != len(second):
        raise ShapeError(f"axes must pair as many axes of each operand, each once, got {axes}")
    return first, second


def _vecdot(b: Any, x: Any, y: Any, /, *, axis: int = -1) -> Any:
    u, v = b.promoted(x, y)
    for node in (u, v):
        normalize_axis(axis, node.ndim, "vecdot")
    u, v = (b.moveaxis(node, axis, -1) for node in (u, v))
    _must_be_equal(u.shape[-1], v.shape[-1], "the lengths of the axis")
    _must_broadcast(u.shape[:-1], v.shape[:-1])
    batch = [_leading(n.ndim - 1) for n in (u, v)]
    return contract(b, u, batch[0] + "k", v, batch[1] + "k", max(batch, key=len))


def _outer(b: Any, x: Any, y: Any, /) -> Any:
    u, v = (b.reshape(node, -1) for node in b.promoted(x, y))
    return b.expand_dims(u, 1) * b.expand_dims(v, 0)


# The records.

_M34, _M45, _V3, _V4 = Array((3, 4)), Array((4, 5)), Array((3,)), Array((4,))

register(
    Op(
        name="matmul",
        doc="The matrix product over the last axis of x and the last but one of y; leading axes broadcast.\n\n"
        "Shapes `*batch m k`, `*batch k n` -> `*batch m n`; a 1-D operand is a row or column that the result lacks."
        + example("gc.matmul([[1, 2], [3, 4]], [10, 1])", "array([12, 34])"),
        define=_matmul,
        reference=np.matmul,
        dtypes=NUMBERS,
        samples=(
            Sample((_M34, _M45)),
            Sample((_V4, _M45)),
            Sample((_M34, _V4)),
            Sample((_V4, _V4)),
            Sample((Array((2, 3, 4)), Array((2, 4, 5)))),
            Sample((Array((2, 1, 3, 4)), Array((6, 4, 5)))),
            Sample((Array((1, 3, 4)), Array((1, 4, 2)))),
            Sample((Array((2, 3, 4)), _V4)),
            Sample((_V3, Array((2, 3, 4)))),
            Sample((Array((3, 0)), Array((0, 2)))),
            Sample((Array((0, 3)), Array((3, 2)))),
            Sample((Array((1, 1)), Array((1, 1)))),
        ),
        rejects=(
            Reject((_M34, _M34), ShapeError, "got 4 and 3"),
            Reject((Array(()), _M34), ShapeError, "at least one axis"),
            Reject((Array((2, 3, 4)), Array((3, 4, 5))), ShapeError, "do not broadcast"),
            Reject((Array((3, 1)), _M45), ShapeError, "got 1 and 4"),
        ),
        tf=lambda tf, x, y: tf.experimental.numpy.matmul(x, y),
    )
)

register(
    Op(
        name="tensordot",
        doc="The sum of products over paired axes: the last `axes` of x with the first of y, or the pairs given."
        + example("gc.tensordot([[1, 2], [3, 4]], [[1, 0], [0, 1]])", "array(5)"),
        define=_tensordot,
        reference=lambda x, y, axes=2: np.tensordot(x, y, axes),
        dtypes=NUMBERS,
        samples=(
            Sample((Array((2, 3, 4)), Array((3, 4, 5)))),
            Sample((_M34, _M45), {"axes": 1}),
            Sample((_V3, _V4), {"axes": 0}),
            Sample((Array((2, 3, 4)), Array((4, 5, 2))), {"axes": ((0, -1), (2, 0))}),
            Sample((_M34, _M34), {"axes": (0, 0)}),
        ),
        rejects=(
            Reject(
                (_M34, _M45),
                ShapeError,
                "axis 0 of the first operand and axis 0 of the second must be equal, got 3 and 4",
            ),
            Reject((_M34, _V4), ShapeError, "at most"),
            Reject((_M34, _M34), ShapeError, "as many axes", {"axes": ((0,), (0, 1))}),
            Reject((_M34, _M34), DeclarationError, "a pair", {"axes": (0, 1, 2)}),
        ),
        tf=lambda tf, x, y, axes=2: tf.tensordot(x, y, _tf_axes(axes, len(x.shape), len(y.shape))),
    )
)


def _tf_axes(axes: Any, m: int, n: int) -> Any:
    return axes if isinstance(axes, int) else [list(side) for side in _paired_axes(axes, m, n)]


register(
    Op(
        name="vecdot",
        doc="The sum of products along `axis`; the other axes broadcast."
        + example("gc.vecdot([[1, 2], [3, 4]], [10, 1])", "array([12, 34])"),
        define=_vecdot,
        reference=lambda x, y, axis=-1: np.sum(x * y, axis=axis, dtype=x.dtype),
        dtypes=NUMBERS,
        samples=(
            Sample((_M34, _M34)),
            Sample((_M34, _V4)),
            Sample((Array((3, 1, 2)), Array((1, 4, 2)))),
            Sample((_M34, _M34), {"axis": 0}),
        ),
        rejects=(
            Reject((_M34, _V3), ShapeError, "got 4 and 3"),
            Reject((_M34, Array(())), ShapeError, "0-d"),
            Reject((_M34, Array((2, 4))), ShapeError, "do not broadcast"),
        ),
        tf=lambda tf, x, y, axis=-1: tf.reduce_sum(x * y, axis=axis),
    )
)

register(
    Op(
        name="outer",
        doc="out[i, j] = x[i] * y[j]; operands of other than one axis are flattened."
        + example("gc.outer([1, 2], [10, 20, 30])", "array([[10, 20, 30],\n       [20, 40, 60]])"),
        define=_outer,
        reference=np.outer,
        dtypes=NUMBERS,
        samples=(Sample((_V3, _V4)), Sample((_M34, Array((2,)))), Sample((Array(()), _V3)), Sample((Array((0,)), _V3))),
        tf=lambda tf, x, y: tf.tensordot(tf.reshape(x, [-1]), tf.reshape(y, [-1]), 0),
    )
)
