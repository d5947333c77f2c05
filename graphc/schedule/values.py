"""Values of rows that stand better in a group of their own.

In: the groups of a first fusion.  Out: the reductions whose group is to have no values of rows.  Then all rows that are
many short pieces of memory can be read side by side, and vector math, which takes a single number as long as a vector,
has one number of each row to make vectors of.  What something along a row reads stays with it, unless rows are long and
what they are made of is near.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from graphc.dims import product
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import SIMPLE, effort
from graphc.schedule.access import Read
from graphc.schedule.group import Group
from graphc.schedule.split import domain_of, split_around

_PIECE = 1_024  # elements that lie side by side, from which it does not matter where the next ones lie
_SOME = 256  # elements of a row, beside which vector math of one number takes long
_NEAR = 2 << 20  # bytes that near caches hold
_FEW = 8  # rows, for which a loop of their own is not worth its begin
ABREAST = 48  # bytes of a row that goes abreast in vectors of 32 bytes and more
LONGEST = 24  # elements of one that goes abreast in any


def without_values(groups: Iterable[Group], sources: Callable[[Node], list[Read]]) -> list[Node]:
    """The reductions of such groups; `sources` are what a node reads of stored or grouped nodes."""
    found = []
    for group in groups:
        if group.reductions and _is_without_values(group, sources):
            found += group.reductions
    return found


def _is_without_values(group: Group, sources: Callable[[Node], list[Read]]) -> bool:
    """Whether the values of a group's rows, if it has some, stand better elsewhere, and may."""
    values = [m for m in group.members if domain_of(m) != group.domain]
    if not values:
        return False
    read = {r.node for m in group.members if domain_of(m) == group.domain for r in sources(m)}
    if not read.isdisjoint(group.reductions):
        return False
    if not read.isdisjoint(values):
        return _may_be_read_twice(group, read) and _is_math_of_rows(group, values)
    in_pieces = _is_in_pieces(group) and read.isdisjoint(group.members)
    return in_pieces or _is_math_of_rows(group, values)


def _may_be_read_twice(group: Group, read: set[Node]) -> bool:
    """Whether rows are longer than such as go abreast, made by arithmetic, and read what is near."""
    row = product(group.domain[k] for k in group.split.inner)
    if any(is_vector_math(m) for m in group.members if domain_of(m) == group.domain):
        return False
    nbytes = sum(product(node.shape) * node.dtype.size for node in read.difference(group.members))
    return isinstance(row, int) and LONGEST < row <= _SOME and isinstance(nbytes, int) and nbytes <= _NEAR


def _is_in_pieces(group: Group) -> bool:
    """Whether a row is many short pieces of memory."""
    split = split_around(group.split.inner, len(group.domain))
    piece = product(group.domain[k] for k in split.deep) if split is not None else _PIECE
    return isinstance(piece, int) and piece < _PIECE


def _is_math_of_rows(group: Group, values: Iterable[Node]) -> bool:
    """Whether there is vector math for many rows that are too long to go abreast in every machine's vectors."""
    rows, row = (product(group.domain[k] for k in axes) for axes in (group.split.rows, group.split.inner))
    if isinstance(rows, int) and rows < _FEW:
        return False
    size = max(node.operands[0].dtype.size for node in group.reductions)
    if isinstance(row, int) and row * size <= ABREAST:
        return False
    return any(map(is_vector_math, values))


def is_vector_math(node: Node) -> bool:
    """Whether a single number takes it as long as a vector, beside which folding is little."""
    return node.op.family is Family.ELEMENTWISE and effort(node.op.body) >= SIMPLE
