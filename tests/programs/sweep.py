"""Sweeps over many seeds in processes of their own, so that a crash ends one of them only.

A process prints a row for each finding, columns separated by tabs: kind, seed, profile, text.  Before each program it
prints the seed alone.
"""

from __future__ import annotations

import gc as collector
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .check import check, digest
from .compare import Finding
from .profiles import profile_of, random_program
from .program import Program
from .shrink import shrink

BATCH = 50  # seeds of one process
MACHINE = {"drawn": None, "always": True, "never": False}


@dataclass(frozen=True)
class Row:
    kind: str
    seed: int
    profile: str
    text: str


def rows_of(seeds: range, machine: str) -> Iterator[str]:
    """What a process prints; the texts are compared with those of another process with another hash seed."""
    elsewhere = _other_digests(seeds)
    for seed in seeds:
        yield str(seed)
        collector.collect()  # else nodes of earlier programs would lend their lines
        program, findings = _findings(seed, machine)
        if program is not None and not findings and digest(program) != elsewhere.get(seed):
            findings = [Finding("text: depends", "it differs under another PYTHONHASHSEED")]
        yield from (f"{f.kind}\t{seed}\t{profile_of(seed)}\t{f.text!r}" for f in findings)


def _findings(seed: int, machine: str) -> tuple[Program | None, list[Finding]]:
    try:
        program = random_program(seed)
    except Exception as error:
        return None, [Finding(f"draw: {type(error).__name__}", str(error))]
    return program, check(program, MACHINE[machine])


def digests(seeds: range) -> Iterator[str]:
    for seed in seeds:
        collector.collect()
        try:
            found = digest(random_program(seed))
        except Exception as error:  # which its row tells
            found = type(error).__name__
        yield f"{seed}\t{found}"


def _command(what: str, seeds: range, machine: str) -> list[str]:
    span = f"{seeds.start}:{seeds.stop}"
    return [sys.executable, "-m", __package__ or "programs", what, "--seeds", span, "--machine", machine]


def _run(command: list[str], hash_seed: int) -> tuple[str, int]:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    return done.stdout, done.returncode


def _other_digests(seeds: range) -> dict[int, str]:
    out, _ = _run(_command("--digests", seeds, "never"), 1 + seeds.start)
    pairs = (line.split("\t") for line in out.splitlines() if "\t" in line)
    return {int(seed): text for seed, text in pairs}


def sweep(seeds: range, machine: str, jobs: int) -> list[Row]:
    """Every finding among these seeds."""
    batches = [range(k, min(k + BATCH, seeds.stop)) for k in range(seeds.start, seeds.stop, BATCH)]
    with ThreadPoolExecutor(jobs) as pool:
        return [row for rows in pool.map(lambda b: list(_batch(b, machine)), batches) for row in rows]


def _batch(seeds: range, machine: str) -> Iterator[Row]:
    """The findings of a batch; where the process crashes, the rest goes to another one."""
    while seeds:
        out, status = _run(_command("--rows", seeds, machine), 100_000 + seeds.start)
        last = seeds.start
        for line in out.splitlines():
            if "\t" in line:
                kind, seed, profile, text = line.split("\t")
                yield Row(kind, int(seed), profile, text)
            else:
                last = int(line)
        if status == 0:
            return
        yield Row("crash", last, profile_of(last), f"the process ended with status {status}")
        seeds = range(last + 1, seeds.stop)


def smallest(seed: int, kind: str) -> Program:
    """The program of a seed, made small while it has a finding of this kind."""
    machine = kind.startswith("machine")

    def fails(program: Program) -> bool:
        try:
            return any(f.kind == kind for f in check(program, machine))
        except Exception:  # the step made a program that means nothing
            return False

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return shrink(random_program(seed), fails)
