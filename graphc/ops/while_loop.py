"""The record of loops that run as long as a condition holds.

The node holds two bodies with the same inputs (carries, givens): `condition`, whose output is a bool, and `body`, whose
outputs are the new carries.  Its operands are (inits, givens), its results the carries at the end.  With `bound`, at
most that many steps are taken; a loop over so many positions, of which those after the end change nothing, has the
same results, and its adjoint is the adjoint.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphc.dims import Dim
from graphc.errors import DeclarationError, GradientError, InputError
from graphc.graph import Graph, Node, make
from graphc.line import Line
from graphc.op import REGISTRY, Attrs, Family, Op, register
from graphc.ops.bodies import Cut, renamed, results, slot, substituted
from graphc.ops.choice import choose
from graphc.ops.loop_adjoint import cotangents
from graphc.ops.loop_parts import (
    POSITION,
    Loop,
    check_carries,
    check_slots,
    constraints_of,
    in_iteration,
    iteration_told,
)
from graphc.types import Constraint, TensorType, bool_

Types = tuple[TensorType, ...]


@dataclass(frozen=True)
class While:
    """Such a loop by its parts, as a `Loop` has them."""

    carries: Sequence[Node]
    inits: Sequence[Node]
    condition: Node
    new: Sequence[Node]
    bound: Dim | None = None
    given: Mapping[Node, Node] = field(default_factory=dict)

    @staticmethod
    def of(node: Node) -> While:
        """The parts of a node; both bodies over the slots of the one."""
        condition, body, count = node.attrs["condition"], node.attrs["body"], node.attrs["carries"]
        same = dict(zip(condition.inputs, body.inputs, strict=True))
        return While(
            body.inputs[:count],
            node.operands[:count],
            substituted(condition.outputs, same)[0],
            body.outputs,
            node.attrs["bound"],
            dict(zip(body.inputs[count:], node.operands[count:], strict=True)),
        )

    def declare(self, inside: Collection[Node] | None = None, line: Line | None = None) -> list[Node]:
        """The results of the node for this loop."""
        carries = renamed(self.carries, "carry")
        cut = Cut(dict(zip(self.carries, carries, strict=True)), self.given, inside)
        condition, *new = cut([self.condition, *self.new])
        inputs = (*carries, *cut.slots)
        attrs = {
            "condition": Graph((condition,), inputs),
            "body": Graph(tuple(new), inputs),
            "carries": len(carries),
            "bound": self.bound,
        }
        return results(make(REGISTRY["_while"], (*self.inits, *cut.operands), attrs, line))

    def bounded(self, bound: Dim) -> Loop:
        """The loop over `bound` positions that stands still where the condition holds no more."""
        going = REGISTRY["astype"], (self.condition,), {"dtype": POSITION.dtype}
        mine = {n: n for n in (*self.carries, *self.given)}
        new = choose(make(*going), [list(self.carries), list(self.new)], mine)
        index = slot("position", POSITION)
        return Loop(index, self.carries, self.inits, new, (), (), (), bound, given=self.given)


def _infer(types: Types, attrs: Attrs, found: list[Constraint]) -> Types:
    condition, body, count = attrs["condition"], attrs["body"], attrs["carries"]
    check_slots(condition, types)
    check_slots(body, types)
    check_carries(body.outputs, types[:count])
    if condition.outputs[0].type != TensorType(bool_, ()):
        raise DeclarationError(f"the condition of a loop is a bool scalar, got {condition.outputs[0].type}")
    found += constraints_of(condition, body)
    return types[:count]


def _run(*operands: Any, condition: Any, body: Any, carries: int, bound: int | None) -> Any:
    state, givens, taken = operands[:carries], operands[carries:], 0
    try:
        while (bound is None or taken < bound) and condition(*state, *givens)[0]:
            state, taken = body(*state, *givens), taken + 1
    except InputError as error:
        raise in_iteration(error, iteration_told(taken)) from None
    return state if len(state) > 1 else state[0]


def _adjoint(b: Any, g: Any, y: Any, *operands: Node, wanted: Sequence[bool], **attrs: Any) -> Sequence[Node | None]:
    node = y if isinstance(y, Node) else y[0].operands[0]
    loop = While.of(node)
    if loop.bound is None:
        raise GradientError(
            "a while_loop has a gradient only if the number of its steps is bounded: write gc.while_loop(condition, "
            f"step, init, bound=n), or gc.fori_loop where the number is known\n  at {node.line}"
        )
    return cotangents(b, loop.bounded(loop.bound), g if isinstance(g, tuple) else (g,), wanted)


register(
    Op(
        name="_while",
        doc="The body as long as the condition holds, at most `bound` times.",
        family=Family.WHILE,
        infer=_infer,
        reference=_run,
        adjoint=_adjoint,
    )
)
