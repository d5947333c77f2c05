"""Large outputs that nobody reads, written past the caches: loops make a piece on the stack, and that is streamed.

In: the form of a nest.  Out: which outputs, on what condition, and the statements that write a piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from graphc.codegen.form import FOLDS, KEPT, Form
from graphc.codegen.loop_ir import CHUNK, Call, Expr, Position, Var
from graphc.codegen.text import Scope, Text, integer, test
from graphc.codegen.turned import TILE
from graphc.codegen.work import efforts_of_element
from graphc.dims import Dim, product, substitute, symbol
from graphc.graph import Node
from graphc.scalar import CHEAP
from graphc.schedule.access import linear, offset
from graphc.schedule.task import Place
from graphc.types import DType, int64

PAST_CACHES = 1 << 25  # bytes that a phase moves; what is less may be in a cache when it is read
SHORTEST = 256  # elements of a row, whose ends are parts of lines; of rows that are whole tiles one is enough
PIECE = 256  # bytes of a block of the widest array: reads of the next go on while one is written
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
    found: list[tuple[Node, Place]] = []
    for node, place in form.nest.stores:
        steps = linear(offset(form.index_of(node), node.shape)) if node.shape == form.nest.domain else None
        along = steps is not None and steps.get(variable) == 1
        stays = node not in form.kept or form.is_one_block()  # until a later sweep of the row loads it
        if along and place.kind == "output" and place not in form.text.schedule.read and stays:
            found.append((node, place))
    return _blocks(form, found[:MOST_OUTPUTS])


def _blocks(form: Form, outputs: Sequence[tuple[Node, Place]]) -> dict[Place, Place]:
    """Their blocks: those of a sweep are free for the next one's, but for rows that later sweeps load."""
    kept, used = [place for node, place in outputs if node in form.kept], Counter[int]()
    first = FOLDS + KEPT if form.reductions else 0
    found = {place: Place("stack", first + k) for k, place in enumerate(kept)}
    for node, place in outputs:
        if place not in found:
            found[place] = Place("stack", first + len(kept) + used[form.sweep_of[node]])
            used[form.sweep_of[node]] += 1
    return found


def _limits(form: Form, moved: Dim) -> tuple[tuple[Dim, int], ...]:
    """Sizes, and from what on each of them is large: the bytes that loops move, and the elements of a row."""
    row = form.domain[form.inner[-1]] if form.inner else product(form.domain)
    in_tiles = form.beside is not None and isinstance(row, int) and row % TILE == 0
    return (moved, PAST_CACHES), (row, TILE if in_tiles else SHORTEST)


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


def write_streamed(form: Form, scope: Scope, count: Expr, first: Mapping[str, Dim]) -> None:
    """Write a piece of so many elements, from where the loop is at its `first` position."""
    for node, place, _ in form.stores_in(form.sweep):
        block = form.streamed.get(place)
        if block is not None:
            start = substitute(offset(form.index_of(node), node.shape), first)
            source, target = form.text.address(block), form.text.address(place, start * node.dtype.size)
            scope.use("stream", count, source, target, dtype=node.dtype)
