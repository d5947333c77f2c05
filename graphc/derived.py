"""Functions of nodes made of functions of nodes: gradients, products with tangents, Jacobians, batches.

In: a function of trees of nodes, and which of its arguments something is derived by.  Out: a function of the same
arguments.  The arguments in question are replaced by fresh nodes while the function runs, so that two of them that are
one node are told apart, and what the function takes from around it is no argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.declare import as_weak_as
from graphc.errors import DeclarationError
from graphc.graph import Node
from graphc.ops.bodies import slot, substituted
from graphc.signature import Signature
from graphc.trace import Tree, as_nodes, at_line
from graphc.vmap import vmap

OfNodes = Callable[..., Any]


def numbers_of(argnums: Any, signature: Signature, what: str) -> tuple[int, ...]:
    """The places of arguments that `argnums`, an int or some, names.  Raises DeclarationError for what is none."""
    listed = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    if not listed or any(isinstance(k, bool) or not isinstance(k, int) for k in listed):
        says = f"argnums is the place of an argument, 0 for the first, or some places, got {argnums!r}"
        raise DeclarationError(f"{what}: {says}{at_line()}")
    if len(set(listed)) != len(listed):
        raise DeclarationError(f"{what}: argnums names an argument twice, {argnums!r}{at_line()}")
    count = len(signature.names) + len(signature.last)
    for k in listed:
        if k < 0 or (signature.rest is None and k >= count):
            takes = f"takes {', '.join((*signature.names, *signature.last)) or 'nothing'} by position"
            raise DeclarationError(f"{what} {takes}: there is no argument {k}{at_line()}")
        if k < len(signature.names) and signature.names[k] in signature.static:
            says = f"argument {k}, {signature.names[k]!r}, is static, so that nothing can be derived by it"
            raise DeclarationError(f"{what}: {says}{at_line()}")
    return tuple(listed)


def derived(
    function: OfNodes, signature: Signature, argnums: Any, derive: Callable[..., Any], what: str, along: bool = False
) -> OfNodes:
    """The function that gives `derive(y, x)`, or with `along` `derive(y, x, direction)` for one more argument behind.

    y is what `function` gives, x the argument or the tuple of arguments at `argnums`.
    """
    numbers = numbers_of(argnums, signature, what)

    def of_nodes(*args: Any, **kwargs: Any) -> Any:
        direction = args[len(args) - along :]
        values, keywords = signature.bind(args[: len(args) - along], kwargs)
        given, instead, wrt = list(values), dict[Node, Node](), []
        names = signature.names_of(len(given))
        for k in numbers:
            if k >= len(given):
                raise DeclarationError(f"{what}: argument {k} is not given, and a derivative is asked by it{at_line()}")
            given[k] = _standing(given[k], names[k], instead)
            wrt.append(given[k])
        tree, leaves = Tree.of(function(*given, **keywords), "result")
        y = tree.filled(as_nodes(leaves, tree.names(), what))
        x = tuple(wrt) if isinstance(argnums, (tuple, list)) else wrt[0]
        found, nodes = Tree.of(derive(y, x, *direction), what)
        return found.filled(substituted(nodes, instead))

    return of_nodes


def _standing(argument: Any, name: str, instead: dict[Node, Node]) -> Any:
    """The tree of an argument with fresh nodes for its leaves; `instead` gets what they stand for."""
    tree, leaves = Tree.of(argument, name)
    nodes = as_nodes(leaves, tree.names(), name)
    stands = [slot(path, node.type) for path, node in zip(tree.names(), nodes, strict=True)]
    instead |= zip(stands, nodes, strict=True)
    return tree.filled(list(map(as_weak_as, leaves, stands)))


def batched(function: OfNodes, signature: Signature, in_axes: Any, out_axes: Any) -> OfNodes:
    """`gc.vmap` of the function; arguments that are static or given by name are shared by all examples."""

    def of_nodes(*args: Any, **kwargs: Any) -> Any:
        values, keywords = signature.bind(args, kwargs)
        axes = in_axes
        if not isinstance(axes, (tuple, list)):
            axes = [None if name in signature.static else in_axes for name in signature.names_of(len(values))]
        return vmap(lambda *examples: function(*examples, **keywords), axes, out_axes)(*values)

    return of_nodes
