"""From the loop IR to the text of a kernel: plain Python, with intrinsics for memory and math.

In: the Code of a phase.  Out: `kernel(T, s, chunk, worker)`, whose text depends on nothing but the loops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from graphc.codegen.loop_ir import (
    FAILING,
    Address,
    Call,
    Code,
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
)
from graphc.dims import Atom, Dim, is_positive, symbol
from graphc.schedule.task import Place
from graphc.types import DTYPES, DType

INDENT = "    "
_FUNCTIONS = {"floor": "quotient", "max": "most", "min": "least"}
_INFIX = frozenset(["+", "-", "*", "/", "&", "|", "==", "!=", "<", "<=", ">", ">=", "and", "or"])


def code_of(dtype: DType) -> str:
    """The two letters by which intrinsics name a dtype: f4, i8, b1 ..."""
    return f"{dtype.kind}{dtype.size}"


CODES = {code_of(dtype): dtype for dtype in DTYPES.values()}


def print_code(code: Code) -> str:
    """The text of a kernel."""
    return _Printer(code).text()


def print_statement(code: Code, statement: Stmt) -> str:
    """A statement alone, as it stands in the text."""
    return "\n".join(_Printer(code).block((statement,)))


def shift_of(p: Dim) -> int:
    """The constant that an index has beside what varies."""
    return 0 if isinstance(p, int) else next((c for monomial, c in p.terms if not monomial), 0)


def variable(name: str) -> str:
    """The name in the text of an integer that a dimension has as the symbol `name`."""
    return f"i{name[1:]}" if name[1:].isdigit() else name[1:]


class _Printer:
    def __init__(self, code: Code) -> None:
        self.code = code
        self.names = {(name[0], what): name for name, what in code.words}
        self.dims: dict[Dim, str] = {}

    def text(self) -> str:
        words = [
            f"{name} = {f'word(T, word(s, {k}))' if isinstance(what, Place) else f'word(s, {k})'}"
            for k, (name, what) in enumerate(self.code.words)
        ]
        stacks = [f"r{n} = stack_{n}()" for n in self.code.stacks]
        begin = ["wide()", *(["light()"] if self.code.is_light else [])]
        lines = [*begin, *words, *stacks, *self.block(self.code.loop.body)]
        constants = [f"{name_of(c)} = {_literal(c)}" for c in self.code.constants]
        head = [*constants, "", "", "def kernel(T, s, chunk, worker):"]
        return "\n".join([*head, *(INDENT + line for line in lines), ""])

    def named(self, letter: str, what: Dim | Place) -> str:
        """The word of the row that holds this; a statement that is faulty may name what has none."""
        return self.names.get((letter, what), f"<{what}>")

    # statements

    def block(self, body: Iterable[Stmt]) -> Iterator[str]:
        for s in body:
            match s:
                case Let() | Set():
                    yield f"{s.var.name} = {self.expr(s.value)}"
                case Store():
                    name = f"st_{code_of(s.value.dtype)}_{s.nest}_{s.storage}"
                    yield f"{name}({self.place(s.place)}, {self.position(s.place, s.at)}, {self.expr(s.value)})"
                case Use():
                    yield self.use(s)
                case If():
                    yield from self.choice(s, "if")
                case For():
                    yield f"for {s.var} in range({self.bounds(s)}):"
                    yield from self.inside(s.body)

    def inside(self, body: tuple[Stmt, ...]) -> Iterator[str]:
        return (INDENT + line for line in (self.block(body) if body else ("pass",)))

    def choice(self, s: If, word: str) -> Iterator[str]:
        yield f"{word} {self.expr(s.test)}:"
        yield from self.inside(s.yes)
        match s.no:
            case (If() as other,):
                yield from self.choice(other, "elif")
            case (_, *_):
                yield "else:"
                yield from self.inside(s.no)

    def bounds(self, s: For) -> str:
        hi = self.expr(s.hi)
        if s.step != 1:
            return f"{self.expr(s.lo)}, {hi}, {s.step}"
        return hi if s.lo == Position(0) else f"{self.expr(s.lo)}, {hi}"

    def use(self, s: Use) -> str:
        frame = ["T", "chunk"] if s.kernel in FAILING else []
        dtype = [] if s.dtype is None else [code_of(s.dtype)]
        numbers = "x".join(map(str, (*s.tile, *(s.own or ()))))
        name = "_".join(filter(None, [s.kernel, *dtype, numbers]))
        call = f"{name}({', '.join([*frame, *map(self.expr, s.args)])})"
        return call if s.result is None else f"{s.result.name} = {call}"

    # expressions

    def expr(self, e: Expr) -> str:
        match e:
            case Const():
                return name_of(e)
            case Var():
                return e.name
            case Position():
                return self.dim(e.at)
            case Load():
                return self.load(e)
            case Address():
                base = e.base if isinstance(e.base, str) else self.place(e.base)
                return " + ".join([base, *map(self.factor, e.terms)])
            case Call():
                return self.call(e)

    def call(self, e: Call) -> str:
        f = e.function
        if f in ("and", "or"):
            return f" {f} ".join(map(self.expr, e.args))
        if f in _INFIX and len(e.args) == 2:
            return f" {f} ".join(self.operand(f, a) for a in e.args)
        if f in ("-", "not"):
            return f"{f}{' ' if f == 'not' else ''}{self.operand(f, e.args[0])}"
        return f"{f}({', '.join(map(self.expr, e.args))})"

    def operand(self, function: str, e: Expr) -> str:
        """An operand of an operator, in parentheses where it is one itself."""
        if isinstance(e, Position) and function in ("*", "-"):
            return self.factor(e.at)
        inner = isinstance(e, Call) and (e.function in _INFIX or e.function == "not")
        return f"({self.expr(e)})" if inner else self.expr(e)

    def load(self, e: Load) -> str:
        address, position = self.place(e.place), self.position(e.place, e.at)
        if not is_positive(e.some):  # from the frame instead where the axis is empty: the check has failed by then
            some = f"{self.dim(e.some)} > 0"
            address, position = f"select({some}, {address}, T)", f"select({some}, {position}, 0)"
        return f"ld_{code_of(e.dtype)}_{e.nest}_{e.storage}({address}, {position})"

    def place(self, place: Place) -> str:
        return f"r{place.number}" if place.kind == "stack" else self.named("p", place)

    # dimensions

    def factor(self, p: Dim) -> str:
        """A dimension as the factor of a product."""
        text = self.dim(p)
        return f"({text})" if " " in text else text

    def position(self, place: Place, p: Dim) -> str:
        """An index whose constant part is a word of the row, so that slices at other places are alike.

        On the stack it is that of the kernel itself.
        """
        shift = shift_of(p)
        if shift == 0 or place.kind == "stack":
            return self.dim(p)
        return f"{self.dim(p - shift)} + {self.named('n', shift)}"

    def dim(self, p: Dim) -> str:
        if isinstance(p, int):
            return str(p)
        text = self.dims.get(p)
        if text is None:
            text = self.dims[p] = self._dim(p)
        return text

    def _dim(self, p: Any) -> str:
        out = ""
        for monomial, coefficient in p.terms:
            factors = [self.atom(a) for a, power in monomial for _ in range(power)]
            if abs(coefficient) != 1 or not factors:
                factors.append(str(abs(coefficient)))
            term = "*".join(factors)
            sign = "-" if coefficient < 0 else "+"
            out = f"{out} {sign} {term}" if out else (f"-{term}" if coefficient < 0 else term)
        return out

    def atom(self, atom: Atom) -> str:
        if atom.kind != "symbol":
            p, q = (self.dim(o) for o in atom.operands)
            return f"{_FUNCTIONS[atom.kind]}({p}, {q})"
        name = str(atom.operands[0])
        return variable(name) if name.startswith("%") else self.named("d", symbol(name))


# constants


def name_of(c: Const) -> str:
    """A literal, or the name of a typed constant, which tells its value."""
    if c.dtype.kind == "b":
        return str(bool(c.value))
    digits = str(c.value).removesuffix(".0").replace("-", "m").replace(".", "p").replace("+", "")
    return f"c{digits}_{code_of(c.dtype)}"


def _literal(c: Const) -> str:
    literal = repr(c.value.item()) if np.isfinite(c.value) else f'"{c.value}"'
    return f"{c.dtype.name}({literal})"
