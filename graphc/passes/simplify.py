"""Simplify arithmetic, logic and choices: rules that leave every bit of a result as it is.

In: any graph, after the adjoint was derived.  Out: fewer nodes.  The rules hold for NaN, infinities and signed zeros:
`x + 0.0` stays (it turns -0.0 into 0.0) and `x * 0.0` stays (it may be NaN).  A NaN's sign and payload do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.declare import Builder
from graphc.graph import Node
from graphc.ops.elementwise import WHOLE_POWERS
from graphc.rewrite import FILLED, Rule, argument, filled, is_filled


def _spread(b: Builder, x: Any, node: Node) -> Node:
    """x, which stands for the node, over the node's shape."""
    out: Node = b.broadcast_to(x, node.shape)
    return out


def _both_ways(node: Node) -> Iterator[tuple[Node, Node]]:
    """The operands in either order."""
    first, second = node.operands
    yield first, second
    yield second, first


def _itself(b: Builder, node: Node) -> Node:
    return node.operands[0]


# Neutral elements.


def _times_one(b: Builder, node: Node) -> Node | None:
    for x, one in _both_ways(node):
        if is_filled(one, 1):
            return _spread(b, x, node)
    return None


def _times_minus_one(b: Builder, node: Node) -> Node | None:
    for x, minus_one in _both_ways(node):
        if is_filled(minus_one, -1):
            return _spread(b, -x, node)
    return None


def _over_one(b: Builder, node: Node) -> Node | None:
    x, one = node.operands
    return _spread(b, x, node) if is_filled(one, 1) else None


def _over_power_of_two(b: Builder, node: Node) -> Node | None:
    x, divisor = node.operands
    value = filled(divisor)
    if value is None or not math.isfinite(value) or abs(math.frexp(value)[0]) != 0.5:
        return None
    low, high = _normal_floats(node.dtype.name)
    if not (low <= abs(value) <= high and low <= abs(1 / value) <= high):
        return None
    return _spread(b, x * b.constant(1 / value, node.dtype), node)


def _over_root(b: Builder, node: Node) -> Node | None:
    """x / sqrt(y): the root and the division wait for one divider."""
    x, root = node.operands
    y = argument(root, "sqrt")
    return None if y is None else _spread(b, x * b.rsqrt(y), node)


@lru_cache
def _normal_floats(dtype: str) -> tuple[float, float]:
    """The smallest and the largest normal number of a dtype: NumPy takes its time to tell."""
    limits = np.finfo(dtype)
    return float(limits.smallest_normal), float(limits.max)


def _plus_nothing(b: Builder, node: Node) -> Node | None:
    """The neutral element of a float sum is -0.0: 0.0 would change the sign of a zero."""
    nothing = -0.0 if node.dtype.is_float else 0
    for x, other in _both_ways(node):
        if is_filled(other, nothing):
            return _spread(b, x, node)
    return None


def _minus_nothing(b: Builder, node: Node) -> Node | None:
    x, other = node.operands
    return _spread(b, x, node) if is_filled(other, 0) else None


# Powers.


def _power_of_whole(b: Builder, node: Node) -> Node | None:
    """x**n by products: of integers they are exact, as pairs of floats as good as any power."""
    x, n = node.operands[0], filled(node.operands[1])
    if n is None or n != math.floor(n) or abs(n) >= WHOLE_POWERS:
        return None
    if 0 <= n <= 3 or not node.dtype.is_float:
        return _spread(b, _by_products(b, x, int(n)), node) if n >= 0 else None
    return _spread(b, b.primitive("_whole_power", (x, b.constant(n, node.dtype))), node)


def _power_of_half(b: Builder, node: Node) -> Node | None:
    """x**(n/2) of an odd n, which needs neither logarithm nor power of two."""
    x, half = node.operands[0], filled(node.operands[1])
    if half is None or not node.dtype.is_float or 2 * half % 2 != 1 or 2 * abs(half) >= WHOLE_POWERS:
        return None
    return _spread(b, b.primitive("_half_power", (x, b.constant(half, node.dtype))), node)


