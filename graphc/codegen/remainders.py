"""Loops without tests of multiples: what asks for its variable's remainder becomes a loop over all remainders in turn.

In: the loops of a phase.  Out: loops that do the same, in the same order.  What is spread out with a stride, as the
gradient of strided windows, is read where the stride divides a position.  A loop over blocks as long as the stride,
with a loop of one step for each remainder inside, knows where it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from graphc.codegen.cuts import STATEMENTS, between, count, decided, tests_of
from graphc.codegen.loop_ir import Call, Code, Expr, For, If, Position, Stmt
from graphc.codegen.ranges import symbol_of
from graphc.dims import floor_div, symbol
from graphc.schedule.access import linear
from graphc.types import int64

_LARGEST = 4  # stride whose remainders are told apart


def by_remainders(code: Code) -> Code:
    """The loops of a phase, in which no test asks for a small remainder of a loop's variable."""
    return replace(code, loop=replace(code.loop, body=_block(code.loop.body)))


def _block(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    return tuple(map(_statement, body))


def _statement(s: Stmt) -> Stmt:
    match s:
        case If(test, yes, no):
            return If(test, _block(yes), _block(no))
        case For():
            return _loop(replace(s, body=_block(s.body)))
    return s


def _loop(s: For) -> For:
    strides = {stride for stride, _ in _multiples(s.body, s)}
    if len(strides) != 1 or s.step != 1 or s.mode != "serial" or s.lo != Position(0):
        return s
    (stride,) = strides
    if stride > _LARGEST or stride * count(s.body) > STATEMENTS:
        return s
    start = f"{s.var}s"
    parts = tuple(_part(s, symbol(f"%{start}"), stride, k) for k in range(stride))
    return For(start, s.lo, s.hi, stride, parts)


def _part(s: For, start: Any, stride: int, k: int) -> For:
    """The step of a block that leaves this remainder; none where the loop ends before."""
    end: Expr = Position(start + k + 1)
    if not (isinstance(s.hi, Position) and floor_div(s.hi.at, stride) * stride == s.hi.at):
        end = Call("least", (end, s.hi), int64)
    body = decided(s.body, lambda test: _holds(test, s, stride, k))
    if isinstance(s.hi, Position):
        body = between(body, s, k, s.hi.at)
    return For(s.var, Position(start + k), end, 1, body)


def _multiples(body: Sequence[Stmt], s: For) -> Iterator[tuple[int, int]]:
    """The stride and the offset of every test whether a loop's variable, so much further, is a multiple."""
    for inner in body:
        if isinstance(inner, For):
            yield from _multiples(inner.body, s)
        elif isinstance(inner, If):
            yield from (found for part in tests_of(inner.test) if (found := _multiple(part, s)) is not None)
            yield from _multiples((*inner.yes, *inner.no), s)


def _multiple(test: Expr, s: For) -> tuple[int, int] | None:
    match test:
        case Call("multiple", (Position(at), Position(int(stride)))):
            steps, name = linear(at), symbol_of(s.var)
            if steps is not None and steps.keys() == {"", name} and steps[name] == 1 and isinstance(steps[""], int):
                return stride, steps[""]
    return None


def _holds(test: Expr, s: For, stride: int, k: int) -> bool | None:
    """Whether a test holds where the loop's variable leaves this remainder; None if it asks for no multiple."""
    multiple = _multiple(test, s)
    return None if multiple is None else (k + multiple[1]) % stride == 0
