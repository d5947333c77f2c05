"""States of reductions: what a fold carries, how a value becomes one, how two become one, what is left in the end.

In: the name of a record's state, and the dtype of what is folded.  Out: a State.  Rows, columns, totals and chunks are
folded by the same four.  Bodies (graphc/scalar.py) read

    a, b, c   the parts of what was folded before
    x, y, z   the parts of what comes; in `lift` x is the value, and p its position
    m, w      how many values were folded before; the share in all values of those that come
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphc.scalar import cost, parse
from graphc.types import DType, int64

Zero = Literal["zero", "one", "lowest", "highest"]


@dataclass(frozen=True)
class Part:
    """One number of a state; `join` is its new value, or what is added to it, so that rounding errors can be kept."""

    zero: Zero
    lift: str
    join: str
    adds: bool = False
    dtype: DType | None = None  # None: that of the values


@dataclass(frozen=True)
class State:
    """See the module.

    `block`: the kernel for contiguous elements, which gives part a, or its position, or writes all parts.
    `down`: whether a kernel folds rows that lie in memory into a row of states.
    `counts`: whether bodies read m and w.
    `step`: what does for a join with one value in a row of states, with less to do.
    """

    parts: tuple[Part, ...]
    finish: str = "a"
    block: str = ""
    down: bool = False
    counts: bool = False
    step: tuple[str, ...] = ()


def _one(zero: Zero, join: str, block: str = "", adds: bool = False, down: bool = False) -> State:
    return State((Part(zero, "x", join, adds),), block=block, down=down)


def _position(zero: Zero, name: str, relation: str) -> tuple[State, State]:
    """The extreme and where it is first; the first NaN wins."""

    def state(better: str, down: bool) -> State:
        at = Part("zero", "p", f"select({better}, y, b)", dtype=int64)
        return State((Part(zero, "x", f"select({better}, x, a)"), at), "b", name, down)

    better = f"x {relation} a"
    return state(f"({better}) | ((x != x) & (a == a))", True), state(better, False)


_APART = "((x - a) - b)"
_DISTANCE = f"({_APART} + y)"
_SHRUNK = "exp(select(a == x, zero, -fabs(a - x)))"  # of two infinities of one sign, neither shrinks

_STATES: dict[str, tuple[State | None, State | None]] = {  # of floats, of others
    "sum": (_one("zero", "x", "sum", True, True), _one("zero", "plus(a, x)", "sum", down=True)),
    "product": (_one("one", "a * x", "product", down=True), _one("one", "times(a, x)", "product", down=True)),
    "max": (_one("lowest", "fmax(a, x)", "max", down=True), _one("lowest", "fmax(a, x)", "max", down=True)),
    "min": (_one("highest", "fmin(a, x)", "min", down=True), _one("highest", "fmin(a, x)", "min", down=True)),
    "or": (None, _one("zero", "a | x", "max", down=True)),
    "and": (None, _one("one", "a & x", "min", down=True)),
    "argmax": _position("lowest", "argmax", ">"),
    "argmin": _position("highest", "argmin", "<"),
    # the mean, what is below its last digit, and the sum of squared distances (Chan, Golub and LeVeque, 1979)
    "deviation": (
        State(
            (
                Part("zero", "x", f"a + {_DISTANCE} * w"),
                Part("zero", "zero", f"b + (lost(a, {_DISTANCE} * w) + lost((x - a) - b, y) * w)"),
                Part("zero", "zero", f"z + ({_DISTANCE} * (m * w)) * {_DISTANCE}", adds=True),
            ),
            "c",
            "deviation",
            down=True,
            counts=True,
            step=(f"a + {_APART} * w", f"b + lost(a, {_APART} * w)", f"c + ({_APART} * (m * w)) * {_APART}"),
        ),
        None,
    ),
    # the largest value, and the sum of exp of the distances from it
    "logsumexp": (
        State(
            (
                Part("lowest", "x", "fmax(a, x)"),
                Part("zero", "one", f"select(x > a, b * {_SHRUNK} + y, b + y * {_SHRUNK})"),
            ),
            "a + log(b)",
            "logsumexp",
            down=True,
        ),
        None,
    ),
}


def state_of(name: str, dtype: DType) -> State:
    """The state into which values of a dtype are folded."""
    found = _STATES[name][not dtype.is_float]
    assert found is not None
    return found


def effort_of(name: str, dtype: DType) -> int:
    """What folding one value costs, in instructions, roughly."""
    state = state_of(name, dtype)
    texts = state.step or tuple(part.join for part in state.parts)
    return max(1, sum(cost(parse(text)) for text in texts))
