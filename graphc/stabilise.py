"""Stabilise: forms that overflow, cancel or divide 0 by 0 become forms that hold at any input.

In: a graph as declared.  Out: a graph of the same values in exact arithmetic.  The adjoint walk stabilises what it
differentiates, so that adjoints are derived from the stable forms; the pipeline does it again to the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from graphc.declare import Builder
from graphc.dims import is_positive
from graphc.graph import Graph, Node
from graphc.ops.reduce import kept
from graphc.rewrite import FILLED, Rule, argument, below, filled, is_filled, rewrite
from graphc.types import Shape

Axes = tuple[int, ...]
_RESHAPING = ("reshape", "broadcast_to")
_MOVING = (*_RESHAPING, "permute_dims", "_slice", "_gather")  # the first operand's elements, each by itself


def stabilise(graph: Graph, keep: Collection[Node] = ()) -> tuple[Graph, Counter[str]]:
    """The graph in stable forms, and the rules that fired; nodes in `keep` stay reachable."""
    return rewrite(graph, STABILISING, keep)


# Exponentials that are summed: softmax, logsumexp and their logarithms.


def _summed(total: Node, moves: Sequence[str]) -> tuple[Node, Axes] | None:
    """(terms, axes) where `total` is the sum of terms over axes, below these moves."""
    source = below(total, moves)
    return (source.operands[0], source.attrs["axis"]) if source.op.name == "sum" else None


def _shares_of(quotient: Node) -> tuple[Node, Axes] | None:
    """(x, axes) where the quotient is exp(x) over its own sum along axes, aligned with it."""
    if quotient.op.name != "divide":
        return None
    terms, total = quotient.operands
    total = below(total, ("broadcast_to",))
    x, found = argument(terms, "exp"), _summed(total, ("reshape",))
    if x is None or found is None or found[0] is not terms or terms.shape != quotient.shape:
        return None
    aligned = (1,) * (x.ndim - total.ndim) + total.shape == kept(x.shape, found[1])
    return (x, found[1]) if aligned else None


def is_softmax(quotient: Node) -> bool:
    """Whether it is exp(x) over its own sum, where x is at most 0, and 0 for one of the terms; or all is NaN."""
    found = _shares_of(quotient)
    return found is not None and _is_shifted(*found) and _top_of(found[0]).op.name == "max"


def _is_shifted(x: Node, axes: Axes) -> bool:
    """Whether x is some z less its own largest value along the axes, so that exp(x) is at most 1."""
    if x.op.name != "subtract":
        return False
    z, top = x.operands[0], _top_of(x)
    if top.op.name == "where":  # an infinite top is left out
        top = below(top.operands[1], (*_RESHAPING, "stop_gradient"))
    if top.op.name != "max" or top.attrs["axis"] != axes:
        return False
    over = top.operands[0]
    return over is z or (over.op.name == "_pad" and over.operands[0] is z and over.attrs["fill"] == -float("inf"))


def _top_of(x: Node) -> Node:
    """What is subtracted."""
    return below(x.operands[1], (*_RESHAPING, "stop_gradient"))


def _with_an_element(b: Builder, x: Node, axes: Sequence[int]) -> Node:
    """x, with a -inf more along the axes that might be empty: a largest value exists, and no sum of exp changes."""
    widths = [(0, int(k in axes and not is_positive(d))) for k, d in enumerate(x.shape)]
    padded: Node = b.pad(x, widths, constant_values=-float("inf")) if widths else x
    return padded


def _softmax(b: Builder, quotient: Node) -> Node | None:
    found = _shares_of(quotient)
    if found is None or _is_shifted(*found):
        return None
    x, axes = found
    top = b.max(_with_an_element(b, x, axes), axis=axes, keepdims=True)
    terms = b.exp(x - b.stop_gradient(top))
    shares: Node = terms / b.sum(terms, axis=axes, keepdims=True)
    return shares


def _slope_of_softmax(b: Builder, node: Node) -> Node | None:
    """(g/s - t/s)·exp(x), as the adjoint has it, where exp(x)/s is the softmax: (g - t)·(exp(x)/s)."""
    for terms, sloped in (node.operands, node.operands[::-1]):
        if terms.op.name != "exp" or sloped.op.name not in ("add", "subtract"):
            continue
        parts = [_quotient(b, part) for part in sloped.operands]
        if None in parts:
            continue
        (g, total), (t, other) = (part for part in parts if part is not None)
        shares: Node = terms / total
        if _shares_of(shares) is not None and _before_broadcasts(total) is _before_broadcasts(other):
            return getattr(b, sloped.op.name)(g, t) * shares  # type: ignore[no-any-return]
    return None


def _quotient(b: Builder, node: Node) -> tuple[Node, Node] | None:
    """Numerator and denominator, below broadcasts, and a sign and a condition, which go to the numerator."""
    bottom = _before_broadcasts(node)
    inner = argument(bottom, "negative")
    quotient = bottom if inner is None else _before_broadcasts(inner)
    some = quotient.operands[0] if quotient.op.name == "where" and is_filled(quotient.operands[2], 0) else None
    quotient = quotient if some is None else quotient.operands[1]
    if quotient.op.name != "divide":
        return None
    x, y = quotient.operands
    x = x if some is None else b.where(some, x, 0)
    return (x if inner is None else -x), y


def _before_broadcasts(node: Node) -> Node:
    """What is below broadcasts, and reshapes to which of these it does not matter: of leading axes of length 1."""
    while node.op.name == "broadcast_to" or (node.op.name == "reshape" and _leads_alike(node, node.operands[0])):
        node = node.operands[0]
    return node


def _leads_alike(x: Node, y: Node) -> bool:
    rank = max(x.ndim, y.ndim)
    return (1,) * (rank - x.ndim) + x.shape == (1,) * (rank - y.ndim) + y.shape


def _log_of_sum(b: Builder, node: Node) -> Node | None:
    (total,) = node.operands
    found = _summed(total, _RESHAPING)
    if found is None:
        return None
    terms, axes = found
    x = argument(terms, "exp")
    if x is None or _is_shifted(x, axes):
        return None
    out = b.logsumexp(_with_an_element(b, x, axes), axis=axes)
    return _same_moves(b, total, below(total, _RESHAPING), out)


def _same_moves(b: Builder, node: Node, bottom: Node, instead: Node) -> Node:
    """The chain of moves from `bottom` up to `node`, on another node in the place of `bottom`."""
    chain = []
    while node is not bottom:
        chain.append(node)
        node = node.operands[0]
    for move in reversed(chain):
        instead = b.primitive(move.op.name, (instead, *move.operands[1:]), **move.attrs)
    return instead


def _log_of_softmax(b: Builder, node: Node) -> Node | None:
    quotient = node.operands[0]
    found = _shares_of(quotient)
    if found is None:
        return None
    out: Node = found[0] - b.log(quotient.operands[1])
    return out


def _log_of_mean(b: Builder, node: Node) -> Node | None:
    """log(sum(exp(x)) / n): the sum alone overflows."""
    quotient = node.operands[0]
    if quotient.op.name != "divide":
        return None
    total, count = quotient.operands
    found = _summed(total, _RESHAPING)
    x = None if found is None else argument(found[0], "exp")
    if found is None or x is None or _is_shifted(x, found[1]):
        return None
    if count.ndim:  # a number of elements is one number; another quotient might be that of two tiny numbers
        return None
    out: Node = b.log(total) - b.log(count)
    return out


def _log_of_exp(b: Builder, node: Node) -> Node | None:
    return argument(node.operands[0], "exp")


def _log_of_moved(b: Builder, node: Node) -> Node | None:
    """The logarithm below what only moves elements, where it meets a form that has a stable logarithm."""
    moved = node.operands[0]
    bottom = below(moved, _MOVING)
    if bottom is moved:
        return None
    stable = _shares_of(bottom) is not None or bottom.op.name in ("sigmoid", "exp")
    return _same_moves(b, moved, bottom, b.log(bottom)) if stable else None


# The logistic function.


def _negated(b: Builder, x: Node) -> Any:
    """-x, without a second sign."""
    inner = argument(x, "negative")
    return -x if inner is None else inner


def _is_at_most_zero(x: Node) -> bool:
    """Whether x is -|z|, so that exp(x) is at most 1."""
    size = argument(x, "negative")
    if size is None:
        return False
    if size.op.name != "where":
        return size.op.name == "abs"
    condition, first, second = size.operands
    if condition.op.name != "greater" or condition.operands[0] is not first or filled(condition.operands[1]) != 0:
        return False
    return argument(second, "negative") is first or argument(first, "negative") is second


def _one_plus(node: Node) -> Node | None:
    """x where the node is 1 + x or x + 1."""
    if node.op.name == "add":
        for one, other in (node.operands, node.operands[::-1]):
            if is_filled(one, 1) and other.shape == node.shape:
                return other
    return None


def _sigmoid(b: Builder, node: Node) -> Node | None:
    """1 / (1 + exp(-x)) and exp(x) / (1 + exp(x))."""
    numerator = node.operands[0] if node.op.name == "divide" else None
    denominator = node.operands[-1]
    terms = _one_plus(denominator)
    x = None if terms is None else argument(terms, "exp")
    if x is None or terms is None or _is_at_most_zero(x) or x.shape != node.shape:
        return None
    if numerator is None or is_filled(numerator, 1):
        return b.sigmoid(_negated(b, x))  # type: ignore[no-any-return]
    return b.sigmoid(x) if numerator is terms else None


def _complement(b: Builder, node: Node) -> Node | None:
    one, y = node.operands
    x = argument(y, "sigmoid")
    return b.sigmoid(_negated(b, x)) if x is not None and is_filled(one, 1) and y.shape == node.shape else None


def _log_of_sigmoid(b: Builder, node: Node) -> Node | None:
    x = argument(node.operands[0], "sigmoid")
    return None if x is None else -b.softplus(_negated(b, x))


def _log_of_complement(b: Builder, node: Node) -> Node | None:
    y = argument(node.operands[0], "negative")
    x = None if y is None else argument(y, "sigmoid")
    return None if x is None else -b.softplus(x)


def _softplus(b: Builder, node: Node) -> Node | None:
    x = argument(node.operands[0], "exp")
    return None if x is None or _is_at_most_zero(x) else b.softplus(x)


# Exponential and logarithm near 0 and 1, and powers.


def _log1p(b: Builder, node: Node) -> Node | None:
    x = _one_plus(node.operands[0])
    return None if x is None else b.log1p(x)


def _expm1(b: Builder, node: Node) -> Node | None:
    """exp(x) - 1 and 1 - exp(x)."""
    first, second = node.operands
    one, terms = (first, second) if is_filled(first, 1) else (second, first)
    x = argument(terms, "exp")
    if x is None or not is_filled(one, 1) or terms.shape != node.shape:
        return None
    y: Node = b.expm1(x)
    return -y if one is first else y


def _exp(b: Builder, node: Node) -> Node | None:
    """expm1(x) + 1, as the adjoint of expm1 has it, would be 0 where exp(x) is small."""
    y = _one_plus(node)
    x = None if y is None else argument(y, "expm1")
    return None if x is None else b.exp(x)


_POWERS: dict[float, Callable[[Builder, Any], Any]] = {
    1: lambda b, x: x,
    2: lambda b, x: x * x,
    3: lambda b, x: x * x * x,
    -1: lambda b, x: b.reciprocal(x),
}


def _power(b: Builder, node: Node) -> Node | None:
    """A power whose slope x**(n - 1) needs no logarithm and no pow at 0."""
    x, exponent = node.operands
    power = _POWERS.get(n) if (n := filled(exponent)) is not None and (n >= 0 or node.dtype.is_float) else None
    return None if power is None else _spread(b, power(b, x), node.shape)


def _spread(b: Builder, x: Node, shape: Shape) -> Node:
    out: Node = b.broadcast_to(x, shape)
    return out


STABILISING: tuple[Rule, ...] = (
    Rule("softmax", "divide", _softmax, "exp(x) / sum(exp(x)) is shifted by the largest x, so no exp overflows", "exp"),
    Rule("slope of softmax", "multiply", _slope_of_softmax, "the softmax takes up the sum of its terms", "exp"),
    Rule("log of sum of exp", "log", _log_of_sum, "log(sum(exp(x))) is logsumexp(x)", "sum reshape broadcast_to"),
    Rule("log of mean of exp", "log", _log_of_mean, "log(sum(exp(x)) / n) is logsumexp(x) - log(n)", "divide"),
    Rule("log of softmax", "log", _log_of_softmax, "log(exp(d) / s) is d - log(s), finite where exp(d) is 0", "divide"),
    Rule("log of sigmoid", "log", _log_of_sigmoid, "log(sigmoid(x)) is -softplus(-x), finite where it is 0", "sigmoid"),
    Rule("log of exp", "log", _log_of_exp, "log(exp(x)) is x, which does not overflow", "exp"),
    Rule("log of moved", "log", _log_of_moved, "logarithms are taken before elements are moved", " ".join(_MOVING)),
    Rule("log1p", "log", _log1p, "log(1 + x) is log1p(x), which keeps the digits of a small x", "add"),
    Rule("softplus", "log1p", _softplus, "log1p(exp(x)) is softplus(x), which does not overflow", "exp"),
    Rule("log of complement", "log1p", _log_of_complement, "log1p(-sigmoid(x)) is -softplus(x)", "negative"),
    Rule("complement of sigmoid", "subtract", _complement, "1 - sigmoid(x) is sigmoid(-x) to all digits", "sigmoid"),
    Rule("expm1", "subtract", _expm1, "exp(x) - 1 is expm1(x), which does not cancel", "exp"),
    Rule("exp", "add", _exp, "expm1(x) + 1 is exp(x), which does not cancel", "expm1"),
    Rule("sigmoid", "divide", _sigmoid, "1 / (1 + exp(-x)) is sigmoid(x), whose adjoint does not overflow", "add"),
    Rule("sigmoid as reciprocal", "reciprocal", _sigmoid, "1 / (1 + exp(-x)) is sigmoid(x)", "add"),
    Rule("power", "pow", _power, "x**2, x**3 and 1/x are products and a quotient, also in the adjoint", FILLED),
)
