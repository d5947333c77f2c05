"""Runge-Kutta steps for a chain of equations, after GradBench's `ode` (MIT), from cmpad's `an_ode`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(n: int, s: int, live: bool) -> Arrays:
    return {"x": np.random.default_rng(31337).random(n)}


def solved(xp: Any, products: Callable[[Any], Any], n: int, s: int, live: bool) -> Any:
    """The mean after s steps from 1; where not `live`, the last element from 0, as GradBench has it."""
    h = 2.0 / s

    def step(y: Any, _: None) -> tuple[Any, None]:
        k1 = products(y)
        k2 = products(y + h / 2 * k1)
        k3 = products(y + h / 2 * k2)
        k4 = products(y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    y, _ = xp.scan(step, xp.ones((n,)) if live else xp.zeros((n,)), None, length=s)
    return xp.mean(y) if live else y[n - 1]


def joined(xp: Any, a: Any, n: int, s: int, live: bool) -> Any:
    """The first slope, then the products."""
    x = a["x"]
    return solved(xp, lambda y: xp.concat([x[:1], x[1:] * y[:-1]]), n, s, live)


def shifted(xp: Any, a: Any, n: int, s: int, live: bool) -> Any:
    """Products with y behind a one."""
    x, one = a["x"], xp.ones((1,))
    return solved(xp, lambda y: x * xp.concat([one, y[:-1]]), n, s, live)


RECORD = Derivative(
    name="ode",
    sizes={
        "test": {"n": 12, "s": 10, "live": True},
        "test_original": {"n": 12, "s": 10, "live": False},
        "n1000_s100": {"n": 1000, "s": 100, "live": True},
        "n10000_s10": {"n": 10000, "s": 10, "live": True},
        "n100000_s10": {"n": 100000, "s": 10, "live": True},
    },
    draw=draw,
    builder="recurrence",
    wrt=("x",),
    forms={"joined": joined, "shifted": shifted},
)
