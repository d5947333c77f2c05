"""The programs in graphc."""

from __future__ import annotations

from typing import Any

import numba  # noqa: F401  (graphc imports it when it first compiles; what is timed is the compiling)

import graphc as gc
from benchmarks.peers import Fit, Formulas, Program, batches_of
from benchmarks.reference import Arrays, weights_of
from benchmarks.workloads import Derivative


def configure(threads: int) -> None:
    """Nothing to set: NUMBA_NUM_THREADS is in the environment."""


def training(arrays: Arrays, variant: str) -> Program:
    weights = weights_of(arrays)
    params = {name: gc.parameter(name, value) for name, value in weights.items()}
    layers = len(params) // 2
    x = gc.input("x", ("batch", arrays["x"].shape[1]), gc.float32)
    t = gc.input("t", ("batch", arrays["t"].shape[1]), gc.float32)
    h = x
    for i in range(1, layers):
        h = gc.relu(h @ params[f"W{i}"] + params[f"b{i}"])
    logits = h @ params[f"W{layers}"] + params[f"b{layers}"]
    loss = gc.losses.categorical_crossentropy(t, logits, from_logits=True)
    updates = gc.optim.Adam(1e-3).updates(loss, list(params.values()))
    start = {state: state.value for state in updates}

    def reset() -> None:
        for state, value in start.items():
            state.assign(value)

    return Program(
        compile=lambda: gc.compile([x, t], loss, updates=updates, name="training"),
        batches=batches_of(arrays),
        state=lambda: {name: param.value for name, param in params.items()},
        reset=reset,
    )


def call(arrays: Arrays, variant: str) -> Program:
    x = gc.input("x", arrays["x"].shape, gc.float64)
    y = gc.sum(gc.tanh(x) ** 2)
    return Program(
        compile=lambda: gc.compile([x], y, name="call"), batches=[(arrays["x"],)], state=dict, reset=lambda: None
    )


def fit(arrays: Arrays, variant: str) -> Fit:
    x, t = arrays["x"], arrays["t"]
    weights = list(weights_of(arrays).values())
    model = gc.nn.Sequential([gc.nn.Dense(10, activation="relu"), gc.nn.Dense(10, activation="softmax")], seed=0)
    model(gc.input("x", ("batch", x.shape[1]), gc.float32))
    for param, value in zip(model.parameters(), weights, strict=True):
        param.assign(value)
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])

    def train(epochs: int, shuffle: bool) -> Arrays:
        validation = (arrays["x_val"], arrays["t_val"])
        history = model.fit(
            x, t, batch_size=32, epochs=epochs, validation_data=validation, shuffle=shuffle, verbose=0
        ).history
        return {
            "loss": history["loss"],
            "validation_loss": history["val_loss"],
            "accuracy": history["val_accuracy"],
        }

    return Fit(train)


class Words(Formulas):
    """What the forms of a derivative call: graphc, and gradients as functions of functions."""

    gelu = staticmethod(gc.gelu)

    def __getattr__(self, name: str) -> Any:
        return getattr(gc, name)

    @staticmethod
    def convolution(x: Any, w: Any, padding: int) -> Any:
        return gc.convolution(x, w, padding=padding)

    @staticmethod
    def gradient(function: Any, tree: Any) -> Any:
        return gc.grad(function(tree), tree)

    @staticmethod
    def value_and_grad(function: Any, tree: Any) -> Any:
        value, more = function(tree)
        return (value, more), gc.grad(value, tree)


def declared(workload: Derivative, size: str, form: str, measure: str, arrays: Arrays) -> tuple[list[gc.Node], Any]:
    """The inputs of a derivative and the results of a measure, which `by_name` reads."""
    inputs = {name: gc.input(name, a.shape, a.dtype) for name, a in arrays.items() if name not in workload.constants}
    constants = {name: arrays[name] for name in workload.constants}
    return list(inputs.values()), workload.results(Words(), form, size, {**inputs, **constants})[measure]()


def derivative(workload: Derivative, size: str, form: str, variant: str, arrays: Arrays) -> dict[str, Program]:
    arguments = tuple(array for name, array in arrays.items() if name not in workload.constants)

    def program(measure: str) -> Program:
        def compiled() -> Any:
            return gc.compile(*declared(workload, size, form, measure, arrays), name=f"{workload.name}_{measure}")

        return Program(compile=compiled, batches=[arguments], state=dict, reset=lambda: None)

    return {measure: program(measure) for measure in workload.timed}
