"""Tiles of arrays that come from memory: narrow, whole lines of the result, and asked for as far down as a chunk goes.

In: the form of a nest in tiles.  Out: whether they are such, the rows of its chunks, the loop over tiles, and the
statements that ask.  A column of some hundred rows is one piece of a page of memory, of which all is read before the
page is left; a tile of so many rows stays in L2 until its strips have come to it.

    for tiles of 32 columns:               all rows of the chunk; from a line of the result on, so the first is narrower
        for strips of 64 rows:
            copy what lies across, then go along each of these rows, which asks for some of what lies beside its strip
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.loop_ir import Var
from graphc.codegen.scope import Loop, Scope
from graphc.dims import dim_max, floor_div, substitute, symbol
from graphc.graph import Node
from graphc.schedule.access import linear, loop_symbol, offset
from graphc.schedule.task import Place
from graphc.types import int64

if TYPE_CHECKING:
    from graphc.codegen.form import Form

COLUMNS = 32  # of a tile
FEWEST_TILES = 8  # of a row, since nobody asks for the first one
TALLEST, SHORTEST = 512, 96  # rows of a chunk
CHUNKS = 8  # enough for all threads
BEGIN = symbol("%tile") - symbol("%into")  # of a tile; before the first element, if the row begins so far into a line


def columns_of_tall(form: Form, streamed: Mapping[Place, Place]) -> int:
    """How many columns tiles have that come from memory, of which so much is written past the caches; 0 if not so.

    Rows of the result begin at the same place of a line, else tiles would end within lines.
    """
    if not streamed or not form.in_tiles or form.beside is None or form.beside != form.cut_axis():
        return 0
    rows, columns = form.domain[form.beside], form.domain[form.inner[0]]
    if not isinstance(rows, int) or not isinstance(columns, int):
        return 0
    node, _ = widest(form, streamed)
    steps = linear(offset(form.index_of(node), node.shape)) or {}
    size = node.dtype.size
    is_in_step = steps[f"%{form.beside}"] * size % LINE == 0 and COLUMNS * size >= LINE
    is_copied = {one.node.dtype.size for one in form.across} <= {4, 8}
    is_large = rows >= CHUNKS * SHORTEST and columns >= FEWEST_TILES * COLUMNS
    return COLUMNS if is_in_step and is_copied and is_large else 0


def widest(form: Form, streamed: Mapping[Place, Place]) -> tuple[Node, Place]:
    """Of the outputs that are written past the caches the one that has most bytes."""
    return max((s for s in form.nest.stores if s[1] in streamed), key=lambda s: s[0].dtype.size)


def rows_of_chunk(rows: int) -> int:
    """How many rows of so many a chunk has."""
    return min(TALLEST, rows // CHUNKS)


def tiles(form: Form, scope: Scope) -> Loop:
    """The loop over tiles, the first of which ends with a line of the result."""
    assert form.beside is not None
    text, columns, (node, place) = form.text, form.domain[form.inner[0]], widest(form, form.streamed)
    corner = {f"%{form.beside}": form.bounds(form.beside)[0], f"%{form.inner[0]}": 0}
    first = substitute(offset(form.index_of(node), node.shape), corner)
    scope.use("into_line", text.address(place, first * node.dtype.size), dtype=node.dtype, result=Var("into", int64))
    found = text.loop(scope, "tile", columns + symbol("%into"), 0, form.tall)
    found.bind(str(form.block)[1:], dim_max(BEGIN, 0))
    return found


def fetch_beside(form: Form, row: Scope) -> None:
    """Ask for some columns of the next tile: as far down as a line has elements, beside the row and those around it."""
    assert form.beside is not None
    text, begin = form.text, form.bounds(form.beside)[0]
    for across in form.across:
        size, down = across.node.dtype.size, loop_symbol(form.beside) - begin
        rows = LINE // size
        above, some = floor_div(down, rows) * rows, form.tall // rows
        loop = text.loop(row, "q", some)
        column = BEGIN + form.tall + (down - above) * some + symbol("%q")
        position = across.first + begin + above + column * across.step
        loop.use("fetch_lines", text.address(text.place[across.node], position * size), tile=(1,))
        loop.close()
