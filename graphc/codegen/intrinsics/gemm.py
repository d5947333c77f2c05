"""Matrix products: register-tiled microkernels as Numba intrinsics, on addresses and strides in bytes.

A product is a loop over tiles of C; a text calls `pack` on a panel of B (or leaves B where it lies) and then `micro`
on every tile.  Each element of C is one chain of fused multiply-adds in the order of k, so that its bits do not depend
on where tiles begin, nor on how k is blocked (`accumulate` continues the chain).

A tile may be `more` than that.  "nested" sums over two loops: the sum over o < outer of such products, A_o at
a + o*a_outer and B_o at b + o*b_outer.  With "rows_listed" (A's of `micro` and `dots`) and "sum_listed" (B's of
`micro_transposed` and `sweep`) rows need not lie one after the other: where row k is, word first + k of a list says.
Tiles that are "asking_ahead", "asking_rows" or "asking_lines" have what others want of A brought to L2 while they are
computed: where its rows follow one another without a gap, all bytes of the tile after the next one, in order; else the
next one's rows; or where these lie beside each other the next line of each.  Of `dots` that have "rows_in_turn" or
"columns_in_turn", those of a tile are read one after the other, as they lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import product
from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.listed import Listed
from graphc.codegen.intrinsics.pack import pack, turn
from graphc.codegen.intrinsics.sweep import sweep
from graphc.codegen.intrinsics.target import LINE, dots_tile, host_vector_bytes, tail_of, tile
from graphc.codegen.intrinsics.tiles import tile_intrinsic
from graphc.codegen.intrinsics.vectors import Values, Vectors, integer, type_name

__all__ = [
    "dots", "dots_tile", "host_vector_bytes", "micro", "micro_transposed", "pack", "sweep", "tail_of", "tile", "turn",
]  # fmt: skip

_AHEAD = 768  # bytes: rows that are read in turn are one stream, of which the processor foresees less
Part = tuple[Vectors, ir.Value | None]  # of a row of a tile: a vector, or half of one, and its mask
Parts = Sequence[Part]
Places = list[tuple[Vectors, ir.Value, ir.Value | None]]  # of vectors: their like, pointer and mask


@cache
def micro(dtype: DTypeLike, MR: int, NV: int, tail: int | None = None, more: str = "") -> Any:
    """C[rows, cols] = (C if accumulate else 0) + A[rows, K] @ B[K, cols]; 1 <= rows <= MR, cols <= NV vectors.

    A(i, k) is at a + i*a_row + k*a_col, B(k, :) is contiguous at b + k*b_row, C(i, :) at c + i*c_row.  With a tail cols
    are all of the vectors, or so many halves of vectors and no fewer.
    """
    name = "x".join(str(n) for n in (MR, NV, tail) if n is not None)
    name, parameters = f"micro_{type_name(dtype)}_{name}", "rows cols K a a_row a_col b b_row c c_row accumulate"
    return tile_intrinsic(name, dtype, parameters, more, partial(_emit_micro, MR, NV, tail))


def _emit_micro(MR: int, NV: int, tail: int | None, more: str, lanes: Vectors, *arguments: ir.Value) -> None:
    """A body for all vectors and one for the tail; or for up to half of the vectors and for more.

    Where masks cost something, there is one for whole vectors as well.
    """
    _, cols, *_ = arguments
    builder, narrow = lanes.builder, Vectors(lanes.builder, lanes.dtype, lanes.lanes // 2)

    def body(halves: int, whole: int = 0) -> Values:
        """So many halves of vectors, of which masks say what is there but for some whole vectors."""
        parts: list[Part] = []
        for v in range((halves + 1) // 2):
            vector = lanes if 2 * v + 1 < halves else narrow
            rest = builder.sub(cols, integer(v * lanes.lanes))
            parts.append((vector, None if v < whole else vector.first(rest)))
        return _emit_tile(lanes, MR, parts, more, *arguments)

    def some() -> Values:
        if tail is not None:
            return body(tail, (tail - 1) // 2)
        half = (NV + 1) // 2
        if half == NV:
            return body(2 * NV)
        few = builder.icmp_signed("<=", cols, integer(half * lanes.lanes))
        return lanes.choose(few, lambda: body(2 * half), lambda: body(2 * NV, half))

    if tail == 0:
        body(2 * NV, NV)
    elif tail is None and lanes.masks_are_free and NV > 2:  # one or two vectors wait for their masks, more do not
        some()
    else:
        is_whole = builder.icmp_signed("==", cols, integer(NV * lanes.lanes))
        lanes.choose(is_whole, lambda: body(2 * NV, NV), some)


def _emit_tile(
    lanes: Vectors, MR: int, parts: Parts, more: str, rows: ir.Value, cols: ir.Value, K: ir.Value,
    a: ir.Value, a_row: ir.Value, a_col: ir.Value,
    b: ir.Value, b_row: ir.Value, c: ir.Value, c_row: ir.Value, accumulate: ir.Value, *rest: ir.Value,
) -> Values:  # fmt: skip
    """A tile of C, kept in MR x len(parts) registers from its first load to its last store."""
    builder = lanes.builder

    def places() -> Places:
        """Where C lies: computed anew where it is needed, since the loop has no registers to spare for it."""
        return _places(_row_addresses(lanes, rows, MR, c, c_row), parts)

    # A row repeated beyond the last one is computed and stored again: the same bits, since all loads of C come first.
    start = lanes.choose(
        builder.icmp_signed("!=", accumulate, integer(0)),
        lambda: [vector.load(*place) for vector, *place in places()],
        lambda: [vector.zero for _ in range(MR) for vector, _ in parts],
    )
    a_rows = _rows_of_a(lanes, rows, MR, a, a_row, more, rest)
    ask = partial(_ask, more, lanes, a_rows, a_row) if more.startswith("asking") else None
    sums = _multiply(lanes, parts, a_rows, b, start, [*_outer(more, rest), (K, a_col, b_row)], ask=ask)
    for value, (vector, *place) in zip(sums, places(), strict=True):
        vector.store(value, *place)
    return []


def _ask(more: str, lanes: Vectors, rows: Values, a_row: ir.Value, k: ir.Value, offset: ir.Value) -> None:
    """Ask for as many bytes as a step reads, of the tile after the next one; or for one line: of the rows after the
    last one, in turn, since it has the elements of the next steps; or the one after the last row's."""
    builder, MR = lanes.builder, len(rows)
    if more == "asking_ahead":
        step = MR * lanes.bytes
        here = builder.add(rows[0], builder.add(builder.mul(a_row, integer(2 * MR)), builder.mul(k, integer(step))))
        for line in range(0, step, LINE):
            lanes.prefetch(builder.add(here, integer(line)))
        return
    here = builder.add(rows[-1], offset)
    if more == "asking_lines":
        lanes.prefetch(builder.add(here, integer(LINE)))
    else:
        below = builder.add(builder.urem(k, integer(MR)), integer(1))
        lanes.prefetch(builder.add(here, builder.mul(below, a_row)))


