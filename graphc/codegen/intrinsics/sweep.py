"""Products of few rows with a B that comes from far away: it is read once, from one end to the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.listed import Listed
from graphc.codegen.intrinsics.tiles import tile_intrinsic
from graphc.codegen.intrinsics.vectors import Values, Vectors, integer, type_name


@cache
def sweep(dtype: DTypeLike, R: int, MR: int, ahead: int, more: str = "") -> Any:
    """C[MR, cols] = A[MR, K] @ B[K, cols], with the bits of `micro`; C goes through L1 with each R rows of B.

    A(i, k) is at a + i*a_row + k*a_col, B(k, :) is contiguous at b + k*b_row, C(i, :) at c + i*c_row.  Rows of B that
    come so many times R later are asked for, if that is not 0; with "sum_listed" they need not lie one after the other.
    """
    name = f"sweep_{type_name(dtype)}_{R}x{MR}x{ahead}"
    return tile_intrinsic(name, dtype, "cols K a a_row a_col b b_row c c_row", more, partial(_emit_sweep, R, MR, ahead))


def _emit_sweep(
    R: int, MR: int, ahead: int, more: str, lanes: Vectors, cols: ir.Value, K: ir.Value,
    a: ir.Value, a_row: ir.Value, a_col: ir.Value, b: ir.Value, b_row: ir.Value, c: ir.Value, c_row: ir.Value,
    *rest: ir.Value,
) -> None:  # fmt: skip
    builder, along = lanes.builder, partial(_along, lanes, cols)
    listed = Listed(lanes, rest, b, b_row) if more else None
    a_rows, c_rows = (
        [builder.add(base, builder.mul(integer(i), step)) for i in range(MR)] for base, step in ((a, a_row), (c, c_row))
    )

    def at(base: ir.Value, offset: ir.Value) -> ir.Value:
        return lanes.pointer(builder.add(base, offset))

    def place_of(k: ir.Value) -> ir.Value:
        return listed.address(k) if listed else builder.add(b, builder.mul(k, b_row))

    def clear(byte: ir.Value, some: ir.Value | None) -> None:
        for row in c_rows:
            lanes.store(lanes.zero, at(row, byte), some)

    def swept(count: int) -> Callable[[ir.Value, Values], Values]:
        """The products of the next so many rows of B, added to C."""

        def step(k: ir.Value, _: Values) -> Values:
            numbers = [builder.add(k, integer(r)) for r in range(count)]
            steps = [builder.mul(n, a_col) for n in numbers]
            factors = [[lanes.splat(lanes.load_scalar(at(row, s))) for s in steps] for row in a_rows]
            places = [place_of(n) for n in numbers]
            last, far = builder.sub(K, integer(1)), integer(ahead * R)  # a list has no words for rows after the last
            later = [place_of(lanes.least(builder.add(n, far), last)) for n in numbers] if ahead else []

            def add(byte: ir.Value, some: ir.Value | None) -> None:
                vectors = [lanes.load(at(place, byte), some) for place in places]
                for place in later:
                    lanes.prefetch(builder.add(place, byte))
                for row, own in zip(c_rows, factors, strict=True):
                    total = lanes.load(at(row, byte), some)
                    for factor, vector in zip(own, vectors, strict=True):
                        total = lanes.fma(factor, vector, total)
                    lanes.store(total, at(row, byte), some)

            return along(add)

        return step

    along(clear)
    groups = builder.sub(K, builder.srem(K, integer(R)))
    lanes.loop(integer(0), groups, R, [], swept(R))
    lanes.loop(groups, K, 1, [], swept(1))


def _along(lanes: Vectors, cols: ir.Value, step: Callable[[ir.Value, ir.Value | None], None]) -> Values:
    """What is to be done with each vector of columns, at so many bytes; the last has a mask."""
    builder = lanes.builder
    whole = builder.and_(cols, integer(-lanes.lanes))
    mask = lanes.first(builder.sub(cols, whole))

    def vector(some: ir.Value | None, j: ir.Value, _: Values) -> Values:
        step(builder.mul(j, integer(lanes.bytes)), some)
        return []

    lanes.loop(integer(0), whole, lanes.lanes, [], partial(vector, None))
    return lanes.loop(whole, cols, lanes.lanes, [], partial(vector, mask))
