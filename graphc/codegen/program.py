"""A compiled program as plain data: its kernels and all that the runtime needs to call them.

A kernel is `kernel(T, s, chunk, worker)`, where T is the address of a frame, int64 words followed by the buffers, s
that of the row of words of the phase that runs, and worker the number of the thread that runs it.

    word 0            status: 0, or 1 + the index of the failure in `failures`
    words 1 to 3      where it failed: position, and the offending value
    words 4 to 6      the runtime's own
    word 7            1 + the chunk that failed
    words 8 ...       addresses of inputs, outputs, parameters, constants, in this order
    then              addresses of the buffers
    then              `values`, evaluated for the symbols of the call: the rows of the phases, one after the other
    then              the number of chunks of each phase, addresses that loops move, and their counters
    then              addresses of lists that tell where rows of inputs are, or 0 (see graphc.codegen.listed)

The runtime fills the frame and calls every chunk of every phase, in order; it stops where the status is not 0.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.codegen.source import source
from graphc.dims import Dim, Poly, symbol
from graphc.errors import InputError
from graphc.own_scalar import raised
from graphc.plain import from_plain, to_plain
from graphc.types import DTYPES, Constraint, DType, Shape

if TYPE_CHECKING:
    from graphc.codegen.loop_ir import LoopProgram

HEADER_WORDS = 8
FAILED = 7
WORKERS = symbol("%workers")  # in the size of a buffer: how many threads may run chunks


class Slot(NamedTuple):  # a warm start makes these classes as well: ten times as fast as a dataclass
    """An array that the program is given: an input, an output, or a parameter."""

    name: str
    dtype: DType
    shape: Shape


class Buffer(NamedTuple):
    """Memory that lives from phase `first` to phase `last`; buffers that never live together may share storage."""

    nbytes: Dim
    first: int
    last: int


class Phase(NamedTuple):
    """Work cut into `chunks`, any of which may run at the same time; `title` says what it computes.

    It is done by the kernel of this number, on a row of `words` words; `notes` say what each of them is.  A number
    below 0 stands for a control phase, which says what phase is next (`control_number` in graphc.codegen.source).
    """

    title: str
    chunks: Dim
    flops: Dim
    nbytes: Dim
    kernel: int
    words: int
    notes: tuple[str, ...]
    within: int = -1  # the first phase of the loop or choice around it, the outermost
    runs: Dim = 1  # how often it runs in a call, of which `flops` and `nbytes` are the sum


class Failure(NamedTuple):
    """A check inside the program, at the user's `line`.

    `text` is formatted with position, value, the iteration of the innermost loop or the one `before`, and what a
    function of the user's `raised`, whose address is in the place of the position.
    """

    text: str
    line: str


class _Raised:
    """What a function of the user's raised: an exception, or the address of one, which is looked at if it is told."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __format__(self, spec: str) -> str:
        return repr(self.what if isinstance(self.what, Exception) else raised(self.what))


class Records(Mapping[str, Any]):
    """What was done, as JSON that is read when somebody asks, and the lines that it names."""

    def __init__(self, text: str, lines: Sequence[Any]) -> None:
        self.text, self.lines = text, lines

    @cached_property
    def _read(self) -> dict[str, Any]:
        return {**json.loads(self.text), "lines": self.lines}

    def __getitem__(self, name: str) -> Any:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


@dataclass(frozen=True)
class Program:
    name: str
    kernels: tuple[str, ...]  # their text
    symbols: tuple[str, ...]
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    parameters: tuple[Slot, ...]
    writes: tuple[int, ...]  # the parameters that a call changes
    constants: tuple[np.ndarray[Any, Any], ...]
    constraints: tuple[tuple[Constraint, str], ...]  # with the user's line
    buffers: tuple[Buffer, ...]
    values: tuple[Dim, ...]
    phases: tuple[Phase, ...]
    failures: tuple[Failure, ...]
    for_outputs: tuple[int, ...] | None = None  # phases that the outputs need; None if one of them writes a parameter
    moving: int = 0  # addresses that loops move
    counters: int = 0  # words in which loops count
    listed: tuple[int, ...] = ()  # the inputs whose rows may lie anywhere; a word of each tells where
    records: Mapping[str, Any] = field(default_factory=dict)  # what the passes and the scheduler did, for explain()
    loops: LoopProgram | None = field(default=None, compare=False, repr=False)  # for the interpreter alone

    def failed(self, words: Sequence[Any]) -> InputError:
        """The error that the first words of a frame tell of, at the user's line."""
        status, position, value, iteration = words
        failure = self.failures[status - 1]
        told = {"position": position, "value": value, "iteration": iteration, "before": iteration - 1}
        text = failure.text.format(**told, raised=_Raised(position))
        return InputError(f"{self.name}: {text}\n  at {failure.line}")

    @property
    def text(self) -> str:
        """The source of all kernels, with a legend, and what each phase runs."""
        return source(self)

    @property
    def rows(self) -> tuple[int, ...]:
        """The frame's word at which the row of each phase begins."""
        first = self.word("value", 0)
        return tuple(itertools.accumulate((p.words for p in self.phases[:-1]), initial=first)) if self.phases else ()

    def without_updates(self) -> Program | None:
        """The program with only the phases that its outputs need; None if those change a parameter."""
        if self.for_outputs is None:
            return None
        kept = set(self.for_outputs)
        phases = tuple(h if k in kept else h._replace(chunks=0, flops=0, nbytes=0) for k, h in enumerate(self.phases))
        return replace(self, phases=phases, writes=())

    def word(self, kind: str, index: int) -> int:
        """The frame word of an element of one of the SECTIONS."""
        return self._starts[kind] + index

    @cached_property
    def _starts(self) -> dict[str, int]:
        """The first word of each section."""
        return {kind: word(self._counts, kind, 0) for kind in SECTIONS}

    @cached_property
    def leading(self) -> dict[str, tuple[int, ...]]:
        """The inputs that begin with a symbol, by symbol."""
        found: dict[str, tuple[int, ...]] = {}
        for k, slot in enumerate(self.inputs):
            name = str(slot.shape[0]) if slot.shape and isinstance(slot.shape[0], Poly) else ""
            if name.isidentifier():
                found[name] = (*found.get(name, ()), k)
        return found

    @cached_property
    def _counts(self) -> dict[str, int]:
        sections = (self.inputs, self.outputs, self.parameters, self.constants, self.buffers, self.values, self.phases)
        return dict(zip(SECTIONS, (*map(len, sections), self.moving, self.counters, len(self.listed)), strict=True))

    @property
    def words(self) -> int:
        return HEADER_WORDS + sum(self._counts.values())

    def to_json(self) -> str:
        return json.dumps(_plain(self))

    @classmethod
    def from_json(cls, text: str) -> Program:
        return _program(json.loads(text))


