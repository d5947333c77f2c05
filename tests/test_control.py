"""Loops and choices as machine code: in one kernel, in blocks of elements or between phases, with the same results."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support_loops import close

import graphc as gc
from graphc.codegen import control
from graphc.graph import Graph, Node
from graphc.interpret import interpret

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))
W = RNG.normal(size=(3, 3)) * 0.5

Case = tuple[list[Node], tuple[Node, ...], list[Any]]


@pytest.fixture(params=["one kernel", "blocks", "phases"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How bodies run that are small enough for either."""
    if request.param != "one kernel":
        monkeypatch.setattr(control, "fits", lambda phases: False)
    if request.param == "phases":
        monkeypatch.setattr(control, "independent", lambda phases, rows: None)
    return str(request.param)


def check(case: Case, way: str) -> Any:
    inputs, outputs, arrays = case
    wanted = interpret(Graph(outputs, tuple(inputs)), arrays)
    for options in (gc.Options(cache=False), gc.Options(debug=True)):
        function = gc.compile(inputs, outputs, options=options)
        close(function(*arrays), wanted, 1e-12)
        close(function(*arrays), wanted, 1e-12)
        has_controls = any(p.kernel < 0 for p in function.program.phases)
        assert has_controls or way != "phases"
    return function


def rnn(reverse: bool = False, n: Any = "n") -> Case:
    x, w = gc.input("x", (n, 3)), gc.input("w", (3, 3))
    h, ys = gc.scan(lambda h, e: (gc.tanh(h @ w + e), (h, gc.sum(e))), gc.zeros(3), x, reverse=reverse)
    return [x, w], (h, *ys, *gc.grad(gc.sum(h * h) + gc.sum(ys[0]), [x, w])), [X, W]


def swapped() -> Case:
    """Carries that change places, one that stays, and one that counts."""
    a, b = gc.input("a", (3,)), gc.input("b", (3,))
    (p, q, k), ys = gc.scan(lambda c, _: ((c[1], c[0] + 1.0, c[2] + 2), c[1]), (a, b, 0), length=5)
    return [a, b], (p, q, k, ys), [X[0], X[1]]


def nested() -> Case:
    """A loop over the elements of each row, backwards in a loop forwards."""
    x = gc.input("x", ("n", 3))

    def row(total: Node, e: Node) -> Any:
        inner, parts = gc.scan(lambda c, v: (gc.sin(c) + v, c * v), total, e, reverse=True)
        return inner, (parts, gc.max(parts))

    total, (parts, most) = gc.scan(row, 0.5, x)
    return [x], (total, parts, most, gc.grad(total + gc.sum(parts), x)), [X]


def chosen() -> Case:
    """A choice at each step, one of them empty-handed."""
    x, w = gc.input("x", ("n", 3)), gc.input("w", (3, 3))

    def step(c: Node, e: Node) -> Any:
        first = gc.cond(e[0] > 0.0, lambda v: gc.tanh(v @ w), lambda v: v, c)
        which = gc.astype(gc.sum(e > 0.0), gc.int64)
        return gc.switch(which, [lambda v: v * 2.0, lambda v: v + e, gc.cos], first), first

    c, ys = gc.scan(step, gc.ones(3), x)
    return [x, w], (c, ys, *gc.grad(gc.sum(c), [x, w])), [X, W]


def positions() -> Case:
    x = gc.input("x", ("n", 3))
    total = gc.fori_loop(0, x.shape[0], lambda k, c: c * 0.5 + gc.take(x, k, axis=0) * k, gc.zeros(3))
    return [x], (total, gc.grad(gc.sum(total), x)), [X]


CASES: dict[str, Callable[[], Case]] = {
    "rnn": rnn,
    "backwards": lambda: rnn(True),
    "known length": lambda: rnn(n=6),
    "swapped": swapped,
    "nested": nested,
    "chosen": chosen,
    "positions": positions,
}


@pytest.mark.parametrize("name", [n for n in CASES if n != "positions"])
def test_small_bodies_are_in_one_kernel(name: str) -> None:
    inputs, outputs, _ = CASES[name]()
    assert all(p.kernel >= 0 for p in gc.compile(inputs, outputs).program.phases)


@pytest.mark.parametrize("name", CASES)
def test_both_ways(name: str, way: str) -> None:
    check(CASES[name](), way)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_loops(n: int, way: str) -> None:
    inputs, outputs, (x, w) = rnn()
    check((inputs, outputs, [x[:n], w]), way)


