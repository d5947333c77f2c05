"""What the passes and the scheduler did, as text.

In: a Program and its records.  Out: a section for the passes; one for the phases of each part of the program, forward,
adjoint and update, or of several parts where they are computed together; and last one for the buffers.  Sections that
have nothing to say are left out.  Places go by the user's names, buffers and constants by those of the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphc.codegen.program import Program
from graphc.codegen.source import printable
from graphc.dims import Dim
from graphc.errors import DeclarationError
from graphc.inspect.names import outputs_of
from graphc.inspect.parts import LEAVES, PARTS, Row, Where, parts, where_declared
from graphc.line import Line

Work = Mapping[str, Any]  # what a phase does
_ROLES = ("reads", "writes", "scratch")
_NOTHING: Work = {"kind": "", "reads": (), "writes": (), "scratch": ()}
_LETTERS = {"buffer": "b", "constant": "k", "row": "m"}
_MOST = 8  # lines of the user's told of a phase


def explain(what: Any) -> str:
    """What each pass and the scheduler did to a compiled function, or a Program, and where its data lie, as text.

    Sizes are in bytes, work in operations, both with the dimensions of the inputs.  Each phase tells the user's lines
    that it computes, an adjoint those that it is the adjoint of.  Raises DeclarationError for what is not compiled.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> print(gc.inspect.explain(gc.compile([x], gc.sum(x * x))).partition("forward")[2].splitlines()[1])
      0 sum
    """
    program = getattr(what, "program", what)
    if not isinstance(program, Program):
        raise DeclarationError(f"what was done is told of compiled functions; got {what!r}")
    told = _Told(program, outputs_of(what))
    sections = {
        "passes": list(_passes(program.records.get("passes", ()))),
        **told.phases(),
        "buffers": list(told.buffers()),
    }
    return "\n\n".join("\n".join([title, *(f"  {line}" for line in s)]) for title, s in sections.items() if s)


def _passes(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for record in records:
        yield f"{record['pass']}: {record['nodes_before']} -> {record['nodes_after']} nodes"
        width = max((len(str(count)) for count in record["rules"].values()), default=0)
        yield from (f"  {count:{width}} x {rule}" for rule, count in record["rules"].items())


class _Told:
    """A program with what its records tell, which may be nothing: of its graph, and of the work of each phase."""

    def __init__(self, program: Program, outputs: Sequence[str]) -> None:
        records = program.records
        schedule = records.get("schedule", {"phases": [_NOTHING for _ in program.phases], "buffers": []})
        self.work: Sequence[Work] = schedule["phases"]
        self.kinds: Sequence[str] = schedule["buffers"]
        self.rows, lines = records.get("graph", ()), records.get("lines", ())
        self.part = parts(self.rows, lines)
        self.lines = _lines_of(self.rows, lines, len(self.work))
        self.program = program
        self.names = {
            "input": [slot.name for slot in program.inputs],
            "output": outputs,
            "parameter": [slot.name for slot in program.parameters],
        }

    def phases(self) -> dict[str, list[str]]:
        """The lines of each section of phases, in the order in which their first phases run."""
        found: dict[tuple[str, ...], list[str]] = {}
        for k, key in enumerate(self._parts()):
            found.setdefault(key, []).extend(self._phase(k))
        return {" and ".join(key) or "phases": lines for key, lines in found.items()}

    def _parts(self) -> list[tuple[str, ...]]:
        """The parts that each phase computes; one that only folds or copies belongs where its results or sources do."""
        found: list[set[str]] = [set() for _ in self.work]
        results: dict[tuple[str, int], str] = {}
        for row, part in zip(self.rows, self.part, strict=True):
            if part and (len(row["phases"]) == 1 or row["holds"]):
                for k in row["phases"]:
                    found[k].add(part)
            for kind, number in row["gives"]:
                results[kind, number] = "update" if kind == "parameter" else part or "forward"
        for computed, work in zip(found, self.work, strict=True):
            places = map(tuple, work["writes"])
            computed |= set() if computed else {results[place] for place in places if place in results}
        for order in (1, -1):  # else it is of the phase before that has touched its buffers, or of the one after
            touched: dict[int, set[str]] = {}
            for computed, work in list(zip(found, self.work, strict=True))[::order]:
                buffers = _buffers(work)
                computed |= set() if computed else set().union(*(touched.get(b, ()) for b in buffers))
                touched.update(dict.fromkeys(buffers, computed))
        return [tuple(part for part in PARTS if part in computed) for computed in found]

    def _phase(self, k: int) -> Iterator[str]:
        phase, work = self.program.phases[k], self.work[k]
        width = len(str(len(self.work)))
        margin = " " * (width + 3)
        yield f"{k:{width}} {phase.title}"
        yield f"{margin}{_counted(phase.chunks, 'chunk')}; {phase.flops} flops, {phase.nbytes} bytes"
        yield from (f"{margin}{does}" for does in filter(None, [self._does(work)]))
        yield from (f"{margin}{line}" for line in self._lines(k))

    def _does(self, work: Work) -> str:
        """What a phase reads and writes."""
        updates = [place for place in work["writes"] if place[0] == "parameter"]
        roles = {
            "reads": work["reads"],
            "writes": [place for place in work["writes"] if place not in updates],
            "updates": updates,
            "scratch": work["scratch"],
        }
        how = " at the end" if work["kind"] == "commit" else " in place"
        return "; ".join(
            f"{role} {', '.join(self._name(*place) for place in places)}{how if role == 'updates' else ''}"
            for role, places in roles.items()
            if places
        )

    def _name(self, kind: str, number: int) -> str:
        return printable(self.names[kind][number]) if kind in self.names else f"{_LETTERS[kind]}{number}"

    def _lines(self, k: int) -> Iterator[str]:
        """The user's lines that a phase comes from, each with the layers that are declared there."""
        lines = self.lines[k]
        for line, layers in list(lines.items())[:_MOST]:
            yield printable(f"from {', '.join(layers)}{' at ' if layers else ''}{line}")
        if len(lines) > _MOST:
            yield f"from {_counted(len(lines) - _MOST, 'other line')}"

    def buffers(self) -> Iterator[str]:
        """Every buffer that is used; those that are never needed at the same time may share storage."""
        over = self._written_over()
        for number in sorted(set[int]().union(*map(_buffers, self.work))):
            buffer, kind = self.program.buffers[number], self.kinds[number]
            reuse = f"; written over in phase {', '.join(map(str, over[number]))}" if number in over else ""
            yield f"b{number} {kind}: {buffer.nbytes} bytes, phases {buffer.first} to {buffer.last}{reuse}"

    def _written_over(self) -> dict[int, list[int]]:
        """The phases that write each buffer in the place of what they read there."""
        found: dict[int, list[int]] = {}
        for k, work in enumerate(self.work):
            for kind, number in work["writes"]:
                if kind == "buffer" and [kind, number] in work["reads"]:
                    found.setdefault(number, []).append(k)
        return found


def _buffers(work: Work) -> set[int]:
    """The buffers that a phase touches."""
    return {number for role in _ROLES for kind, number in work[role] if kind == "buffer"}


def _lines_of(rows: Sequence[Row], lines: Sequence[Where | None], count: int) -> list[dict[Line, dict[str, None]]]:
    """For each phase the lines of the rows that it computes, each with its layers, in order."""
    found: list[dict[Line, dict[str, None]]] = [{} for _ in range(count)]
    for row in rows:
        where = where_declared(row, lines)
        if where is not None and row["op"] not in LEAVES:
            file, number, _, layer = where
            for k in row["phases"]:
                found[k].setdefault(Line(file, number), {}).update({layer: None} if layer else {})
    return found


def _counted(n: Dim, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
