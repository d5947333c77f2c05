"""What the passes and the scheduler did, as text.

In: a Program and its records.  Out: sections "passes", "phases", "updates" and "buffers", of which those stand here
that there is something to say about.  Places go by the user's names, buffers and constants by those of the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphc.codegen.program import Program
from graphc.dims import Dim
from graphc.errors import DeclarationError

Segment = Mapping[str, Any]
_ROLES = ("reads", "writes", "scratch")


def explain(what: Any) -> str:
    """What each pass and the scheduler did to a compiled function, or a Program, and where its data lie, as text.

    Sizes are in bytes, work in operations, both with the dimensions of the inputs.  Raises DeclarationError for what is
    not compiled.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> print(gc.inspect.explain(gc.compile([x], gc.sum(x * x))).partition("phases")[2].splitlines()[1])
      0 sum
    """
    program = getattr(what, "program", what)
    if not isinstance(program, Program):
        raise DeclarationError(f"what was done is told of compiled functions; got {what!r}")
    work: Sequence[Sequence[Segment]] = program.records.get("schedule", {}).get("phases", [[] for _ in program.phases])
    sections = {
        "passes": _passes(program.records.get("passes", ())),
        "phases": _phases(program, work),
        "updates": _updates(program, work),
        "buffers": _buffers(program, work),
    }
    found = {title: list(lines) for title, lines in sections.items()}
    return "\n\n".join("\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in found.items() if lines)


def _passes(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for record in records:
        yield f"{record['pass']}: {record['nodes_before']} -> {record['nodes_after']} nodes"
        width = max((len(str(count)) for count in record["rules"].values()), default=0)
        yield from (f"  {count:{width}} x {rule}" for rule, count in record["rules"].items())


def _phases(program: Program, work: Sequence[Sequence[Segment]]) -> Iterator[str]:
    margin = " " * (len(str(len(program.phases))) + 1)
    for k, (phase, segments) in enumerate(zip(program.phases, work, strict=True)):
        yield f"{k:{len(margin) - 1}} {phase.title}"
        copies = f" in {len(segments)} segments" if len(segments) > 1 else ""
        yield f"{margin}  {_counted(phase.chunks, 'chunk')}{copies}; {phase.flops} flops, {phase.nbytes} bytes"
        for segment in segments:
            roles = (f"{role} {_names(program, segment[role])}" for role in _ROLES if segment[role])
            yield f"{margin}  {'; '.join(roles)}"


def _counted(n: Dim, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _names(program: Program, places: Sequence[tuple[str, int]]) -> str:
    return ", ".join(_name(program, kind, number) for kind, number in places)


def _name(program: Program, kind: str, number: int) -> str:
    slots = {"input": program.inputs, "output": program.outputs, "parameter": program.parameters}
    name = slots[kind][number].name if kind in slots else f"{kind[0] if kind == 'buffer' else 'k'}{number}"
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def _updates(program: Program, work: Sequence[Sequence[Segment]]) -> Iterator[str]:
    """How each new value of a parameter gets there."""
    for k, segments in enumerate(work):
        for segment in segments:
            how = "in place" if segment["kind"] != "commit" else f"at the end, from {_names(program, segment['reads'])}"
            for kind, number in segment["writes"]:
                if kind == "parameter":
                    yield f"{_name(program, kind, number)}: {how}, in phase {k}"


def _buffers(program: Program, work: Sequence[Sequence[Segment]]) -> Iterator[str]:
    """Every buffer that is used; those that are never needed at the same time may share storage."""
    used = {number for s in _flat(work) for role in _ROLES for kind, number in s[role] if kind == "buffer"}
    over = _written_over(work)
    for number in sorted(used):
        buffer, kind = program.buffers[number], program.records["schedule"]["buffers"][number]
        reuse = f"; written over in phase {', '.join(map(str, over[number]))}" if number in over else ""
        yield f"b{number} {kind}: {buffer.nbytes} bytes, phases {buffer.first} to {buffer.last}{reuse}"


def _flat(work: Sequence[Sequence[Segment]]) -> Iterator[Segment]:
    return (segment for segments in work for segment in segments)


def _written_over(work: Sequence[Sequence[Segment]]) -> dict[int, list[int]]:
    """The phases that write each buffer in the place of what they read there."""
    found: dict[int, list[int]] = {}
    for k, segments in enumerate(work):
        for segment in segments:
            for kind, number in segment["writes"]:
                if kind == "buffer" and [kind, number] in segment["reads"]:
                    found.setdefault(number, []).append(k)
    return found
