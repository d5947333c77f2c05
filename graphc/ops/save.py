"""What a forward part saves for an adjoint part.

In: a graph of both.  Out: the nodes to save.  Saving weighs bytes, computing again weighs instructions, and the least
of both together is found by a cut (`graphc/ops/min_cut.py`).  Loops inside are never run again, unless they say so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache

from graphc.dims import Dim, evaluate, product, symbols
from graphc.graph import Node
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import depending
from graphc.ops.min_cut import NEVER, min_cut
from graphc.scalar import CHEAP, effort
from graphc.types import TensorType

TYPICAL = 32  # a symbolic dimension, where sizes are compared
_A_BYTE = 4  # instructions, for an element of a vector, that take as long as saving and reading a byte
_LANES = 8  # one element takes as long as a vector of them
_FEW = 32  # fewer elements of a dear function take as long as so many: each step waits for it


def typical_size(dims: Iterable[Dim]) -> int:
    """The number of elements, as far as it is known at declaration."""
    size = product(dims)
    return max(1, evaluate(size, dict.fromkeys(symbols(size), TYPICAL)))


def bytes_of(node: Node) -> int:
    """The bytes of a node, as far as they are known at declaration; NEVER for one that has several results."""
    return _bytes(node.types[0]) if len(node.types) == 1 else NEVER


@lru_cache(maxsize=4096)
def _bytes(type_: TensorType) -> int:
    return typical_size(type_.shape) * type_.dtype.size


def most_at_once(lives: Iterable[tuple[int, int, int]]) -> int:
    """The most bytes at once of what has this first step, this last one and this many bytes."""
    change: dict[int, int] = {}
    for first, last, nbytes in lives:
        change[first] = change.get(first, 0) + nbytes
        change[last + 1] = change.get(last + 1, 0) - nbytes
    return max(itertools.accumulate(change[k] for k in sorted(change)), default=0)


def instructions(node: Node) -> int:
    """The instructions that computing a node again takes, roughly."""
    family = node.op.family
    if family is Family.LEAF or (family in HOLDERS and not node.attrs.get("again")):
        return NEVER
    if family in (*HOLDERS, Family.ITEM, Family.MOVEMENT):
        return 0
    if family is Family.REGION:
        body = node.attrs["body"]
        return min(NEVER, sum(map(instructions, set(body.nodes).difference(body.inputs))))
    if family is Family.KERNEL:
        assert node.op.job is not None
        labels, shapes = "".join(node.op.job(node.attrs, node.ndim).labels[:-1]), (o.shape for o in node.operands)
        return typical_size(dict(zip(labels, itertools.chain(*shapes), strict=True)).values())
    each = effort(node.op.body)
    folded = node.operands if family in (Family.REDUCTION, Family.SCATTER) else ()
    size = max(typical_size(t.shape) for n in (node, *folded) for t in n.types)
    return each * max(size, _FEW if each > CHEAP else _LANES)


def worth_saving(
    order: Sequence[Node],
    adjoint: Collection[Node],
    roots: Iterable[Node],
    moving: Iterable[Node],
    at_hand: Iterable[Node] = (),
    yielded: Iterable[Node] = (),
    again: Callable[[Node], int] = instructions,
    a_byte: int = _A_BYTE,
) -> list[Node]:
    """The nodes to save so that the `roots` can be computed; `order` are all nodes, of which no `adjoint` one is saved.

    What depends on nothing `moving` is there for nothing, and so is what is `at_hand`; what is `yielded` is saved
    already.  `again` tells what computing a node again weighs; saving one weighs `a_byte` for each byte.
    """
    forward = [n for n in order if n not in adjoint]
    number = {n: k for k, n in enumerate(forward)}
    variant, free, there = depending(forward, moving), set(at_hand), set(yielded)
    wanted = {o for n in order if n in adjoint for o in n.operands if o in number} | {n for n in roots if n in number}
    weights = {k: again(n) for n, k in number.items() if n in variant and n not in free}
    saving = [1 if n in there else bytes_of(n) * a_byte + (n.op.family is Family.MOVEMENT) for n in forward]
    edges = [(number[o], k) for n, k in number.items() for o in n.operands]
    chosen = min_cut(saving, weights, edges, sorted(number[n] for n in wanted))
    return [n for k, n in enumerate(forward) if k in chosen]
