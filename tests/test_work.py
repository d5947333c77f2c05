"""What explain and profile say of the work of a nest: operations on elements, and bytes of arrays, each once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc as gc
from graphc.dims import evaluate
from graphc.graph import Node

N, K = 40, 5
SIZES = {"n": N, "k": K, "j": 7}

CASES: dict[str, tuple[Callable[[Node, Node, Node, Node], Node], int, int]] = {
    "a sum has one result": (lambda x, m, u, at: gc.sum(x), N, 8 * N + 8),
    "a row is read once": (lambda x, m, u, at: m + u, N * K, 8 * (2 * N * K + K)),
    "a column sum has a row of results": (lambda x, m, u, at: gc.sum(m, axis=0), N * K, 8 * (N * K + K)),
    "row values have their own size": (
        lambda x, m, u, at: m / gc.max(m, axis=1, keepdims=True),
        8 * N * K,  # a division counts 7
        8 * 2 * N * K,
    ),
    "overlapping slices are one array": (lambda x, m, u, at: x[1:] - x[:-1], N - 1, 8 * (N + N - 1)),
    "a slice is a part": (lambda x, m, u, at: m[:, 0] + m[:, 1], N, 8 * 3 * N),
    "a gather reads what it is asked for": (lambda x, m, u, at: gc.take(x, at), 0, 8 * 3 * 7),
    "a gather from little reads all": (lambda x, m, u, at: gc.take(u[:3], at), 0, 8 * (K + 2 * 7)),
    "a copy computes nothing": (lambda x, m, u, at: x, 0, 8 * 2 * N),
}


@pytest.mark.parametrize("case", CASES)
def test_work_of_a_nest(case: str) -> None:
    make, flops, nbytes = CASES[case]
    x, m, u = gc.input("x", ("n",)), gc.input("m", ("n", "k")), gc.input("u", ("k",))
    at = gc.input("at", ("j",), "int64")
    phase = gc.compile([x, m, u, at], make(x, m, u, at)).program.phases[0]
    assert (evaluate(phase.flops, SIZES), evaluate(phase.nbytes, SIZES)) == (flops, nbytes)


def test_what_a_product_has_just_made_is_counted_once() -> None:
    """The kernel's operands, its result, then the bias and the output of the nest behind it."""
    x, w, b = gc.input("x", ("n", 4)), gc.parameter("w", [[1.0] * K] * 4), gc.parameter("b", [0.0] * K)
    (phase,) = gc.compile([x], gc.relu(x @ w + b)).program.phases
    assert evaluate(phase.nbytes, SIZES) == 8 * (N * 4 + 4 * K + N * K + K + N * K)


def test_a_commit_is_called_so() -> None:
    a, b = gc.parameter("a", [1.0, 2.0]), gc.parameter("b", [3.0, 4.0])
    phase = gc.compile([], (), updates={a: b[::-1] * 2, b: a[::-1] * 2}).program.phases[-1]
    assert (phase.title, phase.flops, phase.nbytes) == ("commit", 0, 32)


@pytest.mark.parametrize(
    ("function", "dtype", "chunks"),
    [
        (gc.exp, "float32", 1),
        (gc.exp, "float64", 2),
        (gc.gammaln, "float32", 4),
        (gc.gammaln, "float64", 8),
        (lambda x: gc.sum(gc.gammaln(x)), "float64", 8),
        (lambda x: gc.exp(gc.exp(gc.exp(x))) > 1, "float32", 2),
        (lambda x: gc.softmax(gc.reshape(x, (1024, 16))), "float64", 2),
        (lambda x: x + 1, "float64", 1),
    ],
)
def test_chunks_are_shorter_where_an_element_takes_long(function: Any, dtype: str, chunks: int) -> None:
    x = gc.input("x", (16_384,), dtype)
    assert gc.compile([x], function(x)).program.phases[0].chunks == chunks
