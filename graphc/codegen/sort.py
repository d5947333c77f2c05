"""Sorts and selections: the elements along one axis of a view in order, or the positions of all or of the first ones.

In: the task of a sort or a selection.  Out: one phase, in which each row is one call of a routine.  A row that is not
contiguous in the result, or shorter than the routine's room, is made in scratch and copied.
"""

from __future__ import annotations

from abc import abstractmethod

from graphc.codegen.intrinsics.selection import room_for
from graphc.codegen.intrinsics.sort import ROOM
from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.loop_ir import WORKER, Address, Expr, Position
from graphc.codegen.scope import Branch, Scope, close
from graphc.codegen.text import Text, integer, test
from graphc.codegen.views import ViewKernel, Where, of_chunk, up
from graphc.dims import Dim, blocks, product, symbol
from graphc.schedule.task import Kernel, Place
from graphc.types import DType, int64

K, H, J, COUNT = map(symbol, ("%k", "%h", "%j", "%count"))  # H: the first of a line of rows, of which there are COUNT
_TURNED = 8_192  # elements of rows that are turned: as many as a line has elements, and the results, are some of L2
Row = tuple[Place, DType, Dim]  # contiguous elements of a place, from this one on


class _Ordered(ViewKernel):
    """What puts elements along one axis in order, with loops over the others and scratch for one row of a chunk.

    `along` is the axis of the operand, `made` that of the result, `room` how many elements a row of scratch has.
    """

    def __init__(self, text: Text, task: Kernel) -> None:
        super().__init__(text, task)
        self.along, self.made, self.batch = self.own(0), self.own(-1), self.axes(task.job.batch)
        self.x, self.result = task.views
        self.size = of_chunk(*self.batch, self.along)
        self.chunks = blocks(self.batch[0].size, self.size) if self.batch else 1
        block = ROOM // self.x.dtype.size
        self.room = blocks(self.along.size, block) * block

    def emit(self) -> None:
        """Print the phase: a chunk is some of the first axis around the rows."""
        with self.text.phase(self.title, self.chunks, *self.work()) as top:
            self.text.new_nest()
            scopes, where = self.around(top, self.batch, self.size)
            self.row(scopes[-1], where)
            close(*scopes[1:])

    @abstractmethod
    def row(self, scope: Scope, where: Where) -> None:
        """Print what makes one row of the result."""

    def elements(self, where: Where) -> tuple[Expr, ...]:
        """Where a row of the operand begins, the step between its elements, and how many there are."""
        x, text = self.x, self.text
        start = text.value(x.offset * x.dtype.size) if x.offset != 0 else 0
        source = text.address(x.place, start, (self.position(0, where) - x.offset) * x.dtype.size)
        return source, text.at(self.along.steps[0] * x.dtype.size), text.at(self.along.size)

    def scratch(self, dtype: DType) -> Row:
        """A row of the chunk's own."""
        place = self.text.scratch_of_chunk(dtype, self.chunks, (self.room,))
        return place, dtype, WORKER * self.room

    def address(self, row: Row) -> Address:
        place, dtype, at = row
        return self.text.address(place, at * dtype.size)

    def copy(self, scope: Scope, row: Row, where: Where) -> None:
        """Print how as many elements as the result has go there."""
        text, (place, dtype, start) = self.text, row
        loop = text.loop(scope, "k", self.made.size)
        value = loop.let(text.fresh(), text.load(place, dtype, start + K))
        loop.add(text.store(self.result.place, self.position(1, [*where, (K, self.made)]), value))
        loop.close()


