"""Packing a panel of B or, turned, of A, of any strides, into contiguous rows: what `micro` reads fastest; and into
contiguous columns: what `dots` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.constants import positions
from graphc.codegen.intrinsics.vectors import Values, Vectors, call_body, integer, pieces, type_name

_AHEAD = 16  # rows of a panel: each lies in a page of its own, so that no processor foresees the next one


@cache
def pack(dtype: DTypeLike, width: int, way: str = "") -> Any:
    """The intrinsic that packs panels of so many columns; see `copy` below for its parameters.

    `way`: "rows" or "columns" of B are contiguous, or "elements" are copied one by one; "" if only the strides tell.
    """

    def emit(lanes: Vectors, *arguments: ir.Value) -> None:
        _emit_pack(lanes, width, way, *arguments)

    typed = call_body(dtype, "_".join(filter(None, ["pack", way, f"{type_name(dtype)}_{width}"])), emit)

    @intrinsic
    def copy(typingctx: Any, K: Any, cols: Any, b: Any, b_row: Any, b_col: Any, p: Any) -> Any:
        """Copies B[K, cols], element (k, j) at b + k*b_row + j*b_col, to P[K, width] at p, zero beyond cols."""
        return typed(K, cols, b, b_row, b_col, p)

    return copy


@cache
def turn(dtype: DTypeLike) -> Any:
    """The intrinsic that copies what lies across rows; see `copy` below for its parameters."""

    def emit(
        lanes: Vectors, K: ir.Value, cols: ir.Value, b: ir.Value, b_col: ir.Value, p: ir.Value, p_row: ir.Value
    ) -> None:
        _pack_columns(lanes, lanes.lanes, K, cols, b, b_col, p, p_row, cols)

    typed = call_body(dtype, f"turn_{type_name(dtype)}", emit)

    @intrinsic
    def copy(typingctx: Any, K: Any, cols: Any, b: Any, b_col: Any, p: Any, p_row: Any) -> Any:
        """Copies B[K, cols], element (k, j) k elements beyond b + j*b_col, to p + k*p_row; beyond, to whole vectors."""
        return typed(K, cols, b, b_col, p, p_row)

    return copy


@cache
def deal(dtype: DTypeLike, count: int, pitch: int) -> Any:
    """The intrinsic that copies rows of so few elements column by column; see `copy` below for its parameters."""

    def emit(lanes: Vectors, *arguments: ir.Value) -> None:
        _emit_deal(lanes, count, pitch, *arguments)

    typed = call_body(dtype, f"deal_{type_name(dtype)}_{count}x{pitch}", emit)

    @intrinsic
    def copy(typingctx: Any, K: Any, there: Any, b: Any, b_row: Any, p: Any) -> Any:
        """Copies B[K, count], whose rows are contiguous, at b + k*b_row, to P[count, pitch] at p, to whole vectors.

        Only so many rows are there; those beyond the last are that one.
        """
        return typed(K, there, b, b_row, p)

    return copy


@cache
def collect(dtype: DTypeLike, count: int, pitch: int) -> Any:
    """The intrinsic that copies few columns back to rows; see `copy` below for its parameters."""

    def emit(lanes: Vectors, *arguments: ir.Value) -> None:
        _emit_collect(lanes, count, pitch, *arguments)

    typed = call_body(dtype, f"collect_{type_name(dtype)}_{count}x{pitch}", emit)

    @intrinsic
    def copy(typingctx: Any, K: Any, p: Any, b: Any, b_row: Any) -> Any:
        """Copies P[count, pitch] at p to B[K, count], whose rows are contiguous, at b + k*b_row."""
        return typed(K, p, b, b_row)

    return copy


def _emit_pack(
    lanes: Vectors, width: int, way: str, K: ir.Value, cols: ir.Value,
    b: ir.Value, b_row: ir.Value, b_col: ir.Value, p: ir.Value,
) -> None:  # fmt: skip
    """One of three ways, or all, of which the strides choose one."""
    size = integer(lanes.bytes)

    def along(stride: ir.Value) -> ir.Value:
        return lanes.builder.icmp_signed("==", stride, size)

    def rows() -> Values:
        return _pack_rows(lanes, width, K, cols, b, b_row, p)

    def columns() -> Values:
        return _pack_columns(lanes, width, K, cols, b, b_col, p, integer(width * lanes.bytes), integer(width))

    def elements() -> Values:
        return _pack_elements(lanes, width, K, cols, b, b_row, b_col, p)

    ways = {"rows": rows, "columns": columns, "elements": elements}
    if way:
        ways[way]()
    else:
        lanes.choose(along(b_col), rows, lambda: lanes.choose(along(b_row), columns, elements))


def _inside(lanes: Vectors, width: int, j: ir.Value) -> ir.Value | None:
    """The lanes of the vector at column j that lie in the panel; None where every vector does."""
    return lanes.first(lanes.builder.sub(integer(width), j)) if width % lanes.lanes else None


def _pack_rows(
    lanes: Vectors, width: int, K: ir.Value, cols: ir.Value, b: ir.Value, b_row: ir.Value, p: ir.Value
) -> Values:
    """Vector copies of contiguous rows.

    What is left of a row's last vector goes into the next row, which is written after it, since masked stores are slow:
    only the last row has a mask, unless there would be more than a row of it.
    """
    builder, panel_row = lanes.builder, integer(width * lanes.bytes)
    firsts = range(0, width, lanes.lanes)
    there = [lanes.first(builder.sub(cols, integer(j))) for j in firsts]
    inside = [_inside(lanes, width, integer(j)) for j in firsts]

    def row(masks: Sequence[ir.Value | None], k: ir.Value, carried: Values) -> Values:
        source, target = carried
        ahead = lanes.offset(source, b_row, _AHEAD)
        for j, some, mask in zip(firsts, there, masks, strict=True):
            lanes.prefetch(builder.add(ahead, integer(j * lanes.bytes)))
            lanes.store(lanes.load(lanes.pointer(source, j), some), lanes.pointer(target, j), mask)
        return [builder.add(source, b_row), builder.add(target, panel_row)]

    left = -width % lanes.lanes
    masked = lanes.least(K, integer(min(left, 1))) if left <= width else K
    free = builder.sub(K, masked)
    last = lanes.loop(integer(0), free, 1, [b, p], partial(row, [None] * len(firsts)))
    if left:
        lanes.loop(free, K, 1, last, partial(row, inside))
    return []


def _pack_columns(
    lanes: Vectors, width: int, K: ir.Value, cols: ir.Value, b: ir.Value, b_col: ir.Value, p: ir.Value,
    p_row: ir.Value, end: ir.Value,
) -> Values:  # fmt: skip
    """Square tiles up to a column: vectors loaded along the contiguous columns, transposed in registers, stored.

    A panel of half the width, or a quarter, holds two or four such pieces in a square, one below the other.
    """
    builder, side = lanes.builder, lanes.lanes
    pieces = side // width if side % width == 0 else 1
    high = side // pieces

    def tile(k: ir.Value, j: ir.Value, is_whole: bool) -> Values:
        """Rows k.. and columns j.. of the panel, fewer than a vector's where K or cols end."""
        last_k = builder.sub(K, integer(1))
        corner = builder.add(b, builder.add(builder.mul(k, integer(lanes.bytes)), builder.mul(j, b_col)))
        square = []
        for piece in range(pieces):
            within_k = lanes.first(builder.sub(K, builder.add(k, integer(piece * side))))
            for column in range(high):
                exists = lanes.splat(builder.icmp_signed("<", builder.add(j, integer(column)), cols))
                place = lanes.pointer(lanes.offset(corner, b_col, column), piece * side)
                square.append(lanes.load(place, None if is_whole else builder.and_(within_k, exists)))
        # Rows beyond the last are stored in its place, in falling order, so that the right one comes last.
        target, inside = builder.add(p, builder.mul(j, integer(lanes.bytes))), _inside(lanes, width, j)
        turned = list(enumerate(lanes.transpose(square)))
        for piece in reversed(range(pieces)):
            for row, value in reversed(turned):
                real = builder.add(k, integer(piece * side + row))
                real = real if is_whole else lanes.least(real, last_k)
                place = lanes.pointer(builder.add(target, builder.mul(real, p_row)))
                if pieces > 1:
                    lanes.store(lanes.shuffle(value, value, range(piece * high, (piece + 1) * high)), place)
                else:
                    lanes.store(value, place, inside)
        return []

    def some(k: ir.Value, j: ir.Value) -> Values:
        """A tile, without masks where it is whole and they would cost something."""
        if lanes.masks_are_free:
            return tile(k, j, False)
        ends = ((k, pieces * side, K), (j, high, cols))
        deep, broad = (builder.icmp_signed("<=", builder.add(at, integer(n)), end) for at, n, end in ends)
        return lanes.choose(builder.and_(deep, broad), lambda: tile(k, j, True), lambda: tile(k, j, False))

    def strip(k: ir.Value, carried: Values) -> Values:
        def across(j: ir.Value, carried: Values) -> Values:
            return some(k, j)

        return lanes.loop(integer(0), end, side, [], across)

    lanes.loop(integer(0), K, pieces * side, [], strip)
    return []


