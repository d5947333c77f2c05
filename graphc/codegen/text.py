"""A program under construction: kernels, their rows of words, names, constants, nested scopes.

In: what the emitters of nests, products and scatters ask for.  Out: kernels and the phases that run them.  The text of
a kernel depends neither on the program nor on its place in it: addresses, sizes and failures come from a row of words
of the phase, and names are numbered from 0.  So phases that do the same to other arrays are one kernel.  Words of the
row, names and storages are numbered in the order in which they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphc.codegen.ahead import Ahead
from graphc.codegen.cuts import cut
from graphc.codegen.loop_ir import (
    CHUNK,
    Address,
    Call,
    Code,
    Const,
    Control,
    Expr,
    For,
    Load,
    Position,
    Store,
    Var,
    moved,
)
from graphc.codegen.printer import name_of, shift_of
from graphc.codegen.program import WORKERS
from graphc.codegen.remainders import by_remainders
from graphc.codegen.scope import Loop, Scope
from graphc.dims import Dim, Poly, floor_div, is_positive, symbol, symbols
from graphc.graph import Node
from graphc.schedule.storage import Schedule
from graphc.schedule.task import Place, Task
from graphc.types import DType, Shape, bool_, int64

ZERO = Position(0)
LO, HI = symbol("%lo"), symbol("%hi")  # what a chunk does of the loop that is cut
PART, FIRST, LAST = symbol("%part"), symbol("%first"), symbol("%last")  # and of a second one, in a part of the first


def test(function: str, *args: Expr) -> Call:
    """A truth value."""
    return Call(function, args, bool_)


def integer(function: str, *args: Expr) -> Call:
    """An integer of the program."""
    return Call(function, args, int64)


@dataclass(frozen=True)
class PhaseText:
    """A run of a kernel: the loops of `printed`, with the places that `moved` has instead of its own.

    `flops` and `nbytes` are those of one run, of which there are `times`.
    """

    title: str
    printed: Code | Control
    chunks: Dim
    flops: Dim
    nbytes: Dim
    tasks: tuple[Task, ...]  # whose work it does
    roots: tuple[Task, ...]  # the tasks of the program that hold these, or they themselves
    times: Dim = 1
    moved: Mapping[Place, Place] = field(default_factory=dict)

    @property
    def row(self) -> tuple[Dim | Place, ...]:
        """The words; a place stands for the frame's word of its address."""
        p = self.printed
        words = p.row if isinstance(p, Control) else [what for _, what in p.words]
        return tuple(self.moved.get(w, w) if isinstance(w, Place) else w for w in words)

    @property
    def code(self) -> Code | Control:
        """The loops, with the places of this phase."""
        return moved(self.printed, self.moved) if self.moved else self.printed


@dataclass(frozen=True)
class Printed:
    """The phases of tasks that were printed, none if they do not fit in one; their places, and buffers of their own."""

    phases: tuple[PhaseText, ...]
    places: tuple[Place, ...]
    scratch: tuple[Place, ...]


@dataclass(frozen=True)
class Lifetime:
    """The phases between which a buffer must live."""

    first: int
    last: int


