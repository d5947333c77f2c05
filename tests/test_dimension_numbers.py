"""A dimension as a number: exact in arithmetic with floats and nodes, a bound of ranges, an index, a size of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc

SIZES = (1, 2, 3, 4, 5, 7, 12)


def programs(xp: Any, x: Any, n: Any, s: Any) -> dict[str, Any]:
    """Programs in which n is the length of x, for NumPy and for nodes alike."""
    largest = max if isinstance(n, int) else gc.maximum
    return {
        "likelihood": -0.5 * n * xp.log(s),
        "mean": xp.sum(x) / n,
        "halves": x * (n / 2) - n // 2,
        "power": s ** (n - 1) * n**2,
        "where": xp.where(n > s, x, xp.zeros_like(x)),
        "last": x[n - 1],
        "middle": x[n // 2],
        "range": xp.arange(n) * 0.5,
        "from 1": xp.arange(1, n),
        "backwards": xp.arange(n, 0, -1),
        "in threes": xp.arange(0, 2 * n + 1, 3),
        "linspace": xp.linspace(0.0, 1.0, n),
        "linspace to n": xp.linspace(s, 1.0 * n, n + 1),
        "open linspace": xp.linspace(-1.0, 1.0, n, endpoint=False),
        "eye": xp.eye(n, k=1) * x,
        "full": xp.full((n,), n),
        "tile": xp.tile(x, 2),
        "repeat": xp.repeat(x, n),
        "roll": xp.roll(x, 1) - xp.roll(x, -2),
        "roll by n": xp.roll(x, n - 1),
        "tril": xp.tril(xp.outer(x, x), k=n - 2),
        "diag": xp.diag(x, 1),
        "trace": xp.trace(xp.outer(x, x)),
        "diff": xp.diff(x),
        "padded": xp.concat([x, xp.zeros(largest(n - 2, 1))]),
        "size": x.size / 4 + x.shape[0] % 3,
        "columns": xp.reshape(xp.concat([x, x]), (n, 2)),
        "grid": xp.meshgrid(x, xp.arange(n))[0],
    }


NAMES = list(programs(np, np.ones(2), 2, 2.0))


@pytest.fixture(scope="module")
def compiled() -> Any:
    x, s = gc.input("x", ("n",)), gc.input("s", ())
    return gc.compile([x, s], programs(gc, x, x.shape[0], s))


@pytest.mark.parametrize("size", SIZES)
def test_numbers_made_of_dimensions_are_exact(compiled: Any, size: int) -> None:
    x = np.linspace(0.5, 2.0, size)
    found, expected = compiled(x, 2.5), programs(np, x, size, 2.5)
    for name in NAMES:
        value = np.asarray(expected[name])
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        np.testing.assert_allclose(found[name], value, rtol=4e-16, atol=4e-16, err_msg=name)


def test_what_a_size_of_0_leaves() -> None:
    x = gc.input("x", ("n",))
    n = x.shape[0]
    made = (gc.roll(x, 1), gc.eye(n), gc.linspace(0, 1, n), gc.diff(x), gc.arange(n, 0, -1), gc.diag(x), gc.tile(x, 3))
    for value in gc.compile([x], made)(np.zeros(0)):
        assert value.size == 0
    with pytest.raises(gc.InputError, match="index n - 1 must lie on axis 0"):
        gc.compile([x], x[n - 1])(np.zeros(0))


def test_gradients_through_dimensions() -> None:
    x = gc.input("x", ("n",))
    n = x.shape[0]
    y = gc.sum(gc.roll(x, 1) * gc.arange(n)) / n + gc.trace(gc.outer(x, x)) + x[n - 1] ** n
    values = np.array([1.0, 2.0, 3.0])
    expected = np.roll(np.arange(3), -1) / 3 + 2 * values + [0, 0, 27]
    np.testing.assert_allclose(gc.compile([x], gc.grad(y, x))(values), expected, rtol=1e-14)


def test_extremes_of_dimensions_are_dimensions() -> None:
    n, m = gc.input("x", ("n", "m")).shape
    assert gc.maximum(n, n - 1) == n
    assert gc.minimum(n, n + m) == n
    assert gc.zeros((gc.maximum(n - 2, 0),)).shape == gc.input("x", (n,))[2:].shape
    assert isinstance(gc.maximum(n, 0.5), gc.Node)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda n: range(n), "no length of a range"),
        (lambda n: gc.zeros(n / 2), "a dimension is an int"),
        (lambda n: gc.arange(n, 0.5), "ints for its other bounds"),
        (lambda n: gc.unstack(gc.zeros(n)), "how many arrays is open"),
        (lambda n: gc.zeros(n)[n], "does not lie on axis 0"),
        (lambda n: max(n, 3), "gc.maximum"),
    ],
)
def test_what_a_dimension_is_not(make: Any, says: str) -> None:
    with pytest.raises(gc.GraphcError, match=says):
        make(gc.input("x", ("n",)).shape[0])


def test_parts_of_a_length_that_is_no_multiple_are_refused_at_the_call() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.split(x, 3))
    assert [part.tolist() for part in f(np.arange(6.0))] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(gc.InputError, match="3 must divide n"):
        f(np.arange(7.0))
