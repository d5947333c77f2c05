"""Drawings of graphs, made without any program beside Python.

In: a compiled function, a Graph or a node.  Out: SVG, or Graphviz's text.  Of a compiled function the graph that runs
is drawn, each node in the colour of the phase that computes it; white ones are computed again wherever they are read.
Styles stand in the elements and the one name is the drawing's own, so that a page may hold many, and its styles stay.
"""

from __future__ import annotations

import colorsys
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
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
from graphc.inspect.scene import Box, Scene, make_scene

_CHARACTER, _LINE, _MARGIN = 6.7, 14.0, 24.0  # of the text at 11 pixels
_LEAVES = {"input": ("#1d4ed8", "#1e3a8a"), "parameter": ("#475569", "#1e293b"), "constant": ("#f8fafc", "#64748b")}
_PLAIN = ("#ffffff", "#94a3b8")
_INK, _PAPER = "#0f172a", "#ffffff"
_LINES = {"title": f"font-weight:600;fill:{_INK}", "type": "fill:#475569", "gives": "font-weight:600;fill:#991b1b"}
_LIGHT = {"title": f"font-weight:600;fill:{_PAPER}", "type": f"fill:{_PAPER}", "gives": "font-weight:600;fill:#fecaca"}
_LEGEND = f"fill:{_INK}"
_NUMBER = "font-size:8px;fill:#475569"
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
    texts = {"what was done": explain(function.program), "the text that runs": function.source}
    folded = (html.folded(title, text) for title, text in texts.items())
    return html.block(html.heading(repr(function)), html.picture(drawing) if drawing else "", *folded)


def _scene(what: Any) -> Scene:
    graph = Graph((what,)) if isinstance(what, Node) else what
    if isinstance(graph, Graph):
        gives: dict[Node, list[str]] = {}
        for k, node in enumerate(graph.outputs):
            gives.setdefault(node, []).append(f"output {k}")
        return make_scene(record_graph(graph, gives, {}), [])
    program = getattr(what, "program", what)
    if not isinstance(program, Program) or "graph" not in program.records:
        raise DeclarationError(f"drawings are made of compiled functions, graphs and nodes; got {what!r}")
    return make_scene(program.records["graph"], [p.title for p in program.phases])


def _colours(box: Box) -> tuple[str, str]:
    """Fill and outline."""
    if box.kind != "node":
        return _LEAVES[box.kind]
    return _PLAIN if box.phase is None else _phase_colours(box.phase)


def _phase_colours(phase: int) -> tuple[str, str]:
    """Colours that differ much between phases that follow one another."""
    hue = phase * 0.381966 % 1
    return _hex(colorsys.hls_to_rgb(hue, 0.87, 0.75)), _hex(colorsys.hls_to_rgb(hue, 0.42, 0.55))


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)


# SVG


def to_svg(scene: Scene) -> str:
    """The drawing as the text of an SVG file."""
    placed = layout([_size(b) for b in scene.boxes], scene.edges)
    legend = list(_legend(scene))
    left = _MARGIN + (_legend_width(scene) + 2 * _MARGIN if legend else 0)
    width = left + placed.width + _MARGIN
    height = max(placed.height, _LINE * 1.6 * len(legend)) + 2 * _MARGIN
    tip = f"tip-{hashlib.sha256(repr(scene).encode('utf-8', 'replace')).hexdigest()[:12]}"
    edge = f"fill:none;stroke:#94a3b8;stroke-width:1.1;marker-end:url(#{tip})"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" style="font:11px monospace;background:{_PAPER}">',
            f'<defs><marker id="{tip}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0.8 L8 4 L0 7.2 z" style="fill:#64748b"/></marker></defs>',
            f'<rect width="100%" height="100%" style="fill:{_PAPER}"/>',
            *legend,
            f'<g transform="translate({left:.1f} {_MARGIN:.1f})">',
            *(f'<path style="{edge}" d="{_curve(route)}"/>' for route in placed.routes),
            *_drawn_boxes(scene, placed),
            "</g>",
            "</svg>\n",
        ]
    )


def _text_lines(box: Box) -> list[tuple[str, str]]:
    """Class and text of each line."""
    title, *details = box.lines
    return [("title", title), *(("type", line) for line in details), *(("gives", f"→ {name}") for name in box.gives)]


