"""From a schedule to a Program: the text of every phase, and the plan of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.codegen.nest import emit_nest
from graphc.codegen.product import emit_product
from graphc.codegen.program import Buffer, Failure, Phase, Program, Slot
from graphc.codegen.scatter import emit_scatter
from graphc.codegen.text import Text, Use
from graphc.dims import symbol
from graphc.graph import Node
from graphc.schedule.storage import Schedule
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
    for step in schedule.steps:
        _EMITTERS[step.group.kind](text, step)
    uses = [text.uses.get(k, Use(0, 0)) for k in range(len(schedule.buffers))]
    counts = {
        "input": len(inputs),
        "output": len(outputs),
        "parameter": len(parameters),
        "constant": len(schedule.constants),
        "value": len(text.values),
        "buffer": len(uses),
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
        values=tuple(text.values),
        buffers=tuple(Buffer(schedule.buffer_bytes(k), use.first, use.last) for k, use in enumerate(uses)),
        phases=tuple(Phase(p.title, p.chunks, p.flops, p.nbytes) for p in text.phases),
        failures=tuple(Failure(*f) for f in text.failures),
        records=records,
    )
