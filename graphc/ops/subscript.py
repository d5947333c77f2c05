"""Subscripts: x[key] as slices, reshapes and reads at positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, Poly, is_nonnegative
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.index import read, read_or
from graphc.ops.keys import as_items, has_axis, is_array, is_index, located, steps
from graphc.ops.movement import ALL
from graphc.ops.samples import example


def _getitem(b: Any, x: Any, key: Any, /) -> Any:
    node = b.convert(x)
    items = as_items(b, key, node.shape)
    if all(is_index(item) for item in items if is_array(item)):
        return _sliced(b, node, [item for item in items if item is not Ellipsis])
    cut, rest = _cut(b, node, items)
    at = located(b, cut, rest)
    return read(b, cut, at.positions, at.along, at.modes)


def _cut(b: Any, node: Any, items: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The node with its slices taken, and what is left of the items."""
    cut = _sliced(b, node, [slice(None) if is_array(item) else item for item in items if has_axis(item)])
    return cut, [slice(None) if isinstance(item, slice) else item for item in items]


def _get_at(b: Any, x: Any, key: Any, /, *, mode: str | None = None, fill_value: Any = None) -> Any:
    node = b.convert(x)
    if mode == "fill":
        mode = "drop"
    if mode == "drop" and fill_value is None:
        if not node.dtype.is_float:
            raise DeclarationError(f"mode {mode!r} fills with NaN, which {node.dtype} has not; give a fill_value")
        fill_value = float("nan")
    if fill_value is not None and mode != "drop":
        raise DeclarationError(f"fill_value goes with mode 'fill', got mode {mode!r}")
    cut, rest = _cut(b, node, as_items(b, key, node.shape))
    at = located(b, cut, rest, mode)
    if not at.positions:
        return b.reshape(cut, at.shape)
    fill = 0 if fill_value is None else b.constant(fill_value, node.dtype)
    return read_or(b, cut, fill, at.positions, at.along, at.modes)


def _sliced(b: Any, node: Any, items: Sequence[Any]) -> Any:
    """The basic subscript, which names every axis, as a slice and a reshape."""
    rows: list[tuple[Dim, int, Dim]] = []
    shape: list[Dim] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        size = node.shape[axis]
        if isinstance(item, slice):
            rows.append(steps(item, size))
            shape.append(rows[-1][2])
        else:
            position = item if isinstance(item, Poly) else int(item)
            rows.append((size + position if is_nonnegative(-1 - position) else position, 1, 1))
            _refuse_outside(item, rows[-1][0], size, axis)
        axis += 1
    if any(
        (start, step) != (0, 1) or count != size for (start, step, count), size in zip(rows, node.shape, strict=True)
    ):
        start, step, count = (tuple(column) for column in zip(*rows, strict=True))
        node = b.primitive("_slice", (node,), start=start, step=step, shape=count)
    return b.reshape(node, tuple(shape))


def _refuse_outside(item: Any, position: Dim, size: Dim, axis: int) -> None:
    if is_nonnegative(-1 - position) or is_nonnegative(position - size):
        raise ShapeError(f"index {item} does not lie on axis {axis}, which has length {size}")


def _tf_getitem(tf: Any, x: Any, key: Any) -> Any:
    places = np.arange(np.prod(x.shape, dtype=int)).reshape(x.shape)[as_numpy(key)]
    return tf.gather(tf.reshape(x, [-1]), places)


def as_numpy(key: Any) -> Any:
    """A key whose tensors are NumPy's arrays."""
    if isinstance(key, tuple):
        return tuple(map(as_numpy, key))
    return key.numpy() if hasattr(key, "numpy") else key


def get_reference(x: Any, key: Any, mode: str | None = None, fill_value: Any = None) -> Any:
    """By NumPy's x[key] at positions that lie inside, and where the key's do not."""
    if mode is None:
        return x[key]
    items, outside = list(key) if isinstance(key, tuple) else [key], np.zeros((), bool)
    for axis, item in enumerate(items):
        if not isinstance(item, slice):
            size, at = x.shape[axis], np.asarray(item)
            at = np.where(at < 0, at + size, at)
            outside = outside | (at < 0) | (at >= size)
            items[axis] = np.asarray(item) % size if mode == "wrap" else np.clip(at, 0, size - 1)
    found = x[tuple(items)]
    if mode in ("clip", "wrap"):
        return found
    spread = outside.reshape(outside.shape + (1,) * (found.ndim - outside.ndim))
    return np.where(spread, fill_value, found).astype(x.dtype)


