"""The form of a nest's loops: what is loaded, computed and kept, sweep by sweep, and how the work is cut into chunks.

In: a nest, and the product before it, if both are to be one phase.  Out: what graphc.codegen.nest
prints from: axes of rows and within a row, the sweep of every value, indices, chunks.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.codegen import tall
from graphc.codegen.evaluate import Evaluator, loaded_from
from graphc.codegen.intrinsics.target import BLOCK, LINE
from graphc.codegen.loop_ir import WORKER, Position
from graphc.codegen.product import Product
from graphc.codegen.scope import Scope
from graphc.codegen.sweeps import computed, sweeps_of
from graphc.codegen.text import HI, LO, Text
from graphc.codegen.turned import Across, across, arrays_across, strip_of, turned_at
from graphc.codegen.views import evenly, in_lines, up
from graphc.codegen.work import bytes_read, lanes_of_element, operations, total
from graphc.dims import Dim, Poly, blocks, dim_max, dim_min, floor_div, product, substitute, symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import effort
from graphc.schedule.access import Index, Read, canonical, linear, loop_symbol, offset, read_operands, through_movement
from graphc.schedule.group import is_expensive
from graphc.schedule.loops import Loops, loops_of
from graphc.schedule.shape import loads
from graphc.schedule.split import Split, domain_of, member_index, reduced, row_index
from graphc.schedule.task import Nest, Place

CHUNK = 16_384  # elements of a chunk, some 10 us of work if that is not DEAR
MANY = 64  # chunks, enough for all threads; of more elements, those of loops that only fold are longer
LONGER = 16  # times, at most: in each chunk the processor learns anew how memory is read
DEAR = 64  # instructions for an element times bytes of a vector; with twice as many chunks are half as long, and so on
FEWEST = 128  # rows of a chunk that is summed down the columns, beside which a row of partial sums is little
FEWER = 64  # the same of rows that are swept several times
SHORT = 16  # steps of a loop; of fewer there may not be enough chunks
FLAT = symbol("%i")
FOLDS = 8  # blocks on the stack for what reductions fold
KEPT = 8  # those for rows that a later sweep wants again
BAND = symbol("%h")  # the first row of a band
RESULTS = Place("stack", 24)  # what the rows of a band come to, RESULT bytes each
RESULT = 8
AGAIN = 6  # instructions that compute a value again rather than keep it
LOADED = 2  # the same of a value that is stored anyway


def longest() -> int:
    """Elements of the longest chunk."""
    return CHUNK * LONGER


def _is_one_loop(loops: Loops) -> bool:
    """Whether they are one loop that folds nothing."""
    return len(loops.domain) == 1 and loops.split == Split((0,))


class Form:
    """The loops of one nest, with the names that graphc.codegen.nest uses."""

    def __init__(self, text: Text, nest: Nest, before: Product | None = None) -> None:
        self.text, self.nest, self.before = text, nest, before
        self.loops = self._loops_of()
        self.is_flat = before is not None and _is_one_loop(self.loops)  # over all elements of the product's rows
        self.domain, self.split, self.members = self.loops.domain, self.loops.split, nest.members
        self.made = dict.fromkeys(nest.members)
        rank = len(self.domain)
        self.inner = self.split.inner or ((rank - 1,) if rank > 1 else ())
        self.rows = tuple(k for k in range(rank) if k not in (*self.inner, *self.split.deep))
        self.reductions = [m for m in nest.members if m.op.family is Family.REDUCTION]
        self.row_set = {r for r in self.reductions if self.is_full(r) and self.folded(r) == self.split.inner}
        self.totals = [r for r in self.reductions if r not in self.row_set]
        self.total_set = set(self.totals)
        self.beside, self.across = arrays_across(self)
        self.turned: dict[Across, Place] = {}  # copies of arrays across, where loops have made them
        self.tall: tall.Tall | None = None  # the tiles, if they come from memory and are as tall as a chunk
        self.streamed: dict[Place, Place] = {}  # outputs written past the caches, with the blocks that they come from
        self.parts: dict[Place, Place] = {}  # those of which a sweep writes each part at once, made in these blocks
        self.late: list[Place] = []  # those of them that are written while the next row is swept
        self.folded_down: set[Node] = set()  # columns that are folded before the loops over rows
        self.chosen: dict[Node, Read] = {}  # what a row has at one position alone, and where it tells which
        self.private = False  # whether what the product before makes lies in memory of the chunk's own
        self.sweep_of = sweeps_of(self)
        self.block = symbol("%j" if before is None else "%k")  # a panel of the product before begins at j
        self.sweep = 0
        self.band = 1  # rows for which a sweep is made before the next one
        self.between: list[Node] = []  # vector math of what they come to, which is made between sweeps
        self.waiting: set[Node] = set()  # what of it has been made
        self.summed = {r.operands[0] for r in self.row_set if r.operands[0].op.family is Family.ELEMENTWISE}
        self.placed = {n: p for n, p in reversed(nest.stores) if self.is_stored_whole(n)}
        self.kept = self._kept()
        self.evaluator = Evaluator(text, self._stored, nest.members)

    def _loops_of(self) -> Loops:
        """The loops; those over the rows of a product before stay apart, unless all is one loop over all elements."""
        alone = loops_of(self.nest)
        if self.before is None or _is_one_loop(alone):
            return alone
        return loops_of(self.nest, self.before.row_axes)

    @property
    def in_tiles(self) -> bool:
        """Whether loops go in tiles for arrays across their rows; of such arrays, those that fold copy whole rows."""
        return self.beside is not None and not self.reductions

    # where things are

    def is_loaded(self, node: Node) -> bool:
        return node not in self.made and loaded_from(self.text, node) is not None

    def _stored(self, node: Node, index: Index) -> tuple[Place, Dim | None] | None:
        """Where to load an element from: values of other groups, and of this row what an earlier sweep has stored."""
        if node in self.kept and self.sweep_of[node] < self.sweep and index == self.index_of(node):
            kept, scratch = self.kept[node]
            kept, scratch = (self.streamed[kept], True) if kept in self.streamed else (kept, scratch)
            return kept, self.scratch_at(kept) if scratch else None
        settled = node in self.waiting or (node in self.row_set and self.sweep_of[node] <= self.sweep)
        if self.band > 1 and settled and index == self.index_of(node):
            return RESULTS, self.result_at(node)
        if self.private and self.before is not None and node is self.before.member:
            memory, first = self.before.result
            return memory, first + offset(index, node.shape)
        place = loaded_from(self.text, node) if node not in self.made else None
        if place is None:
            return None
        found = across(self, node, index, self.beside) if self.turned and self.beside is not None else None
        return (self.turned[found], turned_at(self)) if found in self.turned else (place, None)

    def is_full(self, node: Node) -> bool:
        """Whether the node's loops run over the whole domain, rather than once a row."""
        return domain_of(node) == self.nest.domain

    def moved(self, index: Index) -> Index:
        """An index in the variables of the nest's domain, in those of the loops that are printed."""
        found = self.loops.moved(index)
        return found if self.inner else tuple(substitute(i, {"%0": FLAT}) for i in found)

    def folded(self, reduction: Node) -> tuple[int, ...]:
        """The loops over the axes that a reduction folds."""
        return self.loops.axes(reduced(reduction))

    def index_of(self, node: Node) -> Index:
        """The index at which the loops compute a member, or store it."""
        return self.moved(member_index(node, self.nest.domain, self.nest.split))

    def searched(self, reduction: Node) -> Dim:
        """Where the loops are along the last axis that a reduction folds."""
        return self.operand_index(reduction)[reduced(reduction)[-1]]

    def operand_index(self, reduction: Node) -> Index:
        """The index at which a reduction reads its operand."""
        shape = reduction.operands[0].shape
        if self.is_full(reduction):
            return self.moved(canonical(shape))
        return self.moved(row_index(shape, self.nest.domain, self.nest.split))

    def lies_along(self, reduction: Node, start: Dim) -> tuple[Place, Dim] | None:
        """Place of an operand that the innermost loop would only load, element after element, and the position at
        which that loop is at `start`."""
        reads = list(through_movement(reduction.operands[0], self.operand_index(reduction)))
        if len(reads) != 1 or reads[0].guarded or not self.is_loaded(reads[0].node) or not self.is_full(reduction):
            return None
        variable = f"%{(*self.inner, *self.split.deep)[-1]}" if self.inner else "%i"
        position = offset(reads[0].index, reads[0].node.shape)
        steps = linear(position)
        if steps is None or steps.get(variable) != 1:
            return None
        place = loaded_from(self.text, reads[0].node)
        return None if place is None else (place, substitute(position, {variable: start}))

    # sweeps

    def stores_in(self, sweep: int) -> list[tuple[Node, Place, bool]]:
        """Stores of whole arrays in a sweep, and of values that a later sweep will want."""
        wanted = [(n, p, False) for n, p in self.nest.stores if n not in self.total_set and self.is_stored_whole(n)]
        wanted += [(n, p, True) for n, (p, scratch) in self.kept.items() if scratch]
        return [w for w in wanted if self.sweep_of[w[0]] == sweep]

    def is_stored_whole(self, node: Node) -> bool:
        return node.op.family is not Family.REDUCTION and node.shape == self.nest.domain

    def computed_in(self, node: Node) -> int:
        return computed(self, self.sweep_of, node)

    def _kept(self) -> dict[Node, tuple[Place, bool]]:
        """Values that a later sweep wants again and better loads: where they are stored, in scratch if nowhere else."""
        found: dict[Node, tuple[Place, bool]] = {}
        if not self.row_set:  # there is one sweep
            return found
        seen: set[tuple[Node, int]] = set()
        for root in self.members:
            for node in self._again(root, seen):
                if node not in found:
                    here = self.placed.get(node)
                    found[node] = (here, False) if here else (self._scratch(node, len(found)), True)
        return found

    def _again(self, root: Node, seen: set[tuple[Node, int]]) -> Iterator[Node]:
        """What `root` needs of earlier sweeps and is stored; `seen` has what was looked at, sweep by sweep.

        That is what is dear, and what lies in memory anyway, since it is stored or summed along rows.
        """
        sweep = self.computed_in(root)
        stack = list(read_operands(root))
        while stack:
            n = stack.pop()
            if (n, sweep) in seen or self.is_loaded(n):
                continue
            seen.add((n, sweep))
            if n.op.family is Family.REDUCTION:
                continue
            dear = n in self.made and is_expensive(n)
            at_hand = self._is_summed(n) or (n in self.placed and effort(n.op.body) > LOADED)
            if self.sweep_of[n] < sweep and (dear or at_hand):
                if self.is_full(n):
                    yield n
            else:
                stack += read_operands(n)

    def _is_summed(self, node: Node) -> bool:
        """Whether a row of it is folded, and more than a few instructions are needed to compute it again."""
        if node not in self.summed:
            return False
        work, stack = 0, [node]
        while stack and work <= AGAIN:
            n = stack.pop()
            if n.op.family is Family.ELEMENTWISE and self.is_full(n) and not self.is_loaded(n):
                work += effort(n.op.body)
                stack += n.operands
        return work > AGAIN

    def _scratch(self, node: Node, number: int) -> Place:
        """On the stack, where a row fits one of the first blocks there."""
        if self.is_one_block() and number < KEPT:
            return Place("stack", FOLDS + number)
        return self.scratch_row(node)

    def scratch_row(self, node: Node) -> Place:
        """Memory for a row of the node, each worker's own."""
        return self.text.scratch_of_chunk(node.dtype, self.chunks()[2], (self.row_length(),))

    def row_length(self) -> Dim:
        """How many elements a row has."""
        return product(self.domain[k] for k in self.inner)

    def is_one_block(self) -> bool:
        """Whether a row fits a block on the stack."""
        row = self.row_length()
        return isinstance(row, int) and row <= BLOCK

    def clear_ends(self, top: Scope) -> None:
        """Have zeros behind rows on the stack that are no whole vectors: what is there may be loaded with a row's end.

        It is never used; but if it happens to be a subnormal number, an operation with it takes 150 cycles.
        """
        row = self.row_length()
        for node, (place, scratch) in self.kept.items():
            if scratch and place.kind == "stack" and isinstance(row, int) and (more := -row * node.dtype.size % LINE):
                top.use("clear", self.text.address(place, row * node.dtype.size), Position(more))

    def scratch_at(self, place: Place) -> Dim:
        """Where in a row of scratch the loops are."""
        sizes = tuple(self.domain[k] for k in self.inner)
        column = offset(tuple(loop_symbol(k) if self.domain[k] != 1 else 0 for k in self.inner), sizes)
        if self.band > 1:
            column = column + self._row_in_band() * self.row_length()
        return column if place.kind == "stack" else WORKER * product(sizes) + column

    def _row_in_band(self) -> Dim:
        return loop_symbol(self.row_axes()[-1]) - BAND

    def result_at(self, node: Node) -> Dim:
        """Where what a row of a band comes to, or is made of that, waits for the next sweeps."""
        results = [*filter(self.row_set.__contains__, self.reductions), *self.between]
        number = {r: k for k, r in enumerate(results)}[node]
        return number * self.band * (RESULT // node.dtype.size) + self._row_in_band()

    # chunks

    def is_column(self, node: Node) -> bool:
        """Whether a reduction has a result for each column."""
        summed = tuple(sorted((*self.split.outer, *self.split.deep)))
        return self.is_full(node) and self.folded(node) == summed and bool(self.split.inner)

    def work(self) -> tuple[Dim, Dim]:
        """Operations, and bytes read and written; what a product in the same phase has just made is counted there."""
        before = None if self.before is None else self.before.member
        written = total(n.dtype.size * product(n.shape) for n, _ in self.nest.stores)
        return operations(self.nest), bytes_read(self.nest, before) + written

    def chunks(self) -> tuple[Dim, Dim, Dim]:
        """Length of the axis that is cut, elements of it in a chunk, number of chunks."""
        if not self.rows:
            return 1, 1, 1
        if self.is_flat and self.before is not None:
            length, size = self.before.rows.size, self._rows_of_chunk(self.before.columns.size)
            return length, size, blocks(length, size)
        cut = self.cut_axis()
        length = self.domain[cut] if self.inner else product(self.domain)
        row = product(d for k, d in enumerate(self.domain) if k != cut)
        size = self._longer(length, self._rows_of_chunk(row) if self.inner else self._elements_of_chunk())
        if self.tall is not None and isinstance(length, int):  # as much as is asked for at once
            size = tall.rows_of_chunk(length)
        if isinstance(length, int) and isinstance(size, int) and size < length and self.before is None:
            size = in_lines(length, size) if not self.inner else evenly(length, size)
            if self.beside == cut:  # whole lines of columns
                size = up(size, LINE // 4)
        return length, size, blocks(length, size)

    def _longer(self, length: Dim, size: Dim) -> Dim:
        """The size of a chunk, or some times as much of many elements that are folded with little effort."""
        dear = self.before is not None or self._elements_of_chunk() < CHUNK or any(map(self.is_column, self.totals))
        if dear or not isinstance(size, int) or any(self.is_stored_whole(node) for node, _ in self.nest.stores):
            return size
        most = min(LONGER, max(1, BLOCK // size)) if self.inner else LONGER  # rows that are folded fit a block
        return size * dim_max(1, dim_min(most, floor_div(length, MANY * size)))

    def _elements_of_chunk(self) -> int:
        return max(1, CHUNK >> max(0, (lanes_of_element(self.nest) // DEAR).bit_length() - 1))

    def _rows_of_chunk(self, row: Dim) -> Dim:
        """How many rows of so many elements a chunk has."""
        sums_alone = len(self.totals) == len(self.made) and not self.by_batch() and not self.split.deep
        beside = bool(self.row_set) and not self.by_batch() and any(map(self.is_column, self.totals))
        least = FEWEST if sums_alone else FEWER if beside else strip_of(self) if self.beside == self.cut_axis() else 1
        elements = self._elements_of_chunk()
        if not isinstance(row, int):
            return dim_max(least, floor_div(elements, dim_max(row, 1)))
        size = max(least, elements // max(row, 1))
        if self.totals and not self.by_batch():
            size = min(size, BLOCK)
        if self.before is not None:
            step = self.before.kernel.row_step()
            size = min(max(size // step, 1) * step, self.before.kernel.block)
        return size

    def by_batch(self) -> bool:
        """Whether column sums run over some of the row axes only, for each batch on its own."""
        return bool(self.split.batch and self.split.outer)

    def batch_axes(self) -> tuple[int, ...]:
        """The row axes over which column sums are apart."""
        return self.split.batch if self.by_batch() else ()

    def row_axes(self) -> tuple[int, ...]:
        """The row axes in the order of their loops; the first is none that is summed over, unless all rows are."""
        batch, last = self.batch_axes(), () if self.beside is None else (self.beside,)
        return (*batch, *(k for k in self.rows if k not in (*batch, *last)), *last)

    def cut_axis(self) -> int:
        """The row axis that is cut into chunks: the first, or if that is short the one with tiles.

        Of totals and column sums over all rows each chunk has partial ones.
        """
        first, *_, last = (*self.row_axes(), self.row_axes()[-1])
        if not self.in_tiles:
            return first
        few, many = self.domain[first], self.domain[last]
        more = isinstance(few, int) and isinstance(many, int) and few < min(SHORT, many // strip_of(self))
        return last if more else first

    def bounds(self, axis: int) -> tuple[Dim, Dim]:
        """From where to where the loop over a row axis runs in a chunk."""
        return (LO, HI) if axis == self.cut_axis() else (0, self.domain[axis])

    def fits(self, product: Product) -> bool:
        """Whether the loops run over the rows of a product, so that each block of rows can follow the product's."""
        if self.by_batch() or not product.goes_by_rows or self.nest.domain != product.member.shape:
            return False
        rows, columns = product.rows.size, product.columns.size
        if self.domain != ((rows * columns,) if self.is_flat else (rows, columns)):
            return False
        if not self.is_flat and self.inner != (1,):
            return False
        operands = {view.place for view in product.task.operands}
        if isinstance(columns, Poly) or any(place in operands for _, place in self.nest.stores):
            return False
        reads = (r for m in self.members for r in loads(m, self.is_loaded, self.made) if r.node is product.member)
        at = slice(product.row_axes)
        return all(not r.guarded and r.index[at] == canonical(self.nest.domain)[at] for r in reads)
