"""How long the phases of a program take, in runs of the whole program.

In: a machine and arrays that fit it.  Out: the kernels with their times, and what calls take.  The driver reads the
clock after each phase; parameters are copies that nobody else sees.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.codegen.program import HEADER_WORDS, Program
from graphc.dims import evaluate
from graphc.errors import InputError
from graphc.inspect.profile import Drawn, Kernel, Profile
from graphc.runtime import entry
from graphc.runtime import layout as at
from graphc.runtime.arguments import Array
from graphc.runtime.entry import Words
from graphc.runtime.machine import Machine
from graphc.runtime.roofline import roofline
from graphc.runtime.workspace import Shape
from graphc.state import State, address

_EMPTY_RUNS = 20  # by which the driver's own time is known
_LONG = 1_000  # nanoseconds; no clock takes as long


def measure(machine: Machine, inputs: Sequence[Array], outputs: Sequence[str], repeat: int) -> Profile:
    """Median times over `repeat` runs of the program and as many calls; parameters keep their values."""
    program = machine.program
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        raise InputError(f"{program.name}.profile: repeat must be an int >= 1, got {repeat!r}")
    run = _Run(machine, inputs)
    with run.twin.workspace(run.shape) as words:
        nanoseconds, runs = run.phases(words, repeat)
    given, fresh = run.calls(run.given, repeat), run.calls((), repeat)
    work = _Work(program, run.shape, machine.threads)
    numbers = [k for k, phase in enumerate(program.phases) if phase.kernel >= 0]
    kernels = tuple(work.kernel(k, nanoseconds[k] / 1e3, int(runs[k])) for k in numbers)
    limits = roofline(max((k.threads for k in kernels), default=1))
    return Profile(kernels, given / 1e3, fresh / 1e3, limits, Drawn(program, tuple(outputs)))


class _Run:
    """A program on copies of its parameters, with arrays for its outputs."""

    def __init__(self, machine: Machine, inputs: Sequence[Array]) -> None:
        self.program = program = machine.program
        self.values = [s.read() for s in machine.states]
        states = [State(s.name, v) for s, v in zip(machine.states, self.values, strict=True)]
        self.twin = Machine(program, machine.native, states, machine.most_threads)
        self.shape = self.twin.shape(tuple(a.shape for a in inputs))
        self.inputs = [np.require(a, requirements=("C", "A")) for a in inputs]
        slots = zip(self.shape.outputs, program.outputs, strict=True)
        self.given = [np.zeros(dims, slot.dtype.numpy) for dims, slot in slots]

    def restore(self) -> None:
        """Give the parameters their values again."""
        for k in self.program.writes:
            self.twin.states[k].array[...] = self.values[k]

    def phases(self, words: Words, repeat: int) -> tuple[list[float], list[float]]:
        """For each phase the median of its nanoseconds in a run, without what reading the clock takes, and its runs."""
        arrays = [*self.inputs, *self.given]
        words[HEADER_WORDS : HEADER_WORDS + len(arrays)] = [address(a) for a in arrays]
        first, count = self.program.word("phase", 0), len(self.program.phases)
        section = words[first : first + count]
        chunks = section.copy()
        section[:] = 0  # nothing is to be done
        empty = self._timed(words, _EMPTY_RUNS)[:, :count, at.NANOSECONDS]
        reading = np.median(empty, axis=0).min(initial=_LONG)
        section[:] = chunks
        rows = self._timed(words, 1 + repeat)[1:, :count]  # the first is slower, as it meets what others have left
        times, runs = rows[..., at.NANOSECONDS], rows[..., at.RUNS]
        return np.maximum(np.median(times - reading * runs, axis=0), 0).tolist(), np.median(runs, axis=0).tolist()

    def _timed(self, words: Words, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The rows of all phases in so many runs; between them there is as little as may be."""
        times = np.zeros((count, at.FIRST_TIME + at.TIME_ROW * (len(self.program.phases) + 1)), np.int64)
        execute = entry.native_function("execute", holds_gil=False)
        descriptor, frame, first, step = *map(address, (self.twin.descriptor, words, times)), times.strides[0]
        for k in range(count):
            self.restore()
            if execute(descriptor, frame, first + k * step):
                raise self.twin.explain(words)
        return times[:, at.FIRST_TIME :].reshape(count, -1, at.TIME_ROW)

    def calls(self, given: Sequence[Array], repeat: int) -> float:
        """The median nanoseconds of a call, with arrays for the outputs or without."""
        arrays = (*self.inputs, *given)
        self.twin.enter(self.inputs, given)  # the first of a shape makes what the others find
        call = self.twin.attempt_given if given else self.twin.attempt
        taken = [self._taken(call, arrays) for _ in range(1 + repeat)][1:]
        nothing = [self._taken(_nothing, arrays) for _ in range(_EMPTY_RUNS)]
        return max(statistics.median(taken) - statistics.median(nothing), 0.0)

    def _taken(self, call: Callable[..., Any], arrays: Sequence[Array]) -> int:
        self.restore()
        start = time.perf_counter_ns()
        result = call(*arrays)
        taken = time.perf_counter_ns() - start
        if type(result) is bytes:
            raise self.twin.failure(result)
        return taken


def _nothing(*arrays: Array) -> None:
    """What costs as much as a call that does nothing."""


class _Work:
    """What the phases of a program have to do at some sizes, and how fast the machine could do it."""

    def __init__(self, program: Program, shape: Shape, threads: int) -> None:
        self.program, self.sizes, self.threads = program, shape.sizes, threads
        records = program.records.get("schedule", {}).get("phases")
        self.records = records or [{} for _ in program.phases]
        self.chunks = shape.words[program.word("phase", 0) - program.words :].tolist()  # words end as a frame does

    def kernel(self, number: int, microseconds: float, runs: int) -> Kernel:
        """The work and the limit of a phase that has run so often."""
        phase, chunks = self.program.phases[number], abs(self.chunks[number]) % at.BRIEF
        reckoned = max(evaluate(phase.runs, self.sizes), 1)
        flops, nbytes = (evaluate(each, self.sizes) * runs // reckoned for each in (phase.flops, phase.nbytes))
        threads = min(self.threads, chunks) if self.chunks[number] < 0 else 1
        footprint = self._footprint(number, nbytes // max(runs, 1))
        dtype = self.records[number].get("computes", "float64")
        seconds, bound = roofline(threads).least(flops, nbytes, footprint, dtype)
        work = {"chunks": chunks, "flops": flops, "nbytes": nbytes, "runs": runs, "threads": threads}
        return Kernel(number, phase.title, microseconds, limit=seconds * 1e6, bound=bound if seconds else "", **work)

    def _footprint(self, number: int, nbytes: int) -> int:
        """Bytes among which one run moves: what it moves, or if that is less all that the arrays have."""
        record = self.records[number]
        places = {tuple(place) for role in ("reads", "writes", "scratch") for place in record.get(role, ())}
        return int(min(nbytes, sum(self._size(*place) for place in places))) if places else nbytes

    def _size(self, kind: str, number: int) -> float:
        """Bytes of a place; of a row of another one, more than any has."""
        p = self.program
        if kind == "buffer":
            return evaluate(p.buffers[number].nbytes, self.sizes)
        if kind == "constant":
            return p.constants[number].nbytes
        slots = {"input": p.inputs, "output": p.outputs, "parameter": p.parameters}.get(kind)
        if slots is None:
            return math.inf
        return math.prod(evaluate(d, self.sizes) for d in slots[number].shape) * slots[number].dtype.size
