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

    def advance(self, samples: int) -> None:
        pass

    def end(self, values: Mapping[str, float]) -> None:
        pass


class Lines(Report):
    """A line a pass."""

    def begin(self, title: str) -> None:
        self.title, self.start = title, time.perf_counter()

    def end(self, values: Mapping[str, float]) -> None:
        seconds = time.perf_counter() - self.start
        print(" - ".join([self.title, f"{seconds:.3g} s", *_texts(values)]), flush=True)


class Bar(Report):
    """A bar over all passes, with the values of the last one."""

    interval = 0.1

    def __enter__(self) -> Report:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        title, values = TextColumn("{task.description}"), TextColumn("{task.fields[values]}")
        self.progress = Progress(title, BarColumn(), TimeRemainingColumn(), values)
        self.progress.start()
        self.task = self.progress.add_task("", total=self.samples, values="")
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.stop()

    def begin(self, title: str) -> None:
        self.progress.update(self.task, description=title)

    def advance(self, samples: int) -> None:
        self.progress.advance(self.task, samples)

    def end(self, values: Mapping[str, float]) -> None:
        self.progress.update(self.task, values=" - ".join(_texts(values)))


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
