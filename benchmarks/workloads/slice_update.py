"""A buffer that a loop carries and writes one row a step, from the row before and an earlier one (after jax#10197)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(n: int, m: int) -> Arrays:
    rng = np.random.default_rng(10197)
    return {
        "x0": rng.normal(size=m),
        "a": rng.uniform(0.2, 0.8, size=n - 1),
        "b": rng.uniform(0.2, 0.8, size=n - 1),
        "c": rng.normal(size=(n, m)) / math.sqrt(n * m),
        "parent": np.floor(rng.random(n - 1) * np.arange(1, n)).astype(np.int64),
    }


def value(xp: Any, inputs: Any, n: int, m: int) -> Any:
    def step(buffer: Any, row: Any) -> Any:
        i, parent, a, b = row
        return buffer.at[i].set(xp.tanh(a * buffer[i - 1] + b * buffer[parent])), None

    start = xp.zeros((n, m)).at[0].set(inputs["x0"])
    buffer, _ = xp.scan(step, start, (np.arange(1, n), inputs["parent"], inputs["a"], inputs["b"]))
    return xp.sum(inputs["c"] * buffer)


RECORD = Derivative(
    name="slice_update",
    sizes={"test": {"n": 9, "m": 3}, **{f"n{n}_m100": {"n": n, "m": 100} for n in (500, 1000, 2000)}},
    draw=draw,
    builder="update",
    wrt=("x0", "a", "b"),
    forms={"": value},
)
