"""The front end of kernels: that Numba by itself takes the same text; and vector math that is called."""

from __future__ import annotations

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from golden_programs import PROGRAMS
from numba import njit, types

import graphc as gc
from graphc.codegen.intrinsics import instructions
from graphc.codegen.intrinsics.far import MOST
from graphc.codegen.intrinsics.routine import PREFIX, Effort, KernelModule
from graphc.codegen.namespace import meaning
from graphc.dims import evaluate
from graphc.graph import Graph
from graphc.interpret import interpret
from graphc.runtime.backend import Backend, _module_of, object_file, text_of
from graphc.runtime.frontend import lower
from graphc.runtime.machine import Machine
from graphc.state import State, address
from graphc.tree import flatten


def _by_numba(text: str) -> Any:
    names = {part.id for part in ast.walk(ast.parse(text)) if isinstance(part, ast.Name)}
    scope = {name: value for name in names if (value := meaning(name)) is not None} | {"__name__": "kernels"}
    exec(text, scope)
    return njit(types.void(*[types.int64] * 4), error_model="numpy")(scope["kernel"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_numba_takes_the_text(name: str) -> None:
    golden = PROGRAMS[name]()
    wanted = interpret(
        Graph((*flatten(golden.outputs)[0], *golden.updates.values()), tuple(golden.inputs)), golden.values
    )
    function = golden.compile()
    program = function.program
    kernels = [_by_numba(text) for text in program.kernels]
    machine = Machine(program, function._native, [State(s.name, s.read()) for s in function._states])
    inputs = [np.ascontiguousarray(v) for v in golden.values]
    shape = machine.shape(tuple(v.shape for v in inputs))
    outputs = [np.empty(dims, slot.dtype.numpy) for dims, slot in zip(shape.outputs, program.outputs, strict=True)]
    with machine.workspace(shape) as words:
        words[8 : 8 + len(inputs) + len(outputs)] = [address(a) for a in (*inputs, *outputs)]
        for phase, row in zip(program.phases, program.rows, strict=True):
            for chunk in range(evaluate(phase.chunks, shape.sizes)):
                kernels[phase.kernel](address(words), address(words) + 8 * row, chunk, 0)
    new = {s.name: s.read() for s in machine.states}
    for actual, expected in zip([*outputs, *(new[p.name] for p in golden.updates)], wanted, strict=True):
        tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
        assert np.max(np.abs(actual - expected), initial=0) <= tolerance * np.max(np.abs(expected), initial=1e-30)


def test_the_text_of_a_module_is_that_of_llvmlite() -> None:
    def parsed(text: str) -> str:
        return str(llvm.parse_assembly(text)).partition("\ntarget")[2]

    texts = {text for program in PROGRAMS.values() for text in program().compile().program.kernels}
    made = [partial(module_named, text) for text in sorted(texts)]
    routines = {name: routine for text in texts for name, routine in module_named(text).routines.items()}
    made += [partial(_module_of, routine) for routine in routines.values()]
    for module in made:
        theirs = module()
        theirs.triple, theirs.data_layout = Backend().triple, Backend().layout
        ours = parsed(text_of(module()))
        assert "define" in ours
        assert ours == parsed(str(theirs))


@pytest.mark.parametrize(
    ("rows", "columns", "is_kept"),
    [("64", "64", True), ("3", "p0", True), ("p0", "5", True), ("p0", "4", False), ("9", "9", True), ("9", "6", False)],
)
def test_llvm_makes_no_long_copies_of_loops_in_loops(rows: str, columns: str, is_kept: bool) -> None:
    body = "\n            ".join(f"st_i8_1_0(p0, i*9 + j, i + {k})" for k in range(8))
    loops = f"for i in range({rows}):\n        for j in range({columns}):\n            {body}"
    module = module_named(f"def kernel(T, s, chunk, worker):\n    p0 = word(T, word(s, 0))\n    {loops}\n")
    assert len(re.findall("br label .*!llvm.loop", text_of(module))) == is_kept


def test_llvm_makes_less_of_kernels_that_only_call_tiles() -> None:
    x, y, w = gc.input("x", (64, 640)), gc.input("y", ("n", 640)), gc.input("w", (640, 64))

    def effort(output: gc.Node) -> Effort:
        return module_of(gc.compile([x, y, w], output)).effort

    assert effort(x @ w) is Effort.CALLS
    assert effort(x[:, :64] @ w[:64]) is Effort.LINES  # a tile that ends soon
    assert effort(y[:, :256] @ w[:256]) is Effort.LINES  # or that is low, if there are few rows
    assert effort(gc.tanh(y @ w[:, :4])) is Effort.LOOPS  # the nest that reads the product is of one kernel with it
    assert effort(x * x) is Effort.LOOPS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 16, 33, 1000])
