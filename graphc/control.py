"""Loops: scan, map, associative_scan, fori_loop, while_loop.

In: functions of nodes, called while the graph is declared.  Out: one node for a loop, with what the functions made as
its bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphc.declare import FUNCTIONS, convert
from graphc.dims import Dim, Poly, dim_max, same
from graphc.elements import with_elements
from graphc.errors import DeclarationError, ShapeError
from graphc.graph import Node, describe, noting
from graphc.ops.bodies import slot, substituted
from graphc.ops.loop_parts import POSITION, Loop
from graphc.ops.while_loop import While
from graphc.trace import Carries, Tree, as_nodes, at_line, shown, traced, truth, want_functions
from graphc.tree import flatten, unflatten
from graphc.types import TensorType, as_dim, int64, normalize_axis


def scan(
    step: Callable[..., Any],
    init: Any,
    xs: Any = None,
    *,
    length: Any = None,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> tuple[Any, Any]:
    """Run `carry, y = step(carry, x)` for each x along the leading axis of `xs`; give the last carry and all ys.

    `init` is the first carry.  Carry, x and y are nodes, or dicts, lists and tuples of nodes, nested at will; None
    stands for nothing.  Every x is an element of the leading axis of an array of `xs`, and each result holds the ys
    along a leading axis of its own.  Without `xs`, `length` tells the number of steps; it may be a symbolic dimension.
    With `reverse` the last x comes first, and each y lies where its x does.

    `step` is called while the graph is declared, once, or once more where a Python scalar in `init` takes a dtype that
    it meets.  What does not depend on carry and x is computed once, before the loop.  A carry keeps its structure,
    shapes and dtypes.  Gradients go through, to any order; they save what they need of every step, or, with
    `checkpoint=k`, the carries of every k-th step only, and run the steps between once more.

    Raises DeclarationError if a step gives back another structure or no pair, ShapeError or DTypeError if a carry
    changes or if the xs differ in length, and what `step` raises.

    >>> import graphc as gc
    >>> from graphc.interpret import interpret
    >>> x = gc.input("x", ("n",))
    >>> total, sums = gc.scan(lambda total, x: (total + x, total + x), 0.0, x)
    >>> interpret(gc.Graph((total, sums), (x,)), [[1.0, 2.0, 3.0]])
    (array(6.), array([1., 3., 6.]))
    """
    want_functions("scan", step)
    xs_tree, leaves = Tree.of(xs, "x")
    arrays = as_nodes(leaves, xs_tree.names(), "scan")
    count = _length(length, arrays, xs_tree.names())
    index = slot("position", POSITION)

    def run(carry: Any, *elements: Node) -> tuple[Any, Any]:
        found = step(carry, xs_tree.filled(elements))
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            says = f"a step gives back the pair (carry, y), where y may be None; got {shown(found)}"
            raise DeclarationError(f"scan: {says}{at_line()}")
        return found[0], found[1]

    return _scanned("scan", run, index, init, xs_tree, arrays, count, bool(reverse), checkpoint)


def _scanned(
    what: str,
    run: Callable[..., tuple[Any, Any]],
    index: Node,
    init: Any,
    xs_tree: Tree,
    arrays: Sequence[Node],
    length: Dim,
    reverse: bool,
    checkpoint: int | None,
) -> tuple[Any, Any]:
    """The loop of `run(carry, *elements) -> (carry, y)`: the last carry and the ys."""
    carries = Carries(init, what)
    names = xs_tree.names()
    while True:
        elements = [slot(n, TensorType(a.dtype, a.shape[1:])) for n, a in zip(names, arrays, strict=True)]
        (value, y), inside = traced(run, carries.begin(), *elements)
        with noting() as more:
            new = carries.accept(value)
            y_tree, leaves = Tree.of(y, "y")
            ys = as_nodes(leaves, y_tree.names(), what)
        if new is not None:
            break
    loop = Loop(index, carries.slots, carries.started(), new, elements, arrays, ys, length, reverse)
    inside |= set(more)
    with noting() as more:
        loop = with_elements(loop, inside)
    inside |= set(more)
    found = loop.declare(inside) if checkpoint is None else _in_segments(loop, inside, _steps(checkpoint))
    return carries.tree.filled(found[: len(new)]), y_tree.filled(found[len(new) :])


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of which gradients save the arguments only, and compute the rest once more.

    Arguments and results are nodes or trees of them; what else is among the arguments is handed on.  What the function
    makes of nodes from outside alone is computed once, and kept.  Gradients have the same values; they take less memory
    and the time of another run.

    Raises DeclarationError for a result that is no tree of nodes, and what the function raises.

    >>> import graphc as gc
    >>> x = gc.input("x", (2,))
    >>> block = gc.checkpoint(lambda x: gc.sin(gc.exp(x)))
    >>> gc.compile([x], gc.grad(gc.sum(block(x)), x))([0.0, 1.0])
    array([ 0.54030231, -2.47834973])
    """
    want_functions("checkpoint", function)

    def again(*arguments: Any) -> Any:
        tree, leaves = Tree.of(arguments, "arguments")
        nodes = [leaf for leaf in leaves if isinstance(leaf, Node)]

        def run(carry: Any, *elements: Node) -> tuple[Any, Any]:
            left = iter(elements)
            return carry, function(*tree.filled([next(left) if isinstance(v, Node) else v for v in leaves]))

        rows, _ = Tree.of(nodes, "argument")
        arrays = [FUNCTIONS["expand_dims"](n, 0) for n in nodes]  # a loop of one step, which is run again
        index = slot("position", POSITION)
        found, ys_tree = flatten(_scanned("checkpoint", run, index, None, rows, arrays, 1, False, 1)[1])
        return unflatten(ys_tree, [y if y is None else FUNCTIONS["squeeze"](y, 0) for y in found])

    return again


