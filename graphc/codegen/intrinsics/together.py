"""Sums, products and extremes of short rows of floats, some of them together.

In: the addresses of rows of contiguous elements.  Out: a vector of what each comes to, with the bits of a fold of its
row alone.  A row is folded to one vector; then halves of it are combined, and halves of halves.  The halves of two rows
fill a vector, and the quarters of four, so that all of them take as many steps as one row and a half by itself, and the
results lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from graphc.codegen.intrinsics.constants import positions
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.intrinsics.total import (
    EXACT,
    RELATIONS,
    Combine,
    accumulators,
    added,
    combination,
    fold_with,
    neutral_of,
)
from graphc.codegen.intrinsics.vectors import Values, Vectors, integer

_ROWS = 8  # or as many as a vector has lanes
_FEWEST = 4  # lanes of a vector, with fewer of which nothing is gained
_SHORT = 8  # vectors of a row


def rows_together(size: int, n: int) -> int:
    """How many rows of n floats of this size are folded together, 1 if none are."""
    lanes = host_vector_bytes() // size
    fits = lanes >= _FEWEST and 0 < n <= _SHORT * lanes
    return min(_ROWS, lanes) if fits else 1


def fold_together(
    operation: str, lanes: Vectors, addresses: Sequence[ir.Value], n: int
) -> tuple[ir.Value, ir.Value | None]:
    """What each row of n elements comes to, as many as go together; and whether that is doubtful, if it may be.

    An extreme is, where there may be a NaN, or the sign of a zero counts: then `fold_exactly` tells.
    """
    rows = [_loaded(operation, lanes, address, n) for address in addresses]
    combine = combination(lanes, operation)
    found = _halved(lanes, [_one(lanes, vectors, combine) for vectors in rows], combine)
    return found, _is_doubtful(lanes, rows, found) if operation in RELATIONS else None


def fold_exactly(operation: str, lanes: Vectors, address: ir.Value, n: int) -> ir.Value:
    """The extreme of a row of n elements."""
    return fold_with(operation, lanes, address, integer(n), lambda a, x: lanes.call(EXACT[operation], a, x))


def _is_doubtful(lanes: Vectors, rows: Sequence[Values], found: ir.Value) -> ir.Value:
    builder, bits = lanes.builder, ir.IntType(len(rows))
    total = added(lanes, [added(lanes, vectors) for vectors in rows])
    zeros = builder.bitcast(builder.fcmp_ordered("==", found, ir.Constant(found.type, 0.0)), bits)
    is_zero = builder.icmp_unsigned("!=", zeros, bits(0))
    return builder.or_(lanes.any(builder.fcmp_unordered("uno", total, total)), is_zero)


def _loaded(operation: str, lanes: Vectors, address: ir.Value, n: int) -> Values:
    """The vectors of a row; beyond its last element stands what changes nothing."""
    neutral, found = neutral_of(lanes, operation), []
    for first in range(0, n, lanes.lanes):
        at = lanes.pointer(address, first)
        if first + lanes.lanes <= n:
            found.append(lanes.load(at))
        else:
            mask = lanes.first(integer(n - first))
            found.append(lanes.builder.select(mask, lanes.load(at, mask), neutral))
    return found


def _one(lanes: Vectors, vectors: Values, combine: Combine) -> ir.Value:
    """A row as one vector: accumulators in turn, then pair by pair, as of a row alone."""
    count = accumulators(lanes)
    chains = vectors[:count]
    for k, x in enumerate(vectors[count:]):
        chains[k % count] = combine(chains[k % count], x)
    while len(chains) > 1:
        pairs = zip(chains[::2], chains[1::2], strict=False)
        chains = [*(combine(a, b) for a, b in pairs), *chains[len(chains) & ~1 :]]
    return chains[0]


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
