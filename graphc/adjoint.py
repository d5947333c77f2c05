"""The adjoint graph by the chain rule: one reverse walk over the records' rules.

In: a scalar node and the nodes to differentiate with respect to.  Out: nodes in the same language, which can be
differentiated again.  The walk differentiates the stabilised form of the scalar, so that the adjoint is stable too.
Un-broadcasting happens here, once, for every elementwise op, and so does guarding: where the cotangent of an
elementwise op is `where(c, g, 0)`, its operands' cotangents are `where(c, rule(g), 0)`, and a slope that is infinite
or NaN where c is false is never multiplied by 0.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from graphc.declare import FUNCTIONS, Builder, Number, astype, constant
from graphc.errors import GradientError
from graphc.graph import Graph, Node, describe, make
from graphc.join import join
from graphc.line import adjoint_of
from graphc.op import HOLDERS, Family
from graphc.ops.item import item
from graphc.rewrite import filled, if_some, is_filled, kept_apart, scaled_along
from graphc.stabilise import stabilise
from graphc.trace import shown
from graphc.tree import Skeleton, flatten, leaves_like, unflatten
from graphc.types import Shape

_NOTHING: Mapping[Node, Node] = MappingProxyType({})
_DEEPEST = 2  # guards around a cotangent


def grad(y: Node, wrt: Any) -> Any:
    """Gradients of the scalar `y` with respect to `wrt`: a node, or a tree of nodes, of which the same tree comes back.

    A tree is a dict, list, tuple or named tuple of trees.  A node that `y` does not use has gradient zero.  Of a
    Python function, `gc.grad(f, argnums=0)` is `gc.function(f).grad(argnums)`.
    Raises GradientError if `y` is not a float scalar (use `vjp`), if a `wrt` is not float, or if an op on the way can't
    be differentiated.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> g, = gc.grad(gc.sum(x * x), [x])
    >>> gc.compile([x], g)([1.0, 2.0])
    array([2., 4.])
    >>> gc.grad(gc.sum(x * x), {"x": x}).keys()
    dict_keys(['x'])
    """
    (y, *others), structure = outputs_of(y)
    if others or not isinstance(structure, int):
        raise GradientError(f"grad needs a scalar, got a tree of {len(others) + 1}; for several write gc.vjp")
    if y.shape != ():
        advice = "for a weighted sum of its elements write gc.vjp(y, wrt, weights)"
        raise GradientError(f"grad needs a scalar, but {describe(y)} is not one; {advice}")
    return vjp(y, wrt, constant(1, y.dtype))


def vjp(y: Any, wrt: Any, cotangent: Any) -> Any:
    """The vector-Jacobian product: gradients of sum(cotangent * y) with respect to `wrt`, a node or a tree of nodes.

    Where y is a tree of nodes, `cotangent` is such a tree, and what its parts give is added.  Of a Python function,
    `gc.vjp(f, argnums=0)` is `gc.function(f).vjp(argnums)`.  Raises GradientError if the trees differ, or if something
    that is not float is among them.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> gc.compile([x], gc.vjp(x * x, x, [1.0, 10.0]))([1.0, 2.0])
    array([ 2., 40.])
    >>> gc.compile([x], gc.vjp({"a": x * x, "b": 3.0 * x}, x, {"a": 1.0, "b": 1.0}))([1.0, 2.0])
    array([5., 7.])
    """
    outputs, _ = outputs_of(y)
    targets, tree = targets_of(wrt)
    if not outputs:
        return unflatten(tree, [FUNCTIONS["zeros"](n.shape, dtype=n.dtype) for n in targets])
    with adjoint_of(outputs[0].line):
        seeds = weights_like(y, cotangent, "the cotangent of y")
        graph, _ = kept_apart(stabilise(Graph(tuple(outputs)), keep=targets)[0], targets, join)
        found = pull_back(list(zip(graph.outputs, seeds, strict=True)), targets)
        grads = [found[n] if n in found else FUNCTIONS["zeros"](n.shape, dtype=n.dtype) for n in targets]
    return unflatten(tree, grads)


def value_and_grad(y: Node, wrt: Any) -> tuple[Node, Any]:
    """`y` and its gradients: `(y, grad(y, wrt))`.

    Of a Python function, `gc.value_and_grad(f, argnums=0)` is `gc.function(f).value_and_grad(argnums)`.

    >>> import graphc as gc
    >>> x = gc.input("x", ())
    >>> gc.compile([x], gc.value_and_grad(x * x, x))(3.0)
    (array(9.), array(6.))
    """
    return y, grad(y, wrt)


def outputs_of(y: Any) -> tuple[list[Node], Skeleton]:
    """The nodes of the tree `y`, of which something is derived, and its skeleton."""
    return _float_nodes(y, "a derivative is taken of a node, or a dict, list or tuple of nodes")


def targets_of(wrt: Any) -> tuple[list[Node], Skeleton]:
    """The nodes of the tree `wrt`, and its skeleton."""
    return _float_nodes(wrt, "a derivative is taken with respect to a node, or a dict, list or tuple of nodes")


def _float_nodes(value: Any, wanted: str) -> tuple[list[Node], Skeleton]:
    try:
        nodes, tree = flatten(value)
    except RecursionError:
        raise GradientError(f"{wanted}; this one holds itself") from None
    nodes = [_node_of(node) for node in nodes]
    for node in nodes:
        if not isinstance(node, Node):
            raise GradientError(f"{wanted}; got {node!r}")
        if not node.dtype.is_float:
            raise GradientError(f"{describe(node)} is not float, so it has no gradient")
    return nodes, tree


def _node_of(value: Any) -> Any:
    """The node that stands for a Python number among the carries of a loop; any other value itself."""
    return value.node if isinstance(value, Number) else value


def weights_like(y: Any, value: Any, what: str) -> list[Node]:
    """The nodes of a value that is a tree like `y`, in the types of y's nodes; for a lone node it may be a list."""
    outputs, structure = flatten(y)
    alone = isinstance(structure, int) and not isinstance(value, dict)
    leaves = [value] if alone else leaves_like(structure, value)
    if leaves is None:
        raise GradientError(f"{what} must be a tree like {shown(y)} with arrays, not lists, got {shown(value)}")
    typed = zip(leaves, map(_node_of, outputs), strict=True)
    return [FUNCTIONS["broadcast_to"](astype(_node_of(leaf), o.dtype), o.shape) for leaf, o in typed]


