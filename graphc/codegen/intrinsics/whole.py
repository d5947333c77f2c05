"""Where the largest and smallest of a block of integers stand.

In: the address of contiguous integers and their number, at least one.  Out: the position of the first extreme.  Each
lane keeps the best that it has met, and in which turn, counted in as many bits as an element has: so long blocks are
taken in parts.  At the end of a part the first turn of all lanes that have the extreme tells where it stands; wide
elements have room for the place itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.ahead import ONE_STREAM, choose_far
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.vectors import I64, POINTER, Control, Values, integer, prefetch

_CHAINS = 4  # vectors that are compared in turn, so that none waits for the one before
_MOST = 1 << 31  # elements of a part
_WIDE = 4  # bytes in which so many are counted


@cache
def position(operation: str, code: str) -> Any:
    """Intrinsic (address, n, read) -> the first position of the largest (argmax) or smallest of n integers.

    `read` are the bytes of all that is read, by other blocks as well, 0 of a block in caches.
    """

    def body(builder: ir.IRBuilder, address: ir.Value, n: ir.Value, read: ir.Value) -> ir.Value:
        near, far = (_Block(builder, code, operation, address, n, asks) for asks in (False, True))
        (found,) = choose_far(near, read, ONE_STREAM, lambda: [far.position()], lambda: [near.position()])
        return found

    @intrinsic
    def folded(typingctx: Any, address: Any, n: Any, read: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return call_routine(builder, f"{operation}_{code}", I64, args, body)

        return types.int64(*[types.int64] * 3), codegen

    return folded


class _Block(Control):
    """A block of integers, the relation of the extreme to the others, and whether loads ask for what lies ahead."""

    def __init__(
        self, builder: ir.IRBuilder, code: str, operation: str, address: ir.Value, n: ir.Value, asks: bool
    ) -> None:
        super().__init__(builder, int(code[1]))
        self.int = ir.IntType(8 * self.bytes)
        self.type = ir.VectorType(self.int, self.lanes)
        self.compare = builder.icmp_signed if code[0] == "i" else builder.icmp_unsigned
        self.relation = {"argmax": ">", "argmin": "<"}[operation]
        self.address, self.n, self.asks = address, n, asks

    def position(self) -> ir.Value:
        """Part by part, of which a later one must have something better."""
        step = _CHAINS * self.lanes
        turns = min((1 << 8 * self.bytes) - 1, _MOST // step)

        def part(base: ir.Value, found: Values) -> Values:
            count = self.least(integer(turns * step), self.builder.sub(self.n, base))
            end = self.builder.add(base, count)
            best = self._turns(base, end, found)
            return self._singles(self.builder.add(base, self.builder.and_(count, integer(-self.lanes))), end, best)

        start = [self._load(integer(0), self.int), integer(0)]
        return self.loop(integer(0), self.n, turns * step, start, part)[1]

    def _load(self, i: ir.Value, kind: ir.Type, more: int = 0) -> ir.Value:
        address = self.builder.add(self.address, self.builder.mul(i, integer(self.bytes)))
        address = self.builder.add(address, integer(more * self.bytes))
        if self.asks and kind == self.type:
            prefetch(self.builder, self.builder.add(address, integer(ONE_STREAM)), 2)
        return self.builder.load(self.builder.inttoptr(address, POINTER), align=self.bytes, typ=kind)

    def _is_better(self, x: ir.Value, best: ir.Value) -> ir.Value:
        return self.compare(self.relation, x, best)

    def _turns(self, base: ir.Value, end: ir.Value, found: Values) -> Values:
        """The value and the position of the best in whole vectors, if it is better than what was found before."""
        b, one, step = self.builder, self.splat(ir.Constant(self.int, 1)), _CHAINS * self.lanes
        none = self.splat(ir.Constant(self.int, 0))

        def chain(i: ir.Value, k: int, now: ir.Value, best: ir.Value, at: ir.Value) -> Values:
            x = self._load(i, self.type, k * self.lanes)
            better = self._is_better(x, best)
            return [b.select(better, x, best), b.select(better, now, at)]

        def turn(i: ir.Value, state: Values) -> Values:
            now, *chains = state
            pairs = enumerate(zip(chains[::2], chains[1::2], strict=True))
            return [b.add(now, one), *(new for k, pair in pairs for new in chain(i, k, now, *pair))]

        begin = self.splat(found[0])
        last = b.add(base, b.and_(b.sub(end, base), integer(-step)))
        now, *state = self.loop(base, last, step, [none, *[begin, none] * _CHAINS], turn)
        for k in range(_CHAINS - 1):  # of the last turn, which is not whole
            is_there = b.icmp_signed("<=", b.add(last, integer((k + 1) * self.lanes)), end)
            mine = slice(2 * k, 2 * k + 2)
            state[mine] = self.choose(is_there, partial(chain, last, k, now, *state[mine]), partial(list, state[mine]))
        best = self._reduced(state[::2], lambda a, x: b.select(self._is_better(x, a), x, a))
        return self.choose(
            self._is_better(best, found[0]),
            lambda: [best, b.add(base, self._first(best, state))],
            lambda: found,
        )

    def _first(self, best: ir.Value, state: Values) -> ir.Value:
        """How many elements come before the best one: of the lanes that have it, the first turn, chain and lane."""
        b, most = self.builder, self.splat(ir.Constant(self.int, -1))
        have, turns = [b.icmp_signed("==", x, self.splat(best)) for x in state[::2]], state[1::2]
        if self.bytes >= _WIDE:
            places = [self._places(k, at) for k, at in enumerate(turns)]
            return self._wide(self._least([b.select(h, place, most) for h, place in zip(have, places, strict=True)]))
        first = self._least([b.select(h, at, most) for h, at in zip(have, turns, strict=True)])
        lane: ir.Value | None = None
        for k in reversed(range(_CHAINS)):
            here = b.and_(have[k], b.icmp_signed("==", turns[k], self.splat(first)))
            flags = b.bitcast(here, ir.IntType(self.lanes))
            number = b.cttz(flags, ir.Constant(ir.IntType(1), 0))
            mine = b.add(self._wide(number), integer(k * self.lanes))
            some = b.icmp_unsigned("!=", flags, ir.Constant(flags.type, 0))
            lane = mine if lane is None else b.select(some, mine, lane)
        return b.add(b.mul(self._wide(first), integer(_CHAINS * self.lanes)), lane)

    def _places(self, k: int, turns: ir.Value) -> ir.Value:
        """How many elements come before those of a chain in these turns."""
        b, step = self.builder, self.splat(ir.Constant(self.int, _CHAINS * self.lanes))
        return b.add(b.mul(turns, step), ir.Constant(self.type, [k * self.lanes + lane for lane in range(self.lanes)]))

    def _least(self, vectors: Values) -> ir.Value:
        return self._reduced(vectors, lambda a, x: self.builder.select(self.builder.icmp_unsigned("<", x, a), x, a))

    def _wide(self, number: ir.Value) -> ir.Value:
        return number if number.type == I64 else self.builder.zext(number, I64)

    def _reduced(self, vectors: Values, combine: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
        """What all lanes of vectors come to."""
        while len(vectors) > 1:
            vectors = [combine(a, b) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
        (first,), width = vectors, self.lanes
        while width > 1:
            width //= 2
            turned = [(lane + width) % self.lanes for lane in range(self.lanes)]
            first = combine(first, self.shuffle(first, first, turned))
        return self.builder.extract_element(first, integer(0))

    def _singles(self, start: ir.Value, end: ir.Value, found: Values) -> Values:
        """One element after the other."""

        def single(i: ir.Value, found: Values) -> Values:
            x = self._load(i, self.int)
            better = self._is_better(x, found[0])
            return [self.builder.select(better, x, found[0]), self.builder.select(better, i, found[1])]

        return self.loop(start, end, 1, found, single)
