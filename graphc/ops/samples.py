"""What many records share: samples and rejects of elementwise ops, and the form of an example."""

from __future__ import annotations

from graphc.errors import DTypeError, ShapeError
from graphc.op import Array, Reject, Sample

MISFIT = Reject((Array((3,)), Array((4,))), ShapeError, "do not broadcast")
BOTH_BOOL = Reject((Array((3,), kind="bool"), Array((3,), kind="bool")), DTypeError, "is bool")
ONE_BOOL = Reject((Array((3,), kind="bool"),), DTypeError, "is bool")


FOLDED = "\n\n`axis` is an int, a tuple of ints, or None for all axes; with `keepdims` they stay, with length 1."


def example(call: str, gives: str) -> str:
    """The end of a doc: what a call on values gives, once it is compiled."""
    return f"\n\n>>> gc.compile([], {call})()\n{gives}"


def pair(low: float = -2.0, high: float = 2.0, distinct: bool = False) -> tuple[Sample, ...]:
    """Samples of a binary op, the second operand drawn from [low, high): equal shapes, broadcast, 0-d, empty."""
    shapes = (((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2, 3)), ((0, 2), (2,)))
    return tuple(Sample((Array(a, distinct=distinct), Array(b, low, high, distinct=distinct))) for a, b in shapes)


def single(low: float = -2.0, high: float = 2.0) -> tuple[Sample, ...]:
    """Samples of a unary op, the operand drawn from [low, high): a matrix, 0-d, empty."""
    return tuple(Sample((Array(shape, low, high),)) for shape in ((3, 4), (), (0, 3)))
