"""Nodes and graphs: frozen, hash-consed, with the user's line of each declaration.

In: ops, operands and attributes.  Out: Node, whose types are inferred and checked, and Graph, what a tuple of nodes
reaches.  Equal op, attributes and operands are one node; leaves that have identity are never merged.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from graphc.dims import Poly
from graphc.errors import DeclarationError, GraphcError, PropertyError, ShapeError
from graphc.interned import Interned
from graphc.line import Line, users_line
from graphc.op import REGISTRY, Family, Op, attrs_key
from graphc.types import Constraint, DoesNotBroadcast, DType, Shape, TensorType


class Node:
    """One operation of a graph; a symbolic array if it has one result.

    Operators, NumPy's functions and array-API names apply to it; `==` declares, `bool`, `int` and `float` raise
    DeclarationError, since it has no value, and identity tells nodes apart.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n", 3))
    >>> (x @ [1.0, 2.0, 3.0]).shape
    (n,)
    >>> x.name, x.dtype, x.ndim, x.size
    ('x', graphc.float64, 2, 3*n)
    """

    __slots__ = ("op", "operands", "attrs", "types", "constraints", "line", "__weakref__")

    op: Op
    operands: tuple[Node, ...]
    attrs: Mapping[str, Any]
    types: tuple[TensorType, ...]
    constraints: tuple[Constraint, ...]
    line: Line

    __hash__ = object.__hash__  # of the identity, and told without a call of Python

    @property
    def type(self) -> TensorType:
        """Dtype and shape; PropertyError for a node with several results."""
        types = self.types
        if len(types) != 1:
            raise PropertyError(f"{describe(self)} has {len(types)} results; select one with item(node, i)")
        return types[0]

    @property
    def dtype(self) -> DType:
        """The dtype of the elements, equal to its name and to NumPy's."""
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        """The dimensions, ints or expressions of symbols."""
        return self.type.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.type.shape)

    @property
    def size(self) -> Any:
        """The number of elements: the product of the dimensions, an int or an expression of symbols."""
        out: Any = 1
        for d in self.type.shape:
            out = out * d
        return out

    @property
    def name(self) -> str | None:
        """The name of an input or parameter, else None."""
        return self.attrs.get("name")

    def __bool__(self) -> bool:
        raise DeclarationError(
            f"{describe(self)} has no value while the graph is declared, so it can't decide an `if` or `while`, "
            f"nor max or min; write gc.where, gc.cond, gc.while_loop, gc.maximum or gc.minimum\n  at {users_line()}"
        )

    def __iter__(self) -> Iterator[Node]:
        if not self.shape or isinstance(self.shape[0], Poly):
            says = "can't be iterated: its first dimension is not a fixed number; write gc.scan or gc.map"
            raise DeclarationError(f"{describe(self)} {says}\n  at {users_line()}")
        return (self[i] for i in range(int(self.shape[0])))

    def __repr__(self) -> str:
        return f"<{describe(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _first_output, (Graph((self,)),)

    if TYPE_CHECKING:  # the operators are attached by graphc.operators, from one table

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Node: ...
        def __radd__(self, other: Any) -> Node: ...
        def __sub__(self, other: Any) -> Node: ...
        def __rsub__(self, other: Any) -> Node: ...
        def __mul__(self, other: Any) -> Node: ...
        def __rmul__(self, other: Any) -> Node: ...
        def __truediv__(self, other: Any) -> Node: ...
        def __rtruediv__(self, other: Any) -> Node: ...
        def __floordiv__(self, other: Any) -> Node: ...
        def __mod__(self, other: Any) -> Node: ...
        def __pow__(self, other: Any) -> Node: ...
        def __matmul__(self, other: Any) -> Node: ...
        def __neg__(self) -> Node: ...
        def __and__(self, other: Any) -> Node: ...
        def __or__(self, other: Any) -> Node: ...
        def __invert__(self) -> Node: ...
        def __lt__(self, other: Any) -> Node: ...
        def __le__(self, other: Any) -> Node: ...
        def __gt__(self, other: Any) -> Node: ...
        def __ge__(self, other: Any) -> Node: ...
        def __getitem__(self, key: Any) -> Node: ...


def describe(node: Node) -> str:
    """A node in a few words for an error: name or op, type and line."""
    types = ", ".join(str(t) for t in node.types)
    kind = f"{node.op.name} {node.name!r}" if node.name else f"{node.op.name}(...)"
    return f"{kind}: {types} (declared at {node.line})"


_intern = Interned()
intern_lock = threading.RLock()


def _key(op: Op, operands: tuple[Node, ...], attrs: Mapping[str, Any]) -> tuple[Any, ...]:
    # ids stand for operands: a node keeps them alive, and `==` on nodes would build a node
    return op.name, tuple(map(id, operands)), attrs_key(attrs) if attrs else ()


def _taken(op: Op, operands: tuple[Node, ...]) -> tuple[TensorType, ...]:
    """The types that an op infers from: one an operand, or all that ITEM selects from."""
    return operands[0].types if op.family is Family.ITEM else tuple([o.type for o in operands])


