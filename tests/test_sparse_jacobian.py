"""Jacobians with a pattern of zeros: the values of the dense one, by as many products as the pattern needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from support_loops import close, held, optimised, values

import graphc as gc
from graphc.colouring import Colouring
from graphc.errors import DTypeError, GradientError, ShapeError

X = np.linspace(-1.0, 2.0, 12)


def _band(x: Any) -> Any:
    """Each element of its neighbours."""
    return gc.sin(x) - 2.0 * gc.concat([x[1:], gc.zeros(1)]) * x + gc.concat([gc.zeros(1), x[:-1]]) ** 2


BAND = np.abs(np.subtract.outer(np.arange(12), np.arange(12))) <= 1


def _arrow(x: Any) -> Any:
    """The first element of all, the others of themselves."""
    return gc.concat([gc.sum(x * x, keepdims=True), gc.exp(x[1:])])


ARROW = np.eye(12, dtype=bool)
ARROW[0] = True


def _turned(x: Any) -> Any:
    """All elements of the first and of themselves."""
    return x[0] * gc.sin(x)


TURNED = ARROW.T


@pytest.mark.parametrize(
    ("function", "pattern", "forward", "count"),
    [(_band, BAND, True, 3), (_arrow, ARROW, False, 2), (_turned, TURNED, True, 2)],
)
def test_values_of_the_dense_one(function: Any, pattern: Any, forward: bool, count: int) -> None:
    found = Colouring.of(pattern, (12, 12))
    assert (found.by_columns, found.count) == (forward, count)
    x = gc.input("x", (12,))
    y = function(x)
    nodes = [gc.jacobian(y, x), gc.jacobian(y, x, sparsity=pattern)]
    dense, some = values(nodes, [x], [X])
    assert not np.any(dense[~pattern])
    close([some], [dense[pattern]])
    whole = sparse.csr_matrix((some, np.nonzero(pattern)), pattern.shape)
    close([whole.toarray()], [dense])


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "array", "ints"])
def test_patterns_of_any_kind(kind: str) -> None:
    """Order and explicit zeros of a sparse matrix do not matter: values come row by row."""
    rows, columns = np.nonzero(BAND)
    order = np.random.default_rng(0).permutation(len(rows))
    ones = np.r_[np.ones(len(rows), bool), False]
    table = (ones, (np.r_[rows[order], 0], np.r_[columns[order], 11]))
    pattern = {
        "csr": sparse.csr_matrix(table, BAND.shape),
        "csc": sparse.csc_matrix(table, BAND.shape),
        "coo": sparse.coo_array(table, BAND.shape),
        "lil": sparse.lil_matrix(BAND),
        "array": BAND.tolist(),
        "ints": BAND * 7,
    }[kind]
    x = gc.input("x", (12,))
    dense, some = values([gc.jacobian(_band(x), x), gc.jacobian(_band(x), x, sparsity=pattern)], [x], [X])
    close([some], [dense[BAND]])


@pytest.mark.parametrize("seed", range(20))
def test_random_patterns(seed: int) -> None:
    """Of more rows or columns, with empty ones: a product of a sparse matrix, and no colour meets itself."""
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 15, 2)
    matrix = rng.normal(size=(m, n)) * (rng.random((m, n)) < 0.25)
    found = Colouring.of(matrix, (m, n))
    lines = (matrix != 0) if found.by_columns else (matrix != 0).T
    for colour in range(found.count):
        assert lines[:, found.colours == colour].sum(axis=1).max(initial=0) <= 1
    x = gc.input("x", (int(n),))
    f = gc.compile([x], gc.jacobian(gc.constant(matrix) @ gc.sin(x), x, sparsity=matrix != 0))
    v = rng.normal(size=n)
    close([f(v)], [(matrix * np.cos(v))[matrix != 0]])


def test_arrays_of_any_rank_and_float32() -> None:
    x = gc.input("x", (3, 4), "float32")
    y = gc.permute_dims(x * x)
    pattern = np.zeros((12, 12), bool)
    pattern[np.arange(12), np.arange(12).reshape(3, 4).T.ravel()] = True
    f = gc.compile([x], gc.jacobian(y, x, sparsity=pattern))
    v = np.arange(12, dtype="float32").reshape(3, 4)
    found = f(v)
    assert found.dtype == np.float32
    close([found], [2 * v.T.ravel()])


def test_many_elements_take_few_products() -> None:
    """Of a chain of 20,000 the basis has three rows, and nothing is as large as the matrix."""
    n = 20_000
    x = gc.input("x", (n,))
    band = sparse.diags([np.ones(n - 1), np.ones(n), np.ones(n - 1)], [-1, 0, 1], dtype=bool)
    node = gc.jacobian(_band(x), x, sparsity=band)
    assert max(m.size for m in optimised([node], [x]).nodes) <= 3 * n
    v = np.linspace(0, 1, n)
    found = sparse.csr_matrix((gc.compile([x], node)(v), band.tocsr().nonzero()), (n, n))
    np.testing.assert_allclose(found.diagonal(), np.cos(v) - 2 * np.r_[v[1:], 0], atol=1e-14)
    np.testing.assert_allclose(found.diagonal(1), -2 * v[:-1], atol=1e-14)


def test_through_a_loop_and_once_more() -> None:
    """The loop and one for all colours; and values are nodes, which can be differentiated."""
    x = gc.input("x", (12,))
    y = gc.scan(lambda c, _: (c + 0.1 * gc.sin(c), None), x, length=5)[0]
    some = gc.jacobian(y, x, sparsity=np.eye(12, dtype=bool))
    dense = gc.jacobian(y, x)
    found = values([some, gc.grad(gc.sum(some), x)], [x], [X])
    wanted = values([gc.diagonal(dense), gc.grad(gc.sum(dense), x)], [x], [X])
    close(found, wanted)
    assert len(held(optimised([some], [x]))) == 2


def test_no_element_at_all() -> None:
    x = gc.input("x", (3,))
    y = gc.floor(x)
    assert gc.compile([x], gc.jacobian(y, x, sparsity=np.zeros((3, 3), bool)))(X[:3]).shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: gc.jacobian(x, x, sparsity=np.ones((3, 4), bool)), ShapeError, r"\[3, 3\], got \[3, 4\]"),
        (lambda x: gc.jacobian(x, x, sparsity=np.ones(9, bool)), ShapeError, r"\[3, 3\], got \[9\]"),
        (lambda x: gc.jacobian(x, x, sparsity="band"), DTypeError, "a pattern is a matrix of bools"),
        (lambda x: gc.jacobian([x], x, sparsity=np.eye(3)), GradientError, "y and x are nodes"),
        (lambda x: gc.jacobian(y := gc.input("y", ("n",)), y, sparsity=np.eye(3)), ShapeError, "known sizes"),
    ],
)
def test_what_can_not_be(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        call(gc.input("x", (3,)))
    assert "test_sparse_jacobian.py" in str(caught.value)
