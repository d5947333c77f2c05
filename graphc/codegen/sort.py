"""Sorts: the elements along one axis of a view in order, or their positions; each row is one call of a routine.

In: the task of a sort.  Out: one phase.  A row that is not contiguous in the result is made in scratch and copied.
"""

from __future__ import annotations

from graphc.codegen.loop_ir import WORKER, Address
from graphc.codegen.scope import Scope, close
from graphc.codegen.text import Text
from graphc.codegen.views import ViewKernel, Where, of_chunk
from graphc.dims import Dim, blocks, symbol
from graphc.schedule.task import Kernel, Place
from graphc.types import DType

K = symbol("%k")
Row = tuple[Place, DType, Dim]  # contiguous elements of a place, from this one on


class Sort(ViewKernel):
    """A sort along one axis, with loops over the others; the result has the elements, or their positions."""

    def __init__(self, text: Text, task: Kernel) -> None:
        super().__init__(text, task)
        self.sorted, self.batch = self.own(), self.axes(task.job.batch)
        self.size = of_chunk(*self.batch, self.sorted)
        self.chunks = blocks(self.batch[0].size, self.size) if self.batch else 1
        self.x, self.result = task.views

    def emit(self) -> None:
        """Print the phase: a chunk is some of the first axis around the sort, with scratch for one row."""
        with self.text.phase(self.title, self.chunks, *self.work()) as top:
            self.text.new_nest()
            scopes, where = self.around(top, self.batch, self.size)
            self._row(scopes[-1], where)
            close(*scopes[1:])

    def _row(self, scope: Scope, where: Where) -> None:
        x, text, n = self.x, self.text, self.sorted.size
        made = self._made(where)
        rows = [made, self._scratch(made[1])]
        if self.task.job.kernel == "argsort":
            rows = [self._scratch(x.dtype), self._scratch(x.dtype), *rows]
        start = text.value(x.offset * x.dtype.size) if x.offset != 0 else 0
        source = text.address(x.place, start, (self.position(0, where) - x.offset) * x.dtype.size)
        step = text.at(self.sorted.steps[0] * x.dtype.size)
        scope.use(self.task.job.kernel, source, step, text.at(n), *map(self._address, rows), dtype=x.dtype)
        if made[0] != self.result.place:
            self._copy(scope, made, where)

    def _made(self, where: Where) -> Row:
        """Where the routine makes a row: in the result, if it is contiguous there."""
        if self.sorted.steps[1] != 1 and self.sorted.size != 1:
            return self._scratch(self.result.dtype)
        return self.result.place, self.result.dtype, self.position(1, where)

    def _scratch(self, dtype: DType) -> Row:
        """A row of the chunk's own."""
        place = self.text.scratch_of_chunk(dtype, self.chunks, (self.sorted.size,))
        return place, dtype, WORKER * self.sorted.size

    def _address(self, row: Row) -> Address:
        place, dtype, at = row
        return self.text.address(place, at * dtype.size)

    def _copy(self, scope: Scope, made: Row, where: Where) -> None:
        text, (place, dtype, start) = self.text, made
        loop = text.loop(scope, "k", self.sorted.size)
        value = loop.let(text.fresh(), text.load(place, dtype, start + K))
        loop.add(text.store(self.result.place, self.position(1, [*where, (K, self.sorted)]), value))
        loop.close()
