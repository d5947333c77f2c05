"""Drawings of graphs, made without any program beside Python.

In: a compiled function, a Graph or a node.  Out: SVG, or Graphviz's text.  Of a compiled function the graph that runs
is drawn: a node in the colour of its part, forward, adjoint or update, with the number of the phase that computes it;
one in dashes is computed again wherever it is read.  Every element states all of its style and nothing has a name, so
that a page may hold many drawings, and neither its styles nor theirs reach the other.
"""

from __future__ import annotations

import colorsys
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from graphc.codegen.program import Program
from graphc.codegen.record import record_graph
from graphc.errors import DeclarationError
from graphc.graph import Graph, Node
from graphc.inspect import html
from graphc.inspect.explain import explain
from graphc.inspect.layout import Layout, Point, layout
from graphc.inspect.names import outputs_of
from graphc.inspect.parts import LEAVES, PARTS
from graphc.inspect.scene import Box, Scene, make_scene

_CHARACTER, _LINE, _MARGIN = 6.7, 14.0, 24.0  # of the text at 11 pixels
_COLOURS = {  # fill and outline; those of the parts can be told apart by all eyes (Okabe and Ito, 2008)
    "input": ("#1d4ed8", "#1e3a8a"),
    "parameter": ("#475569", "#1e293b"),
    "constant": ("#f8fafc", "#64748b"),
    "forward": ("#dceefa", "#0072b2"),
    "adjoint": ("#fde5d3", "#d55e00"),
    "update": ("#d5f2e7", "#009e73"),
}
_INK, _PAPER, _EDGE = "#0f172a", "#ffffff", "#94a3b8"
_FONT = "font:11px monospace"
_TEXTS = {
    "title": f"font:600 11px monospace;fill:{_INK}",
    "detail": f"{_FONT};fill:#475569",
    "layer": "font:italic 11px monospace;fill:#475569",
    "gives": "font:600 11px monospace;fill:#991b1b",
}
_TEXTS_ON_DARK = {
    "title": f"font:600 11px monospace;fill:{_PAPER}",
    "detail": f"{_FONT};fill:{_PAPER}",
    "layer": f"font:italic 11px monospace;fill:{_PAPER}",
    "gives": "font:600 11px monospace;fill:#fecaca",
}
_TEXTS_ON_TONES = {kind: f"{style.partition(';fill')[0]};fill:{_INK}" for kind, style in _TEXTS.items()}
_LEGEND = f"{_FONT};fill:{_INK}"
_NUMBER = f"font:8px monospace;fill:{_INK}"
_ROW = 1.6 * _LINE  # of the legend
_MOST = 400  # boxes of a drawing that is made without being asked for; it takes a second


