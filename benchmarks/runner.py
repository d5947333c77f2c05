"""Measuring: one process a peer and thread count, taking turns, so that all of them see the same machine.

In: what to measure.  Out: rows, each with all its samples; a peer that fails or disagrees gives a row that says so.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import environment
from benchmarks.peers import Peer
from benchmarks.workloads import WORKLOADS, Derivative, Workload

ROOT = Path(__file__).parent.parent
SETTLE = 0.25  # seconds before a turn: threads of the peer before, which wait by looking, do so for up to 0.2


@dataclass(frozen=True)
class Effort:
    """How long to measure: turns of each peer and their length; fresh processes where a sample needs one."""

    turns: int
    seconds: float
    processes: int
    imports: int


FULL = Effort(turns=5, seconds=0.3, processes=3, imports=5)
QUICK = Effort(turns=3, seconds=0.05, processes=1, imports=1)


@dataclass
class Row:
    """One measurement: all samples in seconds, or the `problem` that kept it from being made."""

    workload: str
    size: str
    measure: str
    peer: str
    variant: str
    threads: int
    samples: list[float] = field(default_factory=list)
    problem: str = ""


class PeerError(Exception):
    """The peer's process died, or what it was asked to do failed there."""


class Process:
    """A worker at the other end of two pipes."""

    def __init__(self, peer: Peer, threads: int, cache: Path) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in stop)
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer.module, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=ROOT,
            env=environment(threads, cache),
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer to one request; PeerError if there is none or it says that the peer failed."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        try:
            self.popen.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.popen.stdin.flush()
            line = self.popen.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"the process ended: {self._last_words()}")
        reply = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply

    def _last_words(self) -> str:
        self.popen.wait()
        self.log.seek(0)
        return next((line.strip() for line in reversed(self.log.readlines()) if line.strip()), "it said nothing")

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def stop(self) -> None:
        """End the process: it ends by itself when its stdin does, and is killed if it does not."""
        try:
            self.popen.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.communicate()
        self.log.close()


@contextmanager
def process(peer: Peer, threads: int, cache: Path) -> Iterator[Process]:
    worker = Process(peer, threads, cache)
    try:
        yield worker
    finally:
        worker.stop()


