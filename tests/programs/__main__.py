"""Sweep random programs: `python -m tests.programs --seeds 0:2000 --jobs 2` prints findings grouped by kind."""

from __future__ import annotations

import argparse
import collections
import sys
import warnings
from collections.abc import Sequence

from .profiles import random_program
from .sweep import MACHINE, Row, digests, rows_of, smallest, sweep

_AS_DRAWN = ("crash", "draw", "text: depends")  # kinds that are not made small


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("--seeds", default="0:300", help="first:end")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--machine", choices=tuple(MACHINE), default="drawn", help="which programs become machine code")
    parser.add_argument("--show", type=int, default=2, help="how many of each kind are made small and printed")
    parser.add_argument("--rows", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--digests", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds = range(*map(int, options.seeds.split(":")))
    warnings.simplefilter("ignore")
    if options.rows or options.digests:
        for line in rows_of(seeds, options.machine) if options.rows else digests(seeds):
            print(line, flush=True)
        return 0
    rows = sweep(seeds, options.machine, options.jobs)
    print(f"{len(seeds)} programs, {len({r.seed for r in rows})} with findings")
    _report(rows, options.show)
    return int(bool(rows))


def _report(rows: Sequence[Row], show: int) -> None:
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in rows:
        groups[row.kind].append(row)
    for kind, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        seeds = list(dict.fromkeys(row.seed for row in found))
        print(f"\n== {kind}: {len(seeds)} programs, seeds {', '.join(map(str, seeds[:12]))}")
        for row in found[:show]:
            whole = kind.startswith(_AS_DRAWN) or "Late" in kind
            program = random_program(row.seed) if whole else smallest(row.seed, kind)
            print(f"   seed {row.seed} ({row.profile}): {row.text}")
            others = f"# also at {', '.join(map(str, program.other_sizes))}" if program.other_sizes else ""
            print(f"      {program}{others}".replace("\n", "\n      "))


if __name__ == "__main__":
    sys.exit(main())
