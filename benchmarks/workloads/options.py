"""Prices of European calls and their derivatives by all inputs (Black and Scholes, 1973)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative

RANGES = {"S": (80.0, 120.0), "K": (80.0, 120.0), "T": (0.1, 2.0), "r": (0.0, 0.1), "sigma": (0.1, 0.5)}


def draw(n: int) -> Arrays:
    rng = np.random.default_rng(42)
    return {name: rng.uniform(low, high, size=n) for name, (low, high) in RANGES.items()}


def value(xp: Any, a: Any, n: int) -> Any:
    spot, strike, years, rate, sigma = (a[name] for name in RANGES)

    def below(z: Any) -> Any:
        return (1 + xp.erf(z * 0.5**0.5)) / 2

    spread = sigma * xp.sqrt(years)
    d1 = (xp.log(spot / strike) + (rate + sigma**2 / 2) * years) / spread
    price = spot * below(d1) - strike * xp.exp(-rate * years) * below(d1 - spread)
    return xp.sum(price), {"price": price}


def exact(a: Arrays, n: int) -> Arrays:
    """The price and the Greeks."""
    spot, strike, years, rate, sigma = (a[name] for name in RANGES)
    spread, discounted = sigma * np.sqrt(years), strike * np.exp(-rate * years)
    d1 = (np.log(spot / strike) + (rate + sigma**2 / 2) * years) / spread
    first, second = ndtr(d1), ndtr(d1 - spread)
    vega = spot * np.exp(-(d1**2) / 2) / math.sqrt(2 * math.pi) * np.sqrt(years)
    theta = vega * sigma / (2 * years) + rate * discounted * second
    grads = first, -discounted / strike * second, theta, years * discounted * second, vega
    price = spot * first - discounted * second
    named = {f"grad/{name}": grad for name, grad in zip(RANGES, grads, strict=True)}
    return {"value": np.sum(price), "out/price": price, **named}


RECORD = Derivative(
    name="options",
    sizes={"test": {"n": 40}, **{f"{p}n{n}": {"n": n} for p in ("", "f32_") for n in (100_000, 1_000_000)}},
    draw=draw,
    wrt=tuple(RANGES),
    forms={"": value},
    outputs=("price",),
    gradient_gives_outputs=True,
    exact=exact,
)
