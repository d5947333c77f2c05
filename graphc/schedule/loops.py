"""The loops of a nest: its domain in normal form, and how the loops are split.

In: a nest.  Out: Loops.  Where all that is folded leaves the nest, loops are put in the order of the arrays' steps, so
that a sum down columns of a transposed array is one along rows, and a sum over the first and last of three axes reads
the array from beginning to end.  Wide column sums are cut into blocks of columns, each
of which one chunk adds up, so that no chunk leaves a partial result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from graphc.dims import Dim, product, substitute
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import Index, at_positions, canonical, loop_axes, loop_symbol, offset, strides, view
from graphc.schedule.normal import normalised
from graphc.schedule.shape import loads
from graphc.schedule.split import (
    Axes,
    Split,
    domain_of,
    in_loops_of,
    member_index,
    reduced,
    split_around,
    split_of,
)
from graphc.schedule.task import Nest
from graphc.types import Shape

_WIDE = 4_096  # columns whose accumulators would leave L1 between two rows
_BLOCK = 2_048  # columns of a block, which stay in L1 with what is added to them
_ROWS = 1_024  # that are added up without the rounding error


@dataclass(frozen=True)
class Loops:
    """Loops over a domain; `at` is the element of the nest's own domain that they are at, in their variables."""

    domain: Shape
    at: Index
    split: Split

    def moved(self, index: Index) -> Index:
        """An index in the variables of the nest's own domain, in those of the loops."""
        names = {f"%{k}": d for k, d in enumerate(self.at)}
        return tuple(substitute(i, names) for i in index)

    def axes(self, axes: Axes) -> Axes:
        """The loops over these axes of the nest's own domain."""
        found = {name for k in axes for name in loop_axes(self.at[k])}
        return tuple(k for k in range(len(self.domain)) if f"%{k}" in found)


def loops_of(nest: Nest, rows: int = 0) -> Loops:
    """The loops in which a nest is computed; those of its first `rows` axes stay apart from the others."""
    memory, others = _accesses(nest)
    folds = [m for m in nest.members if m.op.family is Family.REDUCTION]
    keep = [reduced(r)[-1] for r in folds if reduced(r) and all(r.operands[0].shape[k] == 1 for k in reduced(r))]
    if folds and _leave(nest, folds):
        sets = [reduced(r) for r in folds]
        classes = [tuple(k in axes for axes in sets) for k in range(len(nest.domain))]
        loops = Loops(*normalised(nest.domain, memory, others, classes, True, keep), Split(()))
        axes = [loops.axes(reduced(r)) for r in folds]
        around = split_around(axes[0], len(loops.domain)) if len(set(axes)) == 1 else None
        for split in (around, split_of(len(loops.domain), axes)):
            if split is None:
                continue
            loops = replace(loops, split=split)
            if all(_is_row(loops, r) for r in folds):
                return _in_blocks(loops, folds)
    split = nest.split
    if split.inner and all(nest.domain[k] == 1 for k in split.inner):
        keep.append(split.inner[-1])  # a column is folded within a row, be it of one element
    classes = [(k < rows, k in split.inner, k in split.outer) for k in range(len(nest.domain))]
    loops = Loops(*normalised(nest.domain, memory, others, classes, keep=keep), Split(()))
    parts = (loops.axes(axes) for axes in (split.batch, split.outer, split.inner))
    return replace(loops, split=Split(*parts))


def _leave(nest: Nest, folds: list[Node]) -> bool:
    """Whether all members run over the whole domain, and nothing in the nest reads what it folds or sweeps it twice."""
    if any(domain_of(m) != nest.domain for m in nest.members):
        return False
    if any(n.op.family is not Family.REDUCTION for n, _ in nest.stores):
        return False
    found, ends = set(folds), {*nest.members, *(n for n, _ in nest.loads)}
    seen = {o for m in nest.members for o in m.operands}
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node in found:
            return False
        new = [] if node in ends else [o for o in node.operands if o not in seen]
        stack += new
        seen.update(new)
    return True


def _is_row(loops: Loops, node: Node) -> bool:
    """Whether the results of inner loops lie side by side, in their order."""
    steps = {f"%{k}": s for k, s in zip(loops.split.inner, strides(_sizes(loops)), strict=True)}
    at = member_index(node, node.operands[0].shape, loops.split)
    position = offset(loops.moved(at), node.shape)
    inside = {f"%{k}" for k in loops.split.inner}
    if not loop_axes(position) & inside:
        return True
    rest = substitute(position, dict.fromkeys(inside, 0))
    wanted: Dim = 0
    for k, step in steps.items():
        wanted = wanted + loop_symbol(int(k[1:])) * step
    return bool(position - rest == wanted)


def _sizes(loops: Loops) -> Shape:
    return tuple(loops.domain[k] for k in loops.split.inner)


def _in_blocks(loops: Loops, folds: list[Node]) -> Loops:
    """Column sums in blocks of columns, where these are many and of known number."""
    split, domain = loops.split, loops.domain
    if len(split.inner) != 1 or split.batch or any(loops.axes(reduced(r)) != split.outer for r in folds):
        return loops
    width, rows = domain[split.inner[0]], product(domain[k] for k in split.outer)
    if not isinstance(width, int) or not isinstance(rows, int) or width < _WIDE or rows > _ROWS:
        return loops
    most = max(_BLOCK // 2, min(_BLOCK, width // 4))
    block = next((b for b in range(most, _BLOCK // 2 - 1, -1) if width % b == 0), None)
    if block is None:
        return loops
    last = len(domain)
    names = {f"%{k}": loop_symbol(n + 1) for n, k in enumerate(split.outer)}
    names[f"%{split.inner[0]}"] = loop_symbol(0) * block + loop_symbol(last)
    sizes = (width // block, *(domain[k] for k in split.outer), block)
    at = tuple(substitute(i, names) for i in loops.at)
    return Loops(sizes, at, Split((0,), tuple(range(1, last)), (last,)))


def _accesses(nest: Nest) -> tuple[list[Dim], list[Dim]]:
    """Positions in arrays that a nest reads and writes, and what else depends on its loops, in their variables."""
    memory: list[Dim] = []
    others: list[Dim] = []
    made, loaded = set(nest.members), dict(nest.loads)
    for member in nest.members:
        values: list[Dim] = []
        found = [r for r in loads(member, loaded.__contains__, made, values) if not r.whole]
        positions = [r.index[0] for r in found if r.node.op.family is Family.INDEX]
        elements = [offset(r.index, r.node.shape) for r in found if r.node.op.family is not Family.INDEX]
        others += in_loops_of((*values, *positions, *_beside(member)), member, nest.domain, nest.split)
        memory += in_loops_of(tuple(elements), member, nest.domain, nest.split)
    others += (offset(member_index(node, nest.domain, nest.split), node.shape) for node, _ in nest.stores)
    return memory, others


def _beside(member: Node) -> Iterator[Dim]:
    """Where a gather reads, beside the axes whose positions are values."""
    if member.op.family is Family.GATHER:
        memory = view(member.operands[0])
        yield memory.at(at_positions(member, canonical(member.shape), [0] * len(member.operands))) - memory.offset
