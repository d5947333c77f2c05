"""Sorting: stable, of any dtype, in a time that depends on how many elements there are and not on which.

(Zeros below zero and NaN are put in place by two more passes over a row of floats.)
Rows that fit a cache are sorted by networks; shorter ones by comparing all, longer ones, and bytes, by distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from graphc.codegen.intrinsics.bitonic import SortedPlaces, SortedValues
from graphc.codegen.intrinsics.radix import Sorter
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.intrinsics.vectors import Control, Values, integer, on_addresses

ROOM = 1_024  # bytes of a block, the widest one: there is room for whole ones
FEW = 6  # elements that take a network as long as many
# Elements from which on distribution is as fast, by the bytes of a vector: of values, and of positions, whose keys take
# half of an integer, or one of their own.
_LONGEST = {64: (1 << 17, 1 << 17, 1 << 13), 32: (1 << 16, 1 << 14, 1 << 13), 16: (1 << 14, 1 << 10, 1 << 10)}


def longest_row(nbytes: int, at: bool = False) -> int:
    """How many elements a network sorts at most, or their positions."""
    return _LONGEST[host_vector_bytes()][nbytes // 4 if at else 0]


@cache
def sort(code: str) -> Any:
    """The intrinsic (x, step, n, y, spare): n elements, `step` bytes apart from x on, in order from y on.

    There is room for n elements at y and for whole blocks at spare.
    """
    typed = on_addresses(f"sort_{code}", lambda b, *arguments: _sort(b, code, *arguments))

    @intrinsic
    def sorted_elements(typingctx: Any, x: Any, step: Any, n: Any, y: Any, spare: Any) -> Any:
        return typed(x, step, n, y, spare)

    return sorted_elements


@cache
def argsort(code: str) -> Any:
    """The intrinsic (x, step, n, y, spare, at, spare_at): the elements' positions, int64, from `at` on.

    There is room for n elements at y, for n positions at `at`, and for whole blocks of each at spare and spare_at.
    """
    typed = on_addresses(f"argsort_{code}", lambda b, *arguments: _argsort(b, code, *arguments))

    @intrinsic
    def positions(typingctx: Any, x: Any, step: Any, n: Any, y: Any, spare: Any, at: Any, spare_at: Any) -> Any:
        return typed(x, step, n, y, spare, at, spare_at)

    return positions


def _sort(b: ir.IRBuilder, code: str, *arguments: ir.Value) -> None:
    others, nbytes = partial(Sorter(b, code).emit, *arguments), int(code[1])
    if nbytes == 1:
        others()
    else:
        network = partial(SortedValues(b, code).emit, *arguments)
        _choose(b, arguments[2], longest_row(nbytes), network, others)


def _argsort(b: ir.IRBuilder, code: str, *arguments: ir.Value) -> None:
    others, nbytes = partial(Sorter(b, code).emit, *arguments), int(code[1])
    if nbytes < 4:
        others()
    else:
        network = partial(SortedPlaces(b, code).emit, *arguments)
        _choose(b, arguments[2], longest_row(nbytes, at=True), network, others)


def _choose(
    b: ir.IRBuilder, n: ir.Value, longest: int, network: Callable[[], None], others: Callable[[], None]
) -> None:
    """Sort by a network more elements than a few that are not many, and all others as ever."""

    def done(emit: Callable[[], None]) -> Values:
        emit()
        return []

    some = b.icmp_unsigned("<", b.sub(n, integer(FEW + 1)), integer(longest - FEW))
    Control(b, 8).choose(some, partial(done, network), partial(done, others))
