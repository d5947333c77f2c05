"""Running the text of a program as Python, without machine code: every load and store is checked.

In: a Program and its inputs and parameters.  Out: the outputs; parameters are changed as a call would change them.
Chunks of a phase run in either order.  A failed check raises InputError, as the machine code's call does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from graphc.codegen import form, kernels, nest, product
from graphc.codegen.program import Program
from graphc.dims import evaluate
from graphc.errors import InputError
from graphc.runtime.arguments import symbol_sizes
from graphc.runtime.workspace import check_constraints

from .intrinsics import namespace
from .memory import GIVEN, Fault, Memory, Region

Values = np.ndarray[Any, Any]
STACK = 16  # blocks of 8 kB that one thread's stack bears in one function


@contextmanager
def small_borders() -> Any:
    """Chunks, blocks and panels of a few elements: borders that full-sized kernels meet at thousands of elements."""
    at_most = product._at_most
    with (
        mock.patch.object(form, "CHUNK", 24),
        mock.patch.object(form, "BLOCK", 4),
        mock.patch.object(nest, "BLOCK", 4),
        mock.patch.object(kernels, "CHUNK_FLOPS", 200),
        mock.patch.object(kernels, "PANEL_DEPTH", 3),
        mock.patch.object(product, "_at_most", lambda size, limit: at_most(size, limit // 12)),
    ):
        yield


class Simulation:
    """A program ready to be run as Python."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.code = compile(program.text, f"<{program.name}>", "exec")
        blocks = max((len(set(re.findall(r"\bstack_\d+\b", text))) for text in program.kernels), default=0)
        if blocks > STACK:
            raise Fault("stack", f"one function has {blocks} blocks of 8 kB on the stack")

    def run(
        self, inputs: Sequence[Values], parameters: Sequence[Values], backwards: bool = False
    ) -> tuple[Values, ...]:
        """The outputs; the arrays of written parameters change in place."""
        p = self.program
        sizes = symbol_sizes(p.name, p.inputs, [a.shape for a in inputs])
        check_constraints(p, sizes)
        shapes = [tuple(evaluate(d, sizes) for d in slot.shape) for slot in p.outputs]
        memory = Memory()
        words = [0] * p.words
        words_of_status = Region("the frame", 64)
        words_of_status.clear(64, GIVEN)
        frame = memory.add(words_of_status)
        given = [(f"x{k}", a) for k, a in enumerate(inputs)]
        outputs = [
            Region(f"y{k}", int(np.prod(s)) * slot.dtype.size)
            for k, (s, slot) in enumerate(zip(shapes, p.outputs, strict=True))
        ]
        regions = [_filled(name, a) for name, a in given]
        states = [_filled(f"p{k}", a) for k, a in enumerate(parameters)]
        constants = [_filled(f"k{k}", np.asarray(a)) for k, a in enumerate(p.constants)]
        for k, region in enumerate((*regions, *outputs, *states, *constants)):
            words[8 + k] = memory.add(region)
        for k, value in enumerate(p.values):
            words[p.word("value", k)] = evaluate(value, sizes)
        for k, b in enumerate(p.buffers):
            region = Region(f"b{k}", evaluate(b.nbytes, sizes), (b.first, b.last))
            words[p.word("buffer", k)] = memory.add(region)
        self._phases(memory, frame, words, sizes, backwards)
        for state, array in zip(states, parameters, strict=True):
            array[...] = state.array(array.shape, array.dtype)
        pairs = zip(outputs, p.outputs, shapes, strict=True)
        return tuple(region.array(shape, slot.dtype.numpy) for region, slot, shape in pairs)

    def _phases(self, memory: Memory, frame: int, words: list[int], sizes: dict[str, int], backwards: bool) -> None:
        status: list[int] = []
        names = namespace(self.program.text, memory, status, lambda at, i: words[(at - frame) // 8 + i])
        exec(self.code, names)
        for number, (phase, first) in enumerate(zip(self.program.phases, self.program.rows, strict=True)):
            kernel, row = names[f"kernel_{phase.kernel}"], frame + 8 * first
            chunks = range(evaluate(phase.chunks, sizes))
            for chunk in reversed(chunks) if backwards else chunks:
                memory.begin(number, chunk)
                kernel(frame, row, chunk)
                if status:
                    self._fail(status, memory, number)

    def _fail(self, status: list[int], memory: Memory, phase: int) -> None:
        """Raise as a call does; no parameter may have been written."""
        for region in memory.regions.values():
            if region.name.startswith("p") and any(w > 0 for w in region.writers):
                raise Fault("failure", f"{region.name} was written before a check failed in phase {phase}")
        failure, (_, position, value) = self.program.failures[status[0] - 1], status
        text = failure.text.format(position=position, value=value)
        raise InputError(f"{self.program.name}: {text}\n  at {failure.line}")


def _filled(name: str, array: Values) -> Region:
    region = Region(name, array.nbytes)
    region.fill(array)
    return region
