"""Random programs as functions: what is made of symbols that the function's sizes decide is what it declares."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from programs.check import HELPERS, declared
from programs.profiles import random_program

import graphc as gc
from graphc.interpret import interpret
from graphc.signature import Call, Signature
from graphc.specialise import Leaves, Tracing

SEEDS = range(120)
STRETCHED = re.compile(r"dimensions that meet elementwise must be equal: .* that is (1 == \d+|\d+ == 1)\n")


@pytest.mark.parametrize("first", SEEDS[::10])
def test_values_are_those_of_the_declared_program(first: int) -> None:
    compared = 0
    for seed in range(first, first + 10):
        program = random_program(seed)
        if program.stray or not program.outputs:
            continue
        names = declared(program)
        code = compile("\n".join(line.text for line in program.lines), f"program {seed}", "exec")
        inputs = tuple(names[leaf.name] for leaf in program.inputs)
        graph = gc.Graph(tuple(names[name] for name in program.outputs), inputs)

        def function(*values: Any, program: Any = program, names: Any = names, code: Any = code) -> Any:
            scope = {"gc": gc, "np": np, **HELPERS, **{p.name: names[p.name] for p in program.parameters}}
            scope |= zip((leaf.name for leaf in program.inputs), values, strict=True)
            exec(code, scope)
            return tuple(scope[name] for name in program.outputs)

        for sizes in (program.sizes, *program.other_sizes):
            values = program.values(sizes)
            for leaf in program.parameters:
                names[leaf.name].attrs["state"].array[...] = values[leaf.name]
            call = Call(Signature.of(function, ()), tuple(values[leaf.name] for leaf in program.inputs), {})
            with np.errstate(all="ignore"):
                found, _ = _outputs(lambda function=function, call=call: _traced(function, call), call)
                wanted, refusal = _outputs(lambda graph=graph: graph, call)
            if found is None or wanted is None:
                # Symbols that meet must be equal at every call; of a length that is known to be 1 a function repeats.
                assert found is None or STRETCHED.search(refusal)
                assert wanted is None
                continue
            compared += 1
            for f, w in zip(found, wanted, strict=True):
                assert (f.dtype, f.shape) == (w.dtype, w.shape)
                np.testing.assert_allclose(f, w, rtol=1e-5, atol=1e-6)
    assert compared >= 10


def _traced(function: Callable[..., Any], call: Call) -> gc.Graph:
    traced = Tracing(function, "program", call, Leaves(call)).settled()
    return gc.Graph(tuple(traced.nodes), tuple(traced.inputs))


def _outputs(graph: Callable[[], gc.Graph], call: Call) -> tuple[tuple[Any, ...] | None, str]:
    """The outputs; None, and why, where the sizes or values are refused."""
    try:
        return interpret(graph(), call.arrays), ""
    except ValueError as error:
        return None, str(error)
