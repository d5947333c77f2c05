"""`python -m benchmarks.first_calls`: seconds from `compile` to the first value and gradient, each in a fresh process.

Each program is written once, over the functions that graphc and JAX share.  graphc starts with an empty cache ("cold"),
then again with what that has left ("warm"); a second table has programs that have changed since the cache was filled.
Imports, declarations and Python's own start are not counted, Numba's import is.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import compile_modules

Loss = Callable[[Any, list[Any], Any], Any]  # (functions, weights, x) -> loss
Case = tuple[Loss, list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def _draws(seed: int = 0) -> Callable[..., np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return lambda *shape: (rng.normal(size=shape) * 0.1).astype(np.float32)


def deep(layers: int) -> Case:
    """Layers tanh(h @ w) of width 64 on 32 rows."""

    def loss(f: Any, weights: list[Any], x: Any) -> Any:
        for w in weights:
            x = f.tanh(x @ w)
        return f.sum(x * x)

    draw = _draws()
    return loss, [draw(64, 64) for _ in range(layers)], draw(32, 64)


def transformer(blocks: int) -> Case:
    """Blocks of d 64, 4 heads, 32 steps, inner width 128."""
    steps, width, heads, inner = 32, 64, 4, 128

    def norm(f: Any, h: Any, gain: Any, shift: Any) -> Any:
        centred = h - f.mean(h, axis=-1, keepdims=True)
        return centred / f.sqrt(f.mean(centred**2, axis=-1, keepdims=True) + np.float32(1e-5)) * gain + shift

    def loss(f: Any, weights: list[Any], x: Any) -> Any:
        h = x
        for k in range(0, len(weights), 12):
            g1, s1, *qkv, o, g2, s2, u, ub, w, wb = weights[k : k + 12]
            a = norm(f, h, g1, s1)
            split = (steps, heads, width // heads)
            q, key, v = (f.permute_dims(f.reshape(a @ m, split), (1, 0, 2)) for m in qkv)
            scores = f.softmax(q @ f.permute_dims(key, (0, 2, 1)) / np.float32(math.sqrt(width / heads)), axis=-1)
            h = h + f.reshape(f.permute_dims(scores @ v, (1, 0, 2)), (steps, width)) @ o
            h = h + f.gelu(norm(f, h, g2, s2) @ u + ub) @ w + wb
        return f.mean(h * h)

    draw, d = _draws(), width
    shapes = [(d,), (d,), *[(d, d)] * 4, (d,), (d,), (d, inner), (inner,), (inner, d), (d,)]
    return loss, [draw(*shape) for _ in range(blocks) for shape in shapes], draw(steps, width)


def lstm(steps: int) -> Case:
    """An LSTM of 16 units, unrolled over the steps, on 8 sequences of 8 numbers a step."""

    def loss(f: Any, weights: list[Any], x: Any) -> Any:
        wx, wh, b = weights
        h = c = f.zeros((8, 16), dtype="float32")
        for k in range(steps):
            z = x[:, k] @ wx + h @ wh + b
            i, g, u, o = (z[:, 16 * n : 16 * n + 16] for n in range(4))
            c = f.sigmoid(g) * c + f.sigmoid(i) * f.tanh(u)
            h = f.sigmoid(o) * f.tanh(c)
        return f.sum(h * h)

    draw = _draws()
    return loss, [draw(8, 64), draw(16, 64), draw(64)], draw(8, steps, 8)


def chain(length: int) -> Case:
    """sin(z) + 0.1, so many times, on 1,000 numbers."""

    def loss(f: Any, weights: list[Any], x: Any) -> Any:
        z = weights[0]
        for _ in range(length):
            z = f.sin(z) + np.float32(0.1)
        return f.sum(z)

    return loss, [_draws()(1000)], np.zeros(1, np.float32)


PROGRAMS = {"deep": deep, "transformer": transformer, "lstm": lstm, "chain": chain}
CASES = (("deep", 4), ("deep", 24), ("transformer", 1), ("transformer", 4), ("lstm", 5), ("lstm", 20), ("chain", 100))
CHANGED = (("deep", 4, 5), ("transformer", 1, 2), ("lstm", 5, 6))


def first_call(peer: str, program: str, size: int) -> tuple[float, float]:
    """Seconds to the first result of a peer in this process, and the norm of its gradients."""
    loss, weights, x = PROGRAMS[program](size)
    call = (_graphc if peer == "graphc" else _jax)(loss, weights, x)
    begin = time.perf_counter()
    gradients = call()
    return time.perf_counter() - begin, math.sqrt(sum(float((np.asarray(g) ** 2).sum()) for g in gradients))


def _graphc(loss: Loss, weights: list[Any], x: Any) -> Callable[[], Any]:
    import graphc as gc

    nodes = [gc.parameter(f"w{k}", w) for k, w in enumerate(weights)]
    inputs = [gc.input("x", x.shape, gc.float32)]
    value = loss(gc, nodes, inputs[0])
    outputs = (value, *gc.grad(value, nodes))
    return lambda: gc.compile(inputs, outputs)(x)[1:]


def _jax(loss: Loss, weights: list[Any], x: Any) -> Callable[[], Any]:
    import jax
    from jax import nn
    from jax import numpy as jnp

    gelu = partial(nn.gelu, approximate=False)
    functions = SimpleNamespace(**vars(jnp), sigmoid=nn.sigmoid, softmax=nn.softmax, gelu=gelu)
    arrays = jax.block_until_ready(jax.device_put([*weights, x]))
    step = jax.jit(jax.value_and_grad(lambda w, x: loss(functions, w, x)))
    return lambda: jax.block_until_ready(step(arrays[:-1], arrays[-1]))[1]


def in_a_process(peer: str, program: str, size: int, folder: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.first_calls", peer, program, str(size)]
    environment = {**os.environ, "XDG_CACHE_HOME": folder}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, norm = json.loads(done.stdout.splitlines()[-1])
    return seconds, norm


def main() -> None:
    has_jax = importlib.util.find_spec("jax") is not None
    console = Console(width=None if sys.stdout.isatty() else 100)
    table = Table("program", "cold", "warm", "JAX", title="seconds from compile to the first result")
    compile_modules()
    for program, size in CASES:
        with tempfile.TemporaryDirectory() as folder:
            cold, ours = in_a_process("graphc", program, size, folder)
            warm, _ = in_a_process("graphc", program, size, folder)
            jax, theirs = in_a_process("jax", program, size, folder) if has_jax else (math.nan, ours)
        if abs(ours - theirs) > 1e-4 * abs(theirs):
            raise SystemExit(f"{program} {size}: gradients of norm {ours} and {theirs}")
        table.add_row(f"{program} {size}", f"{cold:.2f}", f"{warm:.3f}", f"{jax:.2f}" if has_jax else "not installed")
    console.print(table)
    table = Table("program", "seconds", title="changed since the cache was filled")
    for program, before, after in CHANGED:
        with tempfile.TemporaryDirectory() as folder:
            in_a_process("graphc", program, before, folder)
            seconds, _ = in_a_process("graphc", program, after, folder)
        table.add_row(f"{program} {before}, then {after}", f"{seconds:.3f}")
    console.print(table)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(first_call(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
    else:
        main()
