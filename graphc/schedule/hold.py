"""Loops and choices as tasks: a body is scheduled as a program is, then put into places of the program around it.

In: a node that holds bodies, where its operands lie and where its results belong.  Out: a task.  Inside of a body the
carries are parameters whose new values are updates, elements and givens are inputs, ys are outputs.  So one rule says
what is changed in place.  The address of an element or a y moves from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphc.dims import product
from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.ops.choice import branches
from graphc.ops.loop_parts import Loop
from graphc.schedule.few import explicit
from graphc.schedule.settle import settled
from graphc.schedule.task import Body, Choose, Copy, Place, Placed, Repeat, Row, While, moved
from graphc.types import DType, Shape

if TYPE_CHECKING:
    from graphc.schedule.storage import Schedule

Scheduled = Callable[[Graph, Sequence[Node], Sequence[tuple[Node, Node]], Sequence[Node]], "Schedule"]


@dataclass
class Memory:
    """What a program needs beside its inputs, outputs and parameters."""

    buffers: list[tuple[DType, Shape]] = field(default_factory=list)
    constants: dict[Node, Place] = field(default_factory=dict)
    rows: int = 0  # addresses that move
    counters: int = 0  # words of loops: position, and how many steps are left

    def buffer(self, dtype: DType, shape: Shape) -> Place:
        self.buffers.append((dtype, shape))
        return Place("buffer", len(self.buffers) - 1)

    def constant(self, node: Node) -> Place:
        return self.constants.setdefault(node, Place("constant", len(self.constants)))

    def row(self) -> Place:
        self.rows += 1
        return Place("row", self.rows - 1)

    def counter(self) -> Place:
        self.counters += 2
        return Place("counter", self.counters - 2)


class Holding:
    """Makes the tasks of nodes that hold bodies."""

    def __init__(self, memory: Memory, place: Mapping[Node, Place], schedule: Scheduled) -> None:
        self.memory, self.place, self.schedule = memory, place, schedule

    def task(self, node: Node, loads: Placed, stores: Placed) -> Repeat | While | Choose:
        """The task of a node; `stores` has the places of those of its results that are wanted."""
        homes = {n.attrs["index"] if n is not node else 0: p for n, p in stores}
        places = [homes.get(k) or self.memory.buffer(t.dtype, t.shape) for k, t in enumerate(node.types)]
        if node.op.family is Family.LOOP:
            return self._repeat(node, loads, stores, places)
        make = self._while if node.op.family is Family.WHILE else self._choose
        return make(node, loads, stores, places)

    def _repeat(self, node: Node, loads: Placed, stores: Placed, places: Sequence[Place]) -> Repeat:
        loop = Loop.of(node)
        count = len(loop.carries)
        position = self.memory.row()
        elements = [self._row(x, self.place[a]) for x, a in zip(loop.elements, loop.arrays, strict=True)]
        ys = [self._row(y, place) for y, place in zip(loop.ys, places[count:], strict=True)]
        given = [self.place[outer] for outer in loop.given.values()]
        inputs = (loop.index, *loop.elements, *loop.given)
        sections = {"parameter": places[:count], "output": [row.place for row in ys]}
        sections["input"] = [position, *(row.place for row in elements), *given]
        updates = list(zip(loop.carries, loop.new, strict=True))
        return Repeat(
            node,
            loads,
            stores,
            self._begin(loop.inits, places),
            loop.length,
            loop.reverse,
            self.memory.counter(),
            position,
            (*elements, *ys),
            self._body(inputs, loop.ys, updates, sections),
        )

    def _while(self, node: Node, loads: Placed, stores: Placed, places: Sequence[Place]) -> While:
        count, body, condition = len(places), node.attrs["body"], node.attrs["condition"]
        given = [self.place[o] for o in node.operands[count:]]
        test = self.memory.buffer(condition.outputs[0].dtype, ())
        updates = list(zip(body.inputs[:count], body.outputs, strict=True))
        return While(
            node,
            loads,
            stores,
            self._begin(node.operands[:count], places),
            -1 if node.attrs["bound"] is None else node.attrs["bound"],
            self.memory.counter(),
            self.memory.row(),
            self._body(condition.inputs, condition.outputs, (), {"input": [*places, *given], "output": [test]}),
            test,
            self._body(body.inputs[count:], (), updates, {"parameter": places, "input": given}),
        )

    def _choose(self, node: Node, loads: Placed, stores: Placed, places: Sequence[Place]) -> Choose:
        which, *given = (self.place[o] for o in node.operands)
        sections = {"input": given, "output": places}
        bodies = (self._body(b.inputs, b.outputs, (), sections) for b in branches(node))
        return Choose(node, loads, stores, (), which, tuple(bodies))

    def _row(self, node: Node, of: Place) -> Row:
        return Row(self.memory.row(), of, node.dtype, product(node.shape))

    def _begin(self, inits: Sequence[Node], places: Sequence[Place]) -> tuple[Copy, ...]:
        pairs = zip(inits, places, strict=False)
        copies = (Copy(self.place[init], place, init.dtype, init.shape) for init, place in pairs)
        return tuple(copy for copy in copies if copy.source != copy.target)

    def _body(
        self,
        inputs: Sequence[Node],
        outputs: Sequence[Node],
        updates: Sequence[tuple[Node, Node]],
        sections: Mapping[str, Sequence[Place]],
    ) -> Body:
        """A body with its results; `sections` tell where its inputs, outputs and parameters lie."""
        graph = settled(explicit(Graph((*outputs, *(new for _, new in updates)), tuple(inputs))))
        results = graph.outputs[: len(outputs)]
        carries = [carry for carry, _ in updates]
        own = self.schedule(graph, results, list(zip(carries, graph.outputs[len(outputs) :], strict=True)), carries)
        buffers = [self.memory.buffer(*b) for b in own.memory.buffers]
        constants = [self.memory.constant(n) for n in own.memory.constants]
        rows = [self.memory.row() for _ in range(own.memory.rows)]
        counters = {number: self.memory.counter() for number in range(0, own.memory.counters, 2)}
        known: dict[str, Any] = {**sections, "buffer": buffers, "constant": constants, "row": rows, "counter": counters}

        def new(place: Place) -> Place:
            found: Place = known[place.kind][place.number]
            return found

        return Body(moved(own.tasks, new), moved(own.place, new))
