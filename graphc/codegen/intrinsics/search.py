"""Searching: how many elements, which are in rising order, come before each of some values.

Values are searched for side by side, in lanes and in several vectors, for a halving waits for memory: each halves what
is left of the elements, as often as all others.  NaN comes after all other elements, and is equal to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from graphc.codegen.intrinsics.constants import undefined
from graphc.codegen.intrinsics.keys import Keys
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.intrinsics.vectors import I1, I32, I64, POINTER, Values, integer, on_addresses

_VECTORS = 4  # of positions, that are halved side by side


@cache
def search(side: str, code: str) -> Any:
    """The intrinsic (x, step, n, values, step, count, found, step): for each value, how many come before it.

    n elements are `step` bytes apart from x on.  On the side "right", those that are equal to a value come before it
    too.  Counts are int64.
    """
    typed = on_addresses(f"search_{side}_{code}", lambda b, *arguments: _Search(b, code, side).emit(*arguments))

    @intrinsic
    def searched(
        typingctx: Any, x: Any, step: Any, n: Any, values: Any, v_step: Any, count: Any, found: Any, f_step: Any
    ) -> Any:
        return typed(x, step, n, values, v_step, count, found, f_step)

    return searched


class _Search(Keys):
    """The body for elements of one dtype; lanes are values."""

    def __init__(self, builder: ir.IRBuilder, code: str, side: str) -> None:
        super().__init__(builder, code)
        self.before = "<=" if side == "right" else "<"
        self.lanes = host_vector_bytes() // 8
        self.vector, self.wide = ir.VectorType(self.type, self.lanes), ir.VectorType(I64, self.lanes)
        self.pointers = ir.VectorType(POINTER, self.lanes)

    def emit(self, x: ir.Value, step: ir.Value, n: ir.Value, *more: ir.Value) -> None:
        """As many values as some vectors hold, then those that are left, a vector at a time."""
        b, (values, v_step, count, found, f_step) = self.builder, more

        def some(vectors: int) -> Callable[[ir.Value, Values], Values]:
            def body(first: ir.Value, carried: Values) -> Values:
                lanes = [self._lane(first, k, count) for k in range(vectors * self.lanes)]
                wanted = self._keys([b.add(values, b.mul(k, v_step)) for k in lanes])
                positions = self._halved(x, step, n, wanted)
                for k, position in zip(lanes, self._apart(positions), strict=True):
                    place = b.inttoptr(b.add(found, b.mul(k, f_step)), POINTER)
                    b.store(position, place, align=8)
                return []

            return body

        many = _VECTORS * self.lanes
        whole = b.mul(b.sdiv(count, integer(many)), integer(many))
        self.loop(integer(0), whole, many, [], some(_VECTORS))
        self.loop(whole, count, self.lanes, [], some(1))

    def _lane(self, first: ir.Value, k: int, count: ir.Value) -> ir.Value:
        """The value that a lane looks for: beyond the last one the last again."""
        return self.least(self.builder.add(first, integer(k)), self.builder.sub(count, integer(1)))

    def _keys(self, places: Values) -> Values:
        """The keys of the values at these addresses, in vectors."""
        b, vectors = self.builder, []
        for start in range(0, len(places), self.lanes):
            vector: ir.Value = undefined(self.vector)
            for k, place in enumerate(places[start : start + self.lanes]):
                value = b.load(b.inttoptr(place, POINTER), align=self.bytes, typ=self.type)
                vector = b.insert_element(vector, value, I32(k))
            vectors.append(self.key(vector))
        return vectors

    def _apart(self, vectors: Values) -> Values:
        return [self.builder.extract_element(v, I32(k)) for v in vectors for k in range(self.lanes)]

    def _halved(self, x: ir.Value, step: ir.Value, n: ir.Value, wanted: Values) -> Values:
        """For each wanted key how many are before it.

        So many are known to be, and beyond `left` elements from there on none is.
        """
        b = self.builder

        def more(carried: Values) -> ir.Value:
            return b.icmp_signed(">", carried[0], integer(1))

        def halve(carried: Values) -> Values:
            left, *known = carried
            half = b.lshr(left, integer(1))
            return [b.sub(left, half), *self._passed(x, step, half, wanted, known)]

        zero = ir.Constant(self.wide, 0)
        left, *known = self.repeat([n, *[zero] * len(wanted)], more, halve)
        last = partial(self._passed, x, step, left, wanted, known)
        return self.choose(b.icmp_signed(">", left, integer(0)), last, lambda: known)

    def _passed(self, x: ir.Value, step: ir.Value, size: ir.Value, wanted: Values, known: Values) -> Values:
        """How many are known to be before, once the last of `size` elements from there on is looked at."""
        b, found = self.builder, []
        ahead = self.splat(b.add(x, b.mul(b.sub(size, integer(1)), step)))
        for key, before in zip(wanted, known, strict=True):
            places = b.inttoptr(b.add(ahead, b.mul(before, self.splat(step))), self.pointers)
            is_before = b.icmp_unsigned(self.before, self.key(self._gathered(places)), key)
            found.append(b.add(before, b.select(is_before, self.splat(size), ir.Constant(self.wide, 0))))
        return found

    def _gathered(self, places: ir.Value) -> ir.Value:
        """The elements at a vector of pointers."""
        mask = ir.VectorType(I1, self.lanes)
        kind = ir.FunctionType(self.vector, [places.type, I32, mask, self.vector])
        name = f"llvm.masked.gather.v{self.lanes}i{8 * self.bytes}.v{self.lanes}p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [places, I32(self.bytes), ir.Constant(mask, 1), undefined(self.vector)])
