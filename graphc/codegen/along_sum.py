"""Products with few columns, whose lanes would be idle if they ran along them: they run along the sum.

In: a product whose A is contiguous along the sum, and B along its columns.  Out: the statements that make it; or where
the sum is cut a phase before its own, which makes the products of the parts, and the statements that add these up.
"""

from __future__ import annotations

from functools import reduce
from typing import cast

from graphc.codegen.intrinsics.target import dots_tile, host_vector_bytes
from graphc.codegen.kernels import CACHED, ROW, Axis, J, Kernel, Range, known, steps_of_chunk
from graphc.codegen.loop_ir import Address, Call, Expr, Position
from graphc.codegen.packed import DEPTH, K, Packed
from graphc.codegen.scope import Branch, Scope, close
from graphc.codegen.text import FIRST, HI, LAST, LO, PART, Text, integer, test
from graphc.codegen.views import up
from graphc.dims import Dim, blocks, floor_div, symbol
from graphc.schedule.task import Place
from graphc.types import DType

FEW_DOTS, FEW_KNOWN = 4, 8  # rows that do not pay for a copy of the columns; those of known number, of which tiles know
DOT_DEPTH = 512  # of columns that are copied at once, of the only part; half of it where several threads have copies
PART_DEPTH, MOST_PARTS = 384, 4  # of the sum
ELEMENT = symbol("%e")


def sum_of_parts(text: Text, place: Place, dtype: DType, parts: int, part: Dim, first: Dim = 0) -> Expr:
    """The sum of an element, counted from the first, of every part, of so many elements each, in their order."""
    products: list[Expr] = [text.load(place, dtype, ELEMENT + first + n * part) for n in range(parts)]
    return reduce(lambda x, y: Call("+", (x, y), dtype), products)


def add_parts(kernel: Kernel, scope: Scope, rows: Range, products: Place, parts: int) -> None:
    """Add up what the parts of the products have for each element of these rows, which are side by side."""
    text, (first, end), (place, start), across = kernel.text, rows, kernel.product.result, kernel.columns.size
    loop = text.loop(scope, "e", end * across, first * across)
    total = sum_of_parts(text, products, kernel.dtype, parts, kernel.rows.size * across)
    loop.add(text.store(place, start + ELEMENT, total))
    loop.close()


