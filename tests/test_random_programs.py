"""Random programs agree with the interpreter and with NumPy, as text run by Python and as machine code."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from programs.check import check, declared, text_of
from programs.draw import pruned
from programs.evaluate import evaluate
from programs.intrinsics import PLAIN
from programs.memory import Fault
from programs.profiles import PROFILES, profile_of, random_program
from programs.program import Leaf, Line, Program
from programs.shrink import shrink
from programs.simulate import Simulation

import graphc as gc
from graphc.codegen.namespace import _plain_names
from graphc.codegen.program import Phase, Slot
from graphc.codegen.program import Program as Kernels
from graphc.types import float64

_HERE = Path(__file__).parent


def _check(seed: int, machine: bool | None) -> None:
    program = random_program(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings = check(program, machine)
    told = "\n".join(f"{f.kind}: {f.text}" for f in findings)
    assert not findings, f"{told}\n{program}"


@pytest.mark.parametrize("seed", range(300))
def test_text_agrees(seed: int) -> None:
    _check(seed, machine=False)


@pytest.mark.parametrize("seed", [s for s in range(60) if profile_of(s) in ("exact", "borders") or s % 7 == 0])
def test_machine_code_agrees(seed: int) -> None:
    _check(seed, machine=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(300, 5000))
def test_programs_agree_long(seed: int) -> None:
    _check(seed, machine=None)


def test_texts_do_not_depend_on_the_process() -> None:
    code = (
        "from programs.check import digest\n"
        "from programs.profiles import random_program\n"
        "for seed in range(60):\n"
        "    print(seed, digest(random_program(seed)))\n"
    )
    found = []
    for hash_seed in ("1", "2"):
        path = os.pathsep.join([str(_HERE), str(_HERE.parent)])
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        command = [sys.executable, "-W", "ignore", "-c", code]
        found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found[0] == found[1]


def test_a_program_depends_on_its_seed_alone() -> None:
    for seed in range(20):
        assert str(random_program(seed)) == str(random_program(seed))
    assert {profile_of(seed) for seed in range(60)} == set(PROFILES)


def test_every_rule_and_most_ops_are_met() -> None:
    programs = [random_program(seed) for seed in range(300)]
    texts = "\n".join(line.text for p in programs for line in p.lines)
    missing = [name for name in gc.__all__ if name in vars(gc) and f"gc.{name}(" in texts]
    assert len(missing) > 70
    assert any(len(set(p.outputs)) < len(p.outputs) for p in programs), "a value that is two outputs"
    assert any(v not in p.outputs for p in programs for _, v in p.updates), "an update that is no output"
    assert any(0 in s.values() for p in programs for s in p.other_sizes)
    assert any(len(leaf.shape) == 5 for p in programs for leaf in p.leaves)


# the evaluation itself


def _program(leaves: tuple[Leaf, ...], *lines: Line, outputs: tuple[str, ...]) -> Program:
    return Program(1, {}, leaves, lines, outputs, small=False)


X = Leaf("x0", (3,), "float64")


def test_numpy_tells_what_the_interpreter_tells_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    program = _program((X,), Line("v0", "gc.tanh(x0)"), outputs=("v0",))
    assert check(program) == []
    monkeypatch.setattr("graphc.interpret._value", lambda node, operands, sizes: np.zeros(3))
    assert [f.kind for f in check(program)] == ["text: differs"]


def test_differences_tell_a_wrong_gradient() -> None:
    gradient = Line("g2,", "gc.grad(v1, [x0])", "v1", ("x0",))
    program = _program((X,), Line("v1", "gc.sum(gc.stop_gradient(x0) * x0)"), gradient, outputs=("g2",))
    wrong = replace(program, lines=(Line("v1", "gc.sum(x0 * x0)"), replace(gradient, expression="[x0]")))
    assert check(program) == []
    assert [f.kind for f in check(wrong)] == ["gradient"]


def _kernels(*lines: str, chunks: int = 1, size: int = 3) -> Kernels:
    text = "\n\ndef kernel(T, s, chunk):\n    wide()\n" + "".join(f"    {line}\n" for line in lines)
    return Kernels(
        "f", (text,), (), (Slot("x", float64, (3,)),), (Slot("y", float64, (size,)),), (), (), (), (), (), (),
        (Phase("one", chunks, 0, 0, 0, 0, ()),), (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "chunks", "lines"),
    [
        ("bounds", 1, ["st_f8_1_1(word(T, 9), 3, ld_f8_1_0(word(T, 8), 0))"]),
        ("bounds", 1, ["st_f8_1_1(word(T, 9), 0, ld_f8_1_0(word(T, 8), -1))"]),
        ("alignment", 1, ["st_f8_1_1(word(T, 9) + 4, 0, ld_f8_1_0(word(T, 8), 0))"]),
        ("unwritten", 1, ["st_f8_1_1(word(T, 9), 0, ld_f8_1_1(word(T, 9), 1))"]),
        ("unwritten", 1, ["st_f8_1_1(word(T, 9), 0, ld_f8_1_0(word(T, 8), 0))"]),
        ("race", 2, ["st_f8_1_1(word(T, 9), 0, ld_f8_1_0(word(T, 8), 0))"]),
        ("alias", 1, ["st_f8_1_1(word(T, 9), 0, ld_f8_1_0(word(T, 8), 0))", "t = ld_f8_1_2(word(T, 9), 0)"]),
        ("type", 1, ["st_f8_1_1(word(T, 9), 0, ld_f8_1_0(word(T, 8), 0))", "t = ld_i8_2_0(word(T, 9), 0)"]),
    ],
)
def test_memory_is_watched(kind: str, chunks: int, lines: list[str]) -> None:
    with pytest.raises(Fault) as caught:
        Simulation(_kernels(*lines, chunks=chunks)).run([np.arange(3.0)], [])
    assert caught.value.kind == kind


def test_every_intrinsic_has_a_python_body() -> None:
    bound = {"word", "checked", "clear"}  # to the memory of a run
    assert set(_plain_names()) <= set(PLAIN) | bound


def test_text_runs_as_python() -> None:
    kernels = _kernels("for i in range(3):", "    st_f8_1_1(word(T, 9), i, -ld_f8_1_0(word(T, 8), i))")
    np.testing.assert_array_equal(Simulation(kernels).run([np.arange(3.0)], [])[0], -np.arange(3.0))


def test_failing_programs_become_small() -> None:
    program = next(p for p in map(random_program, range(100)) if "gc.sum" in p.declaration() and len(p.lines) > 6)
    small = shrink(program, lambda p: "gc.sum" in p.declaration())
    assert len(small.lines) == 1
    evaluate(small, small.sizes)
    declared(small)
    assert "def kernel_0" in text_of(small)
    assert pruned(small) == small
