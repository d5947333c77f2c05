"""The programs in PyTensor: mode NUMBA, trusted inputs, parameters and moments as shared variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.special import log_softmax

from benchmarks.peers import Program, batches_of
from benchmarks.reference import BETA1, BETA2, EPSILON, RATE, Arrays, weights_of


def configure(threads: int) -> None:
    pytensor.config.floatX = "float32"


def training(arrays: Arrays, variant: str) -> Program:
    weights = weights_of(arrays)
    params = {name: pytensor.shared(value.copy(), name=name) for name, value in weights.items()}
    zeros = [np.zeros_like(value) for value in weights.values()]
    m, v = ([pytensor.shared(value.copy()) for value in zeros] for _ in range(2))
    count = pytensor.shared(np.float32(0))
    start = {**{params[name]: value for name, value in weights.items()}, count: np.float32(0)}
    start |= dict(zip(m + v, zeros + zeros, strict=True))

    x, t = pt.matrix("x", dtype="float32"), pt.matrix("t", dtype="float32")
    layers, h = len(params) // 2, x
    for i in range(1, layers):
        h = pt.maximum(h @ params[f"W{i}"] + params[f"b{i}"], np.float32(0))
    logits = h @ params[f"W{layers}"] + params[f"b{layers}"]
    loss = -pt.mean(pt.sum(t * log_softmax(logits, axis=1), axis=1))
    updates = _adam(list(params.values()), pt.grad(loss, list(params.values())), m, v, count)

    def reset() -> None:
        for shared, value in start.items():
            shared.set_value(value.copy())

    return Program(
        compile=lambda: pytensor.function([x, t], loss, updates=updates, mode="NUMBA", trust_input=True),
        batches=batches_of(arrays),
        state=lambda: {name: param.get_value() for name, param in params.items()},
        reset=reset,
    )


def _adam(params: list[Any], grads: list[Any], m: list[Any], v: list[Any], count: Any) -> dict[Any, Any]:
    one, log1, log2 = np.float32(1), np.float32(np.log(BETA1)), np.float32(np.log(BETA2))
    beta1, beta2, epsilon = np.float32(1 - BETA1), np.float32(1 - BETA2), np.float32(EPSILON)
    steps = count + one
    rate = np.float32(RATE) * pt.sqrt(-pt.expm1(steps * log2)) / -pt.expm1(steps * log1)
    updates = {count: steps}
    for param, g, first, second in zip(params, grads, m, v, strict=True):
        updates[first] = first + beta1 * (g - first)
        updates[second] = second + beta2 * (g * g - second)
        updates[param] = param - rate * updates[first] / (pt.sqrt(updates[second]) + epsilon)
    return updates


def call(arrays: Arrays, variant: str) -> Program:
    x = pt.vector("x", dtype="float64")
    y = pt.sum(pt.tanh(x) ** 2)

    def compiled() -> Callable[[Any], Any]:
        return pytensor.function([x], y, mode="NUMBA", trust_input=True)

    return Program(compile=compiled, batches=[(arrays["x"],)], state=dict, reset=lambda: None)
