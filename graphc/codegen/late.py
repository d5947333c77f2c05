"""Outputs of rows that are written past the caches while the next row is swept.

In: the form of a nest that sweeps each row several times, of which one sweep computes with vector math: memory waits
for it, while the sweeps that make outputs wait for memory.  Out: the statements that write, part by part beside that
sweep, what the row before has left on the stack; after the last row of a chunk it is written at once.  Rows are whole
lines of cache; where an array's lines do not begin with its rows, these are written when they are made.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.loop_ir import Address, Position
from graphc.codegen.rows import Rows
from graphc.codegen.scope import Branch, Scope
from graphc.codegen.streamed import LINES, is_whole, place_in_line
from graphc.codegen.text import test
from graphc.dims import Dim, substitute
from graphc.graph import Node
from graphc.scalar import SIMPLE
from graphc.schedule.access import loop_symbol, offset
from graphc.schedule.task import Place

Outputs = Sequence[tuple[Node, Place]]


def late_outputs(form: Rows, step: int) -> tuple[Outputs, int]:
    """What this sweep may write of the row before, and how many elements at once: `step` if it is not 0.

    These are as many outputs as arrays that it asks for, those that are made last.
    """
    if not form.streamed or not form.efforts or form.folds_scalars() or form.beside is not None:
        return (), 0
    row, busiest = form.row_length(), form.busiest()
    if form.sweep != busiest or form.efforts[busiest] < SIMPLE or not isinstance(row, int) or not form.is_one_block():
        return (), 0
    if len(form.row_axes()) != 1 or len(form.inner) != 1:
        return (), 0
    later = [(n, p) for n, p in form.nest.stores if p in form.streamed and form.sweep_of[n] > busiest]
    step = step or LINES * LINE // max((node.dtype.size for node, _ in later), default=1)
    whole = [(n, p) for n, p in later if row % step == 0 and is_whole(step, n.dtype.size)]
    whole.sort(key=lambda output: form.sweep_of[output[0]])
    found = whole[max(0, len(whole) - len(form.fetched.get(busiest, ()))) :]
    return found, step if found else 0


def write_late(form: Rows, scope: Scope, outputs: Outputs, step: int, first: Dim) -> None:
    """Write so many elements of the row before, from the `first` on, unless there is none in the chunk."""
    for node, place in outputs:
        (axis,) = form.row_axes()
        row, (low, _) = loop_symbol(axis), form.bounds(axis)
        form.late.append(place)
        target = _address(form, node, place, row - 1, first)
        into_line = place_in_line(form, scope, node, _address(form, node, place, row - 1, 0))
        is_late = test("and", test("==", into_line, Position(0)), test(">", Position(row), Position(low)))
        branch = Branch(scope, is_late)
        source = form.text.address(form.streamed[place], first * node.dtype.size)
        branch.use("store_lines", source, target, dtype=node.dtype, tile=(step,))
        branch.close()


def write_last(form: Rows, scope: Scope) -> None:
    """Write what the last row of the chunk has left."""
    for node, place in form.nest.stores:
        if place in form.late:
            _, high = form.bounds(form.row_axes()[0])
            target = _address(form, node, place, high - 1, 0)
            branch = Branch(scope, test("==", place_in_line(form, scope, node, target), Position(0)))
            source = form.text.address(form.streamed[place])
            branch.use("stream", form.text.at(form.row_length()), source, target, dtype=node.dtype)
            branch.close()


def _address(form: Rows, node: Node, place: Place, row: Dim, column: Dim) -> Address:
    (axis,), (along,) = form.row_axes(), form.inner
    at = {f"%{axis}": row, f"%{along}": column}
    return form.text.address(place, substitute(offset(form.index_of(node), node.shape), at) * node.dtype.size)
