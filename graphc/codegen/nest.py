"""Loop nests: the text of one group of elementwise ops, reductions and what lies between.

In: a group and its stores.  Out: one phase, and a second that combines the chunks' partial results where there are any.

    for rows (cut into chunks):         a value is computed at the outermost level at which its index is known
        sweep 0 over the inner axes     row reductions accumulate; a later sweep of the row may use them
        sweep 1 ...
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.codegen.evaluate import Evaluator, loaded_from
from graphc.codegen.intrinsics.total import BLOCK
from graphc.codegen.product import Product
from graphc.codegen.reduction import Columns, Fold, combine
from graphc.codegen.text import Scope, Text
from graphc.dims import Dim, Poly, blocks, dim_max, floor_div, product, symbol
from graphc.graph import Node
from graphc.schedule.access import Index, canonical, loop_symbol, offset
from graphc.schedule.fuse import REDUCTIONS, domain_of, is_expensive, member_index, reduced, row_index
from graphc.schedule.shape import is_flat, loads
from graphc.schedule.storage import Place, Step

CHUNK = 16_384  # elements of a chunk, some 10 us of work
FLAT = symbol("%i")


def emit_nest(text: Text, step: Step) -> None:
    """Print the phases of a group of kind nest or commit."""
    _Nest(text, step).emit()


def emit_with_product(text: Text, first: Step, step: Step) -> bool:
    """Print a product and the nest over its rows as one phase, if they fit: a block of rows goes on while hot."""
    product = Product(text, first)
    nest = _Nest(text, step, product)
    if not nest.fits(product):
        return False
    nest.emit()
    return True


class _Nest:
    def __init__(self, text: Text, step: Step, before: Product | None = None) -> None:
        self.text, self.step, self.group, self.before = text, step, step.group, before
        self.domain = self.group.domain
        first = self.group.members[0]
        self.copied = first if self.group.kind == "commit" or first in self.group.reads else None
        self.made = set() if self.copied is not None else set(self.group.members)
        self.flat = is_flat(self.group, self._is_loaded)
        rank = len(self.domain)
        self.flat = self.flat and before is None
        split = self.group.inner if self.group.inner is not None else (rank - 1,) if rank > 1 and not self.flat else ()
        self.inner: tuple[int, ...] = split
        self.rows = tuple(k for k in range(rank) if k not in self.inner)
        self.reductions = [m for m in self.group.members if m.op.family in REDUCTIONS and self.copied is None]
        self.row_set = {r for r in self.reductions if self._is_full(r) and reduced(r) == self.group.inner}
        self.totals = [r for r in self.reductions if r not in self.row_set]
        self.total_set = set(self.totals)
        self.sweep_of: dict[Node, int] = {}
        for member in self.group.members:
            self._sweep(member)
        self.sweep = 0
        self.kept = self._kept()
        self.evaluator = Evaluator(text, self._stored)

    # where things are

    def _is_loaded(self, node: Node) -> bool:
        return node not in self.made and (node is self.copied or loaded_from(self.text, node) is not None)

    def _stored(self, node: Node) -> tuple[Place, Index | None] | None:
        """Where to load a node from: values of other groups, and those of this row that an earlier sweep has stored."""
        if node is self.copied and self.group.kind == "commit":
            return self.step.stores[0][1], None
        if node not in self.made:
            place = loaded_from(self.text, node)
            return (place, None) if place is not None else None
        if node in self.kept and self.sweep_of[node] < self.sweep:
            place, scratch = self.kept[node]
            return place, self._scratch_index() if scratch else None
        return None

    def _is_full(self, node: Node) -> bool:
        """Whether the node's loops run over the whole domain, rather than once a row."""
        return domain_of(node) == self.domain

    def _index(self, node: Node) -> Index:
        """The index at which the loops compute a member, or store it."""
        if self.flat and node.shape == self.domain and node.op.family not in REDUCTIONS:
            return self._flat_index()
        if self.group.inner is None and node.op.family not in REDUCTIONS:
            return canonical(node.shape)
        return member_index(self.group, node)

    def _flat_index(self) -> Index:
        """The index whose position in an array of the domain's shape is the one loop variable."""
        last = max((k for k, d in enumerate(self.domain) if d != 1), default=0)
        return tuple(FLAT if k == last else 0 for k in range(len(self.domain)))

    def _operand_index(self, reduction: Node) -> Index:
        """The index at which a reduction reads its operand."""
        operand = reduction.operands[0]
        if self.flat:
            return self._flat_index() if operand.shape == self.domain else canonical(operand.shape)
        return canonical(operand.shape) if self._is_full(reduction) else row_index(self.group, operand.shape)

    # sweeps

    def _sweep(self, root: Node) -> None:
        """Find the sweep in which a node is known; a row reduction is known one sweep after its operand."""
        stack = [root]
        while stack:
            node = stack[-1]
            operands = () if self._is_loaded(node) else node.operands
            missing = [o for o in operands if o not in self.sweep_of]
            if missing and node not in self.sweep_of:
                stack += missing
                continue
            stack.pop()
            latest = max((self.sweep_of[o] for o in operands), default=0)
            self.sweep_of[node] = latest + (node in self.row_set)

    def _computed_in(self, node: Node) -> int:
        return self.sweep_of[node] - (node in self.row_set)

    def _kept(self) -> dict[Node, tuple[Place, bool]]:
        """Expensive values that a later sweep wants again: where they are stored, in scratch if nowhere else."""
        found: dict[Node, tuple[Place, bool]] = {}
        placed = dict(reversed(self.step.stores))
        for root in self.group.members:
            for node in self._inside(root):
                if self._is_full(node) and node.op.family not in REDUCTIONS and self._is_worth_keeping(node, root):
                    found.setdefault(node, (placed[node], False) if node in placed else (self._scratch(node), True))
        return found

    def _inside(self, root: Node) -> Iterator[Node]:
        """The members that computing `root` evaluates, down to the first that are expensive."""
        stack, seen = list(root.operands), set()
        while stack:
            n = stack.pop()
            if n in seen or self._is_loaded(n):
                continue
            seen.add(n)
            if n in self.made:
                yield n
            if n.op.family not in REDUCTIONS and not (n in self.made and self._is_worth_keeping(n, root)):
                stack += n.operands

    def _is_worth_keeping(self, node: Node, root: Node) -> bool:
        """Whether `root`, in a later sweep, had better load the value than compute it again."""
        return self.sweep_of[node] < self._computed_in(root) and is_expensive(node)

    def _scratch(self, node: Node) -> Place:
        chunks = self._chunks()[2]
        return self.text.scratch(node.dtype, (chunks, *(self.domain[k] for k in self.inner)))

    def _scratch_index(self) -> Index:
        return (symbol("%chunk"), *(loop_symbol(k) if self.domain[k] != 1 else 0 for k in self.inner))

    # chunks

    def _chunks(self) -> tuple[Dim, Dim, Dim]:
        """Length of the axis that is cut, elements of it in a chunk, number of chunks."""
        if not self.rows:
            return 1, 1, 1
        length = self.domain[self.rows[0]] if self.inner else product(self.domain)
        size = self._rows_of_chunk() if self.inner else CHUNK
        return length, size, blocks(length, size)

    def _rows_of_chunk(self) -> Dim:
        row = product(d for k, d in enumerate(self.domain) if k != self.rows[0])
        if not isinstance(row, int):
            return dim_max(1, floor_div(CHUNK, dim_max(row, 1)))
        size = max(1, CHUNK // max(row, 1))
        if self.totals and not self._by_batch():
            size = min(size, BLOCK)
        if self.before is not None:
            size = min(max(size // self.before.kernel.MR, 1) * self.before.kernel.MR, self.before.kernel.block)
        return size

    def _by_batch(self) -> bool:
        """Whether column sums run over some of the row axes only, for each batch on its own."""
        return self.group.inner is not None and self.group.outer not in (None, self.rows) and bool(self.totals)

    def fits(self, product: Product) -> bool:
        """Whether the loops run over the rows of a product, so that each block of rows can follow the product's."""
        by_rows = self.group.kind == "nest" and self.copied is None and not self._by_batch() and product.goes_by_rows
        if not by_rows or self.domain != product.node.shape or len(self.domain) != 2 or self.inner != (1,):
            return False
        operands = {self.text.schedule.place[view.base] for view in (product.a, product.b)}
        if isinstance(self.domain[1], Poly) or any(place in operands for _, place in self.step.stores):
            return False
        reads = (r for m in self.group.members for r in loads(m, self._is_loaded) if r.node is product.node)
        return all(not r.guarded and r.index[0] == canonical(self.domain)[0] for r in reads)

    # the phases

    def emit(self) -> None:
        length, size, chunks = self._chunks()
        work = product(self.domain)
        nbytes = sum(n.dtype.size for n in self.group.reads) + sum(n.dtype.size for n, _ in self.step.stores)
        title = ", ".join(dict.fromkeys(m.op.name for m in self.group.members))
        flops, moved = work * len(self.group.members), work * nbytes
        if self.before is not None:
            more = self.before.work()
            self.before.chunks = chunks
            title, flops, moved = f"{self.before.title}, {title}", flops + more[0], moved + more[1]
        partial = self._partial_places(chunks)
        with self.text.phase(title, chunks, flops, moved) as top:
            self.text.new_nest()
            if self.rows:
                end = self.text.value(length) if isinstance(length, int) and not self.inner else self.text.dim(length)
                top.lines.append(f"lo = chunk * {self.text.factor(size)}")
                top.lines.append(f"hi = least(lo + {self.text.dim(size)}, {end})")
            if self.before is not None:
                self.before.emit_rows(top, ("lo", "hi"))
            self._loops(top, partial)
        waiting = [(n, p, self._destinations(n)) for n, (p, _) in partial.items() if p not in self._destinations(n)]
        if waiting:
            combine(self.text, waiting, chunks)

    def _destinations(self, node: Node) -> list[Place]:
        return [p for n, p in self.step.stores if n is node]

    def _partial_places(self, chunks: Dim) -> dict[Node, tuple[Place, Dim]]:
        """Where each total of a chunk goes, and at which element its row begins."""
        found: dict[Node, tuple[Place, Dim]] = {}
        for node in self.totals:
            places = self._destinations(node)
            if self._by_batch() or (chunks == 1 and len(places) == 1):
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
        if self._by_batch():
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
            top.lines.append(self.text.store(place, node.dtype, self.text.dim(base), fold.name))

    def _is_column(self, node: Node) -> bool:
        return self._is_full(node) and reduced(node) == self.group.outer and bool(self.inner)

    def _one_loop(self, top: Scope, folds: dict[Node, Fold]) -> None:
        """One loop over all elements, in blocks if a float sum is taken; no loop for 0-d values."""
        if not self.domain:
            self._body(top, folds, {}, "0")
            for fold in folds.values():
                fold.end_block(top, "0", "1")
            return
        blocked = any(f.collects for f in folds.values())
        outer = Scope(top, f"for j in range(lo, hi, {BLOCK}):") if blocked else top
        bounds = f"j, least(j + {BLOCK}, hi)" if blocked else "lo, hi"
        body = Scope(outer, f"for i in range({bounds}):", ["%i"])
        self._body(body, folds, {}, "i - j")
        body.close()
        for fold in folds.values():
            fold.end_block(outer, "j", f"least({BLOCK}, hi - j)")
        if blocked:
            outer.close()

    def _batch_axes(self) -> list[int]:
        return [k for k in self.rows if k not in (self.group.outer or ())]

    def _batch_row(self, node: Node) -> tuple[Place, tuple[Dim, ...], Dim]:
        """The row of column sums of one batch: its place, shape and first element."""
        batch = self._batch_axes()
        index = (*(loop_symbol(k) if self.domain[k] != 1 else 0 for k in batch), *([0] * (node.ndim - len(batch))))
        return self._destinations(node)[0], node.shape[len(batch) :], offset(index, node.shape)

    def _nested_loops(self, top: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
        batch = self._batch_axes() if self._by_batch() else []
        scopes = [top]
        for n, axis in enumerate((*batch, *(k for k in self.rows if k not in batch))):
            if batch and n == len(batch):
                for column in columns.values():
                    column.begin(scopes[-1])
            bounds = "lo, hi" if axis == self.rows[0] else self.text.dim(self.domain[axis])
            scopes.append(Scope(scopes[-1], f"for i{axis} in range({bounds}):", [f"%{axis}"]))
        row = scopes[-1]
        sweeps = 1 + max(self._computed_in(m) for m in self.group.members)
        for sweep in range(sweeps):
            self.sweep = sweep
            self._row_sweep(row, folds, columns)
        self.sweep = sweeps
        self._end_row(row, folds)
        for scope in reversed(scopes[1:]):
            scope.close()

    def _row_sweep(self, row: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns]) -> None:
        """One sweep over the inner axes of a row."""
        here = [r for r in self.reductions if self._is_full(r) and self._computed_in(r) == self.sweep]
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
        scopes = [row]
        for axis in outer_axes:
            scopes.append(Scope(scopes[-1], f"for i{axis} in range({self.text.dim(self.domain[axis])}):", [f"%{axis}"]))
        size = self.text.dim(length)
        bounds, count, position = size, size, f"i{last}"
        if blocked:
            scopes.append(Scope(scopes[-1], f"for j in range(0, {size}, {BLOCK}):"))
            bounds, count = f"j, least(j + {BLOCK}, {size})", f"least({BLOCK}, {size} - j)"
            position = f"i{last} - j"
        body = Scope(scopes[-1], f"for i{last} in range({bounds}):", [f"%{last}"])
        self._body(body, local, {r: c for r, c in columns.items() if self._computed_in(r) == self.sweep}, position)
        body.close()
        for fold in local.values():
            fold.end_block(scopes[-1], "j" if blocked else "0", count, only=not keeps)
        for scope in reversed(scopes[1:]):
            scope.close()
        for r, fold in local.items():
            if keeps:
                fold.end_blocks(row)
            if r in folds:
                folds[r].add_exactly(row, fold.name)
            else:
                self.evaluator.define(row, r, member_index(self.group, r), fold.name)

    def _stores_in(self, sweep: int) -> list[tuple[Node, Place, bool]]:
        """Stores of whole arrays in a sweep, and of values that a later sweep will want."""
        wanted = [(n, p, False) for n, p in self.step.stores if n not in self.total_set and self._is_stored_whole(n)]
        if self.group.kind == "commit":
            wanted = wanted[1:]
        wanted += [(n, p, True) for n, (p, scratch) in self.kept.items() if scratch]
        return [w for w in wanted if self.sweep_of[w[0]] == sweep]

    def _is_stored_whole(self, node: Node) -> bool:
        return node is self.copied or (node.op.family not in REDUCTIONS and node.shape == self.domain)

    def _body(self, scope: Scope, folds: dict[Node, Fold], columns: dict[Node, Columns], position: str) -> None:
        """What is done for each element in a sweep: everything is computed before anything is stored.

        `position` is the element's place in its block.
        """
        stores = []
        for node, place, scratch in self._stores_in(self.sweep):
            index = self._index(node)
            value = self.evaluator.value(node, index, scope)
            if scratch:
                at = self.text.dim(offset(self._scratch_index(), self.text.schedule.buffers[place.number][1]))
            else:
                at = self.text.dim(offset(index, node.shape))
            stores.append(self.text.store(place, node.dtype, at, value))
        for node, fold in folds.items():
            value = self.evaluator.value(node.operands[0], self._operand_index(node), scope)
            fold.add(scope, value, position if fold.collects else f"i{reduced(node)[-1]}")
        for node, column in columns.items():
            value = self.evaluator.value(node.operands[0], self._operand_index(node), scope)
            column.add(scope, value, offset(self._inner_index(), tuple(self.domain[k] for k in self.inner)))
        scope.lines += stores

    def _inner_index(self) -> Index:
        return tuple(loop_symbol(k) if self.domain[k] != 1 else 0 for k in self.inner)

    def _end_row(self, row: Scope, folds: dict[Node, Fold]) -> None:
        """Stores of per-row values, and their totals."""
        for node, place in self.step.stores:
            if node not in self.total_set and not self._is_stored_whole(node):
                index = member_index(self.group, node)
                value = self.evaluator.value(node, index, row)
                row.lines.append(self.text.store(place, node.dtype, self.text.dim(offset(index, node.shape)), value))
        for node, fold in folds.items():
            if not self._is_full(node):
                fold.add_exactly(row, self.evaluator.value(node.operands[0], self._operand_index(node), row))