class AlongSum(Packed):
    """A chunk copies the columns of its part of the sum, one after the other, and has tiles of dot products.

    A thread reads its part of both operands alone, and has it in its cache when it comes to the gradients of these.  A
    sum of one part is made where the product is.
    """

    few = FEW_DOTS

    def choose_tile(self) -> None:
        deep, self.across = cast(int, self.summed.size), cast(int, self.columns.size)
        lanes = host_vector_bytes() // self.size
        self.parts = MOST_PARTS
        while self.parts > 1 and deep < self.parts * PART_DEPTH:
            self.parts //= 2
        self.part_depth = up(-(-deep // self.parts), lanes)
        most = DOT_DEPTH if self.parts == 1 else DOT_DEPTH // 2
        self.depth = up(-(-self.part_depth // -(-self.part_depth // most)), lanes)
        super().choose_tile()
        self.tile, self.MR, self.may_be_low = (FEW_DOTS, *self.tile[1:]), FEW_DOTS, False  # of few rows alone
        self.pitch = (self.depth // lanes | 1) * lanes  # from column to column, which begin in other sets of L1
        self.deepest = self.pitch
        self.dots = dots_tile(self.across, known(self.rows.size, 64))
        self.most_near = CACHED // (deep * self.size)
        self.is_near = known(self.rows.size, self.most_near) is not None

    def row_step(self) -> int:
        return self.dots[0] if self.parts == 1 else super().row_step()

    def nest(self, axis: Axis) -> bool:
        return False

    def is_light(self) -> bool:
        """Tiles of dot products over a part of the sum end soon."""
        return False

    def work(self) -> tuple[Dim, Dim]:
        if self.parts == 1:
            return super().work()
        added = self.parts * self.across * self.rows.size
        return added, added * self.size

    def prepare(self) -> None:
        """A phase of its own makes the products of the parts, if there are several."""
        if self.parts == 1:
            return
        text, product, rows = self.text, self.product, self.rows.size
        self.products = text.scratch(self.dtype, (self.parts, rows, self.across))
        height = steps_of_chunk(rows, 2 * self.part_depth * self.across, self.dots[0], self.chunk_flops)
        groups = blocks(rows, height)
        chunks = self.parts * groups
        with text.phase(f"parts of {product.title}", chunks, *product.work()) as top:
            many = Branch(top, test(">", *self.need(top))) if self.chooses else top
            control = product.begin(many)
            deep, high = text.own(self.part_depth), text.own(height)
            text.cut_twice(many, (deep, text.at(self.summed.size)), text.own(groups), (high, text.at(rows)))
            self.memory(many, "panel", self.across, chunks)
            c_row = self.across * self.size
            c = text.address(self.products, (PART * rows + ROW) * c_row, J * self.size)
            self._make_part(many, (LO, HI), (FIRST, LAST), (c, c_row))
            many.use("restore", control)
            if isinstance(many, Branch):
                many.close()

    def _make_part(self, scope: Scope, part: Range, rows: Range, c: tuple[Address, Dim]) -> None:
        """Block by block of the part of the sum: copy the columns, and tile by tile of C, with the step of its rows."""
        text, at = self.text, self.text.at
        depths = text.loop(scope, "k", part[1], part[0], self.depth)
        depths.let("depth", integer("least", Position(self.depth), integer("-", at(part[1]), Position(K))))
        row = text.address("b", K * self.summed.b), at(self.summed.b)
        args, tile = (Position(DEPTH), Position(DEPTH), *row, Address("panel")), (self.across, self.pitch)
        depths.use("deal", *args, dtype=self.dtype, tile=tile)
        height, width = self.dots
        down = text.loop(depths, "i", rows[1], rows[0], height)
        columns = text.loop(down, "j", self.across, 0, width)
        self._fetch(columns)
        self._tile(columns, rows[1], c, K - part[0])
        close(depths, down, columns)

    def _fetch(self, scope: Scope) -> None:
        """Of an A that no cache near the processor holds, each tile asks for some of the rows that come next.

        So does one of an A that is listed, whose next rows no processor foresees.
        """
        text, (height, width), rows = self.text, self.dots, self.rows.size
        if self.is_near:
            return
        some = -(-height // -(-self.across // width))
        next_row = ROW + height + floor_div(J, width) * some
        place = text.address("a", next_row * self.rows.a, K * self.summed.a)
        if self.product.listed:
            more = text.at(DEPTH * self.size), self.product.list_of_a()[0], text.at(next_row)
            scope.use("fetch_listed", place, *self.sizes(self.rows.a, some), *more)
            return
        far = Branch(scope, test(">", text.at(rows), Position(self.most_near))) if not isinstance(rows, int) else scope
        far.use("fetch", place, *self.sizes(self.rows.a, some), text.at(DEPTH * self.size))
        if isinstance(far, Branch):
            far.close()

    def _tile(self, scope: Scope, last: Dim, c: tuple[Address, Dim], later: Dim) -> None:
        """One tile of a part's product, which is added to after the first block."""
        text, (height, width) = self.text, self.dots
        high = integer("least", Position(height), integer("-", text.at(last), Position(ROW)))
        wide = integer("least", Position(width), integer("-", text.at(self.across), Position(J)))
        place, c_row = c
        b_column = self.pitch * self.size
        a = text.address("a", ROW * self.rows.a, K * self.summed.a)
        b = text.address("panel", J * b_column)
        a_step, b_step, c_step, more = self.sizes(self.rows.a, b_column, c_row, later)
        self.call(scope, "dots", self.dots, high, wide, Position(DEPTH), a, a_step, b, b_step, place, c_step, more)

    def emit_packed(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        if self.parts > 1:
            add_parts(self, scope, rows, self.products, self.parts)
            return
        self.memory(scope, "panel", self.across, self.product.chunks)
        self._make_part(scope, (0, self.summed.size), rows, (self.addresses()[2], self.rows.c))
