"""Sums, products and extremes down columns: rows that lie in memory are folded into a row of their like.

In: the address of rows of contiguous elements, and of the states.  Out: nothing; each state has taken the values of its
column, in an order that the numbers of rows and columns alone decide.  The states of a few columns, whose number is
known, are held in registers, in a routine of their own.  Of many, a row from each of four parts is taken at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.total import EXACT, RELATIONS, added, combination, neutral_of
from graphc.codegen.intrinsics.vectors import Values, Vectors, integer

_PARTS = 4  # memory brings several streams faster than one
_HELD = 16  # vectors of states that are held in registers, half of those of AVX-512
_CHAINS = 8  # vectors that are folded in turn, so that none waits for the one before
Vector = Callable[[Vectors, ir.Value, Any, Values], Values]  # lanes, offset in bytes, mask, what is carried


@cache
def down(operation: str, code: str) -> Any:
    """Intrinsic (x, row, rows, n, a): folds x[0, :], x[1, :] ... into a[:]; a row is `row` bytes on.

    sum, product, max and min of any dtype, of bools max and min.
    """

    @intrinsic
    def folded(typingctx: Any, x: Any, row: Any, rows: Any, n: Any, a: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> Any:
            count = args[3].constant if isinstance(args[3], ir.Constant) else None

            def body(builder: ir.IRBuilder, *arguments: ir.Value) -> None:
                _Rows(Vectors(builder, code), operation, *arguments).fold(count)

            own = f"_{count}" if count is not None and _is_held(Vectors(builder, code), count) else ""
            call_routine(builder, f"columns_{operation}_{code}{own}", ir.VoidType(), args, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), codegen

    return folded


def _is_held(lanes: Vectors, n: int) -> bool:
    """Whether the states of so many columns are held in registers."""
    vectors = -(-n // lanes.lanes)
    most = _HELD if lanes.masks_are_free else _HELD // 2
    return 0 < vectors <= most and (lanes.has_masks or n % lanes.lanes == 0)


class _Rows:
    """Rows of n elements, each `row` bytes after the one before, and the row of states at `a`."""

    def __init__(
        self, lanes: Vectors, operation: str, x: ir.Value, row: ir.Value, rows: ir.Value, n: ir.Value, a: ir.Value
    ) -> None:
        self.lanes, self.builder, self.operation = lanes, lanes.builder, operation
        self.x, self.row, self.rows, self.n, self.a = x, row, rows, n, a
        self.combine = combination(lanes, operation)
        self.is_quick = operation in RELATIONS and lanes.is_float

    def fold(self, count: int | None) -> None:
        """Extremes take one instruction a vector, which ignores NaN and signs of zero; where these count, once more.

        A sum of all rows tells whether there is a NaN, as in a block; one in a state stays there.
        """
        held = count is not None and _is_held(self.lanes, count)
        total = self._held(count) if held and count is not None else self._apart()
        if self.is_quick:
            builder, zero = self.builder, self.lanes.zero
            doubtful = self._over(integer(0), self._found_zero, [builder.fcmp_unordered("uno", total, zero)])
            self.lanes.choose(self.lanes.any(*doubtful), self._exactly, list)

    def _address(self, i: ir.Value) -> ir.Value:
        return self.builder.add(self.x, self.builder.mul(i, self.row))

    # few columns
    def _held(self, count: int) -> ir.Value:
        """Row after row, as they lie in memory; of few columns several rows in turn.  The sum, if it is wanted."""
        lanes, builder = self.lanes, self.builder
        masks = [lanes.some(min(count - j, lanes.lanes)) for j in range(0, count, lanes.lanes)]
        turns = max(_CHAINS // len(masks), 1)

        def loaded(address: ir.Value) -> Values:
            return [lanes.load(lanes.pointer(address, k * lanes.lanes), mask) for k, mask in enumerate(masks)]

        def step(i: ir.Value, state: Values, turns: int) -> Values:
            *states, total = state
            new = [v for t in range(turns) for v in loaded(self._address(builder.add(i, integer(t))))]
            folded = list(map(self.combine, states, new))
            if self.is_quick:
                total = lanes.add(total, added(lanes, new))
            return [*folded, *states[len(folded) :], total]

        neutral = neutral_of(lanes, self.operation)
        state = [*loaded(self.a), *[neutral] * ((turns - 1) * len(masks)), lanes.zero]
        whole = builder.mul(builder.sdiv(self.rows, integer(turns)), integer(turns))
        state = lanes.loop(integer(0), whole, turns, state, lambda i, state: step(i, state, turns))
        *state, total = lanes.loop(whole, self.rows, 1, state, lambda i, state: step(i, state, 1))
        for k, mask in enumerate(masks):
            result, *others = state[k :: len(masks)]
            for other in others:
                result = self.combine(result, other)
            lanes.store(result, lanes.pointer(self.a, k * lanes.lanes), mask)
        return total

    # many columns
    def _apart(self) -> ir.Value:
        """Row i of all parts together, in vectors that are whole lines: one that has two is read at half the speed."""
        lanes, builder, rest = self.lanes, self.builder, integer(self.lanes.lanes * self.lanes.bytes - 1)
        each = builder.sdiv(self.rows, integer(_PARTS))
        steps = [lanes.opaque(builder.mul(builder.mul(self.row, each), integer(k))) for k in range(1, _PARTS)]
        before = builder.sdiv(builder.and_(builder.neg(self.x), rest), integer(lanes.bytes))
        is_even = builder.icmp_signed("==", builder.and_(self.row, rest), integer(0))
        first = builder.select(is_even, lanes.least(before, self.n), integer(0))

        def block(i: ir.Value, total: Values, steps: Values) -> Values:
            return self._over(first, partial(self._join, self._address(i), steps), total)

        total = lanes.loop(integer(0), each, 1, [lanes.zero], lambda i, total: block(i, total, steps))
        left = builder.mul(each, integer(_PARTS))
        return lanes.loop(left, self.rows, 1, total, lambda i, total: block(i, total, []))[0]

    def _join(self, start: ir.Value, steps: Values, lanes: Vectors, at: ir.Value, mask: Any, total: Values) -> Values:
        """Fold vectors of some rows into a vector of the states, `at` bytes on."""
        here, place = self.builder.add(start, at), lanes.pointer(self.builder.add(self.a, at))
        addresses = [here, *(self.builder.add(here, step) for step in steps)]
        rows, state = [lanes.load(lanes.pointer(address), mask) for address in addresses], lanes.load(place, mask)
        for row in rows:
            state = self.combine(state, row)
        lanes.store(state, place, mask)
        return [lanes.add(total[0], added(lanes, rows))] if self.is_quick else total

    def _over(self, first: ir.Value, vector: Vector, state: Values) -> Values:
        """Columns before `first`, less than a vector; whole vectors; what is left of one."""
        lanes, builder, width = self.lanes, self.builder, integer(self.lanes.lanes)
        whole = builder.add(first, builder.mul(builder.sdiv(builder.sub(self.n, first), width), width))

        def part(start: ir.Value, stop: ir.Value, state: Values) -> Values:
            if not lanes.has_masks:
                single = Vectors(builder, self.lanes.dtype, 1)
                return lanes.loop(start, stop, 1, state, lambda j, s: vector(single, self._bytes(j), None, s))

            def masked(j: ir.Value, state: Values) -> Values:
                return vector(lanes, self._bytes(j), lanes.first(builder.sub(stop, j)), state)

            return lanes.loop(start, stop, lanes.lanes, state, masked)

        state = part(integer(0), first, state)
        state = lanes.loop(first, whole, lanes.lanes, state, lambda j, s: vector(lanes, self._bytes(j), None, s))
        return part(whole, self.n, state)

    def _bytes(self, j: ir.Value) -> ir.Value:
        return self.builder.mul(j, integer(self.lanes.bytes))

    # where NaN or signs of zero count
    def _found_zero(self, lanes: Vectors, at: ir.Value, mask: Any, found: Values) -> Values:
        state = lanes.load(lanes.pointer(self.builder.add(self.a, at)), mask)
        is_zero = self.builder.fcmp_ordered("==", state, lanes.zero)
        is_zero = is_zero if mask is None else self.builder.and_(is_zero, mask)
        return [self.builder.or_(found[0], is_zero)]

    def _exactly(self) -> Values:
        def vector(start: ir.Value, lanes: Vectors, at: ir.Value, mask: Any, state: Values) -> Values:
            place = lanes.pointer(self.builder.add(self.a, at))
            row = lanes.load(lanes.pointer(self.builder.add(start, at)), mask)
            lanes.store(lanes.call(EXACT[self.operation], lanes.load(place, mask), row), place, mask)
            return []

        def row(i: ir.Value, _: Values) -> Values:
            return self._over(integer(0), partial(vector, self._address(i)), [])

        return self.lanes.loop(integer(0), self.rows, 1, [], row)
