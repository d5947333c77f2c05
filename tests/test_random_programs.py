"""Random programs, compiled, agree with the interpreter: outputs, loss and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from random_graphs import Program, random_program

import graphc as gc
from graphc.graph import Graph
from graphc.interpret import interpret


def _check(program: Program) -> None:
    gradients = program.gradients().outputs
    outputs = (*program.outputs, *gradients)
    wanted = interpret(Graph(outputs, program.inputs), program.values)
    single = any(n.dtype == gc.float32 for n in Graph(outputs).nodes)
    results = gc.compile(program.inputs, outputs, options=gc.Options(cache=False))(*program.values)
    # The chain rule magnifies rounding: what is compared is each array against its own largest element.
    tolerance = 2e-4 if single else 1e-9
    for node, actual, expected in zip(outputs, results, wanted, strict=True):
        assert actual.dtype == expected.dtype, node
        assert actual.shape == expected.shape, node
        if expected.dtype.kind == "f":
            largest = max(np.max(np.abs(expected), initial=0.0), 1e-3)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * largest, err_msg=repr(node))
        else:
            np.testing.assert_array_equal(actual, expected, err_msg=repr(node))


@pytest.mark.parametrize("seed", range(300))
def test_compiled_agrees_with_the_interpreter(seed: int) -> None:
    _check(random_program(seed))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(300, 3000))
def test_compiled_agrees_with_the_interpreter_long(seed: int) -> None:
    _check(random_program(seed))
