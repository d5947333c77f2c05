"""Statements under other names: the same, said again elsewhere in a kernel or in another one.

In: statements, and what names and integers in dimensions become.  Out: new ones, for which the text has its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.codegen.loop_ir import (
    Address,
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
)
from graphc.codegen.text import Text
from graphc.dims import Dim, substitute
from graphc.schedule.task import Place


class Renaming:
    """Other names of scalars, and other integers in dimensions; what is not among them stays."""

    def __init__(self, text: Text, names: Mapping[str, str], dims: Mapping[str, Dim]) -> None:
        self.text, self.names, self.dims = text, dict(names), dict(dims)

    def statement(self, s: Stmt) -> Stmt:
        match s:
            case Let(var, value):
                return Let(self.bound(var), self.expr(value))
            case Set(var, value):
                return Set(self.bound(var), self.expr(value))
            case Store():
                place, shift = self.place(s.place)
                value = self.expr(s.value)
                return self.text.store(place, self.dim(s.at) + shift, value)
            case If():
                return If(self.expr(s.test), self.block(s.yes), self.block(s.no))
            case For():
                lo, hi = self.expr(s.lo), self.expr(s.hi)
                return For(self.name(s.var), lo, hi, s.step, self.block(s.body), s.mode)
            case Use():
                args = tuple(map(self.expr, s.args))
                own = self.text.scope_of(args[0]) if s.own else None
                return Use(s.kernel, args, s.dtype, s.tile, None if s.result is None else self.bound(s.result), own)

    def block(self, body: Sequence[Stmt]) -> tuple[Stmt, ...]:
        return tuple(map(self.statement, body))

    def expr(self, e: Expr) -> Expr:
        match e:
            case Const():
                return self.text.constant(e.value, e.dtype)
            case Var():
                return Var(self.name(e.name), e.dtype)
            case Position():
                return self.text.at(self.dim(e.at))
            case Load():
                place, shift = self.place(e.place)
                return self.text.load(place, e.dtype, self.dim(e.at) + shift, self.dim(e.some))
            case Address():
                return self.address(e)
            case Call():
                return Call(e.function, tuple(map(self.expr, e.args)), e.dtype)

    def address(self, e: Address) -> Address:
        base = self.name(e.base) if isinstance(e.base, str) else e.base
        return self.text.address(base, *map(self.dim, e.terms))

    def place(self, place: Place) -> tuple[Place, Dim]:
        """Where a place lies, and how many elements further."""
        return place, 0

    def bound(self, var: Var) -> Var:
        return Var(self.name(var.name), var.dtype)

    def name(self, name: str) -> str:
        return self.names.get(name, name)

    def dim(self, p: Dim) -> Dim:
        """A dimension over the new integers."""
        return substitute(p, self.dims)
