"""Loops that run as fast as the machine can: the limits that kernels are compared with.

In: nothing.  Out: an LLVM module of functions of words.  `triad` and `triad_past_caches` make a[i] = b[i] + 3 c[i] for
arrays of so many bytes, the latter with streaming stores; `multiply_add_f4` and `_f8` keep both units that multiply and
add busy, with nothing but registers.  Each does it so many times over.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir

from graphc.codegen.intrinsics.routine import Body, LaneBuilder
from graphc.codegen.intrinsics.vectors import I32, I64, POINTER, Values, Vectors, integer

CHAINS = 10  # of multiply-adds, so that none waits for the one before it; they fit 16 registers
UNROLLED = 4  # vectors of a triad's step
STEP = 64 * UNROLLED  # bytes of each array are a multiple of this, however wide vectors are


def module(prefix: str) -> ir.Module:
    """The functions; their names begin with `prefix`."""
    made = ir.Module("limits")
    _define(made, f"{prefix}triad", 5, partial(_triad, False))
    _define(made, f"{prefix}triad_past_caches", 5, partial(_triad, True))
    for code in ("f4", "f8"):
        _define(made, f"{prefix}multiply_add_{code}", 2, partial(_multiply_add, code))
    return made


def flops(code: str, repeats: int) -> int:
    """The operations of `repeats` rounds of multiply-adds."""
    return 2 * CHAINS * (Vectors(None, code).lanes) * repeats


def _define(made: ir.Module, name: str, arguments: int, body: Body) -> None:
    function = ir.Function(made, ir.FunctionType(ir.VoidType(), [I64] * arguments), name)
    builder = LaneBuilder(function.append_basic_block("entry"))
    body(builder, *function.args)
    builder.ret_void()


def _triad(streams: bool, builder: Any, a: Any, b: Any, c: Any, nbytes: Any, repeats: Any) -> None:
    lanes = Vectors(builder, "f8")
    width = lanes.lanes * lanes.bytes
    three = ir.Constant(lanes.type, 3.0)

    def at(base: Any, index: Any, k: int) -> Any:
        return builder.inttoptr(builder.add(base, builder.add(index, integer(k * width))), POINTER)

    def some(index: Any, _: Values) -> Values:
        for k in range(UNROLLED):
            x, y = (builder.load(at(base, index, k), typ=lanes.type, align=width) for base in (b, c))
            store = builder.store(lanes.fma(three, y, x), at(a, index, k), align=width)
            if streams:
                store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(I32, 1)]))
        return []

    def once(_: Any, __: Values) -> Values:
        return lanes.loop(integer(0), nbytes, UNROLLED * width, [], some)

    lanes.loop(integer(0), repeats, 1, [], once)


def _multiply_add(code: str, builder: Any, to: Any, repeats: Any) -> None:
    """The sums go to a vector at `to`, whose elements are what is multiplied by, so that nothing is known before."""
    lanes = Vectors(builder, code)
    place = builder.inttoptr(to, POINTER)
    factor = builder.load(place, typ=lanes.type, align=lanes.bytes)

    def once(_: Any, sums: Values) -> Values:
        return [lanes.fma(s, factor, factor) for s in sums]

    sums = lanes.loop(integer(0), repeats, 1, [factor] * CHAINS, once)
    whole = sums[0]
    for s in sums[1:]:
        whole = builder.fadd(whole, s)
    builder.store(whole, place, align=lanes.bytes)
