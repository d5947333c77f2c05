"""One element of each row is read before rows are computed with, and an update of one is a choice in their loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc

COLD = gc.Options(cache=False)
RNG = np.random.default_rng(3)


def names(function: Any) -> set[str]:
    """What the kernels are called after."""
    lines = [line for line in str(function.source).splitlines() if line.startswith("def kernel")]
    return {name for line in lines for name in line.partition("# ")[2].split(", ")}


def positions(shape: tuple[int, ...], size: int, dtype: str = "int64") -> Any:
    return RNG.integers(0 if dtype.startswith("u") else -size, size, shape).astype(dtype)


def put(base: Any, at: Any, values: Any, axis: int) -> Any:
    out = base.copy()
    np.put_along_axis(out, at, values, axis)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((5, 7), 1), ((5, 7), 0), ((3, 4, 6), 1), ((2, 3, 4, 5), -1), ((9,), 0)])
def test_value_and_gradient(shape: tuple[int, ...], axis: int, symbolic: bool, dtype: str) -> None:
    one = tuple(1 if k == axis % len(shape) else d for k, d in enumerate(shape))
    sizes = tuple("pqrs"[k] for k in range(len(shape))) if symbolic else shape
    ones = tuple(1 if k == axis % len(shape) else d for k, d in enumerate(sizes))
    x, k = gc.input("x", sizes, dtype), gc.input("k", ones, "int32")
    taken = gc.take_along_axis(gc.exp(x) * 2.0, k, axis=axis)
    f = gc.compile([x, k], (taken, gc.grad(gc.sum(taken**2), [x])[0] + gc.sin(x)), options=COLD)
    assert "scatter" not in names(f)
    a, at = RNG.normal(size=shape).astype(dtype), positions(one, shape[axis], "int32")
    y = 2 * np.exp(a)
    value, gradient = f(a, at)
    there = np.take_along_axis(y, at.astype("int64"), axis)
    np.testing.assert_allclose(value, there, rtol=1e-6)
    np.testing.assert_allclose(
        gradient, put(np.zeros_like(a), at.astype("int64"), 2 * there**2, axis) + np.sin(a), rtol=1e-5
    )


@pytest.mark.parametrize("how", ["set", "add", "multiply", "min", "max"])
@pytest.mark.parametrize("dtype", ["int8", "uint64", "int64"])
def test_a_column_of_what_is_computed(how: str, dtype: str) -> None:
    x, k, v = gc.input("x", ("n", 40)), gc.input("k", (), dtype), gc.input("v", ("n",))
    f = gc.compile([x, k, v], getattr((x * 2.0).at[:, k], how)(v), options=COLD)
    assert "scatter" not in names(f)
    combine = {
        "set": lambda a, b: b,
        "add": np.add,
        "multiply": np.multiply,
        "min": np.minimum,
        "max": np.maximum,
    }
    for n, at in ((0, 1), (1, 39), (6, 0), (6, -40 if dtype != "uint64" else 17)):
        a, b = RNG.normal(size=(n, 40)), RNG.normal(size=n)
        want = 2 * a
        want[:, at] = combine[how](want[:, at], b)
        assert np.array_equal(f(a, np.array(at, dtype), b), want)


def test_left_out_positions() -> None:
    """Also those that are on the axis modulo 2^32."""
    x, k, v = gc.input("x", (4, 9), "float32"), gc.input("k", (), "int64"), gc.input("v", (4,), "float32")
    f = gc.compile([x, k, v], (x + 1.0).at[:, k].set(v, mode="drop"), options=COLD)
    a, b = RNG.normal(size=(4, 9)).astype("float32"), RNG.normal(size=4).astype("float32")
    for at in (2, -3, 9, -10, 2**32 + 2, -(2**40), 2**62):
        want = a + np.float32(1)
        if -9 <= at < 9:
            want[:, at] = b
        assert np.array_equal(f(a, at, b), want)


def test_positions_out_of_range_are_told_whatever_is_wanted() -> None:
    x, k = gc.input("x", (6, 5)), gc.input("k", (6, 1), "int64")
    taken = gc.take_along_axis(gc.tanh(x), k, axis=1)
    slope = gc.vjp(taken, [x], gc.exp(taken))[0]
    one = gc.vjp(gc.take_along_axis(x, k, axis=1), [x], x[:, :1])[0]
    a, at = RNG.normal(size=(6, 5)), np.zeros((6, 1), "int64")
    for wanted in (taken, slope, one, one + gc.tanh(x), gc.sum(one, axis=1), gc.sum(slope)):
        f = gc.compile([x, k], wanted, options=COLD)
        good = f(a, at)
        for wrong in (5, -6, 2**33):
            with pytest.raises(gc.InputError, match=f"position {wrong} does not lie on axis 1"):
                f(a, np.where(np.arange(6)[:, None] == 4, wrong, at))
        assert np.array_equal(f(a, at), good)


def test_a_row_of_one_element_is_checked_as_well() -> None:
    x, k = gc.input("x", (3, 1)), gc.input("k", (3, 1), "int64")
    f = gc.compile([x, k], gc.take_along_axis(x * 2.0, k, axis=1), options=COLD)
    a = RNG.normal(size=(3, 1))
    assert np.array_equal(f(a, np.array([[0], [-1], [0]])), 2 * a)
    with pytest.raises(gc.InputError, match="position 1 does not lie on axis 1"):
        f(a, np.array([[0], [1], [0]]))


def test_what_is_there_is_updated_in_place() -> None:
    """A parameter, and what a loop carries."""
    w, k = gc.parameter("w", np.zeros((3, 1_000))), gc.input("k", (), "int64")
    f = gc.compile([k], (), updates={w: w.at[:, k].add(1.0)}, options=COLD)
    assert "scatter" in names(f)
    f(7)
    f(-993)
    assert w.value[:, 7].tolist() == [2.0] * 3
    assert w.value.sum() == 6.0


def test_several_positions_and_rows_that_share_one_are_scattered() -> None:
    x, k = gc.input("x", (4, 9)), gc.input("k", (4, 2), "int64")
    taken = gc.take_along_axis(x, k, axis=1)
    f = gc.compile([x, k], gc.vjp(taken, [x], taken)[0] + gc.exp(x), options=COLD)
    a, at = RNG.normal(size=(4, 9)), np.array([[1, 1], [2, 3], [0, 8], [-1, 8]])
    want = np.exp(a)
    np.add.at(want, (np.arange(4)[:, None], at), np.take_along_axis(a, at, 1))
    np.testing.assert_allclose(f(a, at), want, rtol=1e-12)


def test_labels_of_log_probabilities() -> None:
    """As one writes it by hand: one kernel for the rows, no scatter; as fast as the loss of that name."""
    x, k = gc.input("x", (50, 30)), gc.input("k", (50,), "int64")
    loss = -gc.mean(gc.take_along_axis(gc.log_softmax(x), gc.expand_dims(k, 1), axis=1))
    named = gc.losses.sparse_categorical_crossentropy(k, x, from_logits=True)
    f = gc.compile([x, k], (loss, gc.grad(loss, [x])[0], named, gc.grad(named, [x])[0]), options=COLD)
    assert "scatter" not in names(f)
    a, at = RNG.normal(size=(50, 30)), positions((50,), 30, "uint8").astype("int64")
    p = np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)
    value, gradient, again, twice = f(a, at)
    np.testing.assert_allclose(value, -np.log(p[np.arange(50), at]).mean())
    np.testing.assert_allclose(gradient, (p - np.eye(30)[at]) / 50, atol=1e-15)
    np.testing.assert_allclose([again, *twice.ravel()], [value, *gradient.ravel()], rtol=1e-12, atol=1e-16)
