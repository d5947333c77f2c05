"""What is measured.  In: nothing.  Out: WORKLOADS, one record each, by name.

Inputs are drawn from a fixed seed, so every process draws the same ones.  Sizes called `test` are small; they are
measured only where they are asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import reference
from benchmarks.reference import Arrays

CHOICES = 100  # so many right results are tried before a peer is refused
DIGITS = Path(__file__).parent.parent / "examples" / "data" / "mnist_5k.npz"


@dataclass(frozen=True)
class Tolerance:
    """A result passes if max|got - want| <= absolute + relative * max|want|."""

    relative: float = 0.0
    absolute: float = 0.0

    def excess(self, got: Any, want: Any) -> float:
        """The error in units of what is allowed: 1 is the limit; NaN counts as infinite."""
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        if got.shape != want.shape:
            return np.inf
        error = np.max(np.abs(got - want), initial=0.0)
        allowed = self.absolute + self.relative * np.max(np.abs(want), initial=0.0)
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

    def expected(self, size: str, arrays: Arrays) -> Iterator[Arrays]:
        """The right results, in float64 from the inputs as rounded; the most exact first, mostly the only one."""
        return self.expect(arrays, **self.sizes[size])

    def disagreement(self, got: Arrays, rights: Iterator[Arrays]) -> str:
        """Empty if all results are within tolerance of one of the right ones; otherwise what is off, and how far."""
        off = self._off(got, next(rights))
        others = itertools.islice(rights, CHOICES)
        return "" if not off or any(not self._off(got, right) for right in others) else off

    def _off(self, got: Arrays, want: Arrays) -> str:
        if missing := want.keys() - got.keys():
            return f"no result for {', '.join(sorted(missing))}"
        excesses = {k: self.tolerance.get(k, self.tolerance["*"]).excess(got[k], v) for k, v in want.items()}
        return ", ".join(f"{k} is off by {e:.3g} times the tolerance" for k, e in excesses.items() if not e <= 1)


def draw_mlp(widths: tuple[int, ...], batch: int) -> Arrays:
    """Three batches of uniform images with random one-hot labels, Glorot weights, small biases; float32."""
    rng = np.random.default_rng(0)
    drawn = {"x": rng.random((3 * batch, widths[0]))}
    drawn["t"] = np.eye(widths[-1])[rng.integers(widths[-1], size=3 * batch)]
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        limit = np.sqrt(6.0 / (fan_in + fan_out))
        drawn[f"W{i}"] = rng.uniform(-limit, limit, (fan_in, fan_out))
        drawn[f"b{i}"] = 0.1 * rng.normal(size=fan_out)
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def draw_digits(widths: tuple[int, ...], batch: int, epochs: int, train: int) -> Arrays:
    """Handwritten digits as [0, 1] rows with one-hot labels, the last 1,000 for validation; weights as draw_mlp's."""
    with np.load(DIGITS) as file:
        x = file["images"].reshape(-1, 784).astype(np.float32) / np.float32(255)
        t = np.eye(10, dtype=np.float32)[file["labels"]]
    weights = {k: v for k, v in draw_mlp(widths, 1).items() if k not in ("x", "t")}
    return {"x": x[:train], "t": t[:train], "x_val": x[-1000:], "t_val": t[-1000:], **weights}


_STEP = {"losses": Tolerance(relative=1e-5), "*": Tolerance(absolute=5e-6)}  # of parameters that change by 3e-3
_LISTING = (784, 10, 10)
_RECORDS = (
    Workload(
        name="mlp",
        measured="steady",
        builder="training",
        sizes={
            "test": {"widths": (7, 5, 4), "batch": 6},
            **{f"784_10_10_b{batch}": {"widths": _LISTING, "batch": batch} for batch in (1, 32, 256)},
        },
        draw=draw_mlp,
        expect=reference.training,
        tolerance=_STEP,
    ),
    Workload(
        name="mlp_deep",
        measured="steady",
        builder="training",
        sizes={
            "test": {"widths": (7, 6, 5, 4), "batch": 6},
            "784_512_512_10_b128": {"widths": (784, 512, 512, 10), "batch": 128},
        },
        draw=draw_mlp,
        expect=reference.training,
        tolerance=_STEP,
    ),
    Workload(
        name="call",
        measured="steady",
        builder="call",
        sizes={"tanh_n3": {"n": 3}},
        draw=lambda n: {"x": np.linspace(-1.0, 1.0, n) + 0.1},
        expect=reference.call,
        tolerance={"*": Tolerance(relative=1e-14)},
    ),
    Workload(
        name="fit",
        measured="fit",
        builder="fit",
        sizes={
            "test": {"widths": _LISTING, "batch": 32, "epochs": 2, "train": 320},
            "mnist_5k": {"widths": _LISTING, "batch": 32, "epochs": 20, "train": 4000},
        },
        draw=draw_digits,
        expect=reference.fit,
        tolerance={"accuracy": Tolerance(absolute=0.0025), "*": Tolerance(relative=1e-4)},
    ),
    Workload(
        name="compile",
        measured="start",
        builder="training",
        sizes={
            "test": {"widths": (7, 5, 4), "batch": 6},
            "784_10_10_b32": {"widths": _LISTING, "batch": 32},
        },
        draw=draw_mlp,
        expect=reference.training,
        tolerance=_STEP,
    ),
    Workload(
        name="import",
        measured="import",
        builder="",
        sizes={"package": {}},
        draw=dict,
        expect=lambda arrays: iter([{}]),
        tolerance={},
    ),
)
WORKLOADS = {record.name: record for record in _RECORDS}