def _length(length: Any, arrays: Sequence[Node], names: Sequence[str]) -> Dim:
    """The number of steps: `length`, or that of the leading axes, which must agree."""
    for node, name in zip(arrays, names, strict=True):
        if not node.ndim:
            raise ShapeError(f"scan: {name} has no leading axis to go along: {describe(node)}{at_line()}")
    lengths = [] if length is None else [_dim(length, "scan: the length")]
    lengths += [node.shape[0] for node in arrays]
    if not lengths:
        raise DeclarationError(f"scan: without xs, length=n tells the number of steps{at_line()}")
    if any(same(lengths[0], other) is False for other in lengths):
        rows = "".join(f"\n  {name}: {describe(node)}" for node, name in zip(arrays, names, strict=True))
        told = "" if length is None else f"\n  length={length}"
        raise ShapeError(f"scan: the xs and the length must agree along the leading axis{told}{rows}{at_line()}")
    return next((d for d in lengths if isinstance(d, int)), lengths[0])


def _dim(value: Any, what: str) -> Dim:
    try:
        return as_dim(value)
    except (DeclarationError, ShapeError) as error:
        raise type(error)(f"{what}: {error}{at_line()}") from None


def _steps(checkpoint: Any) -> int:
    if not isinstance(checkpoint, int) or isinstance(checkpoint, bool) or checkpoint < 1:
        raise DeclarationError(f"scan: checkpoint is a number of steps >= 1, got {checkpoint!r}{at_line()}")
    return checkpoint


def _in_segments(loop: Loop, inside: set[Node], steps: int) -> list[Node]:
    """The loop as one over segments, each of which runs again for its adjoint, and one over the steps that are left."""
    whole = loop.length // steps
    rest = loop.length - whole * steps
    if same(rest, 0):
        return _segments(loop, inside, steps, whole)
    edge, count = whole * steps, len(loop.carries)

    def tail(inits: Sequence[Node]) -> list[Node]:
        arrays = [FUNCTIONS["getitem"](a, slice(edge, None)) for a in loop.arrays]
        part = replace(loop, inits=inits, arrays=arrays, length=rest, again=True)
        return _shifted(part, inside, convert(edge, int64))

    def main(inits: Sequence[Node]) -> list[Node]:
        arrays = [FUNCTIONS["getitem"](a, slice(0, edge)) for a in loop.arrays]
        return _segments(replace(loop, inits=inits, arrays=arrays), inside, steps, whole)

    first, second = (tail, main) if loop.reverse else (main, tail)
    begun = first(loop.inits)
    ended = second(begun[:count])
    pair = (ended, begun) if loop.reverse else (begun, ended)
    ys = [FUNCTIONS["concat"](parts) for parts in zip(pair[0][count:], pair[1][count:], strict=True)]
    return [*ended[:count], *ys]


