"""README's plot: a line a measurement, a mark a way to run a peer, at its time as a multiple of graphc's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.report import OURS, Line

# Colours that are told apart by all eyes (Okabe and Ito, Color Universal Design, 2008).
STYLES = (
    ("#0072B2", "o"),
    ("#0072B2", "s"),
    ("#0072B2", "^"),
    ("#D55E00", "D"),
    ("#009E73", "o"),
    ("#009E73", "s"),
    ("#CC79A7", "v"),
)
LINE, MARGIN = 0.22, 1.1  # inches


def draw(path: Path, compared: Mapping[str, Mapping[str, Line]], columns: Sequence[str]) -> None:
    """Write the plot of `report.compared` as SVG: measurements downwards, multiples on a logarithmic axis."""
    figure = Figure(figsize=(9.5, LINE * len(compared) + MARGIN), layout="constrained")
    axes = figure.add_subplot()
    for way, (colour, mark) in zip((c for c in columns if c != OURS), STYLES, strict=False):
        ratios = [line[way].ratio if way in line else None for line in compared.values()]
        shown = [y for y, ratio in enumerate(ratios) if ratio is not None]
        axes.plot([ratios[y] for y in shown], shown, mark, color=colour, label=way, markersize=5, alpha=0.85)
    axes.axvline(1, color="black", linewidth=1.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"time as a multiple of {OURS}'s (left of the line the peer is faster)")
    axes.set_yticks(range(len(compared)), list(compared))
    axes.set_ylim(len(compared) - 0.5, -0.5)
    axes.grid(axis="both", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": OURS}):
        figure.savefig(path, metadata={"Date": None})
