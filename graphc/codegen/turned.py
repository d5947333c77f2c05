"""Arrays that lie across the rows of a nest: tile by tile, copied so that rows of the copy lie along them.

In: the form of a nest.  Out: which arrays, where an element lies in the copy, and the statements that fill it.  A loop
that reads them where they lie gathers; a copy transposes squares in registers.  Vectors of 8 elements of 8 bytes are
gathered in the time in which a square of them is copied, unless lines of the columns throw each other out of L1.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from graphc.codegen.loop_ir import WORKER, Expr
from graphc.codegen.text import HI, LO, Loop, Scope, integer
from graphc.dims import Dim, symbol
from graphc.schedule.task import Place

if TYPE_CHECKING:
    from graphc.codegen.form import Across, Form

TILE = 64  # elements of a row in a copy
STRIP = 64  # rows of a copy, whose neighbours come from memory together; it stays in L1
SQUARE = 16  # fewer rows or columns are not worth it
PAGE = 4096  # bytes after which lines share a set of L1
SHARED = 512  # bytes between columns, modulo pages, from which on 64 columns of lines find no room there
BEGIN = symbol("%t")  # the first row of a strip


def turned_arrays(form: Form) -> dict[Across, Place]:
    """The arrays, with memory of a chunk's own: one tile of each."""
    row, column = (form.domain[axes[0]] for axes in (form.rows, form.inner)) if form.across else (0, 0)
    if any(isinstance(size, int) and size < SQUARE for size in (row, column)):
        return {}
    chunks = form.chunks()[2]
    found = [a for a, is_there in form.across.items() if is_there and _is_dear(a)]
    return {a: form.text.scratch_of_chunk(a.node.dtype, chunks, (STRIP, _width(column))) for a in found}


def _is_dear(across: Across) -> bool:
    """Whether elements are gathered slower than a copy of them is made."""
    size = across.node.dtype.size
    return size == 4 or (size == 8 and not (isinstance(across.step, int) and gcd(across.step * size, PAGE) < SHARED))


def _width(columns: Dim) -> int:
    """The columns of a tile: a power of two, so that many nests share a routine."""
    return min(TILE, max(SQUARE, 1 << (columns - 1).bit_length())) if isinstance(columns, int) else TILE


def tile_of(form: Form) -> int:
    """How many columns the loops go through before they come to the next rows."""
    return _width(form.domain[form.inner[0]]) if form.turned else TILE


def turned_at(form: Form) -> Dim:
    """Where in a tile the loops are."""
    row, column, wide = symbol(f"%{form.rows[0]}"), symbol(f"%{form.inner[0]}"), tile_of(form)
    return WORKER * (STRIP * wide) + (row - BEGIN) * wide + column - form.block


def strip(form: Form, scope: Scope) -> tuple[Loop, tuple[Dim, Expr]]:
    """The loop over strips of a chunk's rows, in which a tile of each array is copied; the first row, and the end."""
    text, wide = form.text, tile_of(form)
    loop = text.loop(scope, str(BEGIN)[1:], HI, LO, STRIP)
    rows = integer("least", text.at(STRIP), text.at(HI - BEGIN))
    columns = integer("least", text.at(wide), text.at(form.domain[form.inner[0]] - form.block))
    for across, place in form.turned.items():
        size = across.node.dtype.size
        source = text.address(text.place[across.node], (across.first + BEGIN + form.block * across.step) * size)
        target = text.address(place, WORKER * (STRIP * wide * size))
        step, dtype = text.at(across.step * size), across.node.dtype
        loop.use("turn", rows, columns, source, step, target, dtype=dtype, tile=(wide,))
    return loop, (BEGIN, integer("least", text.at(BEGIN + STRIP), text.at(HI)))
