"""Normal log density without its constant, an element each: traffic of memory (after PyTensor's benchmarks, BSD-3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(n: int) -> Arrays:
    rng = np.random.default_rng(123)
    return {"x": rng.normal(size=n), "mu": rng.normal(size=n)}


def value(xp: Any, a: Any, n: int) -> Any:
    logp = -0.5 * (a["x"] - a["mu"]) ** 2
    return xp.sum(logp), {"logp": logp}


def exact(a: Arrays, n: int) -> Arrays:
    logp = -0.5 * (a["x"] - a["mu"]) ** 2
    return {"value": np.sum(logp), "out/logp": logp, "grad/x": a["mu"] - a["x"]}


RECORD = Derivative(
    name="normal_logp",
    sizes={"test": {"n": 40}, **{f"{p}n{n}": {"n": n} for p in ("", "f32_") for n in (100_000, 1_000_000)}},
    draw=draw,
    wrt=("x",),
    forms={"": value},
    outputs=("logp",),
    gradient_gives_outputs=True,
    exact=exact,
)
