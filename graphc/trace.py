"""Tracing: what a user's function makes of nodes that stand for values of later.

In: functions of trees.  Out: nodes, and which of them were made inside.  Carries are held to the structure, shapes and
dtypes that they begin with; Python scalars among them take the dtype that they meet.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np

from graphc.declare import FUNCTIONS, WEAK, Number, Whole, as_weak_as, convert, result_type
from graphc.dims import Dim, Poly, same
from graphc.errors import DeclarationError, DTypeError, GraphcError, ShapeError
from graphc.graph import Node, describe, noting
from graphc.line import is_users, users_line
from graphc.ops.bodies import slot
from graphc.tree import Skeleton, flatten, leaves_like, unflatten
from graphc.types import DType, Shape, TensorType, bool_, float64, int64, shape_text


class _Tracing(threading.local):
    now = False
    apart: set[tuple[Dim, Dim]] | None = None


TRACING = _Tracing()  # whether this thread calls a user's function to see what it makes of nodes


@contextmanager
def tracing() -> Iterator[None]:
    """In here a user's function is called to see what it makes of nodes."""
    before, TRACING.now = TRACING.now, True
    try:
        yield
    finally:
        TRACING.now = before


@contextmanager
def comparing() -> Iterator[set[tuple[Dim, Dim]]]:
    """Pairs of dimensions that the user's code compares in here, and takes to differ.

    One that it looks up in a table is taken to differ from all that stands there: with itself it is a pair that never
    differs.
    """
    before, TRACING.apart = TRACING.apart, set()
    try:
        yield TRACING.apart
    finally:
        TRACING.apart = before


def _apart(first: Poly, second: Any) -> None:
    if TRACING.apart is not None and isinstance(second, (Poly, Integral)) and is_users(sys._getframe(2)):
        TRACING.apart.add((first, second if isinstance(second, Poly) else int(second)))


Poly.apart = staticmethod(_apart)


def traced(function: Callable[..., Any], *arguments: Any) -> tuple[Any, set[Node]]:
    """What the function gives, and the nodes that it asked for."""
    with noting() as nodes, tracing():
        value = function(*arguments)
    return value, set(nodes)


def want_functions(what: str, *given: Any) -> None:
    """Raise DeclarationError unless all can be called."""
    for function in given:
        if not callable(function):
            raise DeclarationError(f"{what} takes a function of nodes, got {shown(function)}{at_line()}")


class Tree:
    """The structure of a tree; a leaf that is None is no leaf, and stays None."""

    def __init__(self, skeleton: Skeleton, present: Sequence[bool], name: str) -> None:
        self.skeleton, self.present, self.name = skeleton, present, name

    @staticmethod
    def of(value: Any, name: str) -> tuple[Tree, list[Any]]:
        """The structure of a value, and its leaves."""
        try:
            leaves, skeleton = flatten(value)
        except RecursionError:
            raise DeclarationError(f"{name} holds itself{at_line()}") from None
        return Tree(skeleton, [v is not None for v in leaves], name), [v for v in leaves if v is not None]

    def filled(self, leaves: Sequence[Any]) -> Any:
        """The tree with these leaves."""
        left = iter(leaves)
        return unflatten(self.skeleton, [next(left) if here else None for here in self.present])

    def leaves_of(self, value: Any) -> list[Any] | None:
        """The leaves of a value of this structure; None if it has another."""
        found = leaves_like(self.skeleton, value)
        if found is None or [v is not None for v in found] != list(self.present):
            return None
        return [v for v in found if v is not None]

    def names(self) -> list[str]:
        """What a user would write for each leaf: carry['h'][0]."""
        paths = _paths(self.skeleton, self.name)
        return [path for path, here in zip(paths, self.present, strict=True) if here]


