"""What is wrong in and around loops: a clear error at the user's line, state unchanged, the same however loops run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import InputError
from graphc.graph import Graph, Node
from graphc.interpret import interpret

VALUES = np.arange(5.0)
AT = [0, 1, 2, 9, 1, -7]


def told(inputs: Sequence[Node], outputs: Any, values: Sequence[Any]) -> str:
    """The error of a call, without the name of the function, alike for machine code and both interpreters."""
    found = []
    for options in (gc.Options(), gc.Options(debug=True)):
        f = gc.compile(inputs, outputs, options=options, name="f")
        with pytest.raises(InputError) as caught:
            f(*values)
        found.append(str(caught.value).removeprefix("f: "))
    with pytest.raises(InputError) as caught:
        interpret(Graph((outputs,), tuple(inputs)), [np.asarray(v) for v in values])
    assert {str(caught.value), *found} == {found[0]}
    return found[0]


# positions out of range


Read = Callable[[Any, Any, Any], Any]  # of x, positions, and a small or a large array


def _scan(x: Any, at: Any, w: Any) -> Any:
    return gc.scan(lambda c, k: (gc.tanh(c @ w) + x[k], None), w, at)[0]


def _reversed(x: Any, at: Any, w: Any) -> Any:
    return gc.scan(lambda c, k: (gc.tanh(c @ w) + x[k], gc.sum(c)), w, at[:5], reverse=True)[1]


def _while(x: Any, at: Any, w: Any) -> Any:
    return gc.while_loop(lambda c: c[0] < 6, lambda c: (c[0] + 1, gc.tanh(c[1] @ w) + x[at[c[0]]]), (0, w))[1]


def _condition(x: Any, at: Any, w: Any) -> Any:
    return gc.while_loop(lambda c: x[at[c[0]]] > -1.0, lambda c: (c[0] + 1, gc.tanh(c[1] @ w)), (0, w))[1]


def _bounded(x: Any, at: Any, w: Any) -> Any:
    return gc.while_loop(lambda c: c[0] < 6, lambda c: (c[0] + 1, c[1] @ w + x[at[c[0]]]), (0, w), bound=9)[1]


def _chosen(x: Any, at: Any, w: Any) -> Any:
    def step(c: Any, k: Any) -> Any:
        return gc.cond(k > 1, lambda c: gc.tanh(c @ w) + x[k], lambda c: c, c), None

    return gc.scan(step, w, at)[0]


def _updated(x: Any, at: Any, w: Any) -> Any:
    return gc.scan(lambda c, k: (c.at[k].add(gc.sum(w)), None), x, at)[0]


@pytest.mark.parametrize("size", [2, 200], ids=["one kernel", "phases"])
@pytest.mark.parametrize("read", [_scan, _reversed, _while, _condition, _bounded, _chosen, _updated])
def test_the_iteration_of_a_position_out_of_range(read: Read, size: int) -> None:
    x, at, w = gc.input("x", (5,)), gc.input("at", (6,), "int64"), gc.input("w", (size, size))
    text = told([x, at, w], read(x, at, w), [VALUES, AT, np.ones((size, size)) / size])
    wanted = r"(gather|scatter): position 9 does not lie on axis 0, which has length 5, in iteration 3\n  at "
    assert re.match(wanted, text), text
    assert "test_bad_loops.py" in text


@pytest.mark.parametrize("size", [2, 200], ids=["one kernel", "phases"])
def test_the_iteration_of_the_innermost_loop(size: int) -> None:
    x, at, w = gc.input("x", (5,)), gc.input("at", (6,), "int64"), gc.input("w", (size, size))

    def outer(c: Any, k: Any) -> Any:
        return gc.scan(lambda c, j: (gc.tanh(c @ w) + x[j + k], None), c, gc.arange(4))[0], None

    text = told([x, at, w], gc.scan(outer, w, at)[0], [VALUES, [0, 1, 3, 0, 0, 0], np.ones((size, size)) / size])
    assert "position 5 does not lie on axis 0, which has length 5, in iteration 2\n" in text


def test_no_iteration_outside_of_loops() -> None:
    """Before a loop, after it, and where only a checkpoint looks like one."""
    x, at = gc.input("x", (5,)), gc.input("at", (6,), "int64")
    assert "length 5\n  at " in told([x, at], gc.scan(lambda c, e: (c + e, None), 0.0, x[at])[0], [VALUES, AT])
    late = gc.scan(lambda c, k: (c + k, None), 0, at)[0]
    assert "position 7 does not lie on axis 0, which has length 5\n" in told(
        [x, at], x[late], [VALUES, [2, 1, 4, 0, 0, 0]]
    )
    again = gc.checkpoint(lambda x, at: gc.sin(x[at]))(x, at)
    assert "length 5\n  at " in told([x, at], again, [VALUES, AT])


def test_segments_say_that_they_are_some() -> None:
    x, at = gc.input("x", (5,)), gc.input("at", (6,), "int64")
    last = gc.scan(lambda c, k: (c + x[k], None), 0.0, at, checkpoint=2)[0]
    assert "in iteration 1 of a segment\n" in told([x, at], last, [VALUES, AT])


def test_the_adjoint_tells_too() -> None:
    x, at = gc.input("x", (5,)), gc.input("at", (6,), "int64")
    last = gc.scan(lambda c, k: (c * x[k], None), 1.0, at)[0]
    with pytest.raises(InputError, match="length 5, in iteration 3\n"):
        gc.compile([x, at], gc.grad(last, x))(VALUES, AT)


def test_a_parameter_keeps_its_value() -> None:
    """Also where the loop would have written it in place."""
    w, at = gc.parameter("w", VALUES), gc.input("at", ("n",), "int64")
    new = gc.scan(lambda c, k: (c.at[k].add(1.0), None), w, at)[0]
    step = gc.compile([at], gc.sum(new), updates={w: new})
    with pytest.raises(InputError, match=r"position 9 .* in iteration 3\n"):
        step(AT)
    np.testing.assert_array_equal(w.value, VALUES)
    assert step([0, 0]) == 12.0
