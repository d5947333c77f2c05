"""The programs in PyTensor: mode NUMBA, trusted inputs, parameters and moments as shared variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.special import log_softmax, softmax

from benchmarks.peers import Formulas, Program, batches_of
from benchmarks.reference import BETA1, BETA2, EPSILON, RATE, Arrays, weights_of
from benchmarks.workloads import Derivative


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


class Words(Formulas):
    """What the forms of a derivative call: PyTensor's functions under the array API's names."""

    concat = staticmethod(pt.concatenate)
    where = staticmethod(pt.switch)
    equal = staticmethod(pt.eq)
    asarray = staticmethod(pt.as_tensor_variable)
    softmax = staticmethod(softmax)

    def __getattr__(self, name: str) -> Any:
        return getattr(pt, name)

    @staticmethod
    def relu(x: Any) -> Any:
        return pt.maximum(x, 0)

    @staticmethod
    def matrix_transpose(x: Any) -> Any:
        return x.mT

    @staticmethod
    def take(x: Any, index: Any, axis: int) -> Any:
        return x[(slice(None),) * axis + (index,)]

    @staticmethod
    def value_and_grad(function: Any, tree: Any) -> Any:
        value, more = function(tree)
        return (value, more), dict(zip(tree, pt.grad(value, list(tree.values())), strict=True))

    @staticmethod
    def gradient(function: Any, tree: Any) -> Any:
        leaves: list[Any] = []

        def flat(part: Any) -> None:
            for inner in part if isinstance(part, (tuple, list)) else ():
                flat(inner)
            if not isinstance(part, (tuple, list)):
                leaves.append(part)

        flat(tree)
        found = iter(pt.grad(function(tree), leaves, disconnected_inputs="ignore"))

        def filled(part: Any) -> Any:
            return type(part)(map(filled, part)) if isinstance(part, (tuple, list)) else next(found)

        return filled(tree)


def derivative(workload: Derivative, size: str, form: str, variant: str, arrays: Arrays) -> dict[str, Program]:
    pytensor.config.floatX = str(max(a.dtype for a in arrays.values() if a.dtype.kind == "f"))
    given = [name for name in arrays if name not in workload.constants]
    variables = {name: pt.constant(arrays[name]) for name in workload.constants}
    variables |= {name: pt.tensor(name, dtype=arrays[name].dtype, shape=arrays[name].shape) for name in given}

    def program(measure: str) -> Program:
        def compiled() -> Callable[..., Arrays]:
            tree = workload.results(Words(), form, size, variables)[measure]()
            names = [(group, name) for group in ("grad", "out") for name in tree.get(group, {})]
            outputs = [*([tree["value"]] if "value" in tree else []), *(tree[group][name] for group, name in names)]
            inputs = [variables[name] for name in given]
            function = pytensor.function(inputs, outputs, mode="NUMBA", trust_input=True, on_unused_input="ignore")

            def run(*arguments: Any) -> Arrays:
                found = function(*arguments)
                rest = found[len(found) - len(names) :]
                named: Arrays = {"value": found[0]} if "value" in tree else {}
                for (group, name), array in zip(names, rest, strict=True):
                    named.setdefault(group, {})[name] = array
                return named

            return run

        arguments = tuple(arrays[name] for name in given)
        return Program(compile=compiled, batches=[arguments], state=dict, reset=lambda: None)

    return {measure: program(measure) for measure in workload.timed}
