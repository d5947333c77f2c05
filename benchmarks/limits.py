"""`python -m benchmarks.limits`: what loops and derivatives cost beside what they may cost, a line each.

Beside graphc stand the loop that a Numba programmer writes, JAX, and graphc's own forward pass or gradient.  Results
are compared before anything is timed.  Those that are compared take turns, and the best sample of each counts.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import graphc as gc
from benchmarks.workloads import slice_update

SECONDS = 1.0  # of turns, for each that is measured
SAMPLE = 0.02  # seconds of a sample, at least: caches are filled by who is measured, and his threads awake

Call = Callable[[], Any]


@dataclass(frozen=True)
class Line:
    """What was measured, in `unit`, and its limit: the most that it may be, the least where `at_least`."""

    what: str
    measured: float
    limit: float
    unit: str
    of: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def cells(self) -> tuple[str, ...]:
        if math.isnan(self.measured):
            return self.what, "not installed", "", self.of
        style = "green" if self.holds else "bold red"
        sign = "≥" if self.at_least else "≤"
        return self.what, f"[{style}]{self.measured:.3g}[/{style}] {self.unit}", f"{sign} {self.limit:g}", self.of


def fastest(*calls: Call) -> list[float]:
    """Seconds of the best sample of each; they take turns until each has had its time."""
    repeats = []
    for call in calls:
        call()
        begin = time.perf_counter()
        call()
        repeats.append(max(1, math.ceil(SAMPLE / (time.perf_counter() - begin))))
    best, end = [math.inf] * len(calls), time.perf_counter() + SECONDS * len(calls)
    while time.perf_counter() < end or math.inf in best:
        for k, (call, count) in enumerate(zip(calls, repeats, strict=True)):
            begin = time.perf_counter()
            for _ in range(count):
                call()
            best[k] = min(best[k], (time.perf_counter() - begin) / count)
    return best


def agree(got: Any, want: Any, relative: float = 1e-9) -> None:
    """Arrays, or tuples of them, that differ by more end the run."""
    if isinstance(want, (tuple, list)):
        for one, other in zip(got, want, strict=True):
            agree(one, other, relative)
        return
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or not np.max(np.abs(got - want)) <= relative * np.max(np.abs(want)):
        raise SystemExit(f"results disagree: {got} and {want}")


def drawn(*shapes: tuple[int, ...], scale: float = 1.0) -> list[Any]:
    rng = np.random.default_rng(0)
    return [scale * rng.normal(size=shape) for shape in shapes]


def inputs(arrays: Sequence[Any]) -> list[Any]:
    return [gc.input(f"x{k}", array.shape) for k, array in enumerate(arrays)]


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
    if (jax := _jax()) is None:
        yield Line(title, math.nan, 5, "×", "JAX", at_least=True)
        return
    words = _JaxWords(jax)

    def total(*a: Any) -> Any:
        values = jax.vmap(lambda *a: deviance(words, *a))(*a)
        return jax.numpy.sum(values), values

    theirs = _on_jax(jax, jax.grad(total, argnums=(0, 1, 2), has_aux=True), arrays)
    values, grads = ours(*arrays)
    agree((tuple(grads), values), theirs())
    mine, other = fastest(lambda: ours(*arrays), theirs)
    yield Line(title, other / mine, 5, "×", f"as fast as JAX: {1e3 * mine:.2f} and {1e3 * other:.1f} ms", at_least=True)


def _jax() -> Any:
    if importlib.util.find_spec("jax") is None:
        return None
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


class _JaxWords:
    """jax.numpy and the scan."""

    def __init__(self, jax: Any) -> None:
        self.jax, self.scan = jax, jax.lax.scan

    def __getattr__(self, name: str) -> Any:
        return getattr(self.jax.numpy, name)


def _on_jax(jax: Any, function: Callable[..., Any], arrays: Sequence[Any]) -> Call:
    compiled, there = jax.jit(function), jax.block_until_ready([jax.numpy.array(a) for a in arrays])
    return lambda: jax.block_until_ready(compiled(*there))


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


# Derivatives beside what they are derivatives of


def network(xp: Any, x: Any, w1: Any, w2: Any) -> Any:
    return xp.tanh(x @ w1) @ w2


def recurrent(x: Any, w: Any) -> Any:
    start = gc.zeros((w.shape[0],))
    return gc.scan(lambda h, x: (gc.tanh(w @ h + x), None), start, x)[0]


def second_derivatives() -> Iterator[Line]:
    network_arrays = drawn((128, 64), (64, 64), (64, 64), scale=0.1)
    yield _hvp("two-layer network", network_arrays, 1, lambda *a: gc.sum(network(gc, *a) ** 2))
    yield _hvp("scan", drawn((200, 16), (16, 16), scale=0.1), 1, lambda *a: gc.sum(recurrent(*a) ** 2))


def _hvp(name: str, arrays: list[Any], first: int, function: Callable[..., Any]) -> Line:
    """The derivative is by the arrays from `first` on."""
    nodes, wanted = inputs(arrays), arrays[first:]
    vectors = [gc.input(f"v{k}", array.shape) for k, array in enumerate(wanted)]
    value = function(*nodes)
    gradient = gc.compile(nodes, gc.grad(value, nodes[first:]))
    product = gc.compile(nodes + vectors, gc.hvp(value, nodes[first:], vectors))
    step = 1e-5
    moved = [[*arrays[:first], *(a + sign * step * a for a in wanted)] for sign in (1, -1)]
    ahead, behind = gradient(*moved[0]), gradient(*moved[1])
    agree(product(*arrays, *wanted), [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)], 1e-6)
    mine, plain = fastest(lambda: product(*arrays, *wanted), lambda: gradient(*arrays))
    return Line(f"Hessian-vector product, {name}", mine / plain, 3, "×", f"its gradient, {1e6 * plain:.0f} µs")


def tangent() -> Iterator[Line]:
    arrays = drawn((128, 64), (64, 64), (64, 64), scale=0.1)
    nodes, v = inputs(arrays), gc.input("v", arrays[0].shape)
    value = network(gc, *nodes)
    forward, along = gc.compile(nodes, value), gc.compile([*nodes, v], gc.jvp(value, nodes[0], v))
    step = 1e-5
    moved = [forward(arrays[0] + sign * step * arrays[0], *arrays[1:]) for sign in (1, -1)]
    agree(along(*arrays, arrays[0]), (moved[0] - moved[1]) / (2 * step), 1e-6)
    mine, plain = fastest(lambda: along(*arrays, arrays[0]), lambda: forward(*arrays))
    yield Line("jvp, two-layer network", mine / plain, 1.5, "×", f"its forward pass, {1e6 * plain:.0f} µs")


def whole_jacobian() -> Iterator[Line]:
    arrays = drawn((1_000,), (1_000, 64), (64, 26), scale=0.1)
    nodes = inputs(arrays)
    ours = gc.compile(nodes, gc.jacobian(network(gc, *nodes), nodes[0]))
    title = "jacobian of 1,000 to 26"
    if (jax := _jax()) is None:
        yield Line(title, math.nan, 1, "×", "JAX")
        return
    makers = jax.jacrev, jax.jacfwd
    theirs = [_on_jax(jax, maker(lambda *a: network(jax.numpy, *a)), arrays) for maker in makers]
    agree(ours(*arrays), theirs[0]())
    mine, *others = fastest(lambda: ours(*arrays), *theirs)
    yield Line(title, mine / min(others), 1, "×", f"JAX's {1e6 * min(others):.0f} µs")


LINES = {
    "gauss_seidel": gauss_seidel,
    "slice_updates": slice_updates,
    "series": series,
    "scalar_step": scalar_step,
    "kalman_filter": kalman_filter,
    "second_derivatives": second_derivatives,
    "tangent": tangent,
    "jacobian": whole_jacobian,
}


def main(names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in LINES]:
        raise SystemExit(f"nothing is called {', '.join(unknown)}; there are {', '.join(LINES)}")
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table("", "measured", "limit", "of", title="what loops and derivatives cost")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in progress.track(names or list(LINES), description="limits"):
            for line in LINES[name]():
                table.add_row(*line.cells())
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
