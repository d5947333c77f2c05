"""Loop nests: the loops of one group of elementwise ops, reductions and what lies between.

In: a nest.  Out: one phase, and a second that combines the chunks' partial results where there are any.

    for rows (cut into chunks):         a value is computed at the outermost level at which its index is known
        sweep 0 over the inner axes     row reductions accumulate; a later sweep of the row may use them
        sweep 1 ...
"""

from __future__ import annotations

from graphc.codegen import form
from graphc.codegen.evaluate import loaded_from
from graphc.codegen.form import Form
from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.loop_ir import Address, Expr, Position, Stmt
from graphc.codegen.product import Product
from graphc.codegen.reduction import Columns, Fold, combine
from graphc.codegen.text import HI, LO, Loop, Scope, Text, close, integer
from graphc.codegen.unread import check_unread, gathers
from graphc.codegen.work import bytes_read, operations, total
from graphc.dims import Dim, blocks, product, substitute, symbol
from graphc.graph import Node
from graphc.schedule.access import linear, loop_symbol, offset, through_movement
from graphc.schedule.split import REDUCTIONS
from graphc.schedule.task import Copy, Kernel, Nest, Place


def emit_nest(text: Text, task: Nest) -> None:
    """Print the phases of a nest."""
    _Nest(text, task).emit()


def emit_copy(text: Text, task: Copy) -> None:
    """Print the phase of a copy."""
    size = product(task.shape)
    title = "commit" if task.target.kind == "parameter" else task.source.kind
    with text.phase(title, blocks(size, form.CHUNK), 0, 2 * size * task.dtype.size) as top:
        text.new_nest()
        if not task.shape:
            _copy_element(text, task, top, 0)
            return
        text.cut(top, form.CHUNK, text.end(size))
        loop = text.loop(top, "i", HI, LO)
        _copy_element(text, task, loop, symbol("%i"))
        loop.close()


def _copy_element(text: Text, task: Copy, scope: Scope, at: Dim) -> None:
    value = scope.let(text.fresh(), text.load(task.source, task.dtype, at))
    scope.add(text.store(task.target, at, value))


def emit_with_product(text: Text, first: Kernel, task: Nest) -> bool:
    """Print a product and the nest over its rows as one phase, if they fit: a block of rows goes on while hot."""
    product = Product(text, first)
    nest = _Nest(text, task, product)
    if not nest.fits(product):
        return False
    nest.emit()
    return True


