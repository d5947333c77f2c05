"""Cross-entropy of a network of two convolutions with pooling and three dense layers, after LeNet-5 (LeCun 1998)."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from benchmarks.reference import Arrays, glorot
from benchmarks.workloads.derivative import ROUNDED, Derivative

LAYERS = 5


def draw(batch: int, side: int, channels: tuple[int, int], widths: tuple[int, int], classes: int) -> Arrays:
    """Uniform images with random one-hot labels, Glorot weights, small biases."""
    rng = np.random.default_rng(0)
    flat = ((side // 2 - 4) // 2) ** 2 * channels[1]
    drawn = {"x": rng.random((batch, side, side, 1)), "t": np.eye(classes)[rng.integers(classes, size=batch)]}
    kernels = [(5, 5, 1, channels[0]), (5, 5, *channels)]
    matrices = [(flat, widths[0]), widths, (widths[1], classes)]
    for i, shape in enumerate([*kernels, *matrices], start=1):
        drawn[f"W{i}"] = glorot(rng, shape)
        drawn[f"b{i}"] = 0.1 * rng.normal(size=shape[-1])
    return drawn


def _loss(xp: Any, a: Any, convolved: Any, pooled: Any) -> Any:
    h = pooled(xp.relu(convolved(a["x"], a["W1"], 2) + a["b1"]))
    h = pooled(xp.relu(convolved(h, a["W2"], 0) + a["b2"]))
    h = xp.reshape(h, (h.shape[0], -1))
    for i in (3, 4):
        h = xp.relu(h @ a[f"W{i}"] + a[f"b{i}"])
    z = h @ a["W5"] + a["b5"]
    return xp.mean(xp.logsumexp(z, axis=1) - xp.sum(a["t"] * z, axis=1))


def native(xp: Any, a: Any, **size: Any) -> Any:
    """The peer's own convolution and pooling."""
    return _loss(xp, a, lambda x, w, padding: xp.convolution(x, w, padding=padding), lambda x: xp.max_pool(x, 2))


def shifted(xp: Any, a: Any, **size: Any) -> Any:
    """A product for each of the 25 places of a kernel, added up; the largest values of an array with axes of pairs."""

    def convolved(x: Any, w: Any, padding: int) -> Any:
        if padding:
            x = xp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        height, width = x.shape[1] - 4, x.shape[2] - 4
        places = ((i, j) for i in range(5) for j in range(5))
        products = (x[:, i : i + height, j : j + width] @ w[i, j] for i, j in places)
        return functools.reduce(operator.add, products)

    def pooled(x: Any) -> Any:
        batch, height, width, channels = x.shape
        return xp.amax(xp.reshape(x, (batch, height // 2, 2, width // 2, 2, channels)), axis=(2, 4))

    return _loss(xp, a, convolved, pooled)


RECORD = Derivative(
    name="cnn",
    sizes={
        "test": {"batch": 3, "side": 12, "channels": (2, 3), "widths": (6, 5), "classes": 4},
        "lenet_b64": {"batch": 64, "side": 28, "channels": (6, 16), "widths": (120, 84), "classes": 10},
    },
    draw=draw,
    builder="convolution",
    wrt=tuple(f"{kind}{i}" for i in range(1, LAYERS + 1) for kind in "Wb"),
    forms={"native": native, "shifted": shifted},
    dtype=np.float32,
    tolerance=ROUNDED,
)
