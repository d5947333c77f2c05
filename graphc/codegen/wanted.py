"""Rows at positions that only the call knows: while one is read or written, a later one is asked for, to be in L2.

In: a gather or a scatter and the loop over its positions.  Out: the statements that ask.  No processor foresees such
rows: of those that it comes to by itself some ten go on at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from graphc.codegen.evaluate import converted, loaded_from
from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.text import HI, Scope, Text, integer
from graphc.dims import Dim, product, substitute, symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import (
    Index,
    aligned,
    at_positions,
    linear,
    loop_axes,
    offset,
    positions_of,
    through_movement,
    view,
)
from graphc.schedule.task import Place
from graphc.types import int64

if TYPE_CHECKING:
    from graphc.codegen.form import Form

_NEAR = 1 << 20  # bytes of an array that lies near anyway
_LINES = 48  # that are asked for and not there yet
_MOST = 16  # lines of a row; of more than these the processor foresees what follows
AT = "%p"  # a position


class Row(NamedTuple):
    """A row of an array: the element at which it begins, at the position AT; the loop along it, and how long it is."""

    array: Node
    place: Place
    first: Dim
    along: str
    columns: Dim


def fetch_gathered(form: Form, scope: Scope) -> None:
    """Ask for rows that a nest gathers, each along its innermost loop; the scope is that of the loop over rows."""
    if form.beside is not None or not form.rows or len(form.inner) != 1:
        return
    axis, (column,) = form.row_axes()[-1], form.inner
    end = HI if axis == form.cut_axis() else form.domain[axis]
    for node in form.members:
        if node.op.family is Family.GATHER and form.is_full(node):
            index, memory = form.index_of(node), view(node.operands[0])
            place = loaded_from(form.text, memory.base)
            first = memory.at(at_positions(node, index, [symbol(AT)] * len(positions_of(node))))
            if place is not None and (linear(first) or {}).get(f"%{column}") == 1:
                row = Row(memory.base, place, substitute(first, {f"%{column}": 0}), f"%{column}", form.domain[column])
                fetch_row(form.text, scope, row, node, index, form.is_loaded, (f"%{axis}", end))


def fetch_row(
    text: Text,
    scope: Scope,
    row: Row,
    node: Node,
    index: Index,
    is_loaded: Callable[[Node], bool],
    loop: tuple[str, Dim],
) -> None:
    """Ask for the row that a later step of the loop, of which name and end are given, comes to.

    Not of an array so small that it lies near, nor if the node has several positions, or computes them.
    """
    (name, end), size, columns = loop, row.array.dtype.size, row.columns
    nbytes = product(row.array.shape) * size
    positions, *more = positions_of(node)
    reads = list(through_movement(positions, aligned(index, positions.shape)))
    if not isinstance(columns, int) or (isinstance(nbytes, int) and nbytes < _NEAR):
        return
    if more or len(reads) != 1 or reads[0].guarded or not is_loaded(reads[0].node):
        return
    position = offset(reads[0].index, reads[0].node.shape)
    if (linear(position) or {}).get(name, 0) == 0 or row.along in loop_axes(position):
        return
    lines = min(-(-columns * size // LINE) + 1, _MOST)
    later = integer("least", text.at(symbol(name) + -(-_LINES // lines)), text.at(end - 1))
    then = {name: symbol(f"%{scope.let(text.fresh(), later).name}")}
    load = text.load(text.place[reads[0].node], positions.dtype, substitute(position, then))
    at = scope.let(text.fresh(), load if positions.dtype == int64 else converted(load, int64))
    first = substitute(row.first, {**then, AT: symbol(f"%{at.name}")})
    scope.use("fetch_lines", text.address(row.place, first * size), tile=(lines,))
