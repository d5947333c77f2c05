"""Results of nodes that have several."""

from __future__ import annotations

from graphc.errors import DeclarationError
from graphc.graph import Node, make
from graphc.op import Attrs, Family, Op, register
from graphc.types import Constraint, TensorType


def _infer_item(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    index = attrs["index"]
    if not 0 <= index < len(types):
        raise DeclarationError(f"there is no result {index} among {len(types)}")
    return (types[index],)


ITEM = register(
    Op(
        name="_item",
        doc="One result of a node that has several.",
        family=Family.ITEM,
        infer=_infer_item,
        reference=lambda *values, index: values[index],
    )
)


def item(node: Node, index: int) -> Node:
    """Result `index` of a node that has several, such as an op of your own; the node itself if it has just one.

    Raises DeclarationError if there is no such result.

    >>> import graphc as gc
    >>> item(x := gc.input("x", ()), 0) is x
    True
    """
    return node if len(node.types) == 1 and index == 0 else make(ITEM, (node,), {"index": index})
