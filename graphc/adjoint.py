"""The adjoint graph by the chain rule: one reverse walk over the records' rules.

In: a scalar node and the nodes to differentiate with respect to.  Out: nodes in the same language, which can be
differentiated again.  Un-broadcasting happens here, once, for every elementwise op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.declare import BUILDER, FUNCTIONS, astype, constant
from graphc.errors import GradientError
from graphc.graph import Graph, Node, describe, item
from graphc.op import Family
from graphc.types import Shape


def grad(y: Node, wrt: Any) -> Any:
    """Gradients of the scalar `y` with respect to `wrt`, a node or a sequence of nodes; the same structure comes back.

    A node that `y` does not use has gradient zero.  Raises GradientError if `y` is not a float scalar (use `vjp`), if
    a `wrt` is not float, or if an op on the way can't be differentiated.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> g, = gc.grad(gc.sum(x * x), [x])
    >>> gc.compile([x], g)([1.0, 2.0])
    array([2., 4.])
    """
    _check_output(y)
    if y.shape != ():
        raise GradientError(f"grad needs a scalar, but {describe(y)} is not one; for a weighted sum of its elements write gc.vjp(y, wrt, weights)")
    return vjp(y, wrt, constant(1, y.dtype))


def vjp(y: Node, wrt: Any, cotangent: Any) -> Any:
    """The vector-Jacobian product: gradients of sum(cotangent * y) with respect to `wrt`."""
    _check_output(y)
    single = isinstance(wrt, Node)
    targets: tuple[Node, ...] = (wrt,) if single else tuple(wrt)
    for node in targets:
        if not isinstance(node, Node):
            raise GradientError(f"a gradient is taken with respect to nodes, got {node!r}")
        if not node.dtype.is_float:
            raise GradientError(f"{describe(node)} is not float, so it has no gradient")
    seed = FUNCTIONS["broadcast_to"](astype(cotangent, y.dtype), y.shape)
    found = _walk(y, targets, seed)
    out = [found[n] if n in found else FUNCTIONS["zeros"](n.shape, dtype=n.dtype) for n in targets]
    return out[0] if single else type(wrt)(out) if isinstance(wrt, (list, tuple)) else out


def value_and_grad(y: Node, wrt: Any) -> tuple[Node, Any]:
    """`y` and its gradients: `(y, grad(y, wrt))`."""
    return y, grad(y, wrt)


def _check_output(y: Any) -> None:
    if not isinstance(y, Node):
        raise GradientError(f"a gradient is taken of a node, got {y!r}")
    if not y.dtype.is_float:
        raise GradientError(f"{describe(y)} is not float, so it has no gradient")


def _walk(y: Node, targets: Sequence[Node], seed: Node) -> dict[Node, Node]:
    """Cotangents of the targets; only nodes on a path from a target to y are visited."""
    order = Graph((y,)).nodes
    active = set(targets)
    for node in order:
        if any(o in active for o in node.operands):
            active.add(node)
    cotangents: dict[Node, list[Node]] = {y: [seed]} if y in active else {}
    totals: dict[Node, Node] = {}
    for node in reversed(order):
        if node not in active or not (parts := cotangents.pop(node, None)):
            continue
        if len(node.types) == 1:
            totals[node] = _sum(parts)
        if any(o in active for o in node.operands):
            for operand, part in zip(node.operands, _pull_back(node, parts), strict=True):
                if part is not None and operand in active:
                    cotangents.setdefault(operand, []).append(part)
    return totals


def _sum(parts: Sequence[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _pull_back(node: Node, parts: list[Any]) -> Sequence[Any]:
    """Cotangents of a node's operands; those of a node with several results are gathered from its items."""
    if node.op.family is Family.ITEM:
        return ((node.attrs["index"], _sum(parts)),)
    if not any(t.dtype.is_float for t in node.types):
        return (None,) * len(node.operands)
    if node.op.adjoint is None:
        raise GradientError(f"{describe(node)} can't be differentiated; gc.stop_gradient on its operand ends the walk there")
    if len(node.types) == 1:
        g, y = _sum(parts), node
    else:
        g = tuple(_sum(same) if (same := [p for k, p in parts if k == i]) else None for i in range(len(node.types)))
        y = tuple(item(node, i) for i in range(len(node.types)))
    rule = node.op.adjoint(BUILDER, g, y, *node.operands, **node.attrs)
    if node.op.family is not Family.ELEMENTWISE:
        return tuple(rule)
    return tuple(None if p is None else _unbroadcast(p, o.shape) for p, o in zip(rule, node.operands, strict=True))


def _unbroadcast(g: Node, shape: Shape) -> Node:
    """The sum of g over the axes along which an operand of this shape was broadcast; equal symbols take its names."""
    if g.shape == shape:
        return g
    g_shape, extra = g.shape, g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(k + extra for k, d in enumerate(shape) if d == 1 and g_shape[k + extra] != 1)
    return FUNCTIONS["reshape"](FUNCTIONS["sum"](g, axis=axes) if axes else g, shape)
