"""Measuring one case: results are compared first, then graphc and its peers take turns.

In: a Case.  Out: a Line with the medians, and the work and the limit that the function's profile tells.  One thread is
timed by what it has of a processor, of which others on the machine take nothing; several by the wall clock.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.kernels.case import Call, Case, Subject

Clock = Callable[[], float]  # seconds


@dataclass(frozen=True)
class Effort:
    """How many samples each gets, and how many seconds a sample takes at least."""

    turns: int
    seconds: float


FULL, QUICK = Effort(turns=10, seconds=0.01), Effort(turns=5, seconds=0.001)


@dataclass(frozen=True)
class Line:
    """Median seconds of graphc and of peers; its work by the model, and the seconds that this takes at the limit."""

    family: str
    name: str
    dtype: str
    threads: int
    seconds: float = math.nan
    peers: dict[str, float] = field(default_factory=dict)
    flops: int = 0
    nbytes: int = 0
    limit: float = math.nan
    bound: str = ""
    problem: str = ""

    @property
    def gflops(self) -> float:
        return self.flops / self.seconds / 1e9

    @property
    def gigabytes(self) -> float:
        return self.nbytes / self.seconds / 1e9

    @property
    def of_limit(self) -> float:
        return self.limit / self.seconds

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long each peer takes."""
        return {name: seconds / self.seconds for name, seconds in self.peers.items()}


def measured(family: str, case: Case, threads: int, effort: Effort) -> Line:
    """The line of a case; one whose results disagree, or that can't be declared, says so and has no times."""
    about = (family, case.name, case.dtype, threads)
    try:
        subject = case.make()
        problem = disagreement(subject)
    except Exception as error:  # whatever it is, the other cases are measured
        problem = f"{type(error).__name__}: {error}".partition("\n")[0]
    if problem:
        return Line(*about, problem=problem)
    profile = subject.function.profile(*subject.arrays, repeat=1)
    bounds = {k.bound: k.limit for k in sorted(profile, key=lambda k: k.limit)}
    names = [name for name, calls in subject.peers.items() for _ in calls]
    calls = [subject.call, *(call for calls in subject.peers.values() for call in calls)]
    ours, *theirs = medians(calls, effort, [_clock(name, threads) for name in ("graphc", *names)])
    peers = {name: min(t for n, t in zip(names, theirs, strict=True) if n == name) for name in subject.peers}
    flops, nbytes, limit = (sum(getattr(k, what) for k in profile) for what in ("flops", "nbytes", "limit"))
    return Line(*about, ours, peers, flops, nbytes, limit / 1e6, list(bounds)[-1] if bounds else "")


def _clock(name: str, threads: int) -> Clock:
    """What one thread of a processor has: the caller's, but of JAX, which computes in a thread of its own, all have."""
    if threads > 1:
        return time.perf_counter
    return time.process_time if name == "jax" else time.thread_time


def medians(calls: Sequence[Call], effort: Effort, clocks: Sequence[Clock]) -> list[float]:
    """Median seconds of each call by its clock; samples take turns, each after one that does not count.

    For whoever came before has left the caches to its own data (NumPy's or graphc's largest argmax takes half as long
    again after JAX's), and may go on: JAX frees large results on another thread for some 20 ms, when it comes to that.
    """
    repeats = [_repeats(call, effort.seconds, clock) for call, clock in zip(calls, clocks, strict=True)]
    samples: list[list[float]] = [[] for _ in calls]
    for _ in range(effort.turns):
        for mine, call, clock, count in zip(samples, calls, clocks, repeats, strict=True):
            _let_others_end()
            _sample(call, count, clock)
            mine.append(_sample(call, count, clock))
    return [statistics.median(mine) for mine in samples]


def _let_others_end() -> None:
    """Wait until no thread of this process does anything, for a second at most.

    What another processor's thread has taken is told at the system's ticks, of which there are 100 a second or more: a
    shorter look does not see the threads of NumPy's products, that wait for some 100 ms for the next one.
    """
    look = 0.002 if len(os.sched_getaffinity(0)) == 1 else 0.012
    for _ in range(math.ceil(1 / look)):
        before = time.process_time()
        time.sleep(look)
        if time.process_time() - before <= look / 10:
            return


def _repeats(call: Call, seconds: float, clock: Clock) -> int:
    """How many calls make a sample."""
    call()
    count = 1
    while (taken := count * _sample(call, count, clock)) < seconds / 2:
        count *= max(2, min(10, int(seconds / max(taken, 1e-9))))
    return max(1, math.ceil(count * seconds / taken))


def _sample(call: Call, count: int, clock: Clock) -> float:
    begin = clock()
    for _ in range(count):
        call()
    return (clock() - begin) / count


def disagreement(subject: Subject) -> str:
    """What is wrong with graphc's results beside those of the peers; nothing if they agree."""
    got = _flat(subject.call())
    wanted = {name: calls[0] for name, calls in subject.peers.items() if name not in subject.unchecked}
    if subject.wanted is not None:
        wanted["the formula"] = subject.wanted
    for name, call in wanted.items():
        for mine, theirs in zip(got, _flat(call()), strict=True):
            if (worst := _apart(mine, theirs, subject)) > 1:
                return f"disagrees with {name} by {worst:.2g} times what is allowed"
    return ""


def _flat(results: Any) -> list[Any]:
    if isinstance(results, (tuple, list)):
        return [array for result in results for array in _flat(result)]
    return [np.asarray(results)]


def _apart(mine: Any, theirs: Any, subject: Subject) -> float:
    """The largest distance of results, in what is allowed; integers and truth values are equal."""
    if mine.shape != theirs.shape:
        return math.inf
    if mine.dtype.kind != "f":
        return 0.0 if np.array_equal(mine, theirs) else math.inf
    wide = theirs.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(mine[~finite], wide[~finite].astype(mine.dtype), equal_nan=True):
        return math.inf
    wide, narrow = wide[finite], mine[finite].astype(np.float64)
    allowed = subject.relative * (np.abs(wide) + subject.scale * min(1.0, np.max(np.abs(wide), initial=0.0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(narrow == wide, 0.0, np.abs(narrow - wide) / allowed)
    return float(np.max(apart, initial=0.0))
