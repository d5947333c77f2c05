"""Measuring: one process a peer and thread count, taking turns, so that all of them see the same machine.

In: what to measure.  Out: rows, each with all its samples; a peer that fails or disagrees gives a row that says so.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import reference
from benchmarks.machine import environment
from benchmarks.peers import Peer
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Effort:
    """How long to measure: turns of each peer and their length, and fresh processes where a sample needs one."""

    turns: int
    seconds: float
    processes: int


FULL, QUICK = Effort(turns=5, seconds=0.3, processes=5), Effort(turns=3, seconds=0.05, processes=1)


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
        assert self.popen.stdin is not None and self.popen.stdout is not None
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

    def stop(self) -> None:
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
        self.peers, self.threads, self.effort, self.report = peers, threads, effort, report
        self.workers: dict[tuple[str, int], Process] = {}
        self.scratch = tempfile.TemporaryDirectory(prefix="benchmarks-")
        self.folders = (Path(self.scratch.name) / str(i) for i in itertools.count())

    def measure(self, workload: Workload, size: str) -> list[Row]:
        self._check_reference(workload, size)
        measure = {"steady": self._steady, "fit": self._fit, "start": self._start, "import": self._import}
        return measure[workload.measured](workload, size)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        self.scratch.cleanup()

    def _check_reference(self, workload: Workload, size: str) -> None:
        arrays = workload.inputs(size)
        if wrong := reference.disagreements(workload.name, size, arrays, next(workload.expected(size, arrays))):
            raise RuntimeError(f"{workload.name}/{size}: not as stored, nothing is measured: {', '.join(wrong)}")

    def _entrants(self, workload: Workload) -> Iterator[tuple[Peer, str, int]]:
        """Every peer, variant and thread count; peers that lack the program or are not installed take no part."""
        for threads, peer in itertools.product(self.threads, self.peers):
            if peer.installed:
                for variant in peer.variants.get(workload.builder, ()):
                    yield peer, variant, threads

    def _worker(self, peer: Peer, threads: int) -> Process:
        """The process that is kept for a peer and thread count; a new one if the last has ended."""
        worker = self.workers.get((peer.name, threads))
        if worker is None or worker.popen.poll() is not None:
            worker = self.workers[peer.name, threads] = Process(peer, threads, next(self.folders))
        return worker

    def _steady(self, workload: Workload, size: str) -> list[Row]:
        rows = self._rows(workload, size, ("first call", "call"))
        for first, steady, peer in rows:
            self.report(f"{peer.name} {first.variant} compiles, threads {first.threads}")
            worker = self._worker(peer, first.threads)
            request = {"workload": workload.name, "size": size, "variant": first.variant}
            reply = self._guard((first, steady), lambda w=worker, r=request: w.ask("start", **r))
            first.samples += [reply["seconds"]] if reply else []
        for turn in range(self.effort.turns):
            for first, steady, peer in rows:
                if steady.problem:
                    continue
                self.report(f"turn {turn + 1}: {peer.name} {steady.variant}, threads {steady.threads}")
                worker, seconds = self._worker(peer, steady.threads), self.effort.seconds
                reply = self._guard(
                    (first, steady), lambda w=worker, r=steady, s=seconds: w.ask("turn", variant=r.variant, seconds=s)
                )
                steady.samples += reply.get("samples", [])
        for worker in self.workers.values():
            if worker.popen.poll() is None:
                worker.ask("forget")
        return [row for first, steady, _ in rows for row in (first, steady)]

    def _fit(self, workload: Workload, size: str) -> list[Row]:
        ask = {"workload": workload.name, "size": size}
        rows = self._rows(workload, size, ("first", "second"))
        for first, second, peer in rows:
            self.report(f"{peer.name} {first.variant} is checked, threads {first.threads}")
            with process(peer, first.threads, next(self.folders)) as worker:
                self._guard((first, second), lambda w=worker, r=first: w.ask("check_fit", variant=r.variant, **ask))
        for sample in range(self.effort.processes):
            for first, second, peer in rows:
                if first.problem:
                    continue
                self.report(f"fit {sample + 1}: {peer.name} {first.variant}, threads {first.threads}")
                with process(peer, first.threads, next(self.folders)) as worker:
                    reply = self._guard((first, second), lambda w=worker, r=first: w.ask("fit", variant=r.variant, **ask))
                for row, seconds in zip((first, second), reply.get("seconds", ()), strict=False):
                    row.samples.append(seconds)
        return [row for first, second, _ in rows for row in (first, second)]

    def _start(self, workload: Workload, size: str) -> list[Row]:
        rows = self._rows(workload, size, ("cold", "warm"))
        for sample in range(self.effort.processes):
            for cold, warm, peer in rows:
                cache = next(self.folders)
                for row in (cold, warm):
                    if row.problem:
                        continue
                    self.report(f"{row.measure} start {sample + 1}: {peer.name} {row.variant}, threads {row.threads}")
                    with process(peer, row.threads, cache) as worker:
                        request = {"workload": workload.name, "size": size, "variant": row.variant}
                        reply = self._guard((cold, warm), lambda w=worker, r=request: w.ask("start", **r))
                    row.samples += [reply["seconds"]] if reply else []
        return [row for cold, warm, _ in rows for row in (cold, warm)]

    def _rows(self, workload: Workload, size: str, measures: tuple[str, str]) -> list[tuple[Row, Row, Peer]]:
        one, two = measures
        return [
            (
                Row(workload.name, size, one, peer.name, variant, threads),
                Row(workload.name, size, two, peer.name, variant, threads),
                peer,
            )
            for peer, variant, threads in self._entrants(workload)
        ]

    def _guard(self, rows: Sequence[Row], ask: Callable[[], Any]) -> Any:
        """The answer; a failure or a disagreement is written into the rows, and the answer is then empty."""
        try:
            return _checked(ask())
        except PeerError as error:
            for row in rows:
                row.problem = str(error)
                row.samples.clear()
            return {}

    def _import(self, workload: Workload, size: str) -> list[Row]:
        peers = [peer for peer in self.peers if peer.installed]
        rows = [Row(workload.name, size, "import", peer.name, "", self.threads[0]) for peer in peers]
        cache = next(self.folders)
        for sample in range(self.effort.processes + 1):
            for peer, row in zip(peers, rows, strict=True):
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


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    if reply.get("disagreement"):
        raise PeerError(f"disagrees, not timed: {reply['disagreement']}")
    return reply


def select(only: Sequence[str]) -> list[tuple[Workload, str]]:
    """The workloads and sizes named by NAME or NAME/SIZE; all but those called test where nothing is named."""
    everything = {f"{w.name}/{size}": (w, size) for w in WORKLOADS.values() for size in w.sizes}
    ordinary = {key: pair for key, pair in everything.items() if not key.endswith("/test")}
    chosen: dict[str, tuple[Workload, str]] = {} if only else ordinary
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
