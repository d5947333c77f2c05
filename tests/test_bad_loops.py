"""What is wrong in and around loops: a clear error at the user's line, state unchanged, the same however loops run."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError, InputError
from graphc.graph import Graph, Node
from graphc.interpret import interpret

VALUES = np.arange(5.0)
AT = [0, 1, 2, 9, 1, -7]


def told(inputs: Sequence[Node], outputs: Any, values: Sequence[Any], debug: bool = True) -> str:
    """The error of a call, without the name of the function, alike for machine code and both interpreters.

    That of loops is left out where they are long.
    """
    found = []
    for options in (gc.Options(), gc.Options(debug=True))[: 1 + debug]:
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


SIZES = pytest.mark.parametrize("size", [2, 20, 200], ids=["one kernel", "phases", "chunks"])


@SIZES
@pytest.mark.parametrize("read", [_scan, _reversed, _while, _condition, _bounded, _chosen, _updated])
def test_the_iteration_of_a_position_out_of_range(read: Read, size: int) -> None:
    x, at, w = gc.input("x", (5,)), gc.input("at", (6,), "int64"), gc.input("w", (size, size))
    text = told([x, at, w], read(x, at, w), [VALUES, AT, np.ones((size, size)) / size], size < 200)
    wanted = r"(gather|scatter): position 9 does not lie on axis 0, which has length 5, in iteration 3\n  at "
    assert re.match(wanted, text), text
    assert "test_bad_loops.py" in text


@SIZES
def test_the_iteration_of_the_innermost_loop(size: int) -> None:
    x, at, w = gc.input("x", (5,)), gc.input("at", (6,), "int64"), gc.input("w", (size, size))

    def outer(c: Any, k: Any) -> Any:
        return gc.scan(lambda c, j: (gc.tanh(c @ w) + x[j + k], None), c, gc.arange(4))[0], None

    values = [VALUES, [0, 1, 3, 0, 0, 0], np.ones((size, size)) / size]
    text = told([x, at, w], gc.scan(outer, w, at)[0], values, size < 200)
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


# while loops that never end


def _endless(x: Any) -> Any:
    return gc.while_loop(lambda c: gc.all(c >= 0.0), lambda c: c * 0.5, x)


@pytest.mark.parametrize("size", [1, 100_000], ids=["small steps", "large steps"])
def test_an_endless_loop_can_be_interrupted(size: int, ctrl_c: Callable[[float], None]) -> None:
    """Nothing has changed then, though the loop works on the parameter, and the function can be called again."""
    w, x = gc.parameter("w", np.ones(size)), gc.input("x", (size,))
    new = _endless(w + x)
    step = gc.compile([x], gc.sum(new), updates={w: new}, name="step")
    step(np.full(size, -2.0))
    before = w.value
    ctrl_c(0.3)
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt, match="step: interrupted in a while loop; no parameter has changed"):
        step(np.full(size, 1.5))
    assert time.perf_counter() - start < 3
    np.testing.assert_array_equal(w.value, before)
    assert step(np.full(size, -2.0)) == -3.0 * size


def test_an_endless_step_of_a_run_keeps_those_before_it(ctrl_c: Callable[[float], None]) -> None:
    w, x = gc.parameter("w", 0.0), gc.input("x", ("n",))
    step = gc.compile([x], gc.sum(x), updates={w: w + _endless(gc.sum(x))})
    ctrl_c(0.3)
    with pytest.raises(KeyboardInterrupt, match="interrupted after 2 of 4 steps, which are kept"):
        step.run(x=np.array([-1.0, -2.0, 3.0, -4.0]), batch_size=1)
    assert w.value == -3.0


def test_other_handlers_and_threads_have_their_turn() -> None:
    """While one thread is in an endless loop, the others run; and a handler of the user's is called."""
    called = []
    old = signal.signal(signal.SIGINT, lambda *_: called.append(threading.current_thread()))
    try:
        f = gc.compile([x := gc.input("x", ())], _endless(x))
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            f(1.0)
    finally:
        signal.signal(signal.SIGINT, old)
    assert called == [threading.main_thread()]


# what is written wrongly


X = gc.input("x", (3,))
SYMBOLIC = gc.input("s", ("n",))
PLACE = gc.input("place", (), "float64")


