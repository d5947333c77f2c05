"""What the algebra of dimensions claims for every size holds at every small size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support import seeded

import graphc as gc
from graphc.dims import Dim, dim_max, dim_min, evaluate, floor_div, is_nonnegative, same, symbol

POINTS = [{"n": n, "m": m} for n, m in itertools.product((0, 1, 2, 3, 5, 8, 30), repeat=2)]


def random_dim(rng: np.random.Generator, depth: int) -> Dim:
    if depth == 0:
        return [symbol("n"), symbol("m"), int(rng.integers(-4, 5))][rng.integers(0, 3)]
    p, q = (random_dim(rng, depth - 1) for _ in range(2))
    kind = rng.integers(0, 6)
    if kind == 5:
        return floor_div(p, int(rng.integers(1, 4)))
    return [p + q, p - q, p * q, dim_max(p, q), dim_min(p, q)][kind]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_signs_and_equalities_hold(depth: int) -> None:
    rng = seeded("dims", depth)
    proven = 0
    for _ in range(400):
        p, q = random_dim(rng, depth), random_dim(rng, depth)
        values = [evaluate(p, at) for at in POINTS]
        if is_nonnegative(p):
            proven += 1
            assert min(values) >= 0, str(p)
        if same(p, q) is not None:
            others = [evaluate(q, at) for at in POINTS]
            assert all((a == b) == same(p, q) for a, b in zip(values, others, strict=True)), f"{p} and {q}"
    assert proven > 40


def test_floors_of_floors_and_extremes_of_extremes_are_one() -> None:
    n, m = symbol("n"), symbol("m")
    assert floor_div(floor_div(n + 1, 2) + 1, 3) == floor_div(n + 3, 6)
    assert floor_div(floor_div(n, m), 2) != floor_div(floor_div(n, 2), m)
    assert dim_max(dim_max(n - 1, 0) - 1, 0) == dim_max(n - 2, 0)
    assert dim_max(dim_max(n, m), n - 3) == dim_max(n, m)
    assert dim_min(dim_min(n, m) + 2, n + 5) == dim_min(n, m) + 2
    assert dim_min(dim_min(n, 4) + 1, 9) == dim_min(n, 4) + 1
    assert dim_max(dim_max(n, m) + 1, 3) != dim_max(n, m) + 1
    size = n
    for _ in range(500):
        size = dim_max(floor_div(size - 1, 1) - 1, 0)
    assert size == dim_max(n - 1000, 0)


def test_bounds_of_floor_max_and_min_are_used() -> None:
    n, m = symbol("n"), symbol("m")
    half = floor_div(n, 2)
    for p in (
        n - half,
        2 * n - 3 * half,
        n - dim_max(n - 3, 0),
        dim_max(n, 3) - 3,
        n - dim_min(n, m),
        half * 2 - n + 1,
    ):
        assert is_nonnegative(p), str(p)
    for p in (n - 1, half - 1, n - dim_max(n, m), dim_min(n, 3) - 1, half * 2 - n, n - floor_div(n, m)):
        assert not is_nonnegative(p), str(p)


def test_remainders_of_ints_and_dimensions() -> None:
    n = symbol("n")
    for size, value in itertools.product((1, 2, 5), (0, 3, 7)):
        assert evaluate(value % n, {"n": size}) == value % size
        assert evaluate(n % (value + 1), {"n": size}) == size % (value + 1)


def test_what_a_slice_leaves_is_said_as_a_minimum() -> None:
    n, m = symbol("n"), symbol("m")
    x = gc.input("x", ("n", "m"))
    assert str(x[:5].shape) == "(min(n, 5), m)"
    assert str(x[:, :-2].shape) == "(n, max(0, m - 2))"
    assert str(x[:m].shape) == "(min(m, n), m)"
    assert str(2 * n - dim_max(n - 5, 0)) == "min(2*n, n + 5)"
    assert str(n - dim_max(m, 3)) == "-max(3, m) + n"
    assert str(n - 2 * dim_max(n - 5, 0)) == "-2*max(0, n - 5) + n"
    assert gc.concat([x[:5], x[5:]]).shape == x.shape
    for size in range(9):
        assert evaluate(x[:5].shape[0], {"n": size}) == min(size, 5)


def test_a_divisor_is_enclosed_where_it_is_a_sum_or_a_product() -> None:
    n, m = symbol("n"), symbol("m")
    found = [
        floor_div(16384, dim_max(1, 6 * n)), floor_div(n + 1, 2 * n + m), floor_div(n, n * m), floor_div(5 * n, 7),
        floor_div(n, floor_div(m, 3) * n), floor_div(3, floor_div(n, 5)),
    ]  # fmt: skip
    assert [str(dim) for dim in found] == [
        "(16384 // max(1, 6*n))", "((n + 1) // (m + 2*n))", "(n // (m*n))", "(5*n // 7)",
        "(n // ((m // 3)*n))", "(3 // (n // 5))",
    ]  # fmt: skip
