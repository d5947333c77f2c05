"""What a phase touches: the places it reads and writes, and at most how many bytes of each.

In: the loops of a phase.  Out: data that lifetimes of buffers, blocks on the stack and reports are made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphc.codegen.loop_ir import (
    FETCHING,
    KERNELS,
    Address,
    Code,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Use,
    all_parts,
)
from graphc.codegen.ranges import Ranges
from graphc.dims import Dim, product
from graphc.schedule.access import linear
from graphc.schedule.task import Place


@dataclass(frozen=True)
class Access:
    """One access of a statement, which is done for every element of `count`; None if as many as there are."""

    place: Place
    writes: bool
    nbytes: Dim | None


@dataclass(frozen=True)
class Footprint:
    """Bytes read and written of each place, each element once; None where the place itself is the only bound."""

    reads: dict[Place, Dim | None] = field(default_factory=dict)
    writes: dict[Place, Dim | None] = field(default_factory=dict)

    @property
    def places(self) -> dict[Place, None]:
        """Every place, in the order in which they are met."""
        return dict.fromkeys((*self.reads, *self.writes))


def places(code: Code) -> dict[Place, None]:
    """Every place that a phase touches."""
    found: dict[Place, None] = {}
    for access in _touched((code.loop,), None, {}):
        found.setdefault(access.place)
    return found


def footprint(code: Code) -> Footprint:
    """Places with the bytes that are touched of them."""
    found = Footprint()
    for access in _touched(code.loop.body, Ranges.of(code), {}):
        where = found.writes if access.writes else found.reads
        before = where.get(access.place, 0)
        where[access.place] = None if before is None or access.nbytes is None else before + access.nbytes
    return found


def _touched(body: tuple[Stmt, ...], ranges: Ranges | None, names: dict[str, Place]) -> Iterator[Access]:
    """The accesses of statements; `names` has what names hold addresses of."""
    seen: set[tuple[Place, Dim, bool]] = set()
    for s in body:
        for e in all_parts(s):
            if isinstance(e, Load) and (e.place, e.at, False) not in seen:
                seen.add((e.place, e.at, False))
                yield Access(e.place, False, _bytes(e, ranges))
        match s:
            case Let(var, Address() as address):
                names[var.name] = _base(address, names)
            case Let(var, value) if ranges is not None:
                ranges.bind(var, value)
            case Store():
                yield Access(s.place, True, _bytes(s, ranges))
            case Use():
                if ranges is not None:
                    ranges.give(s)
                yield from _of_kernel(s, names)
            case If():
                yield from _touched(s.yes, ranges and ranges.under(s.test), names)
                yield from _touched(s.no, ranges and ranges.otherwise(), names)
            case For():
                yield from _touched(s.body, ranges and ranges.inside(s), names)


def _base(address: Address, names: dict[str, Place]) -> Place:
    return names[address.base] if isinstance(address.base, str) else address.base


def _of_kernel(s: Use, names: dict[str, Place]) -> Iterator[Access]:
    if s.kernel in (*FETCHING, "into_line"):
        return
    kernel = KERNELS[s.kernel]
    for writes, numbers in ((False, kernel.reads), (True, kernel.writes)):
        for k in numbers:
            address = s.args[k]
            assert isinstance(address, Address)
            yield Access(_base(address, names), writes, None)


def _bytes(access: Load | Store, ranges: Ranges | None) -> Dim | None:
    """Bytes of the elements between which the index moves: as many as the loops that it names make of it."""
    if ranges is None:
        return None
    dtype = access.dtype if isinstance(access, Load) else access.value.dtype
    steps = linear(access.at)
    extents = []
    for name in set(steps or {}) - {""}:
        found = ranges.known.get(name)
        if found is None and name not in ranges.words:
            return None
        if found is not None:
            extents.append(found[1] - found[0] + 1)
    return None if steps is None else product(extents) * dtype.size
