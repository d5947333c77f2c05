"""Kernels of matrix products: loops over register tiles.

In: a product (sizes and steps in bytes of its rows, columns and sum, and the names of its addresses).
Out: statements that compute C, or the chunk of it that is asked for.

    InPlace     B is read where it lies; tiles of rows
    Packed      panels of B are copied into contiguous memory first, within each all rows
    Dots        lanes run along the sum, for operands that are both contiguous along it
    Transposed  lanes run down the columns of C, for few columns and an A that is contiguous along rows
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphc.codegen.intrinsics.target import dots_tile, host_vector_bytes, tile
from graphc.codegen.loop_ir import Address, Expr, Position
from graphc.codegen.text import CHUNK, Loop, Scope, Text, integer
from graphc.dims import Dim, blocks, dim_max, dim_min, symbol

if TYPE_CHECKING:
    from graphc.codegen.product import Product

CHUNK_FLOPS = 2_000_000  # some 15 us of work
MANY_CHUNKS = 8  # enough for all threads
PANEL_DEPTH = 1_024  # rows of a packed panel, which then stays in L2


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


ROW, J, K, OUTER = (symbol(f"%{name}") for name in ("i", "j", "k", "o"))
Rows = tuple[Dim, Dim]  # from, to


def _known(size: Dim, limit: int = 1 << 30) -> int | None:
    return size if isinstance(size, int) and size <= limit else None


class Kernel(ABC):
    """How one matrix product is computed; `MR` and `NR` are the rows and columns of a tile."""

    MR: int
    NR: int

    def __init__(self, product: Product) -> None:
        self.product, self.text, self.size = product, product.text, product.size
        self.rows, self.columns, self.summed = product.rows, product.columns, product.summed
        self.nested: Axis | None = None  # a loop of the sum outside of the last one, but inside of a tile
        self.dtype = product.member.dtype
        self.choose_tile()
        self.by_rows = self.goes_by_rows()
        work = dim_max(1, self.summed.size * self.columns.size * 2 * self.MR)
        self.block = self.MR * (max(1, CHUNK_FLOPS // work) if isinstance(work, int) else 4)
        self.cut = (1, self.block) if self.by_rows else (blocks(self.columns.size, self.NR), self.rows.size)

    @abstractmethod
    def choose_tile(self) -> None: ...

    @abstractmethod
    def emit(self, scope: Scope, rows: Rows, panel: Dim | None, more: Dim) -> None:
        """Make the loops over a range of rows, and all columns or those of the panel that begins at one.

        `more` is not 0 where C is added to.
        """

    def goes_by_rows(self) -> bool:
        """Whether a chunk is a block of rows; else it is a panel of columns, so that B is read once."""
        return isinstance(self.columns.size, int) and self.columns.size <= self.NR

    def by_panels(self) -> bool:
        """Whether a chunk is rather a panel of columns than one step of a loop around the kernel."""
        return False

    def nest(self, axis: Axis) -> bool:
        """Take a loop around the kernel over a part of the sum into its tiles, if that pays."""
        self.nested = axis
        return True

    def chunks(self) -> Dim:
        return blocks(self.rows.size, self.block) if self.by_rows else blocks(self.columns.size, self.NR)

    def by_words(self) -> None:
        """Take sizes and steps from the row, so that products of other sizes share the text."""
        axes = (self.rows, self.columns, self.summed)
        self.rows, self.columns, self.summed = (axis.by_words(self.text) for axis in axes)
        self.nested = self.nested and self.nested.by_words(self.text)

    def call(self, scope: Scope, kernel: str, tile: tuple[int, ...], *args: Expr, outer: Rows | None = None) -> None:
        """A call of a register tile, whose sum may have an outer loop, with these steps of its two operands."""
        if self.nested is None:
            scope.use(kernel, *args, dtype=self.dtype, tile=tile)
        else:
            more = self.sizes(self.nested.size, *(outer or (self.nested.a, self.nested.b)))
            scope.use(f"{kernel}_nested", *args, *more, dtype=self.dtype, tile=tile)

    def rows_loop(self, scope: Scope, rows: Rows) -> Loop:
        return self.text.loop(scope, "i", rows[1], rows[0], self.MR)

    def columns_loop(self, scope: Scope) -> Loop:
        return self.text.loop(scope, "j", self.columns.size, 0, self.NR)

    def panels(self, scope: Scope, panel: Dim | None) -> Scope:
        """The scope in which j is the first column of a panel and `cols` says how many it has."""
        inner = self.columns_loop(scope) if panel is None else scope
        if panel is not None:
            inner.let("j", Position(panel))
        inner.let("cols", self.width())
        return inner

    def height(self, rows: Rows) -> Expr:
        """How many rows of a tile lie inside."""
        return integer("least", Position(self.MR), integer("-", self.text.at(rows[1]), Position(ROW)))

    def width(self) -> Expr:
        """How many columns of a tile lie inside."""
        return integer("least", Position(self.NR), integer("-", self.text.at(self.columns.size), Position(J)))

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
    def choose_tile(self) -> None:
        self.MR, self.vectors = tile(self.dtype.name, _known(self.columns.size), _known(self.rows.size, 48))
        self.NR = self.vectors * host_vector_bytes() // self.size

    def emit(self, scope: Scope, rows: Rows, panel: Dim | None, more: Dim) -> None:
        inner = self.panels(scope, panel)
        b = self.addresses()[1]
        self.text.at(self.summed.b)
        self.tiles(inner, rows, (b, self.summed.b), (self.summed.size, 0), more)
        if isinstance(inner, Loop) and inner is not scope:
            inner.close()

    def tiles(
        self, scope: Scope, rows: Rows, b: tuple[Address, Dim], depth: Rows, more: Dim, outer: Rows | None = None
    ) -> None:
        """The tiles of one panel; B as (address, step of rows), the sum as (how deep, from where)."""
        with self.product.more_rows(scope) as around:
            a, _, c = self.addresses(depth[1])
            loop = self.rows_loop(around, rows)
            m, s = self.rows, self.summed
            self.call(
                *(loop, "micro", (self.MR, self.vectors)),
                *(self.height(rows), Position(symbol("%cols")), *self.sizes(depth[0])),
                *(a, *self.sizes(m.a, s.a), b[0], *self.sizes(b[1]), c, *self.sizes(m.c, more)),
                outer=outer,
            )
            loop.close()


class Packed(InPlace):
    def choose_tile(self) -> None:
        super().choose_tile()
        self.deepest = dim_min(self.summed.size, PANEL_DEPTH)
        self.is_cut = self.deepest != self.summed.size

    def by_panels(self) -> bool:
        """Each panel is packed once then."""
        panels = blocks(self.columns.size, self.NR)
        return not self.by_rows and (not isinstance(panels, int) or panels >= MANY_CHUNKS)

    def nest(self, axis: Axis) -> bool:
        """A panel of both loops must not be too deep."""
        deep = axis.size * self.summed.size
        if not isinstance(deep, int) or deep > PANEL_DEPTH:
            return False
        self.deepest = deep
        return super().nest(axis)

    def emit(self, scope: Scope, rows: Rows, panel: Dim | None, more: Dim) -> None:
        """Panel by panel; a deep sum is cut, so that a panel stays in cache."""
        width = self.NR * self.size
        memory = self.text.scratch(self.dtype, (self.product.chunks, dim_max(self.deepest, 1), self.NR))
        scope.let("panel", self.text.address(memory, CHUNK * self.text.own(self.deepest * width)))
        panels = self.panels(scope, panel)
        inner: Scope = panels
        depth: Dim = self.summed.size
        k: Dim = 0
        self.text.at(depth)
        if self.is_cut:  # an empty sum still has one block, which writes zeros
            inner = self.text.loop(panels, "k", integer("most", self.text.at(depth), Position(1)), 0, PANEL_DEPTH)
            inner.let("depth", integer("least", Position(PANEL_DEPTH), integer("-", self.text.at(depth), Position(K))))
            depth, k, more = symbol("%depth"), K, more + K
        b, steps = self.addresses(k)[1], self.sizes(self.summed.b, self.columns.b)
        cols, packed = Position(symbol("%cols")), Address("panel")
        tile, outer = (self.vectors,), None
        if self.nested is None:
            inner.use("pack", self.text.at(depth), cols, b, *steps, packed, dtype=self.dtype, tile=tile)
        else:
            outer = (self.nested.a, depth * width)
            loop = self.text.loop(inner, "o", self.nested.size)
            b = self.text.address(b.base, *b.terms, OUTER * self.nested.b)
            place = self.text.address("panel", OUTER * outer[1])
            loop.use("pack", self.text.at(depth), cols, b, *steps, place, dtype=self.dtype, tile=tile)
            loop.close()
        self.tiles(inner, rows, (packed, width), (depth, k), more, outer)
        for opened, around in ((inner, panels), (panels, scope)):
            if opened is not around and isinstance(opened, Loop):
                opened.close()


class ByRows(Kernel):
    """Rows of tiles, each over all columns; every tile is one call."""

    def goes_by_rows(self) -> bool:
        return True

    @abstractmethod
    def tile_call(self, scope: Scope, rows: Rows, more: Dim) -> None: ...

    def emit(self, scope: Scope, rows: Rows, panel: Dim | None, more: Dim) -> None:
        with self.product.more_rows(scope) as around:
            loop = self.rows_loop(around, rows)
            columns = self.columns_loop(loop)
            self.tile_call(columns, rows, more)
            columns.close()
            loop.close()


class Dots(ByRows):
    def choose_tile(self) -> None:
        self.MR, self.NR = dots_tile(_known(self.columns.size), _known(self.rows.size, 64))

    def tile_call(self, scope: Scope, rows: Rows, more: Dim) -> None:
        a, b, c = self.addresses()
        self.call(
            *(scope, "dots", (self.MR, self.NR)),
            *(self.height(rows), self.width(), *self.sizes(self.summed.size)),
            *(a, *self.sizes(self.rows.a), b, *self.sizes(self.columns.b), c, *self.sizes(self.rows.c, more)),
        )


class Transposed(ByRows):
    """The roles of A and B are exchanged: lanes run along the rows of C."""

    def choose_tile(self) -> None:
        self.NR, self.vectors = tile(self.dtype.name, _known(self.rows.size), _known(self.columns.size))
        self.MR = self.vectors * host_vector_bytes() // self.size

    def tile_call(self, scope: Scope, rows: Rows, more: Dim) -> None:
        a, b, c = self.addresses()
        self.call(
            *(scope, "micro_transposed", (self.NR, self.vectors)),
            *(self.width(), self.height(rows), *self.sizes(self.summed.size)),
            *(b, *self.sizes(self.columns.b, self.summed.b), a, *self.sizes(self.summed.a)),
            *(c, *self.sizes(self.rows.c)),
            outer=None if self.nested is None else (self.nested.b, self.nested.a),
        )
