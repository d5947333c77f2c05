"""Kernels of matrix products: loops over register tiles.

In: a product (sizes and steps in bytes of its rows, columns and sum, and the names of its addresses).
Out: statements that compute C, or the chunk of it that is asked for.

    InPlace     B is read where it lies; tiles of rows
    Dots        lanes run along the sum, for operands that are both contiguous along it
    Transposed  lanes run down the columns of C, for few columns and an A that is contiguous along rows

Those that copy operands first are in graphc.codegen.packed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from graphc.codegen.intrinsics.target import (
    dots_tile,
    has_many_registers,
    has_two_multiply_adds,
    host_vector_bytes,
    tile,
    transposed_tile,
)
from graphc.codegen.loop_ir import Address, Expr, Position
from graphc.codegen.scope import Branch, Loop, Scope, close
from graphc.codegen.text import Text, integer, test
from graphc.codegen.views import evenly, up
from graphc.dims import Dim, blocks, symbol

if TYPE_CHECKING:
    from graphc.codegen.product import Product

CHUNK_FLOPS = 2_000_000  # some 15 us of work
HALF_FLOPS = 200_000  # what is twice as much is cut in halves, for two threads
DEEP = 64  # what a sum that only the call knows is taken to be
MANY_CHUNKS = 8  # enough for all threads
TALL = 2  # rows for each column, from which on two threads have half of the rows each
LOW, LOW_DEPTH = 4, 32  # few rows have a tile of so many times fewer rows, if only the call tells, in sums so deep
LARGE_A, SHORT_ROW = 2**17, 2**7  # bytes of A, and of its rows, above which tiles ask for what others want
NARROW = 32  # bytes of a row of a tile
LONG_TILE = 2**11  # multiply-adds of vectors, half a microsecond, of which worse code around a tile takes a hundredth
FEW = 16  # rows that are not shared out where columns are many
SHALLOW = 8  # products of an element that take no longer than writing it
CACHED = 2**23  # bytes of an operand that caches hold
LARGE_C, NEAR_C = 2**23, 2**21  # bytes of a result that is made by whole rows; where two multiply-adds start in a cycle
LONG_ROWS = 2**14  # bytes of two rows that the processor foresees abreast
MANY_ROWS, MANY_PANELS = 512, 8  # of a chunk: 512 rows of a panel's depth stay in L2


@dataclass
class Axis:
    """A loop of the product: its size, and its step in bytes in a, b and c (0 where it does not occur)."""

    size: Dim
    a: Dim
    b: Dim
    c: Dim

    def by_words(self, text: Text) -> Axis:
        """The same with words of the row for what is not 0."""
        return Axis(*(0 if d == 0 else text.own(d) for d in (self.size, self.a, self.b, self.c)))


ROW, J = symbol("%i"), symbol("%j")
Range = tuple[Dim, Dim]  # from, to


def known(size: Dim, limit: int = 1 << 30) -> int | None:
    """A size that is known before the call, and not above a limit."""
    return size if isinstance(size, int) and size <= limit else None


def steps_of_chunk(length: Dim, flops: int, step: int = 1, most: int = CHUNK_FLOPS) -> int:
    """How many steps of a loop a chunk takes, of so many operations each: a multiple of `step`.

    What is known to be little makes two equal chunks: where each thread has one of them, neither takes the other's.
    """
    each = max(1, most // max(flops, 1))
    if not isinstance(length, int):
        return max(1, each // step) * step
    half = -(-length // 2) if length * flops >= 2 * HALF_FLOPS else each
    return up(evenly(length, min(each, half)), step)


class Kernel(ABC):
    """How one matrix product is computed; `MR` and `NR` are the rows and columns of a tile."""

    MR: int
    NR: int
    chunk_flops = CHUNK_FLOPS

    def __init__(self, product: Product) -> None:
        self.product, self.text, self.size = product, product.text, product.size
        self.rows, self.columns, self.summed = product.rows, product.columns, product.summed
        self.nested: Axis | None = None  # a loop of the sum outside of the last one, but inside of a tile
        self.dtype = product.member.dtype
        self.choose_tile()
        self.by_rows = self.goes_by_rows()
        across, deep = (a.size if isinstance(a.size, int) else DEEP for a in (self.columns, self.summed))
        self.block = steps_of_chunk(self.rows.size, 2 * across * deep, self.row_step(), self.chunk_flops)
        height, width = self.part()
        self.cut = (blocks(self.columns.size, width) if width != 0 else 0, height, width)

    @abstractmethod
    def choose_tile(self) -> None: ...

    def prepare(self) -> None:  # noqa: B027  (most need nothing)
        """Print the phases of what must be there before any chunk."""

    def work(self) -> tuple[Dim, Dim]:
        """Operations of the chunks, and bytes read and written once."""
        return self.product.work()

    @abstractmethod
    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Make the loops over a range of rows and one of columns; `more` is not 0 where C is added to."""

    def goes_by_rows(self) -> bool:
        """Whether a chunk is a block of rows; else it has some columns only, so that B is read once."""
        return isinstance(self.columns.size, int) and self.columns.size <= self.NR

    def row_step(self) -> int:
        """What the number of rows of a chunk is a multiple of."""
        return self.MR

    def by_panels(self) -> bool:
        """Whether a chunk is rather some columns than one step of a loop around the kernel."""
        return False

    def part(self) -> tuple[Dim, Dim]:
        """How many rows and columns a chunk has."""
        return (self.block, self.columns.size) if self.by_rows else (self._height(), self.NR)

    def _height(self) -> Dim:
        """All rows, or half of them, where panels are few and odd, which two threads can't share evenly, or rows many.

        Of many rows each thread would read all, and write lines of C beside those of the other.
        """
        rows, columns, deep = known(self.rows.size), known(self.columns.size), known(self.summed.size)
        if rows is None or columns is None or deep is None or rows < 4 * self.MR:
            return self.rows.size
        panels, is_large = -(-columns // self.NR), rows * deep * self.NR * 2 >= 2 * HALF_FLOPS
        uneven = panels % 2 and panels < MANY_CHUNKS
        return up(-(-rows // 2), self.MR) if is_large and (uneven or rows >= TALL * columns) else rows

    def nest(self, axis: Axis) -> bool:
        """Take a loop around the kernel over a part of the sum into its tiles, if that pays."""
        self.nested = axis
        return True

    def is_light(self) -> bool:
        """Whether tiles take so long, low ones of few rows too, that what is around them takes no time."""
        summed = self.summed.size * (1 if self.nested is None else self.nested.size)  # if cut, into blocks that do
        rows, columns, deep = (known(d) or 0 for d in (self.rows.size, self.columns.size, summed))
        elements = min(rows or self.MR // LOW, self.MR) * min(columns or self.NR, self.NR)
        return elements * deep * self.size >= LONG_TILE * host_vector_bytes()

    def chunks(self) -> Dim:
        groups, height, _ = self.cut
        return groups * (blocks(self.rows.size, height) if isinstance(height, int) and height else 1)

    def by_words(self) -> None:
        """Take sizes and steps from the row, so that products of other sizes share the text."""
        axes = (self.rows, self.columns, self.summed)
        self.rows, self.columns, self.summed = (axis.by_words(self.text) for axis in axes)
        self.nested = self.nested and self.nested.by_words(self.text)

    def call(
        self, scope: Scope, kernel: str, tile: tuple[int, ...], *args: Expr, outer: tuple[Dim, Dim] | None = None
    ) -> None:
        """A call of a register tile, whose sum may have an outer loop, with these steps of A and B; or A is listed."""
        if self.product.listed:
            kernel, args = f"{kernel}_{self.product.listed}_listed", (*args, *self.product.list_of_a())
        elif self.nested is not None:
            steps = outer or (self.nested.a, self.nested.b)
            kernel, args = f"{kernel}_nested", (*args, *self.sizes(self.nested.size, *steps))
        scope.use(kernel, *args, dtype=self.dtype, tile=tile)

    def rows_loop(self, scope: Scope, rows: Range) -> Loop:
        return self.text.loop(scope, "i", rows[1], rows[0], self.MR)

    def columns_loop(self, scope: Scope, columns: Range) -> Loop:
        return self.text.loop(scope, "j", columns[1], columns[0], self.NR)

    def height(self, rows: Range) -> Expr:
        """How many rows of a tile lie inside."""
        return integer("least", Position(self.MR), integer("-", self.text.at(rows[1]), Position(ROW)))

    def width(self, columns: Range) -> Expr:
        """How many columns of a tile lie inside."""
        return integer("least", Position(self.NR), integer("-", self.text.at(columns[1]), Position(J)))

    def addresses(self, k: Dim = 0) -> tuple[Address, Address, Address]:
        """Addresses of A(i, k), B(k, j) and C(i, j)."""
        names, address = self.product.names, self.text.address
        return (
            address(names["a"], ROW * self.rows.a, k * self.summed.a),
            address(names["b"], J * self.columns.b, k * self.summed.b),
            address(names["c"], ROW * self.rows.c, J * self.columns.c),
        )

    def sizes(self, *dims: Dim) -> list[Expr]:
        return [self.text.at(d) for d in dims]


class InPlace(Kernel):
    is_far = False  # whether C may be so far that its tiles are asked for
    is_cut = False  # whether the sum may be, so that a tile reads a part of each row

    def choose_tile(self) -> None:
        columns, rows = known(self.columns.size), known(self.rows.size, 128)
        self.tile = tile(self.dtype.name, columns, rows)
        self.MR, vectors, *_ = self.tile
        self.NR = vectors * host_vector_bytes() // self.size
        self.asking = self._asking()
        is_deep = known(self.summed.size, LOW_DEPTH - 1) is None
        self.may_be_low = is_deep and self.product.is_alone and not isinstance(self.rows.size, int)

    def _asking(self) -> str:
        """The tiles, which ask for what others want of a large A; where registers are few not for rows in turn."""
        beside = self.rows.a == self.size
        row = (self.rows if beside else self.summed).size
        limit = CACHED if self._is_narrow() else LARGE_A
        near = known(self.rows.size * self.summed.size * self.size, limit) or known(row * self.size, SHORT_ROW)
        if near or known(self.rows.size, self.MR):
            return "micro"
        if beside:
            return "micro_asking_lines"
        if self.summed.a == self.size and self.rows.a == self.summed.size * self.size and not self.is_cut:
            return "micro_asking_ahead"
        return "micro_asking_rows" if has_many_registers() and not has_two_multiply_adds() else "micro"

    def _is_narrow(self) -> bool:
        """Whether a row of a tile has so few bytes that its steps have little time to spare."""
        return known(self.columns.size * self.size, NARROW) is not None

    def part(self) -> tuple[Dim, Dim]:
        """Of an A that may not stay in L2, so many rows that they do for each panel's depth, and some panels.

        Of a C that no near cache holds a few whole rows, which memory takes best, if each element has few products.
        """
        rows, columns = self.rows.size, self.columns.size
        result, large = known(rows * columns * self.size, 1 << 60), NEAR_C if has_two_multiply_adds() else LARGE_C
        if result is not None and result > large and known(self.summed.size, SHALLOW) is not None and not self.by_rows:
            return up(FEW, self.MR), columns
        fits_cache = known(rows * self.summed.size * self.size, 2**20) is not None
        if self.by_rows or fits_cache:
            return super().part()
        panels = -(-columns // self.NR) if isinstance(columns, int) else MANY_PANELS
        parts = -(-rows // MANY_ROWS) if isinstance(rows, int) else 0
        height = -(-rows // parts) if isinstance(rows, int) and parts else MANY_ROWS
        return up(height, self.MR), min(max(panels // 8, 1), MANY_PANELS) * self.NR

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Where only the call tells how many rows there are, few have low tiles: others mostly work for nobody."""
        if not self.may_be_low:
            self._emit(scope, rows, columns, more)
            return
        low = copy(self)
        low.MR = max(self.MR // LOW, 2)
        low.tile, low.asking = (low.MR, *self.tile[1:]), "micro"
        is_low = test("<=", self.text.at(self.rows.size), Position(low.MR))
        for kernel, condition in ((low, is_low), (self, test("not", is_low))):
            branch = Branch(scope, condition)
            kernel._emit(branch, rows, columns, more)
            branch.close()

    def _emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        panels = self.panels(scope, columns)
        b = self.addresses()[1]
        self.text.at(self.summed.b)
        self.tiles(panels, rows, (b, self.summed.b), (self.summed.size, 0), more, kernel=self.asking)
        panels.close()

    def panels(self, scope: Scope, columns: Range) -> Loop:
        """The loop in which j is the first column of a panel and `cols` says how many it has."""
        loop = self.columns_loop(scope, columns)
        loop.let("cols", self.width(columns))
        return loop

    def tiles(
        self,
        scope: Scope,
        rows: Range,
        b: tuple[Address, Dim],
        depth: Range,
        more: Dim,
        outer: tuple[Dim, Dim] | None = None,
        a: tuple[Address, Dim, Dim] | None = None,
        *,
        kernel: str,
    ) -> None:
        """The tiles of one panel; B as (address, step of rows), the sum as (how deep, from where), a copy of A.

        They are plain `micro`, not the given kernel, where A is copied or listed and where the sum has two loops.
        """
        is_plain = a is None and self.nested is None and not self.product.listed
        with self.product.more_rows(scope) as around:
            place, _, c = self.addresses(depth[1])
            place, *steps = a or (place, self.rows.a, self.summed.a)
            loop = self.rows_loop(around, rows)
            if self.is_far:
                below = self.text.address(c.base, *c.terms, self.MR * self.rows.c)
                loop.use("fetch", below, *self.sizes(self.rows.c, self.MR, self.NR * self.size))
            self.call(
                *(loop, kernel if is_plain else "micro", self.tile),
                *(self.height(rows), Position(symbol("%cols")), *self.sizes(depth[0])),
                *(place, *self.sizes(*steps), b[0], *self.sizes(b[1]), c, *self.sizes(self.rows.c, more)),
                outer=outer,
            )
            loop.close()


class ByRows(Kernel):
    """Rows of tiles, each over all columns; every tile is one call."""

    def goes_by_rows(self) -> bool:
        return True

    @abstractmethod
    def tile_call(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None: ...

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        with self.product.more_rows(scope) as around:
            loop = self.rows_loop(around, rows)
            inner = self.columns_loop(loop, columns)
            self.tile_call(inner, rows, columns, more)
            close(loop, inner)


class Dots(ByRows):
    def choose_tile(self) -> None:
        self.MR, self.NR = dots_tile(known(self.columns.size), known(self.rows.size, 64))
        few_rows = known(self.rows.size, FEW) is not None
        self.side, self.many = ("columns", self.columns.size) if few_rows else ("rows", self.rows.size)
        few = self.MR if few_rows else self.NR
        row = known(self.summed.size * self.size, LONG_ROWS // max(few, 2))
        self.near = CACHED // max(row, 1) if row is not None else None

    def goes_by_rows(self) -> bool:
        """Few rows and many columns are shared out by columns."""
        rows, columns, deep = known(self.rows.size, FEW), known(self.columns.size), known(self.summed.size)
        if rows is None:
            return True
        return columns is not None and (columns <= rows or rows * columns * (deep or DEEP) < HALF_FLOPS)

    def part(self) -> tuple[Dim, Dim]:
        if self.by_rows:
            return super().part()
        rows, deep = cast(int, self.rows.size), known(self.summed.size) or DEEP
        return rows, steps_of_chunk(self.columns.size, 2 * rows * deep, self.NR)

    def tile_call(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """A call of a tile; of few rows or columns it reads more than `near` of the others in turn."""
        in_turn = f"dots_{self.side}_in_turn"
        if self.near is None or self.nested is not None:
            self._tile(scope, "dots", rows, columns, more)
            return
        if isinstance(self.many, int):
            self._tile(scope, in_turn if self.many > self.near else "dots", rows, columns, more)
            return
        is_far = test(">", self.text.at(self.many), Position(self.near))
        for condition, kernel in ((is_far, in_turn), (test("not", is_far), "dots")):
            branch = Branch(scope, condition)
            self._tile(branch, kernel, rows, columns, more)
            branch.close()

    def _tile(self, scope: Scope, kernel: str, rows: Range, columns: Range, more: Dim) -> None:
        a, b, c = self.addresses()
        self.call(
            *(scope, kernel, (self.MR, self.NR)),
            *(self.height(rows), self.width(columns), *self.sizes(self.summed.size)),
            *(a, *self.sizes(self.rows.a), b, *self.sizes(self.columns.b), c, *self.sizes(self.rows.c, more)),
        )


class Transposed(ByRows):
    """The roles of A and B are exchanged: lanes run along the rows of C."""

    def choose_tile(self) -> None:
        self.NR, self.vectors = transposed_tile(self.dtype.name, known(self.columns.size), known(self.rows.size))
        self.MR = self.vectors * host_vector_bytes() // self.size

    def row_step(self) -> int:
        return host_vector_bytes() // self.size

    def tile_call(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        a, b, c = self.addresses()
        self.call(
            *(scope, "micro_transposed", (self.NR, self.vectors)),
            *(self.width(columns), self.height(rows), *self.sizes(self.summed.size)),
            *(b, *self.sizes(self.columns.b, self.summed.b), a, *self.sizes(self.summed.a)),
            *(c, *self.sizes(self.rows.c)),
            outer=None if self.nested is None else (self.nested.b, self.nested.a),
        )
