"""Sorts and selections: the elements along one axis of a view in order, or the positions of all or of the first ones.

In: the task of a sort or a selection.  Out: one phase, in which each row is one call of a routine.  A row that is not
contiguous in the result, or shorter than the routine's room, is made in scratch and copied.
"""

from __future__ import annotations

from abc import abstractmethod

from graphc.codegen.intrinsics.selection import room_for
from graphc.codegen.intrinsics.sort import ROOM
from graphc.codegen.loop_ir import WORKER, Address, Expr
from graphc.codegen.scope import Scope, close
from graphc.codegen.text import Text
from graphc.codegen.views import ViewKernel, Where, of_chunk
from graphc.dims import Dim, blocks, product, symbol
from graphc.schedule.task import Kernel, Place
from graphc.types import DType, int64

K = symbol("%k")
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
    """A sort; the result has the elements, or their positions."""

    def row(self, scope: Scope, where: Where) -> None:
        """Print one call of the routine."""
        x, kernel = self.x, self.task.job.kernel
        made = self._made(where)
        rows = [made, self.scratch(made[1])]
        if kernel == "argsort":
            rows = [self.scratch(x.dtype), self.scratch(x.dtype), *rows]
        scope.use(kernel, *self.elements(where), *map(self.address, rows), dtype=x.dtype)
        if made[0] != self.result.place:
            self.copy(scope, made, where)

    def _made(self, where: Where) -> Row:
        """Where the routine makes a row: in the result, if it is contiguous there."""
        if self.made.steps[1] != 1 and self.made.size != 1:
            return self.scratch(self.result.dtype)
        return self.result.place, self.result.dtype, self.position(1, where)


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
