"""A value that lies in memory by itself, for who reads it many times: its elements are side by side, in order.

In: the value.  Out: the same.  Else what is cheap, movement above all, is looked through and made again at each read.
"""

from __future__ import annotations

import numpy as np

from graphc.graph import Node, make
from graphc.op import Family, Op, register
from graphc.ops.elementwise import ALL
from graphc.ops.rules import elementwise

STORED = register(
    Op(
        name="_stored",
        doc="x itself, in memory of its own.",
        family=Family.ELEMENTWISE,
        infer=elementwise(ALL),
        reference=lambda x: np.array(x),
        body="x",
        adjoint=lambda b, g, y, x: (g,),
        stored=True,
    )
)


def stored(node: Node) -> Node:
    """The node, in memory of its own."""
    return make(STORED, (node,), line=node.line)
