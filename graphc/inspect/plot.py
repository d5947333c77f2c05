"""Curves over epochs, as SVG for notebooks.

In: a few named curves in panels.  Out: SVG.  Text has the colour of the page, curves have colours that stand out on
light pages and on dark ones; styles stand in the elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from graphc.inspect.html import shown

Curve = Sequence[float]
Point = tuple[float, float]

_WIDTH, _HEIGHT = 320.0, 190.0  # of a panel
_LEFT, _TOP, _RIGHT, _BOTTOM = 74.0, 28.0, 18.0, 34.0  # around its curves
_COLOURS = ("#3b82f6", "#ea580c", "#16a34a", "#a855f7")
_AXIS = "fill:none;stroke:rgba(128,128,128,.7);stroke-width:1;stroke-dasharray:none"
_FONT = "font:11px ui-monospace,monospace"
_MOST = 400  # points of a curve
_LONGEST = 14  # characters of a name
_CHARACTER = 6.7


def plot(epochs: Sequence[int], panels: Sequence[Mapping[str, Curve]]) -> str:
    """Panels side by side, each with curves over the epochs; values that are not finite leave gaps."""
    width = _WIDTH * len(panels)
    drawn = "".join(line for k, curves in enumerate(panels) for line in _panel(k * _WIDTH, epochs, curves))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{_HEIGHT:.0f}" '
        f'viewBox="0 0 {width:.0f} {_HEIGHT:.0f}" style="{_FONT};color:inherit;background:none">{drawn}</svg>'
    )


def _panel(left: float, epochs: Sequence[int], curves: Mapping[str, Curve]) -> Iterator[str]:
    x0, x1, y0, y1 = left + _LEFT, left + _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, _TOP
    finite = [v for curve in curves.values() for v in curve if math.isfinite(v)]
    low, high, first, last = min(finite, default=0.0), max(finite, default=0.0), epochs[0], epochs[-1]

    def place(epoch: float, value: float) -> Point:
        return x0 + (x1 - x0) * _share(epoch, first, last), y0 + (y1 - y0) * _share(value, low, high)

    yield f'<path d="M{x0:.1f} {y1:.1f} V{y0:.1f} H{x1:.1f}" style="{_AXIS}"/>'
    for value in dict.fromkeys((low, high) if finite else ()):
        yield _text((x0 - 6, place(first, value)[1] + 4), f"{value:.4g}", "end")
    for epoch in dict.fromkeys((first, last)):
        yield _text((place(epoch, low)[0], y0 + 14), str(epoch + 1), "middle")
    yield _text(((x0 + x1) / 2, y0 + 28), "epoch", "middle")
    at = x0
    for k, (name, curve) in enumerate(curves.items()):
        colour, name = _COLOURS[k % len(_COLOURS)], name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
        yield f'<rect x="{at:.1f}" y="9" width="10" height="5" style="fill:{colour};stroke:none"/>'
        yield _text((at + 14, 16), name, "start")
        at += 14 + (len(name) + 2) * _CHARACTER
        yield from _lines([place(e, v) if math.isfinite(v) else None for e, v in _thinned(epochs, curve)], colour)


def _share(value: float, low: float, high: float) -> float:
    """Where the value lies between low and high; halves, since the difference of large numbers may be infinite."""
    return (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5


def _thinned(epochs: Sequence[int], curve: Curve) -> list[tuple[int, float]]:
    """The points, or as many of them, evenly spaced, as can be told apart."""
    points = list(zip(epochs, curve, strict=False))
    step = max(1.0, (len(points) - 1) / (_MOST - 1))
    return [points[round(k * step)] for k in range(min(len(points), _MOST))]


def _lines(points: Sequence[Point | None], colour: str) -> Iterator[str]:
    """Lines through the points between gaps; a point alone is a dot."""
    for known, run in groupby(points, key=lambda p: p is not None):
        if known:
            text = " ".join(f"{p[0]:.1f},{p[1]:.1f}" for p in run if p is not None)
            if " " in text:
                line = f"fill:none;stroke:{colour};stroke-width:1.6;stroke-dasharray:none"
                yield f'<polyline points="{text}" style="{line}"/>'
            else:
                x, y = text.split(",")
                yield f'<circle cx="{x}" cy="{y}" r="2.5" style="fill:{colour};stroke:none"/>'


def _text(place: Point, text: str, anchor: str) -> str:
    style = f"{_FONT};fill:currentColor;stroke:none;text-anchor:{anchor}"
    return f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" style="{style}">{shown(text)}</text>'
