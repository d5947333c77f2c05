"""Trim loops and choices: what nobody reads goes, and what is the same at every step leaves.

In: any graph.  Out: the same values, with loops that carry and yield what is read only.  A carry that keeps its value
is a node outside, a y that is an element is the array, a y that never changes is broadcast, an element that is always
the same is given, a choice whose number is known is the branch.  Bodies are cut again, so that what became invariant
is computed outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.declare import BUILDER
from graphc.graph import Graph, Node, with_outputs
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import below, depending, holds_bodies, rebuilt, substituted
from graphc.ops.choice import branches, choose
from graphc.ops.loop_parts import Loop
from graphc.ops.while_loop import While
from graphc.rewrite import below as below_ops
from graphc.rewrite import filled

Fired = Counter[str]
Mapped = Mapping[Node, Node]


@dataclass(frozen=True)
class _Plan:
    """What becomes of a node that holds bodies: `reads` are the nodes outside that its results need.

    `declare(new)` gives the results, by number, where `new` has what became of the nodes outside.
    """

    reads: Sequence[Node]
    declare: Callable[[Mapped], dict[int, Node]]


def trim(graph: Graph) -> tuple[Graph, Fired]:
    """The graph with trimmed loops and choices, and what was done how often."""
    fired: Fired = Counter()
    return (_trimmed(graph, fired) if holds_bodies(graph) else graph), +fired


def _trimmed(graph: Graph, fired: Fired) -> Graph:
    plans = _plans(graph, fired)
    new: dict[Node, Node] = {}
    found: dict[Node, dict[int, Node]] = {}
    for n in graph.nodes:
        if n in plans:
            found[n] = plans[n].declare(new)
            if len(n.types) == 1:
                new[n] = found[n][0]
        elif n.op.family is Family.ITEM and n.operands[0].op.family in HOLDERS:
            if n.attrs["index"] in found.get(n.operands[0], ()):
                new[n] = found[n.operands[0]][n.attrs["index"]]
        elif all(o in new for o in n.operands):
            new[n] = rebuilt(n, [new[o] for o in n.operands])
    return with_outputs(graph, [new[o] for o in graph.outputs])


def _plans(graph: Graph, fired: Fired) -> dict[Node, _Plan]:
    """A plan for each node that holds bodies and is needed, found from the outputs on."""
    plans: dict[Node, _Plan] = {}
    needed = set(graph.outputs)
    wanted: dict[Node, set[int]] = {}
    for n in reversed(graph.nodes):
        if n not in needed:
            continue
        if n.op.family in HOLDERS:
            plans[n] = _PLANNERS[n.op.family](n, wanted.get(n, {0}), fired)
            needed.update(plans[n].reads)
            continue
        if n.op.family is Family.ITEM:
            wanted.setdefault(n.operands[0], set()).add(n.attrs["index"])
        needed.update(n.operands)
    return plans


def _inner(roots: Sequence[Node], fired: Fired) -> list[Node]:
    graph = Graph(tuple(roots))
    return list(_trimmed(graph, fired).outputs) if holds_bodies(graph) else list(roots)


def _reached(roots: Iterable[Node]) -> set[Node]:
    return set(below(roots, ()))


def _read_among(slots: Sequence[Node], roots: Sequence[Node]) -> set[int]:
    """The numbers of the slots that the roots read."""
    reached = _reached(roots)
    return {k for k, s in enumerate(slots) if s in reached}


def _picked(values: Sequence[Node], kept: Sequence[int]) -> list[Node]:
    return [values[k] for k in kept]


# Loops over positions.


def _plan_loop(node: Node, wanted: set[int], fired: Fired) -> _Plan:
    loop, count = Loop.of(node), node.attrs["carries"]
    finals = sorted(k for k in wanted if k < count)
    ys = sorted(k - count for k in wanted if k >= count)
    fired["unwanted y"] += len(loop.ys) - len(ys)
    loop = replace(loop, ys=_picked(loop.ys, ys))
    loop, kept, stays = _without_idle_carries(loop, finals, fired)
    fired["unread carry"] += count - len(kept) - len(stays)
    loop, moved = _without_plain_ys(loop, fired)
    left = [k for k in range(len(ys)) if k not in moved]
    read = _reached([*loop.new, *loop.ys])
    used = [k for k, e in enumerate(loop.elements) if e in read]
    fired["unread array"] += len(loop.elements) - len(used)
    still = {loop.elements[k]: one for k in used if (one := _same_everywhere(loop.arrays[k])) is not None}
    fired["element that stays"] += len(still)
    used = [k for k in used if loop.elements[k] not in still]
    loop = replace(loop, elements=_picked(loop.elements, used), arrays=_picked(loop.arrays, used))
    outside = {**{k: stays[k] for k in finals if k in stays}, **{count + ys[k]: v for k, v in moved.items()}}
    numbers = [*kept, *(count + ys[k] for k in left)]
    givens = [outer for s, outer in loop.given.items() if s in read]

    def declare(new: Mapped) -> dict[int, Node]:
        found = replace(
            loop,
            inits=[new[n] for n in loop.inits],
            arrays=[new[n] for n in loop.arrays],
            given={s: new[n] for s, n in loop.given.items() if s in read}
            | {s: _every_element(new[one], axes, s) for s, (one, axes) in still.items()},
        ).declare(line=node.line)
        results = dict(zip(numbers, found, strict=True))
        return results | {k: substituted([n], new)[0] for k, n in outside.items()}

    operands = set(node.operands)
    seen = [n for n in below(outside.values(), operands) if n in operands]
    return _Plan([*loop.inits, *loop.arrays, *givens, *seen, *(one for one, _ in still.values())], declare)


def _same_everywhere(array: Node) -> tuple[Node, Sequence[int]] | None:
    """What an array has along its first axis again and again, and which of its axes the others are, below 0 if none.

    None if it has not.
    """
    one = below_ops(array, ("broadcast_to", "reshape", "permute_dims"))
    if one is not array and one.size == 1:
        return one, ()
    spread, axes = (array.operands[0], array.attrs["axes"]) if array.op.name == "permute_dims" else (array, None)
    if spread.op.name != "broadcast_to":
        return None
    (source,) = spread.operands
    more = spread.ndim - source.ndim
    first, *rest = range(spread.ndim) if axes is None else axes
    return (source, [k - more for k in rest]) if first < more or source.shape[first - more] == 1 else None


def _every_element(source: Node, axes: Sequence[int], slot: Node) -> Node:
    """What the slot of an element stands for, where the array has its axes at every position."""
    left = [k for k in range(source.ndim) if k not in axes]  # of length 1
    turned = BUILDER.permute_dims(source, (*left, *(k for k in axes if k >= 0)))
    shape = tuple(source.shape[k] if k >= 0 else 1 for k in axes)
    element: Node = BUILDER.broadcast_to(BUILDER.reshape(turned, shape), slot.shape)
    return element


def _without_idle_carries(loop: Loop, finals: Sequence[int], fired: Fired) -> tuple[Loop, list[int], dict[int, Node]]:
    """The loop without carries that are not read or keep their values, those that are left, and the values kept.

    Carries are added as they are found to be read: of inner loops only what those need is looked at.
    """
    stays: dict[int, Node] = {}
    kept = set(finals)
    while True:
        numbers = sorted(kept)
        inside: Fired = Counter()
        roots = _inner([*_picked(loop.new, numbers), *loop.ys], inside)
        idle = {k for k, new in zip(numbers, roots, strict=False) if new is loop.carries[k]}
        read = _read_among(loop.carries, roots) - kept - stays.keys()
        if not idle and not read:
            break
        stays |= {k: loop.inits[k] for k in idle}
        kept = (kept | read) - idle
    fired.update(inside)
    fired["carry that stays"] += len(stays)
    left = replace(
        loop,
        carries=_picked(loop.carries, numbers),
        inits=_picked(loop.inits, numbers),
        new=roots[: len(numbers)],
        ys=roots[len(numbers) :],
        given={**loop.given, **{loop.carries[k]: init for k, init in stays.items()}},
    )
    return left, numbers, stays


def _without_plain_ys(loop: Loop, fired: Fired) -> tuple[Loop, dict[int, Node]]:
    """The loop without ys that are elements or never change, and the nodes outside that stand for those."""
    arrays = dict(zip(loop.elements, loop.arrays, strict=True))
    variant = depending(below(loop.ys, ()), {loop.index, *loop.carries, *loop.elements})
    moved: dict[int, Node] = {}
    for k, y in enumerate(loop.ys):
        shape = (loop.length, *y.shape)
        if y in arrays and arrays[y].shape == shape:
            moved[k] = arrays[y]
            fired["y that is an element"] += 1
        elif y not in variant:
            moved[k] = BUILDER.broadcast_to(substituted([y], loop.given)[0], shape)
            fired["y that stays"] += 1
    return replace(loop, ys=[y for k, y in enumerate(loop.ys) if k not in moved]), moved


# Loops with a condition, and choices.


def _plan_while(node: Node, wanted: set[int], fired: Fired) -> _Plan:
    loop, found = While.of(node), set(wanted)
    while True:
        kept, inside = sorted(found), Counter[str]()
        condition, *new = _inner([loop.condition, *_picked(loop.new, kept)], inside)
        if not (more := _read_among(loop.carries, [condition, *new]) - found):
            break
        found |= more
    fired.update(inside)
    fired["unread carry"] += len(loop.carries) - len(kept)
    read = _reached([condition, *new])
    inits = _picked(loop.inits, kept)
    carries = _picked(loop.carries, kept)
    given = {s: n for s, n in loop.given.items() if s in read}

    def declare(mapped: Mapped) -> dict[int, Node]:
        outer = {s: mapped[n] for s, n in given.items()}
        left = While(carries, [mapped[n] for n in inits], condition, new, loop.bound, outer)
        return dict(zip(kept, left.declare(line=node.line), strict=True))

    return _Plan([*inits, *given.values()], declare)


def _plan_choice(node: Node, wanted: set[int], fired: Fired) -> _Plan:
    which, *givens = node.operands
    bodies, kept = branches(node), sorted(wanted)
    known = filled(which)
    if known is not None:
        taken = bodies[min(max(known, 0), len(bodies) - 1)]
        fired["known choice"] += 1
        return _plan_branch(taken, givens, kept, fired)
    fired["unwanted result"] += len(node.types) - len(kept)
    outcomes = [_inner(_picked(body.outputs, kept), fired) for body in bodies]
    read = _reached(n for outcome in outcomes for n in outcome)
    given = {s: n for body in bodies for s, n in zip(body.inputs, givens, strict=True) if s in read}

    def declare(new: Mapped) -> dict[int, Node]:
        found = choose(new[which], outcomes, {s: new[n] for s, n in given.items()}, line=node.line)
        return dict(zip(kept, found, strict=True))

    return _Plan([which, *given.values()], declare)


def _plan_branch(body: Graph, givens: Sequence[Node], kept: Sequence[int], fired: Fired) -> _Plan:
    """The branch that is always taken, in the place of the choice."""
    outcome = _inner(_picked(body.outputs, kept), fired)
    read = _reached(outcome)
    given = {s: n for s, n in zip(body.inputs, givens, strict=True) if s in read}

    def declare(new: Mapped) -> dict[int, Node]:
        return dict(zip(kept, substituted(outcome, {s: new[n] for s, n in given.items()}), strict=True))

    return _Plan(list(given.values()), declare)


_PLANNERS = {Family.LOOP: _plan_loop, Family.WHILE: _plan_while, Family.CHOICE: _plan_choice}
