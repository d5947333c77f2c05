"""Fusion: which nodes are computed together in one loop nest.

In: a lowered graph and the nodes that must be stored.  Out: groups in an order in which they can run, and what each
stores.  A group of kind "nest" loops over one domain; its axes are split in three:

    batch   axes over which results are independent
    outer   axes summed over by the group's outer reductions (column sums, totals)
    inner   axes reduced within a row (softmax, layer norm); row reductions are there for later stages of the same row

A group of kind "product" is one matrix product, one of kind "scatter" adds at positions.
Nodes that are cheap and read at most one stored array are computed again wherever they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from graphc.dims import substitute
from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.schedule.access import (
    Index,
    Read,
    canonical,
    loop_symbol,
    operand_indices,
    strided,
    through_movement,
    whole,
)
from graphc.types import Shape

REDUCTIONS = (Family.REDUCTION, Family.ARG_REDUCTION)
_FOLDS = 8  # reductions of a nest, each of which takes a block of 8 kB on the stack
_CHEAP = 12  # nodes that may be computed again wherever their value is read
_CALL = re.compile(
    r"\b(exp|exp2|expm1|log|log2|log10|log1p|sqrt|rsqrt|cbrt|a?(?:sin|cos|tan)h?|atan2|pow|hypot|sigmoid|erfc?)\("
)


@dataclass(eq=False)
class Group:
    """Nodes computed together; see the module."""

    kind: str
    domain: Shape
    members: list[Node] = field(default_factory=list)
    inner: tuple[int, ...] | None = None  # None: not split yet
    outer: tuple[int, ...] | None = None
    needs: set[Group] = field(default_factory=set)
    reads: dict[Node, None] = field(default_factory=dict)  # stored nodes that the group loads, in order

    @property
    def rows(self) -> tuple[int, ...]:
        """The axes that are not inner."""
        return tuple(k for k in range(len(self.domain)) if k not in (self.inner or ()))

    @property
    def reduces(self) -> bool:
        """Whether a member folds values."""
        return self.folds > 0

    @property
    def folds(self) -> int:
        """How many members fold values."""
        return sum(m.op.family in REDUCTIONS for m in self.members)

    def reaches(self, target: Group) -> bool:
        """Whether this group needs `target`, at once or through others."""
        stack, seen = [self], set()
        while stack:
            group = stack.pop()
            if group is target:
                return True
            if group not in seen:
                seen.add(group)
                stack += group.needs
        return False

    def is_outer_reduction(self, node: Node) -> bool:
        """Whether a member is known only after all rows."""
        return node.op.family in REDUCTIONS and (reduced(node) != self.inner or domain_of(node) != self.domain)


def reduced(node: Node) -> tuple[int, ...]:
    """The axes that a reduction folds."""
    axis = node.attrs["axis"]
    return axis if isinstance(axis, tuple) else (axis,)


def domain_of(node: Node) -> Shape:
    """The shape that a node's loops run over."""
    return node.operands[0].shape if node.op.family in REDUCTIONS else node.shape


def reads_of(node: Node) -> Iterator[Read]:
    """What computing an element of `node` reads, at the loop variables of its domain; movement is looked through."""
    index = canonical(domain_of(node))
    family = node.op.family
    if family in REDUCTIONS or family is Family.MOVEMENT:
        operand = node.operands[0] if family in REDUCTIONS else node
        yield from through_movement(operand, index)
    elif family is Family.ELEMENTWISE:
        for operand, at in zip(node.operands, operand_indices(node, index), strict=True):
            yield from through_movement(operand, at)
    elif family is Family.ITEM:
        yield Read(node.operands[0], index)
    elif family is Family.GATHER:
        source, positions = node.operands
        yield whole(_stored_base(source))
        yield from through_movement(positions, operand_indices(node, index)[1])
    else:
        yield from (whole(_stored_base(o)) for o in node.operands)


def _stored_base(operand: Node) -> Node:
    view = strided(operand)
    return view.base if view is not None else operand


