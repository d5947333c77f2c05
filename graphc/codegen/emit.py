"""From a schedule to a Program: the text of every phase, and the plan of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.codegen.nest import emit_nest, emit_with_product
from graphc.codegen.product import emit_product
from graphc.codegen.program import Buffer, Failure, Phase, Program, Slot
from graphc.codegen.record import record_program
from graphc.codegen.scatter import emit_scatter
from graphc.codegen.text import Text, numbered
from graphc.dims import symbol
from graphc.graph import Node
from graphc.schedule.fuse import Group
from graphc.schedule.storage import Schedule, Step
from graphc.types import Constraint

_EMITTERS = {"nest": emit_nest, "commit": emit_nest, "product": emit_product, "scatter": emit_scatter}


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
    together: list[Group] = []  # what the last phase does
    steps = list(schedule.steps)
    while steps:
        step = steps.pop(0)
        text.may_join = bool(together) and not any(step.group.reaches(g) for g in together)
        if step.group.kind == "product" and steps and _follows(text, step, steps[0]):
            together = [step.group, steps.pop(0).group]
            continue
        text.steps = (step,)
        _EMITTERS[step.group.kind](text, step)
        together = [*together, step.group] if text.joined else [step.group]
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


def _follows(text: Text, first: Step, second: Step) -> bool:
    """Print a product and the nest that reads it as one phase, if they fit."""
    if first.group not in second.group.needs:
        return False
    text.steps, text.may_join = (first, second), False
    return emit_with_product(text, first, second)


def _buffer(text: Text, number: int) -> Buffer:
    """The memory of a buffer; none where no phase refers to it."""
    use = text.uses.get(number)
    return Buffer(0, 0, 0) if use is None else Buffer(text.schedule.buffer_bytes(number), use.first, use.last)


def _for_outputs(text: Text) -> tuple[int, ...] | None:
    """The phases that the outputs need, or None if one of them writes a parameter as well."""
    waiting = [s.group for s in text.schedule.steps if any(p.kind == "output" for _, p in s.stores)]
    needed: set[Group] = set()
    while waiting:
        group = waiting.pop()
        if group not in needed:
            needed.add(group)
            waiting += group.needs
    found = []
    for k, phase in enumerate(text.phases):
        steps = [s for segment in (phase, *phase.segments) for s in segment.steps]
        if any(s.group in needed for s in steps):
            if any(p.kind == "parameter" for s in steps for _, p in s.stores):
                return None
            found.append(k)
    return tuple(found)
