"""What a nest does within a row: the sweeps over its elements, and the statements of an element.

In: the form of a nest, and what its elements are folded into.  Out: the loops, in parts and blocks where something is
done between them.
"""

from __future__ import annotations

from graphc.codegen import form, tall
from graphc.codegen.chosen import at_number, chosen_in, elsewhere
from graphc.codegen.form import BAND, RESULTS
from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.late import late_outputs, write_late
from graphc.codegen.loop_ir import Position, Stmt
from graphc.codegen.reduction import Columns, Fold, Waiting
from graphc.codegen.rows import Rows, row_of
from graphc.codegen.scope import Bounds, Branch, Scope, close
from graphc.codegen.streamed import (
    WHOLE,
    bind_lines,
    bind_places,
    is_in_lines,
    leave_narrow,
    made_at,
    parts_of,
    piece_of,
    step_of,
    store_lines,
    write_step,
    write_streamed,
)
from graphc.codegen.tall import columns_of_row
from graphc.codegen.text import FIRST, integer, test
from graphc.codegen.turned import tile_of
from graphc.codegen.wanted import fetch_along
from graphc.codegen.work import bytes_read
from graphc.dims import Dim, product, substitute, symbol
from graphc.graph import Node
from graphc.schedule.access import Read, loop_symbol, offset
from graphc.schedule.split import Axes


def _folds(reduction: Node) -> tuple[Node, str]:
    """What a reduction folds, and into which state."""
    return reduction.operands[0], str(reduction.op.state)