def is_expensive(node: Node) -> bool:
    """Whether computing the node once more costs more than storing and loading it."""
    body = node.op.body
    texts = body.values() if isinstance(body, dict) else body if isinstance(body, tuple) else (body or "",)
    return node.op.family is Family.GATHER or any(_CALL.search(str(t)) for t in texts)


class Fusion:
    """The fusion of one graph; `groups` in order of creation, `group_of` for their members."""

    def __init__(self, graph: Graph, roots: Iterable[Node]) -> None:
        self.graph = graph
        self.groups: list[Group] = []
        self.group_of: dict[Node, Group] = {}
        self.must_store = set(roots) | self._bases()
        for node in graph.nodes:
            if self._is_computed(node):
                self._place(node)

    def _bases(self) -> set[Node]:
        """Nodes that matrix products, gathers and scatters read, which must lie in memory."""
        found = set()
        for node in self.graph.nodes:
            if node.op.family in (Family.CONTRACTION, Family.SCATTER):
                found |= {_stored_base(o) for o in node.operands}
            elif node.op.family is Family.GATHER:
                found.add(_stored_base(node.operands[0]))
        return found

    def _is_computed(self, node: Node) -> bool:
        """Whether the node gets a place in a group, rather than being evaluated where it is read."""
        family = node.op.family
        if family is Family.LEAF:
            return False
        if node in self.must_store or family in (*REDUCTIONS, Family.CONTRACTION, Family.SCATTER):
            return True
        if len(node.types) > 1:
            return False
        return family in (Family.ELEMENTWISE, Family.GATHER, Family.ITEM) and not self._is_cheap(node)

    def _is_cheap(self, node: Node) -> bool:
        stack, seen, stored = [node], {node}, set()
        while stack:
            n = stack.pop()
            if is_expensive(n) or len(seen) > _CHEAP:
                return False
            for read in reads_of(n):
                m = read.node
                if m in self.group_of or m.op.family is Family.LEAF:
                    stored |= {m} if m.op.name != "constant" or m.ndim else set()
                elif read.guarded:  # each branch computes it anew, and so would every branch around it
                    return False
                elif m not in seen:
                    seen.add(m)
                    stack.append(m)
        return len(stored) <= 1

    def sources(self, node: Node) -> list[Read]:
        """The reads of stored or grouped nodes, with whatever is evaluated in between looked through."""
        found: list[Read] = []
        stack = list(reads_of(node))
        seen = set()
        while stack:
            read = stack.pop()
            if read in seen:
                continue
            seen.add(read)
            n = read.node
            if n in self.group_of or n.op.family is Family.LEAF:
                found.append(read)
            elif n.op.family is Family.ITEM or len(n.types) > 1 or n.op.family is Family.ELEMENTWISE:
                operands = n.operands
                for operand, at in zip(operands, _operand_reads(n, read.index), strict=True):
                    stack += through_movement(operand, at, read.guarded)
            elif n.op.family is Family.GATHER:
                stack.append(whole(_stored_base(n.operands[0])))
                stack += through_movement(n.operands[1], operand_indices(n, read.index)[1], True)
        return found

    def _place(self, node: Node) -> None:
        sources = self.sources(node)
        producers = {self.group_of[r.node] for r in sources if r.node in self.group_of}
        group = None
        if node.op.family not in (Family.CONTRACTION, Family.SCATTER):
            candidates = self._candidates(node, sources, producers)
            group = next((g for g in candidates if self._joins(g, node, sources, producers)), None)
        if group is None:
            group = self._new_group(node)
        group.members.append(node)
        self.group_of[node] = group
        group.needs |= producers - {group}
        group.reads |= dict.fromkeys(r.node for r in sources if self.group_of.get(r.node) is not group)

    def _candidates(self, node: Node, sources: list[Read], producers: set[Group]) -> list[Group]:
        """Groups that the node might join: those that make what it reads, then those that read the same."""
        latest = [g for g in reversed(self.groups) if g in producers]
        read = {r.node for r in sources}
        others = [g for g in reversed(self.groups[-32:]) if g not in producers]
        return latest + [g for g in others if g.reads.keys() & read or not domain_of(node)]

    def _joins(self, group: Group, node: Node, sources: list[Read], producers: set[Group]) -> bool:
        if group.kind != "nest" or any(p.reaches(group) for p in producers if p is not group):
            return False
        full = domain_of(node) == group.domain
        if not full and not (group.inner and _is_row_shape(domain_of(node), group)):
            return False
        for read in sources:
            if self.group_of.get(read.node) is group and not _at_hand(group, node, read, full):
                return False
        if node.op.family in REDUCTIONS:
            return group.folds < _FOLDS and _fits_reduction(group, node, full)
        return True

    def _new_group(self, node: Node) -> Group:
        kind = {Family.CONTRACTION: "product", Family.SCATTER: "scatter"}.get(node.op.family or Family.LEAF, "nest")
        group = Group(kind, domain_of(node))
        if node.op.family in REDUCTIONS:
            _split(group, node)
        self.groups.append(group)
        return group


