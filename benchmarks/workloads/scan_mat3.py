"""Cholesky factorisation of a semiseparable matrix: a loop that carries one 3×3 matrix (after jax#36799)."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(steps: int) -> Arrays:
    rng = np.random.default_rng(36799)
    return {
        "d": rng.uniform(1.0, 2.0, size=steps),
        "p": 0.2 * rng.normal(size=(steps, 3)),
        "q": 0.2 * rng.normal(size=(steps, 3)),
        "a": np.eye(3) / 2 + 0.1 * rng.normal(size=(steps, 3, 3)),
    }


def value(xp: Any, inputs: Any, steps: int) -> Any:
    def step(f: Any, row: Any) -> Any:
        d, p, q, a = row
        g = f @ p
        c = xp.sqrt(d - p @ g)
        w = (q - a @ g) / c
        return a @ f @ a.T + w[:, None] * w[None, :], (c, w)

    _, (c, w) = xp.scan(step, xp.zeros((3, 3)), tuple(inputs[name] for name in "dpqa"))
    return xp.sum(xp.log(c)) + 0.5 * xp.sum(w**2)


RECORD = Derivative(
    name="scan_mat3",
    sizes={"test": {"steps": 6}, "steps2000": {"steps": 2000}},
    draw=draw,
    builder="recurrence",
    wrt=("d", "p", "q", "a"),
    forms={"": value},
)
