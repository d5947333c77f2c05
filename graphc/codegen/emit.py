"""From a schedule to a Program: kernels, the phases that run them, and the plan of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.codegen.alike import Once
from graphc.codegen.loop_ir import LoopProgram
from graphc.codegen.nest import emit_copy, emit_nest, emit_with_product
from graphc.codegen.product import Product
from graphc.codegen.program import Buffer, Failure, Phase, Program, Slot, word
from graphc.codegen.record import record_program
from graphc.codegen.scan import Scan
from graphc.codegen.scatter import emit_scatter
from graphc.codegen.search import Search
from graphc.codegen.sort import Sort
from graphc.codegen.text import PhaseText, Text
from graphc.codegen.views import ViewKernel
from graphc.dims import Dim, product
from graphc.graph import Node
from graphc.schedule.storage import Schedule
from graphc.schedule.task import Copy, Kernel, Nest, Place, Scatter, Task, writes
from graphc.types import Constraint, shape_text

_KERNELS: dict[str, type[ViewKernel]] = {"product": Product, "scan": Scan, "sort": Sort, "argsort": Sort}
_KERNELS |= dict.fromkeys(("search_left", "search_right"), Search)

_EMITTERS: dict[Any, Any] = {
    Nest: emit_nest,
    Kernel: lambda text, task: _KERNELS[task.job.kernel](text, task).emit(),
    Scatter: emit_scatter,
}


def emit(
    schedule: Schedule,
    *,
    name: str,
    symbols: Sequence[str],
    inputs: Sequence[Node],
    outputs: Sequence[Node],
    parameters: Sequence[Node],
    written: Sequence[Node],
    constraints: Sequence[tuple[Constraint, str]],
    records: Mapping[str, Any],
    loops: bool,
) -> Program:
    """Print the schedule and gather all that the runtime needs, and with `loops` what is interpreted instead."""
    text = Text(schedule)
    _print_tasks(text)
    rows = _rows(text, {"input": len(inputs), "output": len(outputs), "parameter": len(parameters)})
    named = {"input": inputs, "output": outputs, "parameter": parameters, "constant": schedule.constants}
    notes = _notes(schedule, named)
    return Program(
        name=name,
        kernels=tuple(text.kernels),
        symbols=tuple(symbols),
        inputs=tuple(Slot(str(n.name), n.dtype, n.shape) for n in inputs),
        outputs=tuple(Slot(f"output {k}", n.dtype, n.shape) for k, n in enumerate(outputs)),
        parameters=tuple(Slot(str(n.name), n.dtype, n.shape) for n in parameters),
        writes=tuple(k for k, n in enumerate(parameters) if any(n is w for w in written)),
        constants=tuple(n.attrs["value"].array for n in schedule.constants),
        constraints=tuple(constraints),
        buffers=tuple(_buffer(text, k) for k in range(len(schedule.buffers))),
        values=tuple(value for row in rows for value in row),
        phases=tuple(_phase(p, notes) for p in text.phases),
        failures=tuple(Failure(*f) for f in text.failures),
        for_outputs=_for_outputs(text),
        loops=_loops(text, named) if loops else None,
        records={**records, **record_program(text, outputs, parameters)},
    )


def _print_tasks(text: Text) -> None:
    """Print the phases of all tasks; a product and the nest that reads it are one, if they fit."""
    tasks, once, k = text.schedule.tasks, Once(text), 0
    while k < len(tasks):
        task, pair = tasks[k], tasks[k : k + 2]
        if _may_follow(text.schedule, k) and once.print(pair, emit_with_product):
            k += 2
            continue
        if isinstance(task, Copy):
            text.tasks = (task,)
            emit_copy(text, task)
        else:
            once.print((task,), _EMITTERS[type(task)])
        k += 1


def _may_follow(schedule: Schedule, k: int) -> bool:
    """Whether a task is a product, and the next one a nest that reads it."""
    first, *rest = schedule.tasks[k : k + 2]
    is_product = isinstance(first, Kernel) and first.job.kernel == "product"
    return is_product and bool(rest) and isinstance(rest[0], Nest) and k in schedule.needs[k + 1]


def _loops(text: Text, named: Mapping[str, Sequence[Node]]) -> LoopProgram:
    """The loops of every phase, with what is known of the places that they touch."""
    places = {Place(kind, k): (n.dtype, product(n.shape)) for kind, nodes in named.items() for k, n in enumerate(nodes)}
    places |= {Place("buffer", k): (d, product(shape)) for k, (d, shape) in enumerate(text.schedule.buffers)}
    lines = (dict.fromkeys(str(m.line) for task in p.tasks for m in task.members) for p in text.phases)
    return LoopProgram(tuple(p.code for p in text.phases), tuple(map(tuple, lines)), places)


def _rows(text: Text, counts: Mapping[str, int]) -> list[list[Dim]]:
    """The words of each phase's row: for a place, the number of the frame's word that holds its address."""
    known = {**counts, "constant": len(text.schedule.constants), "buffer": len(text.schedule.buffers)}
    return [[word(known, w.kind, w.number) if isinstance(w, Place) else w for w in p.row] for p in text.phases]


def _phase(text: PhaseText, notes: Mapping[Place, str]) -> Phase:
    words = tuple(notes[what] if isinstance(what, Place) else str(what) for what in text.row)
    return Phase(text.title, text.chunks, text.flops, text.nbytes, text.kernel, len(words), words)


def _notes(schedule: Schedule, named: Mapping[str, Sequence[Node]]) -> dict[Place, str]:
    """What lies in each place, in a few words."""
    holds: dict[Place, dict[str, None]] = {}
    for node, place in schedule.place.items():
        holds.setdefault(place, {})[node.op.name.lstrip("_")] = None
    found = {}
    for number, (dtype, shape) in enumerate(schedule.buffers):
        place = Place("buffer", number)
        found[place] = f"b{number}: {', '.join([*holds.get(place, ()), f'{dtype}{shape_text(shape)}'])}"
    for kind, nodes in named.items():
        for k, node in enumerate(nodes):
            name = {"output": f"output {k}", "constant": f"k{k}"}.get(kind) or f"{kind} {node.name}"
            found[Place(kind, k)] = f"{name}: {node.dtype}{shape_text(node.shape)}"
    return found


def _buffer(text: Text, number: int) -> Buffer:
    """The memory of a buffer; none where no phase refers to it."""
    use = text.uses.get(number)
    return Buffer(0, 0, 0) if use is None else Buffer(text.schedule.buffer_bytes(number), use.first, use.last)


def _for_outputs(text: Text) -> tuple[int, ...] | None:
    """The phases that the outputs need, or None if one of them writes a parameter as well."""
    tasks = text.schedule.tasks
    needed: set[Task] = set()
    for k in reversed(range(len(tasks))):
        if tasks[k] in needed or any(p.kind == "output" for p in writes(tasks[k])):
            needed |= {tasks[k], *(tasks[n] for n in text.schedule.needs[k])}
    found = []
    for k, phase in enumerate(text.phases):
        if any(t in needed for t in phase.tasks):
            if any(p.kind == "parameter" for t in phase.tasks for p in writes(t)):
                return None
            found.append(k)
    return tuple(found)