def _segments(loop: Loop, inside: set[Node], steps: int, whole: Dim) -> list[Node]:
    """The loop over `whole` segments of so many steps."""
    reshape = FUNCTIONS["reshape"]
    arrays = [reshape(a, (whole, steps, *a.shape[1:])) for a in loop.arrays]
    segment = slot("segment", POSITION)
    carries = [slot("carry", c.type) for c in loop.carries]
    rows = [slot("rows", TensorType(a.dtype, a.shape[1:])) for a in arrays]
    with noting() as made:
        inner = replace(loop, inits=carries, arrays=rows, length=steps, again=True)
        found = _shifted(inner, inside, segment * steps)
    count = len(carries)
    outer = replace(
        loop,
        index=segment,
        carries=carries,
        new=found[:count],
        elements=rows,
        arrays=arrays,
        ys=found[count:],
        length=whole,
    )
    ended = outer.declare(inside | set(made))
    ys = [reshape(y, (whole * steps, *y.shape[2:])) for y in ended[count:]]
    return [*ended[:count], *ys]


def _shifted(loop: Loop, inside: set[Node], begin: Node) -> list[Node]:
    """The results of the loop, whose positions begin elsewhere."""
    index = slot("position", POSITION)
    with noting() as made:
        found = substituted([*loop.new, *loop.ys], {loop.index: begin + index}, inside)
    count = len(loop.carries)
    return replace(loop, index=index, new=found[:count], ys=found[count:]).declare(inside | set(made))


def map(function: Callable[..., Any], xs: Any) -> Any:
    """`function` of each element along the leading axis of `xs`, one after the other; `xs` and results may be trees.

    Raises what `scan` raises.

    >>> import graphc as gc
    >>> from graphc.interpret import interpret
    >>> x = gc.input("x", ("n", 2))
    >>> largest = gc.map(gc.max, x)
    >>> interpret(gc.Graph((largest,), (x,)), [[[1.0, 2.0], [4.0, 3.0]]])
    (array([2., 4.]),)
    """
    want_functions("map", function)
    if xs is None:
        raise DeclarationError(f"map goes along the leading axis of arrays, got None{at_line()}")
    return scan(lambda carry, x: (None, function(x)), None, xs)[1]


