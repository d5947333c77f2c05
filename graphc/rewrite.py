"""The rewrite engine: a table of rules, and one walk that applies them until none fires.

In: a graph and rules.  Out: the graph in its normal form, and how often each rule fired.  A rule looks at a node and at
what is below it, never at its users, so a node whose operands are settled has to be settled once only.  Nodes are
hash-consed: rebuilding on equal operands gives the same node, and common subexpressions are merged by construction.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.declare import BUILDER, Builder
from graphc.dims import is_positive, product, same
from graphc.graph import Graph, Node, make, map_graph, with_outputs
from graphc.line import standing_at
from graphc.literal import Identity
from graphc.op import REGISTRY, Family
from graphc.ops.bodies import rebuilt
from graphc.types import Shape

ANY = "*"  # the op of a rule that looks at every node
FILLED = "constant broadcast_to reshape"  # ops of which a node may be that is known to be one value
_STEPS_PER_NODE = 1000  # far more than any terminating table takes


@dataclass(frozen=True)
class Rule:
    """`apply(b, node)` gives what stands for a node of the op, or None where the rule does not fit; `says` is why.

    `op` is a name, a family, or ANY.  `over` names ops, of which an operand must be one; without names, any may be.
    """

    name: str
    op: str | Family
    apply: Callable[[Builder, Node], Node | None]
    says: str
    over: str = ""


def rewrite(graph: Graph, rules: Sequence[Rule], keep: Collection[Node] = ()) -> tuple[Graph, Counter[str]]:
    """The graph in which no rule fires any more, and the number of times that each rule fired, by name.

    Nodes in `keep` stay as they are, with what is below them: no rule looks through them.
    """
    return kept_apart(graph, keep, lambda seen: _settled(seen, rules))


def _settled(graph: Graph, rules: Sequence[Rule]) -> tuple[Graph, Counter[str]]:
    walk = _Walk(rules, bound=_STEPS_PER_NODE * len(graph.nodes))
    for node in graph.nodes:  # operands first, so that only what rules make waits for others
        walk.settle(node)
    return with_outputs(graph, [walk.settled[o] for o in graph.outputs]), walk.fired


def kept_apart(
    graph: Graph, keep: Collection[Node], change: Callable[[Graph], tuple[Graph, Counter[str]]]
) -> tuple[Graph, Counter[str]]:
    """What `change` makes of the graph, where nodes in `keep` are leaves that it can't look into."""
    hidden = {n: _stand_in(n) for n in keep if n.operands or n.op.name == "constant"}
    changed, fired = change(_replaced(graph, hidden))
    return _replaced(changed, {stand_in: n for n, stand_in in hidden.items()}), fired


def _stand_in(node: Node) -> Node:
    """A leaf of the node's type, which no rule can look into."""
    return make(REGISTRY["input"], (), {"name": "kept", "type": node.type, "identity": Identity()})


def _replaced(graph: Graph, instead: dict[Node, Node]) -> Graph:
    """The graph with other nodes for some, whose operands are then not looked at."""
    if not instead:
        return graph
    return map_graph(graph, lambda old, operands: instead[old] if old in instead else rebuilt(old, operands))


class _Table:
    """Rules by what they look at, so that a node meets those only that may fit it."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.by_op: dict[str | Family | None, list[Rule]] = {}
        for rule in rules:
            self.by_op.setdefault(rule.op, []).append(rule)
        self.found: dict[tuple[str, frozenset[str]], list[Rule]] = {}

    def fitting(self, node: Node) -> list[Rule]:
        """The rules for a node of this op on operands of these ops, in their order: the op's own come first."""
        op = node.op
        key = (op.name, frozenset([o.op.name for o in node.operands]))
        rules = self.found.get(key)
        if rules is None:
            every = [rule for place in (op.name, op.family, ANY) for rule in self.by_op.get(place, ())]
            rules = self.found[key] = [r for r in every if not r.over or not key[1].isdisjoint(r.over.split())]
        return rules


