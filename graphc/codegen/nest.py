"""Loop nests: the loops of one group of elementwise ops, reductions and what lies between.

In: a nest.  Out: one phase, and a second that combines the chunks' partial results where there are any.

    for rows (cut into chunks):         a value is computed at the outermost level at which its index is known
        sweep 0 over the inner axes     row reductions accumulate; a later sweep of the row may use them
        sweep 1 ...                     short rows go by bands: sweep 0 of all rows of a band, then sweep 1
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen import form
from graphc.codegen.form import BAND, RESULTS
from graphc.codegen.intrinsics.target import BLOCK, LINE
from graphc.codegen.late import late_outputs, write_last, write_late
from graphc.codegen.loop_ir import CHUNK, Expr, Position, Stmt
from graphc.codegen.private import blocks_of_rows, prepare_product
from graphc.codegen.product import Product
from graphc.codegen.reduction import Carried, Columns, Fold, Partial, Waiting, combine
from graphc.codegen.rows import Rows, row_of
from graphc.codegen.scope import Bounds, Branch, Loop, Scope, close
from graphc.codegen.streamed import (
    WHOLE,
    are_large,
    bind_lines,
    bind_places,
    cut_in_lines,
    is_in_lines,
    leave_narrow,
    lines_of,
    piece_of,
    step_of,
    store_lines,
    streamed_outputs,
    write_step,
    write_streamed,
)
from graphc.codegen.text import FIRST, HI, LO, Text, integer, test
from graphc.codegen.turned import copies, tile_of
from graphc.codegen.unread import check_unread, gathers
from graphc.codegen.wanted import fetch_across, fetch_along, fetch_gathered
from graphc.codegen.work import bytes_read
from graphc.dims import Dim, blocks, product, substitute, symbol
from graphc.graph import Node
from graphc.schedule.access import loop_symbol, offset
from graphc.schedule.split import Axes
from graphc.schedule.task import Kernel, Nest, Place


def emit_nest(text: Text, task: Nest) -> None:
    """Print the phases of a nest."""
    _Nest(text, task).emit()


def emit_with_product(text: Text, first: Kernel, task: Nest) -> bool:
    """Print a product and the nest over its rows as one phase, if they fit: a block of rows goes on while hot."""
    product = Product(text, first)
    nest = _Nest(text, task, product)
    if not nest.fits(product):
        return False
    nest.emit()
    return True


def _folds(reduction: Node) -> tuple[Node, str]:
    """What a reduction folds, and into which state."""
    return reduction.operands[0], str(reduction.op.state)


class _Nest(Rows):
    """Makes the loops of a form."""

    def emit(self) -> None:
        length, size, chunks = self.chunks()
        title = ", ".join(dict.fromkeys(m.op.name.lstrip("_") for m in self.members))
        flops, moved = self.work()
        streamed = streamed_outputs(self)
        in_lines = lines_of(self, streamed, moved)
        if in_lines is not None:
            chunks = blocks(length + LINE // in_lines[1].size - 1, size)
        if self.before is not None:
            more = self.before.kernel.work()
            title, flops, moved = f"{self.before.title}, {title}", flops + more[0], moved + more[1]
        some = prepare_product(self, size, chunks)
        with self.text.phase(title, chunks, flops, moved) as top:
            self.text.new_nest()
            self.clear_ends(top)
            check_unread(self.evaluator, gathers(self.made, self.is_loaded), self.nest.domain, top)
            if in_lines is not None:
                cut_in_lines(self.text, top, size, self.text.end(length), *in_lines)
            elif self.rows:
                end = self.text.at(length) if self.inner or self.is_flat else self.text.end(length)
                self.text.cut(top, size, end, names=("begin", "end") if some != 0 else ("lo", "hi"))
            with blocks_of_rows(self, top, some) as block:
                if self.before is not None:
                    self.before.emit_rows(block, (LO, HI))
                waiting = self._ways(block, chunks, streamed, moved)
        if waiting:
            combine(self.text, waiting, chunks)

    def _ways(self, top: Scope, chunks: Dim, streamed: dict[Place, Place], moved: Dim) -> list[Partial]:
        """Make the loops: twice, if sizes of the call decide whether they write past the caches."""
        large = are_large(self, moved) if streamed else False
        self.streamed = streamed if large else {}
        if isinstance(large, bool) or is_in_lines(self):
            return self._loops(top, chunks)
        for condition, self.streamed in ((large, streamed), (test("not", large), {})):
            branch = Branch(top, condition)
            self._loops(branch, chunks)
            branch.close()
        return []

    def _destinations(self, node: Node) -> list[Place]:
        return [p for n, p in self.nest.stores if n is node]

    def _loops(self, top: Scope, chunks: Dim) -> list[Partial]:
        """Make the loops; what chunks leave to be combined."""
        self.band = self.rows_at_once()
        alone = self.by_batch() or chunks == 1
        columns = {n: self._columns(n, alone, chunks) for n in self.totals if self.is_column(n)}
        folds = {n: Fold(self.text, n, k) for k, n in enumerate(self.totals) if n not in columns}
        for fold in (*folds.values(), *(() if self.by_batch() else columns.values())):
            fold.begin(top)
        if not self.inner:
            self._one_loop(top, folds)
        else:
            self._nested_loops(top, folds, columns)
        waiting = [] if alone else [self._partial(n, column.places) for n, column in columns.items()]
        if alone and not self.by_batch():
            self._finish(top, columns)
        for node, fold in folds.items():
            if alone:
                value = fold.result(top)
                top.add(*(self.text.store(place, 0, value) for place in self._destinations(node)))
                continue
            places = [self.text.scratch(dtype, (chunks,)) for dtype in fold.dtypes]
            parts = zip(places, fold.settled(top), strict=True)
            top.add(*(self.text.store(place, CHUNK, part) for place, part in parts))
            waiting.append(self._partial(node, places))
        return waiting

    def _columns(self, node: Node, alone: bool, chunks: Dim) -> Columns:
        """A row of states: in the result itself if that is all, else in scratch of the chunk."""
        size = product(self.domain[k] for k in self.inner)
        carried = Carried(self.text, node)
        if alone and len(carried.dtypes) == 1:
            return Columns(self.text, node, self._destinations(node)[:1], size, self._first_column(node))
        places = [self.text.scratch(dtype, (chunks, size)) for dtype in carried.dtypes]
        return Columns(self.text, node, places, size, CHUNK * size)

    def _first_column(self, node: Node) -> Dim:
        """Where the results of a batch begin."""
        return substitute(offset(self.index_of(node), node.shape), {f"%{k}": 0 for k in self.inner})

    def _finish(self, scope: Scope, columns: dict[Node, Columns]) -> None:
        for node, column in columns.items():
            places = [p for p in self._destinations(node) if p not in column.places]
            column.finish(scope, places, self._first_column(node))

    def _partial(self, node: Node, parts: Sequence[Place]) -> Partial:
        length, size, _ = self.chunks()
        axes = self.folded(node) if self.is_full(node) else self.rows
        rest = product(self.domain[k] for k in axes if k != self.row_axes()[0]) if self.inner else 1
        return Partial(node, parts, self._destinations(node), size * rest, length * rest)

    def _one_loop(self, top: Scope, folds: dict[Node, Fold]) -> None:
        """One loop over all elements, in blocks if a float sum is taken; no loop for 0-d values."""
        if not self.domain:
            self._body(top, folds, {}, 0)
            for fold in folds.values():
                fold.end_block(top, Position(1), 0, None)
            return
        if self.blocks_along(top, folds):
            return
        row = self.before.columns.size if self.before is not None and self.is_flat else 1
        self._elements(top, "i", (LO * row, Position(HI * row)), folds, {}, self._block_size(folds, form.longest()))

    def _nested_loops(self, top: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
        batch = self.batch_axes()
        scopes: list[Scope] = [top]
        for n, axis in enumerate(self.row_axes()):
            if batch and n == len(batch):
                for column in columns.values():
                    column.begin(scopes[-1])
            bounds: tuple[Dim, Dim | Expr] = self.bounds(axis)
            if axis == self.beside:
                around, bounds = copies(self, scopes[-1])
                scopes += around
            outer = scopes[-1]
            if self.band > 1 and axis == self.row_axes()[-1]:
                bounds = self.begin_band(scopes, *self.bounds(axis))
            scopes.append(self.text.loop(scopes[-1], str(axis), bounds[1], bounds[0]))
        row = scopes[-1]
        fetch_across(self, scopes)
        fetch_gathered(self, scopes)
        # Else rows are folded after what is fetched for them, or copied.
        down = columns and not self.split.deep and not self.fetched and self.beside is None
        self.folded_down = self.fold_down(outer, columns) if down else set()
        sweeps = 1 + max(self.computed_in(m) for m in self.members)
        folded = self.fold_along(scopes)
        for sweep in range(0 if folded else sweeps):
            self.sweep = sweep
            row = self.rows_again(scopes) if sweep else row
            if self.split.deep:
                self._deep_sweep(row, columns)
            else:
                self._row_sweep(row, folds, columns)
        self.sweep = sweeps
        row = self.rows_again(scopes)
        self._end_row(row, folds)
        for n, scope in reversed(list(enumerate(scopes))[1:]):
            assert isinstance(scope, Loop)
            scope.close_if_filled()
            if batch and n == len(batch) + 1:
                self._finish(scopes[n - 1], columns)
        write_last(self, top)

    def _row_sweep(self, row: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
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

    def _deep_sweep(self, row: Scope, columns: dict[Node, Columns]) -> None:
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
        size = self._block_size(folds, self.domain[axes[-1]])
        for fold in folds.values():
            if size or len(axes) > 1 or not fold.waits:
                fold.begin(scope)
        return size

    def _loops_over(
        self, scope: Scope, axes: Axes, folds: dict[Node, Fold], columns: dict[Node, Columns], size: int
    ) -> None:
        *around, last = axes
        scopes = self.text.loops(scope, ((axis, self.domain[axis]) for axis in around))
        bounds: Bounds = 0, self.text.at(self.domain[last])
        if self.in_tiles:
            bounds = self.block, integer("least", Position(self.block + tile_of(self)), bounds[1])
        self._elements(scopes[-1], str(last), bounds, folds, columns, size)
        close(*scopes[1:])

    def _block_size(self, folds: dict[Node, Fold], length: Dim) -> int:
        """Elements that are folded at once; 0 where all of the innermost loop are.

        What only loads, and rounds nothing, needs no block on the stack.
        """
        found = [(n, f) for n, f in folds.items() if f.waits or (f.collects and self.lies_along(n, 0))]
        streams = self.reductions and any(place in self.streamed for _, place, _ in self.stores_in(self.sweep))
        most = BLOCK if streams or not all(f.is_exact and self.lies_along(n, 0) for n, f in found) else form.longest()
        return most if (found or streams) and not (isinstance(length, int) and length <= most) else 0

    def _elements(
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
        rest = row_of(bounds) % lanes if lanes else 0
        whole = row_of(bounds) - rest
        end = high if not rest else integer("least", high, Position(whole)) if size else Position(whole)
        late, steps = late_outputs(self, lanes or step)
        part, (first, last) = self.part(around, var, low, end, size, lanes or step or steps)
        body, element = self.text.loop(part, var, last, first), symbol(f"%{var}")
        self._body(body, made, columns, element - low, element - first)
        if body.body:
            body.close()
            write_step(self, part, places, step, {f"%{var}": first}, first - low)
            write_late(self, part, late, steps, first)
            close(*((part,) if part is not around else ()))
        if rest:
            self.ask(around, var, whole, rest)
            last_part = self.text.loop(around, var, high, end)
            self._body(last_part, made, columns, element - low, element - whole)
            last_part.close()
        for r, fold in folds.items():
            read = bytes_read(self.nest) if lies[r] else 0
            fold.end_block(around, count, substitute(self.searched(r), {f"%{var}": low}), lies[r], read)
        write_streamed(self, around, count, {f"%{var}": low}, places)
        if size:
            close(around)

    def _in_lines(self, scope: Scope, var: str, low: Dim, high: Dim) -> None:
        """The innermost loop, piece by piece where outputs are whole lines, then what is before and after."""
        leave_narrow(self)
        bind_lines(self, scope, self.work()[1], var, low, high)
        pieces = self.text.loop(scope, str(self.block)[1:], WHOLE, FIRST, piece_of(self))
        fetch_along(self, pieces, var, self.block)
        piece = self.text.loop(pieces, "q", piece_of(self))
        piece.bind(var, self.block + symbol("%q"))
        self._body(piece, {}, {}, symbol("%q"))
        piece.close()
        store_lines(self, pieces, {f"%{var}": self.block})
        pieces.close()
        self.streamed, after = {}, symbol("%k")
        ends = self.text.loop(scope, "k", 2)
        rest = self.text.loop(ends, var, FIRST + (high - FIRST) * after, low + (WHOLE - low) * after)
        self._body(rest, {}, {}, 0)
        close(ends, rest)

    def _body(
        self, scope: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns], position: Dim, lane: Dim = 0
    ) -> None:
        """What is done for each element in a sweep: everything is computed before anything is stored.

        `position` is the element's place in its block, `lane` the accumulator in which it is folded.
        """
        stores: list[Stmt] = []
        for node, place, scratch in self.stores_in(self.sweep):
            index = self.index_of(node)
            value = self.evaluator.value(node, index, scope)
            at = self.scratch_at(place) if scratch else offset(index, node.shape)
            if place in self.streamed:
                place, at = self.streamed[place], position
            stores.append(self.text.store(place, at, value))
        for node, fold in folds.items():
            value = self.evaluator.value(node.operands[0], self.operand_index(node), scope)
            fold.add(scope, value, lane if fold.lanes else position if fold.waits else self.searched(node))
        for node, column in columns.items():
            value = self.evaluator.value(node.operands[0], self.operand_index(node), scope)
            column.add(scope, self._column(node), value, self.searched(node))
        scope.add(*stores)

    def _column(self, node: Node) -> Dim:
        """The place in the row of sums of the element that is folded."""
        return substitute(offset(self.index_of(node), node.shape), {f"%{k}": 0 for k in self.batch_axes()})

    def _end_row(self, row: Scope, folds: dict[Node, Fold]) -> None:
        """Stores of per-row values, and their totals."""
        for node, place in self.nest.stores:
            if node not in self.total_set and not self.is_stored_whole(node):
                index = self.index_of(node)
                value = self.evaluator.value(node, index, row)
                row.add(self.text.store(place, offset(index, node.shape), value))
        for node, fold in folds.items():
            if not self.is_full(node):
                value = self.evaluator.value(node.operands[0], self.operand_index(node), row)
                fold.join(row, fold.lifted(value, self.searched(node)), Position(1))
