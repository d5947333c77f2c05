"""What holds of every schedule, checked by going through its tasks: what lies in each place at each time.

In: a schedule, and what it was asked for.  Raises AssertionError, which names task, node and place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.dims import product
from graphc.graph import Node, describe
from graphc.op import Family
from graphc.schedule.access import canonical
from graphc.schedule.shape import loads
from graphc.schedule.split import REDUCTIONS
from graphc.schedule.task import Copy, Nest, Place, Scatter, Task, reads, writes

if TYPE_CHECKING:
    from graphc.schedule.storage import Schedule


def verify_schedule(
    schedule: Schedule,
    inputs: Sequence[Node],
    parameters: Sequence[Node],
    outputs: Sequence[Node],
    updates: Sequence[tuple[Node, Node]],
) -> None:
    """Check that every value is where it is read, and at the end where it is wanted.

    Each place is written by one task, but for a buffer or parameter that a nest reads and writes element by element.
    Parameters are written after everything that may fail.
    """
    check = _Check(schedule, inputs, parameters)
    for k, task in enumerate(schedule.tasks):
        check.task(k, task)
    for k, node in enumerate(outputs):
        check.holds(Place("output", k), node, "at the end")
    for parameter, value in updates:
        check.holds(schedule.place[parameter], value, "at the end")


class _Check:
    def __init__(self, schedule: Schedule, inputs: Sequence[Node], parameters: Sequence[Node]) -> None:
        self.schedule = schedule
        leaves = (("input", inputs), ("parameter", parameters), ("constant", schedule.constants))
        self.content = {Place(kind, k): node for kind, nodes in leaves for k, node in enumerate(nodes)}
        self.written: set[Place] = set()
        self.last_check = max((k for k, t in enumerate(schedule.tasks) if _may_fail(t)), default=-1)

    def holds(self, place: Place, node: Node, when: str) -> None:
        """Check what lies in a place."""
        found = self.content.get(place)
        if found is not node:
            what = "nothing" if found is None else describe(found)
            raise AssertionError(f"{when}: {place} holds {what}, not {describe(node)}")

    def task(self, k: int, task: Task) -> None:
        """Check a task, and note what it writes."""
        name = f"task {k} ({', '.join(m.op.name for m in task.members) or 'copy'})"
        if isinstance(task, Copy):
            stores = [(self._copied(task, name), task.target)]
        else:
            for node, place in task.loads:
                self.holds(place, node, name)
            self._is_complete(task, name)
            stores = list(task.stores)
        for place in writes(task):
            self._may_write(k, task, place, name)
        for node, place in stores:
            _fits(self.schedule, node, place, name)
            self.content[place] = node

    def _copied(self, task: Copy, name: str) -> Node:
        found = self.content.get(task.source)
        if found is None or (found.dtype, found.shape) != (task.dtype, task.shape) or task.source == task.target:
            raise AssertionError(f"{name}: {task.source} does not hold what goes to {task.target}")
        return found

    def _is_complete(self, task: Task, name: str) -> None:
        """Check that a task makes what it stores, and loads all that this takes and that is not made of numbers."""
        assert not isinstance(task, Copy)
        made, loaded = set(task.members), {n for n, _ in task.loads}
        for node, place in task.stores:
            if node not in made:
                raise AssertionError(f"{name}: stores to {place} what it does not make, {describe(node)}")
        for member in task.members:
            for read in loads(member, loaded.__contains__, made):
                is_number = read.node.op.name == "constant" and not read.node.ndim
                if read.node not in loaded and not is_number and read.node.op.family is not Family.INDEX:
                    raise AssertionError(f"{name}: does not load what it reads, {describe(read.node)}")

    def _may_write(self, k: int, task: Task, place: Place, name: str) -> None:
        if place.kind in ("input", "constant"):
            raise AssertionError(f"{name}: writes {place}")
        if place.kind == "parameter" and k <= self.last_check:
            raise AssertionError(f"{name}: writes {place} before task {self.last_check} has made its checks")
        in_place = place in reads(task)
        if in_place and not _is_swept(task, place):
            raise AssertionError(f"{name}: writes {place}, of which it reads other elements")
        if place in self.written and (place.kind != "buffer" or not in_place):
            raise AssertionError(f"{name}: writes {place} once more")
        self.written.add(place)


def _may_fail(task: Task) -> bool:
    return isinstance(task, Scatter) or any(m.op.family is Family.GATHER for m in task.members)


def _is_swept(task: Task, place: Place) -> bool:
    """Whether a task reads of a place the element that it writes, and no other."""
    if not isinstance(task, Nest) or any(m.op.family in REDUCTIONS for m in task.members):
        return False
    loaded, made = dict(task.loads), set(task.members)
    at = next(canonical(n.shape) for n, p in task.stores if p == place)
    found = (r for m in task.members for r in loads(m, loaded.__contains__, made) if loaded.get(r.node) == place)
    return all(r.index == at and not r.guarded for r in found)


def _fits(schedule: Schedule, node: Node, place: Place, name: str) -> None:
    """Check that a buffer has room for what is written to it."""
    if place.kind == "buffer" and schedule.buffer_bytes(place.number) != product(node.shape) * node.dtype.size:
        raise AssertionError(f"{name}: {describe(node)} does not fit {place}")
