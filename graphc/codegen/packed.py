"""Kernels of matrix products that copy operands into contiguous memory of the thread first.

In: a product, as for graphc.codegen.kernels.  Out: statements that compute C, or the chunk of it that is asked for.

    Packed      panels of B are copied, and within each go all rows
    AlongSum    B is, so that lanes run along the sum, where its few columns would leave many idle
    Blocked     so are blocks of A, for operands that no cache holds
"""

from __future__ import annotations

from typing import cast

from graphc.codegen.intrinsics.target import dots_tile, host_vector_bytes
from graphc.codegen.kernels import MANY_CHUNKS, ROW, Axis, InPlace, J, Range, known
from graphc.codegen.loop_ir import WORKER, Address, Position
from graphc.codegen.text import Branch, Loop, Scope, close, integer, test
from graphc.dims import Dim, blocks, dim_max, dim_min, symbol

PANEL_DEPTH = 256  # rows of a packed panel, which then stays in L1
DOT_DEPTH, FEW_DOTS = 800, 12  # the same where whole columns are copied: ten of them in float32 are 32 KB
FEW_ROWS = 32  # for so many, copying panels takes longer than it saves
MANY_ROWS, MANY_PANELS = 512, 8  # of a chunk: 512 rows of a panel's depth stay in L2
BLOCK_DEPTH, BLOCK_BYTES = 1024, 2**19  # of a copy of A, which stays in L2 beside a panel
CHUNK_ROWS, CHUNK_BYTES, NARROW_CHUNK, FEWEST_CHUNKS = 2048, 2**22, 128, 4  # where a chunk copies its operands

_LETTERS = ("k", "o", "q", "depth", "top", "bottom", "left", "right")
K, OUTER, BLOCK, DEPTH, TOP, BOTTOM, LEFT, RIGHT = (symbol(f"%{name}") for name in _LETTERS)


def _up(size: int, step: int) -> int:
    """The least multiple of a step that is not below a size."""
    return -(-size // step) * step


class Packed(InPlace):
    depth, few = PANEL_DEPTH, FEW_ROWS  # of a block of the sum; rows that do not pay for a copy

    def choose_tile(self) -> None:
        super().choose_tile()
        self.deepest = dim_min(self.summed.size, self.depth)
        self.chooses = self.columns.b == self.size and not isinstance(self.rows.size, int)

    def part(self) -> tuple[Dim, Dim]:
        """Of an A that may not stay in L2, so many rows that they do for each panel's depth, and some panels."""
        rows, columns = self.rows.size, self.columns.size
        fits_cache = known(rows * self.summed.size * self.size, 2**20) is not None
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
        height, few = self.text.at(self.rows.size), Position(self.few)
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
        deep, most = self.text.at(self.summed.size), self.depth
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
        b, place = text.address(b.base, *b.terms, OUTER * self.nested.b), text.address(place.base, OUTER * step)
        loop.use("pack", depth, cols, b, *steps, place, dtype=self.dtype, tile=(self.NR,))
        loop.close()
        return self.nested.a, step


class AlongSum(Packed):
    """Columns of B are copied, one after the other, once for all chunks; tiles are of dot products."""

    few = FEW_DOTS

    def choose_tile(self) -> None:
        deep, self.copied = cast(int, self.summed.size), cast(int, self.columns.size)
        self.depth_blocks = -(-deep // DOT_DEPTH)
        self.depth = _up(-(-deep // self.depth_blocks), host_vector_bytes() // self.size)
        super().choose_tile()
        self.dots = dots_tile(self.copied, known(self.rows.size, 64))

    def nest(self, axis: Axis) -> bool:
        return False

    def prepare(self) -> None:
        """A phase of its own copies the columns, block by block of the sum."""
        text, product = self.text, self.product
        view, rows = product.task.views[1], product.rows.size
        self.across = text.scratch(self.dtype, (self.depth_blocks, self.copied, self.depth))
        nbytes = 2 * cast(int, self.summed.size) * self.copied * self.size
        with text.phase(f"columns of {product.title}", 1, 0, nbytes) as top:
            many = Branch(top, test(">", text.at(rows), Position(self.few))) if self.chooses else top
            b = many.let("b", text.address(view.place, text.own(view.offset * self.size)))
            depths = self.depths(many)
            source, target = text.address(b.name, K * self.summed.b), text.address(self.across, self._block())
            steps = self.sizes(self.columns.b, self.summed.b)
            sizes = text.at(self.copied), text.at(DEPTH)
            depths.use("pack", *sizes, source, *steps, target, dtype=self.dtype, tile=(self.depth,))
            depths.close()
            if isinstance(many, Branch):
                many.close()

    def _block(self) -> Dim:
        """Where in the copy a block of the sum begins."""
        return K * (self.copied * self.size)

    def emit_packed(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Block by block of the sum, and tile by tile."""
        depths, (height, width), step = self.depths(scope), self.dots, self.depth * self.size
        text, at, depth = self.text, self.text.at, Position(DEPTH)
        with self.product.more_rows(depths) as around:
            loop = text.loop(around, "i", rows[1], rows[0], height)
            inner = text.loop(loop, "j", columns[1], columns[0], width)
            high, wide = (
                integer("least", Position(most), integer("-", at(end), Position(start)))
                for most, end, start in ((height, rows[1], ROW), (width, columns[1], J))
            )
            a, _, c = self.addresses(K)
            a_row, b_column, c_row, later = self.sizes(self.rows.a, step, self.rows.c, more + K)
            b = text.address(self.across, self._block(), J * step)
            sizes = a, a_row, b, b_column, c, c_row, later
            inner.use("dots", high, wide, depth, *sizes, dtype=self.dtype, tile=self.dots)
            close(loop, inner)
        depths.close()


class Blocked(Packed):
    """A chunk copies its part of B, as deep as a block, and block by block its part of A; all sizes are known."""

    wide = True

    def choose_tile(self) -> None:
        super().choose_tile()
        rows, columns, depth = (cast(int, axis.size) for axis in (self.rows, self.columns, self.summed))
        self.depth_blocks = -(-depth // BLOCK_DEPTH)
        self.deepest = -(-depth // self.depth_blocks)
        self.block_rows = _up(BLOCK_BYTES // (BLOCK_DEPTH * self.size), self.MR)
        self.group_columns = _up(CHUNK_BYTES // (BLOCK_DEPTH * self.size), self.NR)
        self.most_rows = min(self.block_rows, _up(rows, self.MR))
        self.most_columns = min(self.group_columns, _up(columns, self.NR))

    def part(self) -> tuple[Dim, Dim]:
        """Large parts, since operands are copied for each, but some for every thread."""
        rows, columns = cast(int, self.rows.size), cast(int, self.columns.size)
        down, across = -(-rows // CHUNK_ROWS), -(-columns // self.group_columns)
        while down * across < FEWEST_CHUNKS and max(rows // down, columns // across) >= 2 * NARROW_CHUNK:
            down, across = (2 * down, across) if rows * across >= columns * down else (down, 2 * across)
        return _up(-(-rows // down), self.MR), _up(-(-columns // across), self.NR)

    def by_panels(self) -> bool:
        return True

    def nest(self, axis: Axis) -> bool:
        return False

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Group by group of columns, and block by block of the sum: pack B, and for each block of rows A."""
        text, wide, high = self.text, self.group_columns, self.block_rows
        self.memory(scope, "panels", self.most_columns if self.product.batch else cast(int, self.cut[2]))
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
