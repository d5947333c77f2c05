"""The programs in PyTorch: `eager` with autograd and the fused Adam, `compile` with one torch.compile over the step.

torch.optim.Adam adds epsilon after the bias correction of v: an epsilon scaled by that correction gives Keras's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.peers import Program, batches_of
from benchmarks.reference import BETA1, BETA2, EPSILON, RATE, Arrays, weights_of


def configure(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(threads)


def loss_of(params: dict[str, torch.Tensor], x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    layers = len(params) // 2
    h = x
    for i in range(1, layers):
        h = torch.relu(torch.addmm(params[f"b{i}"], h, params[f"W{i}"]))
    return torch.nn.functional.cross_entropy(torch.addmm(params[f"b{layers}"], h, params[f"W{layers}"]), t)


def training(arrays: Arrays, variant: str) -> Program:
    return (_compiled if variant == "compile" else _eager)(arrays)


def _tensors(arrays: Arrays) -> list[tuple[torch.Tensor, ...]]:
    return [tuple(torch.from_numpy(array.copy()) for array in batch) for batch in batches_of(arrays)]


def _eager(arrays: Arrays) -> Program:
    weights = weights_of(arrays)
    params = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in weights.items()}
    adam, count = None, 0

    def reset() -> None:
        nonlocal adam, count
        with torch.no_grad():
            for name, param in params.items():
                param.copy_(torch.from_numpy(weights[name]))
        adam, count = torch.optim.Adam(params.values(), lr=RATE, betas=(BETA1, BETA2), fused=True), 0

    def step(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        loss = loss_of(params, x, t)
        loss.backward()
        adam.param_groups[0]["eps"] = EPSILON / math.sqrt(1 - BETA2**count)
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss

    reset()
    return Program(compile=lambda: step, batches=_tensors(arrays), state=lambda: _copies(params), reset=reset)


def _compiled(arrays: Arrays) -> Program:
    weights = weights_of(arrays)
    params = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    m, v = ({name: torch.zeros_like(param) for name, param in params.items()} for _ in range(2))
    rate, count = torch.zeros(()), 0

    def reset() -> None:
        nonlocal count
        count = 0
        for name, param in params.items():
            param.copy_(torch.from_numpy(weights[name]))
        for tensor in (*m.values(), *v.values()):
            tensor.zero_()

    def step(x: torch.Tensor, t: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        grads, loss = torch.func.grad_and_value(loss_of)(params, x, t)
        for name, g in grads.items():
            m[name].add_((1 - BETA1) * (g - m[name]))
            v[name].add_((1 - BETA2) * (g * g - v[name]))
            params[name].sub_(rate * m[name] / (torch.sqrt(v[name]) + EPSILON))
        return loss

    def compiled() -> Callable[[Any, Any], Any]:
        function = torch.compile(step, fullgraph=True)

        def run(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += 1
            rate.fill_(RATE * math.sqrt(1 - BETA2**count) / (1 - BETA1**count))  # a float would be compiled in
            return function(x, t, rate)

        return run

    return Program(compile=compiled, batches=_tensors(arrays), state=lambda: _copies(params), reset=reset)


def _copies(params: dict[str, torch.Tensor]) -> Arrays:
    return {name: param.detach().numpy().copy() for name, param in params.items()}


def call(arrays: Arrays, variant: str) -> Program:
    def square_sum(x: torch.Tensor) -> torch.Tensor:
        return torch.sum(torch.tanh(x) ** 2)

    def compiled() -> Callable[[Any], Any]:
        function = torch.compile(square_sum, fullgraph=True) if variant == "compile" else square_sum
        return lambda x: function(torch.from_numpy(x)).numpy()

    return Program(compile=compiled, batches=[(arrays["x"],)], state=dict, reset=lambda: None)
