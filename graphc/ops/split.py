"""Functions that give several arrays: pieces of one, and several that are broadcast together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, Poly
from graphc.errors import DeclarationError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.movement import ALL
from graphc.ops.samples import example
from graphc.types import DoesNotBroadcast, Shape, as_dim, broadcast, is_int, normalize_axis, shape_text

_X = Array((2, 6, 4))


def _along(node: Any, axis: int, key: Any) -> tuple[Any, ...]:
    return tuple(key if k == axis else slice(None) for k in range(node.ndim))


def _unstack(b: Any, x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    node = b.convert(x)
    k = normalize_axis(axis, node.ndim, "unstack")
    if not isinstance(node.shape[k], int):
        raise DeclarationError(f"axis {k} has length {node.shape[k]}, known at the call only: how many arrays is open")
    return tuple(b.getitem(node, _along(node, k, i)) for i in range(node.shape[k]))


def _split(b: Any, x: Any, indices_or_sections: Any, /, axis: int = 0) -> tuple[Any, ...]:
    node = b.convert(x)
    k = normalize_axis(axis, node.ndim, "split")
    if isinstance(indices_or_sections, (tuple, list, np.ndarray)):
        return _split_at(b, node, [_as_bound(v) for v in indices_or_sections], k)
    if not is_int(indices_or_sections):
        raise DeclarationError(f"split takes an int, or a list of positions, got {indices_or_sections!r}")
    count, size = int(indices_or_sections), node.shape[k]
    if count < 1 or (isinstance(size, int) and size % count):
        raise ShapeError(f"axis {k} has length {size}, which is not {count} times as long as a part")
    parts = b.reshape(node, (*node.shape[:k], count, size // count, *node.shape[k + 1 :]))
    return _unstack(b, parts, axis=k)


def _as_bound(value: Any) -> Dim:
    return value if isinstance(value, Poly) else as_dim(value)


def _split_at(b: Any, node: Any, bounds: Sequence[Dim], axis: int) -> tuple[Any, ...]:
    pairs = zip([None, *bounds], [*bounds, None], strict=True)
    return tuple(b.getitem(node, _along(node, axis, slice(low, high))) for low, high in pairs)


def _together(shapes: Sequence[Shape]) -> Shape:
    try:
        return broadcast(shapes, [])  # what can't be decided is said again by each `broadcast_to`
    except DoesNotBroadcast:
        said = ", ".join(map(shape_text, shapes))
        raise ShapeError(f"the shapes {said} do not broadcast: dimensions must be equal or 1") from None


def _broadcast_arrays(b: Any, *arrays: Any) -> tuple[Any, ...]:
    nodes = [b.convert(a) for a in arrays]
    shape = _together([n.shape for n in nodes])
    return tuple(b.broadcast_to(n, shape) for n in nodes)


def _meshgrid(b: Any, *arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    if indexing not in ("xy", "ij"):
        raise DeclarationError(f'indexing is "xy" or "ij", got {indexing!r}')
    nodes = [b.convert(a) for a in arrays]
    for n in nodes:
        if n.ndim > 1:
            raise ShapeError(f"the operands of meshgrid have one axis, got {shape_text(n.shape)}")
    order = list(range(len(nodes)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    lengths = [n.shape[0] if n.ndim else 1 for n in nodes]
    shape = tuple(lengths[k] for k in order)
    alone = [tuple(lengths[k] if k == place else 1 for k in order) for place in range(len(nodes))]
    return tuple(b.broadcast_to(b.reshape(n, own), shape) for n, own in zip(nodes, alone, strict=True))


register(
    Op(
        name="unstack",
        doc="The arrays that lie along `axis`, which must have a known length, as a tuple."
        + example("gc.unstack([[1, 2], [3, 4]])", "(array([1, 2]), array([3, 4]))"),
        define=_unstack,
        reference=lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
        dtypes=ALL,
        samples=(Sample((Array((2, 3)),)), Sample((_X,), {"axis": -1}), Sample((Array((3,)),))),
        rejects=(
            Reject((_X,), ShapeError, "axis 3 does not exist", {"axis": 3}),
            Reject((Array(()),), ShapeError, "0-d"),
        ),
    )
)

register(
    Op(
        name="split",
        doc="Parts along `axis`, as a tuple: equally long ones, or those between positions.\n\n"
        "Their number is an int; a length that is not a multiple of it is an error, at the call if it is symbolic."
        + example("gc.split([1, 2, 3, 4], 2)", "(array([1, 2]), array([3, 4]))"),
        define=_split,
        reference=lambda x, indices_or_sections, axis=0: tuple(np.split(x, indices_or_sections, axis)),
        dtypes=ALL,
        samples=(
            Sample((_X, 3), {"axis": 1}),
            Sample((_X, [1, 4]), {"axis": -2}),
            Sample((_X, (3, 2, 9)), {"axis": 1}),
            Sample((_X, []),),
            Sample((Array((0, 3)), 2)),
        ),
        rejects=(
            Reject((_X, 4), ShapeError, "axis 1 has length 6, which is not 4 times", {"axis": 1}),
            Reject((_X, 0), ShapeError, "0 times"),
            Reject((_X, 1.5), DeclarationError, "a list of positions"),
            Reject((_X, [-1]), ShapeError, ">= 0"),
        ),
    )
)

register(
    Op(
        name="broadcast_arrays",
        doc="The operands broadcast to the shape that they have together, as a tuple."
        + example("gc.broadcast_arrays([1, 2], 3)", "(array([1, 2]), array([3, 3]))"),
        define=_broadcast_arrays,
        reference=lambda *arrays: tuple(np.broadcast_arrays(*arrays)),
        dtypes=ALL,
        samples=(
            Sample((Array((3, 1)), Array((4,)))),
            Sample((Array((2, 3)), Array(()), Array((1, 3)))),
            Sample((Array((0, 2)), Array((1,)))),
        ),
        rejects=(Reject((Array((3,)), Array((4,))), ShapeError, "[3], [4] do not broadcast"),),
    )
)

register(
    Op(
        name="meshgrid",
        doc="Coordinates of a grid, as a tuple: each operand along an axis of its own, broadcast to the whole grid.\n\n"
        'With `indexing="xy"` the first two axes change places, so that x runs along rows; "ij" keeps their order.'
        + example("gc.meshgrid([1, 2], [3, 4, 5])[0]", "array([[1, 2],\n       [1, 2],\n       [1, 2]])"),
        define=_meshgrid,
        reference=lambda *arrays, indexing="xy": tuple(np.meshgrid(*arrays, indexing=indexing)),
        dtypes=ALL,
        samples=(
            Sample((Array((3,)), Array((4,)))),
            Sample((Array((3,)), Array((4,)), Array((2,))), {"indexing": "ij"}),
            Sample((Array((3,)), Array((4,)), Array((2,)))),
            Sample((Array((3,)),)),
            Sample((Array(()), Array((0,)))),
        ),
        rejects=(
            Reject((Array((3, 2)), Array((3,))), ShapeError, "have one axis, got [3, 2]"),
            Reject((Array((3,)),), DeclarationError, '"xy" or "ij"', {"indexing": "yx"}),
        ),
    )
)
