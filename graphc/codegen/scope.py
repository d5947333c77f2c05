"""Nested scopes of loops under construction: statements, and the values computed there.

In: statements, as emitters make them.  Out: a body for each loop and branch, put into the one around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphc.codegen.loop_ir import Expr, For, If, Let, Position, Stmt, Use, Var
from graphc.dims import Dim, symbol
from graphc.types import DType, int64

Bounds = tuple[Dim, Expr]  # from where to where a loop runs


class Scope:
    """Statements at one level of a loop nest, and the values computed there; `variables` are those of its loop."""

    def __init__(self, parent: Scope | None, variables: tuple[str, ...] = (), guard: bool = False) -> None:
        self.parent = parent
        self.variables = set(variables)
        self.guard = guard
        self.body: list[Stmt] = []
        self.memo: dict[Any, Var] = {}

    def chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find(self, key: Any) -> Var | None:
        return next((s.memo[key] for s in self.chain() if key in s.memo), None)

    def add(self, *statements: Stmt) -> None:
        self.body += statements

    def let(self, name: str, value: Expr) -> Var:
        """Bind a name here."""
        var = Var(name, value.dtype)
        self.body.append(Let(var, value))
        return var

    def use(
        self,
        kernel: str,
        *args: Expr,
        dtype: DType | None = None,
        tile: tuple[int, ...] = (),
        result: Var | None = None,
    ) -> None:
        self.body.append(Use(kernel, args, dtype, tile, result))

    def into_line(self, name: str, address: Expr, dtype: DType) -> Dim:
        """Bind how many elements of its line of cache are before an address."""
        self.use("into_line", address, dtype=dtype, result=Var(name, int64))
        return symbol(f"%{name}")


def _name_of(var: str) -> str:
    """That of a loop's variable, in the text."""
    return f"i{var}" if var.isdigit() else var


class Loop(Scope):
    """The body of a loop, which `close` puts into the scope around it."""

    def __init__(self, parent: Scope, var: str, lo: Expr, hi: Expr, step: int) -> None:
        super().__init__(parent, (f"%{var}",))
        self.var, self.lo, self.hi, self.step = var, lo, hi, step

    def bind(self, var: str, position: Dim) -> None:
        """Have the variable of another loop stand where this one says."""
        self.variables.add(f"%{var}")
        self.let(_name_of(var), Position(position))

    def close(self) -> None:
        assert self.parent is not None
        self.parent.add(For(_name_of(self.var), self.lo, self.hi, self.step, tuple(self.body)))

    def close_if_filled(self) -> None:
        if self.body:
            self.close()


class Branch(Scope):
    """What is done under a condition; nothing inside is computed outside of it."""

    def __init__(self, parent: Scope, condition: Expr) -> None:
        super().__init__(parent, guard=True)
        self.condition = condition

    def close(self) -> None:
        assert self.parent is not None
        self.parent.add(If(self.condition, tuple(self.body)))


def close(*scopes: Scope) -> None:
    """Close loops and branches, the innermost, which is the last, first."""
    for scope in reversed(scopes):
        assert isinstance(scope, Loop | Branch)
        scope.close()
