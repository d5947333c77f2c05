"""One compiled function for all calls of a kind: trees of one structure, arrays of given dtypes and ranks.

In: a function of nodes, and the first call of its kind.  Out: a Specialisation, which runs on the arrays of such calls.
Sizes are symbols, a fresh one for each.  What the function declares tells which of them must be equal, and are one
symbol, and which must be a number, and are that.  Where it can't be traced like this, or takes sizes to differ that do
not, as few sizes as can be are the numbers of the call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.compile import KEYWORDS, compile
from graphc.declare import as_weak_as, input
from graphc.dims import Dim, Poly, evaluate, substitute, symbol, symbols
from graphc.errors import DeclarationError, GraphcError, InputError
from graphc.graph import Graph, Node, describe
from graphc.runtime import entry
from graphc.runtime.places import constraints
from graphc.runtime.workspace import check_constraints
from graphc.signature import SCALARS, Call
from graphc.trace import Tree, as_nodes, at_line, comparing, tracing
from graphc.types import Constraint, Shape, as_dtype

Array = np.ndarray[Any, Any]
Told = tuple[Constraint, str]  # with the user's line


class Specialisation:
    """A compiled function of the arrays of a call.

    `run` takes them in order and gives the results in the structure that the function gave.  `attempt`, if there is
    one, does so for arrays of exactly these dtypes whose shapes it has seen, and gives NotImplemented for all others.
    """

    def __init__(self, function: Callable[..., Any], name: str, call: Call) -> None:
        self._leaves = Leaves(call)
        traced = Tracing(function, name, call, self._leaves).settled()
        self._fixed, self._pattern, self._apart = traced.fixed, traced.pattern, traced.apart
        tree = traced.tree
        whole = all(tree.present)
        self.compiled = compile(traced.inputs, tree.filled(traced.nodes) if whole else traced.nodes, name=name)
        self.run = self.compiled if whole else self._filling(tree)
        knows_itself = whole and not self._pattern and not self._apart and entry.supported()
        self.attempt = self.compiled._attempt if knows_itself else None

    def _filling(self, tree: Tree) -> Callable[..., Any]:
        return lambda *arrays: tree.filled(self.compiled(*arrays))

    @property
    def serves_all(self) -> bool:
        """Whether it serves all calls of its kind, whatever the sizes."""
        return not self._fixed and not self._pattern and not self._apart

    def serves(self, arrays: Sequence[Array]) -> bool:
        """Whether it is for arrays of these sizes, of a call of its kind."""
        if self.serves_all:
            return True
        sizes = self._leaves.sizes(arrays)
        serves = all(sizes[name] == n for name, n in self._fixed.items()) and _differ(self._apart, sizes)
        return serves and (not self._pattern or _pattern(sizes, self._pattern) == self._pattern)

    def fits(self, arrays: Sequence[Array]) -> bool:
        """Whether arrays that it serves have sizes that it can take."""
        return self.compiled._fits(arrays)


@dataclass(frozen=True)
class _Traced:
    """What the function made, and of which sizes.

    `fixed` are numbers; of those in `pattern` it matters which are equal; what is `apart` the function compared, and
    took to differ.
    """

    fixed: Mapping[str, int]
    pattern: Mapping[str, str]
    apart: Collection[tuple[Dim, Dim]]
    inputs: Sequence[Node]
    tree: Tree
    nodes: Sequence[Node]


class Tracing:
    """A function that is traced for a call, until it is known which sizes it takes as symbols."""

    def __init__(self, function: Callable[..., Any], name: str, call: Call, leaves: Leaves) -> None:
        self._function, self._name, self._call, self._leaves = function, name, call, leaves
        self._sizes = leaves.sizes(call.arrays)
        self._unfit: InputError | None = None  # why the last try failed, if sizes do not fit

    def settled(self) -> _Traced:
        """With as few numbers for sizes as the function takes, and equal ones shared where it asks for that alone.

        What it raises where all sizes are numbers is not for the symbols, and is raised; or InputError, where sizes do
        not fit what it makes of symbols.
        """
        every = list(self._sizes)
        found = self._tried(every, shared=False) if every else None
        if found:
            return found
        unfit = self._unfit
        try:
            found = self._trace([], shared=False)
        except Exception as error:
            raise unfit or error from None
        symbolic = self._most(every) if every else []
        return (symbolic and (self._tried(symbolic, shared=False) or self._tried(symbolic, shared=True))) or found

    def _most(self, every: Sequence[str]) -> list[str]:
        """As many sizes as can be symbols: first those that are equal together, then one by one."""

        def fits(names: Sequence[str]) -> bool:
            return self._tried(names, shared=True) is not None

        equal: dict[int, list[str]] = {}
        for name in every:
            equal.setdefault(self._sizes[name], []).append(name)
        together = _most(list(equal.values()), [], fits)
        found = _most([[name] for name in every if name not in together], together, fits)
        return [name for name in every if name in found]

    def _tried(self, symbolic: Sequence[str], shared: bool) -> _Traced | None:
        """None where the function can't be traced so."""
        try:
            return self._trace(symbolic, shared)
        except InputError as error:
            self._unfit = error
        except Exception:
            self._unfit = None
        return None

    def _trace(self, symbolic: Sequence[str], shared: bool) -> _Traced:
        """With symbols for these sizes, or with `shared` one for all that are equal, and numbers for the others."""
        pattern = _pattern(self._sizes, symbolic) if shared else {}
        fixed = {name: n for name, n in self._sizes.items() if name not in symbolic}
        known: dict[str, Dim] = {**fixed, **{name: symbol(first) for name, first in pattern.items()}}
        while True:
            inputs = self._leaves.inputs(known)
            with comparing() as apart:
                tree, nodes = self._results(inputs)
            found = self._asked(Graph(tuple(nodes), tuple(inputs)))
            check_constraints(self._name, found, self._sizes)
            more = _learnt((c for c, _ in found if c.relation == "=="), list(self._sizes))
            if not more:
                compared = _of_sizes(apart, self._sizes)
                if not _differ(compared, self._sizes):
                    raise _TakenToDifferError
                return _Traced(fixed, pattern, compared, inputs, tree, nodes)
            known = {**more, **{name: substitute(d, more) for name, d in known.items()}}

    def _results(self, inputs: Sequence[Node]) -> tuple[Tree, list[Node]]:
        args, kwargs = self._call.filled(list(map(as_weak_as, self._call.leaves, inputs)))
        try:
            with tracing():
                value = self._function(*args, **kwargs)
        except Exception as error:
            error.add_note(self._note(inputs))
            raise
        tree, leaves = Tree.of(value, "result")
        if not leaves:
            raise DeclarationError(f"{self._name} gives {value!r}, and not a node or a tree of nodes{at_line()}")
        return tree, as_nodes(leaves, tree.names(), self._name)

    def _asked(self, graph: Graph) -> list[Told]:
        """What the graph asks of sizes.  Raises DeclarationError for what it needs from outside."""
        own = set(graph.inputs)
        for node in graph.leaves("input"):
            if node not in own:
                advice = "hand it in as an argument; what is kept between calls is a gc.parameter"
                says = f"{self._name} uses {describe(node)}, which has no value in a call with arrays"
                raise DeclarationError(f"{says}; {advice}{at_line()}")
        return [(c, line) for c, line in constraints(graph) if _of_sizes([(c.left, c.right)], self._sizes)]

    def _note(self, inputs: Sequence[Node]) -> str:
        """What is told with an error: as what the function was traced, and how to have the number itself."""
        text = f"traced as {self._name}({', '.join(f'{n.name}: {n.type}' for n in inputs)})"
        pairs = zip(self._call.paths, self._call.leaves, strict=True)
        number = next((path for path, leaf in pairs if type(leaf) in SCALARS and path.isidentifier()), None)
        return f"{text}; gc.function(static={number!r}) has the number itself" if number else text


