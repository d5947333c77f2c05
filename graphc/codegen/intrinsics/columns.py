"""Folds down columns: rows that lie in memory are folded into a row of states, one for each column.

In: the address of rows of contiguous elements, and of the parts of the states.  Out: nothing; each state has taken the
values of its column, in an order that the number of rows alone decides.  Sums, products and extremes are in down.py;
of the others eight neighbours are taken at a time, so that a state is loaded and stored once for eight values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from graphc.codegen.intrinsics.down import down
from graphc.codegen.intrinsics.total import RELATIONS, added, shrunk, without_mean
from graphc.codegen.intrinsics.vectors import I64, Values, Vectors, call_body, integer

_TOGETHER = 8
_NARROW = 2_048  # bytes of neighbours so short that the processor does not see which come next
Fold = Callable[[ir.Value, ir.Value, Values, ir.Value | None], None]  # column, its offset in bytes, rows, mask


@cache
def columns(operation: str, code: str) -> Any:
    """Intrinsic (x, row, rows, n, *parts): folds x[0, :], x[1, :] ... into the parts; a row is `row` bytes on.

    sum, product, max and min, of any dtype, have one part.  The others are of floats: logsumexp has two (the largest,
    sums of exp of the distances from it); deviation three (means, rests of the means, squared distances), with nothing
    in them; argmax and argmin two (extremes and their positions, int64), and the position of x[0, :] as one more
    argument.
    """
    if operation in ("sum", "product", *RELATIONS):
        return down(operation, code)

    def emit(lanes: Vectors, x: ir.Value, row: ir.Value, rows: ir.Value, n: ir.Value, *more: ir.Value) -> None:
        _fold_together(lanes, operation, x, row, rows, n, more)

    typed = call_body(code, f"columns_{operation}_{code}", emit)
    if operation in ("argmax", "argmin"):
        return intrinsic(lambda typingctx, x, row, rows, n, a, at, first: typed(x, row, rows, n, a, at, first))
    if operation == "deviation":
        return intrinsic(lambda typingctx, x, row, rows, n, a, b, c: typed(x, row, rows, n, a, b, c))
    return intrinsic(lambda typingctx, x, row, rows, n, a, b: typed(x, row, rows, n, a, b))


def _fold_together(
    lanes: Vectors, operation: str, x: ir.Value, row: ir.Value, rows: ir.Value, n: ir.Value, more: Sequence[ir.Value]
) -> None:
    """Neighbours, short ones fetched ahead."""
    builder = lanes.builder
    is_narrow = builder.icmp_signed("<=", n, integer(_NARROW // lanes.bytes))
    ahead = builder.select(is_narrow, builder.mul(row, integer(_TOGETHER * 2)), integer(0))

    def block(i: ir.Value, count: int) -> Values:
        start = builder.add(x, builder.mul(i, row))
        addresses = [lanes.offset(start, row, k) for k in range(count)]
        fold = _folder(lanes, operation, more, i, count)

        def vector(j: ir.Value, mask: ir.Value | None) -> None:
            at = builder.mul(j, integer(lanes.bytes))
            for address in addresses if count > 1 else ():
                lanes.prefetch(builder.add(builder.add(address, ahead), at))
            fold(j, at, [lanes.load(lanes.pointer(builder.add(address, at)), mask) for address in addresses], mask)

        _over_columns(lanes, n, vector)
        return []

    full = builder.mul(builder.sdiv(rows, integer(_TOGETHER)), integer(_TOGETHER))
    lanes.loop(integer(0), full, _TOGETHER, [], lambda i, _: block(i, _TOGETHER))
    lanes.loop(full, rows, 1, [], lambda i, _: block(i, 1))


def _folder(lanes: Vectors, operation: str, more: Sequence[ir.Value], i: ir.Value, count: int) -> Fold:
    """What folds vectors of `count` rows, from row i on, into a vector of the states."""
    if operation == "deviation":
        return _deviation(lanes, more, i, count)
    return _logsumexp(lanes, more) if operation == "logsumexp" else _positions(lanes, operation, more, i)


def _positions(lanes: Vectors, operation: str, parts: Sequence[ir.Value], i: ir.Value) -> Fold:
    builder, (a, positions, first) = lanes.builder, parts

    def fold(j: ir.Value, at: ir.Value, rows: Values, mask: ir.Value | None) -> None:
        place = lanes.pointer(builder.add(a, at))
        best, step = _extreme_at(lanes, operation.removeprefix("arg"), lanes.load(place, mask), rows)
        lanes.store(best, place, mask)
        address = builder.add(positions, builder.mul(j, integer(8)))
        _store_positions(lanes, address, builder.add(first, i), step, mask)

    return fold


def _logsumexp(lanes: Vectors, parts: Sequence[ir.Value]) -> Fold:
    """A NaN does not show in the largest value, but in the sum."""
    builder = lanes.builder

    def fold(j: ir.Value, at: ir.Value, rows: Values, mask: ir.Value | None) -> None:
        places = [lanes.pointer(builder.add(part, at)) for part in parts]
        old, total = (lanes.load(place, mask) for place in places)
        top = old
        for row in rows:
            top = builder.select(builder.fcmp_ordered(">", row, top), row, top)
        total = builder.fmul(total, shrunk(lanes, old, top))
        for row in rows:
            total = builder.fadd(total, shrunk(lanes, row, top))
        for part, place in zip((top, total), places, strict=True):
            lanes.store(part, place, mask)

    return fold


def _deviation(lanes: Vectors, parts: Sequence[ir.Value], i: ir.Value, count: int) -> Fold:
    """The mean of some rows and the squares of distances from it, joined to those of the i rows before."""
    builder = lanes.builder
    before = builder.sitofp(i, lanes.element)
    after = builder.sitofp(builder.add(i, integer(count)), lanes.element)
    share = builder.fdiv(ir.Constant(lanes.element, count), after)
    w, v = lanes.splat(share), lanes.splat(builder.fmul(before, share))
    one = ir.Constant(lanes.type, 1.0 / count)

    def fold(j: ir.Value, at: ir.Value, rows: Values, mask: ir.Value | None) -> None:
        places = [lanes.pointer(builder.add(part, at)) for part in parts]
        mean, rest, squares = (lanes.load(place, mask) for place in places)
        middle = builder.fmul(added(lanes, rows), one)
        apart = [builder.fsub(x, middle) for x in rows] if count > 1 else [lanes.zero]
        total, new = added(lanes, apart), lanes.zero
        low = builder.fmul(total, one)
        for d in apart:
            new = lanes.fma(d, d, new)
        new = without_mean(lanes, new, builder.fmul(total, low))
        rough = builder.fsub(builder.fsub(middle, mean), rest)
        distance = builder.fadd(rough, low)
        squares = lanes.fma(builder.fmul(distance, v), distance, builder.fadd(squares, new))
        moved = lanes.fma(distance, w, mean)
        change = lanes.fma(distance, w, builder.fneg(builder.fsub(moved, mean)))
        unheeded = builder.fsub(low, builder.fsub(distance, rough))
        rest = builder.fadd(rest, lanes.fma(unheeded, w, change))
        for part, place in zip((moved, rest, squares), places, strict=True):
            lanes.store(part, place, mask)

    return fold


def _extreme_at(lanes: Vectors, operation: str, old: ir.Value, rows: Values) -> Values:
    """The extreme, and the row in which it is first, -1 where the old one is; once more where there is a NaN."""
    builder, relation = lanes.builder, RELATIONS[operation]

    def taken(better: Any) -> Values:
        best, step = old, lanes.integers([-1] * lanes.lanes)
        for k, row in enumerate(rows):
            takes = better(row, best)
            best, step = (builder.select(takes, *pair) for pair in ((row, best), (_all(lanes, k), step)))
        return [best, step]

    def exactly(x: ir.Value, a: ir.Value) -> ir.Value:
        return builder.and_(builder.fcmp_unordered(relation, x, a), builder.fcmp_ordered("ord", a, a))

    doubtful = lanes.any(_any_nan(lanes, [old, *rows]))
    return lanes.choose(doubtful, partial(taken, exactly), partial(taken, partial(builder.fcmp_ordered, relation)))


def _store_positions(lanes: Vectors, address: ir.Value, first: ir.Value, step: ir.Value, mask: Any) -> None:
    """Store the positions of what has changed."""
    builder = lanes.builder
    changed = builder.icmp_signed(">=", step, _all(lanes, 0))
    changed = changed if mask is None else builder.and_(changed, mask)

    def store() -> Values:
        wide = step if lanes.bytes == 8 else builder.sext(step, ir.VectorType(I64, lanes.lanes))
        lanes.store_positions(builder.add(wide, lanes.splat(first)), address, changed)
        return []

    lanes.choose(lanes.any(changed), store, list)


def _all(lanes: Vectors, value: int) -> ir.Constant:
    return lanes.integers([value] * lanes.lanes)


def _any_nan(lanes: Vectors, vectors: Values) -> ir.Value:
    """The lanes in which one of the vectors is NaN; a comparison tells of two."""
    found, vectors = lanes.none, vectors + vectors[-1:] * (len(vectors) % 2)
    for a, b in zip(vectors[::2], vectors[1::2], strict=True):
        found = lanes.builder.or_(found, lanes.builder.fcmp_unordered("uno", a, b))
    return found


def _over_columns(lanes: Vectors, n: ir.Value, vector: Callable[[ir.Value, ir.Value | None], None]) -> None:
    """Whole vectors of columns, then what is left of one."""
    builder, width = lanes.builder, integer(lanes.lanes)
    whole = builder.mul(builder.sdiv(n, width), width)

    def plain(j: ir.Value, _: Values) -> Values:
        vector(j, None)
        return []

    def masked(j: ir.Value, _: Values) -> Values:
        vector(j, lanes.first(builder.sub(n, j)))
        return []

    lanes.loop(integer(0), whole, lanes.lanes, [], plain)
    lanes.loop(whole, n, lanes.lanes, [], masked)
