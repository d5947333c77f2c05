"""Which part of the program a node belongs to: forward, adjoint or update.

In: rows of a recorded graph, and the lines where they were declared.  Out: a part for each row, none for leaves.  What
`grad` and the optimisers declare is noted with its line.  The rest follows from who needs it: a user may write an
update by hand, or go on with a gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Where = Sequence[Any]  # file, number, part, layer
PARTS = ("forward", "adjoint", "update")
LEAVES = ("input", "parameter", "constant")


def parts(rows: Sequence[Row], lines: Sequence[Where | None]) -> list[str]:
    """The part of each row, "" for a leaf; operands come first.

    Forward is what outputs and adjoint need that needs no adjoint itself.  What a user declares on top of an adjoint is
    adjoint if an output or another adjoint needs it, else it is an update, as is all else that only updates need.

    >>> x = {"op": "input", "operands": [], "gives": [], "line": 0}
    >>> y = {"op": "sin", "operands": [0], "gives": [["output", 0]], "line": 0}
    >>> g = {"op": "cos", "operands": [0], "gives": [], "line": 1}
    >>> w = {"op": "subtract", "operands": [0, 2], "gives": [["parameter", 0]], "line": 0}
    >>> parts([x, y, g, w], [("a.py", 1, "forward", ""), ("a.py", 1, "adjoint", "")])
    ['', 'forward', 'adjoint', 'update']
    """
    noted = _noted(rows, lines)
    after = [False] * len(rows)
    for k, row in enumerate(rows):
        after[k] = any(after[o] or noted[o] in ("adjoint", "update") for o in row["operands"])
    wanted = _needed(rows, (k for k, row in enumerate(rows) if noted[k] == "adjoint" or _is_output(row)))
    return [
        part if part != "forward" else "update" if k not in wanted else "adjoint" if after[k] else "forward"
        for k, part in enumerate(noted)
    ]


def where_declared(row: Row, lines: Sequence[Where | None]) -> Where | None:
    """File, number, part and layer of a row; None where they are not known."""
    return None if row["line"] is None else lines[row["line"]]


def _noted(rows: Sequence[Row], lines: Sequence[Where | None]) -> list[str]:
    """The part in which each row was declared; where that is not known, the first part that reads it."""
    found = [""] * len(rows)
    readers: list[list[str]] = [[] for _ in rows]
    for k, row in reversed(list(enumerate(rows))):
        where = where_declared(row, lines)
        if row["op"] not in LEAVES:
            found[k] = str(where[2]) if where else min(readers[k], key=PARTS.index, default="forward")
            for o in row["operands"]:
                readers[o].append(found[k])
    return found


def _is_output(row: Row) -> bool:
    return any(kind == "output" for kind, _ in row["gives"])


def _needed(rows: Sequence[Row], roots: Iterable[int]) -> set[int]:
    """The roots and all that they read."""
    needed, waiting = set[int](), list(roots)
    while waiting:
        k = waiting.pop()
        if k not in needed:
            needed.add(k)
            waiting += rows[k]["operands"]
    return needed
