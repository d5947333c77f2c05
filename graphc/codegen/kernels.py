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
from graphc.dims import Dim, dim_max, dim_min, floor_div

if TYPE_CHECKING:
    from graphc.codegen.product import _Product

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


def factor(text: Text, p: Dim) -> str:
    """A dimension as the factor of a product."""
    out = text.dim(p)
    return f"({out})" if " " in out else out


def added(base: str, text: Text, *terms: Dim | tuple[str, Dim]) -> str:
    """base + terms, where a term is a dimension or a variable with its step."""
    out = [base]
    for term in terms:
        if isinstance(term, tuple):
            variable, step = term
            out += [f"{variable}*{factor(text, step)}"] if step != 0 and variable != "0" else []
        elif term != 0:
            out.append(text.dim(term))
    return " + ".join(out)


def _known(size: Dim, limit: int = 1 << 30) -> int | None:
    return size if isinstance(size, int) and size <= limit else None


def _cut(size: Dim, block: int) -> Dim:
    if isinstance(size, int):
        return max(1, -(-size // block))
    return dim_max(1, floor_div(size + block - 1, block))


class Kernel(ABC):
    """How one matrix product is computed; `MR` and `NR` are the rows and columns of a tile."""

    MR: int
    NR: int

    def __init__(self, product: _Product) -> None:
        self.product, self.text, self.code, self.size = product, product.text, product.code, product.size
        self.rows, self.columns, self.summed = product.rows, product.columns, product.summed
        self.dtype = product.node.dtype
        self.choose_tile()

    @abstractmethod
    def choose_tile(self) -> None: ...

    @abstractmethod
    def emit(self, scope: Scope, chunk: str, more: str) -> None:
        """Print the loops; `chunk` is "0" if the loops around the kernel are what is cut into chunks."""

    def chunks(self) -> Dim:
        """Blocks of rows."""
        return _cut(self.rows.size, self.block)

    @property
    def block(self) -> int:
        """Rows of a chunk: a multiple of the tile with enough work in it."""
        work = dim_max(1, self.summed.size * self.columns.size * 2 * self.MR)
        return self.MR * (max(1, CHUNK_FLOPS // work) if isinstance(work, int) else 4)

    def rows_loop(self, scope: Scope, chunk: str, step: int) -> Scope:
        rows = self.text.dim(self.rows.size)
        if chunk == "0" or self.chunks() == 1:
            return Scope(scope, f"for i in range(0, {rows}, {step}):")
        return Scope(scope, f"for i in range({chunk} * {self.block}, least({chunk} * {self.block} + {self.block}, {rows}), {step}):")

    def columns_loop(self, scope: Scope, step: int) -> Scope:
        return Scope(scope, f"for j in range(0, {self.text.dim(self.columns.size)}, {step}):")

    def up_to(self, limit: int, size: Dim, variable: str) -> str:
        """How much of a tile lies inside."""
        return f"least({limit}, {self.text.dim(size)} - {variable})"

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

    def emit(self, scope: Scope, chunk: str, more: str) -> None:
        dim = self.text.dim
        a, b, c = self.addresses()
        panel = self.columns_loop(scope, self.NR)
        panel.lines.append(f"cols = {self.up_to(self.NR, self.columns.size, 'j')}")
        loop = self.rows_loop(panel, chunk, self.MR)
        loop.lines.append(
            f"micro_{self.code}_{self.MR}x{self.vectors}({self.up_to(self.MR, self.rows.size, 'i')}, cols, {dim(self.summed.size)}, "
            f"{a}, {dim(self.rows.a)}, {dim(self.summed.a)}, {b}, {dim(self.summed.b)}, {c}, {dim(self.rows.c)}, {more})"
        )
        loop.close()
        panel.close()


class Packed(InPlace):
    def chunks(self) -> Dim:
        """Panels of columns."""
        return _cut(self.columns.size, self.NR)

    def emit(self, scope: Scope, chunk: str, more: str) -> None:
        """Panel by panel; a deep sum is cut, so that a panel stays in cache."""
        dim, width = self.text.dim, self.NR * self.size
        depth_limit = dim_min(self.summed.size, PANEL_DEPTH)
        count = self.product.batch[0].size if self.product.batch else self.chunks()
        place = self.text.scratch(self.dtype, (count, dim_max(depth_limit, 1), self.NR))
        scope.lines.append(f"panel = {added(self.text.address(place), self.text, ('chunk', depth_limit * width))}")
        if chunk == "0":
            panel = self.columns_loop(scope, self.NR)
        else:
            panel = scope
            panel.lines.append(f"j = {chunk} * {self.NR}")
        panel.lines.append(f"cols = {self.up_to(self.NR, self.columns.size, 'j')}")
        depth, inner, k = dim(self.summed.size), panel, "0"
        if depth_limit != self.summed.size:  # an empty sum still has one block, which writes zeros
            inner = Scope(panel, f"for k in range(0, most({depth}, 1), {PANEL_DEPTH}):")
            inner.lines.append(f"depth = least({PANEL_DEPTH}, {depth} - k)")
            depth, k, more = "depth", "k", "k" if more == "0" else f"{more} + k"
        a, b, c = self.addresses(k)
        inner.lines.append(f"pack_{self.code}_{self.vectors}({depth}, cols, {b}, {dim(self.summed.b)}, {dim(self.columns.b)}, panel)")
        loop = Scope(inner, f"for i in range(0, {dim(self.rows.size)}, {self.MR}):")
        loop.lines.append(
            f"micro_{self.code}_{self.MR}x{self.vectors}({self.up_to(self.MR, self.rows.size, 'i')}, cols, {depth}, "
            f"{a}, {dim(self.rows.a)}, {dim(self.summed.a)}, panel, {width}, {c}, {dim(self.rows.c)}, {more})"
        )
        loop.close()
        if inner is not panel:
            inner.close()
        if panel is not scope:
            panel.close()


class Dots(Kernel):
    def choose_tile(self) -> None:
        self.MR, self.NR = dots_tile(_known(self.columns.size), _known(self.rows.size, 64))

    def emit(self, scope: Scope, chunk: str, more: str) -> None:
        dim = self.text.dim
        a, b, c = self.addresses()
        loop = self.rows_loop(scope, chunk, self.MR)
        columns = self.columns_loop(loop, self.NR)
        columns.lines.append(
            f"dots_{self.code}_{self.MR}x{self.NR}({self.up_to(self.MR, self.rows.size, 'i')}, {self.up_to(self.NR, self.columns.size, 'j')}, "
            f"{dim(self.summed.size)}, {a}, {dim(self.rows.a)}, {b}, {dim(self.columns.b)}, {c}, {dim(self.rows.c)}, {more})"
        )
        columns.close()
        loop.close()


class Transposed(Kernel):
    """The roles of A and B are exchanged: lanes run along the rows of C."""

    def choose_tile(self) -> None:
        self.NR, self.vectors = tile(self.dtype.name, _known(self.rows.size), _known(self.columns.size))
        self.MR = self.vectors * host_vector_bytes() // self.size

    def emit(self, scope: Scope, chunk: str, more: str) -> None:
        dim = self.text.dim
        a, b, c = self.addresses()
        loop = self.rows_loop(scope, chunk, self.MR)
        columns = self.columns_loop(loop, self.NR)
        columns.lines.append(
            f"micro_transposed_{self.code}_{self.NR}x{self.vectors}({self.up_to(self.NR, self.columns.size, 'j')}, "
            f"{self.up_to(self.MR, self.rows.size, 'i')}, {dim(self.summed.size)}, "
            f"{b}, {dim(self.columns.b)}, {dim(self.summed.b)}, {a}, {dim(self.summed.a)}, {c}, {dim(self.rows.c)})"
        )
        columns.close()
        loop.close()
