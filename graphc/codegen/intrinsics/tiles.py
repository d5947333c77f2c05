"""What register tiles have in common: an intrinsic of integers, which calls a routine for a dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.listed import Listed, with_list
from graphc.codegen.intrinsics.vectors import Values, Vectors, call_body, integer

_MORE = {
    **dict.fromkeys(("", "asking_ahead", "asking_rows", "asking_lines", "panel"), ()),
    **dict.fromkeys(("rows_in_turn", "columns_in_turn"), ()),
    "packing": ("panel",),
    "nested": ("outer", "a_outer", "b_outer"),
    **dict.fromkeys(("rows_listed", "sum_listed", "rows_in_turn_rows_listed"), ("list", "first")),
}


def tile_intrinsic(name: str, dtype: DTypeLike, parameters: str, more: str, emit: Callable[..., None]) -> Any:
    """The intrinsic of these parameters, by which Numba knows it."""
    words = ["typingctx", *parameters.split(), *_MORE[more]]
    typed = call_body(dtype, "_".join(filter(None, [name, more])), with_list(more, emit))

    def product(typingctx: Any, *arguments: Any) -> Any:
        return typed(*arguments)

    vars(product)["__signature__"] = Signature([Parameter(w, Parameter.POSITIONAL_OR_KEYWORD) for w in words])
    return intrinsic(product)


Part = tuple[Vectors, ir.Value | None]  # of a row of a tile: a vector, or half of one, and its mask
Parts = Sequence[Part]
Places = list[tuple[Vectors, ir.Value, ir.Value | None]]  # of vectors: their like, pointer and mask
Depth = tuple[ir.Value, ir.Value, ir.Value]  # of a sum: how many, and the steps of A and B


def outer_loop(more: str, rest: Sequence[ir.Value]) -> list[Depth]:
    """The outer loop of a sum, if it has one."""
    return [(rest[0], rest[1], rest[2])] if more == "nested" else []


def choose_stores(lanes: Vectors, is_whole: ir.Value, store: Callable[[bool], Values]) -> None:
    """Stores of a tile: with masks, or where these are slow and the tile is whole, without them."""
    if lanes.masks_are_free:
        store(False)
    else:
        lanes.choose(is_whole, lambda: store(True), lambda: store(False))


def row_addresses(lanes: Vectors, rows: ir.Value, MR: int, base: ir.Value, stride: ir.Value) -> Values:
    """The addresses of MR rows; beyond the last row there is, that one again."""
    builder, place, addresses = lanes.builder, base, [base]
    for i in range(1, MR):
        place = builder.add(place, stride)
        exists = builder.icmp_signed("<", integer(i), rows)
        # A choice of addresses, not of strides: else LLVM sees through it and gives every row an induction variable.
        addresses.append(builder.select(exists, place, addresses[-1]))
    return addresses


def rows_of_a(
    lanes: Vectors, rows: ir.Value, MR: int, base: ir.Value, stride: ir.Value, more: str, rest: Sequence[ir.Value]
) -> Values:
    """The same of rows that may be listed."""
    if not more.endswith("rows_listed"):
        return row_addresses(lanes, rows, MR, base, stride)
    listed, last = Listed(lanes, rest, base, stride), lanes.builder.sub(rows, integer(1))
    return [listed.address(lanes.least(integer(i), last)) for i in range(MR)]


def places_of(rows: Values, parts: Parts) -> Places:
    """The vectors of rows, row by row; all but the last of a row are whole."""
    (whole, _), *_ = parts
    return [(v, v.pointer(row, n * whole.lanes), mask) for row in rows for n, (v, mask) in enumerate(parts)]
