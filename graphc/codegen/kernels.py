"""Kernels of matrix products: loops over register tiles.

In: a product (sizes and steps in bytes of its rows, columns and sum, and the names of its addresses).
Out: statements that compute C, or the chunk of it that is asked for.

    InPlace     B is read where it lies; tiles of rows
    Packed      panels of B are copied into contiguous memory first, within each all rows
    Blocked     so are blocks of A, for operands that no cache holds
    Dots        lanes run along the sum, for operands that are both contiguous along it
    Transposed  lanes run down the columns of C, for few columns and an A that is contiguous along rows
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from graphc.codegen.intrinsics.target import dots_tile, host_vector_bytes, tile
from graphc.codegen.loop_ir import WORKER, Address, Expr, Position
from graphc.codegen.text import Branch, Loop, Scope, Text, close, integer, test
from graphc.dims import Dim, blocks, dim_max, dim_min, symbol

if TYPE_CHECKING:
    from graphc.codegen.product import Product

CHUNK_FLOPS = 2_000_000  # some 15 us of work
MANY_CHUNKS = 8  # enough for all threads
PANEL_DEPTH = 256  # rows of a packed panel, which then stays in L1
FEW_ROWS = 32  # for so many, copying panels takes longer than it saves
MANY_ROWS, MANY_PANELS = 512, 8  # of a chunk: 512 rows of a panel's depth stay in L2
BLOCK_DEPTH, BLOCK_ROWS = 384, 192  # of a copy of A, which stays in L2 beside the panels of a chunk
CHUNK_ROWS, CHUNK_COLUMNS, NARROW_CHUNK, FEWEST_CHUNKS = 1024, 512, 128, 4  # where a chunk copies its operands


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


_LETTERS = ("i", "j", "k", "o", "q", "depth", "top", "bottom", "left", "right")
ROW, J, K, OUTER, BLOCK, DEPTH, TOP, BOTTOM, LEFT, RIGHT = (symbol(f"%{name}") for name in _LETTERS)
Range = tuple[Dim, Dim]  # from, to


def _known(size: Dim, limit: int = 1 << 30) -> int | None:
    return size if isinstance(size, int) and size <= limit else None


def _up(size: int, step: int) -> int:
    """The least multiple of a step that is not below a size."""
    return -(-size // step) * step


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
        height, width = self.part()
        self.cut = (blocks(self.columns.size, width) if width != 0 else 0, height, width)

    @abstractmethod
    def choose_tile(self) -> None: ...

    @abstractmethod
    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Make the loops over a range of rows and one of columns; `more` is not 0 where C is added to."""

    def goes_by_rows(self) -> bool:
        """Whether a chunk is a block of rows; else it has some columns only, so that B is read once."""
        return isinstance(self.columns.size, int) and self.columns.size <= self.NR

    def by_panels(self) -> bool:
        """Whether a chunk is rather some columns than one step of a loop around the kernel."""
        return False

    def part(self) -> tuple[Dim, Dim]:
        """How many rows and columns a chunk has."""
        return (self.block, self.columns.size) if self.by_rows else (self.rows.size, self.NR)

    def nest(self, axis: Axis) -> bool:
        """Take a loop around the kernel over a part of the sum into its tiles, if that pays."""
        self.nested = axis
        return True

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
        """A call of a register tile, whose sum may have an outer loop, with these steps of its two operands."""
        if self.nested is None:
            scope.use(kernel, *args, dtype=self.dtype, tile=tile)
        else:
            more = self.sizes(self.nested.size, *(outer or (self.nested.a, self.nested.b)))
            scope.use(f"{kernel}_nested", *args, *more, dtype=self.dtype, tile=tile)

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
    def choose_tile(self) -> None:
        self.MR, self.vectors = tile(self.dtype.name, _known(self.columns.size), _known(self.rows.size, 96))
        self.NR = self.vectors * host_vector_bytes() // self.size

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        panels = self.panels(scope, columns)
        b = self.addresses()[1]
        self.text.at(self.summed.b)
        self.tiles(panels, rows, (b, self.summed.b), (self.summed.size, 0), more)
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
    ) -> None:
        """The tiles of one panel; B as (address, step of rows), the sum as (how deep, from where), a copy of A."""
        with self.product.more_rows(scope) as around:
            place, _, c = self.addresses(depth[1])
            place, *steps = a or (place, self.rows.a, self.summed.a)
            loop = self.rows_loop(around, rows)
            if a:  # C may be far as well
                below = self.text.address(c.base, *c.terms, self.MR * self.rows.c)
                loop.use("fetch", below, *self.sizes(self.rows.c, self.MR, self.NR * self.size))
            self.call(
                *(loop, "micro", (self.MR, self.vectors)),
                *(self.height(rows), Position(symbol("%cols")), *self.sizes(depth[0])),
                *(place, *self.sizes(*steps), b[0], *self.sizes(b[1]), c, *self.sizes(self.rows.c, more)),
                outer=outer,
            )
            loop.close()