_NO_ATTRS: Mapping[str, Any] = MappingProxyType({})


def make(op: Op, operands: Sequence[Node], attrs: Mapping[str, Any] = _NO_ATTRS, line: Line | None = None) -> Node:
    """The node of `op` on these operands; types are inferred, and errors name the line, the user's if none is given."""
    operands = tuple(operands)
    attrs = attrs if type(attrs) is MappingProxyType else MappingProxyType(dict(attrs))
    key = _key(op, operands, attrs)
    known = _intern.get(key)
    if known is not None:
        return _noted(known)
    found: list[Constraint] = []
    line = line or users_line()
    assert op.infer is not None, f"{op.name} is not a primitive"
    try:
        types = op.infer(_taken(op, operands), attrs, found)
    except DoesNotBroadcast:
        complaint = "the shapes do not broadcast: dimensions must be equal or 1"
        raise ShapeError(_complaint(op, operands, line, complaint)) from None
    except GraphcError as error:
        raise type(error)(_complaint(op, operands, line, str(error))) from None
    node = object.__new__(Node)
    fields = (op, operands, attrs, tuple(types), tuple(found), line)
    for fill, value in zip(_FILL, fields, strict=True):  # __setattr__ refuses
        fill(node, value)
    with intern_lock:
        return _noted(_intern.setdefault(key, node))


class _Asked(threading.local):
    nodes: list[Node] | None = None


_asked = _Asked()


def _noted(node: Node) -> Node:
    if _asked.nodes is not None:
        _asked.nodes.append(node)
    return node


@contextmanager
def noting() -> Iterator[list[Node]]:
    """Every node that this thread asks for in here, whether it was there before or not."""
    before, _asked.nodes = _asked.nodes, []
    nodes = _asked.nodes
    try:
        yield nodes
    finally:
        _asked.nodes = before
        if before is not None:
            before += nodes


_FILL = tuple(getattr(Node, name).__set__ for name in ("op", "operands", "attrs", "types", "constraints", "line"))


def _frozen(self: Node, name: str, value: Any = None) -> None:
    raise AttributeError(f"nodes are frozen: {name!r} can't be changed; declare a new node instead")


Node.__setattr__ = Node.__delattr__ = _frozen  # type: ignore[method-assign, assignment]


def _complaint(op: Op, operands: Sequence[Node], line: Line, text: str) -> str:
    rows = "".join(f"\n  operand {k}: {describe(o)}" for k, o in enumerate(operands))
    return f"{op.name}: {text}{rows}\n  at {line}"


