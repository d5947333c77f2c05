"""Values put or combined at positions: the loops of one SCATTER node, a loop over the values in their order."""

from __future__ import annotations

from graphc.codegen.evaluate import Evaluator, converted, loaded_from
from graphc.codegen.loop_ir import Call, Expr, Position
from graphc.codegen.scope import Branch, Loop, Scope, close
from graphc.codegen.text import ZERO, Text, test
from graphc.codegen.unread import check_unread
from graphc.codegen.wanted import AT, Row, fetch_row
from graphc.dims import Dim, is_positive, product, symbol
from graphc.graph import Node
from graphc.rewrite import is_filled
from graphc.schedule.access import aligned, at_positions, canonical, offset, positions_of
from graphc.schedule.task import Place, Scatter
from graphc.types import Shape

_COMBINE = {  # of floats, of integers
    "add": ("+", "plus"),
    "multiply": ("*", "times"),
    "minimum": ("fmin", "fmin"),
    "maximum": ("fmax", "fmax"),
}


def emit_scatter(text: Text, task: Scatter) -> None:
    """Print the phase of a scatter: the array that it begins with, unless it lies there, then every value."""
    node, (_, target) = task.member, task.stores[0]
    values = node.operands[1]
    work = product(values.shape)
    with text.phase(node.op.name.strip("_"), 1, work, work * values.dtype.size) as top:
        text.new_nest()
        evaluator = Evaluator(text, lambda n, _: (place, None) if (place := loaded_from(text, n)) is not None else None)
        check_unread(evaluator, [(node, k) for k in range(len(positions_of(node)))], values.shape, top)
        if loaded_from(text, node.operands[0]) != target:
            _begin(evaluator, node, target, top)
        scopes = _loops(text, top, values.shape)
        _fetch_row(evaluator, node, target, scopes)
        _put(evaluator, node, target, scopes[-1])
        close(*scopes[1:])


def _combined(how: str, a: Expr, x: Expr) -> Expr:
    """Two scalars of one dtype, added or the like."""
    dtype = a.dtype
    value = Call(_COMBINE[how][not dtype.is_float], (a, x), dtype)
    return converted(value, dtype) if dtype.is_integer and dtype.size < 8 else value


def _loops(text: Text, top: Scope, shape: Shape) -> list[Scope]:
    return text.loops(top, ((axis, size) for axis, size in enumerate(shape) if size != 1))


def _begin(evaluator: Evaluator, node: Node, target: Place, top: Scope) -> None:
    """Write what there is before the first value."""
    text, base = evaluator.text, node.operands[0]
    if is_filled(base, 0):
        top.use("clear", text.address(target), text.at(product(node.shape) * node.dtype.size))
        return
    scopes = _loops(text, top, node.shape)
    index = canonical(node.shape)
    value = evaluator.value(base, index, scopes[-1])
    scopes[-1].add(text.store(target, offset(index, node.shape), value))
    close(*scopes[1:])


def _fetch_row(evaluator: Evaluator, node: Node, target: Place, scopes: list[Scope]) -> None:
    """Ask for a row that a later value is put into, if values are rows."""
    if len(scopes) < 3:
        return
    *_, loop, inner = scopes
    assert isinstance(loop, Loop)
    assert isinstance(inner, Loop)
    shape = node.operands[1].shape
    index = canonical(shape)
    first = offset(at_positions(node, index, [symbol(AT)] * len(positions_of(node))), node.shape)
    row = Row(node, target, first, f"%{inner.var}", shape[int(inner.var)])
    fetch_row(evaluator, loop, row, node, index)


def _put(evaluator: Evaluator, node: Node, target: Place, scope: Scope) -> None:
    """Write one value, or what it makes of the element that lies there."""
    text, values = evaluator.text, node.operands[1]
    index = canonical(values.shape)
    numbers = range(len(positions_of(node)))
    where = [symbol(f"%{evaluator.position(node, k, index, scope).name}") for k in numbers]
    value: Expr = evaluator.value(values, aligned(index, values.shape), scope)
    at = offset(at_positions(node, index, where), node.shape)
    conditions = _conditions(text, node, where)
    inside = Branch(scope, conditions[0] if len(conditions) == 1 else test("and", *conditions)) if conditions else scope
    if node.attrs["combine"] != "set":
        before = inside.let(text.fresh(), text.load(target, node.dtype, at))
        value = _combined(node.attrs["combine"], before, value)
    inside.add(text.store(target, at, value))
    if isinstance(inside, Branch):
        inside.close()


def _conditions(text: Text, node: Node, where: list[Dim]) -> list[Expr]:
    """What must hold for a value to be written: no position is left out, and axes that are checked have elements."""
    found: list[Expr] = []
    for k, (at, mode) in enumerate(zip(where, node.attrs["modes"], strict=True)):
        size = node.shape[node.attrs["along"].index(-1 - k)]
        if mode == "drop":
            found += [test(">=", Position(at), ZERO), test("<", Position(at), text.at(size))]
        elif not is_positive(size):
            found.append(test(">", text.at(size), ZERO))
    return found
