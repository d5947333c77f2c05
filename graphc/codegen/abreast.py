"""Rows of few elements: a vector has one element of each of 16 rows.

In: the form of a nest that folds rows of at most 24 floats, and what it folds over all rows.  Out: its loops.  A row by
itself fills a part of a vector, and waits for one fold after the other; here a lane is a row, and folds are operations
on vectors.  What is loaded lies row by row: it is copied to the stack first, column by column, and what is made back.

    for bands of 16 rows (around it other axes):     h is the first row of a band
        copy what rows read
        for each lane:
            what is a row's own: a number, a truth, an element at a position
        for each lane:                               q is the lane
            all that is done for a row, element after element, up to vector math
        for each column, and lane:
            vector math, whose code stands there once
        for each lane:
            what is made of that, and so on
        copy what rows have made to where it belongs

A last band that has fewer rows repeats the last one in the lanes that are left, of which nothing is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.codegen.column_stack import ColumnStack, OnStack
from graphc.codegen.evaluate import Atomic, Evaluator, body_of, fill, loaded_from
from graphc.codegen.few_elements import ROWS, Needs, Single, Source, dtype_of, is_log_sum_exp, variables_of
from graphc.codegen.form import BAND, Form
from graphc.codegen.loop_ir import Call, Const, Expr, Position, Var
from graphc.codegen.reduction import Carried, Columns, Fold
from graphc.codegen.scope import Loop, Scope, close
from graphc.codegen.singles import make_singles
from graphc.codegen.text import Text, integer, test
from graphc.dims import Dim, substitute, symbol, symbols
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import SIMPLE, calls, parse
from graphc.schedule.access import Index, aligned, linear, offset, read_operands
from graphc.schedule.task import Place

LANE, COUNT = symbol("%q"), symbol("%count")  # of a band, and how many rows it has


def emit_abreast(
    form: Form, needs: Needs, top: Scope, folds: Mapping[Node, Fold], columns: Mapping[Node, Columns]
) -> None:
    """Make the loops of a form whose rows need these, abreast; folds and columns have begun."""
    _Abreast(form, *needs, folds, columns).emit(top)


@dataclass
class _Abreast:
    """The loops under construction."""

    form: Form
    sources: Sequence[Source]
    singles: Sequence[Single]
    folds: Mapping[Node, Fold]
    columns: Mapping[Node, Columns]
    stack: ColumnStack = field(default_factory=ColumnStack)
    copies: dict[Source, OnStack] = field(default_factory=dict)
    kept: dict[Node, OnStack] = field(default_factory=dict)  # for later loops over lanes

    def __post_init__(self) -> None:
        self.text: Text = self.form.text
        self.row, self.inner = variables_of(self.form)
        length = self.form.row_length()
        assert isinstance(length, int)
        self.length = length
        self.dtype = dtype_of(self.form)
        self.evaluator = Evaluator(self.text, self._stored, self.form.members)
        self.own = {single: self.stack.columns(1, single.node.dtype) for single in self.singles}

    def emit(self, top: Scope) -> None:
        sums = {node: self.stack.columns(self.length, self.dtype) for node in self.columns}
        flags = self.stack.columns(1, self.dtype) if sums else None
        for node, lanes in sums.items():
            self._fill(top, lanes, self.length * ROWS, Carried(self.text, node).zeros()[0])
        scopes = self._bands(top, flags)
        band = scopes[-1]
        make_singles(self.form, self.evaluator, self.own, band, COUNT)
        one, stages = self._lanes(band), self._stages()
        for number, stage in enumerate(stages):
            goes_on = any(self._is_dear(node) for later in stages[number:] for node in later)
            one = self._stage(band, one, stage, goes_on)
        outputs = self._outputs(one)
        self._fold_rows(one, sums, flags)
        one.close()
        for fold in self.folds.values():
            fold.end_block(band, Position(COUNT), 0, None)
        for node, place, columns in outputs:
            self._copy_back(band, node, place, columns)
        close(*scopes[1:])
        for node, lanes in sums.items():
            self._join(top, node, lanes)

    def _bands(self, top: Scope, flags: OnStack | None) -> list[Scope]:
        """The loops, from the outermost, in the last of which a band has what its rows read.

        If that is the same for all that the other axes have, bands are around these, and it is copied once for each.
        """
        *around, last = self.form.row_axes()
        others = {f"%{axis}" for axis in around}
        is_shared = around and not any(symbols(s.first) & others for s in self.sources)
        scopes: list[Scope] = [top]
        for axis in (last, *around) if is_shared else (*around, last):
            low, high = self.form.bounds(axis)
            if axis != last:
                scopes.append(self.text.loop(scopes[-1], str(axis), high, low))
                continue
            scopes.append(band := self.text.loop(scopes[-1], str(BAND)[1:], high, low, ROWS))
            band.let(str(COUNT)[1:], integer("least", Position(ROWS), self.text.at(high - BAND)))
            if flags:
                self._fill(band, flags, ROWS, self.text.constant(1, self.dtype))
                self._fill(band, flags, ROWS, self.text.constant(0, self.dtype), COUNT)
            self._copy(band)
        return scopes

    def _fill(self, scope: Scope, place: OnStack, end: int, value: Expr, begin: Dim = 0) -> None:
        loop = self.text.loop(scope, "i", end, begin)
        loop.add(self.text.store(place[0], place[1] + symbol("%i"), value))
        loop.close()

    # what rows read

    def _copy(self, band: Scope) -> None:
        """Copy what rows read, to columns."""
        text, size = self.text, self.dtype.size
        for source in self.sources:
            block, base = self.copies[source] = self.stack.columns(self.length, self.dtype)
            first, step = text.address(text.place[source.node], (source.first + BAND * source.step) * size), source.step
            rows, to = (first, text.at(step * size)), text.address(block, base * size)
            tile = self.length, ROWS
            band.use("deal", Position(ROWS), Position(COUNT), *rows, to, dtype=self.dtype, tile=tile)

    def _stored(self, node: Node, index: Index) -> tuple[Place, Dim | None] | None:
        """Where to load an element from: of what differs by row, from its copy."""
        if node in self.kept and (column := self._column(node, index)) is not None:
            block, base = self.kept[node]
            return block, base + column * ROWS + LANE
        if (single := Single(node, index)) in self.own:
            block, base = self.own[single]
            return block, base + LANE
        place = loaded_from(self.text, node) if node not in self.form.made else None
        if place is None:
            return None
        position = offset(index, node.shape)
        step = (linear(position) or {}).get(self.row, 0)
        if step == 0:
            return place, None
        first = substitute(position, {self.row: 0})
        for source, (block, base) in self.copies.items():
            column = first - source.first if source.node is node and source.step == step else -1
            if isinstance(column, int) and 0 <= column < self.length:
                return block, base + column * ROWS + LANE
        raise AssertionError("rows read what was not copied")

    def _column(self, node: Node, index: Index) -> int | None:
        """In which column an element of a row stands, of what loops over lanes have kept; None if it is another row's.

        Columns are counted along a row, wherever its elements lie in the node: of a transposed one they are apart.
        """
        own, wanted = offset(self.form.index_of(node), node.shape), offset(index, node.shape)
        columns = (column for column in range(self.length) if substitute(own, {self.inner: column}) == wanted)
        return next(columns, None)

    # what rows make

    def _lanes(self, scope: Scope) -> Loop:
        return self.text.loop(scope, str(LANE)[1:], ROWS)

    def _stages(self) -> list[list[Node]]:
        """Folds of rows, and vector math of elements, by how many of these each waits for, one after the other."""
        depth: dict[Node, int] = {}
        stages: dict[int, list[Node]] = defaultdict(list)
        stack = list(reversed(self.form.members))
        while stack:
            node = stack[-1]
            operands = () if self.form.is_loaded(node) else read_operands(node)
            missing = [o for o in operands if o not in depth]
            if missing and node not in depth:
                stack += missing
                continue
            if stack.pop() in depth:
                continue
            waits = node in self.form.row_set or self._is_dear(node)
            depth[node] = max((depth[o] for o in operands), default=0) + waits
            if waits:
                stages[depth[node]].append(node)
        return [stages[number] for number in sorted(stages)]

    def _is_dear(self, node: Node) -> bool:
        """Whether this is vector math for each element."""
        if self.form.is_loaded(node):
            return False
        if is_log_sum_exp(node):
            return True
        if node.op.family is not Family.ELEMENTWISE or not self.form.is_full(node):
            return False
        return any(cost >= SIMPLE for _, cost in calls(parse(body_of(node))))

    def _stage(self, band: Scope, one: Loop, stage: Sequence[Node], goes_on: bool) -> Loop:
        """Make what a stage has.  Out: the loop over lanes that goes on, another one after vector math."""
        dear = {node: None for node in stage if self._is_dear(node)}
        for reduction in stage:
            if reduction not in dear:
                self._settle(one, reduction, [self._folded(one, reduction)], goes_on)
        if not dear:
            return one
        tops = {node: self._distances(one, node) for node in dear if is_log_sum_exp(node)}
        operands = {n: [self._operand(one, n, o) for o in n.operands] for n in dear if n not in tops}
        one.close()
        around = self.text.loop(band, "m", self.length)
        lanes = self._lanes(around)
        for node, (_, distances) in tops.items():
            self._vector_math(lanes, node, "exp(x)", [distances])
        for node, given in operands.items():
            self._vector_math(lanes, node, body_of(node), given)
        lanes.close()
        around.close()
        one = self._lanes(band)
        for node, (top, _) in tops.items():
            self._settle(one, node, self._top_and_sum(one, top, self.kept.pop(node)), goes_on)
        return one

    def _settle(self, one: Scope, reduction: Node, parts: Sequence[Var], goes_on: bool) -> None:
        """Know what a row comes to; it waits on the stack if another loop over lanes may want it."""
        value = Carried(self.text, reduction).finished(one, parts)
        self.evaluator.define(one, reduction, self.form.index_of(reduction), value)
        if goes_on:
            self.kept[reduction] = self._stored_columns(one, [value])

    def _stored_columns(self, one: Scope, values: Sequence[Expr]) -> OnStack:
        """Columns on the stack that hold these."""
        block, base = self.stack.columns(len(values), values[0].dtype)
        one.add(*(self.text.store(block, base + k * ROWS + LANE, value) for k, value in enumerate(values)))
        return block, base

    def _loaded(self, one: Scope, columns: OnStack, count: int) -> list[Var]:
        block, base = columns
        loads = (self.text.load(block, self.dtype, base + k * ROWS + LANE) for k in range(count))
        return [one.let(self.text.fresh(), load) for load in loads]

    def _distances(self, one: Scope, reduction: Node) -> tuple[OnStack, OnStack]:
        """The largest value of a row, and how far the others are from it; of two infinities of one sign, 0."""
        values = [self._var(one, value) for value in self._values(one, reduction)]
        top = self._joined(one, values, lambda a, b: Call("fmax", (a, b), self.dtype))
        zero = self.text.constant(0, self.dtype)
        apart = [
            Call("select", (test("==", value, top), zero, Call("-", (value, top), self.dtype)), self.dtype)
            for value in values
        ]
        return self._stored_columns(one, [top]), self._stored_columns(one, apart)

    def _top_and_sum(self, one: Scope, top: OnStack, shares: OnStack) -> list[Var]:
        """The parts of a log-sum-exp."""
        values = self._loaded(one, shares, self.length)
        total = self._joined(one, values, lambda a, b: Call("+", (a, b), self.dtype))
        return [*self._loaded(one, top, 1), total]

    def _operand(self, one: Scope, node: Node, operand: Node) -> Const | OnStack:
        """An operand of vector math: one number, or columns."""
        index = aligned(self.form.index_of(node), operand.shape)
        values = [self._value(one, operand, index, column) for column in range(self.length)]
        return values[0] if isinstance(values[0], Const) else self._stored_columns(one, values)

    def _vector_math(self, lanes: Scope, node: Node, body: str, operands: Sequence[Const | OnStack]) -> None:
        """Make an element of a column, in the place of an operand."""
        text, at = self.text, symbol("%m") * ROWS + LANE
        given: dict[str, Expr] = {}
        for letter, operand in zip("xyz", operands, strict=False):
            if isinstance(operand, Const):
                given[letter] = operand
                continue
            self.kept[node] = block, base = operand
            given[letter] = lanes.let(text.fresh(), text.load(block, self.dtype, base + at))
        value = lanes.let(text.fresh(), fill(text, parse(body), given, self.dtype))
        block, base = self.kept[node]
        lanes.add(text.store(block, base + at, value))

    def _value(self, one: Scope, node: Node, index: Index, column: int) -> Atomic:
        """The element of a row in a column."""
        return self.evaluator.value(node, tuple(substitute(i, {self.inner: column}) for i in index), one)

    def _values(self, one: Scope, reduction: Node) -> list[Atomic]:
        operand, index = reduction.operands[0], self.form.operand_index(reduction)
        return [self._value(one, operand, index, column) for column in range(self.length)]

    def _folded(self, one: Scope, reduction: Node) -> Var:
        """What the elements of a row come to."""
        carried = Carried(self.text, reduction)
        values = [self._var(one, carried.lifted(value, 0)[0]) for value in self._values(one, reduction)]
        return self._joined(one, values, lambda a, b: carried.joined(one, [a], {}, [b], {})[0][0])

    def _joined(self, one: Scope, values: Sequence[Var], join: Callable[[Var, Var], Expr]) -> Var:
        """Values joined in the order in which those of a row by itself are: first those that are many lanes apart."""
        parts, apart = list(values), ROWS  # fewer than twice as many
        while apart:
            for k, other in enumerate(parts[apart:]):
                parts[k] = self._var(one, join(parts[k], other))
            parts, apart = parts[:apart], apart // 2
        return parts[0]

    def _var(self, scope: Scope, value: Expr) -> Var:
        return value if isinstance(value, Var) else scope.let(self.text.fresh(), value)

    def _outputs(self, one: Scope) -> list[tuple[Node, Place, OnStack]]:
        """Store what rows make in columns: which nodes, where they belong, and where the columns are."""
        found, made = [], {}
        for node, place in self.form.nest.stores:
            if node in self.form.total_set:
                continue
            if node not in made:
                columns, index = range(self.length if self.form.is_stored_whole(node) else 1), self.form.index_of(node)
                made[node] = self._stored_columns(one, [self._value(one, node, index, k) for k in columns])
            found.append((node, place, made[node]))
        return found

    def _copy_back(self, band: Scope, node: Node, place: Place, made: OnStack) -> None:
        """Copy columns to the rows of an output."""
        text, size, (block, base) = self.text, node.dtype.size, made
        first = substitute(offset(self.form.index_of(node), node.shape), {self.row: BAND, self.inner: 0})
        if self.form.is_stored_whole(node):
            columns, rows = text.address(block, base * size), text.address(place, first * size)
            args = Position(COUNT), columns, rows, Position(self.length * size)
            band.use("collect", *args, dtype=self.dtype, tile=(self.length, ROWS))
            return
        loop = text.loop(band, "e", Position(COUNT))
        element = loop.let(text.fresh(), text.load(block, node.dtype, base + symbol("%e")))
        loop.add(text.store(place, first + symbol("%e"), element))
        loop.close()

    # what is folded over all rows

    def _fold_rows(self, one: Scope, sums: Mapping[Node, OnStack], flags: OnStack | None) -> None:
        """Have what totals fold wait in blocks, and fold columns side by side, lanes without a row into nothing."""
        text = self.text
        for node, fold in self.folds.items():
            full = self.form.is_full(node)
            index = self.form.operand_index(node)
            value = self._folded(one, node) if full else self._value(one, node.operands[0], index, 0)
            fold.add(one, value, LANE)
        if flags is None:
            return
        (flag,) = self._loaded(one, flags, 1)
        for node, (block, base) in sums.items():
            carried = Carried(text, node)
            (neutral,), stores = carried.zeros(), []
            for column, value in enumerate(self._values(one, node)):
                at = base + column * ROWS + LANE
                mine = Call("select", (test("!=", flag, text.constant(0, self.dtype)), value, neutral), self.dtype)
                before = one.let(text.fresh(), text.load(block, self.dtype, at))
                new = carried.joined(one, [before], {}, [self._var(one, mine)], {})[0][0]
                stores.append(text.store(block, at, new))
            one.add(*stores)

    def _join(self, top: Scope, node: Node, place: OnStack) -> None:
        """Fold the lanes of each column into its state."""
        text, column, (block, base) = self.text, self.columns[node], place
        loop = text.loop(top, "i", self.length)
        total = Var(text.fresh(), self.dtype)
        lanes = text.address(block, (base + symbol("%i") * ROWS) * self.dtype.size)
        loop.use(column.state.block, lanes, Position(ROWS), dtype=self.dtype, result=total)
        at = substitute(offset(self.form.index_of(node), node.shape), {self.inner: symbol("%i")})
        column.join(loop, at, [total])
        loop.close()