def _size(box: Box) -> Point:
    lines = _text_lines(box)
    return max(len(line) for _, line in lines) * _CHARACTER + 22, len(lines) * _LINE + 8


def _curve(route: Sequence[Point]) -> str:
    """A smooth path that leaves and arrives straight down, and passes each point in the direction of its neighbours."""
    slopes = [0.0, *((c[0] - a[0]) / (c[1] - a[1]) for a, c in zip(route, route[2:], strict=False)), 0.0]
    text = f"M{route[0][0]:.1f} {route[0][1]:.1f}"
    for ((x0, y0), (x1, y1)), (leaving, arriving) in zip(pairwise(route), pairwise(slopes), strict=True):
        reach = (y1 - y0) / (2 if len(route) == 2 else 3)
        points = (x0 + reach * leaving, y0 + reach, x1 - reach * arriving, y1 - reach, x1, y1)
        text += f" C{' '.join(f'{p:.1f}' for p in points)}"
    return text


def _drawn_boxes(scene: Scene, placed: Layout) -> Iterator[str]:
    for box, (x, y) in zip(scene.boxes, placed.centres, strict=True):
        width, height = _size(box)
        radius = 5 if box.kind == "node" else height / 2
        styles = _LIGHT if box.kind in ("input", "parameter") else _LINES
        yield f'<g data-kind="{box.kind}">'
        stroke = 2.2 if box.gives else 1.1
        yield _rectangle((x - width / 2, y - height / 2), (width, height), radius, _colours(box), stroke)
        for k, (kind, line) in enumerate(_text_lines(box)):
            baseline = y - height / 2 + 4 + _LINE * (k + 0.8)
            yield _text((x, baseline), line, styles[kind], middle=True)
        if box.phase is not None:
            yield _text((x - width / 2 + 4, y - height / 2 + 9), str(box.phase), _NUMBER)
        yield "</g>"


def _rectangle(corner: Point, size: Point, radius: float, colours: tuple[str, str], line: float) -> str:
    place = f'x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}" rx="{radius:.1f}"'
    return f'<rect {place} style="fill:{colours[0]};stroke:{colours[1]};stroke-width:{line}"/>'


def _text(place: Point, text: str, style: str, middle: bool = False) -> str:
    anchor = ";text-anchor:middle" if middle else ""
    return f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" style="{style}{anchor}">{escape(text)}</text>'


def _legend(scene: Scene) -> Iterator[str]:
    for k, title in enumerate(scene.phases):
        y = _MARGIN + 1.6 * _LINE * k
        yield _rectangle((_MARGIN, y), (26, 16), 4, _phase_colours(k), 1.1)
        yield _text((_MARGIN + 13, y + 12), str(k), _LEGEND, middle=True)
        yield _text((_MARGIN + 34, y + 12), title, _LEGEND)


def _legend_width(scene: Scene) -> float:
    return 34 + max(map(len, scene.phases)) * _CHARACTER


# Graphviz


def to_dot(scene: Scene) -> str:
    """The drawing as Graphviz's text, the nodes of a phase in a cluster."""
    lines = ["digraph graph_ {", '  node [shape=box, style="filled,rounded", fontname=monospace, fontsize=10];']
    lines += [f"  {_dot_node(k, box)}" for k, box in enumerate(scene.boxes) if box.phase is None]
    for phase, title in enumerate(scene.phases):
        members = [f"    {_dot_node(k, box)}" for k, box in enumerate(scene.boxes) if box.phase == phase]
        if members:
            lines += [f"  subgraph cluster_{phase} {{", f"    label={_quoted(f'{phase}: {title}')};", *members, "  }"]
    lines += [f"  n{source} -> n{target};" for source, target in scene.edges]
    return "\n".join([*lines, "}\n"])


def _dot_node(number: int, box: Box) -> str:
    fill, outline = _colours(box)
    ink = "#ffffff" if box.kind in ("input", "parameter") else "#0f172a"
    label = _quoted("\n".join(line for _, line in _text_lines(box)))
    return f'n{number} [label={label}, fillcolor="{fill}", color="{outline}", fontcolor="{ink}"];'


def _quoted(text: str) -> str:
    """A string of the DOT language, which escapes quotes, backslashes and line ends as JSON does."""
    return json.dumps(text, ensure_ascii=False)


_FORMATS = {".svg": to_svg, ".dot": to_dot, ".gv": to_dot}
