"""What holds of every schedule, checked by going through its tasks: what lies in each place at each time.

In: a schedule, and what it was asked for.  Raises AssertionError, which names task, node and place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.dims import product
from graphc.graph import Node, describe
from graphc.op import Family
from graphc.schedule.access import Index, Read, canonical, whole
from graphc.schedule.group import begins_with
from graphc.schedule.shape import loads
from graphc.schedule.split import folds_itself, reduced
from graphc.schedule.task import Copy, Holder, Kernel, Nest, Place, Single, Task, may_fail

if TYPE_CHECKING:
    from graphc.schedule.storage import Schedule


def verify_schedule(
    schedule: Schedule,
    inputs: Sequence[Node],
    parameters: Sequence[Node],
    outputs: Sequence[Node],
    updates: Sequence[tuple[Node, Node]],
    keeps: bool = True,
) -> None:
    """Check that every value is where it is read, and at the end where it is wanted.

    Each place is written by one task, but for one that is read and written element by element.
    Parameters are written after everything that may fail, if it `keeps` them.
    """
    check = _Check(schedule, inputs, parameters, keeps)
    for k, task in enumerate(schedule.tasks):
        check.task(k, task)
    for k, node in enumerate(outputs):
        check.holds(Place("output", k), node, "at the end")
    for parameter, value in updates:
        check.holds(schedule.place[parameter], value, "at the end")


class _Check:
    def __init__(self, schedule: Schedule, inputs: Sequence[Node], parameters: Sequence[Node], keeps: bool) -> None:
        self.schedule = schedule
        leaves = (("input", inputs), ("parameter", parameters), ("constant", schedule.memory.constants))
        self.content = {Place(kind, k): node for kind, nodes in leaves for k, node in enumerate(nodes)}
        self.written: set[Place] = set()
        self.last_check = max((k for k, t in enumerate(schedule.tasks) if keeps and may_fail(t)), default=-1)

    def holds(self, place: Place, node: Node, when: str) -> None:
        """Check what lies in a place."""
        found = self.content.get(place)
        if found is not node:
            what = "nothing" if found is None else describe(found)
            raise AssertionError(f"{when}: {place} holds {what}, not {describe(node)}")

    def task(self, k: int, task: Task) -> None:
        """Check a task, and note what it writes."""
        name = f"task {k} ({', '.join(m.op.name for m in task.members) or 'copy'})"
        reads: dict[Place, list[Read]] = {}
        if isinstance(task, Copy):
            stores = [(self._copied(task, name), task.target)]
        else:
            for node, place in task.loads:
                self.holds(place, node, name)
            reads = _held(task) if isinstance(task, Holder) else self._reads(task, name)
            if isinstance(task, Kernel) and {v.place for v in task.operands} != reads.keys():
                raise AssertionError(f"{name}: its views lie in other places than what it loads")
            stores = list(task.stores)
        for node, place in stores:
            self._may_write(k, place, name)
            before = reads.get(place, ())
            sweeps = not isinstance(task, Kernel) and not any(_folds(task, r.node) for r in before)
            self._may_write_over(sweeps, place, canonical(node.shape), before, name)
            _fits(self.schedule, node, place, name)
            self.content[place] = node

    def _copied(self, task: Copy, name: str) -> Node:
        found = self.content.get(task.source)
        if found is None or (found.dtype, found.shape) != (task.dtype, task.shape) or task.source == task.target:
            raise AssertionError(f"{name}: {task.source} does not hold what goes to {task.target}")
        return found

    def _reads(self, task: Nest | Single, name: str) -> dict[Place, list[Read]]:
        """The elements that a task reads of each place; it makes what it stores and loads all that this takes."""
        made, loaded = set(task.members), dict(task.loads)
        found: dict[Place, list[Read]] = {}
        for node, place in task.stores:
            if node not in made:
                raise AssertionError(f"{name}: stores to {place} what it does not make, {describe(node)}")
        for member in task.members:
            for read in loads(member, loaded.__contains__, made):
                if read.node in loaded:
                    found.setdefault(loaded[read.node], []).append(read)
                elif read.node.op.family is not Family.INDEX and (read.node.op.name != "constant" or read.node.ndim):
                    raise AssertionError(f"{name}: does not load what it reads, {describe(read.node)}")
        return found

    def _may_write(self, k: int, place: Place, name: str) -> None:
        if place.kind in ("input", "constant"):
            raise AssertionError(f"{name}: writes {place}")
        if place.kind == "parameter" and k <= self.last_check:
            raise AssertionError(f"{name}: writes {place} before task {self.last_check} has made its checks")

    def _may_write_over(self, sweeps: bool, place: Place, index: Index, reads: Sequence[Read], name: str) -> None:
        """Check that what lies there already is read at the element that is written, and nowhere else."""
        if reads and not sweeps:
            raise AssertionError(f"{name}: writes {place} while it still reads it")
        if any(r.guarded or r.index != index for r in reads):
            raise AssertionError(f"{name}: writes {place}, of which it reads other elements")
        if place in self.written and not reads:
            raise AssertionError(f"{name}: writes {place} once more")
        self.written.add(place)


def _folds(task: Task, node: Node) -> bool:
    """Whether a reduction needs a row of an array more than once, or folds it after others have been stored."""
    reductions = [m for m in task.members if m.op.family is Family.REDUCTION]
    if not isinstance(task, Nest) or not reductions:
        return bool(reductions)
    inner, deep = task.split.inner, task.split.deep
    return bool(deep) or any(reduced(r) == inner or folds_itself(r, node) for r in reductions)


def _held(task: Holder) -> dict[Place, list[Read]]:
    """What loops and choices read: a carry its own place, before the first step; of all else any element."""
    begun = {(begins_with(node), place) for node, place in task.stores}
    found: dict[Place, list[Read]] = {}
    for node, place in task.loads:
        read = Read(node, canonical(node.shape)) if (node, place) in begun else whole(node)
        found.setdefault(place, []).append(read)
    return found


def _fits(schedule: Schedule, node: Node, place: Place, name: str) -> None:
    """Check that a buffer has room for what is written to it."""
    if place.kind == "buffer" and schedule.buffer_bytes(place.number) != product(node.shape) * node.dtype.size:
        raise AssertionError(f"{name}: {describe(node)} does not fit {place}")