def associative_scan(combine: Callable[..., Any], xs: Any, *, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes along an axis: y[0] = x[0], y[i] = combine(y[i - 1], x[i]); with `reverse` from the last x on.

    x and y are elements of the axis, or trees of them; there must be at least one, and `combine` gives back what it
    takes, structure, shapes and dtypes.  They are combined one after the other: that is the least work.

    Raises ShapeError for an axis that does not exist or has no element, and what `scan` raises.

    >>> import graphc as gc
    >>> from graphc.interpret import interpret
    >>> x = gc.input("x", ("n",))
    >>> highest = gc.associative_scan(gc.maximum, x)
    >>> interpret(gc.Graph((highest,), (x,)), [[1.0, 3.0, 2.0]])
    (array([1., 3., 3.]),)
    """
    want_functions("associative_scan", combine)
    tree, leaves = Tree.of(xs, "x")
    nodes = as_nodes(leaves, tree.names(), "associative_scan")
    places = [normalize_axis(axis, node.ndim, "associative_scan") for node in nodes]
    for node, k in zip(nodes, places, strict=True):
        if same(node.shape[k], 0):
            raise ShapeError(f"associative_scan: the axis has no element, {describe(node)}{at_line()}")
    getitem, concat, move = (FUNCTIONS[name] for name in ("getitem", "concat", "permute_dims"))
    arrays = [move(node, _to_front(k, node.ndim)) for node, k in zip(nodes, places, strict=True)]
    edge, rest = (slice(-1, None), slice(None, -1)) if reverse else (slice(None, 1), slice(1, None))
    first = tree.filled([getitem(a, -1 if reverse else 0) for a in arrays])

    def step(y: Any, x: Any) -> tuple[Any, Any]:
        new = combine(y, x)
        return new, new

    _, ys = scan(step, first, tree.filled([getitem(a, rest) for a in arrays]), reverse=reverse)
    found = []
    for a, y, k in zip(arrays, tree.leaves_of(ys) or (), places, strict=True):
        parts = [y, getitem(a, edge)] if reverse else [getitem(a, edge), y]
        found.append(move(concat(parts), _from_front(k, a.ndim)))
    return tree.filled(found)


def _to_front(axis: int, ndim: int) -> tuple[int, ...]:
    return (axis, *(k for k in range(ndim) if k != axis))


def _from_front(axis: int, ndim: int) -> tuple[int, ...]:
    return (*range(1, axis + 1), 0, *range(axis + 1, ndim))


def fori_loop(lower: Any, upper: Any, step: Callable[..., Any], init: Any) -> Any:
    """Run `carry = step(i, carry)` for i = lower, lower + 1, ... upper - 1; give the last carry.

    `lower` and `upper` are ints or dimensions; where values of nodes bound a loop, write `gc.while_loop`.  Carries are
    what they are for `scan`; i is an int64 scalar.

    Raises DeclarationError if a bound is a node or not whole, and what `scan` raises.

    >>> import graphc as gc
    >>> from graphc.interpret import interpret
    >>> x = gc.input("x", ())
    >>> root = gc.fori_loop(0, 6, lambda i, r: 0.5 * (r + x / r), 1.0)
    >>> interpret(gc.Graph((root,), (x,)), [2.0])
    (array(1.41421356),)
    """
    want_functions("fori_loop", step)
    for bound in (lower, upper):
        if not isinstance(bound, (int, np.integer, Poly)) or isinstance(bound, bool):
            what = describe(bound) if isinstance(bound, Node) else repr(bound)
            advice = "where a value bounds the loop, write gc.while_loop"
            raise DeclarationError(f"fori_loop: the bounds are ints or dimensions, got {what}; {advice}{at_line()}")
    index = slot("position", POSITION)

    def run(carry: Any) -> tuple[Any, Any]:
        return step(index + convert(lower, int64) if not same(lower, 0) else index, carry), None

    nothing, _ = Tree.of(None, "x")
    return _scanned("fori_loop", run, index, init, nothing, (), dim_max(upper - lower, 0), False, None)[0]


def while_loop(condition: Callable[..., Any], step: Callable[..., Any], init: Any, *, bound: Any = None) -> Any:
    """Run `carry = step(carry)` as long as `condition(carry)`, a bool scalar, holds; give the last carry.

    Carries are what they are for `scan`.  With `bound`, an int or a dimension, at most that many steps are taken, even
    if the condition still holds, and the loop has gradients.  Without it a gradient raises GradientError.

    Raises DTypeError or ShapeError if the condition is no bool scalar, and what `scan` raises.

    >>> import graphc as gc
    >>> from graphc.interpret import interpret
    >>> n = gc.input("n", (), "int64")
    >>> bits, _ = gc.while_loop(lambda c: c[1] > 0, lambda c: (c[0] + 1, c[1] // 2), (0, n))
    >>> interpret(gc.Graph((bits,), (n,)), [9])
    (array(4),)
    """
    want_functions("while_loop", condition, step)
    most = None if bound is None else _dim(bound, "while_loop: the bound")
    carries = Carries(init, "while_loop")

    def run(carry: Any) -> tuple[Node, Any]:
        return truth(condition(carry), "while_loop: the condition"), step(carry)

    while True:
        (holds, value), inside = traced(run, carries.begin())
        with noting() as more:
            new = carries.accept(value)
        if new is not None:
            break
    loop = While(carries.slots, carries.started(), holds, new, most)
    return carries.tree.filled(loop.declare(inside | set(more)) if new else [])
