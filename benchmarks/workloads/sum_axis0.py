"""A sum along the slow axis of a cube (after jax#25187 and pytensor#935), and the gradient of half its square."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(n: int) -> Arrays:
    return {"x": np.random.default_rng(123).normal(size=(n, n, n))}


def value(xp: Any, a: Any, n: int) -> Any:
    total = xp.sum(a["x"], axis=0)
    return xp.sum(total**2) / 2, {"sum": total}


def exact(a: Arrays, n: int) -> Arrays:
    total = a["x"].sum(axis=0)
    return {"value": np.sum(total**2) / 2, "out/sum": total, "grad/x": np.broadcast_to(total, a["x"].shape)}


RECORD = Derivative(
    name="sum_axis0",
    sizes={"test": {"n": 5}, **{f"{p}n{n}": {"n": n} for p in ("", "f32_") for n in (128, 256)}},
    draw=draw,
    wrt=("x",),
    forms={"": value},
    outputs=("sum",),
    exact=exact,
)
