"""Sums, products, extremes and their positions in a block of values, in an order that no optimiser changes.

In: the address of contiguous elements and their number.  Out: what they come to, or where one stands (of integers, see
whole.py).  Four vectors (of two lanes, eight) accumulate in turn and are combined as a tree, then its halves: the same
bits wherever and however the call is compiled, on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.ahead import ONE_STREAM, swept
from graphc.codegen.intrinsics.memory import NUMBA_TYPES
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.target import SEVERAL, SHORT, host_vector_bytes
from graphc.codegen.intrinsics.vectors import I1, I32, I64, Values, Vectors, integer

_CHAINS = 4  # vectors that accumulate, which hides the latency of an addition
_STREAMS = 4  # parts of a block that are read at the same time
_ACCUMULATORS = 16  # at least; with fewer, a sum of 1,024 is off by more than twice what NumPy's is


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
Combine = Callable[[ir.Value, ir.Value], ir.Value]


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
    def step(chains: Values, new: Values) -> Values:
        return [combine(c, x) for c, x in zip(chains, new, strict=True)]

    neutral, sweep = neutral_of(lanes, operation), _swept_each if lanes.is_float else _in_any_order
    states = sweep(lanes, addresses, n, neutral, [neutral] * accumulators(lanes), step)
    return [_tree(lanes, chains, combine) for chains in states]


def _extremes(operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value) -> Values:
    """The extremes in one instruction a vector, which ignores NaN and signs of zero; where these count, once more.

    A sum tells whether there is a NaN (or infinities of both signs): it takes no masks, of which a processor has fewer
    than of loads that are on the way.
    """
    builder, better = lanes.builder, combination(lanes, operation)

    def step(state: Values, new: Values) -> Values:
        *best, total = state
        return [*map(better, best, new), builder.fadd(total, added(lanes, new))]

    def exact(address: ir.Value, state: Values) -> ir.Value:
        *best, total = state
        found = _tree(lanes, best, better)
        is_zero = builder.fcmp_ordered("==", found, ir.Constant(found.type, 0.0))
        doubtful = builder.or_(lanes.any(builder.fcmp_unordered("uno", total, total)), is_zero)
        (result,) = lanes.choose(
            doubtful,
            lambda: [fold_with(operation, lanes, address, n, lambda a, x: lanes.call(EXACT[operation], a, x))],
            lambda: [found],
        )
        return result

    neutral = neutral_of(lanes, operation)
    states = _in_any_order(lanes, addresses, n, neutral, [*[neutral] * accumulators(lanes), lanes.zero], step)
    return [exact(address, state) for address, state in zip(addresses, states, strict=True)]


def added(lanes: Vectors, vectors: Values) -> ir.Value:
    """Their sum, pair by pair."""
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=False)
        vectors = [*(lanes.add(x, y) for x, y in pairs), *vectors[len(vectors) & ~1 :]]
    return vectors[0]


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

    state = _swept(lanes, address, n, middle, [lanes.zero] * (2 * count), step)
    total, squares = (_tree(lanes, part, builder.fadd) for part in (state[:count], state[count:]))
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

    sums = _swept(lanes, address, n, neutral, [lanes.zero] * accumulators(lanes), step)
    for k, part in enumerate((top, _tree(lanes, sums, builder.fadd))):
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
        return _tree(lanes, placed, lambda a, b: builder.select(lanes.less(b, a), b, a))

    def found(best: Values, at: Values) -> ir.Value:
        extreme = _tree(lanes, best, lambda a, x: builder.select(builder.fcmp_ordered(relation, x, a), x, a))
        same = [builder.fcmp_ordered("==", a, lanes.splat(extreme)) for a in best]
        return earliest([builder.select(c, p, never) for c, p in zip(same, at, strict=True)])

    def first_nan() -> ir.Value:
        return earliest(_swept(lanes, address, n, neutral, [first, *[never] * count], nans)[1:])

    start = [first, lanes.none, *[neutral] * count, *[first] * count]
    _, nan, *state = swept(lanes, read, ONE_STREAM, lambda asking: _swept(asking, address, n, neutral, start, step))
    (result,) = lanes.choose(lanes.any(nan), lambda: [first_nan()], lambda: [found(state[:count], state[count:])])
    return result if lanes.bytes == 8 else builder.sext(result, I64)


def _place_in_vector(operation: str, lanes: Vectors, address: ir.Value, n: ir.Constant) -> ir.Value:
    """The first lane with the extreme, or with a NaN if there is one."""
    builder, relation = lanes.builder, RELATIONS[operation.removeprefix("arg")]
    mask, kind = lanes.first(n), ir.IntType(lanes.lanes)
    x = builder.select(mask, lanes.load(lanes.pointer(address), mask), lanes.constant(_NEUTRAL[operation]))
    extreme = _tree(lanes, [x], lambda a, y: builder.select(builder.fcmp_ordered(relation, y, a), y, a))
    same = builder.bitcast(builder.fcmp_ordered("==", x, lanes.splat(extreme)), kind)
    nans = builder.bitcast(builder.fcmp_unordered("uno", x, x), kind)
    lanes_there = builder.select(builder.icmp_unsigned("!=", nans, kind(0)), nans, same)
    return builder.zext(builder.cttz(lanes_there, I1(0)), I64)


def accumulators(lanes: Vectors) -> int:
    """How many vectors accumulate."""
    return max(_CHAINS, _ACCUMULATORS // lanes.lanes)


def _swept(
    lanes: Vectors, address: ir.Value, n: ir.Value, neutral: ir.Value, state: Values,
    step: Callable[[Values, Values], Values],
) -> Values:  # fmt: skip
    """The state after all values, some vectors a step; beyond the last value stands the neutral one."""
    return _swept_each(lanes, [address], n, neutral, state, step)[0]


def _swept_each(
    lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value, neutral: ir.Value, start: Values,
    step: Callable[[Values, Values], Values],
) -> list[Values]:  # fmt: skip
    """The same of some blocks, in turn."""
    builder, count = lanes.builder, accumulators(lanes)
    stride, width = count * lanes.lanes, len(start)

    def states(carried: Values) -> list[Values]:
        return [carried[first : first + width] for first in range(0, len(carried), width)]

    def turn(new: Callable[[ir.Value, ir.Value], Values]) -> Callable[[ir.Value, Values], Values]:
        def of_each(i: ir.Value, carried: Values) -> Values:
            parts = zip(addresses, states(carried), strict=True)
            return [x for address, state in parts for x in step(state, new(address, i))]

        return of_each

    def at(address: ir.Value, i: ir.Value, chain: int) -> ir.Value:
        return lanes.pointer(builder.add(address, builder.mul(i, integer(lanes.bytes))), chain * lanes.lanes)

    @turn
    def whole(address: ir.Value, i: ir.Value) -> Values:
        return [lanes.load(at(address, i, k)) for k in range(count)]

    @turn
    def single(address: ir.Value, i: ir.Value) -> Values:
        x = lanes.load_scalar(at(address, i, 0))
        return [builder.insert_element(neutral, x, ir.Constant(I32, 0)), *[neutral] * (count - 1)]

    @turn
    def tail(address: ir.Value, i: ir.Value) -> Values:
        new = []
        for k in range(count):
            if isinstance(n, ir.Constant) and i.constant + k * lanes.lanes >= n.constant:
                new.append(neutral)
                continue
            mask = lanes.first(builder.sub(n, builder.add(i, integer(k * lanes.lanes))))
            new.append(builder.select(mask, lanes.load(at(address, i, k), mask), neutral))
        return new

    carried = start * len(addresses)
    if isinstance(n, ir.Constant) and lanes.has_masks:
        for first in range(0, n.constant, stride):
            carried = (whole if first + stride <= n.constant else tail)(integer(first), carried)
        return states(carried)
    full = builder.mul(builder.sdiv(n, integer(stride)), integer(stride))
    carried = lanes.loop(integer(0), full, stride, carried, whole)
    rest, some = (tail, stride) if lanes.has_masks else (single, 1)
    return states(lanes.loop(full, n, some, carried, rest))


def _in_any_order(
    lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value, neutral: ir.Value, start: Values,
    step: Callable[[Values, Values], Values],
) -> list[Values]:  # fmt: skip
    """The same, a single block from several places."""
    places = list(addresses)
    if len(places) == 1:
        places[0], n, *start = _abreast(lanes, places[0], n, start, step)
    return _swept_each(lanes, places, n, neutral, start, step)


def _abreast(
    lanes: Vectors, address: ir.Value, n: ir.Value, state: Values, step: Callable[[Values, Values], Values]
) -> Values:
    """Where the rest of many values begins, how many are left, and the state after the others, in any order.

    They are taken from four places far apart, since memory brings four streams faster than one.
    """
    if isinstance(n, ir.Constant) and n.constant * lanes.bytes < SEVERAL:
        return [address, n, *state]
    builder, some = lanes.builder, accumulators(lanes) // _STREAMS * lanes.lanes
    part = builder.mul(builder.sdiv(n, integer(_STREAMS * some)), integer(some))
    part = builder.select(lanes.less(n, integer(SEVERAL // lanes.bytes)), integer(0), part)
    nbytes = builder.mul(part, integer(lanes.bytes))

    def whole(i: ir.Value, state: Values) -> Values:
        start, new = builder.add(address, builder.mul(i, integer(lanes.bytes))), []
        for stream in range(_STREAMS):
            here = builder.add(start, builder.mul(nbytes, integer(stream)))
            new += [lanes.load(lanes.pointer(here, k)) for k in range(0, some, lanes.lanes)]
        return step(state, new)

    state = lanes.loop(integer(0), part, some, state, whole)
    done = builder.mul(nbytes, integer(_STREAMS))
    left = builder.sub(n, builder.mul(part, integer(_STREAMS)))
    return [builder.add(address, done), left, *state]


def _tree(lanes: Vectors, vectors: Values, combine: Combine) -> ir.Value:
    """All lanes of all vectors combined, by halves."""
    while len(vectors) > 1:
        vectors = [combine(a, b) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    (vector,), width = vectors, lanes.lanes
    while width > 1:
        width //= 2
        vector = combine(vector, lanes.rotate(vector, width))
    return lanes.builder.extract_element(vector, ir.Constant(I32, 0))
