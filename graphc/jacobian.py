"""Jacobians and Hessians, each one program for all rows or columns at once.

In: nodes.  Out: nodes.  The direction is the one that has less to do: reverse mode for the rows of an output that is
no larger than all that it depends on, forward mode for the columns of each input else.  A basis is a batch of
cotangents or tangents, so that what does not depend on it is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.adjoint import grad, outputs_of, targets_of, vjp
from graphc.batch import Batch, Value
from graphc.declare import BUILDER
from graphc.graph import Node
from graphc.ops.bodies import slot
from graphc.ops.save import typical_size
from graphc.tangent import linearize
from graphc.tree import unflatten


def jacobian(y: Any, x: Any) -> Any:
    """The derivatives of every element of y by every element of x: an array of shape `*y.shape *x.shape`.

    y and x are nodes or trees of float nodes: what comes back is a tree like y, which holds trees like x.  They are all
    computed together, in forward or in reverse mode, whichever has fewer rows.  Of a Python function,
    `gc.jacobian(f, argnums=0)` is `gc.function(f).jacobian(argnums)`.

    Raises GradientError for what is not float, and for an op that can't be differentiated.

    >>> import graphc as gc
    >>> x = gc.input("x", (2,))
    >>> gc.compile([x], gc.jacobian(gc.stack([x[0] * x[1], gc.sin(x[1])]), x))([2.0, 0.0])
    array([[0., 2.],
           [0., 1.]])
    """
    outputs, structure = outputs_of(y)
    nodes, tree = targets_of(x)
    forward = [o for o in outputs if typical_size(o.shape) > sum(typical_size(n.shape) for n in nodes)]
    rows = {o: _reverse(o, nodes) for o in outputs if o not in forward}
    columns = [_forward(forward, n) for n in nodes] if forward else []
    rows |= {o: [column[k] for column in columns] for k, o in enumerate(forward)}
    return unflatten(structure, [unflatten(tree, rows[o]) for o in outputs])


def hessian(y: Node, x: Any) -> Any:
    """The second derivatives of a scalar y: for a node x an array of shape `*x.shape *x.shape`.

    For a tree of nodes it is a tree like x that holds trees like x: of `{"a": a, "b": b}` the part `["a"]["b"]` has
    shape `*a.shape *b.shape`.  It is the Jacobian of the gradient, in forward mode.
    Of a Python function, `gc.hessian(f, argnums=0)` is `gc.function(f).hessian(argnums)`.

    Raises GradientError if y is no float scalar, and what `jacobian` raises.

    >>> import graphc as gc
    >>> x = gc.input("x", (2,))
    >>> gc.compile([x], gc.hessian(x[0] ** 2 * x[1], x))([1.0, 3.0])
    array([[6., 2.],
           [2., 0.]])
    """
    nodes, tree = targets_of(x)
    slopes = grad(y, nodes)
    columns = [_forward(slopes, n) for n in nodes]
    return unflatten(tree, [unflatten(tree, list(row)) for row in zip(*columns, strict=True)])


def _reverse(y: Node, nodes: Sequence[Node]) -> list[Node]:
    """The derivatives of y by each node: one row for each element of y."""
    seed = slot("cotangent", y.type)
    rows = zip(_over_basis(vjp(y, list(nodes), seed), seed), nodes, strict=True)
    return [BUILDER.reshape(row, (*y.shape, *n.shape)) for row, n in rows]


def _forward(ys: Sequence[Node], x: Node) -> list[Node]:
    """The derivatives of each y by x: one column for each element of x."""
    tangent = slot("tangent", x.type)
    found = []
    for y, columns in zip(ys, _over_basis(linearize(list(ys), x)[1](tangent), tangent), strict=True):
        behind = BUILDER.moveaxis(columns, 0, -1)
        found.append(BUILDER.reshape(behind, (*y.shape, *x.shape)))
    return found


def _over_basis(roots: Sequence[Node], along: Node) -> list[Node]:
    """The roots, which are linear in `along`, for each element of it that is 1 while all others are 0."""
    positions = BUILDER.arange(along.size)
    basis = BUILDER.astype(BUILDER.equal(BUILDER.expand_dims(positions, 1), positions), along.dtype)
    every = Value(BUILDER.reshape(basis, (along.size, *along.shape)), True)
    batch = Batch(along.size)
    return [batch.full(value) for value in batch(roots, {along: every})]