def _by_products(b: Builder, x: Node, n: int) -> Node:
    if n < 2:
        return x if n else b.constant(1, x.dtype)
    half = _by_products(b, x, n // 2)
    return half * half * x if n % 2 else half * half


# Signs.


def _negative_of_negative(b: Builder, node: Node) -> Node | None:
    return argument(node.operands[0], "negative")


def _plus_negative(b: Builder, node: Node) -> Node | None:
    for x, other in _both_ways(node):
        y = argument(other, "negative")
        if y is not None:
            return x - y
    return None


def _minus_negative(b: Builder, node: Node) -> Node | None:
    x, other = node.operands
    y = argument(other, "negative")
    return None if y is None else x + y


def _sign_of_factors(b: Builder, node: Node) -> Node | None:
    """Signs of factors go into a constant or to the front, where the next sum takes them up."""
    x, y = node.operands
    u, v = argument(x, "negative"), argument(y, "negative")
    combine = getattr(b, node.op.name)
    if u is not None and v is not None:
        out = combine(u, v)
    elif u is not None:
        c = _negated_constant(b, y)
        out = -combine(u, y) if c is None else combine(u, c)
    elif v is not None:
        c = _negated_constant(b, x)
        out = -combine(x, v) if c is None else combine(c, v)
    else:
        return None
    return _spread(b, out, node)


def _negated_constant(b: Builder, x: Node) -> Node | None:
    """-x where x is one value, else None; integers wrap."""
    value = filled(x)
    return None if value is None else b.constant(np.negative(np.asarray(value, x.dtype.numpy)))


def _negative_of_scaled(b: Builder, node: Node) -> Node | None:
    """-(x * c), -(c * x) and -(x / c): the constant takes the sign."""
    inner = node.operands[0]
    if inner.op.name not in ("multiply", "divide"):
        return None
    combine = getattr(b, inner.op.name)
    x, y = inner.operands
    c, d = _negated_constant(b, x), _negated_constant(b, y)
    if c is None and d is None:
        return None
    return _spread(b, combine(x, d) if c is None else combine(c, y), node)


def _abs_of_sign(b: Builder, node: Node) -> Node | None:
    if node.dtype.kind == "u":  # -x is 2**bits - x
        return node.operands[0]
    x = argument(node.operands[0], "negative")
    return b.abs(x) if x is not None else node.operands[0] if node.operands[0].op.name == "abs" else None


# Conversions.


def _astype_of_astype(b: Builder, node: Node) -> Node | None:
    """A conversion by way of a dtype that holds every value of the first exactly."""
    middle = node.operands[0]
    x = argument(middle, "astype")
    if x is None or not np.can_cast(x.dtype.numpy, middle.dtype.numpy, "safe"):
        return None
    if middle.dtype.is_float and x.dtype.is_integer and (x.dtype.size >= middle.dtype.size or node.dtype.is_integer):
        return None  # NumPy calls int64 to float64 safe; and a float out of range has no integer, where integers wrap
    return b.astype(x, node.dtype)


# Choices.


def _known_condition(b: Builder, node: Node) -> Node | None:
    condition, x, y = node.operands
    known = filled(condition)
    return None if known is None else _spread(b, x if known else y, node)


def _same_choices(b: Builder, node: Node) -> Node | None:
    _, x, y = node.operands
    return _spread(b, x, node) if x is y else None


def _negated_condition(b: Builder, node: Node) -> Node | None:
    condition, x, y = node.operands
    positive = argument(condition, "logical_not")
    return None if positive is None else b.where(positive, y, x)


def _not_of_not(b: Builder, node: Node) -> Node | None:
    return argument(node.operands[0], "logical_not")


def _choice_of_choice(b: Builder, node: Node) -> Node | None:
    """where(c, where(c, a, b), d) and where(c, a, where(c, b, d))."""
    condition, x, y = node.operands
    if x.op.name == "where" and x.operands[0] is condition:
        return _spread(b, b.where(condition, x.operands[1], y), node)
    if y.op.name == "where" and y.operands[0] is condition:
        return _spread(b, b.where(condition, x, y.operands[2]), node)
    return None


def _of_twice_the_same(b: Builder, node: Node) -> Node | None:
    x, y = node.operands
    return x if x is y else None


SIMPLIFYING: tuple[Rule, ...] = (
    Rule("x * 1", "multiply", _times_one, "1 is neutral", FILLED),
    Rule("x * -1", "multiply", _times_minus_one, "a sign is cheaper than a product", FILLED),
    Rule("x / 1", "divide", _over_one, "1 is neutral", FILLED),
    Rule("x / 2**k", "divide", _over_power_of_two, "the inverse is exact, and products are fast", FILLED),
    Rule("x / sqrt(y)", "divide", _over_root, "an inverse root needs no division", "sqrt"),
    Rule("x + nothing", "add", _plus_nothing, "-0.0 is neutral for floats, 0 for integers", FILLED),
    Rule("x - 0", "subtract", _minus_nothing, "0 is neutral", FILLED),
    Rule("x ** n", "pow", _power_of_whole, "a few products take a fraction of a power's time", FILLED),
    Rule("x ** (n/2)", "pow", _power_of_half, "a root and products take a third of a power's time", FILLED),
    Rule("-(-x)", "negative", _negative_of_negative, "two signs cancel", "negative"),
    Rule("x + -y", "add", _plus_negative, "a sum with a negative is a difference", "negative"),
    Rule("x - -y", "subtract", _minus_negative, "a difference with a negative is a sum", "negative"),
    Rule("-x * y", "multiply", _sign_of_factors, "the sign goes to the front, or into a constant", "negative"),
    Rule("-x / y", "divide", _sign_of_factors, "the sign goes to the front, or into a constant", "negative"),
    Rule("-(x * c)", "negative", _negative_of_scaled, "the sign goes into the constant", "multiply divide"),
    Rule("abs of sign", "abs", _abs_of_sign, "abs drops the sign itself"),
    Rule("stop_gradient", "stop_gradient", _itself, "adjoints are derived already, so it does nothing"),
    Rule("astype of astype", "astype", _astype_of_astype, "the dtype between holds every value exactly", "astype"),
    Rule("where known", "where", _known_condition, "the condition is a constant", FILLED),
    Rule("where(c, x, x)", "where", _same_choices, "both choices are the same"),
    Rule("where not", "where", _negated_condition, "the choices change places instead", "logical_not"),
    Rule("where of where", "where", _choice_of_choice, "the inner choice was made outside", "where"),
    Rule("not not", "logical_not", _not_of_not, "two negations cancel", "logical_not"),
    *(
        Rule(f"{name}(x, x)", name, _of_twice_the_same, "x itself")
        for name in ("maximum", "minimum", "logical_and", "logical_or")
    ),
)