class Packed(InPlace):
    def choose_tile(self) -> None:
        super().choose_tile()
        self.deepest = dim_min(self.summed.size, PANEL_DEPTH)
        self.chooses = self.columns.b == self.size and not isinstance(self.rows.size, int)

    def part(self) -> tuple[Dim, Dim]:
        """Of an A that may not stay in L2, so many rows that they do for each panel's depth, and some panels."""
        rows, columns = self.rows.size, self.columns.size
        fits_cache = _known(rows * self.summed.size * self.size, 2**20) is not None
        if self.by_rows or fits_cache:
            return super().part()
        panels = -(-columns // self.NR) if isinstance(columns, int) else MANY_PANELS
        parts = -(-rows // MANY_ROWS) if isinstance(rows, int) else 0
        height = -(-rows // parts) if isinstance(rows, int) and parts else MANY_ROWS
        return _up(height, self.MR), min(max(panels // 8, 1), MANY_PANELS) * self.NR

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

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Pack, unless only the call will tell that there are few rows, and B can be read where it lies."""
        if not self.chooses:
            self.emit_packed(scope, rows, columns, more)
            return
        height, few = self.text.at(self.rows.size), Position(FEW_ROWS)
        for emit, comparison in ((super().emit, "<="), (self.emit_packed, ">")):
            branch = Branch(scope, test(comparison, height, few))
            emit(branch, rows, columns, more)
            branch.close()

    def emit_packed(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Blocks of a deep sum, and panel by panel of these, so that a panel stays in L1 and the rows' part in L2."""
        self.memory(scope, "panel", self.NR)
        depths = self.depths(scope)
        panels = self.panels(depths, columns)
        b = Address("panel"), self.NR * self.size
        self.tiles(panels, rows, b, (DEPTH, K), more + K, self.pack(panels, b[0]))
        close(depths, panels)

    def memory(self, scope: Scope, name: str, width: int) -> None:
        """Have a name for memory of the chunk's own, so wide and as deep as a panel."""
        memory = self.text.scratch_of_chunk(self.dtype, self.product.chunks, (dim_max(self.deepest, 1), width))
        scope.let(name, self.text.address(memory, WORKER * self.text.own(self.deepest * (width * self.size))))

    def depths(self, scope: Scope) -> Loop:
        """The loop over blocks of the sum."""
        deep, most = self.text.at(self.summed.size), PANEL_DEPTH
        loop = self.text.loop(scope, "k", integer("most", deep, Position(1)), 0, most)  # an empty sum writes zeros
        loop.let("depth", integer("least", Position(most), integer("-", deep, Position(K))))
        return loop

    def pack(self, scope: Scope, place: Address) -> tuple[Dim, Dim] | None:
        """Fill a panel.  Out: where the sum has an outer loop, its steps of A and in the panel."""
        text, cols = self.text, Position(symbol("%cols"))
        b, steps, depth = self.addresses(K)[1], self.sizes(self.summed.b, self.columns.b), text.at(DEPTH)
        if self.nested is None:
            scope.use("pack", depth, cols, b, *steps, place, dtype=self.dtype, tile=(self.NR,))
            return None
        step = DEPTH * (self.NR * self.size)
        loop = text.loop(scope, "o", self.nested.size)
        b, place = text.address(b.base, *b.terms, OUTER * self.nested.b), text.address("panel", OUTER * step)
        loop.use("pack", depth, cols, b, *steps, place, dtype=self.dtype, tile=(self.NR,))
        loop.close()
        return self.nested.a, step


class Blocked(Packed):
    """A chunk copies its part of B, as deep as a block, and block by block its part of A; all sizes are known."""

    def choose_tile(self) -> None:
        rows, columns, depth = (cast(int, axis.size) for axis in (self.rows, self.columns, self.summed))
        self.MR, self.vectors = tile(self.dtype.name, columns, _known(rows, 96), wide=True)
        self.NR = self.vectors * host_vector_bytes() // self.size
        self.depth_blocks = -(-depth // BLOCK_DEPTH)
        self.deepest = -(-depth // self.depth_blocks)
        self.most_rows = _up(min(rows, BLOCK_ROWS), self.MR)
        self.most_columns = _up(min(columns, CHUNK_COLUMNS), self.NR)

    def part(self) -> tuple[Dim, Dim]:
        """Large parts, since operands are copied for each, but some for every thread."""
        rows, columns = cast(int, self.rows.size), cast(int, self.columns.size)
        down, across = -(-rows // CHUNK_ROWS), -(-columns // CHUNK_COLUMNS)
        while down * across < FEWEST_CHUNKS and max(rows // down, columns // across) >= 2 * NARROW_CHUNK:
            down, across = (2 * down, across) if rows * across >= columns * down else (down, 2 * across)
        return _up(-(-rows // down), self.MR), _up(-(-columns // across), self.NR)

    def by_panels(self) -> bool:
        return True

    def nest(self, axis: Axis) -> bool:
        return False

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Group by group of columns, and block by block of the sum: pack B, and for each block of rows A."""
        text, wide, high = self.text, _up(CHUNK_COLUMNS, self.NR), _up(BLOCK_ROWS, self.MR)
        self.memory(scope, "panels", self.most_columns)
        self.memory(scope, "block", self.most_rows)
        groups = text.loop(scope, "left", columns[1], columns[0], wide)
        groups.let("right", integer("least", text.at(LEFT + wide), text.at(columns[1])))
        depths = self.depths(groups)
        panels = self.panels(depths, (LEFT, RIGHT))
        self.pack(panels, self._panel())
        panels.close()
        below = text.loop(depths, "top", rows[1], rows[0], high)
        below.let("bottom", integer("least", text.at(TOP + high), text.at(rows[1])))
        copy = self.pack_rows(below)
        panels = self.panels(below, (LEFT, RIGHT))
        b = self._panel(), self.NR * self.size
        self.tiles(panels, (TOP, BOTTOM), b, (DEPTH, K), more + K, a=copy)
        close(groups, depths, below, panels)

    def depths(self, scope: Scope) -> Loop:
        """Blocks that are about as deep as one another."""
        text, most = self.text, self.text.own(self.deepest)
        deep, loop = text.at(self.summed.size), text.loop(scope, "q", text.own(self.depth_blocks))
        loop.let("k", text.at(BLOCK * most))
        loop.let("depth", integer("least", text.at(most), integer("-", deep, Position(K))))
        return loop

    def _panel(self) -> Address:
        return self.text.address("panels", (J - LEFT) * DEPTH * self.size)

    def pack_rows(self, scope: Scope) -> tuple[Address, Dim, Dim]:
        """Copy a block of A, tile by tile.  Out: where row i is, and the steps of rows and along the sum."""
        text, rows = self.text, (TOP, BOTTOM)
        loop = self.rows_loop(scope, rows)
        place = text.address("block", (ROW - TOP) * DEPTH * self.size)
        a, steps = self.addresses(K)[0], self.sizes(self.summed.a, self.rows.a)
        loop.use("pack", text.at(DEPTH), self.height(rows), a, *steps, place, dtype=self.dtype, tile=(self.MR,))
        loop.close()
        return place, self.size, self.MR * self.size


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
        self.MR, self.NR = dots_tile(_known(self.columns.size), _known(self.rows.size, 64))

    def tile_call(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        a, b, c = self.addresses()
        self.call(
            *(scope, "dots", (self.MR, self.NR)),
            *(self.height(rows), self.width(columns), *self.sizes(self.summed.size)),
            *(a, *self.sizes(self.rows.a), b, *self.sizes(self.columns.b), c, *self.sizes(self.rows.c, more)),
        )


class Transposed(ByRows):
    """The roles of A and B are exchanged: lanes run along the rows of C."""

    def choose_tile(self) -> None:
        self.NR, self.vectors = tile(self.dtype.name, _known(self.rows.size), _known(self.columns.size))
        self.MR = self.vectors * host_vector_bytes() // self.size

    def tile_call(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        a, b, c = self.addresses()
        self.call(
            *(scope, "micro_transposed", (self.NR, self.vectors)),
            *(self.width(columns), self.height(rows), *self.sizes(self.summed.size)),
            *(b, *self.sizes(self.columns.b, self.summed.b), a, *self.sizes(self.summed.a)),
            *(c, *self.sizes(self.rows.c)),
            outer=None if self.nested is None else (self.nested.b, self.nested.a),
        )