class _Walk:
    """One rewriting: the normal forms found so far, and for open nodes what they were rewritten to."""

    def __init__(self, rules: Sequence[Rule], bound: int) -> None:
        self.rules, self.bound, self.steps = rules, bound, 0
        self.table = _Table(rules)
        self.settled: dict[Node, Node] = {}
        self.became: dict[Node, Node] = {}
        self.fired: Counter[str] = Counter()

    def settle(self, root: Node) -> None:
        """Find the normal form of a node.  The stack is a list: a graph may be deeper than Python's."""
        settled, stack = self.settled, [root]
        while stack:
            self.steps += 1
            assert self.steps <= self.bound, f"rewriting does not end; rules that fired: {self.fired.most_common(4)}"
            node = stack[-1]
            if node in settled:
                stack.pop()
            elif waiting := self._advance(node):
                stack += waiting
            else:
                stack.pop()

    def _advance(self, node: Node) -> list[Node]:
        """Settle the node, or tell which nodes have to be settled before it can be."""
        settled, became = self.settled, self.became
        after = became.get(node)
        if after is None:
            waiting = [o for o in node.operands if o not in settled]
            if waiting:
                return waiting
            same = rebuilt(node, [settled[o] for o in node.operands])
            after = became[node] = became[same] if same in became else self._step(same)
            became[same] = after
            if after is same:
                settled[same] = same
        if after not in settled:
            return [after]
        settled[node] = settled[after]
        return []

    def _step(self, node: Node) -> Node:
        """What the first rule that fits makes of a node on settled operands, else the node itself."""
        rules = self.table.fitting(node)
        if rules:
            with standing_at(node.line):
                for rule in rules:
                    result = rule.apply(BUILDER, node)
                    if isinstance(result, Node) and result is not node:
                        self.fired[rule.name] += 1
                        return _named_as(node, result, rule)
        return self._with_settled_graphs(node) if node.attrs else node

    def _with_settled_graphs(self, node: Node) -> Node:
        """The node with the graphs that it holds rewritten as well; their inputs stay."""
        held = {k: v for k, v in node.attrs.items() if isinstance(v, Graph)}
        if not held:
            return node
        inner = {k: rewrite(v, self.rules) for k, v in held.items()}
        if all(graph is held[k] for k, (graph, _) in inner.items()):
            return node
        for _, fired in inner.values():
            self.fired += fired
        attrs = {**node.attrs, **{k: graph for k, (graph, _) in inner.items()}}
        return make(node.op, node.operands, attrs, node.line)


def _named_as(node: Node, result: Node, rule: Rule) -> Node:
    """The result of a rule with the node's own names for its dimensions, where equal symbols have two."""
    if result.types == node.types:
        return result
    fits = [t.dtype for t in result.types] == [node.dtype] and result.ndim == node.ndim
    fits = fits and not any(same(p, q) is False for p, q in zip(result.shape, node.shape, strict=True))
    assert fits, f"rule {rule.name!r} made {result.types} of {node.types}"
    renamed: Node = BUILDER.reshape(result, node.shape)
    return renamed


# What rules look for.


def argument(node: Node, name: str) -> Node | None:
    """The operand of a node of the unary op `name`, else None."""
    return node.operands[0] if node.op.name == name else None


def below(node: Node, names: Iterable[str]) -> Node:
    """What is below a chain of unary nodes of these ops."""
    while node.op.name in names:
        node = node.operands[0]
    return node


def filled(node: Node) -> Any:
    """The one value that every element of a node has, as a Python number; None where that is not known."""
    source = below(node, ("broadcast_to", "reshape"))
    if source.op.name != "constant":
        return None
    array = source.attrs["value"].array
    return array.item() if array.size == 1 else None


def is_filled(node: Node, value: float) -> bool:
    """Whether every element of a node is known to be `value`; zeros must agree in their sign."""
    found = filled(node)
    return found is not None and found == value and math.copysign(1, found) == math.copysign(1, value)


def scaled_along(node: Node, axes: Sequence[int]) -> tuple[Node, Node] | None:
    """What a product or quotient multiplies or divides by something that is the same along the axes, and that."""
    if node.op.name not in ("multiply", "divide"):
        return None
    x, y = node.operands
    for whole, scale in ((x, y), (y, x)) if node.op.name == "multiply" else ((x, y),):
        missing = node.ndim - scale.ndim
        if whole.shape == node.shape and all(k < missing or scale.shape[k - missing] == 1 for k in axes):
            return whole, scale
    return None


def if_some(total: Node, shape: Shape, axes: Sequence[int]) -> Node:
    """A scaled sum over axes of an array of the shape: of nothing it is 0, where what scales it is infinite, too."""
    lengths = [shape[k] for k in axes]
    if all(map(is_positive, lengths)):
        return total
    some = BUILDER.greater(BUILDER.convert(product(lengths)), 0)
    guarded: Node = BUILDER.where(some, total, 0)
    return guarded