def _paths(skeleton: Skeleton, name: str) -> Iterator[str]:
    if isinstance(skeleton, dict):
        for k, v in skeleton.items():
            yield from _paths(v, f"{name}[{k!r}]")
    elif isinstance(skeleton, (tuple, list)):
        fields = getattr(skeleton, "_fields", None)
        for k, v in enumerate(skeleton):
            yield from _paths(v, f"{name}.{fields[k]}" if fields else f"{name}[{k}]")
    else:
        yield name


def standing(arguments: Any) -> tuple[Tree, list[Any], list[Any], Any]:
    """The structure of arguments, their leaves, what stands for those that are nodes, and the arguments with that.

    A number that the call knows is a node among the leaves, and as weak as it is among the arguments.
    """
    tree, leaves = Tree.of(arguments, "arguments")
    nodes = [v.node if isinstance(v, Number) else v for v in leaves]
    stands = [slot(name, v.type) if isinstance(v, Node) else v for v, name in zip(nodes, tree.names(), strict=True)]
    weak = [as_weak_as(v, s) if isinstance(v, Number) else s for v, s in zip(leaves, stands, strict=True)]
    return tree, nodes, stands, tree.filled(weak)


class _Shown:
    """A leaf as it stands in an error: its type."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        if isinstance(self.value, Number):
            return str(self.value.node.type)
        if isinstance(self.value, Node):
            return ", ".join(map(str, self.value.types))
        if isinstance(self.value, (TensorType, np.ndarray, np.generic)):
            return f"{self.value.dtype}{shape_text(self.value.shape)}"
        return repr(self.value) if self.value is None else type(self.value).__name__


def shown(value: Any) -> str:
    """A tree with the types of its leaves, for errors."""
    leaves, skeleton = flatten(value)
    return repr(unflatten(skeleton, [_Shown(v) for v in leaves]))


def at_line() -> str:
    return f"\n  at {users_line()}"


def as_nodes(leaves: Sequence[Any], names: Sequence[str], what: str) -> list[Node]:
    """A node for each leaf; the error names the one that can't be."""
    found = []
    for leaf, name in zip(leaves, names, strict=True):
        try:
            found.append(convert(leaf))
        except (GraphcError, TypeError, ValueError) as error:
            kind = type(error) if isinstance(error, GraphcError) else DeclarationError
            raise kind(f"{what}: {name} can't be a node, {error}{at_line()}") from None
    return found


def truth(value: Any, what: str) -> Node:
    """A bool scalar."""
    (node,) = as_nodes([value], ["it"], what)
    if node.dtype != bool_:
        raise DTypeError(f"{what} is a bool scalar, got {describe(node)}; write a comparison, x != 0{at_line()}")
    if node.shape:
        raise ShapeError(f"{what} is a bool scalar, got {describe(node)}; write gc.all, gc.any or gc.where{at_line()}")
    return node


