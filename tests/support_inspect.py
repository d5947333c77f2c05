"""What explain and the records say, taken apart; and programs whose lines are those of a file."""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np

import graphc as gc
from graphc.inspect.parts import parts

PROGRAM = """
x, t = gc.input("x", ("n", 3)), gc.input("t", ("n",))
w = gc.parameter("w", np.ones(3))
error = gc.tanh(x @ w) - t
loss = gc.mean(error * error)
g = gc.grad(loss, w)
step = gc.compile([x, t], loss, updates={w: w - 0.37 * g})
"""


def sections(text: str) -> dict[str, list[str]]:
    """The lines of each section, without their indentation."""
    return {title: [line.strip() for line in lines] for title, *lines in (s.split("\n") for s in text.split("\n\n"))}


def section(text: str, title: str) -> list[str]:
    return sections(text).get(title, [])


def phases(text: str) -> list[str]:
    """The lines of all sections that tell of phases."""
    return [line for title, lines in sections(text).items() if title not in ("passes", "buffers") for line in lines]


def parts_of(function: Any) -> dict[str, set[str]]:
    """The ops of each part."""
    found: dict[str, set[str]] = {}
    rows = function.program.records["graph"]
    for row, part in zip(rows, parts(rows, function.program.records["lines"]), strict=True):
        if part:
            found.setdefault(part, set()).add(row["op"])
    return found


def declared_in(file: str, text: str, **names: Any) -> dict[str, Any]:
    """The names that a program defines that was read from a file of this name."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope = {"gc": gc, "np": np, **names}
    exec(compile(text, file, "exec"), scope)
    return scope
