"""Sweep random programs: `python -m tests.programs --seeds 0:2000 --jobs 2` prints findings grouped by kind."""

from __future__ import annotations

import argparse
import collections
import gc as collector
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

from .check import Finding, check, digest
from .profiles import profile_of, random_program
from .program import Program
from .shrink import shrink

BATCH = 50  # seeds that one process takes at a time


def findings_of(seed: int, machine: bool | None) -> tuple[Program | None, list[Finding]]:
    try:
        program = random_program(seed)
    except Exception as error:
        return None, [Finding(f"draw: {type(error).__name__}", str(error))]
    return program, check(program, machine)


def sweep(seeds: range, machine: bool | None) -> Iterator[str]:
    """A line of text for each finding and for each program's digest."""
    elsewhere = other_digests(seeds, 1 + seeds.start)
    for seed in seeds:
        collector.collect()
        program, findings = findings_of(seed, machine)
        for finding in findings:
            yield f"{finding.kind}\t{seed}\t{profile_of(seed)}\t{finding.text!r}"
        if program is not None and not findings and digest(program) != elsewhere[str(seed)]:
            yield f"text: depends\t{seed}\t{profile_of(seed)}\t'it differs under another PYTHONHASHSEED'"


def other_digests(seeds: range, hash_seed: int) -> dict[str, str]:
    """The digests that another process finds, by seed."""
    command = [sys.executable, "-m", "tests.programs", "--digests", "--seeds", f"{seeds.start}:{seeds.stop}"]
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True).stdout
    return dict(line.split("\t") for line in out.splitlines() if "\t" in line)


def digests(seeds: range) -> Iterator[tuple[str, str]]:
    for seed in seeds:
        collector.collect()
        try:
            yield str(seed), digest(random_program(seed))
        except Exception as error:  # the sweep tells of it
            yield str(seed), type(error).__name__


def smallest(program: Program, kind: str) -> Program:
    machine = kind.startswith("machine")
    return shrink(program, lambda p: any(f.kind == kind for f in _safely(p, machine)))


def _safely(program: Program, machine: bool) -> list[Finding]:
    try:
        return check(program, machine)
    except Exception:  # the step made a program that means nothing
        return []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("--seeds", default="0:300", help="first:end")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--machine", choices=("drawn", "always", "never"), default="drawn", help="compile machine code")
    parser.add_argument("--show", type=int, default=2, help="how many of each kind are made small and printed")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--digests", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    first, end = map(int, options.seeds.split(":"))
    if options.digests:
        for seed, text in digests(range(first, end)):
            print(f"{seed}\t{text}")
        return
    if options.work:
        _work(range(first, end), options)
        return
    rows = [row for text in _spread(first, end, options) for row in text.splitlines() if "\t" in row]
    warnings.simplefilter("ignore")
    _report([r.split("\t") for r in rows], options.show, end - first)


def _work(seeds: range, options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    machine = {"drawn": None, "always": True, "never": False}[options.machine]
    for text in sweep(seeds, machine):
        print(text, flush=True)


def _spread(first: int, end: int, options: argparse.Namespace) -> Iterator[str]:
    """Run batches in processes of their own, each with a hash seed of its own."""
    waiting = list(range(first, end, BATCH))
    running: list[subprocess.Popen[str]] = []
    while waiting or running:
        while waiting and len(running) < options.jobs:
            start = waiting.pop(0)
            seeds = f"{start}:{min(start + BATCH, end)}"
            command = [sys.executable, "-m", "tests.programs", "--work", "--seeds", seeds, "--machine", options.machine]
            environment = os.environ | {"PYTHONHASHSEED": str(1 + len(waiting))}
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        done = running.pop(0)
        out, _ = done.communicate()
        if done.returncode:
            yield f"crash\t{done.args[5]}\t-\t'the process ended with {done.returncode}'\n"  # type: ignore[index]
        yield out


def _report(rows: list[list[str]], show: int, count: int) -> None:
    groups: dict[str, list[list[str]]] = collections.defaultdict(list)
    for row in rows:
        groups[row[0]].append(row)
    print(f"{count} programs, {len({r[1] for g in groups.values() for r in g})} with findings")
    for kind, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        print(f"\n== {kind}: {len({r[1] for r in found})} programs, seeds {', '.join(r[1] for r in found[:12])}")
        for row in found[:show]:
            print(f"   seed {row[1]} ({row[2]}): {row[3]}")
            if row[1].isdigit() and not kind.startswith(("draw", "text: depends")) and "Late" not in kind:
                program = smallest(random_program(int(row[1])), kind)
                others = f"# other sizes {program.other_sizes}" if program.other_sizes else ""
                print(f"      {program}{others}".replace("\n", "\n      "))


if __name__ == "__main__":
    main()
