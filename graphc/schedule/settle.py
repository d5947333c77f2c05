"""Movement that would be read in many pieces, or at long index expressions, is stored once.

In: a graph.  Out: the graph with a node of the same value, which is stored, after each such movement, so that the
reads of every other node are few and short.  Without it, n rolls of an array would be read in 2**n pieces.
"""

from __future__ import annotations

from graphc.graph import Graph, Node, map_graph
from graphc.line import standing_at
from graphc.op import Family
from graphc.ops.bodies import rebuilt
from graphc.ops.stored import stored
from graphc.schedule.access import atoms, canonical, pieces, through_movement

PIECES = 16  # movement and elements that one element may be read through
ATOMS = 128  # of the index expressions at which they are read


def settled(graph: Graph) -> Graph:
    """The graph in which no movement is read through more than some 16 others."""
    weights: dict[Node, int] = {}

    def settle(old: Node, operands: tuple[Node, ...]) -> Node:
        node = rebuilt(old, operands)
        if node.op.family is not Family.MOVEMENT:
            return node
        weight = 1 + sum(weights.get(node.operands[p.operand], 1) for p in pieces(node, canonical(node.shape)))
        weights[node] = weight
        if graph.users[old] and (weight > PIECES or _atoms(node) > ATOMS):
            with standing_at(old.line):
                return stored(node)
        return node

    return map_graph(graph, settle)


def _atoms(node: Node) -> int:
    return sum(atoms(read.index) for read in through_movement(node, canonical(node.shape)))
