"""What a fit or an evaluation shows while it runs: nothing, a line an epoch, or a bar.

In: verbose as Keras has it (0, 1, 2 or "auto") and how much there is to do.  Out: a Report that is told about samples
and epochs as they are done.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping
from typing import Any

from graphc.errors import InputError


class Report:
    """Shows nothing; the base of what shows more."""

    #: how long a call may run before it has to come back with news, None if news are wanted at the end of an epoch
    interval: float | None = None

    def __init__(self, epochs: int, samples: int) -> None:
        self.epochs, self.samples = epochs, samples

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def begin_epoch(self, epoch: int) -> None:
        pass

    def advance(self, samples: int) -> None:
        pass

    def end_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        pass


class Lines(Report):
    """A line an epoch."""

    def begin_epoch(self, epoch: int) -> None:
        self.start = time.perf_counter()

    def end_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        seconds = time.perf_counter() - self.start
        print(f"Epoch {epoch + 1}/{self.epochs} - {seconds:.3g} s - {values_text(values)}", flush=True)


class Bar(Report):
    """A bar over all epochs, with the values of the last one."""

    interval = 0.1

    def __enter__(self) -> Report:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        epoch, values = TextColumn("epoch {task.fields[epoch]}"), TextColumn("{task.fields[values]}")
        self.progress = Progress(epoch, BarColumn(), TimeRemainingColumn(), values)
        self.progress.start()
        self.task = self.progress.add_task("", total=self.epochs * self.samples, epoch="", values="")
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.stop()

    def begin_epoch(self, epoch: int) -> None:
        self.progress.update(self.task, epoch=f"{epoch + 1}/{self.epochs}")

    def advance(self, samples: int) -> None:
        self.progress.advance(self.task, samples)

    def end_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        self.progress.update(self.task, values=values_text(values))


def report(verbose: Any, epochs: int, samples: int) -> Report:
    """The Report that `verbose` asks for; "auto" is a bar on a terminal and lines elsewhere.

    Without rich, lines take the place of the bar.
    """
    if isinstance(verbose, bool):
        verbose = int(verbose)
    if verbose not in ("auto", 0, 1, 2):
        raise InputError(f'verbose is 0 (silent), 1 (a bar), 2 (a line an epoch) or "auto", got {verbose!r}')
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    if verbose == 1 and importlib.util.find_spec("rich") is None:
        verbose = 2
    return (Report, Bar, Lines)[verbose](epochs, samples)


def values_text(values: Mapping[str, float]) -> str:
    """`loss: 0.4312 - accuracy: 0.8775`."""
    return " - ".join(f"{name}: {value:.4f}" for name, value in values.items())
