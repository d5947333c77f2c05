"""What was decided, as plain data for explain and drawing: the work of every phase, the buffers, the graph, its lines.

In: the program under construction.  Out: JSON values, which become part of Program.records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.codegen.text import PhaseText, Text
from graphc.graph import Graph, Node
from graphc.line import with_own_lines
from graphc.literal import Identity, Literal
from graphc.op import HOLDERS, Family
from graphc.schedule.task import Copy, Holder, Kernel, Place, Task, reads, writes
from graphc.types import float32, shape_text


def record_program(text: Text, outputs: Sequence[Node], parameters: Sequence[Node]) -> dict[str, Any]:
    """The records "schedule", "graph" and "lines" of a program whose phases are printed, but not finished."""
    schedule = {
        "phases": [_work(text, phase) for phase in text.phases],
        "buffers": [f"{dtype}{shape_text(shape)}" for dtype, shape in text.schedule.buffers],
    }
    gives: dict[Node, list[tuple[str, int]]] = {}
    for k, node in enumerate(outputs):
        gives.setdefault(node, []).append(("output", k))
    numbers = {parameter: k for k, parameter in enumerate(parameters)}
    for parameter, value in text.schedule.updates:
        gives.setdefault(value, []).append(("parameter", numbers[parameter]))
    graph = Graph(tuple(gives))
    return {"schedule": schedule, **record_graph(graph, gives, _phases(text, graph))}


def _work(text: Text, phase: PhaseText) -> dict[str, Any]:
    """What a phase reads and writes; scratch is what the emitters asked for beside that."""
    touched = [what for what in phase.row if isinstance(what, Place) and what.kind not in ("counter", "list")]
    loaded: set[Place] = set()
    stored: set[Place] = set()
    for task in phase.tasks:  # what one task hands to the next is not read from elsewhere
        loaded |= reads(task) - stored
        stored |= writes(task)
    return {
        "kind": " and ".join(map(_kind, phase.tasks)),
        "computes": _computes(phase),
        "reads": [_plain(p) for p in touched if p in loaded],
        "writes": [_plain(p) for p in touched if p in stored],
        "scratch": [_plain(p) for p in touched if p not in loaded and p not in stored],
    }


def _computes(phase: PhaseText) -> str:
    """The widest float dtype of the members, float32 where there is none: by it vectors have the fewest lanes."""
    found = {t for task in phase.tasks for m in task.members for t in (n.dtype for n in m.types) if t.is_float}
    return max(found, key=lambda dtype: dtype.size, default=float32).name


def _kind(task: Task) -> str:
    if isinstance(task, Kernel):
        return task.job.kernel
    commits = isinstance(task, Copy) and task.target.kind == "parameter"
    return "commit" if commits else type(task).__name__.lower()


def _plain(place: Place) -> list[Any]:
    return [place.kind, place.number]


def _phases(text: Text, graph: Graph) -> dict[Node, list[int]]:
    """The phase that computes a node; several for one that is computed again wherever it is read, and for a loop."""
    found: dict[Node, list[int]] = {}
    for k, phase in enumerate(text.phases):
        for task in phase.roots:
            for member in task.members if isinstance(task, Holder) else ():
                found.setdefault(member, []).append(k)
        for member in (m for task in phase.tasks for m in task.members):
            if member.op.family is not Family.LEAF:
                found.setdefault(member, [k])
    for node in graph.outputs:  # one that lies as its operand does is made with it
        made = node
        while made not in found and made.operands:
            made = made.operands[0]
        found.setdefault(node, found.get(made, []))
    for node in reversed(graph.nodes):
        if node.op.family is not Family.LEAF and node not in found:
            found[node] = sorted({k for user in graph.users[node] for k in found[user]})
    return found


def record_graph(
    graph: Graph, gives: Mapping[Node, Sequence[tuple[str, int]]], phases: Mapping[Node, Sequence[int]]
) -> dict[str, Any]:
    """The records "graph", a row for each node, operands first, and "lines", each with file, number, part and layer.

    `gives` tells which outputs, and new values of which parameters, a node is.  A node whose line may be that of
    another program has none.
    """
    number = {n: k for k, n in enumerate(graph.nodes)}
    own = with_own_lines(graph.nodes)
    lines = {line: k for k, line in enumerate(dict.fromkeys(n.line.plain for n in graph.nodes if n in own))}
    rows = [
        {
            "op": n.op.name.lstrip("_"),
            "says": n.name or _attributes(n),
            "type": ", ".join(map(str, n.types)),
            "operands": [number[o] for o in n.operands],
            "gives": [list(result) for result in gives.get(n, ())],
            "phases": list(phases.get(n, ())),
            "holds": n.op.family in HOLDERS,
            "line": lines[n.line.plain] if n in own else None,
        }
        for n in graph.nodes
    ]
    return {"graph": rows, "lines": [list(line) for line in lines]}


def _attributes(node: Node) -> str:
    """The attributes in a few words, without what the type says as well."""
    hidden = ("shape", "matrix", "dtype", "type")
    return ", ".join(
        _brief(k, v) for k, v in sorted(node.attrs.items()) if k not in hidden and not isinstance(v, Identity)
    )


def _brief(name: str, value: Any) -> str:
    if isinstance(value, Literal):
        return str(value.array) if value.array.ndim == 0 else "..."
    if isinstance(value, str):
        return value
    return f"{name}={'{...}' if isinstance(value, Graph) else value}"
