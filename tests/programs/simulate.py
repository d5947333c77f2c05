"""Running the text of a program as Python: an interpreter of what is printed, beside that of the loops.

In: a Program and its inputs and parameters.  Out: the outputs; parameters are changed as a call would change them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from graphc.codegen import (
    chosen,
    form,
    in_blocks,
    inner,
    kernels,
    late,
    packed,
    product,
    rows,
    scan,
    streamed,
    swept,
    tall,
    turned,
    views,
)
from graphc.codegen.intrinsics.target import has_many_registers
from graphc.codegen.loop_ir import CHECKED, LoopProgram
from graphc.codegen.program import Program
from graphc.codegen.ranges import symbol_of
from graphc.debug.interpreter import Interpreter
from graphc.debug.memory import GIVEN, Region
from graphc.schedule import lower
from graphc.schedule.task import Place

from .printed import namespace

ROWS = {"_LONG": 2, "_PART": 2, "_FETCHED": 0, "_AHEAD": (48, 24)}


@contextmanager
def small_borders() -> Any:
    """Chunks, blocks and panels of a few elements: borders that full-sized kernels meet at thousands of elements."""
    at_most = product._at_most
    with (
        mock.patch.multiple(form, CHUNK=24, MANY=2, LONGER=3, BLOCK=4, FEWEST=2),
        mock.patch.object(inner, "BLOCK", 4),
        mock.patch.multiple(kernels, CHUNK_FLOPS=200, HALF_FLOPS=60, LARGE_A=8, SHORT_ROW=4, CACHED=64),
        mock.patch.object(lower, "_LEAST", 8),
        mock.patch.multiple(
            packed,
            PANEL_DEPTH=12 if has_many_registers() else 3,
            NESTED_DEPTH=3,
            BLOCK_DEPTH=3,
            ACROSS_DEPTH=4,
            PACKED_ROWS=2,
            FEW_COLUMNS=4,
            LINED_ROWS=2,
            LINED_DEPTH=2,
            WHOLE_ROW=8,
            WIDE_ROW=12,
            LINE=4,
        ),
        mock.patch.multiple(packed, BLOCK_BYTES=64, CHUNK_ROWS=8, CHUNK_BYTES=96, NEAR_CHUNK=96, NARROW_CHUNK=2),
        mock.patch.multiple(rows, SHORT=0, BLOCK=8, ROWS=2, LANES=(1,), LINE=8, FEWEST=2, MANY=1, **ROWS),
        mock.patch.object(chosen, "LEAST", 2),
        mock.patch.multiple(late, LINE=8, LINES=2, SIMPLE=1),
        mock.patch.object(rows, "host_vector_bytes", return_value=4),
        mock.patch.multiple(
            streamed,
            PAST_CACHES=64,
            SHORTEST=2,
            SHORTER=2,
            LINE=8,
            LINES=2,
            LONG_ROW=24,
            one_line_a_cycle=lambda: False,
        ),
        mock.patch.multiple(scan, STRIP=4, _PAGE=16, LINE=8),
        mock.patch.multiple(in_blocks, BLOCK=4, FEWEST={4: 2, 8: 2}, _LANES=2, _TOTALS=2),
        mock.patch.object(views, "LINE", 4),
        mock.patch.multiple(turned, TILE=8, STRIP=4, SQUARE=3, PANEL=256),
        mock.patch.multiple(tall, COLUMNS=16, FEWEST_TILES=1, TALLEST=8, TALL=8, SHORTEST=1, CHUNKS=2),
        mock.patch.multiple(
            swept,
            MOST_BYTES=64,
            PART_BYTES=64,
            PART_DEPTH=2,
            ROWS_AT_ONCE=2,
            ALONE_AT_ONCE=3,
            FEW=3,
            ROW_VECTORS=0,
            TILE_VECTORS=1,
            NARROW=16,
            CACHED=64,
        ),
        mock.patch.multiple(product, LARGE=500, LARGE_ACROSS=50, FEW_ROWS=3, CROWDED=8, L1_LINES=4, LINE=4, WIDE=8),
        mock.patch.multiple(product, DOT_DEPTH=1, HIGH=2, WIDTHS=range(2, 256), DEEPER=1),
        mock.patch.object(product, "_at_most", lambda size, limit: at_most(size, limit // 12)),
    ):
        yield


class Printed(Interpreter):
    """A program whose text is run as Python in the place of its loops."""

    def __init__(self, program: Program, loops: LoopProgram) -> None:
        super().__init__(program, loops)
        bound = {
            "word": lambda at, k: self.phases[0].addresses[k] if isinstance(k, Place) else at[k],
        }
        bound |= {name: self._checks(name) for name in CHECKED}
        names = namespace(program.text, self.memory, bound)
        exec(compile(program.text, f"<{program.name}>", "exec"), names)
        for phase, info in zip(self.phases, program.phases, strict=True):
            phase.run = self._call(phase.code.words, names[f"kernel_{info.kernel}"])

    def _checks(self, kernel: str) -> Callable[..., int]:
        return lambda T, chunk, *args: self.phases[0].checked(kernel, self.memory, None, (), *args)

    def _call(self, words: Sequence[tuple[str, Any]], kernel: Callable[..., None]) -> Callable[[Any], None]:
        """A kernel on a row in which a place stands for the word of its address."""

        def call(env: Any) -> None:
            frame = Region("the frame", 64)
            frame.clear(0, 64, GIVEN)
            row = [what if isinstance(what, Place) else env[symbol_of(name)] for name, what in words]
            kernel(self.memory.add(frame), row, env["%chunk"], env["%worker"])

        return call
