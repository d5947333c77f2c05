"""Join loops: those that carry the same values run once.

In: any graph.  Out: the same values.  Two loops over the same positions in the same direction, neither of which needs
a result of the other, become one if the carries of one are all carried by the other; so a value and what its gradient
saves share one loop.  Carries that begin alike and move alike are one, and so are equal ys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from graphc.graph import Graph, Node, make, with_outputs
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import holds_bodies, results, substituted
from graphc.ops.loop_parts import Loop

Fired = Counter[str]
_JOINED, _ONCE = "loops joined", "carried or yielded once"


def join(graph: Graph) -> tuple[Graph, Fired]:
    """The graph with loops joined, in bodies too, and how many were."""
    fired: Fired = Counter()
    return (_joined(graph, fired) if holds_bodies(graph) else graph), fired


def _joined(graph: Graph, fired: Fired) -> Graph:
    graph = _with_joined_bodies(graph, fired)
    apart: set[tuple[Node, Node]] = set()
    while pair := _pair(graph, apart, fired):
        nodes, one = pair
        found = one.loop.declare(line=nodes[0].line)
        instead = {
            old: found[place]
            for node, places in zip(nodes, one.places, strict=True)
            for old, place in zip(results(node), places, strict=True)
        }
        graph = with_outputs(graph, substituted(graph.outputs, instead))
    return graph


def _with_joined_bodies(graph: Graph, fired: Fired) -> Graph:
    new: dict[Node, Node] = {}
    for n in graph.nodes:
        attrs = n.attrs
        if n.op.family in HOLDERS:
            attrs = {k: _joined(v, fired) if isinstance(v, Graph) else v for k, v in attrs.items()}
        new[n] = make(n.op, [new[o] for o in n.operands], attrs, n.line)
    return with_outputs(graph, [new[o] for o in graph.outputs])


@dataclass(frozen=True)
class _One:
    """One loop for several: `places` has, for each of them, which result of the loop each of its results is."""

    loop: Loop
    places: Sequence[Sequence[int]]
    classes: Sequence[Sequence[int]]  # for each of them, which carry of the loop each of its carries is


def _pair(graph: Graph, apart: set[tuple[Node, Node]], fired: Fired) -> tuple[Sequence[Node], _One] | None:
    """Loops to be replaced by one: two that go together, or one that carries or yields something twice."""
    loops = [n for n in graph.nodes if n.op.family is Family.LOOP]
    for node in loops:
        if (node, node) not in apart:
            apart.add((node, node))
            one = _as_one([Loop.of(node)])
            if len(one.loop.carries) + len(one.loop.ys) < len(node.types):
                fired[_ONCE] += 1
                return [node], one
    likely = [pair for same in _alike(loops) for pair in combinations(same, 2) if pair not in apart]
    needs = _needs(graph, loops) if likely else {}
    for first, second in likely:
        apart.add((first, second))
        if first in needs[second]:
            continue
        one = _as_one([Loop.of(first), Loop.of(second)])
        if _go_together(one, first, second):
            fired[_JOINED] += 1
            return [first, second], one
    return None


def _alike(loops: Sequence[Node]) -> list[list[Node]]:
    """Loops with the same positions that have a first carry in common, or an array where they carry nothing."""
    found: dict[Any, list[Node]] = {}
    for node in loops:
        loop = Loop.of(node)
        for begun in dict.fromkeys(loop.inits or loop.arrays):
            found.setdefault((loop.length, loop.reverse, loop.again, not loop.inits, begun), []).append(node)
    return list(found.values())


def _needs(graph: Graph, loops: Sequence[Node]) -> dict[Node, set[Node]]:
    """The loops that each loop needs results of."""
    number = {node: k for k, node in enumerate(loops)}
    found: dict[Node, int] = {}  # a bit for each loop
    for n in graph.nodes:
        bits = 0
        for o in n.operands:
            bits |= found[o] | (1 << number[o] if o in number else 0)
        found[n] = bits
    return {node: {other for other, k in number.items() if found[node] >> k & 1} for node in loops}


def _go_together(one: _One, first: Node, second: Node) -> bool:
    mine, others = map(set, one.classes)
    if mine or others:
        return bool(mine & others) and (mine <= others or others <= mine)
    arrays = [set(Loop.of(node).arrays) for node in (first, second)]
    return bool(arrays[0] & arrays[1])


def _as_one(loops: Sequence[Loop]) -> _One:
    """The loops over one body.  Carries are taken for one until they are seen to begin or to move differently."""
    first = loops[0]
    elements: dict[Node, Node] = {}  # by array
    givens: dict[Node, Node] = {}  # by node outside
    shared: list[dict[Node, Node]] = []
    for loop in loops:
        same = {loop.index: first.index}
        same |= {e: elements.setdefault(a, e) for e, a in zip(loop.elements, loop.arrays, strict=True)}
        shared.append(same | {s: givens.setdefault(outer, s) for s, outer in loop.given.items()})
    inits = [init for loop in loops for init in loop.inits]
    carries = [carry for loop in loops for carry in loop.carries]
    classes = _numbered(inits)
    while True:
        leaders = {c: carries[k] for k, c in reversed(list(enumerate(classes)))}
        led = dict(zip(carries, (leaders[c] for c in classes), strict=True))
        new = [n for loop, same in zip(loops, shared, strict=True) for n in substituted(loop.new, same | led)]
        finer = _numbered(list(zip(classes, new, strict=True)))
        if len(set(finer)) == len(set(classes)):
            break
        classes = finer
    ys = [y for loop, same in zip(loops, shared, strict=True) for y in substituted(loop.ys, same | led)]
    rows = _numbered(ys)
    heads = [classes.index(c) for c in range(len(leaders))]
    joined = replace(
        first,
        carries=[carries[k] for k in heads],
        inits=[inits[k] for k in heads],
        new=[new[k] for k in heads],
        elements=list(elements.values()),
        arrays=list(elements),
        ys=list(dict.fromkeys(ys)),
        given={s: outer for outer, s in givens.items()},
    )
    own, places = [], []
    for loop in loops:
        mine, classes = classes[: len(loop.carries)], classes[len(loop.carries) :]
        stacks, rows = rows[: len(loop.ys)], rows[len(loop.ys) :]
        own.append(mine)
        places.append([*mine, *(len(heads) + r for r in stacks)])
    return _One(joined, places, own)


def _numbered(values: Sequence[Any]) -> list[int]:
    """The number of each value among those that differ, in the order of their coming."""
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(v, len(numbers)) for v in values]
