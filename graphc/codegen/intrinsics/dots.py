"""Matrix products of few rows or columns as dot products: lanes run along the sum."""

from __future__ import annotations

from functools import cache, partial
from itertools import product
from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.constants import undefined
from graphc.codegen.intrinsics.tiles import (
    choose_stores,
    outer_loop,
    places_of,
    row_addresses,
    rows_of_a,
    tile_intrinsic,
)
from graphc.codegen.intrinsics.vectors import Values, Vectors, integer, type_name

_AHEAD = 768  # bytes: rows that are read in turn are one stream, of which the processor foresees less


@cache
def dots(dtype: DTypeLike, MR: int, NR: int, more: str = "") -> Any:
    """C[rows, cols] = (C if accumulate else 0) + A[rows, K] @ B[cols, K]^T; 1 <= rows <= MR, 1 <= cols <= NR.

    A(i, :) is contiguous at a + i*a_row, B(:, j) at b + j*b_col, C(i, :) at c + i*c_row: lanes run along k.  The bits
    of an element do not depend on the tile, nor on what it is more than that.
    """
    name, parameters = f"dots_{type_name(dtype)}_{MR}x{NR}", "rows cols K a a_row b b_col c c_row accumulate"
    return tile_intrinsic(name, dtype, parameters, more, partial(_emit_dots, MR, NR))


def _emit_dots(
    MR: int, NR: int, more: str, lanes: Vectors, rows: ir.Value, cols: ir.Value, K: ir.Value,
    a: ir.Value, a_row: ir.Value, b: ir.Value, b_col: ir.Value, c: ir.Value, c_row: ir.Value, accumulate: ir.Value,
    *rest: ir.Value,
) -> None:  # fmt: skip
    builder, outer = lanes.builder, outer_loop(more, rest)
    a_rows, b_rows = rows_of_a(lanes, rows, MR, a, a_row, more, rest), row_addresses(lanes, cols, NR, b, b_col)

    def row(a_rows: Values, b_rows: Values, a_offset: ir.Value, b_offset: ir.Value, sums: Values) -> Values:
        """The sum along what is contiguous: whole vectors, then what is left."""

        def step(k: ir.Value, sums: Values, mask: ir.Value | None = None) -> Values:
            byte = builder.mul(k, integer(lanes.bytes))
            if "_in_turn" in more and mask is None:
                place, offset = (a_rows[0], a_offset) if more.startswith("rows") else (b_rows[0], b_offset)
                lanes.prefetch(builder.add(builder.add(place, offset), builder.add(byte, integer(_AHEAD))))
            a_vectors, b_vectors = (
                [lanes.load(lanes.pointer(builder.add(place, builder.add(offset, byte))), mask) for place in side]
                for side, offset in ((a_rows, a_offset), (b_rows, b_offset))
            )
            pairs = product(a_vectors, b_vectors)
            return [lanes.fma(x, y, old) for (x, y), old in zip(pairs, sums, strict=True)]

        sums = lanes.loop(integer(0), whole, lanes.lanes, sums, step)
        return lanes.loop(whole, K, lanes.lanes, sums, lambda k, sums: step(k, sums, mask))

    def rows_of(o: ir.Value, carried: Values) -> Values:
        a_offset, b_offset, *sums = carried
        new = row(a_rows, b_rows, a_offset, b_offset, sums)
        return [builder.add(a_offset, outer[0][1]), builder.add(b_offset, outer[0][2]), *new]

    whole = builder.and_(K, integer(-lanes.lanes))
    mask = lanes.first(builder.sub(K, whole))
    start, zero = [lanes.zero] * (MR * NR), integer(0)
    if outer:
        sums = lanes.loop(zero, outer[0][0], 1, [zero, zero, *start], rows_of)[2:]
    elif more.startswith("rows_in_turn"):
        sums = [total for place in a_rows for total in row([place], b_rows, zero, zero, start[:NR])]
    elif more == "columns_in_turn":
        by_columns = [row(a_rows, [place], zero, zero, start[:MR]) for place in b_rows]
        sums = [column[i] for i in range(MR) for column in by_columns]
    else:
        sums = row(a_rows, b_rows, zero, zero, start)
    _store_dots(lanes, sums, MR, rows, cols, c, c_row, accumulate)


def _store_dots(
    lanes: Vectors, sums: Values, MR: int, rows: ir.Value, cols: ir.Value,
    c: ir.Value, c_row: ir.Value, accumulate: ir.Value,
) -> None:  # fmt: skip
    """Adds up the lanes of MR rows of sums and stores them in C, or adds to it; a lone column as a row, if it may."""

    def as_row() -> Values:
        _store_sums(lanes, sums, 1, integer(1), rows, c, c_row, accumulate)
        return []

    def in_rows() -> Values:
        _store_sums(lanes, sums, MR, rows, cols, c, c_row, accumulate)
        return []

    if len(sums) == MR > 1:
        lanes.choose(lanes.builder.icmp_signed("==", c_row, integer(lanes.bytes)), as_row, in_rows)
    else:
        in_rows()


def _store_sums(
    lanes: Vectors, sums: Values, MR: int, rows: ir.Value, cols: ir.Value,
    c: ir.Value, c_row: ir.Value, accumulate: ir.Value,
) -> None:  # fmt: skip
    builder, totals = lanes.builder, _row_totals(lanes, sums, MR)
    NR, vectors = len(sums) // MR, len(totals) // MR
    parts = [(lanes, lanes.first(builder.sub(cols, integer(v * lanes.lanes)))) for v in range(vectors)]
    c_rows = row_addresses(lanes, rows, MR, c, c_row)
    places = [place for _, *place in places_of(c_rows, parts)]
    start = lanes.choose(
        builder.icmp_signed("!=", accumulate, integer(0)),
        lambda: [lanes.load(*place) for place in places],
        lambda: [lanes.negative_zero] * len(places),
    )
    new = [builder.fadd(old, total) for old, total in zip(start, totals, strict=True)]

    def store(is_whole: bool) -> Values:
        for n, (value, place) in enumerate(zip(new, places, strict=True)):
            row, v = divmod(n, vectors)
            if is_whole:
                first = v * lanes.lanes
                there = builder.add(c_rows[row], integer(first * lanes.bytes))
                lanes.store_first(value, there, min(lanes.lanes, NR - first))
            else:
                lanes.store(value, *place)
        return []

    choose_stores(lanes, builder.icmp_signed("==", cols, integer(NR)), store)


def _row_totals(lanes: Vectors, sums: Values, MR: int) -> Values:
    """MR rows of NR vectors to MR rows of enough vectors for NR lanes: lane j is the sum over the lanes of vector j."""
    NR = len(sums) // MR
    # A row takes a power of two of lanes, or whole vectors: so none straddles two vectors.
    width = 1 << (NR - 1).bit_length() if lanes.lanes >= NR else NR + -NR % lanes.lanes
    nobodys = undefined(lanes.type)  # sums that are not stored
    padding = [nobodys] * (width - NR)
    slots = [value for i in range(MR) for value in (*sums[i * NR : (i + 1) * NR], *padding)]
    slots += [nobodys] * (-len(slots) % lanes.lanes)
    totals = [lanes.sums(slots[t : t + lanes.lanes]) for t in range(0, len(slots), lanes.lanes)]
    firsts = [i * width + j for i in range(MR) for j in range(0, width, lanes.lanes)]
    return [lanes.rotate(totals[first // lanes.lanes], first % lanes.lanes) for first in firsts]
