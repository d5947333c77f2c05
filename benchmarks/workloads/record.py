"""What a workload is.  In: nothing.  Out: Workload, with its inputs, what is expected, and how far off a result is.

Inputs are drawn from a fixed seed, so every process draws the same ones.  Sizes whose names begin with `test` are
small; they are measured only where they are asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks import reference
from benchmarks.reference import Arrays

CHOICES = 100  # so many right results are tried before a peer is refused


@dataclass(frozen=True)
class Tolerance:
    """A result passes if max|got - want| <= absolute + relative * max|want|, with 1 for max|want| where that is 0."""

    relative: float = 0.0
    absolute: float = 0.0

    def excess(self, got: Any, want: Any) -> float:
        """The error in units of what is allowed: 1 is the limit; NaN counts as infinite."""
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        if got.shape != want.shape:
            return np.inf
        error = np.max(np.abs(got - want), initial=0.0)
        allowed = self.absolute + self.relative * (np.max(np.abs(want), initial=0.0) or 1.0)
        return float(np.nan_to_num(error / allowed, nan=np.inf))


@dataclass(frozen=True)
class Workload:
    """One workload: `builder` names the function that each peer's module has for it; `measured` says in which way.

    steady: one process, first call and then many calls, peers taking turns
    fit:    a fresh process a sample, a first and a second fit in it
    start:  a fresh process a sample, compilation to the first result, with an empty and then with a filled cache
    import: a fresh process a sample
    """

    name: str
    measured: Literal["steady", "fit", "start", "import"]
    builder: str
    sizes: Mapping[str, Mapping[str, Any]]
    draw: Callable[..., Arrays]
    expect: Callable[..., Iterator[Arrays]]
    tolerance: Mapping[str, Tolerance]

    def inputs(self, size: str) -> Arrays:
        return self.draw(**self.sizes[size])

    @property
    def timed(self) -> tuple[str, ...]:
        """What is measured in one process beside the first call."""
        return ("call",)

    def variants(self, peers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """The ways in which a peer with these variants writes the program."""
        return peers.get(self.builder, ())

    def unlike_stored(self, size: str, arrays: Arrays) -> list[str]:
        """Names of inputs and results that are not as stored."""
        return reference.disagreements(self.name, size, arrays, next(self.expected(size, arrays)))

    def expected(self, size: str, arrays: Arrays) -> Iterator[Arrays]:
        """The right results, in float64 from the inputs as rounded; the most exact first, mostly the only one."""
        return self.expect(arrays, **self.sizes[size])

    def disagreement(self, size: str, got: Arrays, rights: Iterator[Arrays]) -> str:
        """Empty if all results are within tolerance of one of the right ones; otherwise what is off, and how far."""
        off = self._off(got, next(rights))
        others = itertools.islice(rights, CHOICES)
        return "" if not off or any(not self._off(got, right) for right in others) else off

    def _off(self, got: Arrays, want: Arrays) -> str:
        if missing := want.keys() - got.keys():
            return f"no result for {', '.join(sorted(missing))}"
        excesses = {k: self.tolerance.get(k, self.tolerance["*"]).excess(got[k], v) for k, v in want.items()}
        return ", ".join(f"{k} is off by {e:.3g} times the tolerance" for k, e in excesses.items() if not e <= 1)