def draw(what: Any, path: str | os.PathLike[str]) -> None:
    """Draw a compiled function, a Graph or a node: SVG or, if `path` ends in .dot or .gv, Graphviz's text.

    Raises DeclarationError for a path of another ending, or if `what` is something else, or a function made of a
    program without its graph.

    >>> import pathlib, tempfile
    >>> import graphc as gc
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "exp.svg"
    ...     gc.inspect.draw(gc.exp(gc.input("x", ("n",))), path)
    ...     path.read_text()[:4]
    '<svg'
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        advice = f"write {str(path.with_suffix('.svg'))!r}; a browser or Graphviz makes pictures of other kinds from it"
        raise DeclarationError(f"a drawing ends in {', '.join(_FORMATS)}, got {str(path)!r}; {advice}")
    path.write_text(_FORMATS[path.suffix](_scene(what)), encoding="utf-8")


def svg(what: Any) -> str | None:
    """The drawing for a notebook: SVG, or None if it would be too large to look at."""
    scene = _scene(what)
    return to_svg(scene) if len(scene.boxes) <= _MOST else None


def page(function: Any) -> str:
    """A compiled function for a notebook, as HTML: what it takes and gives, its drawing, and texts to be opened."""
    drawing = svg(function) if "graph" in function.program.records else None
    texts = {"what was done": explain(function), "the text that runs": function.source}
    folded = (html.folded(title, text) for title, text in texts.items())
    return html.block(html.heading(repr(function)), html.scrolled(drawing) if drawing else "", *folded)


def _scene(what: Any) -> Scene:
    graph = Graph((what,)) if isinstance(what, Node) else what
    if isinstance(graph, Graph):
        gives: dict[Node, list[tuple[str, int]]] = {}
        for k, node in enumerate(graph.outputs):
            gives.setdefault(node, []).append(("output", k))
        names = outputs_of(graph)
        return make_scene(record_graph(graph, gives, {}), [], lambda _, number: names[number])
    program = getattr(what, "program", what)
    if not isinstance(program, Program) or "graph" not in program.records:
        raise DeclarationError(f"drawings are made of compiled functions, graphs and nodes; got {what!r}")
    return program_scene(program, outputs_of(what))


def program_scene(program: Program, outputs: Sequence[str]) -> Scene:
    """What a drawing of a program shows, whose outputs have these names."""
    results = {"output": outputs, "parameter": [f"new {slot.name}" for slot in program.parameters]}
    return make_scene(program.records, [p.title for p in program.phases], lambda kind, number: results[kind][number])


def tone(number: int, depth: float) -> tuple[str, str]:
    """Fill and outline of a hue for each number, from pale to deep; ink can be read on all of them."""
    hue = number * 0.381966 % 1
    fill = colorsys.hls_to_rgb(hue, 0.96 - 0.24 * depth, 0.9)
    return _hex(fill), _hex(colorsys.hls_to_rgb(hue, 0.42, 0.55))


def _phase_colours(phase: int) -> tuple[str, str]:
    """Colours that differ much between phases that follow one another."""
    hue = phase * 0.381966 % 1
    return _hex(colorsys.hls_to_rgb(hue, 0.87, 0.75)), _hex(colorsys.hls_to_rgb(hue, 0.42, 0.55))


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)


# SVG


def to_svg(scene: Scene, tones: Mapping[int, tuple[str, str]] | None = None) -> str:
    """The drawing as the text of an SVG file; nodes are in the colours of their parts, as a legend beside them tells.

    Where phases have `tones`, nodes have those of their phases, and there is no legend.
    """
    placed = layout([_size(b) for b in scene.boxes], scene.edges)
    legend = [] if tones else _legend(scene)
    left = 2 * _MARGIN + 34 + max(len(text) for _, text in legend) * _CHARACTER + _MARGIN if legend else _MARGIN
    width = left + placed.width + _MARGIN
    height = max(placed.height, _ROW * len(legend)) + 2 * _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" style="{_FONT};background:{_PAPER}">',
            f'<rect width="100%" height="100%" style="fill:{_PAPER};stroke:none"/>',
            *_drawn_legend(legend),
            f'<g transform="translate({left:.1f} {_MARGIN:.1f})">',
            *_drawn_edges(scene, placed),
            *_drawn_boxes(scene, placed, tones or {}),
            "</g>",
            "</svg>\n",
        ]
    )


def _text_lines(box: Box) -> list[tuple[str, str]]:
    """Kind and text of each line."""
    title, *details = box.lines
    found = [("title", title), *(("detail", line) for line in details)]
    found += [("layer", f"in {box.layer}")] if box.layer else []
    return found + [("gives", f"→ {name}") for name in box.gives]


def _size(box: Box) -> Point:
    lines = _text_lines(box)
    return max(len(line) for _, line in lines) * _CHARACTER + 22, len(lines) * _LINE + 8


def _drawn_edges(scene: Scene, placed: Layout) -> Iterator[str]:
    """Each edge in the colour of the part that it comes from, with its tip."""
    for (source, _), route in zip(scene.edges, placed.routes, strict=True):
        kind = scene.boxes[source].kind
        colour = _COLOURS[kind][1] if kind in PARTS else _EDGE
        x, y = route[-1]
        line = f"fill:none;stroke:{colour};stroke-width:1.1;stroke-opacity:.6;stroke-dasharray:none"
        yield f'<path d="{_curve(route)}" style="{line}"/>'
        yield f'<path d="M{x - 3:.1f} {y - 6:.1f} h6 L{x:.1f} {y:.1f} z" style="fill:{colour};stroke:none"/>'


def _curve(route: Sequence[Point]) -> str:
    """A smooth path that leaves and arrives straight down, and passes each point in the direction of its neighbours."""
    slopes = [0.0, *((c[0] - a[0]) / (c[1] - a[1]) for a, c in zip(route, route[2:], strict=False)), 0.0]
    text = f"M{route[0][0]:.1f} {route[0][1]:.1f}"
    for ((x0, y0), (x1, y1)), (leaving, arriving) in zip(pairwise(route), pairwise(slopes), strict=True):
        reach = (y1 - y0) / (2 if len(route) == 2 else 3)
        points = (x0 + reach * leaving, y0 + reach, x1 - reach * arriving, y1 - reach, x1, y1)
        text += f" C{' '.join(f'{p:.1f}' for p in points)}"
    return text


def _drawn_boxes(scene: Scene, placed: Layout, tones: Mapping[int, tuple[str, str]]) -> Iterator[str]:
    for box, (x, y) in zip(scene.boxes, placed.centres, strict=True):
        width, height = _size(box)
        radius = height / 2 if box.kind in LEAVES else 5
        toned = None if box.phase is None else tones.get(box.phase)
        texts = _TEXTS_ON_DARK if box.kind in ("input", "parameter") else _TEXTS_ON_TONES if toned else _TEXTS
        yield f'<g data-kind="{box.kind}">' + (f"<title>{escape(box.line)}</title>" if box.line else "")
        line = (2.2 if box.gives else 1.1, _is_computed_again(scene, box))
        yield _rectangle((x - width / 2, y - height / 2), (width, height), radius, toned or _COLOURS[box.kind], *line)
        for k, (kind, text) in enumerate(_text_lines(box)):
            baseline = y - height / 2 + 4 + _LINE * (k + 0.8)
            yield _text((x, baseline), text, texts[kind], middle=True)
        if box.phase is not None:
            yield from _number((x - width / 2 - 3, y - height / 2 - 4), box.phase)
        yield "</g>"


def _is_computed_again(scene: Scene, box: Box) -> bool:
    return bool(scene.phases) and box.kind in PARTS and box.phase is None


def _number(corner: Point, phase: int) -> Iterator[str]:
    """The number of a phase, on its colour."""
    width = 6 + 5.0 * len(str(phase))
    yield _rectangle(corner, (width, 11), 3, _phase_colours(phase), 0.8)
    yield _text((corner[0] + width / 2, corner[1] + 8.5), str(phase), _NUMBER, middle=True)


def _rectangle(
    corner: Point, size: Point, radius: float, colours: tuple[str, str], line: float, dashed: bool = False
) -> str:
    place = f'x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}" rx="{radius:.1f}"'
    outline = f"stroke:{colours[1]};stroke-width:{line};stroke-dasharray:{'4 3' if dashed else 'none'}"
    return f'<rect {place} style="fill:{colours[0]};{outline}"/>'


def _text(place: Point, text: str, style: str, middle: bool = False) -> str:
    style = f"{style};stroke:none;text-anchor:{'middle' if middle else 'start'}"
    return f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" style="{style}">{escape(text)}</text>'


def _legend(scene: Scene) -> list[tuple[str | int, str]]:
    """What stands in the legend: parts, if there are several, and phases by their numbers, each with its text."""
    found: list[tuple[str | int, str]] = [(part, part) for part in PARTS if any(b.kind == part for b in scene.boxes)]
    if any(_is_computed_again(scene, box) for box in scene.boxes):
        found.append(("again", "computed again wherever it is read"))
    return [*(found if len(found) > 1 else ()), *enumerate(scene.phases)]


def _drawn_legend(legend: Sequence[tuple[str | int, str]]) -> Iterator[str]:
    for k, (what, text) in enumerate(legend):
        y = _MARGIN + _ROW * k
        if isinstance(what, int):
            yield from _number((_MARGIN + 7.5 - 2.5 * len(str(what)), y + 2.5), what)
        else:
            colours = _COLOURS.get(what, (_PAPER, _EDGE))
            yield _rectangle((_MARGIN, y), (20, 14), 4, colours, 1.1, dashed=what not in _COLOURS)
        yield _text((_MARGIN + 30, y + 11), text, _LEGEND)


# Graphviz


def to_dot(scene: Scene) -> str:
    """The drawing as Graphviz's text, the nodes of a phase in a cluster."""
    lines = ["digraph graph_ {", '  node [shape=box, style="filled,rounded", fontname=monospace, fontsize=10];']
    for k, box in enumerate(scene.boxes):
        if box.phase is None:
            lines.append(f"  {_dot_node(k, box, _is_computed_again(scene, box))}")
    for phase, title in enumerate(scene.phases):
        members = [f"    {_dot_node(k, box, False)}" for k, box in enumerate(scene.boxes) if box.phase == phase]
        if members:
            lines += [f"  subgraph cluster_{phase} {{", f"    label={_quoted(f'{phase}: {title}')};", *members, "  }"]
    lines += [f"  n{source} -> n{target};" for source, target in scene.edges]
    return "\n".join([*lines, "}\n"])


def _dot_node(number: int, box: Box, again: bool) -> str:
    fill, outline = _COLOURS[box.kind]
    ink = _PAPER if box.kind in ("input", "parameter") else _INK
    style = ', style="filled,rounded,dashed"' if again else ""
    label = _quoted("\n".join(line for _, line in _text_lines(box)))
    return f'n{number} [label={label}, fillcolor="{fill}", color="{outline}", fontcolor="{ink}"{style}];'


def _quoted(text: str) -> str:
    """A string of the DOT language, which escapes quotes, backslashes and line ends as JSON does."""
    return json.dumps(text, ensure_ascii=False)


_FORMATS = {".svg": to_svg, ".dot": to_dot, ".gv": to_dot}
