"""Loop nests: the loops of one group of elementwise ops, reductions and what lies between.

In: a nest.  Out: one phase, and a second that combines the chunks' partial results where there are any.

    for rows (cut into chunks):         a value is computed at the outermost level at which its index is known
        sweep 0 over the inner axes     row reductions accumulate; a later sweep of the row may use them
        sweep 1 ...                     short rows go by bands: sweep 0 of all rows of a band, then sweep 1
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen import form
from graphc.codegen.abreast import emit_abreast
from graphc.codegen.between import math_between
from graphc.codegen.few_elements import needs_abreast
from graphc.codegen.inner import Inner
from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.late import write_last
from graphc.codegen.loop_ir import CHUNK, Expr, Position, Stmt
from graphc.codegen.overlapped import overlap, overlap_of
from graphc.codegen.private import blocks_of_rows, prepare_product
from graphc.codegen.product import Product
from graphc.codegen.reduction import Carried, Columns, Fold, Partial, combine
from graphc.codegen.scope import Branch, Loop, Scope
from graphc.codegen.streamed import (
    are_large,
    cut_in_lines,
    is_in_lines,
    lines_of,
    streamed_outputs,
)
from graphc.codegen.tall import tall_tiles
from graphc.codegen.text import HI, LO, Text, test
from graphc.codegen.turned import copies
from graphc.codegen.unread import check_unread, gathers
from graphc.codegen.wanted import fetch_across, fetch_gathered
from graphc.dims import Dim, blocks, product, substitute
from graphc.graph import Node
from graphc.schedule.access import offset
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


class _Nest(Inner):
    """Makes the loops of a form."""

    def emit(self) -> None:
        flops, moved = self.work()
        streamed = streamed_outputs(self, moved)
        self.tall = tall_tiles(self, streamed) if isinstance(moved, int) else None
        length, size, chunks = self.chunks()
        self.abreast = needs_abreast(self)
        title = ", ".join(dict.fromkeys(m.op.name.lstrip("_") for m in self.members))
        in_lines = lines_of(self, streamed)
        if in_lines is not None:
            chunks = blocks(length + LINE // in_lines[1].size - 1, size)
        if self.before is not None:
            more = self.before.kernel.work()
            title, flops, moved = f"{self.before.title}, {title}", flops + more[0], moved + more[1]
        some = prepare_product(self, size, chunks)
        with self.text.phase(title, chunks, flops, moved) as top:
            self.text.new_nest()
            if self.abreast is None:
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
        self.between, self.waiting = math_between(self), set()
        self.band = self.rows_at_once()
        if self.band == 1:
            self.between = []
        alone = self.by_batch() or chunks == 1
        columns = {n: self._columns(n, alone, chunks) for n in self.totals if self.is_column(n)}
        folds = {n: Fold(self.text, n, k) for k, n in enumerate(self.totals) if n not in columns}
        for fold in (*folds.values(), *(() if self.by_batch() else columns.values())):
            fold.begin(top)
        if self.abreast is not None:
            emit_abreast(self, self.abreast, top, folds, columns)
        elif not self.inner:
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
            self.body(top, folds, {}, 0)
            for fold in folds.values():
                fold.end_block(top, Position(1), 0, None)
            return
        if self.blocks_along(top, folds):
            return
        row = self.before.columns.size if self.before is not None and self.is_flat else 1
        self.elements(top, "i", (LO * row, Position(HI * row)), folds, {}, self.block_size(folds, form.longest()))

    def _nested_loops(self, top: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
        batch = self.batch_axes()
        scopes: list[Scope] = [top]
        self.overlap, slices = overlap_of(self), dict[int, slice]()
        self.ask_in_sweeps()
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
            begin = len(row.body)
            if self.split.deep:
                self.deep_sweep(row, columns)
            else:
                self.row_sweep(row, folds, columns)
            slices[sweep] = slice(begin, len(row.body))
        self.sweep = sweeps
        row = self.rows_again(scopes)
        self._end_row(row, folds)
        after: tuple[Stmt, ...] = ()
        if self.overlap is not None:
            after = overlap(self, top, row, slices[self.overlap.beside], slices[self.overlap.last])
        for n, scope in reversed(list(enumerate(scopes))[1:]):
            assert isinstance(scope, Loop)
            scope.close_if_filled()
            if batch and n == len(batch) + 1:
                self._finish(scopes[n - 1], columns)
        top.add(*after)
        write_last(self, top)

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
