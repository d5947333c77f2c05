"""Tasks that are alike are printed once: with the same program as if each were printed by itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from programs.check import declared, limited, printed_of, unit_of
from programs.profiles import random_program
from scaling_programs import PROGRAMS

import graphc as gc
from graphc.codegen import alike
from graphc.codegen.program import Program
from graphc.graph import Node

_compile = importlib.import_module("graphc.compile")


def printed(made: tuple[Any, ...]) -> Program:
    inputs, outputs, updates = made
    program: Program = _compile._printed(_compile._unit(inputs, outputs, updates or {}, gc.Options(), "f"))
    return program


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been printed, and not taken over."""
    found: list[str] = []
    print_ = alike.Once.print

    def counting(self: alike.Once, tasks: Any, emit: Callable[..., Any]) -> bool:
        def emitting(*args: Any) -> Any:
            found.append(" ".join(m.op.name for t in tasks for m in t.members))
            return emit(*args)

        return print_(self, tasks, emitting)

    monkeypatch.setattr(alike.Once, "print", counting)
    return found


def never_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    made = alike.Pattern.__init__

    def unlike(self: alike.Pattern, *args: Any) -> None:
        made(self, *args)
        self.key = object()

    monkeypatch.setattr(alike.Pattern, "__init__", unlike)


def same(first: Program, second: Program) -> bool:
    assert first.loops is not None
    return first.to_json() == second.to_json() and repr(first.loops) == repr(second.loops)  # a NaN is equal to none


@pytest.mark.parametrize("name", ["lstm", "deep", "transformer", "cholesky"])
def test_repeated_layers_and_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = PROGRAMS[name](4)
    together = printed(made)
    never_alike(monkeypatch)
    assert same(together, printed(made))


@pytest.mark.parametrize("seeds", [range(k, k + 20) for k in range(0, 80, 20)])
def test_random_programs(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited():
        made = [(p, unit_of(p, declared(p))) for p in map(random_program, seeds) if not p.stray]
        together = [printed_of(*m) for m in made]
        never_alike(monkeypatch)
        assert all(same(program, printed_of(*m)) for program, m in zip(together, made, strict=True))


def test_more_layers_are_not_printed(counted: list[str]) -> None:
    printed(PROGRAMS["deep"](4))
    few = len(counted)
    printed(PROGRAMS["deep"](24))
    assert len(counted) == 2 * few


def twice(first: Callable[[Node], Node], second: Callable[[Node], Node]) -> list[Node]:
    """Two stored values of the same function's kind, each of a parameter of its own."""
    return [f(gc.parameter(f"p{k}", [[1.0, 2.0], [3.0, 4.0]])) for k, f in enumerate((first, second))]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda p: gc.exp(p) + 0.0, lambda p: gc.exp(p) + -0.0),
        (lambda p: gc.exp(p[:1]), lambda p: gc.exp(p[1:])),
        (lambda p: gc.exp(gc.flip(p, axis=0)), lambda p: gc.exp(gc.flip(p, axis=1))),
        (lambda p: gc.sum(p, axis=0), lambda p: gc.sum(p, axis=1)),
        (lambda p: gc.exp(p) * p, lambda p: gc.exp(p) * gc.permute_dims(p, (1, 0))),
    ],
)
def test_what_differs_is_printed(first: Any, second: Any, counted: list[str]) -> None:
    outputs = twice(first, second)
    program = printed(([], outputs, None))
    assert len(counted) == len(program.phases) == 2


def test_one_array_in_two_places_is_not_two_arrays(counted: list[str]) -> None:
    """In place or not, read twice or two that are read: what may overlap differs."""
    p, q, r = (gc.parameter(name, [1.0, 2.0]) for name in "pqr")
    program = printed(([], [], {p: gc.exp(p) * p, q: gc.exp(r) * r}))
    assert len(counted) == len(program.kernels) == 2


def test_a_failure_has_its_own_line() -> None:
    i, j = (gc.input(name, (2,), gc.int64) for name in "ij")
    x, y = (gc.parameter(name, [1.0, 2.0, 3.0]) for name in "xy")
    first = gc.take(x, i)
    second = gc.take(y, j)
    f = gc.compile([i, j], [first, second])
    lines = {failure.line for failure in f.program.failures}
    assert len(lines) == 2
    with pytest.raises(gc.InputError, match="test_alike"):
        f([0, 1], [0, 5])
