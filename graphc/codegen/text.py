"""Text of a program as it is printed: frame words, names, constants, nested scopes.

In: what the emitters of nests, products and scatters print.  Out: one `program` function, with the sections of the
frame that it refers to.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.codegen.program import word
from graphc.dims import Atom, Dim, is_positive
from graphc.schedule.storage import Schedule
from graphc.schedule.task import Place, Task
from graphc.types import DType, Shape

INDENT = "    "
_LETTERS = {"input": "x", "output": "y", "parameter": "p", "constant": "k", "buffer": "b", "stack": "r"}
PHASES = 24  # of one function: past some 30 the front end grows faster than linearly


def code_of(dtype: DType) -> str:
    """The two letters by which intrinsics name a dtype: f4, i8, b1 ..."""
    return f"{dtype.kind}{dtype.size}"


class Scope:
    """Lines at one level of a loop nest, and the values computed there."""

    def __init__(
        self, parent: Scope | None, header: str = "", variables: Sequence[str] = (), guard: bool = False
    ) -> None:
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

    def close_if_filled(self) -> None:
        if self.lines:
            self.close()


@dataclass
class PhaseText:
    """A phase; `segments` are further phases that run the same code on other words of the frame."""

    title: str
    chunks: Dim
    flops: Dim
    nbytes: Dim
    lines: list[str]
    tasks: tuple[Task, ...] = ()  # whose work it does
    segments: list[PhaseText] = field(default_factory=list)

    def alike(self, other: PhaseText) -> bool:
        return _anonymous(self.lines) == _anonymous(other.lines)

    def total(self, what: str) -> Dim:
        total: Dim = 0
        for phase in (self, *self.segments):
            total = total + getattr(phase, what)
        return total

    @property
    def words(self) -> list[str]:
        """The words of the frame that the code loads, in order."""
        return [match[0] for line in self.lines for match in _PLACEHOLDER.finditer(line)]


_FUNCTIONS = {"floor": "quotient", "max": "most", "min": "least"}
_PLACEHOLDER = re.compile(r"@(?P<section>[a-z]+)(?P<number>\d+)@")
_NAME = re.compile(r"\b([tabcdnpqxyk])(\d+)(?=\b|_(?:lost|block)\b)|\b(ld|st)(_[a-z]\d)_\d+_")


def _anonymous(lines: Sequence[str]) -> str:
    """The text with its words and names, but for constants, numbered from 0."""
    known: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        if match[3]:
            return f"{match[3]}{match[4]}_"
        if match[1] == "c":
            return match[0]
        return known.setdefault(match[0], f"{match[1]}{len(known)}")

    return _NAME.sub(rename, _PLACEHOLDER.sub("@", "\n".join(lines)))


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
    values: list[Dim | str] = field(default_factory=list)  # a str is a placeholder for the number of a word
    nests: int = 0
    tasks: tuple[Task, ...] = ()  # whose phases are being printed
    may_join: bool = False  # whether the next phase may run at the same time as the one before it
    joined: bool = False  # whether the last phase became a segment of the one before it
    _names: int = 0
    _prologue: dict[str, str] = field(default_factory=dict)
    _storages: dict[Place, int] = field(default_factory=dict)

    def fresh(self, letter: str = "t") -> str:
        self._names += 1
        return f"{letter}{self._names}"

    @contextmanager
    def phase(self, title: str, chunks: Dim, flops: Dim = 0, nbytes: Dim = 0) -> Iterator[Scope]:
        """A phase whose lines are written into the scope that is given out.

        Where it reads like the phase before it but for the words that it loads, and may join it, it becomes another
        segment of that phase: the code is compiled once.
        """
        self._prologue, self._storages = {}, {}
        scope = Scope(None)
        yield scope
        lines = [f"{name} = {value}" for name, value in self._prologue.items()] + scope.lines
        phase = PhaseText(title, chunks, flops, nbytes, lines or ["pass"], self.tasks)
        self.joined = self.may_join and self.phases[-1].alike(phase)
        if self.joined:
            self.phases[-1].segments.append(phase)
            self._move_uses(len(self.phases), len(self.phases) - 1)
        else:
            self.phases.append(phase)

    def _move_uses(self, now: int, actual: int) -> None:
        for use in self.uses.values():
            use.first = actual if use.first == now else use.first
            use.last = actual if use.last == now else use.last

    def scratch(self, dtype: DType, shape: Shape) -> Place:
        """A buffer of the emitters' own."""
        self.schedule.buffers.append((dtype, shape))
        return Place("buffer", len(self.schedule.buffers) - 1)

    # names of things in the frame

    def address(self, place: Place) -> str:
        """The variable that holds the address of `place` in this phase."""
        name = f"{_LETTERS[place.kind]}{place.number}"
        if place.kind == "stack":
            self._prologue.setdefault(name, f"stack_{place.number}()")
            return name
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

    def load(self, place: Place, dtype: DType, position: str, length: Dim = 1) -> str:
        """A load; if an axis of this length may be empty, from the frame instead: the check has failed by then."""
        address = self.address(place)
        if not is_positive(length):
            some = f"{self.dim(length)} > 0"
            address, position = f"select({some}, {address}, T)", f"select({some}, {position}, 0)"
        return f"ld_{code_of(dtype)}_{self.nests}_{self.storage(place)}({address}, {position})"

    def store(self, place: Place, dtype: DType, position: str, value: str) -> str:
        return f"st_{code_of(dtype)}_{self.nests}_{self.storage(place)}({self.address(place)}, {position}, {value})"

    def copy(self, scope: Scope, source: Place, target: Place, dtype: DType, size: Dim) -> None:
        """Print a nest that copies `size` contiguous elements."""
        self.new_nest()
        loop = Scope(scope, f"for i in range({self.dim(size)}):")
        loop.lines.append(self.store(target, dtype, "i", self.load(source, dtype, "i")))
        loop.close()

    def factor(self, p: Dim) -> str:
        """A dimension as the factor of a product."""
        text = self.dim(p)
        return f"({text})" if " " in text else text

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
            return f"{_FUNCTIONS[atom.kind]}({p}, {q})"
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

    def value(self, p: Dim) -> str:
        """The variable that holds a dimension kept in the frame, so that code does not depend on it."""
        self.values.append(p)
        number = len(self.values) - 1
        self._prologue[f"n{number}"] = f"word(T, @value{number}@)"
        return f"n{number}"

    def failure(self, text: str, line: str) -> int:
        """The status that tells of this failure."""
        self.failures.append((text, line))
        return len(self.failures)

    # the finished text

    def finish(self) -> None:
        """Lay out the tables of the phases that have segments: the words of each, then its number of chunks."""
        for phase in self.phases:
            if not phase.segments:
                continue
            first, width = len(self.values), len(phase.words)
            for segment in (phase, *phase.segments):
                self.values += [*segment.words, segment.chunks]
            phase.lines = [
                f"s = T + 8 * @value{first}@",
                f"while chunk >= word(s, {width}):",
                f"{INDENT}chunk = chunk - word(s, {width})",
                f"{INDENT}s = s + {8 * (width + 1)}",
                *_of_segment(phase.lines),
            ]

    def render(self, counts: dict[str, int]) -> str:
        """The module's text; `counts` has the number of words in each section of the frame."""
        lines = ['"""Kernels printed by graphc."""', ""]
        for (dtype, raw), name in self.constants.items():
            value = np.frombuffer(raw, dtype)[0]
            lines.append(f"{name} = {dtype}({_literal(value)})")
        blocks = [self.phases[k : k + PHASES] for k in range(0, len(self.phases), PHASES)]
        for n, block in enumerate(blocks):
            name = "program" if len(blocks) == 1 else f"program_{n}"
            lines += ["", "", f"def {name}(T, phase, chunk):", INDENT + "wide()"]
            for k, phase in enumerate(block):
                copies = f" ({1 + len(phase.segments)} times)" if phase.segments else ""
                test = f"{'if' if k == 0 else 'elif'} phase == {n * PHASES + k}:"
                lines.append(f"{INDENT}{test}  # {phase.title}{copies}")
                lines += [2 * INDENT + line for line in phase.lines]
        lines += _dispatch(len(blocks)) if len(blocks) != 1 else []
        return numbered("\n".join(lines) + "\n", counts)


def _of_segment(lines: Sequence[str]) -> list[str]:
    """Lines in which the words of the frame are taken, in order, from the row of a segment."""
    numbers = itertools.count()
    return [_PLACEHOLDER.sub(lambda m: f"word(s, {next(numbers)})", line) for line in lines]


def _dispatch(blocks: int) -> list[str]:
    """A program that calls the function whose block a phase belongs to."""
    lines = ["", "", "def program(T, phase, chunk):"]
    for n in range(blocks):
        test = "else" if n == blocks - 1 else f"{'if' if n == 0 else 'elif'} phase < {(n + 1) * PHASES}"
        lines += [f"{INDENT}{test}:", f"{2 * INDENT}program_{n}(T, phase, chunk)"]
    return lines if blocks else [*lines, f"{INDENT}pass"]


def numbered(text: str, counts: dict[str, int]) -> str:
    """Text with the number of the word for each placeholder."""
    return _PLACEHOLDER.sub(lambda m: str(word(counts, m["section"], int(m["number"]))), text)


def _literal(value: Any) -> str:
    return repr(value.item()) if np.isfinite(value) else f'"{value}"'
