"""Programs that grow: each takes how large it is, and gives what `gc.compile` takes: inputs, outputs, updates or None.

Every one is a value with its gradient, so that the adjoint grows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import graphc as gc

Made = tuple[list[gc.Node], tuple[Any, ...], Mapping[gc.Node, gc.Node] | None]


def chain(steps: int) -> Made:
    """A chain of `steps` elementwise nodes on a scalar."""
    z = x = gc.input("x", ())
    for k in range(steps):
        z = (gc.sin, gc.tanh, gc.cos)[k % 3](z)
    return [x], gc.value_and_grad(z, x), None


def vector_chain(steps: int) -> Made:
    """`sin(z) + 0.1`, `steps` times on a vector."""
    z = x = gc.input("x", ("n",))
    for _ in range(steps):
        z = gc.sin(z) + 0.1
    return [x], gc.value_and_grad(gc.sum(z), x), None


def sum_of_terms(terms: int) -> Made:
    """A sum of `terms` functions of one scalar, added one after the other."""
    x = gc.input("x", ())
    total = gc.sin(x)
    for k in range(1, terms):
        total = total + gc.sin(x * (1.0 + k / terms))
    return [x], gc.value_and_grad(total, x), None


def used_often(uses: int) -> Made:
    """One value that `uses` outputs read, and a sum over them stacked."""
    x = gc.input("x", ())
    y = gc.exp(x)
    total = gc.sum(gc.stack([y * (1.0 + k / uses) for k in range(uses)]))
    return [x], gc.value_and_grad(total, x), None


def guarded_chain(steps: int) -> Made:
    """Choices inside choices, each with a condition of its own, so that cotangents carry many guards."""
    z = x = gc.input("x", ())
    for k in range(steps):
        z = gc.where(x > k / steps, gc.sin(z), x)
    return [x], gc.value_and_grad(z, x), None


def logistic_map(steps: int) -> Made:
    """`z = 3.7 * z * (1 - z)`, whose value is read twice a step."""
    z = x = gc.input("x", ())
    for _ in range(steps):
        z = 3.7 * z * (1 - z)
    return [x], gc.value_and_grad(z, x), None


def lstm(steps: int, units: int = 16, features: int = 4, batch: int = 8) -> Made:
    """An LSTM over `steps`, unrolled: mean square error of the last hidden state, gradients of all weights."""
    rng = np.random.default_rng(0)
    x, target = gc.input("x", (batch, steps, features), "float32"), gc.input("target", (batch, units), "float32")
    shapes = {"w": (features, 4 * units), "u": (units, 4 * units), "b": (4 * units,)}
    w, u, b = weights = [_weight(name, rng, shape) for name, shape in shapes.items()]
    h = c = gc.zeros((batch, units), dtype="float32")
    for t in range(steps):
        gates = x[:, t] @ w + h @ u + b
        i, f, o = (gc.sigmoid(gates[:, k * units : (k + 1) * units]) for k in range(3))
        c = f * c + i * gc.tanh(gates[:, 3 * units :])
        h = o * gc.tanh(c)
    return [x, target], gc.value_and_grad(gc.mean((h - target) ** 2), weights), None


def cholesky(order: int) -> Made:
    """The log determinant of a matrix by a Cholesky factorisation in scalars, and its gradient."""
    a = gc.input("a", (order, order))
    rows: list[list[gc.Node]] = []
    for i in range(order):
        row: list[gc.Node] = []
        for j in range(i + 1):
            rest = a[i, j]
            for k in range(j):
                rest = rest - row[k] * (row[k] if i == j else rows[j][k])
            row.append(gc.sqrt(rest) if i == j else rest / rows[j][j])
        rows.append(row)
    value = 2.0 * gc.sum(gc.stack([gc.log(row[-1]) for row in rows]))
    return [a], gc.value_and_grad(value, a), None


def deep(layers: int, width: int = 64) -> Made:
    """A deep net `tanh(h @ w)` of equal widths, with a step of gradient descent."""
    rng = np.random.default_rng(0)
    x = h = gc.input("x", ("batch", width), "float32")
    weights = [_weight(f"w{k}", rng, (width, width)) for k in range(layers)]
    for w in weights:
        h = gc.tanh(h @ w)
    loss = gc.mean(h * h)
    gradients = gc.grad(loss, weights)
    return [x], (loss,), {w: w - 0.01 * g for w, g in zip(weights, gradients, strict=True)}


def transformer(blocks: int, width: int = 64, heads: int = 4, steps: int = 32, inner: int = 128) -> Made:
    """Encoder blocks, normalised first: the mean square of the last one's values, gradients of all weights."""
    rng = np.random.default_rng(0)
    x = y = gc.input("x", (8, steps, width), "float32")
    weights: list[gc.Node] = []
    for k in range(blocks):
        own = _block_weights(rng, f"block{k}", width, inner)
        y = _block(y, own, heads)
        weights += own.values()
    return [x], gc.value_and_grad(gc.mean(y * y), weights), None


def _block_weights(rng: np.random.Generator, name: str, width: int, inner: int) -> dict[str, gc.Node]:
    shapes = {"q": (width, width), "k": (width, width), "v": (width, width), "o": (width, width)}
    shapes |= {"1": (width, inner), "2": (inner, width)}
    own = {f"w{k}": _weight(f"{name}.w{k}", rng, shape) for k, shape in shapes.items()}
    own |= {f"b{k}": gc.parameter(f"{name}.b{k}", np.zeros(shape[1], np.float32)) for k, shape in shapes.items()}
    for k in "12":
        own[f"gain{k}"] = gc.parameter(f"{name}.gain{k}", np.ones(width, np.float32))
        own[f"shift{k}"] = gc.parameter(f"{name}.shift{k}", np.zeros(width, np.float32))
    return own


def _block(x: gc.Node, own: Mapping[str, gc.Node], heads: int) -> gc.Node:
    b, s, d = x.shape

    def normalised(z: gc.Node, k: str) -> gc.Node:
        centred = z - gc.mean(z, axis=-1, keepdims=True)
        deviation = gc.sqrt(gc.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
        return own[f"gain{k}"] * centred / deviation + own[f"shift{k}"]

    def split(z: gc.Node) -> gc.Node:  # [b, s, d] -> [b, heads, s, d / heads]
        return gc.permute_dims(gc.reshape(z, (b, s, heads, d // heads)), (0, 2, 1, 3))

    z = normalised(x, "1")
    q, k, v = (split(z @ own[f"w{c}"] + own[f"b{c}"]) for c in "qkv")
    shares = gc.softmax(q @ k.mT / math.sqrt(d // heads), axis=-1)
    mixed = gc.reshape(gc.permute_dims(shares @ v, (0, 2, 1, 3)), (b, s, d))
    x = x + mixed @ own["wo"] + own["bo"]
    h = gc.gelu(normalised(x, "2") @ own["w1"] + own["b1"])
    return x + h @ own["w2"] + own["b2"]


def _weight(name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> gc.Node:
    limit = math.sqrt(6 / sum(shape))
    return gc.parameter(name, rng.uniform(-limit, limit, shape).astype(np.float32))


PROGRAMS: dict[str, Callable[[int], Made]] = {
    f.__name__: f
    for f in (
        *(chain, vector_chain, sum_of_terms, used_often, guarded_chain, logistic_map),
        *(lstm, cholesky, deep, transformer),
    )
}
