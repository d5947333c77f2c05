"""Tables and texts for notebooks, as HTML.

In: cells and texts.  Out: HTML whose styles stand in its elements, so that they reach nothing else on the page, and the
page's own reach little here.  Colours are the page's, or grey and half transparent: light pages and dark ones do.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_FONT = "font:12px/1.5 ui-monospace,monospace;color:inherit"
_BARE = f"{_FONT};background:none;border:0;margin:0"
_BOLD = ";font-weight:600"
_RULE = "1px solid rgba(128,128,128,.55)"
_BAR = "rgba(59,130,246,.35)"


def shown(text: str) -> str:
    """The text as HTML; what can't be shown, such as half of a surrogate pair, has a sign of its own."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def block(*parts: str) -> str:
    """Parts of HTML, one under the other."""
    return f'<div style="{_BARE};text-align:left;max-width:100%">{"".join(parts)}</div>'


def heading(text: str) -> str:
    return f'<div style="{_BARE}{_BOLD};padding:2px 0">{shown(text)}</div>'


def folded(title: str, text: str) -> str:
    """A text of many lines, to be opened by a click."""
    return folded_under(shown(title), text)


def folded_under(title: str, text: str, is_open: bool = False) -> str:
    """A text of many lines under a title that is HTML."""
    lines = f'<pre style="{_BARE};padding:4px 0 4px 12px;overflow:auto">{shown(text)}</pre>'
    opened = " open" if is_open else ""
    return f'<details style="{_BARE}"{opened}><summary style="cursor:pointer">{title}</summary>{lines}</details>'


def chip(text: str, colours: tuple[str, str]) -> str:
    """A short text on a colour, in the outline of another."""
    style = f"padding:0 5px;border-radius:4px;background:{colours[0]};border:1px solid {colours[1]};color:#0f172a"
    return f'<span style="{style}">{shown(text)}</span>'


def lines(texts: Sequence[str]) -> str:
    """Remarks, one under the other."""
    return "".join(f'<div style="{_BARE};opacity:.85">{shown(text)}</div>' for text in texts)


def scrolled(part: str) -> str:
    """A part with a bar to move it by where it is wider than the page."""
    return f'<div style="{_BARE};overflow:auto;max-width:100%">{part}</div>'


def beside(left: str, right: str) -> str:
    """Two parts in two columns, one under the other where the page is narrow; each moves by itself."""
    column = f"{_BARE};overflow:auto;max-height:90vh;min-width:0"
    parts = [f'<div style="{column};flex:1 1 420px">{part}</div>' for part in (left, right) if part]
    return f'<div style="{_BARE};display:flex;flex-wrap:wrap;gap:16px;padding-top:12px">{"".join(parts)}</div>'


def table(rows: Sequence[Sequence[str]], totals: int, texts: Sequence[int], shares: Sequence[float] = ()) -> str:
    """A table whose first row is its head and whose last `totals` rows are sums.

    The columns `texts` are flush left, the others flush right.  `shares`, in [0, 1], are bars behind the last cells.
    """
    headings, *rows = rows
    first_total = len(rows) - totals
    body = []
    for number, row in enumerate(rows):
        style = _BOLD if number >= first_total else ""
        style += f";border-top:{_RULE}" if totals and number == first_total else ""
        styles = [style] * len(row)
        if number < len(shares):
            end = f"{_BAR} {shares[number]:.1%}"
            styles[-1] += f";background:linear-gradient(to right,{end},transparent {shares[number]:.1%})"
        body.append(_row("td", row, texts, styles))
    head = _row("th", headings, texts, [f"{_BOLD};border-bottom:{_RULE}"] * len(headings))
    parts = f'<thead style="{_BARE}">{head}</thead><tbody style="{_BARE}">{"".join(body)}</tbody>'
    return f'<table style="{_BARE};border-collapse:collapse;width:auto">{parts}</table>'


def _row(kind: str, cells: Sequence[str], texts: Sequence[int], styles: Sequence[str]) -> str:
    sides = ["left" if k in texts else "right" for k in range(len(cells))]
    drawn = (
        f'<{kind} style="{_BARE};padding:2px 10px;text-align:{side}{style}">{shown(cell)}</{kind}>'
        for cell, side, style in zip(cells, sides, styles, strict=True)
    )
    return f'<tr style="{_BARE}">{"".join(drawn)}</tr>'
