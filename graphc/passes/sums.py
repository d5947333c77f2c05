"""Sums of products leave loops: what each step adds up as products of matrices is one product over all steps.

In: an optimised graph.  Out: the same values up to rounding.  The gradient of a weight that every step uses is a carry
to which each step adds an outer product.  The factors are smaller than it, and mostly saved anyway; where they lie
side by side, one product that sums over the steps as well does all the work, outside of the loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters

from graphc.declare import BUILDER
from graphc.graph import Graph, Node, make, with_outputs
from graphc.line import standing_at
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import depending, holds_bodies, rebuilt
from graphc.ops.loop_parts import Loop
from graphc.ops.save import typical_size
from graphc.rewrite import filled

Fired = Counter[str]
SMALL = 256  # elements that a loop adds up faster by itself
LINEAR = ("reshape", "permute_dims", "negative")  # what may stand between a product and the sum


@dataclass(frozen=True)
class _Sum:
    """What a carry adds up: `moves` is what a `term` goes through, `labels` are those of factors and term."""

    carry: int
    is_difference: bool
    moves: Sequence[Node]
    term: Node
    factors: tuple[Node, Node]
    labels: tuple[str, str, str]


def sums(graph: Graph) -> tuple[Graph, Fired]:
    """The graph without loops that add up products of matrices, and how many such sums there were."""
    fired: Fired = Counter()

    def change(loop: Loop) -> list[Node] | None:
        own = _sums_of(loop)
        fired["sum of products"] += len(own)
        return _without(loop, own) if own else None

    return over_loops(graph, change), +fired


def over_loops(graph: Graph, change: Callable[[Loop], list[Node] | None]) -> Graph:
    """The graph with other results for some loops, those inside of others too."""
    if not holds_bodies(graph):
        return graph
    new: dict[Node, Node] = {}
    found: dict[Node, list[Node]] = {}
    for n in graph.nodes:
        if n.op.family is Family.ITEM and n.operands[0] in found:
            new[n] = found[n.operands[0]][n.attrs["index"]]
            continue
        node = rebuilt(n, [new[o] for o in n.operands])
        if n.op.family in HOLDERS:
            attrs = {k: over_loops(v, change) if isinstance(v, Graph) else v for k, v in n.attrs.items()}
            node = make(n.op, node.operands, attrs, n.line)
        if n.op.family is Family.LOOP:
            with standing_at(n.line):
                results = change(Loop.of(node))
            if results is not None:
                found[n] = results
                node = found[n][0]
        new[n] = node
    return with_outputs(graph, [new[o] for o in graph.outputs])


def _sums_of(loop: Loop) -> list[_Sum]:
    body = Graph((*loop.new, *loop.ys))
    variant = depending(body.nodes, {loop.index, *loop.carries, *loop.elements})
    saved = {*loop.elements, *loop.ys}
    outputs = Counter(body.outputs)
    found = []
    for k, (carry, new) in enumerate(zip(loop.carries, loop.new, strict=True)):
        if typical_size(carry.shape) < SMALL:
            continue
        terms = [_sum(k, minus, term) for minus, term in terms_added(body, outputs, carry, new)]
        added = [s for s in terms if s and variant.issuperset(s.factors) and _is_worth_it(s, saved)]
        found += added if len(added) == len(terms) else []
    return found


def terms_added(body: Graph, outputs: Counter[Node], carry: Node, new: Node) -> list[tuple[bool, Node]]:
    """What is added to a carry, and whether it is subtracted; nothing if more is made of the carry than a sum."""
    found = []
    on_way = depending(body.nodes, {carry})
    node = new
    while node is not carry:
        before = [o for o in node.operands if o in on_way]
        alone = outputs[node] + len(body.users.get(node, ())) == 1
        sums = node.op.name == "add" or (node.op.name == "subtract" and node.operands[0] in on_way)
        if not (alone and sums and len(before) == 1 and before[0].type == node.type):
            return []
        first, second = node.operands
        found.append((node.op.name == "subtract", second if first is before[0] else first))
        node = before[0]
    return found[::-1] if not outputs[carry] and len(body.users.get(carry, ())) == 1 else []


def _sum(carry: int, is_difference: bool, term: Node) -> _Sum | None:
    """The sum to which each step adds this term, if that is a product of two factors."""
    moves = []
    while term.op.name in LINEAR:
        moves.append(term)
        term = term.operands[0]
    if term.op.name == "_contract":
        a, b, out = (term.attrs[k] for k in ("a_labels", "b_labels", "out_labels"))
        return _Sum(carry, is_difference, moves, term, (term.operands[0], term.operands[1]), (a, b, out))
    if term.op.name == "multiply" and term.dtype.is_float:
        every = ascii_letters[: term.ndim]
        factors, labels = zip(*(_narrow(o, every) for o in term.operands), strict=True)
        out = "".join(c for c, d in zip(every, term.shape, strict=True) if d != 1)
        return _Sum(carry, is_difference, moves, term, (factors[0], factors[1]), (labels[0], labels[1], out))
    return None


def _narrow(factor: Node, out: str) -> tuple[Node, str]:
    """The factor without axes along which it is broadcast, and the labels of those that are left."""
    labels = "".join(c for c, d in zip(out[len(out) - factor.ndim :], factor.shape, strict=True) if d != 1)
    shape = tuple(d for d in factor.shape if d != 1)
    source = factor.operands[0] if factor.op.name == "reshape" else factor
    narrow: Node = source if source.shape == shape else BUILDER.reshape(factor, shape)
    return narrow, labels


def _is_worth_it(added: _Sum, saved: Collection[Node]) -> bool:
    """Whether a step has less to save than to add up; a product element by element has not."""
    a, b, out = added.labels
    if set(a) == set(b) == set(out):
        return False
    sizes = dict(zip(a + b, added.factors[0].shape + added.factors[1].shape, strict=True))
    return sum(typical_size(f.shape) for f in added.factors if f not in saved) < typical_size(sizes[c] for c in out)


def _without(loop: Loop, own: Sequence[_Sum]) -> list[Node]:
    """The results of the loop, whose sums are products outside."""
    gone = {s.carry for s in own}
    kept = [k for k in range(len(loop.carries)) if k not in gone]
    arrays = dict(zip(loop.elements, loop.arrays, strict=True))
    extra = [f for f in dict.fromkeys(f for s in own for f in s.factors) if f not in arrays and f not in set(loop.ys)]
    left = replace(
        loop,
        carries=[loop.carries[k] for k in kept],
        inits=[loop.inits[k] for k in kept],
        new=[loop.new[k] for k in kept],
        ys=[*loop.ys, *extra],
    )
    declared = left.declare()
    finals = dict(zip(kept, declared, strict=False))
    stacks = declared[len(kept) :]
    at = arrays | dict(zip(left.ys, stacks, strict=True))
    for s in own:
        a, b, out = s.labels
        step = next(c for c in ascii_letters if c not in a + b)
        total = BUILDER.primitive(
            "_contract", [at[f] for f in s.factors], a_labels=step + a, b_labels=step + b, out_labels=out
        )
        total = BUILDER.reshape(total, s.term.shape)
        for move in reversed(s.moves):
            total = rebuilt(move, [total])
        begun = finals.get(s.carry, loop.inits[s.carry])
        total = BUILDER.broadcast_to(-total if s.is_difference else total, begun.shape)
        finals[s.carry] = total if filled(begun) == 0 else begun + total
    return [*(finals[k] for k in range(len(loop.carries))), *stacks[: len(loop.ys)]]
