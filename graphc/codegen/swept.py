"""Products of few rows with an operand that no near cache holds: it is read once, from one end to the other.

In: a product with few rows, whose B is contiguous along its columns; or, the two exchanged, with few columns, whose A
is contiguous along its rows.  Out: a phase before the product's own that makes the products of parts of the sum, and
the statements that add these up.  A part is made row by row, or by a tile whose registers hold all of its result.
"""

from __future__ import annotations

from typing import cast

from graphc.codegen.along_sum import ELEMENT, sum_of_parts
from graphc.codegen.intrinsics.target import host_vector_bytes, host_vector_registers
from graphc.codegen.kernels import CACHED, MANY_CHUNKS, ROW, Axis, InPlace, Kernel, Range, Transposed, steps_of_chunk
from graphc.codegen.loop_ir import Call, Expr, Position
from graphc.codegen.scope import Branch, Scope
from graphc.codegen.text import FIRST, HI, LAST, LO, PART, test
from graphc.codegen.turned import PAGE
from graphc.codegen.views import up
from graphc.dims import Dim, blocks, dim_max, dim_min, floor_div

FEW = 12  # rows of the small operand
ROW_VECTORS, TILE_VECTORS = 8, 2  # of rows of the large one, so narrow that a tile of one row holds them, or of some
ALONE_AT_ONCE, ROWS_AT_ONCE = 8, 4  # rows of the large one, for one row of the other and for some
MOST_BYTES = 2**14  # of the rows of a part of the result, which stay in L1
NARROW = 2**11  # bytes of a row, so few that those are asked for that come after the next ones
PART_BYTES, PART_DEPTH = 2**20, 32  # of a part of the sum: about so many bytes, and at least so many rows


