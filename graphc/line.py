"""Lines of the user's program, by which errors and nodes say where something was written, and what it is for.

In: the stack of a running declaration.  Out: the innermost line outside graphc, with the part of the program and the
layer that are being declared.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from graphc.graph import Node

_PACKAGE = str(Path(__file__).parent)
_GENERATED = "<string>"  # the file of what dataclasses generate, and of `python -c`


class Purpose(NamedTuple):
    """What is declared: forward, adjoint or update, in which layer; an adjoint also of which line."""

    part: str = "forward"
    layer: str = ""
    of: Line | None = None


_FORWARD = Purpose()


class Line(NamedTuple):
    """A line of the user's program, and what was declared there."""

    file: str
    number: int
    purpose: Purpose = _FORWARD

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.number).strip()
        return f"{self.file}:{self.number}" + (f": {text}" if text else "")

    @property
    def plain(self) -> tuple[str, int, str, str]:
        """File, number, part and layer; file and number of an adjoint are those of what it is the adjoint of."""
        shown = self.purpose.of or self
        return shown.file, shown.number, self.purpose.part, self.purpose.layer


class _Standing(threading.local):
    line: Line | None = None
    purpose: Purpose = _FORWARD


_standing = _Standing()


@contextmanager
def _for(purpose: Purpose) -> Iterator[None]:
    before, _standing.purpose = _standing.purpose, purpose
    try:
        yield
    finally:
        _standing.purpose = before


@contextmanager
def standing_at(line: Line) -> Iterator[None]:
    """What is declared in here stands at this line: nodes that a pass puts in the place of another."""
    before, _standing.line = _standing.line, line
    try:
        yield
    finally:
        _standing.line = before


def adjoint_of(line: Line) -> AbstractContextManager[None]:
    """What is declared in here is the adjoint of what that line declared."""
    return _for(Purpose("adjoint", line.purpose.layer, line.purpose.of or line))


def updating() -> AbstractContextManager[None]:
    """What is declared in here are new values of parameters."""
    return _for(Purpose("update"))


def inside(layer: str) -> AbstractContextManager[None]:
    """What is declared in here belongs to the layer of this name, in the layer that is being declared."""
    now = _standing.purpose
    return _for(Purpose(now.part, f"{now.layer}/{layer}" if now.layer else layer, now.of))


def with_own_lines(nodes: Iterable[Node]) -> set[Node]:
    """The nodes, of these in order, that depend on an input or a parameter.

    The others are shared by all programs, so that their line may be that of another program.
    """
    own: set[Node] = set()
    for node in nodes:
        if node.op.name in ("input", "parameter") or any(o in own for o in node.operands):
            own.add(node)
    return own


def declared_adjoint(nodes: Sequence[Node]) -> set[Node]:
    """The nodes, of these in order, that were declared as an adjoint, by this program."""
    return {n for n in with_own_lines(nodes) if n.operands and n.line.purpose.part == "adjoint"}


def is_users(frame: FrameType) -> bool:
    """Whether a frame runs code of a module outside of graphc.

    What dataclasses generate has no file of its own, but belongs to a module.
    """
    return str(frame.f_globals.get("__name__")).partition(".")[0] != __package__


def users_line() -> Line:
    """The line that is running, outside graphc, or the one that a pass works for."""
    if _standing.line is not None:
        return _standing.line
    frame = sys._getframe(1)
    file = frame.f_code.co_filename
    while (file.startswith(_PACKAGE) or (file == _GENERATED and not is_users(frame))) and frame.f_back is not None:
        frame = frame.f_back
        file = frame.f_code.co_filename
    return Line(file, frame.f_lineno, _standing.purpose)
