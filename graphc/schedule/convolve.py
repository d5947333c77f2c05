"""Convolutions as contractions of windows, or as sums of shifted products.

In: a convolution.  Out: the contraction of a view of its first operand, padded in memory, in which windows overlap, so
that the matrix kernels read them where they lie; where nothing but the places of windows is summed over, as in each
channel by itself, the products of elements at each place, added up, which are one nest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.declare import BUILDER
from graphc.dims import Dim, dim_max, product
from graphc.graph import Node
from graphc.op import Family
from graphc.ops.convolve import Window, windows_of
from graphc.ops.linalg import aligned, contract
from graphc.ops.stored import stored
from graphc.ops.windows import Windows, shifted, windowed
from graphc.schedule.access import strided, strides

_SHIFTS = 64  # products that are written one by one
_COLUMNS = 8  # fewer leave most lanes idle


def lowered(node: Node) -> Node:
    """What a convolution is made of."""
    (x, v), found = node.operands, windows_of(node.attrs)
    labels, v_labels, out = (node.attrs[k] for k in ("a_labels", "b_labels", "out_labels"))
    along = {labels.index(w.axis): _inside(w, w.place in v_labels) for w in found}
    x, along = _padded(x, along)
    kept, within = "", ""
    for w in found:
        position, place = (w.position, w.place) if w.place in v_labels else (w.place, w.position)
        labels, kept, within = labels.replace(w.axis, position), kept + position, within + place
    parts = Parts(x, labels, list(along.values()), [labels.index(c) for c in kept], v, v_labels, out, kept, within)
    by_kernel = all(w.place in v_labels for w in found)
    made: Node = BUILDER.reshape(parts.without_ones().node(by_kernel), node.shape)
    return made


@dataclass(frozen=True)
class Parts:
    """A convolution: x with its windows `along` some axes, the other operand, and their labels.

    Of each window one label is the result's, `kept`, and stands for the axis; the other, `within`, is summed over.
    """

    x: Node
    labels: str
    along: Sequence[Windows]
    axes: Sequence[int]
    v: Node
    v_labels: str
    out: str
    kept: str
    within: str

    def without_ones(self) -> Parts:
        """Without axes of x of length 1 that are read in no windows."""
        ones = {c for c, d in zip(self.labels, self.x.shape, strict=True) if d == 1 and c not in self.kept}

        def rest(labels: str) -> str:
            return "".join(c for c in labels if c not in ones)

        x, v = (
            BUILDER.squeeze(n, tuple(k for k, c in enumerate(labels) if c in ones))
            for n, labels in ((self.x, self.labels), (self.v, self.v_labels))
        )
        labels, v_labels, out = map(rest, (self.labels, self.v_labels, self.out))
        axes = [labels.index(c) for c in self.kept]
        return replace(self, x=x, v=v, labels=labels, v_labels=v_labels, out=out, axes=axes)

    def node(self, by_kernel: bool) -> Node:
        """The cheapest way: what is summed or kept may be nothing but few places, as of each channel by itself."""
        each = self.labels[-1] in self.v_labels and self.labels[-1] in self.out
        shared = self.labels + self.within
        columns = product(d for c, d in zip(self.v_labels, self.v.shape, strict=True) if c not in shared)
        apart = all(c in self.out + self.within for c in self.v_labels)
        if apart and (each or columns == 1) and _is_few(w.length for w in self.along):
            return self.shifted_products()
        alone = all(c in self.kept + self.v_labels for c in self.labels if c in self.out)
        if each and alone and _is_few(w.count for w in self.along):
            return self.sums_of_products()
        return self.contraction(by_kernel)

    def shifted_products(self) -> Node:
        """Products of elements at each place that is summed over, added up."""
        rest = "".join(c for c in self.v_labels if c not in self.within)
        along = dict(zip(self.axes, self.along, strict=True))
        total: Node | None = None
        for place in _places(w.length for w in self.along):
            at = tuple(place[self.within.index(c)] if c in self.within else slice(None) for c in self.v_labels)
            left = aligned(BUILDER, shifted(BUILDER, self.x, along, place), self.labels, self.out)
            term = left * aligned(BUILDER, self.v[at], rest, self.out)
            total = term if total is None else total + term
        assert total is not None
        return total

    def sums_of_products(self) -> Node:
        """For each place that is kept a sum of products, side by side."""
        turned = [Windows(w.start, w.dilation, w.length, w.step, w.count) for w in self.along]
        along = dict(zip(self.axes, turned, strict=True))
        labels = self.labels
        for kept, within in zip(self.kept, self.within, strict=True):
            labels = labels.replace(kept, within)
        every = labels + "".join(c for c in self.v_labels if c not in labels)
        right = aligned(BUILDER, self.v, self.v_labels, every)
        summed = tuple(k for k, c in enumerate(every) if c not in self.out)
        sums = [
            BUILDER.sum(aligned(BUILDER, shifted(BUILDER, self.x, along, place), labels, every) * right, axis=summed)
            for place in _places(w.count for w in self.along)
        ]
        found = BUILDER.stack(sums)
        found = BUILDER.reshape(found, (*(w.count for w in self.along), *found.shape[1:]))
        made = self.kept + "".join(c for c in every if c in self.out)
        moved: Node = BUILDER.permute_dims(BUILDER.astype(found, self.x.dtype), tuple(map(made.index, self.out)))
        return moved

    def contraction(self, by_kernel: bool) -> Node:
        """The product of the windows, a view, and the other operand, which is a kernel or as large as x."""
        view = windowed(BUILDER, self.x, dict(zip(self.axes, self.along, strict=True)))
        view, labels = _in_order(view, self.labels, self.axes, self.within)
        v, v_labels = self.v, self.v_labels
        if by_kernel:
            v, v_labels = _as_kernel(v, v_labels, labels, self.out)
        found: Node = contract(BUILDER, view, labels, v, v_labels, self.out)
        return found


def _places(counts: Iterable[Dim]) -> Iterator[tuple[int, ...]]:
    """Every place of windows of known size."""
    return itertools.product(*(range(int(d)) for d in counts))  # type: ignore[arg-type]


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
        moved = stored(moved)
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


def _is_few(counts: Iterable[Dim]) -> bool:
    count = product(counts)
    return isinstance(count, int) and 0 < count <= _SHIFTS


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
        padded = stored(padded)
    return padded, found
