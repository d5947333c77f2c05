"""Sums and products of a block of values, in an order that no optimiser changes.

In: the address of contiguous floats and their number.  Out: their sum or product.  Four vectors accumulate in turn and
are combined as a tree, then its halves: the same bits wherever and however the call is compiled, on one machine.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .memory import NUMBA_TYPES
from .vectors import I64, Values, Vectors, integer

BLOCK = 1_024  # elements that a reduction may add in any order; they fit a block of the stack
_CHAINS = 4  # accumulators, which hide the latency of an addition


@cache
def total(operation: str, code: str) -> Any:
    """Intrinsic (address, n) -> the sum ("sum") or product ("product") of n floats, f4 or f8."""
    result = NUMBA_TYPES[code]
    name = f"graphc_{operation}_{code}"

    @intrinsic
    def fold(typingctx: Any, address: Any, n: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            body = builder.module.globals.get(name) or _define(builder.module, operation, code, name)
            return builder.call(body, args)

        return result(types.int64, types.int64), codegen

    return fold


def _define(module: ir.Module, operation: str, code: str, name: str) -> ir.Function:
    scalar: ir.Type = ir.FloatType() if code == "f4" else ir.DoubleType()
    body = ir.Function(module, ir.FunctionType(scalar, [I64, I64]), name)
    body.linkage = "linkonce_odr"
    for attribute in ("noinline", "nounwind", "optsize"):
        body.attributes.add(attribute)
    builder = ir.IRBuilder(body.append_basic_block("entry"))
    builder.ret(_fold(Vectors(builder, code), operation, *body.args))
    return body


def _fold(lanes: Vectors, operation: str, address: ir.Value, n: ir.Value) -> ir.Value:
    builder = lanes.builder
    combine = builder.fadd if operation == "sum" else builder.fmul
    neutral = lanes.negative_zero if operation == "sum" else ir.Constant(lanes.type, [1.0] * lanes.lanes)
    stride = _CHAINS * lanes.lanes

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
    chains = lanes.loop(integer(0), full, stride, [neutral] * _CHAINS, whole)
    chains = lanes.loop(full, n, stride, chains, tail)
    vector = combine(combine(chains[0], chains[1]), combine(chains[2], chains[3]))
    width = lanes.lanes
    while width > 1:
        width //= 2
        vector = combine(vector, lanes.rotate(vector, width))
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


@cache
def stack(number: int) -> Any:
    """Intrinsic () -> the address of a block of the calling function's stack, of BLOCK elements, the same all through it."""

    @intrinsic
    def block(typingctx: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            blocks = builder.function.__dict__.setdefault("_graphc_stack", {})
            if number not in blocks:
                with builder.goto_entry_block():
                    blocks[number] = builder.alloca(ir.ArrayType(ir.IntType(64), BLOCK))
                    blocks[number].align = 64
            return builder.ptrtoint(blocks[number], I64)

        return types.int64(), codegen

    return block
