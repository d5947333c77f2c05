"""What is shown of lines: a table with ratios, the means of each family, the worst, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.kernels.measure import Line
from benchmarks.report import seconds

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
    for family in dict.fromkeys(line.family for line in lines):
        for dtype in dict.fromkeys(line.dtype for line in lines if line.family == family):
            mine = [line for line in lines if (line.family, line.dtype) == (family, dtype)]
            for peer in _peers(mine):
                ratios = [line.ratios[peer] for line in mine if peer in line.ratios]
                slower = sum(ratio < NOT_SLOWER for ratio in ratios)
                figures = f"{geometric_mean(ratios):.2f}", f"{min(ratios):.2f}", str(slower)
                shown.add_row(family, dtype, peer, str(len(ratios)), *figures)
    return shown


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


def _rates(line: Line) -> dict[str, Any]:
    if line.problem:
        return {"seconds": None, "limit": None}
    rates = {"gflops": line.gflops, "gigabytes": line.gigabytes, "of_limit": line.of_limit}
    return {**rates, "ratios": line.ratios}
