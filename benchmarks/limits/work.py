"""Training steps and gradients of the workloads, as calls.  In: names of sizes.  Out: Works, with results as stored."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.limits.line import Call
from benchmarks.peers import Program, graphc_
from benchmarks.worker import LONGEST, Worker

Size = tuple[str, str, str]  # workload, size, form

LISTING: tuple[Size, ...] = tuple(("mlp", f"784_10_10_b{batch}", "") for batch in (1, 32, 256))
DEEP: Size = ("mlp_deep", "784_512_512_10_b128", "")
CNN: Size = ("cnn", "lenet_b64", "native")
TRANSFORMER: Size = ("transformer", "d128_h4_s64_b8", "separate")
VAE: Size = ("vae", "784_256_16_b64", "")


@dataclass(frozen=True)
class Work:
    """What can be called again and again; each call of `begin` gives one that begins with the first step."""

    title: str
    begin: Callable[[], Call]
    function: Any = None


def works(sizes: Sequence[Size]) -> Iterator[Work]:
    worker = Worker(graphc_)
    for name, size, form in sizes:
        title = f"{name} {form or size}"
        if wrong := worker.start(name, size, form)["disagreement"]:
            raise SystemExit(f"{title}: {wrong}")
        running = worker.programs.get((form, "gradient")) or worker.programs[form, "call"]
        yield Work(title, partial(_stepping, running.program, running.run), running.run)
        worker.forget()


def _stepping(program: Program, run: Callable[..., Any]) -> Call:
    return _steps(program, run).__next__


def _steps(program: Program, run: Callable[..., Any]) -> Iterator[Any]:
    while True:
        program.reset()
        for batch in itertools.islice(itertools.cycle(program.batches), LONGEST):
            yield run(*batch)
