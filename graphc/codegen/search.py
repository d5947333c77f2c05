"""Searches: where values belong among the elements of one axis, which are in rising order.

In: the task of a search.  Out: one phase, with a call of a routine for each value.
"""

from __future__ import annotations

from graphc.codegen.loop_ir import Var
from graphc.codegen.scope import close
from graphc.codegen.views import ViewKernel, of_chunk
from graphc.dims import blocks
from graphc.types import int64


class Search(ViewKernel):
    """A search for every element of the second view among those of the first."""

    def emit(self) -> None:
        """Print the phase: a chunk is some of the first axis of the values."""
        text, (x, values, result) = self.text, self.task.views
        batch, among = self.axes(self.task.job.batch), self.axis("z")
        size = of_chunk(*batch)
        with text.phase(self.title, blocks(batch[0].size, size) if batch else 1, *self.work()) as top:
            text.new_nest()
            scopes, where = self.around(top, batch, size)
            value = scopes[-1].let(text.fresh(), text.load(values.place, values.dtype, self.position(1, where)))
            found = Var(text.fresh(), int64)
            start = text.address(x.place, text.value(x.offset * x.dtype.size) if x.offset != 0 else 0)
            arguments = start, text.at(among.steps[0] * x.dtype.size), text.at(among.size), value
            scopes[-1].use(self.task.job.kernel, *arguments, dtype=x.dtype, result=found)
            scopes[-1].add(text.store(result.place, self.position(2, where), found))
            close(*scopes[1:])
