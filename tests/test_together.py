"""Short rows that are folded together, and shares: what softmax divides by its sum."""

import numpy as np
import pytest

import graphc as gc

FOLDS = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


def _bits(x):
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 8, 15, 16, 17, 33, 64, 100, 128, 129])
def test_rows_have_the_bits_of_a_row_alone(dtype, columns):
    for name, numpy in FOLDS.items():
        x = gc.input("x", ("rows", columns), dtype)
        fold = gc.compile([x], getattr(gc, name)(x, axis=1))
        known = gc.input("x", (21, columns), dtype)
        together = gc.compile([known], getattr(gc, name)(known, axis=1))
        values = np.random.default_rng(1).standard_normal((21, columns)).astype(dtype)
        found = together(values)
        exact = numpy(values.astype("f8"), axis=1)
        np.testing.assert_allclose(found, exact, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-5)
        for k in (0, 7, 8, 15, 16, 20):
            assert _bits(fold(values[k : k + 1]))[0] == _bits(found)[k]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["max", "min"])
def test_nan_and_signs_of_zero_count_in_the_row_that_has_them(dtype, name):
    for columns in (5, 16, 40):
        x = gc.input("x", (19, columns), dtype)
        fold = gc.compile([x], getattr(gc, name)(x, axis=1))
        values = np.random.default_rng(1).standard_normal((19, columns)).astype(dtype)
        values[3, columns // 2] = np.nan
        values[9] = -0.0
        values[10], values[10, 1] = -0.0, 0.0
        values[17, 0], values[18, 1] = np.inf, -np.inf
        found, expected = fold(values), FOLDS[name](values, axis=1)
        np.testing.assert_array_equal(found, expected)
        assert np.signbit(found[9])
        assert np.signbit(found[10]) == (name == "min")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 64), (9, 17), (33, 100), (40, 64), (3, 2000)])
def test_a_share_is_a_rounded_quotient(dtype, shape):
    x = gc.input("x", shape, dtype)
    terms = gc.exp(x - gc.max(x, axis=1, keepdims=True))
    total = gc.sum(terms, axis=1, keepdims=True)
    softmax = gc.compile([x], [terms, total, terms / total])
    values = (4 * np.random.default_rng(1).standard_normal(shape)).astype(dtype)
    e, s, y = softmax(values)
    quotient = e / s
    assert np.all(np.abs(_bits(y) - _bits(quotient)) <= 1)
    assert np.mean(_bits(y) == _bits(quotient)) > 0.99
    values[0] = -np.inf
    values[0, 1] = 2.0
    assert softmax(values)[2][0].tolist() == [float(k == 1) for k in range(shape[1])]
    for bad in (np.nan, np.inf):
        values[0, 0] = bad
        assert np.isnan(softmax(values)[2][0]).all()
    values[0] = -np.inf
    assert np.isnan(softmax(values)[2][0]).all()


def test_softmax_divides_by_shares():
    x = gc.input("x", (64, 64))
    assert "share(" in gc.compile([x], gc.softmax(x)).source
    assert "share(" not in gc.compile([x], x / gc.sum(x, axis=1, keepdims=True)).source
