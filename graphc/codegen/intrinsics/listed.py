"""Rows that need not lie one after the other: a list has a word for each, the bytes from the first row of all.

In: the address of a list, 0 where rows are in order, and the number of the first row.  Out: where rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.intrinsics.vectors import I64, POINTER, Control, Values, integer, prefetch

_WORD = 8
_IN_ORDER = {"rows_listed": "", "sum_listed": "", "rows_in_turn_rows_listed": "rows_in_turn"}  # where there is no list


class Listed:
    """The rows from `first` on that a list tells of, which in order would be at `place`, so many bytes apart."""

    def __init__(self, lanes: Control, rest: Sequence[ir.Value], place: ir.Value, step: ir.Value) -> None:
        self.builder, (address, first) = lanes.builder, rest
        self.words = self.builder.add(address, self.builder.mul(first, integer(_WORD)))
        self.start = self.builder.sub(place, self.builder.mul(first, step))  # where the first of all rows would be

    def address(self, row: ir.Value) -> ir.Value:
        """Where a row is, counted from the first."""
        builder = self.builder
        word = builder.inttoptr(builder.add(self.words, builder.mul(row, integer(_WORD))), POINTER)
        return builder.add(self.start, builder.load(word, typ=I64, align=_WORD))


def with_list(more: str, emit: Callable[..., None]) -> Callable[..., None]:
    """What emits a tile of which `more` holds: with a list a body for where there is one, and one for rows in order.

    One body for both would take more registers for addresses than there are.
    """

    def either(lanes: Control, *arguments: ir.Value) -> None:
        *in_order, address, _ = arguments

        def listed() -> Values:
            emit(more, lanes, *arguments)
            return []

        def plain() -> Values:
            emit(_IN_ORDER[more], lanes, *in_order)
            return []

        lanes.choose(lanes.builder.icmp_signed("!=", address, integer(0)), listed, plain)

    return either if more in _IN_ORDER else partial(emit, more)


@intrinsic
def fetch_listed(typingctx: Any, place: Any, step: Any, count: Any, nbytes: Any, address: Any, first: Any) -> Any:
    """Ask for so many bytes of `count` rows, listed or not; they need not be readable, but the words of a list must."""

    def ask(more: str, lanes: Control, place: ir.Value, step: ir.Value, count: ir.Value, *rest: ir.Value) -> None:
        builder, (nbytes, *where) = lanes.builder, rest
        listed = Listed(lanes, where, place, step) if more else None

        def row(k: ir.Value, _: Values) -> Values:
            start = listed.address(k) if listed else builder.add(place, builder.mul(k, step))

            def line(at: ir.Value, _: Values) -> Values:
                prefetch(builder, at, 1)
                return []

            return lanes.loop(builder.and_(start, integer(-LINE)), builder.add(start, nbytes), LINE, [], line)

        lanes.loop(integer(0), count, 1, [], row)

    def body(builder: ir.IRBuilder, *arguments: ir.Value) -> None:
        with_list("rows_listed", ask)(Control(builder, _WORD), *arguments)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> Any:
        call_routine(builder, "fetch_listed", ir.VoidType(), arguments, body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen
