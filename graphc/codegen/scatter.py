"""Adding at positions: the loops of one SCATTER node, a loop over the values in their order."""

from __future__ import annotations

from graphc.codegen.evaluate import Evaluator, loaded_from
from graphc.codegen.reduction import added
from graphc.codegen.text import ZERO, Branch, Scope, Text, close, test
from graphc.codegen.unread import check_unread
from graphc.dims import is_positive, product, symbol
from graphc.graph import Node
from graphc.schedule.access import aligned, canonical, offset
from graphc.schedule.task import Scatter
from graphc.types import Shape, broadcast


def emit_scatter(text: Text, task: Scatter) -> None:
    """Print the phase of a scatter: zeros, then every value added where it belongs."""
    node = task.member
    indices, values = node.operands
    domain = broadcast([indices.shape, values.shape], [])
    target = task.stores[0][1]
    with text.phase(node.op.name.strip("_"), 1, product(domain), product(domain) * values.dtype.size) as top:
        text.new_nest()
        evaluator = Evaluator(text, lambda n: (place, None) if (place := loaded_from(text, n)) is not None else None)
        check_unread(evaluator, [(node, indices, node.attrs["size"])], domain, top)
        top.use("clear", text.address(target), text.at(product(node.shape) * node.dtype.size))
        scopes = text.loops(top, ((axis, size) for axis, size in enumerate(domain) if size != 1))
        _add(evaluator, node, task, scopes[-1], domain)
        close(*scopes[1:])


def _add(evaluator: Evaluator, node: Node, task: Scatter, scope: Scope, domain: Shape) -> None:
    indices, values = node.operands
    text = evaluator.text
    index = canonical(domain)
    at = evaluator.position(node, indices, node.attrs["size"], index, scope)
    value = evaluator.value(values, aligned(index, values.shape), scope)
    where = list(index)
    where[node.attrs["axis"]] = symbol(f"%{at.name}")
    position = offset(tuple(where), node.shape)
    name, target, size = text.fresh(), task.stores[0][1], node.attrs["size"]
    inside = scope if is_positive(size) else Branch(scope, test(">", text.at(size), ZERO))
    before = inside.let(name, text.load(target, node.dtype, position))
    inside.add(text.store(target, position, added(before, value)))
    if isinstance(inside, Branch):
        inside.close()