@dataclass(frozen=True, eq=False)
class Graph:
    """What a tuple of outputs reaches; equal if the text form is equal and the leaves that are no inputs are the same.

    `inputs` are the inputs in the order of a call, those that no output needs included.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> graph = Graph((x * x,))
    >>> print(graph)
    %0 = input(name='x', type=float64[n]) : float64[n]
    %1 = multiply(%0, %0) : float64[n]
    return %1
    >>> [node.op.name for node in graph.nodes], len(graph.users[x])
    (['input', 'multiply'], 2)
    """

    outputs: tuple[Node, ...]
    inputs: tuple[Node, ...] = ()

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every reachable node, operands first; the order depends on nothing but the graph."""
        order: dict[Node, None] = {}
        opened: set[Node] = set()  # nodes whose operands are in order, or on the stack above them
        stack = list(reversed(self.outputs))
        while stack:
            node = stack[-1]
            if node in order:
                stack.pop()
            elif node in opened:
                order[stack.pop()] = None
            else:
                opened.add(node)
                stack += [o for o in reversed(node.operands) if o not in opened]
        return tuple(order)

    @cached_property
    def users(self) -> Mapping[Node, tuple[Node, ...]]:
        """The nodes that read each node, in order, once for each operand that it is."""
        table: dict[Node, list[Node]] = {n: [] for n in self.nodes}
        for n in self.nodes:
            for o in n.operands:
                table[o].append(n)
        return {n: tuple(u) for n, u in table.items()}

    def leaves(self, name: str) -> tuple[Node, ...]:
        """Reachable leaves of the op called `name` ("input", "parameter" or "constant"), in order.

        >>> import graphc as gc
        >>> x = gc.input("x", ())
        >>> Graph((gc.parameter("w", 2.0) * x,)).leaves("parameter")
        (<parameter 'w': float64[] (declared at ...)>,)
        """
        return tuple(n for n in self.nodes if n.op.name == name)

    @cached_property
    def text(self) -> str:
        """One line a node: `%3 = add(%1, %2) : float32[batch, 10]`."""
        number = {n: k for k, n in enumerate(self.nodes)}
        lines = [f"%{number[n]} = {_row(n, number)}" for n in self.nodes]
        takes = f"takes {_listed(self.inputs, number)}\n" if self.inputs else ""
        return takes + "\n".join(lines) + f"\nreturn {_listed(self.outputs, number)}"

    def __str__(self) -> str:
        return self.text

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        own, reached = set(self.inputs), set(self.nodes)
        leaves = (n for n in self.nodes if n.op.family is Family.LEAF and n not in own)
        held = (v._key for n in self.nodes for v in n.attrs.values() if isinstance(v, Graph))
        ids = (id(v) for n in leaves for v in n.attrs.values() if _has_identity(v))
        return self.text, *ids, *held, *(None if n in reached else n.type for n in self.inputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def verify(self, known: Collection[Node] = ()) -> None:
        """Check that every node's types are what its op infers, and that its operands come before it.

        Nodes are frozen: `known` ones, of a verified graph, hold.  Raises AssertionError, which names the node.

        >>> import graphc as gc
        >>> Graph((gc.exp(gc.input("x", ())),)).verify()
        """
        seen = set(known)
        for n in self.nodes:
            if n in seen:
                continue
            assert seen.issuperset(n.operands), f"{describe(n)} stands before an operand"
            seen.add(n)
            assert REGISTRY.get(n.op.name) is n.op, f"{describe(n)}: its op is not registered"
            assert n.op.infer is not None, f"{describe(n)}: its op is not a primitive"
            inferred = tuple(n.op.infer(_taken(n.op, n.operands), n.attrs, []))
            assert inferred == n.types, f"{describe(n)}: has types {n.types}, its op infers {inferred}"
            for value in n.attrs.values():
                if isinstance(value, Graph):
                    value.verify()

    def to_networkx(self) -> Any:
        """A networkx.MultiDiGraph with an edge an operand (`x * x` has two edges); its nodes carry op and types.

        >>> import graphc as gc
        >>> x = gc.input("x", ())
        >>> Graph((x * x,)).to_networkx().number_of_edges()
        2
        """
        import networkx as nx

        view = nx.MultiDiGraph()
        number = {n: k for k, n in enumerate(self.nodes)}
        for n, k in number.items():
            view.add_node(k, op=n.op.name, types=tuple(map(str, n.types)), name=n.name, node=n)
            for position, o in enumerate(n.operands):
                view.add_edge(number[o], k, operand=position)
        return view

    def __reduce__(self) -> tuple[Any, ...]:
        number = {n: k for k, n in enumerate(self.nodes)}
        rows = [(n.op.name, tuple(number[o] for o in n.operands), dict(n.attrs), n.line) for n in self.nodes]
        inputs = tuple(number[n] if n in number else dict(n.attrs) for n in self.inputs)
        return _rebuild, (rows, tuple(number[o] for o in self.outputs), inputs)


_BY_IDENTITY: object = object.__hash__


def _has_identity(value: Any) -> bool:
    return type(value).__hash__ is _BY_IDENTITY


def _listed(nodes: Sequence[Node], number: Mapping[Node, int]) -> str:
    return ", ".join(f"%{number[n]}" for n in nodes if n in number)


def _row(n: Node, number: Mapping[Node, int]) -> str:
    arguments = [f"%{number[o]}" for o in n.operands]
    arguments += [f"{k}={_attribute(v)}" for k, v in sorted(n.attrs.items()) if not _has_identity(v)]
    return f"{n.op.name}({', '.join(arguments)}) : {', '.join(map(str, n.types))}"


def _attribute(value: Any) -> str:
    if isinstance(value, Graph):
        return "{\n    " + value.text.replace("\n", "\n    ") + "\n}"
    return repr(value) if isinstance(value, (str, float)) else str(value)


def _first_output(graph: Graph) -> Node:
    return graph.outputs[0]


def _rebuild(rows: Iterable[tuple[Any, ...]], outputs: Sequence[int], inputs: Sequence[Any]) -> Graph:
    nodes: list[Node] = []
    for name, operands, attrs, line in rows:
        if name not in REGISTRY:
            raise DeclarationError(f"the op {name!r} is not known here; run what declares it (gc.custom_op) before")
        node = make(REGISTRY[name], [nodes[k] for k in operands], attrs)
        if node.line.file.startswith("<") or node.line != line:
            object.__setattr__(node, "line", line)
        nodes.append(node)
    listed = (nodes[k] if isinstance(k, int) else make(REGISTRY["input"], (), k) for k in inputs)
    return Graph(tuple(nodes[k] for k in outputs), tuple(listed))


def map_graph(graph: Graph, replace: Any) -> Graph:
    """The graph with each node, its operands replaced already, put through `replace(old, operands) -> node`."""
    new: dict[Node, Node] = {}
    for n in graph.nodes:
        new[n] = replace(n, tuple([new[o] for o in n.operands]))
    return with_outputs(graph, [new[o] for o in graph.outputs])


def with_outputs(graph: Graph, outputs: Sequence[Node]) -> Graph:
    """The graph with others for its outputs; the graph itself, with what it knows, if they are its own."""
    return graph if all(map(operator.is_, outputs, graph.outputs)) else Graph(tuple(outputs), graph.inputs)
