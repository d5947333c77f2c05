"""Searches: where values belong among the elements of one axis, which are in rising order.

In: the task of a search.  Out: one phase, with a call of a routine for each row of values.
"""

from __future__ import annotations

from graphc.codegen.loop_ir import Expr
from graphc.codegen.scope import close
from graphc.codegen.views import Axis, ViewKernel, Where, of_chunk
from graphc.dims import Dim, blocks

_HALVING, _HALVINGS = 8, 16  # operations of one, and how many there are where the number of elements is open


class Search(ViewKernel):
    """A search for every element of the second view among those of the first."""

    def emit(self) -> None:
        """Print the phase: a chunk is some of the first axis of the values."""
        text, batch = self.text, self.axes(self.task.job.batch)
        size, row = of_chunk(*batch), batch[-1] if batch else Axis(1, (0, 0, 0))
        with text.phase(self.title, blocks(batch[0].size, size) if batch else 1, *self.work()) as top:
            text.new_nest()
            scopes, where, bounds = self.up_to_last(top, batch, size)
            values, found = (self._row(number, row, [*where, (bounds[0], row)]) for number in (1, 2))
            arguments = *self._among(), *values, text.at(bounds[1] - bounds[0]), *found
            scopes[-1].use(self.task.job.kernel, *arguments, dtype=self.task.views[0].dtype)
            close(*scopes[1:])

    def work(self) -> tuple[Dim, Dim]:
        """Halvings for every value."""
        values, nbytes = super().work()
        elements = self.axis("z").size
        return values * _HALVING * (elements.bit_length() if isinstance(elements, int) else _HALVINGS), nbytes

    def _among(self) -> tuple[Expr, ...]:
        """Where the elements begin, the step between them, and how many there are."""
        text, x, axis = self.text, self.task.views[0], self.axis("z")
        start = text.address(x.place, text.value(x.offset * x.dtype.size) if x.offset != 0 else 0)
        return start, text.at(axis.steps[0] * x.dtype.size), text.at(axis.size)

    def _row(self, number: int, row: Axis, where: Where) -> tuple[Expr, Expr]:
        """Where a row of a view begins, and the step between its elements."""
        text, view = self.text, self.task.views[number]
        start = text.address(view.place, self.position(number, where) * view.dtype.size)
        return start, text.at(row.steps[number] * view.dtype.size)
