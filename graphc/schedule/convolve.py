"""Convolutions as contractions of windows, or as sums of shifted products.

In: a convolution.  Out: the contraction of a view of its first operand, padded in memory, in which windows overlap, so
that the matrix kernels read them where they lie; where nothing but the places of windows is summed over, as in each
channel by itself, the products of elements at each place, added up, which are one nest.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from graphc.declare import BUILDER
from graphc.dims import Dim, dim_max, product
from graphc.graph import Node
from graphc.op import Family
from graphc.ops.convolution import Window, windows_of
from graphc.ops.linalg import aligned, contract
from graphc.ops.windows import Windows, shifted, windowed
from graphc.schedule.access import strided

_SHIFTS = 64  # products that are written one by one


def lowered(node: Node) -> Node:
    """What a convolution is made of."""
    x, v = node.operands
    labels, v_labels, out = (node.attrs[k] for k in ("a_labels", "b_labels", "out_labels"))
    along = {labels.index(w.axis): _inside(w, w.place in v_labels) for w in windows_of(node.attrs)}
    x, along = _padded(x, along)
    summed = ""
    for w in windows_of(node.attrs):
        position, place = (w.position, w.place) if w.place in v_labels else (w.place, w.position)
        labels = labels.replace(w.axis, position)
        summed += place
    if all(c in out or c in summed for c in v_labels) and _is_few(product(w.length for w in along.values())):
        return _shifted_products(x, labels, v, v_labels, summed, out, along)
    found: Node = contract(BUILDER, windowed(BUILDER, x, along), labels + summed, v, v_labels, out)
    return found


def _inside(w: Window, summed: bool) -> Windows:
    """The windows, with what is summed over as their inside."""
    if summed:
        return Windows(-w.before, w.stride, w.positions, w.dilation, w.places)
    return Windows(-w.before, w.dilation, w.places, w.stride, w.positions)


def _is_few(count: Dim) -> bool:
    return isinstance(count, int) and count <= _SHIFTS


def _padded(x: Node, along: Mapping[int, Windows]) -> tuple[Node, dict[int, Windows]]:
    """x in memory, with zeros where windows begin or end outside, and the windows on it."""
    widths: list[tuple[Dim, Dim]] = [(0, 0)] * x.ndim
    found = {}
    for k, w in along.items():
        last = w.start + (w.count - 1) * w.step + (w.length - 1) * w.dilation
        low = dim_max(0, -w.start)
        widths[k] = (low, dim_max(0, last + 1 - x.shape[k]))
        found[k] = Windows(w.start + low, w.step, w.count, w.dilation, w.length)
    padded: Node = BUILDER.pad(x, widths)
    if padded.op.family is Family.MOVEMENT and strided(padded) is None:
        padded = BUILDER.stop_gradient(padded)
    return padded, found


def _shifted_products(
    x: Node, labels: str, v: Node, v_labels: str, summed: str, out: str, along: Mapping[int, Windows]
) -> Node:
    total: Node | None = None
    for place in itertools.product(*(range(int(w.length)) for w in along.values())):  # type: ignore[arg-type]
        at = tuple(place[summed.index(c)] if c in summed else slice(None) for c in v_labels)
        left = aligned(BUILDER, shifted(BUILDER, x, along, place), labels, out)
        term = left * aligned(BUILDER, v[at], "".join(c for c in v_labels if c not in summed), out)
        total = term if total is None else total + term
    assert total is not None
    return total
