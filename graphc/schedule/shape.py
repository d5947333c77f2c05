"""The form of a nest's loops."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import Read, aligned, canonical, loop_axes, through_movement
from graphc.schedule.fuse import reads_of
from graphc.schedule.split import REDUCTIONS, domain_of
from graphc.schedule.task import Nest


def is_flat(nest: Nest, loaded: Callable[[Node], bool]) -> bool:
    """Whether one loop over all elements does for all axes: every array is swept contiguously, or is a single value.

    `loaded` tells which nodes the nest loads rather than computes.
    """
    if nest.split.inner or not nest.domain:
        return False
    if len(nest.domain) == 1:
        return True
    if any(domain_of(m) != nest.domain for m in nest.members):
        return False
    made = set(nest.members)
    return all(_sweeps(r, nest) for m in nest.members for r in loads(m, loaded, made))


def _sweeps(read: Read, nest: Nest) -> bool:
    if read.guarded or read.node.op.family is Family.GATHER:
        return False
    if not any(loop_axes(i) for i in read.index):
        return True
    swept = read.node.shape == nest.domain and read.index == canonical(nest.domain)
    return swept and read.node.op.family is not Family.INDEX


def loads(member: Node, loaded: Callable[[Node], bool], made: Container[Node]) -> Iterator[Read]:
    """The reads at which evaluating a member ends; other members are read where they are made, and have their own."""
    stack, seen = list(reads_of(member)), set()
    while stack:
        read = stack.pop()
        if read in seen or read.node in made:
            continue
        seen.add(read)
        family = read.node.op.family
        if loaded(read.node) or read.whole or family in (Family.LEAF, Family.INDEX, Family.GATHER, *REDUCTIONS):
            yield read
            continue
        for operand in read.node.operands:
            at = read.index if family is Family.ITEM else aligned(read.index, operand.shape)
            stack += through_movement(operand, at, read.guarded)
