"""Accumulators of reductions, and the combination of what chunks have accumulated.

Float values wait in a block of at most 1,024 on the stack, which one call folds in a fixed order, vector by vector;
blocks of a sum are added with the rounding error kept (Knuth's two-sum), so that a sum is as exact as NumPy's pairwise
one.  Chunks are combined in their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.codegen.evaluate import converted, fill
from graphc.codegen.loop_ir import Address, Call, Expr, If, Let, Position, Set, Var
from graphc.codegen.text import ZERO, Loop, Scope, Text, test
from graphc.dims import Dim, product, symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import parse
from graphc.schedule.task import Place
from graphc.types import Shape, int64

_COMBINE = {
    "add": {"f": "a + x", "i": "plus(a, x)", "u": "plus(a, x)"},
    "multiply": {"f": "a * x", "i": "times(a, x)", "u": "times(a, x)"},
    "maximum": {"f": "fmax(a, x)", "i": "fmax(a, x)", "u": "fmax(a, x)", "b": "a | x"},
    "minimum": {"f": "fmin(a, x)", "i": "fmin(a, x)", "u": "fmin(a, x)", "b": "a & x"},
    "or": {"b": "a | x"},
    "and": {"b": "a & x"},
}
_BLOCKS = {"add": "sum", "multiply": "product", "maximum": "max", "minimum": "min"}
_BETTER = {"maximum": "(x > a) | ((x != x) & (a == a))", "minimum": "(x < a) | ((x != x) & (a == a))"}


def added(a: Expr, x: Expr) -> Call:
    """The sum of two scalars of one dtype."""
    return Call("+" if a.dtype.is_float else "plus", (a, x), a.dtype)


def identity(node: Node) -> object:
    """Where a reduction begins; the extreme value of the dtype if the op has none."""
    operand = node.operands[0].dtype
    if node.op.identity is not None:
        return node.op.identity(node.dtype)
    low = node.op.combine == "maximum"
    if operand.is_float:
        return float("-inf") if low else float("inf")
    if operand.kind == "b":
        return not low
    limits = np.iinfo(operand.numpy)
    return limits.min if low else limits.max


def folded(text: Text, node: Node, a: Expr, x: Expr) -> Expr:
    """One step of a fold."""
    return combined(text, str(node.op.combine), a, x)


def combined(text: Text, how: str, a: Expr, x: Expr) -> Expr:
    """Two scalars of one dtype, added or the like."""
    dtype = a.dtype
    value = fill(text, parse(_COMBINE[how][dtype.kind]), {"a": a, "x": x}, dtype)
    return converted(value, dtype) if dtype.kind in "iu" and dtype.size < 8 else value


class Fold:
    """A scalar that a loop folds values into, in the scope where `begin` binds it.

    `number` tells the folds of one loop apart, for their blocks on the stack.
    """

    def __init__(self, text: Text, node: Node, number: int = 0) -> None:
        self.text, self.node = text, node
        self.is_position = node.op.family is Family.ARG_REDUCTION
        self.dtype = node.operands[0].dtype if self.is_position else node.dtype
        name = text.fresh("a")
        self.var = Var(name, int64 if self.is_position else self.dtype)
        self.best, self.lost = Var(f"{name}_best", self.dtype), Var(f"{name}_lost", self.dtype)
        self.collects = self.dtype.is_float and node.op.combine in _BLOCKS
        self.keeps_lost = self.collects and node.op.combine == "add"
        self.block = Place("stack", number)

    def begin(self, scope: Scope) -> None:
        if self.is_position:
            scope.add(Let(self.var, Position(-1)), Let(self.best, self.text.constant(0, self.dtype)))
            return
        scope.add(Let(self.var, self.text.constant(identity(self.node), self.dtype)))

    def begin_blocks(self, scope: Scope) -> None:
        if self.keeps_lost:
            scope.add(Let(self.lost, self.text.constant(0, self.dtype)))

    def add(self, scope: Scope, value: Expr, position: Dim) -> None:
        """Fold one value in; `position` is its place in the block, or along the axis that is searched."""
        if self.collects:
            scope.add(self.text.store(self.block, position, value))
        elif self.is_position:
            better = Scope(scope)
            better.add(Set(self.var, Position(position)))
            self._better(scope, value, better)
        else:
            scope.add(Set(self.var, folded(self.text, self.node, self.var, value)))

    def _better(self, scope: Scope, value: Expr, found: Scope) -> None:
        """Where the value is better than the best, do what finds its position."""
        body = parse(_BETTER[str(self.node.op.combine)])
        better = fill(self.text, body, {"a": self.best, "x": value}, self.dtype)
        found.add(Set(self.best, value))
        scope.add(If(test("or", test("<", self.var, ZERO), better), tuple(found.body)))

    def end_block(self, scope: Scope, length: Expr, start: Dim = 0, lies: Address | None = None) -> None:
        """Fold the block that the loop has filled, or what lies at an address; `start` is where it begins.

        `length` is how many elements the block has.
        """
        if not self.collects:
            return
        block, value = lies or self.text.address(self.block), Var(self.text.fresh(), self.dtype)
        self._fold_block(scope, block, length, value)
        if not self.is_position:
            self.add_exactly(scope, value)
            return
        found = Scope(scope)
        at = Var(self.text.fresh(), int64)
        found.use("first_of", block, length, value, dtype=self.dtype, result=at)
        found.add(Set(self.var, Position(start + symbol(f"%{at.name}"))))
        self._better(scope, value, found)

    def only_block(self, scope: Scope, length: Expr, lies: Address | None = None) -> None:
        """Bind the scalar to the fold of the one block there is."""
        if self.collects and not self.is_position:
            self._fold_block(scope, lies or self.text.address(self.block), length, self.var)
        else:
            self.end_block(scope, length, 0, lies)

    def _fold_block(self, scope: Scope, block: Address, length: Expr, result: Var) -> None:
        scope.use(_BLOCKS[str(self.node.op.combine)], block, length, dtype=self.dtype, result=result)

    def add_exactly(self, scope: Scope, value: Expr) -> None:
        """Fold a partial result in; a sum keeps what rounding loses."""
        if self.keeps_lost:
            lost = Call("lost", (self.var, value), self.dtype)
            scope.add(Set(self.lost, Call("+", (self.lost, lost), self.dtype)))
        scope.add(Set(self.var, folded(self.text, self.node, self.var, value)))

    def end_blocks(self, scope: Scope) -> None:
        if self.keeps_lost:
            scope.add(Set(self.var, Call("+", (self.var, self.lost), self.dtype)))


class Columns:
    """A row of sums down the columns: each row of the domain is folded into it, element by element."""

    def __init__(self, text: Text, node: Node, place: Place, shape: Shape, base: Dim) -> None:
        self.text, self.node, self.place, self.base = text, node, place, base
        self.size = product(shape)

    def begin(self, scope: Scope) -> None:
        start = self.text.constant(identity(self.node), self.node.dtype)
        loop = self.text.loop(scope, "i", self.size)
        loop.add(self.text.store(self.place, self.base + symbol("%i"), start))
        loop.close()

    def copy(self, scope: Scope, places: Sequence[Place]) -> None:
        """Copy a finished row to the other places where it belongs."""
        if not places:
            return
        loop = self.text.loop(scope, "i", self.size)
        at, name = self.base + symbol("%i"), self.text.fresh()
        value = loop.let(name, self.text.load(self.place, self.node.dtype, at))
        loop.add(*(self.text.store(place, at, value) for place in places))
        loop.close()

    @property
    def folds_down(self) -> bool:
        """Whether a routine folds rows that lie in memory."""
        return self.node.dtype.is_float and self.node.op.combine in ("add", "maximum", "minimum")

    def fold_down(self, scope: Scope, place: Place, start: Dim, step: Dim, rows: tuple[Dim, Dim]) -> None:
        """Fold rows that lie in memory, from one row of the loop to another."""
        text, dtype = self.text, self.node.dtype
        low, high = rows
        x = text.address(place, (start + low * step) * dtype.size)
        a = text.address(self.place, self.base * dtype.size)
        count = text.at(high - low)
        row, size = text.at(step * dtype.size), text.at(self.size)
        scope.use(f"columns_{self.node.op.combine}", x, row, count, size, a, dtype=dtype)

    def add(self, scope: Scope, value: Expr, position: Dim) -> None:
        at, name = self.base + position, self.text.fresh()
        before = scope.let(name, self.text.load(self.place, self.node.dtype, at))
        scope.add(self.text.store(self.place, at, folded(self.text, self.node, before, value)))


def combine(text: Text, parts: Sequence[tuple[Node, Place, Sequence[Place]]], chunks: Dim) -> None:
    """A phase that folds the chunks' partial results, in their order, into the places where the results belong."""
    with text.phase("combine " + ", ".join(dict.fromkeys(n.op.name for n, _, _ in parts)), 1) as top:
        for node, partial, destinations in parts:
            text.new_nest()
            width = product(node.shape)
            fold = Fold(text, node)
            column = top if width == 1 else text.loop(top, "i", width)
            at = 0 if width == 1 else symbol("%i")
            fold.begin(column)
            fold.begin_blocks(column)
            loop = text.loop(column, "j", chunks)
            name = text.fresh()
            fold.add_exactly(loop, loop.let(name, text.load(partial, node.dtype, symbol("%j") * width + at)))
            loop.close()
            fold.end_blocks(column)
            column.add(*(text.store(place, at, fold.var) for place in destinations))
            if isinstance(column, Loop):
                column.close()
