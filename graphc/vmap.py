"""vmap: a function of one example as a function of a batch.

In: a function of nodes, and the axes along which the examples of its arguments lie.  Out: a function of the batch.
The function is called once, on nodes that stand for one example; what it gives is batched by `graphc/batch.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.batch import Batch, Value
from graphc.declare import BUILDER
from graphc.dims import same
from graphc.errors import DeclarationError, ShapeError
from graphc.graph import Node, describe
from graphc.ops.bodies import slot
from graphc.trace import Tree, as_nodes, at_line, tracing, want_functions
from graphc.tree import spread
from graphc.types import TensorType, normalize_axis


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`function`, which takes and gives one example, for all examples of a batch at once.

    Arguments and results are nodes, or trees of them.  `in_axes` tells for each argument the axis along which its
    examples lie, or None for one that all examples share, which may be anything; one axis is for all arguments.  For
    an argument that is a tree it may be such a tree of axes.  `out_axes` tells in the same way where the examples of
    the results lie; None is for a result that is the same for all.  Axes may be negative.

    Of a `gc.function`, `gc.vmap(f)` is `f.vmap()`, which takes arrays.

    The function is called once for each call of what comes back, on nodes that stand for one example.  What does not
    depend on the example is computed once for the whole batch.  Loops and choices inside run for all examples together:
    where a condition differs between examples, all branches are computed, and a while loop goes on until the last one
    is done.

    Raises ShapeError for an axis that does not exist and for batches of different sizes, DeclarationError if no
    argument has an axis, if axes do not fit an argument or result, or if `out_axes` is None for a result that differs
    between examples.

    >>> import graphc as gc
    >>> w, x = gc.input("w", (2,)), gc.input("x", ("batch", 2))
    >>> slopes = gc.vmap(lambda w, x: gc.grad(gc.tanh(w @ x), w), in_axes=(None, 0))(w, x)
    >>> slopes.shape
    (batch, 2)
    >>> gc.compile([w, x], slopes)([0.0, 0.0], [[1.0, 2.0], [3.0, 4.0]])
    array([[1., 2.],
           [3., 4.]])
    """
    want_functions("vmap", function)

    def batched(*arguments: Any) -> Any:
        return _batched(function, arguments, in_axes, out_axes)

    return batched


def _batched(function: Callable[..., Any], arguments: tuple[Any, ...], in_axes: Any, out_axes: Any) -> Any:
    per_argument = tuple(in_axes) if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(arguments)
    if len(per_argument) != len(arguments):
        says = f"in_axes tells of {len(per_argument)} arguments, and there are {len(arguments)}"
        raise DeclarationError(f"vmap: {says}{at_line()}")
    known: dict[Node, Value] = {}
    examples = []
    for k, (argument, axes) in enumerate(zip(arguments, per_argument, strict=True)):
        examples.append(argument if axes is None else _example(argument, axes, f"argument {k}", known))
    if not known:
        says = f"at least one argument has an axis for the batch; in_axes is {in_axes!r}"
        raise DeclarationError(f"vmap: {says}{at_line()}")
    size = _one_size(known)
    with tracing():
        tree, leaves = Tree.of(function(*examples), "result")
    roots = as_nodes(leaves, tree.names(), "vmap")
    places = _axes_of(tree, out_axes, "out_axes")
    found = Batch(size)(roots, known)
    rows = zip(found, places, tree.names(), strict=True)
    return tree.filled([_placed(value, axis, name, size) for value, axis, name in rows])


def _example(argument: Any, axes: Any, name: str, known: dict[Node, Value]) -> Any:
    """What stands for one example of the argument; `known` gets the batches, with their axis in front."""
    tree, leaves = Tree.of(argument, name)
    found = []
    for leaf, axis, path in zip(leaves, _axes_of(tree, axes, "in_axes"), tree.names(), strict=True):
        if axis is None:
            found.append(leaf)
            continue
        (node,) = as_nodes([leaf], [path], "vmap")
        if not node.ndim:
            says = f"{path} has no axis for the batch: {describe(node)}; its in_axes is None"
            raise ShapeError(f"vmap: {says}{at_line()}")
        moved = BUILDER.moveaxis(node, _axis(axis, node.ndim, path), 0)
        found.append(slot(path, TensorType(node.dtype, moved.shape[1:])))
        known[found[-1]] = Value(moved, True)
    return tree.filled(found)


def _axis(axis: Any, ndim: int, name: str) -> int:
    try:
        return normalize_axis(axis, ndim, f"vmap: {name}")
    except ShapeError as error:
        raise ShapeError(f"{error}{at_line()}") from None


def _axes_of(tree: Tree, axes: Any, what: str) -> list[Any]:
    """The axis of every leaf: `axes` is one for all, or holds some for the parts of the tree."""
    every = spread(tree.skeleton, axes)
    if every is None:
        raise DeclarationError(f"vmap: {what} {axes!r} do not fit {tree.name}{at_line()}")
    return [axis for axis, here in zip(every, tree.present, strict=True) if here]


def _one_size(known: dict[Node, Value]) -> Any:
    """The size of the batch; equal symbols take one name."""
    sizes = [value.node.shape[0] for value in known.values()]
    if any(same(sizes[0], other) is False for other in sizes):
        rows = "".join(f"\n  {slot.name}: {describe(value.node)}" for slot, value in known.items())
        raise ShapeError(f"vmap: the batches must have one size, got {', '.join(map(str, sizes))}{rows}{at_line()}")
    size = next((d for d in sizes if isinstance(d, int)), sizes[0])
    for example, value in known.items():
        known[example] = Value(BUILDER.reshape(value.node, (size, *example.shape)), True)
    return size


def _placed(value: Value, axis: Any, name: str, size: Any) -> Node:
    """A result with the axis of the batch where it is wanted."""
    if axis is None:
        if value.batched:
            raise DeclarationError(f"vmap: {name} differs between examples, so it needs an axis in out_axes{at_line()}")
        return value.node
    full = Batch(size).full(value)
    moved: Node = BUILDER.moveaxis(full, 0, _axis(axis, full.ndim, name))
    return moved
