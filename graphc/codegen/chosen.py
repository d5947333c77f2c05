"""What a row has at one position alone is stored after what is around it.

In: an output that is `y` where the position along a row is a number of the row, and `z` elsewhere, as is the gradient
of what has been taken at such positions.  Out: the loop over a part of the row stores `z`, and a statement after it the
choice at that position, if it is in the part: to compare each position takes longer than a multiplication.
"""

from __future__ import annotations

import numpy as np

from graphc.codegen.evaluate import converted
from graphc.codegen.loop_ir import Position
from graphc.codegen.rows import Rows
from graphc.codegen.scope import Bounds, Branch, Loop, Scope
from graphc.codegen.text import test
from graphc.codegen.unread import evaluated
from graphc.dims import symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import Index, Read, aligned, loop_axes, read_operands, through_movement
from graphc.types import int64

LEAST = 256  # elements of a row; to compare those of shorter ones takes no longer than a store by itself


def chosen_in(form: Rows) -> dict[Node, Read]:
    """What this sweep stores of that kind, and the number; nothing if the nest writes over what it loads, as it does of
    parameters: then the row is not there any more when the choice is made."""
    loads, stores = ({place for _, place in places} for places in (form.nest.loads, form.nest.stores))
    if len(form.inner) != 1 or not form.rows or form.beside is not None or form.split.deep or loads & stores:
        return {}
    found = {node: _number(form, node) for node, _, _ in form.stores_in(form.sweep)}
    return {node: number for node, number in found.items() if number is not None}


def elsewhere(node: Node, index: Index) -> Read:
    """What a choice is at other positions."""
    other = node.operands[-1]
    return Read(other, aligned(index, other.shape))


def at_number(form: Rows, scope: Scope, var: str, bounds: Bounds, number: Read) -> tuple[Branch, Loop]:
    """Where the number is between the bounds, a loop of one step in the place of the one between them."""
    low, high = bounds
    value = form.evaluator.value(number.node, number.index, scope)
    here = scope.let(form.text.fresh(), value if value.dtype == int64 else converted(value, int64))
    branch = Branch(scope, test("and", test(">=", here, Position(low)), test("<", here, high)))
    at = symbol(f"%{here.name}")
    return branch, form.text.loop(branch, var, at + 1, at)


def _number(form: Rows, node: Node) -> Read | None:
    """The number of a row at which alone an output is chosen, if only its store wants the choice."""
    row = form.row_length()
    wanted = node in form.kept or any(o is node for m in form.members for o in read_operands(m))
    if wanted or not isinstance(row, int) or row < LEAST or not _is(node, "select(x, y, z)"):
        return None
    equal, (along,) = node.operands[0], form.inner
    if not _is(equal, "x == y") or _may_fail(form, node):
        return None
    first, second = (Read(o, aligned(aligned(form.index_of(node), equal.shape), o.shape)) for o in equal.operands)
    for number, position in ((first, second), (second, first)):
        varies = any(f"%{along}" in loop_axes(i) for i in number.index)
        if not varies and number.node.dtype.kind in "iu" and _counts(position, f"%{along}", row):
            return number
    return None


def _is(node: Node, body: str) -> bool:
    return node.op.family is Family.ELEMENTWISE and node.op.body == body


def _may_fail(form: Rows, node: Node) -> bool:
    """Whether something computed for a choice may find an error, which it is to find at every position."""
    return any(n.op.family is Family.GATHER or n.op.scalar is not None for n in evaluated([node], form.is_loaded))


def _counts(position: Read, along: str, row: int) -> bool:
    """Whether it is 0, 1, 2 ... along the row."""
    reads = list(through_movement(position.node, position.index))
    if len(reads) != 1 or reads[0].guarded or reads[0].node.op.family is not Family.INDEX:
        return False
    counter, index = reads[0].node, reads[0].index
    begins = counter.attrs["start"] == 0 and index == (symbol(along),)
    return begins and counter.dtype.kind in "iu" and row - 1 <= np.iinfo(counter.dtype.numpy).max