class Carries:
    """The carries of a loop: how they begin, and what they are held to."""

    def __init__(self, init: Any, what: str) -> None:
        self.what = what
        self.tree, self.inits = Tree.of(init, "carry")
        self.names = self.tree.names()
        kinds = [WEAK.get(type(v)) for v in self.inits]
        self.fixed = [kind not in (int, float) for kind in kinds]
        self.weak = [None if fixed else kind for kind, fixed in zip(kinds, self.fixed, strict=True)]
        nodes = as_nodes(self.inits, self.names, what)
        self.types = [n.type for n in nodes]
        self.slots: list[Node] = []

    def begin(self) -> Any:
        """The tree of what stands for the carries; Python scalars stay weak until they met a dtype."""
        self.slots = [slot(name, t) for name, t in zip(self.names, self.types, strict=True)]
        wrappers = {float: Number, int: Whole}
        pairs = zip(self.weak, self.slots, strict=True)
        return self.tree.filled([s if kind is None else wrappers[kind](s) for kind, s in pairs])

    def started(self) -> list[Node]:
        """The nodes as which the carries begin."""
        pairs = zip(self.inits, self.types, strict=True)
        return [convert(v, t.dtype if type(v) in WEAK else None) for v, t in pairs]

    def accept(self, value: Any) -> list[Node] | None:
        """The new values as nodes; None if a Python scalar met a dtype, so that the step has to be traced with it.

        Raises DeclarationError, ShapeError or DTypeError for what does not fit.
        """
        leaves = self.tree.leaves_of(value)
        if leaves is None:
            raise self._changed(value, "give back the structure that the step was given", DeclarationError)
        nodes = as_nodes(leaves, self.names, self.what)
        if self._widened(leaves, nodes):
            return None
        return [self._kept(k, leaf, node, value) for k, (leaf, node) in enumerate(zip(leaves, nodes, strict=True))]

    def _widened(self, leaves: Sequence[Any], nodes: Sequence[Node]) -> bool:
        """Whether Python scalars met other dtypes than they were taken for; they have them now."""
        before = list(self.weak), list(self.types)
        for k, (leaf, node) in enumerate(zip(leaves, nodes, strict=True)):
            if self.fixed[k]:
                continue
            kind = self.weak[k]
            if kind is None:
                dtype = result_type(self.slots[k], node)
            elif type(leaf) in WEAK:
                self.weak[k] = float if float in (WEAK[type(leaf)], kind) else int
                dtype = float64 if self.weak[k] is float else int64
            else:
                dtype = result_type(node, kind(1))
                if dtype != self.types[k].dtype:
                    self.weak[k] = None
            self.types[k] = TensorType(dtype, ())
        return before != (self.weak, self.types)

    def _kept(self, k: int, leaf: Any, node: Node, value: Any) -> Node:
        """The new value of carry k in the type that it is held to."""
        kept = self.types[k]
        if type(leaf) in WEAK and result_type(self.slots[k], leaf) == kept.dtype:
            node = convert(leaf, kept.dtype)
        if not may_be_equal(node.shape, kept.shape):
            raise self._changed(value, self._advice(k, node, _shape_advice(node.shape, kept.shape)), ShapeError)
        if node.dtype != kept.dtype:
            raise self._changed(value, self._advice(k, node, _dtype_advice(node.dtype, kept.dtype)), DTypeError)
        out: Node = FUNCTIONS["reshape"](node, kept.shape)
        return out

    def _advice(self, k: int, node: Node, text: str) -> str:
        return f"{self.names[k]} becomes {describe(node)}\n  {text}"

    def _changed(self, value: Any, advice: str, kind: type[GraphcError]) -> GraphcError:
        return kind(
            f"{self.what}: a step gives back carries of the structure, shapes and dtypes that it was given"
            f"\n  before the step: {shown(self.tree.filled(self.types))}\n  after it:        {shown(value)}"
            f"\n  {advice}{at_line()}"
        )


def may_be_equal(shape: Shape, kept: Shape) -> bool:
    """Whether shapes may be equal; what the call decides becomes a constraint."""
    return len(shape) == len(kept) and not any(same(p, q) is False for p, q in zip(shape, kept, strict=True))


def _shape_advice(shape: Shape, kept: Shape) -> str:
    wider = len(shape) >= len(kept) and all(
        q == 1 or p == q for p, q in zip(shape[len(shape) - len(kept) :], kept, strict=True)
    )
    written = f"({', '.join(_written(d) for d in shape)}{',' * (len(shape) == 1)})"
    begin = f"begin with gc.broadcast_to(init, {written}), or " if wider else ""
    return f"{begin}end the step with an array of shape {shape_text(kept)}"


def _written(d: Any) -> str:
    return f'"{d}"' if isinstance(d, Poly) else str(d)


def _dtype_advice(dtype: DType, kept: DType) -> str:
    begin = f'begin with gc.astype(init, "{dtype}")'
    return f'{begin}, or end the step with gc.astype(value, "{kept}")'
