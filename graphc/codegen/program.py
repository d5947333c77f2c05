"""A compiled program as plain data: the text of its kernels and all that the runtime needs to call them.

The text defines `program(T, phase, chunk)`, where T is the address of a frame: int64 words followed by the buffers.

    word 0            status: 0, or 1 + the index of the failure in `failures`
    words 1 to 3      where it failed: position, and the offending value
    words 4 to 7      the runtime's own
    words 8 ...       addresses of inputs, outputs, parameters, constants, in this order
    then              `values`, evaluated for the symbols of the call
    then              offsets of the buffers from T, in bytes
    then              the number of chunks of each phase

The runtime fills the frame and calls every chunk of every phase, in order; it stops where the status is not 0.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphc.dims import Dim, from_plain, to_plain
from graphc.types import DTYPES, Constraint, DType, Shape

HEADER_WORDS = 8


@dataclass(frozen=True)
class Slot:
    """An array that the program is given: an input, an output, or a parameter."""

    name: str
    dtype: DType
    shape: Shape


@dataclass(frozen=True)
class Buffer:
    """Memory that lives from phase `first` to phase `last`; buffers that never live together may share storage."""

    nbytes: Dim
    first: int
    last: int


@dataclass(frozen=True)
class Phase:
    """Work cut into `chunks`, any of which may run at the same time; `title` says what it computes."""

    title: str
    chunks: Dim
    flops: Dim
    nbytes: Dim


@dataclass(frozen=True)
class Failure:
    """A check inside the program: `text` is formatted with position and value, `line` is the user's."""

    text: str
    line: str


@dataclass(frozen=True)
class Program:
    name: str
    text: str
    symbols: tuple[str, ...]
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    parameters: tuple[Slot, ...]
    writes: tuple[int, ...]  # the parameters that a call changes
    constants: tuple[np.ndarray[Any, Any], ...]
    constraints: tuple[tuple[Constraint, str], ...]  # with the user's line
    values: tuple[Dim, ...]
    buffers: tuple[Buffer, ...]
    phases: tuple[Phase, ...]
    failures: tuple[Failure, ...]
    for_outputs: tuple[int, ...] | None = None  # phases that the outputs need; None if one of them writes a parameter
    records: Mapping[str, Any] = field(default_factory=dict)  # what the passes and the scheduler did, for explain()

    def without_updates(self) -> Program | None:
        """The program with only the phases that its outputs need; None if those change a parameter."""
        if self.for_outputs is None:
            return None
        kept = set(self.for_outputs)
        phases = tuple(h if k in kept else replace(h, chunks=0, flops=0, nbytes=0) for k, h in enumerate(self.phases))
        return replace(self, phases=phases, writes=())

    def word(self, kind: str, index: int) -> int:
        """The frame word of an input, output, parameter, constant, value, buffer or phase."""
        return word(self.counts(), kind, index)

    def counts(self) -> dict[str, int]:
        sections = (self.inputs, self.outputs, self.parameters, self.constants, self.values, self.buffers, self.phases)
        return dict(zip(SECTIONS, map(len, sections), strict=True))

    @property
    def words(self) -> int:
        return HEADER_WORDS + sum(self.counts().values())

    def to_json(self) -> str:
        return json.dumps(_plain(self))

    @classmethod
    def from_json(cls, text: str) -> Program:
        return _program(json.loads(text))


SECTIONS = ("input", "output", "parameter", "constant", "value", "buffer", "phase")


def word(counts: Mapping[str, int], kind: str, index: int) -> int:
    """The frame word of element `index` of a section, given the length of each section before it."""
    before = SECTIONS[: SECTIONS.index(kind)]
    return HEADER_WORDS + sum(counts[s] for s in before) + index


def _slots(slots: tuple[Slot, ...]) -> list[Any]:
    return [[s.name, s.dtype.name, [to_plain(d) for d in s.shape]] for s in slots]


def _plain(p: Program) -> dict[str, Any]:
    return {
        "name": p.name,
        "text": p.text,
        "symbols": p.symbols,
        "inputs": _slots(p.inputs),
        "outputs": _slots(p.outputs),
        "parameters": _slots(p.parameters),
        "writes": p.writes,
        "constants": [[c.dtype.name, c.shape, base64.b64encode(c.tobytes()).decode()] for c in p.constants],
        "constraints": [[to_plain(c.left), c.relation, to_plain(c.right), c.text, line] for c, line in p.constraints],
        "values": [to_plain(v) for v in p.values],
        "buffers": [[to_plain(b.nbytes), b.first, b.last] for b in p.buffers],
        "phases": [[h.title, to_plain(h.chunks), to_plain(h.flops), to_plain(h.nbytes)] for h in p.phases],
        "failures": [[f.text, f.line] for f in p.failures],
        "for_outputs": p.for_outputs,
        "records": p.records,
    }


def _program(d: Mapping[str, Any]) -> Program:
    def slots(rows: Any) -> tuple[Slot, ...]:
        return tuple(Slot(name, DTYPES[dtype], tuple(map(from_plain, shape))) for name, dtype, shape in rows)

    return Program(
        name=d["name"],
        text=d["text"],
        symbols=tuple(d["symbols"]),
        inputs=slots(d["inputs"]),
        outputs=slots(d["outputs"]),
        parameters=slots(d["parameters"]),
        writes=tuple(d["writes"]),
        constants=tuple(np.frombuffer(base64.b64decode(raw), t).reshape(shape) for t, shape, raw in d["constants"]),
        constraints=tuple(
            (Constraint(from_plain(p), rel, from_plain(q), text), line) for p, rel, q, text, line in d["constraints"]
        ),
        values=tuple(map(from_plain, d["values"])),
        buffers=tuple(Buffer(from_plain(n), first, last) for n, first, last in d["buffers"]),
        phases=tuple(Phase(t, from_plain(c), from_plain(f), from_plain(n)) for t, c, f, n in d["phases"]),
        failures=tuple(Failure(*f) for f in d["failures"]),
        for_outputs=None if d["for_outputs"] is None else tuple(d["for_outputs"]),
        records=d["records"],
    )