def _emit_deal(
    lanes: Vectors, count: int, pitch: int, K: ir.Value, there: ir.Value, b: ir.Value, b_row: ir.Value, p: ir.Value
) -> None:
    """As many rows at a time as a vector has lanes."""
    builder, size, last = lanes.builder, integer(lanes.bytes), lanes.builder.sub(there, integer(1))

    def rows(is_whole: bool, k: ir.Value, _: Values) -> Values:
        target = builder.add(p, builder.mul(k, size))
        for column, value in enumerate(columns_of(lanes, count, b, b_row, k, None if is_whole else last)):
            lanes.store(value, lanes.pointer(target, column * pitch))
        return []

    by_vectors(lanes, there, K, rows)


def columns_of(
    lanes: Vectors, count: int, b: ir.Value, b_row: ir.Value, k: ir.Value, last: ir.Value | None = None
) -> Values:
    """So many columns of contiguous rows, of as many from k on as a vector has lanes; beyond the last that one.

    Of 10 columns 8 are turned, then 2, of which a vector holds 2 and 8 rows.
    """
    builder, found = lanes.builder, []

    def part(row: int, first: int, width: int) -> ir.Value:
        """Some elements of a row, and of every row as many rows further on as there are elements, in one vector."""
        rows = [builder.add(k, integer(n)) for n in range(row, lanes.lanes, width)]
        rows = rows if last is None else [lanes.least(n, last) for n in rows]
        places = [lanes.pointer(builder.add(b, builder.mul(n, b_row)), first) for n in rows]
        kind = ir.VectorType(lanes.element, width)
        parts = [builder.load(place, align=lanes.bytes, typ=kind) for place in places]
        while len(parts) > 1:
            both = positions(range(2 * parts[0].type.count))
            parts = [builder.shuffle_vector(*pair, both) for pair in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    for first, width in pieces(count, lanes.lanes):
        found += lanes.transpose([part(row, first, width) for row in range(width)])
    return found


def put_columns(
    lanes: Vectors, columns: Values, b: ir.Value, b_row: ir.Value, k: ir.Value, last: ir.Value | None = None
) -> None:
    """The way of `columns_of` back: of 10 columns 8 are two squares side by side, and each row of one is a store."""
    builder = lanes.builder
    numbers = [builder.add(k, integer(lane)) for lane in range(lanes.lanes)]
    numbers = numbers if last is None else [lanes.least(n, last) for n in numbers]
    places = [builder.add(b, builder.mul(n, b_row)) for n in numbers]
    for first, width in pieces(len(columns), lanes.lanes):
        square = lanes.transpose(columns[first : first + width])
        # Rows beyond the last are stored in its place, in falling order, so that the right one comes last.
        for lane in reversed(range(lanes.lanes)):
            row, begin = square[lane % width], lane // width * width
            part = lanes.shuffle(row, row, range(begin, begin + width))
            builder.store(part, lanes.pointer(places[lane], first), align=lanes.bytes)


def by_vectors(lanes: Vectors, there: ir.Value, K: ir.Value, rows: Callable[[bool, ir.Value, Values], Values]) -> None:
    """As many of K rows at a time as a vector has lanes, those that are all there first."""
    whole = lanes.builder.and_(there, integer(-lanes.lanes))
    lanes.loop(integer(0), whole, lanes.lanes, [], partial(rows, True))
    lanes.loop(whole, K, lanes.lanes, [], partial(rows, False))


def _emit_collect(
    lanes: Vectors, count: int, pitch: int, K: ir.Value, p: ir.Value, b: ir.Value, b_row: ir.Value
) -> None:
    """As many rows at a time as a vector has lanes."""
    builder, size, last = lanes.builder, integer(lanes.bytes), lanes.builder.sub(K, integer(1))

    def rows(is_whole: bool, k: ir.Value, _: Values) -> Values:
        source = builder.add(p, builder.mul(k, size))
        columns = [lanes.load(lanes.pointer(source, column * pitch)) for column in range(count)]
        put_columns(lanes, columns, b, b_row, k, None if is_whole else last)
        return []

    by_vectors(lanes, K, K, rows)


def _pack_elements(
    lanes: Vectors, width: int, K: ir.Value, cols: ir.Value, b: ir.Value, b_row: ir.Value, b_col: ir.Value, p: ir.Value
) -> Values:
    """One element at a time."""
    builder = lanes.builder
    zero = ir.Constant(lanes.element, 0.0)

    def row(k: ir.Value, carried: Values) -> Values:
        def element(j: ir.Value, carried: Values) -> Values:
            source, target = carried
            lanes.store_scalar(lanes.load_scalar(lanes.pointer(source)), lanes.pointer(target))
            return [builder.add(source, b_col), builder.add(target, integer(lanes.bytes))]

        def padding(j: ir.Value, carried: Values) -> Values:
            (target,) = carried
            lanes.store_scalar(zero, lanes.pointer(target))
            return [builder.add(target, integer(lanes.bytes))]

        source, target = carried
        _, end = lanes.loop(integer(0), cols, 1, [source, target], element)
        (end,) = lanes.loop(cols, integer(width), 1, [end], padding)
        return [builder.add(source, b_row), end]

    lanes.loop(integer(0), K, 1, [b, p], row)
    return []
