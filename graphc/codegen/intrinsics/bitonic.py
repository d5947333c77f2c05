"""Sorts of rows that fit a cache: blocks of vectors in order by a network, then twice as long ones until all are.

Where a run becomes one with the next, which is turned, what comes first of each two elements goes to the former, and
what comes last to the latter; then so within the halves of each, down to blocks, which a network does.  Behind the last
element are such as come last, of which only those of the last block are there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from math import inf

import numpy as np
from llvmlite import ir

from graphc.codegen.intrinsics.keys import Keys
from graphc.codegen.intrinsics.network import Item, Network
from graphc.codegen.intrinsics.target import host_vector_bytes, host_vector_registers
from graphc.codegen.intrinsics.vectors import I64, POINTER, Values, Vectors, integer

Order = Callable[[list[Item]], list[Item]]


class _Runs(Vectors):
    """What puts items in order, which are a lane of one or two vectors each; they lie side by side in memory."""

    kinds: tuple[ir.VectorType, ...]  # of the parts of items

    @abstractmethod
    def in_order(self, a: Item, b: Item) -> tuple[Item, Item]:
        """Lane by lane the item that comes first, and the other one."""

    def vectors(self, n: ir.Value) -> ir.Value:
        """How many vectors have room for n items, and are put in order: some, or blocks."""
        b, size = self.builder, self.block
        items = size * self.lanes
        count = b.mul(b.sdiv(b.add(n, integer(items - 1)), integer(items)), integer(size))
        while size > 2:
            size //= 2
            count = b.select(b.icmp_signed("<=", n, integer(size * self.lanes)), integer(size), count)
        return count

    @property
    def block(self) -> int:
        """How many vectors a network puts in order: as many as half of the registers hold.

        Of 2 bytes, whose shuffles are several instructions each, they are half as many.
        """
        return host_vector_registers() // (2 if len(self.kinds) == 1 and self.bytes > 2 else 4)

    def order(self, places: Values, total: ir.Value, size: int = 2) -> None:
        """Put so many vectors in order, which `vectors` told; their parts are at these addresses."""
        b, order = self.builder, self._network(size).sort
        if size == self.block:
            self._blocks(places, total, order)
            self._join(places, total)
            return

        def few() -> Values:
            self._apply(places, order, integer(0), size)
            return []

        def more() -> Values:
            self.order(places, total, 2 * size)
            return []

        self.choose(b.icmp_signed("==", total, integer(size)), few, more)

    @property
    def lane_bytes(self) -> int:
        return host_vector_bytes() // self.lanes

    def _network(self, size: int) -> Network:
        return Network(self.builder, self.in_order, self.lanes, self.lane_bytes, size)

    # memory

    def _pointer(self, place: ir.Value, k: ir.Value) -> ir.Value:
        b = self.builder
        return b.inttoptr(b.add(place, b.mul(k, integer(host_vector_bytes()))), POINTER)

    def items(self, places: Values, k: ir.Value) -> Item:
        """Vector k of items."""
        b = self.builder
        return tuple(
            b.load(self._pointer(place, k), align=self.lane_bytes, typ=kind)
            for kind, place in zip(self.kinds, places, strict=True)
        )

    def keep(self, item: Item, places: Values, k: ir.Value) -> None:
        for value, place in zip(item, places, strict=True):
            self.builder.store(value, self._pointer(place, k), align=self.lane_bytes)

    def _mask(self, k: ir.Value, n: ir.Value | None) -> ir.Value | None:
        """Which lanes of vector k are of n elements; None for all."""
        return None if n is None else self.first(self.builder.sub(n, self.builder.mul(k, integer(self.lanes))))

    def _through(self, n: ir.Value, total: ir.Value, carried: Values, body: Callable[..., Values]) -> Values:
        """`carried = body(n, k, carried)` for so many vectors of n elements, with None for n where all lanes are."""
        whole = self.builder.sdiv(n, integer(self.lanes))
        carried = self.loop(integer(0), whole, 1, carried, partial(body, None))
        return self.loop(whole, total, 1, carried, partial(body, n))

    def _ends(self, n: ir.Value) -> ir.Value:
        """How many vectors there are of n elements, and one more."""
        return self.builder.add(self.builder.sdiv(n, integer(self.lanes)), integer(1))

    # blocks

    def _apply(self, places: Values, order: Order, start: ir.Value, size: int) -> None:
        """Put so many vectors from this one on in order."""
        numbers = [self.builder.add(start, integer(k)) for k in range(size)]
        for item, k in zip(order([self.items(places, k) for k in numbers]), numbers, strict=True):
            self.keep(item, places, k)

    def _blocks(self, places: Values, total: ir.Value, order: Order) -> None:
        def block(start: ir.Value, carried: Values) -> Values:
            self._apply(places, order, start, self.block)
            return []

        self.loop(integer(0), total, self.block, [], block)

    # runs

    def _every(self, stop: ir.Value, step: ir.Value, body: Callable[[ir.Value], None]) -> None:
        """For 0, step, ... below stop."""

        def one(carried: Values) -> Values:
            body(carried[0])
            return [self.builder.add(carried[0], step)]

        self.repeat([integer(0)], lambda carried: self.less(carried[0], stop), one)

    def _join(self, places: Values, total: ir.Value) -> None:
        """Make runs of a block twice as long until there is one."""
        b, merge = self.builder, self._network(self.block).merge

        def double(carried: Values) -> Values:
            (run,) = carried
            self._every(b.sub(total, run), b.shl(run, integer(1)), partial(self._turned, places, total, run))

            def halve(carried: Values) -> Values:
                (half,) = carried
                step = b.shl(half, integer(1))
                self._every(b.sub(total, half), step, partial(self._straight, places, total, half))
                return [b.lshr(half, integer(1))]

            def is_long(carried: Values) -> ir.Value:
                return b.icmp_signed(">=", carried[0], integer(self.block))

            self.repeat([b.lshr(run, integer(1))], is_long, halve)
            self._blocks(places, total, merge)
            return [b.shl(run, integer(1))]

        self.repeat([integer(self.block)], lambda carried: self.less(carried[0], total), double)

    def _turned(self, places: Values, total: ir.Value, run: ir.Value, start: ir.Value) -> None:
        """Exchange a run with the next, which begins at its end: vector `end` - k is that of k."""
        b, network = self.builder, self._network(1)
        middle = b.add(start, run)
        end = b.sub(b.shl(middle, integer(1)), integer(1))
        first = b.sub(end, b.sub(total, integer(1)))
        first = b.select(self.less(first, start), start, first)

        def one(k: ir.Value, carried: Values) -> Values:
            other = b.sub(end, k)
            low, high = self.in_order(self.items(places, k), network.turn(self.items(places, other)))
            self.keep(low, places, k)
            self.keep(network.turn(high), places, other)
            return []

        self.loop(first, middle, 1, [], one)

    def _straight(self, places: Values, total: ir.Value, half: ir.Value, start: ir.Value) -> None:
        """Exchange a half with the next."""
        b = self.builder

        def one(k: ir.Value, carried: Values) -> Values:
            other = b.add(k, half)
            low, high = self.in_order(self.items(places, k), self.items(places, other))
            self.keep(low, places, k)
            self.keep(high, places, other)
            return []

        self.loop(start, self.least(b.add(start, half), b.sub(total, half)), 1, [], one)


class SortedValues(_Runs):
    """Elements in order: numbers by their size; then zeros and NaN, if there are any, as they came."""

    def __init__(self, builder: ir.IRBuilder, code: str) -> None:
        super().__init__(builder, np.dtype(code))
        self.keys, self.kinds = Keys(builder, code), (self.type,)
        ends = {"f": inf, "i": (1 << 8 * self.bytes - 1) - 1, "u": (1 << 8 * self.bytes) - 1}
        self.last = self.constant(ends[self.kind])
        self.nowhere = builder.ptrtoint(builder.alloca(self.element), I64)  # for what is not put anywhere

    def in_order(self, a: Item, b: Item) -> tuple[Item, Item]:
        is_first, select = self.compare("<", a[0], b[0]), self.builder.select
        return (select(is_first, a[0], b[0]),), (select(is_first, b[0], a[0]),)

    def emit(self, x: ir.Value, step: ir.Value, n: ir.Value, y: ir.Value, spare: ir.Value) -> None:
        """Sort n elements, `step` bytes apart from x on, to y; there is room for whole blocks of them at spare."""
        total, beside = self.vectors(n), self.keys.beside(x, step, n, spare)
        (odd,) = self._through(n, total, [self.none], partial(self._take, beside, spare))
        self.order([spare], total)
        self._through(n, self._ends(n), [], partial(self._put, spare, y))
        if self.is_float:

            def mended() -> Values:
                self._mend(x, step, n, y)
                return []

            self.choose(self.any(odd), mended, list)

    def _take(self, x: ir.Value, spare: ir.Value, n: ir.Value | None, k: ir.Value, carried: Values) -> Values:
        """A vector of elements; which lanes have met a zero below zero or NaN, which does not compare."""
        b, mask = self.builder, self._mask(k, n)
        value = self.load(self._pointer(x, k), mask)
        if self.is_float:
            is_nan = b.fcmp_unordered("uno", value, value)
            sign = ir.Constant(ir.VectorType(self.int, self.lanes), 1 << 8 * self.bytes - 1)
            is_zero = b.icmp_unsigned("==", b.bitcast(value, sign.type), sign)
            carried = [b.or_(carried[0], b.or_(is_nan, is_zero))]
            value = b.select(is_nan, self.last, value)
        if mask is not None:
            value = b.select(mask, value, self.last)
        self.keep((value,), [spare], k)
        return carried

    def _put(self, spare: ir.Value, y: ir.Value, n: ir.Value | None, k: ir.Value, carried: Values) -> Values:
        (value,) = self.items([spare], k)
        self.store(value, self._pointer(y, k), self._mask(k, n))
        return []

    def _mend(self, x: ir.Value, step: ir.Value, n: ir.Value, y: ir.Value) -> None:
        """Put zeros and NaN where they belong, in the order in which they came."""
        b = self.builder
        zero = ir.Constant(self.element, 0.0)

        def counted(k: ir.Value, carried: Values) -> Values:
            value = self._single(x, step, k)
            below, numbers = (b.fcmp_ordered(test, value, of) for test, of in (("<", zero), ("ord", value)))
            return [b.add(count, b.zext(is_one, I64)) for count, is_one in zip(carried, (below, numbers), strict=True)]

        places = self.loop(integer(0), n, 1, [integer(0), integer(0)], counted)

        def placed(k: ir.Value, carried: Values) -> Values:
            value, place, found = self._single(x, step, k), self.nowhere, []
            for at, is_one in zip(
                carried, (b.fcmp_ordered("==", value, zero), b.fcmp_unordered("uno", value, value)), strict=True
            ):
                place = b.select(is_one, b.add(y, b.mul(at, integer(self.bytes))), place)
                found.append(b.add(at, b.zext(is_one, I64)))
            self.store_scalar(value, b.inttoptr(place, POINTER))
            return found

        self.loop(integer(0), n, 1, places, placed)

    def _single(self, x: ir.Value, step: ir.Value, k: ir.Value) -> ir.Value:
        b = self.builder
        return self.load_scalar(b.inttoptr(b.add(x, b.mul(k, step)), POINTER))


class SortedPlaces(_Runs):
    """The positions of elements in order: keys with these, which no two items have in common.

    Keys of 4 bytes are the upper halves of integers of 8, of which positions are the lower ones.
    """

    def __init__(self, builder: ir.IRBuilder, code: str) -> None:
        super().__init__(builder, np.dtype(code), host_vector_bytes() // 8)
        self.keys, self.wide = Keys(builder, code), ir.VectorType(I64, self.lanes)
        self.kinds = (self.wide,) * (self.bytes // 4)

    def in_order(self, a: Item, b: Item) -> tuple[Item, Item]:
        builder, choose = self.builder, self.builder.select
        is_first = builder.icmp_unsigned("<", a[0], b[0])
        if len(a) == 2:
            is_equal, is_before = builder.icmp_unsigned("==", a[0], b[0]), builder.icmp_signed("<", a[1], b[1])
            is_first = builder.or_(is_first, builder.and_(is_equal, is_before))
        parts = list(zip(a, b, strict=True))
        return tuple(choose(is_first, x, y) for x, y in parts), tuple(choose(is_first, y, x) for x, y in parts)

    def emit(self, x: ir.Value, step: ir.Value, n: ir.Value, *places: ir.Value) -> None:
        """The positions of n elements, `step` bytes apart from x on.

        `places` are room for n elements, for whole blocks of them, for n positions, which is where they go, and for
        whole blocks of these.
        """
        _, spare, at, spare_at = places
        room = [spare, spare_at][2 - len(self.kinds) :]
        total, beside = self.vectors(n), self.keys.beside(x, step, n, spare)
        self._through(n, total, [], partial(self._take, beside, room))
        self.order(room, total)
        self._through(n, self._ends(n), [], partial(self._put, room, at))

    def _take(self, x: ir.Value, room: Values, n: ir.Value | None, k: ir.Value, carried: Values) -> Values:
        b = self.builder
        first = b.mul(k, integer(self.lanes))
        mask = self._mask(k, n)
        value = self.load(b.inttoptr(b.add(x, b.mul(first, integer(self.bytes))), POINTER), mask)
        key = self.keys.key(b.bitcast(value, ir.VectorType(self.int, self.lanes)))
        if mask is not None:
            key = b.select(mask, key, ir.Constant(key.type, -1))
        position = b.add(self.splat(first), ir.Constant(self.wide, list(range(self.lanes))))
        if len(room) == 1:
            upper = b.shl(b.zext(key, self.wide), ir.Constant(self.wide, 32))
            self.keep((b.or_(upper, position),), room, k)
        else:
            self.keep((key, position), room, k)
        return []

    def _put(self, room: Values, at: ir.Value, n: ir.Value | None, k: ir.Value, carried: Values) -> Values:
        b = self.builder
        position = b.and_(self.items(room, k)[-1], ir.Constant(self.wide, (1 << 32) - 1))
        target, mask = self._pointer(at, k), self._mask(k, n)
        if mask is None:
            b.store(position, target, align=8)
        else:
            self.store_positions(position, b.ptrtoint(target, I64), mask)
        return []
