"""A barrier: a value as it is, for what is computed no sooner than something else is there.

In: the value, and a node that need not be read.  Out: the value.  No rule sees through it, so that what is computed of
it again is another node.
"""

from __future__ import annotations

import numpy as np

from graphc.graph import Node, make
from graphc.op import Family, Op, Piece, register

BARRIER = register(
    Op(
        name="_barrier",
        doc="x itself, as it lies in memory; what reads it is computed after the second operand.",
        family=Family.MOVEMENT,
        infer=lambda types, attrs, found: types[:1],
        reference=lambda x, after: np.array(x),
        access=lambda index, shapes, attrs: [Piece(0, tuple(index))],
        adjoint=lambda b, g, y, x, after: (g, None),
        awaits=True,
    )
)


def barrier(node: Node, after: Node) -> Node:
    """The node, for what comes after another one."""
    return make(BARRIER, (node, after), line=node.line)
