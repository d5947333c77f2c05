"""From a schedule to a Program: kernels, the phases that run them, and the plan of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from graphc.codegen.alike import Once
from graphc.codegen.control import emit_holder
from graphc.codegen.copy import emit_copy
from graphc.codegen.listed import lists_of
from graphc.codegen.loop_ir import Control, LoopProgram
from graphc.codegen.nest import emit_nest, emit_with_product
from graphc.codegen.printer import print_code
from graphc.codegen.product import Product
from graphc.codegen.program import Buffer, Failure, Phase, Program, Slot, word
from graphc.codegen.record import record_program
from graphc.codegen.scan import Scan
from graphc.codegen.scatter import emit_scatter
from graphc.codegen.search import Search
from graphc.codegen.sort import Selection, Sort
from graphc.codegen.source import control_number
from graphc.codegen.text import Text
from graphc.codegen.tiny import tiny
from graphc.codegen.views import ViewKernel
from graphc.dims import Dim, product
from graphc.graph import Node
from graphc.schedule.storage import Schedule
from graphc.schedule.task import (
    Body,
    Choose,
    Copy,
    Holder,
    Kernel,
    Nest,
    Place,
    Repeat,
    Scatter,
    Task,
    While,
    mentions,
    needs,
    writes,
)
from graphc.types import Constraint, int64, shape_text

_KERNELS: dict[str, type[ViewKernel]] = {"product": Product, "scan": Scan, "sort": Sort, "argsort": Sort}
_KERNELS |= dict.fromkeys(("search_left", "search_right"), Search) | dict.fromkeys(("largest", "smallest"), Selection)


def _emit_kernel(text: Text, task: Kernel) -> None:
    small = tiny(text, task) if task.job.kernel == "product" else None
    (small or _KERNELS[task.job.kernel](text, task)).emit()


_EMITTERS: dict[Any, Any] = {
    Nest: emit_nest,
    Kernel: _emit_kernel,
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
    text = Text(schedule, mentions(schedule.tasks), place=schedule.place)
    text.lists = lists_of(text, inputs)
    _print_tasks(text, Once(text), schedule.tasks)
    rows = _rows(text, {"input": len(inputs), "output": len(outputs), "parameter": len(parameters)})
    named = {"input": inputs, "output": outputs, "parameter": parameters, "constant": schedule.constants}
    notes = _notes(schedule, named)
    notes |= {there: f"where rows of {notes[place].split(':')[0]} are" for place, there in text.lists.items()}
    kernels, runs = _kernels(text)
    return Program(
        name=name,
        kernels=kernels,
        symbols=tuple(symbols),
        inputs=tuple(Slot(str(n.name), n.dtype, n.shape) for n in inputs),
        outputs=tuple(Slot(f"output {k}", n.dtype, n.shape) for k, n in enumerate(outputs)),
        parameters=tuple(Slot(str(n.name), n.dtype, n.shape) for n in parameters),
        writes=tuple(k for k, n in enumerate(parameters) if any(n is w for w in written)),
        constants=tuple(n.attrs["value"].array for n in schedule.constants),
        constraints=tuple(constraints),
        buffers=tuple(_buffer(text, k) for k in range(len(schedule.buffers))),
        moving=schedule.memory.rows,
        counters=schedule.memory.counters,
        listed=tuple(place.number for place in text.lists),
        values=tuple(value for row in rows for value in row),
        phases=_phases(text, runs, notes),
        failures=tuple(Failure(*f) for f in text.failures),
        for_outputs=_for_outputs(text),
        loops=_loops(text, named) if loops else None,
        records={**records, **record_program(text, outputs, parameters)},
    )


def _print_tasks(text: Text, once: Once, tasks: Sequence[Task]) -> None:
    """Print the phases of tasks; a product and the nest that reads it are one, if they fit."""
    needed, k = needs(tasks), 0
    while k < len(tasks):
        task, pair = tasks[k], tuple(tasks[k : k + 2])
        if k + 1 < len(tasks) and k in needed[k + 1] and _may_join(*pair) and once.print(pair, emit_with_product):
            k += 2
            continue
        if isinstance(task, Copy):
            text.tasks = (task,)
            emit_copy(text, task)
        elif isinstance(task, (Repeat, While, Choose)):
            text.tasks = (task,)
            emit_holder(text, task, partial(_print_body, text, once, task))
        else:
            once.print((task,), _EMITTERS[type(task)])
        k += 1


def _print_body(text: Text, once: Once, task: Task, body: Body, times: Dim) -> None:
    """Print the phases of a body that a task holds."""
    around = text.place, text.times, text.roots
    text.place, text.times, text.roots = body.place, text.times * times, text.roots or (task,)
    _print_tasks(text, once, body.tasks)
    text.place, text.times, text.roots = around
    text.tasks = (task,)


def _may_join(first: Task, second: Task) -> bool:
    """Whether tasks are a product, and a nest that may read it."""
    return isinstance(first, Kernel) and first.job.kernel == "product" and isinstance(second, Nest)


def _loops(text: Text, named: Mapping[str, Sequence[Node]]) -> LoopProgram:
    """The loops of every phase, with what is known of the places that they touch."""
    places = {Place(kind, k): (n.dtype, product(n.shape)) for kind, nodes in named.items() for k, n in enumerate(nodes)}
    places |= {Place("buffer", k): (d, product(shape)) for k, (d, shape) in enumerate(text.schedule.buffers)}
    places |= text.rows | dict.fromkeys(text.lists.values(), (int64, 0))
    lines = (dict.fromkeys(str(m.line) for task in p.tasks for m in task.members) for p in text.phases)
    return LoopProgram(tuple(p.code for p in text.phases), tuple(map(tuple, lines)), places)


def _rows(text: Text, counts: Mapping[str, int]) -> list[list[Dim]]:
    """The words of each phase's row: for a place, the number of the frame's word that holds its address."""
    known = {**counts, "constant": len(text.schedule.constants), "buffer": len(text.schedule.buffers)}
    known |= {"value": sum(len(p.row) for p in text.phases), "phase": len(text.phases)}
    known |= {"row": text.schedule.memory.rows, "counter": text.schedule.memory.counters}
    return [[word(known, w.kind, w.number) if isinstance(w, Place) else w for w in p.row] for p in text.phases]


def _kernels(text: Text) -> tuple[tuple[str, ...], list[int]]:
    """The texts of all kernels, and the number of that which each phase runs."""
    texts: dict[int, str] = {}  # by the identity of the loops, which phases share
    numbers: dict[str, int] = {}
    runs = []
    for code in (p.printed for p in text.phases):
        if isinstance(code, Control):
            runs.append(control_number(code.what))
            continue
        if id(code) not in texts:
            texts[id(code)] = print_code(code)
        runs.append(numbers.setdefault(texts[id(code)], len(numbers)))
    return tuple(numbers), runs


def _phases(text: Text, runs: Sequence[int], notes: Mapping[Place, str]) -> tuple[Phase, ...]:
    first: dict[Task, int] = {}
    found = []
    for k, (p, kernel) in enumerate(zip(text.phases, runs, strict=True)):
        within = first.setdefault(p.roots[0], k) if isinstance(p.roots[0], Holder) else -1
        words = tuple(notes[what] if isinstance(what, Place) else str(what) for what in p.row)
        flops, nbytes = p.flops * p.times, p.nbytes * p.times
        found.append(Phase(p.title, p.chunks, flops, nbytes, kernel, len(words), words, within, p.times))
    return tuple(found)


def _notes(schedule: Schedule, named: Mapping[str, Sequence[Node]]) -> dict[Place, str]:
    """What lies in each place, in a few words."""
    holds: dict[Place, dict[str, None]] = {}
    for node, place in schedule.place.items():
        holds.setdefault(place, {})[node.op.name.lstrip("_")] = None
    found = {}
    for number, (dtype, shape) in enumerate(schedule.buffers):
        place = Place("buffer", number)
        found[place] = f"b{number}: {', '.join([*holds.get(place, ()), f'{dtype}{shape_text(shape)}'])}"
    for number in range(schedule.memory.rows):
        found[Place("row", number)] = f"m{number}: moves from step to step"
    for number in range(0, schedule.memory.counters, 2):
        found[Place("counter", number)] = f"counter {number // 2}"
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
        if any(t in needed for t in phase.roots):
            if any(p.kind == "parameter" for t in phase.roots for p in writes(t)):
                return None
            found.append(k)
    return tuple(found)