def test_vector_math_by_calls_is_vector_math(dtype: str, size: int) -> None:
    """Many functions in one kernel are called, not built in; each is off by at most 2 units, and so is their chain."""
    x = gc.input("x", ("n",), dtype)
    z = x
    for _ in range(MOST // 2 + 1):
        z = gc.sin(z) * gc.exp(-z * z)
    values = np.linspace(-1, 1, size).astype(dtype)
    wanted = values.astype(np.longdouble)
    for _ in range(MOST // 2 + 1):
        wanted = np.sin(wanted) * np.exp(-wanted * wanted)
    found = gc.compile([x], z)(values)
    assert np.max(np.abs(found - wanted), initial=0) <= 60 * np.finfo(dtype).eps * np.max(np.abs(wanted), initial=0)


@pytest.mark.parametrize(("name", "dtype"), [("tanh", "float32"), ("exp", "float64"), ("arcsinh", "float64")])
def test_calls_of_vector_math_are_vectorised(name: str, dtype: str) -> None:
    z = x = gc.input("x", ("n",), dtype)
    for _ in range(MOST + 1):
        z = getattr(gc, name)(z)
    module = module_of(gc.compile([x], z))
    (routine,) = module.routines
    code = Backend().optimised(text_of(module))
    assert re.search(rf"call .*@{PREFIX}{routine}\.v\d+\(", str(code))


@pytest.mark.parametrize(("calls", "others", "vectors"), [(1, 0, 4), (6, 0, 4), (7, 0, 2), (1, 30, None), (0, 5, None)])
def test_loops_of_vector_math_do_several_vectors_at_a_time(calls: int, others: int, vectors: int | None) -> None:
    z = x = gc.input("x", (1_000,))
    for _ in range(calls):
        z = gc.exp(z)
    for k in range(others):
        z = z * x + k
    text = text_of(module_of(gc.compile([x], (z, x - 1))))
    loops = re.findall(r'!"llvm.loop.interleave.count", i32 (\d)', text)
    assert loops == ([str(vectors)] if vectors else [])
    assert len(re.findall(r"!llvm.loop !(\d+)", text)) == len(loops)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_element_has_the_same_bits_wherever_it_stands(dtype: str) -> None:
    """In the middle of several vectors, in one, in half of one, alone."""
    x = gc.input("x", ("n",), dtype)
    function = gc.compile([x], (gc.erf(x), gc.log(x), gc.exp(gc.sin(x)), x**x, gc.tanh(x)))
    values = np.random.default_rng(3).uniform(0.1, 3, 300).astype(dtype)
    whole = function(values)
    for size in (1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 47, 63, 64, 65, 79, 127, 129, 200):
        for start in (0, 1, 50):
            part = slice(start, start + size)
            for found, wanted in zip(function(values[part].copy()), whole, strict=True):
                np.testing.assert_array_equal(found, wanted[part])


def test_storages_are_told_apart() -> None:
    """LLVM may take it that what is written does not change what is read, and so needs no check when it runs."""
    x, y = gc.input("x", (1_000,)), gc.input("y", (1_000,))
    text = str(module_of(gc.compile([x, y], (x * y, x - y))))
    assert len(set(re.findall(r"!alias.scope !(\d+)", text))) == len(set(re.findall(r"!noalias !(\d+)", text))) == 4
    code = str(Backend().optimised(text_of(module_of(gc.compile([x, y], (x * y, x - y))))))
    assert "vector.body" in code
    assert "vector.memcheck" not in code


def test_what_the_vectoriser_leaves_of_vector_math_calls_no_instruction() -> None:
    """An instruction is a call until loops are vectorised; then it is in place, in vectors and beside them."""
    x = gc.input("x", ("n",), "float32")
    module = module_of(gc.compile([x], x**1.7))
    late = text_of(module.late)
    code = str(Backend().optimised(text_of(module), late=late))
    assert "vector.body" in code
    assert not re.search(f"call .*@{instructions.PREFIX}", code)


def test_threads_of_llvm_make_the_same_code() -> None:
    """Each has a context of its own, so none waits for another, and none sees what another makes."""
    z = x = gc.input("x", ("n", 8), "float32")
    texts = []
    for k in range(6):
        z = gc.softmax(gc.tanh(z * (k + 1.5)) @ gc.constant(np.eye(8, dtype="float32")))
        texts += gc.compile([x], (z, gc.grad(gc.sum(z[:, 0]), x))).program.kernels
    modules = [text_of(module_named(text)) for text in dict.fromkeys(texts)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(object_file, modules)) == [object_file(m) for m in modules]


def module_of(function: Any) -> KernelModule:
    (text,) = function.program.kernels
    return module_named(text)


def module_named(text: str) -> KernelModule:
    module = KernelModule()
    lower(text, "kernel", module)
    return module


def test_a_name_is_a_loops_or_is_assigned() -> None:
    """A text that says both would be lowered to what the loop had last."""
    lines = ["for i in range(3):", "    pass", "if chunk > 0:", "    i = 1", "if chunk > 1:", "    i = 2"]
    text = "def kernel(T, s, chunk, worker):\n" + "\n".join(f"    {line}" for line in lines)
    with pytest.raises(NotImplementedError, match="i, the variable of a loop, is assigned more than once"):
        lower(text, "kernel", KernelModule())
