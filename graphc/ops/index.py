"""Reads and updates at positions that operands hold: the two primitives, and what records declare them with.

Every axis of the source is either one of the result, or read at positions: `along` has the number of that axis for it,
or -1 - k for position operand k.  `modes` says of each position operand what its integers may be:

    check    negative ones count from the end; one that does not lie on the axis is an error, at declaration where it
             is a constant, else at the call
    label    from the start; a negative one is an error as well
    inside   from the start and on the axis, as whoever declares the node promises, if the axis has any element
    drop     from the start; what does not lie on the axis is left out (updates only)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, is_positive, product
from graphc.errors import DeclarationError, DTypeError, InputError, ShapeError
from graphc.op import Attrs, Family, Op, register
from graphc.ops.movement import ALL
from graphc.ops.rules import require
from graphc.types import (
    FLOATS,
    INTEGERS,
    Constraint,
    TensorType,
    broadcast,
    int64,
    uint64,
)

CHECKS = ("check", "label")  # modes that may fail

Types = tuple[TensorType, ...]
Along = tuple[int, ...]


def _domain(types: Types, source: TensorType, positions: Types, along: Along, found: list[Constraint]) -> Any:
    """The shape of what is read or written: positions and other operands with the source's own axes."""
    for p in positions:
        if not p.dtype.is_integer:
            raise DTypeError(f"positions are integers, got {p.dtype}; convert them with gc.astype")
        assert p.ndim == positions[0].ndim, "positions have as many axes as what is read or written"
    rank = positions[0].ndim
    own: list[Any] = [1] * rank
    for axis, k in enumerate(along):
        if k >= 0:
            own[k] = source.shape[axis]
    return broadcast([tuple(own), *(t.shape for t in types)], found)


