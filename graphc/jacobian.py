"""Jacobians and Hessians, each one program for all rows or columns at once.

In: nodes.  Out: nodes.  The direction is the one that has less to do: reverse mode for the rows of an output that is
no larger than all that it depends on, forward mode for the columns of each input else.  A basis is a batch of
cotangents or tangents, so that what does not depend on it is computed once.  Where a pattern of zeros is given, the
basis has a row for each colour (`graphc/colouring.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.adjoint import grad, outputs_of, targets_of, vjp
from graphc.batch import Batch, Value
from graphc.colouring import Colouring
from graphc.declare import BUILDER
from graphc.errors import GradientError, GraphcError, ShapeError
from graphc.graph import Node, describe
from graphc.ops.bodies import slot
from graphc.ops.save import typical_size
from graphc.tangent import linearize
from graphc.trace import at_line, shown
from graphc.tree import unflatten


def jacobian(y: Any, x: Any, *, sparsity: Any = None) -> Any:
    """The derivatives of every element of y by every element of x: an array of shape `*y.shape *x.shape`.

    y and x are nodes or trees of float nodes: what comes back is a tree like y, which holds trees like x.  They are all
    computed together, in forward or in reverse mode, whichever has fewer rows.  Of a Python function,
    `gc.jacobian(f, argnums=0)` is `gc.function(f).jacobian(argnums)`.

    `sparsity` tells where derivatives may be other than 0: a matrix of bools, of NumPy or scipy.sparse, with a row for
    each element of y, a node, and a column for each element of x, a node.  Then the result is a vector of the
    derivatives there, row by row, as `np.nonzero(sparsity)` has them: `scipy.sparse.csr_matrix((values,
    np.nonzero(sparsity)), sparsity.shape)` is the matrix.  Columns that meet in no row, or rows that meet in no column,
    are computed as one, so that a band of width 3 takes three products, at any size.  A pattern that lacks elements
    can't be told from a right one: what is missing is added to others.

    Raises GradientError for what is not float, and for an op that can't be differentiated; ShapeError or DTypeError for
    a pattern that is no matrix of this shape.

    >>> import graphc as gc
    >>> x = gc.input("x", (2,))
    >>> gc.compile([x], gc.jacobian(gc.stack([x[0] * x[1], gc.sin(x[1])]), x))([2.0, 0.0])
    array([[0., 2.],
           [0., 1.]])
    """
    outputs, structure = outputs_of(y)
    nodes, tree = targets_of(x)
    if sparsity is not None:
        return _sparse(y, x, sparsity)
    most = sum(typical_size(n.shape) for n in nodes)
    forward = dict.fromkeys(o for o in outputs if typical_size(o.shape) > most)
    rows = {o: _reverse(o, nodes) for o in outputs if o not in forward}
    columns = [_forward(list(forward), n) for n in nodes] if forward else []
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
    rows = zip(_over_basis(vjp(y, list(nodes), seed), seed, _units(seed)), nodes, strict=True)
    return [BUILDER.reshape(row, (*y.shape, *n.shape)) for row, n in rows]


def _forward(ys: Sequence[Node], x: Node) -> list[Node]:
    """The derivatives of each y by x: one column for each element of x."""
    tangent = slot("tangent", x.type)
    found = []
    every = _over_basis(linearize(list(ys), x)[1](tangent), tangent, _units(tangent))
    for y, columns in zip(ys, every, strict=True):
        behind = BUILDER.moveaxis(columns, 0, -1)
        found.append(BUILDER.reshape(behind, (*y.shape, *x.shape)))
    return found


def _units(along: Node) -> Node:
    """A row for each element of a node, in which it is true and all others are false."""
    return _chosen(BUILDER.arange(along.size), along.size)


def _chosen(numbers: Any, count: Any) -> Node:
    """A row for each number below `count`, true where it stands among the `numbers`."""
    rows: Node = BUILDER.equal(BUILDER.expand_dims(BUILDER.arange(count), 1), numbers)
    return rows


def _over_basis(roots: Sequence[Node], along: Node, basis: Node) -> list[Node]:
    """The roots, which are linear in `along`, where it is 1 where a row of the basis is true, and else 0."""
    count = basis.shape[0]
    every = Value(BUILDER.reshape(BUILDER.astype(basis, along.dtype), (count, *along.shape)), True)
    batch = Batch(count)
    return [batch.full(value) for value in batch(roots, {along: every})]


def _sparse(y: Any, x: Any, sparsity: Any) -> Node:
    """The derivatives where the pattern has elements, row by row: one product for each colour."""
    if not isinstance(y, Node) or not isinstance(x, Node):
        raise GradientError(f"with a pattern of zeros, y and x are nodes, got {shown(y)} and {shown(x)}{at_line()}")
    if not isinstance(y.size, int) or not isinstance(x.size, int):
        raise ShapeError(f"a pattern of zeros needs known sizes, got {describe(y)} and {describe(x)}{at_line()}")
    try:
        found = Colouring.of(sparsity, (y.size, x.size))
    except GraphcError as error:
        raise type(error)(f"jacobian: {error}\n  y: {describe(y)}\n  x: {describe(x)}{at_line()}") from None
    basis = _chosen(BUILDER.constant(found.colours), found.count)
    if found.by_columns:
        seed, colours, at = slot("tangent", x.type), found.colours[found.columns], found.rows
        roots = [linearize(y, x)[1](seed)]
    else:
        seed, colours, at = slot("cotangent", y.type), found.colours[found.rows], found.columns
        roots = [vjp(y, x, seed)]
    (products,) = _over_basis(roots, seed, basis)
    table = BUILDER.reshape(products, (found.count, roots[0].size))
    values: Node = table[BUILDER.constant(colours), BUILDER.constant(at)]
    return values
