"""Cumulative sums and products along rows, as many rows at a time as a vector has lanes.

In: the addresses of contiguous rows, and of those of the results.  Out: nothing; each row is scanned as by a scalar,
with the same bits.  An addition waits for the one before it, so a row by itself takes several cycles an element; here
squares are transposed in registers, a vector has an element of each row, and the results are transposed back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from graphc.codegen.intrinsics.vectors import Values, Vectors, call_body, integer

_AHEAD = 512  # bytes: of so many rows the processor does not foresee all


@cache
def scan(operation: str, code: str) -> Any:
    """Intrinsic (n, x, x_row, y, y_row): n elements of rows, `x_row` bytes apart, are scanned into y: sum or product.

    Sums of float32 are taken in float64, those of float64 keep what rounding loses; integers wrap.
    """

    def emit(lanes: Vectors, n: ir.Value, x: ir.Value, x_row: ir.Value, y: ir.Value, y_row: ir.Value) -> None:
        step = _Sums(lanes) if operation == "sum" and lanes.is_float else _Fold(lanes, operation)
        _scan(lanes, step, n, (x, x_row), (y, y_row))

    typed = call_body(code, f"scan_{operation}_{code}", emit)
    return intrinsic(lambda typingctx, n, x, x_row, y, y_row: typed(n, x, x_row, y, y_row))


@cache
def scan_on(code: str) -> Any:
    """Intrinsic (n, x, x_row, y, y_row, before, more): the same sums of floats, after what was before each row.

    That lies in float64 side by side; so does, where x is float64, what rounding has added to it.
    """

    def emit(
        lanes: Vectors, n: ir.Value, x: ir.Value, x_row: ir.Value, y: ir.Value, y_row: ir.Value, *at: ir.Value
    ) -> None:
        step = _Sums(lanes)
        step.initial = [
            lanes.builder.load(lanes.pointer(place), typ=step.wide, align=8)
            for place, _ in zip(at, step.initial, strict=False)
        ]
        _scan(lanes, step, n, (x, x_row), (y, y_row))

    typed = call_body(code, f"scan_sum_on_{code}", emit)
    return intrinsic(lambda typingctx, n, x, x_row, y, y_row, before, more: typed(n, x, x_row, y, y_row, before, more))


class _Fold:
    """What an element of each row is folded into: a vector of their like."""

    def __init__(self, lanes: Vectors, operation: str) -> None:
        self.initial: Values = [lanes.constant(int(operation == "product"))]
        self.combine = lanes.mul if operation == "product" else lanes.add

    def __call__(self, state: Values, x: ir.Value) -> tuple[Values, ir.Value]:
        result = self.combine(state[0], x)
        return [result], result


class _Sums:
    """Sums of floats: two halves in float64, or a vector and what rounding has added to it."""

    def __init__(self, lanes: Vectors) -> None:
        self.lanes, self.builder = lanes, lanes.builder
        self.wide = ir.VectorType(ir.DoubleType(), lanes.lanes)
        self.initial: Values = [ir.Constant(self.wide, -0.0)]
        if lanes.bytes == 8:
            self.initial.append(lanes.zero)

    def __call__(self, state: Values, x: ir.Value) -> tuple[Values, ir.Value]:
        builder = self.builder
        if self.lanes.bytes == 4:
            total = builder.fadd(state[0], builder.fpext(x, self.wide))
            return [total], builder.fptrunc(total, self.lanes.type)
        before, more = state
        total = builder.fadd(before, x)
        part = builder.fsub(total, before)
        error = builder.fadd(builder.fsub(before, builder.fsub(total, part)), builder.fsub(x, part))
        finite = builder.fcmp_ordered("==", builder.fsub(total, total), self.lanes.zero)
        more = builder.fsub(more, builder.select(finite, error, self.lanes.zero))
        return [total, more], builder.fsub(total, more)


def _scan(lanes: Vectors, step: Any, n: ir.Value, source: tuple[ir.Value, ...], to: tuple[ir.Value, ...]) -> None:
    builder, side = lanes.builder, lanes.lanes

    def square(j: ir.Value, state: Values, mask: ir.Value | None) -> Values:
        """Elements j .. of every row."""
        at, found = builder.mul(j, integer(lanes.bytes)), []
        (x, x_row), (y, y_row) = source, to
        places = [lanes.offset(builder.add(x, at), x_row, k) for k in range(side)]
        for place in places:
            lanes.prefetch(builder.add(place, integer(_AHEAD)))
        rows = [lanes.load(lanes.pointer(place), mask) for place in places]
        for value in lanes.transpose(rows):
            state, result = step(state, value)
            found.append(result)
        for k, row in enumerate(lanes.transpose(found)):
            lanes.store(row, lanes.pointer(lanes.offset(builder.add(y, at), y_row, k)), mask)
        return state

    whole = builder.mul(builder.sdiv(n, integer(side)), integer(side))
    state = lanes.loop(integer(0), whole, side, step.initial, lambda j, state: square(j, state, None))
    lanes.loop(whole, n, side, state, lambda j, state: square(j, state, lanes.first(builder.sub(n, j))))
