"""What a profile tells: for each kernel its time, its work, and the share of what the machine could do.

In: times and work of phases.  Out: a Profile, as text a table, as data a dict or JSON, in notebooks and files a page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

from graphc.codegen.program import Program
from graphc.errors import DeclarationError
from graphc.runtime.roofline import Roofline

_HEADINGS = (
    *("phase", "µs", "share", "runs", "chunks", "flops", "bytes", "GFLOP/s", "GB/s", "bound by", "of limit", "kernel"),
)
_MODEL = (
    "flops: a model, an operation on an element counts 1, a transcendental function what its instructions count",
    "bytes: a model, the elements of arrays that the loops touch, each once in a run",
)


@dataclass(frozen=True)
class Kernel:
    """One phase: the median of the time of all its runs in a call, its work, and the least time for it.

    `title` names its ops, `chunks` counts the pieces that a run is cut into, which `threads` may share.  `flops` and
    `nbytes` are the work of all runs by the model.  `limit` are the microseconds that this takes at the machine's
    limit, which is that of what it is `bound` by: a level of memory, or FMA, multiply-adds.

    >>> kernel = Kernel(0, "add", 2.0, chunks=1, flops=1000, nbytes=16_000, limit=1.5, bound="L2")
    >>> kernel.gflops, kernel.gigabytes, kernel.of_limit
    (0.5, 8.0, 0.75)
    """

    phase: int
    title: str
    microseconds: float
    chunks: int
    flops: int
    nbytes: int
    limit: float = 0.0
    bound: str = ""
    runs: int = 1
    threads: int = 1

    @property
    def gflops(self) -> float:
        """Billions of operations a second; 0 for a phase too short to be timed."""
        return self.flops / self.microseconds / 1e3 if self.microseconds else 0.0

    @property
    def gigabytes(self) -> float:
        """Billions of bytes a second; 0 for a phase too short to be timed."""
        return self.nbytes / self.microseconds / 1e3 if self.microseconds else 0.0

    @property
    def of_limit(self) -> float:
        """The share of the machine's limit that the phase reaches; 0 for one too short to be timed."""
        return self.limit / self.microseconds if self.microseconds else 0.0


