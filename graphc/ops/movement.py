"""Movement: primitives that compute nothing and only tell where each element of the result is read from.

In: operands of any dtype.  Out: the same values in another place; `access` gives the scheduler a map from the result's
index to an operand's, so that no copy has to be made.  Each adjoint is another movement, or a sum over what was spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, Poly, floor_div, product, same
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Attrs, Family, Op, Piece, Reject, Sample, register
from graphc.ops.rules import meet
from graphc.ops.samples import example
from graphc.types import DTYPES, Constraint, Shape, TensorType, as_shape, normalize_axis, shape_text

ALL = tuple(DTYPES.values())
Types = tuple[TensorType, ...]


# reshape


def _infer_reshape(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    shape: Shape = attrs["shape"]
    before, after = product(types[0].shape), product(shape)
    equal = same(before, after)
    if equal is False:
        raise ShapeError(
            f"{shape_text(types[0].shape)} has {before} elements and {shape_text(shape)} has {after}; they must agree"
        )
    if equal is None:
        found.append(Constraint(after, "==", before, _why_equal(types[0].shape, shape)))
    return (TensorType(types[0].dtype, shape),)


def _why_equal(before: Shape, after: Shape) -> str:
    total = product(before)
    for k, d in enumerate(after):
        known = product(after[:k] + after[k + 1 :])
        if isinstance(d, Poly) and known != 0 and d == floor_div(total, known):
            return f"{known} must divide {total}, the number of elements of {shape_text(before)}"
    return f"{shape_text(before)} must have as many elements as {shape_text(after)}"


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """Shortest runs of operand axes and result axes that hold equally many elements; axes of length 1 are left out."""
    p, q = ([k for k, d in enumerate(shape) if d != 1] for shape in (before, after))
    ends = {product(before[k] for k in p[:n]): n for n in range(1, len(p) + 1)}
    out, m, start = [], 0, 0
    for n in range(1, len(q) + 1):
        end = ends.get(product(after[k] for k in q[:n]))
        if end is not None:
            out.append((p[m:end], q[start:n]))
            m, start = end, n
    return [*out, (p[m:], q[start:])]


def _access_reshape(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    before, after = shapes[0], attrs["shape"]
    source: list[Dim] = [0] * len(before)
    if 0 in before:  # there is no element, so that any will do that is looked for inside the loops, on that axis
        source[before.index(0)] = sum(index)
        return [Piece(0, tuple(source))]
    for operand_axes, result_axes in _groups(before, after):
        position: Dim = 0
        for k in result_axes:
            position = position * after[k] + index[k]
        for k in reversed(operand_axes):
            source[k] = position if k == operand_axes[0] else position % before[k]
            position = position // before[k] if len(operand_axes) > 1 else 0
    return [Piece(0, tuple(source))]


def _reshape(b: Any, x: Any, /, shape: Any) -> Any:
    node = b.convert(x)
    wanted = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    free = [k for k, d in enumerate(wanted) if isinstance(d, (int, np.integer)) and d == -1]
    if len(free) > 1:
        raise ShapeError(f"only one dimension may be -1, got {tuple(wanted)}")
    for k in free:
        wanted[k] = 1
        known = product(as_shape(wanted))
        if known == 0:
            raise ShapeError(f"-1 has no one value in {tuple(shape)}, since another dimension is 0")
        wanted[k] = floor_div(product(node.shape), known)
    after = as_shape(wanted)
    return node if after == node.shape else b.primitive("reshape", (node,), shape=after)


_X = Array((2, 3, 4))

register(
    Op(
        name="reshape",
        doc="The same elements, in row-major order, in another `shape`; a dimension of -1 takes what is left."
        + example("gc.reshape([1, 2, 3, 4], (2, -1))", "array([[1, 2],\n       [3, 4]])"),
        family=Family.MOVEMENT,
        infer=_infer_reshape,
        define=_reshape,
        reference=lambda x, shape: np.reshape(x, shape),
        access=_access_reshape,
        adjoint=lambda b, g, y, x, *, shape: (b.reshape(g, x.shape),),
        dtypes=ALL,
        samples=(
            Sample((_X, (6, 4))),
            Sample((_X, (4, -1))),
            Sample((_X, -1)),
            Sample((Array((1, 1)), ())),
            Sample((Array(()), (1, 1))),
            Sample((Array((0, 3)), (-1, 3))),
            Sample((Array((6, 1, 4)), (2, 3, 1, 2, 2))),
        ),
        rejects=(
            Reject((_X, (5, 5)), ShapeError, "24 elements and [5, 5] has 25"),
            Reject((_X, (-1, 5)), ShapeError, "elements"),
            Reject((_X, (-1, -1)), ShapeError, "only one dimension"),
            Reject((Array((0, 3)), (-1, 0)), ShapeError, "another dimension is 0"),
            Reject((_X, (2, -3, 4)), ShapeError, ">= 0"),
            Reject((_X, 2.5), ShapeError, "2.5"),
        ),
        tf=lambda tf, x, shape: tf.reshape(x, [shape] if isinstance(shape, int) else shape),
    )
)


# permute_dims and broadcast_to


def _infer_permute(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    return (TensorType(types[0].dtype, tuple(types[0].shape[k] for k in attrs["axes"])),)


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _permute_dims(b: Any, x: Any, /, axes: Any = None) -> Any:
    node = b.convert(x)
    order = (
        tuple(reversed(range(node.ndim)))
        if axes is None
        else tuple(normalize_axis(k, node.ndim, "permute_dims") for k in axes)
    )
    if sorted(order) != list(range(node.ndim)):
        raise ShapeError(f"axes must name each of the {node.ndim} axes once, got {axes}")
    return node if order == tuple(range(node.ndim)) else b.primitive("permute_dims", (node,), axes=order)


register(
    Op(
        name="permute_dims",
        doc="The axes in another order, reversed where none is given: result axis k is operand axis `axes[k]`."
        + example("gc.permute_dims([[1, 2, 3]], (1, 0))", "array([[1],\n       [2],\n       [3]])"),
        family=Family.MOVEMENT,
        infer=_infer_permute,
        define=_permute_dims,
        reference=lambda x, axes=None: np.transpose(x, axes),
        access=lambda index, shapes, attrs: [Piece(0, tuple(index[k] for k in _inverse(attrs["axes"])))],
        adjoint=lambda b, g, y, x, *, axes: (b.permute_dims(g, _inverse(axes)),),
        dtypes=ALL,
        samples=(
            Sample((_X,)),
            Sample((_X, (2, 0, 1))),
            Sample((_X, (0, -1, 1))),
            Sample((Array(()),)),
            Sample((Array((0, 3)),)),
        ),
        rejects=(
            Reject((_X, (0, 1)), ShapeError, "each of the 3 axes once"),
            Reject((_X, (0, 1, 1)), ShapeError, "each of the 3 axes once"),
            Reject((_X, (0, 1, 3)), ShapeError, "axis 3 does not exist"),
        ),
        tf=lambda tf, x, axes=None: tf.transpose(x, None if axes is None else [k % len(axes) for k in axes]),
    )
)


def _infer_broadcast(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    before, after = types[0].shape, attrs["shape"]
    offset = len(after) - len(before)
    if offset < 0:
        raise ShapeError(f"{shape_text(before)} has more axes than {shape_text(after)}")
    for k, d in enumerate(before):
        if d != 1:
            meet(
                d,
                after[k + offset],
                found,
                f"{shape_text(before)} broadcasts to {shape_text(after)} only where dimensions are equal or 1",
            )
    return (TensorType(types[0].dtype, after),)


def _access_broadcast(index: Sequence[Dim], shapes: Sequence[Shape], attrs: Attrs) -> list[Piece]:
    offset = len(index) - len(shapes[0])
    return [Piece(0, tuple(0 if d == 1 else index[k + offset] for k, d in enumerate(shapes[0])))]


def unbroadcast(b: Any, g: Any, shape: Shape) -> Any:
    """The sum of g over the axes along which a value of this shape was broadcast to g's."""
    extra = g.ndim - len(shape)
    axes = (*range(extra), *(k + extra for k, d in enumerate(shape) if d == 1 and g.shape[k + extra] != 1))
    return b.reshape(b.sum(g, axis=axes), shape)


def _broadcast_to(b: Any, x: Any, /, shape: Any) -> Any:
    node, after = b.convert(x), as_shape(shape)
    return node if after == node.shape else b.primitive("broadcast_to", (node,), shape=after)


register(
    Op(
        name="broadcast_to",
        doc="The operand repeated along new leading axes and along axes of length 1; only a literal 1 is repeated."
        + example("gc.broadcast_to([1, 2], (2, 2))", "array([[1, 2],\n       [1, 2]])"),
        family=Family.MOVEMENT,
        infer=_infer_broadcast,
        define=_broadcast_to,
        reference=lambda x, shape: np.broadcast_to(x, shape),
        access=_access_broadcast,
        adjoint=lambda b, g, y, x, *, shape: (unbroadcast(b, g, x.shape),),
        dtypes=ALL,
        samples=(
            Sample((Array((3, 1)), (2, 3, 4))),
            Sample((Array(()), (2, 2))),
            Sample((Array((1, 4)), (0, 4))),
            Sample((_X, (2, 3, 4))),
        ),
        rejects=(
            Reject((_X, (2, 3)), ShapeError, "more axes"),
            Reject((Array((3,)), (4,)), ShapeError, "got 3 and 4"),
        ),
        tf=lambda tf, x, shape: tf.broadcast_to(x, shape),
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
                shape[k] = meet(
                    shape[k], t.shape[k], found, f"lengths of axis {k} must be equal, since axis {axis} is joined"
                )
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
        b.primitive("_slice", (g,), start=start, step=(1,) * g.ndim, shape=o.shape)
        for o, start in zip(operands, starts, strict=False)
    ]


def _concat(b: Any, arrays: Any, /, axis: int | None = 0) -> Any:
    nodes = b.promoted(*listed(arrays, "concat"))
    if axis is None:
        nodes, axis = tuple(b.reshape(n, -1) for n in nodes), 0
    if not nodes[0].ndim:
        raise ShapeError("0-d operands have no axis to be joined along; write gc.stack")
    k = normalize_axis(axis, nodes[0].ndim, "concat")
    return nodes[0] if len(nodes) == 1 else b.primitive("concat", nodes, axis=k)


def listed(arrays: Any, what: str) -> list[Any]:
    """The operands of an op that joins them: a non-empty list or tuple."""
    if not isinstance(arrays, (list, tuple)) or not arrays:
        raise DeclarationError(f"{what} takes a non-empty list or tuple of arrays, got {arrays!r}")
    return list(arrays)


register(
    Op(
        name="concat",
        doc="The operands one after the other along `axis`; flattened first where it is None."
        + example("gc.concat([[1, 2], [3]])", "array([1, 2, 3])"),
        family=Family.MOVEMENT,
        infer=_infer_concat,
        define=_concat,
        reference=lambda arrays, axis=0: np.concatenate(arrays, axis),
        evaluate=lambda *arrays, axis: np.concatenate(arrays, axis),
        access=_access_concat,
        adjoint=_adjoint_concat,
        dtypes=ALL,
        samples=(
            Sample(([Array((2, 3)), Array((4, 3))],)),
            Sample(([Array((2, 3)), Array((2, 0)), Array((2, 1))],), {"axis": -1}),
            Sample(([Array((2, 3)), Array((4,))],), {"axis": None}),
            Sample(([Array((3,))],)),
        ),
        rejects=(
            Reject(([Array((2, 3)), Array((2, 4))],), ShapeError, "lengths of axis 1 must be equal"),
            Reject(([Array((2, 3)), Array((3,))],), ShapeError, "as many axes"),
            Reject(([Array((2, 3)), Array((2, 3))],), ShapeError, "axis 2 does not exist", {"axis": 2}),
            Reject(([Array(()), Array(())],), ShapeError, "gc.stack"),
            Reject(([],), DeclarationError, "non-empty list"),
            Reject((Array((2, 3)),), DeclarationError, "non-empty list"),
        ),
        tf=lambda tf, arrays, axis=0: tf.concat(
            [tf.reshape(a, [-1]) for a in arrays] if axis is None else arrays, axis or 0
        ),
    )
)