def pull_back(
    seeds: Sequence[tuple[Node, Node]], targets: Sequence[Node], begun: Mapping[Node, Node] = _NOTHING
) -> dict[Node, Node]:
    """Cotangents of the targets, where `seeds` holds nodes with theirs; none for a target that no seed reaches.

    What is `begun` for a target is added to.  Only nodes on a path from a target to a seed are visited.
    """
    order = Graph(tuple(y for y, _ in seeds)).nodes
    active = set(targets)
    for node in order:
        if any(o in active for o in node.operands):
            active.add(node)
    cotangents: dict[Node, list[Node]] = {}
    for y, seed in seeds:
        if y in active:
            cotangents.setdefault(y, []).append(seed)
    totals: dict[Node, Node] = {}
    for node in reversed(order):
        if node not in active or not (parts := cotangents.pop(node, None)):
            continue
        with adjoint_of(node.line):
            if len(node.types) == 1:
                carried = [begun[node], *parts] if node in begun else []
                parts = [_sum(parts)]
                totals[node] = _sum(carried) if carried else parts[0]
            wanted = [o in active for o in node.operands]
            if any(wanted):
                for operand, part in zip(node.operands, _pull_back(node, parts, wanted), strict=True):
                    if part is not None and operand in active:
                        cotangents.setdefault(operand, []).append(part)
    return {n: totals[n] for n in targets if n in totals}


def _sum(parts: Sequence[Node]) -> Node:
    """The sum of cotangents; guards that all of them share stay outside.

    Where the guards differ, the sum is 0 unless those of one part hold, and says so: it is guarded by that.
    """
    if len(parts) == 1 or not any(p.op.name == "where" for p in parts):
        return _added(parts)
    peeled = [_peel(p) for p in parts]
    every = [guards for guards, _ in peeled]
    shared = tuple(g[0] for g in takewhile(lambda same: all(s == same[0] for s in same), zip(*every, strict=False)))
    rest = [guards[len(shared) :] for guards in every]
    total = reduce(operator.add, (_guarded(inner, own) for (_, inner), own in zip(peeled, rest, strict=True)))
    return _guarded(total, shared + _any_of(rest))


def _added(parts: Sequence[Node]) -> Node:
    """The sum of parts; what is added to zeros at positions is added to the others there instead."""
    if len(parts) == 1:
        return parts[0]
    whole: list[Node] = []
    at: list[Node] = []
    for part in parts:
        (at if _adds_at(part) else whole).append(part)
    total = reduce(operator.add, whole or at[:1])
    for part in at if whole else at[1:]:
        total = make(part.op, (total, *part.operands[1:]), part.attrs)
    return total


def _adds_at(node: Node) -> bool:
    return node.op.name == "_scatter" and node.attrs["combine"] == "add" and is_filled(node.operands[0], 0)


def _any_of(alternatives: Sequence[tuple[_Guard, ...]]) -> tuple[_Guard, ...]:
    """One guard that holds where all guards of one of the alternatives do; none if that is everywhere."""
    alone = {(g[0].condition, g[0].truth) for g in alternatives if len(g) == 1}
    if not all(alternatives) or any((condition, not truth) in alone for condition, truth in alone):
        return ()
    return (_Guard(reduce(FUNCTIONS["logical_or"], map(_all_hold, alternatives)), True),)


def _all_hold(guards: Sequence[_Guard]) -> Node:
    return reduce(FUNCTIONS["logical_and"], map(_holds, guards))


