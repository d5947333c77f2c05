"""Programs written by hand, for tests of the runtime: a few lines of text each, with intrinsics of their own."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from graphc.codegen.program import Buffer, Failure, Phase, Program, Slot
from graphc.dims import Dim, symbol
from graphc.runtime.function import CompiledFunction
from graphc.runtime.native import Native, compile_text
from graphc.state import State
from graphc.types import Constraint, float64


def _pointer(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    return builder.gep(builder.inttoptr(base, kind.as_pointer()), [index])


@intrinsic
def word(context, base, index):
    def emit(context, builder, signature, args):
        return builder.load(_pointer(builder, *args, ir.IntType(64)))

    return types.int64(types.int64, types.int64), emit


@intrinsic
def set_word(context, base, index, value):
    def emit(context, builder, signature, args):
        builder.store(args[2], _pointer(builder, *args[:2], ir.IntType(64)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


@intrinsic
def number(context, base, index):
    def emit(context, builder, signature, args):
        return builder.load(_pointer(builder, *args, ir.DoubleType()))

    return types.float64(types.int64, types.int64), emit


@intrinsic
def set_number(context, base, index, value):
    def emit(context, builder, signature, args):
        builder.store(args[2], _pointer(builder, *args[:2], ir.DoubleType()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), emit


NAMES = {"word": word, "set_word": set_word, "number": number, "set_number": set_number, "zero": 0.0}
n, m = symbol("n"), symbol("m")
_code: dict[str, bytes] = {}


def program(name: str, text: str, inputs: Any, outputs: Any, **more: Any) -> Program:
    """A program over float64 slots, given as (name, shape)."""

    def slots(rows: Any) -> tuple[Slot, ...]:
        return tuple(Slot(k, float64, shape) for k, shape in rows)

    empty: dict[str, Any] = dict.fromkeys(("writes", "constants", "constraints", "values", "buffers", "failures"), ())
    parameters = slots(more.pop("parameters", ()))
    return Program(
        name=name,
        text=text,
        symbols=("n", "m"),
        inputs=slots(inputs),
        outputs=slots(outputs),
        parameters=parameters,
        **(empty | {"phases": (Phase("all", 1, 1, 8),)} | more),
    )


def function(p: Program, structure: Any = 0, states: tuple[State, ...] = ()) -> CompiledFunction:
    code = _code.setdefault(p.text, b"") or compile_text(p.text, NAMES, f"<{p.name}>")
    _code[p.text] = code
    return CompiledFunction(
        p, Native(code), states, structure, rebuild=(function, (p, structure, states)), stats={"cache": "none"}
    )


def total(flops: Dim = 1) -> CompiledFunction:
    """The sum of x[n]; `flops` pretends how long it takes."""
    text = """
def program(T, phase, chunk):
    x0 = word(T, 8)
    y0 = word(T, 9)
    s = zero
    for i in range(word(T, 10)):
        s += number(x0, i)
    set_number(y0, 0, s)
"""
    p = program("total", text, [("x", (n,))], [("y", ())], values=(n,), phases=(Phase("sum", 1, flops, 8 * n),))
    return function(p)


def doubled() -> CompiledFunction:
    """{"twice": 2 x[n, 3], "rest": (row count + 1,)}, by way of a buffer and two phases, one chunk a row."""
    text = """
def program(T, phase, chunk):
    x0 = word(T, 8)
    y0 = word(T, 9)
    y1 = word(T, 10)
    b0 = T + word(T, 12)
    if phase == 0:
        for i in range(3):
            set_number(b0, chunk * 3 + i, number(x0, chunk * 3 + i))
    else:
        for i in range(word(T, 11) * 3):
            set_number(y0, i, 2 * number(b0, i))
        set_number(y1, 0, word(T, 11) + 1.0)
"""
    p = program(
        "doubled",
        text,
        [("x", (n, 3))],
        [("twice", (n, 3)), ("rest", ())],
        values=(n,),
        buffers=(Buffer(24 * n, 0, 1),),
        phases=(Phase("copy", n, 3 * n, 48 * n), Phase("double", 1, 3 * n, 48 * n)),
    )
    return function(p, {"twice": 0, "rest": (1,)})


def learner(state: State, flops: Dim = 1) -> CompiledFunction:
    """loss = sum(w) at entry + scale * sum(x[n, 2]); then every w += sum(x).  A negative x[0, 0] is refused."""
    text = """
def program(T, phase, chunk):
    x0 = word(T, 8)
    scale = word(T, 9)
    y0 = word(T, 10)
    w = word(T, 11)
    if phase == 0:
        if number(x0, 0) < zero:
            set_word(T, 1, 0)
            set_word(T, 2, int(number(x0, 0)))
            set_word(T, 0, 1)
    else:
        s = zero
        for i in range(2 * word(T, 12)):
            s += number(x0, i)
        v = zero
        for i in range(SIZE):
            v += number(w, i)
        set_number(y0, 0, v + s * number(scale, 0))
        for i in range(SIZE):
            set_number(w, i, number(w, i) + s)
""".replace("SIZE", str(state.array.size))
    p = program(
        "learner",
        text,
        [("x", (n, 2)), ("scale", ())],
        [("loss", ())],
        parameters=[("w", state.array.shape)],
        writes=(0,),
        values=(n,),
        phases=(Phase("check", 1, 1, 8), Phase("learn", 1, flops, 16 * n)),
        failures=(Failure("x must not be negative, x[{position}, 0] is {value}", "model.py:7"),),
    )
    return function(p, 0, (state,))


def pair() -> CompiledFunction:
    """[x[n, m] has n >= 2 and n == m: its first value, y[m]'s first value]."""
    text = """
def program(T, phase, chunk):
    set_number(word(T, 10), 0, number(word(T, 8), 0))
    set_number(word(T, 11), 0, number(word(T, 9), 0))
"""
    constraints = (
        (Constraint(n, ">=", 2, "a variance needs two values"), "model.py:3"),
        (Constraint(n, "==", m, "dimensions that meet must be equal"), "model.py:4"),
    )
    p = program("pair", text, [("x", (n, m)), ("y", (m,))], [("a", ()), ("b", ())], constraints=constraints)
    return function(p, [0, 1])


def weights(size: int = 4) -> State:
    return State("w", np.zeros(size))


def call(native: Native, *args: int, name: str = "program") -> int:
    """Call a function of three int64 values."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 3)
    return int(kind(native[name])(*args))
