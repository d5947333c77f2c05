"""How the axes of a nest are split by the reductions in it, and at which index its loops compute a value.

    batch   axes over which results are independent
    outer   axes summed over by the nest's outer reductions (column sums, totals)
    inner   axes reduced within a row (softmax, layer norm); row reductions are there for later stages of the same row

Where there are no row reductions and no column sums, inner is empty: one loop over all elements may do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from graphc.dims import substitute
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import Index, canonical, loop_symbol
from graphc.types import Shape

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """The axes of a domain in four parts; see the module."""

    batch: Axes
    outer: Axes = ()
    inner: Axes = ()
    deep: Axes = ()

    @property
    def rows(self) -> Axes:
        """The axes that are not inner."""
        return tuple(sorted((*self.batch, *self.outer)))


def reduced(node: Node) -> Axes:
    """The axes that a reduction folds."""
    axis = node.attrs["axis"]
    return axis if isinstance(axis, tuple) else (axis,)


def folds_itself(reduction: Node, node: Node) -> bool:
    """Whether a reduction folds elements of a node as they lie, block by block, rather than what is made of them."""
    stack = [reduction.operands[0]]
    while stack:
        found = stack.pop()
        if found is node:
            return True
        stack += found.operands if found.op.family is Family.MOVEMENT else ()
    return False


def domain_of(node: Node) -> Shape:
    """The shape that a node's loops run over."""
    return node.operands[0].shape if node.op.family is Family.REDUCTION else node.shape


def split_for(domain: Shape, reductions: Iterable[Node]) -> Split | None:
    """The split of a domain that serves all these reductions, in their order; None if there is none.

    A reduction over another domain is one of values of a row, and may be a total alone.
    """
    folds: list[Axes | None] = []
    for node in reductions:
        of_rows = domain_of(node) != domain
        if of_rows and len(reduced(node)) < node.operands[0].ndim:
            return None
        folds.append(None if of_rows else reduced(node))
    return split_of(len(domain), folds)


def split_of(rank: int, folds: Iterable[Axes | None]) -> Split | None:
    """The split that serves these folds, of which the axes are given; None for a total of rows."""
    split, cut, any_fold = Split(tuple(range(rank))), False, False  # cut: into rows, which may be summed over
    for axes in folds:
        if axes is None or len(axes) == rank:
            if not _sums_rows(split) if cut else axes is None:
                return None
            split = Split((), split.rows, split.inner)
        elif not cut:
            wanted = _cut(axes, rank)
            if any_fold and wanted.batch and wanted.outer:
                return None
            split = Split((), wanted.rows, wanted.inner) if any_fold else wanted
            cut = True
        elif axes == split.inner:
            if not _sums_rows(split):
                return None
        elif axes == split.rows and _sums_rows(split):
            split = Split((), split.rows, split.inner)
        elif axes != split.outer:
            return None
        any_fold = True
    return split


def _sums_rows(split: Split) -> bool:
    """Whether what is summed over rows may be summed over all of them."""
    return not split.outer or not split.batch


def _cut(axes: Axes, rank: int) -> Split:
    """The split for one reduction: along rows if it folds the last axis, else down columns."""
    others = tuple(k for k in range(rank) if k not in axes)
    if rank - 1 in axes:
        return Split(others, (), axes)
    inner = tuple(k for k in range(max(axes) + 1, rank))
    return Split(tuple(k for k in others if k not in inner), axes, inner)


def split_around(axes: Axes, rank: int) -> Split | None:
    """The split for folds of the last axes and of others, with axes between them that stay."""
    deep = tuple(k for k in range(rank) if all(j in axes for j in range(k, rank)))
    rest = tuple(k for k in axes if k not in deep)
    return replace(_cut(rest, rank - len(deep)), deep=deep) if deep and rest else None


def is_row_shape(shape: Shape, domain: Shape, split: Split) -> bool:
    """Whether one element of this shape belongs to each row."""
    outer = tuple(domain[k] for k in split.rows)
    kept = tuple(1 if k in split.inner else d for k, d in enumerate(domain))
    return bool(outer) and shape in (outer, kept)


def row_index(shape: Shape, domain: Shape, split: Split) -> Index:
    """The index of a row's element in an array that has one element a row."""
    if len(shape) == len(domain):
        return tuple(0 if k in split.inner or d == 1 else loop_symbol(k) for k, d in enumerate(domain))
    return tuple(0 if domain[k] == 1 else loop_symbol(k) for k in split.rows)


def member_index(node: Node, domain: Shape, split: Split) -> Index:
    """The index at which the loops compute a member, or fold into it."""
    if node.op.family is Family.REDUCTION:
        index = canonical(node.operands[0].shape) if domain_of(node) == domain else ()
        return tuple(i for k, i in enumerate(index) if k not in reduced(node))
    return canonical(node.shape) if node.shape == domain else row_index(node.shape, domain, split)


def in_loops_of(index: Index, node: Node, domain: Shape, split: Split) -> Index:
    """An index in the loop variables of the node's own domain, in those of the nest."""
    if len(domain_of(node)) == len(domain):
        return index
    names = {f"%{j}": loop_symbol(k) for j, k in enumerate(split.rows)}
    return tuple(substitute(i, names) for i in index)


def is_outer(node: Node, domain: Shape, split: Split) -> bool:
    """Whether a member is known only after all rows."""
    return node.op.family is Family.REDUCTION and (reduced(node) != split.inner or domain_of(node) != domain)