def _operand_reads(node: Node, index: Index) -> list[Index]:
    return [index] if node.op.family is Family.ITEM else operand_indices(node, index)


def _is_row_shape(shape: Shape, group: Group) -> bool:
    """Whether one element of this shape belongs to each row of the group."""
    outer = tuple(group.domain[k] for k in group.rows)
    kept = tuple(1 if k in (group.inner or ()) else d for k, d in enumerate(group.domain))
    return bool(outer) and shape in (outer, kept)


def row_index(group: Group, shape: Shape) -> Index:
    """The index of a row's element in an array that has one element a row."""
    if len(shape) == len(group.domain):
        return tuple(0 if k in (group.inner or ()) or d == 1 else loop_symbol(k) for k, d in enumerate(group.domain))
    return tuple(0 if group.domain[k] == 1 else loop_symbol(k) for k in group.rows)


def member_index(group: Group, node: Node) -> Index:
    """The index at which the group's loops compute a member that is no reduction's operand."""
    if node.op.family in REDUCTIONS:
        return row_index(group, node.shape)
    return canonical(node.shape) if node.shape == group.domain else row_index(group, node.shape)


def in_group(group: Group, node: Node, index: Index) -> Index:
    """An index in the loop variables of the node's own domain, in those of the group."""
    if domain_of(node) == group.domain or len(domain_of(node)) == len(group.domain):
        return index
    names = {f"%{j}": loop_symbol(k) for j, k in enumerate(group.rows)}
    return tuple(substitute(i, names) for i in index)


def _at_hand(group: Group, node: Node, read: Read, full: bool) -> bool:
    """Whether the group has the value that is read at the place where the node would be computed."""
    if read.guarded or group.is_outer_reduction(read.node):
        return False
    return in_group(group, node, read.index) == member_index(group, read.node)


def _fits_reduction(group: Group, node: Node, full: bool) -> bool:
    """Whether the group's loops can fold the node's operand; splits the group's axes if that settles it."""
    rank, axes = len(group.domain), reduced(node)
    if not full:  # per-row values: only a total over all rows
        all_axes = len(axes) == node.operands[0].ndim
        return all_axes and group.outer == group.rows and node.op.family is Family.REDUCTION
    if len(axes) == rank and rank and group.inner is None:
        return node.op.family is Family.REDUCTION
    if group.inner is None:
        wanted = Group("nest", group.domain)
        _split(wanted, node)
        if wanted.outer != wanted.rows and group.reduces:
            return False
        group.inner, group.outer = wanted.inner, wanted.outer
        return True
    if axes == group.inner:
        return group.outer == group.rows
    total = len(axes) == rank and group.outer == group.rows
    return (axes == group.outer or total) and node.op.family is Family.REDUCTION


def _split(group: Group, node: Node) -> None:
    """Split the axes for a reduction: along rows if it folds the last axis, else down columns."""
    axes, rank = reduced(node), len(group.domain)
    if len(axes) == rank:
        if node.op.family is Family.ARG_REDUCTION:
            group.inner, group.outer = axes, ()
        return
    if rank - 1 in axes or node.op.family is Family.ARG_REDUCTION:
        group.inner = axes
        group.outer = group.rows
        return
    group.inner = tuple(k for k in range(max(axes) + 1, rank))
    group.outer = axes