@dataclass
class Text:
    """The program under construction."""

    schedule: Schedule
    mentioned: Mapping[Place, int] = field(default_factory=dict)  # how many tasks of the program touch each place
    phases: list[PhaseText] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    uses: dict[int, Lifetime] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()  # whose phases are being printed
    roots: tuple[Task, ...] = ()  # that holds them, if any
    place: Mapping[Node, Place] = field(default_factory=dict)  # where values lie that the tasks load
    times: Dim = 1  # how often the phases run
    lists: Mapping[Place, Place] = field(default_factory=dict)  # of inputs whose rows may lie anywhere: where they do
    rows: dict[Place, tuple[DType, Dim]] = field(default_factory=dict)  # what moves in loops: dtype, elements
    counted: tuple[Place, str] | None = None  # what counts the innermost loop, and how errors tell it
    _names: int = 0
    _nests: int = 0
    _row: dict[tuple[str, Dim | Place], str] = field(default_factory=dict)  # names of the words, in their order
    _asked: set[Dim] = field(default_factory=set)  # dimensions whose words are in the row
    _constants: dict[str, Const] = field(default_factory=dict)
    _storages: dict[Place, int] = field(default_factory=dict)
    _stacks: set[int] = field(default_factory=set)  # blocks on the stack

    def fresh(self, letter: str = "t") -> str:
        self._names += 1
        return f"{letter}{self._names}"

    @contextmanager
    def phase(
        self, title: str, chunks: Dim, flops: Dim = 0, nbytes: Dim = 0, *, is_light: bool = False
    ) -> Iterator[Scope]:
        """A phase whose statements are put into the scope that is given out."""
        self._names, self._nests = 0, 0
        self._row, self._asked, self._constants = {}, set(), {}
        self._stacks = set()
        scope = Scope(None)
        yield scope
        body = Ahead(self.fresh, lambda: self.constant(0, int64)).block(scope.body)
        loop = For("chunk", ZERO, Position(chunks), 1, body, "chunks")
        words = tuple((name, what) for (_, what), name in self._row.items())
        code = Code(loop, words, tuple(self._constants.values()), tuple(sorted(self._stacks)), is_light)
        code = cut(by_remainders(code))
        roots = self.roots or self.tasks
        self._add(PhaseText(title, code, chunks, flops, nbytes, self.tasks, roots, self.times))

    def _add(self, phase: PhaseText) -> None:
        """The next phase of the program."""
        self._use(phase.row, len(self.phases))
        self.phases.append(phase)

    def _use(self, row: Iterable[Dim | Place], now: int) -> None:
        """The buffers in a phase's row must live in it."""
        for place in row:
            if isinstance(place, Place) and place.kind == "buffer":
                life = self.uses.get(place.number, Lifetime(now, now))
                self.uses[place.number] = Lifetime(min(life.first, now), max(life.last, now))

    def open_control(self, what: str, title: str) -> int:
        """The number of a control phase, the words of which are known later."""
        self._add(PhaseText(title, Control(what, ()), 1, 0, 0, self.tasks, self.roots or self.tasks))
        return len(self.phases) - 1

    def close_control(self, number: int, row: tuple[Dim | Place, ...]) -> None:
        """Give a control phase its words."""
        phase = self.phases[number]
        assert isinstance(phase.printed, Control)
        self.phases[number] = replace(phase, printed=Control(phase.printed.what, row))
        self._use(row, number)

    def live_through(self, first: int) -> None:
        """Have what is made before a loop that begins with this phase and used in it live to the loop's end."""
        last = len(self.phases) - 1
        for number, life in self.uses.items():
            if life.first < first <= life.last:
                self.uses[number] = Lifetime(life.first, max(life.last, last))

    def repeat(self, known: Printed, places: Sequence[Place]) -> None:
        """The phases of tasks that differ in nothing but their places from those that are known."""
        scratch = (self.scratch(*self.schedule.buffers[p.number]) for p in known.scratch)
        new = dict(zip((*known.places, *known.scratch), (*places, *scratch), strict=True))
        for phase in known.phases:
            roots = self.roots or self.tasks
            self._add(replace(phase, tasks=self.tasks, roots=roots, times=self.times, moved=new))

    def scratch_of_chunk(self, dtype: DType, chunks: Dim, shape: Shape) -> Place:
        """What a chunk of so many needs for itself: the part with the number WORKER of a buffer of such parts."""
        return self.scratch(dtype, (1 if chunks == 1 else WORKERS, *shape))

    def scratch(self, dtype: DType, shape: Shape) -> Place:
        """A buffer of the emitters' own."""
        self.schedule.buffers.append((dtype, shape))
        return Place("buffer", len(self.schedule.buffers) - 1)

    def is_private(self, place: Place) -> bool:
        """Whether a place holds nothing but what one task makes for one other."""
        return place.kind == "buffer" and self.mentioned.get(place) == 2

    # words of the row

    def _word(self, what: Dim | Place, letter: str) -> str:
        return self._row.setdefault((letter, what), f"{letter}{len(self._row)}")

    def _ask(self, p: Dim) -> None:
        """Have a word for every symbol of a dimension."""
        if isinstance(p, int) or p in self._asked:
            return
        self._asked.add(p)
        for monomial, _ in p.terms:
            for atom, _ in monomial:
                if atom.kind != "symbol":
                    for operand in atom.operands:
                        self._ask(operand)
                elif not str(atom.operands[0]).startswith("%"):
                    self._word(symbol(atom.operands[0]), "d")

    def at(self, p: Dim) -> Position:
        """A dimension or an index as a value."""
        self._ask(p)
        return Position(p)

    def value(self, p: Dim) -> Dim:
        """A dimension that is kept in the row, so that code does not depend on it."""
        return symbol(f"%{self._word(p, 'n')}")

    def own(self, p: Dim) -> Dim:
        """The same in a word of its own, so that code does not depend on which others are equal to it."""
        name = f"n{len(self._row)}"
        self._row[name, p] = name
        return symbol(f"%{name}")

    def end(self, p: Dim) -> Position:
        """The same of a size that no call decides."""
        return Position(self.value(p)) if isinstance(p, int) else self.at(p)

    def failure(self, text: str, line: str) -> Var:
        """The status which tells of this failure; in a loop the error says in which iteration."""
        self.failures.append((text + ("" if self.counted is None else self.counted[1]), line))
        return Var(self.status(len(self.failures)), int64)

    def status(self, number: Dim) -> str:
        """The word that holds the status of a failure."""
        return self._word(number, "f")

    # memory

    def address(self, base: Place | str, *terms: Dim) -> Address:
        """The address of a place, or what a name holds, and as many bytes more."""
        if isinstance(base, Place):
            self._reach(base)
        for term in terms:
            self._ask(term)
        return Address(base, tuple(t for t in terms if t != 0))

    def _reach(self, place: Place) -> None:
        if place.kind == "stack":
            self._stacks.add(place.number)
        else:
            self._word(place, "p")

    def _storage(self, place: Place) -> int:
        """The number by which the present nest tells this memory from other memory."""
        return self._storages.setdefault(place, len(self._storages))

    def _index(self, place: Place, p: Dim) -> None:
        shift = 0 if place.kind == "stack" else shift_of(p)
        self._ask(p - shift)
        if shift != 0:
            self._word(shift, "n")

    def new_nest(self) -> None:
        self._nests += 1
        self._storages = {}

    def load(self, place: Place, dtype: DType, at: Dim, some: Dim = 1) -> Load:
        """An element; of no array where the axis of length `some` may be empty."""
        self._index(place, at)
        self._reach(place)
        if not is_positive(some):
            self._ask(some)
        return Load(place, at, dtype, self._nests, self._storage(place), some)

    def store(self, place: Place, at: Dim, value: Expr) -> Store:
        self._index(place, at)
        storage = self._storage(place)
        self._reach(place)
        return Store(place, at, value, self._nests, storage)

    def scope_of(self, address: Expr) -> tuple[int, int]:
        """The present nest, and the number by which it tells the memory that begins there."""
        assert isinstance(address, Address)
        assert isinstance(address.base, Place)
        return self._nests, self._storage(address.base)

    def constant(self, value: Any, dtype: DType) -> Const:
        const = Const(np.asarray(value).astype(dtype.numpy)[()], dtype)
        if dtype.kind != "b":
            self._constants.setdefault(name_of(const), const)
        return const

    # loops

    def loop(self, scope: Scope, var: str, hi: Dim | Expr, lo: Dim | Expr = 0, step: int = 1) -> Loop:
        """A loop in a scope; the loop over an axis has its number for a name."""
        first, end = (self.at(e) if isinstance(e, (int, Poly)) else e for e in (lo, hi))
        return Loop(scope, var, first, end, step)

    def cut(
        self, scope: Scope, size: Dim, end: Position, number: Dim = CHUNK, names: tuple[str, str] = ("lo", "hi")
    ) -> None:
        """Bind the names between which the part of `size` elements lies that has this number."""
        if not isinstance(size, int) and size not in map(symbol, symbols(size)):
            name = "some" if names[0] == "lo" else f"{names[0]}_some"
            size = symbol(f"%{scope.let(name, self.at(size)).name}")
        low = scope.let(names[0], integer("*", Position(number), self.at(size)))
        scope.let(names[1], integer("least", self.at(symbol(f"%{low.name}") + size), end))

    def cut_twice(self, scope: Scope, outer: tuple[Dim, Position], pieces: Dim, inner: tuple[Dim, Position]) -> None:
        """Bind lo and hi of a part of one loop, first and last of a piece of it, which is a part of another loop."""
        scope.let("part", self.at(floor_div(CHUNK, pieces)))
        self.cut(scope, *outer, PART)
        self.cut(scope, *inner, CHUNK - PART * pieces, ("first", "last"))

    def loops(self, scope: Scope, axes: Iterator[tuple[int, Dim]]) -> list[Scope]:
        """The scope, and one inside the other the loops over axes of these lengths."""
        scopes = [scope]
        for axis, length in axes:
            scopes.append(self.loop(scopes[-1], str(axis), length))
        return scopes
