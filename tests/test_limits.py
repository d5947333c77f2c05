"""Sizes, names and moments at the edge of what there is: an error that says so, never one from below."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc

X, V = gc.input("x", ("n", "m")), gc.input("v", ("n",))


@pytest.mark.parametrize(
    ("source", "output", "value"),
    [
        (X, gc.sum(X, axis=0), (0, 2**59)),
        (X, gc.sum(X, axis=0), (0, 2**44)),
        (X, gc.concat([X] * 8, axis=1), (0, 2**59)),
        (V, V[:, None] * V, (10**7,)),
        (V, gc.sum(gc.softmax(V[:, None] * V, axis=0) @ V), (10**7,)),
        (V, V[:, None, None, None] * V[:, None, None] * V[:, None] * V, (10**5,)),
    ],
    ids=["large", "terabytes", "concat", "outer", "workspace", "beyond 64 bits"],
)
def test_what_no_memory_holds(source: Any, output: Any, value: Any) -> None:
    f = gc.compile([source], output, name="wide")
    with pytest.raises(MemoryError, match=r"wide: with (m = \d+, )?n = \d+, a call would need .* bytes"):
        f(np.zeros(value))
    f(np.zeros((2,) * len(value)))  # and no lasting harm


def test_a_result_without_elements_may_have_any_shape() -> None:
    assert gc.compile([X], X * 2.0)(np.zeros((0, 2**59))).shape == (0, 2**59)


def test_a_batch_may_be_larger_than_any_number() -> None:
    f = gc.compile([V], gc.sum(V))
    assert f.run(v=[1.0, 2.0], batch_size=10**30).tolist() == [3]


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "\udfff.", "", 5])
@pytest.mark.parametrize(
    "declare",
    [
        lambda name: gc.input(name, ()),
        lambda name: gc.parameter(name, 1.0),
        lambda name: gc.compile([V], V, name=name),
    ],
    ids=["input", "parameter", "compile"],
)
def test_names_that_no_file_can_hold(declare: Any, name: Any) -> None:
    with pytest.raises(gc.DeclarationError, match=r"a name (is|holds)"):
        declare(name)


def test_new_sizes_from_many_threads() -> None:
    """What is known of sizes is written while others read it; once it was a dictionary that changed size."""
    f = gc.compile([V], gc.sum(V))
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        sizes = random.Random(seed)
        try:
            for _ in range(1_000):
                n = sizes.randrange(300)
                assert f(np.ones(n)) == n
                flops = f.stats["flops"]  # None where the last size has just been forgotten
                assert flops is None or flops >= 0
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors


def test_a_value_is_read_only() -> None:
    """Writing to it would change a copy, in silence."""
    w = gc.parameter("w", np.zeros((2, 3)))
    with pytest.raises(ValueError, match="read-only"):
        w.value[0] = 7
    values = w.value.copy()
    values[0] = 7
    w.assign(values)
    assert w.value[0].tolist() == [7, 7, 7]
