"""implicit: derivatives of a root by the theorem of the implicit function, whatever it was found by.

In: two functions of nodes, both called while the graph is declared.  Out: one node that holds what they made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from graphc.adjoint import vjp
from graphc.declare import BUILDER
from graphc.dims import Dim
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.graph import Graph, Node, describe, make, noting
from graphc.jacobian import jacobian
from graphc.linear import MOST_ELIMINATED, conjugate, eliminate
from graphc.op import Family
from graphc.ops.bodies import Cut, below, depending, results, slot
from graphc.ops.root import ROOT
from graphc.stabilise import stabilise
from graphc.tangent import linearize
from graphc.trace import Tree, as_nodes, at_line, may_be_equal, shown, standing, traced

Solver = Callable[[Callable[[Any], Any], Any], Any]


def implicit(
    solve: Callable[..., Any], residual: Callable[..., Any], *, solver: Solver | None = None
) -> Callable[..., Any]:
    """`solve`, with the derivatives of the root x = solve(*arguments) that it finds: residual(x, *arguments) = 0.

    x is a float node or a tree of them, and the residual is a tree of the same shapes; of a fixed point x = f(x, a) it
    is x - f(x, a).  Arguments are nodes or trees of them; what else is among them is handed on.  Derivatives go by way
    of what `residual` uses, its arguments and float nodes from outside, to any order, forward and reverse; they are
    those at an exact root.  How it was found does not matter: a `gc.while_loop` without bound will do.

    Each derivative solves a linear system with the derivative of the residual by x.  Where that is diagonal (a scalar
    x, a residual that is elementwise in x) it is a division; else it is eliminated where x has a known size up to 256,
    and conjugate gradients take its products beyond that, with NaN where they do not come to an end.
    `solver(product, right)` may do it instead: it gives v with product(v) = right, both trees like x.  It is called for
    the matrix and for its transpose.  Where the matrix is singular, derivatives are infinite or NaN.

    Raises DTypeError if x is not float, DeclarationError or ShapeError if the residual or what `solver` gives is no
    tree like x, and what the functions raise.

    >>> import graphc as gc
    >>> a = gc.input("a", ())
    >>> def newton(a):
    ...     return gc.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), 1.0)
    >>> root = gc.implicit(newton, lambda x, a: x * x - a)(a)
    >>> gc.compile([a], (root, gc.grad(root, a)))(4.0)
    (array(2.), array(0.25))
    """
    for given in (solve, residual):
        if not callable(given):
            raise DeclarationError(f"implicit takes two functions of nodes, got {shown(given)}{at_line()}")
    return lambda *arguments: _declared(solve, residual, solver, arguments)


def _declared(
    solve: Callable[..., Any], residual: Callable[..., Any], solver: Solver | None, arguments: tuple[Any, ...]
) -> Any:
    _, leaves, stands, inner = standing(arguments)
    slots = [s for s in stands if isinstance(s, Node)]
    value, inside = traced(solve, *inner)
    like, found = Tree.of(value, "x")
    outputs = as_nodes(found, like.names(), "implicit")
    _all_float(outputs, like)
    xs = [slot(name, o.type) for name, o in zip(like.names(), outputs, strict=True)]
    left, more = traced(residual, like.filled(xs), *inner)
    sides = [slot("right", x.type) for x in xs]
    with noting() as last:
        rest = stabilise(Graph(tuple(_like(left, like, xs, "the residual"))), keep=xs)[0].outputs
        forward, backward = _systems(rest, xs, sides, like, solver)
    cut = Cut({s: s for s in (*slots, *xs, *sides)}, inside=inside | more | set(last))
    parts = [outputs, rest, forward, backward]
    roots = cut([n for part in parts for n in part])
    inputs, count = (*slots, *cut.slots), len(xs)
    bodies = [tuple(roots[k : k + count]) for k in range(0, 4 * count, count)]
    attrs = {
        "body": Graph(bodies[0], inputs),
        "residual": Graph(bodies[1], (*xs, *inputs)),
        "forward": Graph(bodies[2], (*sides, *xs, *inputs)),
        "backward": Graph(bodies[3], (*sides, *xs, *inputs)),
    }
    nodes = [v for v in leaves if isinstance(v, Node)]
    return like.filled(results(make(ROOT, (*nodes, *cut.operands), attrs)))


def _all_float(outputs: Sequence[Node], like: Tree) -> None:
    if not outputs:
        raise DeclarationError(f"implicit: solve gives x, a node or a tree of nodes, got nothing{at_line()}")
    for node, name in zip(outputs, like.names(), strict=True):
        if not node.dtype.is_float:
            advice = "give it back from another function, or make it float"
            raise DTypeError(f"implicit: {name} is a root, so it is float, got {describe(node)}; {advice}{at_line()}")


def _like(value: Any, like: Tree, xs: Sequence[Node], what: str) -> list[Node]:
    """The leaves of a value that is a tree like x, in its shapes and dtypes."""
    leaves = like.leaves_of(value)
    if leaves is None:
        says = f"{what} is a tree like x\n  x:   {shown(like.filled(xs))}\n  got: {shown(value)}"
        raise DeclarationError(f"implicit: {says}{at_line()}")
    found = []
    for node, x, name in zip(as_nodes(leaves, like.names(), f"implicit: {what}"), xs, like.names(), strict=True):
        if not may_be_equal(node.shape, x.shape):
            says = f"{what} has the shapes of x; for {name}, {describe(x)}, it is {describe(node)}"
            raise ShapeError(f"implicit: {says}{at_line()}")
        found.append(BUILDER.reshape(BUILDER.astype(node, x.dtype), x.shape))
    return found


def _systems(
    rest: Sequence[Node], xs: Sequence[Node], sides: Sequence[Node], like: Tree, solver: Solver | None
) -> tuple[Sequence[Node], Sequence[Node]]:
    """The solutions for these right sides with the derivative of the residual, and with its transpose."""
    push = linearize(list(rest), list(xs))[1]

    def pull(weights: Any) -> Any:
        return vjp(list(rest), list(xs), list(weights))

    def forward(tangents: Any) -> Any:
        return push(list(tangents))

    if solver is not None:
        return _by(solver, forward, sides, like), _by(solver, pull, sides, like)
    size: Dim = sum(x.size for x in xs)
    if size == 1 or (len(xs) == 1 and _is_elementwise(rest[0], xs[0])):
        slope = pull([BUILDER.ones_like(x) for x in xs])
        quotients = [s / d for s, d in zip(sides, slope, strict=True)]
        return quotients, quotients
    if isinstance(size, int) and size <= MOST_ELIMINATED:
        matrix = _matrix(rest, xs)
        right, turned = _joined(sides), BUILDER.permute_dims(matrix, (1, 0))
        return _apart(eliminate(matrix, right), xs), _apart(eliminate(turned, right), xs)
    return conjugate(forward, pull, sides, size), conjugate(pull, forward, sides, size)


def _by(solver: Solver, product: Callable[[Any], Any], sides: Sequence[Node], like: Tree) -> list[Node]:
    """What the user's solver gives."""

    def seen(value: Any) -> Any:
        return like.filled(product(_like(value, like, sides, "what the solver multiplies")))

    return _like(solver(seen, like.filled(sides)), like, sides, "what the solver gives")


