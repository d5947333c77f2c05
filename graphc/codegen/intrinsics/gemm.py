"""Matrix products: register-tiled microkernels as Numba intrinsics, on addresses and strides in bytes.

A product is a loop over tiles of C; a text calls `pack` on a panel of B (or leaves B where it lies) and then `micro`
on every tile.  Each element of C is one chain of fused multiply-adds in the order of k, so that its bits do not depend
on where tiles begin, nor on how k is blocked (`accumulate` continues the chain).

A tile may be `more` than that.  "nested" sums over two loops: the sum over o < outer of such products, A_o at
a + o*a_outer and B_o at b + o*b_outer.  With "rows_listed" (A's of `micro` and `dots`) and "sum_listed" (B's of
`micro_transposed` and `sweep`) rows need not lie one after the other: where row k is, word first + k of a list says.
Tiles that are "asking_ahead", "asking_rows" or "asking_lines" have what others want of A brought to L2 while they are
computed: where its rows follow one another without a gap, all bytes of the tile after the next one, in order; else the
next one's rows; or where these lie beside each other the next line of each.  Those of a "panel" read a B that has been
packed, whose rows follow one another and are zero beyond cols, so that only C has masks, and contiguous rows of A.
Before them one that is "packing" reads B where it lies, asks for what comes some rows later, and fills the panel.  Of
`dots` that have "rows_in_turn" or "columns_in_turn", those of a tile are read one after the other, as they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.dots import dots
from graphc.codegen.intrinsics.listed import Listed
from graphc.codegen.intrinsics.pack import collect, deal, pack, turn
from graphc.codegen.intrinsics.sweep import sweep
from graphc.codegen.intrinsics.target import LINE, dots_tile, has_two_multiply_adds, host_vector_bytes, tail_of, tile
from graphc.codegen.intrinsics.tiles import (
    Depth,
    Part,
    Parts,
    Places,
    choose_stores,
    outer_loop,
    places_of,
    row_addresses,
    rows_of_a,
    tile_intrinsic,
)
from graphc.codegen.intrinsics.vectors import Values, Vectors, integer, type_name

__all__ = [
    "collect", "deal", "dots", "dots_tile", "host_vector_bytes", "micro", "micro_transposed", "pack", "sweep",
    "tail_of", "tile", "turn",
]  # fmt: skip

_STEPS = 4  # of a sum, in a turn of the loop over a panel: what turns cost is felt where a step takes 13 cycles
_OF_PANEL = ("panel", "packing")  # those that read a panel, and the first one, which fills it
_ROWS_AHEAD = 16  # of B, which come from L2 or L3 within so many steps


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
    if more in _OF_PANEL:  # the steps are known: they are no registers then
        rows, cols, K, a, a_row, _, b, b_row, *rest = arguments
        b_row = integer(NV * lanes.lanes * lanes.bytes) if more == "panel" else b_row
        arguments = (rows, cols, K, a, a_row, integer(lanes.bytes), b, b_row, *rest)

    def body(halves: int, whole: int = 0) -> Values:
        """So many halves of vectors, of which masks say what is there but for some whole vectors."""
        parts: list[Part] = []
        for v in range((halves + 1) // 2):
            vector = lanes if 2 * v + 1 < halves else narrow
            rest = builder.sub(cols, integer(v * lanes.lanes))
            parts.append((vector, None if v < whole else vector.first(rest)))
        return _emit_tile(lanes, (MR, NV), parts, more, *arguments)

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
    elif tail is None and NV > 2 and (more in _OF_PANEL or (lanes.masks_are_free and not has_two_multiply_adds())):
        # One or two vectors wait for their masks, more do not; but a mask takes the place of a second multiply-add.
        some()
    else:
        is_whole = builder.icmp_signed("==", cols, integer(NV * lanes.lanes))
        lanes.choose(is_whole, lambda: body(2 * NV, NV), some)


def _emit_tile(
    lanes: Vectors, shape: tuple[int, int], parts: Parts, more: str, rows: ir.Value, cols: ir.Value, K: ir.Value,
    a: ir.Value, a_row: ir.Value, a_col: ir.Value,
    b: ir.Value, b_row: ir.Value, c: ir.Value, c_row: ir.Value, accumulate: ir.Value, *rest: ir.Value,
) -> Values:  # fmt: skip
    """A tile of C, kept in MR x len(parts) registers from its first load to its last store."""
    builder, (MR, NV) = lanes.builder, shape

    def places() -> Places:
        """Where C lies: computed anew where it is needed, since the loop has no registers to spare for it."""
        return places_of(row_addresses(lanes, rows, MR, c, c_row), parts)

    # A row repeated beyond the last one is computed and stored again: the same bits, since all loads of C come first.
    start = lanes.choose(
        builder.icmp_signed("!=", accumulate, integer(0)),
        lambda: [vector.load(*place) for vector, *place in places()],
        lambda: [vector.zero for _ in range(MR) for vector, _ in parts],
    )
    a_rows = rows_of_a(lanes, rows, MR, a, a_row, more, rest)
    ask = partial(_ask, more, lanes, a_rows, a_row) if more.startswith("asking") else None
    of_b, at_once = ([(v, None) for v, _ in parts], _STEPS) if more == "panel" else (parts, 1)
    depths = [*outer_loop(more, rest), (K, a_col, b_row)]
    keep = partial(_keep, lanes, parts, NV, rest[0], b_row) if more == "packing" else None
    sums = _multiply(lanes, of_b, a_rows, b, start, depths, ask=ask, keep=keep, at_once=at_once)
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


def _keep(
    lanes: Vectors, parts: Parts, NV: int, panel: ir.Value, b_row: ir.Value, k: ir.Value, b: ir.Value, of_b: Values
) -> None:
    """Store the vectors of row k of B, at b, in the panel, and ask for those of a later row."""
    builder, row = lanes.builder, NV * lanes.lanes * lanes.bytes
    here = builder.add(panel, builder.mul(k, integer(row)))
    for value, (vector, pointer, _) in zip(of_b, places_of([here], parts), strict=True):
        vector.store(value, pointer, None)
    later = builder.add(b, builder.mul(b_row, integer(_ROWS_AHEAD)))
    for line in range(0, len(parts) * lanes.lanes * lanes.bytes, LINE):
        lanes.prefetch(builder.add(later, integer(line)))


def _multiply(
    lanes: Vectors, parts: Parts, a_rows: Values, b: ir.Value, start: Values, depths: Sequence[Depth],
    listed: Listed | None = None, ask: Callable[[ir.Value, ir.Value], None] | None = None,
    keep: Callable[[ir.Value, ir.Value, Values], None] | None = None, at_once: int = 1,
) -> Values:  # fmt: skip
    """The loops over k: start + A @ B, a vector for every row of A and every part (of a row of B).

    Of the only loop a list may tell where B's rows are, and each step may ask for something, or keep what it has of B;
    or turns of it take some steps `at_once`.
    """
    builder = lanes.builder

    def steps(a_offset: ir.Value, b_address: ir.Value, sums: Values, depths: Sequence[Depth]) -> Values:
        (count, a_step, b_step), *inner = depths

        def step(k: ir.Value, carried: Values) -> Values:
            a_at, b_at, *old = carried
            b_at = listed.address(k) if listed else b_at
            if ask:
                ask(k, a_at)
            new = steps(a_at, b_at, old, inner) if inner else products(k, a_at, b_at, old)
            return [builder.add(a_at, a_step), builder.add(b_at, b_step), *new]

        def turn(k: ir.Value, carried: Values) -> Values:
            for _ in range(at_once):
                carried = step(k, carried)
            return carried

        start, first = [a_offset, b_address, *sums], integer(0)
        if at_once > 1:
            whole = builder.and_(count, integer(-at_once))
            start, first = lanes.loop(first, whole, at_once, start, turn), whole
        return lanes.loop(first, count, 1, start, step)[2:]

    def products(k: ir.Value, a_offset: ir.Value, b_address: ir.Value, sums: Values) -> Values:
        b_vectors = [vector.load(pointer, mask) for vector, pointer, mask in places_of([b_address], parts)]
        if keep:
            keep(k, b_address, b_vectors)
        new, widths = [], {vector.lanes: vector for vector, _ in parts}
        for i, row in enumerate(a_rows):
            a_ik = lanes.load_scalar(lanes.pointer(builder.add(row, a_offset)))
            in_lanes = {width: vector.splat(a_ik) for width, vector in widths.items()}
            of_row = zip(parts, b_vectors, sums[i * len(parts) :], strict=False)
            new += [vector.fma(in_lanes[vector.lanes], b, old) for (vector, _), b, old in of_row]
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
    a_rows = row_addresses(lanes, rows, MR, a, a_row)
    depths = [*outer_loop(more, rest), (K, a_col, b_row)]
    listed = Listed(lanes, rest, b, b_row) if more == "sum_listed" else None

    def multiplied(parts: Parts) -> Values:
        return _multiply(lanes, parts, a_rows, b, [lanes.zero] * (MR * NV), depths, listed)

    whole = builder.icmp_signed("==", cols, integer(NV * side))
    sums = lanes.choose(whole, lambda: multiplied([(lanes, None)] * NV), lambda: multiplied(parts))
    columns = row_addresses(lanes, cols, NV * side, c, c_col)

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

    choose_stores(lanes, builder.icmp_signed("==", rows, integer(MR)), store)
