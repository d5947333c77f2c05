"""The work of a nest, for explain and profile: operations, and bytes that go through memory.

In: a group, its stores, and what it loads.  Out: dimensions.  An array counts once, with the elements that are touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from graphc.dims import Dim, dim_min, product
from graphc.graph import Node
from graphc.schedule.access import Read, loop_axes
from graphc.schedule.fuse import Group, domain_of
from graphc.schedule.shape import loads


def operations(group: Group, loaded: Callable[[Node], bool]) -> Dim:
    """One for each element of each member's loops; what is only copied is none."""
    return total(product(domain_of(m)) for m in group.members if not loaded(m))


def bytes_read(group: Group, loaded: Callable[[Node], bool], hot: Node | None = None) -> Dim:
    """The elements that the loops touch of each array that the group loads but for the `hot` one: at most all, once."""
    touched: dict[Node, dict[Read, Dim]] = {}
    made = set(group.members)
    for member in group.members:
        for read in loads(member, loaded, made):
            touched.setdefault(read.node, {})[read] = _extent(read, member)
    found: list[Dim] = []
    for node in group.reads:
        if node is hot or not loaded(node):
            continue
        reads = touched.get(node)  # none where a gather stands between, which reads at positions of the call
        count = total(reads.values()) if reads else product(group.domain)
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
