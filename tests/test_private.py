"""Products that only the nest in their phase reads: some rows at a time, in memory of the chunk's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import workspace

rng = np.random.default_rng(0)


def compiled(inputs: Any, outputs: Any, **more: Any) -> tuple[Any, Any]:
    """A function, and the same interpreted."""
    fast, slow = gc.Options(cache=False), gc.Options(debug=True)
    return gc.compile(inputs, outputs, options=fast, **more), gc.compile(inputs, outputs, options=slow, **more)


def leaves(result: Any) -> list[Any]:
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 3), (31, 1), (32, 10), (33, 7), (193, 10), (400, 3), (785, 10), (5_000, 2)]
)
def test_a_gradient_that_only_its_update_reads_is_no_array(
    rows: int, columns: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_SHARE_WORK", -1)
    x, y = gc.input("x", ("n", rows), dtype), gc.input("y", ("n", columns), dtype)
    w = gc.parameter("w", rng.normal(size=(rows, columns)).astype(dtype))
    f = gc.compile([x, y], gc.sum(y), updates={w: w - 0.5 * gc.tanh(x.T @ y)}, options=gc.Options(cache=False))
    for deep in (7, 0, 1, 2, 3, 40):
        start, (a, b) = w.value, (rng.normal(size=s).astype(dtype) for s in ((deep, rows), (deep, columns)))
        f(a, b)
        expected = start - 0.5 * np.tanh(a.astype("f8").T @ b)
        np.testing.assert_allclose(w.value, expected, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-5)
        if rows == 5_000:
            assert f.stats["workspace"] < start.nbytes


def test_a_batch_of_one_takes_little_memory() -> None:
    """Blocks of a gradient are no more than half of the rows that they are made of; few rows have no panel."""
    x, y = gc.input("x", ("n", 784), "float32"), gc.input("y", ("n", 10), "float32")
    w = gc.parameter("w", np.ones((784, 10), np.float32))
    loss = gc.sum((gc.relu(x @ w) - y) ** 2)
    needed = []
    for batch in (1, 13):
        f = gc.compile([x, y], loss, updates={w: w - gc.tanh(gc.grad(loss, w))}, options=gc.Options(cache=False))
        f(*(np.ones((batch, n), np.float32) for n in (784, 10)))
        needed.append(f.stats["workspace"])
    assert needed[0] < 3_000 < needed[1]


def both(value: Any) -> Any:
    return gc.tanh(value), value


def twice(value: Any) -> Any:
    return gc.tanh(value), gc.sum(value * value, axis=0)


def summed(value: Any) -> Any:
    return gc.sum(gc.tanh(value), axis=1)


def turned(value: Any) -> Any:
    return gc.tanh(value) + 1, gc.exp(value.T)


def chosen(value: Any) -> Any:
    """The product is a result of a branch, which is read outside of it, and its nest's operand within."""
    square = value @ value.T
    return gc.cond(gc.sum(value) > -1e30, lambda: (value @ value.T, gc.tanh(value @ value.T)), lambda: (square,) * 2)


def carried(value: Any) -> Any:
    """In the steps of a loop, whose carry the product is as well."""
    square = gc.tanh(value.T @ value)
    return gc.fori_loop(0, 3, lambda k, c: gc.tanh(c @ square) + c, value)


def stacked(value: Any) -> Any:
    square = gc.tanh(value.T @ value)

    def step(c: Any, k: Any) -> Any:
        made = c @ square
        return gc.tanh(made), made

    return gc.scan(step, value, gc.arange(3))


@pytest.mark.parametrize("use", [both, twice, summed, turned, chosen, carried, stacked])
@pytest.mark.parametrize("rows", [5, 300, 900])
def test_others_may_read_a_product_too(use: Callable[[Any], Any], rows: int) -> None:
    x, w = gc.input("x", (rows, 20)), gc.input("w", (20, 6))
    a, b = rng.normal(size=(rows, 20)) / 5, rng.normal(size=(20, 6)) / 5
    fast, slow = compiled([x, w], use(x @ w))
    fresh = gc.compile([x, w], use(gc.reshape(gc.sum(x[:, :, None] * w[None], axis=1), (rows, 6))))
    for one, other, third in zip(*(leaves(f(a, b)) for f in (fast, slow, fresh)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(one, third, rtol=1e-11, atol=1e-12)


def test_updates_that_are_alike_but_for_who_reads_their_gradients() -> None:
    """Of two with the same loops the later one's gradient is read by a third update as well."""
    inputs, y = [gc.input(f"x{k}", (64, 700)) for k in range(2)], gc.input("y", (64, 5))
    start = [rng.normal(size=s) for s in ((700, 5), (700, 5), (5, 5))]
    params = [gc.parameter(f"w{k}", value) for k, value in enumerate(start)]
    products = [x.T @ y for x in inputs]
    updates = {w: w - gc.tanh(p) for w, p in zip(params, products, strict=False)}
    updates[params[2]] = params[2] - products[1].T @ products[1]
    f = gc.compile([*inputs, y], gc.sum(y), updates=updates, options=gc.Options(cache=False))
    arrays = [rng.normal(size=s) / 9 for s in ((64, 700), (64, 700), (64, 5))]
    f(*arrays)
    found = [x.T @ arrays[2] for x in arrays[:2]]
    for w, before, change in zip(params, start, (*map(np.tanh, found), found[1].T @ found[1]), strict=True):
        np.testing.assert_allclose(w.value, before - change, rtol=1e-9, atol=1e-9)
