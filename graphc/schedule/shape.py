"""The form of a group's loops."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import Read, aligned, canonical, loop_axes, through_movement
from graphc.schedule.fuse import REDUCTIONS, Group, domain_of, reads_of


def is_flat(group: Group, loaded: Callable[[Node], bool]) -> bool:
    """Whether one loop over all elements does for all axes: every array is swept contiguously, or is a single value.

    `loaded` tells which nodes the group loads rather than computes.
    """
    if group.inner is not None or not group.domain:
        return False
    if len(group.domain) == 1:
        return True
    if any(domain_of(m) != group.domain for m in group.members if not loaded(m)):
        return False
    made = set(group.members)
    return all(_sweeps(r, group) for m in group.members for r in loads(m, loaded, made))


def _sweeps(read: Read, group: Group) -> bool:
    if read.guarded or read.node.op.family is Family.GATHER:
        return False
    if not any(loop_axes(i) for i in read.index):
        return True
    swept = read.node.shape == group.domain and read.index == canonical(group.domain)
    return swept and read.node.op.family is not Family.INDEX


def loads(member: Node, loaded: Callable[[Node], bool], made: Container[Node]) -> Iterator[Read]:
    """The reads at which evaluating a member ends; other members are read where they are made, and have their own."""
    if loaded(member):
        yield Read(member, canonical(member.shape))
        return
    stack, seen = list(reads_of(member)), set()
    while stack:
        read = stack.pop()
        if read in seen or (read.node in made and not loaded(read.node)):
            continue
        seen.add(read)
        family = read.node.op.family
        if loaded(read.node) or read.whole or family in (Family.LEAF, Family.INDEX, Family.GATHER, *REDUCTIONS):
            yield read
            continue
        for operand in read.node.operands:
            at = read.index if family is Family.ITEM else aligned(read.index, operand.shape)
            stack += through_movement(operand, at, read.guarded)
