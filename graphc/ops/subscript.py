"""Subscripts: x[key] as slices, reshapes and reads at positions.

Subscripts follow NumPy: a slice is clamped to its axis, an int must lie on it.  A position whose sign the call alone
knows, as n - 1, counts from the start.  With n for the length of an axis, all
of it is said in `_after(n, m) = max(n - m, 0)`, the elements that come after the first m, so that x[1:] and x[:-1]
have one length in normal form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, Poly, dim_max, floor_div, is_nonnegative
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.index import tf_take
from graphc.ops.movement import ALL
from graphc.ops.samples import example


def _after(size: Dim, skipped: Dim) -> Dim:
    return dim_max(size - skipped, 0)


def _is_index(value: Any) -> bool:
    return isinstance(value, (int, np.integer, Poly)) and not isinstance(value, bool)


def _from_start(position: Dim, what: Any) -> bool:
    """Whether a position counts from the start; from the end if it is negative."""
    if is_nonnegative(position):
        return True
    if is_nonnegative(-1 - position):
        return False
    raise DeclarationError(
        f"{what} may be negative or not, depending on its symbols; write gc.maximum or gc.minimum of it and a number"
    )


def _steps(key: slice, size: Dim) -> tuple[Dim, int, Dim]:
    """(start, step, count) of a slice on an axis of this length."""
    step = 1 if key.step is None else key.step
    if not _is_index(step) or isinstance(step, Poly) or step == 0:
        raise DeclarationError(f"the step of a slice is an int other than 0, got {step!r}")
    for bound in (key.start, key.stop):
        if bound is not None and not _is_index(bound):
            raise DeclarationError(f"a slice goes from int to int, got {bound!r}")
    # backwards it runs forward on the reversed axis, where position p is called -1 - p
    first, last = (p if p is None or step > 0 else -1 - p for p in (key.start, key.stop))
    begin, length = _run(first, last, size)
    stride = abs(int(step))
    return begin if step > 0 else size - 1 - begin, int(step), floor_div(length + stride - 1, stride)


def _run(start: Any, stop: Any, size: Dim) -> tuple[Dim, Dim]:
    """Where start:stop begins and how many elements it has; the beginning only matters if it has any."""
    given = (0 if p is None else p for p in (start, stop))
    first, last = (p if isinstance(p, Poly) else int(p) for p in given)
    if _from_start(first, start):
        if stop is None:
            return first, _after(size, first)
        return first, _between(first, last, size) if _from_start(last, stop) else _after(size, first - last)
    begin = _after(size, -first)
    if stop is None:
        return begin, size - begin
    if _from_start(last, stop):
        return begin, dim_max(size - _after(size, last) - begin, 0)
    return begin, _between(-last, -first, size)


def _between(low: Dim, high: Dim, size: Dim) -> Dim:
    """How many elements come after the first `low`, but not after the first `high`."""
    if is_nonnegative(low - high):
        return 0
    count = _after(size, low) - _after(size, high)
    return count if is_nonnegative(high - low) else dim_max(count, 0)


def _expanded(key: Any, ndim: int) -> list[Any]:
    """The subscript as a list without an Ellipsis that names every axis."""
    items = list(key) if isinstance(key, tuple) else [key]
    named = sum(item is not None and item is not Ellipsis for item in items)
    if sum(item is Ellipsis for item in items) > 1:
        raise DeclarationError("a subscript may hold only one '...'")
    if named > ndim:
        raise ShapeError(f"the subscript names {named} axes, but the operand has {ndim}")
    dots = next((k for k, item in enumerate(items) if item is Ellipsis), len(items))
    return [*items[:dots], *[slice(None)] * (ndim - named), *items[dots + 1 :]]


def _getitem(b: Any, x: Any, key: Any, /) -> Any:
    node = b.convert(x)
    items = _expanded(key, node.ndim)
    arrays = [k for k, item in enumerate(items) if not (item is None or isinstance(item, slice) or _is_index(item))]
    if len(arrays) > 1 or (arrays and any(_is_index(item) for item in items)):
        raise DeclarationError(
            "at most one integer array may index, beside slices only; one element for each pair of positions, as "
            "x[u, i] has it, is gc.take_along_axis(gc.take(x, u, axis=0), i[:, None], axis=1)[:, 0]"
        )
    basic = [slice(None) if k in arrays else item for k, item in enumerate(items)]
    sliced = _sliced(b, node, basic)
    return b.take(sliced, _as_positions(b, items[arrays[0]]), axis=arrays[0]) if arrays else sliced


def _as_positions(b: Any, item: Any) -> Any:
    try:
        positions = b.convert(item)
    except (DTypeError, ShapeError):
        positions = None
    if positions is None or not positions.dtype.is_integer:
        raise DeclarationError(
            f"a subscript holds ints, slices, None, '...' and one array of integers, got {item!r}; see gc.where"
        )
    return positions


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
            rows.append(_steps(item, size))
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
    items = _expanded(key, len(x.shape))
    arrays = [k for k, item in enumerate(items) if isinstance(item, list)]
    y = x[tuple(slice(None) if k in arrays else item for k, item in enumerate(items))]
    return tf_take(tf, y, tf.constant(items[arrays[0]]), arrays[0]) if arrays else y


_X = Array((4, 5, 6))

register(
    Op(
        name="getitem",
        doc="x[key] for a key of ints, slices, None and '...', as in NumPy, or one array of integers beside slices.\n\n"
        "A slice is clamped to its axis; an int must lie on it, checked at the call if the axis is symbolic."
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
            )
        ),
        rejects=(
            Reject((_X, 4), ShapeError, "index 4 does not lie on axis 0, which has length 4"),
            Reject((_X, (0, -6)), ShapeError, "index -6 does not lie on axis 1"),
            Reject((_X, (0, 0, 0, 0)), ShapeError, "names 4 axes"),
            Reject((_X, (Ellipsis, Ellipsis)), DeclarationError, "only one"),
            Reject((_X, 1.5), DeclarationError, "got 1.5"),
            Reject((_X, True), DeclarationError, "gc.where"),
            Reject((_X, "a"), DeclarationError, "got 'a'"),
            Reject((_X, slice(None, None, 0)), DeclarationError, "other than 0"),
            Reject((_X, slice(0.5, None)), DeclarationError, "from int to int"),
            Reject((_X, ([0], [1])), DeclarationError, "for each pair of positions"),
            Reject((_X, [4]), ShapeError, "position 4 does not lie on axis 0, which has length 4"),
        ),
        tf=_tf_getitem,
    )
)
