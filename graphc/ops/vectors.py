"""Products of vectors by NumPy's names: dot and cross."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.elementwise import NUMBERS
from graphc.ops.samples import example
from graphc.types import normalize_axis


def _dot(b: Any, x: Any, y: Any, /) -> Any:
    u, v = b.promoted(x, y)
    return b.tensordot(u, v, (-1, max(v.ndim - 2, 0))) if u.ndim and v.ndim else b.multiply(u, v)


def _cross(b: Any, x: Any, y: Any, /, axis: int = -1) -> Any:
    u, v = b.broadcast_arrays(*b.promoted(x, y))
    k = normalize_axis(axis, u.ndim, "cross")
    if u.shape[k] != 3:
        raise ShapeError(f"a cross product is one of vectors of length 3, got {u.shape[k]} along axis {k}")
    (a1, a2, a3), (b1, b2, b3) = b.unstack(u, axis=k), b.unstack(v, axis=k)
    return b.stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], axis=k)


_V3, _M34 = Array((3,)), Array((3, 4))

register(
    Op(
        name="dot",
        doc="The sum of products over the last axis of x and the last but one, or only, axis of y.\n\n"
        "Of a scalar, the product; of more than two axes every row of x meets every column of y."
        + example("gc.dot([1, 2], [3, 4])", "array(11)"),
        define=_dot,
        reference=np.dot,
        dtypes=NUMBERS,
        samples=(
            Sample((_V3, _V3)),
            Sample((_M34, Array((4, 2)))),
            Sample((_M34, Array((4,)))),
            Sample((Array((2, 3)), Array((4, 3, 2)))),
            Sample((Array(()), _M34)),
            Sample((_M34, Array(()))),
            Sample((Array((2, 0)), Array((0,)))),
        ),
        rejects=(Reject((_V3, Array((4,))), ShapeError, "must be equal, got 3 and 4"),),
    )
)

register(
    Op(
        name="cross",
        doc="The cross product of vectors of length 3 along `axis`; the other axes broadcast."
        + example("gc.cross([1, 0, 0], [0, 1, 0])", "array([0, 0, 1])"),
        define=_cross,
        reference=lambda x, y, axis=-1: np.cross(x, y, axis=axis),
        dtypes=NUMBERS,
        samples=(
            Sample((_V3, _V3)),
            Sample((Array((2, 3)), Array((4, 1, 3)))),
            Sample((Array((3, 2)), Array((3, 2))), {"axis": 0}),
            Sample((Array((0, 3)), _V3)),
        ),
        rejects=(
            Reject((Array((2,)), Array((2,))), ShapeError, "vectors of length 3, got 2"),
            Reject((_V3, Array((4,))), ShapeError, "do not broadcast"),
        ),
    )
)