class _Nest(Form):
    """Makes the loops of a form."""

    def emit(self) -> None:
        length, size, chunks = self.chunks()
        title = ", ".join(dict.fromkeys(m.op.name.lstrip("_") for m in self.members))
        flops, moved = self._work()
        if self.before is not None:
            more = self.before.work()
            self.before.chunks = chunks
            title, flops, moved = f"{self.before.title}, {title}", flops + more[0], moved + more[1]
        partial = self._partial_places(chunks)
        with self.text.phase(title, chunks, flops, moved) as top:
            self.text.new_nest()
            check_unread(self.evaluator, gathers(self.made, self.is_loaded), self.nest.domain, top)
            if self.rows:
                self.text.cut(top, size, self.text.at(length) if self.inner else self.text.end(length))
            if self.before is not None:
                self.before.emit_rows(top, (LO, HI))
            self._loops(top, partial)
        waiting = [(n, p, self._destinations(n)) for n, (p, _) in partial.items() if p not in self._destinations(n)]
        if waiting:
            combine(self.text, waiting, chunks)

    def _work(self) -> tuple[Dim, Dim]:
        """Operations, and bytes read and written; what a product in the same phase has just made is counted there."""
        before = None if self.before is None else self.before.member
        written = total(n.dtype.size * product(n.shape) for n, _ in self.nest.stores)
        return operations(self.nest), bytes_read(self.nest, before) + written

    def _destinations(self, node: Node) -> list[Place]:
        return [p for n, p in self.nest.stores if n is node]

    def _partial_places(self, chunks: Dim) -> dict[Node, tuple[Place, Dim]]:
        """Where each total of a chunk goes, and at which element its row begins."""
        found: dict[Node, tuple[Place, Dim]] = {}
        for node in self.totals:
            places = self._destinations(node)
            if self.by_batch() or (chunks == 1 and len(places) == 1):
                found[node] = places[0], 0
            else:
                place = self.text.scratch(node.dtype, (chunks, *node.shape))
                found[node] = place, symbol("%chunk") * product(node.shape)
        return found

    def _loops(self, top: Scope, partial: dict[Node, tuple[Place, Dim]]) -> None:
        rows = {n: (place, n.shape, base) for n, (place, base) in partial.items() if self._is_column(n)}
        columns = {n: Columns(self.text, n, *row) for n, row in rows.items()}
        folds = {n: Fold(self.text, n, k) for k, n in enumerate(self.totals) if n not in columns}
        for fold in folds.values():
            fold.begin(top)
            fold.begin_blocks(top)
        if self.by_batch():
            columns = {n: Columns(self.text, n, *self._batch_row(n)) for n in columns}
        else:
            for column in columns.values():
                column.begin(top)
        if not self.inner:
            self._one_loop(top, folds)
        else:
            self._nested_loops(top, folds, columns)
        for node, fold in folds.items():
            fold.end_blocks(top)
            place, base = partial[node]
            top.add(self.text.store(place, base, fold.var))

    def _is_column(self, node: Node) -> bool:
        return self.is_full(node) and self.folded(node) == self.split.outer and bool(self.split.inner)

    def _one_loop(self, top: Scope, folds: dict[Node, Fold]) -> None:
        """One loop over all elements, in blocks if a float sum is taken; no loop for 0-d values."""
        if not self.domain:
            self._body(top, folds, {}, 0)
            for fold in folds.values():
                fold.end_block(top, Position(1))
            return
        if not any(f.collects for f in folds.values()):
            body = self.text.loop(top, "i", HI, LO)
            self._body(body, folds, {}, 0)
            body.close_if_filled()
            return
        outer = self._blocks(top, Position(HI), LO)
        lies = self._lies(folds, True)
        body = self.text.loop(outer, "i", self._block_end(Position(HI)), self.block)
        self._body(body, {n: f for n, f in folds.items() if n not in lies}, {}, symbol("%i") - self.block)
        body.close_if_filled()
        for node, fold in folds.items():
            fold.end_block(outer, self._block_size(Position(HI)), self.block, lies.get(node))
        outer.close()

    def _batch_row(self, node: Node) -> tuple[Place, tuple[Dim, ...], Dim]:
        """The row of column sums of one batch: its place, shape and first element."""
        first = substitute(offset(self.index_of(node), node.shape), {f"%{k}": 0 for k in self.inner})
        return self._destinations(node)[0], tuple(self.domain[k] for k in self.inner), first

    def _nested_loops(self, top: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
        batch = self.batch_axes()
        scopes: list[Scope] = [top]
        for n, axis in enumerate(self.row_axes()):
            if batch and n == len(batch):
                for column in columns.values():
                    column.begin(scopes[-1])
            lo, hi = (LO, HI) if n == 0 else (0, self.domain[axis])
            scopes.append(self.text.loop(scopes[-1], str(axis), hi, lo))
        row = scopes[-1]
        self.folded_down = self._fold_down(scopes[-2], columns) if columns else set()
        sweeps = 1 + max(self.computed_in(m) for m in self.members)
        for sweep in range(sweeps):
            self.sweep = sweep
            self._row_sweep(row, folds, columns)
        self.sweep = sweeps
        self._end_row(row, folds)
        for n, scope in reversed(list(enumerate(scopes))[1:]):
            assert isinstance(scope, Loop)
            scope.close_if_filled()
            if batch and n == len(batch) + 1:
                for node, column in columns.items():
                    column.copy(scopes[n - 1], self._destinations(node)[1:])

    def _fold_down(self, scope: Scope, columns: dict[Node, Columns]) -> set[Node]:
        """Make the folds of rows that lie in memory, many rows at a time; other columns are left to the loop."""
        found = set()
        for node, column in columns.items():
            rows = self._rows_in_memory(node) if column.folds_down else None
            if rows is not None:
                whole: tuple[Dim, Dim] = 0, self.domain[self.row_axes()[-1]]
                column.fold_down(scope, *rows, whole if self.batch_axes() else (LO, HI))
                found.add(node)
        return found

    def _rows_in_memory(self, reduction: Node) -> tuple[Place, Dim, Dim] | None:
        """Where the first row of the innermost row loop begins, and the step to the next, if the loop only loads rows.

        Steps are in elements; each row is contiguous.
        """
        *around, axis = self.row_axes()
        reads = list(through_movement(reduction.operands[0], self.operand_index(reduction)))
        if tuple(around) != self.batch_axes() or len(reads) != 1 or reads[0].guarded:
            return None
        node = reads[0].node
        place = loaded_from(self.text, node) if self.is_loaded(node) else None
        position = offset(reads[0].index, node.shape)
        steps = linear(position)
        if place is None or steps is None or (around and axis == self.row_axes()[0]):
            return None
        sizes = [self.domain[k] for k in self.inner]
        if any(
            s != 1 and steps.get(f"%{k}", 0) != product(sizes[n + 1 :])
            for n, (k, s) in enumerate(zip(self.inner, sizes, strict=True))
        ):
            return None
        gone = {f"%{k}": 0 for k in (*self.inner, axis)}
        return place, substitute(position, gone), steps.get(f"%{axis}", 0)

    def _row_sweep(self, row: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
        """One sweep over the inner axes of a row."""
        full = (r for r in self.reductions if self.is_full(r) and self.computed_in(r) == self.sweep)
        here = dict.fromkeys(r for r in full if r not in self.folded_down)
        local = {r: Fold(self.text, r, k) for k, r in enumerate(here) if r not in columns}
        if not here and not self._stores_in(self.sweep):
            return
        *outer_axes, last = self.inner
        length = self.domain[last]
        collects = any(f.collects for f in local.values())
        blocked = collects and not (isinstance(length, int) and length <= BLOCK)
        keeps = collects and (blocked or bool(outer_axes))
        for fold in local.values():
            if keeps or not fold.collects or fold.is_position:
                fold.begin(row)
                fold.begin_blocks(row)
        scopes = self.text.loops(row, ((axis, self.domain[axis]) for axis in outer_axes))
        size = self.text.at(length)
        lies = self._lies(local, blocked)
        if blocked:
            scopes.append(self._blocks(scopes[-1], size))
            body = self.text.loop(scopes[-1], str(last), self._block_end(size), self.block)
        else:
            body = self.text.loop(scopes[-1], str(last), size)
        folded = {r: f for r, f in local.items() if r not in lies}
        position = loop_symbol(last) - self.block if blocked else loop_symbol(last)
        self._body(body, folded, {r: c for r, c in columns.items() if r in here}, position)
        body.close_if_filled()
        for r, fold in local.items():
            if not keeps:
                fold.only_block(scopes[-1], size, lies.get(r))
            elif blocked:
                fold.end_block(scopes[-1], self._block_size(size), self.block, lies.get(r))
            else:
                fold.end_block(scopes[-1], size, 0, lies.get(r))
        close(*scopes[1:])
        for r, fold in local.items():
            if keeps:
                fold.end_blocks(row)
            if r in folds:
                folds[r].add_exactly(row, fold.var)
            else:
                self.evaluator.define(row, r, self.index_of(r), fold.var)

    def _lies(self, folds: dict[Node, Fold], blocked: bool) -> dict[Node, Address]:
        """Where blocks of folds begin that need not be copied to the stack, since they lie in memory as they are."""
        found = {}
        for node, fold in folds.items():
            along = self.lies_along(node) if fold.collects else None
            if along is not None:
                place, position = along
                at = position if blocked else position - self.block
                found[node] = self.text.address(place, at * fold.dtype.size)
        return found

    def _stores_in(self, sweep: int) -> list[tuple[Node, Place, bool]]:
        """Stores of whole arrays in a sweep, and of values that a later sweep will want."""
        wanted = [(n, p, False) for n, p in self.nest.stores if n not in self.total_set and self._is_stored_whole(n)]
        wanted += [(n, p, True) for n, (p, scratch) in self.kept.items() if scratch]
        return [w for w in wanted if self.sweep_of[w[0]] == sweep]

    def _is_stored_whole(self, node: Node) -> bool:
        return node.op.family not in REDUCTIONS and node.shape == self.nest.domain

    def _body(self, scope: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns], position: Dim) -> None:
        """What is done for each element in a sweep: everything is computed before anything is stored.

        `position` is the element's place in its block.
        """
        stores: list[Stmt] = []
        for node, place, scratch in self._stores_in(self.sweep):
            index = self.index_of(node)
            value = self.evaluator.value(node, index, scope)
            if scratch:
                at = offset(self.scratch_index(), self.text.schedule.buffers[place.number][1])
            else:
                at = offset(index, node.shape)
            stores.append(self.text.store(place, at, value))
        for node, fold in folds.items():
            value = self.evaluator.value(node.operands[0], self.operand_index(node), scope)
            fold.add(scope, value, position if fold.collects else self.searched(node))
        for node, column in columns.items():
            value = self.evaluator.value(node.operands[0], self.operand_index(node), scope)
            column.add(scope, value, self._column(node))
        scope.add(*stores)

    def _column(self, node: Node) -> Dim:
        """The place in the row of sums of the element that is folded."""
        return substitute(offset(self.index_of(node), node.shape), {f"%{k}": 0 for k in self.batch_axes()})

    def _end_row(self, row: Scope, folds: dict[Node, Fold]) -> None:
        """Stores of per-row values, and their totals."""
        for node, place in self.nest.stores:
            if node not in self.total_set and not self._is_stored_whole(node):
                index = self.index_of(node)
                value = self.evaluator.value(node, index, row)
                row.add(self.text.store(place, offset(index, node.shape), value))
        for node, fold in folds.items():
            if not self.is_full(node):
                fold.add_exactly(row, self.evaluator.value(node.operands[0], self.operand_index(node), row))

    def _blocks(self, scope: Scope, hi: Expr, lo: Dim = 0) -> Loop:
        """The loop over blocks of the innermost loop."""
        return self.text.loop(scope, str(self.block)[1:], hi, lo, BLOCK)

    def _block_end(self, hi: Expr) -> Expr:
        return integer("least", Position(self.block + BLOCK), hi)

    def _block_size(self, hi: Expr) -> Expr:
        return integer("least", Position(BLOCK), integer("-", hi, Position(self.block)))
