"""Adding at positions: the text of one SCATTER node, a loop over the values in their order."""

from __future__ import annotations

from graphc.codegen.evaluate import Evaluator, loaded_from
from graphc.codegen.reduction import added
from graphc.codegen.text import Scope, Text
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
        top.lines.append(f"clear({text.address(target)}, {text.dim(product(node.shape) * node.dtype.size)})")
        scopes = [top]
        for axis, size in enumerate(domain):
            if size != 1:
                scopes.append(Scope(scopes[-1], f"for i{axis} in range({text.dim(size)}):", [f"%{axis}"]))
        _add(evaluator, node, task, scopes[-1], domain)
        for scope in reversed(scopes[1:]):
            scope.close()


def _add(evaluator: Evaluator, node: Node, task: Scatter, scope: Scope, domain: Shape) -> None:
    indices, values = node.operands
    text = evaluator.text
    index = canonical(domain)
    at = evaluator.position(node, indices, node.attrs["size"], index, scope)
    value = evaluator.value(values, aligned(index, values.shape), scope)
    where = list(index)
    where[node.attrs["axis"]] = symbol(f"%{at}")
    position = text.dim(offset(tuple(where), node.shape))
    name, target, size = text.fresh(), task.stores[0][1], node.attrs["size"]
    inside = scope if is_positive(size) else Scope(scope, f"if {text.dim(size)} > 0:")
    inside.lines += [
        f"{name} = {text.load(target, node.dtype, position)}",
        text.store(target, node.dtype, position, added(node.dtype, name, value)),
    ]
    if inside is not scope:
        inside.close()
