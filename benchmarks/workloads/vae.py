"""A variational autoencoder of dense layers: its loss, with the gradients of all weights; the noise is an input."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays, glorot
from benchmarks.workloads.derivative import ROUNDED, Derivative


def draw(pixels: int, hidden: int, latent: int, batch: int) -> Arrays:
    rng = np.random.default_rng(0)
    drawn = {"x": rng.random((batch, pixels)), "noise": rng.normal(size=(batch, latent))}
    layers = {"h": (pixels, hidden), **dict.fromkeys("ms", (hidden, latent)), "d": (latent, hidden)}
    for layer, shape in (layers | {"x": (hidden, pixels)}).items():
        drawn[f"W{layer}"] = glorot(rng, shape)
        drawn[f"b{layer}"] = 0.1 * rng.normal(size=shape[1])
    return drawn


def value(xp: Any, a: Any, pixels: int, hidden: int, latent: int, batch: int) -> Any:
    def dense(z: Any, layer: str) -> Any:
        return z @ a[f"W{layer}"] + a[f"b{layer}"]

    encoded = xp.relu(dense(a["x"], "h"))
    mean, log_variance = dense(encoded, "m"), dense(encoded, "s")
    z = mean + xp.exp(log_variance / 2) * a["noise"]
    logits = dense(xp.relu(dense(z, "d")), "x")
    reconstruction = xp.sum(xp.softplus(logits) - a["x"] * logits)
    divergence = xp.sum(1 + log_variance - mean**2 - xp.exp(log_variance)) / -2
    return (reconstruction + divergence) / batch


RECORD = Derivative(
    name="vae",
    sizes={
        "test": {"pixels": 9, "hidden": 6, "latent": 3, "batch": 4},
        "784_256_16_b64": {"pixels": 784, "hidden": 256, "latent": 16, "batch": 64},
    },
    draw=draw,
    wrt=tuple(f"{kind}{layer}" for layer in "hmsdx" for kind in "Wb"),
    forms={"": value},
    dtype=np.float32,
    tolerance=ROUNDED,
)
