"""One compiled function for all calls of a kind: trees of one structure, arrays of given dtypes and ranks.

In: a function of nodes, and the first call of its kind.  Out: a Specialisation, which runs on the arrays of such calls.
Sizes are symbols, a fresh one for each; the function is traced until no two of them must be equal and none must be a
number for it to be declared: those that must are one symbol, or that number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.compile import KEYWORDS, compile
from graphc.declare import as_weak_as, input
from graphc.dims import Dim, Poly, substitute, symbol, symbols
from graphc.errors import DeclarationError, GraphcError, InputError
from graphc.graph import Graph, Node, describe
from graphc.runtime.places import constraints
from graphc.runtime.workspace import check_constraints
from graphc.signature import SCALARS, Call
from graphc.trace import Tree, as_nodes, at_line
from graphc.types import Constraint, Shape, as_dtype

Array = np.ndarray[Any, Any]
Told = tuple[Constraint, str]  # with the user's line


class Specialisation:
    """A compiled function of the arrays of a call; `shared` where it serves calls alone whose equal sizes are the same.

    `run` takes them in order and gives the results in the structure that the function gave.
    """

    def __init__(self, function: Callable[..., Any], name: str, call: Call) -> None:
        self.shared = False
        self._name, self._leaves = name, _Leaves(call)
        try:
            traced = self._traced(function, call, {})
        except InputError:
            raise
        except Exception:
            equal = self._leaves.equal(call.arrays)
            if not equal:
                raise
            self.shared = True
            traced = self._traced(function, call, equal)
        self._told, inputs, tree, nodes = traced
        whole = all(tree.present)
        self.compiled = compile(inputs, tree.filled(nodes) if whole else nodes, name=name)
        self.run = self.compiled if whole else self._filling(tree)

    def _filling(self, tree: Tree) -> Callable[..., Any]:
        return lambda *arrays: tree.filled(self.compiled(*arrays))

    def explain(self, arrays: Sequence[Array]) -> None:
        """Raises InputError, at the line that asks for it, where sizes that must be equal are not."""
        check_constraints(self._name, self._told, self._leaves.sizes(arrays))

    def _traced(
        self, function: Callable[..., Any], call: Call, known: Mapping[str, Dim]
    ) -> tuple[list[Told], list[Node], Tree, list[Node]]:
        """What must hold of sizes, the inputs, and the results; `known` has what to put for some of the symbols."""
        told: list[Told] = []
        sizes = self._leaves.sizes(call.arrays)
        while True:
            inputs = self._leaves.inputs(known)
            args, kwargs = call.filled(list(map(as_weak_as, call.leaves, inputs)))
            try:
                value = function(*args, **kwargs)
            except Exception as error:
                error.add_note(self._note(inputs, call))
                raise
            tree, leaves = Tree.of(value, "result")
            if not leaves:
                says = f"{self._name} gives {value!r}, and not a node or a tree of nodes"
                raise DeclarationError(f"{says}{at_line()}")
            nodes = as_nodes(leaves, tree.names(), self._name)
            found = self._asked(Graph(tuple(nodes), tuple(inputs)), sizes)
            check_constraints(self._name, found, sizes)
            more = _learnt((c for c, _ in found), list(sizes))
            if not more:
                return told, inputs, tree, nodes
            told += found
            known = {**more, **{name: substitute(d, more) for name, d in known.items()}}

    def _asked(self, graph: Graph, sizes: Mapping[str, int]) -> list[Told]:
        """What the graph asks of these sizes to be equal.  Raises DeclarationError for what it needs from outside."""
        own = set(graph.inputs)
        for node in graph.leaves("input"):
            if node not in own:
                advice = "hand it in as an argument; what is kept between calls is a gc.parameter"
                says = f"{self._name} uses {describe(node)}, which has no value in a call with arrays"
                raise DeclarationError(f"{says}; {advice}{at_line()}")
        told = [(c, line) for c, line in constraints(graph) if c.relation == "=="]
        return [(c, line) for c, line in told if symbols(c.left) | symbols(c.right) <= sizes.keys()]

    def _note(self, inputs: Sequence[Node], call: Call) -> str:
        takes = ", ".join(f"{n.name}: {n.type}" for n in inputs)
        text = f"traced as {self._name}({takes})"
        if any(isinstance(d, Poly) for n in inputs for d in n.shape):
            text += "; gc.function(symbolic=False) has numbers for sizes"
        pairs = zip(call.paths, call.leaves, strict=True)
        number = next((path for path, leaf in pairs if type(leaf) in SCALARS and path.isidentifier()), None)
        return f"{text}; gc.function(static={number!r}) has the number itself" if number else text


def _learnt(found: Iterable[Constraint], order: Sequence[str]) -> dict[str, Dim]:
    """What to put for symbols that must be numbers, or equal to others: the first in order stays."""
    known: dict[str, Dim] = {}
    for c in found:
        pair = (substitute(d, known) for d in (c.left, c.right))
        first, last = sorted(pair, key=lambda d: order.index(str(d)) if _is_symbol(d) else -1)
        if _is_symbol(last) and first != last and (isinstance(first, int) or _is_symbol(first)):
            more = {str(last): first}
            known = {**{name: substitute(d, more) for name, d in known.items()}, **more}
    return known


def _is_symbol(d: Dim) -> bool:
    return isinstance(d, Poly) and str(d).isidentifier()


class _Leaves:
    """The arrays of a call: names and dtypes of inputs, and dimensions by the names of their symbols."""

    def __init__(self, call: Call) -> None:
        self._rows: list[tuple[str, Any, Shape]] = []
        names, taken = set[str](KEYWORDS), set[str]()
        for path, array in zip(call.paths, call.arrays, strict=True):
            try:
                dtype = as_dtype(array.dtype)
            except GraphcError as error:
                raise type(error)(f"argument {path}: {error}{at_line()}") from None
            shape: Shape = array.shape
            if call.symbolic:
                short = re.sub(r"\W+", "_", path).strip("_")
                shape = tuple(d if d == 1 else symbol(_fresh(f"{short}_{k}", taken)) for k, d in enumerate(array.shape))
            self._rows.append((_fresh(path, names), dtype, shape))

    def inputs(self, known: Mapping[str, Dim]) -> list[Node]:
        return [input(name, tuple(substitute(d, known) for d in shape), dtype) for name, dtype, shape in self._rows]

    def sizes(self, arrays: Sequence[Array]) -> dict[str, int]:
        """The size that each symbol stands for."""
        pairs = zip((shape for _, _, shape in self._rows), (a.shape for a in arrays), strict=True)
        return {str(d): n for shape, dims in pairs for d, n in zip(shape, dims, strict=True) if isinstance(d, Poly)}

    def equal(self, arrays: Sequence[Array]) -> dict[str, Dim]:
        """For symbols of a size that others have too, the first of them."""
        first: dict[int, str] = {}
        pairs = self.sizes(arrays).items()
        return {name: symbol(first[n]) for name, n in pairs if first.setdefault(n, name) != name}


def _fresh(name: str, taken: set[str]) -> str:
    """The name, or a longer one if it is taken."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
