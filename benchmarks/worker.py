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
from typing import Any

import numpy as np

from benchmarks.peers import Program
from benchmarks.reference import Arrays
from benchmarks.workloads import WORKLOADS, Workload

SAMPLE_SECONDS = 0.02
LONGEST = 300  # steps after which a sample starts from the first weights: training on would measure denormal numbers


class Worker:
    """A peer's module, and the program that is being measured."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.program: Program | None = None
        self.run: Callable[..., Any] = lambda: None
        self.steps = 1

    def start(self, workload: str, size: str, variant: str) -> dict[str, Any]:
        """Compile a program and check its results.  Out: `seconds` from compile to the first result, `disagreement`."""
        record = WORKLOADS[workload]
        arrays = record.inputs(size)
        self.program = getattr(self.module, record.builder)(arrays, variant)
        begin = time.perf_counter()
        self.run = self.program.compile()
        first = self.run(*self.program.batches[0])
        seconds = time.perf_counter() - begin
        results = [first, *(self.run(*batch) for batch in self.program.batches[1:])]
        return {"seconds": seconds, "disagreement": self._disagreement(record, size, arrays, results)}

    def _disagreement(self, record: Workload, size: str, arrays: Arrays, results: list[Any]) -> str:
        assert self.program is not None
        values = [_as_float(result) for result in results]
        got = {"losses": values, **self.program.state()} if record.builder == "training" else {"y": values[0]}
        return record.disagreement(got, record.expected(size, arrays))

    def calibrate(self) -> dict[str, Any]:
        """Choose the number of steps of a sample.  Out: `steps`."""
        self.steps = 3
        estimate = min(self._sample() for _ in range(3))
        self.steps = int(np.clip(SAMPLE_SECONDS / estimate, 3, LONGEST))
        return {"steps": self.steps}

    def turn(self, seconds: float) -> dict[str, Any]:
        """Time samples until `seconds` have passed.  Out: `samples`, seconds a step."""
        samples, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            samples.append(self._sample())
        return {"samples": samples}

    def _sample(self) -> float:
        assert self.program is not None
        self.program.reset()
        run, plan = self.run, list(itertools.islice(itertools.cycle(self.program.batches), self.steps))
        begin = time.perf_counter()
        for arguments in plan:
            run(*arguments)
        return (time.perf_counter() - begin) / self.steps

    def check_fit(self, workload: str, size: str, variant: str) -> dict[str, Any]:
        """Two epochs in the order of the rows.  Out: `disagreement`."""
        record = WORKLOADS[workload]
        arrays = record.inputs(size)
        got = getattr(self.module, record.builder)(arrays, variant).fit(2, False)
        return {"disagreement": record.disagreement(got, record.expected(size, arrays))}

    def fit(self, workload: str, size: str, variant: str) -> dict[str, Any]:
        """Two fits of one model, one after the other.  Out: `seconds` of each, `accuracy` after the first."""
        record = WORKLOADS[workload]
        model = getattr(self.module, record.builder)(record.inputs(size), variant)
        seconds, accuracies = [], []
        for _ in range(2):
            begin = time.perf_counter()
            history = model.fit(record.sizes[size]["epochs"], True)
            seconds.append(time.perf_counter() - begin)
            accuracies.append(float(history["accuracy"][-1]))
        return {"seconds": seconds, "accuracy": accuracies[0]}


def _as_float(result: Any) -> float:
    """The value of a peer's scalar; torch wants a result with a history detached first."""
    return float(result.detach() if hasattr(result, "detach") else result)


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return getattr(worker, request.pop("do"))(**request)
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
