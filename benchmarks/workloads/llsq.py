"""Distance of a polynomial from the sign of its argument, after GradBench's `llsq` (MIT), from cmpad's `llsq_obj`."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(n: int, m: int) -> Arrays:
    return {"x": np.random.default_rng(31337).random(m), "t": -1.0 + 2.0 * np.arange(n) / (n - 1.0)}


def _distance(xp: Any, a: Any, polynomial: Any) -> Any:
    return 0.5 * xp.sum((xp.sign(a["t"]) - polynomial) ** 2)


def horner(xp: Any, a: Any, n: int, m: int) -> Any:
    """Horner's rule as a loop over the coefficients, the last first."""

    def step(polynomial: Any, coefficient: Any) -> tuple[Any, None]:
        return polynomial * a["t"] + coefficient, None

    polynomial, _ = xp.scan(step, xp.zeros((n,)), a["x"], reverse=True)
    return _distance(xp, a, polynomial)


def powers(xp: Any, a: Any, n: int, m: int) -> Any:
    """A matrix of powers, each the one before times t, and a product with the coefficients."""

    def step(power: Any, _: None) -> tuple[Any, Any]:
        return power * a["t"], power

    _, matrix = xp.scan(step, xp.ones((n,)), None, length=m)
    return _distance(xp, a, a["x"] @ matrix)


RECORD = Derivative(
    name="llsq",
    sizes={"test": {"n": 17, "m": 6}, "n512_m128": {"n": 512, "m": 128}, "n16384_m128": {"n": 16384, "m": 128}},
    draw=draw,
    builder="recurrence",
    wrt=("x",),
    forms={"horner": horner, "powers": powers},
)
