"""Arrays that lie across the rows of a nest: tile by tile, copied so that rows of the copy lie along them.

In: the form of a nest.  Out: which arrays, where an element lies in the copy, and the loops of tiles, which fill it.  A
loop that reads them where they lie gathers; a copy transposes squares in registers.  Vectors of 8 elements of 8 bytes
are gathered in the time in which a square of them is copied, unless lines of the columns throw each other out of L1.

    for other rows:
        for tiles of 64 columns:                     j is the first column of a tile
            for strips of 64 rows:                   t is the first row of a strip
                copy what lies across, then go along each of these rows

Loops that fold go along whole rows, some of them several times.  So a copy has whole rows there, as many as fit L2.

    for other rows:
        for strips of 16, 32 or 64 rows:
            for tiles of 64 columns: copy what lies across
            then go along each of these rows
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from graphc.codegen import tall
from graphc.codegen.loop_ir import WORKER, Position
from graphc.codegen.scope import Bounds, Loop, Scope
from graphc.codegen.text import integer
from graphc.dims import Dim, dim_min, floor_div, substitute, symbol
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
PANEL = 1 << 19  # bytes of copies of whole rows, if there may be fewer rows
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

    Loops that fold go through rows in their own order, and read across them only what they copy.
    """
    folds = bool(form.reductions)
    if form.before is not None or len(form.inner) != 1 or (folds and (form.split.deep or form.by_batch())):
        return None, {}
    reads = [r for m in form.members for r in loads(m, form.is_loaded, form.made) if r.index and form.is_loaded(r.node)]
    for axis in form.rows[-1:] if folds else sorted(form.rows, key=lambda k: (_is_few(form.domain[k]), -k)):
        sizes = form.domain[axis], form.domain[form.inner[0]]
        if all(_is_few(size, 2) for size in sizes) or (folds and any(map(_is_few, sizes))):
            continue  # all of it stays in L1
        found: dict[Across, bool] = {}
        for read in reads:
            one = across(form, read.node, form.moved(read.index), axis)
            if one is not None:
                found[one] = found.get(one, False) or not read.guarded
        if folds:
            found = {one: True for one, is_there in found.items() if is_there and one.node.dtype.size in (4, 8)}
        if found:
            return axis, found
    return None, {}


def _is_few(size: Dim, times: int = 1) -> bool:
    return isinstance(size, int) and size < times * SQUARE


def turned_arrays(form: Form) -> dict[Across, Place]:
    """The arrays, with memory of a chunk's own: one tile of each, or some whole rows."""
    if form.beside is None or any(_is_few(form.domain[k]) for k in (form.beside, form.inner[0])):
        return {}
    chunks, shape = form.chunks()[2], shape_of(form)
    found = [a for a, is_there in form.across.items() if is_there and (not form.in_tiles or _is_dear(a))]
    return {a: form.text.scratch_of_chunk(a.node.dtype, chunks, shape) for a in found}


def _is_dear(across: Across) -> bool:
    """Whether elements are gathered slower than a copy of them is made."""
    size = across.node.dtype.size
    return size == 4 or (size == 8 and not (isinstance(across.step, int) and gcd(across.step * size, PAGE) < SHARED))


def tile_of(form: Form) -> int:
    """How many columns a tile has: a power of two, so that many nests share a routine."""
    assert form.beside is not None
    if form.tall is not None:
        return tall.COLUMNS
    columns, most = form.domain[form.inner[0]], LONG if _is_few(form.domain[form.beside]) else TILE
    return min(most, max(SQUARE, 1 << (columns - 1).bit_length())) if isinstance(columns, int) else most


def strip_of(form: Form) -> int:
    """How many rows a copy has."""
    if form.in_tiles:
        return STRIP
    row = sum(one.node.dtype.size for one in form.across) * form.domain[form.inner[0]]
    fits = (rows for rows in (STRIP, STRIP // 2) if isinstance(row, int) and rows * row <= PANEL)
    return next(fits, STRIP // 4)


def shape_of(form: Form) -> tuple[Dim, Dim]:
    """How many rows a copy has room for, and how long they are: whole rows end with a whole vector."""
    assert form.beside is not None
    if form.in_tiles:
        return STRIP, tile_of(form) + (0 if form.tall is None else form.tall.before)
    columns = form.domain[form.inner[0]]
    return dim_min(strip_of(form), form.domain[form.beside]), floor_div(columns + SQUARE - 1, SQUARE) * SQUARE


def turned_at(form: Form) -> Dim:
    """Where in a copy the loops are."""
    assert form.beside is not None
    row, column, (high, wide) = loop_symbol(form.beside), loop_symbol(form.inner[0]), shape_of(form)
    return WORKER * (high * wide) + (row - BEGIN) * wide + column - _first_column(form)


def _first_column(form: Form) -> Dim:
    """The column with which a copy begins."""
    return form.block if form.in_tiles else 0


def copies(form: Form, scope: Scope) -> tuple[Sequence[Loop], Bounds]:
    """The loops around rows in which arrays are copied, and where the rows begin and end that have been copied."""
    assert form.beside is not None
    form.turned = form.turned or turned_arrays(form)
    text, strip, columns = form.text, strip_of(form), form.domain[form.inner[0]]
    first, end = form.bounds(form.beside)
    if form.in_tiles:
        tiles = _tiles(form, scope)
        strips = text.loop(tiles, str(BEGIN)[1:], end, first, strip)
        _copy_tile(form, strips, tile_of(form), end)
    else:
        strips = text.loop(scope, str(BEGIN)[1:], end, first, strip)
        tiles = text.loop(strips, str(form.block)[1:], columns, 0, TILE)
        _copy_tile(form, tiles, TILE, end)
        tiles.close()
    around = (tiles, strips) if form.in_tiles else (strips,)
    return around, (BEGIN, integer("least", text.at(BEGIN + strip), text.at(end)))


def _tiles(form: Form, scope: Scope) -> Loop:
    if form.tall is not None:
        return tall.tiles(form, form.tall, scope)
    return form.text.loop(scope, str(form.block)[1:], form.domain[form.inner[0]], 0, tile_of(form))


def _copy_tile(form: Form, scope: Scope, width: int, end: Dim) -> None:
    """Copy so many columns of a strip; of whole rows, the next ones are asked for, as `wanted` does it in tiles."""
    text, strip, (high, wide), columns = form.text, strip_of(form), shape_of(form), form.domain[form.inner[0]]
    rows = integer("least", Position(strip), text.at(end - BEGIN))
    here, later = (integer("least", Position(width), text.at(columns - at)) for at in (form.block, form.block + width))
    here = here if form.tall is None else tall.columns_of_copy(form, form.tall)
    for one, copy in form.turned.items():
        array, nbytes = text.place[one.node], one.node.dtype.size
        corner, step = (one.first + BEGIN + form.block * one.step) * nbytes, one.step * nbytes
        source = text.address(array, corner), text.at(step)
        if not form.in_tiles:
            ahead = text.address(array, corner + width * step)
            scope.use("fetch", ahead, text.at(step), later, Position(strip * nbytes))
        target = text.address(copy, (WORKER * (high * wide) + form.block - _first_column(form)) * nbytes)
        scope.use("turn", rows, here, *source, target, text.at(wide * nbytes), dtype=one.node.dtype)
