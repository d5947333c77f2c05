"""The adjoint of a loop: a loop in the other direction, whose body is the adjoint of the body.

In: a loop and the cotangents of its results.  Out: the cotangents of its operands.  What the adjoint body reads of the
forward one is computed again from what is at hand (positions, elements, givens) and from what is saved; a min-cut
chooses what is saved, as few bytes as can be.  A loop of its own yields that; `graphc.join` makes one of it and
the loop whose results the user asked for.  Cotangents of givens are carried, and each step adds to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphc.dims import Dim, evaluate, product, symbols
from graphc.graph import Node
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import below, depending, slot
from graphc.ops.loop_parts import Loop
from graphc.ops.min_cut import NEVER, min_cut
from graphc.scalar import CHEAP, bodies, cost, parse

_TYPICAL = 32  # a symbolic dimension, where sizes are compared
_A_BYTE = 4  # instructions, for an element of a vector, that take as long as saving and reading a byte
_LANES = 8  # one element takes as long as a vector of them
_FEW = 32  # fewer elements of a dear function take as long as so many: each step waits for it


def cotangents(b: Any, loop: Loop, given: Sequence[Node | None], wanted: Sequence[bool]) -> Sequence[Node | None]:
    """The cotangent of each operand of the loop that is wanted and has one; `given` are those of its results."""
    return _Adjoint(b, loop, given, wanted).cotangents()


def typical_size(dims: Iterable[Dim]) -> int:
    """The number of elements, as far as it is known at declaration."""
    size = product(dims)
    return max(1, evaluate(size, dict.fromkeys(symbols(size), _TYPICAL)))


@dataclass
class _Adjoint:
    b: Any
    loop: Loop
    given: Sequence[Node | None]
    wanted: Sequence[bool]

    def cotangents(self) -> Sequence[Node | None]:
        loop, count = self.loop, len(self.loop.carries)
        end = count + len(loop.arrays)
        wanted = [s for s, w in zip(loop.elements, self.wanted[count:end], strict=True) if w and s.dtype.is_float]
        invariants = [s for s, w in zip(loop.given, self.wanted[end:], strict=True) if w and s.dtype.is_float]
        active = self._active([*wanted, *invariants])
        ends = [slot("cotangent", loop.carries[k].type) for k in active]
        stacks = [
            (y, g) for y, g in zip(loop.ys, self.given[count:], strict=True) if g is not None and y.dtype.is_float
        ]
        rows = [slot("cotangent", y.type) for y, _ in stacks]
        sums = {v: slot("sum", v.type) for v in invariants}
        seeds = [(loop.new[k], e) for k, e in zip(active, ends, strict=True)]
        seeds += [(y, row) for (y, _), row in zip(stacks, rows, strict=True)]
        carries = [loop.carries[k] for k in active]
        found: Mapping[Node, Node] = self.b.pull_back(seeds, [*carries, *wanted, *invariants], sums)
        invariants, wanted = ([s for s in slots if s in found] for slots in (invariants, wanted))
        backward = Loop(
            index=loop.index,
            carries=(*ends, *(sums[v] for v in invariants)),
            inits=(*map(self._last, active), *map(self._zeros, invariants)),
            new=(*(found[c] if c in found else self._zeros(c) for c in carries), *(found[v] for v in invariants)),
            elements=rows,
            arrays=tuple(g for _, g in stacks),
            ys=tuple(found[x] for x in wanted),
            length=loop.length,
            reverse=not loop.reverse,
            again=loop.again,
            given=loop.given,
        )
        results = self._with_saved(backward).declare()
        names = [*carries, *invariants, *wanted]
        by_slot = dict(zip(names, results, strict=True))
        every = [*loop.carries, *loop.elements, *loop.given]
        return [by_slot.get(s) if w else None for s, w in zip(every, self.wanted, strict=True)]

    def _last(self, k: int) -> Node:
        """The cotangent of carry k at the end of the loop."""
        found = self.given[k]
        return self._zeros(self.loop.carries[k]) if found is None else found

    def _zeros(self, like: Node) -> Node:
        zeros: Node = self.b.zeros(like.shape, dtype=like.dtype)
        return zeros

    def _active(self, wanted: Sequence[Node]) -> list[int]:
        """The float carries that something wanted moves, and that move something with a cotangent."""
        loop, count = self.loop, len(self.loop.carries)
        reads = _reads([*loop.new, *loop.ys], [*loop.carries, *wanted])
        own = {c: k for k, c in enumerate(loop.carries)}
        moved = {k for k in range(count) if self.wanted[k] and loop.carries[k].dtype.is_float}
        moved = _closed(
            moved, lambda k: any(own.get(s, -1) in moved or s not in own for s in reads[loop.new[k]]), range(count)
        )
        given = zip(loop.ys, self.given[count:], strict=True)
        heard = {k for k in range(count) if self.given[k] is not None}
        heard |= {own[s] for y, g in given if g is not None for s in reads[y] if s in own}
        heard = _closed(heard, lambda k: any(loop.carries[k] in reads[loop.new[j]] for j in heard), range(count))
        return [k for k in range(count) if k in moved and k in heard and loop.carries[k].dtype.is_float]

    def _with_saved(self, backward: Loop) -> Loop:
        """The adjoint loop with the elements that it reads, those of what the forward loop saves among them."""
        loop = self.loop
        ends = {*backward.carries, *backward.elements}
        order = below([*backward.new, *backward.ys], ())
        saved = _saved(order, depending(order, ends), [*backward.new, *backward.ys], loop)
        forward = replace(loop, ys=saved).declare()[len(loop.carries) :]
        unread = set(loop.elements) - set(order) | set(saved)
        read = [(x, a) for x, a in zip(loop.elements, loop.arrays, strict=True) if x not in unread]
        return replace(
            backward,
            elements=(*backward.elements, *saved, *(x for x, _ in read)),
            arrays=(*backward.arrays, *forward, *(a for _, a in read)),
        )


def _closed(found: set[int], belongs: Callable[[int], bool], every: Iterable[int]) -> set[int]:
    """`found`, with all that belongs to it added until nothing more does."""
    while more := {k for k in every if k not in found and belongs(k)}:
        found |= more
    return found


def _reads(roots: Sequence[Node], slots: Collection[Node]) -> dict[Node, frozenset[Node]]:
    """The slots that each root depends on by way of floats."""
    found: dict[Node, frozenset[Node]] = {}
    kept = set(slots)
    for n in below(roots, ()):
        parts = [found[o] for o in n.operands]
        first = parts[0] if parts else frozenset()
        reads = first if all(p is first or p <= first for p in parts) else first.union(*parts)
        found[n] = reads if any(t.dtype.is_float for t in n.types) else frozenset()
        if n in kept:
            found[n] |= {n}
    return found


def _saved(order: Sequence[Node], adjoint: Collection[Node], roots: Sequence[Node], loop: Loop) -> list[Node]:
    """What the forward loop saves for the adjoint one: few bytes, and little to compute again.

    The adjoint nodes read others, which are computed from positions, elements, givens and what is saved.
    """
    forward = [n for n in order if n not in adjoint]
    number = {n: k for k, n in enumerate(forward)}
    variant = depending(forward, {loop.index, *loop.carries, *loop.elements})
    at_hand = {loop.index, *loop.elements}
    wanted = {o for n in order if n in adjoint for o in n.operands if o in number} | {n for n in roots if n in number}
    again = {k: _effort(n) for n, k in number.items() if n in variant and n not in at_hand}
    there = set(loop.ys)
    saving = [1 if n in there else _bytes(n) * _A_BYTE + (n.op.family is Family.MOVEMENT) for n in forward]
    edges = [(number[o], k) for n, k in number.items() for o in n.operands]
    chosen = min_cut(saving, again, edges, sorted(number[n] for n in wanted))
    return [n for k, n in enumerate(forward) if k in chosen]


def _bytes(node: Node) -> int:
    return typical_size(node.shape) * node.dtype.size if len(node.types) == 1 else NEVER


def _effort(node: Node) -> int:
    """The instructions that computing a node again takes, roughly."""
    family = node.op.family
    if family is Family.LEAF or (family in HOLDERS and not node.attrs.get("again")):
        return NEVER
    if family in (*HOLDERS, Family.ITEM, Family.MOVEMENT):
        return 0
    if family is Family.CONTRACTION:
        labels = node.attrs["a_labels"] + node.attrs["b_labels"]
        return typical_size(dict(zip(labels, node.operands[0].shape + node.operands[1].shape, strict=True)).values())
    each = max((cost(parse(text)) for text in bodies(node.op.body)), default=1)
    folded = node.operands if family in (Family.REDUCTION, Family.ARG_REDUCTION, Family.SCATTER) else ()
    size = max(typical_size(t.shape) for n in (node, *folded) for t in n.types)
    return each * max(size, _FEW if each > CHEAP else _LANES)
