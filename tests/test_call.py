"""The entry of a compiled function: what it takes by itself, what it leaves to its caller, and what it owns."""

from __future__ import annotations

import gc as collector
import inspect
import pickle
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import InputError
from graphc.runtime.call import Caller


@pytest.fixture
def pair() -> Any:
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    return gc.compile([x, y], (x + y, x * y))


@pytest.fixture
def slow_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one for each call that the builtin leaves to its caller."""
    calls: list[Any] = []
    slow = Caller.__call__
    monkeypatch.setattr(Caller, "__call__", lambda self, *a, **k: (calls.append(a), slow(self, *a, **k))[1])
    return calls


def test_arrays_for_the_outputs_are_written_by_the_builtin(pair: Any, slow_calls: list[Any]) -> None:
    a, b = np.arange(4.0), np.arange(4.0) + 1
    pair(a, b)  # the shape is new
    slow_calls.clear()
    out = (np.zeros(4), np.zeros(4))
    assert pair(a, b, out=out) is out
    assert np.array_equal(out, (a + b, a * b))
    lone = gc.compile([x := gc.input("x", ("n",))], 2.0 * x)
    lone(a)
    slow_calls.clear()
    target = np.zeros(4)
    assert lone(a, out=target) is target
    assert np.array_equal(target, 2 * a)
    assert lone(a[::2].copy(), out=target[:2]) is not None  # another shape
    assert len(slow_calls) == 1


@pytest.mark.parametrize("named", [True, False])
def test_outputs_that_overlap_are_written_as_if_they_did_not(pair: Any, named: bool) -> None:
    memory = np.arange(12.0)
    a, b = memory[:4], memory[4:8]
    want = (a + b, a * b)
    pair(a, b)
    out = (memory[3:7], memory[6:10])
    pair(*(() if named else (a, b)), out=out, **({"x": a, "y": b} if named else {}))
    assert np.array_equal(out[0][:3], want[0][:3])  # the last was written again by the second
    assert np.array_equal(out[1], want[1])
    memory[:] = np.arange(12.0)
    pair(memory[8:4:-1], b.copy(), out=(memory[5:9], np.zeros(4)))  # a view against the order, copied first
    assert np.array_equal(memory[5:9], np.arange(8.0, 4, -1) + np.arange(4.0, 8))


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (lambda: np.zeros(4), "must have the structure"),
        (lambda: (np.zeros(4),), "must have the structure"),
        (lambda: (np.zeros(4), np.zeros(3)), "output 1 must be a writable array"),
        (lambda: (np.zeros(4), np.zeros(4, "float32")), "got float32"),
        (lambda: (np.zeros(4), np.frombuffer(bytes(32))), "read-only"),
        (lambda: (np.zeros(4), [0.0] * 4), "must have the structure"),
        (lambda: (np.zeros(4), 1.0), "got float"),
    ],
)
def test_what_does_not_fit_as_an_output_is_told(pair: Any, out: Any, told: str) -> None:
    a = np.arange(4.0)
    pair(a, a)
    with pytest.raises(InputError, match=told):
        pair(a, a, out=out())


def test_lists_and_none_for_the_outputs(pair: Any) -> None:
    a, out = np.arange(4.0), [np.zeros(4), np.zeros(4)]
    assert pair(a, a, out=out) is out
    assert np.array_equal(out, (a + a, a * a))
    assert np.array_equal(pair(a, a, out=None), (a + a, a * a))


@pytest.mark.parametrize(
    "structure", [lambda y, z: (y,), lambda y, z: [y, z], lambda y, z: {"z": z, "y": y}, lambda y, z: []]
)
def test_flat_structures_are_made_by_the_builtin(structure: Any, slow_calls: list[Any]) -> None:
    x, a = gc.input("x", ("n",)), np.arange(4.0)
    f, want = gc.compile([x], structure(x + 1.0, x * 2.0)), structure(a + 1, a * 2)
    f(a)
    slow_calls.clear()
    out = structure(np.zeros(4), np.zeros(4))
    for got in (f(a), f(a, out=out)):
        assert type(got) is type(want)
        assert repr(got) == repr(want)
    assert f(a, out=out) is out
    assert f(a) is not f(a)
    assert slow_calls == []


def test_what_does_not_fit_into_a_structure_is_told() -> None:
    x, a = gc.input("x", ("n",)), np.arange(4.0)
    f = gc.compile([x], {"y": x + 1.0, "z": x * 2.0})
    one = gc.compile([x], [x + 1.0])
    f(a), one(a)
    b = a.copy()
    for out in ({"y": b}, {"y": b, "w": b}, {"y": b, "z": b, "w": 0}, [b, b], 1):
        with pytest.raises(InputError, match="must have the structure"):
            f(a, out=out)
    assert list(f(a, out=None)) == ["y", "z"]
    with pytest.raises(InputError, match="must be a writable array"):
        f(a, out={"y": a.copy(), "z": 2.0})
    for out in ({"y": a.copy()}, [a.copy()] * 2, a.copy()):
        with pytest.raises(InputError, match="must have the structure"):
            one(a, out=out)
    other_order = {"z": np.zeros(4), "y": np.zeros(4)}
    assert f(a, out=other_order) is other_order
    assert np.array_equal(other_order["y"], a + 1)


def test_a_list_that_another_thread_empties_keeps_its_arrays_until_the_call_is_over() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], [gc.sin(x), gc.cos(x)])
    a = np.linspace(0, 1, 2_000_000)
    f(a)
    for _ in range(5):
        out = [np.empty_like(a), np.empty_like(a)]
        begun = threading.Event()
        thread = threading.Thread(target=lambda out=out, begun=begun: (begun.wait(), out.clear()))
        thread.start()
        begun.set()
        assert f(a, out=out) is out
        thread.join()
        assert out == []


def test_no_reference_is_lost_or_kept(pair: Any) -> None:
    a, out = np.arange(4.0), (np.zeros(4), np.zeros(4))
    x = gc.input("x", ("n",))
    tree = gc.compile([x], {"y": [2.0 * x]})
    flat, named = gc.compile([x], [x + 1.0, x * 2.0]), gc.compile([x], {"y": x + 1.0, "z": x * 2.0})
    by_name = dict(zip("yz", out, strict=True))
    things = (a, out, *out, by_name)

    def counts() -> list[int]:
        return [sys.getrefcount(t) for t in things]

    def call() -> None:
        pair(a, a, out=out)
        pair(a, a, out=list(out))
        tree(a)
        flat(a, out=list(out))
        named(a, out=by_name)
        flat(a), named(a)
        for wrong in ((a,), (a, a, a), (a, "no")):
            with pytest.raises(gc.errors.GraphcError):
                pair(*wrong)

    call()
    before = counts()
    for _ in range(50):
        call()
    assert counts() == before
    results = (tree(a)["y"], pair(a, a))
    held = [sys.getrefcount(r) for rs in results for r in rs]
    assert held == [3, 3, 3]  # of what holds them, of the loop and of the call


def test_a_failure_reaches_the_user_and_the_output_stays_his() -> None:
    x = gc.input("x", (3,))
    k = gc.input("k", (), "int64")
    picked = gc.compile([x, k], x[k])
    a, out = np.arange(3.0), np.zeros(())
    assert picked(a, np.array(2), out=out) is out
    count = sys.getrefcount(out)
    for _ in range(5):
        with pytest.raises(InputError, match="7"):
            picked(a, np.array(7), out=out)
        with pytest.raises(InputError, match="7"):
            picked(a, np.array(7))
    assert sys.getrefcount(out) == count
    assert picked(a, np.array(1)) == 1


def test_the_entry_outlives_its_function_and_the_function_goes_at_once() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], {"y": 2.0 * x})
    entry, gone = f.__call__, weakref.ref(f)
    collector.disable()
    try:
        del f
        assert gone() is None
    finally:
        collector.enable()
    assert entry([1.0])["y"] == [2.0]  # by way of the caller
    assert entry(np.ones(1))["y"] == [2.0]


def test_a_signature_names_the_inputs(pair: Any) -> None:
    assert str(inspect.signature(pair)) == "(x, y, *, out=None)"
    strange = gc.compile([gc.input("a b", ())], gc.constant(1.0))
    assert str(inspect.signature(strange)) == "(*args, out=None, **kwargs)"
    again = pickle.loads(pickle.dumps(pair))
    assert np.array_equal(again(np.ones(2), np.ones(2)), [[2, 2], [1, 1]])
