"""Accumulators of reductions, and the combination of what chunks have accumulated.

What they carry is a State (graphc/codegen/states.py).  Kernels fold blocks in a fixed order, vector by vector, where
values lie side by side in memory, or floats wait in a block of at most 1,024 on the stack, or accumulators do to which
a long row is folded side by side.  Blocks of a sum are added with the rounding error kept (Knuth's two-sum), so that a
sum is as exact as NumPy's pairwise one.  Chunks are combined in their order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.codegen.evaluate import converted, fill
from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.loop_ir import KERNELS, Call, Expr, Let, Position, Set, Var
from graphc.codegen.scope import Scope, close
from graphc.codegen.states import State, state_of
from graphc.codegen.text import ZERO, Text, integer
from graphc.dims import Dim, product, symbol
from graphc.graph import Node
from graphc.scalar import parse
from graphc.schedule.task import Place
from graphc.types import DType, int64

_FEW = 32  # columns that are combined one by one
Operands = Mapping[str, Expr]  # of a body, by their letters
Lies = tuple[Place, Dim]  # where a block begins: a place, and an element of it


class Carried:
    """The state of a reduction in a program: dtypes and bodies of its parts."""

    def __init__(self, text: Text, node: Node) -> None:
        self.text, self.node = text, node
        self.dtype = node.operands[0].dtype
        self.state: State = state_of(str(node.op.state), self.dtype)
        self.dtypes = [part.dtype or self.dtype for part in self.state.parts]

    def zeros(self) -> list[Expr]:
        """The parts before anything is folded."""
        return [self._number(p.zero, dtype) for p, dtype in zip(self.state.parts, self.dtypes, strict=True)]

    def _number(self, zero: str, dtype: DType) -> Expr:
        if zero in ("zero", "one"):
            return self.text.constant(int(zero == "one"), dtype)
        low = zero == "lowest"
        if dtype.is_float:
            return self.text.constant(-np.inf if low else np.inf, dtype)
        limits = np.iinfo(dtype.numpy)
        return self.text.constant(limits.min if low else limits.max, dtype)

    def lifted(self, value: Expr, position: Dim) -> list[Expr]:
        """The parts of one value."""
        operands = {"x": value, "p": Position(position)}
        parts = zip(self.state.parts, self.dtypes, strict=True)
        return [self._filled(part.lift, operands, dtype) for part, dtype in parts]

    def joined(
        self, scope: Scope, before: Sequence[Var], lost: Mapping[int, Var], others: Sequence[Expr], shares: Operands
    ) -> list[tuple[Expr, Expr | None]]:
        """The parts of both together, each with what rounding has lost of it if that is kept."""
        operands = {**dict(zip("abc", before, strict=False)), **dict(zip("xyz", others, strict=False)), **shares}
        found: list[tuple[Expr, Expr | None]] = []
        for k, (part, dtype) in enumerate(zip(self.state.parts, self.dtypes, strict=True)):
            value, more = self._filled(part.join, operands, dtype), None
            if dtype.kind in "iu" and dtype.size < 8:
                value = converted(value, dtype)
            if not isinstance(value, Var) and (k in lost or len(before) > 1):
                value = scope.let(self.text.fresh(), value)
            if k in lost:
                more = Call("+", (lost[k], Call("lost", (before[k], value), dtype)), dtype)
            found.append((Call("+", (before[k], value), dtype) if part.adds else value, more))
        return found

    def weights(self, scope: Scope, before: Expr, new: Expr) -> Operands:
        """m and w of bodies, bound in a scope."""
        if not self.state.counts:
            return {}
        every = integer("most", integer("+", before, new), Position(1))
        share = Call("/", (converted(new, self.dtype), converted(every, self.dtype)), self.dtype)
        m = scope.let(self.text.fresh(), converted(before, self.dtype))
        return {"m": m, "w": scope.let(self.text.fresh(), share)}

    def finished(self, scope: Scope, parts: Sequence[Expr]) -> Var:
        """The result."""
        value = self._filled(self.state.finish, dict(zip("abc", parts, strict=False)), self.dtype)
        return value if isinstance(value, Var) else scope.let(self.text.fresh(), value)

    def _filled(self, body: str, operands: Operands, dtype: DType) -> Expr:
        return fill(self.text, parse(body), operands, dtype)


class Fold(Carried):
    """A state in scalars that a loop folds values into, in the scope where `begin` binds them.

    `number` tells the folds of one loop apart, for their blocks on the stack.  `collects`: whether a kernel folds what
    lies in memory; `waits`: whether other values wait in a block, too, or their accumulators.  Of integers LLVM makes
    vectors by itself.
    """

    def __init__(self, text: Text, node: Node, number: int = 0) -> None:
        super().__init__(text, node)
        name = text.fresh("a")
        names = (name, f"{name}_b", f"{name}_c")
        self.vars = [Var(*pair) for pair in zip(names, self.dtypes, strict=False)]
        self.lost = {k: Var(f"{names[k]}_lost", self.dtype) for k, part in enumerate(self.state.parts) if part.adds}
        self.count = Var(f"{name}_n", int64)
        self.collects = bool(self.state.block)
        self.waits = self.collects and (node.operands[0].dtype.is_float or len(self.dtypes) > 1)
        self.is_exact = not any(part.adds for part in self.state.parts)
        self.block = Place("stack", number)
        self.lanes = 0  # accumulators that stand there instead of values
        self.only: list[Expr] = []  # the state of the one block there is, where nothing has begun
        self.begun = False

    def begin(self, scope: Scope) -> None:
        self.begun = True
        for k, (var, zero) in enumerate(zip(self.vars, self.zeros(), strict=True)):
            scope.add(Let(var, zero))
            if k in self.lost:
                scope.add(Let(self.lost[k], self.text.constant(0, var.dtype)))
        if self.state.counts:
            scope.add(Let(self.count, ZERO))

    def begin_lanes(self, scope: Scope, count: int) -> None:
        """Have so many accumulators in the block, side by side as kernels have them, instead of a row of values."""
        self.lanes = count
        loop = self.text.loop(scope, "i", count)
        (neutral,) = self.zeros()
        neutral = self.text.constant(-0.0, self.dtype) if self.lost else neutral  # a sum of nothing else stays -0
        loop.add(self.text.store(self.block, symbol("%i"), neutral))
        loop.close()

    def add(self, scope: Scope, value: Expr, position: Dim) -> None:
        """Fold one value in; `position` is its place in the block, or along the axis that is searched."""
        if self.lanes:
            before = scope.let(self.text.fresh(), self.text.load(self.block, self.dtype, position))
            ((value, _),) = self.joined(scope, [before], {}, [value], {})
        if self.waits:
            scope.add(self.text.store(self.block, position, value))
        else:
            self.join(scope, self.lifted(value, position), Position(1))

    def join(self, scope: Scope, others: Sequence[Expr], count: Expr) -> None:
        """Fold in the parts of so many values."""
        shares = self.weights(scope, self.count, count)
        for k, (value, lost) in enumerate(self.joined(scope, self.vars, self.lost, others, shares)):
            if lost is not None:
                scope.add(Set(self.lost[k], lost))
            scope.add(Set(self.vars[k], value))
        if self.state.counts:
            scope.add(Set(self.count, integer("+", self.count, count)))

    def end_block(self, scope: Scope, length: Expr, start: Dim, lies: Lies | None, read: Dim = 0) -> None:
        """Fold the block that the loop has filled, or one that lies somewhere; it is the only one if nothing has begun.

        `start` is its first one's position along the axis that is searched, `read` the bytes of all blocks in memory.
        """
        if not self.waits and lies is None:
            return
        parts = self._folded(scope, Position(self.lanes) if self.lanes else length, start, lies, read)
        if self.begun:
            self.join(scope, parts, length)
        else:
            self.only = parts

    @property
    def has_rows(self) -> bool:
        """Whether a kernel folds several blocks that lie in memory."""
        return self.collects and f"rows_{self.state.block}" in KERNELS

    def rows_along(self, scope: Scope, first: Lies, step: Dim, count: Dim, length: Dim, read: Dim) -> None:
        """Fold so many rows of a length, the first of which lies there and the next ones a step on, into the block.

        `read` are the bytes that all chunks read.
        """
        (place, at), text, size = first, self.text, self.dtype.size
        address, to = text.address(place, at * size), text.address(self.block)
        sizes = text.at(step * size), text.at(count), text.at(length)
        scope.use(f"rows_{self.state.block}", address, *sizes, to, text.at(read), dtype=self.dtype)

    def row(self, at: Dim) -> Expr:
        """What a row has come to."""
        return self.text.load(self.block, self.dtype, at)

    def _folded(self, scope: Scope, length: Expr, start: Dim, lies: Lies | None, read: Dim) -> list[Expr]:
        text, dtype, name = self.text, self.dtype, self.state.block
        place, at = lies or (self.block, 0)
        address, gives = text.address(place, at * dtype.size), KERNELS[name].gives
        if not gives:
            scope.use(name, address, length, text.address(self.block), text.at(read), dtype=dtype)
            return [scope.let(text.fresh(), text.load(self.block, dtype, k)) for k in range(len(self.vars))]
        own = gives == "element" and not self.begun
        found = self.vars[0] if own else Var(text.fresh(), int64 if gives == "integer" else dtype)
        scope.use(name, address, length, *[text.at(read)] * (gives == "integer"), dtype=dtype, result=found)
        if gives == "integer":
            here = symbol(f"%{found.name}")
            return [scope.let(text.fresh(), text.load(place, dtype, at + here)), Position(start + here)]
        return [found]

    def settled(self, scope: Scope) -> list[Expr]:
        """The parts, with what rounding has lost of them."""
        if not self.begun:
            return self.only
        parts: list[Expr] = list(self.vars)
        for k, lost in self.lost.items():
            parts[k] = scope.let(self.text.fresh(), Call("+", (parts[k], lost), lost.dtype))
        return parts

    def result(self, scope: Scope) -> Var:
        return self.finished(scope, self.settled(scope))


class Waiting:
    """What folds of some columns come to, in a block on the stack: as many as it holds are joined by vectors.

    Single numbers do not wait, since that takes longer than their joins.
    """

    def __init__(self, text: Text, block: Place, folds: Mapping[Node, Fold]) -> None:
        self.text, self.block, self.folds = text, block, folds
        self.dtypes = {node: fold.dtypes for node, fold in folds.items() if len(fold.dtypes) > 1}
        self.most = BLOCK // max(sum(map(len, self.dtypes.values())), 1)

    def _places(self, column: Dim) -> Iterator[tuple[Node, list[tuple[DType, Dim]]]]:
        """Of each part of each fold its dtype, and where it is in the block; eight bytes are kept for one."""
        first = itertools.count(0, self.most)
        for node, dtypes in self.dtypes.items():
            yield node, [(dtype, column + next(first) * (8 // dtype.size)) for dtype in dtypes]

    def store(self, scope: Scope, column: Dim) -> list[tuple[Node, list[Expr]]]:
        """Store what a column has come to; the parts of the folds that do not wait are told instead."""
        settled = {node: fold.settled(scope) for node, fold in self.folds.items()}
        for node, places in self._places(column):
            values = zip(places, settled.pop(node), strict=True)
            scope.add(*(self.text.store(self.block, at, value) for (_, at), value in values))
        return list(settled.items())

    def load(self, scope: Scope, column: Dim) -> list[tuple[Node, list[Expr]]]:
        """The parts of the folds at one of the columns."""
        text, block = self.text, self.block
        return [(n, [scope.let(text.fresh(), text.load(block, *p)) for p in q]) for n, q in self._places(column)]


class Columns(Carried):
    """A row of states: each row of the domain is folded into it, element by element.

    `places` are those of the parts, then of what rounding loses of those that add, if that is kept; `base` is the first
    element.
    """

    def __init__(self, text: Text, node: Node, places: Sequence[Place], size: Dim, base: Dim) -> None:
        super().__init__(text, node)
        count = len(self.dtypes)
        adding = [k for k, part in enumerate(self.state.parts) if part.adds]
        self.places, self.lost = places[:count], dict(zip(adding, places[count:], strict=False))
        self.size, self.base = size, base
        self.count = Var(text.fresh("a") if self.state.counts else "", int64)
        self.shares: Operands = {}

    def begin(self, scope: Scope) -> None:
        loop = self.text.loop(scope, "i", self.size)
        zeros = [*self.zeros(), *[self.text.constant(0, self.dtype)] * len(self.lost)]
        stores = zip((*self.places, *self.lost.values()), zeros, strict=True)
        loop.add(*(self.text.store(place, self.base + symbol("%i"), zero) for place, zero in stores))
        loop.close()
        if self.state.counts:
            scope.add(Let(self.count, ZERO))

    def begin_row(self, scope: Scope, count: Expr) -> None:
        """What comes next are states of so many values."""
        self.shares = self.weights(scope, self.count, count)

    def end_row(self, scope: Scope, count: Expr) -> None:
        if self.state.counts:
            scope.add(Set(self.count, integer("+", self.count, count)))

    def _load(self, scope: Scope, place: Place, dtype: DType, at: Dim) -> Var:
        return scope.let(self.text.fresh(), self.text.load(place, dtype, at))

    def _loaded(self, scope: Scope, at: Dim) -> list[Var]:
        return [self._load(scope, place, dtype, at) for place, dtype in zip(self.places, self.dtypes, strict=True)]

    def join(self, scope: Scope, column: Dim, others: Sequence[Expr]) -> None:
        """Fold the parts of other values into one column."""
        at, stores = self.base + column, []
        before = self._loaded(scope, at)
        losses = {k: self._load(scope, place, self.dtype, at) for k, place in self.lost.items()}
        for k, (value, lost) in enumerate(self.joined(scope, before, losses, others, self.shares)):
            if lost is not None:
                stores.append(self.text.store(self.lost[k], at, lost))
            stores.append(self.text.store(self.places[k], at, value))
        scope.add(*stores)

    def add(self, scope: Scope, column: Dim, value: Expr, position: Dim) -> None:
        """Fold one value into one column."""
        if not self.state.step:
            self.join(scope, column, self.lifted(value, position))
            return
        at = self.base + column
        operands = {**dict(zip("abc", self._loaded(scope, at), strict=False)), "x": value, **self.shares}
        values = [self._filled(body, operands, self.dtype) for body in self.state.step]
        scope.add(*(self.text.store(place, at, v) for place, v in zip(self.places, values, strict=True)))

    def fold_down(self, scope: Scope, first: Lies, step: Dim, count: Dim, position: Dim) -> None:
        """Fold rows that lie in memory; `position` is the first one's along the axis that is searched."""
        text, size, (place, at) = self.text, self.dtype.size, first
        found = [text.address(p, self.base * d.size) for p, d in zip(self.places, self.dtypes, strict=True)]
        searches = [text.at(position)] if self.dtypes[-1] != self.dtype else []
        sizes = [text.at(d) for d in (step * size, count, self.size)]
        name = f"columns_{self.state.block}"
        scope.use(name, text.address(place, at * size), *sizes, *found, *searches, dtype=self.dtype)

    def finish(self, scope: Scope, places: Sequence[Place], base: Dim) -> None:
        """Store the results of a finished row where they belong, but for those that lie there."""
        if not places:
            return
        loop, at = self.text.loop(scope, "i", self.size), self.base + symbol("%i")
        parts: list[Expr] = list(self._loaded(loop, at))
        for k, place in self.lost.items():
            lost = self._load(loop, place, self.dtype, at)
            parts[k] = loop.let(self.text.fresh(), Call("+", (parts[k], lost), self.dtype))
        value = self.finished(loop, parts)
        loop.add(*(self.text.store(place, base + symbol("%i"), value) for place in places))
        loop.close()