class _TakenToDifferError(Exception):
    """The function compared sizes that are equal at this call, and went on as if they were not."""


def _of_sizes(pairs: Iterable[tuple[Dim, Dim]], sizes: Mapping[str, int]) -> list[tuple[Dim, Dim]]:
    """The pairs of dimensions that these sizes decide."""
    return [pair for pair in pairs if symbols(pair[0]) | symbols(pair[1]) <= sizes.keys()]


def _differ(pairs: Iterable[tuple[Dim, Dim]], sizes: Mapping[str, int]) -> bool:
    return all(evaluate(p, sizes) != evaluate(q, sizes) for p, q in pairs)


def _pattern(sizes: Mapping[str, int], names: Iterable[str]) -> dict[str, str]:
    """For each of the names the first one of that size."""
    first: dict[int, str] = {}
    return {name: first.setdefault(sizes[name], name) for name in names}


def _most(groups: Sequence[Sequence[str]], kept: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    """What is kept, and as many groups of names as fit together with it, found by halves."""
    found, waiting = list(kept), [list(groups)]
    while waiting:
        these = waiting.pop()
        names = [*found, *(name for group in these for name in group)]
        if fits(names):
            found = names
        elif len(these) > 1:
            half = len(these) // 2
            waiting += [these[half:], these[:half]]
    return found


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


class Leaves:
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


def _fresh(name: str, taken: set[str]) -> str:
    """The name, or a longer one if it is taken."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
