"""The work of a nest, for explain and profile: operations, and bytes that go through memory.

In: a nest.  Out: dimensions.  An array counts once, with the elements that are touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphc.codegen.states import effort_of
from graphc.dims import Dim, dim_min, product
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import effort
from graphc.schedule.access import Read, loop_axes, read_operands
from graphc.schedule.shape import loads
from graphc.schedule.split import domain_of
from graphc.schedule.task import Nest
from graphc.types import Shape


def operations(nest: Nest) -> Dim:
    """What the functions and folds of members cost, and of what is computed on the way to them, for each element."""
    return total(product(_domain(node)) * _effort(node) for node in computed(nest))


def efforts_of_element(nest: Nest) -> list[int]:
    """What each function costs that is computed for each element of the nest's domain."""
    return [_effort(node) for node in _of_element(nest)]


def lanes_of_element(nest: Nest) -> int:
    """The sum of them, each times the bytes of its widest operand, since wide ones fill more vectors."""
    return sum(_effort(node) * _width(node) for node in _of_element(nest))


def _width(node: Node) -> int:
    return max((t.dtype.size for operand in node.operands for t in operand.types), default=0)


def _of_element(nest: Nest) -> Iterator[Node]:
    return (node for node in computed(nest) if _domain(node) == nest.domain)


def _domain(node: Node) -> Shape:
    """What the loops of a node run over; all results of one have the same shape."""
    return domain_of(node) if len(node.types) == 1 else node.types[0].shape


def computed(nest: Nest) -> Iterator[Node]:
    """The members, and what is computed on the way to them."""
    waiting, seen = list(nest.members), {n for n, _ in nest.loads}
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += read_operands(node)
            yield node


def _effort(node: Node) -> int:
    """Instructions for an element, roughly; nothing for what only moves, repeats or counts."""
    op = node.op
    if op.family is Family.REDUCTION:
        return effort_of(str(op.state), node.operands[0].dtype)
    return max(1, effort(op.body)) if op.family is Family.ELEMENTWISE else 0


def bytes_read(nest: Nest, hot: Node | None = None) -> Dim:
    """The elements that the loops touch of each array that the nest loads but for the `hot` one: at most all, once."""
    touched: dict[Node, dict[Read, Dim]] = {}
    made, loaded = set(nest.members), {n for n, _ in nest.loads}
    for member in nest.members:
        for read in loads(member, loaded.__contains__, made):
            touched.setdefault(read.node, {})[read] = _extent(read, member)
    found: list[Dim] = []
    for node, _ in nest.loads:
        if node is hot:
            continue
        count = total(touched[node].values())
        found.append(dim_min(product(node.shape), count) * node.dtype.size)
    return total(found)


def _extent(read: Read, member: Node) -> Dim:
    """How many elements a read touches while the member's loops run."""
    axes = set().union(*map(loop_axes, read.index))
    domain = domain_of(member)
    return product(d for k, d in enumerate(domain) if read.whole or f"%{k}" in axes)


def total(dims: Iterable[Dim]) -> Dim:
    """The sum of dimensions."""
    out: Dim = 0
    for d in dims:
        out = out + d
    return out
