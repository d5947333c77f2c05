"""Sums, products and extremes of a block of values, in an order that no optimiser changes.

In: the address of contiguous floats and their number.  Out: what they come to, or where a value stands.  Four vectors
(of two lanes, eight) accumulate in turn and are combined as a tree, then its halves: the same bits wherever and however
the call is compiled, on one machine.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.memory import NUMBA_TYPES
from graphc.codegen.intrinsics.vectors import I32, I64, Values, Vectors, integer

BLOCK = 1_024  # elements that a reduction may add in any order; they fit a block of the stack
_CHAINS = 4  # vectors that accumulate, which hides the latency of an addition
_ACCUMULATORS = 16  # at least; with fewer, a sum of 1,024 is off by more than twice what NumPy's is


@cache
def total(operation: str, code: str) -> Any:
    """Intrinsic (address, n) -> the sum, product, max or min (NaN if there is one) of n floats, f4 or f8."""
    scalar: ir.Type = ir.FloatType() if code == "f4" else ir.DoubleType()
    return _function(f"graphc_{operation}_{code}", code, NUMBA_TYPES[code], scalar, partial(_fold, operation))


@cache
def first_of(code: str) -> Any:
    """Intrinsic (address, n, value) -> the first position of a value among n floats; of the first NaN if it is NaN."""
    return _function(f"graphc_first_of_{code}", code, types.int64, I64, _first_of, NUMBA_TYPES[code])


def _function(name: str, code: str, result: Any, llvm_result: ir.Type, emit: Any, *more: Any) -> Any:
    """An intrinsic (address, n, *more) that calls one function of the module, whose body `emit` builds."""

    def typed(*operands: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            body = builder.module.globals.get(name) or _define(builder.module, code, name, llvm_result, args, emit)
            return builder.call(body, args)

        return result(types.int64, types.int64, *more), codegen

    if more:
        return intrinsic(lambda typingctx, address, n, value: typed(address, n, value))
    return intrinsic(lambda typingctx, address, n: typed(address, n))


def _define(module: ir.Module, code: str, name: str, result: ir.Type, args: Any, emit: Any) -> ir.Function:
    body = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), name)
    body.linkage = "linkonce_odr"
    for attribute in ("noinline", "nounwind", "optsize"):
        body.attributes.add(attribute)
    builder = ir.IRBuilder(body.append_basic_block("entry"))
    builder.ret(emit(Vectors(builder, code), *body.args))
    return body


_NEUTRAL = {"sum": -0.0, "product": 1.0, "max": float("-inf"), "min": float("inf")}


def _fold(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value) -> ir.Value:
    builder = lanes.builder
    combine = {
        "sum": builder.fadd,
        "product": builder.fmul,
        "max": lambda a, b: lanes.call("llvm.maximum", a, b),
        "min": lambda a, b: lanes.call("llvm.minimum", a, b),
    }[operation]
    neutral = ir.Constant(lanes.type, [_NEUTRAL[operation]] * lanes.lanes)
    count = max(_CHAINS, _ACCUMULATORS // lanes.lanes)
    stride = count * lanes.lanes

    def at(i: ir.Value, chain: int) -> ir.Value:
        return lanes.pointer(builder.add(address, builder.mul(i, integer(lanes.bytes))), chain * lanes.lanes)

    def whole(i: ir.Value, chains: Values) -> Values:
        return [combine(c, lanes.load(at(i, k))) for k, c in enumerate(chains)]

    def tail(i: ir.Value, chains: Values) -> Values:
        out = []
        for k, c in enumerate(chains):
            mask = lanes.first(builder.sub(n, builder.add(i, integer(k * lanes.lanes))))
            out.append(combine(c, builder.select(mask, lanes.load(at(i, k), mask), neutral)))
        return out

    full = builder.mul(builder.sdiv(n, integer(stride)), integer(stride))
    chains = lanes.loop(integer(0), full, stride, [neutral] * count, whole)
    chains = lanes.loop(full, n, stride, chains, tail)
    while len(chains) > 1:
        chains = [combine(a, b) for a, b in zip(chains[::2], chains[1::2], strict=True)]
    vector = chains[0]
    width = lanes.lanes
    while width > 1:
        width //= 2
        vector = combine(vector, lanes.rotate(vector, width))
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _first_of(lanes: Vectors, address: ir.Value, n: ir.Value, value: ir.Value) -> ir.Value:
    builder = lanes.builder
    kind = ir.VectorType(I32, lanes.lanes)
    steps = ir.Constant(kind, list(range(lanes.lanes)))
    wanted, far = lanes.splat(value), ir.Constant(kind, [BLOCK] * lanes.lanes)

    def nearer(a: ir.Value, b: ir.Value) -> ir.Value:
        return builder.select(builder.icmp_signed("<", a, b), a, b)

    def look(i: ir.Value, nearest: Values) -> Values:
        mask = lanes.first(builder.sub(n, i))
        here = lanes.load(lanes.pointer(builder.add(address, builder.mul(i, integer(lanes.bytes)))), mask)
        # Where one is NaN, so is the extreme that is looked for.
        same = builder.or_(builder.fcmp_ordered("==", here, wanted), builder.fcmp_unordered("uno", here, here))
        found = builder.and_(mask, same)
        positions = builder.add(lanes.splat(builder.trunc(i, I32)), steps)
        return [nearer(builder.select(found, positions, far), nearest[0])]

    (nearest,) = lanes.loop(integer(0), n, lanes.lanes, [far], look)
    width = lanes.lanes
    while width > 1:
        width //= 2
        nearest = nearer(nearest, lanes.rotate(nearest, width))
    return builder.sext(builder.extract_element(nearest, ir.Constant(I32, 0)), I64)


@cache
def stack(number: int) -> Any:
    """Intrinsic () -> the address of a block of BLOCK elements on the calling function's stack, always the same one."""

    @intrinsic
    def block(typingctx: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            blocks = builder.function.__dict__.setdefault("_graphc_stack", {})
            if number not in blocks:
                with builder.goto_entry_block():
                    blocks[number] = builder.alloca(ir.ArrayType(I64, BLOCK))
                    blocks[number].align = 64
            return builder.ptrtoint(blocks[number], I64)

        return types.int64(), codegen

    return block
