"""What loops cost: beside the loop that a Numba programmer writes, JAX, and their own forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numba
import numpy as np

import graphc as gc
from benchmarks.limits.line import Call, JaxWords, Line, agree, drawn, fastest, inputs, jax_or_none, on_jax
from benchmarks.workloads import slice_update

# Gauss-Seidel: an array that single elements change


@numba.njit  # type: ignore[untyped-decorator]
def _swept(x: Any, b: Any, sweeps: int) -> Any:
    x = x.copy()
    for _ in range(sweeps):
        for i in range(1, x.shape[0] - 1):
            for j in range(1, x.shape[1] - 1):
                x[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] + b[i, j])
    return x


def sweeps(x: Any, b: Any, count: int) -> Any:
    """Gauss-Seidel sweeps over the inner elements of a grid."""
    rows, columns = x.shape

    def element(i: Any, j: Any, x: Any) -> Any:
        return x.at[i, j].set(0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] + b[i, j]))

    def row(i: Any, x: Any) -> Any:
        return gc.fori_loop(1, columns - 1, lambda j, x: element(i, j, x), x)

    return gc.fori_loop(0, count, lambda _, x: gc.fori_loop(1, rows - 1, row, x), x)


def gauss_seidel(side: int = 400, count: int = 100) -> Iterator[Line]:
    arrays = drawn(*[(side, side)] * 3)
    x, b, weights = inputs(arrays)
    result = sweeps(x, b, count)
    forward = gc.compile([x, b], result)
    gradient = gc.compile([x, b, weights], gc.grad(gc.sum(weights * result), [x, b]))
    agree(forward(*arrays[:2]), _swept(*arrays[:2], count), 1e-12)
    grads = gradient(*arrays)
    agree(sum(np.sum(g * a) for g, a in zip(grads, arrays, strict=False)), np.sum(arrays[2] * forward(*arrays[:2])))
    ours, plain, back = fastest(
        lambda: forward(*arrays[:2]), lambda: _swept(*arrays[:2], count), lambda: gradient(*arrays)
    )
    title = f"Gauss-Seidel, {side}×{side}, {count} sweeps"
    yield Line(title, ours / plain, 1.2, "×", f"Numba's {1e3 * plain:.1f} ms")
    yield Line(f"{title}, gradient", back / ours, 4, "×", f"its forward pass, {1e3 * ours:.1f} ms")


# A buffer that a scan writes row by row


def slice_updates(lengths: Sequence[int] = (1_000, 10_000, 100_000), width: int = 2) -> Iterator[Line]:
    calls: list[list[Call]] = [[], []]
    for n in lengths:
        arrays = slice_update.draw(n, width)
        nodes = {name: gc.input(name, array.shape, array.dtype) for name, array in arrays.items()}
        value = slice_update.value(gc, nodes, n, width)
        results = value, gc.value_and_grad(value, [nodes[name] for name in slice_update.RECORD.wrt])
        programs = [gc.compile(list(nodes.values()), result) for result in results]
        given = list(arrays.values())
        agree(programs[0](*given), programs[1](*given)[0])
        for mine, program in zip(calls, programs, strict=True):
            mine.append(lambda program=program, given=given: program(*given))  # type: ignore[misc]
    times = fastest(*calls[0], *calls[1])
    for name, taken in (("forward", times[: len(lengths)]), ("gradient", times[len(lengths) :])):
        exponent = math.log(taken[-1] / taken[0]) / math.log(lengths[-1] / lengths[0])
        seen = ", ".join(f"{1e3 * seconds:.3g}" for seconds in taken)
        yield Line(f"slice updates, {name}", exponent, 1.05, "exponent", f"{seen} ms for {lengths} steps of {width}")


# Independent series


def deviance(xp: Any, omega: Any, alpha: Any, beta: Any, y: Any) -> Any:
    """Of a series whose variance follows GARCH(1, 1)."""

    def step(variance: Any, y: Any) -> Any:
        return omega + alpha * y * y + beta * variance, xp.log(variance) + y * y / variance

    _, terms = xp.scan(step, omega / (1 - alpha - beta), y)
    return 0.5 * xp.sum(terms)


def series(count: int = 1_024, steps: int = 500) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    ranges = ((0.05, 0.15), (0.05, 0.15), (0.7, 0.8))
    arrays = [*(rng.uniform(*ends, size=count) for ends in ranges), rng.normal(size=(count, steps))]
    nodes = inputs(arrays)
    values = gc.vmap(lambda *a: deviance(gc, *a))(*nodes)
    ours = gc.compile(nodes, (values, gc.grad(gc.sum(values), nodes[:3])))
    title = f"{count:,} series of {steps} steps, value and gradient"
    if (jax := jax_or_none()) is None:
        yield Line(title, math.nan, 5, "×", "JAX", at_least=True)
        return
    words = JaxWords(jax)

    def total(*a: Any) -> Any:
        values = jax.vmap(lambda *a: deviance(words, *a))(*a)
        return jax.numpy.sum(values), values

    theirs = on_jax(jax, jax.grad(total, argnums=(0, 1, 2), has_aux=True), arrays)
    values, grads = ours(*arrays)
    agree((tuple(grads), values), theirs())
    mine, other = fastest(lambda: ours(*arrays), theirs)
    yield Line(title, other / mine, 5, "×", f"as fast as JAX: {1e3 * mine:.2f} and {1e3 * other:.1f} ms", at_least=True)


# A step of a few instructions


@numba.njit  # type: ignore[untyped-decorator]
def _smoothed(level: float, x: Any) -> float:
    for k in range(x.shape[0]):
        level = 0.9 * level + x[k]
    return level


def scalar_step(steps: int = 100_000) -> Iterator[Line]:
    (x,) = arrays = drawn((steps,))
    node = inputs(arrays)[0]
    ours = gc.compile([node], gc.scan(lambda level, x: (0.9 * level + x, None), 0.0, node)[0])
    agree(ours(x), _smoothed(0.0, x))
    mine, plain = fastest(lambda: ours(x), lambda: _smoothed(0.0, x))
    yield Line("scalar step beyond its arithmetic", 1e9 * (mine - plain) / steps, 5, "ns", f"{1e9 * plain / steps:.2f}")


def kalman(xp: Any, f: Any, q: Any, h: Any, y: Any) -> Any:
    """Log likelihood of a series, of which three hidden numbers are seen through a sum and noise of variance 1."""

    def step(state: Any, y: Any) -> Any:
        mean, cov = state
        mean, cov = f @ mean, f @ cov @ f.T + q
        seen = cov @ h
        variance, surprise = h @ seen + 1.0, y - h @ mean
        gain = seen / variance
        new = mean + gain * surprise, cov - gain[:, None] * seen[None, :]
        return new, xp.log(variance) + surprise**2 / variance

    _, terms = xp.scan(step, (xp.zeros((3,)), xp.eye(3)), y)
    return -0.5 * xp.sum(terms)


def kalman_filter(steps: int = 10_000) -> Iterator[Line]:
    arrays = [np.array([[0.9, 0.1, 0.0], [0.0, 0.8, 0.1], [0.0, 0.0, 0.7]]), 0.1 * np.eye(3), np.ones(3)]
    arrays += drawn((steps,))
    nodes = inputs(arrays)
    ours = gc.compile(nodes, kalman(gc, *nodes))
    agree(ours(*arrays), kalman(_NumPyWords(), *arrays))
    (mine,) = fastest(lambda: ours(*arrays))
    yield Line("Kalman filter, 3×3", 1e9 * mine / steps, 150, "ns", "a step forward")


class _NumPyWords:
    """numpy and a scan over an array, whose results are numbers."""

    @staticmethod
    def scan(step: Any, carry: Any, xs: Any) -> Any:
        ys = []
        for x in xs:
            carry, y = step(carry, x)
            ys.append(y)
        return carry, np.array(ys)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)
