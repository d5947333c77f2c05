"""An encoder block that normalises before attention and before two dense layers, with the gradients of all weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays, glorot
from benchmarks.workloads.derivative import ROUNDED, Derivative

WEIGHTS = tuple(f"{kind}{layer}" for layer in "qkvo12" for kind in "Wb")


def draw(batch: int, steps: int, width: int, heads: int, inner: int) -> Arrays:
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=(batch, steps, width)) for name in ("x", "cotangent")}
    for i in (1, 2):
        drawn[f"gain{i}"] = 1.0 + 0.1 * rng.normal(size=width)
        drawn[f"shift{i}"] = 0.1 * rng.normal(size=width)
    layers = dict.fromkeys("qkvo", (width, width)) | {"1": (width, inner), "2": (inner, width)}
    for layer, shape in layers.items():
        drawn[f"W{layer}"] = glorot(rng, shape)
        drawn[f"b{layer}"] = 0.1 * rng.normal(size=shape[1])
    return drawn


def value(xp: Any, a: Any, project: Any, batch: int, steps: int, width: int, heads: int) -> tuple[Any, Arrays]:
    """`project(z)` are queries, keys and values [batch, steps, width] of the normalised rows."""

    def split(z: Any) -> Any:
        return xp.swapaxes(xp.reshape(z, (batch, steps, heads, width // heads)), 1, 2)

    queries, keys, values = map(split, project(xp.layer_norm(a["x"], a["gain1"], a["shift1"])))
    mixed = xp.swapaxes(xp.attention(queries, keys, values, (width // heads) ** -0.5), 1, 2)
    x = a["x"] + xp.reshape(mixed, (batch, steps, width)) @ a["Wo"] + a["bo"]
    hidden = xp.gelu(xp.layer_norm(x, a["gain2"], a["shift2"]) @ a["W1"] + a["b1"])
    y = x + hidden @ a["W2"] + a["b2"]
    return xp.sum(y * a["cotangent"]) / (batch * steps), {"y": y}


def separate(xp: Any, a: Any, inner: int, **sizes: int) -> Any:
    """A product each for queries, keys and values."""

    def project(z: Any) -> Any:
        return [z @ a[f"W{layer}"] + a[f"b{layer}"] for layer in "qkv"]

    return value(xp, a, project, **sizes)


def joined(xp: Any, a: Any, inner: int, **sizes: int) -> Any:
    """One product for queries, keys and values."""
    weight, bias = (xp.concat([a[f"{kind}{layer}"] for layer in "qkv"], axis=-1) for kind in "Wb")

    def project(z: Any) -> Any:
        found, width = z @ weight + bias, sizes["width"]
        return [found[:, :, i * width : (i + 1) * width] for i in range(3)]

    return value(xp, a, project, **sizes)


RECORD = Derivative(
    name="transformer",
    sizes={
        "test": {"batch": 2, "steps": 5, "width": 8, "heads": 2, "inner": 12},
        "d128_h4_s64_b8": {"batch": 8, "steps": 64, "width": 128, "heads": 4, "inner": 512},
    },
    draw=draw,
    wrt=("x", "gain1", "shift1", "gain2", "shift2", *WEIGHTS),
    forms={"separate": separate, "joined": joined},
    outputs=("y",),
    dtype=np.float32,
    tolerance=ROUNDED,
)
