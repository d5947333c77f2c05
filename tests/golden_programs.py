"""Small programs that between them use every form of kernel; each gives inputs, outputs, updates and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphc as gc
from graphc import Node

PROGRAMS: dict[str, Callable[[], Golden]] = {}


@dataclass
class Golden:
    inputs: list[Node]
    outputs: Any
    values: list[np.ndarray[Any, Any]]
    updates: dict[Node, Node] = field(default_factory=dict)

    def compile(self, **options: Any) -> Any:
        return gc.compile(self.inputs, self.outputs, updates=self.updates, options=gc.Options(**options))


def program(build: Callable[[], Golden]) -> Callable[[], Golden]:
    PROGRAMS[build.__name__] = build
    return build


def _values(*shapes: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(dtype) for s in shapes]


@program
def elementwise_and_gradient() -> Golden:
    x = gc.input("x", ("n",))
    y = gc.sum(gc.tanh(x) ** 2)
    return Golden([x], (y, gc.grad(y, x)), _values((37,)))


@program
def softmax_of_rows() -> Golden:
    x = gc.input("x", ("n", 13), gc.float32)
    return Golden([x], gc.softmax(x), _values((9, 13), dtype="float32"))


@program
def folds_of_long_rows() -> Golden:
    """Accumulators side by side, on the way to what is kept; a row that is no whole number of them waits."""
    x, y = gc.input("x", ("n", 256)), gc.input("y", ("n", 150))
    e = gc.exp(x - gc.max(x, axis=-1, keepdims=True))
    outputs = (e / gc.sum(e, axis=-1, keepdims=True), gc.sum(y * y, axis=-1))
    return Golden([x, y], outputs, _values((3, 256), (3, 150)))


@program
def layer_norm_and_gradient() -> Golden:
    x, scale, shift = gc.input("x", ("b", "s", 24)), gc.input("scale", (24,)), gc.input("shift", (24,))
    centred = x - gc.mean(x, axis=-1, keepdims=True)
    y = centred * gc.rsqrt(gc.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * scale + shift
    gradients = gc.grad(gc.sum(gc.sin(y)), [x, scale, shift])
    return Golden([x, scale, shift], (y, *gradients), _values((3, 5, 24), (24,), (24,)))


@program
def sums_along_every_axis() -> Golden:
    x = gc.input("x", (4, "n", 6))
    outputs = tuple(gc.sum(x, axis=a) for a in (0, 1, 2, (0, 1), (0, 2), (1, 2), None))
    return Golden([x], outputs, _values((4, 7, 6)))


@program
def states_in_rows_columns_and_chunks() -> Golden:
    x = gc.input("x", ("n", 70))
    folds = (gc.argmax, gc.var, gc.logsumexp)
    outputs = tuple(fold(y, axis=a) for y in (x, abs(x)) for fold in folds for a in (0, 1, None))
    return Golden([x], outputs, _values((900, 70)))


@program
def moved_and_guarded() -> Golden:
    x = gc.input("x", ("n", 6))
    y = gc.concat([x[::-1, 1:], gc.pad(gc.exp(x)[:, :3], ((0, 0), (1, 1)))], axis=1)
    return Golden([x], (y, gc.grad(gc.sum(y * y), x)), _values((5, 6)))


@program
def embedding_and_its_gradient() -> Golden:
    table, rows = gc.input("table", (11, 4)), gc.input("rows", ("n",), gc.int64)
    y = gc.sum(gc.take(table, rows, axis=0) ** 2)
    return Golden([table, rows], (y, gc.grad(y, table)), [*_values((11, 4)), np.array([3, -1, 3, 0])])


@program
def batched_products() -> Golden:
    a, b = gc.input("a", ("batch", 7, 5)), gc.input("b", ("batch", 5, 9))
    y = gc.matmul(a, b)
    return Golden([a, b], (y, *gc.grad(gc.sum(y * y), [a, b])), _values((3, 7, 5), (3, 5, 9)))


@program
def convolution_and_pooling() -> Golden:
    """Few channels and more of them, padded, with strides; each channel by itself; and the gradients."""
    x = gc.input("x", ("batch", 12, 11, 3), gc.float32)
    sizes = ((3, 3, 3, 20), (2, 3, 20, 5), (3, 3, 1, 5))
    kernels = [gc.input(f"w{k}", size, gc.float32) for k, size in enumerate(sizes)]
    y = gc.max_pool(gc.convolution(x, kernels[0], padding="same"), 2)
    y = gc.avg_pool(gc.convolution(y, kernels[1], strides=2, padding=1), 2, strides=1)
    y = gc.convolution(y, kernels[2], groups=5, padding="same")
    gradients = gc.grad(gc.sum(y * y), [x, *kernels])
    shapes = ((3, 12, 11, 3), *sizes)
    values = [v / np.float32(8) for v in _values(*shapes, dtype="float32")]
    return Golden([x, *kernels], (y, *gradients), values)


@program
def in_place_updates() -> Golden:
    """Simultaneous: each parameter gets the other's old value; the third waits for its readers."""
    p, q = gc.parameter("p", np.arange(6.0).reshape(2, 3)), gc.parameter("q", np.ones((2, 3)))
    r = gc.parameter("r", np.arange(4.0))
    updates = {p: q, q: p, r: r + r[::-1]}
    return Golden([], (gc.sum(p), gc.sum(r)), [], updates)


@program
def waiting_update() -> Golden:
    """The new value of p waits for the end in the memory that the sum has left."""
    x, p = gc.input("x", ("n",)), gc.parameter("p", 3.0)
    return Golden([x], gc.sum(x) * 2.0, _values((9,)), {p: p + 1.0})


@program
def training_step() -> Golden:
    x, t = gc.input("x", ("batch", 20), gc.float32), gc.input("t", ("batch", 10), gc.float32)
    model = gc.nn.Sequential([gc.nn.Dense(10, activation="relu"), gc.nn.Dense(10, activation="softmax")], seed=0)
    loss = gc.losses.categorical_crossentropy(t, model(x))
    updates = gc.optim.Adam(1e-3).updates(loss, model.parameters())
    labels = np.eye(10, dtype="float32")[np.arange(32) % 10]
    return Golden([x, t], loss, [*_values((32, 20), dtype="float32"), labels], updates)


@program
def scans() -> Golden:
    """Beside the axis and along it, from both ends, of floats, whole numbers and products."""
    x, k = gc.input("x", (4, "n", 6)), gc.input("k", ("m",), gc.int32)
    down, along = gc.cumulative_sum(x, axis=0), gc.cumulative_prod(x, axis=2)
    outputs = (down, gc.grad(gc.sum(along * along), x), gc.cumulative_sum(k))
    single = gc.cumulative_sum(x.astype("float32"), axis=1)
    return Golden([x, k], (*outputs, single), [*_values((4, 5, 6)), np.arange(9, dtype="int32")])


@program
def sorts() -> Golden:
    x = gc.input("x", ("n", 6))
    return Golden([x], (gc.sort(x), gc.argsort(x, axis=0), gc.sort(x, axis=0, descending=True)), _values((7, 6)))
