"""Products of one row with a B that no near cache holds: its rows are read from one end to the other.

In: a product of one row, whose B is contiguous along its columns.  Out: a phase before the product's own that makes the
products of parts of the sum, and the statements that add these up.
"""

from __future__ import annotations

from typing import cast

from graphc.codegen.along_sum import add_parts
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.kernels import MANY_CHUNKS, Axis, Kernel, Range
from graphc.codegen.scope import Scope
from graphc.codegen.text import FIRST, HI, LAST, LO, PART, integer
from graphc.codegen.views import up
from graphc.dims import Dim

ROWS = 8  # of B at a time
FEWEST_BYTES, MOST_BYTES = 2**10, 2**14  # of a row of B: narrower, a tile reads all of it; wider, C leaves L1
PART_BYTES, PART_DEPTH = 2**20, 32  # of a part of the sum: about so many bytes, and at least so many rows


class Swept(Kernel):
    """A thread reads its part of B alone, and as processors foresee it; strips of columns take 1.4 times as long."""

    def choose_tile(self) -> None:
        deep, across = cast(int, self.summed.size), cast(int, self.columns.size) * self.size
        self.MR, self.NR = 1, host_vector_bytes() // self.size
        parts = min(max(deep * across // PART_BYTES, 2), MANY_CHUNKS, deep // PART_DEPTH)
        self.depth = up(-(-deep // parts), ROWS)
        self.parts, self.pieces = -(-deep // self.depth), -(-across // MOST_BYTES)

    def goes_by_rows(self) -> bool:
        return True

    def nest(self, axis: Axis) -> bool:
        return False

    def work(self) -> tuple[Dim, Dim]:
        added = self.parts * self.columns.size
        return added, added * self.size

    def prepare(self) -> None:
        """A phase of its own makes the products of the parts."""
        text, product, across, size = self.text, self.product, cast(int, self.columns.size), self.size
        self.products = text.scratch(self.dtype, (self.parts, across))
        with text.phase(f"parts of {product.title}", self.parts * self.pieces, *product.work()) as top:
            control = product.begin(top)
            depth, pieces, width = map(text.own, (self.depth, self.pieces, up(-(-across // self.pieces), self.NR)))
            text.cut_twice(top, (depth, text.at(self.summed.size)), pieces, (width, text.at(across)))
            a = text.address("a", LO * self.summed.a)
            b = text.address("b", LO * self.summed.b, FIRST * size)
            c = text.address(self.products, PART * (across * size), FIRST * size)
            columns, rows = (integer("-", text.at(end), text.at(begin)) for begin, end in ((FIRST, LAST), (LO, HI)))
            a_step, b_step = self.sizes(self.summed.a, self.summed.b)
            top.use("sweep", columns, rows, a, a_step, b, b_step, c, dtype=self.dtype, tile=(ROWS,))
            top.use("restore", control)

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        add_parts(self, scope, rows, self.products, self.parts)
