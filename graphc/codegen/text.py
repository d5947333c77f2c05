"""Text of a program as it is printed: kernels, their rows of words, names, constants, nested scopes.

In: what the emitters of nests, products and scatters print.  Out: kernels and the phases that run them.  The text of a
kernel depends neither on the program nor on its place in it: addresses, sizes and failures come from a row of words of
the phase, and names are numbered from 0.  So phases that do the same to other arrays are one kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.dims import Atom, Dim, is_positive, symbol
from graphc.schedule.storage import Schedule
from graphc.schedule.task import Place, Task
from graphc.types import DType, Shape

INDENT = "    "
_FUNCTIONS = {"floor": "quotient", "max": "most", "min": "least"}


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


@dataclass(frozen=True)
class PhaseText:
    """A run of a kernel: `row` holds its words, a place for the frame's word of its address."""

    title: str
    chunks: Dim
    flops: Dim
    nbytes: Dim
    kernel: int
    row: tuple[Dim | Place, ...]
    tasks: tuple[Task, ...]  # whose work it does


@dataclass
class Use:
    """The phases between which a buffer must live."""

    first: int
    last: int


@dataclass
class Text:
    """The program under construction."""

    schedule: Schedule
    phases: list[PhaseText] = field(default_factory=list)
    kernels: dict[str, int] = field(default_factory=dict)  # numbers by text
    failures: list[tuple[str, str]] = field(default_factory=list)
    uses: dict[int, Use] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()  # whose phases are being printed
    _names: int = 0
    _nests: int = 0
    _row: dict[tuple[str, Dim | Place], str] = field(default_factory=dict)  # names of the words, in their order
    _stacks: set[int] = field(default_factory=set)
    _constants: dict[str, str] = field(default_factory=dict)
    _storages: dict[Place, int] = field(default_factory=dict)

    def fresh(self, letter: str = "t") -> str:
        self._names += 1
        return f"{letter}{self._names}"

    @contextmanager
    def phase(self, title: str, chunks: Dim, flops: Dim = 0, nbytes: Dim = 0) -> Iterator[Scope]:
        """A phase whose lines are written into the scope that is given out."""
        self._names, self._nests = 0, 0
        self._row, self._stacks, self._constants = {}, set(), {}
        scope = Scope(None)
        yield scope
        text = self._kernel(scope.lines)
        row = tuple(what for _, what in self._row)
        number = self.kernels.setdefault(text, len(self.kernels))
        self.phases.append(PhaseText(title, chunks, flops, nbytes, number, row, self.tasks))

    def _kernel(self, lines: Sequence[str]) -> str:
        words = [
            f"{name} = {f'word(T, word(s, {k}))' if isinstance(what, Place) else f'word(s, {k})'}"
            for k, ((_, what), name) in enumerate(self._row.items())
        ]
        stacks = [f"r{n} = stack_{n}()" for n in sorted(self._stacks)]
        constants = [f"{name} = {value}" for name, value in self._constants.items()]
        body = [INDENT + line for line in ("wide()", *words, *stacks, *lines)]
        return "\n".join([*constants, "", "", "def kernel(T, s, chunk):", *body, ""])

    def scratch(self, dtype: DType, shape: Shape) -> Place:
        """A buffer of the emitters' own."""
        self.schedule.buffers.append((dtype, shape))
        return Place("buffer", len(self.schedule.buffers) - 1)

    # names of words

    def _word(self, what: Dim | Place, letter: str) -> str:
        return self._row.setdefault((letter, what), f"{letter}{len(self._row)}")

    def address(self, place: Place) -> str:
        """The variable that holds the address of `place` in this phase."""
        if place.kind == "stack":
            self._stacks.add(place.number)
            return f"r{place.number}"
        if place.kind == "buffer":
            now = len(self.phases)
            use = self.uses.setdefault(place.number, Use(now, now))
            use.first, use.last = min(use.first, now), max(use.last, now)
        return self._word(place, "p")

    def storage(self, place: Place) -> int:
        """The number by which the present nest tells this memory from other memory."""
        return self._storages.setdefault(place, len(self._storages))

    def new_nest(self) -> None:
        self._nests += 1
        self._storages = {}

    def load(self, place: Place, dtype: DType, position: str, length: Dim = 1) -> str:
        """A load; if an axis of this length may be empty, from the frame instead: the check has failed by then."""
        address = self.address(place)
        if not is_positive(length):
            some = f"{self.dim(length)} > 0"
            address, position = f"select({some}, {address}, T)", f"select({some}, {position}, 0)"
        return f"ld_{code_of(dtype)}_{self._nests}_{self.storage(place)}({address}, {position})"

    def store(self, place: Place, dtype: DType, position: str, value: str) -> str:
        return f"st_{code_of(dtype)}_{self._nests}_{self.storage(place)}({self.address(place)}, {position}, {value})"

    def copy(self, scope: Scope, source: Place, target: Place, dtype: DType, size: Dim) -> None:
        """Print a nest that copies `size` contiguous elements."""
        self.new_nest()
        loop = Scope(scope, f"for i in range({self.dim(size)}):")
        loop.lines.append(self.store(target, dtype, "i", self.load(source, dtype, "i")))
        loop.close()

    # dimensions and constants

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
        return self._word(symbol(name), "d")

    def position(self, p: Dim) -> str:
        """An index expression whose constant part is a word of the row, so that slices at other places are alike."""
        shift = 0 if isinstance(p, int) else next((c for monomial, c in p.terms if not monomial), 0)
        if shift == 0:
            return self.dim(p)
        return f"{self.dim(p - shift)} + {self.value(shift)}"

    def constant(self, value: Any, dtype: DType) -> str:
        """A literal, or the name of a typed constant, which tells its value."""
        scalar = np.asarray(value).astype(dtype.numpy)[()]
        if dtype.kind == "b":
            return str(bool(scalar))
        digits = str(scalar).removesuffix(".0").replace("-", "m").replace(".", "p").replace("+", "")
        name = f"c{digits}_{code_of(dtype)}"
        literal = repr(scalar.item()) if np.isfinite(scalar) else f'"{scalar}"'
        self._constants[name] = f"{dtype.name}({literal})"
        return name

    def value(self, p: Dim) -> str:
        """The variable that holds a dimension kept in the row, so that code does not depend on it."""
        return self._word(p, "n")

    def failure(self, text: str, line: str) -> str:
        """The variable that holds the status which tells of this failure."""
        self.failures.append((text, line))
        return self._word(len(self.failures), "f")
