"""Kernels of matrix products that copy operands into contiguous memory of the thread first.

In: a product, as for graphc.codegen.kernels.  Out: statements that compute C, or the chunk of it that is asked for.

    Packed      panels of B are copied, some of them by their first tile, and within each go all rows
    Lined       they are if B, an array of the caller's, does not begin with a line of cache
    Blocked     they are gone through for each block of A, which may be copied too, for operands that no cache holds
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from graphc.codegen.intrinsics.target import LINE, has_many_registers, has_two_multiply_adds
from graphc.codegen.kernels import CHUNK_FLOPS, MANY_CHUNKS, ROW, Axis, InPlace, J, Range, known
from graphc.codegen.loop_ir import WORKER, Address, Expr, Position
from graphc.codegen.scope import Branch, Loop, Scope, close
from graphc.codegen.text import integer, test
from graphc.codegen.views import up
from graphc.dims import Dim, blocks, dim_max, dim_min, floor_div, symbol

if TYPE_CHECKING:
    from graphc.codegen.product import Product

PANEL_DEPTH, PANEL_BYTES = 1024, 2**15  # of a packed panel: rows, of wide vectors a quarter, bytes of one of a small B,
SMALL_B = 2**20  # which has fewer bytes than this: memory counts more there than 1 % of the time
NESTED_DEPTH = 256  # of a panel of two loops over the sum
FEW_ROWS = 32  # for so many, copying panels takes longer than it saves
LINED_ROWS, LINED_DEPTH = 48, 96  # from which on copying B takes less than vectors that lie in two lines each,
WHOLE_ROW, WIDE_ROW = 2**8, 2**11  # if its rows have multiples of these bytes, or many
BLOCK_DEPTH, BLOCK_BYTES = 1024, 2**19  # of a block of A, which stays in L2 beside a panel
ACROSS_DEPTH = 512  # of an A that is read across the sum, a line for each row; half where B's panel is in L1, too
PACKED_ROWS = 16  # of such an A, at a time: their lines stay in L1 while tile by tile takes its part of them
FEW_COLUMNS = 128  # for so many, copying A takes longer than it saves
CHUNK_ROWS, CHUNK_BYTES, NARROW_CHUNK, FEWEST_CHUNKS = 2048, 2**22, 128, 4  # where a chunk copies its operands
NEAR_CHUNK = 2**19  # bytes of B instead, which stay in L2 with a block of A, where two multiply-adds start in a cycle
PACKING = "micro_packing"  # the first tile of a panel, which fills it

_LETTERS = ("k", "o", "q", "s", "depth", "top", "bottom", "left", "right")
K, OUTER, BLOCK, SOME, DEPTH, TOP, BOTTOM, LEFT, RIGHT = (symbol(f"%{name}") for name in _LETTERS)


class Packed(InPlace):
    is_cut = True
    few = FEW_ROWS  # rows that do not pay for a copy
    chunk_flops = 4 * CHUNK_FLOPS  # a chunk of some rows copies all columns

    def choose_tile(self) -> None:
        super().choose_tile()
        self.packing = packing(self.summed.b, self.columns.b, self.size)
        # Where two multiply-adds start in a cycle and rows of A are contiguous, tiles know that they have a panel.
        self.of_panel = "micro_panel" if has_two_multiply_adds() and self.summed.a == self.size else self.asking
        deep, most = self.summed.size, self.most_depth()
        self.block_depth: Dim = most
        if isinstance(deep, int):
            self.block_depth = min(most, up(-(-deep // max(-(-deep // most), 1)), 8))
        self.deepest = dim_min(deep, self.block_depth)
        self.chooses = self.columns.b == self.size and not isinstance(self.rows.size, int)
        self.is_copied = dim_min(1, floor_div(self.rows.size, self.few + 1)) if self.chooses else 1  # 0 for few rows

    def most_depth(self) -> int:
        """Of a block of the sum."""
        small = known(self.summed.size * self.columns.size * self.size, SMALL_B - 1) is not None
        most = PANEL_DEPTH // 4 if has_many_registers() else PANEL_DEPTH
        return min(most, PANEL_BYTES // (self.NR * self.size)) if small else most

    def by_panels(self) -> bool:
        """Each panel is packed once then."""
        panels = blocks(self.columns.size, self.NR)
        return not self.by_rows and (not isinstance(panels, int) or panels >= MANY_CHUNKS)

    def nest(self, axis: Axis) -> bool:
        """A panel of both loops must not be too deep."""
        deep = axis.size * self.summed.size
        if not isinstance(deep, int) or deep > NESTED_DEPTH:
            return False
        self.deepest = deep
        return super().nest(axis)

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Pack, unless only the call will tell that there is no need to, and B can be read where it lies."""
        if not self.chooses:
            self.emit_packed(scope, rows, columns, more)
            return
        need = self.need(scope)
        for emit, comparison in ((super().emit, "<="), (self.emit_packed, ">")):
            branch = Branch(scope, test(comparison, *need))
            emit(branch, rows, columns, more)
            branch.close()

    def need(self, scope: Scope) -> tuple[Expr, Expr]:
        """What is greater than what if copying pays: there are many rows."""
        return self.text.at(self.rows.size), Position(self.few)

    def emit_packed(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Blocks of a deep sum, and panel by panel of these, so that a panel stays in L1 and the rows' part in L2."""
        self.memory(scope, "panel", self.NR, self.product.chunks)
        depths = self.depths(scope)
        panels = self.panels(depths, columns)
        b, self.first_row = (Address("panel"), self.NR * self.size), rows[0]
        by_tile = self.packs_by_tile()
        outer = None if by_tile else self.pack(panels, b[0])
        self.tiles(panels, rows, b, (DEPTH, K), more + K, outer, kernel=PACKING if by_tile else self.of_panel)
        close(depths, panels)

    def packs_by_tile(self) -> bool:
        """Whether a panel's first tile fills it: copying takes as long as a tile, and waits for what it copies."""
        are_rows = self.of_panel == "micro_panel" and self.packing == "pack_rows"
        return are_rows and self.nested is None and not self.product.listed and not self.product.outer_rows

    def call(
        self, scope: Scope, kernel: str, tile: tuple[int, ...], *args: Expr, outer: tuple[Dim, Dim] | None = None
    ) -> None:
        """The first tile of those that are packing fills the panel that the others read."""
        if kernel != PACKING:
            super().call(scope, kernel, tile, *args, outer=outer)
            return
        b, row, panel = self.addresses(K)[1], self.text.at(self.summed.b), args[6]
        is_first = test("==", Position(ROW), self.text.at(self.first_row))
        of_first = (*args[:6], b, row, *args[8:], panel)
        for name, operands, condition in ((PACKING, of_first, is_first), (self.of_panel, args, test("not", is_first))):
            branch = Branch(scope, condition)
            super().call(branch, name, tile, *operands)
            branch.close()

    def memory(self, scope: Scope, name: str, width: int, chunks: Dim) -> None:
        """Have a name for memory of the chunk's own, of so many, so wide and as deep as a panel; none for few rows."""
        memory = self.text.scratch_of_chunk(self.dtype, chunks, (dim_max(self.deepest, 1) * self.is_copied, width))
        scope.let(name, self.text.address(memory, WORKER * self.text.own(self.deepest * (width * self.size))))

    def depths(self, scope: Scope) -> Loop:
        """The loop over blocks of the sum, about as deep as one another; one where it is empty, to write zeros."""
        text, deep, most = self.text, self.summed.size, self.text.own(self.block_depth)
        loop = text.loop(scope, "q", blocks(dim_max(deep, 1), most))
        loop.let("k", text.at(BLOCK * most))
        loop.let("depth", integer("least", text.at(most), integer("-", text.at(deep), Position(K))))
        return loop

    def pack(self, scope: Scope, place: Address) -> tuple[Dim, Dim] | None:
        """Fill a panel.  Out: where the sum has an outer loop, its steps of A and in the panel."""
        text, cols = self.text, Position(symbol("%cols"))
        b, steps, depth = self.addresses(K)[1], self.sizes(self.summed.b, self.columns.b), text.at(DEPTH)
        if self.nested is None:
            scope.use(self.packing, depth, cols, b, *steps, place, dtype=self.dtype, tile=(self.NR,))
            return None
        step = DEPTH * (self.NR * self.size)
        loop = text.loop(scope, "o", self.nested.size)
        b, place = text.address(b.base, *b.terms, OUTER * self.nested.b), text.address(place.base, OUTER * step)
        loop.use(self.packing, depth, cols, b, *steps, place, dtype=self.dtype, tile=(self.NR,))
        loop.close()
        return self.nested.a, step


class Lined(Packed):
    """B is read where it lies if it begins with a line of cache, and else copied: each of its vectors lies in two.

    It is an array of the caller's, and NumPy's large arrays begin 16 bytes after a line.
    """

    is_cut = False  # where tiles ask for something: B is not copied there

    def choose_tile(self) -> None:
        super().choose_tile()
        self.chooses = True

    def need(self, scope: Scope) -> tuple[Expr, Expr]:
        """Elements of its line that are before B."""
        into = scope.into_line("into", self.text.address(self.product.names["b"]), self.dtype)
        return Position(into), Position(0)


def may_lie_across_lines(product: Product) -> bool:
    """Whether copying B pays where it does not begin with a line of cache, as most of NumPy's arrays don't.

    So it does where two multiply-adds start in a cycle, for each takes a vector of 64 bytes, if B has several panels,
    of which none, or one of many, is narrow: of one, each chunk of rows would copy all.
    """
    m, n, k, view = product.rows.size, product.columns, product.summed, product.task.operands[1]
    if not has_two_multiply_adds() or not product.is_alone or view.place.kind != "input" or n.b != product.size:
        return False
    if not (isinstance(m, int) and isinstance(n.size, int) and isinstance(k.size, int) and isinstance(k.b, int)):
        return False
    row = n.size * product.size
    whole = row >= WIDE_ROW or (row > WHOLE_ROW and row % WHOLE_ROW == 0)
    return whole and m >= LINED_ROWS and k.size >= LINED_DEPTH and k.b % LINE == 0


class Blocked(Packed):
    """A chunk copies its part of B, as deep as a block, and goes block by block of A; all sizes are known.

    A is copied as well where it lies across the sum, if many columns want it and a tile of few vectors waits for it.
    """

    def choose_tile(self) -> None:
        columns, chunk = cast(int, self.columns.size), NEAR_CHUNK if has_two_multiply_adds() else CHUNK_BYTES
        self.is_far = not has_two_multiply_adds()
        self.along = self.summed.a == self.size
        self.copies = not self.along and columns > FEW_COLUMNS and not has_many_registers()
        self.packing_a = packing(self.summed.a, self.rows.a, self.size)
        super().choose_tile()
        row = self.most_depth() * self.size
        self.block_rows, self.group_columns = up(BLOCK_BYTES // row, self.MR), up(chunk // row, self.NR)
        self.most_rows = min(self.block_rows, up(cast(int, self.rows.size), self.MR))
        self.most_columns = min(self.group_columns, up(columns, self.NR))

    def most_depth(self) -> int:
        if self.along or self.copies:
            return BLOCK_DEPTH
        return ACROSS_DEPTH if has_many_registers() else ACROSS_DEPTH // 2

    def part(self) -> tuple[Dim, Dim]:
        """Large parts, since they copy operands, but some for every thread: of columns, if only B is copied."""
        rows, columns = cast(int, self.rows.size), cast(int, self.columns.size)
        down, across = -(-rows // CHUNK_ROWS), -(-columns // self.group_columns)
        while down * across < FEWEST_CHUNKS and max(rows // down, columns // across) >= 2 * NARROW_CHUNK:
            is_wide = columns // across >= 2 * NARROW_CHUNK and not self.copies
            down, across = (down, 2 * across) if is_wide or rows * across < columns * down else (2 * down, across)
        widest = up(-(-columns // across), self.NR)
        one_row = down == 1 and across > 1
        return up(-(-rows // down), self.MR), two_shares(widest, columns, self.NR) if one_row else widest

    def by_panels(self) -> bool:
        return True

    def nest(self, axis: Axis) -> bool:
        return False

    def emit(self, scope: Scope, rows: Range, columns: Range, more: Dim) -> None:
        """Group by group of columns, and block by block of the sum: pack B, and for each block of rows perhaps A."""
        text, wide, high = self.text, self.group_columns, self.block_rows
        chunks, across = self.product.chunks, self.most_columns if self.product.batch else cast(int, self.cut[2])
        self.memory(scope, "panels", across, chunks)
        if self.copies:
            self.memory(scope, "block", self.most_rows, chunks)
        groups = text.loop(scope, "left", columns[1], columns[0], wide)
        groups.let("right", integer("least", text.at(LEFT + wide), text.at(columns[1])))
        depths = self.depths(groups)
        panels = self.panels(depths, (LEFT, RIGHT))
        self.pack(panels, self._panel())
        panels.close()
        below = text.loop(depths, "top", rows[1], rows[0], high)
        below.let("bottom", integer("least", text.at(TOP + high), text.at(rows[1])))
        copy = self.pack_rows(below) if self.copies else None
        panels = self.panels(below, (LEFT, RIGHT))
        b = self._panel(), self.NR * self.size
        self.tiles(panels, (TOP, BOTTOM), b, (DEPTH, K), more + K, a=copy, kernel=self.of_panel)
        close(groups, depths, below, panels)

    def _panel(self) -> Address:
        return self.text.address("panels", (J - LEFT) * DEPTH * self.size)

    def pack_rows(self, scope: Scope) -> tuple[Address, Dim, Dim]:
        """Copy a block of A, tile by tile.  Out: where row i is, and the steps of rows and along the sum."""
        text, rows, row = self.text, (TOP, BOTTOM), self.MR * self.size
        place = text.address("block", (ROW - TOP) * DEPTH * self.size)
        some = text.loop(scope, "s", text.at(DEPTH), step=PACKED_ROWS)
        deep = some.let("some", integer("least", Position(PACKED_ROWS), integer("-", text.at(DEPTH), Position(SOME))))
        loop = self.rows_loop(some, rows)
        a, steps = self.addresses(K + SOME)[0], self.sizes(self.summed.a, self.rows.a)
        to = text.address(place.base, *place.terms, SOME * row)
        loop.use(self.packing_a, deep, self.height(rows), a, *steps, to, dtype=self.dtype, tile=(self.MR,))
        close(some, loop)
        return place, self.size, row


def packing(row: Dim, column: Dim, size: int) -> str:
    """The kernel that copies what has these steps, from row to row and from column to column."""
    if size in (column, row):
        return "pack_rows" if column == size else "pack_columns"
    return "pack_elements" if isinstance(row, int) and isinstance(column, int) else "pack"


def two_shares(widest: int, columns: int, step: int) -> int:
    """The width of chunks of which two threads have shares as equal as can be, of such widths the greatest."""
    widths = range(widest, min(widest, max(NARROW_CHUNK // step, 1) * step) - 1, -step)
    return min(widths, key=lambda width: max(first := -(-columns // width) // 2 * width, columns - first))
