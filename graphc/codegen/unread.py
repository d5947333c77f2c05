"""Positions that no element is read at, since another axis is empty: they are checked all the same, as NumPy does.

In: the gathers and scatters that a phase evaluates, and the domain of its loops.  Out: loops over their positions that
run where the domain has no element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from graphc.codegen.evaluate import Evaluator
from graphc.codegen.scope import Branch, Scope, close
from graphc.codegen.text import ZERO, test
from graphc.dims import is_positive, product
from graphc.graph import Node
from graphc.op import Family
from graphc.ops.index import CHECKS
from graphc.schedule.access import canonical, positions_of, read_operands
from graphc.types import Shape

Positions = tuple[Node, int]  # whose they are, and which of its operands of positions


def check_unread(evaluator: Evaluator, found: Iterable[Positions], domain: Shape, top: Scope) -> None:
    """Print the checks of positions that the loops over the domain may never come to."""
    text = evaluator.text
    for node, number in found:
        positions = positions_of(node)[number]
        if node.attrs["modes"][number] not in CHECKS or all(is_positive(d) or d in positions.shape for d in domain):
            continue
        empty = Branch(top, test("==", text.at(product(domain)), ZERO))
        scopes = text.loops(empty, ((axis, length) for axis, length in enumerate(positions.shape) if length != 1))
        evaluator.position(node, number, canonical(positions.shape), scopes[-1])
        close(*scopes)


def gathers(members: Iterable[Node], loaded: Callable[[Node], bool]) -> Iterator[Positions]:
    """The gathers that evaluating the members runs, but for those whose positions are folded in the same loops."""
    for node in evaluated(members, loaded):
        if node.op.family is Family.GATHER:
            for number, positions in enumerate(positions_of(node)):
                if not any(n.op.family is Family.REDUCTION for n in evaluated([positions], loaded)):
                    yield node, number


def evaluated(roots: Iterable[Node], loaded: Callable[[Node], bool]) -> Iterator[Node]:
    """The nodes of which something is computed for these in the loops."""
    stack = list(roots)
    seen = set(stack)
    while stack:
        node = stack.pop()
        if loaded(node):
            continue
        yield node
        operands = read_operands(node)[node.op.family is Family.GATHER :]  # a source lies in memory
        new = [o for o in operands if o not in seen]
        seen.update(new)
        stack += new
