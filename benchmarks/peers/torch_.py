"""The programs in PyTorch: `eager` with autograd and the fused Adam, `compile` with one torch.compile over the step.

Loops of derivatives are loops of Python's, and those only eager: an unrolled graph takes minutes to compile.

torch.optim.Adam adds epsilon after the bias correction of v: an epsilon scaled by that correction gives Keras's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as trees

from benchmarks.peers import Program, batches_of
from benchmarks.reference import BETA1, BETA2, EPSILON, RATE, Arrays, weights_of
from benchmarks.workloads import Derivative


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


class Words:
    """What the forms of a derivative call: PyTorch's functions under the array API's names."""

    erf = staticmethod(torch.erf)
    reshape = staticmethod(torch.reshape)
    gelu = staticmethod(torch.nn.functional.gelu)
    softplus = staticmethod(torch.nn.functional.softplus)

    def __init__(self, eager: bool, channels_last: bool) -> None:
        self.eager = eager
        self.format = torch.channels_last if channels_last else torch.contiguous_format

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return torch.sum(x) if axis is None else torch.sum(x, dim=axis, keepdim=keepdims)

    @staticmethod
    def attention(queries: Any, keys: Any, values: Any, scale: float) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(queries, keys, values, scale=scale)

    @staticmethod
    def layer_norm(z: Any, gain: Any, shift: Any) -> Any:
        return torch.nn.functional.layer_norm(z, gain.shape, gain, shift)

    @staticmethod
    def logsumexp(x: Any, axis: int) -> Any:
        return torch.logsumexp(x, dim=axis)

    @staticmethod
    def concat(parts: Any, axis: int = 0) -> Any:
        return torch.cat(parts, dim=axis)

    @staticmethod
    def stack(parts: Any, axis: int = 0) -> Any:
        return torch.stack(parts, dim=axis)

    @staticmethod
    def take(x: Any, index: Any, axis: int) -> Any:
        return torch.index_select(x, axis, torch.as_tensor(index))

    def convolution(self, x: Any, w: Any, padding: int) -> Any:
        """Of images with channels last, which PyTorch has behind the batch, whatever their format in memory."""
        images, kernels = x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1)
        images, kernels = (part.contiguous(memory_format=self.format) for part in (images, kernels))
        return torch.nn.functional.conv2d(images, kernels, padding=padding).permute(0, 2, 3, 1)

    @staticmethod
    def max_pool(x: Any, window: int) -> Any:
        return torch.nn.functional.max_pool2d(x.permute(0, 3, 1, 2), window).permute(0, 2, 3, 1)

    @staticmethod
    def matrix_transpose(x: Any) -> Any:
        return x.mT

    @staticmethod
    def equal(x: Any, y: float) -> Any:
        return torch.eq(x, y)

    @staticmethod
    def pad(x: Any, widths: Any) -> Any:
        return torch.nn.functional.pad(x, [w for pair in reversed(widths) for w in pair])

    @staticmethod
    def minimum(limit: float, x: Any) -> Any:
        return torch.clamp(x, max=limit)

    @staticmethod
    def maximum(limit: float, x: Any) -> Any:
        return torch.clamp(x, min=limit)

    @staticmethod
    def where(condition: Any, x: Any, y: Any) -> Any:
        return torch.where(torch.as_tensor(condition), x, y)

    @staticmethod
    def scan(step: Any, carry: Any, xs: Any, length: int | None = None, reverse: bool = False) -> Any:
        leaves, tree = trees.tree_flatten(xs)
        rows = [leaf.unbind(0) for leaf in leaves if leaf is not None]
        ys = []
        steps = range(len(rows[0]) if rows else length or 0)
        for k in reversed(steps) if reverse else steps:
            carry, y = step(carry, trees.tree_unflatten([row[k] for row in rows], tree) if rows else None)
            ys.append(y)
        if ys[0] is None:
            return carry, None
        return carry, trees.tree_map(lambda *parts: torch.stack(parts), *(ys[::-1] if reverse else ys))

    def value_and_grad(self, function: Any, tree: Any) -> Any:
        if not self.eager:
            grads, (value, more) = torch.func.grad_and_value(function, has_aux=True)(tree)
            return (value, more), trees.tree_map(torch.Tensor.contiguous, grads)
        leaves, structure = trees.tree_flatten(tree)
        value, more = function(tree)
        grads = [grad.contiguous() for grad in torch.autograd.grad(value, leaves)]  # no views of few elements
        return trees.tree_map(torch.Tensor.detach, (value, more)), trees.tree_unflatten(grads, structure)

    @staticmethod
    def gradient(function: Any, tree: Any) -> Any:
        return torch.func.grad(function)(tree)


def derivative(workload: Derivative, size: str, form: str, variant: str, arrays: Arrays) -> dict[str, Program]:
    eager, channels_last = ("eager" in variant.split(), "channels_last" in variant.split())
    widest = max(a.dtype for a in arrays.values() if a.dtype.kind == "f")
    torch.set_default_dtype(torch.float64 if widest == np.float64 else torch.float32)
    given = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def program(measure: str) -> Program:
        traced = eager and measure == "gradient"
        inputs = {k: t.clone().requires_grad_() if traced and k in workload.wrt else t for k, t in given.items()}

        def results(inputs: Arrays) -> Arrays:
            return workload.results(Words(eager, channels_last), form, size, inputs)[measure]()

        def compiled() -> Callable[[Arrays], Arrays]:
            if eager:
                return results if measure != "forward" else torch.no_grad()(results)
            torch._dynamo.reset()
            return torch.compile(make_fx(results)(inputs), fullgraph=True)  # Dynamo itself sees no classes of ours

        return Program(compile=compiled, batches=[(inputs,)], state=dict, reset=lambda: None)

    return {measure: program(measure) for measure in workload.timed}
