"""The front end of kernels: that Numba by itself takes the same text, to the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_programs import PROGRAMS
from numba import njit, types

from graphc.codegen.namespace import namespace
from graphc.dims import evaluate
from graphc.graph import Graph
from graphc.interpret import interpret
from graphc.runtime.machine import Machine
from graphc.state import State, address
from graphc.tree import flatten


def _by_numba(text: str) -> Any:
    scope = dict(namespace(text), __name__="kernels")
    exec(text, scope)
    return njit(types.void(types.int64, types.int64, types.int64), error_model="numpy")(scope["kernel"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_numba_takes_the_text(name: str) -> None:
    golden = PROGRAMS[name]()
    wanted = interpret(
        Graph((*flatten(golden.outputs)[0], *golden.updates.values()), tuple(golden.inputs)), golden.values
    )
    function = golden.compile()
    program = function.program
    kernels = [_by_numba(text) for text in program.kernels]
    machine = Machine(program, function._native, [State(s.name, s.read()) for s in function._states])
    inputs = [np.ascontiguousarray(v) for v in golden.values]
    shape = machine.shape(tuple(v.shape for v in inputs))
    outputs = [np.empty(dims, slot.dtype.numpy) for dims, slot in zip(shape.outputs, program.outputs, strict=True)]
    with machine.workspace(shape) as words:
        words[8 : 8 + len(inputs) + len(outputs)] = [address(a) for a in (*inputs, *outputs)]
        for phase, row in zip(program.phases, program.rows, strict=True):
            for chunk in range(evaluate(phase.chunks, shape.sizes)):
                kernels[phase.kernel](address(words), address(words) + 8 * row, chunk)
    new = {s.name: s.read() for s in machine.states}
    for actual, expected in zip([*outputs, *(new[p.name] for p in golden.updates)], wanted, strict=True):
        tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
        assert np.max(np.abs(actual - expected), initial=0) <= tolerance * np.max(np.abs(expected), initial=1e-30)
