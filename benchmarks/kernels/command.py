"""`python -m benchmarks kernels`: families of kernels, in a process with as many threads as are measured."""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import graphc as gc
from benchmarks import machine
from benchmarks.kernels import FAMILIES, report
from benchmarks.kernels.measure import FULL, QUICK, Line, measured
from benchmarks.report import write_part

ROOT = Path(__file__).parent.parent
WORST = 10


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description="Kernels beside their peers.")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--quick", action="store_true", help="few and short samples")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of graphc and of every peer")
    parser.add_argument("--only", default="", metavar="TEXT", help="lines whose name has this in it")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="default: benchmarks/results/kernels_TIME.json")
    parser.add_argument("--markdown", type=Path, metavar="FILE.json", help="print README's part of a run and stop")
    parser.add_argument("--into", type=Path, metavar="README.md", help="with --markdown: replace it")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Check what is asked for, and have it measured by a process whose thread pools have this size."""
    options = arguments(argv)
    if unknown := [name for name in options.families if name not in FAMILIES]:
        Console(stderr=True).print(f"[red]error:[/red] no family {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
        return 2
    if options.markdown:
        write_part(report.markdown(*report.load(options.markdown)), options.into)
        return 0
    environment = {**os.environ, **machine.pools(options.threads)}
    for name in machine.MISLEADING:
        environment.pop(name, None)
    command = [sys.executable, "-m", "benchmarks.kernels.command", *argv]
    return subprocess.run(command, env=environment, cwd=ROOT.parent, check=False).returncode


def measure(argv: Sequence[str]) -> int:
    """Measure in this process, show tables and write a file."""
    options, console = arguments(argv), Console(stderr=True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    gc.set_num_threads(options.threads)
    families = options.families or list(FAMILIES)
    cases = [(f, case) for f in families for case in FAMILIES[f]() if options.only in case.name]
    lines: list[Line] = []
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(cases))
        for family, case in cases:
            progress.update(task, description=f"{family}: {case.name} {case.dtype}")
            lines.append(measured(family, case, options.threads, QUICK if options.quick else FULL))
            progress.advance(task)
    now = datetime.datetime.now().astimezone()
    shown = Console(width=None if sys.stdout.isatty() else 150)
    for family in families:
        shown.print(report.table(family, [line for line in lines if line.family == family]))
    for family in families:
        mine = [line for line in lines if line.family == family]
        shown.print(report.table(f"{family}: the {WORST} worst", report.worst(mine, WORST)))
    shown.print(report.means(lines))
    out = options.out or ROOT / "results" / f"kernels_{now:%Y-%m-%d_%H%M%S}.json"
    report.save(out, lines, {"time": now.isoformat(timespec="seconds"), "machine": machine.describe()})
    console.print(f"written: {out}")
    return 1 if any(line.problem for line in lines) else 0


if __name__ == "__main__":
    sys.exit(measure(sys.argv[1:]))