def _if() -> Any:
    positive = X[0] > 0
    return 1 if positive else 2


def _for() -> Any:
    for e in SYMBOLIC:
        return e
    return None


def _for_in_a_step() -> Any:
    return gc.scan(lambda c, e: (sum(SYMBOLIC, c), None), 0.0, X)


def _assigned() -> None:
    X[0] = 1.0


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (_if, r"can't decide an `if` or `while`.*gc.where.*gc.cond"),
        (lambda: X[0] and X[1], r"can't decide an `if`.*gc.cond"),
        (_for, r"can't be iterated.*not a fixed number; write gc.scan or gc.map"),
        (_for_in_a_step, r"can't be iterated.*not a fixed number; write gc.scan or gc.map"),
        (lambda: len(SYMBOLIC), r"has no len\(\)"),
        (_assigned, r"does not change; write x = x.at\[key\].set\(value\)"),
        (lambda: X[PLACE], r"positions are integers, got input 'place': float64\[\].*gc.astype\(x, \"int64\"\)"),
        (lambda: X[[0.5]], r"positions are integers, got .*float64"),
        (lambda: X[0, 0], "names 2 axes, but the operand has 1"),
        (lambda: gc.scan(None, 0.0, X), "scan takes a function of nodes, got None"),
        (lambda: gc.map(3, X), "map takes a function of nodes, got int"),
        (lambda: gc.fori_loop(0, 3, None, 0.0), "fori_loop takes a function of nodes, got None"),
        (lambda: gc.while_loop(True, lambda c: c, 0.0), "while_loop takes a function of nodes, got bool"),
        (lambda: gc.while_loop(lambda c: True, None, 0.0), "while_loop takes a function of nodes, got None"),
        (lambda: gc.associative_scan(None, X), "associative_scan takes a function of nodes, got None"),
        (lambda: gc.cond(X[0] > 0, 1.0, 2.0), "cond takes a function of nodes, got float"),
        (lambda: gc.switch(0, [lambda: 1.0, 2.0]), "switch takes a function of nodes, got float"),
        (lambda: gc.associative_scan(gc.add, gc.zeros((0, 2))), "associative_scan: the axis has no element"),
    ],
)
def test_what_is_written_wrongly(declare: Callable[[], Any], says: str) -> None:
    with pytest.raises(GraphcError, match=f"(?s){says}") as caught:
        declare()
    line = str(caught.value).rsplit("\n  at ", 1)[-1]
    assert "test_bad_loops.py:" in line, caught.value
    assert "gc.input(" not in line, "the line is the one that is wrong, not the one that declared the node"


def test_an_input_of_another_graph() -> None:
    other = gc.input("other", ())
    with pytest.raises(GraphcError, match=r"need input 'other'.*not listed among the inputs[\s\S]*test_bad_loops.py"):
        gc.compile([X], gc.scan(lambda c, e: (c * other + e, None), 0.0, X)[0])


def test_an_error_of_the_users_is_the_users() -> None:
    """What a step raises comes out as it is, and what was being declared is forgotten."""

    def step(c: Any, e: Any) -> Any:
        raise KeyError("mine")

    for declare in (lambda: gc.scan(step, 0.0, X), lambda: gc.while_loop(lambda c: c > 0, lambda c: step(c, c), 0.0)):
        with pytest.raises(KeyError, match="mine"):
            declare()
    assert gc.compile([X], gc.scan(lambda c, e: (c + e, None), 0.0, X)[0])([1.0, 2.0, 3.0]) == 6.0


def test_a_chunk_of_a_parallel_kernel_tells_its_position() -> None:
    """Of many chunks, the first position that is wrong is told, and no parameter has changed."""
    w, at = gc.parameter("w", np.zeros(5)), gc.input("at", ("n",), "int64")
    values = gc.take(gc.constant(VALUES), at) * 2.0
    step = gc.compile([at], gc.sum(values), updates={w: w + gc.sum(values)}, name="step")
    places = np.zeros(100_000, np.int64)
    places[[70_000, 90_000]] = -6, 7
    with pytest.raises(InputError, match=r"step: gather: position -6 does not lie on axis 0, .* 5\n  at "):
        step(places)
    np.testing.assert_array_equal(w.value, np.zeros(5))
