"""Accumulators of reductions, and the combination of what chunks have accumulated.

Float values wait in a block of at most 1,024 on the stack, which one call folds in a fixed order, vector by vector;
blocks of a sum are added with the rounding error kept (Knuth's two-sum), so that a sum is as exact as NumPy's pairwise
one.  Chunks are combined in their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.codegen.evaluate import Evaluator
from graphc.codegen.text import Scope, Text, code_of
from graphc.dims import Dim, product, symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.schedule.task import Place
from graphc.types import DType, Shape

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


def added(dtype: DType, a: str, x: str) -> str:
    """The text of a sum of two scalars of this dtype."""
    return f"{a} + {x}" if dtype.is_float else f"plus({a}, {x})"


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


def folded(text: Text, node: Node, a: str, x: str) -> str:
    """The text of one step of a fold."""
    body = _COMBINE[str(node.op.combine)][node.dtype.kind]
    filled = Evaluator(text, lambda n: None).fill(body, {"a": a, "x": x}, node.dtype)
    return f"to_{code_of(node.dtype)}({filled})" if node.dtype.kind in "iu" and node.dtype.size < 8 else filled


class Fold:
    """A scalar that a loop folds values into, in the scope where `begin` prints it.

    `number` tells the folds of one loop apart, for their blocks on the stack.
    """

    def __init__(self, text: Text, node: Node, number: int = 0) -> None:
        self.text, self.node = text, node
        self.name = text.fresh("a")
        self.best = f"{self.name}_best"
        self.is_position = node.op.family is Family.ARG_REDUCTION
        self.dtype = node.operands[0].dtype if self.is_position else node.dtype
        self.collects = self.dtype.is_float and node.op.combine in _BLOCKS
        self.keeps_lost = self.collects and node.op.combine == "add"
        self.block = Place("stack", number)

    def begin(self, scope: Scope) -> None:
        if self.is_position:
            first = self.text.constant(0, self.dtype)
            scope.lines += [f"{self.name} = -1", f"{self.best} = {first}"]
            return
        scope.lines.append(f"{self.name} = {self.text.constant(identity(self.node), self.node.dtype)}")

    def begin_blocks(self, scope: Scope) -> None:
        if self.keeps_lost:
            scope.lines.append(f"{self.name}_lost = {self.text.constant(0, self.node.dtype)}")

    def add(self, scope: Scope, value: str, position: str) -> None:
        """Fold one value in; `position` is its place in the block, or along the axis that is searched."""
        if self.collects:
            scope.lines.append(self.text.store(self.block, self.dtype, position, value))
        elif self.is_position:
            self._better(scope, value, position)
        else:
            scope.lines.append(f"{self.name} = {folded(self.text, self.node, self.name, value)}")

    def _better(self, scope: Scope, value: str, position: str) -> None:
        names = {"a": self.best, "x": value}
        test = Evaluator(self.text, lambda n: None).fill(_BETTER[str(self.node.op.combine)], names, self.dtype)
        scope.lines += [
            f"if {self.name} < 0 or {test}:",
            f"    {self.name} = {position}",
            f"    {self.best} = {value}",
        ]

    def end_block(self, scope: Scope, start: str, length: str, address: str | None = None, only: bool = False) -> None:
        """Fold the block that the loop has filled, or what lies at `address`; the `only` block is the scalar."""
        if not self.collects:
            return
        code, block = code_of(self.dtype), address or self.text.address(self.block)
        fold = f"{_BLOCKS[str(self.node.op.combine)]}_{code}({block}, {length})"
        if only and not self.is_position:
            scope.lines.append(f"{self.name} = {fold}")
            return
        name = self.text.fresh()
        scope.lines.append(f"{name} = {fold}")
        if self.is_position:
            here = f"first_of_{code}({block}, {length}, {name})"
            self._better(scope, name, here if start == "0" else f"{start} + {here}")
        else:
            self.add_exactly(scope, name)

    def add_exactly(self, scope: Scope, value: str) -> None:
        """Fold a partial result in; a sum keeps what rounding loses."""
        if self.keeps_lost:
            scope.lines.append(f"{self.name}_lost = {self.name}_lost + lost({self.name}, {value})")
        scope.lines.append(f"{self.name} = {folded(self.text, self.node, self.name, value)}")

    def end_blocks(self, scope: Scope) -> None:
        if self.keeps_lost:
            scope.lines.append(f"{self.name} = {self.name} + {self.name}_lost")


class Columns:
    """A row of sums down the columns: each row of the domain is folded into it, element by element."""

    def __init__(self, text: Text, node: Node, place: Place, shape: Shape, base: Dim) -> None:
        self.text, self.node, self.place, self.base = text, node, place, base
        self.size = product(shape)

    def begin(self, scope: Scope) -> None:
        start = self.text.constant(identity(self.node), self.node.dtype)
        loop = Scope(scope, f"for i in range({self.text.dim(self.size)}):")
        loop.lines.append(self.text.store(self.place, self.node.dtype, self.text.dim(self.base + symbol("%i")), start))
        loop.close()

    def copy(self, scope: Scope, places: Sequence[Place]) -> None:
        """Print the copies of a finished row to the other places where it belongs."""
        if not places:
            return
        loop = Scope(scope, f"for i in range({self.text.dim(self.size)}):")
        at, name = self.text.dim(self.base + symbol("%i")), self.text.fresh()
        loop.lines.append(f"{name} = {self.text.load(self.place, self.node.dtype, at)}")
        loop.lines += [self.text.store(place, self.node.dtype, at, name) for place in places]
        loop.close()

    @property
    def folds_down(self) -> bool:
        """Whether a routine folds rows that lie in memory."""
        return self.node.dtype.is_float and self.node.op.combine in ("add", "maximum", "minimum")

    def fold_down(self, scope: Scope, place: Place, start: Dim, step: Dim, rows: tuple[str, str]) -> None:
        """Print the fold of rows that lie in memory, from one row of the loop to another."""
        text, code, size = self.text, code_of(self.node.dtype), self.node.dtype.size
        low, high = rows
        first = start + symbol(f"%{low}") * step if low != "0" else start
        x = f"{text.address(place)} + {text.factor(first * size)}"
        a = f"{text.address(self.place)} + {text.factor(self.base * size)}"
        count = high if low == "0" else f"{high} - {low}"
        function = f"columns_{self.node.op.combine}_{code}"
        scope.lines.append(f"{function}({x}, {text.dim(step * size)}, {count}, {text.dim(self.size)}, {a})")

    def add(self, scope: Scope, value: str, position: Dim) -> None:
        at = self.text.dim(self.base + position)
        name = self.text.fresh()
        scope.lines += [
            f"{name} = {self.text.load(self.place, self.node.dtype, at)}",
            self.text.store(self.place, self.node.dtype, at, folded(self.text, self.node, name, value)),
        ]


def combine(text: Text, parts: Sequence[tuple[Node, Place, Sequence[Place]]], chunks: Dim) -> None:
    """A phase that folds the chunks' partial results, in their order, into the places where the results belong."""
    with text.phase("combine " + ", ".join(dict.fromkeys(n.op.name for n, _, _ in parts)), 1) as top:
        for node, partial, destinations in parts:
            text.new_nest()
            width = product(node.shape)
            fold = Fold(text, node)
            column = top if width == 1 else Scope(top, f"for i in range({text.dim(width)}):")
            at = 0 if width == 1 else symbol("%i")
            fold.begin(column)
            fold.begin_blocks(column)
            loop = Scope(column, f"for j in range({text.dim(chunks)}):")
            value = text.fresh()
            loop.lines.append(f"{value} = {text.load(partial, node.dtype, text.dim(symbol('%j') * width + at))}")
            fold.add_exactly(loop, value)
            loop.close()
            fold.end_blocks(column)
            for place in destinations:
                column.lines.append(text.store(place, node.dtype, text.dim(at), fold.name))
            if column is not top:
                column.close()
