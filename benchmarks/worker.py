"""The process of one peer: `python -m benchmarks.worker MODULE THREADS`.

In: a request a line on stdin, JSON.  Out: an answer a line on stdout, JSON; whatever a library prints goes to stderr.
An answer is {"error": …} if the peer failed; what else it holds stands at the function that gives it.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers import Program, by_name
from benchmarks.reference import Arrays
from benchmarks.workloads import WORKLOADS, Derivative

SAMPLE_SECONDS = 0.02
LONGEST = 300  # steps after which a sample starts from the first weights: training on would measure denormal numbers


@dataclass
class Running:
    """A compiled program and the number of steps of a sample, 0 before that is chosen."""

    program: Program
    run: Callable[..., Any]
    steps: int = 0

    def choose_steps(self, seconds: float) -> None:
        """As many as fill SAMPLE_SECONDS, at least three; one where three take longer than a turn of `seconds`."""
        self.steps = 3
        estimate = self.sample()
        if 3 * estimate > seconds:
            self.steps = 1
        else:
            estimate = min(estimate, self.sample(), self.sample())
            self.steps = int(np.clip(SAMPLE_SECONDS / estimate, 3, LONGEST))

    def sample(self) -> float:
        """Seconds a step, over `steps` steps from the first state."""
        self.program.reset()
        run, plan = self.run, list(itertools.islice(itertools.cycle(self.program.batches), self.steps))
        begin = time.perf_counter()
        for arguments in plan:
            run(*arguments)
        return (time.perf_counter() - begin) / self.steps


class Worker:
    """A peer's module, and the programs of the workload that is being measured, by variant and measure."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.programs: dict[tuple[str, str], Running] = {}

    def start(self, workload: str, size: str, variant: str) -> dict[str, Any]:
        """Compile a program and check its results.  Out: `seconds` to the first result, `disagreement`."""
        record = WORKLOADS[workload]
        arrays = record.inputs(size)
        start = self._start_derivative if isinstance(record, Derivative) else self._start_call
        seconds, got = start(record, size, variant, arrays)
        return {"seconds": [seconds], "disagreement": record.disagreement(size, got, record.expected(size, arrays))}

    def _start_call(self, record: Any, size: str, variant: str, arrays: Arrays) -> tuple[float, Arrays]:
        program: Program = getattr(self.module, record.builder)(arrays, variant)
        seconds, run, first = _first_call(program)
        values = [_as_float(first), *(_as_float(run(*batch)) for batch in program.batches[1:])]
        self.programs[variant, "call"] = Running(program, run)
        return seconds, {"losses": values, **program.state()} if record.builder == "training" else {"y": values[0]}

    def _start_derivative(self, record: Any, size: str, variant: str, arrays: Arrays) -> tuple[float, Arrays]:
        """The first call of the gradient is timed; what else is measured is checked here."""
        programs = self.module.derivative(record, size, record.form_of(variant), variant, arrays)
        seconds, found = {}, {}
        for measure, program in programs.items():
            seconds[measure], run, first = _first_call(program)
            self.programs[variant, measure], found[measure] = Running(program, run), by_name(first)
            if wrong := record.disagreement(size, found[measure], record.expected(size, arrays), measure):
                raise ValueError(f"{measure} disagrees: {wrong}")
        return seconds["gradient"], found["gradient"]

    def turn(self, variant: str, measure: str, seconds: float) -> dict[str, Any]:
        """Time samples until `seconds` have passed.  Out: `seconds` a step, one a sample."""
        running, samples = self.programs[variant, measure], list[float]()
        end = time.perf_counter() + seconds
        if not running.steps:
            running.choose_steps(seconds)
        while not samples or time.perf_counter() < end:
            samples.append(running.sample())
        return {"seconds": samples}

    def forget(self) -> dict[str, Any]:
        """Drop all programs."""
        self.programs.clear()
        return {}

    def check_fit(self, workload: str, size: str, variant: str) -> dict[str, Any]:
        """Two epochs in the order of the rows.  Out: `disagreement`."""
        record = WORKLOADS[workload]
        arrays = record.inputs(size)
        got = getattr(self.module, record.builder)(arrays, variant).fit(2, False)
        return {"disagreement": record.disagreement(size, got, record.expected(size, arrays))}

    def fit(self, workload: str, size: str, variant: str) -> dict[str, Any]:
        """Two fits of one model, one after the other.  Out: `seconds` of each."""
        record = WORKLOADS[workload]
        model = getattr(self.module, record.builder)(record.inputs(size), variant)
        seconds = []
        for _ in range(2):
            begin = time.perf_counter()
            model.fit(record.sizes[size]["epochs"], True)
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}


def _first_call(program: Program) -> tuple[float, Callable[..., Any], Any]:
    """Seconds to the first result, the compiled function, that result."""
    begin = time.perf_counter()
    run = program.compile()
    first = run(*program.batches[0])
    return time.perf_counter() - begin, run, first


def _as_float(result: Any) -> float:
    """The value of a peer's scalar; torch wants a result with a history detached first."""
    return float(result.detach() if hasattr(result, "detach") else result)


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    try:
        reply: dict[str, Any] = getattr(worker, request.pop("do"))(**request)
        return reply
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def main(module: str, threads: str) -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = importlib.import_module(module)
    peer.configure(int(threads))
    worker = Worker(peer)
    for line in sys.stdin:
        print(json.dumps(answer(worker, json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
