"""The plan of typical steps: which phases run, what is written in place, which buffers lie between.

An output more may turn an update in place into a buffer and a commit.  That is right, and slower: it must be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.program import Program
from graphc.compile import _printed, _unit


def plan(inputs: Any, outputs: Any, updates: Mapping[Any, Any]) -> tuple[list[str], int]:
    """Titles of the phases, and how many buffers take memory."""
    program: Program = _printed(_unit(inputs, outputs, updates, gc.Options(), "step"))
    return [p.title for p in program.phases], sum(b.nbytes != 0 for b in program.buffers)


def linear() -> tuple[list[gc.Node], gc.Node, gc.Node, gc.Node]:
    x, t = gc.input("x", ("n", 5)), gc.input("t", ("n",))
    w = gc.parameter("w", np.zeros(5))
    loss = gc.mean((x @ w - t) ** 2)
    return [x, t], loss, w, gc.grad(loss, w)


_FORWARD = ["sum, subtract, add", "combine sum", "divide"]
_GRADIENT = "product i,ik->k"  # what is made of it follows in the same phase


def test_a_gradient_step_is_written_in_place() -> None:
    inputs, loss, w, g = linear()
    assert plan(inputs, loss, {w: w - 0.1 * g}) == ([*_FORWARD, f"{_GRADIENT}, subtract"], 4)


def test_an_output_that_is_the_new_value_is_stored_beside_it() -> None:
    inputs, loss, w, g = linear()
    assert plan(inputs, (loss, w - 0.1 * g), {w: w - 0.1 * g}) == ([*_FORWARD, f"{_GRADIENT}, subtract"], 4)


def test_an_output_that_is_the_old_value_is_copied_before() -> None:
    inputs, loss, w, g = linear()
    assert plan(inputs, (loss, w), {w: w - 0.1 * g}) == ([*_FORWARD, "parameter", f"{_GRADIENT}, subtract"], 4)


def test_an_output_that_reads_the_old_value_elsewhere_has_the_new_one_wait() -> None:
    inputs, loss, w, g = linear()
    new = w - 0.1 * g
    titles, buffers = plan(inputs, (loss, new * w[::-1]), {w: new})
    assert titles == [*_FORWARD, f"{_GRADIENT}, subtract, multiply", "commit"]
    assert buffers == 4  # the new value takes the place of the gradient


def test_momentum_is_one_nest() -> None:
    inputs, loss, w, g = linear()
    v = gc.parameter("v", np.zeros(5))
    velocity = 0.9 * v - 0.1 * g
    assert plan(inputs, loss, {v: velocity, w: w + velocity}) == ([*_FORWARD, f"{_GRADIENT}, subtract, add"], 4)


def test_a_counter_waits_beside_outputs_alone() -> None:
    """An output's phases must be free of writes, so that a call without updates can run them alone."""
    x, s = gc.input("x", ("n",)), gc.parameter("s", 0.0)
    assert plan([x], gc.sum(x), {s: s + 1.0}) == (["sum", "combine sum", "add"], 1)
    assert plan([x], s + 1.0, {s: s + 1.0}) == (["add", "commit"], 0)  # from the output


def _repeated(step: Callable[[gc.Node], gc.Node]) -> Callable[[gc.Node, int], Any]:
    return lambda z, times: reduce(lambda y, _: step(y), range(times), z)


GROWTH: dict[str, tuple[Callable[[gc.Node, int], Any], int]] = {
    "chain": (_repeated(lambda z: gc.sin(z) + 0.1), 400),
    "read twice": (_repeated(lambda z: 3.7 * z * (1 - z)), 400),
    "doubled": (_repeated(lambda z: z + z), 400),
    "shifted": (_repeated(lambda z: gc.pad(z[1:], (0, 1)) * 0.5 + z), 400),
    # as many as fill several groups, since within one nothing is stored for the way back
    "gradient": (lambda z, times: gc.grad(gc.sum(_repeated(lambda y: 3.7 * y * (1 - y))(z, times)), z), 1200),
    "fan": (lambda z, times: tuple(gc.sum(gc.sin(z * (k + 1.0))) for k in range(times)), 400),
}


@pytest.mark.parametrize("name", GROWTH)
def test_the_text_grows_with_the_graph_and_no_faster(name: str) -> None:
    grow, times = GROWTH[name]
    z = gc.input("z", (3,))
    short, long = (len(_printed(_unit([z], grow(z, n), {}, gc.Options(), "f")).text) for n in (times, 2 * times))
    assert long < 2.2 * short
