"""Sums, products and extremes of a block of values, in an order that no optimiser changes.

In: the address of contiguous floats and their number.  Out: what they come to, or where a value stands.  Four vectors
(of two lanes, eight) accumulate in turn and are combined as a tree, then its halves: the same bits wherever and however
the call is compiled, on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.memory import NUMBA_TYPES
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.intrinsics.vectors import I1, I32, I64, Values, Vectors, integer

_CHAINS = 4  # vectors that accumulate, which hides the latency of an addition
_ACCUMULATORS = 16  # at least; with fewer, a sum of 1,024 is off by more than twice what NumPy's is


@cache
def total(operation: str, code: str) -> Any:
    """Intrinsic (address, n) -> the sum, product, max or min (NaN if there is one) of n floats, f4 or f8."""
    scalar: ir.Type = ir.FloatType() if code == "f4" else ir.DoubleType()
    return _function(f"{operation}_{code}", code, NUMBA_TYPES[code], scalar, partial(_fold, operation))


@cache
def first_of(code: str) -> Any:
    """Intrinsic (address, n, value) -> the first position of a value among n floats; of the first NaN if it is NaN."""
    return _function(f"first_of_{code}", code, types.int64, I64, _first_of, NUMBA_TYPES[code])


def _function(name: str, code: str, result: Any, llvm_result: ir.Type, emit: Any, *more: Any) -> Any:
    """An intrinsic (address, n, *more) that calls the routine whose body `emit` builds."""

    def body(builder: ir.IRBuilder, *args: ir.Value) -> ir.Value:
        return emit(Vectors(builder, code), *args)

    def typed(*operands: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return call_routine(builder, name, llvm_result, args, body)

        return result(types.int64, types.int64, *more), codegen

    if more:
        return intrinsic(lambda typingctx, address, n, value: typed(address, n, value))
    return intrinsic(lambda typingctx, address, n: typed(address, n))


_NEUTRAL = {"sum": -0.0, "product": 1.0, "max": float("-inf"), "min": float("inf")}
Combine = Callable[[ir.Value, ir.Value], ir.Value]


def _fold(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value) -> ir.Value:
    if operation in ("max", "min"):
        return _extreme(operation, lanes, address, n)
    return _folded(operation, lanes, address, n, {"sum": lanes.builder.fadd, "product": lanes.builder.fmul}[operation])


def _folded(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value, combine: Combine) -> ir.Value:
    def step(chains: Values, new: Values) -> Values:
        return [combine(c, x) for c, x in zip(chains, new, strict=True)]

    neutral = ir.Constant(lanes.type, [_NEUTRAL[operation]] * lanes.lanes)
    chains = _swept(lanes, address, n, neutral, [neutral] * _count(lanes), step)
    return _tree(lanes, chains, combine)


def _extreme(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value) -> ir.Value:
    """The extreme in one instruction a vector, which ignores NaN and signs of zero; where these count, once more."""
    builder = lanes.builder
    relation, exact = {"max": (">", "llvm.maximum"), "min": ("<", "llvm.minimum")}[operation]

    def better(a: ir.Value, x: ir.Value) -> ir.Value:
        return builder.select(builder.fcmp_ordered(relation, x, a), x, a)

    def step(state: Values, new: Values) -> Values:
        *best, nan = state
        for pair in zip(new[::2], new[1::2], strict=True):  # one comparison tells whether either has a NaN
            nan = builder.or_(nan, builder.fcmp_unordered("uno", *pair))
        return [*map(better, best, new), nan]

    neutral = ir.Constant(lanes.type, [_NEUTRAL[operation]] * lanes.lanes)
    none = ir.Constant(ir.VectorType(I1, lanes.lanes), [0] * lanes.lanes)
    *best, nan = _swept(lanes, address, n, neutral, [*[neutral] * _count(lanes), none], step)
    found = _tree(lanes, best, better)
    flags = builder.bitcast(nan, ir.IntType(lanes.lanes))
    is_zero = builder.fcmp_ordered("==", found, ir.Constant(found.type, 0.0))
    doubtful = builder.or_(builder.icmp_unsigned("!=", flags, ir.Constant(flags.type, 0)), is_zero)
    (result,) = lanes.choose(
        doubtful,
        lambda: [_folded(operation, lanes, address, n, lambda a, x: lanes.call(exact, a, x))],
        lambda: [found],
    )
    return result


def _count(lanes: Vectors) -> int:
    return max(_CHAINS, _ACCUMULATORS // lanes.lanes)


def _swept(
    lanes: Vectors, address: ir.Value, n: ir.Value, neutral: ir.Value, state: Values,
    step: Callable[[Values, Values], Values],
) -> Values:  # fmt: skip
    """The state after all values, some vectors a step; beyond the last value stands the neutral one."""
    builder, count = lanes.builder, _count(lanes)
    stride = count * lanes.lanes

    def at(i: ir.Value, chain: int) -> ir.Value:
        return lanes.pointer(builder.add(address, builder.mul(i, integer(lanes.bytes))), chain * lanes.lanes)

    def whole(i: ir.Value, state: Values) -> Values:
        return step(state, [lanes.load(at(i, k)) for k in range(count)])

    def tail(i: ir.Value, state: Values) -> Values:
        new = []
        for k in range(count):
            mask = lanes.first(builder.sub(n, builder.add(i, integer(k * lanes.lanes))))
            new.append(builder.select(mask, lanes.load(at(i, k), mask), neutral))
        return step(state, new)

    full = builder.mul(builder.sdiv(n, integer(stride)), integer(stride))
    return lanes.loop(full, n, stride, lanes.loop(integer(0), full, stride, state, whole), tail)


def _tree(lanes: Vectors, vectors: Values, combine: Combine) -> ir.Value:
    """All lanes of all vectors combined, by halves."""
    while len(vectors) > 1:
        vectors = [combine(a, b) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    (vector,), width = vectors, lanes.lanes
    while width > 1:
        width //= 2
        vector = combine(vector, lanes.rotate(vector, width))
    return lanes.builder.extract_element(vector, ir.Constant(I32, 0))


def _first_of(lanes: Vectors, address: ir.Value, n: ir.Value, value: ir.Value) -> ir.Value:
    """The search goes on by 32 or 64 values until a bit of the comparisons is set, then through what is left."""
    builder, wanted, stride = lanes.builder, lanes.splat(value), _CHAINS * lanes.lanes

    def bits(i: ir.Value, masks: Sequence[ir.Value | None]) -> ir.Value:
        """A bit for each of the next values that is the one, or NaN; where one is NaN, so is the extreme."""
        found: ir.Value = integer(0)
        start = lanes.pointer(builder.add(address, builder.mul(i, integer(lanes.bytes))))
        for k, mask in enumerate(masks):
            here = lanes.load(builder.gep(start, [integer(k * lanes.lanes)], source_etype=lanes.float), mask)
            same = builder.or_(builder.fcmp_ordered("==", here, wanted), builder.fcmp_unordered("uno", here, here))
            same = same if mask is None else builder.and_(mask, same)
            one = builder.zext(builder.bitcast(same, ir.IntType(lanes.lanes)), I64)
            found = builder.or_(found, builder.shl(one, integer(k * lanes.lanes)))
        return found

    full = builder.mul(builder.sdiv(n, integer(stride)), integer(stride))
    entry, look, more, rest, done = builder.block, *(builder.append_basic_block() for _ in range(4))
    builder.cbranch(builder.icmp_signed("<", integer(0), full), look, rest)
    builder.position_at_end(look)
    i = builder.phi(I64)
    found = bits(i, [None] * _CHAINS)
    position = builder.add(i, builder.cttz(found, I1(0)))
    builder.cbranch(builder.icmp_unsigned("!=", found, integer(0)), done, more)
    builder.position_at_end(more)
    following = builder.add(i, integer(stride))
    builder.cbranch(builder.icmp_signed("<", following, full), look, rest)
    for start, block in ((integer(0), entry), (following, more)):
        i.add_incoming(start, block)
    builder.position_at_end(rest)
    left = builder.sub(n, full)
    last = bits(full, [lanes.first(builder.sub(left, integer(k * lanes.lanes))) for k in range(_CHAINS)])
    end = builder.add(full, builder.cttz(last, I1(0)))
    builder.branch(done)
    builder.position_at_end(done)
    result = builder.phi(I64)
    for place, block in ((position, look), (end, rest)):
        result.add_incoming(place, block)
    return result


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
