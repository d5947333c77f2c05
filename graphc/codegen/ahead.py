"""Loops without checks: positions that an innermost loop checks are looked at before it, in a loop of their own.

In: the statements of a phase.  Out: such that do the same, in the same order.  A check may fail, and tells where, which
LLVM makes no vectors of; nor of anything else in its loop.  The least and the greatest position do not need it: only
where one of them does not lie on its axis are all of them checked.  The loop itself takes what was out of range for 0.
What only copies elements is as fast with checks, or faster, but for positions on several axes with AVX-512.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.loop_ir import (
    CHECKED,
    Call,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Position,
    Set,
    Stmt,
    Store,
    Use,
    Var,
    all_parts,
    all_statements,
    names_read,
)
from graphc.dims import Dim, symbol, symbols
from graphc.types import bool_, int64

_BLOCK = 1024  # positions that are looked at before anything is done with them
_SHORT = 32  # steps of a loop that is left as it is


@dataclass(frozen=True)
class Ahead:
    """What is done ahead of loops, with names, and a zero, of the text that it is part of."""

    fresh: Callable[[str], str]
    zero: Callable[[], Const]

    def block(self, body: Sequence[Stmt], around: For | None = None) -> tuple[Stmt, ...]:
        """The statements, in which no loop that LLVM could make vectors of checks positions."""
        return tuple(new for s in body for new in self._statement(s, around))

    def _statement(self, s: Stmt, around: For | None) -> tuple[Stmt, ...]:
        match s:
            case If():
                return (If(s.test, self.block(s.yes, around), self.block(s.no, around)),)
            case For() if any(isinstance(inner, For) for inner in all_statements(s.body)):
                return (replace(s, body=self.block(s.body, s)),)
            case For():
                return self._loop(s, around)
        return (s,)

    def _loop(self, s: For, around: For | None) -> tuple[Stmt, ...]:
        """An innermost loop, in blocks unless it is one, with what is done ahead."""
        checks = _checks_of(s)
        if not checks or s.step != 1 or _length(s) < _SHORT:
            return (s,)
        if _length(s) <= _BLOCK or (around is not None and around.step > 1):
            return self._with_extremes(s, checks)
        name = self.fresh("j")
        start = symbol(f"%{name}")
        end = Call("least", (Position(start + _BLOCK), s.hi), int64)
        block = replace(s, lo=Position(start), hi=end)
        return (For(name, s.lo, s.hi, _BLOCK, self._with_extremes(block, checks)),)

    def _with_extremes(self, s: For, checks: Sequence[Stmt]) -> tuple[Stmt, ...]:
        """The loop, before it one for the extremes of its positions, and one that checks them if need be."""
        begin: list[Stmt] = []
        body: list[Stmt] = []
        beyond: list[Expr] = []
        read = {name for c in checks for name in names_read(c)}
        for c in checks:
            if not isinstance(c, Use):
                body.append(c)
                continue
            _, position, size, _ = c.args
            assert isinstance(size, Position)
            low, high = (Var(self.fresh("t"), int64) for _ in range(2))
            begin += (Let(var, self.zero()) for var in (low, high))
            body += Set(low, Call("least", (low, position), int64)), Set(high, Call("most", (high, position), int64))
            body += [_known(c)] if c.result is not None and c.result.name in read else []
            least = Position(-size.at if c.kernel == "checked" else 0)
            beyond += Call("<", (low, least), bool_), Call(">=", (high, size), bool_)
        again = If(Call("or", tuple(beyond), bool_), (replace(s, body=tuple(checks)),))
        known = tuple(_known(c) if isinstance(c, Use) and c.kernel in CHECKED else c for c in s.body)
        return (*begin, replace(s, body=tuple(body)), again, replace(s, body=known))


def _length(s: For) -> float:
    """How many steps it has, if that is known."""
    match s.lo, s.hi:
        case Position(lo), Position(hi) if isinstance(hi - lo, int):
            return hi - lo
    return float("inf")


def _known(check: Use) -> Use:
    """A position that was checked before."""
    return replace(check, kernel="on_axis", args=check.args[1:3])


def _checks_of(s: For) -> Sequence[Stmt]:
    """The checks of a loop with all that they need, in order; none if they cannot be done ahead, or need not."""
    uses = [u for u in all_statements(s.body) if isinstance(u, Use)]
    checks = [u for u in s.body if isinstance(u, Use) and u.kernel in CHECKED]
    found = {u.result.name for u in checks if u.result is not None}
    stores = [t for t in all_statements(s.body) if isinstance(t, Store)]
    if len(checks) < len(uses) or any(_integers(t.at) & found for t in stores):
        return ()
    wanted: list[Stmt] = []
    names: set[str] = set()
    for u in reversed(s.body):
        bound = u.var.name if isinstance(u, Let) else u.result.name if isinstance(u, Use) and u.result else ""
        if u in checks or bound in names:
            wanted.insert(0, u)
            names |= set(names_read(u))
    written = {u.var.name for u in all_statements(s.body) if isinstance(u, Set)}
    places = {e.place for u in wanted for e in all_parts(u) if isinstance(e, Load)}
    if names & written or places & {t.place for t in stores}:
        return ()
    computed = (e for t in s.body if t not in wanted for e in all_parts(t) if isinstance(e, Call))
    several = len(checks) > 1 and host_vector_bytes() == 64
    return wanted if several or any(not e.function.startswith("to_") for e in computed) else ()


def _integers(p: Dim) -> set[str]:
    return {name[1:] for name in symbols(p)}
