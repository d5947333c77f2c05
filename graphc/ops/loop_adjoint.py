"""The adjoint of a loop: a loop in the other direction, whose body is the adjoint of the body.

In: a loop and the cotangents of its results.  Out: the cotangents of its operands.  What the adjoint body reads of the
forward one is computed again from what is at hand (positions, elements, givens) and from what is saved
(`graphc/ops/save.py`).  A loop of its own yields that; `graphc/join.py` makes one of it and the loop whose results the
user asked for.  Cotangents of givens are carried, and each step adds to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphc.graph import Node
from graphc.ops.bodies import below, depending, slot
from graphc.ops.loop_parts import Loop
from graphc.ops.save import worth_saving


def cotangents(b: Any, loop: Loop, given: Sequence[Node | None], wanted: Sequence[bool]) -> Sequence[Node | None]:
    """The cotangent of each operand of the loop that is wanted and has one; `given` are those of its results."""
    return _Adjoint(b, loop, given, wanted).cotangents()


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
        moving = (loop.index, *loop.carries, *loop.elements)
        at_hand = (loop.index, *loop.elements)
        saved = worth_saving(order, depending(order, ends), [*backward.new, *backward.ys], moving, at_hand, loop.ys)
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