@dataclass(frozen=True)
class Partial:
    """What chunks leave of a reduction: the places of the parts, and of the result.

    Chunk k has folded `share` values, or what the chunks before it have left of `every`.
    """

    node: Node
    parts: Sequence[Place]
    destinations: Sequence[Place]
    share: Dim
    every: Dim


def combine(text: Text, waiting: Sequence[Partial], chunks: Dim) -> None:
    """A phase that joins the chunks' states, in their order, and stores the results where they belong."""
    with text.phase("combine " + ", ".join(dict.fromkeys(p.node.op.name for p in waiting)), 1) as top:
        for partial in waiting:
            text.new_nest()
            width = product(partial.node.shape)
            few = isinstance(width, int) and width <= _FEW
            (_combine_scalars if few else _combine_columns)(text, top, partial, chunks)


def _combine_scalars(text: Text, top: Scope, partial: Partial, chunks: Dim) -> None:
    """Column after column."""
    width = product(partial.node.shape)
    column, at = (top, 0) if width == 1 else (text.loop(top, "i", width), symbol("%i"))
    fold = Fold(text, partial.node)
    fold.begin(column)
    loop = text.loop(column, "j", chunks)
    parts = _loaded(text, loop, partial, fold.dtypes, symbol("%j") * width + at)
    fold.join(loop, parts, _count(text, fold, partial))
    loop.close()
    value = fold.result(column)
    column.add(*(text.store(place, at, value) for place in partial.destinations))
    if column is not top:
        close(column)


