"""What loops want some steps later is asked for, mostly to be in L2: requests into L1 wait for one another.

In: the form of a nest, or a scatter, and its loops.  Out: the statements that ask.  The processor itself foresees what
lies ahead of several arrays; not as much of one as memory could bring, nothing of a tile, whose rows end after some
lines, and no rows at positions that only the call knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.codegen.evaluate import Evaluator, converted, loaded_from
from graphc.codegen.form import Form
from graphc.codegen.intrinsics.target import LINE, has_many_registers, has_two_multiply_adds, one_line_a_cycle
from graphc.codegen.loop_ir import Position
from graphc.codegen.scope import Loop, Scope
from graphc.codegen.streamed import is_in_lines, piece_of
from graphc.codegen.tall import fetch_beside
from graphc.codegen.text import integer
from graphc.codegen.turned import BEGIN, STRIP, tile_of
from graphc.codegen.work import bytes_read, efforts_of_element
from graphc.dims import Dim, floor_div, product, substitute, symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import (
    Index,
    aligned,
    at_positions,
    linear,
    loop_axes,
    loop_symbol,
    offset,
    positions_of,
    through_movement,
    view,
)
from graphc.schedule.shape import loads
from graphc.schedule.task import Place
from graphc.types import int64

FAR = 1 << 23  # bytes that loops across rows read, from which on they ask for them
AHEAD = 1 << 13  # bytes before an array's lines are wanted, when they are asked for
SOON = 1 << 9  # the same for narrow vectors, which take longer, but of neighbours that pieces are made of
BUSY = 8  # instructions for an element, from which on narrow vectors keep the processor from looking far ahead
MOST_LINES = 16  # of a row at a position: what follows is foreseen
LONGEST_STEP = 4  # elements, of arrays that are read with steps
NEAR = 1 << 20  # bytes of an array that lies near anyway
LINES = 48  # of rows at positions that are asked for and not there yet
AT = "%p"  # a position


def _fetches(form: Form) -> bool:
    """Whether loops ask for what they want some steps later: what surely comes from far."""
    far = bytes_read(form.nest) if form.beside is not None else 0
    return bool(form.streamed) or (isinstance(far, int) and far >= FAR)


def fetch_across(form: Form, scopes: Sequence[Scope]) -> None:
    """Ask for some of the columns of the next tile of what lies across the rows; all rows of this one ask for all.

    That is the tile in the next strip, or after the last strip the one in the first.  The last two scopes are those of
    a strip and of its rows.
    """
    if form.beside is None or not form.in_tiles or not _fetches(form):
        return
    *_, strip, row = scopes
    if form.tall is not None:
        fetch_beside(form, form.tall, row)
        return
    text, wide, whole = form.text, tile_of(form), form.domain[form.beside]
    (begin, end), rows = form.bounds(form.beside), form.chunks()[1] if form.beside == form.cut_axis() else whole
    first, column = begin, form.block + wide
    if not isinstance(rows, int) or rows > STRIP:
        after = BEGIN + STRIP
        past = integer("most", Position(0), integer("least", Position(1), text.at(after - end + 1)))
        is_last = symbol(f"%{strip.let(text.fresh(), past).name}")
        first, column = after + (begin - after) * is_last, form.block + wide * is_last
    high = symbol(f"%{strip.let(text.fresh(), integer('least', Position(STRIP), text.at(end - BEGIN))).name}")
    some = symbol(f"%{strip.let(text.fresh(), text.at(floor_div(high + wide - 1, high))).name}")
    asked = (loop_symbol(form.beside) - BEGIN) * some
    left = integer("least", text.at(wide - asked), text.at(form.domain[form.inner[0]] - column - asked))
    for across in form.across:
        size, corner = across.node.dtype.size, across.first + first + (column + asked) * across.step
        source = text.address(text.place[across.node], corner * size), text.at(across.step * size)
        row.use("fetch", *source, integer("least", text.at(some), left), Position(STRIP * size))


def fetch_along(form: Form, scope: Scope, var: str, low: Dim) -> None:
    """Ask for what is wanted some pieces after the one that begins at `low`, where a single array is read.

    The processor foresees what lies ahead, but of one array not as much as memory could bring, of two neither on some,
    and nothing of a tile, whose rows end after some lines.
    """
    if form.reductions or not _fetches(form):
        return
    found = dict.fromkeys(_read_along(form, var))
    if form.beside is not None:
        found.update(dict.fromkeys(_written_along(form, var)))
    elif not 0 < len(found) <= _asked_for(form):
        return
    for place, position, step, size in found:
        if form.beside is not None:  # the tile after the next; a line that begins in the next one was asked for with it
            piece = tile_of(form)
            ahead = 2 * piece * step * size + LINE - size
        else:
            piece, in_pieces = piece_of(form), step == 1 and not is_in_lines(form)
            ahead = AHEAD if has_many_registers() or in_pieces else SOON
        address = form.text.address(place, substitute(position, {f"%{var}": low}) * size + ahead)
        # The processor itself brings neighbours from L2 to L1, and mostly all lines.
        kernel = "fetch_near" if step != 1 and one_line_a_cycle() else "fetch_lines"
        scope.use(kernel, address, tile=(max(piece * step * size // LINE, 1),))


def _asked_for(form: Form) -> int:
    """Of how many arrays loops in order ask for lines: of two where what waits for them keeps others from being seen.

    With narrow vectors that is many instructions; where two multiply-adds start in a cycle, few are enough.
    """
    if has_many_registers():
        return 2 if has_two_multiply_adds() else 1
    is_quick = is_in_lines(form) and sum(efforts_of_element(form.nest)) < BUSY
    return 1 if is_quick else 2


def _read_along(form: Form, var: str) -> Iterator[tuple[Place, Dim, int, int]]:
    """Of which loops read each row once, by steps of the innermost loop that are not long: where, step, and size."""
    for member in form.members:
        for read in loads(member, form.is_loaded, form.made):
            position = offset(form.moved(read.index), read.node.shape) if read.index else 0
            steps = linear(position) or {}
            step, size = steps.get(f"%{var}"), read.node.dtype.size
            again = form.inner and any(steps.get(f"%{k}", 0) == 0 for k in form.row_axes() if form.domain[k] != 1)
            if not isinstance(step, int) or not form.is_loaded(read.node) or again:
                continue
            if 1 <= step <= LONGEST_STEP:
                yield form.text.place[read.node], position, step, size


def _written_along(form: Form, var: str) -> Iterator[tuple[Place, Dim, int, int]]:
    """The same of what is written to the caches."""
    for node, place, is_scratch in form.stores_in(form.sweep):
        position = offset(form.index_of(node), node.shape)
        steps = linear(position)
        if not is_scratch and place not in form.streamed and steps is not None and steps.get(f"%{var}") == 1:
            yield place, position, 1, node.dtype.size


class Row(NamedTuple):
    """A row of an array: the element at which it begins, at the position AT; the loop along it, and how long it is."""

    array: Node
    place: Place
    first: Dim
    along: str
    columns: Dim


def fetch_gathered(form: Form, scopes: Sequence[Scope]) -> None:
    """Ask for rows that a nest gathers, each along its innermost loop; the last scope is that of the loop over rows."""
    loop = scopes[-1]
    if form.beside is not None or not isinstance(loop, Loop) or len(form.inner) != 1:
        return
    (column,) = form.inner
    for node in form.members:
        if node.op.family is Family.GATHER and form.is_full(node):
            index, memory = form.index_of(node), view(node.operands[0])
            place = loaded_from(form.text, memory.base)
            if place is not None:
                first = memory.at(at_positions(node, index, [symbol(AT)] * len(positions_of(node))))
                row = Row(memory.base, place, first, f"%{column}", form.domain[column])
                fetch_row(form.evaluator, loop, row, node, index)


def fetch_row(evaluator: Evaluator, loop: Loop, row: Row, node: Node, index: Index) -> None:
    """Ask for the row that a later step of the loop comes to.

    Not of an array so small that it lies near, nor if its rows are not contiguous, nor if the node has several
    positions, computes them, or has others along the row.
    """
    text, size = evaluator.text, row.array.dtype.size
    nbytes = product(row.array.shape) * size
    if not isinstance(row.columns, int) or (isinstance(nbytes, int) and nbytes < NEAR):
        return
    positions, *more = positions_of(node)
    reads = list(through_movement(positions, aligned(index, positions.shape)))
    if more or len(reads) != 1 or reads[0].guarded or (linear(row.first) or {}).get(row.along) != 1:
        return
    place, scratch = evaluator.stored(reads[0].node, reads[0].index) or (None, None)
    name, position = f"%{loop.var}", offset(reads[0].index, reads[0].node.shape)
    if place is None or scratch is not None or name not in (axes := loop_axes(position)) or row.along in axes:
        return
    lines = min(-(-row.columns * size // LINE) + 1, MOST_LINES)
    last = integer("-", loop.hi, Position(1))
    later = loop.let(text.fresh(), integer("least", text.at(symbol(name) + -(-LINES // lines)), last))
    then = {name: symbol(f"%{later.name}"), row.along: 0}
    load = text.load(place, positions.dtype, substitute(position, then))
    at = loop.let(text.fresh(), load if positions.dtype == int64 else converted(load, int64))
    first = substitute(row.first, {**then, AT: symbol(f"%{at.name}")})
    loop.use("fetch_lines", text.address(row.place, first * size), tile=(lines,))
