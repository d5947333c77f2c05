"""Movement: primitives that compute nothing and only tell where each element of the result is read from.

In: operands of any dtype.  Out: the same values in another place; `access` gives the scheduler a map from the result's
index to an operand's, so that no copy has to be made.  Each adjoint is another movement, or a sum over what was spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, Poly, is_nonnegative, product, same
from graphc.errors import DTypeError, ShapeError
from graphc.op import Attrs, Family, Op, Piece, register
from graphc.ops.rules import meet
from graphc.types import Constraint, Shape, TensorType, shape_text

Types = tuple[TensorType, ...]


# reshape


def _infer_reshape(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    shape: Shape = attrs["shape"]
    before, after = product(types[0].shape), product(shape)
    equal = same(before, after)
    if equal is False:
        raise ShapeError(f"{shape_text(types[0].shape)} has {before} elements and {shape_text(shape)} has {after}; they must be as many")
    if equal is None:
        found.append(Constraint(after, "==", before, f"{shape_text(types[0].shape)} must have as many elements as {shape_text(shape)}"))
    return (TensorType(types[0].dtype, shape),)


def _prefix_products(shape: Shape) -> list[Dim]:
    return [product(shape[:k]) for k in range(len(shape) + 1)]


def _groups(before: Shape, after: Shape) -> list[tuple[int, int]]:
    """Ends (in `before`, in `after`) of the shortest runs of dimensions that have equal products."""
    left, right = _prefix_products(before), _prefix_products(after)
    ends, p, q = [(0, 0)], 0, 0
    for q in range(1, len(after) + 1):
        match = next((k for k in range(ends[-1][0] + 1, len(before) + 1) if left[k] == right[q]), None)
        if match is not None and after[q - 1] != 1:
            ends.append((match, q))
    p, q = ends[-1]
    if (p, q) != (len(before), len(after)):
        trailing = all(d == 1 for d in (*before[p:], *after[q:])) and len(ends) > 1
        ends[-1 if trailing else len(ends) :] = [(len(before), len(after))]
    return ends


def _split(position: Dim, shape: Shape) -> tuple[Dim, ...]:
    """The index into `shape` of the element at a row-major position."""
    out: list[Dim] = [0] * len(shape)
    real = [k for k, d in enumerate(shape) if d != 1]
    for k in reversed(real):
        out[k] = position if k == real[0] else position % shape[k]
        position = position // shape[k]
    return tuple(out)


def _position(index: Sequence[Dim], shape: Shape) -> Dim:
    position: Dim = 0
    for i, d in zip(index, shape, strict=True):
        position = position if d == 1 else position * d + i
    return position


def _access_reshape(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    before, after = shapes[0], attrs["shape"]
    ends, source = _groups(before, after), []
    for (p0, q0), (p1, q1) in zip(ends, ends[1:], strict=False):
        source += _split(_position(index[q0:q1], after[q0:q1]), before[p0:p1])
    return [Piece(0, tuple(source))]


register(
    Op(
        name="_reshape",
        doc="The same elements, in row-major order, in another shape.",
        family=Family.MOVEMENT,
        infer=_infer_reshape,
        reference=lambda x, shape: np.reshape(x, shape),
        access=_access_reshape,
        adjoint=lambda b, g, y, x, *, shape: (b.reshape(g, x.shape),),
    )
)


# permute_dims and broadcast_to


def _infer_permute(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    return (TensorType(types[0].dtype, tuple(types[0].shape[k] for k in attrs["axes"])),)


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


register(
    Op(
        name="_permute_dims",
        doc="Result axis k is operand axis axes[k].",
        family=Family.MOVEMENT,
        infer=_infer_permute,
        reference=lambda x, axes: np.transpose(x, axes),
        access=lambda index, shapes, attrs: [Piece(0, tuple(index[k] for k in _inverse(attrs["axes"])))],
        adjoint=lambda b, g, y, x, *, axes: (b.permute_dims(g, _inverse(axes)),),
    )
)


def _infer_broadcast(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    before, after = types[0].shape, attrs["shape"]
    offset = len(after) - len(before)
    if offset < 0:
        raise ShapeError(f"{shape_text(before)} has more axes than {shape_text(after)}")
    for k, d in enumerate(before):
        if d != 1:
            meet(d, after[k + offset], found, f"{shape_text(before)} broadcasts to {shape_text(after)} only where dimensions are equal or 1")
    return (TensorType(types[0].dtype, after),)


def _access_broadcast(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    offset = len(index) - len(shapes[0])
    return [Piece(0, tuple(0 if d == 1 else index[k + offset] for k, d in enumerate(shapes[0])))]


def unbroadcast(b: Any, g: Any, shape: Shape) -> Any:
    """The sum of g over the axes along which a value of this shape was broadcast to g's."""
    extra = g.ndim - len(shape)
    axes = (*range(extra), *(k + extra for k, d in enumerate(shape) if d == 1 and g.shape[k + extra] != 1))
    return b.reshape(b.sum(g, axis=axes), shape)


register(
    Op(
        name="_broadcast_to",
        doc="The operand repeated along new leading axes and along axes of length 1.",
        family=Family.MOVEMENT,
        infer=_infer_broadcast,
        reference=lambda x, shape: np.broadcast_to(x, shape),
        access=_access_broadcast,
        adjoint=lambda b, g, y, x, *, shape: (unbroadcast(b, g, x.shape),),
    )
)


# _slice and _pad, each the other's transpose: element i of the small array is element start + i * step of the large one


