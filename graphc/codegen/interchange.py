"""Loops whose steps exchange nothing between elements: a block of elements takes all steps before the next one begins.

In: the phases of a body.  Out: the length of the axis along which all of them may be cut, if each element of what they
write is read and written where it stands and nowhere else.  So the carries of a block stay in cache, and blocks are
chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphc.codegen.loop_ir import Call, Code, For, If, Let, Load, Position, Stmt, Store, Use, all_parts
from graphc.codegen.ranges import symbol_of
from graphc.codegen.text import HI, LO, PhaseText
from graphc.codegen.work import total
from graphc.dims import Dim, substitute, symbol
from graphc.schedule.task import Place, Row

BLOCK = 256  # elements of a chunk
Own = bool  # whether an access is to the element that the loop is at


def independent(phases: Sequence[PhaseText], rows: Sequence[Row]) -> Dim | None:
    """The length along which a loop over these phases may be cut; None if it may not."""
    codes = [p.code for p in phases if isinstance(p.code, Code)]
    lengths = {_length(code) for code in codes}
    if len(codes) < len(phases) or len(lengths) != 1:
        return None
    try:
        accesses = [a for code in codes for a in _accesses(_from_bounds(code)[2:], "")]
    except _Crosses:
        return None
    moving = {row.place: row.of for row in rows}
    written = {moving.get(a.place, a.place) for a, _ in accesses if isinstance(a, Store)}
    for a, own in accesses:
        place = moving.get(a.place, a.place)
        if place in written and (not own or (place in moving.values() and a.place not in moving)):
            return None
    return lengths.pop()


def bytes_touched(phases: Sequence[PhaseText], rows: Sequence[Row], length: Dim, trip: Dim) -> Dim:
    """The bytes that a loop over such phases touches, each once: what steps have in common stays in cache."""
    moving = {row.place for row in rows}
    sizes: dict[Place, int] = {}
    for p in phases:
        assert isinstance(p.code, Code)
        for a, own in _accesses(_from_bounds(p.code)[2:], ""):
            if own and a.place.kind != "stack":
                sizes[a.place] = (a.dtype if isinstance(a, Load) else a.value.dtype).size
    return total(length * size * (trip if place in moving else 1) for place, size in sizes.items())


def merged(body: Sequence[Stmt]) -> list[Stmt]:
    """Loops one after the other over the same elements as one, where they are all there is but for what they need."""
    loops = [s for s in body if isinstance(s, For)]
    rest: list[Stmt] = [s for s in body if isinstance(s, Let)]
    if len(loops) + len(rest) < len(body) or len({(s.var, s.lo, s.hi) for s in loops}) != 1:
        return list(body)
    return [*rest, replace(loops[0], body=tuple(s for loop in loops for s in loop.body))]


class _Crosses(Exception):
    """Something is done beside loops from lo to hi."""


def _from_bounds(code: Code) -> Sequence[Stmt]:
    """The statements of a phase but for that which binds how many elements a chunk has, if it is no plain number."""
    match code.loop.body:
        case (Let(var), *rest) if var.name == "some":
            return rest
    return code.loop.body


def _length(code: Code) -> Dim | None:
    """The length that is cut into chunks, if the phase begins with that."""
    match _from_bounds(code)[:2]:
        case (Let(lo), Let(hi, Call("least", (_, Position(end))))) if (lo.name, hi.name) == ("lo", "hi"):
            return substitute(end, {f"%{name}": what for name, what in code.words if not isinstance(what, Place)})
    return None


def _accesses(body: Sequence[Stmt], variable: str) -> Iterator[tuple[Load | Store, Own]]:
    """The accesses of statements, in the loop over the elements of a chunk that has this variable."""
    for s in body:
        for e in all_parts(s):
            if isinstance(e, Load):
                yield e, e.at == symbol(variable)
        match s:
            case Store():
                yield s, s.at == symbol(variable)
            case If():
                yield from _accesses((*s.yes, *s.no), variable)
            case For() if not variable and _is_of_chunk(s):
                yield from _accesses(s.body, symbol_of(s.var))
            case For() if variable:
                yield from _accesses(s.body, variable)
            case For() | Use():
                raise _Crosses


def _is_of_chunk(s: For) -> bool:
    """Whether a loop takes elements of the chunk alone."""
    return _is(s.lo, LO, "most") and _is(s.hi, HI, "least")


def _is(e: object, bound: Dim, narrowed: str) -> bool:
    match e:
        case Position(at):
            return at == bound
        case Call(function, (Position(at), _)):
            return function == narrowed and at == bound
    return False
