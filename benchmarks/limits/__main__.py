"""`python -m benchmarks.limits [NAME ...]`: what is measured beside a limit of its own, a line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.limits import derivatives, loops, memory, sharing

LINES = {
    "gauss_seidel": loops.gauss_seidel,
    "slice_updates": loops.slice_updates,
    "series": loops.series,
    "scalar_step": loops.scalar_step,
    "kalman_filter": loops.kalman_filter,
    "second_derivatives": derivatives.second_derivatives,
    "tangent": derivatives.tangent,
    "jacobian": derivatives.whole_jacobian,
    "squares": sharing.squares,
    "two_threads": sharing.two_threads,
    "small_phases": sharing.small_phases,
    "too_small": sharing.too_small,
    "crowd": sharing.crowd,
    "memory": memory.memory,
}


def main(names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in LINES]:
        raise SystemExit(f"nothing is called {', '.join(unknown)}; there are {', '.join(LINES)}")
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table("", "measured", "limit", "of", title="what is measured beside its limit")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in progress.track(names or list(LINES), description="limits"):
            for line in LINES[name]():
                table.add_row(*line.cells())
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
