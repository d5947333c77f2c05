"""Loops are cut where the branches of their bodies are decided, and do what they did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.loop_ir import Code, For, If, Stmt

SIZES = (0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 71, 72, 73, 200)


def loops_of(body: Iterable[Stmt]) -> Iterator[For]:
    for s in body:
        if isinstance(s, For):
            yield s
            yield from loops_of(s.body)
        elif isinstance(s, If):
            yield from loops_of((*s.yes, *s.no))


def printed(inputs: list[gc.Node], output: gc.Node) -> list[For]:
    program = gc.compile(inputs, output, options=gc.Options(debug=True)).program
    assert program.loops is not None
    found = [loop for code in program.loops.phases if isinstance(code, Code) for loop in loops_of(code.loop.body)]
    return found[-3:]  # before them stand those that write past the caches, where the size of a call may ask for it


def branches(loop: For) -> bool:
    return any(isinstance(s, If) for s in loop.body)


def shifted(x: gc.Node) -> gc.Node:
    return gc.concat([gc.ones((2,)), x]) + gc.concat([gc.ones((1,)), x, gc.zeros((1,))])


def wanted(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([np.ones(2), x]) + np.concatenate([np.ones(1), x, np.zeros(1)])


@pytest.mark.parametrize("n", [200, "n"])
def test_far_from_the_bounds_there_are_no_branches(n: Any) -> None:
    x = gc.input("x", (n,))
    first, middle, last = printed([x], shifted(x))
    assert branches(first)
    assert branches(last)
    assert not branches(middle)


@pytest.mark.parametrize("size", SIZES)
def test_cut_loops_do_what_they_did(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size)
    for n in (size, "n"):
        x = gc.input("x", (n,))
        for options in (gc.Options(), gc.Options(debug=True)):
            f = gc.compile([x], shifted(x), options=options)
            np.testing.assert_array_equal(f(values), wanted(values))


def test_parts_side_by_side_are_loops_of_their_own() -> None:
    x, y = gc.input("x", (100,)), gc.input("y", (300,))
    first, second = printed([x, y], gc.exp(gc.concat([x, y])))
    assert not branches(first)
    assert not branches(second)


def test_many_parts_stay_one_loop() -> None:
    parts = [gc.input(f"x{k}", (100,)) for k in range(8)]
    (loop,) = printed(parts, gc.concat(parts) * 2.0)
    assert branches(loop)


def test_positions_of_extremes_and_sums_go_on_through_the_parts() -> None:
    values = np.random.default_rng(0).integers(-5, 5, size=300)
    x = gc.input("x", (300,), gc.int64)
    y = gc.concat([x[100:], -x[:100]])
    right = np.concatenate([values[100:], -values[:100]])
    f = gc.compile([x], (gc.argmax(y), gc.sum(y), gc.cumulative_sum(y)))
    found = f(values)
    assert found[0] == right.argmax()
    assert found[1] == right.sum()
    np.testing.assert_array_equal(found[2], right.cumsum())


def test_stages_that_read_each_other_beside_are_one_nest() -> None:
    """What is wanted one element further is computed there once more, instead of stored for a nest of its own."""
    x, y = gc.input("x", (500,)), gc.input("y", (500,))

    def stage(z: Any) -> gc.Node:
        return x * gc.concat([gc.ones((1,)), z[:-1]])

    f = gc.compile([x, y], stage(y + stage(y + stage(y))))
    assert len(f.program.phases) == 1
    a, b = np.random.default_rng(0).normal(size=(2, 500))

    def right(z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return a * np.concatenate([np.ones(1), z[:-1]])

    np.testing.assert_allclose(f(a, b), right(b + right(b + right(b))), rtol=1e-13)


def test_what_is_wanted_at_many_places_is_stored() -> None:
    x, y = gc.input("x", (500,)), gc.input("y", (500,))
    z = gc.pad(x * y + x, ((1, 1),))
    f = gc.compile([x, y], z[2:] - 2.0 * z[1:-1] + z[:-2])
    assert len(f.program.phases) == 2


def spread(x: gc.Node, stride: int) -> gc.Node:
    """What lies at x[..., k] twice, at k * stride and one further, with zeros around."""
    y = gc.input("y", (*x.shape[:-1], stride * x.shape[-1] + 1))
    apart = gc.grad(gc.sum(y[..., :-1:stride] * x) + gc.sum(y[..., 1::stride] * x * x), y)
    return apart * 1.5


def spread_out(x: np.ndarray[Any, Any], stride: int) -> np.ndarray[Any, Any]:
    found = np.zeros((*x.shape[:-1], stride * x.shape[-1] + 1))
    found[..., :-1:stride] += x
    found[..., 1::stride] += x * x
    return found * 1.5


def asked_in(body: Iterable[Stmt]) -> Iterator[str]:
    for s in body:
        if isinstance(s, For):
            yield from asked_in(s.body)
        elif isinstance(s, If):
            yield str(s.test)
            yield from asked_in((*s.yes, *s.no))


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_remainders_are_known_in_loops_of_their_own(stride: int) -> None:
    x = gc.input("x", (7, 50))
    assert not any("multiple" in test for loop in printed([x], spread(x, stride)) for test in asked_in([loop]))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 40])
@pytest.mark.parametrize("stride", [2, 3, 4, 5])
def test_loops_over_remainders_do_what_they_did(size: int, stride: int) -> None:
    values = np.random.default_rng(size).normal(size=(3, size))
    for n in (size, "n"):
        x = gc.input("x", (3, n))
        for options in (gc.Options(), gc.Options(debug=True)):
            f = gc.compile([x], spread(x, stride), options=options)
            np.testing.assert_allclose(f(values), spread_out(values, stride), rtol=1e-15, atol=0)


def test_loops_with_long_loops_inside_are_cut_sooner() -> None:
    """Padded rows: no branch is left in the loops over elements."""
    x = gc.input("x", (5, 10, 32))
    padded = gc.pad(x, ((0, 0), (2, 3), (0, 0))) * 2.0
    assert not any(isinstance(s, If) for loop in printed([x], padded) for s in loop.body)
    values = np.random.default_rng(0).normal(size=x.shape)
    np.testing.assert_array_equal(gc.compile([x], padded)(values), np.pad(values, ((0, 0), (2, 3), (0, 0))) * 2.0)
