"""Large outputs that nobody reads, written past the caches: loops make a piece on the stack, and that is streamed.

In: the form of a nest.  Out: which outputs, on what condition, and the statements that write a piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphc.codegen.form import FOLDS, KEPT, Form
from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.loop_ir import CHUNK, Call, Expr, Position, Var
from graphc.codegen.text import HI, LO, Scope, Text, integer, test
from graphc.codegen.turned import BEGIN, STRIP, tile_of
from graphc.codegen.work import bytes_read, efforts_of_element
from graphc.dims import Dim, product, substitute, symbol
from graphc.scalar import CHEAP
from graphc.schedule.access import linear, loop_symbol, offset
from graphc.schedule.shape import loads
from graphc.schedule.task import Place
from graphc.types import DType, int64

PAST_CACHES = 1 << 25  # bytes that a phase moves; what is less may be in a cache when it is read
FAR = 1 << 23  # bytes that loops across rows read, from which on they ask for them
SHORTEST = 256  # elements of a row, whose ends are parts of lines; of rows in tiles that are lines 64 are enough
PIECE = 256  # bytes of a block of the widest array: reads of the next go on while one is written
AHEAD = 1 << 13  # bytes before an array's lines are wanted, when they are asked for
MOST_LINES = 16  # of a piece
MOST_EFFORT = 32  # instructions for an element, and no dear function: what costs more hardly waits for memory
MOST_OUTPUTS = 4  # of a nest: each has a block on the stack


def streamed_outputs(form: Form) -> dict[Place, Place]:
    """The outputs, each with the block where a piece of it is made."""
    held = form.text.roots or form.before is not None or not form.domain
    if held or (form.reductions and not form.row_set):
        return {}
    efforts = efforts_of_element(form.nest)
    if not form.row_set and (max(efforts, default=0) > CHEAP or sum(efforts) > MOST_EFFORT):
        return {}
    variable = f"%{form.inner[-1]}" if form.inner else "%i"
    found: list[Place] = []
    for node, place in form.nest.stores:
        steps = linear(offset(form.index_of(node), node.shape)) if node.shape == form.nest.domain else None
        along = steps is not None and steps.get(variable) == 1
        stays = node not in form.kept or form.is_one_block()  # until a later sweep of the row loads it
        if along and place.kind == "output" and place not in form.text.schedule.read and stays:
            found.append(place)
    first = FOLDS + KEPT if form.reductions else 0
    return {place: Place("stack", first + k) for k, place in enumerate(found[:MOST_OUTPUTS])}


def _limits(form: Form, moved: Dim) -> tuple[tuple[Dim, int], ...]:
    """Sizes, and from what on each of them is large: the bytes that loops move, and the elements of a row."""
    row = form.domain[form.inner[-1]] if form.inner else product(form.domain)
    in_lines = form.beside is not None and isinstance(row, int) and row % LINE == 0
    return (moved, PAST_CACHES), (row, LINE if in_lines else SHORTEST)


def may_be_large(form: Form, moved: Dim) -> bool:
    """Whether it is not known that arrays fit caches, or that rows are too short."""
    return all(size >= least for size, least in _limits(form, moved) if isinstance(size, int))


def are_large(form: Form, moved: Dim) -> bool | Call:
    """Whether arrays of which loops move so many bytes are larger than caches, in rows that are not too short."""
    if not may_be_large(form, moved):
        return False
    unknown = [(size, least) for size, least in _limits(form, moved) if not isinstance(size, int)]
    if form.reductions and unknown:  # sweeps of rows are long, and not made twice
        return False
    tests = [test(">=", form.text.at(size), Position(least)) for size, least in unknown]
    return True if not tests else tests[0] if len(tests) == 1 else test("and", *tests)


def lines_of(form: Form, streamed: Mapping[Place, Place], moved: Dim) -> tuple[Place, DType] | None:
    """The output whose lines chunks of a loop over all elements are to be, if it may be streamed."""
    if form.inner or not streamed or not may_be_large(form, moved):
        return None
    return next((place, node.dtype) for node, place in form.nest.stores if place in streamed)


def cut_in_lines(text: Text, scope: Scope, size: Dim, end: Position, place: Place, dtype: DType) -> None:
    """Bind lo and hi so that chunks end where lines of an array do, and so pieces but for those of the first chunk.

    They are written whole then, and other arrays mostly begin at the same place of a line: their vectors are not read
    from two of them.
    """
    into = Var(text.fresh(), int64)
    scope.use("into_line", text.address(place), dtype=dtype, result=into)
    start = CHUNK * size - symbol(f"%{into.name}")
    scope.let("lo", integer("most", Position(start), Position(0)))
    scope.let("hi", integer("least", Position(start + size), end))


def piece_of(form: Form) -> int:
    """The elements of a block."""
    return PIECE // max(n.dtype.size for member in form.members for n in (member, *member.operands))


def _fetches(form: Form) -> bool:
    """Whether loops ask for what they want some steps later: what surely comes from far."""
    far = bytes_read(form.nest) if form.beside is not None else 0
    return bool(form.streamed) or (isinstance(far, int) and far >= FAR)


def fetch_across(form: Form, scopes: Sequence[Scope]) -> None:
    """Ask for some of the columns of the next tile of what lies across the rows; all rows of this one ask for all.

    That is the tile in the next strip, or after the last strip the one in the first.  The last two scopes are those of
    a strip and of its rows.
    """
    if form.beside is None or not _fetches(form):
        return
    *_, strip, row = scopes
    whole, wide = form.domain[form.beside], tile_of(form)
    begin, end, rows = (LO, HI, form.chunks()[1]) if form.cut_axis() == form.beside else (0, whole, whole)
    first, column, some = begin, form.block + wide, -(-wide // STRIP)
    if isinstance(rows, int) and rows <= STRIP:
        some = -(-wide // max(rows, 1))
    else:
        after = BEGIN + STRIP
        past = integer("most", Position(0), integer("least", Position(1), form.text.at(after - end + 1)))
        is_last = symbol(f"%{strip.let(form.text.fresh(), past).name}")
        first, column = after + (begin - after) * is_last, form.block + wide * is_last
    column = column + (loop_symbol(form.beside) - BEGIN) * some
    count = integer("least", Position(some), form.text.at(form.domain[form.inner[0]] - column))
    for across in form.across:
        size = across.node.dtype.size
        address = form.text.address(form.text.place[across.node], (across.first + first + column * across.step) * size)
        row.use("fetch", address, form.text.at(across.step * size), count, Position(STRIP * size))


def fetch_along(form: Form, scope: Scope, var: str, low: Dim) -> None:
    """Ask for what is wanted some pieces after the one that begins at `low`, where a single array is read.

    The processor foresees what lies ahead, but of one array not as much as memory could bring, and nothing of a tile,
    whose rows end after some lines.
    """
    if form.reductions or not _fetches(form):
        return
    found = dict.fromkeys(_read_along(form, var))
    if form.beside is not None:
        found.update(dict.fromkeys(_written_along(form, var)))
    elif len(found) != 1:
        return
    for place, position, step, size in found:
        piece, ahead = piece_of(form), AHEAD
        if form.beside is not None:  # the tile after the next; a line that begins in the next one was asked for with it
            piece = tile_of(form)
            ahead = 2 * piece * step * size + LINE - size
        address = form.text.address(place, substitute(position, {f"%{var}": low}) * size + ahead)
        kernel = "fetch_lines" if step == 1 else "fetch_near"  # the processor itself brings neighbours from L2 to L1
        scope.use(kernel, address, tile=(max(piece * step * size // LINE, 1),))


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
            if step >= 1 and step * size * piece_of(form) <= MOST_LINES * LINE:
                yield form.text.place[read.node], position, step, size


def _written_along(form: Form, var: str) -> Iterator[tuple[Place, Dim, int, int]]:
    """The same of what is written to the caches."""
    for node, place, is_scratch in form.stores_in(form.sweep):
        position = offset(form.index_of(node), node.shape)
        steps = linear(position)
        if not is_scratch and place not in form.streamed and steps is not None and steps.get(f"%{var}") == 1:
            yield place, position, 1, node.dtype.size


def write_streamed(form: Form, scope: Scope, count: Expr, first: Mapping[str, Dim]) -> None:
    """Write a piece of so many elements, from where the loop is at its `first` position."""
    for node, place, _ in form.stores_in(form.sweep):
        block = form.streamed.get(place)
        if block is not None:
            start = substitute(offset(form.index_of(node), node.shape), first)
            source, target = form.text.address(block), form.text.address(place, start * node.dtype.size)
            scope.use("stream", count, source, target, dtype=node.dtype)
