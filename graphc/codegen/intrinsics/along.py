"""Sums, products and extremes along rows: of rows that lie in memory, some at a time.

In: the address of rows of contiguous elements, and where results go.  Out: nothing; each result has the bits of a fold
of its row alone.  Short rows that caches hold are folded together, in place.  Else two go at a time, one of the first
half of the rows and one of the second: memory brings two streams faster than one, and the last steps of one row's tree
do not wait for those of another's.  Where caches hold little of what is read, each load asks for what comes later in
its stream: the processor by itself foresees too little of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.ahead import EACH_OF_TWO, FAR, swept
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.together import fold_together, rows_together
from graphc.codegen.intrinsics.total import RELATIONS, fold_each, fold_exactly, in_place
from graphc.codegen.intrinsics.vectors import Values, Vectors, integer


@cache
def along(operation: str, code: str) -> Any:
    """Intrinsic (x, row, rows, n, to, read): to[0], to[1] ... are what n elements of each row, `row` bytes on, come to.

    `read` are the bytes of all that is read, by other chunks as well.
    """

    def body(builder: ir.IRBuilder, *arguments: ir.Value) -> None:
        *rest, read = arguments

        def rows_by(lanes: Vectors) -> Values:
            _emit(operation, lanes, *rest)
            return []

        swept(Vectors(builder, code), read, EACH_OF_TWO, rows_by)

    @intrinsic
    def folded(typingctx: Any, x: Any, row: Any, rows: Any, n: Any, to: Any, read: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> Any:
            *_, n, _, read = args
            if _is_near(read) and _are_short(n, code):
                in_place(builder, lambda b, *a: _emit_together(operation, Vectors(b, code), *a), args[:-1])
                return context.get_dummy_value()
            call_routine(builder, f"rows_{operation}_{code}", ir.VoidType(), args, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return folded


def _is_near(read: ir.Value) -> bool:
    return isinstance(read, ir.Constant) and read.constant <= FAR


def _are_short(n: ir.Value, code: str) -> bool:
    return code[0] == "f" and isinstance(n, ir.Constant) and rows_together(int(code[1]), n.constant) > 1


def _emit_together(
    operation: str, lanes: Vectors, x: ir.Value, row: ir.Value, rows: ir.Value, n: ir.Constant, to: ir.Value
) -> None:
    builder, count = lanes.builder, rows_together(lanes.bytes, n.constant)

    def some(k: ir.Value, _: Values) -> Values:
        first = builder.add(x, builder.mul(k, row))
        addresses = [lanes.offset(first, row, number) for number in range(count)]
        results, is_doubtful = fold_together(operation, lanes, addresses, n)
        builder.store(results, result_at(k), align=lanes.bytes)
        if is_doubtful is not None:
            end = builder.select(is_doubtful, builder.add(k, integer(count)), k)
            lanes.loop(k, end, 1, [], exactly)
        return []

    def result_at(k: ir.Value) -> ir.Value:
        return lanes.pointer(builder.add(to, builder.mul(k, integer(lanes.bytes))))

    def exactly(k: ir.Value, _: Values) -> Values:
        address = builder.add(x, builder.mul(k, row))
        lanes.store_scalar(fold_exactly(operation, lanes, address, n), result_at(k))
        return []

    whole = builder.and_(rows, integer(-count))
    lanes.loop(integer(0), whole, count, [], some)
    one = exactly if operation in RELATIONS else _one_by_one(operation, lanes, x, row, n, to, [integer(0)])
    lanes.loop(whole, rows, 1, [], one)


def _emit(
    operation: str, lanes: Vectors, x: ir.Value, row: ir.Value, rows: ir.Value, n: ir.Value, to: ir.Value
) -> None:
    builder = lanes.builder
    half = builder.sdiv(rows, integer(2))
    lanes.loop(integer(0), half, 1, [], _one_by_one(operation, lanes, x, row, n, to, [integer(0), half]))
    lanes.loop(builder.mul(half, integer(2)), rows, 1, [], _one_by_one(operation, lanes, x, row, n, to, [integer(0)]))


def _one_by_one(
    operation: str, lanes: Vectors, x: ir.Value, row: ir.Value, n: ir.Value, to: ir.Value, apart: Values
) -> Callable[[ir.Value, Values], Values]:
    """The body of a loop that folds a row and those so many rows apart from it, each to a number."""
    builder = lanes.builder

    def fold(k: ir.Value, _: Values) -> Values:
        places = [builder.add(k, distance) for distance in apart]
        addresses = [builder.add(x, builder.mul(place, row)) for place in places]
        for place, value in zip(places, fold_each(operation, lanes, addresses, n), strict=True):
            at = lanes.pointer(builder.add(to, builder.mul(place, integer(lanes.bytes))))
            lanes.store_scalar(builder.zext(value, lanes.element) if lanes.kind == "b" else value, at)
        return []

    return fold
