"""Convolutions as contractions of windows, or as sums of shifted products.

In: a convolution.  Out: the contraction of a view of its first operand, padded in memory, in which windows overlap, so
that the matrix kernels read them where they lie; where nothing but the places of windows is summed over, as in each
channel by itself, the products of elements at each place, added up, which are one nest.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from graphc.declare import BUILDER
from graphc.dims import Dim, dim_max, product
from graphc.graph import Node
from graphc.op import Family
from graphc.ops.convolve import Window, windows_of
from graphc.ops.linalg import aligned, contract
from graphc.ops.windows import Windows, shifted, windowed
from graphc.schedule.access import strided, strides

_SHIFTS = 64  # products that are written one by one
_COLUMNS = 8  # fewer leave most lanes idle


def lowered(node: Node) -> Node:
    """What a convolution is made of."""
    x, v = node.operands
    labels, v_labels, out = (node.attrs[k] for k in ("a_labels", "b_labels", "out_labels"))
    found = windows_of(node.attrs)
    along = {labels.index(w.axis): _inside(w, w.place in v_labels) for w in found}
    x, along = _padded(x, along)
    within = ""
    for w in found:
        position, place = (w.position, w.place) if w.place in v_labels else (w.place, w.position)
        labels, within = labels.replace(w.axis, position), within + place
    if all(c in out or c in within for c in v_labels) and _is_few(product(w.length for w in along.values())):
        return _shifted_products(x, labels, v, v_labels, within, out, along)
    view, labels = _in_order(windowed(BUILDER, x, along), labels, list(along), within)
    if all(w.place in v_labels for w in found):
        v, v_labels = _as_kernel(v, v_labels, labels, out)
    contraction: Node = contract(BUILDER, view, labels, v, v_labels, out)
    return contraction


def _in_order(view: Node, labels: str, axes: Sequence[int], within: str) -> tuple[Node, str]:
    """The view with each place behind its window, in the order of memory: so labels that step evenly are neighbours."""
    order = []
    for k in range(len(labels)):
        order += [k, len(labels) + axes.index(k)] if k in axes else [k]
    every = labels + within
    return BUILDER.permute_dims(view, tuple(order)), "".join(every[k] for k in order)


def _as_kernel(v: Node, labels: str, others: str, out: str) -> tuple[Node, str]:
    """The operand that is read for every window, in memory in the order in which it is read.

    Columns lie side by side; if they are few, what is summed over does.
    """
    shared = [c for c in others if c in labels]
    batch, summed = ([c for c in shared if (c in out) == wanted] for wanted in (True, False))
    columns = [c for c in out if c in labels and c not in others]
    few = product(v.shape[labels.index(c)] for c in columns)
    parts = (columns, summed) if isinstance(few, int) and few <= _COLUMNS else (summed, columns)
    wanted = "".join([*batch, *parts[0], *parts[1]])
    moved: Node = BUILDER.permute_dims(v, tuple(labels.index(c) for c in wanted))
    if moved.op.family is Family.MOVEMENT and not _lies_so(moved):
        moved = BUILDER.stop_gradient(moved)
    return moved, wanted


def _lies_so(node: Node) -> bool:
    """Whether the elements of a view lie in memory in their order."""
    view = strided(node)
    if view is None:
        return False
    return all(s == t or d == 1 for s, t, d in zip(view.steps, strides(node.shape), node.shape, strict=True))


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
