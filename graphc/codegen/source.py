"""The source of a program, for people: its kernels under numbers, what every word is, and the phases that run them.

In: a Program.  Out: text that runs as it stands, as kernels of this Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphc.codegen.program import Phase, Program

CONTROLS = ("begin", "end", "test", "go", "choose", "bound")  # phases that say what phase is next
_HEAD = "def kernel(T, s, chunk, worker):"
_LEGEND = """\
# Kernels of {name}, printed by graphc; kernel(T, s, chunk, worker): a thread does a chunk.
#
# T      the frame: status, addresses, sizes       s     the row of words of the phase
# word   a word of the frame or of the row         p0    an address; its note names the array
# d0     a size of the call                        n0    another number that the call fixes
# t0     a scalar                                  a0    an accumulator; a0_lost what its rounding lost
# i0     a loop over axis 0                        r0    a block on the stack
# c1_f4  a constant, here float32(1)               f0    the status that a failed check leaves
# ld_f4_1_0 loads float32, st_ stores; in nest 1, memory of different last numbers never overlaps"""


def control_number(what: str) -> int:
    """What stands in the place of the number of a kernel: below 0."""
    return -1 - CONTROLS.index(what)


def printable(text: str) -> str:
    """The text on one line; what can't be shown, such as NUL, has a sign of its own."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def source(program: Program) -> str:
    """Everything that runs, with a legend."""
    heads = [text.partition(_HEAD)[0] for text in program.kernels]
    constants = dict.fromkeys(line for head in heads for line in head.split("\n") if line)
    lines = [_LEGEND.format(name=printable(program.name)), "", *constants, *[""] * bool(constants)]
    for k in range(len(program.kernels)):
        lines += ["", kernel_text(program, k), ""]
    return "\n".join([*lines, "", "# phases, in order", *_phases(program)]) + "\n"


def kernel_text(program: Program, number: int) -> str:
    """A kernel under its number, with its titles and what each word of the row is."""
    body = program.kernels[number].partition(_HEAD)[2]
    phases = [p for p in program.phases if p.kernel == number]
    return "\n".join(_kernel(number, body.strip("\n").split("\n"), phases))


def _kernel(number: int, lines: list[str], phases: list[Phase]) -> list[str]:
    """A kernel with its number and its titles, and beside each word of the row what it is in these phases."""
    titles = ", or ".join(dict.fromkeys(p.title for p in phases))
    notes = [_both(each) for each in zip(*(p.notes for p in phases), strict=True)]
    first, *rest = lines
    noted = [f"{line}  # {printable(note)}" for line, note in zip(rest, notes, strict=False)]
    return [f"{_HEAD.replace('kernel', f'kernel_{number}')}  # {titles}", first, *noted, *rest[len(notes) :]]


def _both(notes: Iterable[str]) -> str:
    every = list(dict.fromkeys(notes))
    return every[0] if len(every) == 1 else f"{every[0]}; or {every[1]}" + (" ..." if len(every) > 2 else "")


def _phases(program: Program) -> Iterable[str]:
    for k, phase in enumerate(program.phases):
        runs = f"kernel_{phase.kernel}" if phase.kernel >= 0 else CONTROLS[-1 - phase.kernel]
        yield f"# {k:>3}  {runs}  {phase.title}"
