"""Folds down columns: rows that lie in memory are added to a row of accumulators, or compared with it.

In: the address of rows of contiguous floats, and of the accumulators.  Out: nothing; each accumulator has taken the
values of its column in order, so the bits are those of a loop over rows.  Rows are taken eight at a time, so that an
accumulator is loaded and stored once for eight values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from graphc.codegen.intrinsics.vectors import Values, Vectors, call_body, integer

_ROWS = 8


@cache
def columns(operation: str, code: str) -> Any:
    """Intrinsic (x, row, rows, n, a): a[j] = a[j] + x[0, j] + x[1, j] ..., or max or min; a row is `row` bytes on."""

    def emit(lanes: Vectors, x: ir.Value, row: ir.Value, rows: ir.Value, n: ir.Value, a: ir.Value) -> None:
        _emit_columns(lanes, operation, x, row, rows, n, a)

    typed = call_body(code, f"columns_{operation}_{code}", emit)

    @intrinsic
    def fold(typingctx: Any, x: Any, row: Any, rows: Any, n: Any, a: Any) -> Any:
        return typed(x, row, rows, n, a)

    return fold


def _emit_columns(
    lanes: Vectors, operation: str, x: ir.Value, row: ir.Value, rows: ir.Value, n: ir.Value, a: ir.Value
) -> None:
    builder = lanes.builder
    combine = _added if operation == "add" else _extreme(operation)

    def block(first: ir.Value, count: int) -> Values:
        """Fold `count` rows, from the row at this address on."""
        addresses = [lanes.offset(first, row, k) for k in range(count)]

        def vector(j: ir.Value, mask: ir.Value | None) -> None:
            at = builder.mul(j, integer(lanes.bytes))
            place = lanes.pointer(builder.add(a, at))
            rows = [lanes.load(lanes.pointer(builder.add(address, at)), mask) for address in addresses]
            lanes.store(combine(lanes, lanes.load(place, mask), rows), place, mask)

        _over_columns(lanes, n, vector)
        return []

    def at(i: ir.Value) -> ir.Value:
        return builder.add(x, builder.mul(i, row))

    full = builder.mul(builder.sdiv(rows, integer(_ROWS)), integer(_ROWS))
    lanes.loop(integer(0), full, _ROWS, [], lambda i, _: block(at(i), _ROWS))
    lanes.loop(full, rows, 1, [], lambda i, _: block(at(i), 1))


def _added(lanes: Vectors, value: ir.Value, rows: Values) -> ir.Value:
    for row in rows:
        value = lanes.builder.fadd(value, row)
    return value


def _extreme(operation: str) -> Callable[[Vectors, ir.Value, Values], ir.Value]:
    """One instruction a row, which ignores NaN and signs of zero; where these may count, once more."""
    relation = {"maximum": ">", "minimum": "<"}[operation]

    def exactly(lanes: Vectors, value: ir.Value, rows: Values) -> ir.Value:
        for row in rows:
            value = lanes.call(f"llvm.{operation}", value, row)
        return value

    def combine(lanes: Vectors, value: ir.Value, rows: Values) -> ir.Value:
        builder, best = lanes.builder, value
        for row in rows:
            best = builder.select(builder.fcmp_ordered(relation, row, best), row, best)
        doubtful = builder.fcmp_unordered("ueq", best, lanes.zero)
        for a, b in zip(rows[::2], rows[1::2] or rows, strict=True):
            doubtful = builder.or_(doubtful, builder.fcmp_unordered("uno", a, b))
        flags = builder.bitcast(doubtful, ir.IntType(lanes.lanes))
        (found,) = lanes.choose(
            builder.icmp_unsigned("!=", flags, ir.Constant(flags.type, 0)),
            lambda: [exactly(lanes, value, rows)],
            lambda: [best],
        )
        return found

    return combine


def _over_columns(lanes: Vectors, n: ir.Value, vector: Any) -> None:
    """Whole vectors of columns, then what is left of one."""
    builder = lanes.builder
    width = integer(lanes.lanes)
    whole = builder.mul(builder.sdiv(n, width), width)

    def body(j: ir.Value, carried: Sequence[ir.Value]) -> Values:
        vector(j, None)
        return []

    lanes.loop(integer(0), whole, lanes.lanes, [], body)
    lanes.loop(whole, n, lanes.lanes, [], lambda j, _: [vector(j, lanes.first(builder.sub(n, j)))][:0])