def _holds(guard: _Guard) -> Node:
    out: Node = guard.condition if guard.truth else FUNCTIONS["logical_not"](guard.condition)
    return out


@dataclass(frozen=True)
class _Guard:
    """Where a cotangent may be other than 0: where `condition` is `truth`."""

    condition: Node
    truth: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Guard) and self.condition is other.condition and self.truth is other.truth


def _peel(g: Node) -> tuple[tuple[_Guard, ...], Node]:
    """The guards around a cotangent, outermost first, and what they guard."""
    guards: list[_Guard] = []
    while g.op.name == "where":
        condition, first, second = g.operands
        if filled(second) == 0:
            guards.append(_Guard(condition, True))
            g = first
        elif filled(first) == 0:
            guards.append(_Guard(condition, False))
            g = second
        else:
            break
    return tuple(guards), g


def _share_guards(cotangents: Sequence[Node]) -> tuple[Sequence[_Guard], Sequence[Node]]:
    """The guards around all of the cotangents, and what they guard; none if the cotangents are guarded differently."""
    peeled = [_peel(g) for g in cotangents]
    if any(guards != peeled[0][0] for guards, _ in peeled):
        return (), cotangents
    return peeled[0][0], [inner for _, inner in peeled]


def _few(guards: Sequence[_Guard]) -> Sequence[_Guard]:
    """The guards, or one in the place of many: else choices within choices would make every cotangent longer."""
    return guards if len(guards) <= _DEEPEST else (_Guard(_all_hold(guards), True),)


def _guarded(g: Node, guards: Sequence[_Guard]) -> Node:
    for guard in reversed(guards):
        g = FUNCTIONS["where"](guard.condition, *((g, 0) if guard.truth else (0, g)))
    return g


def _pull_back(node: Node, parts: list[Any], wanted: Sequence[bool]) -> Sequence[Any]:
    """Cotangents of a node's operands; those of a node with several results are gathered from its items."""
    if node.op.family is Family.ITEM:
        return ((node.attrs["index"], _sum(parts)),)
    if not any(t.dtype.is_float for t in node.types):
        return (None,) * len(node.operands)
    if node.op.adjoint is None:
        advice = "gc.stop_gradient on its operand ends the walk there"
        raise GradientError(f"{describe(node)} can't be differentiated; {advice}")
    if node.op.family in HOLDERS:
        return _rule(node, _by_result(node, parts), wanted=wanted)
    if node.op.family is not Family.ELEMENTWISE:
        return _rule(node, _by_result(node, parts))
    results = _by_result(node, parts)
    guards, inner = _share_guards([g for g in results if g is not None])
    left = iter(inner)
    rule = _rule(node, [None if g is None else next(left) for g in results])
    guards, pairs = _few(guards), zip(rule, node.operands, strict=True)
    return [None if p is None else _unbroadcast(_guarded(p, guards), o.shape) for p, o in pairs]


def _by_result(node: Node, parts: list[Any]) -> list[Node | None]:
    """The cotangent of each result; None where nothing depends on it."""
    if len(node.types) == 1:
        return [_sum(parts)]
    return [_sum(same) if (same := [p for k, p in parts if k == i]) else None for i in range(len(node.types))]


class _Deriving(Builder):
    """What rules build with that derive the adjoints of bodies."""

    pull_back = staticmethod(pull_back)


_DERIVING = _Deriving()


def _rule(node: Node, cotangents: list[Node | None], **wanted: Sequence[bool]) -> Sequence[Node | None]:
    """What the op's record makes of the cotangents: one for each operand."""
    rule = node.op.adjoint
    assert rule is not None
    attrs = {**node.attrs, **wanted}
    if len(node.types) == 1:
        return tuple(rule(_DERIVING, cotangents[0], node, *node.operands, **attrs))
    every = tuple(item(node, i) for i in range(len(node.types)))
    return tuple(rule(_DERIVING, tuple(cotangents), every, *node.operands, **attrs))


def _unbroadcast(g: Node, shape: Shape) -> Node:
    """The sum of g over the axes along which an operand of this shape was broadcast; equal symbols take its names."""
    if g.shape == shape:
        return g
    g_shape, extra = g.shape, g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(k + extra for k, d in enumerate(shape) if d == 1 and g_shape[k + extra] != 1)
    out: Node = FUNCTIONS["reshape"](_summed(g, axes) if axes else g, shape)
    return out


def _summed(g: Node, axes: Sequence[int]) -> Node:
    """The sum over axes, which stay with length 1; a sign, and factors that are the same along them, come after it.

    Sums over all axes stay as they are: loops hand on what they add up as sums (`graphc/passes/totals.py`).
    """
    if len(axes) < g.ndim:
        if g.op.name == "negative":
            return -_summed(g.operands[0], axes)
        found = scaled_along(g, axes)
        if found is not None:
            return if_some(FUNCTIONS[g.op.name](_summed(found[0], axes), found[1]), g.shape, axes)
    total: Node = FUNCTIONS["sum"](g, axis=tuple(axes), keepdims=True)
    return total
