"""Lines of the user's program, by which errors and nodes say where something was written.

In: the stack of a running declaration.  Out: the innermost line outside graphc.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Line:
    """A line of the user's program."""

    file: str
    number: int

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.number).strip()
        return f"{self.file}:{self.number}" + (f": {text}" if text else "")


_standing = threading.local()


@contextmanager
def standing_at(line: Line) -> Iterator[None]:
    """What is declared in here stands at this line: nodes that a pass puts in the place of another."""
    before = getattr(_standing, "line", None)
    _standing.line = line
    try:
        yield
    finally:
        _standing.line = before


def users_line() -> Line:
    """The line that is running, outside graphc, or the one that a pass works for."""
    line: Line | None = getattr(_standing, "line", None)
    if line is not None:
        return line
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Line(frame.f_code.co_filename, frame.f_lineno)
