"""Loops without branches: one whose body tests its variable against bounds becomes several, in most of which no test
is left.

In: the loops of a phase.  Out: loops that do the same, in the same order.  What is laid side by side, shifted or padded
is read through branches.  Far from the bounds all of them are decided, so that LLVM can make good vectors; the few
steps next to bounds keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from graphc.codegen.loop_ir import Call, Code, Expr, For, If, Let, Position, Stmt, Use
from graphc.codegen.ranges import Ranges, symbol_of
from graphc.dims import Dim, dim_max, is_nonnegative, symbols
from graphc.schedule.access import linear
from graphc.types import bool_, int64

_LANES = 8  # where most branches end, a loop begins at a multiple of this, since vectors are aligned there
_WIDE = 64  # steps of a loop that is worth being one of its own
_LOOPS = 4  # that a loop may become
STATEMENTS = 800  # that they may have together


def cut(code: Code) -> Code:
    """The loops of a phase, cut where their branches are decided."""
    return replace(code, loop=replace(code.loop, body=_block(code.loop.body, Ranges.of(code))))


def _block(body: Sequence[Stmt], ranges: Ranges) -> tuple[Stmt, ...]:
    return tuple(new for s in body for new in _statement(s, ranges))


def _statement(s: Stmt, ranges: Ranges) -> Iterator[Stmt]:
    match s:
        case Let(var, value):
            if var.dtype == int64:
                ranges.bind(var, value)
            yield s
        case Use():
            ranges.give(s)
            yield s
        case If():
            yield If(s.test, _block(s.yes, ranges.under(s.test)), _block(s.no, ranges.otherwise()))
        case For():
            for part in _loops(s, ranges):
                yield replace(part, body=_block(part.body, ranges.inside(part)))
        case _:
            yield s


def _loops(s: For, ranges: Ranges) -> list[For]:
    """The loops that a loop becomes, in order."""
    bounds = set(_bounds(s.body, s))
    known = ranges.inside(s).known.get(symbol_of(s.var))
    if not bounds or known is None or s.step != 1:
        return [s]
    parts = _parts(known[0], known[1] + 1, bounds, -(-_WIDE // _steps_within(s.body)))
    if not 1 <= len(parts) <= _LOOPS or len(parts) * count(s.body) > STATEMENTS:
        return [s]
    found, start = [], known[0]
    for low, high, wide in parts:
        end = dim_max(start, high)
        body = between(s.body, s, low, high) if wide else s.body
        lo = s.lo if low == known[0] else _bounded("most", s.lo, start)
        hi = s.hi if high == known[1] + 1 else _bounded("least", s.hi, end)
        found.append(replace(s, lo=lo, hi=hi, body=body))
        start = end
    return found


def _bounded(function: str, e: Expr, at: Dim) -> Expr:
    match e:
        case Position(int(bound)) if isinstance(at, int):
            return Position(max(bound, at) if function == "most" else min(bound, at))
    return Call(function, (e, Position(at)), int64)


def _steps_within(body: Sequence[Stmt]) -> int:
    """How many steps of loops one step of a body takes at least, as far as that is known."""
    found = 1
    for s in body:
        if isinstance(s, For) and isinstance(s.lo, Position) and isinstance(s.hi, Position):
            length = s.hi.at - s.lo.at
            found = max(found, (length if isinstance(length, int) else 1) // s.step * _steps_within(s.body))
    return found


def _parts(first: Dim, end: Dim, bounds: set[Dim], least: int) -> list[tuple[Dim, Dim, bool]]:
    """The wide stretches in which no bound lies (True), and what lies between them; none if there is no wide one."""
    inside = {b for b in bounds if not (is_nonnegative(first - b) or is_nonnegative(b - end))}
    near = sorted(b for b in inside if isinstance(b, int))
    far = [end - b for b in inside if not isinstance(b, int)]
    steps = sorted((d for d in far if isinstance(d, int)), reverse=True)
    if not isinstance(first, int) or len(steps) < len(far):
        return []
    points = [first, *near, *(end - d for d in steps), end]
    found: list[tuple[Dim, Dim, bool]] = []
    for low, high in pairwise(points):
        wide = not isinstance(high - low, int) or high - low >= least
        if found and wide and not found[-1][2] and isinstance(low, int) and least == _WIDE:
            low = -(-low // _LANES) * _LANES
            found[-1] = found[-1][0], low, False
        if found and not wide and not found[-1][2]:
            found[-1] = found[-1][0], high, False
        else:
            found.append((low, high, wide))
    return found if any(wide for *_, wide in found) else []


def count(body: Sequence[Stmt]) -> int:
    inside = (s.body if isinstance(s, For) else (*s.yes, *s.no) for s in body if isinstance(s, For | If))
    return len(body) + sum(map(count, inside))


# branches


def _bounds(body: Sequence[Stmt], s: For) -> Iterator[Dim]:
    """The bounds that branches test the loop's variable against."""
    for inner in body:
        if isinstance(inner, For):
            yield from _bounds(inner.body, s)
        elif isinstance(inner, If):
            yield from (b[0] for part in tests_of(inner.test) if (b := _bound(part, s)) is not None)
            yield from _bounds((*inner.yes, *inner.no), s)


def tests_of(test: Expr) -> tuple[Expr, ...]:
    return test.args if isinstance(test, Call) and test.function == "and" else (test,)


def _bound(test: Expr, s: For) -> tuple[Dim, bool] | None:
    """From where on a test of the loop's variable alone holds (True), or no longer does (False)."""
    match test:
        case Call(">=" | "<" as relation, (Position(at), Position(end))):
            name, steps = symbol_of(s.var), linear(at - end)
            if steps is None or set(steps) != {"", name} or any(n.startswith("%") for n in symbols(steps[""])):
                return None
            rest, holds = steps[""], relation == ">="
            if steps[name] == 1:
                return -rest, holds
            if steps[name] == -1:
                return rest + 1, not holds
    return None


def decided(body: Sequence[Stmt], holds: Callable[[Expr], bool | None]) -> tuple[Stmt, ...]:
    """Statements where tests are known to hold or not to; of one that is None nothing is known."""
    return tuple(new for s in body for new in _chosen(s, holds))


def _chosen(s: Stmt, holds: Callable[[Expr], bool | None]) -> Iterator[Stmt]:
    match s:
        case For():
            yield replace(s, body=decided(s.body, holds))
        case If(test, yes, no):
            known = [(part, holds(part)) for part in tests_of(test)]
            left = tuple(part for part, answer in known if answer is None)
            if any(answer is False for _, answer in known):
                yield from decided(no, holds)
            elif left:
                both = left[0] if len(left) == 1 else Call("and", left, bool_)
                yield If(both, decided(yes, holds), decided(no, holds))
            else:
                yield from decided(yes, holds)
        case _:
            yield s


def between(body: Sequence[Stmt], s: For, low: Dim, high: Dim) -> tuple[Stmt, ...]:
    """Statements where the loop's variable lies between two bounds."""
    return decided(body, lambda test: _holds(test, s, low, high))


def _holds(test: Expr, s: For, low: Dim, high: Dim) -> bool | None:
    """Whether a test holds from low to high; None if that is not known."""
    bound = _bound(test, s)
    if bound is None:
        return None
    at, from_there = bound
    if is_nonnegative(low - at):
        return from_there
    return not from_there if is_nonnegative(at - high) else None
