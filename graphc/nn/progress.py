"""What fit, evaluate and predict show while they run: nothing, a line a pass over the samples, or a bar.

In: verbose as Keras has it (0, 1, 2 or "auto") and how many samples there are to go.  Out: a Report that is told what
begins and what is done.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping
from typing import Any

from graphc.errors import InputError

_BAR = 24  # columns


class Report:
    """Shows nothing; the base of what shows more."""

    #: seconds after which news are wanted within a pass, None if they are wanted at its end
    interval: float | None = None

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def begin(self, title: str) -> None:
        pass

    def advance(self, samples: int, values: Mapping[str, float]) -> None:
        """`values` are means over these samples."""

    def end(self, values: Mapping[str, float]) -> None:
        pass


class Lines(Report):
    """A line a pass."""

    def begin(self, title: str) -> None:
        self.title, self.start = title, time.perf_counter()

    def end(self, values: Mapping[str, float]) -> None:
        self.show(" - ".join([self.title, f"{time.perf_counter() - self.start:.3g} s", *_texts(values)]))

    def show(self, line: str) -> None:
        print(line, flush=True)


class Bar(Lines):
    """A bar over all passes under a line for each that is done, with the loss so far of the one that runs.

    The bar has one value, so that 80 columns hold it; the lines have all.
    """

    interval = 0.1

    def __enter__(self) -> Report:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        title, loss = (TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[loss]"))
        self.progress = Progress(title, BarColumn(_BAR), TimeRemainingColumn(), loss, transient=True)
        self.progress.disable = not self.progress.console.is_terminal  # in a pipe the lines alone
        self.progress.start()
        self.task = self.progress.add_task("", total=self.samples, loss="")
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.stop()

    def begin(self, title: str) -> None:
        super().begin(title)
        self.done, self.sum = 0, 0.0
        self.progress.update(self.task, description=title, loss="")

    def advance(self, samples: int, values: Mapping[str, float]) -> None:
        self.progress.advance(self.task, samples)
        if "loss" in values:
            self.done += samples
            self.sum += samples * values["loss"]
            self.progress.update(self.task, loss=_texts({"loss": self.sum / self.done})[0])

    def show(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def report(verbose: Any, samples: int) -> Report:
    """The Report that `verbose` asks for; "auto" is a bar on a terminal and lines elsewhere.

    Without rich, lines take the place of the bar.  Raises InputError for another `verbose`.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise InputError(f'verbose is 0 (silent), 1 (a bar), 2 (lines) or "auto", got {verbose!r}')
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    if verbose == 1 and importlib.util.find_spec("rich") is None:
        verbose = 2
    return (Report, Bar, Lines)[verbose](samples)


def _texts(values: Mapping[str, float]) -> list[str]:
    return [f"{name}: {value:.4f}" for name, value in values.items()]
