"""Programs whose kernels are written by hand, for tests of the runtime."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from graphc.codegen.program import Buffer, Failure, Phase, Program, Slot
from graphc.dims import Dim, symbol
from graphc.runtime.function import CompiledFunction
from graphc.runtime.native import Native, kernel_name
from graphc.runtime.parts import parts
from graphc.state import State
from graphc.types import Constraint, float64

n, m = symbol("n"), symbol("m")
_ZERO = "zero = float64(0.0)\n\n\n"
_code: dict[tuple[str, ...], tuple[bytes, ...]] = {}


def program(name: str, kernels: tuple[str, ...], inputs: Any, outputs: Any, **more: Any) -> Program:
    """A program over float64 slots, given as (name, shape); addresses are read from the frame, sizes from the row."""

    def slots(rows: Any) -> tuple[Slot, ...]:
        return tuple(Slot(k, float64, shape) for k, shape in rows)

    empty: dict[str, Any] = dict.fromkeys(("writes", "constants", "constraints", "values", "buffers", "failures"), ())
    return Program(
        name=name,
        kernels=kernels,
        symbols=("n", "m"),
        inputs=slots(inputs),
        outputs=slots(outputs),
        parameters=slots(more.pop("parameters", ())),
        **(empty | {"phases": (phase("all"),)} | more),
    )


def phase(title: str, chunks: Dim = 1, flops: Dim = 1, nbytes: Dim = 8, kernel: int = 0, words: int = 0) -> Phase:
    return Phase(title, chunks, flops, nbytes, kernel, words, ("a size",) * words)


def function(p: Program, structure: Any = 0, states: tuple[State, ...] = ()) -> CompiledFunction:
    code = _code[p.kernels] = _code.get(p.kernels) or parts(p.kernels, keep=False)
    return CompiledFunction(
        p, native(p, code), states, structure, rebuild=(function, (p, structure, states)), stats={"cache": "none"}
    )


def native(p: Program, code: tuple[bytes, ...]) -> Native:
    return Native(code, map(kernel_name, p.kernels))


SUM = f"""{_ZERO}def kernel(T, s, chunk):
    wide()
    d0 = word(s, 0)
    x0 = word(T, 8)
    y0 = word(T, 9)
    a0 = zero
    for i in range(d0):
        a0 = a0 + ld_f8_1_0(x0, i)
    st_f8_1_1(y0, 0, a0)
"""


def total(flops: Dim = 1) -> CompiledFunction:
    """The sum of x[n]; `flops` pretends how long it takes."""
    phases = (phase("sum", 1, flops, 8 * n, words=1),)
    return function(program("total", (SUM,), [("x", (n,))], [("y", ())], values=(n,), phases=phases))


_COPY = """


def kernel(T, s, chunk):
    wide()
    x0 = word(T, 8)
    b0 = word(T, 11)
    for i in range(3):
        st_f8_1_1(b0, chunk * 3 + i, ld_f8_1_0(x0, chunk * 3 + i))
"""
_DOUBLE = """one = float64(1.0)


def kernel(T, s, chunk):
    wide()
    d0 = word(s, 0)
    y0 = word(T, 9)
    y1 = word(T, 10)
    b0 = word(T, 11)
    for i in range(d0 * 3):
        t0 = ld_f8_1_0(b0, i)
        st_f8_1_1(y0, i, t0 + t0)
    st_f8_1_2(y1, 0, to_f8(d0) + one)
"""


def doubled() -> CompiledFunction:
    """{"twice": 2 x[n, 3], "rest": (row count + 1,)}, by way of a buffer and two phases, one chunk a row."""
    p = program(
        "doubled",
        (_COPY, _DOUBLE),
        [("x", (n, 3))],
        [("twice", (n, 3)), ("rest", ())],
        values=(n,),
        buffers=(Buffer(24 * n, 0, 1),),
        phases=(phase("copy", n, 3 * n, 48 * n), phase("double", 1, 3 * n, 48 * n, kernel=1, words=1)),
    )
    return function(p, {"twice": 0, "rest": (1,)})


_CHECK = f"""{_ZERO}def kernel(T, s, chunk):
    wide()
    t0 = ld_f8_1_0(word(T, 8), 0)
    if t0 < zero:
        t1 = checked(T, chunk, 1, to_i8(t0), 0, 0)
"""
_LEARN = f"""{_ZERO}def kernel(T, s, chunk):
    wide()
    d0 = word(s, 0)
    x0 = word(T, 8)
    scale = word(T, 9)
    y0 = word(T, 10)
    w = word(T, 11)
    a0 = zero
    for i in range(2 * d0):
        a0 = a0 + ld_f8_1_0(x0, i)
    a1 = zero
    for i in range(SIZE):
        a1 = a1 + ld_f8_1_1(w, i)
    st_f8_1_2(y0, 0, a1 + a0 * ld_f8_1_3(scale, 0))
    for i in range(SIZE):
        st_f8_1_1(w, i, ld_f8_1_1(w, i) + a0)
"""


def learner(state: State, flops: Dim = 1) -> CompiledFunction:
    """loss = sum(w) at entry + scale * sum(x[n, 2]); then every w += sum(x).  A negative x[0, 0] is refused."""
    p = program(
        "learner",
        (_CHECK, _LEARN.replace("SIZE", str(state.array.size))),
        [("x", (n, 2)), ("scale", ())],
        [("loss", ())],
        parameters=[("w", state.array.shape)],
        writes=(0,),
        values=(n,),
        phases=(phase("check"), phase("learn", 1, flops, 16 * n, kernel=1, words=1)),
        failures=(Failure("x must not be negative, x[{value}, 0] is {position}", "model.py:7"),),
    )
    return function(p, 0, (state,))


_FIRST = """


def kernel(T, s, chunk):
    wide()
    st_f8_1_2(word(T, 10), 0, ld_f8_1_0(word(T, 8), 0))
    st_f8_1_3(word(T, 11), 0, ld_f8_1_1(word(T, 9), 0))
"""


def pair() -> CompiledFunction:
    """[x[n, m] has n >= 2 and n == m: its first value, y[m]'s first value]."""
    constraints = (
        (Constraint(n, ">=", 2, "a variance needs two values"), "model.py:3"),
        (Constraint(n, "==", m, "dimensions that meet must be equal"), "model.py:4"),
    )
    slots = [("x", (n, m)), ("y", (m,))], [("a", ()), ("b", ())]
    return function(program("pair", (_FIRST,), *slots, constraints=constraints), [0, 1])


def weights(size: int = 4) -> State:
    return State("w", np.zeros(size))


def call(native: Native, *args: int, name: str) -> int:
    """Call a function of three int64 values."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 3)
    return int(kind(native[name])(*args))
