"""Loops whose steps exchange nothing between elements: blocks of elements take all steps, in one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.interpret import interpret

Step = Callable[[Any, Any], tuple[Any, Any]]
STEPS = 5


def smoothing(state: Any, x: Any) -> tuple[Any, Any]:
    """A likelihood of each series by itself: the carries are levels, variances and sums."""
    level, variance, total = state
    error = x - level
    total = total + 0.5 * (error**2 / variance + gc.log(variance))
    return (level + 0.3 * error, 0.9 * variance + 0.1 * error**2, total), level


def declared(step: Step, n: Any) -> tuple[list[gc.Node], tuple[gc.Node, ...]]:
    x = gc.input("x", (STEPS, n))
    zero = 0.0 * x[0]
    (level, _, total), levels = gc.scan(step, (zero, zero + 1.0, zero), x)
    return [x], (total, levels, gc.grad(gc.sum(total * level) + gc.sum(levels), x))


def loops(inputs: list[gc.Node], outputs: tuple[gc.Node, ...]) -> list[str]:
    """The titles of the phases that are loops, or parts of loops."""
    return [p.title for p in gc.compile(inputs, outputs).program.phases if "times" in p.title]


@pytest.mark.parametrize("n", [3000, "n"])
def test_series_by_themselves_are_one_kernel(n: Any) -> None:
    forward, backward = loops(*declared(smoothing, n))
    assert f"{STEPS} times for each" in forward
    assert f"backwards {STEPS} times for each" in backward


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_blocks_have_what_the_whole_has(size: int, debug: bool) -> None:
    inputs, outputs = declared(smoothing, "n")
    values = np.random.default_rng(size).normal(size=(STEPS, size))
    right = interpret(gc.Graph(outputs, tuple(inputs)), [values])
    for found, wanted in zip(gc.compile(inputs, outputs, options=gc.Options(debug=debug))(values), right, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


def neighbours(state: Any, x: Any) -> tuple[Any, Any]:
    level, variance, total = state
    return (gc.roll(level, 1) + x, variance, total + level), level


def shared(state: Any, x: Any) -> tuple[Any, Any]:
    level, variance, total = state
    return (level + gc.mean(level) + x, variance, total + level), level


@pytest.mark.parametrize("step", [neighbours, shared])
def test_steps_that_exchange_values_go_one_after_the_other(step: Step) -> None:
    inputs, outputs = declared(step, 3000)
    assert not any("for each" in title for title in loops(inputs, outputs))
    values = np.random.default_rng(0).normal(size=(STEPS, 3000))
    right = interpret(gc.Graph(outputs, tuple(inputs)), [values])
    for found, wanted in zip(gc.compile(inputs, outputs)(values), right, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)


def test_a_batch_of_loops_is_cut_along_the_batch() -> None:
    x, rate = gc.input("x", ("batch", 7)), gc.input("rate", ("batch",))

    def series(x: Any, rate: Any) -> Any:
        return gc.scan(lambda c, v: (c + rate * (v - c), None), 0.0 * rate, x)[0]

    outputs = (y := gc.vmap(series)(x, rate), gc.grad(gc.sum(y**2), [x, rate]))
    assert all("for each" in p.title for p in gc.compile([x, rate], outputs).program.phases if "times" in p.title)
    values = np.random.default_rng(1).uniform(size=(600, 7)), np.random.default_rng(2).uniform(0.2, 0.8, size=600)
    last, (slope, slopes) = gc.compile([x, rate], outputs)(*values)
    level, weight = np.zeros(600), np.ones(600)
    for k in range(7):
        level = level + values[1] * (values[0][:, k] - level)
    np.testing.assert_allclose(last, level, rtol=1e-13)
    for k in reversed(range(7)):
        np.testing.assert_allclose(slope[:, k], 2 * level * weight * values[1], rtol=1e-12)
        weight = weight * (1 - values[1])
    assert slopes.shape == (600,)


@pytest.mark.parametrize("n", [512, "n"])
def test_what_steps_have_in_common_is_moved_once(n: Any) -> None:
    """The powers of t, and t and its power of the step, which stays in cache: so 512 columns are not shared out."""
    t = gc.input("t", (n,))
    _, powers = gc.scan(lambda power, _: (power * t, power), gc.ones((n,)), None, length=128)
    f = gc.compile([t], powers)
    (loop,) = (k for k in f.profile(np.full(512, 0.5)) if "times" in k.title)
    assert loop.nbytes == (128 + 2) * 512 * 8
    assert loop.flops == 128 * 512
    np.testing.assert_allclose(f(np.full(512, 0.5)), 0.5 ** np.arange(128)[:, None] * np.ones(512))