class Runner:
    """Measures workloads one after the other; `report(text)` is told what is going on."""

    def __init__(
        self, peers: Sequence[Peer], threads: Sequence[int], effort: Effort, report: Callable[[str], None]
    ) -> None:
        self.threads, self.effort, self.report = threads, effort, report
        self.peers = [peer for peer in peers if peer.installed]
        self.workers: dict[tuple[str, int], Process] = {}
        self.processes: list[Process] = []
        self.scratch = tempfile.TemporaryDirectory(prefix="benchmarks-")
        self.folders = (Path(self.scratch.name) / str(i) for i in itertools.count())

    def measure(self, workload: Workload | Derivative, size: str) -> list[Row]:
        self._check_reference(workload, size)
        measure = {"steady": self._steady, "fit": self._fit, "start": self._start, "import": self._import}
        return measure[workload.measured](workload, size)

    def close(self) -> None:
        for worker in self.processes:
            worker.stop()
        self.scratch.cleanup()

    def _check_reference(self, workload: Workload | Derivative, size: str) -> None:
        if wrong := workload.unlike_stored(size, workload.inputs(size)):
            raise RuntimeError(f"{workload.name}/{size}: not as stored, nothing is measured: {', '.join(wrong)}")

    def _worker(self, peer: Peer, threads: int) -> Process:
        """The process that is kept for a peer and thread count; a new one if the last has ended."""
        worker = self.workers.get((peer.name, threads))
        if worker is None or not worker.alive:
            worker = self.workers[peer.name, threads] = Process(peer, threads, next(self.folders))
            self.processes.append(worker)
        return worker

    def _steady(self, workload: Workload | Derivative, size: str) -> list[Row]:
        programs = self._programs(workload, size, ("first call", *workload.timed))
        workers = []
        for rows, peer in programs:
            first = rows[0]
            self.report(f"{peer.name} {first.variant} compiles, threads {first.threads}")
            worker = self._worker(peer, first.threads)
            workers.append(worker)
            reply = _ask(rows, worker, "start", workload=workload.name, size=size, variant=first.variant)
            first.samples += reply.get("seconds", [])
        for turn in range(self.effort.turns):
            for (rows, peer), worker in zip(programs, workers, strict=True):
                for row in rows[1:]:
                    if not row.problem:
                        self.report(f"turn {turn + 1}: {peer.name} {row.variant} {row.measure}, threads {row.threads}")
                        request = {"variant": row.variant, "measure": row.measure, "seconds": self.effort.seconds}
                        time.sleep(SETTLE)
                        row.samples += _ask(rows, worker, "turn", **request).get("seconds", [])
        for worker in self.workers.values():
            if worker.alive:
                worker.ask("forget")
        return _flat(programs)

    def _fit(self, workload: Workload | Derivative, size: str) -> list[Row]:
        pairs = self._programs(workload, size, ("first", "second"))
        for sample in range(self.effort.processes + 1):
            for (first, second), peer in pairs:
                if first.problem:
                    continue
                self.report(f"fit {sample}: {peer.name} {first.variant}, threads {first.threads}")
                do = "fit" if sample else "check_fit"
                request = {"workload": workload.name, "size": size, "variant": first.variant}
                with process(peer, first.threads, next(self.folders)) as worker:
                    reply = _ask((first, second), worker, do, **request)
                for row, seconds in zip((first, second), reply.get("seconds", ()), strict=False):
                    row.samples.append(seconds)
        return _flat(pairs)

    def _start(self, workload: Workload | Derivative, size: str) -> list[Row]:
        pairs = self._programs(workload, size, ("cold", "warm"), self.threads[:1])
        for sample in range(self.effort.processes):
            for both, peer in pairs:
                cache = next(self.folders)
                for row in both:
                    if row.problem:
                        continue
                    self.report(f"{row.measure} start {sample + 1}: {peer.name} {row.variant}")
                    request = {"workload": workload.name, "size": size, "variant": row.variant}
                    with process(peer, row.threads, cache) as worker:
                        row.samples += _ask(both, worker, "start", **request).get("seconds", [])
        return _flat(pairs)

    def _programs(
        self, workload: Workload | Derivative, size: str, measures: tuple[str, ...], threads: Sequence[int] = ()
    ) -> list[tuple[list[Row], Peer]]:
        """An empty row a measure for every peer, variant and thread count; a peer without this program has none."""
        return [
            ([Row(workload.name, size, measure, peer.name, variant, count) for measure in measures], peer)
            for count, peer in itertools.product(threads or self.threads, self.peers)
            for variant in workload.variants(peer.variants)
        ]

    def _import(self, workload: Workload | Derivative, size: str) -> list[Row]:
        rows = [Row(workload.name, size, "import", peer.name, "", self.threads[0]) for peer in self.peers]
        cache = next(self.folders)
        for sample in range(self.effort.imports + 1):
            for peer, row in zip(self.peers, rows, strict=True):
                self.report(f"import {peer.package}")
                code = f"import time; t = time.perf_counter(); import {peer.package}; print(time.perf_counter() - t)"
                ran = subprocess.run(
                    [sys.executable, "-c", code],
                    capture_output=True,
                    text=True,
                    cwd=ROOT,
                    env=environment(row.threads, cache),
                    check=False,
                )
                if ran.returncode:
                    row.problem = ran.stderr.strip().splitlines()[-1]
                elif sample:  # the first only warms the disk's cache
                    row.samples.append(float(ran.stdout.split()[-1]))
        return rows


def _ask(rows: Sequence[Row], worker: Process, do: str, **arguments: Any) -> dict[str, Any]:
    """The answer; a failure or a disagreement is written into the rows instead, and their samples are dropped."""
    try:
        reply: dict[str, Any] = worker.ask(do, **arguments)
        if not reply.get("disagreement"):
            return reply
        problem = f"disagrees, not timed: {reply['disagreement']}"
    except PeerError as error:
        problem = str(error)
    for row in rows:
        row.problem, row.samples = problem, []
    return {}


def _flat(programs: Sequence[tuple[list[Row], Peer]]) -> list[Row]:
    return [row for rows, _ in programs for row in rows]


def select(only: Sequence[str]) -> list[tuple[Workload | Derivative, str]]:
    """The workloads and sizes named by NAME or NAME/SIZE; all but those called test… where nothing is named."""
    everything = {f"{w.name}/{size}": (w, size) for w in WORKLOADS.values() for size in w.sizes}
    ordinary = {key: pair for key, pair in everything.items() if "/test" not in key}
    chosen: dict[str, tuple[Workload | Derivative, str]] = {} if only else ordinary
    for name in only:
        found = {k: v for k, v in (everything if "/" in name else ordinary).items() if name in (k, v[0].name)}
        if not found:
            raise LookupError(f"no workload is called {name!r}; there are {', '.join([*WORKLOADS, *everything])}")
        chosen |= found
    return list(chosen.values())


def select_peers(names: Sequence[str], peers: Sequence[Peer]) -> list[Peer]:
    """The peers of these names, all where none is given."""
    known = {peer.name: peer for peer in peers}
    if unknown := [name for name in names if name not in known]:
        raise LookupError(f"no peer is called {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(peers)
