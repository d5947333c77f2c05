"""Reads at the position of a loop are elements.

In: a loop as it was traced.  Out: the same loop, in which what a step reads of an array outside at the position, or so
many further on, is an element of an array that the loop goes along.  So `x[i]` in a `fori_loop` costs what it costs in
a `scan`, and its cotangents are laid side by side rather than added at positions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from graphc.declare import BUILDER
from graphc.dims import Dim, Poly, is_nonnegative
from graphc.graph import Node
from graphc.op import Family
from graphc.ops.bodies import below, depending, slot, substituted
from graphc.ops.loop_parts import Loop
from graphc.types import TensorType


def with_elements(loop: Loop, inside: Collection[Node]) -> Loop:
    """The loop with elements in the place of reads at its position; `inside` are the nodes that may belong to it."""
    places = {loop.index: 0} | dict(_positions(loop))
    ends = [loop.index, *loop.carries, *loop.elements]
    order = below([*loop.new, *loop.ys], ends, inside)
    variant = depending(order, ends)
    elements, arrays, instead = list(loop.elements), list(loop.arrays), dict[Node, Node]()
    for n in order:
        if n.op.family is not Family.GATHER or n.operands[0] in variant or len(n.operands) > 2:
            continue
        begin, axis = _place(n.operands[1], places), n.attrs["along"].index(-1)
        array = None if begin is None else _along(n.operands[0], axis, begin, loop.length)
        if array is not None:
            elements.append(slot("element", TensorType(array.dtype, array.shape[1:])))
            arrays.append(array)
            others = dict(zip((k for k in n.attrs["along"] if k >= 0), array.shape[1:], strict=True))
            row = BUILDER.reshape(elements[-1], tuple(others.get(k, 1) for k in range(n.ndim)))
            instead[n] = BUILDER.broadcast_to(row, n.shape)
    if not instead:
        return loop
    roots = substituted([*loop.new, *loop.ys], instead, inside)
    count = len(loop.carries)
    return replace(loop, new=roots[:count], ys=roots[count:], elements=elements, arrays=arrays)


def _positions(loop: Loop) -> list[tuple[Node, Dim]]:
    """Elements that are the position, or so many further on."""
    pairs = zip(loop.elements, loop.arrays, strict=True)
    return [(e, a.attrs["start"]) for e, a in pairs if a.op.name == "_iota" and a.dtype == loop.index.dtype]


def _place(positions: Node, places: dict[Node, Dim]) -> Dim | None:
    """How far from the position of the loop all these positions are; None if that is not known, or not forward."""
    while positions.op.name in ("reshape", "broadcast_to"):
        positions = positions.operands[0]
    if positions.shape:
        return None
    begin: Dim = 0
    while positions not in places:
        if positions.op.name != "add":
            return None
        first, second = positions.operands
        if first.op.name == "constant":
            first, second = second, first
        if second.op.name != "constant":
            return None
        begin += second.attrs["value"].array.item()
        positions = first
    begin += places[positions]
    return begin if is_nonnegative(begin) else None


def _along(x: Node, axis: int, begin: Dim, length: Dim) -> Node | None:
    """What a loop of this length goes along to read x on an axis from `begin` on; None where it might end too early."""
    if not _fits(length, x.shape[axis] - begin):
        return None
    moved = BUILDER.permute_dims(x, (axis, *(k for k in range(x.ndim) if k != axis)))
    rest = moved.shape[1:]
    start, step = (begin, *(0 for _ in rest)), (1,) * x.ndim
    return BUILDER.primitive("_slice", (moved,), start=start, step=step, shape=(length, *rest))


def _fits(length: Dim, room: Dim) -> bool:
    """Whether there is room for the length, whatever the symbols, or it is 0."""
    if is_nonnegative(room - length):
        return True
    terms = length.terms if isinstance(length, Poly) else ()
    if len(terms) != 1 or terms[0][1] != 1 or len(terms[0][0]) != 1:
        return False
    ((atom, power),) = terms[0][0]
    pairs = (atom.operands, atom.operands[::-1])
    return atom.kind == "max" and power == 1 and any(p == 0 and is_nonnegative(room - q) for p, q in pairs)