Depth = tuple[ir.Value, ir.Value, ir.Value]  # of a sum: how many, and the steps of A and B


def _outer(more: str, rest: Sequence[ir.Value]) -> list[Depth]:
    """The outer loop of a sum, if it has one."""
    return [(rest[0], rest[1], rest[2])] if more == "nested" else []


def _multiply(
    lanes: Vectors, parts: Parts, a_rows: Values, b: ir.Value, start: Values, depths: Sequence[Depth],
    listed: Listed | None = None, ask: Callable[[ir.Value, ir.Value], None] | None = None,
) -> Values:  # fmt: skip
    """The loops over k: start + A @ B, a vector for every row of A and every part (of a row of B).

    Of the only loop a list may tell where B's rows are, and each step may ask for something.
    """
    builder = lanes.builder

    def steps(a_offset: ir.Value, b_address: ir.Value, sums: Values, depths: Sequence[Depth]) -> Values:
        (count, a_step, b_step), *inner = depths

        def step(k: ir.Value, carried: Values) -> Values:
            a_at, b_at, *old = carried
            b_at = listed.address(k) if listed else b_at
            if ask:
                ask(k, a_at)
            new = steps(a_at, b_at, old, inner) if inner else products(a_at, b_at, old)
            return [builder.add(a_at, a_step), builder.add(b_at, b_step), *new]

        return lanes.loop(integer(0), count, 1, [a_offset, b_address, *sums], step)[2:]

    def products(a_offset: ir.Value, b_address: ir.Value, sums: Values) -> Values:
        b_vectors = [vector.load(pointer, mask) for vector, pointer, mask in _places([b_address], parts)]
        new = []
        for i, row in enumerate(a_rows):
            a_ik = lanes.load_scalar(lanes.pointer(builder.add(row, a_offset)))
            of_row = zip(parts, b_vectors, sums[i * len(parts) :], strict=False)
            new += [vector.fma(vector.splat(a_ik), b, old) for (vector, _), b, old in of_row]
        return new

    return steps(integer(0), b, start, depths)


@cache
def micro_transposed(dtype: DTypeLike, MR: int, NV: int, more: str = "") -> Any:
    """C[rows, cols] = A[rows, K] @ B[K, cols], with the bits of `micro`, where columns of C are contiguous, not rows.

    A(i, k) is at a + i*a_row + k*a_col, B(k, :) is contiguous at b + k*b_row, C(:, j) at c + j*c_col.  With A and B
    exchanged, it is for a C with few columns: lanes run along its rows, where an A of transposed layout is contiguous.
    """
    name, parameters = f"micro_transposed_{type_name(dtype)}_{MR}x{NV}", "rows cols K a a_row a_col b b_row c c_col"
    return tile_intrinsic(name, dtype, parameters, more, partial(_emit_transposed, MR, NV))


