"""Short rows that are folded together, lines that bands ask for, and shares: terms of a softmax over their sum."""

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics.target import host_vector_bytes

FOLDS = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


def _bits(x):
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 8, 15, 16, 17, 33, 64, 65, 100, 128, 129])
def test_rows_have_the_bits_of_a_row_alone(dtype, columns):
    for name, numpy in FOLDS.items():
        x = gc.input("x", ("rows", columns), dtype)
        fold = gc.compile([x], getattr(gc, name)(x, axis=1))
        known = gc.input("x", (21, columns), dtype)
        together = gc.compile([known], getattr(gc, name)(known, axis=1))
        values = np.random.default_rng(1).standard_normal((21, columns)).astype(dtype)
        found = together(values)
        exact = numpy(values.astype("f8"), axis=1)
        error, least = columns * np.finfo(dtype).eps, 1 if name == "sum" else np.finfo(dtype).tiny
        np.testing.assert_allclose(found, exact, rtol=error, atol=error * least)
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


@pytest.mark.skipif(host_vector_bytes() < 32, reason="rows of fewer lanes are folded one by one")
def test_which_rows_go_together():
    most = 8 * host_vector_bytes() // 4
    for shape, together in (((40, most), True), ((40, most + 1), False), (("rows", most), False), ((10**6, 16), False)):
        x = gc.input("x", shape, "float32")
        assert ("rows_max_f4(" in gc.compile([x], gc.max(x, axis=1)).source) == together
    x = gc.input("x", (40, most), "float32")
    assert "rows_" not in gc.compile([x], gc.max(2 * x, axis=1)).source


@pytest.mark.parametrize("columns", [64, 100])
def test_bands_ask_for_what_they_write_beside_vector_math(columns):
    x = gc.input("x", (40, columns), "float32")
    lines = -(-columns * 4 // 64)
    assert f"fetch_own_{lines}(" in gc.compile([x], gc.softmax(x)).source
    centred = x - gc.mean(x, axis=1, keepdims=True)
    assert "fetch_own" not in gc.compile([x], centred / gc.sqrt(gc.mean(centred**2, axis=1, keepdims=True))).source
    long = gc.input("x", (40, 257), "float32")
    assert "fetch_own" not in gc.compile([long], gc.softmax(long)).source


def test_softmax_divides_by_shares():
    x = gc.input("x", (64, 64))
    assert "share(" in gc.compile([x], gc.softmax(x)).source
    assert "share(" not in gc.compile([x], x / gc.sum(x, axis=1, keepdims=True)).source
