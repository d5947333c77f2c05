"""Sums, products, extremes and their positions in a block of values, in an order that no optimiser changes.

In: the address of contiguous elements and their number.  Out: what they come to, or where one stands (of integers, see
whole.py), with the same bits wherever and however the call is compiled, on one machine: see blocks.py for the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.ahead import ONE_STREAM, swept
from graphc.codegen.intrinsics.blocks import (
    Combine,
    accumulators,
    across,
    paired,
    sweep_block,
    sweep_each,
    sweep_in_any_order,
    tree,
)
from graphc.codegen.intrinsics.memory import NUMBA_TYPES
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.target import SHORT, host_vector_bytes
from graphc.codegen.intrinsics.vectors import I1, I64, Values, Vectors


@cache
def total(operation: str, code: str) -> Any:
    """Intrinsic (address, n) -> the sum, product, max or min (NaN if there is one) of n elements; max, min of bools."""
    kind = I1 if code == "b1" else Vectors(None, code).element
    typed = _typed(operation, code, partial(_fold, operation), NUMBA_TYPES[code], kind)
    return intrinsic(lambda typingctx, address, n: typed(address, n))


@cache
def position(operation: str, code: str) -> Any:
    """Intrinsic (address, n, read) -> the first position of the largest (argmax) or smallest of n floats, or of a NaN.

    `read` are the bytes of all that is read, by other blocks as well, 0 of a block in caches.
    """
    typed = _typed(operation, code, partial(_position, operation), types.int64, I64)
    return intrinsic(lambda typingctx, address, n, read: typed(address, n, read))


@cache
def state(operation: str, code: str) -> Any:
    """Intrinsic (address, n, to, read): the parts of the state of n floats go to `to`; `read` as for positions.

    deviation: the mean, the rest of the mean, squared distances; logsumexp: the largest, the sum of exp of distances.
    """
    emit = {"deviation": _deviation, "logsumexp": _logsumexp}[operation]
    typed = _typed(operation, code, emit, types.void, ir.VoidType())
    return intrinsic(lambda typingctx, address, n, to, read: typed(address, n, to, read))


def _typed(operation: str, code: str, emit: Callable[..., Any], result: Any, llvm_result: ir.Type) -> Any:
    """What an intrinsic (address, n, ...) returns to Numba: what `emit` builds, in place of few elements, or a call."""

    def body(builder: ir.IRBuilder, *args: ir.Value) -> Any:
        return emit(Vectors(builder, code), *args)

    def typed(*parameters: Any) -> tuple[Any, Any]:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            if _is_short(args[1], code):
                value = in_place(builder, body, args)
            else:
                value = call_routine(builder, f"{operation}_{code}", llvm_result, args, body)
            return context.get_dummy_value() if result is types.void else value

        return result(*[types.int64] * len(parameters)), codegen

    return typed


def _is_short(n: ir.Value, code: str) -> bool:
    return isinstance(n, ir.Constant) and n.constant * int(code[1]) <= SHORT * host_vector_bytes()


def in_place(builder: ir.IRBuilder, body: Callable[..., Any], args: Values) -> Any:
    """What a routine does, without a call; no rounding is contracted with what comes before or after."""
    strict = ir.IRBuilder(builder.block)
    value = body(strict, *args)
    builder.position_at_end(strict.block)
    return value


_NEUTRAL = {
    "sum": -0.0, "product": 1.0, "max": float("-inf"), "min": float("inf"),
    "argmax": float("-inf"), "argmin": float("inf"),
}  # fmt: skip
RELATIONS = {"max": ">", "min": "<"}
EXACT = {"max": "llvm.maximum", "min": "llvm.minimum"}


def _fold(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value) -> ir.Value:
    return fold_each(operation, lanes, [address], n)[0]


def fold_each(operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value) -> Values:
    """What each of some blocks of n elements comes to, taken in turn."""
    if operation in RELATIONS and lanes.is_float:
        return _extremes(operation, lanes, addresses, n)
    found = _folded_each(operation, lanes, addresses, n, combination(lanes, operation))
    return [lanes.builder.trunc(x, I1) for x in found] if lanes.kind == "b" else found


def combination(lanes: Vectors, operation: str) -> Combine:
    """What makes one of two elements, or vectors of them; of extremes, the second one if it is no better, or NaN."""
    if operation not in RELATIONS:
        return {"sum": lanes.add, "product": lanes.mul}[operation]
    return lambda a, x: lanes.builder.select(lanes.compare(RELATIONS[operation], x, a), x, a)


def neutral_of(lanes: Vectors, operation: str) -> ir.Constant:
    """What changes nothing that it is combined with, in every lane."""
    if lanes.is_float:
        return lanes.constant(_NEUTRAL[operation])
    bits = 8 * lanes.bytes
    least, most = (-1 << bits - 1, (1 << bits - 1) - 1) if lanes.kind == "i" else (0, (1 << bits) - 1)
    return lanes.constant({"sum": 0, "product": 1, "max": least, "min": most}[operation])


def fold_with(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value, combine: Combine) -> ir.Value:
    """What one block comes to, from what changes nothing on."""
    return _folded_each(operation, lanes, [address], n, combine)[0]


def _folded_each(
    operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value, combine: Combine
) -> Values:
    return [across(lanes, x, combine) for x in vector_of_each(operation, lanes, addresses, n, combine)]


def vector_of_each(
    operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value, combine: Combine
) -> Values:
    """What each block comes to, lane by lane."""
    neutral, sweep = neutral_of(lanes, operation), sweep_each if lanes.is_float else sweep_in_any_order
    first = _unless(neutral, combine)

    def step(chains: Values, new: Values) -> Values:
        return [first(c, x) for c, x in zip(chains, new, strict=True)]

    states = sweep(lanes, addresses, n, neutral, [neutral] * accumulators(lanes), step)
    return [paired(chains, first) for chains in states]


def _unless(neutral: ir.Constant, combine: Combine) -> Combine:
    """The same, but for what is known to change nothing: of extremes LLVM does not know it, for the sake of NaN."""
    return lambda a, x: x if a is neutral else a if x is neutral else combine(a, x)


def _extremes(operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value) -> Values:
    """The extremes, once more where what is found in one instruction a vector may not be all."""
    builder, better = lanes.builder, combination(lanes, operation)

    def exact(address: ir.Value, best: ir.Value, total: ir.Value) -> ir.Value:
        found = across(lanes, best, better)
        is_zero = builder.fcmp_ordered("==", found, ir.Constant(found.type, 0.0))
        doubtful = builder.or_(has_nan(lanes, total), is_zero)
        (result,) = lanes.choose(doubtful, lambda: [fold_exactly(operation, lanes, address, n)], lambda: [found])
        return result

    found = extremes_of_each(operation, lanes, addresses, n)
    return [exact(address, *parts) for address, parts in zip(addresses, found, strict=True)]


def extremes_of_each(
    operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value
) -> list[tuple[ir.Value, ir.Value]]:
    """Of each block the extremes, lane by lane, in one instruction a vector, which ignores NaN and signs of zero; and
    the sum.

    A sum tells whether there is a NaN (or infinities of both signs): it takes no masks, of which a processor has fewer
    than of loads that are on the way.
    """
    builder, neutral = lanes.builder, neutral_of(lanes, operation)
    better = _unless(neutral, combination(lanes, operation))

    def step(state: Values, new: Values) -> Values:
        *best, total = state
        there = [x for x in new if x is not neutral]
        return [*map(better, best, new), builder.fadd(total, added(lanes, there))]

    states = sweep_in_any_order(lanes, addresses, n, neutral, [*[neutral] * accumulators(lanes), lanes.zero], step)
    return [(paired(best, better), total) for *best, total in states]


def has_nan(lanes: Vectors, total: ir.Value) -> ir.Value:
    """Whether what such sums add up to is one."""
    return lanes.any(lanes.builder.fcmp_unordered("uno", total, total))


def fold_exactly(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value) -> ir.Value:
    """The extreme of a block with NaN and signs of zero."""
    return fold_with(operation, lanes, address, n, lambda a, x: lanes.call(EXACT[operation], a, x))


def added(lanes: Vectors, vectors: Values) -> ir.Value:
    """Their sum, pair by pair."""
    return paired(vectors, lanes.add)


def _deviation(lanes: Vectors, address: ir.Value, n: ir.Value, to: ir.Value, read: ir.Value) -> None:
    """The mean, rounded; then the distances from it, which add up to what rounding has taken from the mean."""
    builder, count = lanes.builder, accumulators(lanes)
    number = builder.sitofp(n, lanes.element)
    (total,) = swept(lanes, read, ONE_STREAM, lambda first: [fold_with("sum", first, address, n, builder.fadd)])
    mean = builder.fdiv(total, number)
    middle = lanes.splat(mean)

    def step(state: Values, new: Values) -> Values:
        apart = [builder.fsub(x, middle) for x in new]
        sums = [builder.fadd(s, d) for s, d in zip(state[:count], apart, strict=True)]
        return [*sums, *(lanes.fma(d, d, q) for q, d in zip(state[count:], apart, strict=True))]

    state = sweep_block(lanes, address, n, middle, [lanes.zero] * (2 * count), step)
    total, squares = (tree(lanes, part, builder.fadd) for part in (state[:count], state[count:]))
    rest = builder.fdiv(total, number)
    for k, part in enumerate((mean, rest, without_mean(lanes, squares, builder.fmul(total, rest)))):
        lanes.store_scalar(part, lanes.pointer(to, k))


def shrunk(lanes: Vectors, x: ir.Value, top: ir.Value) -> ir.Value:
    """exp(x - top); 1 where both are infinite."""
    same = lanes.builder.fcmp_ordered("==", x, top)
    return lanes.exp(lanes.builder.select(same, lanes.zero, lanes.builder.fsub(x, top)))


def _logsumexp(lanes: Vectors, address: ir.Value, n: ir.Value, to: ir.Value, read: ir.Value) -> None:
    """Where all are -inf the sum may count what is beyond the last as well, and is of no account."""
    builder = lanes.builder
    (top,) = swept(lanes, read, ONE_STREAM, lambda first: [_fold("max", first, address, n)])
    tops, neutral = lanes.splat(top), ir.Constant(lanes.type, float("-inf"))

    def step(sums: Values, new: Values) -> Values:
        pairs = zip(sums, new, strict=True)
        return [s if x is neutral else builder.fadd(s, shrunk(lanes, x, tops)) for s, x in pairs]

    sums = sweep_block(lanes, address, n, neutral, [lanes.zero] * accumulators(lanes), step)
    for k, part in enumerate((top, tree(lanes, sums, builder.fadd))):
        lanes.store_scalar(part, lanes.pointer(to, k))


def without_mean(lanes: Vectors, squares: ir.Value, own: ir.Value) -> ir.Value:
    """Squared distances from the mean, from those of its rounded value: not below 0, and infinite where both are."""
    builder, kind = lanes.builder, squares.type
    zero, infinity = (ir.Constant(kind, value) for value in (0.0, float("inf")))
    less = builder.fsub(squares, own)
    less = builder.select(builder.fcmp_ordered(">", less, zero), less, zero)
    return builder.select(builder.fcmp_ordered("<", own, infinity), less, squares)


def _position(operation: str, lanes: Vectors, address: ir.Value, n: ir.Value, read: ir.Value) -> ir.Value:
    """Each lane keeps the first of its best and the step at which it came; a NaN, if there is one, is looked for."""
    if isinstance(n, ir.Constant) and n.constant <= lanes.lanes and lanes.has_masks:
        return _place_in_vector(operation, lanes, address, n)
    builder, count, relation = lanes.builder, accumulators(lanes), RELATIONS[operation.removeprefix("arg")]
    neutral = ir.Constant(lanes.type, _NEUTRAL[operation])
    first, stride = lanes.integers(range(lanes.lanes)), lanes.integers([count * lanes.lanes] * lanes.lanes)
    never = lanes.integers([1 << 30] * lanes.lanes)

    def step(state: Values, new: Values) -> Values:
        here, nan, best, at = state[0], state[1], state[2 : 2 + count], state[2 + count :]
        for pair in zip(new[::2], new[1::2], strict=True):
            nan = builder.or_(nan, builder.fcmp_unordered("uno", *pair))
        better = [builder.fcmp_ordered(relation, x, a) for x, a in zip(new, best, strict=True)]
        best = [builder.select(c, x, a) for c, x, a in zip(better, new, best, strict=True)]
        at = [builder.select(c, here, p) for c, p in zip(better, at, strict=True)]
        return [builder.add(here, stride), nan, *best, *at]

    def nans(state: Values, new: Values) -> Values:
        here, *at = state
        is_nan = [builder.fcmp_unordered("uno", x, x) for x in new]
        earlier = [builder.and_(c, lanes.less(here, p)) for c, p in zip(is_nan, at, strict=True)]
        return [builder.add(here, stride), *(builder.select(c, here, p) for c, p in zip(earlier, at, strict=True))]

    def earliest(at: Values) -> ir.Value:
        placed = [builder.add(p, lanes.integers([k * lanes.lanes] * lanes.lanes)) for k, p in enumerate(at)]
        return tree(lanes, placed, lambda a, b: builder.select(lanes.less(b, a), b, a))

    def found(best: Values, at: Values) -> ir.Value:
        extreme = tree(lanes, best, lambda a, x: builder.select(builder.fcmp_ordered(relation, x, a), x, a))
        same = [builder.fcmp_ordered("==", a, lanes.splat(extreme)) for a in best]
        return earliest([builder.select(c, p, never) for c, p in zip(same, at, strict=True)])

    def first_nan() -> ir.Value:
        return earliest(sweep_block(lanes, address, n, neutral, [first, *[never] * count], nans)[1:])

    start = [first, lanes.none, *[neutral] * count, *[first] * count]
    _, nan, *state = swept(
        lanes, read, ONE_STREAM, lambda asking: sweep_block(asking, address, n, neutral, start, step)
    )
    (result,) = lanes.choose(lanes.any(nan), lambda: [first_nan()], lambda: [found(state[:count], state[count:])])
    return result if lanes.bytes == 8 else builder.sext(result, I64)


def _place_in_vector(operation: str, lanes: Vectors, address: ir.Value, n: ir.Constant) -> ir.Value:
    """The first lane with the extreme, or with a NaN if there is one."""
    builder, relation = lanes.builder, RELATIONS[operation.removeprefix("arg")]
    mask, kind = lanes.first(n), ir.IntType(lanes.lanes)
    x = builder.select(mask, lanes.load(lanes.pointer(address), mask), lanes.constant(_NEUTRAL[operation]))
    extreme = tree(lanes, [x], lambda a, y: builder.select(builder.fcmp_ordered(relation, y, a), y, a))
    same = builder.bitcast(builder.fcmp_ordered("==", x, lanes.splat(extreme)), kind)
    nans = builder.bitcast(builder.fcmp_unordered("uno", x, x), kind)
    lanes_there = builder.select(builder.icmp_unsigned("!=", nans, kind(0)), nans, same)
    return builder.zext(builder.cttz(lanes_there, I1(0)), I64)
