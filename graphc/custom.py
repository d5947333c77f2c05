"""custom_vjp: functions with an adjoint of the user's own.

In: two functions of nodes, both called while the graph is declared.  Out: one node that holds what they made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.declare import BUILDER, astype
from graphc.errors import DeclarationError, ShapeError
from graphc.graph import Graph, Node, describe, make, noting
from graphc.ops.bodies import Cut, results, slot
from graphc.ops.own_adjoint import OWN_ADJOINT, may_move
from graphc.trace import Tree, as_nodes, at_line, may_be_equal, shown, standing, traced
from graphc.tree import leaves_like


def custom_vjp(function: Callable[..., Any], adjoint: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose gradients are what `adjoint(cotangent, result, *arguments)` gives.

    Arguments and results are nodes or trees of them; what else is among the arguments is handed on.  `cotangent` is a
    tree like the result, with None for what is not float.  `adjoint` gives a tuple: for each argument a tree of
    cotangents like it, or None where there is none.  It should be linear in the cotangent, which forward mode relies
    on; gradients of gradients are those of `adjoint`.

    Raises DeclarationError if `adjoint` gives no such tuple, or if either function uses float nodes from outside that
    a gradient may be asked for: they are arguments, or stand in `gc.stop_gradient`.  Raises ShapeError for a cotangent
    of another shape than its argument.

    >>> import graphc as gc
    >>> x = gc.input("x", (3,))
    >>> clipped = gc.custom_vjp(lambda x: x * x, lambda g, y, x: (gc.clip(g * 2 * x, -1.0, 1.0),))
    >>> gc.compile([x], gc.grad(gc.sum(clipped(x)), x))([0.25, 1.0, -9.0])
    array([ 0.5,  1. , -1. ])
    """
    for given in (function, adjoint):
        if not callable(given):
            raise DeclarationError(f"custom_vjp takes two functions of nodes, got {shown(given)}{at_line()}")
    return lambda *arguments: _declared(function, adjoint, arguments)


def _declared(function: Callable[..., Any], adjoint: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    tree, leaves, stands, inner = standing(arguments)
    slots = [s for s in stands if isinstance(s, Node)]
    value, inside = traced(function, *inner)
    result_tree, found = Tree.of(value, "result")
    outputs = as_nodes(found, result_tree.names(), "custom_vjp")
    outcomes = [slot(name, o.type) for name, o in zip(result_tree.names(), outputs, strict=True)]
    seeds = [slot("cotangent", o.type) if o.dtype.is_float else None for o in outputs]
    given, more = traced(adjoint, result_tree.filled(seeds), result_tree.filled(outcomes), *inner)
    with noting() as last:
        moved = {n: c for n, c in _cotangents(given, arguments, stands, tree.names()) if n.dtype.is_float}
    floats = [s for s in seeds if s is not None]
    cut = Cut({s: s for s in (*slots, *outcomes, *floats)}, inside=inside | more | set(last))
    roots = cut([*outputs, *moved.values()])
    _refuse_outside(cut.operands)
    inputs = (*slots, *cut.slots)
    number = {s: k for k, s in enumerate(slots)}
    attrs = {
        "body": Graph(tuple(roots[: len(outputs)]), inputs),
        "adjoint": Graph(tuple(roots[len(outputs) :]), (*inputs, *outcomes, *floats)),
        "moved": tuple(number[s] for s in moved),
    }
    nodes = [v for v in leaves if isinstance(v, Node)]
    return result_tree.filled(results(make(OWN_ADJOINT, (*nodes, *cut.operands), attrs)))


def _cotangents(
    given: Any, arguments: tuple[Any, ...], stands: Sequence[Any], names: Sequence[str]
) -> list[tuple[Node, Node]]:
    """What stands for an argument, with its cotangent, for those that have one."""
    says = f"the adjoint gives a tuple of {len(arguments)}, a cotangent or None for each argument"
    if not isinstance(given, tuple) or len(given) != len(arguments):
        raise DeclarationError(f"custom_vjp: {says}, got {shown(given)}{at_line()}")
    found: list[Any] = []
    for argument, part in zip(arguments, given, strict=True):
        tree, _ = Tree.of(argument, "argument")
        own = [None] * len(tree.present) if part is None else leaves_like(tree.skeleton, part)
        if own is None:
            raise DeclarationError(
                f"custom_vjp: {says}\n  argument: {shown(argument)}\n  cotangent: {shown(part)}{at_line()}"
            )
        found += [c for c, here in zip(own, tree.present, strict=True) if here]
    rows = [row for row in zip(stands, found, names, strict=True) if isinstance(row[0], Node) and row[1] is not None]
    return [(n, _fitting(c, n, name)) for n, c, name in rows]


def _fitting(cotangent: Any, argument: Node, name: str) -> Node:
    node = astype(cotangent, argument.dtype) if argument.dtype.is_float else argument
    if not may_be_equal(node.shape, argument.shape):
        says = f"the cotangent of {name} has its shape, {describe(argument)}, got {describe(node)}"
        raise ShapeError(f"custom_vjp: {says}{at_line()}")
    fitting: Node = BUILDER.reshape(node, argument.shape)
    return fitting


def _refuse_outside(operands: Sequence[Node]) -> None:
    for node in filter(may_move, operands):
        advice = "make it an argument, or write gc.stop_gradient of it"
        raise DeclarationError(f"custom_vjp: a float from outside is used, {describe(node)}; {advice}{at_line()}")
