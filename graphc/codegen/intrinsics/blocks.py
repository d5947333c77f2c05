"""Sweeps over blocks of contiguous values, and trees of what they leave.

In: the address of a block, what changes nothing, what a step makes of some vectors.  Out: the state after all values.
Four vectors (of two lanes, eight) are taken at once, and combined as a tree, then its halves: the same order wherever
and however it is compiled, on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from graphc.codegen.intrinsics.target import SEVERAL
from graphc.codegen.intrinsics.vectors import I32, Values, Vectors, integer

_CHAINS = 4  # vectors that accumulate, which hides the latency of an addition
_STREAMS = 4  # parts of a block that are read at the same time
_ACCUMULATORS = 16  # at least; with fewer, a sum of 1,024 is off by more than twice what NumPy's is
Combine = Callable[[ir.Value, ir.Value], ir.Value]
Step = Callable[[Values, Values], Values]


def accumulators(lanes: Vectors) -> int:
    """How many vectors accumulate."""
    return max(_CHAINS, _ACCUMULATORS // lanes.lanes)


def sweep_block(lanes: Vectors, address: ir.Value, n: ir.Value, neutral: ir.Value, state: Values, step: Step) -> Values:
    """The state after all values, some vectors a step; beyond the last value stands the neutral one."""
    return sweep_each(lanes, [address], n, neutral, state, step)[0]


def sweep_each(
    lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value, neutral: ir.Value, start: Values, step: Step
) -> list[Values]:
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


def sweep_in_any_order(
    lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Value, neutral: ir.Value, start: Values, step: Step
) -> list[Values]:
    """The same, a single block from several places."""
    places = list(addresses)
    if len(places) == 1:
        places[0], n, *start = _abreast(lanes, places[0], n, start, step)
    return sweep_each(lanes, places, n, neutral, start, step)


def _abreast(lanes: Vectors, address: ir.Value, n: ir.Value, state: Values, step: Step) -> Values:
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


def tree(lanes: Vectors, vectors: Values, combine: Combine) -> ir.Value:
    """All lanes of all vectors combined, by halves."""
    return across(lanes, paired(vectors, combine), combine)


def across(lanes: Vectors, vector: ir.Value, combine: Combine) -> ir.Value:
    """All lanes of a vector combined, by halves."""
    width = lanes.lanes
    while width > 1:
        width //= 2
        vector = combine(vector, lanes.rotate(vector, width))
    return lanes.builder.extract_element(vector, ir.Constant(I32, 0))


def paired(vectors: Values, combine: Combine) -> ir.Value:
    """All of them combined, pair by pair."""
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=False)
        vectors = [*(combine(x, y) for x, y in pairs), *vectors[len(vectors) & ~1 :]]
    return vectors[0]
