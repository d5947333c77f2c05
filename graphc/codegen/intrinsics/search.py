"""Where a value belongs among elements in rising order: a binary search, with the order of sorts."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.memory import NUMBA_TYPES
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.sort import Keys
from graphc.codegen.intrinsics.vectors import I64, POINTER, Values, integer


@cache
def search(side: str, code: str) -> Any:
    """Intrinsic (x, step, n, value): how many of n elements, `step` bytes apart from x on, come before the value.

    On the side "right", those that are equal to it come before it too.
    """

    def body(builder: ir.IRBuilder, *arguments: ir.Value) -> ir.Value:
        return _emit(Keys(builder, code), "<=" if side == "right" else "<", *arguments)

    @intrinsic
    def found(typingctx: Any, x: Any, step: Any, n: Any, value: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> ir.Value:
            *where, value = arguments
            bits = value if isinstance(value.type, ir.IntType) else builder.bitcast(value, ir.IntType(8 * int(code[1])))
            return call_routine(builder, f"search_{side}_{code}", I64, [*where, bits], body)

        return types.int64(*[types.int64] * 3, NUMBA_TYPES[code]), codegen

    return found


def _emit(keys: Keys, before: str, x: ir.Value, step: ir.Value, n: ir.Value, value: ir.Value) -> ir.Value:
    b, wanted = keys.builder, keys.key(value)

    def halve(_: ir.Value, ends: Values) -> Values:
        low, high = ends
        middle = b.lshr(b.add(low, high), integer(1))
        open_ = b.icmp_signed("<", low, high)
        place = b.add(x, b.mul(b.select(open_, middle, integer(0)), step))
        element = b.load(b.inttoptr(place, POINTER), align=keys.bytes, typ=keys.type)
        up = b.icmp_unsigned(before, keys.key(element), wanted)
        low, up_to = b.select(b.and_(open_, up), b.add(middle, integer(1)), low), b.select(up, high, middle)
        return [low, b.select(open_, up_to, high)]

    width = b.sub(integer(64), b.ctlz(n, ir.Constant(ir.IntType(1), 0)))  # halvings until nothing is left
    return keys.loop(integer(0), width, 1, [integer(0), n], halve)[0]