def _infer_gather(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    source, *positions = types
    return (TensorType(source.dtype, _domain(tuple(positions), source, tuple(positions), attrs["along"], found)),)


def _infer_scatter(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    require(types[:2], ALL if attrs["combine"] == "set" else (*FLOATS, *INTEGERS))
    _domain(types[1:], types[0], types[2:], attrs["along"], found)
    return (types[0],)


def _on_axis(indices: Any, size: int, axis: int, mode: str = "check") -> Any:
    """The positions as NumPy takes them; InputError names the first that does not lie on the axis."""
    outside = (indices < (-size if mode == "check" else 0)) | (indices >= size)
    if np.any(outside):
        raise InputError(f"position {indices[outside][0]} does not lie on axis {axis}, which has length {size}")
    return indices.astype(np.int64)


def _places(shape: Any, domain: Any, positions: Sequence[Any], along: Along, modes: Sequence[str]) -> tuple[Any, Any]:
    """The position on every axis for each element of the domain, from the start, and which of them all are inside."""
    places, inside = [], np.ones(domain, np.bool_)
    for axis, (size, k) in enumerate(zip(shape, along, strict=True)):
        if k < 0:
            at = positions[-1 - k]
            at = _on_axis(at, size, axis, modes[-1 - k]) if modes[-1 - k] in CHECKS else at.astype(np.int64)
            at = np.where((at < 0) & (modes[-1 - k] == "check"), at + size, at)
        else:
            at = np.arange(size).reshape([size if j == k else 1 for j in range(len(domain))])
        at = np.broadcast_to(at, domain)
        inside &= (at >= 0) & (at < size)
        places.append(at)
    return tuple(places), inside


def gather_reference(x: Any, *positions: Any, along: Along, modes: Sequence[str]) -> Any:
    own = [1] * positions[0].ndim
    for axis, k in enumerate(along):
        if k >= 0:
            own[k] = x.shape[axis]
    domain = np.broadcast_shapes(tuple(own), *(p.shape for p in positions))
    places, inside = _places(x.shape, domain, positions, along, modes)
    if not inside.all():
        assert 0 in x.shape, "positions lie inside"
        return np.zeros(domain, x.dtype)
    return x[places]


_COMBINE = {"add": np.add, "multiply": np.multiply, "minimum": np.minimum, "maximum": np.maximum}


def _scatter(
    x: Any, values: Any, *positions: Any, along: Along, modes: Sequence[str], combine: str, distinct: bool
) -> Any:
    places, inside = _places(x.shape, values.shape, positions, along, modes)
    assert "drop" in modes or 0 in x.shape or inside.all(), "positions lie inside"
    out, at = x.copy(), tuple(p[inside] for p in places)
    if combine == "set":
        for k, value in enumerate(values[inside]):
            out[tuple(p[k] for p in at)] = value
    else:
        _COMBINE[combine].at(out, at, values[inside])
    return out


# The adjoints.


def _add_back(b: Any, g: Any, y: Any, x: Any, *positions: Any, along: Along, modes: Sequence[str]) -> tuple[Any, ...]:
    whole = updated(b, b.zeros(x.shape, dtype=x.dtype), g, positions, along, modes, "add")
    return whole, *[None] * len(positions)


def _scatter_back(
    b: Any, g: Any, y: Any, x: Any, v: Any, *positions: Any, along: Along, modes: Any, combine: str, distinct: bool
) -> tuple[Any, ...]:
    def write(base: Any, values: Any, how: str) -> Any:
        return updated(b, base, values, positions, along, modes, how, distinct)

    def read(source: Any) -> Any:
        return read_or(b, source, 0, positions, along, modes)

    if combine == "add":
        to_x, to_v = g, read(g)
    elif combine == "set":
        to_x, to_v = write(g, b.zeros(v.shape, dtype=v.dtype), "set"), read(g)
        if not distinct:  # of several values at a position the last is there
            number = b.reshape(b.arange(product(v.shape), dtype=int64), v.shape)
            to_v = b.where(b.equal(read(write(b.zeros(x.shape, dtype=int64), number, "set")), number), to_v, 0)
    elif combine == "multiply":
        to_x, to_v = write(g, v, "multiply"), read(g * x) if distinct else _factors_back(b, g, x, v, write, read)
    else:  # the old value and all that are equal to the new one share alike
        kept, hit = b.equal(x, y), b.equal(v, read(y))
        share = g / write(b.astype(kept, g.dtype), b.astype(hit, g.dtype), "add")
        to_x, to_v = b.where(kept, share, 0), b.where(hit, read(share), 0)
    return to_x, to_v, *[None] * len(positions)


def _factors_back(b: Any, g: Any, x: Any, v: Any, write: Any, read: Any) -> Any:
    """The cotangents of factors: g times the other factors at their positions, also where one of these is 0."""
    zero = b.equal(v, 0)
    others = write(g * x, b.where(zero, 1, v), "multiply")
    zeros = read(write(b.zeros(x.shape, dtype=int64), b.astype(zero, int64), "add"))
    alone = b.where(b.equal(zeros, 1), read(others), 0)
    return b.where(zero, alone, b.where(b.equal(zeros, 0), read(others) / b.where(zero, 1, v), 0))


register(
    Op(
        name="_gather",
        doc="Elements of the first operand at positions that the others hold; `along` tells which axis each is for.",
        family=Family.GATHER,
        infer=_infer_gather,
        reference=gather_reference,
        adjoint=_add_back,
        dtypes=ALL,
    )
)
register(
    Op(
        name="_scatter",
        doc="The first operand with values put or combined at positions, one after the other.",
        family=Family.SCATTER,
        infer=_infer_scatter,
        reference=_scatter,
        adjoint=_scatter_back,
        dtypes=ALL,
    )
)


register(
    Op(
        name="_position",
        doc="Positions of an update from the start; the first operand has all those of the axis that `told` names.",
        family=Family.GATHER,
        infer=_infer_gather,
        reference=lambda every, p, *, along, modes, told: every[_on_axis(p, every.size, told[1], modes[0])],
        dtypes=(int64,),
    )
)


# What the records declare reads and updates with.


def read(b: Any, x: Any, positions: Sequence[Any], along: Along, modes: Sequence[str]) -> Any:
    """The elements at the positions, none of which may be left out."""
    return b.primitive("_gather", (x, *positions), along=along, modes=tuple(modes))


def read_or(b: Any, x: Any, fill: Any, positions: Sequence[Any], along: Along, modes: Sequence[str]) -> Any:
    """The same, with `fill` where a position is left out."""
    if "drop" not in modes:
        return read(b, x, positions, along, modes)
    found, kept = [], True
    for k, (p, mode) in enumerate(zip(positions, modes, strict=True)):
        if mode == "drop":
            inside = b.logical_and(b.greater_equal(p, 0), b.less(p, x.shape[along.index(-1 - k)]))
            p, kept = b.where(inside, p, 0), inside if kept is True else b.logical_and(kept, inside)
        found.append(p)
    inside_modes = ["inside" if m == "drop" else m for m in modes]
    return b.where(kept, read(b, x, found, along, inside_modes), fill)


def updated(
    b: Any,
    x: Any,
    values: Any,
    positions: Sequence[Any],
    along: Along,
    modes: Sequence[str],
    combine: str,
    distinct: bool = False,
) -> Any:
    """x with values, of the shape of what is written, put or combined at positions; `distinct`: no two are equal."""
    attrs = {"along": along, "modes": tuple(modes), "combine": combine, "distinct": distinct}
    return b.primitive("_scatter", (x, values, *positions), **attrs)


def along_axis(ndim: int, axis: int) -> Along:
    """Positions along one axis; the others are those of the result."""
    return tuple(-1 if k == axis else k for k in range(ndim))


def checked(b: Any, positions: Any, size: Dim, axis: int, mode: str) -> Any:
    """Positions of an update from the start; one that does not lie on the axis is an error."""
    return b.primitive("_position", (b.arange(size), positions), along=(-1,), modes=(mode,), told=("scatter", axis))


MODES = ("clip", "wrap", "drop")


def positions_on(b: Any, positions: Any, size: Dim, axis: int, mode: str | None = None) -> tuple[Any, str]:
    """The positions of one operand on an axis and their mode in the primitive; `mode` is None or one of MODES."""
    if mode is not None and mode not in MODES:
        raise DeclarationError(f"mode is None (an error), 'clip', 'wrap' or 'drop', got {mode!r}")
    if not positions.dtype.is_integer:
        raise DTypeError(f"positions are integers, got {positions.dtype}; convert them with gc.astype")
    if mode == "clip":
        clipped = b.minimum(b.maximum(from_start(b, positions, size), 0), size - 1)
        return clipped, "inside" if is_positive(size) else "check"
    if mode == "wrap":
        wrapped = b.remainder(_whole(b, positions), b.convert(size, int64))
        return wrapped, "inside" if is_positive(size) else "check"
    if mode == "drop":
        return from_start(b, positions, size), "drop"
    if positions.op.name == "constant" and isinstance(size, int):
        try:
            found = _on_axis(positions.attrs["value"].array, size, axis)
        except InputError as error:
            raise ShapeError(str(error)) from None
        return b.constant(np.where(found < 0, found + size, found)), "inside"
    return positions, "check"


def labels_on(b: Any, labels: Any, mode: str | None) -> tuple[Any, str]:
    """The positions that labels are, and their mode in the primitive; `mode` is None or 'drop'."""
    if not labels.dtype.is_integer:
        raise DTypeError(f"labels are integers, got {labels.dtype}; convert them with gc.astype")
    if mode not in (None, "drop"):
        raise DeclarationError(f"mode is None (an error) or 'drop', got {mode!r}")
    return (labels, "label") if mode is None else (_whole(b, labels), "drop")


def from_start(b: Any, positions: Any, size: Dim) -> Any:
    """Positions that count from the start, as int64."""
    wide = _whole(b, positions)
    return wide if positions.dtype.kind == "u" else b.where(b.less(wide, 0), wide + size, wide)


def _whole(b: Any, positions: Any) -> Any:
    """Positions as int64; what it does not hold must not come back as a position from the end."""
    return b.astype(b.minimum(positions, 2**63 - 1) if positions.dtype == uint64 else positions, int64)
