"""From a schedule to a Program: the text of every phase, and the plan of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.codegen.nest import emit_copy, emit_nest, emit_with_product
from graphc.codegen.product import emit_product
from graphc.codegen.program import Buffer, Failure, Phase, Program, Slot
from graphc.codegen.record import record_program
from graphc.codegen.scatter import emit_scatter
from graphc.codegen.text import Text, numbered
from graphc.dims import symbol
from graphc.graph import Node
from graphc.schedule.storage import Schedule
from graphc.schedule.task import Copy, Nest, Product, Scatter, Task, writes
from graphc.types import Constraint

_EMITTERS: dict[Any, Any] = {Nest: emit_nest, Copy: emit_copy, Product: emit_product, Scatter: emit_scatter}


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
) -> Program:
    """Print the schedule and gather all that the runtime needs."""
    text = Text(schedule, list(symbols), values=[symbol(s) for s in symbols])
    start, k, tasks = 0, 0, schedule.tasks  # the last phase does the tasks from `start` to `k`
    while k < len(tasks):
        text.may_join = start < k and max(schedule.before[k], default=-1) < start
        if _follows(text, k):
            start, k = k, k + 2
            continue
        text.tasks = (tasks[k],)
        _EMITTERS[type(tasks[k])](text, tasks[k])
        start, k = start if text.joined else k, k + 1
    recorded = record_program(text, outputs)
    text.finish()
    counts = {
        "input": len(inputs),
        "output": len(outputs),
        "parameter": len(parameters),
        "constant": len(schedule.constants),
        "value": len(text.values),
        "buffer": len(schedule.buffers),
        "phase": len(text.phases),
    }
    return Program(
        name=name,
        text=text.render(counts),
        symbols=tuple(symbols),
        inputs=tuple(Slot(str(n.name), n.dtype, n.shape) for n in inputs),
        outputs=tuple(Slot(f"output {k}", n.dtype, n.shape) for k, n in enumerate(outputs)),
        parameters=tuple(Slot(str(n.name), n.dtype, n.shape) for n in parameters),
        writes=tuple(k for k, n in enumerate(parameters) if any(n is w for w in written)),
        constants=tuple(n.attrs["value"].array for n in schedule.constants),
        constraints=tuple(constraints),
        values=tuple(int(numbered(v, counts)) if isinstance(v, str) else v for v in text.values),
        buffers=tuple(_buffer(text, k) for k in range(len(schedule.buffers))),
        phases=tuple(Phase(p.title, p.total("chunks"), p.total("flops"), p.total("nbytes")) for p in text.phases),
        failures=tuple(Failure(*f) for f in text.failures),
        for_outputs=_for_outputs(text),
        records={**records, **recorded},
    )


def _follows(text: Text, k: int) -> bool:
    """Print a product and the nest that reads it as one phase, if they fit."""
    first, *rest = text.schedule.tasks[k : k + 2]
    if not isinstance(first, Product) or not rest or not isinstance(rest[0], Nest):
        return False
    if k not in text.schedule.needs[k + 1]:
        return False
    may_join, text.may_join, text.tasks = text.may_join, False, (first, rest[0])
    printed = emit_with_product(text, first, rest[0])
    text.may_join = may_join
    return printed


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
        done = [t for segment in (phase, *phase.segments) for t in segment.tasks]
        if any(t in needed for t in done):
            if any(p.kind == "parameter" for t in done for p in writes(t)):
                return None
            found.append(k)
    return tuple(found)
