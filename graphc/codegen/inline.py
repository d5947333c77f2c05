"""Small bodies in one kernel: the loops of phases, one after the other, as statements of a loop around them.

In: phases of one chunk each.  Out: their statements under names of their own, in another phase.  What moves from step
to step is a place and an index that depends on the position; the position is a variable.  All are one nest: whatever
lies in two places of one phase never overlaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from graphc.codegen.loop_ir import (
    Address,
    Code,
    Control,
    Expr,
    For,
    If,
    Let,
    Load,
    Stmt,
)
from graphc.codegen.renaming import Renaming
from graphc.codegen.text import PhaseText, Text
from graphc.dims import Dim, substitute, symbol, symbols
from graphc.schedule.task import Place, Row

_STATEMENTS = 400  # of a kernel; past it a call of a phase is little beside what it does
_WORK = 20_000  # bytes and operations of a step


def fits(phases: Sequence[PhaseText]) -> bool:
    """Whether phases are few and short enough to be one kernel."""
    if not all(isinstance(p.printed, Code) and p.chunks == 1 for p in phases):
        return False
    flops = sum(p.flops for p in phases)
    nbytes = sum(p.nbytes for p in phases if isinstance(p.nbytes, int))  # else it reads a few of very many elements
    if not isinstance(flops, int) or flops + nbytes > _WORK:
        return False
    return sum(_count(p.printed.loop.body) for p in phases if isinstance(p.printed, Code)) <= _STATEMENTS


def _count(body: Sequence[Stmt]) -> int:
    inside = (s.body if isinstance(s, For) else (*s.yes, *s.no) for s in body if isinstance(s, For | If))
    return len(body) + sum(map(_count, inside))


@dataclass
class Inlining(Renaming):
    """Statements of a phase, for the phase that is being printed; `rows` move with `at`, the position of a loop."""

    text: Text
    number: int
    code: Code | Control
    rows: Mapping[Place, Row]
    position: Place | None
    at: Dim
    shared: Sequence[str] = ()  # names that all phases have, those bound by a Let around them

    def __post_init__(self) -> None:
        names = {"chunk": f"chunk_{self.number}"} | {name: name for name in self.shared}
        super().__init__(self.text, names, {"%chunk": 0, "%worker": 0})
        assert isinstance(self.code, Code)
        self.body = self.code.loop.body
        for name, what in self.code.words:
            if isinstance(what, Place):
                continue
            if name[0] == "n":
                self.dims[f"%{name}"] = self.text.value(what)
            elif name[0] == "f":
                self.names[name] = self.text.status(what)

    def statements(self) -> Iterator[Stmt]:
        return (self.statement(s) for s in self.body if not (isinstance(s, Let) and s.var.name in self.shared))

    def expr(self, e: Expr) -> Expr:
        return self.text.at(self.at) if isinstance(e, Load) and e.place == self.position else super().expr(e)

    def address(self, e: Address) -> Address:
        terms = tuple(map(self.dim, e.terms))
        if isinstance(e.base, str):
            return self.text.address(self.name(e.base), *terms)
        place, shift = self.place(e.base)
        row = self.rows.get(e.base)
        return self.text.address(place, *terms, shift * row.dtype.size if row else 0)

    def place(self, place: Place) -> tuple[Place, Dim]:
        """Where a place lies, and how many elements further at this position."""
        row = self.rows.get(place)
        return (place, 0) if row is None else (row.of, self.at * row.size)

    # names

    def name(self, name: str) -> str:
        return self.names.setdefault(name, f"{name}_{self.number}")

    def dim(self, p: Dim) -> Dim:
        """A dimension over the new names of variables and words."""
        if isinstance(p, int):
            return p
        for old in symbols(p):
            if old.startswith("%") and old not in self.dims:
                plain = f"i{old[1:]}" if old[1:].isdigit() else old[1:]
                self.dims[old] = symbol(f"%{self.name(plain)}")
        return substitute(p, self.dims)
