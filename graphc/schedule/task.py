"""Tasks: what a program does, one after the other, as frozen data.

    Nest      loops over a domain, whose members are computed, and stored where they are wanted
    Kernel    loops of its own over views of arrays, as a matrix product
    Scatter   values put or combined at positions of an array
    Copy      one place to another: commits of new values, outputs that are leaves, further places of a kernel's result

What a task reads and writes follows from it alone; what must come before it follows from the tasks in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.dims import Dim
from graphc.graph import Node
from graphc.op import Job
from graphc.schedule.access import strides
from graphc.schedule.split import Split
from graphc.types import DType, Shape


@dataclass(frozen=True)
class Place:
    """Memory: element of a section of the frame (input, output, parameter, constant or buffer)."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


Placed = tuple[tuple[Node, Place], ...]


@dataclass(frozen=True, eq=False)
class Nest:
    """Loops over a domain; `loads` are values of other tasks, `stores` members with the places that they go to."""

    domain: Shape
    split: Split
    members: tuple[Node, ...]
    loads: Placed
    stores: Placed


@dataclass(frozen=True, eq=False)
class Single:
    """One node whose loops are its own: it reads arrays as a whole and writes one."""

    member: Node
    loads: Placed
    stores: Placed

    @property
    def members(self) -> tuple[Node, ...]:
        return (self.member,)


@dataclass(frozen=True)
class View:
    """Elements of a place: that of an index is at offset + sum(index * steps), counted in elements."""

    place: Place
    dtype: DType
    shape: Shape
    steps: Shape
    offset: Dim


@dataclass(frozen=True, eq=False)
class Kernel(Single):
    """A job on views of what it loads; the result is contiguous."""

    job: Job
    operands: tuple[View, ...]

    @property
    def views(self) -> tuple[View, ...]:
        """Those of the operands and that of the result."""
        ((node, place),) = self.stores
        return (*self.operands, View(place, node.dtype, node.shape, strides(node.shape), 0))


class Scatter(Single):
    """An array with values put or combined at positions; it may lie already where the result goes."""


@dataclass(frozen=True)
class Copy:
    """Every element of one array, written to another place."""

    source: Place
    target: Place
    dtype: DType
    shape: Shape

    members = ()


Task = Nest | Kernel | Scatter | Copy


def reads(task: Task) -> frozenset[Place]:
    """The places that a task loads from."""
    return frozenset([task.source] if isinstance(task, Copy) else (place for _, place in task.loads))


def writes(task: Task) -> frozenset[Place]:
    """The places that a task stores to."""
    return frozenset([task.target] if isinstance(task, Copy) else (place for _, place in task.stores))


def before(tasks: Sequence[Task]) -> tuple[tuple[int, ...], ...]:
    """For each task the earlier ones that it conflicts with: one of both writes what the other reads or writes.

    Of several, one stands for those that must come before it anyway.
    """
    readers: dict[Place, list[int]] = {}
    writer: dict[Place, int] = {}
    found = []
    for k, task in enumerate(tasks):
        conflicts = {writer[p] for p in reads(task) | writes(task) if p in writer}
        for place in writes(task):
            conflicts.update(readers.pop(place, ()))
            writer[place] = k
        for place in reads(task) - writes(task):
            readers.setdefault(place, []).append(k)
        found.append(tuple(sorted(conflicts - {k})))
    return tuple(found)


def needs(tasks: Sequence[Task]) -> tuple[tuple[int, ...], ...]:
    """For each task the earlier ones that have written what it reads."""
    writer: dict[Place, int] = {}
    found = []
    for k, task in enumerate(tasks):
        found.append(tuple(sorted({writer[p] for p in reads(task) if p in writer})))
        writer |= dict.fromkeys(writes(task), k)
    return tuple(found)
