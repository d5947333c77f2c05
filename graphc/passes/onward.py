"""Sums go on: a loop that adds up from zeros, and whose sum is added to something then, begins as that instead.

In: an optimised graph.  Out: the same values up to rounding.  The cotangent of an array that loops within loops read
is such a sum at each level; so the innermost adds to one array, and no level makes zeros and adds arrays up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from graphc.graph import Graph, Node, make, with_outputs
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import depending, holds_bodies
from graphc.ops.loop_parts import Loop
from graphc.rewrite import is_filled

Fired = Counter[str]
_FAR = 1_000  # nodes that are looked at to see what a node depends on; beyond them it may depend on anything


def onward(graph: Graph) -> tuple[Graph, Fired]:
    """The graph whose loops begin as what their sums are added to, and how many sums there were."""
    fired: Fired = Counter()
    return (_continued(graph, fired) if holds_bodies(graph) else graph), fired


def _continued(graph: Graph, fired: Fired) -> Graph:
    plan = _Plan(graph)
    fired["sum that goes on"] += len(plan.instead)
    new: dict[Node, Node] = {}
    for n in plan.order():
        needs = [new[o] for o in plan.needs(n)]
        if n in plan.instead:
            new[n] = needs[0]
            continue
        attrs = {k: _continued(v, fired) if isinstance(v, Graph) else v for k, v in n.attrs.items()}
        same = all(a is b for a, b in zip(needs, n.operands, strict=True)) and n.op.family not in HOLDERS
        new[n] = n if same else make(n.op, needs, attrs, n.line)
    return with_outputs(graph, [new[o] for o in graph.outputs])


class _Plan:
    """`instead` has for an addition the sum that takes its place, `inits` what carries of loops begin as by then."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.instead: dict[Node, Node] = {}
        self.inits: defaultdict[Node, dict[int, Node]] = defaultdict(dict)
        outputs = set(graph.outputs)
        for node in graph.nodes:
            if node.op.name == "add" and node.dtype.is_float:
                for total, other in (node.operands, node.operands[::-1]):
                    alone = len(graph.users[total]) == 1 and total is not other and total not in outputs
                    if alone and total.type == other.type == node.type and self._goes_on(node, total, other):
                        break

    def needs(self, node: Node) -> Sequence[Node]:
        """What the new node is made of."""
        if node in self.instead:
            return (self.instead[node],)
        inits = self.inits.get(node, {})
        return [inits.get(k, o) for k, o in enumerate(node.operands)]

    def order(self) -> list[Node]:
        """The nodes, each after what it needs."""
        found: dict[Node, None] = {}
        opened: set[Node] = set()
        stack = list(reversed(self.graph.outputs))
        while stack:
            node = stack[-1]
            if node in found or node in opened:
                found[stack.pop()] = None
            else:
                opened.add(node)
                stack += [o for o in reversed(self.needs(node)) if o not in opened]
        return list(found)

    def _goes_on(self, node: Node, total: Node, other: Node) -> bool:
        """Have the loop that makes a total begin as what it is added to, if the total is a sum from zeros on."""
        final = _final(total)
        if final is None or not is_filled(final[0].operands[final[1]], 0):
            return False
        loop, carry = final
        if not _adds_up(loop, carry) or self._may_depend(other, loop):
            return False
        self.instead[node], self.inits[loop][carry] = total, other
        return True

    def _may_depend(self, node: Node, on: Node) -> bool:
        stack, seen = [node], {node}
        while stack and len(seen) <= _FAR:
            found = stack.pop()
            if found is on:
                return True
            new = [o for o in self.needs(found) if o not in seen]
            seen.update(new)
            stack += new
        return bool(stack)


def _final(node: Node) -> tuple[Node, int] | None:
    """The loop of which a node is a carry at the end, and the number of that carry."""
    item = node.op.family is Family.ITEM
    loop, number = (node.operands[0], node.attrs["index"]) if item else (node, 0)
    return (loop, number) if loop.op.family is Family.LOOP and number < loop.attrs["carries"] else None


def _adds_up(loop: Node, number: int) -> bool:
    """Whether each step adds to a carry, and nothing else is made of it."""
    parts = Loop.of(loop)
    body, carry, node = Graph((*parts.new, *parts.ys)), parts.carries[number], parts.new[number]
    outputs, on_way = Counter(body.outputs), depending(body.nodes, {parts.carries[number]})
    while node is not carry:
        if outputs[node] + len(body.users.get(node, ())) > 1:
            return False
        source, among = _added_to(node)
        before = [o for o in among if o in on_way]
        if len(before) != 1 or sum(o in on_way for o in source.operands) != 1:
            return False
        node = before[0]
    return not outputs[carry] and len(body.users.get(carry, ())) == 1


def _added_to(node: Node) -> tuple[Node, Sequence[Node]]:
    """What makes a node, and those of its operands to any of which it adds something."""
    final = _final(node)
    if final is not None and _adds_up(*final):
        return final[0], [final[0].operands[final[1]]]
    if node.op.name == "add":
        return node, [o for o in node.operands if o.type == node.type]
    return node, node.operands[:1] if node.op.name == "_scatter" and node.attrs["combine"] == "add" else ()
