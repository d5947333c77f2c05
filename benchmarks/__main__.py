"""`python -m benchmarks`: measure, show a table, write a JSON file; `--markdown FILE.json` prints README's part.

`python -m benchmarks kernels` measures kernels by families instead (benchmarks/kernels).
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import machine, report
from benchmarks.kernels import command
from benchmarks.peers import PEERS, Peer
from benchmarks.runner import FULL, QUICK, Row, Runner, select, select_peers
from benchmarks.workloads import WORKLOADS, Derivative, Workload


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed of graphc beside its peers.")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORKLOAD[/SIZE]", help=", ".join(WORKLOADS))
    parser.add_argument("--peers", nargs="+", default=[], metavar="PEER", help=", ".join(peer.name for peer in PEERS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1], metavar="N", help="each is measured")
    parser.add_argument("--quick", action="store_true", help="few and short samples")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="default: benchmarks/results/TIME.json")
    parser.add_argument("--markdown", type=Path, metavar="FILE.json", help="print README's part of a run and stop")
    parser.add_argument("--into", type=Path, metavar="README.md", help="with --markdown: replace it, and the plot")
    return parser.parse_args(argv)


def measure(
    runner: Runner,
    chosen: list[tuple[Workload | Derivative, str]],
    save: Callable[[list[Row]], None],
    console: Console,
    progress: Progress,
) -> list[Row]:
    """Rows of all workloads, saved after each, so that a run that ends early keeps them."""
    rows: list[Row] = []
    task = progress.add_task("", total=len(chosen))
    try:
        for workload, size in chosen:
            runner.report = partial(_describe, progress, task, f"{workload.name}/{size}")
            rows += runner.measure(workload, size)
            save(rows)
            progress.advance(task)
    except KeyboardInterrupt:
        console.print("interrupted; what was finished is shown")
    finally:
        runner.close()
    return rows


def _describe(progress: Progress, task: TaskID, head: str, text: str) -> None:
    progress.update(task, description=f"{head}: {text}")


def write_readme(run: Path, readme: Path | None) -> None:
    """Print what README shows of a run, or replace it there together with the plot that it names."""
    rows, about = report.load(run)
    report.write_part(report.markdown(rows, about), readme)
    if readme:
        from benchmarks import plot  # here, since nothing else needs Matplotlib

        plot.draw(readme.parent / report.PLOT, report.compared(rows), report.columns(rows))


def versions(peers: Sequence[Peer]) -> dict[str, str]:
    return {name: version for peer in peers if peer.installed for name, version in peer.versions().items()}


def main(argv: Sequence[str], peers: Sequence[Peer] = PEERS) -> int:
    if argv and argv[0] == "kernels":
        return command.main(argv[1:])
    options, console = arguments(argv), Console(stderr=True)
    if options.markdown:
        write_readme(options.markdown, options.into)
        return 0
    try:
        chosen, peers = select(options.only), select_peers(options.peers, peers)
    except LookupError as error:
        console.print(f"[red]error:[/red] {error.args[0]}", soft_wrap=True)
        return 2
    if missing := [peer.name for peer in peers if not peer.installed]:
        console.print(f"not installed: {', '.join(missing)}")
    machine.compile_modules()
    now = datetime.datetime.now().astimezone()
    about = {"time": now.isoformat(timespec="seconds"), "machine": machine.describe(), "versions": versions(peers)}
    out = options.out or Path(__file__).parent / "results" / f"{now:%Y-%m-%d_%H%M%S}.json"
    save = partial(report.save, out, about={**about, "not installed": missing})
    try:
        save([])  # here, so that nothing is measured for a file that can't be written
    except OSError as error:
        console.print(f"[red]error:[/red] {out} can't be written: {error.strerror}", soft_wrap=True)
        return 2
    runner = Runner(peers, sorted(set(options.threads)), QUICK if options.quick else FULL, report=console.print)
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        rows = measure(runner, chosen, save, console, progress)
    Console(width=None if sys.stdout.isatty() else 140).print(report.table(rows))
    console.print(f"written: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
