"""What the members of a nest read in the end, where nothing is left to compute."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from graphc.dims import Dim
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import Read, aligned, through_movement
from graphc.schedule.group import reads_of


def loads(
    member: Node, loaded: Callable[[Node], bool], made: Container[Node], conditions: list[Dim] | None = None
) -> Iterator[Read]:
    """The reads at which evaluating a member ends; `conditions` gets what they depend on."""
    return (read for read, ends in walked(member, loaded, made, conditions) if ends)


def walked(
    member: Node, loaded: Callable[[Node], bool], made: Container[Node], conditions: list[Dim] | None = None
) -> Iterator[tuple[Read, bool]]:
    """All reads on the way of evaluating a member, and whether it ends there.

    Other members are read where they are made, and have their own.  `loaded` tells which nodes lie in memory.
    """
    stack, seen = list(reads_of(member, conditions)), set()
    while stack:
        read = stack.pop()
        if read in seen or read.node in made:
            continue
        seen.add(read)
        family = read.node.op.family
        if loaded(read.node) or read.whole or family in (Family.LEAF, Family.INDEX, Family.GATHER, Family.REDUCTION):
            yield read, True
            continue
        yield read, False
        for operand in read.node.operands:
            at = read.index if family is Family.ITEM else aligned(read.index, operand.shape)
            stack += through_movement(operand, at, read.guarded, conditions)
