"""`python -m benchmarks.first_workloads [NAME[/SIZE] ...]`: seconds to the first gradient of each workload.

Each in a fresh process.  graphc starts with an empty cache ("cold"), then again with what that has left ("warm"); JAX
has no cache.  What is cold begins with the declaration, as JAX traces after its clock has begun; what is warm begins
with `compile`, and declaring is shown beside it.  Imports are not counted.  Of three processes the fastest counts.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.machine import compile_modules, environment
from benchmarks.peers import by_name
from benchmarks.runner import select
from benchmarks.workloads import WORKLOADS, Derivative

PROCESSES = 3
LEAST, WARM = 1.0, 0.040  # seconds: cold starts may take the larger of this and JAX's; warm ones this
AT_ONCE = [size for size in WORKLOADS["radon"].sizes if size != "test"]  # compiled in one process, too


def first(peer: str, workload: str, sizes: Sequence[str]) -> list[float]:
    """Seconds of declaring and of compiling with the first call, in this process, for all of these sizes."""
    module = importlib.import_module(f"benchmarks.peers.{peer}_")
    record = WORKLOADS[workload]
    assert isinstance(record, Derivative)
    declaring = compiling = 0.0
    for size in sizes:
        arrays, form = record.inputs(size), next(iter(record.forms))
        if peer == "graphc":
            call, times = _graphc(record, size, form)
        else:
            program = module.derivative(record, size, form, "", arrays)["gradient"]
            begin = time.perf_counter()
            call, times = program.compile()(*program.batches[0]), [0.0, time.perf_counter() - begin]
        if wrong := record.disagreement(size, by_name(call), record.expected(size, arrays)):
            raise SystemExit(f"{peer} {workload}/{size}: {wrong}")
        declaring, compiling = declaring + times[0], compiling + times[1]
    return [declaring, compiling]


def _graphc(record: Derivative, size: str, form: str) -> tuple[object, list[float]]:
    import graphc as gc
    from benchmarks.peers.graphc_ import declared

    arrays = record.inputs(size)
    given = [array for name, array in arrays.items() if name not in record.constants]
    begin = time.perf_counter()
    inputs, outputs = declared(record, size, form, "gradient", arrays)
    between = time.perf_counter()
    found = gc.compile(inputs, outputs)(*given)
    return found, [between - begin, time.perf_counter() - between]


def in_a_process(peer: str, workload: str, sizes: Sequence[str], folder: Path) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.first_workloads", "--in-process", peer, workload, *sizes]
    given = environment(os.cpu_count() or 1, folder)
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def chosen(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The workloads and sizes of these names; of all the first benchmark size, and of radon all at once."""
    if names:
        return [(record.name, [size]) for record, size in select(names)]
    records = [record for record in WORKLOADS.values() if isinstance(record, Derivative)]
    firsts = [(r.name, [next(size for size in r.sizes if not size.startswith("test"))]) for r in records]
    return [*firsts, ("radon", AT_ONCE)]


def _row(workload: str, sizes: Sequence[str], has_jax: bool, scratch: Path) -> list[str]:
    def samples(peer: str, *folders: Path) -> list[list[float]]:
        return [in_a_process(peer, workload, sizes, folder) for folder in folders]

    own = [Path(tempfile.mkdtemp(dir=scratch)) for _ in range(2 * PROCESSES)]
    cold = min(map(sum, samples("graphc", *own[:PROCESSES])))
    warmed = samples("graphc", *own[:PROCESSES])
    declaring, warm = (min(times) for times in zip(*warmed, strict=True))
    theirs = min(times[1] for times in samples("jax", *own[PROCESSES:])) if has_jax else math.nan
    limit = LEAST * len(sizes) if math.isnan(theirs) else max(LEAST * len(sizes), theirs)
    name = f"{workload}/{sizes[0]}" if len(sizes) == 1 else f"{workload}, {len(sizes)} sizes"
    jax = "not installed" if math.isnan(theirs) else f"{theirs:.2f}"
    slow_warm = warm > WARM * len(sizes)
    return [name, _told(f"{cold:.2f}", cold > limit), jax, _told(f"{warm:.3f}", slow_warm), f"{declaring:.3f}"]


def _told(text: str, too_long: bool) -> str:
    return f"[bold red]{text}[/bold red]" if too_long else text


def main(names: Sequence[str]) -> None:
    has_jax = importlib.util.find_spec("jax") is not None
    console = Console(width=None if sys.stdout.isatty() else 100)
    table = Table("workload", "cold", "JAX", "warm", "declaring", title="seconds to the first gradient")
    progress = Progress(console=Console(stderr=True), transient=True)
    compile_modules()
    with progress, tempfile.TemporaryDirectory() as scratch:
        for workload, sizes in progress.track(chosen(names), description="first calls"):
            table.add_row(*_row(workload, sizes, has_jax, Path(scratch)))
    console.print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-process"]:
        print(json.dumps(first(sys.argv[2], sys.argv[3], sys.argv[4:])))
    else:
        main(sys.argv[1:])
