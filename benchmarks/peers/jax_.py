"""The programs in JAX: one jax.jit around value_and_grad and Adam, its state donated; every output is waited for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import Formulas, Program, batches_of
from benchmarks.reference import BETA1, BETA2, EPSILON, RATE, Arrays, weights_of
from benchmarks.workloads import Derivative


def configure(threads: int) -> None:
    """Nothing to set: XLA_FLAGS and NPROC are in the environment."""


def loss_of(params: Arrays, x: Any, t: Any) -> Any:
    layers = len(params) // 2
    h = x
    for i in range(1, layers):
        h = jax.nn.relu(h @ params[f"W{i}"] + params[f"b{i}"])
    logits = h @ params[f"W{layers}"] + params[f"b{layers}"]
    return -jnp.mean(jnp.sum(t * jax.nn.log_softmax(logits), axis=1))


def step(state: tuple[Arrays, Arrays, Arrays, Any], x: Any, t: Any) -> tuple[Any, Any]:
    params, m, v, count = state
    loss, grads = jax.value_and_grad(loss_of)(params, x, t)
    count = count + 1
    rate = RATE * jnp.sqrt(-jnp.expm1(count * math.log(BETA2))) / -jnp.expm1(count * math.log(BETA1))
    m = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), m, grads)
    v = jax.tree.map(lambda v, g: v + (1 - BETA2) * (g * g - v), v, grads)
    params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
    return (params, m, v, count), loss


def state_before(arrays: Arrays) -> Any:
    """Of the first step."""
    params = {name: jnp.array(value) for name, value in weights_of(arrays).items()}
    m, v = ({name: jnp.zeros_like(p) for name, p in params.items()} for _ in range(2))
    return jax.block_until_ready((params, m, v, jnp.zeros((), jnp.float32)))


def training(arrays: Arrays, variant: str) -> Program:
    state: Any = None

    def reset() -> None:
        nonlocal state
        state = state_before(arrays)

    def compiled() -> Callable[[Any, Any], Any]:
        function = jax.jit(step, donate_argnums=0)

        def run(x: Any, t: Any) -> Any:
            nonlocal state
            state, loss = jax.block_until_ready(function(state, x, t))
            return loss

        return run

    reset()
    return Program(
        compile=compiled,
        batches=[jax.block_until_ready(tuple(map(jnp.array, batch))) for batch in batches_of(arrays)],
        state=lambda: {name: np.array(value) for name, value in state[0].items()},
        reset=reset,
    )


def call(arrays: Arrays, variant: str) -> Program:
    jax.config.update("jax_enable_x64", True)

    def compiled() -> Callable[[Any], Any]:
        function = jax.jit(lambda x: jnp.sum(jnp.tanh(x) ** 2))
        return lambda x: np.asarray(function(x))

    return Program(compile=compiled, batches=[(arrays["x"],)], state=dict, reset=lambda: None)


class Words(Formulas):
    """What the forms of a derivative call: jax.numpy, and what JAX has elsewhere."""

    scan = staticmethod(jax.lax.scan)
    sigmoid = staticmethod(jax.nn.sigmoid)
    erf = staticmethod(jax.scipy.special.erf)
    logsumexp = staticmethod(jax.scipy.special.logsumexp)
    relu = staticmethod(jax.nn.relu)
    softmax = staticmethod(jax.nn.softmax)
    softplus = staticmethod(jax.nn.softplus)

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)

    @staticmethod
    def convolution(x: Any, w: Any, padding: int) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, w, (1, 1), [(padding, padding)] * 2, dimension_numbers=layout)

    @staticmethod
    def max_pool(x: Any, window: int) -> Any:
        """The largest of axes of their own, which is faster here than `reduce_window`, and has the faster gradient."""
        batch, height, width, channels = x.shape
        pairs = jnp.reshape(x, (batch, height // window, window, width // window, window, channels))
        return jnp.max(pairs, axis=(2, 4))

    @staticmethod
    def cumsum(x: Any, axis: int) -> Any:
        """Down the columns a loop over the rows, which is faster than JAX's own."""
        if axis:
            return jnp.cumsum(x, axis=axis)

        def step(total: Any, row: Any) -> Any:
            return total + row, total + row

        return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]

    @staticmethod
    def gradient(function: Callable[..., Any], tree: Any) -> Any:
        return jax.grad(function)(tree)

    @staticmethod
    def value_and_grad(function: Callable[..., Any], tree: Any) -> Any:
        return jax.value_and_grad(function, has_aux=True)(tree)


def derivative(workload: Derivative, size: str, form: str, variant: str, arrays: Arrays) -> dict[str, Program]:
    jax.config.update("jax_enable_x64", True)
    constants = {name: arrays[name] for name in workload.constants}
    arguments = jax.block_until_ready({k: jnp.array(array) for k, array in arrays.items() if k not in constants})

    def program(measure: str) -> Program:
        def compiled() -> Callable[[Arrays], Arrays]:
            function = jax.jit(lambda inputs: workload.results(Words(), form, size, {**constants, **inputs})[measure]())
            return lambda inputs: jax.block_until_ready(function(inputs))

        return Program(compile=compiled, batches=[(arguments,)], state=dict, reset=lambda: None)

    return {measure: program(measure) for measure in workload.timed}
