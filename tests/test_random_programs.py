"""Random programs agree with the interpreter and with NumPy, as interpreted loops and as machine code."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from programs.check import check, declared, printed_of, text_of, unit_of
from programs.draw import pruned
from programs.evaluate import evaluate
from programs.profiles import PROFILES, profile_of, random_program
from programs.program import Leaf, Line, Program
from programs.shrink import shrink
from programs.simulate import Printed

import graphc as gc
from graphc.codegen.loop_ir import CHECKED
from graphc.codegen.namespace import _plain_names
from graphc.debug.functions import PLAIN
from graphc.debug.interpreter import Interpreter

_HERE = Path(__file__).parent


def _check(seed: int, machine: bool | None) -> None:
    program = random_program(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings = check(program, machine)
    told = "\n".join(f"{f.kind}: {f.text}" for f in findings)
    assert not findings, f"{told}\n{program}"


@pytest.mark.parametrize("seed", range(300))
def test_loops_agree(seed: int) -> None:
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
    assert [f.kind for f in check(program)] == ["loops: differs"]


def test_differences_tell_a_wrong_gradient() -> None:
    gradient = Line("g2,", "gc.grad(v1, [x0])", "v1", ("x0",))
    program = _program((X,), Line("v1", "gc.sum(gc.stop_gradient(x0) * x0)"), gradient, outputs=("g2",))
    wrong = replace(program, lines=(Line("v1", "gc.sum(x0 * x0)"), replace(gradient, expression="[x0]")))
    assert check(program) == []
    assert [f.kind for f in check(wrong)] == ["gradient"]


def test_every_intrinsic_has_a_python_body() -> None:
    bound = {"word", *CHECKED, "clear"}  # to the memory of a run
    assert set(_plain_names()) <= set(PLAIN) | bound


@pytest.mark.parametrize("seed", range(40))
def test_the_text_does_what_the_loops_do(seed: int) -> None:
    program = random_program(seed)
    if program.stray or not program.outputs:
        return
    values, unit = program.values(program.sizes), unit_of(program, declared(program))
    printed = printed_of(program, unit)
    inputs = [values[leaf.name] for leaf in program.inputs]
    before = [values[str(n.name)] for n in unit.parameters]
    told = []
    for way in (Interpreter, Printed):
        after = [a.copy() for a in before]
        try:
            told.append([a.tobytes() for a in (*way(printed, printed.loops).run(inputs, after), *after)])
        except gc.InputError as error:
            told.append([str(error).encode()])
    assert told[0] == told[1]


def test_failing_programs_become_small() -> None:
    program = next(p for p in map(random_program, range(100)) if "gc.sum" in p.declaration() and len(p.lines) > 6)
    small = shrink(program, lambda p: "gc.sum" in p.declaration())
    assert len(small.lines) == 1
    evaluate(small, small.sizes)
    declared(small)
    assert "def kernel_0" in text_of(small)
    assert pruned(small) == small
