"""Matrix products: the text of one contraction as loops over register tiles.

In: a contraction whose operands are strided views of stored arrays, its result contiguous with a column label last.
Out: one phase.  Labels whose steps fit are merged; what is left of rows, columns and sum beside one label each are
loops around the product.  B is used where it lies if its columns are contiguous and few, else packed panel by panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen.intrinsics.target import host_vector_bytes, tile
from graphc.codegen.text import Scope, Text, code_of
from graphc.dims import Dim, dim_max, dim_min, floor_div, product, symbol
from graphc.graph import Node
from graphc.schedule.access import Strided, strided, strides
from graphc.schedule.lower import labels_of
from graphc.schedule.storage import Place, Step

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


def emit_product(text: Text, step: Step) -> None:
    """Print the phase of a matrix product."""
    _Product(text, step).emit()


class _Product:
    def __init__(self, text: Text, step: Step) -> None:
        self.text, self.step = text, step
        self.node: Node = step.group.members[0]
        self.code = code_of(self.node.dtype)
        self.size = self.node.dtype.size
        self.a, self.b = (strided(o) or Strided(o, strides(o.shape), 0) for o in self.node.operands)
        labels = labels_of(self.node)
        unit = Axis(1, 0, 0, 0)
        self.rows, rows = self._axes(labels.rows, unit)
        self.columns, columns = self._axes(labels.columns, unit)
        self.summed, summed = self._axes(labels.summed, unit)
        self.batch = [*self._merge([self._axis(c) for c in labels.batch]), *rows, *columns]
        self.outer_sums = summed

    def _axis(self, label: str) -> Axis:
        attrs, node = self.node.attrs, self.node
        views = ((self.a, attrs["a_labels"]), (self.b, attrs["b_labels"]))
        a, b = (view.steps[where.index(label)] * self.size if label in where else 0 for view, where in views)
        out = attrs["out_labels"]
        c = strides(node.shape)[out.index(label)] * self.size if label in out else 0
        operand, where = (node.operands[0], attrs["a_labels"]) if label in attrs["a_labels"] else (node.operands[1], attrs["b_labels"])
        return Axis(operand.shape[where.index(label)], a, b, c)

    def _axes(self, labels: str, unit: Axis) -> tuple[Axis, list[Axis]]:
        """The axis that the kernel loops over, and those around it."""
        merged = self._merge([self._axis(c) for c in labels])
        return (merged[-1], merged[:-1]) if merged else (unit, [])

    @staticmethod
    def _merge(axes: Sequence[Axis]) -> list[Axis]:
        out: list[Axis] = []
        for axis in axes:
            if axis.size == 1:
                continue
            joined = out[-1].merged(axis) if out else None
            if joined is not None:
                out[-1] = joined
            else:
                out.append(axis)
        return out

    # the phase

    def emit(self) -> None:
        every = [self.rows, self.columns, self.summed, *self.batch, *self.outer_sums]
        flops = product(axis.size for axis in every) * 2
        nbytes = (self.rows.size * self.summed.size + self.summed.size * self.columns.size + self.rows.size * self.columns.size) * self.size
        columns = self.columns.size if isinstance(self.columns.size, int) else None
        rows = self.rows.size if isinstance(self.rows.size, int) else None
        self.MR, vectors = tile(self.node.dtype.name, columns, rows)
        self.vectors = vectors
        self.NR = vectors * host_vector_bytes() // self.size
        self.packs = self._must_pack()
        count, first = self._chunks()
        title = f"{self.node.attrs['a_labels']},{self.node.attrs['b_labels']}->{self.node.attrs['out_labels']}"
        panels = self._panel_place(count) if self.packs else None
        with self.text.phase(f"product {title}", count, flops, nbytes) as top:
            a, b, c = (self.text.address(p) for p in (self._place(self.a.base), self._place(self.b.base), self.step.stores[0][1]))
            top.lines += [
                f"a = {self._sum(a, self.a.offset * self.size)}",
                f"b = {self._sum(b, self.b.offset * self.size)}",
                f"c = {c}",
            ]
            scopes = self._outer_loops(top, first)
            self._tiles(scopes[-1], panels)
            for scope in reversed(scopes[1:]):
                scope.close()
            for _, other in self.step.stores[1:]:
                self._copy(other, top)

    def _place(self, base: Node) -> Place:
        return self.text.schedule.place[base]

    def _must_pack(self) -> bool:
        """Whether B goes through packed panels: its columns are not contiguous, or there is more than one panel."""
        if self.columns.b != self.size and self.columns.size != 1:
            return True
        few = isinstance(self.columns.size, int) and self.columns.size <= self.NR
        short = isinstance(self.rows.size, int) and self.rows.size <= 2 * self.MR
        return not (few or short)

    def _chunks(self) -> tuple[Dim, str]:
        """How many chunks, and what a chunk is: an index of the first outer loop, a panel, or a block of rows."""
        if self.batch:
            return self.batch[0].size, "batch"
        if self.packs:
            return _cut(self.columns.size, self.NR), "panel"
        work = dim_max(1, self.summed.size * self.columns.size * 2 * self.MR)
        tiles = max(1, CHUNK_FLOPS // work) if isinstance(work, int) else 4
        self.block = tiles * self.MR
        return _cut(self.rows.size, self.block), "rows"

    def _panel_place(self, count: Dim) -> Place:
        depth = dim_min(self.summed.size, PANEL_DEPTH)
        return self.text.scratch(self.node.dtype, (count, depth, self.NR))

    def _outer_loops(self, top: Scope, first: str) -> list[Scope]:
        """Loops over batches and over sums around the kernel; addresses move with them."""
        scopes = [top]
        self.j = "range(0, {}, {})".format(self.text.dim(self.columns.size), self.NR)
        self.i = "range(0, {}, {})".format(self.text.dim(self.rows.size), self.MR)
        self.more = "0"
        moves: dict[str, list[str]] = {"a": [], "b": [], "c": []}
        for n, axis in enumerate(self.batch):
            name = "chunk" if n == 0 else f"q{n}"
            if n:
                scopes.append(Scope(scopes[-1], f"for {name} in range({self.text.dim(axis.size)}):"))
            _move(moves, name, axis, self.text)
        for n, axis in enumerate(self.outer_sums):
            scopes.append(Scope(scopes[-1], f"for r{n} in range({self.text.dim(axis.size)}):"))
            _move(moves, f"r{n}", axis, self.text)
        if self.outer_sums:
            self.more = " + ".join(f"r{n}" for n in range(len(self.outer_sums)))
        self.names = {}
        for name, terms in moves.items():
            self.names[name] = name
            if terms:
                self.names[name] = name + "q"
                scopes[-1].lines.append(f"{name}q = " + " + ".join([name, *terms]))
        if first == "panel":
            self.j = f"range(chunk * {self.NR}, min(chunk * {self.NR} + {self.NR}, {self.text.dim(self.columns.size)}), {self.NR})"
        if first == "rows":
            self.i = f"range(chunk * {self.block}, min(chunk * {self.block} + {self.block}, {self.text.dim(self.rows.size)}), {self.MR})"
        return scopes

    def _tiles(self, scope: Scope, panels: Place | None) -> None:
        """Panels of columns, within each the tiles of rows; a deep sum is cut, so that a panel stays in cache."""
        columns, rows, depth = (self.text.dim(axis.size) for axis in (self.columns, self.rows, self.summed))
        a, b, c = self.names["a"], self.names["b"], self.names["c"]
        panel_loop = Scope(scope, f"for j in {self.j}:")
        panel_loop.lines.append(f"cols = min({self.NR}, {columns} - j)")
        inner, more, k = panel_loop, self.more, "0"
        deep = panels is not None and not (isinstance(self.summed.size, int) and self.summed.size <= PANEL_DEPTH)
        if deep:  # an empty sum still has one block, which writes zeros
            inner = Scope(panel_loop, f"for k in range(0, max({depth}, 1), {PANEL_DEPTH}):")
            inner.lines.append(f"depth = min({PANEL_DEPTH}, {depth} - k)")
            depth, k = "depth", "k"
            more = f"{self.more} + k" if self.more != "0" else "k"
        b_at = self._sum(b, *self._scaled(("j", self.columns.b), (k, self.summed.b)))
        b_row = self.text.dim(self.summed.b)
        if panels is not None:
            width = self.NR * self.size
            first = "0" if self.batch and panels is None else "chunk"
            address = f"{self.text.address(panels)} + {first} * {self._factor(dim_min(self.summed.size, PANEL_DEPTH) * width)}"
            inner.lines += [
                f"panel = {address}",
                f"pack_{self.code}_{self.vectors}({depth}, cols, {b_at}, {b_row}, {self.text.dim(self.columns.b)}, panel)",
            ]
            b_at, b_row = "panel", str(width)
        row_loop = Scope(inner, f"for i in {self.i}:")
        a_at = self._sum(a, *self._scaled(("i", self.rows.a), (k, self.summed.a)))
        c_at = self._sum(c, *self._scaled(("i", self.rows.c), ("j", self.columns.c)))
        row_loop.lines.append(
            f"micro_{self.code}_{self.MR}x{self.vectors}(min({self.MR}, {rows} - i), cols, {depth}, {a_at}, "
            f"{self.text.dim(self.rows.a)}, {self.text.dim(self.summed.a)}, {b_at}, {b_row}, {c_at}, {self.text.dim(self.rows.c)}, {more})"
        )
        row_loop.close()
        if deep:
            inner.close()
        panel_loop.close()

    def _scaled(self, *terms: tuple[str, Dim]) -> list[str]:
        return [f"{name}*{self._factor(step)}" for name, step in terms if name != "0" and step != 0]

    def _factor(self, p: Dim) -> str:
        text = self.text.dim(p)
        return f"({text})" if " " in text else text

    def _sum(self, base: str, *terms: Dim | str) -> str:
        texts = [t if isinstance(t, str) else self.text.dim(t) for t in terms if t != 0]
        return " + ".join([base, *texts])

    def _copy(self, other: Place, top: Scope) -> None:
        self.text.new_nest()
        loop = Scope(top, f"for i in range({self.text.dim(product(self.node.shape))}):")
        loop.lines.append(self.text.store(other, self.node.dtype, "i", self.text.load(self.step.stores[0][1], self.node.dtype, "i")))
        loop.close()


def _move(moves: dict[str, list[str]], name: str, axis: Axis, text: Text) -> None:
    for array, step in (("a", axis.a), ("b", axis.b), ("c", axis.c)):
        if step != 0:
            factor = text.dim(step)
            moves[array].append(f"{name}*({factor})" if " " in factor else f"{name}*{factor}")


def _cut(size: Dim, block: int) -> Dim:
    if isinstance(size, int):
        return max(1, -(-size // block))
    return dim_max(1, floor_div(size + block - 1, block))
