"""Tasks: what a program does, one after the other, as frozen data.

    Nest      loops over a domain, whose members are computed, and stored where they are wanted
    Kernel    loops of its own over views of arrays, as a matrix product
    Scatter   values put or combined at positions of an array
    Repeat    a body, once for each position of an axis
    While     a body, as long as a condition holds
    Choose    one of several bodies
    Copy      one place to another: commits of new values, outputs that are leaves, further places of a kernel's result

What a task reads and writes follows from it alone; what must come before it follows from the tasks in their order.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from graphc.dims import Dim
from graphc.graph import Node
from graphc.op import Job
from graphc.schedule.access import checks, strides
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


@dataclass(frozen=True, eq=False)
class Body:
    """Tasks in order that make the results of a body; `place` tells where the values lie that they load."""

    tasks: tuple[Task, ...]
    place: Mapping[Node, Place]


@dataclass(frozen=True)
class Row:
    """A place whose address moves: at position k of a loop it is row k of another place, each of so many elements."""

    place: Place
    of: Place
    dtype: DType
    size: Dim


@dataclass(frozen=True, eq=False)
class Holder(Single):
    """What runs bodies, in places of the whole program; `begin` puts carries where they are changed in place."""

    begin: tuple[Copy, ...]

    @property
    @abstractmethod
    def bodies(self) -> tuple[Body, ...]: ...

    @property
    def members(self) -> tuple[Node, ...]:
        return (self.member, *(node for node, _ in self.stores if node is not self.member))


@dataclass(frozen=True, eq=False)
class Repeat(Holder):
    """A body for each position of an axis."""

    trip: Dim
    reverse: bool
    counter: Place  # two words: the position, and how many steps are left
    position: Place
    rows: tuple[Row, ...]
    body: Body

    @property
    def bodies(self) -> tuple[Body, ...]:
        return (self.body,)


@dataclass(frozen=True, eq=False)
class While(Holder):
    """A body as long as what the condition's tasks make in `test`, a bool, is true, and at most `bound` times."""

    bound: Dim  # -1 if there is none
    counter: Place  # two words: how many steps have begun, and how many are left
    position: Place
    condition: Body
    test: Place
    body: Body

    @property
    def bodies(self) -> tuple[Body, ...]:
        return (self.condition, self.body)


@dataclass(frozen=True, eq=False)
class Choose(Holder):
    """The branch whose number lies in `which`, an int64; the nearest one where there is none."""

    which: Place
    branches: tuple[Body, ...]

    @property
    def bodies(self) -> tuple[Body, ...]:
        return self.branches


@dataclass(frozen=True)
class Copy:
    """Every element of one array, written to another place."""

    source: Place
    target: Place
    dtype: DType
    shape: Shape

    members = ()


Task = Nest | Kernel | Scatter | Repeat | While | Choose | Copy


def moved(part: Any, new: Callable[[Place], Place]) -> Any:
    """A task, or a part of one, in other places."""
    match part:
        case Place():
            return new(part)
        case tuple():
            return tuple(moved(p, new) for p in part)
        case dict():
            return {key: moved(p, new) for key, p in part.items()}
        case Nest() | Single() | Copy() | View() | Row() | Body():
            return replace(part, **{f.name: moved(getattr(part, f.name), new) for f in fields(part)})
    return part


def may_fail(task: Task) -> bool:
    """Whether a task checks positions that it is given, or one in its bodies does; a while loop may be interrupted."""
    if isinstance(task, While):
        return True
    if isinstance(task, Holder):
        return any(may_fail(t) for body in task.bodies for t in body.tasks)
    return any(map(checks, task.members))


def reads(task: Task) -> frozenset[Place]:
    """The places that a task loads from."""
    return frozenset([task.source] if isinstance(task, Copy) else (place for _, place in task.loads))


def writes(task: Task) -> frozenset[Place]:
    """The places that a task stores to."""
    return frozenset([task.target] if isinstance(task, Copy) else (place for _, place in task.stores))


def mentions(tasks: Iterable[Task]) -> Counter[Place]:
    """How many tasks touch each place, those in bodies included."""
    found: Counter[Place] = Counter()
    for task in tasks:
        found.update(reads(task) | writes(task))
        if isinstance(task, Holder):
            found += mentions([*task.begin, *(t for body in task.bodies for t in body.tasks)])
    return found


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
