"""Lines of the user's program, by which errors and nodes say where something was written.

In: the stack of a running declaration.  Out: the innermost line outside graphc.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_PACKAGE = str(Path(__file__).parent)


class Line(NamedTuple):
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
    file = frame.f_code.co_filename
    while file.startswith(_PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
        file = frame.f_code.co_filename
    return Line(file, frame.f_lineno)
