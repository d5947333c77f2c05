"""Phases that run no kernel but say which phase is next: loops and choices around the phases of bodies.

In: a task that holds bodies.  Out: its copies, its phases and what decides between them.  A control phase has a row of
words as others have: numbers of phases, sizes, and the frame's words that hold addresses.

    begin    trip, the phase after the loop, its first, the counter, whether it goes backwards, the position's address,
             how many rows, and for each: its address, that of the array, bytes from row to row
    end      the same
    bound    the counter, how often the next test may hold, -1 for ever, and the counter's address
    test     the address of a bool, the phase to go to if it is false or has held often enough, the counter, its address
    go       the phase to go to
    choose   the address of an int64, how many branches, and their first phases
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from graphc.codegen.copy import emit_copy
from graphc.codegen.inline import Inlining, fits
from graphc.codegen.interchange import BLOCK, bytes_touched, independent, merged
from graphc.codegen.loop_ir import If, Position, Stmt
from graphc.codegen.scope import Scope
from graphc.codegen.text import PhaseText, Text, test
from graphc.dims import Dim, blocks, symbol
from graphc.ops.loop_parts import iteration_told
from graphc.schedule.task import Body, Choose, Place, Repeat, While
from graphc.types import int64

Words = tuple[Dim | Place, ...]
Emit = Callable[[Body, Dim], None]


def emit_holder(text: Text, task: Repeat | While | Choose, emit: Emit) -> None:
    """Print the phases of a loop or a choice; `emit` prints those of a body, which runs so many times."""
    for copy in task.begin:
        emit_copy(text, copy)
    text.tasks = (task,)
    first, uses = len(text.phases), dict(text.uses)
    match task:
        case Repeat():
            bodies = [_emit_repeat(text, task, emit)]
        case While():
            bodies = []
            _emit_while(text, task, emit)
        case Choose():
            bodies = _emit_choose(text, task, emit)
    if bodies and all(map(fits, bodies)):
        del text.phases[first:]
        text.uses = uses
        if any(bodies):  # of carries that keep their values there is nothing to do
            (_inline_repeat if isinstance(task, Repeat) else _inline_choose)(text, task, bodies)  # type: ignore[arg-type]
    elif isinstance(task, Repeat) and (length := independent(bodies[0], task.rows)) is not None:
        del text.phases[first:]
        text.uses = uses
        _interchange(text, task, bodies[0], length)
    elif not isinstance(task, Choose):
        text.live_through(first)


def _emit_repeat(text: Text, task: Repeat, emit: Emit) -> list[PhaseText]:
    """The phases of a loop; those of its body."""
    begin = text.open_control("begin", _title(task))
    with _counting(text, task.position, iteration_told("{iteration}", task.member.attrs["again"], task.trip)):
        emit(task.body, task.trip)
    end = text.open_control("end", f"{_title(task)}: end")
    rows = [what for row in task.rows for what in (row.place, row.of, row.size * row.dtype.size)]
    text.rows |= {row.place: (row.dtype, row.size) for row in task.rows} | {task.position: (int64, 1)}
    after, first = len(text.phases), begin + 1
    words: Words = (task.trip, after, first, task.counter, int(task.reverse), task.position, len(task.rows), *rows)
    for k in (begin, end):
        text.close_control(k, words)
    return text.phases[first:end]


@contextmanager
def _counting(text: Text, position: Place, told: str) -> Iterator[None]:
    """Have checks tell which iteration of this loop it is, if there is something to tell."""
    around = text.counted
    text.counted = (position, told) if told else around
    yield
    text.counted = around


def _title(task: Repeat) -> str:
    return f"{'backwards ' if task.reverse else ''}{task.trip} times"


def _inline_repeat(text: Text, task: Repeat, bodies: list[list[PhaseText]]) -> None:
    """A loop in one kernel."""
    (phases,) = bodies
    with text.phase(_inlined_title(task, "", phases), 1, *_work(task, phases)) as top:
        _steps(text, top, task, phases)


def _interchange(text: Text, task: Repeat, phases: list[PhaseText], length: Dim) -> None:
    """A loop in one kernel, of which each chunk takes all steps for some of the elements."""
    title = _inlined_title(task, f" for each {BLOCK}", phases)
    (flops, _), nbytes = _work(task, phases), bytes_touched(phases, task.rows, length, task.trip)
    with text.phase(title, blocks(length, BLOCK), flops, nbytes) as top:
        text.cut(top, BLOCK, text.end(length))
        _steps(text, top, task, phases, ("lo", "hi", "i"))


def _inlined_title(task: Repeat, how: str, phases: list[PhaseText]) -> str:
    return f"{_title(task)}{how}: {', '.join(dict.fromkeys(p.title for p in phases))}"


def _work(task: Repeat, phases: list[PhaseText]) -> tuple[Dim, Dim]:
    flops, nbytes = (sum(each) * task.trip for each in zip(*((p.flops, p.nbytes) for p in phases), strict=True))
    return flops, nbytes


def _steps(text: Text, top: Scope, task: Repeat, phases: list[PhaseText], shared: Sequence[str] = ()) -> None:
    """The loop over the steps; names that are `shared` are those of all phases."""
    text.new_nest()
    loop = text.loop(top, "step", task.trip)
    step = symbol("%step")
    at = task.trip - 1 - step if task.reverse else step
    rows = {row.place: row for row in task.rows}
    inlined = (Inlining(text, k, p.code, rows, task.position, at, shared) for k, p in enumerate(phases))
    body = [s for phase in inlined for s in phase.statements()]
    loop.add(*(merged(body) if shared else body))
    loop.close()


def _emit_while(text: Text, task: While, emit: Emit) -> None:
    text.close_control(text.open_control("bound", "while"), (task.counter, task.bound, task.position))
    first = len(text.phases)
    text.rows[task.position] = int64, 1
    with _counting(text, task.position, iteration_told("{iteration}")):
        emit(task.condition, 1)
    test = text.open_control("test", "while: test")
    with _counting(text, task.position, iteration_told("{before}")):  # the test has counted this one
        emit(task.body, 1)
    text.close_control(text.open_control("go", "while: end"), (first,))
    text.close_control(test, (task.test, len(text.phases), task.counter, task.position))


def _emit_choose(text: Text, task: Choose, emit: Emit) -> list[list[PhaseText]]:
    """The phases of a choice; those of its branches."""
    choose = text.open_control("choose", f"one of {len(task.branches)}")
    firsts, ends = [], []
    for branch in task.branches:
        firsts.append(len(text.phases))
        emit(branch, 1)
        ends.append(text.open_control("go", f"one of {len(task.branches)}: end"))
    text.close_control(choose, (task.which, len(firsts), *firsts))
    for end in ends:
        text.close_control(end, (len(text.phases),))
    return [text.phases[first:end] for first, end in zip(firsts, ends, strict=True)]


def _inline_choose(text: Text, task: Choose, bodies: list[list[PhaseText]]) -> None:
    """A choice in one kernel."""
    every = [p for phases in bodies for p in phases]
    title = ", ".join(dict.fromkeys(p.title for p in every))
    flops, nbytes = (sum(each) for each in zip(*((p.flops, p.nbytes) for p in every), strict=True))
    with text.phase(f"one of {len(bodies)}: {title}", 1, flops, nbytes) as top:
        text.new_nest()
        which = top.let("which", text.load(task.which, int64, 0))
        chosen: tuple[Stmt, ...] = ()
        numbers = itertools.count()
        branches = [
            tuple(s for p in phases for s in Inlining(text, next(numbers), p.code, {}, None, 0).statements())
            for phases in bodies
        ]
        for k in reversed(range(len(branches))):
            last = k == len(branches) - 1
            chosen = branches[k] if last else (If(test("<=", which, Position(k)), branches[k], chosen),)
        top.add(*chosen)
