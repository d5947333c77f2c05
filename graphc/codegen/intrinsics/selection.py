"""Selection: the k first elements in order, of any dtype, as their positions.

The keys of candidates lie side by side in the order of their positions.  When there is room for no more, k of them are
kept: those below a limit that is found by halving what lies between the least key and the limit before.  From then on
an element is a candidate only if it is below the limit, as which whole vectors are tested.  The last k are sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from graphc.codegen.intrinsics.keys import Keys
from graphc.codegen.intrinsics.radix import Sorter
from graphc.codegen.intrinsics.vectors import I1, I64, Values, integer, on_addresses
from graphc.dims import Dim, dim_min

_VECTORS, _MOST = 4, 64  # that are tested at once, of so many elements at most: there is a bit for each
_TIMES, _MORE = 4, 192  # as many candidates as are kept, and so many more


def room_for(k: Dim, n: Dim) -> Dim:
    """For how many candidates there is memory: all elements, or more than are kept and come at once; and a vector."""
    return dim_min(n, _TIMES * k + _MORE) + _MOST


@cache
def selection(family: str, code: str) -> Any:
    """The intrinsic (x, step, n, k, room, keys, spare, at, spare_at), family "largest" or "smallest".

    Of n elements, `step` bytes apart from x on, the positions of the k <= n most extreme come from `at` on, int64, in
    order.  There is memory for `room` = room_for(k, n) unsigned integers as wide as elements at keys and spare, and for
    as many positions at the others.
    """
    typed = on_addresses(
        f"{family}_{code}", lambda b, *arguments: _Selection(b, code, family == "largest").emit(*arguments)
    )

    @intrinsic
    def selected(
        typingctx: Any, x: Any, step: Any, n: Any, k: Any, room: Any, keys: Any, spare: Any, at: Any, spare_at: Any
    ) -> Any:
        return typed(x, step, n, k, room, keys, spare, at, spare_at)

    return selected


class _Elements(Keys):
    """The elements of a row, contiguous or not; their keys are lower the earlier they come."""

    def __init__(self, builder: ir.IRBuilder, code: str, is_largest: bool, x: ir.Value, step: ir.Value) -> None:
        super().__init__(builder, code)
        self.is_largest, self.x, self.step = is_largest, x, step
        self.contiguous = builder.icmp_signed("==", step, integer(self.bytes))

    def keys(self, k: ir.Value, kind: ir.Type) -> ir.Value:
        """That of element k, or a vector from there on."""
        key = self.key(self.element(self.x, self.step, k, kind))
        return self.builder.not_(key) if self.is_largest else key


class _Selection(Sorter):
    """The body for elements of one dtype; what it keeps and sorts is their keys, with their positions."""

    def __init__(self, builder: ir.IRBuilder, code: str, is_largest: bool) -> None:
        super().__init__(builder, f"u{code[1]}")
        self.elements = partial(_Elements, builder, code, is_largest)
        self.vectors = min(_VECTORS, _MOST // self.lanes)
        self.block = integer(self.vectors * self.lanes)

    def emit(self, x: ir.Value, step: ir.Value, n: ir.Value, *more: ir.Value) -> None:
        """Keep k candidates, and look for others, until there are none."""
        b, (k, room, keys, spare, at, spare_at) = self.builder, more
        row, places, spares = self.elements(x, step), [keys, at], [spare, spare_at]
        room = b.sub(room, integer(_MOST))

        def is_left(carried: Values) -> ir.Value:
            return b.icmp_signed(">", carried[1], k)

        def keep(carried: Values) -> Values:
            first, count, limit = carried
            limit = self._keep(count, k, limit, places)
            return [*self._further(row, [first, k], n, room, limit, places), limit]

        def put(target: Values) -> None:
            if target is spares:
                self.move(k, places, spares)

        start = self.least(n, room)
        self._take_all(row, start, places)
        self.repeat([start, start, self.constant(-1)], is_left, keep)
        self.order(k, places, spares, put)

    # candidates

    def _take_all(self, row: _Elements, n: ir.Value, places: Values) -> None:
        """The first elements are candidates."""
        lanes = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))

        def vector(k: ir.Value, carried: Values) -> Values:
            positions = self.builder.add(self.splat(k), lanes)
            self.store_all([row.keys(k, self.vector), positions], places, k)
            return []

        def single(k: ir.Value, carried: Values) -> Values:
            self.store_all([row.keys(k, self.type), k], places, k)
            return []

        whole = self.builder.select(row.contiguous, self.builder.and_(n, integer(-self.lanes)), integer(0))
        self.loop(integer(0), whole, self.lanes, [], vector)
        self.loop(whole, n, 1, [], single)

    def _further(
        self, row: _Elements, carried: Values, n: ir.Value, room: ir.Value, limit: ir.Value, places: Values
    ) -> Values:
        """The first element that was not looked at, and how many candidates there are, once there is room for no more.

        Whole blocks of contiguous elements are tested together, what is left of them and others one by one.
        """
        b = self.builder

        def fits(index: ir.Value, end: ir.Value) -> ir.Value:
            return b.icmp_signed("<=", b.add(index, self.block), end)

        def is_whole(carried: Values) -> ir.Value:
            return b.and_(row.contiguous, b.and_(fits(carried[0], n), fits(carried[1], room)))

        first, count = self.repeat(carried, is_whole, partial(self._block, row, limit, places))
        stop = b.select(b.and_(row.contiguous, fits(first, n)), first, n)

        def is_single(carried: Values) -> ir.Value:
            return b.and_(self.less(carried[0], stop), self.less(carried[1], room))

        def single(carried: Values) -> Values:
            first, count = carried
            key = row.keys(first, self.type)
            self.store_all([key, first], places, count)
            return [b.add(first, integer(1)), b.add(count, b.zext(b.icmp_unsigned("<", key, limit), I64))]

        return self.repeat([first, count], is_single, single)

    def _block(self, row: _Elements, limit: ir.Value, places: Values, carried: Values) -> Values:
        """Test a block, for which there is room."""
        b, (first, count) = self.builder, carried
        starts = [b.add(first, integer(k * self.lanes)) for k in range(self.vectors)]
        below = [b.icmp_unsigned("<", row.keys(start, self.vector), self.splat(limit)) for start in starts]
        found = below[0]
        for mask in below[1:]:
            found = b.or_(found, mask)

        def some() -> Values:
            flags = integer(0)
            for k, mask in enumerate(below):
                flags = b.or_(flags, b.shl(self._bits(mask), integer(k * self.lanes)))

            def put(k: ir.Value, index: ir.Value) -> None:
                self.store_all([row.keys(k, self.type), k], places, index)

            return [self._each_flagged(flags, first, count, put)]

        (count,) = self.choose(b.icmp_unsigned("!=", self._bits(found), integer(0)), some, lambda: [count])
        return [b.add(first, self.block), count]

    def _bits(self, mask: ir.Value) -> ir.Value:
        """A mask as an integer, a bit for each lane."""
        return self.builder.zext(self.builder.bitcast(mask, ir.IntType(self.lanes)), I64)

    def _each_flagged(
        self, flags: ir.Value, first: ir.Value, count: ir.Value, put: Callable[[ir.Value, ir.Value], None]
    ) -> ir.Value:
        """Put what has a bit, `first` and those behind it, behind the first ones; how many there are then."""
        b = self.builder

        def one(index: ir.Value, carried: Values) -> Values:
            (flags,) = carried
            put(b.add(first, b.cttz(flags, I1(0))), index)
            return [b.and_(flags, b.sub(flags, integer(1)))]

        end = b.add(count, b.ctpop(flags))
        self.loop(count, end, 1, [flags], one)
        return end

    # keeping

    def _keep(self, n: ir.Value, k: ir.Value, highest: ir.Value, places: Values) -> ir.Value:
        """Keep the k of n keys that come first; none of the others is below the limit, which is the result."""
        b = self.builder
        self.put(ir.Constant(self.vector, -1), places[0], n)  # lanes beyond the last
        (least,) = self.loop(integer(0), n, self.lanes, [ir.Constant(self.vector, -1)], partial(self._lower, places[0]))

        def is_open(carried: Values) -> ir.Value:
            return b.and_(b.icmp_unsigned("<", carried[0], carried[1]), b.icmp_signed("!=", carried[2], k))

        def halve(carried: Values) -> Values:
            low, high, _ = carried
            middle = b.add(low, b.lshr(b.sub(high, low), self.constant(1)))
            count = self._count(n, "<=", middle, places[0])
            is_high = b.icmp_signed(">=", count, k)
            return [b.select(is_high, low, b.add(middle, self.constant(1))), b.select(is_high, middle, high), count]

        _, limit, count = self.repeat([self._least_lane(least), highest, n], is_open, halve)
        exact = b.icmp_signed("==", count, k)
        self.choose(exact, partial(self._keep_all, n, limit, places), partial(self._keep_some, n, k, limit, places))
        return limit

    def _lower(self, keys: ir.Value, k: ir.Value, carried: Values) -> Values:
        """The lower keys of two vectors."""
        found = self.load(keys, k, self.vector)
        return [self.builder.select(self.builder.icmp_unsigned("<", found, carried[0]), found, carried[0])]

    def _least_lane(self, keys: ir.Value) -> ir.Value:
        name = f"llvm.vector.reduce.umin.v{self.lanes}i{8 * self.bytes}"
        kind = ir.FunctionType(self.type, [self.vector])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [keys])

    def _count(self, n: ir.Value, relation: str, key: ir.Value, keys: ir.Value) -> ir.Value:
        """How many keys have a relation to this one, which is not the greatest."""
        b, wanted = self.builder, self.splat(key)

        def more(k: ir.Value, carried: Values) -> Values:
            mask = b.icmp_unsigned(relation, self.load(keys, k, self.vector), wanted)
            return [b.add(carried[0], b.ctpop(self._bits(mask)))]

        (count,) = self.loop(integer(0), n, self.lanes, [integer(0)], more)
        return count

    def _keep_all(self, n: ir.Value, limit: ir.Value, places: Values) -> Values:
        """Keep the keys that are not above the limit."""
        b = self.builder

        def vector(k: ir.Value, carried: Values) -> Values:
            flags = self._bits(b.icmp_unsigned("<=", self.load(places[0], k, self.vector), self.splat(limit)))

            def put(k: ir.Value, index: ir.Value) -> None:
                self.store_all(self.load_all(places, k), places, index)

            return [self._each_flagged(flags, k, carried[0], put)]

        self.loop(integer(0), n, self.lanes, [integer(0)], vector)
        return []

    def _keep_some(self, n: ir.Value, k: ir.Value, limit: ir.Value, places: Values) -> Values:
        """Keep the keys below the limit, and as many of the first ones that are equal to it as make k."""
        b = self.builder

        def single(index: ir.Value, carried: Values) -> Values:
            count, equal = carried
            values = self.load_all(places, index)
            self.store_all(values, places, count)
            is_equal = b.and_(b.icmp_unsigned("==", values[0], limit), b.icmp_signed(">", equal, integer(0)))
            is_kept = b.or_(b.icmp_unsigned("<", values[0], limit), is_equal)
            return [b.add(count, b.zext(is_kept, I64)), b.sub(equal, b.zext(is_equal, I64))]

        below = self._count(n, "<", limit, places[0])
        self.loop(integer(0), n, 1, [integer(0), b.sub(k, below)], single)
        return []