def _check_steps(small: Shape, large: Shape, start: Sequence[Dim], step: Sequence[int], found: list[Constraint]) -> None:
    """Both ends of every axis lie inside, where that does not follow from how a symbolic length was made."""
    for k, (count, size, first, stride) in enumerate(zip(small, large, start, step, strict=True)):
        if not isinstance(count, int) or count == 0:
            continue
        for end in (first, first + (count - 1) * stride):
            _check_inside(end, size, k, found)


def _check_inside(position: Dim, size: Dim, axis: int, found: list[Constraint]) -> None:
    for room, shown in ((position, position), (size - 1 - position, position)):
        if is_nonnegative(room):
            continue
        text = f"index {shown} must lie on axis {axis}, which has length {size}"
        if isinstance(room, int) or is_nonnegative(-room - 1):
            raise ShapeError(text)
        found.append(Constraint(room, ">=", 0, text))


def _infer_slice(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    _check_steps(attrs["shape"], types[0].shape, attrs["start"], attrs["step"], found)
    return (TensorType(types[0].dtype, attrs["shape"]),)


def _infer_pad(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    _check_steps(types[0].shape, attrs["shape"], attrs["start"], attrs["step"], found)
    if type(attrs["fill"]) is not {"f": float, "b": bool}.get(types[0].dtype.kind, int):
        raise DTypeError(f"an array of {types[0].dtype} can't be padded with {attrs['fill']!r}")
    return (TensorType(types[0].dtype, attrs["shape"]),)


def _where(start: Sequence[int], step: Sequence[int], shape: Sequence[int]) -> tuple[Any, ...]:
    return np.ix_(*(a + s * np.arange(n) for a, s, n in zip(start, step, shape, strict=True)))


def _padded(x: Any, start: Any, step: Any, shape: Any, fill: Any) -> Any:
    out = np.full(shape, fill, x.dtype)
    out[_where(start, step, x.shape)] = x
    return out


def _access_slice(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    return [Piece(0, tuple(a + i * s for i, a, s in zip(index, attrs["start"], attrs["step"], strict=True)))]


def _access_pad(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    inner, inside, multiples = [], [], []
    for i, count, start, step, size in zip(index, shapes[0], attrs["start"], attrs["step"], attrs["shape"], strict=True):
        offset, stride = (i - start, step) if step > 0 else (start - i, -step)
        inner.append(offset // stride)
        if (start, stride, count) != (0, 1, size):
            inside.append((offset, 0, count * stride))
        if stride != 1:
            multiples.append((offset, stride))
    return [Piece(0, tuple(inner), tuple(inside), tuple(multiples))]


register(
    Op(
        name="_slice",
        doc="Element i is the operand's element start + i * step, on each axis.",
        family=Family.MOVEMENT,
        infer=_infer_slice,
        reference=lambda x, start, step, shape: x[_where(start, step, shape)],
        access=_access_slice,
        adjoint=lambda b, g, y, x, *, start, step, shape: (b.primitive("_pad", (g,), start=start, step=step, shape=x.shape, fill=0.0),),
    )
)

register(
    Op(
        name="_pad",
        doc="An array of `fill` whose element start + i * step, on each axis, is the operand's element i.",
        family=Family.MOVEMENT,
        infer=_infer_pad,
        reference=_padded,
        access=_access_pad,
        adjoint=lambda b, g, y, x, *, start, step, shape, fill: (b.primitive("_slice", (g,), start=start, step=step, shape=x.shape),),
    )
)


# concat


def _infer_concat(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    first, axis = types[0], attrs["axis"]
    shape, length = list(first.shape), first.shape[axis]
    for t in types[1:]:
        if t.dtype != first.dtype:
            raise DTypeError(f"operands are {first.dtype} and {t.dtype}; convert one with gc.astype")
        if t.ndim != first.ndim:
            raise ShapeError(f"all operands need as many axes, got {shape_text(first.shape)} and {shape_text(t.shape)}")
        for k in range(first.ndim):
            if k != axis:
                shape[k] = meet(shape[k], t.shape[k], found, f"lengths of axis {k} must be equal, since axis {axis} is joined")
        length = length + t.shape[axis]
    shape[axis] = length
    return (TensorType(first.dtype, tuple(shape)),)


def _offsets(shapes: Sequence[Shape], axis: int) -> list[Dim]:
    out: list[Dim] = [0]
    for shape in shapes:
        out.append(out[-1] + shape[axis])
    return out


def _access_concat(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    axis = attrs["axis"]
    offsets = _offsets(shapes, axis)
    along = index[axis]
    return [
        Piece(k, (*index[:axis], along - offsets[k], *index[axis + 1 :]), ((along, offsets[k], offsets[k + 1]),))
        for k in range(len(shapes))
    ]


def _adjoint_concat(b: Any, g: Any, y: Any, *operands: Any, axis: int) -> list[Any]:
    offsets = _offsets([o.shape for o in operands], axis)
    starts = [tuple(offset if k == axis else 0 for k in range(g.ndim)) for offset in offsets]
    return [
        b.primitive("_slice", (g,), start=start, step=(1,) * g.ndim, shape=o.shape) for o, start in zip(operands, starts, strict=False)
    ]


register(
    Op(
        name="_concat",
        doc="The operands one after the other along an axis.",
        family=Family.MOVEMENT,
        infer=_infer_concat,
        reference=lambda *arrays, axis: np.concatenate(arrays, axis),
        access=_access_concat,
        adjoint=_adjoint_concat,
    )
)

_ = Poly
