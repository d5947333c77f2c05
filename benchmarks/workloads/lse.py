"""log sum exp of a vector, after GradBench's `lse` (MIT)."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(n: int, shift: float) -> Arrays:
    return {"x": np.random.default_rng(31337).random(n) + shift}


def value(xp: Any, a: Any, n: int, shift: float) -> Any:
    return xp.logsumexp(a["x"], axis=0)


RECORD = Derivative(
    name="lse",
    sizes={
        "test": {"n": 50, "shift": 0.0},
        "test_shifted": {"n": 50, "shift": 1000.0},
        "n10000": {"n": 10_000, "shift": 0.0},
        "n1280000": {"n": 1_280_000, "shift": 0.0},
    },
    draw=draw,
    wrt=("x",),
    forms={"": value},
)
