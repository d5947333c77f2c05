"""What rows that go abreast need and have one by one: numbers that are not floats, and elements at positions.

In: the form of a nest, and what it computes.  Out: what is made for each row by itself, before the rows go abreast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from graphc.codegen.evaluate import body_of
from graphc.codegen.form import Form
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import SIMPLE, calls, parse
from graphc.schedule.access import positions_of
from graphc.schedule.split import domain_of
from graphc.types import DType, bool_


def made_one_by_one(form: Form, nodes: Iterable[Node], differing: Collection[Node]) -> set[Node] | None:
    """Those of the nodes that are such numbers, or made of them and of what is loaded, but for what differs in a row.

    None if one of them would wait for what a row comes to, or takes long.
    """
    known: set[Node] = set()  # what needs nothing but memory
    found: set[Node] = set()
    for node in _operands_first(form, nodes):
        family = node.op.family
        if _is_at_hand(form, node):
            known.add(node)
        elif family is not Family.REDUCTION and node not in differing:
            operands = _read_one_by_one(form, node)
            if known.issuperset(operands):
                known.add(node)
            is_foreign = family is not Family.MOVEMENT and _is_foreign(node)
            if is_foreign and (node not in known or not _is_simple(node)):
                return None
            if is_foreign or (node in known and not found.isdisjoint(operands) and _is_simple(node)):
                found.add(node)
    return found


def is_alike(node: Node, dtype: DType | None) -> bool:
    """Whether a node is of this dtype, or any float if it is not told, or a truth."""
    return node.dtype == bool_ or (node.dtype.is_float if dtype is None else node.dtype == dtype)


def _is_foreign(node: Node) -> bool:
    return node.op.family is Family.GATHER or not all(is_alike(n, None) for n in (node, *node.operands))


def _is_simple(node: Node) -> bool:
    """Whether a node moves elements, or computes one in few instructions."""
    if node.op.family in (Family.MOVEMENT, Family.GATHER):
        return True
    if node.op.family is not Family.ELEMENTWISE or node.op.scalar or node.op.body is None or len(node.types) > 1:
        return False
    return all(cost < SIMPLE for _, cost in calls(parse(body_of(node))))


def _is_at_hand(form: Form, node: Node) -> bool:
    """Whether a node is loaded or counted, or is one number for all rows."""
    return form.is_loaded(node) or node.op.family is Family.INDEX or all(d == 1 for d in domain_of(node))


def _read_one_by_one(form: Form, node: Node) -> tuple[Node, ...]:
    """The operands that a node reads at its own place; nothing below what is at hand."""
    if _is_at_hand(form, node):
        return ()
    return positions_of(node) if node.op.family is Family.GATHER else node.operands


def _operands_first(form: Form, nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes and what they are made of, each after its operands."""
    seen: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack[-1]
        missing = [o for o in _read_one_by_one(form, node) if o not in seen]
        if missing and node not in seen:
            stack += missing
        elif stack.pop() not in seen:
            seen.add(node)
            yield node
