"""What is shown of lines: a table with ratios, the means of each family, also for README, the worst, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.kernels.measure import Line
from benchmarks.report import seconds

BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"
NOT_SLOWER = 0.95  # of the peer's time


def table(title: str, lines: Sequence[Line]) -> Table:
    """A row a line: time, rates, share of the limit, and how many times as long each peer takes."""
    peers = _peers(lines)
    shown = Table("", "", "time", "GB/s", "GFLOP/s", "bound by", "of limit", *(f"× {p}" for p in peers), title=title)
    for line in lines:
        if line.problem:
            shown.add_row(line.name, line.dtype, f"[red]{escape(line.problem)}[/red]")
        else:
            rates = (f"{line.gigabytes:.1f}", f"{line.gflops:.1f}", line.bound, f"{line.of_limit:.0%}")
            shown.add_row(line.name, line.dtype, seconds(line.seconds), *rates, *(_ratio(line, p) for p in peers))
    return shown


def _ratio(line: Line, peer: str) -> str:
    if peer not in line.ratios:
        return ""
    text = f"{line.ratios[peer]:.2f}"
    return f"[bold red]{text}[/bold red]" if line.ratios[peer] < NOT_SLOWER else text


def means(lines: Sequence[Line]) -> Table:
    """The geometric mean of the ratios to each peer, and the share of lines where graphc is not slower."""
    shown = Table("family", "", "peer", "lines", "geometric mean", "least", "slower")
    for family, dtype, mine in _alike(lines):
        for peer in _peers(mine):
            ratios = _ratios(mine, peer)
            slower = sum(ratio < NOT_SLOWER for ratio in ratios)
            figures = f"{geometric_mean(ratios):.2f}", f"{min(ratios):.2f}", str(slower)
            shown.add_row(family, dtype, peer, str(len(ratios)), *figures)
    return shown


def markdown(lines: Sequence[Line], about: dict[str, Any]) -> str:
    """README's part, markers included: of each family the geometric mean of the ratios to each peer, and the least."""
    peers = _peers(lines)
    text = [f"| kernels | | {' | '.join(peers)} |", f"|---|---|{'---:|' * len(peers)}"]
    for family, dtype, mine in _alike(lines):
        found = (_ratios(mine, peer) for peer in peers)
        cells = (f"{geometric_mean(r):.2f} ({min(r):.2f}) of {len(r)}" if r else "" for r in found)
        text.append(f"| {family.replace('_', ' ')} | {dtype} | {' | '.join(cells)} |")
    machine, threads = about["machine"], ", ".join(sorted({str(line.threads) for line in lines}))
    text += [
        "",
        f"Times as multiples of graphc's, geometric mean (and least) of a list of kernels, threads: {threads}.",
    ]
    text += [f"{machine['cpu']}, Python {machine['python']}, one run."]
    return "\n".join([BEGIN, *text, END])


def _alike(lines: Sequence[Line]) -> Iterator[tuple[str, str, list[Line]]]:
    """The lines of each family and dtype."""
    for family, dtype in dict.fromkeys((line.family, line.dtype) for line in lines):
        yield family, dtype, [line for line in lines if (line.family, line.dtype) == (family, dtype)]


def _ratios(lines: Sequence[Line], peer: str) -> list[float]:
    return [line.ratios[peer] for line in lines if peer in line.ratios]


def worst(lines: Sequence[Line], count: int) -> list[Line]:
    """The lines where the best peer is furthest ahead, those with a problem before all."""
    return sorted(lines, key=lambda line: min(line.ratios.values(), default=-math.inf))[:count]


def _peers(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(peer for line in lines for peer in line.peers))


def save(path: Path, lines: Sequence[Line], about: dict[str, Any]) -> None:
    """Write the lines, with their rates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(line), **_rates(line)} for line in lines]
    path.write_text(json.dumps({**about, "lines": rows}, indent=1) + "\n")


def load(path: Path) -> tuple[list[Line], dict[str, Any]]:
    about = json.loads(path.read_text())
    names = [field.name for field in fields(Line)]
    rows = [{name: row[name] for name in names if row[name] is not None} for row in about.pop("lines")]
    return [Line(**row) for row in rows], about


def _rates(line: Line) -> dict[str, Any]:
    if line.problem:
        return {"seconds": None, "limit": None}
    rates = {"gflops": line.gflops, "gigabytes": line.gigabytes, "of_limit": line.of_limit}
    return {**rates, "ratios": line.ratios}