SECTIONS = ("input", "output", "parameter", "constant", "buffer", "value", "phase", "row", "counter", "list")


def word(counts: Mapping[str, int], kind: str, index: int) -> int:
    """The frame word of element `index` of a section, given the length of each section before it."""
    before = SECTIONS[: SECTIONS.index(kind)]
    return HEADER_WORDS + sum(counts[s] for s in before) + index


def _slots(slots: tuple[Slot, ...]) -> list[Any]:
    return [[s.name, s.dtype.name, [to_plain(d) for d in s.shape]] for s in slots]


def _plain(p: Program) -> dict[str, Any]:
    return {
        "name": p.name,
        "kernels": p.kernels,
        "symbols": p.symbols,
        "inputs": _slots(p.inputs),
        "outputs": _slots(p.outputs),
        "parameters": _slots(p.parameters),
        "writes": p.writes,
        "constants": [[c.dtype.name, c.shape, base64.b64encode(c.tobytes()).decode()] for c in p.constants],
        "constraints": [[to_plain(c.left), c.relation, to_plain(c.right), c.text, line] for c, line in p.constraints],
        "buffers": [[to_plain(b.nbytes), b.first, b.last] for b in p.buffers],
        "moving": p.moving,
        "counters": p.counters,
        "listed": p.listed,
        "values": [to_plain(v) for v in p.values],
        "phases": list(map(_plain_phase, p.phases)),
        "failures": [[f.text, f.line] for f in p.failures],
        "for_outputs": p.for_outputs,
        "records": json.dumps({k: v for k, v in p.records.items() if k != "lines"}),
        "lines": p.records.get("lines", ()),
    }


def _plain_phase(h: Phase) -> list[Any]:
    dims = map(to_plain, (h.chunks, h.flops, h.nbytes))
    return [h.title, *dims, h.kernel, h.words, h.notes, h.within, to_plain(h.runs)]


def _program(d: Mapping[str, Any]) -> Program:
    def slots(rows: Any) -> tuple[Slot, ...]:
        return tuple(Slot(name, DTYPES[dtype], tuple(map(from_plain, shape))) for name, dtype, shape in rows)

    return Program(
        name=d["name"],
        kernels=tuple(d["kernels"]),
        symbols=tuple(d["symbols"]),
        inputs=slots(d["inputs"]),
        outputs=slots(d["outputs"]),
        parameters=slots(d["parameters"]),
        writes=tuple(d["writes"]),
        constants=tuple(np.frombuffer(base64.b64decode(raw), t).reshape(shape) for t, shape, raw in d["constants"]),
        constraints=tuple(
            (Constraint(from_plain(p), rel, from_plain(q), text), line) for p, rel, q, text, line in d["constraints"]
        ),
        buffers=tuple(Buffer(from_plain(n), first, last) for n, first, last in d["buffers"]),
        moving=d["moving"],
        counters=d["counters"],
        listed=tuple(d["listed"]),
        values=tuple(map(from_plain, d["values"])),
        phases=tuple(
            Phase(title, from_plain(c), from_plain(f), from_plain(n), k, words, tuple(notes), within, from_plain(runs))
            for title, c, f, n, k, words, notes, within, runs in d["phases"]
        ),
        failures=tuple(Failure(*f) for f in d["failures"]),
        for_outputs=None if d["for_outputs"] is None else tuple(d["for_outputs"]),
        records=Records(d["records"], d["lines"]),
    )
