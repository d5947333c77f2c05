"""What a drawing shows: boxes with their text, the edges between them, and the phases.

In: rows of a recorded graph.  Out: a Scene, which draw writes as SVG or as Graphviz's text.  A scalar constant stands
in the text of its reader; another leaf is drawn once for every phase that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphc.codegen.source import printable
from graphc.inspect.parts import Row, Where, parts, where_declared
from graphc.line import Line

_LONGEST = 36  # characters in a line of a box


@dataclass(frozen=True)
class Box:
    """A node as drawn; `kind` is input, parameter, constant or the part of a node, `phase` the only one with it."""

    kind: str
    lines: tuple[str, ...]
    gives: tuple[str, ...]  # the results that it is
    phase: int | None = None
    layer: str = ""
    line: str = ""  # the user's


@dataclass
class Scene:
    """Boxes in an order in which every edge, a pair of numbers of boxes, leads from a lower to a higher number."""

    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)


def make_scene(records: Mapping[str, Any], phases: Sequence[str], result: Callable[[str, int], str]) -> Scene:
    """The scene of the records "graph" and "lines"; `phases` are the titles, `result` names an output or parameter."""
    scene = Scene(phases=list(phases))
    rows: Sequence[Row] = records["graph"]
    of = parts(rows, records["lines"])
    drawn: dict[tuple[int, tuple[int, ...]], int] = {}

    def box(k: int, readers: Sequence[int] = ()) -> int:
        """The box of node k, for a leaf the one that these phases read."""
        key = (k, () if of[k] else tuple(readers))
        if key not in drawn:
            drawn[key] = len(scene.boxes)
            gives = () if key[1] else tuple(printable(result(*place)) for place in rows[k]["gives"])
            scene.boxes.append(_box(rows, k, of[k], where_declared(rows[k], records["lines"]), gives))
        return drawn[key]

    for k, row in enumerate(rows):
        if of[k]:
            sources = [box(o, row["phases"]) for o in row["operands"] if not _is_in_text(rows[o])]
            target = box(k)
            scene.edges += [(source, target) for source in sources]
        elif row["gives"]:
            box(k)
    return scene


def _is_in_text(row: Row) -> bool:
    return bool(row["op"] == "constant" and row["type"].endswith("[]"))


def _box(rows: Sequence[Row], k: int, part: str, where: Where | None, gives: tuple[str, ...]) -> Box:
    row = rows[k]
    phase = row["phases"][0] if len(row["phases"]) == 1 else None
    file, number, _, layer = where or ("", 0, "", "")
    lines = [_call(rows, row), row["says"], row["type"]] if part else [row["says"] or row["op"], row["type"]]
    lines = [_shortened(line) for line in lines if line]
    line = printable(str(Line(file, number))) if file else ""
    return Box(part or row["op"], tuple(lines), gives, phase, _shortened(layer) if part else "", line)


def _call(rows: Sequence[Row], row: Row) -> str:
    """The op, with its scalar constants where it has any."""
    operands = [rows[o]["says"] if _is_in_text(rows[o]) else "·" for o in row["operands"]]
    return f"{row['op']}({', '.join(operands)})" if set(operands) - {"·"} else str(row["op"])


def _shortened(line: str) -> str:
    line = printable(line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
