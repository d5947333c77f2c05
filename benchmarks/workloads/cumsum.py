"""Cumulative sums down and along a matrix (after jax#28097 and jax#4135), with the gradient of a weighted square."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(rows: int, columns: int, axis: int) -> Arrays:
    rng = np.random.default_rng(28097)
    return {name: rng.normal(size=(rows, columns)) for name in ("x", "w")}


def value(xp: Any, a: Any, rows: int, columns: int, axis: int) -> Any:
    return xp.sum(a["w"] * xp.cumsum(a["x"], axis=axis) ** 2) / 2


def exact(a: Arrays, rows: int, columns: int, axis: int) -> Arrays:
    cumulative = np.cumsum(a["x"], axis=axis)
    cotangent = a["w"] * cumulative
    gradient = np.flip(np.cumsum(np.flip(cotangent, axis), axis=axis), axis)
    return {"value": np.sum(cotangent * cumulative) / 2, "grad/x": gradient}


def _both(rows: int, columns: int) -> list[dict[str, int]]:
    return [{"rows": rows, "columns": columns, "axis": axis} for axis in (0, 1)]


RECORD = Derivative(
    name="cumsum",
    sizes={
        **dict(zip(("test", "test_axis1"), _both(5, 4), strict=True)),
        **{f"{p}4096x1024_axis{size['axis']}": size for p in ("", "f32_") for size in _both(4096, 1024)},
    },
    draw=draw,
    wrt=("x",),
    forms={"": value},
    exact=exact,
)
