"""A profile as HTML: its table, the graph in the colours of its kernels, and beside it their text.

In: a Profile.  Out: HTML that needs nothing else, and touches nothing else on its page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.codegen.program import Program
from graphc.codegen.source import kernel_text, printable
from graphc.inspect import html
from graphc.inspect.draw import program_scene, to_svg, tone

if TYPE_CHECKING:
    from graphc.inspect.profile import Drawn, Kernel, Profile

_MOST = 400  # boxes of a drawing
_LEAST = 0.005  # of the time: a kernel that takes less is told of, but its text is folded


def document(profile: Profile) -> str:
    """A page of its own."""
    name = html.shown(profile.drawn.program.name) if profile.drawn else "profile"
    head = f'<meta charset="utf-8"><title>{name}</title><meta name="viewport" content="width=device-width">'
    style = "margin:24px;background:#ffffff;color:#1f2328"
    body = html.heading(f"{name}: time of its kernels") + contents(profile)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body style="{style}">\n{body}\n</body></html>\n'


def contents(profile: Profile) -> str:
    """What a notebook shows."""
    rows = profile.rows
    table = html.table(rows, totals=len(rows) - 1 - len(profile), texts=[len(rows[0]) - 1], shares=profile.shares)
    notes = html.lines(profile.notes)
    if profile.drawn is None:
        return html.block(html.scrolled(table), notes)
    return html.block(html.scrolled(table), notes, html.beside(_drawing(profile, profile.drawn), _texts(profile)))


def _drawing(profile: Profile, drawn: Drawn) -> str:
    """The graph: the colour of a node is that of its kernel, deep where that takes much of the time."""
    if "graph" not in drawn.program.records:
        return ""
    scene = program_scene(drawn.program, drawn.outputs)
    return to_svg(scene, _tones(profile)) if len(scene.boxes) <= _MOST else ""


def _tones(profile: Profile) -> dict[int, tuple[str, str]]:
    most = max(profile.shares, default=0.0) or 1.0
    pairs = zip(profile, profile.shares, strict=True)
    return {kernel.phase: tone(_number(profile, kernel), share / most) for kernel, share in pairs}


def _number(profile: Profile, kernel: Kernel) -> int:
    """The number of the kernel, which several phases may run."""
    return profile.drawn.program.phases[kernel.phase].kernel if profile.drawn else kernel.phase


def _texts(profile: Profile) -> str:
    """The text of each kernel, the dearest first, under its colour and what it costs."""
    assert profile.drawn is not None
    program, tones = profile.drawn.program, _tones(profile)
    costs: dict[int, list[tuple[float, Kernel]]] = {}
    for kernel, share in zip(profile, profile.shares, strict=True):
        costs.setdefault(_number(profile, kernel), []).append((share, kernel))
    ordered = sorted(costs.items(), key=lambda item: -sum(share for share, _ in item[1]))
    return "".join(_text(program, number, phases, tones) for number, phases in ordered)


def _text(
    program: Program, number: int, phases: list[tuple[float, Kernel]], tones: dict[int, tuple[str, str]]
) -> str:
    share, kernel = max(phases, key=lambda pair: pair[0])
    told = "; ".join(f"phase {k.phase}: {printable(k.title)}, {_cost(k, s)}" for s, k in phases)
    title = html.chip(f"kernel {number}", tones[kernel.phase]) + f" {html.shown(told)}"
    return html.folded_under(title, kernel_text(program, number), is_open=share >= _LEAST)


def _cost(kernel: Kernel, share: float) -> str:
    of_limit = f", {kernel.of_limit:.0%} of {kernel.bound}'s limit" if kernel.limit else ""
    return f"{kernel.microseconds:.2f} µs, {share:.0%}{of_limit}"
