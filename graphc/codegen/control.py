"""Phases that run no kernel but say which phase is next: loops and choices around the phases of bodies.

In: a task that holds bodies.  Out: its copies, its phases and what decides between them.  A control phase has a row of
words as others have: numbers of phases, sizes, and the frame's words that hold addresses.

    begin    trip, the phase after the loop, its first, the counter, whether it goes backwards, the position's address,
             how many rows, and for each: its address, that of the array, bytes from row to row
    end      the same
    test     the address of a bool, and the phase to go to if it is false
    go       the phase to go to
    choose   the address of an int64, how many branches, and their first phases
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.codegen.nest import emit_copy
from graphc.codegen.text import Text
from graphc.dims import Dim
from graphc.schedule.task import Body, Choose, Place, Repeat, While
from graphc.types import int64

Words = tuple[Dim | Place, ...]


def emit_holder(text: Text, task: Repeat | While | Choose, emit: Callable[[Body, Dim], None]) -> None:
    """Print the phases of a loop or a choice; `emit` prints those of a body, which runs so many times."""
    for copy in task.begin:
        emit_copy(text, copy)
    text.tasks = (task,)
    first = len(text.phases)
    match task:
        case Repeat():
            _emit_repeat(text, task, emit)
        case While():
            _emit_while(text, task, emit)
        case Choose():
            _emit_choose(text, task, emit)
    if not isinstance(task, Choose):
        text.live_through(first)


def _emit_repeat(text: Text, task: Repeat, emit: Callable[[Body, Dim], None]) -> None:
    title = f"{'backwards ' if task.reverse else ''}{task.trip} times"
    begin = text.open_control("begin", title)
    emit(task.body, task.trip)
    end = text.open_control("end", title)
    rows = [what for row in task.rows for what in (row.place, row.of, row.size * row.dtype.size)]
    text.rows |= {row.place: (row.dtype, row.size) for row in task.rows} | {task.position: (int64, 1)}
    after, first = len(text.phases), begin + 1
    words: Words = (task.trip, after, first, task.counter, int(task.reverse), task.position, len(task.rows), *rows)
    for k in (begin, end):
        text.close_control(k, words)


def _emit_while(text: Text, task: While, emit: Callable[[Body, Dim], None]) -> None:
    first = len(text.phases)
    emit(task.condition, 1)
    test = text.open_control("test", "while")
    emit(task.body, 1)
    text.close_control(text.open_control("go", "while"), (first,))
    text.close_control(test, (task.test, len(text.phases)))


def _emit_choose(text: Text, task: Choose, emit: Callable[[Body, Dim], None]) -> None:
    choose = text.open_control("choose", "choose")
    firsts, ends = [], []
    for branch in task.branches:
        firsts.append(len(text.phases))
        emit(branch, 1)
        ends.append(text.open_control("go", "chosen"))
    text.close_control(choose, (task.which, len(firsts), *firsts))
    for end in ends:
        text.close_control(end, (len(text.phases),))
