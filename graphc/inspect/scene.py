"""What a drawing shows: boxes with their text, the edges between them, and the phases.

In: rows of a recorded graph.  Out: a Scene, which draw writes as SVG or as Graphviz's text.  A scalar constant stands
in the text of its reader; another leaf is drawn once for every phase that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
_LEAVES = ("input", "parameter", "constant")
_LONGEST = 36  # characters in a line of a box


@dataclass(frozen=True)
class Box:
    """A node as drawn; `kind` is input, parameter, constant or node, `phase` the only one that computes it."""

    kind: str
    lines: tuple[str, ...]
    gives: tuple[str, ...]  # the results that it is
    phase: int | None = None


@dataclass
class Scene:
    """Boxes in an order in which every edge, a pair of numbers of boxes, leads from a lower to a higher number."""

    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)


def make_scene(rows: Sequence[Row], phases: Sequence[str]) -> Scene:
    """The scene of a recorded graph; `phases` are the titles."""
    scene = Scene(phases=list(phases))
    drawn: dict[tuple[int, tuple[int, ...]], int] = {}

    def box(k: int, readers: Sequence[int] = ()) -> int:
        """The box of node k, for a leaf the one that these phases read."""
        key = (k, tuple(readers) if _kind(rows[k]) != "node" else ())
        if key not in drawn:
            drawn[key] = len(scene.boxes)
            scene.boxes.append(_box(rows, k, with_results=not key[1]))
        return drawn[key]

    for k, row in enumerate(rows):
        if _kind(row) == "node":
            sources = [box(o, row["phases"]) for o in row["operands"] if not _is_in_text(rows[o])]
            target = box(k)
            scene.edges += [(source, target) for source in sources]
        elif row["gives"]:
            box(k)
    return scene


def _kind(row: Row) -> str:
    return row["op"] if row["op"] in _LEAVES else "node"


def _is_in_text(row: Row) -> bool:
    return bool(_kind(row) == "constant" and row["type"].endswith("[]"))


def _box(rows: Sequence[Row], k: int, with_results: bool) -> Box:
    row, kind = rows[k], _kind(rows[k])
    phase = row["phases"][0] if len(row["phases"]) == 1 else None
    lines = [row["says"] or row["op"]] if kind != "node" else [_call(rows, row), row["says"]]
    lines = [_shortened(line) for line in (*lines, row["type"]) if line]
    return Box(kind, tuple(lines), tuple(map(_printable, row["gives"])) if with_results else (), phase)


def _call(rows: Sequence[Row], row: Row) -> str:
    """The op, with its scalar constants where it has any."""
    operands = [rows[o]["says"] if _is_in_text(rows[o]) else "·" for o in row["operands"]]
    return f"{row['op']}({', '.join(operands)})" if set(operands) - {"·"} else str(row["op"])


def _printable(text: str) -> str:
    """The text on one line; what no file of SVG may hold, such as NUL, has a sign of its own."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _shortened(line: str) -> str:
    line = _printable(line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
