"""What the kernels of the family share: the axes of their views, and the phase with its loops around the kernel.

In: a Kernel task.  Out: axes that step evenly in every view, merged; those of a batch are loops around the kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.loop_ir import Position
from graphc.codegen.scope import Scope
from graphc.codegen.text import HI, LO, Text
from graphc.dims import Dim, product, symbol
from graphc.schedule.task import Kernel

ELEMENTS = 16_384  # of a chunk


@dataclass(frozen=True)
class Axis:
    """A loop of a kernel: its size, and its step in each view, 0 where it does not occur."""

    size: Dim
    steps: tuple[Dim, ...]

    def merged(self, inner: Axis) -> Axis | None:
        """This axis and one inside it as a single axis, if every view steps evenly."""
        if all(outer == step * inner.size for outer, step in zip(self.steps, inner.steps, strict=True)):
            return Axis(self.size * inner.size, inner.steps)
        return None


Where = Sequence[tuple[Dim, Axis]]  # a position on every axis


def of_chunk(*axes: Axis) -> int:
    """How much of the first axis a chunk takes, for the loops over these."""
    elements = product(axis.size for axis in axes[1:])
    return max(1, ELEMENTS // max(1, elements)) if isinstance(elements, int) else 4


def up(size: int, step: int) -> int:
    """The least multiple of a step that is not below a size."""
    return -(-size // step) * step


def evenly(length: int, most: int) -> int:
    """How many steps a chunk takes, from 1 to so many, where chunks are alike and two threads have as many each."""
    count = -(-length // most)
    return max(length, 1) if count < 2 else -(-length // up(count, 2))


def in_lines(length: int, most: int) -> int:
    """The same of elements side by side, in whole lines of cache: no two threads write one, and all are streamed."""
    return up(evenly(length, most), LINE)


def title_of_product(task: Kernel) -> str:
    """What a product is called: its labels tell which it is."""
    a, b, out = task.job.labels
    return f"product {a},{b}->{out}"


class ViewKernel(ABC):
    """The text of one Kernel task."""

    def __init__(self, text: Text, task: Kernel) -> None:
        self.text, self.task, self.member = text, task, task.member

    @abstractmethod
    def emit(self) -> None:
        """Print the phase."""

    @property
    def title(self) -> str:
        return self.member.op.name.strip("_")

    def work(self) -> tuple[Dim, Dim]:
        """Operations, and bytes read and written once."""
        return product(self.member.shape), self.bytes()

    def axes(self, labels: Iterable[str]) -> list[Axis]:
        """The loops over labels, from the outermost; those that step evenly are one, those of size 1 none."""
        out: list[Axis] = []
        for axis in (a for a in map(self.axis, labels) if a.size != 1):
            joined = out[-1].merged(axis) if out else None
            out[-1:] = [joined] if joined is not None else [*out[-1:], axis]
        return out

    def axis(self, label: str) -> Axis:
        """The loop over a label."""
        size, steps = None, []
        for view, labels in zip(self.task.views, self.task.job.labels, strict=True):
            at = labels.find(label)
            steps.append(view.steps[at] if at >= 0 else 0)
            size = view.shape[at] if size is None and at >= 0 else size
        assert size is not None
        return Axis(size, tuple(steps))

    def own(self, number: int = -1) -> Axis:
        """The one axis of a view, of the result where none is told, that the kernel loops over."""
        (label,) = set(self.task.job.labels[number]) - set(self.task.job.batch)
        return self.axis(label)

    def position(self, number: int, where: Where) -> Dim:
        """The element of a view at these positions of axes."""
        return sum((at * axis.steps[number] for at, axis in where), self.task.views[number].offset)

    def around(self, top: Scope, axes: Sequence[Axis], size: int) -> tuple[list[Scope], list[tuple[Dim, Axis]]]:
        """Loops over axes, of the first of which a chunk does `size`: the scopes, and where on every axis they are."""
        scopes, where = [top], []
        for k, axis in enumerate(axes):
            if k == 0:
                self.text.cut(top, size, self.text.at(axis.size))
            low, high = (0, self.text.at(axis.size)) if k else (LO, Position(HI))
            scopes.append(self.text.loop(scopes[-1], f"q{k}", high, low))
            where.append((symbol(f"%q{k}"), axis))
        return scopes, where

    def up_to_last(
        self, top: Scope, axes: Sequence[Axis], size: int
    ) -> tuple[list[Scope], list[tuple[Dim, Axis]], tuple[Dim, Dim]]:
        """The same over all axes but the last, and between which bounds a chunk does that: alone it is the first."""
        scopes, where = self.around(top, axes[:-1], size)
        if len(axes) != 1:
            return scopes, where, (0, axes[-1].size if axes else 1)
        self.text.cut(top, size, self.text.at(axes[0].size))
        return scopes, where, (LO, HI)

    def bytes(self) -> Dim:
        """Those of all views, each element once, however often it is repeated."""
        found: Dim = 0
        for view in self.task.views:
            moved = product(size for size, step in zip(view.shape, view.steps, strict=True) if step != 0)
            found = found + moved * view.dtype.size
        return found
