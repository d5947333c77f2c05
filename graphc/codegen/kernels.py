"""Kernels of matrix products: loops over register tiles, as text.

In: a product (sizes and steps in bytes of its rows, columns and sum, and the names of its addresses).
Out: lines that compute C, or the chunk of it that is asked for.

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
from graphc.codegen.text import Scope, Text
from graphc.dims import Dim, blocks, dim_max, dim_min

if TYPE_CHECKING:
    from graphc.codegen.product import Product

CHUNK_FLOPS = 2_000_000  # some 15 us of work
PANEL_DEPTH = 1_024  # rows of a packed panel, which then stays in L2


@dataclass
class Axis:
    """A loop of the product: its size, and its step in bytes in a, b and c (0 where it does not occur)."""

    size: Dim
    a: Dim
    b: Dim
    c: Dim

    def merged(self, inner: Axis) -> Axis | None:
        """This axis and one inside it as a single axis, if every array steps evenly."""
        pairs = ((self.a, inner.a), (self.b, inner.b), (self.c, inner.c))
        if all(outer == step * inner.size for outer, step in pairs):
            return Axis(self.size * inner.size, inner.a, inner.b, inner.c)
        return None


def added(base: str, text: Text, *terms: Dim | tuple[str, Dim]) -> str:
    """base + terms, where a term is a dimension or a variable with its step."""
    out = [base]
    for term in terms:
        if isinstance(term, tuple):
            variable, step = term
            out += [f"{variable}*{text.factor(step)}"] if step != 0 and variable != "0" else []
        elif term != 0:
            out.append(text.dim(term))
    return " + ".join(out)


def _known(size: Dim, limit: int = 1 << 30) -> int | None:
    return size if isinstance(size, int) and size <= limit else None


class Kernel(ABC):
    """How one matrix product is computed; `MR` and `NR` are the rows and columns of a tile."""

    MR: int
    NR: int

    def __init__(self, product: Product) -> None:
        self.product, self.text, self.code, self.size = product, product.text, product.code, product.size
        self.rows, self.columns, self.summed = product.rows, product.columns, product.summed
        self.dtype = product.node.dtype
        self.choose_tile()

    @abstractmethod
    def choose_tile(self) -> None: ...

    @abstractmethod
    def emit(self, scope: Scope, rows: tuple[str, str], panel: str | None, more: str) -> None:
        """Print the loops over a range of rows, and all columns or those of one panel."""

    @property
    def by_rows(self) -> bool:
        """Whether a chunk is a block of rows; else it is a panel of columns, so that B is read once."""
        return isinstance(self.columns.size, int) and self.columns.size <= self.NR

    def chunks(self) -> Dim:
        return blocks(self.rows.size, self.block) if self.by_rows else blocks(self.columns.size, self.NR)

    @property
    def block(self) -> int:
        """Rows of a chunk: a multiple of the tile with enough work in it."""
        work = dim_max(1, self.summed.size * self.columns.size * 2 * self.MR)
        return self.MR * (max(1, CHUNK_FLOPS // work) if isinstance(work, int) else 4)

    def rows_loop(self, scope: Scope, rows: tuple[str, str]) -> Scope:
        return Scope(scope, f"for i in range({rows[0]}, {rows[1]}, {self.MR}):")

    def columns_loop(self, scope: Scope) -> Scope:
        return Scope(scope, f"for j in range(0, {self.text.dim(self.columns.size)}, {self.NR}):")

    def panels(self, scope: Scope, panel: str | None) -> Scope:
        """The scope in which j is the first column of a panel and `cols` says how many it has."""
        inner = self.columns_loop(scope) if panel is None else scope
        inner.lines += ([] if panel is None else [f"j = {panel}"]) + [f"cols = {self.width()}"]
        return inner

    def height(self, rows: tuple[str, str]) -> str:
        """How many rows of a tile lie inside."""
        return f"least({self.MR}, {rows[1]} - i)"

    def width(self) -> str:
        """How many columns of a tile lie inside."""
        return f"least({self.NR}, {self.text.dim(self.columns.size)} - j)"

    def addresses(self, k: str = "0") -> tuple[str, str, str]:
        """Addresses of A(i, k), B(k, j) and C(i, j)."""
        names, text = self.product.names, self.text
        return (
            added(names["a"], text, ("i", self.rows.a), (k, self.summed.a)),
            added(names["b"], text, ("j", self.columns.b), (k, self.summed.b)),
            added(names["c"], text, ("i", self.rows.c), ("j", self.columns.c)),
        )


class InPlace(Kernel):
    def choose_tile(self) -> None:
        self.MR, self.vectors = tile(self.dtype.name, _known(self.columns.size), _known(self.rows.size, 48))
        self.NR = self.vectors * host_vector_bytes() // self.size

    def emit(self, scope: Scope, rows: tuple[str, str], panel: str | None, more: str) -> None:
        inner = self.panels(scope, panel)
        b = self.addresses()[1]
        self.tiles(inner, rows, (b, self.text.dim(self.summed.b)), (self.text.dim(self.summed.size), "0"), more)
        if inner is not scope:
            inner.close()

    def tiles(self, scope: Scope, rows: tuple[str, str], b: tuple[str, str], depth: tuple[str, str], more: str) -> None:
        """The tiles of one panel; B as (address, step of rows), the sum as (how deep, from where)."""
        dim = self.text.dim
        a, _, c = self.addresses(depth[1])
        loop = self.rows_loop(scope, rows)
        loop.lines.append(
            f"micro_{self.code}_{self.MR}x{self.vectors}({self.height(rows)}, cols, {depth[0]}, "
            f"{a}, {dim(self.rows.a)}, {dim(self.summed.a)}, {b[0]}, {b[1]}, {c}, {dim(self.rows.c)}, {more})"
        )
        loop.close()


class Packed(InPlace):
    def emit(self, scope: Scope, rows: tuple[str, str], panel: str | None, more: str) -> None:
        """Panel by panel; a deep sum is cut, so that a panel stays in cache."""
        dim, width = self.text.dim, self.NR * self.size
        deepest = dim_min(self.summed.size, PANEL_DEPTH)
        place = self.text.scratch(self.dtype, (self.product.chunks, dim_max(deepest, 1), self.NR))
        scope.lines.append(f"panel = {added(self.text.address(place), self.text, ('chunk', deepest * width))}")
        panels = self.panels(scope, panel)
        inner, depth, k = panels, dim(self.summed.size), "0"
        if deepest != self.summed.size:  # an empty sum still has one block, which writes zeros
            inner = Scope(panels, f"for k in range(0, most({depth}, 1), {PANEL_DEPTH}):")
            inner.lines.append(f"depth = least({PANEL_DEPTH}, {depth} - k)")
            depth, k, more = "depth", "k", "k" if more == "0" else f"{more} + k"
        b, steps = self.addresses(k)[1], f"{dim(self.summed.b)}, {dim(self.columns.b)}"
        inner.lines.append(f"pack_{self.code}_{self.vectors}({depth}, cols, {b}, {steps}, panel)")
        self.tiles(inner, rows, ("panel", str(width)), (depth, k), more)
        if inner is not panels:
            inner.close()
        if panels is not scope:
            panels.close()


class ByRows(Kernel):
    """Rows of tiles, each over all columns; every tile is one call."""

    @property
    def by_rows(self) -> bool:
        return True

    @abstractmethod
    def tile_call(self, rows: tuple[str, str], more: str) -> str: ...

    def emit(self, scope: Scope, rows: tuple[str, str], panel: str | None, more: str) -> None:
        loop = self.rows_loop(scope, rows)
        columns = self.columns_loop(loop)
        columns.lines.append(self.tile_call(rows, more))
        columns.close()
        loop.close()


class Dots(ByRows):
    def choose_tile(self) -> None:
        self.MR, self.NR = dots_tile(_known(self.columns.size), _known(self.rows.size, 64))

    def tile_call(self, rows: tuple[str, str], more: str) -> str:
        dim = self.text.dim
        a, b, c = self.addresses()
        return (
            f"dots_{self.code}_{self.MR}x{self.NR}({self.height(rows)}, {self.width()}, {dim(self.summed.size)}, "
            f"{a}, {dim(self.rows.a)}, {b}, {dim(self.columns.b)}, {c}, {dim(self.rows.c)}, {more})"
        )


class Transposed(ByRows):
    """The roles of A and B are exchanged: lanes run along the rows of C."""

    def choose_tile(self) -> None:
        self.NR, self.vectors = tile(self.dtype.name, _known(self.rows.size), _known(self.columns.size))
        self.MR = self.vectors * host_vector_bytes() // self.size

    def tile_call(self, rows: tuple[str, str], more: str) -> str:
        dim = self.text.dim
        a, b, c = self.addresses()
        return (
            f"micro_transposed_{self.code}_{self.NR}x{self.vectors}({self.width()}, {self.height(rows)}, "
            f"{dim(self.summed.size)}, {b}, {dim(self.columns.b)}, {dim(self.summed.b)}, "
            f"{a}, {dim(self.summed.a)}, {c}, {dim(self.rows.c)})"
        )