def _emit_transposed(
    MR: int, NV: int, more: str, lanes: Vectors, rows: ir.Value, cols: ir.Value, K: ir.Value,
    a: ir.Value, a_row: ir.Value, a_col: ir.Value, b: ir.Value, b_row: ir.Value, c: ir.Value, c_col: ir.Value,
    *rest: ir.Value,
) -> None:  # fmt: skip
    """The loop over k of `micro`, then squares of the tile transposed in registers."""
    builder, side = lanes.builder, lanes.lanes
    parts = [(lanes, lanes.first(builder.sub(cols, integer(v * side)))) for v in range(NV)]
    a_rows = _row_addresses(lanes, rows, MR, a, a_row)
    depths = [*_outer(more, rest), (K, a_col, b_row)]
    listed = Listed(lanes, rest, b, b_row) if more == "sum_listed" else None

    def multiplied(parts: Parts) -> Values:
        return _multiply(lanes, parts, a_rows, b, [lanes.zero] * (MR * NV), depths, listed)

    whole = builder.icmp_signed("==", cols, integer(NV * side))
    sums = lanes.choose(whole, lambda: multiplied([(lanes, None)] * NV), lambda: multiplied(parts))
    columns = _row_addresses(lanes, cols, NV * side, c, c_col)

    def store(is_whole: bool) -> Values:
        for top in range(0, MR, side):
            mask, count = lanes.first(builder.sub(rows, integer(top))), min(side, MR - top)
            # Columns beyond the last are stored in its place, in falling order, so that the right one comes last.
            for v in reversed(range(NV)):
                square = sums[top * NV + v : (top + side) * NV : NV]
                square += [lanes.zero] * (side - len(square))
                for lane, value in reversed(list(enumerate(lanes.transpose(square)))):
                    place = builder.add(columns[v * side + lane], integer(top * lanes.bytes))
                    if is_whole:
                        lanes.store_first(value, place, count)
                    else:
                        lanes.store(value, lanes.pointer(place), mask)
        return []

    _choose_stores(lanes, builder.icmp_signed("==", rows, integer(MR)), store)


def _choose_stores(lanes: Vectors, is_whole: ir.Value, store: Callable[[bool], Values]) -> None:
    """Stores of a tile: with masks, or where these are slow and the tile is whole, without them."""
    if lanes.masks_are_free:
        store(False)
    else:
        lanes.choose(is_whole, lambda: store(True), lambda: store(False))


def _row_addresses(lanes: Vectors, rows: ir.Value, MR: int, base: ir.Value, stride: ir.Value) -> Values:
    """The addresses of MR rows; beyond the last row there is, that one again."""
    builder, place, addresses = lanes.builder, base, [base]
    for i in range(1, MR):
        place = builder.add(place, stride)
        exists = builder.icmp_signed("<", integer(i), rows)
        # A choice of addresses, not of strides: else LLVM sees through it and gives every row an induction variable.
        addresses.append(builder.select(exists, place, addresses[-1]))
    return addresses


def _rows_of_a(
    lanes: Vectors, rows: ir.Value, MR: int, base: ir.Value, stride: ir.Value, more: str, rest: Sequence[ir.Value]
) -> Values:
    """The same of rows that may be listed."""
    if not more.endswith("rows_listed"):
        return _row_addresses(lanes, rows, MR, base, stride)
    listed, last = Listed(lanes, rest, base, stride), lanes.builder.sub(rows, integer(1))
    return [listed.address(lanes.least(integer(i), last)) for i in range(MR)]


def _places(rows: Values, parts: Parts) -> Places:
    """The vectors of rows, row by row; all but the last of a row are whole."""
    (whole, _), *_ = parts
    return [(v, v.pointer(row, n * whole.lanes), mask) for row in rows for n, (v, mask) in enumerate(parts)]


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
    builder, outer = lanes.builder, _outer(more, rest)
    a_rows, b_rows = _rows_of_a(lanes, rows, MR, a, a_row, more, rest), _row_addresses(lanes, cols, NR, b, b_col)

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
    c_rows = _row_addresses(lanes, rows, MR, c, c_row)
    places = [place for _, *place in _places(c_rows, parts)]
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

    _choose_stores(lanes, builder.icmp_signed("==", cols, integer(NR)), store)


def _row_totals(lanes: Vectors, sums: Values, MR: int) -> Values:
    """MR rows of NR vectors to MR rows of enough vectors for NR lanes: lane j is the sum over the lanes of vector j."""
    NR = len(sums) // MR
    # A row takes a power of two of lanes, or whole vectors: so none straddles two vectors.
    width = 1 << (NR - 1).bit_length() if lanes.lanes >= NR else NR + -NR % lanes.lanes
    nobodys = ir.Constant(lanes.type, ir.Undefined)  # sums that are not stored
    padding = [nobodys] * (width - NR)
    slots = [value for i in range(MR) for value in (*sums[i * NR : (i + 1) * NR], *padding)]
    slots += [nobodys] * (-len(slots) % lanes.lanes)
    totals = [lanes.sums(slots[t : t + lanes.lanes]) for t in range(0, len(slots), lanes.lanes)]
    firsts = [i * width + j for i in range(MR) for j in range(0, width, lanes.lanes)]
    return [lanes.rotate(totals[first // lanes.lanes], first % lanes.lanes) for first in firsts]
