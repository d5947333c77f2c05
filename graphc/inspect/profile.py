"""How long each kernel takes.

In: a compiled program's machine and arrays that fit it.  Out: a Profile, one row a phase.  The phases run one by one
in the program's order, on a frame and on copies of the parameters that nobody else sees.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.codegen.program import HEADER_WORDS, Program
from graphc.dims import evaluate
from graphc.errors import DeclarationError, InputError
from graphc.inspect import html
from graphc.runtime import entry
from graphc.runtime.arguments import Array
from graphc.runtime.entry import Words
from graphc.runtime.machine import Machine
from graphc.runtime.workspace import Shape
from graphc.state import State, address

_HEADINGS = ("phase", "µs", "share", "chunks", "flops", "bytes", "GFLOP/s", "GB/s", "kernel")


@dataclass(frozen=True)
class Kernel:
    """One phase: the median of its times, and the work that it is reckoned to do.

    `title` names its ops, `chunks` counts the pieces that it is cut into, `flops` the operations on elements, `nbytes`
    the bytes that arrays hold that it reads or writes, each once; `microseconds` is the time of one call's part.

    >>> kernel = Kernel(0, "add", chunks=1, microseconds=2.0, flops=1000, nbytes=16_000)
    >>> kernel.gflops, kernel.gigabytes
    (0.5, 8.0)
    """

    phase: int
    title: str
    chunks: int
    microseconds: float
    flops: int
    nbytes: int

    @property
    def gflops(self) -> float:
        """Billions of operations a second; 0 for a phase too short to be timed."""
        return self.flops / self.microseconds / 1e3 if self.microseconds else 0.0

    @property
    def gigabytes(self) -> float:
        """Billions of bytes a second; 0 for a phase too short to be timed."""
        return self.nbytes / self.microseconds / 1e3 if self.microseconds else 0.0


class Profile(tuple[Kernel, ...]):
    """The kernels of a program in the order in which they run; as text a table.

    >>> print(Profile([Kernel(0, "add", 1, 2.0, 1000, 16_000), Kernel(1, "sum", 1, 6.0, 1000, 8_008)]))
    phase    µs  share  chunks  flops   bytes  GFLOP/s  GB/s  kernel
        0  2.00    25%       1  1,000  16,000     0.50  8.00  add
        1  6.00    75%       1  1,000   8,008     0.17  1.33  sum
      all  8.00
    """

    @property
    def microseconds(self) -> float:
        """The time of all kernels together."""
        return sum(k.microseconds for k in self)

    @property
    def shares(self) -> list[float]:
        """Each kernel's share of the time."""
        whole = self.microseconds or 1.0
        return [k.microseconds / whole for k in self]

    def _table(self) -> list[tuple[str, ...]]:
        """The cells, headings and sum included."""
        rows = [
            (
                str(k.phase),
                f"{k.microseconds:.2f}",
                f"{share:.0%}",
                str(k.chunks),
                f"{k.flops:,}",
                f"{k.nbytes:,}",
                f"{k.gflops:.2f}",
                f"{k.gigabytes:.2f}",
                k.title,
            )
            for k, share in zip(self, self.shares, strict=True)
        ]
        return [_HEADINGS, *rows, ("all", f"{self.microseconds:.2f}", *[""] * (len(_HEADINGS) - 2))]

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ("  ".join(cell.rjust(w) for cell, w in zip(row, widths[:-1], strict=False)) for row in table)
        return "\n".join(f"{line}  {row[-1]}".rstrip() for line, row in zip(lines, table, strict=True))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html.block(html.table(self._table(), totals=1, texts=[len(_HEADINGS) - 1], shares=self.shares))


def profile(function: Any, /, *args: Any, repeat: int = 100, **kwargs: Any) -> Profile:
    """Time each kernel of a compiled function over `repeat` runs on these inputs; no parameter changes.

    Inputs are given as in a call.  Times are medians in microseconds.  Raises DeclarationError for what is not
    compiled, InputError if `repeat` is no int >= 1, or where a call with these inputs would.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> kernel, = gc.inspect.profile(gc.compile([x], x + 1.0), [1.0, 2.0], repeat=3)
    >>> kernel.title, kernel.chunks, kernel.flops, kernel.nbytes, kernel.microseconds > 0.0
    ('add', 1, 2, 32, True)
    """
    if not callable(getattr(function, "profile", None)):
        raise DeclarationError(f"only compiled functions can be timed; got {function!r}")
    timed: Profile = function.profile(*args, repeat=repeat, **kwargs)
    return timed


def measure(machine: Machine, inputs: Sequence[Array], repeat: int) -> Profile:
    """Median times of the phases over `repeat` runs of the program; parameters keep their values."""
    program = machine.program
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        raise InputError(f"{program.name}.profile: repeat must be an int >= 1, got {repeat!r}")
    values = [s.read() for s in machine.states]
    twin = Machine(program, machine.native, [State(s.name, v) for s, v in zip(machine.states, values, strict=True)])
    shape = twin.shape(tuple(a.shape for a in inputs))
    arrays = [np.require(a, requirements=("C", "A")) for a in inputs]
    arrays += [np.empty(dims, slot.dtype.numpy) for dims, slot in zip(shape.outputs, program.outputs, strict=True)]

    def restore() -> None:
        for state, value in zip(twin.states, values, strict=True):
            state.array[...] = value

    with twin.workspace(shape) as words:
        words[HEADER_WORDS : HEADER_WORDS + len(arrays)] = [address(a) for a in arrays]
        return _measured(twin, shape, words, restore, repeat)


def _measured(machine: Machine, shape: Shape, words: Words, restore: Callable[[], None], repeat: int) -> Profile:
    """Run the program `1 + repeat` times, the first to warm up.

    The driver runs each phase while the frame says that the others have no chunks; the time of a run in which none
    has any, right before, is taken off.
    """
    program = machine.program
    first = program.word("phase", 0)
    section = words[first : first + len(program.phases)]
    chunks, groups = section.tolist(), _groups(program)
    execute = entry.native_function("execute", holds_gil=False)
    descriptor, frame = address(machine.descriptor), address(words)

    def timed() -> int:
        start = time.perf_counter_ns()
        status = execute(descriptor, frame, 0)
        took = time.perf_counter_ns() - start
        if status:
            raise machine.explain(words)
        return took

    section[:] = 0
    runs: list[list[int]] = []
    for _ in range(1 + repeat):
        restore()
        times = []
        for group in groups:
            _, entering = timed(), timed()  # the first is slower, as it follows something else
            section[group] = [chunks[k] for k in group]
            times.append(max(timed() - entering, 0))
            section[group] = 0
        runs.append(times)
    medians = [statistics.median(times) for times in zip(*runs[1:], strict=True)]
    return Profile(
        Kernel(
            group[0],
            next((p.title for p in (program.phases[k] for k in group) if p.kernel < 0), program.phases[group[0]].title),
            sum(abs(chunks[k]) for k in group),
            median / 1e3,
            sum(evaluate(program.phases[k].flops, shape.sizes) for k in group),
            sum(evaluate(program.phases[k].nbytes, shape.sizes) for k in group),
        )
        for group, median in zip(groups, medians, strict=True)
    )


def _groups(program: Program) -> list[list[int]]:
    """The phases that are timed together: one alone, or a loop with all that is in it."""
    found: dict[int, list[int]] = {}
    for k, phase in enumerate(program.phases):
        found.setdefault(k if phase.within < 0 else phase.within, []).append(k)
    return list(found.values())
