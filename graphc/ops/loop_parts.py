"""Loops by their parts.

A loop node holds a body with the inputs (position, carries, elements, givens) and the outputs (new carries, ys); its
operands are (inits, arrays, givens).  At each position of the leading axis of the arrays the body reads the carries
and the elements there; carries take their new values, and the ys are laid side by side.  Results: the carries at the
end, then the stacks of ys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphc.dims import Dim, same
from graphc.errors import DeclarationError, InputError
from graphc.graph import Graph, Node, describe, make
from graphc.line import Line
from graphc.op import REGISTRY
from graphc.ops.bodies import Cut, renamed, results, slot
from graphc.types import Constraint, TensorType, int64

POSITION = TensorType(int64, ())


@dataclass(frozen=True)
class Loop:
    """A loop by its parts: `new` and `ys` are computed from the nodes that stand for values inside.

    index     stands for the position: 0 ... length - 1, backwards where `reverse`
    carries   stand for the carries; they begin as `inits` and become `new`
    elements  stand for the elements of `arrays` at the position
    given     what stands for nodes outside -> those nodes
    again     the adjoint runs the loop once more rather than have what it needs saved
    """

    index: Node
    carries: Sequence[Node]
    inits: Sequence[Node]
    new: Sequence[Node]
    elements: Sequence[Node]
    arrays: Sequence[Node]
    ys: Sequence[Node]
    length: Dim
    reverse: bool = False
    again: bool = False
    given: Mapping[Node, Node] = field(default_factory=dict)

    @staticmethod
    def of(node: Node) -> Loop:
        """The parts of a loop node."""
        body, count, end = node.attrs["body"], node.attrs["carries"], node.attrs["carries"] + node.attrs["arrays"]
        slots = body.inputs[1:]
        return Loop(
            body.inputs[0],
            slots[:count],
            node.operands[:count],
            body.outputs[:count],
            slots[count:end],
            node.operands[count:end],
            body.outputs[count:],
            length=node.attrs["length"],
            reverse=node.attrs["reverse"],
            again=node.attrs["again"],
            given=dict(zip(slots[end:], node.operands[end:], strict=True)),
        )

    def declare(self, inside: Collection[Node] | None = None, line: Line | None = None) -> list[Node]:
        """The results of the node for this loop: what depends on nothing inside of it is computed outside.

        `inside` are the nodes that may belong to the body, all if it is None.
        """
        if not self.new and not self.ys:
            return []
        index = slot("position", POSITION, line)
        carries, elements = renamed(self.carries, "carry"), renamed(self.elements, "element")
        new_slots = [index, *carries, *elements]
        old_slots = [self.index, *self.carries, *self.elements]
        cut = Cut(dict(zip(old_slots, new_slots, strict=True)), self.given, inside)
        outputs = cut([*self.new, *self.ys])
        body = Graph(tuple(outputs), (*new_slots, *cut.slots))
        attrs = {
            "body": body,
            "carries": len(carries),
            "arrays": len(elements),
            "length": self.length,
            "reverse": self.reverse,
            "again": self.again,
        }
        return results(make(REGISTRY["_loop"], (*self.inits, *self.arrays, *cut.operands), attrs, line))


def iteration_told(number: Any, again: bool = False, length: Dim = 0) -> str:
    """What errors say of an iteration; nothing where there is only one, as in what `gc.checkpoint` makes."""
    if same(length, 1):
        return ""
    return f", in iteration {number}{' of a segment' if again else ''}"


def in_iteration(error: InputError, told: str) -> InputError:
    """The error of a step, with its iteration; an inner loop has told its own already."""
    head, at, line = str(error).partition("\n  at ")
    return error if ", in iteration " in head else InputError(f"{head}{told}{at}{line}")


def check_slots(body: Graph, wanted: Sequence[TensorType]) -> None:
    """The inputs of a body must have these types."""
    have = tuple(n.type for n in body.inputs)
    if have != tuple(wanted):
        raise DeclarationError(f"the body takes {_listed(have)}, and is given {_listed(wanted)}")


def check_carries(new: Sequence[Node], types: Sequence[TensorType]) -> None:
    """New values of carries must have the types of the old ones."""
    for node, kept in zip(new, types, strict=True):
        if node.type != kept:
            raise DeclarationError(f"a carry of type {kept} gets the new value {describe(node)}")


def _listed(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types))


def constraints_of(*bodies: Graph) -> list[Constraint]:
    """What the nodes of bodies ask of the dimensions."""
    return [c for body in bodies for n in body.nodes for c in n.constraints]
