"""Training steps, fits and what it takes to begin: the workloads whose programs stand in the peers' modules."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from benchmarks import reference
from benchmarks.reference import Arrays
from benchmarks.workloads.record import Tolerance, Workload

DIGITS = Path(__file__).parents[2] / "examples" / "data" / "mnist_5k.npz"


def draw_mlp(widths: tuple[int, ...], batch: int) -> Arrays:
    """Three batches of uniform images with random one-hot labels, Glorot weights, small biases; float32."""
    rng = np.random.default_rng(0)
    drawn = {"x": rng.random((3 * batch, widths[0]))}
    drawn["t"] = np.eye(widths[-1])[rng.integers(widths[-1], size=3 * batch)]
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        drawn[f"W{i}"] = reference.glorot(rng, (fan_in, fan_out))
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
RECORDS = (
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
