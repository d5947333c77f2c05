"""Large outputs that nobody reads, written past the caches.

In: the form of a nest.  Out: which outputs, on what condition, and the statements that do it.  Loops over elements in
order make whole lines in registers and store them so at once, and so do rows that are swept several times part by part,
if lines begin with them and no later sweep loads them; else these, and tiles, are made on the stack, long ones that a
later sweep loads in scratch, and streamed from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from graphc.codegen.form import FOLDS, KEPT, Form
from graphc.codegen.intrinsics.target import LINE, has_two_multiply_adds, one_line_a_cycle
from graphc.codegen.loop_ir import CHUNK, Address, Call, Expr, Position, Use
from graphc.codegen.scope import Branch, Scope, close
from graphc.codegen.tall import widest
from graphc.codegen.text import FIRST, Text, integer, test
from graphc.codegen.turned import TILE
from graphc.codegen.work import efforts_of_element
from graphc.dims import Dim, dim_min, floor_div, substitute, symbol
from graphc.graph import Node
from graphc.scalar import CHEAP
from graphc.schedule.access import linear, offset
from graphc.schedule.shape import loads
from graphc.schedule.task import Place
from graphc.types import DType

PAST_CACHES = 1 << 25  # bytes that a phase moves; what is less may be in a cache when it is read
# Of both the second where two multiply-adds start in a cycle, which reads and writes more at a time.
SHORTEST, SHORTER = 256, 128  # elements of a row, whose ends are parts of lines; of whole tiles one is enough
PIECE, LONG_PIECE = 256, 512  # bytes of a block of the widest array: reads of the next go on while one is written
MOST_EFFORT = 32  # instructions for an element, and no dear function: what costs more hardly waits for memory
LONG_ROW = 3 * 2**11  # bytes of a row that is made line by line
LINES = 4  # of a row that are written while its sweep goes on
MOST_OUTPUTS = 4  # of a nest: each has a block on the stack, or a row of scratch
_PARTS = FOLDS + KEPT + MOST_OUTPUTS  # blocks for parts of their rows
WHOLE = symbol("%whole")  # where the whole lines of a loop end


def streamed_outputs(form: Form, moved: Dim) -> dict[Place, Place]:
    """The outputs, each with the block where a piece of it is made; none of loops that are known to move little."""
    held = form.text.roots or form.before is not None or not form.domain
    if held or (form.reductions and not form.row_set) or not _may_be_large(form, moved):
        return {}
    efforts = efforts_of_element(form.nest)
    if not form.row_set and (max(efforts, default=0) > CHEAP or sum(efforts) > MOST_EFFORT):
        return {}
    variable = f"%{form.inner[-1]}" if form.inner else "%i"
    found: list[tuple[Node, Place]] = []
    for node, place in form.nest.stores:
        steps = linear(offset(form.index_of(node), node.shape)) if node.shape == form.nest.domain else None
        along = steps is not None and steps.get(variable) == 1
        if along and place.kind == "output" and place not in form.text.schedule.read and not _is_slight(form, node):
            found.append((node, place))
    first = FOLDS + KEPT if form.reductions else 0
    return {place: _block(form, node, first + k) for k, (node, place) in enumerate(found[:MOST_OUTPUTS])}


def _is_slight(form: Form, node: Node) -> bool:
    """Whether an output has so little of what is moved that pieces cost more than reading its lines first."""
    return one_line_a_cycle() and not form.reductions and 2 * node.dtype.size < _widest_size(form)


def _block(form: Form, node: Node, number: int) -> Place:
    """Where an output is made: on the stack; or in scratch, if a later sweep loads a row of it that no block holds."""
    return form.scratch_row(node) if node in form.kept and not form.is_one_block() else Place("stack", number)


def made_at(form: Form, node: Node, block: Place, position: Dim) -> Dim:
    """Where in its block an element is made: at its position in the innermost loop, or in the row that is kept."""
    return form.scratch_at(block) if node in form.kept else position


def _limits(form: Form, moved: Dim) -> tuple[tuple[Dim, int], ...]:
    """Sizes, and from what on each of them is large: the bytes that loops move, and the elements of a row."""
    if not form.inner:
        return ((moved, PAST_CACHES),)
    row = form.domain[form.inner[-1]]
    in_tiles = form.in_tiles and isinstance(row, int) and row % TILE == 0
    shortest = SHORTER if has_two_multiply_adds() else SHORTEST
    return (moved, PAST_CACHES), (row, TILE if in_tiles else shortest)


def _may_be_large(form: Form, moved: Dim) -> bool:
    """Whether it is not known that arrays fit caches, or that rows are too short.

    Sweeps of rows are long, and not made twice: of those nothing may be unknown.
    """
    limits = _limits(form, moved)
    known = [size >= least for size, least in limits if isinstance(size, int)]
    return all(known) and not (form.reductions and len(known) < len(limits))


def are_large(form: Form, moved: Dim) -> bool | Call:
    """Whether arrays that may be large, of which loops move so many bytes, are larger than caches, in rows that are not
    too short."""
    unknown = [(size, least) for size, least in _limits(form, moved) if not isinstance(size, int)]
    tests = [test(">=", form.text.at(size), Position(least)) for size, least in unknown]
    return True if not tests else tests[0] if len(tests) == 1 else test("and", *tests)


def lines_of(form: Form, streamed: Mapping[Place, Place]) -> tuple[Place, DType] | None:
    """The output whose lines chunks of a loop over all elements are to be, if it may be streamed."""
    if form.inner or not streamed:
        return None
    node, place = widest(form, streamed)
    return place, node.dtype


def cut_in_lines(text: Text, scope: Scope, size: Dim, end: Position, place: Place, dtype: DType) -> None:
    """Bind lo and hi so that chunks end where lines of an array do, and so pieces but for those of the first chunk.

    They are written whole then, and other arrays mostly begin at the same place of a line: their vectors are not read
    from two of them.
    """
    start = CHUNK * size - scope.into_line(text.fresh(), text.address(place), dtype)
    scope.let("lo", integer("most", Position(start), Position(0)))
    scope.let("hi", integer("least", Position(start + size), end))


def piece_of(form: Form) -> int:
    """Elements that are made before they are written: a line, or a block of the widest array, two lines at least."""
    size = widest(form, form.streamed)[0].dtype.size
    if is_in_lines(form):
        return LINE // size
    nbytes = LONG_PIECE if has_two_multiply_adds() else PIECE
    return max(nbytes // _widest_size(form), 2 * LINE // size)


def _widest_size(form: Form) -> int:
    """The bytes of an element of the widest array."""
    return max(n.dtype.size for member in form.members for n in (member, *member.operands))


def is_in_lines(form: Form) -> bool:
    """Whether loops make what is streamed line by line: over all elements or along long rows, of arrays that are read
    in order.

    Of others LLVM makes vectors only where loops go on for longer than a line.  Rows begin and end within lines, which
    takes as long as some are saved.  Where a line is one vector of one a cycle, pieces are better: their lines are
    written one right after the other.
    """
    if not form.streamed or form.reductions or not _has_long_rows(form) or one_line_a_cycle():
        return False
    along = f"%{form.inner[-1]}" if form.inner else "%i"
    reads = [read for member in form.members for read in loads(member, form.is_loaded, form.made)]
    steps = [linear(offset(form.moved(read.index), read.node.shape)) if read.index else {} for read in reads]
    return all(s is not None and s.get(along, 0) in (0, 1) for s in steps) and not any(read.guarded for read in reads)


def _has_long_rows(form: Form) -> bool:
    """Whether there is one loop over all elements, or the innermost goes along known rows of many lines."""
    if not form.inner:
        return True
    row = form.domain[form.inner[-1]]
    return form.beside is None and isinstance(row, int) and row * widest(form, form.streamed)[0].dtype.size >= LONG_ROW


def leave_narrow(form: Form, piece: int) -> None:
    """Have those written past the caches alone of which a piece of so many elements is whole lines.

    Parts of a line that are written so, and parts that are not, take ten times as long as either.
    """
    wide = {place for node, place in form.nest.stores if is_whole(piece, node.dtype.size)}
    form.streamed = {place: block for place, block in form.streamed.items() if place in wide}


def bind_lines(form: Form, scope: Scope, moved: Dim, var: str, low: Dim, high: Dim) -> None:
    """Bind `first` and `whole`, between which a loop from `low` to `high` makes whole lines; none if the call moves
    too little."""
    text, (node, place) = form.text, widest(form, form.streamed)
    start = substitute(offset(form.index_of(node), node.shape), {f"%{var}": low})
    part = scope.into_line(text.fresh(), text.address(place, start * node.dtype.size), node.dtype)
    some, piece = LINE // node.dtype.size, piece_of(form)
    large: Dim = 1
    if not isinstance(moved, int):
        large = symbol(f"%{scope.let('large', text.at(dim_min(1, floor_div(moved, PAST_CACHES)))).name}")
    before = large * (some * floor_div(part + some - 1, some) - part)
    scope.let("first", integer("least", text.at(low + before), text.at(high)))
    scope.let("whole", text.at(FIRST + large * floor_div(high - FIRST, piece) * piece))


def store_lines(form: Form, scope: Scope, first: Mapping[str, Dim], count: int) -> None:
    """Write so many elements from the `first` position on, which are in registers still."""
    for node, _, source, target in _written(form, first):
        scope.use("store_lines", source, target, dtype=node.dtype, tile=(count,))


def step_of(form: Form, step: int, size: int) -> int:
    """Elements of a row that are written at once while its sweep goes on, whole lines of some output; or 0.

    The sweep goes by so many elements anyway, or if `step` is 0 as suits, in blocks of a size, if that is not 0.
    """
    row = form.domain[form.inner[-1]] if form.inner else None
    written = _written(form, {}) if form.reductions else ()
    sizes = [node.dtype.size for node, place, *_ in written if place not in form.late]
    if not sizes or not isinstance(row, int):
        return 0
    step = step or LINES * LINE // max(sizes)
    fits = row % step == size % step == 0 and any(is_whole(step, nbytes) for nbytes in sizes)
    return step if fits else 0


def is_whole(step: int, nbytes: int) -> bool:
    """Whether so many elements of so many bytes are whole lines."""
    return step * nbytes % LINE == 0


def bind_places(form: Form, scope: Scope, step: int, first: Mapping[str, Dim]) -> list[Position | None]:
    """Where in a line each output of this sweep begins whose block begins at the `first` position; None if steps end
    within lines."""
    found: list[Position | None] = []
    for node, output, _, target in _written(form, first) if form.reductions else ():
        in_steps = output in form.late or (step and is_whole(step, node.dtype.size))
        found.append(place_in_line(form, scope, node, target) if in_steps else None)
    return found


def place_in_line(form: Form, scope: Scope, node: Node, address: Expr) -> Position:
    """Bind how many elements after the begin of a line an address is."""
    return Position(scope.into_line(form.text.fresh(), address, node.dtype))


def parts_of(form: Form, places: Sequence[Position | None]) -> dict[Place, Place]:
    """The outputs of this sweep that are written step by step, each with the block where a step is made.

    It is the same block again and again, so that LLVM keeps it in registers; but what a later sweep loads is in memory.
    """
    blocks = {output: Place("stack", _PARTS + k) for k, output in enumerate(form.streamed)}
    written = zip(places, _written(form, {}), strict=False)
    steps = ((node, output) for place, (node, output, *_) in written if place is not None)
    return {o: blocks[o] for node, o in steps if o not in form.late and node not in form.kept}


def write_step(
    form: Form, scope: Scope, places: Sequence[Position | None], step: int, first: Mapping[str, Dim], done: Dim
) -> None:
    """Write so many elements from the `first` position, where lines begin; else keep them in the block of the row,
    `done` elements after its begin."""
    for place, (node, output, source, target) in zip(places, _written(form, first, done), strict=False):
        if place is None or output in form.late:
            continue
        if output in form.parts:
            part = form.text.address(form.parts[output])
            own = form.text.scope_of(part)
            scope.add(Use("store_or_keep", (part, target, source, place), node.dtype, (step,), own=own))
        else:
            branch = Branch(scope, test("==", place, Position(0)))
            branch.use("store_lines", source, target, dtype=node.dtype, tile=(step,))
            branch.close()


def write_streamed(
    form: Form, scope: Scope, count: Expr, first: Mapping[str, Dim], places: Sequence[Position | None] = ()
) -> None:
    """Write so many elements, from where the loop is at its `first` position, but for what steps have written or will.

    What follows a row of a tile in memory comes with another tile.
    """
    kernel = "stream_apart" if form.in_tiles else "stream"
    for (node, _, source, target), place in zip_longest(_written(form, first), places):
        here = scope if place is None else Branch(scope, test(">", place, Position(0)))
        here.use(kernel, count, source, target, dtype=node.dtype)
        if here is not scope:
            close(here)


def _written(form: Form, first: Mapping[str, Dim], done: Dim = 0) -> Iterator[tuple[Node, Place, Address, Address]]:
    """What is made on the stack in this sweep, the output, where it is made, and to where it goes."""
    for node, place, _ in form.stores_in(form.sweep):
        block = form.streamed.get(place)
        if block is not None:
            start = substitute(offset(form.index_of(node), node.shape), first)
            made, size = substitute(made_at(form, node, block, done), first), node.dtype.size
            yield node, place, form.text.address(block, made * size), form.text.address(place, start * size)
