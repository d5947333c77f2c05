"""Log density of a hierarchical model of radon levels in counties, after PyTensor's and PyMC's (BSD-3, Apache-2.0).

All data are constants of the program: one vector goes in.  That counties are sorted is not told.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative

COUNTIES, HOUSES = 85, 919
LOG_2PI = math.log(2 * math.pi)


def draw(centered: bool, intercept: str, noise: str) -> Arrays:
    rng = np.random.default_rng(1)
    return {
        "county": np.sort(rng.integers(COUNTIES, size=HOUSES)),
        "floor": rng.binomial(1, 0.5, size=HOUSES).astype(np.float64),
        "y": rng.normal(size=HOUSES),
        "theta": np.random.default_rng(1).normal(size=2 * COUNTIES + 3),
    }


def normal(v: Any, deviation: float) -> Any:
    return -0.5 * (v / deviation) ** 2 - 0.5 * LOG_2PI - math.log(deviation)


def halfnormal(xp: Any, log_v: Any) -> Any:
    return -0.5 * xp.exp(2 * log_v) + 0.5 * math.log(2 / math.pi) + log_v


def zero_sum(xp: Any, raw: Any) -> Any:
    """The vector of 85 whose sum is 0 and whose length is that of the 84 raw numbers."""
    root = math.sqrt(COUNTIES)
    total = xp.sum(raw)
    shift = total / (root + COUNTIES)
    return xp.concat([raw, xp.reshape(shift - total / root, (1,))]) - shift


def zero_sum_density(xp: Any, z: Any, log_deviation: Any) -> Any:
    return xp.sum(-0.5 * (z * xp.exp(-log_deviation)) ** 2) - (COUNTIES - 1) * (0.5 * LOG_2PI + log_deviation)


def value(xp: Any, a: Any, centered: bool, intercept: str, noise: str) -> Any:
    theta, zero = a["theta"], xp.zeros(())
    start, slope, log_sigma = theta[0], theta[86], theta[172]
    density = normal(start, 10.0) + normal(slope, 2.0)
    density = density + (normal(log_sigma, 1.0) if noise == "lognormal" else halfnormal(xp, log_sigma))
    effects = []
    for log_deviation, raw in ((theta[1], theta[2:86]), (theta[87], theta[88:172])):
        z = zero_sum(xp, raw)
        density = density + halfnormal(xp, log_deviation)
        density = density + zero_sum_density(xp, z, log_deviation if centered else zero)
        effects.append(xp.take(z if centered else xp.exp(log_deviation) * z, a["county"], axis=0))
    mean = (xp.exp(start) if intercept == "lognormal" else start) + effects[0] + (slope + effects[1]) * a["floor"]
    residuals = (a["y"] - mean) * xp.exp(-log_sigma)
    return density - 0.5 * xp.sum(residuals**2) - HOUSES * (0.5 * LOG_2PI + log_sigma)


VARIANTS = itertools.product((True, False), ("normal", "lognormal"), ("halfnormal", "lognormal"))
RECORD = Derivative(
    name="radon",
    sizes={
        "test": {"centered": False, "intercept": "normal", "noise": "halfnormal"},
        **{
            f"{'centered' if centered else 'raw'}_{intercept}_{noise}": {
                "centered": centered,
                "intercept": intercept,
                "noise": noise,
            }
            for centered, intercept, noise in VARIANTS
        },
    },
    draw=draw,
    wrt=("theta",),
    forms={"": value},
    constants=("county", "floor", "y"),
)
