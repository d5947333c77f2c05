"""Sums, products and extremes of short rows of floats, some of them together.

In: the addresses of rows of contiguous elements.  Out: a vector of what each comes to, with the bits of a fold of its
row alone.  A row is folded to one vector; then halves of it are combined, and halves of halves.  The halves of two rows
fill a vector, and the quarters of four, so that all of them take as many steps as one row and a half by itself, and the
results lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from graphc.codegen.intrinsics.blocks import Combine
from graphc.codegen.intrinsics.constants import positions
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.intrinsics.total import (
    RELATIONS,
    added,
    combination,
    extremes_of_each,
    has_nan,
    vector_of_each,
)
from graphc.codegen.intrinsics.vectors import Values, Vectors

_ROWS = 8  # or as many as a vector has lanes
_FEWEST = 4  # lanes of a vector, with fewer of which nothing is gained
_SHORT = 8  # vectors of a row


def rows_together(size: int, n: int) -> int:
    """How many rows of n floats of this size are folded together, 1 if none are."""
    lanes = host_vector_bytes() // size
    fits = lanes >= _FEWEST and 0 < n <= _SHORT * lanes
    return min(_ROWS, lanes) if fits else 1


def fold_together(
    operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: ir.Constant
) -> tuple[ir.Value, ir.Value | None]:
    """What each row of n elements comes to, as many as go together; and whether that is doubtful, if it may be.

    An extreme is, where there may be a NaN, or the sign of a zero counts: then `fold_exactly` tells.
    """
    combine = combination(lanes, operation)
    if operation not in RELATIONS:
        rows = [vector_of_each(operation, lanes, [address], n, combine)[0] for address in addresses]
        return _halved(lanes, rows, combine), None
    parts = [extremes_of_each(operation, lanes, [address], n)[0] for address in addresses]
    found, total = _halved(lanes, [best for best, _ in parts], combine), added(lanes, [total for _, total in parts])
    return found, lanes.builder.or_(has_nan(lanes, total), _has_zero(lanes.builder, found))


def _has_zero(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    bits = ir.IntType(vector.type.count)
    zeros = builder.fcmp_ordered("==", vector, ir.Constant(vector.type, 0.0))
    return builder.icmp_unsigned("!=", builder.bitcast(zeros, bits), bits(0))


def _halved(lanes: Vectors, rows: Values, combine: Combine) -> ir.Value:
    """What all lanes of each row come to: vectors hold the same share of some rows, one after the other."""
    width = lanes.lanes
    while width > 1:
        width //= 2
        rows = [combine(*_halves(lanes, rows[k : k + 2], width)) for k in range(0, len(rows), 2)]
    (result,) = rows
    return result


def _halves(lanes: Vectors, some: Values, width: int) -> tuple[ir.Value, ir.Value]:
    """The first halves, of so many lanes, of what one or two vectors hold of each of their rows, and the second."""
    first, last, end = some[0], some[-1], sum(vector.type.count for vector in some)

    def from_lane(start: int) -> ir.Value:
        which = tuple(lane + k for lane in range(start, end, 2 * width) for k in range(width))
        return lanes.builder.shuffle_vector(first, last, positions(which))

    return from_lane(0), from_lane(width)
