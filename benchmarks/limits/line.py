"""What a limit is, how what is beside it is measured, and what all of them use.

Results are compared before anything is timed.  Those that are compared take turns, and the best sample of each counts.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc

SECONDS = 1.0  # of turns, for each that is measured
SAMPLE = 0.02  # seconds of a sample, at least: caches are filled by who is measured, and his threads awake

Call = Callable[[], Any]


@dataclass(frozen=True)
class Line:
    """What was measured, in `unit`, and its limit: the most that it may be, the least where `at_least`."""

    what: str
    measured: float
    limit: float
    unit: str
    of: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def cells(self) -> tuple[str, ...]:
        if math.isnan(self.measured):
            return self.what, "not installed", "", self.of
        style = "green" if self.holds else "bold red"
        sign = "≥" if self.at_least else "≤"
        return self.what, f"[{style}]{self.measured:.3g}[/{style}] {self.unit}", f"{sign} {self.limit:g}", self.of


def fastest(*calls: Call, before: Sequence[Call] = ()) -> list[float]:
    """Seconds of the best sample of each; they take turns until each has had its time.

    What is to be done `before` each sample of one is not timed.
    """
    before, repeats = before or [lambda: None] * len(calls), []
    for prepare, call in zip(before, calls, strict=True):
        prepare()
        call()
        begin = time.perf_counter()
        call()
        repeats.append(max(1, math.ceil(SAMPLE / (time.perf_counter() - begin))))
    best, end = [math.inf] * len(calls), time.perf_counter() + SECONDS * len(calls)
    while time.perf_counter() < end or math.inf in best:
        for k, (prepare, call, count) in enumerate(zip(before, calls, repeats, strict=True)):
            prepare()
            begin = time.perf_counter()
            for _ in range(count):
                call()
            best[k] = min(best[k], (time.perf_counter() - begin) / count)
    return best


def agree(got: Any, want: Any, relative: float = 1e-9) -> None:
    """Arrays, or tuples of them, that differ by more end the run."""
    if isinstance(want, (tuple, list)):
        for one, other in zip(got, want, strict=True):
            agree(one, other, relative)
        return
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or not np.max(np.abs(got - want)) <= relative * np.max(np.abs(want)):
        raise SystemExit(f"results disagree: {got} and {want}")


def drawn(*shapes: tuple[int, ...], scale: float = 1.0) -> list[Any]:
    rng = np.random.default_rng(0)
    return [scale * rng.normal(size=shape) for shape in shapes]


def inputs(arrays: Sequence[Any]) -> list[Any]:
    return [gc.input(f"x{k}", array.shape) for k, array in enumerate(arrays)]


def jax_or_none() -> Any:
    if importlib.util.find_spec("jax") is None:
        return None
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


class JaxWords:
    """jax.numpy and the scan."""

    def __init__(self, jax: Any) -> None:
        self.jax, self.scan = jax, jax.lax.scan

    def __getattr__(self, name: str) -> Any:
        return getattr(self.jax.numpy, name)


def on_jax(jax: Any, function: Callable[..., Any], arrays: Sequence[Any]) -> Call:
    compiled, there = jax.jit(function), jax.block_until_ready([jax.numpy.array(a) for a in arrays])
    return lambda: jax.block_until_ready(compiled(*there))
