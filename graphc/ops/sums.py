"""NumPy's cumulative sums and products, differences along an axis, and the number of elements that are not 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.movement import ALL
from graphc.ops.reduce import ANY_AXIS, BAD_AXIS, CUBE, EMPTY_AXIS
from graphc.ops.samples import FOLDED, example
from graphc.types import bool_, int64, is_int, normalize_axis


def _flattening(name: str) -> Callable[..., Any]:
    def define(b: Any, x: Any, /, axis: int | None = None, dtype: Any = None) -> Any:
        node = b.convert(x)
        node, axis = (b.reshape(node, -1), 0) if axis is None else (node, axis)
        return getattr(b, name)(node, axis=axis, dtype=dtype)

    return define


for _name, _standard, _gives in (("cumsum", "cumulative_sum", "1, 3, 6"), ("cumprod", "cumulative_prod", "1, 2, 6")):
    register(
        Op(
            name=_name,
            doc=f"As `{_standard}`, of the flattened operand where no `axis` is given."
            + example(f"gc.{_name}([1, 2, 3])", f"array([{_gives}])"),
            define=_flattening(_standard),
            reference=getattr(np, _name),
            dtypes=ALL,
            samples=(
                Sample((CUBE,)),
                Sample((CUBE, 1)),
                Sample((CUBE,), {"axis": -1, "dtype": "float64"}),
                Sample((Array((0, 3)), 0)),
                Sample((Array(()),)),
            ),
            rejects=(
                Reject((CUBE, 3), ShapeError, "axis 3 does not exist"),
                Reject((CUBE, (0, 1)), ShapeError, "an axis is an int"),
                Reject((CUBE,), DTypeError, "is bool", {"dtype": "bool"}),
            ),
        )
    )


def _diff(b: Any, x: Any, /, n: int = 1, axis: int = -1, *, prepend: Any = None, append: Any = None) -> Any:
    node = b.convert(x)
    k = normalize_axis(axis, node.ndim, "diff")
    if not is_int(n) or n < 0:
        raise DeclarationError(f"differences are taken n times, an int >= 0, got {n!r}")
    if n == 0:
        return node
    ends = [_end(b, node, e, k) for e in (prepend, append)]
    parts = [p for p in (ends[0], node, ends[1]) if p is not None]
    node = b.concat(parts, axis=k) if len(parts) > 1 else node
    subtract = b.not_equal if node.dtype == bool_ else b.subtract
    for _ in range(n):
        later, earlier = (
            b.getitem(node, tuple(cut if j == k else slice(None) for j in range(node.ndim)))
            for cut in (slice(1, None), slice(None, -1))
        )
        node = subtract(later, earlier)
    return node


def _end(b: Any, node: Any, end: Any, axis: int) -> Any:
    """What stands before or behind; one number is one element of every row."""
    if end is None:
        return None
    end = b.asarray(end)
    return end if end.ndim else b.broadcast_to(end, tuple(1 if j == axis else d for j, d in enumerate(node.shape)))


register(
    Op(
        name="diff",
        doc="The differences x[i+1] - x[i] along `axis`, taken `n` times; of bool, whether they differ.\n\n"
        "`prepend` and `append` are put before and behind x first: arrays, or one number."
        + example("gc.diff([1, 4, 9])", "array([3, 5])"),
        define=_diff,
        reference=lambda x, n=1, axis=-1, **ends: np.diff(x, n, axis, **ends),
        dtypes=ALL,
        samples=(
            Sample((CUBE,)),
            Sample((CUBE,), {"axis": 0}),
            Sample((CUBE,), {"n": 3, "axis": 2}),
            Sample((CUBE,), {"n": 5}),
            Sample((CUBE,), {"n": 0}),
            Sample((CUBE,), {"prepend": Array((2, 3, 2)), "append": Array(())}),
            Sample((Array((0, 3)),), {"axis": 0}),
            Sample((Array((1,)),)),
        ),
        rejects=(
            Reject((CUBE,), ShapeError, "axis 3 does not exist", {"axis": 3}),
            Reject((Array(()),), ShapeError, "0-d"),
            Reject((CUBE, -1), DeclarationError, ">= 0"),
            Reject((CUBE,), ShapeError, "lengths of axis 1", {"append": Array((2, 2, 1))}),
        ),
    )
)

register(
    Op(
        name="count_nonzero",
        doc="How many elements over axes are not 0, int64; NaN is not 0."
        + FOLDED
        + example("gc.count_nonzero([[0, 1], [2, 3]], axis=1)", "array([1, 2])"),
        define=lambda b, x, /, axis=None, *, keepdims=False: b.sum(
            b.astype(b.not_equal(x, b.zeros_like(x)), int64), axis, keepdims=keepdims
        ),
        reference=np.count_nonzero,
        dtypes=ALL,
        samples=(*ANY_AXIS, *EMPTY_AXIS),
        rejects=BAD_AXIS,
    )
)
