"""Runs of steps that read the rows of an input where they lie, through a list, instead of copies side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import threads

rng = np.random.default_rng(0)


def descent(inputs: tuple[int, ...], columns: tuple[int, ...], dtype: str, seed: int = 0) -> tuple[Any, list[Any]]:
    """A step of descent with a product of each input, of so many columns, and its parameters."""
    own = np.random.default_rng(seed)
    xs = [gc.input(f"x{k}", ("n", d), dtype) for k, d in enumerate(inputs)]
    t = gc.input("t", ("n", 1), dtype)
    weights = [
        gc.parameter(f"w{k}{h}", own.normal(size=(d, h), scale=0.05).astype(dtype))
        for k, d in enumerate(inputs)
        for h in columns
    ]
    products = [x @ weights[k * len(columns) + j] for k, x in enumerate(xs) for j in range(len(columns))]
    loss = gc.mean((sum(gc.sum(gc.tanh(p), axis=1, keepdims=True) for p in products) - t) ** 2)
    updates = {w: w - 0.001 * g for w, g in zip(weights, gc.grad(loss, weights), strict=True)}
    return gc.compile([*xs, t], loss, updates=updates), weights


def rows_of(f: Any, count: int) -> dict[str, Any]:
    """So many random rows for each input."""
    slots = f.program.inputs
    return {s.name: rng.normal(size=(count, *s.shape[1:])).astype(s.dtype.numpy) for s in slots}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [(1,), (2,), (10,), (12,), (2, 11)])
@pytest.mark.parametrize("inputs", [(33,), (130,), (784,), (784, 130), (784, 784)])
def test_a_run_has_the_bits_of_steps_by_hand(inputs: tuple[int, ...], columns: tuple[int, ...], dtype: str) -> None:
    """With repeated rows and a last step of fewer, in few rows and in many, on one thread and on two."""
    (by_hand, own), (f, weights) = descent(inputs, columns, dtype), descent(inputs, columns, dtype)
    assert f.program.listed == tuple(range(len(inputs)))
    rows = rows_of(f, 70)
    for batch in (1, 13, 33):
        gc.set_num_threads(1 + batch % 2 if threads.most_threads() > 1 else 1)
        order = rng.integers(0, 70, size=2 * batch + 1)
        found = f.run(**rows, batch_size=batch, order=order)
        parts = [order[k : k + batch] for k in range(0, len(order), batch)]
        assert found.tolist() == [by_hand(**{name: a[part] for name, a in rows.items()}) for part in parts]
        in_order = f.run(**rows, batch_size=batch)
        assert in_order.tolist() == [
            by_hand(**{name: a[k : k + batch] for name, a in rows.items()}) for k in range(0, 70, batch)
        ]
    for one, other in zip(weights, own, strict=True):
        assert one.value.tobytes() == other.value.tobytes()


@pytest.mark.parametrize(("width", "batch"), [(2_100, 1_200), (1_000, 2_200)])
def test_a_run_of_long_steps_has_the_bits_of_steps_by_hand(width: int, batch: int) -> None:
    """More rows than caches hold, which a gradient of one column goes through in parts of the sum, the product in turn
    if they are short."""
    (by_hand, (own,)), (f, (w,)) = descent((width,), (1,), "float32"), descent((width,), (1,), "float32")
    assert f.program.listed == (0,)
    assert "sweep_sum_listed" in f.source
    assert ("dots_rows_in_turn_rows_listed" in f.source) == (width < 2_000)
    rows = rows_of(f, 3_000)
    order = rng.integers(0, 3_000, size=3 * batch)
    found = f.run(**rows, batch_size=batch, order=order)
    assert found.tolist() == [by_hand(**{n: a[part] for n, a in rows.items()}) for part in order.reshape(3, batch)]
    assert w.value.tobytes() == own.value.tobytes()
    x, t, before = rows["x0"][:batch], rows["t"][:batch], w.value.astype("f8")
    found, gradient = f.run(x0=x, t=t, batch_size=batch), before - w.value
    y = np.tanh(x @ before)
    np.testing.assert_allclose(found, [np.mean((y - t) ** 2)], rtol=1e-4)
    expected = 0.001 * x.T @ (2 / batch * (y - t) * (1 - y * y))
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_the_values_are_those_of_numpy() -> None:
    f, (w,) = descent((784,), (10,), "float64")
    rows, value = rows_of(f, 50), w.value
    order = rng.integers(0, 50, size=96)
    found = f.run(**rows, batch_size=32, order=order)
    for part, loss in zip(order.reshape(3, 32), found, strict=True):
        x, t = rows["x0"][part], rows["t"][part]
        y = np.tanh(x @ value)
        error = y.sum(axis=1, keepdims=True) - t
        np.testing.assert_allclose(loss, np.mean(error**2))
        value = value - 0.001 * x.T @ (2 / 32 * error * (1 - y * y))
    np.testing.assert_allclose(w.value, value)


X = gc.input("x", ("n", 40))
W = np.linspace(-1, 1, 120).reshape(40, 3)


@pytest.mark.parametrize(
    ("reads", "listed"),
    [
        (lambda x: x @ W, True),
        (lambda x: x @ W[:, 0].copy(), True),
        (lambda x: x @ np.ones((40, 17)), False),  # many columns
        (lambda x: x[:, :30] @ W[:30], True),
        (lambda x: x[:, 2:] @ W[2:], False),  # begins elsewhere
        (lambda x: gc.transpose(x) @ gc.tanh(x @ W), True),
        (lambda x: gc.transpose(x) @ x, False),
        (lambda x: x @ gc.transpose(x), False),
        (lambda x: W.T @ gc.transpose(x), False),  # the second operand
        (lambda x: gc.tanh(x @ W) + gc.sum(x), False),
        (lambda x: x[::-1] @ W, False),
        (lambda x: x[1:] @ W, False),
        (lambda x: x[:-1] @ W, False),
        (lambda x: gc.reshape(x, (-1, 8)) @ W[:8], False),
        (lambda x: gc.reshape(x, (-1, 5, 8)) @ W[:8], False),
        (lambda x: gc.tensordot(gc.reshape(x, (-1, 5, 8)), W.reshape(5, 8, 3), axes=2), True),
        (lambda x: gc.scan(lambda c, row: (c + row @ W, None), np.zeros(3), x)[0], False),
    ],
)
def test_what_may_be_listed(reads: Callable[[Any], Any], listed: bool) -> None:
    """Whole rows that are the first operand of products and nothing else; the bits are the same either way."""
    f = gc.compile([X], gc.sum(gc.sin(reads(X))))
    assert f.program.listed == ((0,) if listed else ())
    x = rng.normal(size=(40, 40))
    order = rng.permutation(40)
    assert f.run(x=x, batch_size=20, order=order).tolist() == [f(x[order[:20]]), f(x[order[20:]])]


def test_a_failed_run_leaves_nothing_listed() -> None:
    t = gc.input("t", ("n",), gc.int64)
    f = gc.compile([X, t], gc.sum(gc.tanh(X @ W)) + gc.sum(gc.take(np.arange(3.0), t)))
    assert f.program.listed == (0,)
    x, good, bad = rng.normal(size=(20, 40)), np.zeros(20, np.int64), np.full(20, 3)
    expected = f(x, good)
    for _ in range(3):
        with pytest.raises(gc.InputError, match="in step 0 of 1"):
            f.run(x=x, t=bad, batch_size=20, order=np.arange(20)[::-1])
        assert f(x, good) == expected