def _is_elementwise(rest: Node, x: Node) -> bool:
    """Whether each element of the residual depends on no other element of x than its own."""
    order = below([rest], [x])
    moving = depending(order, [x])
    return rest in moving and all(n is x or _is_aligned(n, x, moving) for n in order if n in moving)


def _is_aligned(node: Node, x: Node, moving: Collection[Node]) -> bool:
    alike = node.op.family in (Family.ELEMENTWISE, Family.ITEM) and all(t.shape == x.shape for t in node.types)
    return alike and all(t.shape == x.shape for o in node.operands if o in moving for t in o.types)


def _matrix(rest: Sequence[Node], xs: Sequence[Node]) -> Any:
    rows = jacobian(list(rest), list(xs))
    sized = [[BUILDER.reshape(b, (r.size, x.size)) for b, x in zip(row, xs, strict=True)]
             for row, r in zip(rows, rest, strict=True)]  # fmt: skip
    dtype = BUILDER.result_type(*xs)
    return BUILDER.concat([BUILDER.concat([BUILDER.astype(b, dtype) for b in row], axis=1) for row in sized], axis=0)


def _joined(nodes: Sequence[Node]) -> Any:
    dtype = BUILDER.result_type(*nodes)
    return BUILDER.concat([BUILDER.reshape(BUILDER.astype(n, dtype), (n.size,)) for n in nodes])


def _apart(joined: Node, xs: Sequence[Node]) -> list[Node]:
    found, begin = [], 0
    for x in xs:
        end = begin + int(x.size)
        found.append(BUILDER.reshape(BUILDER.astype(joined[begin:end], x.dtype), x.shape))
        begin = end
    return found
