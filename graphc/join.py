"""Join loops: those that carry the same values run once.

In: any graph.  Out: the same values.  Two loops over the same positions in the same direction, neither of which needs
a result of the other, become one if the carries of one are all carried by the other; so a value and what its gradient
saves share one loop.  Carries that begin alike and move alike are one, and so are equal ys.  Choices by the same
number, neither of which needs a result of the other, are one choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from graphc.graph import Graph, Node, make, with_outputs
from graphc.line import Line
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import holds_bodies, rebuilt, results, slot, substituted
from graphc.ops.choice import branches, choose
from graphc.ops.loop_parts import Loop

Fired = Counter[str]
_JOINED, _ONCE, _CHOSEN = "loops joined", "carried or yielded once", "choices joined"


def join(graph: Graph) -> tuple[Graph, Fired]:
    """The graph with loops joined, in bodies too, and how many were."""
    joiner = _Joiner(set())
    return (joiner.joined(graph) if holds_bodies(graph) else graph), joiner.fired


@dataclass(frozen=True)
class _One:
    """One node for several: `places` has, for each of them, which result of the one each of its results is."""

    declare: Callable[[Line], list[Node]]
    places: Sequence[Sequence[int]]
    count: int  # of results
    classes: Sequence[Sequence[int]] = ()  # for each of several loops, which carry of the one each of its carries is
    inside: Fired = field(default_factory=Counter)  # what was joined in its body


class _Slots:
    """Slots for what stands for the same in several bodies: one of theirs, or a fresh one where nodes share a body."""

    def __init__(self) -> None:
        self.found: dict[Any, Node] = {}
        self.used: set[Node] = set()

    def of(self, key: Any, like: Node) -> Node:
        if key not in self.found:
            self.found[key] = slot("shared", like.type, like.line) if like in self.used else like
            self.used.add(like)
        return self.found[key]


class _Joiner:
    """One joining: bodies that are `settled` hold no more to be joined."""

    def __init__(self, settled: set[Graph]) -> None:
        self.settled, self.fired = settled, Fired()
        self.apart: set[tuple[Node, Node]] = set()

    def joined(self, graph: Graph) -> Graph:
        while pair := self._loops(graph) or self._choices(graph):
            nodes, one = pair
            found = one.declare(nodes[0].line)
            instead = {
                old: found[place]
                for node, places in zip(nodes, one.places, strict=True)
                for old, place in zip(results(node), places, strict=True)
            }
            self.fired += one.inside
            graph = with_outputs(graph, substituted(graph.outputs, instead))
        return self._with_joined_bodies(graph)

    def _with_joined_bodies(self, graph: Graph) -> Graph:
        new: dict[Node, Node] = {}
        for n in graph.nodes:
            new[n] = rebuilt(n, [new[o] for o in n.operands])
            bodies = {k: v for k, v in n.attrs.items() if isinstance(v, Graph) and v not in self.settled}
            if n.op.family in HOLDERS and bodies:
                inner = {k: self._inner(v) for k, v in bodies.items()}
                self.settled.update(inner.values())
                new[n] = make(n.op, new[n].operands, {**n.attrs, **inner}, n.line)
        return with_outputs(graph, [new[o] for o in graph.outputs])

    def _inner(self, body: Graph) -> Graph:
        joiner = _Joiner(self.settled)
        body = joiner.joined(body)
        self.fired += joiner.fired
        return body

    def _loops(self, graph: Graph) -> tuple[Sequence[Node], _One] | None:
        """Loops to be replaced by one: two that go together, or one that carries or yields something twice."""
        loops = [n for n in graph.nodes if n.op.family is Family.LOOP]
        for node in loops:
            if (node, node) not in self.apart:
                self.apart.add((node, node))
                one = self._as_one([Loop.of(node)])
                if one.count < len(node.types):
                    self.fired[_ONCE] += 1
                    return [node], one
        for first, second in _candidates(graph, _alike(loops), self.apart):
            one = self._as_one([Loop.of(first), Loop.of(second)])
            if _go_together(one, first, second):
                self.fired[_JOINED] += 1
                return [first, second], one
        return None

    def _choices(self, graph: Graph) -> tuple[Sequence[Node], _One] | None:
        """Two choices between as many branches by one number, to be replaced by one."""
        alike: dict[Any, list[Node]] = {}
        for n in graph.nodes:
            if n.op.family is Family.CHOICE:
                alike.setdefault((n.operands[0], len(branches(n))), []).append(n)
        for first, second in _candidates(graph, list(alike.values()), self.apart):
            self.fired[_CHOSEN] += 1
            return [first, second], _as_one_choice([first, second])
        return None

    def _as_one(self, loops: Sequence[Loop]) -> _One:
        """The loops over one body.  Carries are taken for one until they are seen to begin or to move differently."""
        index = loops[0].index
        elements, givens = _Slots(), _Slots()
        inits = [init for loop in loops for init in loop.inits]
        classes = _numbered(inits)
        while True:
            inner, carries = _Joiner(self.settled), _Slots()
            place, new, ys = iter(classes), list[Node](), list[Node]()
            for loop in loops:
                same = {loop.index: index}
                same |= {c: carries.of(next(place), c) for c in loop.carries}
                same |= {e: elements.of(array, e) for e, array in zip(loop.elements, loop.arrays, strict=True)}
                same |= {s: givens.of(outer, s) for s, outer in loop.given.items()}
                new += substituted(loop.new, same)
                ys += substituted(loop.ys, same)
            roots = inner.joined(Graph((*new, *ys))).outputs
            new, ys = list(roots[: len(inits)]), list(roots[len(inits) :])
            finer = _numbered(list(zip(classes, new, strict=True)))
            if len(set(finer)) == len(set(classes)):
                break
            classes = finer
        rows = _numbered(ys)
        heads = [classes.index(c) for c in range(len(set(classes)))]
        joined = replace(
            loops[0],
            index=index,
            carries=[carries.found[c] for c in range(len(heads))],
            inits=[inits[k] for k in heads],
            new=[new[k] for k in heads],
            elements=list(elements.found.values()),
            arrays=list(elements.found),
            ys=list(dict.fromkeys(ys)),
            given={s: outer for outer, s in givens.found.items()},
        )
        own, places = [], []
        for loop in loops:
            mine, classes = classes[: len(loop.carries)], classes[len(loop.carries) :]
            stacks, rows = rows[: len(loop.ys)], rows[len(loop.ys) :]
            own.append(mine)
            places.append([*mine, *(len(heads) + r for r in stacks)])
        count = len(heads) + len(joined.ys)
        return _One(lambda line: joined.declare(line=line), places, count, own, inner.fired)


def _as_one_choice(nodes: Sequence[Node]) -> _One:
    """The choice between what the branches of several give together."""
    givens = _Slots()
    columns: list[tuple[Node, ...]] = []
    for node in nodes:
        bodies = []
        for body in branches(node):
            same = {s: givens.of(outer, s) for s, outer in zip(body.inputs, node.operands[1:], strict=True)}
            bodies.append(substituted(body.outputs, same))
        columns += zip(*bodies, strict=True)
    places = _numbered(columns)
    outcomes = list(zip(*dict.fromkeys(columns), strict=True))
    given = {s: outer for outer, s in givens.found.items()}
    count = len(nodes[0].types)
    return _One(
        lambda line: choose(nodes[0].operands[0], outcomes, given, line=line),
        [places[:count], places[count:]],
        len(outcomes[0]),
    )


def _candidates(
    graph: Graph, alike: Sequence[Sequence[Node]], apart: set[tuple[Node, Node]]
) -> Iterator[tuple[Node, Node]]:
    """Pairs of nodes that are alike, not known to stay apart, of which the second needs no result of the first."""
    likely = [pair for same in alike for pair in combinations(same, 2) if pair not in apart]
    needs = _needs(graph, list(dict.fromkeys(n for pair in likely for n in pair)))
    for first, second in likely:
        apart.add((first, second))
        if first not in needs[second]:
            yield first, second


def _alike(loops: Sequence[Node]) -> list[list[Node]]:
    """Loops with the same positions that have a first carry in common, or an array where they carry nothing."""
    found: dict[Any, list[Node]] = {}
    for node in loops:
        loop = Loop.of(node)
        for begun in dict.fromkeys(loop.inits or loop.arrays):
            found.setdefault((loop.length, loop.reverse, loop.again, not loop.inits, begun), []).append(node)
    return list(found.values())


def _needs(graph: Graph, nodes: Sequence[Node]) -> dict[Node, set[Node]]:
    """Which of the nodes each of them needs results of."""
    number = {node: k for k, node in enumerate(nodes)}
    found: dict[Node, int] = {}  # a bit for each of them
    for n in graph.nodes if nodes else ():
        bits = 0
        for o in n.operands:
            bits |= found[o] | (1 << number[o] if o in number else 0)
        found[n] = bits
    return {node: {other for other, k in number.items() if found[node] >> k & 1} for node in nodes}


def _go_together(one: _One, first: Node, second: Node) -> bool:
    mine, others = map(set, one.classes)
    if mine or others:
        return bool(mine & others) and (mine <= others or others <= mine)
    arrays = [set(Loop.of(node).arrays) for node in (first, second)]
    return bool(arrays[0] & arrays[1])


def _numbered(values: Sequence[Any]) -> list[int]:
    """The number of each value among those that differ, in the order of their coming."""
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(v, len(numbers)) for v in values]
