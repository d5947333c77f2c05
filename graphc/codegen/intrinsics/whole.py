"""Where the largest and smallest of a block of integers stand.

In: the address of contiguous integers and their number, at least one.  Out: the position of the first extreme.  Its
value is found first, in vectors; then the vector that holds it is looked for, which lies near by then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.vectors import I64, POINTER, Control, Values, integer

_CHAINS = 4  # vectors that are compared in turn, so that none waits for the one before


@cache
def position(operation: str, code: str) -> Any:
    """Intrinsic (address, n) -> the first position of the largest (argmax) or smallest (argmin) of n integers."""

    def body(builder: ir.IRBuilder, address: ir.Value, n: ir.Value) -> ir.Value:
        return _Block(builder, code, operation, address, n).position()

    @intrinsic
    def folded(typingctx: Any, address: Any, n: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return call_routine(builder, f"{operation}_{code}", I64, args, body)

        return types.int64(types.int64, types.int64), codegen

    return folded


class _Block(Control):
    """A block of integers, and the relation in which the extreme stands to the others."""

    def __init__(self, builder: ir.IRBuilder, code: str, operation: str, address: ir.Value, n: ir.Value) -> None:
        super().__init__(builder, int(code[1]))
        self.int = ir.IntType(8 * self.bytes)
        self.type = ir.VectorType(self.int, self.lanes)
        self.compare = builder.icmp_signed if code[0] == "i" else builder.icmp_unsigned
        self.relation = {"argmax": ">", "argmin": "<"}[operation]
        self.address, self.n = address, n

    def position(self) -> ir.Value:
        extreme = self._extreme()
        return self._first(self._vector_with(self.splat(extreme)), extreme)

    def _load(self, i: ir.Value, kind: ir.Type, more: int = 0) -> ir.Value:
        address = self.builder.add(self.address, self.builder.mul(i, integer(self.bytes)))
        address = self.builder.add(address, integer(more * self.bytes))
        return self.builder.load(self.builder.inttoptr(address, POINTER), align=self.bytes, typ=kind)

    def _better(self, a: ir.Value, x: ir.Value) -> ir.Value:
        return self.builder.select(self.compare(self.relation, x, a), x, a)

    def _below(self, step: int) -> ir.Value:
        """The largest multiple of a step, a power of two, that is at most n."""
        return self.builder.and_(self.n, integer(-step))

    def _extreme(self) -> ir.Value:
        step = _CHAINS * self.lanes
        start = self.splat(self._load(integer(0), self.int))

        def vectors(i: ir.Value, best: Values) -> Values:
            return [self._better(a, self._load(i, self.type, k * self.lanes)) for k, a in enumerate(best)]

        first, *others = self.loop(integer(0), self._below(step), step, [start] * _CHAINS, vectors)
        for other in others:
            first = self._better(first, other)
        width = self.lanes
        while width > 1:
            width //= 2
            turned = [(lane + width) % self.lanes for lane in range(self.lanes)]
            first = self._better(first, self.shuffle(first, first, turned))
        best = self.builder.extract_element(first, integer(0))

        def single(i: ir.Value, best: Values) -> Values:
            return [self._better(best[0], self._load(i, self.int))]

        (extreme,) = self.loop(self._below(step), self.n, 1, [best], single)
        return extreme

    def _vector_with(self, wanted: ir.Value) -> ir.Value:
        """Where the first whole vector begins that holds an element; where the last one ends, if none does."""
        end = self._below(self.lanes)

        def holds(i: ir.Value) -> ir.Value:
            lanes = self.builder.icmp_signed("==", self._load(i, self.type), wanted)
            same = self.builder.bitcast(lanes, ir.IntType(self.lanes))
            return self.builder.icmp_unsigned("!=", same, ir.Constant(same.type, 0))

        return self._search(integer(0), lambda i: self.less(i, end), holds, self.lanes)

    def _first(self, start: ir.Value, wanted: ir.Value) -> ir.Value:
        """The first position from `start` on, at which there is one."""

        def holds(i: ir.Value) -> ir.Value:
            return self.builder.icmp_signed("==", self._load(i, self.int), wanted)

        return self._search(start, lambda i: self.less(i, self.n), holds, 1)

    def _search(
        self, start: ir.Value, within: Callable[[ir.Value], ir.Value], found: Callable[[ir.Value], ir.Value], step: int
    ) -> ir.Value:
        """The first of start, start + step, ... that is not within, or is found."""
        builder, entry = self.builder, self.builder.block
        ahead, look, on, done = (builder.append_basic_block(name) for name in ("ahead", "look", "on", "done"))
        builder.branch(ahead)
        builder.position_at_end(ahead)
        i = builder.phi(I64)
        i.add_incoming(start, entry)
        builder.cbranch(within(i), look, done)
        builder.position_at_end(look)
        builder.cbranch(found(i), done, on)
        builder.position_at_end(on)
        i.add_incoming(builder.add(i, integer(step)), on)
        builder.branch(ahead)
        builder.position_at_end(done)
        return i
