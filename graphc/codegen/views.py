"""What the kernels of the family share: the axes of their views, and the phase with its loops around the kernel.

In: a Kernel task.  Out: axes that step evenly in every view, merged; those of a batch are loops around the kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from graphc.codegen.text import Text
from graphc.dims import Dim, product
from graphc.schedule.task import Kernel


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


class ViewKernel(ABC):
    """The text of one Kernel task."""

    def __init__(self, text: Text, task: Kernel) -> None:
        self.text, self.task, self.member = text, task, task.member

    @abstractmethod
    def emit(self) -> None:
        """Print the phase."""

    @property
    @abstractmethod
    def title(self) -> str: ...

    @abstractmethod
    def work(self) -> tuple[Dim, Dim]:
        """Operations, and bytes read and written once."""

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

    def bytes(self) -> Dim:
        """Those of all views, each element once."""
        nbytes: Dim = 0
        for view in self.task.views:
            nbytes = nbytes + product(view.shape) * view.dtype.size
        return nbytes