def test_one_function_for_every_length(way: str) -> None:
    inputs, outputs, _ = rnn()
    f = gc.compile(inputs, outputs)
    for n in (3, 0, 17, 1, 6, 3):
        x = RNG.normal(size=(n, 3))
        close(f(x, W), interpret(Graph(outputs, tuple(inputs)), [x, W]), 1e-12)


def test_bodies_of_many_chunks() -> None:
    x = gc.input("x", (3, 40_000))
    c, ys = gc.scan(lambda c, e: (gc.tanh(c + e), gc.sum(c * e)), gc.zeros(40_000), x)
    outputs = (c, ys, gc.grad(gc.sum(c) + gc.sum(ys), x))
    f = gc.compile([x], outputs)
    arrays = [RNG.normal(size=(3, 40_000))]
    assert any(p.kernel < 0 for p in f.program.phases)
    close(f(*arrays), interpret(Graph(outputs, (x,)), arrays), 1e-11)


def test_while_loops() -> None:
    x = gc.input("x", (3,))
    halved = gc.while_loop(lambda c: gc.max(c[0]) > 1.0, lambda c: (c[0] * 0.5, c[1] + 1), (x, 0))
    inside = gc.scan(lambda c, e: (c + gc.while_loop(lambda v: v < 10.0, lambda v: v * 2.0, e), c), 0.0, gc.exp(x))
    outputs = (*halved, inside[0], inside[1])
    for values in (X[0] * 100.0, np.zeros(3), np.full(3, 1e-3)):
        for options in (gc.Options(), gc.Options(debug=True)):
            close(gc.compile([x], outputs, options=options)(values), interpret(Graph(outputs, (x,)), [values]), 1e-12)


def test_training_through_a_loop(way: str) -> None:
    """A loop's gradient in an update, in single calls and in a run of minibatches."""
    x = gc.input("x", ("batch", 5, 3))

    def program() -> tuple[Any, Node]:
        w = gc.parameter("w", W)
        steps = gc.permute_dims(x, (1, 0, 2))
        h, _ = gc.scan(lambda h, e: (gc.tanh(h @ w + e), None), gc.zeros((x.shape[0], 3)), steps)
        loss = gc.mean(h * h)
        return gc.compile([x], loss, updates={w: w - 0.1 * gc.grad(loss, w)}), w

    data = RNG.normal(size=(12, 5, 3))
    (one, w), (other, v) = program(), program()
    losses = [float(one(data[k : k + 4])) for k in range(0, 12, 4)]
    np.testing.assert_array_equal(other.run(x=data, batch_size=4), losses)
    np.testing.assert_array_equal(w.value, v.value)
    assert losses[2] != losses[0]


def test_positions_out_of_range_are_told(way: str) -> None:
    x, ks, w = gc.input("x", (4,)), gc.input("ks", ("n",), gc.int64), gc.parameter("w", 0.0)
    total, _ = gc.scan(lambda c, k: (c + gc.take(x, k), None), 0.0, ks)
    for options in (gc.Options(), gc.Options(debug=True)):
        f = gc.compile([x, ks], total, updates={w: w + total}, options=options)
        before = w.value
        with pytest.raises(gc.InputError, match=r"(?s)gather.*7.*test_control"):
            f(np.arange(4.0), [0, 3, 7, 1])
        assert w.value == before
        assert f(np.arange(4.0), [0, 3, -1]) == 6.0


def test_what_goes_with_a_function(way: str) -> None:
    inputs, outputs, arrays = nested()
    f = gc.compile(inputs, outputs)
    wanted = f(*arrays)
    close(pickle.loads(pickle.dumps(f))(*arrays), wanted, 0.0)
    assert "times" in f.explain()
    assert "times" in f.source
    assert all(kernel.microseconds >= 0.0 for kernel in f.profile(*arrays, repeat=2))
    again = gc.compile(inputs, outputs)
    assert again.stats["from_cache"]
    close(again(*arrays), wanted, 0.0)


def test_profile_of_a_while_loop_ends() -> None:
    z = gc.input("z", ())
    f = gc.compile([z], gc.while_loop(lambda v: v < 100.0, lambda v: v * 1.5 + 1.0, z))
    profile = f.profile(1.0, repeat=2)
    steps = 9  # from 1 to 113
    assert [(k.title, k.runs) for k in profile][1:] == [("less", steps + 1), ("add", steps)]
    assert profile[-1].flops == 2 * steps


def test_a_step_of_a_few_instructions_takes_nanoseconds() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.scan(lambda c, e: (c * 0.9 + e, None), 0.0, x)[0])
    assert len(f.program.phases) == 2  # the first value, and the loop
    assert f(np.ones(1_000_000)) == pytest.approx(10.0)
