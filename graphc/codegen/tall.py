"""Tiles of arrays that come from memory: narrow, whole lines of the result, and asked for as far down as a chunk goes.

In: the form of a nest in tiles.  Out: whether they are such, the rows of its chunks, the loop over tiles, which columns
are copied and where a row goes in them, and the statements that ask.  A column of some hundred rows is one piece of a
page of memory, of which all is read before the page is left; a tile of so many rows stays in L2 until its strips have
come to it.

    for tiles of 32 columns:               all rows of the chunk
        for strips of 64 rows:
            copy what lies across, then go along each of these rows, which asks for some of what lies beside its strip

Rows begin and end with lines of the result.  Where these lie alike in all rows, so do tiles, the first of which is
narrower.  Else a row begins up to a line before the tile, and what is copied does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from graphc.codegen.intrinsics.target import LINE, has_two_multiply_adds
from graphc.codegen.loop_ir import Call, Position
from graphc.codegen.scope import Bounds, Loop, Scope
from graphc.codegen.text import integer
from graphc.dims import Dim, dim_max, floor_div, substitute, symbol
from graphc.graph import Node
from graphc.schedule.access import linear, loop_symbol, offset
from graphc.schedule.task import Place

if TYPE_CHECKING:
    from graphc.codegen.form import Form

COLUMNS = 32  # of a tile
VECTOR = 16  # elements at most of what is copied at once: copies are as wide as some of these
FEWEST_TILES = 8  # of a row, since nobody asks for the first one
TALLEST, TALL, SHORTEST = 512, 256, 96  # rows of a chunk; the second where two multiply-adds start in a cycle
CHUNKS = 8  # enough for all threads
TILE, INTO = symbol("%tile"), symbol("%into")  # a column with which a tile begins; elements of its line before a row


class Tall(NamedTuple):
    """How many columns before a tile its rows may reach into; 0 where all rows lie alike in lines, and so does it."""

    before: int

    @property
    def begin(self) -> Dim:
        """Where a tile begins; if that is before the first column, it begins with that."""
        return TILE - (0 if self.before else INTO)


def tall_tiles(form: Form, streamed: Mapping[Place, Place]) -> Tall | None:
    """The tiles of what comes from memory, if they are such; so much is written past the caches."""
    if not streamed or not form.in_tiles or form.beside is None or form.beside != form.cut_axis():
        return None
    rows, columns = form.domain[form.beside], form.domain[form.inner[0]]
    if not isinstance(rows, int) or not isinstance(columns, int):
        return None
    node, _ = widest(form, streamed)
    size, steps = node.dtype.size, linear(offset(form.index_of(node), node.shape)) or {}
    is_copied = {one.node.dtype.size for one in form.across} <= {4, 8}
    is_large = rows >= CHUNKS * SHORTEST and columns >= FEWEST_TILES * COLUMNS
    if not is_copied or not is_large or COLUMNS * size < LINE:
        return None
    are_alike = steps[f"%{form.beside}"] * size % LINE == 0
    return Tall(0 if are_alike else max(LINE // size, VECTOR))


def widest(form: Form, streamed: Mapping[Place, Place]) -> tuple[Node, Place]:
    """Of the outputs that are written past the caches the one that has most bytes."""
    return max((s for s in form.nest.stores if s[1] in streamed), key=lambda s: s[0].dtype.size)


def rows_of_chunk(rows: int) -> int:
    """How many rows of so many a chunk has."""
    return min(TALL if has_two_multiply_adds() else TALLEST, rows // CHUNKS)


def tiles(form: Form, tall: Tall, scope: Scope) -> Loop:
    """The loop over tiles, which binds the first column that is copied."""
    assert form.beside is not None
    more: Dim = tall.before
    if not tall.before:
        _bind_into(form, scope, form.bounds(form.beside)[0])
        more = INTO
    found = form.text.loop(scope, "tile", form.domain[form.inner[0]] + more, 0, COLUMNS)
    found.bind(str(form.block)[1:], dim_max(TILE - more, 0))
    return found


def columns_of_copy(form: Form, tall: Tall) -> Call:
    """How many columns are copied."""
    end = integer("least", Position(tall.begin + COLUMNS), form.text.at(form.domain[form.inner[0]]))
    return integer("-", end, form.text.at(form.block))


def columns_of_row(form: Form, tall: Tall, row: Scope) -> Bounds:
    """From where to where a row goes in a tile."""
    assert form.beside is not None
    first: Dim = form.block
    if tall.before:
        _bind_into(form, row, loop_symbol(form.beside))
        first = symbol(f"%{row.let(form.text.fresh(), form.text.at(dim_max(TILE - INTO, 0))).name}")
    return first, integer("least", Position(TILE - INTO + COLUMNS), form.text.at(form.domain[form.inner[0]]))


def _bind_into(form: Form, scope: Scope, row: Dim) -> None:
    """Bind how many elements of its line are before this row of the result."""
    node, place = widest(form, form.streamed)
    first = substitute(offset(form.index_of(node), node.shape), {f"%{form.beside}": row, f"%{form.inner[0]}": 0})
    scope.into_line(str(INTO)[1:], form.text.address(place, first * node.dtype.size), node.dtype)


def fetch_beside(form: Form, tall: Tall, row: Scope) -> None:
    """Ask for some columns of the next tile: as far down as a line has elements, beside the row and those around it."""
    assert form.beside is not None
    text, begin = form.text, form.bounds(form.beside)[0]
    for across in form.across:
        size, down = across.node.dtype.size, loop_symbol(form.beside) - begin
        rows = LINE // size
        above, some = floor_div(down, rows) * rows, COLUMNS // rows
        loop = text.loop(row, "q", some)
        column = tall.begin + COLUMNS + (down - above) * some + symbol("%q")
        position = across.first + begin + above + column * across.step
        loop.use("fetch_lines", text.address(text.place[across.node], position * size), tile=(1,))
        loop.close()
