"""What rows that go abreast have by themselves, made before them: a number, a truth, an element at a position.

In: the form of a nest, the columns on the stack that these belong to, and a band of rows.  Out: the loops that make
them.  Of a whole band, what is made of elements side by side is made of vectors, since single numbers that are written
one after the other have to be waited for when they are read as a vector.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.codegen.column_stack import OnStack
from graphc.codegen.evaluate import Evaluator, loaded_from
from graphc.codegen.few_elements import ROWS, Single, variables_of
from graphc.codegen.form import BAND, Form
from graphc.codegen.loop_ir import Position
from graphc.codegen.scope import Branch, Scope
from graphc.codegen.text import test
from graphc.dims import Dim, dim_min, substitute, symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.access import Index, linear, offset
from graphc.schedule.shape import loads
from graphc.schedule.task import Place

Columns = Mapping[Single, OnStack]


def make_singles(form: Form, around: Evaluator, own: Columns, band: Scope, count: Dim) -> None:
    """Make the singles of a band, which has so many rows; those that are not there have what the last one has."""
    row, element = variables_of(form)[0], symbol("%e")
    beside = {single: columns for single, columns in own.items() if _lies_beside(form, single, row)}
    if beside:
        every, some = (Branch(band, test(how, Position(count), Position(ROWS))) for how in ("==", "<"))
        _make(form, around, beside, every, BAND + element)
        every.close()
        _make(form, around, beside, some, BAND + dim_min(element, count - 1), row)
        some.close()
    others = {single: columns for single, columns in own.items() if single not in beside}
    if others:
        _make(form, around, others, band, BAND + dim_min(element, count - 1), row)


def _lies_beside(form: Form, single: Single, row: str) -> bool:
    """Whether rows read it, or what it is made of, from elements side by side, or all from one."""
    node, index = single
    if _loaded(form, node) is not None:
        return _step(node, index, row) == 1
    if index != form.index_of(node):
        return False
    reads = list(loads(node, form.is_loaded, form.made))
    if any(read.guarded or read.whole or read.node.op.family is Family.GATHER for read in reads):
        return False
    steps = {_step(read.node, form.moved(read.index), row) for read in reads}
    return 1 in steps and steps <= {0, 1}


def _step(node: Node, index: Index, row: str) -> Dim | None:
    """How far apart the elements of rows that follow one another lie, if that is plain."""
    steps = linear(offset(index, node.shape))
    return None if steps is None else steps.get(row, 0)


def _make(form: Form, around: Evaluator, own: Columns, scope: Scope, at: Dim, bound: str = "") -> None:
    """Make singles of the rows there, by a variable for these if there is one."""
    text = form.text
    loop = text.loop(scope, "e", ROWS)
    if bound:
        loop.bind(bound[1:], at)
    evaluator = Evaluator(text, lambda node, index: _loaded(form, node), form.members)
    evaluator.homes = around.homes  # of what stands around both loops
    for (node, index), (block, base) in own.items():
        here = index if bound else tuple(substitute(i, {variables_of(form)[0]: at}) for i in index)
        loop.add(text.store(block, base + symbol("%e"), evaluator.value(node, here, loop)))
    loop.close()


def _loaded(form: Form, node: Node) -> tuple[Place, Dim | None] | None:
    """Where a node lies that the nest does not make."""
    place = loaded_from(form.text, node) if node not in form.made else None
    return None if place is None else (place, None)
