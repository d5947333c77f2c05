"""What random programs compare to the bit is told where it differs; unrolled loops are what they are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from programs.bits import Bits, Driven
from programs.check import check
from programs.draw import Grower, Reject
from programs.profiles import PROFILES, profile_of, random_program
from programs.program import Leaf, Line, Program
from programs.rules import RULES
from programs.unrolled import cholesky, fan, repeat, solved, tree, unroll

X = Leaf("x0", ("n",), "float64")
P = Leaf("p1", (), "float64", is_parameter=True)
PROGRAM = Program(
    1, {"n": 3}, (X, P), (Line("v0", "gc.sum(x0) * p1"), Line("v1", "p1 + 1.0")), ("v0",), (("p1", "v1"),), small=False
)


@dataclass
class Honest:
    """What the program computes, by NumPy; subclasses do one thing wrong."""

    state: Any = field(default_factory=lambda: SimpleNamespace(array=np.zeros(())))
    calls: int = 0
    updates: bool = True
    program = SimpleNamespace(constraints=(), outputs=(SimpleNamespace(shape=()),))

    def __call__(self, x0: Any) -> tuple[Any, ...]:
        self.calls += 1
        result = np.sum(x0) * self.state.array
        self.state.array[...] += self.updates
        return (np.asarray(result),)

    def without_updates(self) -> Any:
        return type(self)(self.state, 0, False)

    def run(self, x0: Any, batch_size: int, order: Any = None) -> tuple[Any, ...]:
        x0 = x0 if order is None else x0[order]
        return (np.array([self(x0[k : k + batch_size])[0] for k in range(0, len(x0), batch_size)]),)


class Unsteady(Honest):
    def __call__(self, x0: Any) -> tuple[Any, ...]:
        (result,) = super().__call__(x0)
        return (np.nextafter(result, np.inf) if self.calls == 6 else result,)


class Writing(Honest):
    def without_updates(self) -> Any:
        return type(self)(self.state)


class Unordered(Honest):
    def run(self, x0: Any, batch_size: int, order: Any = None) -> tuple[Any, ...]:
        return super().run(x0, batch_size)


class Straying(Honest):
    def run(self, x0: Any, batch_size: int, order: Any = None) -> tuple[Any, ...]:
        results = super().run(x0, batch_size, order)
        self.state.array[...] += 1
        return results


def _kinds(function: Honest, program: Program = PROGRAM) -> list[str]:
    driven = Driven(function, {"p1": function.state})
    bits = Bits(program, driven, lambda: Driven(function, {"p1": function.state}))
    return [f.kind for f in bits.findings([{"n": 3}, {"n": 7}])]


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (Honest, []),
        (Writing, ["machine: without updates"]),
        (Unordered, ["machine: run"]),
        (Straying, ["machine: run"]),
    ],
)
def test_other_bits_are_told(function: type[Honest], kinds: list[str]) -> None:
    assert _kinds(function()) == kinds


def test_a_call_that_gives_other_bits_the_second_time_is_told() -> None:
    class Unsteady(Honest):
        def __call__(self, x0: Any) -> tuple[Any, ...]:
            (result,) = super().__call__(x0)
            return (np.nextafter(result, np.inf) if self.calls == 3 else result,)

    assert _kinds(Unsteady()) == ["machine: again"]


def test_a_call_that_depends_on_the_one_before_is_told() -> None:
    class Forgetful(Honest):
        def __call__(self, x0: Any) -> tuple[Any, ...]:
            stale = self.state.array if self.calls != 5 else np.zeros(())
            result = np.sum(x0) * stale
            self.calls += 1
            self.state.array[...] += self.updates
            return (np.asarray(result),)

    assert _kinds(Forgetful()) == ["machine: continued"]


def test_alias_scopes_that_matter_are_told() -> None:
    function, other = Honest(), Unsteady()
    other.calls = 5
    program = Program(3, *[getattr(PROGRAM, n) for n in ("sizes", "leaves", "lines", "outputs", "updates")])
    bits = Bits(program, Driven(function, {"p1": function.state}), lambda: Driven(other, {"p1": other.state}))
    assert [f.kind for f in bits.findings([{"n": 3}])] == ["machine: scopes"]


def test_bits_are_compared_for_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(PROGRAM, machine=True) == []
    monkeypatch.setattr("programs.bits._apart", lambda expected, actual: "other bits")
    kinds = {f.kind for f in check(PROGRAM, machine=True)}
    assert kinds == {f"machine: {what}" for what in ("again", "continued", "without updates", "run", "threads")}


# what is drawn


def test_every_rule_has_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    done: dict[str, int] = dict.fromkeys(RULES, 0)

    def counted(name: str, rule: Any) -> Any:
        def run(g: Grower) -> None:
            rule(g)
            done[name] += 1

        return run

    for name, rule in list(RULES.items()):
        monkeypatch.setitem(RULES, name, counted(name, rule))
    for seed in range(500):
        random_program(seed)
    assert [name for name, count in done.items() if not count] == []


def test_programs_of_borders_become_machine_code_alone() -> None:
    found = [random_program(seed) for seed in range(200) if profile_of(seed) == "borders"]
    assert all(p.machine and not p.simulate and not p.small for p in found)
    lengths = {d for p in found for leaf in p.leaves for d in leaf.shape}
    assert lengths & {16383, 16384, 16385}
    assert lengths & {1023, 1024, 1025}


def test_updates_are_drawn_beside_readers() -> None:
    programs = [random_program(seed) for seed in range(400) if profile_of(seed) in ("updates", "steps")]
    pairs = [dict(p.updates) for p in programs]
    assert any(updates.get(v) == p for updates in pairs for p, v in updates.items()), "a <- b, b <- a"
    assert any(len(set(u.values())) < len(u) for u in pairs), "one value for two parameters"
    assert any(set(p.outputs) & {v for _, v in p.updates} for p in programs), "an update that is an output"
    assert any(set(p.outputs) & {n for n, _ in p.updates} for p in programs), "a parameter that is an output"


def test_steps_can_be_run() -> None:
    found = [random_program(seed) for seed in range(200) if profile_of(seed) == "steps"]
    assert all("n" not in leaf.shape[1:] for p in found for leaf in p.inputs)
    sliced = [p for p in found if any("n" in leaf.shape for leaf in p.inputs)]
    assert len(sliced) > len(found) / 2


def test_profiles_name_rules() -> None:
    assert {name for p in PROFILES.values() for name in p.weights} <= set(RULES)
    assert issubclass(Reject, Exception)


# unrolled


def test_unrolled_loops() -> None:
    assert repeat(lambda z: 2 * z, 1, 5) == 32
    assert unroll(lambda t, a, b: (b, a + t), (1, 10), 3) == (11, 3)
    assert fan(lambda k: k, 5) == tree(lambda k: k, 5) == 10


def test_scalar_factorisation() -> None:
    a = np.array([[4.0, 2.0, 1.0], [2.0, 5.0, 3.0], [1.0, 3.0, 6.0]])
    lower = np.linalg.cholesky(a)
    rows = cholesky(np.sqrt, a, 3)
    np.testing.assert_allclose(rows, lower[np.tril_indices(3)])
    np.testing.assert_allclose(solved(rows, np.arange(3.0), 3), np.linalg.solve(lower, np.arange(3.0)))
