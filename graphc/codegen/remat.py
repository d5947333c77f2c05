"""What computing values again brings: the program beside the one that keeps them.

In: both programs.  Out: the one that needs less memory, which records what the other one takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphc.codegen.program import WORKERS, Buffer, Program
from graphc.dims import Dim, evaluate
from graphc.ops.save import TYPICAL, most_at_once
from graphc.plain import from_plain, to_plain


def smaller(again: Program, plain: Program) -> Program:
    """The program whose buffers take less memory at once, where symbolic dimensions are typical."""
    chosen = again if _most_live(again) < _most_live(plain) else plain
    flops: Dim = sum((p.flops for p in plain.phases), 0)
    buffers = [[to_plain(b.nbytes), b.first, b.last] for b in plain.buffers]
    remat = {"words": plain.words, "flops": to_plain(flops), "buffers": buffers}
    return replace(chosen, records={**chosen.records, "remat": remat})


def without_remat(program: Program) -> tuple[int, Dim, Sequence[Buffer]] | None:
    """Words of the frame, flops and buffers of the program that keeps all; None where there was no choice."""
    told = program.records.get("remat")
    if told is None:
        return None
    return told["words"], from_plain(told["flops"]), [Buffer(from_plain(n), *rest) for n, *rest in told["buffers"]]


def _most_live(program: Program) -> int:
    """The most bytes of buffers that live at once, in one thread."""
    sizes = {**dict.fromkeys(program.symbols, TYPICAL), str(WORKERS): 1}
    return most_at_once((b.first, b.last, evaluate(b.nbytes, sizes)) for b in program.buffers)