class Swept(Kernel):
    """A thread reads its part of the large operand alone, and as processors foresee it; strips of its rows would take
    1.4 times as long."""

    def choose_tile(self) -> None:
        rows, columns, deep = cast(int, self.rows.size), cast(int, self.columns.size), self.summed.size
        self.exchanged = self.rows.a == self.size and columns <= FEW
        self.few, self.wide = (columns, rows) if self.exchanged else (rows, columns)
        self.MR, self.NR = 1, host_vector_bytes() // self.size
        row, self.vectors = self.wide * self.size, -(-self.wide // self.NR)
        self.pitch = (self.vectors | 1) * self.NR  # from row to row, which begin in other sets of L1
        narrow = self.vectors <= (ROW_VECTORS if self.few == 1 else TILE_VECTORS)
        self.in_tile = narrow and (self.few + 1) * self.vectors < host_vector_registers()
        near = isinstance(deep, int) and deep * row <= CACHED
        self.ahead = 0 if near else 2 if row < NARROW else 1  # of several rows none is foreseen in time
        crowded = row % PAGE == 0 and near  # with that of the result 9 lines would be in a set of 8
        self.at_once = ROWS_AT_ONCE if self.few > 1 else ALONE_AT_ONCE - 2 * crowded
        pieces = -(-self.few * row // MOST_BYTES)
        self.piece = up(-(-self.wide // pieces), self.NR)
        self.parts, self.pieces = MANY_CHUNKS, -(-self.wide // self.piece)
        if isinstance(deep, int):
            parts = min(max(deep * row // PART_BYTES, 2), MANY_CHUNKS, deep // PART_DEPTH)
            self.depth: Dim = up(-(-deep // parts), self.at_once)
            self.parts = -(-deep // self.depth)
        else:
            self.depth = blocks(deep, MANY_CHUNKS * self.at_once) * self.at_once
        self.short = None if isinstance(deep, int) else (Transposed if self.exchanged else InPlace)(self.product)
        self.longest = CACHED // row  # of the sums that `short` makes, where only the call tells how long they are
        self.is_long: Dim = dim_min(1, floor_div(deep, self.longest + 1)) if self.short else 1

    def by_words(self) -> None:
        super().by_words()
        if self.short is not None:
            self.short.by_words()

    def goes_by_rows(self) -> bool:
        return self.short is None or self.short.by_rows

    def part(self) -> tuple[Dim, Dim]:
        """A chunk adds up parts only, of some rows, or of all where these are few; or it is one of a short sum."""
        rows, columns = self.rows.size, self.columns.size
        if self.short is not None:
            return self.short.part()
        return steps_of_chunk(rows, self.parts * self.few) if self.exchanged else rows, columns

    def nest(self, axis: Axis) -> bool:
        return False

    def is_light(self) -> bool:
        """The product's own phase adds up parts, or has a sum of which only the call tells how long it is."""
        return False

    def work(self) -> tuple[Dim, Dim]:
        (operations, nbytes), added = self.product.work(), self.parts * self.few * self.wide
        is_short = 1 - self.is_long
        return is_short * operations + self.is_long * added, is_short * nbytes + self.is_long * added * self.size

    def prepare(self) -> None:
        """A phase of its own makes the products of the parts."""
        text, product, wide, size = self.text, self.product, self.wide, self.size
        self.products = text.scratch(self.dtype, (self.parts, self.few, self.pitch))
        work = (self.is_long * w for w in product.work())
        with text.phase(f"parts of {product.title}", self.parts * self.pieces, *work) as top:
            many = Branch(top, self._takes_parts()) if self.short else top
            control = product.begin(many)
            depth, pieces, width = map(text.own, (self.depth, self.pieces, self.piece))
            text.cut_twice(many, (depth, text.at(self.summed.size)), pieces, (width, text.at(wide)))
            columns, rows = text.at(LAST - FIRST), text.at(dim_max(0, HI - LO))
            c = text.address(self.products, PART * (self.few * self.pitch * size), FIRST * size)
            operands = columns, rows, *self._operands(), c, text.at(self.pitch * size)
            if self.in_tile:
                tile: tuple[int, ...] = self.few, self.vectors
                many.use("micro", Position(self.few), *operands, Position(0), dtype=self.dtype, tile=tile)
            else:
                tile = self.at_once, self.few, self.ahead
                listed = (product.list_of_a()[0], text.at(LO)) if product.listed else ()
                kernel = "sweep_sum_listed" if listed else "sweep"
                many.use(kernel, *operands, *listed, dtype=self.dtype, tile=tile)
            many.use("restore", control)
            if isinstance(many, Branch):
                many.close()

    def _operands(self) -> tuple[Expr, ...]:
        """The operand with few rows and the other, each where a part of them begins, and their steps."""
        text, summed = self.text, self.summed
        small, large = ("b", "a") if self.exchanged else ("a", "b")
        steps = {"a": summed.a, "b": summed.b}
        row = self.columns.b if self.exchanged else self.rows.a
        few, many = text.address(small, LO * steps[small]), text.address(large, LO * steps[large], FIRST * self.size)
        return few, *self.sizes(row, steps[small]), many, *self.sizes(steps[large])

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        if self.short is None:
            self._add_up(scope, rows, columns)
            return
        branch = Branch(scope, test("not", self._takes_parts()))
        self.short.emit(branch, rows, columns, more)
        branch.close()
        branch = Branch(scope, self._takes_parts())
        self._add_up(branch, rows, columns)
        branch.close()

    def _takes_parts(self) -> Call:
        """Whether a sum of which only the call tells the length is made of parts."""
        return test(">", self.text.at(self.summed.size), Position(self.longest))

    def _add_up(self, scope: Scope, rows: Range, columns: Range) -> None:
        """Store the sums of the parts, for a range of rows; or the two exchanged, one column after the other."""
        if not self.exchanged:
            loop = self.text.loop(scope, "i", rows[1], rows[0])
            self._sums(loop, columns, ROW * self.pitch, ROW * self.wide + ELEMENT)
            loop.close()
            return
        for column in range(self.few):
            self._sums(scope, rows, column * self.pitch, ELEMENT * self.few + column)

    def _sums(self, scope: Scope, elements: Range, first: Dim, at: Dim) -> None:
        text, (place, start) = self.text, self.product.result
        loop = text.loop(scope, "e", elements[1], elements[0])
        total = sum_of_parts(text, self.products, self.dtype, self.parts, self.few * self.pitch, first)
        loop.add(text.store(place, start + at, total))
        loop.close()
