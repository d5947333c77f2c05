"""The benchmarked programs in NumPy and float64, derivatives by hand: what every peer has to agree with.

In: the arrays of a workload and its size.  Out: the arrays that the peer's results are compared with.
The reference itself is compared with stored results of an independent implementation (`expected.npz`): in full for
the sizes called `test`, by fingerprints for the others.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]
Flips = Sequence[tuple[int, int, int]]  # (layer, row, unit)

RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-7
DOUBT = 3e-6  # twice the rounding seen in float32 sums of 784 products, the widest here
STORED = Path(__file__).parent / "expected.npz"


def glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Weights [inputs, outputs], or those of a convolution [..., inputs, outputs], from Glorot's distribution."""
    *window, inputs, outputs = shape
    limit = np.sqrt(6.0 / (np.prod(window) * (inputs + outputs)))
    return rng.uniform(-limit, limit, shape)


def weights_of(arrays: Arrays) -> Arrays:
    """The parameters among a workload's arrays, in the order of the layers: W1, b1, W2, b2 …"""
    return {name: array for name, array in arrays.items() if name[0] in "Wb"}


def forward(params: Arrays, x: Any) -> tuple[list[Any], list[Any]]:
    """relu(… relu(x W1 + b1) …) Wn + bn: what each layer reads, and what it gives before its relu."""
    layers, inputs, sums = len(params) // 2, [x], []
    for i in range(1, layers + 1):
        sums.append(inputs[-1] @ params[f"W{i}"] + params[f"b{i}"])
        inputs.append(np.maximum(sums[-1], 0.0))
    return inputs[:-1], sums


def loss_and_gradients(params: Arrays, x: Any, t: Any, flips: Flips = ()) -> tuple[float, Arrays]:
    """Mean cross-entropy of the softmax of the network, and its gradients; see `training` for `flips`."""
    inputs, sums = forward(params, x)
    z = sums[-1] - sums[-1].max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    active = [a > 0 for a in inputs]
    for layer, row, unit in flips:
        active[layer][row, unit] ^= True
    cotangent, grads = (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t) / len(t), {}
    for i in range(len(sums), 0, -1):
        grads[f"W{i}"], grads[f"b{i}"] = inputs[i - 1].T @ cotangent, cotangent.sum(axis=0)
        cotangent = (cotangent @ params[f"W{i}"].T) * active[i - 1]
    return float(-(t * log_p).sum() / len(t)), grads


class Adam:
    """Keras's Adam, epsilon outside of the bias correction; changes the parameters in place."""

    def __init__(self, params: Arrays) -> None:
        self.params, self.steps = params, 0
        self.m, self.v = ({k: np.zeros_like(p) for k, p in params.items()} for _ in range(2))

    def step(self, grads: Arrays) -> None:
        self.steps += 1
        rate = RATE * np.sqrt(1.0 - BETA2**self.steps) / (1.0 - BETA1**self.steps)
        for k, g in grads.items():
            self.m[k] += (1.0 - BETA1) * (g - self.m[k])
            self.v[k] += (1.0 - BETA2) * (g * g - self.v[k])
            self.params[k] -= rate * self.m[k] / (np.sqrt(self.v[k]) + EPSILON)


def training(arrays: Arrays, widths: tuple[int, ...], batch: int) -> Iterator[Arrays]:
    """Losses of three steps, each before its update, and the parameters after them.

    A relu whose argument is nearer to 0 than float32 can tell may have either derivative, and Adam makes whole steps
    of small gradients: a flip moves parameters by up to a step.  So each choice of such derivatives gives a result
    that is right; the one of float64 comes first.
    """
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    rows = [slice(start, start + batch) for start in range(0, 3 * batch, batch)]
    yield from _continue(Adam(weights_of(arrays)), [(arrays["x"][r], arrays["t"][r]) for r in rows], [])


def _continue(adam: Adam, batches: list[tuple[Any, Any]], losses: list[float]) -> Iterator[Arrays]:
    if not batches:
        yield {"losses": np.array(losses), **adam.params}
        return
    (x, t), *rest = batches
    _, sums = forward(adam.params, x)
    doubtful = [(i, r, u) for i, z in enumerate(sums[:-1], start=1) for r, u in np.argwhere(np.abs(z) < DOUBT)]
    for count in range(len(doubtful) + 1):
        for flips in itertools.combinations(doubtful, count):
            branch = copy.deepcopy(adam)
            loss, grads = loss_and_gradients(branch.params, x, t, flips)
            branch.step(grads)
            yield from _continue(branch, rest, [*losses, loss])


def call(arrays: Arrays, n: int) -> Iterator[Arrays]:
    """sum(tanh(x)^2)."""
    yield {"y": np.sum(np.tanh(arrays["x"]) ** 2)}


def fit(arrays: Arrays, widths: tuple[int, ...], batch: int, epochs: int, train: int) -> Iterator[Arrays]:
    """Two epochs in the order of the rows: mean training loss, validation loss and accuracy of each."""
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    adam, history = Adam(weights_of(arrays)), []
    x_val, t_val = arrays["x_val"], arrays["t_val"]
    for _ in range(2):
        total = 0.0
        for start in range(0, train, batch):
            x, t = (arrays[name][start : min(start + batch, train)] for name in ("x", "t"))
            loss, grads = loss_and_gradients(adam.params, x, t)
            total += loss * len(x)
            adam.step(grads)
        right = forward(adam.params, x_val)[1][-1].argmax(axis=1) == t_val.argmax(axis=1)
        history.append((total / train, loss_and_gradients(adam.params, x_val, t_val)[0], right.mean()))
    loss, validation_loss, accuracy = np.array(history).T
    yield {"loss": loss, "validation_loss": validation_loss, "accuracy": accuracy}


def fingerprint(array: Any) -> Any:
    """[sum a, sqrt(sum a^2), sum a r], r standard normal from seed 0, row-major."""
    flat = np.asarray(array, np.float64).ravel()
    return np.array([flat.sum(), np.sqrt((flat**2).sum()), flat @ np.random.default_rng(0).standard_normal(flat.size)])


def stored(workload: str, size: str) -> Arrays:
    """What is stored of a workload's size, by names such as `value`, `in/x`, `grad/x`; of large sizes fingerprints."""
    prefix = f"{workload}/{size}/"
    with np.load(STORED) as file:
        return {key.removeprefix(prefix).removeprefix("mark/"): file[key] for key in file if key.startswith(prefix)}


def disagreements(workload: str, size: str, arrays: Arrays, results: Arrays | None = None) -> list[str]:
    """Names of inputs and results that differ from the stored ones by more than 1e-10; none where nothing is stored."""
    found = []
    for key, want in stored(workload, size).items():
        group, _, name = key.partition("/")
        source = {"in": arrays, "out": results}.get(group)
        if source is None:
            continue
        got = source[name.removesuffix("_after_3_steps")]
        got = got if size.startswith("test") else fingerprint(got)
        if np.max(np.abs(got - want)) > 1e-10 * np.max(np.abs(want)):
            found.append(f"{group}/{name}")
    return found
