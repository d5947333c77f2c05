"""The record of choices: several branches, of which one runs.

A choice node holds the bodies `branch0`, `branch1` ..., all with the same inputs and the same types of outputs; its
operands are (number of the branch, givens).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from graphc.errors import DeclarationError
from graphc.graph import Graph, Node, make
from graphc.line import Line
from graphc.op import REGISTRY, Attrs, Family, Op, register
from graphc.ops.bodies import Cut, below, depending, results, slot, substituted
from graphc.ops.loop_parts import POSITION, check_slots, constraints_of
from graphc.ops.save import worth_saving
from graphc.types import Constraint, TensorType

Types = tuple[TensorType, ...]


def branches(node: Node) -> list[Graph]:
    """The bodies of a choice, in order."""
    return [node.attrs[f"branch{k}"] for k in range(len(node.attrs))]


def choose(
    which: Node,
    outcomes: Sequence[Sequence[Node]],
    given: Mapping[Node, Node],
    inside: Collection[Node] | None = None,
    line: Line | None = None,
) -> list[Node]:
    """The results of the node that chooses between these outcomes, one sequence a branch.

    `given` tells what slots stand for outside.  `inside` are the nodes that may belong to a branch, all if it is None.
    """
    if not outcomes[0]:
        return []
    cut = Cut({}, given, inside, hoist=False)
    roots = cut([root for outcome in outcomes for root in outcome])
    count = len(outcomes[0])
    bodies = (Graph(tuple(roots[k : k + count]), tuple(cut.slots)) for k in range(0, len(roots), count))
    attrs = {f"branch{k}": body for k, body in enumerate(bodies)}
    return results(make(REGISTRY["_choice"], (which, *cut.operands), attrs, line))


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    bodies = [attrs[f"branch{k}"] for k in range(len(attrs))]
    if types[0] != POSITION:
        raise DeclarationError(f"a branch is chosen by its number, an int64 scalar, got {types[0]}")
    for body in bodies:
        check_slots(body, types[1:])
    outcomes = [tuple(o.type for o in body.outputs) for body in bodies]
    for k, outcome in enumerate(outcomes):
        if outcome != outcomes[0]:
            text = [", ".join(map(str, o)) for o in (outcomes[0], outcome)]
            raise DeclarationError(f"branch 0 gives {text[0]}, branch {k} gives {text[1]}")
    found += constraints_of(*bodies)
    return outcomes[0]


def _run(which: Any, *givens: Any, **bodies: Any) -> Any:
    taken = bodies[f"branch{min(max(int(which), 0), len(bodies) - 1)}"]
    found = taken(*givens)
    return found if len(found) > 1 else found[0]


def _adjoint(b: Any, g: Any, y: Any, which: Node, *givens: Node, wanted: Sequence[bool], **attrs: Any) -> Any:
    """The choice between the adjoints of the branches.

    What they read of the forward branches is saved or computed again, as for loops; a choice of its own yields what is
    saved, with zeros in the other branches.
    """
    node = y if isinstance(y, Node) else y[0].operands[0]
    bodies = branches(node)
    along = [(k, c) for k, c in enumerate(g if isinstance(g, tuple) else (g,)) if c is not None]
    seeds = [slot("cotangent", c.type) for _, c in along]
    found: list[dict[int, Node]] = []
    given: dict[Node, Node] = dict(zip(seeds, (c for _, c in along), strict=True))
    for body in bodies:
        given |= dict(zip(body.inputs, givens, strict=True))
        ends = [(body.outputs[k], s) for (k, _), s in zip(along, seeds, strict=True)]
        slots = {s: k for k, s in enumerate(body.inputs) if wanted[k + 1] and s.dtype.is_float}
        found.append({slots[s]: c for s, c in b.pull_back(ends, list(slots)).items()})
    reached = sorted(set().union(*found))
    roots = [[own[k] if k in own else _zeros(b, givens[k]) for k in reached] for own in found]
    saved = [_saved(body, outcome, seeds) for body, outcome in zip(bodies, roots, strict=True)]
    rows = choose(which, [_in_turn(b, saved, k) for k in range(len(bodies))], given)
    stands = [slot("saved", r.type) for r in rows]
    given |= dict(zip(stands, rows, strict=True))
    left = iter(stands)
    outcomes = [substituted(o, {n: next(left) for n in own}) for o, own in zip(roots, saved, strict=True)]
    by_number = dict(zip(reached, choose(which, outcomes, given), strict=True))
    return (None, *(by_number.get(k) for k in range(len(givens))))


def _zeros(b: Any, like: Node) -> Node:
    zeros: Node = b.zeros(like.shape, dtype=like.dtype)
    return zeros


def _saved(body: Graph, roots: Sequence[Node], seeds: Sequence[Node]) -> list[Node]:
    """What a branch yields for its adjoint; its inputs are there without."""
    order = below(roots, ())
    found = worth_saving(order, depending(order, seeds), roots, body.inputs)
    inputs = set(body.inputs)
    return [n for n in found if n not in inputs]


def _in_turn(b: Any, saved: Sequence[Sequence[Node]], taken: int) -> list[Node]:
    """What all branches save, one after the other; what another than the one taken would have saved is zeros."""
    return [n if k == taken else _zeros(b, n) for k, own in enumerate(saved) for n in own]


register(
    Op(
        name="_choice",
        doc="The results of the branch of this number; of the nearest one where there is none.",
        family=Family.CHOICE,
        infer=_infer,
        reference=_run,
        adjoint=_adjoint,
    )
)
