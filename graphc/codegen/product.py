"""Matrix products: one contraction as loops over register tiles.

In: the task of a contraction, its result contiguous with a column label last.
Out: one phase, and where the sum is cut another that adds up its parts.  Labels whose steps fit are merged; what is
left of rows, columns and sum beside one label each are loops around one of the kernels of graphc.codegen.kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import gcd, prod
from typing import Literal

from graphc.codegen import kernels, swept
from graphc.codegen.along_sum import ELEMENT, FEW_KNOWN, AlongSum, sum_of_parts
from graphc.codegen.intrinsics.target import LINE, has_many_registers, has_two_multiply_adds, host_vector_bytes
from graphc.codegen.kernels import FEW, MANY_CHUNKS, ROW, Axis, Dots, InPlace, Kernel, Range, Transposed, steps_of_chunk
from graphc.codegen.loop_ir import Expr, Var
from graphc.codegen.packed import FEW_ROWS, Blocked, Lined, Packed, may_lie_across_lines
from graphc.codegen.scope import Scope, close
from graphc.codegen.text import FIRST, HI, LAST, LO, PART, Text
from graphc.codegen.views import ViewKernel, title_of_product
from graphc.dims import Dim, blocks, dim_max, dim_min, product, symbol
from graphc.schedule.lower import labels_of
from graphc.schedule.task import Kernel as Task
from graphc.schedule.task import Place
from graphc.types import int64

SMALL = 2**16  # bytes of all parts of a result, or of each of two
HIGH, WIDTHS, DEEPER = 32, range(65, 256), 8  # where a sum is cut in halves: rows, columns, and times the result
NEAR_ROWS, NEAR = 800, 2**11  # rows of B, and bytes from one to the next
L1_LINES, L1_SETS, CROWDED = 512, 64, 512  # bytes from row to row from which copies were faster
SHALLOW, WIDE = 4, 2**12  # times the depth, and more rows: B is little beside the result; bytes of its rows
DOT_DEPTH = 8  # for each row, or column, of products with few
LARGE, LARGE_ACROSS = 2**20, 2**18  # bytes of A, where it is contiguous along the sum and where it is not


class Product(ViewKernel):
    """One contraction as a product of rows, columns and a sum, with the loops around it and the kernel for it."""

    def __init__(self, text: Text, task: Task) -> None:
        super().__init__(text, task)
        self.size = self.member.dtype.size
        labels = labels_of(task.job)
        self.row_axes = len(labels.rows)  # of the result, from the first
        self.rows, rows = self._axes(labels.rows)
        self.columns, columns = self._axes(labels.columns)
        self.summed, summed = self._axes(labels.summed)
        for around in summed:  # where one is empty, the kernel's own sum is, so that it still writes zeros
            self.summed = replace(self.summed, size=self.summed.size * dim_min(1, around.size))
        self.batch, self.outer_rows = [*self._in_bytes(labels.batch), *columns], rows
        self.outer_sums = summed
        self.names = {"a": "a", "b": "b", "c": "c"}
        self.listed: Literal["", "rows", "sum"] = ""  # what the first axis of an A is whose rows a list tells
        out = task.views[2]
        self.result: tuple[Place, Dim] = out.place, out.offset  # where C is, and its first element there
        self.is_alone = not (self.batch or rows or summed)  # whether no loops are around what has to be chosen
        half = self._half()
        if half:
            summed.append(Axis(2, half * self.summed.a, half * self.summed.b, 0))
            self.summed, self.is_alone = replace(self.summed, size=half), False
        self.kernel = self._kernel()
        if rows and not self.batch and not self.kernel.by_panels():
            self.batch = [rows.pop(_for_chunks(rows))]
        if summed and not half and self.kernel.nest(summed[-1]):
            summed.pop()
        self.parts = self._parts()
        self.group = self._group()
        self.pieces = self._pieces()
        self.groups = blocks(self.batch[0].size, self.group) if self.batch else 1
        self.part_steps = blocks(self.outer_sums[0].size, self.parts) if self.parts > 1 else 0
        self.chunks: Dim = self.parts * self.groups * self.pieces
        if self.parts == 1 and not self.batch:
            self.chunks = self.kernel.chunks()
        self.batch_range: Range = LO, HI  # of the first loop over the result around the kernel
        self.sum_range: Range | None = None  # of the first one over the sum, if it is not all
        if task.operands[0].place in text.lists:
            self.listed = self.listable()

    def _axes(self, labels: str) -> tuple[Axis, list[Axis]]:
        """The axis that the kernel loops over, and those around it."""
        *around, last = self._in_bytes(labels) or [Axis(1, 0, 0, 0)]
        return last, around

    def _in_bytes(self, labels: str) -> list[Axis]:
        return [Axis(axis.size, *(step * self.size for step in axis.steps)) for axis in self.axes(labels)]

    def _half(self) -> int:
        """Half of a long sum of which both operands have whole rows, where the result is small, if not a tile; else 0.

        Gradients of weights have one: other phases cut the batch in two, and a thread has its half in its cache.
        """
        m, n, k = self._sizes()
        if not self.is_alone or not self.rows.a == self.columns.b == self.size or m < HIGH or n not in WIDTHS:
            return 0
        few = m * n * self.size > SMALL or m * n * k < kernels.CHUNK_FLOPS or (m + n) * k < DEEPER * m * n
        return 0 if few or k % 2 else k // 2

    def _sizes(self) -> list[int]:
        """Rows, columns and how deep the sum is; 0 for what only the call tells."""
        return [a.size if isinstance(a.size, int) else 0 for a in (self.rows, self.columns, self.summed)]

    def _parts(self) -> int:
        """How many parts the first loop over the sum has, which chunks make and another phase adds up.

        Where the result is small, the operands are large, as gradients of convolutions' kernels have them.  A thread
        reads its part of these alone then, and where other phases cut them likewise, has it in its cache.
        """
        result = product(self.member.shape)
        if not self.outer_sums or self.kernel.by_panels() or not isinstance(result, int):
            return 1
        sizes = [self.axis(label).size for label in {*"".join(self.task.job.labels)}]
        work = 2 * prod(size if isinstance(size, int) else kernels.DEEP for size in sizes)
        enough = max(work // kernels.CHUNK_FLOPS, min(work // kernels.HALF_FLOPS, 2))
        fitting = SMALL // max(result * self.size, 1)
        most = max(1, min(MANY_CHUNKS, 2 if fitting == 1 else fitting, enough))
        steps, parts = self.outer_sums[0].size, 1 << (most.bit_length() - 1)
        if parts == 1 or not isinstance(steps, int):
            return parts
        return -(-steps // -(-steps // parts))  # none of which is empty

    def _group(self) -> int:
        """How many steps of the first loop around the kernel a chunk takes: small products go together."""
        first, *around = self._around() or [Axis(1, 0, 0, 0)]
        one = product(axis.size for axis in (self.rows, self.columns, self.summed, *around)) * 2
        return steps_of_chunk(first.size, one // self.parts) if isinstance(one, int) else 1

    def _pieces(self) -> int:
        """How many parts of the rows are chunks of their own, where steps of the first loop are few and long."""
        steps, rows = self.batch[0].size if self.batch else 0, self.rows.size
        work, _ = self.work()
        if isinstance(self.kernel, Packed) or not (isinstance(steps, int) and isinstance(rows, int)):
            return 1
        if self.group > 1 or self.parts > 1:
            return 1
        long = isinstance(work, int) and work >= 2 * kernels.CHUNK_FLOPS * steps
        return max(1, -(-rows // self.kernel.MR)) if long and 0 < steps < MANY_CHUNKS else 1

    def _around(self) -> list[Axis]:
        """The loops around the tile, those over the result first."""
        nested = [self.kernel.nested] if self.kernel.nested is not None else []
        return [*self.batch, *self.outer_rows, *self.outer_sums, *nested]

    # rows that are listed

    def listable(self) -> Literal["", "rows", "sum"]:
        """What the one axis of A is whose size only the call tells, if a list may tell where its rows are."""
        view, job = self.task.operands[0], self.task.job
        axes = "".join(c for c, size in zip(job.labels[0], view.shape, strict=True) if not isinstance(size, int))
        short = self.kernel.short if isinstance(self.kernel, swept.Swept) else None
        labels, kernel = labels_of(job), type(short or self.kernel)
        if len(axes) != 1 or self._around():
            return ""
        if axes == labels.rows and kernel in (AlongSum, Dots, InPlace, Packed):
            return "rows"
        return "sum" if axes == labels.summed and kernel is Transposed else ""

    def list_of_a(self) -> tuple[Expr, Expr]:
        """The list of A, and the number of the first row that a tile reads; of a sum it reads all."""
        place = self.text.lists[self.task.operands[0].place]
        return self.text.address(place), self.text.at(ROW if self.listed == "rows" else 0)

    # the phase

    def emit(self) -> None:
        """Print the phase: a chunk is some steps of the first loop around the kernel, or some rows and columns."""
        kernel, text, wanted = self.kernel, self.text, self.result
        kernel.prepare()
        if self.parts > 1:
            elements = product(self.member.shape)
            self.result = text.scratch(self.member.dtype, (self.parts, elements)), PART * elements
            self.batch_range, self.sum_range = (FIRST, LAST), (LO, dim_max(LO + 1, HI))
        with text.phase(self.title, self.chunks, *kernel.work(), is_light=kernel.is_light()) as top:
            kernel.by_words()
            self.batch, self.outer_rows, self.outer_sums = (
                [a.by_words(text) for a in axes] for axes in (self.batch, self.outer_rows, self.outer_sums)
            )
            if self.parts > 1:
                self._emit_part(top)
            elif self.batch:
                self._emit_batch(top)
            else:
                groups, height, width = (text.own(d) for d in kernel.cut)
                text.cut_twice(top, (height, text.at(kernel.rows.size)), groups, (width, text.at(kernel.columns.size)))
                self.emit_rows(top, (LO, HI), (FIRST, LAST))
        if self.parts > 1:
            self._add_up(*wanted)

    def _emit_batch(self, top: Scope) -> None:
        """Some steps of the first loop, or a part of the rows of one."""
        text, rows = self.text, self.kernel.rows.size
        steps = text.own(self.group), text.at(self.batch[0].size)
        if self.pieces == 1:
            text.cut(top, *steps)
            self.emit_rows(top, (0, rows))
            return
        text.cut_twice(top, steps, text.own(self.pieces), (text.own(self.kernel.MR), text.at(rows)))
        self.emit_rows(top, (FIRST, LAST))

    def _emit_part(self, top: Scope) -> None:
        """A part of the sum, for some steps of the first loop over the result."""
        text, summed, first = self.text, self.kernel.summed, self.batch[0].size if self.batch else 1
        part, groups, group = (text.own(d) for d in (self.part_steps, self.groups, self.group))
        text.cut_twice(top, (part, text.at(self.outer_sums[0].size)), groups, (group, text.at(first)))
        self.kernel.summed = replace(summed, size=summed.size * dim_min(1, dim_max(0, HI - LO)))  # 0 in empty parts
        self.emit_rows(top, (0, self.kernel.rows.size))

    def _add_up(self, place: Place, first: Dim) -> None:
        """The phase that adds up what the parts have."""
        text, elements = self.text, product(self.member.shape)
        with text.phase(f"combine {self.title}", 1, elements * self.parts, elements * self.parts * self.size) as top:
            text.new_nest()
            loop = text.loop(top, "e", elements)
            total = sum_of_parts(text, self.result[0], self.member.dtype, self.parts, elements)
            loop.add(text.store(place, first + ELEMENT, total))
            loop.close()

    def emit_rows(self, top: Scope, rows: Range, columns: Range | None = None) -> None:
        """Make the product of a range of rows, and of one of columns or all."""
        control, (place, first) = self.begin(top), self.result
        top.let("c", self.text.address(place, first * self.size))
        scopes = self._outer_loops(top)
        self.kernel.emit(scopes[-1], rows, columns or (0, self.kernel.columns.size), self._more())
        close(*scopes[1:])
        top.use("restore", control)

    def begin(self, top: Scope) -> Var:
        """Have names for the operands; subnormal numbers count as 0 until `restore` of what is given."""
        control = Var("control", int64)
        top.use("flush", result=control)
        for name, view in zip("ab", self.task.operands, strict=True):
            top.let(name, self.text.address(view.place, self.text.own(view.offset * self.size)))
        return control

    @property
    def goes_by_rows(self) -> bool:
        """Whether a range of rows of the result is one call of the kernel."""
        alone = not self.batch and not self.outer_rows and not self.outer_sums
        return alone and self.kernel.by_rows

    @property
    def title(self) -> str:
        return title_of_product(self.task)

    def work(self) -> tuple[Dim, Dim]:
        every = (self.rows, self.columns, self.summed, *self._around())
        return product(x.size for x in every) * 2, self.bytes()

    def _kernel(self) -> Kernel:
        """The cheapest way for these sizes and steps; measured limits, see docs/log.md."""
        size, m, n, k = self.size, self.rows, self.columns, self.summed
        every_row = m.size * product(axis.size for axis in self.outer_rows)
        depth = k.size * product(axis.size for axis in self.outer_sums)
        if self._is_swept():
            return swept.Swept(self)
        if m.a == size and _at_most(n.size, 12) and len(self.outer_sums) < 2 and self._fills_lanes(every_row):
            return Transposed(self)
        if k.a == size and k.b == size and (n.b != size or n.size == 1) and self._is_deep(depth):
            return Dots(self)
        b_bytes = depth * n.size * size
        fits_cache = _at_most(b_bytes, 2**20)
        few_rows = _at_most(every_row, 128 if _at_most(b_bytes, 2**18) else 64 if fits_cache else 24)
        in_place = (n.b == size or n.size == 1) and (few_rows or _at_most(n.size, 64)) and not self._crowds_sets()
        if self._leaves_lanes_idle():
            return AlongSum(self)
        if self._has_near_rows():
            return InPlace(self)
        if self._is_blocked() and not (in_place and fits_cache and k.a == size):
            return Blocked(self)
        if in_place:
            return Lined(self) if may_lie_across_lines(self) else InPlace(self)
        return Packed(self)

    def _is_deep(self, depth: Dim) -> bool:
        """Whether rows or columns are so few, and sums so long, that dot products pay."""
        few = min(size for size in (self.rows.size, self.columns.size, FEW + 1) if isinstance(size, int))
        deep = not isinstance(depth, int) or depth >= DOT_DEPTH * (FEW if self.outer_sums else few)
        return few <= FEW and deep

    def _leaves_lanes_idle(self) -> bool:
        """Whether columns fill so little of their vectors that dot products pay, for which they are copied first."""
        m, n, k, lanes = self.rows.size, self.columns.size, self.summed.size, host_vector_bytes() // self.size
        if not self.is_alone or self.summed.a != self.size or self.columns.b != self.size:
            return False
        idle = isinstance(n, int) and 2 <= n <= 16 and 10 * n <= 7 * (n + -n % lanes)
        return idle and isinstance(k, int) and k >= min(128, 16 * n) and (not isinstance(m, int) or m > FEW_KNOWN)

    def _has_near_rows(self) -> bool:
        """Whether rows of B are so near and so few that wide tiles read a panel of it from L2 where it lies.

        Two multiply-adds a cycle wait for that.
        """
        m, n, k = self.rows, self.columns, self.summed
        if not has_many_registers() or has_two_multiply_adds() or n.b != self.size or self.outer_sums:
            return False
        small = _at_most(m.size * k.size * self.size, LARGE)  # else its lines, of which a tile takes parts, are far
        near = isinstance(k.b, int) and abs(k.b) <= NEAR  # rows may be read from the last to the first
        return near and _at_most(k.size, NEAR_ROWS) and (k.a == self.size or small)

    def _crowds_sets(self) -> bool:
        """Whether L1 has fewer places for a panel of B where it lies than it has rows, so that copying it pays."""
        m, k = self.rows.size, self.summed
        if has_many_registers() or not (isinstance(m, int) and isinstance(k.size, int)):
            return False
        crowded = isinstance(k.b, int) and k.b != 0 and k.b % CROWDED == 0
        return crowded and m >= FEW_ROWS and k.size >= L1_LINES // gcd(L1_SETS, k.b // LINE)

    def _is_swept(self) -> bool:
        """Whether rows are few, or columns, and no near cache holds the other operand.

        Of an unknown number of rows, that have to be wider than a tile, which else goes through them likewise.
        """
        m, n, k = self.rows.size, self.columns.size, self.summed.size
        if not self.is_alone or not (isinstance(m, int) and isinstance(n, int)):
            return False
        if self.rows.a == self.size and n <= swept.FEW:
            few, row = n, m * self.size
        elif self.columns.b == self.size and m <= swept.FEW:
            few, row = m, n * self.size
        else:
            return False
        if not isinstance(k, int):
            return few == 1 and row > swept.ROW_VECTORS * host_vector_bytes()
        return few > 0 and row * k > swept.PART_BYTES and k >= 2 * swept.PART_DEPTH

    def _is_blocked(self) -> bool:
        """Whether A is so large and so often wanted that going through it block by block pays.

        So does a result of wide rows and few products for each element, which panels would write a line of every row at
        a time, each in a page of its own; wide vectors have few panels.
        """
        m, n, k = self._sizes()
        if self.outer_rows or not m * n * k:
            return False
        along = self.summed.a == self.size
        few = _at_most(m, 32 if self.batch else 128) or _at_most(n, 48 if along else 24) or _at_most(k, 24)
        shallow = not has_many_registers() and SHALLOW * k <= m and n * self.size >= WIDE
        return not few and (shallow or m * k * self.size > (LARGE if along else LARGE_ACROSS))

    def _fills_lanes(self, every_row: Dim) -> bool:
        """Whether rows are so many that vectors of them have fewer idle lanes than vectors of columns."""
        m, n, lanes = self.rows.size, self.columns.size, host_vector_bytes() // self.size
        if _at_most(every_row, 32):
            return False
        if not (isinstance(m, int) and m <= 32 and isinstance(n, int)):
            return True
        return n * -(-m // lanes) < m * -(-n // lanes)

    def _more(self) -> Dim:
        """Not 0 after the first product of a sum that is cut into several."""
        steps = sum((symbol(f"%r{n}") for n in range(len(self.outer_sums))), 0)
        return steps - self.sum_range[0] if self.sum_range else steps

    def _outer_loops(self, top: Scope) -> list[Scope]:
        """Loops over batches and over sums around the kernel; addresses move with them."""
        results = [(f"q{n}", axis, (0, axis.size) if n else self.batch_range) for n, axis in enumerate(self.batch)]
        ranges: list[Range] = [(0, dim_max(1, axis.size)) for axis in self.outer_sums]
        if self.sum_range:
            ranges[0] = self.sum_range
        sums = [(f"r{n}", axis, ranges[n]) for n, axis in enumerate(self.outer_sums)]
        # What a step of a part reads is in cache for each part of the result.
        return self._loops(top, [*sums, *results] if self.sum_range else [*results, *sums], "q")

    @contextmanager
    def more_rows(self, scope: Scope) -> Iterator[Scope]:
        """The scope within loops over rows that are no one axis with the kernel's."""
        names = dict(self.names)
        scopes = self._loops(scope, [(f"w{n}", axis, (0, axis.size)) for n, axis in enumerate(self.outer_rows)], "w")
        yield scopes[-1]
        close(*scopes[1:])
        self.names = names

    def _loops(self, top: Scope, loops: Sequence[tuple[str, Axis, Range]], letter: str) -> list[Scope]:
        """The scope and loops of these names, one inside the other, with addresses that move with them."""
        scopes = [top]
        moves: dict[str, list[Dim]] = {"a": [], "b": [], "c": []}
        for name, axis, (lo, hi) in loops:
            scopes.append(self.text.loop(scopes[-1], name, hi, lo))
            for array, step in (("a", axis.a), ("b", axis.b), ("c", axis.c)):
                if step != 0:
                    moves[array].append(symbol(f"%{name}") * step)
        for array, terms in moves.items():
            if terms:
                moved = self.text.address(self.names[array], *terms)
                self.names[array] = scopes[-1].let(f"{array}{letter}", moved).name
        return scopes


def _for_chunks(axes: Sequence[Axis]) -> int:
    """Which of these loops is cut into chunks: the first that has many steps, or may have, else the longest."""
    lengths = [min(axis.size, MANY_CHUNKS) if isinstance(axis.size, int) else MANY_CHUNKS for axis in axes]
    return lengths.index(max(lengths))


def _at_most(size: Dim, limit: int) -> bool:
    return isinstance(size, int) and size <= limit
