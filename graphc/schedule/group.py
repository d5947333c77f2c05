"""Groups: nodes that are computed together, and what computing a node reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from graphc.dims import Dim
from graphc.graph import Graph, Node
from graphc.op import HOLDERS, Family, Op
from graphc.scalar import is_dear
from graphc.schedule.access import (
    Read,
    aligned,
    canonical,
    checks,
    job_of,
    operand_indices,
    positions_of,
    through_movement,
    view,
    whole,
)
from graphc.schedule.split import Split, domain_of, member_index
from graphc.types import Shape

SINGLE = (Family.KERNEL, Family.SCATTER, *HOLDERS)  # groups of their own


@dataclass(eq=False)
class Group:
    """Nodes computed together; `rank` is its place in an order in which every group comes after what it needs."""

    index: int
    rank: int
    domain: Shape
    split: Split
    members: list[Node] = field(default_factory=list)
    reductions: list[Node] = field(default_factory=list)  # the members that fold values
    needs: dict[Group, None] = field(default_factory=dict)
    reads: dict[Node, list[Read]] = field(default_factory=dict)  # what is loaded, in order, and at which elements
    may_fail: bool = False  # whether it checks positions that it is given
    updated: dict[Node, None] = field(default_factory=dict)  # parameters whose new values it may write in place

    @property
    def is_nest(self) -> bool:
        """Whether it is a loop nest, and no task of one node."""
        return self.members[0].op.family not in SINGLE

    @property
    def makes_product(self) -> bool:
        """Whether it is a product of matrices."""
        node = self.members[0]
        return node.op.family is Family.KERNEL and job_of(node).kernel == "product"

    @property
    def reads_product(self) -> bool:
        """Whether it reads a product of matrices, which it may follow block by block."""
        return any(need.makes_product for need in self.needs)

    def sweeps(self, node: Node) -> bool:
        """Whether it loads of an array the element that it computes, and no other."""
        at = member_index(node, self.domain, self.split)
        return all(not r.guarded and r.index == at for r in self.reads.get(node, ()))

    def may_write(self, node: Node) -> bool:
        """Whether an array may be written element by element as far as the group's own reads go."""
        if self.members[0].op.family in HOLDERS:
            return node not in self.reads or any(begins_with(m) is node for m in self.members)
        return node not in self.reads or (not self.reductions and self.sweeps(node))


def reads_of(node: Node, conditions: list[Dim] | None = None) -> Iterator[Read]:
    """What computing an element of `node` reads, at the loop variables of its domain; movement is looked through.

    `conditions` gets what depends on the loops beside the elements that are read.
    """
    family = node.op.family
    if family in HOLDERS:
        yield from map(whole, node.operands)
        return
    index = canonical(domain_of(node))
    if family is Family.REDUCTION or family is Family.MOVEMENT:
        operand = node.operands[0] if family is Family.REDUCTION else node
        yield from through_movement(operand, index, False, conditions)
    elif family is Family.ELEMENTWISE:
        for operand, at in zip(node.operands, operand_indices(node, index), strict=True):
            yield from through_movement(operand, at, False, conditions)
    elif family is Family.ITEM:
        yield Read(node.operands[0], index)
    elif family is Family.GATHER:
        base = view(node.operands[0]).base
        if base.op.family is not Family.INDEX:
            yield whole(base)
        for positions in positions_of(node):
            yield from through_movement(positions, aligned(index, positions.shape), False, conditions)
    elif family is Family.SCATTER:
        yield from through_movement(node.operands[0], index, False, conditions)
        index = canonical(node.operands[1].shape)
        for operand in node.operands[1:]:
            yield from through_movement(operand, aligned(index, operand.shape), True, conditions)
    else:
        yield from (whole(view(o).base) for o in node.operands)


@cache
def _is_expensive(op: Op) -> bool:
    return is_dear(op.body)


def is_expensive(node: Node) -> bool:
    """Whether the node is rather stored and loaded than computed once more."""
    return node.op.family is Family.GATHER or node.op.stored or _is_expensive(node.op)


def is_result(node: Node) -> bool:
    """Whether it is one of the results of a node that holds bodies."""
    return node.op.family is Family.ITEM and node.operands[0].op.family in HOLDERS


def begins_with(node: Node) -> Node | None:
    """The operand that becomes the node by changes in place: what a scatter updates, what a carry begins as.

    None if there is none, or if a loop reads it for something else as well.
    """
    if node.op.family is Family.SCATTER:
        return node.operands[0]
    holder, number = (node.operands[0], node.attrs["index"]) if is_result(node) else (node, 0)
    carries = holder.attrs["carries"] if holder.op.family in (Family.LOOP, Family.WHILE) else 0
    init = holder.operands[number] if number < carries else None
    return init if sum(o is init for o in holder.operands) == 1 else None


def may_fail(node: Node) -> bool:
    """Whether it checks positions that it is given, or what it holds does; a while loop may be interrupted."""
    if node.op.family is Family.WHILE:
        return True
    if node.op.family in HOLDERS:
        return any(may_fail(n) for held in node.attrs.values() if isinstance(held, Graph) for n in held.nodes)
    return checks(node)
