"""Positions that surely lie on their axis are not checked: those that are made of the positions of loops.

In: an optimised graph.  Out: the same graph, in which reads and updates at such positions promise that they are inside.
A range holds where the node is computed: that of a loop's position where the body runs at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from graphc.dims import Dim, Poly, dim_max, dim_min, is_nonnegative, is_positive
from graphc.graph import Graph, Node, make, with_outputs
from graphc.op import HOLDERS, Family
from graphc.ops.bodies import holds_bodies, rebuilt
from graphc.ops.index import CHECKS
from graphc.ops.loop_parts import Loop
from graphc.types import int64

Fired = Counter[str]
Range = tuple[Dim, Dim]  # the least value that an element may have, and the largest
_MOST = 2**31  # beyond which sums and products of a few numbers might not fit in int64


def inside(graph: Graph) -> tuple[Graph, Fired]:
    """The graph without checks that can't fail, and how many there were."""
    fired: Fired = Counter()
    return (_promised(graph, {}, fired) if holds_bodies(graph) else graph), +fired


def _promised(graph: Graph, known: Mapping[Node, Range], fired: Fired) -> Graph:
    """The graph, where ranges of some of its inputs are known."""
    ranges = dict(known)
    new: dict[Node, Node] = {}
    for n in graph.nodes:
        if n not in ranges and len(n.types) == 1 and n.dtype.is_integer and (found := _range(n, ranges)) is not None:
            ranges[n] = found
        node = rebuilt(n, [new[o] for o in n.operands])
        if n.op.family in HOLDERS:
            held = {k: v for k, v in n.attrs.items() if isinstance(v, Graph)}
            bodies = {k: _promised(v, _entering(n, v, ranges), fired) for k, v in held.items()}
            node = make(n.op, node.operands, {**n.attrs, **bodies}, n.line)
        elif n.op.family in (Family.GATHER, Family.SCATTER):
            node = _at_known(n, node, ranges, fired)
        new[n] = node
    return with_outputs(graph, [new[o] for o in graph.outputs])


def _entering(node: Node, body: Graph, ranges: Mapping[Node, Range]) -> dict[Node, Range]:
    """What is known of the inputs of a body: the last of them stand for the last operands."""
    found = {}
    if node.op.family is Family.LOOP:
        loop = Loop.of(node)
        found[loop.index] = (0, _taken(loop.length) - 1)
        pairs = [*zip(loop.elements, loop.arrays, strict=True), *loop.given.items()]
    else:
        count = node.attrs.get("carries", 0)
        pairs = list(zip(body.inputs[count:], node.operands[-len(body.inputs) + count :], strict=False))
    return found | {slot: ranges[outer] for slot, outer in pairs if outer in ranges}


def _taken(length: Dim) -> Dim:
    """How many steps a loop takes that takes any: of max(n, 0) steps these are n."""
    if isinstance(length, Poly) and len(length.terms) == 1:
        (monomial, factor) = length.terms[0]
        if factor == 1 and len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0].kind == "max":
            first, second = monomial[0][0].operands
            return second if first == 0 else first if second == 0 else length
    return length


def _at_known(old: Node, node: Node, ranges: Mapping[Node, Range], fired: Fired) -> Node:
    """A read or update that checks no position of a known range on its axis."""
    first = 1 if old.op.family is Family.GATHER else 2
    modes = list(old.attrs["modes"])
    for k, (positions, mode) in enumerate(zip(old.operands[first:], modes, strict=True)):
        size = old.operands[0].shape[old.attrs["along"].index(-1 - k)]
        if mode in CHECKS and positions in ranges and _lies_in(ranges[positions], size):
            modes[k] = "inside"
            fired["position inside"] += 1
    if tuple(modes) == old.attrs["modes"]:
        return node
    return make(node.op, node.operands, {**node.attrs, "modes": tuple(modes)}, node.line)


def _lies_in(found: Range, size: Dim) -> bool:
    return is_nonnegative(found[0]) and is_positive(size - found[1])


# Ranges of nodes.


def _range(node: Node, ranges: Mapping[Node, Range]) -> Range | None:
    """The range of an integer node, if it can be told from those of its operands and fits in any case."""
    if node.op.name == "constant" and node.ndim == 0:
        value = int(node.attrs["value"].array)
        return _few((value, value))
    if node.op.family is Family.INDEX:
        return _few((node.attrs["start"], node.attrs["start"] + node.shape[0] - 1))
    rule = _RULES.get(node.op.name)
    operands = [ranges[o] for o in node.operands if o in ranges]
    if rule is None or len(operands) != len(node.operands) or node.dtype != int64:
        return None
    return _few(rule(*operands))


def _few(found: Range) -> Range | None:
    return found if all(abs(c) < _MOST for d in found for c in _numbers(d)) else None


def _numbers(d: Dim) -> Sequence[int]:
    return [c for _, c in d.terms] if isinstance(d, Poly) else [d]


def _product(a: Range, b: Range) -> Range:
    """Of numbers from 0 on; of others nothing but that is known."""
    if is_nonnegative(a[0]) and is_nonnegative(b[0]):
        return a[0] * b[0], a[1] * b[1]
    return -_MOST, _MOST


_RULES: dict[str, Callable[..., Range]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "subtract": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "multiply": _product,
    "minimum": lambda a, b: (dim_min(a[0], b[0]), dim_min(a[1], b[1])),
    "maximum": lambda a, b: (dim_max(a[0], b[0]), dim_max(a[1], b[1])),
    "astype": lambda a: a,
    "reshape": lambda a: a,
    "permute_dims": lambda a: a,
    "broadcast_to": lambda a: a,
}
