"""What is shown of the rows: a table on the terminal, a JSON file, and the table and plot between README's two markers.

A ratio is a peer's median by graphc's, each on its best number of threads; where graphc has a program in several
forms, by that of the fastest.  Below 1 the peer is faster, and the ratio stands out.  Of a gradient it is shown how
many forward passes it takes.  README has a peer once for each way to run it, in its fastest form.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.markup import escape
from rich.table import Table

from benchmarks.peers import PEERS
from benchmarks.runner import Row

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
PLOT = "docs/images/speed.svg"
OURS = "graphc"
WAYS = {way for peer in PEERS for way in peer.variants["training"]}
UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """A row with the best thread count of its peer: median and interquartile range in seconds, ratio to graphc.

    `forwards` is the ratio of a gradient to the forward pass of the same program on the same threads.
    """

    row: Row
    median: float
    spread: float
    ratio: float | None
    forwards: float | None = None

    @property
    def name(self) -> str:
        return f"{self.row.peer} {self.row.variant}".strip()

    @property
    def slower_than_peer(self) -> bool:
        return self.ratio is not None and self.ratio < 1


def lines(rows: Sequence[Row]) -> list[Line]:
    """One line a peer and variant for each measurement, rows with a problem last."""
    found, forward = [], {_program(row): _median(row) for row in rows if row.measure == "forward" and row.samples}
    for group in _grouped(rows, lambda row: (row.workload, row.size, row.measure)):
        best = [_best(mine) for mine in _grouped(group, lambda row: (row.peer, row.variant))]
        ours = min((_median(row) for row in best if row.peer == OURS and row.samples), default=None)
        ordered = sorted(best, key=lambda row: not row.samples)
        found += [
            _line(row, ours, forward.get(_program(row)) if row.measure == "gradient" else None) for row in ordered
        ]
    return found


def _program(row: Row) -> tuple[Hashable, ...]:
    return row.workload, row.size, row.peer, row.variant, row.threads


def _grouped(rows: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Lists of rows with equal keys, in the order in which the keys come first."""
    groups: dict[Hashable, list[T]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _best(rows: Sequence[Row]) -> Row:
    """The fastest of one peer's rows, if any was timed."""
    return min(rows, key=lambda row: _median(row) if row.samples else np.inf)


def _median(row: Row) -> float:
    return float(np.median(row.samples))


def _line(row: Row, ours: float | None, forward: float | None) -> Line:
    if not row.samples:
        return Line(row, np.nan, np.nan, None)
    low, high = np.percentile(row.samples, (25, 75))
    ratio = None if ours is None or row.peer == OURS else _median(row) / ours
    return Line(row, _median(row), float(high - low), ratio, None if forward is None else _median(row) / forward)


def seconds(value: float) -> str:
    """Three digits and a unit.

    >>> seconds(0.0000192), seconds(0.46), seconds(14.2)
    ('19.2 µs', '460 ms', '14.2 s')
    """
    unit, scale = next(((u, s) for u, s in UNITS if value >= 0.9995 * s), UNITS[-1])
    return f"{value / scale:.3g} {unit}" if value / scale < 999.5 else f"{value / scale:.0f} {unit}"


def table(rows: Sequence[Row]) -> Table:
    """The table for the terminal."""
    shown = Table("workload", "measure", "peer", "threads", "median", "spread", "n", "× graphc", "× forward")
    for group in _grouped(lines(rows), lambda line: (line.row.workload, line.row.size, line.row.measure)):
        row = group[0].row
        titles = itertools.chain([(f"{row.workload}/{row.size}", row.measure)], itertools.repeat(("", "")))
        for line, title in zip(group, titles, strict=False):
            shown.add_row(*title, line.name, str(line.row.threads), *_numbers(line))
        shown.add_section()
    return shown


def _numbers(line: Line) -> tuple[str, ...]:
    if line.row.problem:
        return (f"[red]{escape(line.row.problem)}[/red]",)
    ratio = "" if line.ratio is None else f"{line.ratio:.3g}"
    ratio = f"[bold red]{ratio}[/bold red]" if line.slower_than_peer else ratio
    forwards = "" if line.forwards is None else f"{line.forwards:.3g}"
    return seconds(line.median), seconds(line.spread), str(len(line.row.samples)), ratio, forwards


def save(path: Path, rows: Sequence[Row], about: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def load(path: Path) -> tuple[list[Row], dict[str, Any]]:
    about = json.loads(path.read_text())
    return [Row(**row) for row in about.pop("rows")], about


def compared(rows: Sequence[Row]) -> dict[str, dict[str, Line]]:
    """What README shows: for each measurement the line of graphc and of each way to run a peer, its fastest form's."""
    found: dict[str, dict[str, Line]] = {}
    shown = (line for line in lines(rows) if line.row.measure not in ("first call", "import"))
    for line in sorted(shown, key=lambda line: np.nan_to_num(line.median, nan=np.inf)):
        row = line.row
        way = " ".join([row.peer, *(word for word in row.variant.split() if word in WAYS)])
        found.setdefault(_title(row), {}).setdefault(way, line)
    return {title: found[title] for title in dict.fromkeys(map(_title, rows)) if title in found}


def _title(row: Row) -> str:
    return f"{row.workload} {row.size}" + ("" if row.measure == "call" else f", {row.measure}")


def markdown(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """README's part, markers included: a line a measurement, a column a way, times with ratios to graphc; the plot."""
    found, names = compared(rows), columns(rows)
    text = [f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for title, line in found.items():
        text.append(f"| {title} | {' | '.join(_cell(line[name]) if name in line else '' for name in names)} |")
    machine, versions = about["machine"], about["versions"]
    programs = ", ".join(f"{name} {version}" for name, version in versions.items())
    text += ["", f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {programs}."]
    text += ["Medians of one run, each on its best threads and in its fastest form; bold: the peer is faster."]
    text += ["", f"![Times of the table as multiples of graphc's]({PLOT})"]
    return "\n".join([BEGIN, *text, END])


def columns(rows: Sequence[Row]) -> list[str]:
    """graphc, and the ways to run its peers: in the order of the peers and of their ways."""
    found = {name for line in compared(rows).values() for name in line}
    ways = (f"{peer.name} {way}".strip() for peer in PEERS for way in ("", *peer.variants["training"]))
    return [name for name in dict.fromkeys(ways) if name in found]


def _cell(line: Line) -> str:
    if line.row.problem:
        return "disagrees" if "disagrees" in line.row.problem else "fails"
    if line.ratio is None:
        return seconds(line.median)
    ratio = f"{line.ratio:.3g}×" if line.ratio < 999.5 else f"{line.ratio:.0f}×"
    return f"{seconds(line.median)} ({f'**{ratio}**' if line.slower_than_peer else ratio})"


def write_part(block: str, readme: Path | None) -> None:
    """Replace the part of `readme` between the markers that are the block's first and last line, or print the block."""
    if readme is None:
        print(block)
        return
    text, (begin, *_, end) = readme.read_text(), block.splitlines()
    before, found, rest = text.partition(begin)
    _, ends, after = rest.partition(end)
    if not found or not ends:
        raise SystemExit(f"{readme} has no part between {begin} and {end}")
    readme.write_text(before + block + after)
