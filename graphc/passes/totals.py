"""Totals leave loops: what each step adds up over axes is added up element by element, and over the axes once, outside.

In: an optimised graph.  Out: the same values up to rounding.  The gradient of a number that many series share is a
carry to which each step adds a sum over the series.  Without the sum the steps exchange nothing between elements, so
that a block of elements may take all steps (`graphc/codegen/interchange.py`).  What is the same at every step is added
outside as well, as often as there are steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.declare import BUILDER
from graphc.dims import is_positive, product
from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.ops.bodies import depending, rebuilt, slot, substituted
from graphc.ops.loop_parts import Loop
from graphc.ops.save import typical_size
from graphc.passes.sums import LINEAR, SMALL, Fired, over_loops, terms_added

_BY_ELEMENT = (Family.LEAF, Family.INDEX, Family.ELEMENTWISE, Family.REDUCTION, Family.MOVEMENT)
_STILL = ("reshape", "broadcast_to")  # movement that keeps elements where they are


@dataclass(frozen=True)
class _Total:
    """What each step adds: a `fold` that goes through `moves`, or what is the same at every step, without a fold."""

    term: Node
    moves: Sequence[Node] = ()
    fold: Node | None = None


def totals(graph: Graph) -> tuple[Graph, Fired]:
    """The graph without loops over single elements that add up totals of these, and how many totals there were."""
    fired: Fired = Counter()

    def change(loop: Loop) -> list[Node] | None:
        found = _totals_of(loop)
        fired["total over steps"] += len(found)
        return _without(loop, found) if found else None

    return over_loops(graph, change), +fired


def _totals_of(loop: Loop) -> dict[int, _Total]:
    """By their numbers the carries that are totals, if nothing else is in the way of a loop over single elements."""
    body = Graph((*loop.new, *loop.ys))
    if any(n.op.family not in _BY_ELEMENT for n in body.nodes):
        return {}
    if any(n.op.family is Family.MOVEMENT and n.op.name not in _STILL for n in body.nodes):
        return {}
    variant = depending(body.nodes, {loop.index, *loop.carries, *loop.elements})
    outputs = Counter(body.outputs)
    added = [terms_added(body, outputs, *pair) for pair in zip(loop.carries, loop.new, strict=True)]
    terms = {k: each[0][1] for k, each in enumerate(added) if len(each) == 1}
    found = {k: total for k, term in terms.items() if (total := _total(term, term in variant, body)) is not None}
    folds = [n for n in body.nodes if n.op.family is Family.REDUCTION]
    if not folds or len(folds) != sum(total.fold is not None for total in found.values()):
        return {}
    sizes = {product(o.shape) for k, o in enumerate((*loop.new, *loop.ys)) if k not in found}
    sizes |= {product(fold.operands[0].shape) for fold in folds}
    known = is_positive(loop.length) or all(total.fold is not None for total in found.values())
    return found if len(sizes) == 1 and known and all(typical_size((d,)) >= SMALL for d in sizes) else {}


def _total(term: Node, varies: bool, body: Graph) -> _Total | None:
    if not varies:
        return _Total(term)
    moves, node = [], term
    while node.op.name in LINEAR and len(body.users[node]) == 1:
        moves.append(node)
        node = node.operands[0]
    alone = len(body.users[node]) == 1
    return _Total(term, moves, node) if node.op.name == "sum" and node.dtype.is_float and alone else None


def _without(loop: Loop, found: Mapping[int, _Total]) -> list[Node]:
    """The results of the loop, whose totals are taken outside."""
    folds = {k: total.fold for k, total in found.items() if total.fold is not None}
    kept = [k for k in range(len(loop.carries)) if k not in found]
    slots = {k: slot("total", fold.operands[0].type) for k, fold in folds.items()}
    zeros = [BUILDER.zeros(s.shape, dtype=s.dtype) for s in slots.values()]
    left = replace(
        loop,
        carries=[*(loop.carries[k] for k in kept), *slots.values()],
        inits=[*(loop.inits[k] for k in kept), *zeros],
        new=[*(loop.new[k] for k in kept), *(slots[k] + fold.operands[0] for k, fold in folds.items())],
    )
    declared = left.declare()
    finals = dict(zip((*kept, *folds), declared, strict=False))
    for k, total in found.items():
        if total.fold is None:
            (every,) = substituted([total.term], loop.given)
            value = every * loop.length
        else:
            value = rebuilt(total.fold, [finals[k]])
            for move in reversed(total.moves):
                value = rebuilt(move, [value])
        begun = loop.inits[k]
        value = BUILDER.broadcast_to(value, begun.shape)
        finals[k] = begun - value if loop.new[k].op.name == "subtract" else begun + value
    return [*(finals[k] for k in range(len(loop.carries))), *declared[len(kept) + len(folds) :]]
