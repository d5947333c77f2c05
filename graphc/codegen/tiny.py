"""Products of many pairs of tiny matrices: one phase, whose kernel takes as many pairs at a time as vectors have lanes.

In: the task of a contraction with a batch.  Out: the phase, or nothing where the matrices are larger or have gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.kernels import steps_of_chunk
from graphc.codegen.loop_ir import Expr, Var
from graphc.codegen.scope import close
from graphc.codegen.text import Text
from graphc.codegen.views import Axis, ViewKernel, Where, title_of_product
from graphc.dims import Dim, blocks, product
from graphc.schedule.lower import TINY, labels_of
from graphc.schedule.task import Kernel
from graphc.types import int64

_TURNED = 256  # multiply-adds of a pair whose B lies column by column, which tiles would copy first
_ELEMENT = 16  # multiply-adds that take as long as to move an element into its lane


@dataclass(frozen=True)
class _Pair:
    """The sizes of a pair of matrices, and which of them lie column by column."""

    rows: int
    depth: int
    columns: int
    turned: tuple[int, int]

    @property
    def work(self) -> int:
        elements = self.rows * self.depth + self.depth * self.columns + self.rows * self.columns
        return 2 * (self.rows * self.depth * self.columns + _ELEMENT * elements)


def tiny(text: Text, task: Kernel) -> Tiny | None:
    """The phase for a product, if its matrices are tiny and there are many."""
    found = Tiny(text, task)
    return found if found.pair is not None and found.are_many else None


class Tiny(ViewKernel):
    """A product for each step of the last axis of the batch, with loops over the others."""

    def __init__(self, text: Text, task: Kernel) -> None:
        super().__init__(text, task)
        self.batch = self.axes(task.job.batch)
        self.pair = self._pair()

    @property
    def title(self) -> str:
        return title_of_product(self.task)

    def work(self) -> tuple[Dim, Dim]:
        return product(self.axis(label).size for label in {*"".join(self.task.job.labels)}) * 2, self.bytes()

    @property
    def are_many(self) -> bool:
        """Whether lanes have something to do."""
        lanes = host_vector_bytes() // self.member.dtype.size
        return bool(self.batch) and not (isinstance(self.batch[-1].size, int) and self.batch[-1].size < lanes)

    def _pair(self) -> _Pair | None:
        labels = labels_of(self.task.job)
        axes = [self._one(group) for group in (labels.rows, labels.summed, labels.columns)]
        if any(axis is None for axis in axes):
            return None
        rows, depth, columns = (axis for axis in axes if axis is not None)
        m, k, n = (axis.size for axis in (rows, depth, columns))
        if not (isinstance(m, int) and isinstance(k, int) and isinstance(n, int)):
            return None
        sides = (rows, depth), (depth, columns), (rows, columns)
        a, b, c = (_turned(*axes, number) for number, axes in enumerate(sides))
        if a is None or b is None or c != 0 or not 0 < m * k * n <= (_TURNED if b else TINY):
            return None
        return _Pair(m, k, n, (a, b))

    def _one(self, labels: str) -> Axis | None:
        """The axis over these labels, if there is no more than one."""
        axes = self.axes(labels)
        return None if len(axes) > 1 else axes[0] if axes else Axis(1, (0, 0, 0))

    def emit(self) -> None:
        """Print the phase: a chunk is some steps of the first axis of the batch."""
        assert self.pair is not None
        text, pair, last = self.text, self.pair, self.batch[-1]
        work = pair.work * prod(axis.size if isinstance(axis.size, int) else 1 for axis in self.batch[1:])
        step = host_vector_bytes() // self.member.dtype.size if len(self.batch) == 1 else 1
        size = steps_of_chunk(self.batch[0].size, work, step)
        with text.phase(self.title, blocks(self.batch[0].size, size), *self.work()) as top:
            text.new_nest()
            control = Var("control", int64)
            top.use("flush", result=control)
            scopes, where, bounds = self.up_to_last(top, self.batch, size)
            (a, a_step), (b, b_step), (c, _) = (self._matrix(k, [*where, (bounds[0], last)]) for k in range(3))
            count, tile = text.at(bounds[1] - bounds[0]), (pair.rows, pair.depth, pair.columns, *pair.turned)
            scopes[-1].use("tiny", count, a, a_step, b, b_step, c, dtype=self.member.dtype, tile=tile)
            close(*scopes[1:])
            top.use("restore", control)

    def _matrix(self, number: int, where: Where) -> tuple[Expr, Expr]:
        """Where the first matrix of a view lies, and the step to the next."""
        text, view = self.text, self.task.views[number]
        start = text.address(view.place, self.position(number, where) * view.dtype.size)
        return start, text.at(self.batch[-1].steps[number] * view.dtype.size)


def _turned(outer: Axis, inner: Axis, number: int) -> int | None:
    """0 if a matrix lies row by row, 1 if column by column, None if neither."""
    for k, (first, second) in enumerate(((outer, inner), (inner, outer))):
        whole = first.size == 1 or first.steps[number] == second.size
        if whole and (second.size == 1 or second.steps[number] == 1):
            return k
    return None
