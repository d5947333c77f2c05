"""Rows of a nest: those that are swept several times, and those that are only folded.

In: a nest.  Out: its form, with the statements that ask, while a row is computed, for a later one, or one of the next
band, to be in L2, and the parts of a row between which they stand; the same parts come back to the accumulators into
which computed values are folded.  The processor sees from where rows are read only when a sweep over memory begins, and
between two of them a row is computed with for as long as it takes to fetch another.  Short rows go by bands, since one
waits for its fold.  Rows that lie in memory and are folded alone are folded by a kernel, several at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.codegen.between import fit, make_math, rows_between
from graphc.codegen.evaluate import loaded_from
from graphc.codegen.form import BAND, RESULTS, Form
from graphc.codegen.intrinsics.ahead import FAR
from graphc.codegen.intrinsics.target import (
    BLOCK,
    LINE,
    SEVERAL,
    SHORT,
    has_two_multiply_adds,
    host_vector_bytes,
)
from graphc.codegen.intrinsics.together import rows_together
from graphc.codegen.loop_ir import Expr, Position, Var
from graphc.codegen.product import Product
from graphc.codegen.reduction import Columns, Fold, Lies
from graphc.codegen.scope import Bounds, Loop, Scope
from graphc.codegen.text import HI, LO, Text, integer
from graphc.codegen.work import bytes_read
from graphc.dims import Dim, floor_div, is_nonnegative, product, substitute, symbol
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import SIMPLE, effort
from graphc.schedule.access import linear, loop_symbol, offset, through_movement
from graphc.schedule.shape import loads
from graphc.schedule.task import Nest, Place
from graphc.schedule.values import is_vector_math

_LONG = 256  # elements of a row; shorter ones the processor foresees
_PART = 16  # elements of a row that are computed between two requests: of many at a time, most wait
ROWS = 8  # of a band, at most, unless something is made between its sweeps
LANES = (4, 5, 6, 7, 8)  # lines of accumulators, the best number first: each is a vector or some
FEWEST = 4  # times that they are come back to
MANY = 12  # times from which a rest of a row is a loop of its own
_AHEAD = (16_384, 8_192)  # bytes of rows that are read until one that is asked for is there: else, and where two
# multiply-adds start in a cycle
_CLAIMED = 1_024  # bytes of a row of an output, of which all lines are asked for at once
_FETCHED = 1 << 20  # bytes that are read, from which they do not lie near


@dataclass(frozen=True)
class Ahead:
    """Part of an array that a row reads, and where it begins."""

    place: Place
    at: Dim
    size: int


@dataclass(frozen=True)
class Overlap:
    """The last sweep, that of the next row beside which it is made, and how many elements of both at a time."""

    beside: int
    last: int
    step: int


class Rows(Form):
    """The form of a nest, which knows what is fetched in which sweep."""

    overlap: Overlap | None = None

    def __init__(self, text: Text, nest: Nest, before: Product | None = None) -> None:
        super().__init__(text, nest, before)
        self.efforts = self._efforts()
        self.fetched: dict[int, list[Ahead]] = {}

    def busiest(self) -> int:
        """The sweep that computes most with elements."""
        return max(self.efforts, key=lambda sweep: self.efforts[sweep], default=0)

    def ask_in_sweeps(self) -> None:
        """Say what each sweep asks for, unless rows lie near."""
        far = self.row_set and self.rows and self._are_worth_asking() and not _is_below(bytes_read(self.nest), _FETCHED)
        self.fetched = self._by_sweeps(self.ahead()) if far else {}

    def _are_worth_asking(self) -> bool:
        """Whether the processor does not foresee rows by itself: they are long, or math stands between their sweeps."""
        row = self.domain[self.inner[-1]]
        return isinstance(row, int) and (row >= _LONG or bool(self.between))

    def ahead(self) -> tuple[Ahead, ...]:
        """What rows read of arrays where they lie side by side and are contiguous."""
        found: dict[tuple[Place, Dim], Ahead] = {}
        for member in self.members:
            for read in loads(member, self.is_loaded, self.made):
                place = loaded_from(self.text, read.node)
                if read.whole or place is None:
                    continue
                at = offset(self.moved(read.index), read.node.shape)
                if self._follows_rows(at):
                    found.setdefault((place, at), Ahead(place, at, read.node.dtype.size))
        return tuple(found.values())

    def _follows_rows(self, position: Dim) -> bool:
        """Whether a row is contiguous there, and the next one lies elsewhere."""
        steps = linear(position) or {}
        return steps.get(f"%{self.inner[-1]}") == 1 and steps.get(f"%{self.row_axes()[-1]}", 0) != 0

    def _efforts(self) -> dict[int, int]:
        """Of each sweep that computes with elements."""
        work: dict[int, int] = {}
        for m in self.members:
            if m.op.family is Family.ELEMENTWISE and self.is_full(m):
                work[self.sweep_of[m]] = work.get(self.sweep_of[m], 0) + effort(m.op.body)
        return work

    def _by_sweeps(self, ahead: Sequence[Ahead]) -> dict[int, list[Ahead]]:
        """What each sweep asks for, first those that compute most: lines of two arrays in turn take longer to come.

        Two that are made beside one another are one, which comes first.
        """
        two = () if self.overlap is None else (self.overlap.beside, self.overlap.last)
        others = sorted(self.efforts.keys() - set(two), key=lambda sweep: (-self.efforts[sweep], sweep))
        sweeps = [*two[:1], *others] or [0]
        return {sweep: list(ahead[k :: len(sweeps)]) for k, sweep in enumerate(sweeps[: len(ahead)])}

    def rows_at_once(self) -> int:
        """For how many rows a sweep is made before the next one: while one row waits for its fold, others go on.

        They are to be short, but vectors, and what a later sweep wants of them is to fit the blocks on the stack.
        """
        row, sizes = self.row_length(), [r.operands[0].dtype.size for r in self.row_set]
        alone = not self.rows or self.streamed or self.split.deep or self.beside is not None
        sweeps = {self.computed_in(m) for m in self.members if self.is_full(m)}
        if alone or not sizes or not isinstance(row, int) or len(sweeps) == 1:
            return 1
        gathers = any(m.op.family is Family.GATHER and self.is_full(m) for m in self.members)
        on_stack = all(place.kind == "stack" for place, scratch in self.kept.values() if scratch)
        band = rows_between(self, row) if self.between else min(ROWS, BLOCK // max(row, 1))
        fits = host_vector_bytes() <= row * min(sizes) and band > 1 and fit(self, band)
        return band if fits and on_stack and not gathers else 1

    def begin_band(self, scopes: list[Scope], low: Dim, high: Dim) -> tuple[Dim, Expr]:
        """Begin a loop over bands of the rows between the bounds, and tell between which those of a band are."""
        scopes.append(self.text.loop(scopes[-1], str(BAND)[1:], high, low, self.band))
        return BAND, integer("least", Position(BAND + self.band), self.text.at(high))

    def rows_again(self, scopes: list[Scope]) -> Scope:
        """The loop over rows, the last of the scopes; of a band a further one, for the next sweep."""
        row = scopes[-1]
        if self.band > 1 and isinstance(row, Loop):
            row.close_if_filled()
            make_math(self, scopes[-2], row)
            scopes[-1] = self.text.loop(scopes[-2], row.var, row.hi, row.lo)
        return scopes[-1]

    def settle(self, row: Scope, reduction: Node, value: Var) -> None:
        """Say what a row comes to, and have it wait for the next sweeps if other rows go on first."""
        self.evaluator.define(row, reduction, self.index_of(reduction), value)
        if self.band > 1:
            row.add(self.text.store(RESULTS, self.result_at(reduction), value))

    def begin_lanes(self, scope: Scope, folds: Mapping[Node, Fold], bounds: Bounds, size: int) -> int:
        """Bind the accumulators of folds of computed values, and tell how many each has; 0 if values wait instead.

        Blocks of a size, if it is not 0, are whole numbers of them.  If the row is not, what is left is folded after
        the rest, unless the row is short or vector math takes most of its time.
        """
        row = row_of(bounds)
        if not row or self.folds_scalars():
            return 0
        found = [f for r, f in folds.items() if f.waits and len(f.dtypes) == 1 and not self.lies_along(r, 0)]
        widths = [lines * LINE // max(f.dtype.size for f in found) for lines in LANES] if found else []
        fitting = [n for n in widths if row >= FEWEST * n and size % n == 0]
        lanes = next((n for n in fitting if row % n == 0), 0)
        if not lanes and self.efforts.get(self.sweep, 0) < SIMPLE:
            lanes = min((n for n in fitting if row >= MANY * n), default=0)
        for fold in found if lanes else ():
            fold.begin_lanes(scope, lanes)
        return lanes

    def part(self, scope: Scope, var: str, low: Dim, high: Expr, size: int, step: int) -> tuple[Scope, Bounds]:
        """Where the innermost loop runs, and from where to where: over parts of a row for what is done between them.

        That is to ask for parts of a later row, to come back to the first of the accumulators, and to write what has
        been made; `step` is the size of a part if one of the last two asks for it, else 0.  `size` is that of the block
        which the loop is for, 0 if it is for a whole row.  Short rows ask for all of a later one before they begin.
        """
        if self.band > 1:
            self.claim(scope, var)
        if not self.fetched.get(self.sweep) and not step:
            return scope, (low, high)
        row = self.domain[self.inner[-1]]
        if self.between and isinstance(row, int) and not step and not size:
            self.ask(scope, var, 0, row)
            return scope, (low, high)
        whole = isinstance(row, int) and row % _PART == 0 and size % _PART == 0 and not self.folds_scalars()
        length = step or (_PART if whole else _LONG)
        loop, at = self.text.loop(scope, "f", high, low, length), symbol("%f")
        self.ask(loop, var, at, length)
        end = Position(at + length)
        return loop, (at, end if whole or step else integer("least", end, high))

    def claim(self, scope: Scope, var: str) -> None:
        """Ask for the lines that a later sweep of the band writes, beside vector math, for which memory waits."""
        row = self.domain[self.inner[-1]]
        here = (m for m in self.members if self.is_full(m) and self.computed_in(m) == self.sweep)
        if self.sweep != self.busiest() or not any(map(is_vector_math, here)) or not isinstance(row, int):
            return
        for node, place in self.nest.stores:
            at = offset(self.index_of(node), node.shape)
            size = node.dtype.size
            later = self.is_stored_whole(node) and self.sweep_of[node] > self.sweep
            if later and row * size <= _CLAIMED and self._follows_rows(at):
                address = self.text.address(place, substitute(at, {f"%{var}": 0}) * size)
                scope.use("fetch_own", address, tile=(-(-row * size // LINE),))

    def ask(self, scope: Scope, var: str, at: Dim, length: int) -> None:
        """Ask for what this sweep asks for, so many elements from there in a later row, or the next band."""
        for ahead in self.fetched.get(self.sweep, ()):
            row, further = f"%{self.row_axes()[-1]}", max(self._rows_ahead(), self.band)
            later = {row: symbol(row) + further, f"%{var}": at}
            start = substitute(ahead.at, later) * ahead.size
            lines = -(-length * ahead.size // LINE)
            scope.use("fetch_lines", self.text.address(ahead.place, start), tile=(lines,))

    def _rows_ahead(self) -> int:
        """How many rows before a row it is asked for: short rows are done before the next one comes."""
        row, asked = self.domain[self.inner[-1]], [ahead.size for sweep in self.fetched.values() for ahead in sweep]
        assert isinstance(row, int)
        return -(-_AHEAD[has_two_multiply_adds()] // (row * sum(asked)))

    def folds_scalars(self) -> bool:
        """Whether this sweep folds numbers without a kernel: of a few at a time LLVM makes no vectors."""
        here = (r for r in self.reductions if self.is_full(r) and self.computed_in(r) == self.sweep)
        return any(not r.operands[0].dtype.is_float and self.lies_along(r, 0) is None for r in here)

    def lies(self, reduction: Node, fold: Fold, var: str, low: Dim) -> Lies | None:
        """Where the block lies that begins at `low`, if in memory or in a row that this sweep keeps: for a kernel."""
        if fold.lanes or not fold.collects:
            return None
        kept, is_scratch = self.kept.get(reduction.operands[0], (None, False))
        if kept is not None and is_scratch and self.sweep_of[reduction.operands[0]] == self.sweep:
            return kept, substitute(self.scratch_at(kept), {f"%{var}": low})
        return self.lies_along(reduction, low)

    def rows_in_memory(self, reduction: Node, low: Dim) -> tuple[Lies, Dim] | None:
        """Where the row `low` of the innermost row loop begins, and the step to the next, if the loop only loads rows.

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
        first = {**{f"%{k}": 0 for k in self.inner}, f"%{axis}": low}
        return (place, substitute(position, first)), steps.get(f"%{axis}", 0)

    def fold_down(self, scope: Scope, columns: dict[Node, Columns]) -> set[Node]:
        """Make the folds of rows that lie in memory, many rows at a time; other columns are left to the loop."""
        found = set()
        low, high = (0, self.domain[self.row_axes()[-1]]) if self.batch_axes() else (LO, HI)
        at_first = {f"%{self.row_axes()[-1]}": low}
        for node, column in columns.items():
            rows = self.rows_in_memory(node, low) if column.state.down else None
            if rows is not None:
                column.fold_down(scope, *rows, high - low, substitute(self.searched(node), at_first))
                found.add(node)
        return found

    def fold_along(self, scopes: Sequence[Scope]) -> bool:
        """Fold the rows of a chunk, two at a time, if they lie in memory and nothing else is made of their elements.

        The last two scopes are those around the loop over rows, and of a row, which loads what it comes to.
        """
        length, (_, rows, _) = product(self.domain[k] for k in self.inner), self.chunks()
        if not self.row_set or not self.rows or self.split.deep or not self._only_folds():
            return False
        if not isinstance(length, int) or not is_nonnegative(rows - 2) or not is_nonnegative(BLOCK - rows):
            return False
        (reduction,) = self.reductions
        lie = self.rows_in_memory(reduction, LO)
        if lie is None or not self._is_folded_along(fold := Fold(self.text, reduction), length):
            return False
        (*_, scope, row), (where, step) = scopes, lie
        fold.rows_along(scope, where, step, HI - LO, length, bytes_read(self.nest))
        value = row.let(self.text.fresh(), fold.row(loop_symbol(self.row_axes()[-1]) - LO))
        self.evaluator.define(row, reduction, self.index_of(reduction), fold.finished(row, [value]))
        return True

    def _is_folded_along(self, fold: Fold, length: int) -> bool:
        """Whether a row is one block, which is not folded where it is, nor from several places at a time."""
        size = length * fold.dtype.size
        is_block = size < SEVERAL if fold.is_exact else length <= BLOCK
        is_long = size > SHORT * host_vector_bytes()
        return fold.has_rows and is_block and (is_long or self._go_together(fold, length))

    def _go_together(self, fold: Fold, length: int) -> bool:
        """Whether rows are so short, and lie so near, that a kernel folds some of them together."""
        read = bytes_read(self.nest)
        is_near = isinstance(read, int) and read <= FAR
        return fold.dtype.is_float and is_near and rows_together(fold.dtype.size, length) > 1

    def _only_folds(self) -> bool:
        """Whether one reduction is all that is made of elements: nothing else is computed or stored for each."""
        others = (m for m in self.members if m.op.family is not Family.REDUCTION)
        stored = any(self.is_stored_whole(node) for node, _ in self.nest.stores)
        return len(self.reductions) == 1 and not stored and not any(map(self.is_full, others))

    def blocks_along(self, top: Scope, folds: Mapping[Node, Fold]) -> bool:
        """Fold the blocks of a chunk of elements, two at a time, if nothing else is done in the loop over all.

        What is left after the last whole one is a block of its own.
        """
        found = [(fold, self.lies_along(r, LO)) for r, fold in folds.items()]
        few = isinstance(self.domain[0], int) and self.domain[0] < 2 * BLOCK
        if few or self.before is not None or not self._only_folds() or any(lie is None for _, lie in found):
            return False
        ((fold, lie),) = found
        if lie is None or not fold.has_rows:
            return False
        place, at = lie
        whole = symbol(f"%{top.let('whole', self.text.at(floor_div(HI - LO, BLOCK))).name}")
        fold.rows_along(top, lie, BLOCK, whole, BLOCK, bytes_read(self.nest))
        loop = self.text.loop(top, "k", whole)
        fold.join(loop, [loop.let(self.text.fresh(), fold.row(symbol("%k")))], Position(BLOCK))
        loop.close()
        done = whole * BLOCK
        fold.end_block(top, self.text.at(HI - LO - done), 0, (place, at + done))
        return True


def row_of(bounds: Bounds) -> int:
    """The length of a row, all of which is between the bounds; 0 if it is not, or only the call knows."""
    low, high = bounds
    row = high.at if low == 0 and isinstance(high, Position) else None
    return row if isinstance(row, int) else 0


def _is_below(nbytes: Dim, least: int) -> bool:
    """Whether it is known to be less."""
    return isinstance(nbytes, int) and nbytes < least
