"""The user's lines in a program that the cache keeps: by the nodes that they belong to.

In: a program, and the declared graph that it came from.  Out: the program with numbers of nodes where its failures and
records name lines; or, for an equal graph that is declared elsewhere, with the lines of that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphc.codegen.program import Failure, Program, Records
from graphc.dims import Poly, is_nonnegative
from graphc.graph import Graph, Node
from graphc.line import Line, with_own_lines
from graphc.types import Constraint


def numbered(program: Program, every: Sequence[Node]) -> Program:
    """The program with numbers for lines: those of all nodes of that line, or `=` and the first failure of it.

    In records a line has the number of the first node that was declared there.
    """
    nodes: dict[str, list[str]] = {f.line: [] for f in program.failures}
    texts: dict[Line, str] = {}  # that many nodes share
    stood: dict[tuple[str, int, str, str], int] = {}
    own = with_own_lines(every)
    for k, node in enumerate(every):
        line = texts.get(node.line) or texts.setdefault(node.line, str(node.line))
        if line in nodes:
            nodes[line].append(str(k))
        if node in own:
            stood.setdefault(node.line.plain, k)
    first: dict[str, int] = {}
    failures = []
    for k, f in enumerate(program.failures):
        known = first.setdefault(f.line, k)
        failures.append(Failure(f.text, " ".join(nodes[f.line]) if known == k else f"={known}"))
    records = {**program.records, "lines": [stood.get(tuple(line)) for line in program.records.get("lines", ())]}
    return replace(program, failures=tuple(failures), constraints=(), records=records)


def placed(program: Program, graph: Graph, every: Sequence[Node], here: str) -> Program | None:
    """The program with the lines of this graph; None if nodes that stood on one line stand on several now.

    A failure that belongs to no declared node is that of the line which compiles, `here`.
    """
    lines: list[str] = []
    for f in program.failures:
        if f.line.startswith("="):
            lines.append(lines[int(f.line[1:])])
            continue
        found = {every[int(k)].line[:2] for k in f.line.split()}
        if len(found) > 1:
            return None
        lines.append(str(Line(*found.pop())) if found else here)
    failures = (Failure(f.text, line) for f, line in zip(program.failures, lines, strict=True))
    assert isinstance(program.records, Records)
    told = [None if k is None else list(every[k].line.plain) for k in program.records.lines]
    records = Records(program.records.text, told)
    return replace(program, failures=tuple(failures), constraints=constraints(graph), records=records)


def constraints(graph: Graph) -> tuple[tuple[Constraint, str], ...]:
    """What the shapes of a call must satisfy, each with the first line that asks for it.

    What the ops ask comes first, which says more, and then that no dimension is negative: a gradient may have the shape
    of a node that is not in the graph, with what that one asked.
    """
    asked = {c: (c, str(n.line)) for n in reversed(graph.nodes) for c in n.constraints}
    shaped = {d: n.line for n in reversed(every_node(graph)) for t in n.types for d in t.shape if isinstance(d, Poly)}
    unsure = ((d, str(line)) for d, line in shaped.items() if not is_nonnegative(d))
    return (*asked.values(), *((Constraint(d, ">=", 0, "no dimension is negative"), line) for d, line in unsure))


def every_node(graph: Graph) -> list[Node]:
    """The nodes of a graph and of those that they hold, in an order that the text of the graph decides."""
    found = []
    for node in graph.nodes:
        found.append(node)
        held = [name for name, value in node.attrs.items() if isinstance(value, Graph)] if node.attrs else ()
        for name in sorted(held):
            found += every_node(node.attrs[name])
    return found