def _combine_columns(text: Text, top: Scope, partial: Partial, chunks: Dim) -> None:
    """Chunk after chunk, in vectors of columns."""
    carried, width = Carried(text, partial.node), product(partial.node.shape)
    lost = [carried.dtype for part in carried.state.parts if part.adds]
    places = [text.scratch(dtype, (width,)) for dtype in (*carried.dtypes, *lost)]
    columns = Columns(text, partial.node, places, width, 0)
    columns.begin(top)
    row = text.loop(top, "j", chunks)
    count = _count(text, columns, partial)
    columns.begin_row(row, count)
    loop = text.loop(row, "i", width)
    columns.join(loop, symbol("%i"), _loaded(text, loop, partial, carried.dtypes, symbol("%j") * width + symbol("%i")))
    loop.close()
    columns.end_row(row, count)
    row.close()
    columns.finish(top, partial.destinations, 0)


def _loaded(text: Text, scope: Scope, partial: Partial, dtypes: Sequence[DType], at: Dim) -> list[Expr]:
    parts = zip(partial.parts, dtypes, strict=True)
    return [scope.let(text.fresh(), text.load(place, dtype, at)) for place, dtype in parts]


def _count(text: Text, carried: Carried, partial: Partial) -> Expr:
    """How many values chunk j has folded, where that is asked for."""
    if not carried.state.counts:
        return ZERO
    left = text.at(partial.every - symbol("%j") * partial.share)
    return integer("least", text.at(partial.share), left)
