"""Products of vectors, and of few rows, with a matrix that is contiguous along the sum."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.kernels import CACHED, LONG_ROWS


@pytest.mark.parametrize("depth", [65, 100, 784, 1_000])
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_vector_is_a_lone_column(depth: int, symbolic: bool, dtype: str) -> None:
    """Of rows that caches hold and of more, which are read in turn: the bits of a row are the same."""
    rng, far = np.random.default_rng(depth), CACHED // (depth * np.dtype(dtype).itemsize)
    a, b, c = (rng.normal(size=s).astype(dtype) for s in ((far + 9, depth), depth, far + 9))
    few, first = (rng.normal(size=(r, depth)).astype(dtype) for r in (3, 1))
    exact = a.astype("f8") @ b
    bound = 4 * np.finfo(dtype).eps * (np.abs(a).astype("f8") @ np.abs(b)).max()
    found = []
    for rows in (far + 9, 7, 1, 0) if symbolic else (far + 9, 7):
        x, y = gc.input("x", ("n" if symbolic else rows, depth), dtype), gc.input("y", (depth,), dtype)
        z = gc.input("z", ("n" if symbolic else rows,), dtype)
        functions = [gc.compile([x, y, z], gc.relu(x @ y) * z, options=gc.Options(threads=n)) for n in (2, 1)]
        assert ("dots_rows_in_turn_" in functions[0].source) == (symbolic or rows > far)
        for f in functions:
            found.append(f(a[:rows], b, c[:rows]))
            np.testing.assert_allclose(found[-1], np.maximum(exact[:rows], 0) * c[:rows], rtol=0, atol=9 * bound)
        for left in (few, first):
            w = gc.input("w", left.shape, dtype)
            g = gc.compile([w, x], w @ gc.transpose(x))
            fit = len(left) * depth * a.itemsize <= LONG_ROWS  # beside a row in L1
            assert ("dots_columns_in_turn_" in g.source) == (fit and (symbolic or rows > far))
            np.testing.assert_allclose(g(left, a[:rows]), left @ a[:rows].astype("f8").T, rtol=0, atol=9 * bound)
    for part in found:
        np.testing.assert_array_equal(part, found[0][: len(part)])


def test_what_is_no_lone_column() -> None:
    """Vectors that read the rows of one matrix at once, rows that are computed, and what does not lie side by side."""
    x, y, z = gc.input("x", ("n", 300)), gc.input("y", (300,)), gc.input("z", (300, 2))
    a, b, c = (np.random.default_rng(1).normal(size=s) for s in ((50, 300), 300, (300, 2)))
    cases = (
        (x @ y, a @ b, True),
        (x[::-1, 1:] @ y[:-1], a[::-1, 1:] @ b[:-1], True),
        (gc.transpose(x) @ (x @ y), a.T @ (a @ b), True),
        ((x @ y) * (x @ gc.tanh(y)), (a @ b) * (a @ np.tanh(b)), False),
        (gc.tanh(x) @ y, np.tanh(a) @ b, False),
        (x @ y[::-1], a @ b[::-1], False),
        (x @ z[:, 1], a @ c[:, 1], False),
        (x[:, :32] @ y[:32], a[:, :32] @ b[:32], False),
    )
    for made, expected, lone in cases:
        f = gc.compile([x, y, z], made)
        assert ("dots_" in f.source) == lone
        np.testing.assert_allclose(f(a, b, c), expected, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns", "depth"), [(1, 3_000, 100), (3, 2_001, 64), (16, 900, 200)])
def test_few_rows_are_shared_out_by_columns(rows: int, columns: int, depth: int) -> None:
    x, w = gc.input("x", (columns, depth)), gc.input("w", (rows, depth))
    a, b = (np.random.default_rng(2).normal(size=s) for s in ((columns, depth), (rows, depth)))
    functions = [gc.compile([w, x], gc.tanh(w @ gc.transpose(x)), options=gc.Options(threads=n)) for n in (None, 1)]
    assert functions[0]._program.phases[0].chunks > 1
    results = [f(b, a) for f in functions]
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], np.tanh(b @ a.T), atol=1e-12)