class Sort(_Ordered):
    """A sort; the result has the elements, or their positions.

    Rows that lie across those of memory, of a known number of elements, are copied as many at a time as a line has
    elements, and so are results: each row by itself would read a line for every element.
    """

    def __init__(self, text: Text, task: Kernel) -> None:
        super().__init__(text, task)
        self.wide = LINE // self.x.dtype.size
        self.is_across = self._is_across()
        if self.is_across:
            self.room += self.wide  # rows a multiple of a page apart would meet in one set of L1
        if self.is_across and len(self.batch) == 1:
            self.size = up(self.size, self.wide)
            self.chunks = blocks(self.batch[0].size, self.size)

    def _is_across(self) -> bool:
        """Positions, which take 8 bytes each, are sorted in the time that turning them saves."""
        beside = self.task.job.kernel == "sort" and bool(self.batch) and self.batch[-1].steps[:2] == (1, 1)
        return beside and isinstance(self.along.size, int) and 1 < self.along.size <= _TURNED

    def emit(self) -> None:
        """Print the phase; of rows that lie across a chunk is some of the first axis as well, in whole lines."""
        if not self.is_across:
            super().emit()
            return
        with self.text.phase(self.title, self.chunks, *self.work()) as top:
            self.text.new_nest()
            scopes, where, columns = self.up_to_last(top, self.batch, self.size)
            self._lines(scopes[-1], where, columns)
            close(*scopes[1:])

    def row(self, scope: Scope, where: Where) -> None:
        """Print one call of the routine."""
        made = self._made(where)
        self._sort(scope, self.elements(where), made, self.scratch(made[1]))
        if made[0] != self.result.place:
            self.copy(scope, made, where)

    def _sort(self, scope: Scope, elements: tuple[Expr, ...], made: Row, spare: Row) -> None:
        rows = [made, spare]
        if self.task.job.kernel == "argsort":
            rows = [self.scratch(self.x.dtype), self.scratch(self.x.dtype), *rows]
        scope.use(self.task.job.kernel, *elements, *map(self.address, rows), dtype=self.x.dtype)

    def _made(self, where: Where) -> Row:
        """Where the routine makes a row: in the result, if it is contiguous there."""
        if self.made.steps[1] != 1 and self.made.size != 1:
            return self.scratch(self.result.dtype)
        return self.result.place, self.result.dtype, self.position(1, where)

    # rows that lie across

    def _lines(self, scope: Scope, where: Where, columns: tuple[Dim, Dim]) -> None:
        """Print how rows are turned, sorted and turned back, as many at a time as a line has elements."""
        text, dtype, last = self.text, self.x.dtype, self.batch[-1]
        loop = text.loop(scope, "h", columns[1], columns[0], self.wide)
        loop.let("count", integer("least", Position(self.wide), integer("-", text.at(columns[1]), Position(H))))
        rows, results, spare = self._rows(dtype), self._rows(self.result.dtype), self.scratch(self.result.dtype)
        source = *self._memory(0, [*where, (H, last)]), self.address(rows), text.at(self.room * dtype.size)
        loop.use("turn", Position(COUNT), text.at(self.along.size), *source, dtype=dtype)
        each = text.loop(loop, "j", COUNT)
        elements = self.address(self._row_of(rows)), text.at(dtype.size), text.at(self.along.size)
        self._sort(each, elements, self._row_of(results), spare)
        each.close()
        is_whole = test("==", Position(COUNT), Position(self.wide))
        for condition, put in ((is_whole, self._put_lines), (test("not", is_whole), self._put_rows)):
            branch = Branch(loop, condition)
            put(branch, where, results)
            branch.close()
        loop.close()

    def _put_lines(self, scope: Scope, where: Where, results: Row) -> None:
        text, dtype = self.text, self.result.dtype
        source = text.at(self.made.size), Position(COUNT), self.address(results), text.at(self.room * dtype.size)
        scope.use("turn", *source, *self._memory(1, [*where, (H, self.batch[-1])]), dtype=dtype)

    def _put_rows(self, scope: Scope, where: Where, results: Row) -> None:
        each = self.text.loop(scope, "j", COUNT)
        self.copy(each, self._row_of(results), [*where, (H + J, self.batch[-1])])
        each.close()

    def _rows(self, dtype: DType) -> Row:
        """As many rows of the chunk's own as a line has elements."""
        place = self.text.scratch_of_chunk(dtype, self.chunks, (self.wide, self.room))
        return place, dtype, WORKER * self.wide * self.room

    def _row_of(self, rows: Row) -> Row:
        """That of these in which the loop is."""
        place, dtype, start = rows
        return place, dtype, start + J * self.room

    def _memory(self, number: int, where: Where) -> tuple[Address, Position]:
        """Where the first element of a row of a view is, and the step to the next one."""
        text, view = self.text, self.task.views[number]
        axis = self.made if number else self.along
        start = text.address(view.place, self.position(number, where) * view.dtype.size)
        return start, text.at(axis.steps[number] * view.dtype.size)


class Selection(_Ordered):
    """The positions of the largest elements, or of the smallest."""

    def __init__(self, text: Text, task: Kernel) -> None:
        super().__init__(text, task)
        self.room = room_for(self.made.size, self.along.size)

    def work(self) -> tuple[Dim, Dim]:
        """An operation for each element that may be selected."""
        return product(self.x.shape), self.bytes()

    def row(self, scope: Scope, where: Where) -> None:
        """Print one call of the routine, and the copy of what it found."""
        text, dtype = self.text, self.x.dtype
        rows = [self.scratch(d) for d in (dtype, dtype, int64, int64)]
        sizes = text.at(self.made.size), text.at(self.room)
        scope.use(self.task.job.kernel, *self.elements(where), *sizes, *map(self.address, rows), dtype=dtype)
        self.copy(scope, rows[2], where)
