"""Tasks that are alike: layers and steps repeated differ in nothing but where their arrays lie.

In: tasks that are to be one phase.  Out: their pattern, from which the loops follow but for the places that it leaves
open.  So the loops of one serve all that have its pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from graphc.codegen.evaluate import loaded_from
from graphc.codegen.text import Printed, Text
from graphc.graph import Node
from graphc.op import attrs_key
from graphc.schedule.access import read_operands
from graphc.schedule.task import Copy, Nest, Place, Task


class Once:
    """Prints each pattern once."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._known: dict[Hashable, Printed] = {}

    def print(self, tasks: tuple[Task, ...], emit: Callable[..., Any]) -> bool:
        """Print the phases of tasks; False if `emit` prints none, as they do not fit in one."""
        text = self._text
        text.tasks = tasks
        pattern = Pattern(text, tasks)
        known = self._known.get(pattern.key)
        if known is not None:
            text.repeat(known, pattern.places)
            return bool(known.phases)
        phases, buffers, failures = len(text.phases), len(text.schedule.buffers), len(text.failures)
        emit(text, *tasks)
        if len(text.failures) == failures:  # a failure tells its own line
            scratch = tuple(Place("buffer", n) for n in range(buffers, len(text.schedule.buffers)))
            self._known[pattern.key] = Printed(tuple(text.phases[phases:]), pattern.places, scratch)
        return len(text.phases) > phases


class Pattern:
    """What the loops of some tasks follow from: `key`, but for the `places`, in the order in which it meets them."""

    def __init__(self, text: Text, tasks: Sequence[Task]) -> None:
        self._text = text
        self._made = {m for task in tasks for m in task.members}
        self._numbers: dict[Node, int] = {}
        self._places: dict[Place, int] = {}
        rows = [self._row(node) for task in tasks for node in self._reached(task)]
        self.key: Hashable = (*rows, *map(self._form, tasks))
        self.places = tuple(self._places)

    def _reached(self, task: Task) -> Iterator[Node]:
        """The members and what they read, operands first, up to what is loaded."""
        stack = list(reversed(task.members))
        while stack:
            node = stack[-1]
            new = [] if self._loaded(node) else [o for o in read_operands(node) if o not in self._numbers]
            if new:
                stack += reversed(new)
                continue
            stack.pop()
            if node not in self._numbers:
                self._numbers[node] = len(self._numbers)
                yield node

    def _loaded(self, node: Node) -> Place | None:
        return None if node in self._made else loaded_from(self._text, node)

    def _row(self, node: Node) -> Hashable:
        place = self._loaded(node)
        if place is not None:
            return node.op.family, node.types, self._where(place)
        numbers = tuple(self._numbers[o] for o in read_operands(node))
        return node.op.name, attrs_key(node.attrs), node.types, numbers

    def _where(self, place: Place) -> tuple[str, bool, bool, bool, int]:
        """What loops may depend on: the kind of a place, who else touches it, and which of the places it is."""
        text, number = self._text, self._places.setdefault(place, len(self._places))
        is_listed = place in text.lists
        if is_listed:
            self._places.setdefault(text.lists[place], len(self._places))
        return place.kind, place in text.schedule.read, text.is_private(place), is_listed, number

    def _form(self, task: Task) -> Hashable:
        assert not isinstance(task, Copy), "a copy has nothing but places"
        loops = (task.domain, task.split) if isinstance(task, Nest) else None
        placed = [tuple((self._numbers.get(n), self._where(p)) for n, p in some) for some in (task.loads, task.stores)]
        return type(task), loops, tuple(self._numbers[m] for m in task.members), *placed
