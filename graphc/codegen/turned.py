"""Arrays that lie across the rows of a nest: tile by tile, copied so that rows of the copy lie along them.

In: the form of a nest.  Out: which arrays, where an element lies in the copy, and the loops of tiles, which fill it.  A
loop that reads them where they lie gathers; a copy transposes squares in registers.  Vectors of 8 elements of 8 bytes
are gathered in the time in which a square of them is copied, unless lines of the columns throw each other out of L1.

    for other rows:
        for tiles of 64 columns:                     j is the first column of a tile
            for strips of 64 rows:                   t is the first row of a strip
                copy what lies across, then go along each of these rows
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from graphc.codegen.loop_ir import WORKER, Expr, Position
from graphc.codegen.scope import Loop, Scope
from graphc.codegen.text import integer
from graphc.dims import Dim, substitute, symbol
from graphc.graph import Node
from graphc.schedule.access import Index, linear, loop_symbol, offset
from graphc.schedule.shape import loads
from graphc.schedule.task import Place

if TYPE_CHECKING:
    from graphc.codegen.form import Form

TILE = 64  # elements of a row in a copy
STRIP = 64  # rows of a copy, whose neighbours come from memory together; it stays in L1
SQUARE = 16  # fewer rows or columns are not worth it
LONG = 256  # elements of a row of a tile with less rows than that
PAGE = 4096  # bytes after which lines share a set of L1
SHARED = 512  # bytes between columns, modulo pages, from which on 64 columns of lines find no room there
BEGIN = symbol("%t")  # the first row of a strip


class Across(NamedTuple):
    """An array that is read along rows that lie across it: the element where both loops begin, the step in a row.

    A tuple, since two are told apart, and of tuples the nodes are asked first whether they are the same.
    """

    node: Node
    first: Dim
    step: Dim


def across(form: Form, node: Node, index: Index, axis: int) -> Across | None:
    """How an array lies that is read at this index across rows which lie side by side along `axis`; None if not so."""
    row, column = f"%{axis}", f"%{form.inner[0]}"
    position = offset(index, node.shape)
    steps = linear(position)
    if steps is None or steps.get(row) != 1 or steps.get(column, 0) in (-1, 0, 1):
        return None
    return Across(node, substitute(position, {row: 0, column: 0}), steps[column])


def arrays_across(form: Form) -> tuple[int | None, dict[Across, bool]]:
    """The rows along which arrays lie that loops read across them, and whether all of each array surely is there.

    Loops that fold go along rows in their own order.
    """
    if form.reductions or form.before is not None or len(form.inner) != 1:
        return None, {}
    reads = [r for m in form.members for r in loads(m, form.is_loaded, form.made) if r.index and form.is_loaded(r.node)]
    for axis in sorted(form.rows, key=lambda k: (_is_few(form.domain[k]), -k)):
        if all(_is_few(form.domain[k], 2 * SQUARE) for k in (axis, form.inner[0])):
            continue  # all of it stays in L1
        found: dict[Across, bool] = {}
        for read in reads:
            one = across(form, read.node, form.moved(read.index), axis)
            if one is not None:
                found[one] = found.get(one, False) or not read.guarded
        if found:
            return axis, found
    return None, {}


def _is_few(size: Dim, least: int = SQUARE) -> bool:
    return isinstance(size, int) and size < least


def turned_arrays(form: Form) -> dict[Across, Place]:
    """The arrays, with memory of a chunk's own: one tile of each."""
    if form.beside is None or any(_is_few(form.domain[k]) for k in (form.beside, form.inner[0])):
        return {}
    chunks, width = form.chunks()[2], tile_of(form)
    found = [a for a, is_there in form.across.items() if is_there and _is_dear(a)]
    return {a: form.text.scratch_of_chunk(a.node.dtype, chunks, (STRIP, width)) for a in found}


def _is_dear(across: Across) -> bool:
    """Whether elements are gathered slower than a copy of them is made."""
    size = across.node.dtype.size
    return size == 4 or (size == 8 and not (isinstance(across.step, int) and gcd(across.step * size, PAGE) < SHARED))


def tile_of(form: Form) -> int:
    """How many columns a tile has: a power of two, so that many nests share a routine."""
    assert form.beside is not None
    columns, most = form.domain[form.inner[0]], LONG if _is_few(form.domain[form.beside]) else TILE
    return min(most, max(SQUARE, 1 << (columns - 1).bit_length())) if isinstance(columns, int) else most


def turned_at(form: Form) -> Dim:
    """Where in a tile the loops are."""
    assert form.beside is not None
    row, column, wide = loop_symbol(form.beside), loop_symbol(form.inner[0]), tile_of(form)
    return WORKER * (STRIP * wide) + (row - BEGIN) * wide + column - form.block


def tiles(form: Form, scope: Scope) -> tuple[tuple[Loop, Loop], tuple[Dim, Expr]]:
    """The loops over tiles, and over the strips in which one of each array is copied; the first row, and the end."""
    assert form.beside is not None
    text, wide, size = form.text, tile_of(form), form.domain[form.inner[0]]
    first, end = form.bounds(form.beside)
    around = text.loop(scope, str(form.block)[1:], size, 0, wide)
    loop = text.loop(around, str(BEGIN)[1:], end, first, STRIP)
    rows = integer("least", Position(STRIP), text.at(end - BEGIN))
    columns = integer("least", Position(wide), text.at(size - form.block))
    for one, place in form.turned.items():
        nbytes = one.node.dtype.size
        source = text.address(text.place[one.node], (one.first + BEGIN + form.block * one.step) * nbytes)
        target = text.address(place, WORKER * (STRIP * wide * nbytes))
        step, dtype = text.at(one.step * nbytes), one.node.dtype
        loop.use("turn", rows, columns, source, step, target, dtype=dtype, tile=(wide,))
    return (around, loop), (BEGIN, integer("least", text.at(BEGIN + STRIP), text.at(end)))
