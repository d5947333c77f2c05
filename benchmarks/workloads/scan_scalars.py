"""A chain of filters with three scalars of state each, every scalar a carry of its own (after jax#40150)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(nodes: int, steps: int) -> Arrays:
    rng = np.random.default_rng(40150)
    return {
        "u": rng.normal(size=steps),
        "omega": -1.0 + 0.3 * rng.normal(size=nodes),
        "theta": rng.uniform(0.5, 1.5, size=nodes),
    }


def value(xp: Any, a: Any, nodes: int, steps: int) -> Any:
    omega, theta = a["omega"], a["theta"]

    def step(carry: Any, seen: Any) -> Any:
        filters, loss = carry
        new = []
        for k, (mean, precision, drift) in enumerate(filters):
            predicted = 1 / (1 / precision + xp.exp(drift))
            error = seen - mean
            surprise = predicted * error**2
            loss = loss + 0.5 * (math.log(2 * math.pi) - xp.log(predicted) + surprise)
            precision = predicted + theta[k]
            seen = mean + theta[k] / precision * error
            drift = drift + 0.1 * (omega[k] - drift) + 0.05 * xp.tanh(surprise - 1)
            new.append((seen, precision, drift))
        return (tuple(new), loss), None

    zero, one = xp.zeros(()), xp.ones(())
    (_, loss), _ = xp.scan(step, (tuple((zero, one, omega[k]) for k in range(nodes)), zero), a["u"])
    return loss / steps


RECORD = Derivative(
    name="scan_scalars",
    sizes={"test": {"nodes": 3, "steps": 6}, "leaves60_steps614": {"nodes": 20, "steps": 614}},
    draw=draw,
    builder="recurrence",
    wrt=("omega", "theta"),
    forms={"": value},
)