@dataclass(frozen=True)
class Drawn:
    """What a page shows beside the table: the program, and the names of its outputs."""

    program: Program
    outputs: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Profile(Sequence[Kernel]):
    """The kernels of a program in the order in which they first run; as text a table.

    `call` are the microseconds of a whole call with arrays for its outputs, `call_making_outputs` those of one without;
    what a call takes beside its kernels is the way in, and from one to the next.

    >>> line = Roofline(1, (1 << 14, 1 << 24), (400.0, 40.0), {"float32": 200.0, "float64": 100.0}, ((1 << 15, "L1"),))
    >>> kernel = Kernel(0, "add", 2.0, 1, 1000, 16_000, 0.1, "L1")
    >>> print(str(Profile((kernel,), 2.25, 2.5, line)).partition("flops:")[0])
    phase    µs  share  runs  chunks  flops   bytes  GFLOP/s  GB/s  bound by  of limit  kernel
        0  2.00   100%     1       1  1,000  16,000     0.50  8.00        L1        5%  add
           2.00                                                                         all kernels
           2.25                                                                         a call, out= given
           2.50                                                                         a call
    <BLANKLINE>
    """

    kernels: tuple[Kernel, ...]
    call: float
    call_making_outputs: float
    roofline: Roofline
    drawn: Drawn | None = None

    def __len__(self) -> int:
        return len(self.kernels)

    @overload
    def __getitem__(self, k: int) -> Kernel: ...

    @overload
    def __getitem__(self, k: slice) -> tuple[Kernel, ...]: ...

    def __getitem__(self, k: int | slice) -> Kernel | tuple[Kernel, ...]:
        return self.kernels[k]

    @property
    def microseconds(self) -> float:
        """The time of all kernels together."""
        return sum(k.microseconds for k in self)

    @property
    def shares(self) -> list[float]:
        """Each kernel's share of the time of all."""
        whole = self.microseconds or 1.0
        return [k.microseconds / whole for k in self]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table, headings and sums included."""
        cells = [_cells(kernel, share) for kernel, share in zip(self, self.shares, strict=True)]
        blank = [""] * (len(_HEADINGS) - 3)
        sums = {
            "all kernels": self.microseconds,
            "a call, out= given": self.call,
            "a call": self.call_making_outputs,
        }
        return [_HEADINGS, *cells, *(("", f"{value:.2f}", *blank, name) for name, value in sums.items())]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figures are, and the limits that they are compared with."""
        line = self.roofline
        memory = [f"{name} {line.bandwidth(size // 2):.0f}" for size, name in line.levels]
        memory.append(f"DRAM {line.bandwidths[-1]:.0f}")
        peaks = ", ".join(f"{name} {peak:.0f}" for name, peak in line.peaks.items())
        threads = "1 thread" if line.threads == 1 else f"{line.threads} threads"
        limits = f"limits of {threads}, measured: {', '.join(memory)} GB/s (triad); {peaks} GFLOP/s (multiply-adds)"
        return *_MODEL, limits

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain data, which `json` takes: times in microseconds, GB/s, GFLOP/s.

        >>> line = Roofline(1, (1 << 14,), (400.0,), {"float32": 200.0, "float64": 100.0}, ())
        >>> profile = Profile((Kernel(0, "add", 2.0, 1, 1000, 16_000, 0.1, "L1"),), 2.5, 3.0, line)
        >>> profile.to_dict()["kernels"][0]["of_limit"]
        0.05
        """
        return {
            "kernels": [_plain(kernel) for kernel in self],
            "microseconds": self.microseconds,
            "call": self.call,
            "call_making_outputs": self.call_making_outputs,
            "limits": asdict(self.roofline),
        }

    def to_json(self) -> str:
        """The profile as JSON; see `to_dict`.

        >>> line = Roofline(1, (1 << 14,), (400.0,), {"float32": 200.0, "float64": 100.0}, ())
        >>> json.loads(Profile((), 2.5, 3.0, line).to_json())["call"]
        2.5
        """
        return json.dumps(self.to_dict(), indent=1)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page that stands by itself: the table, the graph in the colours of its kernels, and their text.

        Raises OSError if the file can't be written.

        >>> import tempfile
        >>> line = Roofline(1, (1 << 14,), (400.0,), {"float32": 200.0, "float64": 100.0}, ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Profile((), 2.5, 3.0, line).to_html(path := Path(folder) / "profile.html")
        ...     path.read_text()[:15]
        '<!doctype html>'
        """
        from graphc.inspect.page import document

        Path(path).write_text(document(self), encoding="utf-8")

    def _repr_html_(self) -> str:
        from graphc.inspect.page import contents

        return contents(self)

    def __str__(self) -> str:
        rows = self.rows
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.rjust(w) for cell, w in zip(row, widths[:-1], strict=False)) for row in rows)
        table = (f"{line}  {row[-1]}".rstrip() for line, row in zip(lines, rows, strict=True))
        return "\n".join([*table, *self.notes])

    __repr__ = __str__


def _cells(kernel: Kernel, share: float) -> tuple[str, ...]:
    return (
        str(kernel.phase),
        f"{kernel.microseconds:.2f}",
        f"{share:.0%}",
        *(f"{count:,}" for count in (kernel.runs, kernel.chunks, kernel.flops, kernel.nbytes)),
        f"{kernel.gflops:.2f}",
        f"{kernel.gigabytes:.2f}",
        kernel.bound,
        f"{kernel.of_limit:.0%}" if kernel.limit else "",
        kernel.title,
    )


def _plain(kernel: Kernel) -> dict[str, Any]:
    """A kernel with its rates."""
    return {**asdict(kernel), "gflops": kernel.gflops, "gigabytes": kernel.gigabytes, "of_limit": kernel.of_limit}


def profile(function: Any, /, *args: Any, repeat: int = 100, **kwargs: Any) -> Profile:
    """Time each kernel of a compiled function over `repeat` runs on these inputs; no parameter changes.

    Inputs are given as in a call.  Times are medians in microseconds, of runs of the whole program; beside them stands
    what the machine could do.  Raises DeclarationError for what is not compiled, InputError if `repeat` is no
    int >= 1, or where a call with these inputs would.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> kernel, = gc.inspect.profile(gc.compile([x], x + 1.0), [1.0, 2.0], repeat=3)
    >>> kernel.title, kernel.chunks, kernel.flops, kernel.nbytes, kernel.bound
    ('add', 1, 2, 32, 'L1')
    """
    if not callable(getattr(function, "profile", None)):
        raise DeclarationError(f"only compiled functions can be timed; got {function!r}")
    timed: Profile = function.profile(*args, repeat=repeat, **kwargs)
    return timed
