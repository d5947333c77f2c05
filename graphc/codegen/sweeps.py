"""In which sweep over a row each value is known, and in which one it is folded.

In: the form of a nest.  Out: a number for each of its values: that of the first sweep that has it.  What a row comes to
is known one sweep after its elements.  It is folded as early as can be, unless a later sweep, in time for who wants it,
computes the elements for others anyway; columns of an array are summed in the last sweep that loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import read_operands

if TYPE_CHECKING:
    from graphc.codegen.form import Form

Sweeps = dict[Node, int]


def sweeps_of(form: Form) -> Sweeps:
    """The sweep in which each node is known."""
    known = _known(form, {})
    earliest: Sweeps = {}
    for reduction in reversed([r for r in form.reductions if r in form.row_set]):
        later = _later(form, known, reduction)
        if later > computed(form, known, reduction):
            earliest |= _put_off(form, known, reduction, later)
            known = _known(form, earliest)
    for column in filter(form.is_column, form.totals):
        _delay(form, known, column)
    return known


def computed(form: Form, known: Mapping[Node, int], node: Node) -> int:
    """The sweep in which a node is computed or folded."""
    return known[node] - (node in form.row_set)


def _known(form: Form, earliest: Mapping[Node, int]) -> Sweeps:
    """The sweeps of all nodes, of which some are computed in this one at the earliest."""
    known: Sweeps = {}
    stack = list(reversed(form.nest.members))
    while stack:
        node = stack[-1]
        operands = () if form.is_loaded(node) else read_operands(node)
        missing = [o for o in operands if o not in known]
        if missing and node not in known:
            stack += missing
            continue
        stack.pop()
        latest = max((known[o] for o in operands), default=0)
        known[node] = max(latest, earliest.get(node, 0)) + (node in form.row_set)
    return known


def _later(form: Form, known: Mapping[Node, int], reduction: Node) -> int:
    """The last sweep in which a row may be folded that computes its elements for another value."""
    (operand,), first = reduction.operands, computed(form, known, reduction)
    if form.is_loaded(operand) or _is_stored(form, operand) or not form.is_full(operand):
        return first
    others = (user for user in _users(form, known, operand) if user is not reduction)
    sweeps = {computed(form, known, user) for user in others if form.is_full(user)}
    if first in sweeps:
        return first
    wanted = _wanted(form, known, reduction)
    return max((s for s in sweeps if s < wanted), default=first)


def _wanted(form: Form, known: Mapping[Node, int], reduction: Node) -> int:
    """The first sweep whose elements are computed with what a row comes to; one after the last if there is none."""
    stack, found, seen = [reduction], max(known.values()) + 1, {reduction}
    while stack:
        node = stack.pop()
        for user in _users(form, known, node):
            if user in seen:
                continue
            seen.add(user)
            if form.is_full(user) and user.op.family is not Family.MOVEMENT:
                found = min(found, computed(form, known, user))
            else:
                stack.append(user)
    return found


def _put_off(form: Form, known: Mapping[Node, int], reduction: Node, later: int) -> Sweeps:
    """The sweep in which a row is folded then, and in which what only that needed before is computed."""
    found, stack = {reduction: later}, list(reduction.operands)
    while stack:
        node = stack.pop()
        if node.op.family is not Family.ELEMENTWISE or form.is_loaded(node) or _is_stored(form, node):
            continue
        first = min(found.get(u, computed(form, known, u)) for u in _users(form, known, node))
        if first > known[node]:
            found[node] = first
            stack += node.operands
    return found


def _users(form: Form, known: Mapping[Node, int], node: Node) -> list[Node]:
    """What reads a node in the loops."""
    return [user for user in known if not form.is_loaded(user) and any(o is node for o in read_operands(user))]


def _is_stored(form: Form, node: Node) -> bool:
    return any(stored is node for stored, _ in form.nest.stores)


def _delay(form: Form, known: Sweeps, column: Node) -> None:
    """Fold an array that is loaded in the last sweep that loads it anyway."""
    (operand,) = column.operands
    if form.is_loaded(operand):
        known[column] = max(computed(form, known, user) for user in _users(form, known, operand) if form.is_full(user))
