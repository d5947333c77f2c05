"""Sorting by distribution, which suits long rows: stable, of any dtype, in a time that does not depend on the elements.

They are distributed by a byte of their keys, the lowest first, once for every byte in which they differ (radix sort).
Few are each compared with all others.  What moves is the element itself, so that zeros and NaN keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from llvmlite import ir
from numba.core import cgutils

from graphc.codegen.intrinsics.keys import Keys
from graphc.codegen.intrinsics.vectors import Values, integer

FEW = 256  # elements that are compared with all others; their ranks fit a byte
_I8, _I64 = ir.IntType(8), ir.IntType(64)
_DIGITS = 256
_ROOM = 8 * FEW + 64  # bytes of as many keys, and of a vector that begins behind the last


class Sorter(Keys):
    """The body for elements of one dtype, which move with their positions if these are asked for.

    Memory of elements, and of positions, is an address each: `places` are the addresses of what moves together.
    """

    def __init__(self, builder: ir.IRBuilder, code: str) -> None:
        super().__init__(builder, code)
        size = max(8 * _DIGITS * self.bytes, 2 * _ROOM)
        self.memory = builder.ptrtoint(builder.alloca(ir.ArrayType(_I8, size)), _I64)  # of keys and ranks, or of counts

    def emit(self, x: ir.Value, step: ir.Value, n: ir.Value, *room: ir.Value) -> None:
        """Sort elements, and positions if there is room for them."""
        places, spare = list(room[::2]), list(room[1::2])
        self.order(n, places, spare, partial(self.collect, x, step, n))

    def order(self, n: ir.Value, places: Values, spare: Values, put: Callable[[Values], None]) -> None:
        """Put elements into one of the two, and have them in order in the first."""

        def few() -> Values:
            put(spare)
            self.rank(n, spare, places)
            return []

        def many() -> Values:
            put(places)
            self._distribute(n, places, spare)
            return []

        self.choose(self.builder.icmp_signed("<=", n, integer(FEW)), few, many)

    # memory

    def load_all(self, places: Values, index: ir.Value) -> Values:
        return [self.load(place, index, kind) for place, kind in zip(places, (self.type, _I64), strict=False)]

    def store_all(self, values: Values, places: Values, index: ir.Value) -> None:
        for value, place in zip(values, places, strict=True):
            self.put(value, place, index)

    def _each(self, start: ir.Value, stop: ir.Value, body: Callable[[ir.Value], None]) -> None:
        def step(k: ir.Value, carried: Values) -> Values:
            body(k)
            return []

        self.loop(start, stop, 1, [], step)

    def collect(self, x: ir.Value, step: ir.Value, n: ir.Value, places: Values) -> None:
        """The elements side by side, with their positions."""

        def one(k: ir.Value) -> None:
            self.store_all([self.element(x, step, k), k][: len(places)], places, k)

        self._each(integer(0), n, one)

    def move(self, n: ir.Value, source: Values, target: Values) -> None:
        """Elements, and their positions, to where there is room for as many."""
        self._each(integer(0), n, lambda k: self.store_all(self.load_all(source, k), target, k))

    # digits

    def _digit(self, key: ir.Value, shift: ir.Value) -> ir.Value:
        """The byte of a key above so many bits."""
        b = self.builder
        wide = key if self.type == _I64 else b.zext(key, _I64)
        return b.and_(b.lshr(wide, shift), integer(_DIGITS - 1))

    # ranks

    def rank(self, n: ir.Value, source: Values, target: Values) -> None:
        """Every element to where as many are before it: lanes are elements, which all others are compared with."""
        b = self.builder
        keys, ranks = self.memory, b.add(self.memory, integer(_ROOM))
        self._each(integer(0), n, lambda k: self.put(self.key(self.load(source[0], k, self.type)), keys, k))
        zero = ir.Constant(self.vector, 0)
        self.put(zero, keys, n)  # lanes beyond the last

        def block(start: ir.Value, carried: Values) -> Values:
            mine, end = self.load(keys, start, self.vector), self.least(b.add(start, integer(self.lanes)), n)
            found = [zero]
            for low, high, test in ((integer(0), start, "<="), (start, end, ""), (end, n, "<")):
                found = self.loop(low, high, 1, found, partial(self._counted_before, keys, mine, start, test))
            self.put(found[0], ranks, start)
            return []

        self.loop(integer(0), n, self.lanes, [], block)

        def place(k: ir.Value) -> None:
            rank = self.load(ranks, k, self.type)
            rank = rank if self.type == _I64 else b.zext(rank, _I64)
            self.store_all(self.load_all(source, k), target, rank)

        self._each(integer(0), n, place)

    def _counted_before(
        self, keys: ir.Value, mine: ir.Value, start: ir.Value, test: str, k: ir.Value, ranks: Values
    ) -> Values:
        """The ranks of a vector's elements, one more where element k is before; in the vector, by lanes where equal."""
        b = self.builder
        other = self.splat(self.load(keys, k, self.type))
        before = b.icmp_unsigned(test or "<", other, mine)
        if not test:
            lane = b.sub(k, start) if self.type == _I64 else b.trunc(b.sub(k, start), self.type)
            lower = b.icmp_unsigned("<", self.splat(lane), ir.Constant(self.vector, list(range(self.lanes))))
            before = b.or_(before, b.and_(b.icmp_unsigned("==", other, mine), lower))
        return [b.add(ranks[0], b.zext(before, self.vector))]

    # distribution

    def _counted(self, index: ir.Value, more: ir.Value) -> ir.Value:
        """A count, to which so many are added."""
        count = self.load(self.memory, index, _I64)
        self.put(self.builder.add(count, more), self.memory, index)
        return count

    def _distribute(self, n: ir.Value, places: Values, spare: Values) -> None:
        b, size = self.builder, len(places)
        cgutils.memset(b, b.inttoptr(self.memory, _I8.as_pointer()), integer(8 * _DIGITS * self.bytes), 0)
        self._each(integer(0), n, lambda k: self._count_digits(self.key(self.load(places[0], k, self.type))))

        def one(digit: ir.Value, carried: Values) -> Values:
            source, target = carried[:size], carried[size:]
            shift, base = b.mul(digit, integer(8)), b.mul(digit, integer(_DIGITS))
            first = self._digit(self.key(self.load(source[0], integer(0), self.type)), shift)
            alike = b.icmp_signed("==", self.load(self.memory, b.add(base, first), _I64), n)

            def moved() -> Values:
                self._move(n, base, shift, source, target)
                return [*target, *source]

            return self.choose(alike, lambda: carried, moved)

        found = self.loop(integer(0), integer(self.bytes), 1, [*places, *spare], one)[:size]

        def back() -> Values:
            self.move(n, found, places)
            return []

        self.choose(b.icmp_signed("==", found[0], places[0]), list, back)

    def _count_digits(self, key: ir.Value) -> None:
        b = self.builder
        for digit in range(self.bytes):
            self._counted(b.add(self._digit(key, integer(8 * digit)), integer(_DIGITS * digit)), integer(1))

    def _move(self, n: ir.Value, base: ir.Value, shift: ir.Value, source: Values, target: Values) -> None:
        """Every element to the end of those with its digit or a lower one."""
        b = self.builder

        def begin(digit: ir.Value, carried: Values) -> Values:
            count = self.load(self.memory, b.add(base, digit), _I64)
            self.put(carried[0], self.memory, b.add(base, digit))
            return [b.add(carried[0], count)]

        def one(k: ir.Value) -> None:
            values = self.load_all(source, k)
            digit = self._digit(self.key(values[0]), shift)
            self.store_all(values, target, self._counted(b.add(base, digit), integer(1)))

        self.loop(integer(0), integer(_DIGITS), 1, [integer(0)], begin)
        self._each(integer(0), n, one)
