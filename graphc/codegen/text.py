"""Text of a program as it is printed: frame words, names, constants, nested scopes.

In: what the emitters of nests, products and scatters print.  Out: one `program` function, with the sections of the
frame that it refers to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.codegen.program import SECTIONS, word
from graphc.dims import Atom, Dim, Poly
from graphc.schedule.storage import Place, Schedule
from graphc.types import DType, Shape

INDENT = "    "


def code_of(dtype: DType) -> str:
    """The two letters by which intrinsics name a dtype: f4, i8, b1 ..."""
    return f"{dtype.kind}{dtype.size}"


class Scope:
    """Lines at one level of a loop nest, and the values computed there."""

    def __init__(self, parent: Scope | None, header: str = "", variables: Sequence[str] = (), guard: bool = False) -> None:
        self.parent = parent
        self.header = header
        self.variables = set(variables)
        self.guard = guard
        self.lines: list[str] = []
        self.memo: dict[Any, str] = {}

    def chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find(self, key: Any) -> str | None:
        return next((s.memo[key] for s in self.chain() if key in s.memo), None)

    def close(self) -> None:
        """Append this scope to its parent as a block."""
        assert self.parent is not None
        self.parent.lines += [self.header, *(INDENT + line for line in self.lines or ["pass"])]


@dataclass
class PhaseText:
    title: str
    chunks: Dim
    flops: Dim
    nbytes: Dim
    lines: list[str]


@dataclass
class Use:
    """The phases between which a buffer must live."""

    first: int
    last: int


@dataclass
class Text:
    """The program under construction."""

    schedule: Schedule
    symbols: list[str]
    phases: list[PhaseText] = field(default_factory=list)
    constants: dict[tuple[str, bytes], str] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    uses: dict[int, Use] = field(default_factory=dict)
    values: list[Dim] = field(default_factory=list)
    nests: int = 0
    _names: int = 0
    _prologue: dict[str, str] = field(default_factory=dict)
    _storages: dict[Place, int] = field(default_factory=dict)

    def fresh(self, letter: str = "t") -> str:
        self._names += 1
        return f"{letter}{self._names}"

    @contextmanager
    def phase(self, title: str, chunks: Dim, flops: Dim = 0, nbytes: Dim = 0) -> Iterator[Scope]:
        """A phase whose lines are written into the scope that is given out."""
        self._prologue, self._storages = {}, {}
        scope = Scope(None)
        yield scope
        lines = [f"{name} = {value}" for name, value in self._prologue.items()] + scope.lines
        self.phases.append(PhaseText(title, chunks, flops, nbytes, lines or ["pass"]))

    def scratch(self, dtype: DType, shape: Shape) -> Place:
        """A buffer of the emitters' own."""
        self.schedule.buffers.append((dtype, shape))
        return Place("buffer", len(self.schedule.buffers) - 1)

    # names of things in the frame

    def address(self, place: Place) -> str:
        """The variable that holds the address of `place` in this phase."""
        letter = {"input": "x", "output": "y", "parameter": "p", "constant": "k", "buffer": "b"}[place.kind]
        name = f"{letter}{place.number}"
        if place.kind == "buffer":
            now = len(self.phases)
            use = self.uses.setdefault(place.number, Use(now, now))
            use.first, use.last = min(use.first, now), max(use.last, now)
            self._prologue.setdefault(name, f"T + word(T, @buffer{place.number}@)")
        else:
            self._prologue.setdefault(name, f"word(T, @{place.kind}{place.number}@)")
        return name

    def storage(self, place: Place) -> int:
        """The number by which the present nest tells this memory from other memory."""
        return self._storages.setdefault(place, len(self._storages))

    def new_nest(self) -> None:
        self.nests += 1
        self._storages = {}

    def load(self, place: Place, dtype: DType, position: str) -> str:
        return f"ld_{code_of(dtype)}_{self.nests}_{self.storage(place)}({self.address(place)}, {position})"

    def store(self, place: Place, dtype: DType, position: str, value: str) -> str:
        return f"st_{code_of(dtype)}_{self.nests}_{self.storage(place)}({self.address(place)}, {position}, {value})"

    def dim(self, p: Dim) -> str:
        """A dimension or index expression as text."""
        if isinstance(p, int):
            return str(p)
        out = ""
        for monomial, coefficient in p.terms:
            factors = [self._atom(a) for a, power in monomial for _ in range(power)]
            if abs(coefficient) != 1 or not factors:
                factors.append(str(abs(coefficient)))
            term = "*".join(factors)
            sign = "-" if coefficient < 0 else "+"
            out = f"{out} {sign} {term}" if out else (f"-{term}" if coefficient < 0 else term)
        return out

    def _atom(self, atom: Atom) -> str:
        if atom.kind != "symbol":
            p, q = (self.dim(o) for o in atom.operands)
            return f"{'quotient' if atom.kind == 'floor' else atom.kind}({p}, {q})"
        name = str(atom.operands[0])
        if name.startswith("%"):
            return f"i{name[1:]}" if name[1:].isdigit() else name[1:]
        number = self.symbols.index(name)
        self._prologue.setdefault(f"d{number}", f"word(T, @value{number}@)")
        return f"d{number}"

    def constant(self, value: Any, dtype: DType) -> str:
        """A literal, or the name of a typed constant."""
        scalar = np.asarray(value).astype(dtype.numpy)[()]
        if dtype.kind == "b":
            return str(bool(scalar))
        return self.constants.setdefault((dtype.name, scalar.tobytes()), f"c{len(self.constants)}")

    def failure(self, text: str, line: str) -> int:
        """The status that tells of this failure."""
        self.failures.append((text, line))
        return len(self.failures)

    # the finished text

    def render(self, counts: dict[str, int]) -> str:
        """The module's text; `counts` has the number of words in each section of the frame."""
        lines = ['"""Kernels printed by graphc."""', ""]
        for (dtype, raw), name in self.constants.items():
            value = np.frombuffer(raw, dtype)[0]
            lines.append(f"{name} = {dtype}({_literal(value)})")
        lines += ["", "", "def program(T, phase, chunk):", INDENT + "wide()"]
        for k, phase in enumerate(self.phases):
            lines.append(f"{INDENT}{'if' if k == 0 else 'elif'} phase == {k}:  # {phase.title}")
            lines += [2 * INDENT + line for line in phase.lines]
        text = "\n".join(lines) + "\n"
        return re.sub(r"@([a-z]+)(\d+)@", lambda m: str(word(counts, m[1], int(m[2]))), text)


def _literal(value: Any) -> str:
    return repr(value.item()) if np.isfinite(value) else f'"{value}"'


