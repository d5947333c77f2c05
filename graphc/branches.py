"""Branches: cond and switch.

In: functions of nodes, called while the graph is declared.  Out: one node for a choice, with what the functions made as
its bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.declare import FUNCTIONS, WEAK, astype, convert, result_type
from graphc.errors import DeclarationError, DTypeError, GraphcError, ShapeError
from graphc.graph import Node, describe, noting
from graphc.ops.choice import choose
from graphc.trace import Tree, as_nodes, at_line, may_be_equal, shown, traced, truth, want_functions
from graphc.types import int64


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
    which = astype(truth(condition, "cond: the condition"), int64)
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


def _chosen(
    what: str, which: Node, functions: Sequence[Callable[..., Any]], names: Sequence[str], operands: Sequence[Any]
) -> Any:
    """The choice between what functions make of the operands."""
    want_functions(what, *functions)
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
    dtype = result_type(*leaves) if len({n.dtype for n in as_nodes(strong, names[: len(strong)], what)}) < 2 else None
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