class Inner(Rows):
    """Makes the loops within a row."""

    def row_sweep(self, row: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
        """One sweep over the inner axes of a row."""
        full = (r for r in self.reductions if self.is_full(r) and self.computed_in(r) == self.sweep)
        here = dict.fromkeys(r for r in full if r not in self.folded_down)
        rows = {_folds(r) for r in here if r in self.row_set}  # a total of the same takes what its rows come to
        fold = [r for r in here if r in self.row_set or (r not in columns and _folds(r) not in rows)]
        local = {r: Fold(self.text, r, k) for k, r in enumerate(fold)}
        if not here and not self.stores_in(self.sweep):
            return
        size = self._begin(row, local, self.inner)
        down = {r: c for r, c in columns.items() if r in here}
        for column in down.values():
            column.begin_row(row, Position(1))
        self._loops_over(row, self.inner, local, down, size)
        settled = {_folds(r): fold.settled(row) for r, fold in local.items()}
        for r in here:
            if r in folds:
                folds[r].join(row, settled[_folds(r)], self.text.at(product(self.domain[k] for k in self.inner)))
            elif r in local:
                self.settle(row, r, local[r].finished(row, settled[_folds(r)]))
        for column in down.values():
            column.end_row(row, Position(1))

    def deep_sweep(self, row: Scope, columns: dict[Node, Columns]) -> None:
        """Fold what there is at each column of a row, and that into the column, of several numbers some at a time."""
        deep, (*around, last) = self.split.deep, self.inner
        count = self.text.at(product(self.domain[k] for k in deep))
        local = {r: Fold(self.text, r, k) for k, r in enumerate(columns)}
        for column in columns.values():
            column.begin_row(row, count)
        scopes = self.text.loops(row, ((axis, self.domain[axis]) for axis in around))
        waiting = Waiting(self.text, RESULTS, local)
        some = self.text.loop(scopes[-1], str(BAND)[1:], self.domain[last], 0, waiting.most)
        end = integer("least", Position(BAND + waiting.most), self.text.at(self.domain[last]))
        one = self.text.loop(some, str(last), end, BAND)
        self._loops_over(one, deep, local, {}, self._begin(one, local, deep))
        for r, parts in waiting.store(one, loop_symbol(last) - BAND):
            columns[r].join(one, self._column(r), parts)
        one.close()
        again = self.text.loop(some, str(last), end, BAND)
        for r, parts in waiting.load(again, loop_symbol(last) - BAND):
            columns[r].join(again, self._column(r), parts)
        again.close_if_filled()
        close(*scopes[1:], some)
        for column in columns.values():
            column.end_row(row, count)

    def _begin(self, scope: Scope, folds: dict[Node, Fold], axes: Axes) -> int:
        """Bind what is folded into in loops over these axes, unless it is one block; the elements of a block."""
        size = self.block_size(folds, self.domain[axes[-1]])
        for fold in folds.values():
            if size or len(axes) > 1 or not fold.waits:
                fold.begin(scope)
        return size

    def _loops_over(
        self, scope: Scope, axes: Axes, folds: dict[Node, Fold], columns: dict[Node, Columns], size: int
    ) -> None:
        *around, last = axes
        scopes = self.text.loops(scope, ((axis, self.domain[axis]) for axis in around))
        if self.tall is not None:
            self._in_tile(scopes[-1], str(last), columns_of_row(self, self.tall, scopes[-1]))
        else:
            bounds: Bounds = 0, self.text.at(self.domain[last])
            if self.in_tiles:
                bounds = self.block, integer("least", Position(self.block + tile_of(self)), bounds[1])
            self.elements(scopes[-1], str(last), bounds, folds, columns, size)
        close(*scopes[1:])

    def block_size(self, folds: dict[Node, Fold], length: Dim) -> int:
        """Elements that are folded at once; 0 where all of the innermost loop are.

        What only loads, and rounds nothing, needs no block on the stack.
        """
        found = [(n, f) for n, f in folds.items() if f.waits or (f.collects and self.lies_along(n, 0))]
        streams = self.reductions and any(place in self.streamed for _, place, _ in self.stores_in(self.sweep))
        most = BLOCK if streams or not all(f.is_exact and self.lies_along(n, 0) for n, f in found) else form.longest()
        return most if (found or streams) and not (isinstance(length, int) and length <= most) else 0

    def elements(
        self, scope: Scope, var: str, bounds: Bounds, folds: dict[Node, Fold], columns: dict[Node, Columns], size: int
    ) -> None:
        """The innermost loop, in blocks of a size if it is not 0; blocks that lie in memory are not copied."""
        low, high = bounds
        if is_in_lines(self):
            assert isinstance(high, Position)
            self._in_lines(scope, var, low, high.at)
            return
        if self.streamed and not self.reductions and self.beside is None:
            size = piece_of(self)
        around, count = scope, high if low == 0 else integer("-", high, Position(low))
        if size:
            around = self.text.loop(scope, str(self.block)[1:], high, low, size)
            count = integer("least", Position(size), integer("-", high, Position(self.block)))
            low, high = self.block, integer("least", Position(self.block + size), high)
        fetch_along(self, around, var, low)
        lanes = self.begin_lanes(around, folds, bounds, size)
        lies = {r: self.lies(r, f, var, low) for r, f in folds.items()}
        made = {r: f for r, f in folds.items() if not lies[r]}
        step = 0 if self.folds_scalars() else step_of(self, lanes, size)
        places = bind_places(self, around, step, {f"%{var}": low})
        self.parts = parts_of(self, places)
        rest = row_of(bounds) % lanes if lanes else 0
        whole = row_of(bounds) - rest
        end = high if not rest else integer("least", high, Position(whole)) if size else Position(whole)
        late, steps = late_outputs(self, lanes or step) if self.overlap is None else ((), 0)
        if self.overlap is not None and self.sweep in (self.overlap.beside, self.overlap.last):
            steps = 0 if size % self.overlap.step else self.overlap.step
        self.chosen = chosen_in(self)
        part, (first, last) = self.part(around, var, low, end, size, lanes or step or steps)
        body, element = self.text.loop(part, var, last, first), symbol(f"%{var}")
        self.body(body, made, columns, element - low, element - first)
        if body.body:
            body.close()
            self._store_chosen(part, var, (first, last), element - low, element - first)
            write_step(self, part, places, step, {f"%{var}": first}, first - low)
            write_late(self, part, late, steps, first)
            close(*((part,) if part is not around else ()))
        if rest:
            self.ask(around, var, whole, rest)
            last_part = self.text.loop(around, var, high, end)
            self.body(last_part, made, columns, element - low, element - whole)
            last_part.close()
            self._store_chosen(around, var, (whole, high), element - low, element - whole)
        for r, fold in folds.items():
            read = bytes_read(self.nest) if lies[r] else 0
            fold.end_block(around, count, substitute(self.searched(r), {f"%{var}": low}), lies[r], read)
        write_streamed(self, around, count, {f"%{var}": low}, places)
        if size:
            close(around)

    def _in_tile(self, row: Scope, var: str, bounds: Bounds) -> None:
        """A row of a tall tile: all of its columns, which are whole lines, or fewer where a row of the result begins or
        ends.

        LLVM makes vectors of what it knows to be as long as some, and keeps these in registers.
        """
        low, high = bounds
        leave_narrow(self, tall.COLUMNS)
        fetch_along(self, row, var, low)
        count = integer("-", high, Position(low))
        whole = Branch(row, test("==", count, Position(tall.COLUMNS)))
        self._piece(whole, var, low, tall.COLUMNS)
        store_lines(self, whole, {f"%{var}": low}, tall.COLUMNS)
        some = Branch(row, test("<", count, Position(tall.COLUMNS)))
        rest = self.text.loop(some, var, high, low)
        self.body(rest, {}, {}, symbol(f"%{var}") - low)
        rest.close()
        write_streamed(self, some, count, {f"%{var}": low})
        whole.close()
        some.close()

    def _piece(self, scope: Scope, var: str, first: Dim, size: int) -> None:
        """So many elements from the first one on, a number that LLVM knows."""
        piece = self.text.loop(scope, "q", size)
        piece.bind(var, first + symbol("%q"))
        self.body(piece, {}, {}, symbol("%q"))
        piece.close()

    def _in_lines(self, scope: Scope, var: str, low: Dim, high: Dim) -> None:
        """The innermost loop, piece by piece where outputs are whole lines, then what is before and after."""
        leave_narrow(self, piece_of(self))
        bind_lines(self, scope, self.work()[1], var, low, high)
        pieces = self.text.loop(scope, str(self.block)[1:], WHOLE, FIRST, piece_of(self))
        fetch_along(self, pieces, var, self.block)
        self._piece(pieces, var, self.block, piece_of(self))
        store_lines(self, pieces, {f"%{var}": self.block}, piece_of(self))
        pieces.close()
        self.streamed, after = {}, symbol("%k")
        ends = self.text.loop(scope, "k", 2)
        rest = self.text.loop(ends, var, FIRST + (high - FIRST) * after, low + (WHOLE - low) * after)
        self.body(rest, {}, {}, 0)
        close(ends, rest)

    def body(
        self, scope: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns], position: Dim, lane: Dim = 0
    ) -> None:
        """What is done for each element in a sweep: everything is computed before anything is stored.

        `position` is the element's place in its block, `lane` that in the part which is made at once: the accumulator
        in which it is folded.
        """
        stores = self._stores(scope, position, lane)
        for node, fold in folds.items():
            value = self.evaluator.value(node.operands[0], self.operand_index(node), scope)
            fold.add(scope, value, lane if fold.lanes else position if fold.waits else self.searched(node))
        for node, column in columns.items():
            value = self.evaluator.value(node.operands[0], self.operand_index(node), scope)
            column.add(scope, self._column(node), value, self.searched(node))
        scope.add(*stores)

    def _store_chosen(self, scope: Scope, var: str, bounds: Bounds, position: Dim, lane: Dim) -> None:
        """Store what a row has at one position alone, if a loop between these bounds has come to it."""
        for node, number in self.chosen.items():
            branch, there = at_number(self, scope, var, bounds, number)
            there.add(*self._stores(there, position, lane, node))
            close(branch, there)

    def _stores(self, scope: Scope, position: Dim, lane: Dim, alone: Node | None = None) -> list[Stmt]:
        """Of a sweep's outputs and of what later ones want; or of one at the position where it is alone."""
        stores: list[Stmt] = []
        for node, place, scratch in self.stores_in(self.sweep):
            if alone is not None and alone is not node:
                continue
            index = self.index_of(node)
            read = Read(node, index) if alone is node or node not in self.chosen else elsewhere(node, index)
            value = self.evaluator.value(read.node, read.index, scope)
            at = self.scratch_at(place) if scratch else offset(index, node.shape)
            if place in self.parts:
                place, at = self.parts[place], lane
            elif place in self.streamed:
                place = self.streamed[place]
                at = made_at(self, node, place, position)
            stores.append(self.text.store(place, at, value))
        return stores

    def _column(self, node: Node) -> Dim:
        """The place in the row of sums of the element that is folded."""
        return substitute(offset(self.index_of(node), node.shape), {f"%{k}": 0 for k in self.batch_axes()})
