"""Simplify movement: chains of reshapes, permutations, broadcasts and slices, and reductions and products of them.

In: any graph.  Out: the same values, moved less.  Two rules give other bits than what they replace: a sum over an axis
that was broadcast is a product, rounded once, and a sum of one element is that element, whose -0.0 keeps its sign.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.declare import Builder
from graphc.dims import Dim, is_positive, product, same
from graphc.graph import Node
from graphc.op import Family
from graphc.ops.bodies import rebuilt
from graphc.rewrite import Rule, argument, below
from graphc.types import Shape

_IDEMPOTENT = ("max", "min", "any", "all")
_FOLDING = (*_IDEMPOTENT, "sum", "prod", "logsumexp", "_deviation")
ADDING = ("sum", "_deviation")  # equal elements count as many times as they are there


def _without_ones(shape: Shape) -> Shape:
    return tuple(d for d in shape if d != 1)


def _aligned(shape: Shape, rank: int) -> Shape:
    """The shape with axes of length 1 before it, as broadcasting sees it."""
    return (1,) * (rank - len(shape)) + shape


def _identity(b: Builder, node: Node) -> Node | None:
    return node.operands[0] if node.types == node.operands[0].types else None


# Movement of movement.


def _reshape_of_reshape(b: Builder, node: Node) -> Node | None:
    x = argument(node.operands[0], "reshape")
    if x is None or same(product(x.shape), product(node.shape)) is False:
        return None  # two steps that no call can satisfy stay as they are: the call says which
    return b.reshape(x, node.shape)  # type: ignore[no-any-return]


def _reshape_of_broadcast(b: Builder, node: Node) -> Node | None:
    """A reshape that adds or drops axes of length 1 does so before the broadcast."""
    spread = node.operands[0]
    x = argument(spread, "broadcast_to")
    if x is None or _without_ones(spread.shape) != _without_ones(node.shape):
        return None
    sources = iter([s for s, d in zip(_aligned(x.shape, spread.ndim), spread.shape, strict=True) if d != 1])
    return b.broadcast_to(b.reshape(x, tuple(1 if d == 1 else next(sources) for d in node.shape)), node.shape)  # type: ignore[no-any-return]


def _broadcast_of_leading_ones(b: Builder, node: Node) -> Node | None:
    x = node.operands[0]
    leading = next((k for k, d in enumerate(x.shape) if d != 1), x.ndim)
    return b.broadcast_to(b.reshape(x, x.shape[leading:]), node.shape) if leading else None


def _broadcast_of_broadcast(b: Builder, node: Node) -> Node | None:
    x = argument(node.operands[0], "broadcast_to")
    return None if x is None else b.broadcast_to(x, node.shape)


def _permute_of_permute(b: Builder, node: Node) -> Node | None:
    inner = node.operands[0]
    x = argument(inner, "permute_dims")
    return None if x is None else b.permute_dims(x, tuple(inner.attrs["axes"][k] for k in node.attrs["axes"]))


def _identical_permutation(b: Builder, node: Node) -> Node | None:
    return node.operands[0] if node.attrs["axes"] == tuple(range(node.ndim)) else None


def _identical_slice(b: Builder, node: Node) -> Node | None:
    whole = node.types == node.operands[0].types
    return node.operands[0] if whole and _starts_at_zero(node) else None


def _starts_at_zero(node: Node) -> bool:
    return all(s == 0 for s in node.attrs["start"]) and all(s == 1 for s in node.attrs["step"])


def _slice_of_slice(b: Builder, node: Node) -> Node | None:
    inner = node.operands[0]
    x = argument(inner, "_slice")
    if x is None:
        return None
    outer_start, outer_step = node.attrs["start"], node.attrs["step"]
    pairs = list(zip(inner.attrs["start"], inner.attrs["step"], strict=True))
    start = tuple(a + s * k for (a, s), k in zip(pairs, outer_start, strict=True))
    step = tuple(s * t for (_, s), t in zip(pairs, outer_step, strict=True))
    return b.primitive("_slice", (x,), start=start, step=step, shape=node.shape)


def _slice_of_pad(b: Builder, node: Node) -> Node | None:
    """A slice that takes what was padded, as the adjoint of a slice of a gradient does."""
    inner = node.operands[0]
    x = argument(inner, "_pad")
    if x is None or x.shape != node.shape:
        return None
    return x if all(inner.attrs[k] == node.attrs[k] for k in ("start", "step")) else None


# Elementwise ops of broadcasts.


def _elementwise_of_broadcast(b: Builder, node: Node) -> Node | None:
    """Operands broadcast by themselves; where all of them were, fewer elements are computed.

    A function of the user's, which may raise, is not computed where there was no element.
    """
    if len(node.types) > 1 or (node.op.scalar is not None and not all(map(is_positive, node.shape))):
        return None
    return b.broadcast_to(rebuilt(node, _narrowed(node.operands)), node.shape)  # type: ignore[no-any-return]


def _narrowed(operands: Sequence[Node]) -> list[Node]:
    return [o.operands[0] if o.op.name == "broadcast_to" else o for o in operands]


def _elementwise_of_repeated(b: Builder, node: Node) -> Node | None:
    """Elements that were repeated, by a broadcast whose axes are merged with others, are computed before that."""
    apart = [found for o in node.operands if (found := _before_merge(b, o, node.shape)) is not None]
    spread = {o.shape for o in apart if o.op.name == "broadcast_to"}
    if len(node.types) > 1 or len(spread) != 1 or len(apart) < len(node.operands):
        return None
    return b.reshape(rebuilt(node, apart), node.shape)  # type: ignore[no-any-return]


def _before_merge(b: Builder, node: Node, shape: Shape) -> Node | None:
    """The broadcast whose axes a reshape to the shape merges; what has one element, without axes."""
    spread = argument(node, "reshape")
    if node.shape == shape and spread is not None and spread.op.name == "broadcast_to":
        return spread
    source = below(node, ("broadcast_to", "reshape"))
    return b.reshape(source, ()) if all(d == 1 for d in source.shape) else None


# Reductions.


def _reduced(b: Builder, node: Node, x: Node, axes: Sequence[int]) -> Node:
    """The node's reduction of x over axes, in the node's shape."""
    alone = x if node.op.name != "_deviation" else x - x
    out = b.primitive(node.op.name, (x,), axis=tuple(axes)) if axes else alone
    reshaped: Node = b.reshape(out, node.shape)
    return reshaped


def _over_one_element(b: Builder, node: Node) -> Node | None:
    x, axes = node.operands[0], node.attrs["axis"]
    longer = tuple(k for k in axes if x.shape[k] != 1)
    return _reduced(b, node, x, longer) if longer != axes else None


def _of_broadcast(b: Builder, node: Node) -> Node | None:
    """A reduction over an axis along which all elements are equal; of length 0 it might be, so it must be known."""
    spread, axes = node.operands[0], node.attrs["axis"]
    x = argument(spread, "broadcast_to")
    if x is None:
        return None
    lengths = _aligned(x.shape, spread.ndim)
    equal = [k for k in axes if lengths[k] == 1 and isinstance(spread.shape[k], int) and spread.shape[k] != 0]
    if not equal:
        return None
    shape: tuple[Dim, ...] = tuple(1 if k in equal else d for k, d in enumerate(spread.shape))
    once = b.broadcast_to(b.reshape(x, lengths), shape)
    out = _reduced(b, node, once, [k for k in axes if k not in equal])
    count = product(spread.shape[k] for k in equal)
    return out * b.constant(count, node.dtype) if node.op.name in ADDING else out


def _of_reshape(b: Builder, node: Node) -> Node | None:
    """A reduction of what was only given or spared axes of length 1 takes the axes as they were."""
    seen, axes = node.operands[0], node.attrs["axis"]
    x = argument(seen, "reshape")
    if x is None or _without_ones(seen.shape) != _without_ones(x.shape):
        return None
    sources = [k for k, d in enumerate(x.shape) if d != 1]
    targets = [k for k, d in enumerate(seen.shape) if d != 1]
    return _reduced(b, node, x, [s for s, t in zip(sources, targets, strict=True) if t in axes])


def _of_permutation(b: Builder, node: Node) -> Node | None:
    """A reduction after which the axes that are left stand in the order that they had before."""
    seen, axes = node.operands[0], node.attrs["axis"]
    x = argument(seen, "permute_dims")
    if x is None:
        return None
    left = [a for k, a in enumerate(seen.attrs["axes"]) if k not in axes]
    if left != sorted(left):
        return None
    return _reduced(b, node, x, sorted(seen.attrs["axes"][k] for k in axes))


# Products.


def _contract_of_permutation(b: Builder, node: Node) -> Node | None:
    """The labels are permuted instead of the operand."""
    attrs, operands = dict(node.attrs), list(node.operands)
    for k, labels in enumerate(("a_labels", "b_labels")):
        x = argument(operands[k], "permute_dims")
        if x is not None:
            axes = operands[k].attrs["axes"]
            attrs[labels] = "".join(attrs[labels][axes.index(j)] for j in range(x.ndim))
            operands[k] = x
    return b.primitive("_contract", operands, **attrs) if attrs != dict(node.attrs) else None


MOVING: tuple[Rule, ...] = (
    Rule("reshape to the same", "reshape", _identity, "the shape is there already"),
    Rule("reshape of reshape", "reshape", _reshape_of_reshape, "the last shape is enough", "reshape"),
    Rule("reshape of broadcast", "reshape", _reshape_of_broadcast, "axes of length 1 change before it", "broadcast_to"),
    Rule("broadcast to the same", "broadcast_to", _identity, "the shape is there already"),
    Rule("broadcast of broadcast", "broadcast_to", _broadcast_of_broadcast, "the last shape is enough", "broadcast_to"),
    Rule("broadcast of leading 1", "broadcast_to", _broadcast_of_leading_ones, "a broadcast adds leading axes itself"),
    Rule("permutation of permutation", "permute_dims", _permute_of_permute, "one permutation does it", "permute_dims"),
    Rule("identical permutation", "permute_dims", _identical_permutation, "no axis moves"),
    Rule("identical slice", "_slice", _identical_slice, "the slice takes everything"),
    Rule("slice of slice", "_slice", _slice_of_slice, "one slice does it", "_slice"),
    Rule("slice of pad", "_slice", _slice_of_pad, "the slice takes what was padded", "_pad"),
    Rule("identical pad", "_pad", _identical_slice, "nothing is added"),
    Rule(
        "elementwise of broadcast",
        Family.ELEMENTWISE,
        _elementwise_of_broadcast,
        "operands broadcast by themselves",
        "broadcast_to",
    ),
    Rule(
        "elementwise of repeated",
        Family.ELEMENTWISE,
        _elementwise_of_repeated,
        "elements are computed before they are repeated",
        "reshape",
    ),
    *(Rule(f"{name} over length 1", name, _over_one_element, "one element is its reduction") for name in _FOLDING),
    *(Rule(f"{name} of reshape", name, _of_reshape, "axes of length 1 do not matter", "reshape") for name in _FOLDING),
    *(
        Rule(f"{name} of broadcast", name, _of_broadcast, "all elements are equal", "broadcast_to")
        for name in (*_IDEMPOTENT, *ADDING)
    ),
    *(
        Rule(f"{name} of permutation", name, _of_permutation, "the axes are those of the operand", "permute_dims")
        for name in _FOLDING
    ),
    Rule("product of permutation", "_contract", _contract_of_permutation, "the labels change instead", "permute_dims"),
)
