"""Bodies: what a loop or a branch runs, cut out of the graph around it.

In: results that depend on slots, which stand for values inside.  Out: the same results over slots of a new body, and
the nodes outside that the body reads.  What depends on no slot of a loop is computed outside of it: loop-invariant
code leaves a body by construction.  Constants and positions, with what is cheap to make of them, go with the body, and
so does movement that makes nothing smaller, since it is read through.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.dims import is_nonnegative
from graphc.graph import Graph, Node, make
from graphc.line import Line
from graphc.literal import Slot
from graphc.op import HOLDERS, REGISTRY, Family
from graphc.scalar import is_dear
from graphc.types import TensorType


def slot(name: str, of: TensorType, line: Line | None = None) -> Node:
    """A fresh node that stands for a value of this type inside of a body."""
    return make(REGISTRY["input"], (), {"name": name, "type": of, "identity": Slot()}, line)


def is_slot(node: Node) -> bool:
    return node.op.name == "input" and isinstance(node.attrs["identity"], Slot)


def results(node: Node) -> list[Node]:
    """The results of a node, one node each."""
    every = range(len(node.types))
    return [node] if len(node.types) == 1 else [make(REGISTRY["_item"], (node,), {"index": k}) for k in every]


def rebuilt(node: Node, operands: Sequence[Node]) -> Node:
    """The node on other operands, at the same line; the node itself if they are its own."""
    if all(map(operator.is_, operands, node.operands)):
        return node
    return make(node.op, operands, node.attrs, node.line)


def holds_bodies(graph: Graph) -> bool:
    return not {n.op.family for n in graph.nodes}.isdisjoint(HOLDERS)


def below(roots: Iterable[Node], ends: Iterable[Node], inside: Collection[Node] | None = None) -> list[Node]:
    """What the roots reach, operands first; not below `ends`, nor outside of the set `inside` if that is given."""
    ends = set(ends)
    order: dict[Node, None] = {}
    opened: set[Node] = set()
    stack = list(reversed(list(roots)))
    while stack:
        node = stack[-1]
        if node in order:
            stack.pop()
        elif node in opened or node in ends or (inside is not None and node not in inside):
            order[stack.pop()] = None
        else:
            opened.add(node)
            stack += [o for o in reversed(node.operands) if o not in opened]
    return list(order)


def depending(order: Iterable[Node], on: Iterable[Node]) -> set[Node]:
    """The nodes, of these in order, that depend on some of `on`, those included."""
    first = set(on)
    found: set[Node] = set()
    for node in order:
        if node in first or any(o in found for o in node.operands):
            found.add(node)
    return found


@dataclass
class Cut:
    """One cut: `bound` maps what stands for a value inside to the slots of the new body.

    `given` tells what slots of an old body stand for outside.  `inside` are the nodes that may belong to the body, all
    if it is None.  With `hoist` what depends on nothing bound is left outside.  Afterwards `operands` are the nodes
    outside that the body reads, and `slots` what stands for them in it.
    """

    bound: Mapping[Node, Node]
    given: Mapping[Node, Node] = field(default_factory=dict)
    inside: Collection[Node] | None = None
    hoist: bool = True
    operands: list[Node] = field(default_factory=list)
    slots: list[Node] = field(default_factory=list)
    _along: set[Node] = field(default_factory=set)  # what goes with the body: computed from positions alone, and cheap
    _entered: dict[Node, Node] = field(default_factory=dict)

    def __call__(self, roots: Sequence[Node]) -> list[Node]:
        """The roots over the slots of the new body."""
        order = below(roots, self.bound.keys() | self.given.keys(), self.inside)
        variant = depending(order, self.bound) if self.hoist else {n for n in order if self._is_inside(n)}
        outer: dict[Node, Node] = {}
        inner: dict[Node, Node] = {}
        for n in order:
            if n in self.bound:
                inner[n] = self.bound[n]
            elif n in variant:
                operands = [inner[o] if o in inner else self._enter(outer[o]) for o in n.operands]
                inner[n] = rebuilt(n, operands)
            elif n in self.given:
                outer[n] = self.given[n]
            else:
                outer[n] = rebuilt(n, [outer[o] for o in n.operands]) if self._is_inside(n) else n
                if _is_cheap(n) and self._along.issuperset(n.operands):
                    self._along.add(n)
        return [inner[n] if n in inner else self._enter(outer[n]) for n in roots]

    def _is_inside(self, node: Node) -> bool:
        if node in self.given or node.op.name in ("input", "parameter"):
            return False
        if node.op.family is Family.ITEM:  # goes where the node goes whose result it is
            return self._is_inside(node.operands[0])
        return self.inside is None or node in self.inside

    def _enter(self, node: Node) -> Node:
        """What stands in the body for a node outside."""
        views = []
        while node not in self._entered and _is_view(node):
            views.append(node)
            node = node.operands[0]
        if node not in self._entered:
            self._entered[node] = node if node in self._along or _is_free(node) else self._slot_of(node)
        found = self._entered[node]
        for view in reversed(views):
            found = self._entered[view] = rebuilt(view, [found])
        return found

    def _slot_of(self, node: Node) -> Node:
        self.operands.append(node)
        self.slots.append(slot(f"given{len(self.slots)}", node.type, node.line))
        return self.slots[-1]


def _is_free(node: Node) -> bool:
    return node.op.name == "constant" or node.op.family is Family.INDEX


def _is_cheap(node: Node) -> bool:
    """Whether a body rather computes the node than reads it, if its operands are at hand."""
    if node.op.family is Family.ELEMENTWISE:
        return not is_dear(node.op.body)
    return _is_free(node) or node.op.family is Family.MOVEMENT


def _is_view(node: Node) -> bool:
    """Movement of one operand, all of whose elements are seen: a view costs a body nothing."""
    if node.op.family is not Family.MOVEMENT or len(node.operands) != 1 or "fill" in node.attrs:
        return False
    return is_nonnegative(node.size - node.operands[0].size)


def renamed(nodes: Sequence[Node], prefix: str) -> list[Node]:
    """Fresh slots in the place of these nodes, called by their number: equal bodies have equal texts."""
    return [slot(f"{prefix}{k}", n.type, n.line) for k, n in enumerate(nodes)]


def substituted(
    roots: Iterable[Node], instead: Mapping[Node, Node], inside: Collection[Node] | None = None
) -> list[Node]:
    """The roots with other nodes in the place of some; only nodes `inside` depend on those, if that is given."""
    roots = list(roots)
    new: dict[Node, Node] = {}
    for n in below(roots, instead.keys(), inside):
        depends = inside is None or n in inside
        new[n] = instead[n] if n in instead else rebuilt(n, [new[o] for o in n.operands]) if depends else n
    return [new[n] for n in roots]