_X = Array((4, 5, 6))

register(
    Op(
        name="getitem",
        doc="x[key] for a key of ints, slices, None, '...', arrays of integers, and masks that are no nodes.\n\n"
        "A slice is clamped to its axis; an int must lie on it, checked at the call if the axis is symbolic.  "
        "Arrays broadcast together and name one element each; negative positions count from the end."
        + example(
            "gc.getitem([[1, 2, 3], [4, 5, 6]], (slice(None), slice(1, None)))",
            "array([[2, 3],\n       [5, 6]])",
        ),
        define=_getitem,
        reference=lambda x, key: x[key],
        dtypes=ALL,
        samples=tuple(
            Sample((_X, key))
            for key in (
                1,
                -1,
                (0, -2, 3),
                slice(1, -1),
                (slice(None), slice(None, None, -1)),
                (slice(3, 0, -2), slice(-9, 9, 2)),
                (Ellipsis, slice(4, 2)),
                (None, 2, Ellipsis, None, slice(None, None, 3)),
                Ellipsis,
                (),
                [0, 3, 0],
                (slice(None, None, 2), [[0, -1], [2, 2]]),
                ([0, 3, 0], [4, -1, 0]),
                (Array((3, 1), -4, 4, "index"), slice(1, None), Array((2,), 0, 6, "index")),
                (Array((), 0, 4, "index"), None, Array((2,), 0, 5, "index")),
                (slice(2), None, 1, [[1], [2]], Ellipsis),
                (Ellipsis, [True, False, True, False, False, True]),
                [],
            )
        ),
        rejects=(
            Reject((_X, 4), ShapeError, "index 4 does not lie on axis 0, which has length 4"),
            Reject((_X, (0, -6)), ShapeError, "index -6 does not lie on axis 1"),
            Reject((_X, (0, 0, 0, 0)), ShapeError, "names 4 axes"),
            Reject((_X, (Ellipsis, Ellipsis)), DeclarationError, "only one"),
            Reject((_X, 1.5), DTypeError, "positions are integers, got 1.5"),
            Reject((_X, True), DeclarationError, "gc.where"),
            Reject((_X, Array((4,), kind="bool")), DeclarationError, "x.at[mask].set(values)"),
            Reject((_X, [True, False]), ShapeError, "the mask has shape [2], the axes from 0 on [4]"),
            Reject((_X, Array((4,))), DTypeError, "positions are integers, got input"),
            Reject((_X, "a"), DeclarationError, "got 'a'"),
            Reject((_X, slice(None, None, 0)), DeclarationError, "other than 0"),
            Reject((_X, slice(0.5, None)), DeclarationError, "from int to int"),
            Reject((_X, ([0, 1], [1, 2, 3])), ShapeError, "x[u[:, None], i]"),
            Reject((_X, [4]), ShapeError, "position 4 does not lie on axis 0, which has length 4"),
        ),
        tf=_tf_getitem,
    )
)

register(
    Op(
        name="get_at",
        doc="x[key], with what is wanted of positions beyond their axis: x.at[key].get(mode=...).\n\n"
        "`mode` None makes an error of them, 'clip' takes the nearest end, 'wrap' the rest by the length, and 'fill' "
        "gives `fill_value`, NaN where none is given.  Negative positions count from the end first."
        + example("gc.get_at([1.0, 2.0], [0, 5], mode='fill', fill_value=0.0)", "array([1., 0.])"),
        define=_get_at,
        reference=get_reference,
        dtypes=ALL,
        samples=tuple(
            Sample((_X, key), kwargs)
            for key, kwargs in (
                ((slice(1, None), Array((3,), -9, 9, "index")), {"mode": "clip"}),
                ((Array((3, 1), -9, 9, "index"), slice(None), Array((2,), -9, 9, "index")), {"mode": "wrap"}),
                ((Array((5,), -9, 9, "index"), Array((5,), -9, 9, "index")), {"mode": "fill", "fill_value": 1}),
                ((9, slice(None, None, 2)), {"mode": "clip"}),
                ((Array((2,), -4, 4, "index"), 1), {}),
                ((slice(1, 3), None), {}),
            )
        ),
        rejects=(
            Reject((_X, [0]), DeclarationError, "mode is None", {"mode": "nearest"}),
            Reject((_X, [0]), DeclarationError, "goes with mode 'fill'", {"fill_value": 0}),
            Reject((Array((3,), kind="index"), [0]), DeclarationError, "give a fill_value", {"mode": "fill"}),
        ),
    )
)
