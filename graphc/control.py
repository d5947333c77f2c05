"""Loops and branches: scan, fori_loop, map, while_loop, cond, switch.

In: functions of nodes, called while the graph is declared.  Out: one node for a loop or a choice, with what the
functions made as its bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphc.declare import FUNCTIONS, WEAK, astype, convert, result_dtype
from graphc.dims import Dim, Poly, dim_max, same
from graphc.elements import with_elements
from graphc.errors import DeclarationError, DTypeError, GraphcError, ShapeError
from graphc.graph import Node, describe, noting
from graphc.ops.bodies import slot, substituted
from graphc.ops.choice import choose
from graphc.ops.loop_parts import POSITION, Loop
from graphc.ops.while_loop import While
from graphc.trace import Carries, Tree, as_nodes, at_line, may_be_equal, shown, traced
from graphc.types import TensorType, as_dim, bool_, int64


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
    if xs is None:
        raise DeclarationError(f"map goes along the leading axis of arrays, got None{at_line()}")
    return scan(lambda carry, x: (None, function(x)), None, xs)[1]


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
    most = None if bound is None else _dim(bound, "while_loop: the bound")
    carries = Carries(init, "while_loop")

    def run(carry: Any) -> tuple[Node, Any]:
        return _truth(condition(carry), "while_loop: the condition"), step(carry)

    while True:
        (holds, value), inside = traced(run, carries.begin())
        with noting() as more:
            new = carries.accept(value)
        if new is not None:
            break
    loop = While(carries.slots, carries.started(), holds, new, most)
    return carries.tree.filled(loop.declare(inside | set(more)) if new else [])


def cond(condition: Any, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any) -> Any:
    """`yes(*operands)` where the bool scalar `condition` holds, else `no(*operands)`; only one of them is computed.

    Both functions are called while the graph is declared, and give the same structure of the same shapes and dtypes;
    Python scalars take the dtype of the other branch.  They may use nodes from outside.  For a choice at every element
    of an array write `gc.where`.

    Raises DTypeError or ShapeError if the condition is no bool scalar, DeclarationError, ShapeError or DTypeError if
    the branches differ.

    >>> import graphc as gc
    >>> from graphc.interpret import interpret
    >>> x = gc.input("x", ())
    >>> y = gc.cond(x > 0, gc.sqrt, lambda x: 0.0, x)
    >>> interpret(gc.Graph((y,), (x,)), [4.0])
    (array(2.),)
    """
    which = astype(_truth(condition, "cond: the condition"), int64)
    return _chosen("cond", which, (no, yes), ("no", "yes"), operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`, for an integer scalar `index`; only that branch is computed.

    An index below 0 takes the first branch, one beyond the end the last.  Branches are what they are for `cond`.

    Raises DeclarationError without branches, DTypeError or ShapeError if the index is no integer scalar, and what
    `cond` raises if the branches differ.

    >>> import graphc as gc
    >>> from graphc.interpret import interpret
    >>> k, x = gc.input("k", (), "int64"), gc.input("x", ())
    >>> y = gc.switch(k, [gc.sin, gc.cos, lambda x: x], x)
    >>> interpret(gc.Graph((y,), (k, x)), [2, 3.0])
    (array(3.),)
    """
    if not isinstance(branches, (list, tuple)) or not branches:
        raise DeclarationError(f"switch takes a list of at least one function, got {branches!r}{at_line()}")
    (which,) = as_nodes([index], ["the index"], "switch")
    if not which.dtype.is_integer:
        raise DTypeError(f"switch: the index is an integer scalar, got {describe(which)}{at_line()}")
    if which.shape:
        raise ShapeError(f"switch: the index is an integer scalar, got {describe(which)}{at_line()}")
    names = [f"branch {k}" for k in range(len(branches))]
    return _chosen("switch", astype(which, int64), branches, names, operands)


def _truth(value: Any, what: str) -> Node:
    """A bool scalar."""
    (node,) = as_nodes([value], ["it"], what)
    if node.dtype != bool_:
        raise DTypeError(f"{what} is a bool scalar, got {describe(node)}; write a comparison, x != 0{at_line()}")
    if node.shape:
        raise ShapeError(f"{what} is a bool scalar, got {describe(node)}; write gc.all, gc.any or gc.where{at_line()}")
    return node


def _chosen(
    what: str, which: Node, functions: Sequence[Callable[..., Any]], names: Sequence[str], operands: Sequence[Any]
) -> Any:
    """The choice between what functions make of the operands."""
    taken = []
    for k, operand in enumerate(operands):
        tree, leaves = Tree.of(operand, f"operand {k}")
        taken.append(tree.filled(as_nodes(leaves, tree.names(), what)))
    values, inside = traced(lambda: [function(*taken) for function in functions])
    tree, _ = Tree.of(values[0], "result")
    outcomes = []
    for value in values:
        found = tree.leaves_of(value)
        if found is None:
            raise _differs(what, DeclarationError, names, values)
        outcomes.append(found)
    with noting() as more:
        columns = [_alike(what, names, values, leaves) for leaves in zip(*outcomes, strict=True)]
    return tree.filled(choose(which, list(zip(*columns, strict=True)), {}, inside | set(more)) if columns else [])


def _alike(what: str, names: Sequence[str], values: Sequence[Any], leaves: Sequence[Any]) -> list[Node]:
    """One result of each branch, of one type."""
    strong = [v for v in leaves if type(v) not in WEAK]
    dtype = result_dtype(*leaves) if len({n.dtype for n in as_nodes(strong, names[: len(strong)], what)}) < 2 else None
    nodes = [convert(v, dtype) for v in leaves]
    for node in nodes:
        if node.dtype != nodes[0].dtype:
            raise _differs(what, DTypeError, names, values)
        if not may_be_equal(node.shape, nodes[0].shape):
            raise _differs(what, ShapeError, names, values)
    return [FUNCTIONS["reshape"](node, nodes[0].shape) for node in nodes]


def _differs(what: str, kind: type[GraphcError], names: Sequence[str], values: Sequence[Any]) -> GraphcError:
    rows = "".join(f"\n  {name}: {shown(value)}" for name, value in zip(names, values, strict=True))
    return kind(f"{what}: all branches give the same structure, shapes and dtypes{rows}{at_line()}")
