"""Vector math of what short rows come to, which a band of rows makes between two of its sweeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import seeded

import graphc as gc
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.graph import Node

Array = NDArray[Any]
DTYPES = ("float32", "float64")
LANES = host_vector_bytes() // 4
NUMBERS = (0, 1, LANES - 1, LANES, LANES + 1, 4 * LANES - 1, 4 * LANES, 4 * LANES + 3, 700)  # of rows


def _loss(z: Any, y: Any, xp: Any) -> Any:
    return xp.sum((xp.tanh(z) - y) ** 2)


def _slope(z: Array, y: Array) -> Array:
    t = np.tanh(z)
    return 2 * (t - y) * (1 - t * t)


def _declared(shape: tuple[Any, ...], dtype: str) -> tuple[list[Node], Node]:
    leaves = [gc.input(name, s, dtype) for name, s in zip("xyw", (shape, shape[:-1], shape[-1:]), strict=True)]
    x, _, w = leaves
    return leaves, gc.sum(x * w, axis=-1)


def _drawn(rng: Any, shape: tuple[int, ...], dtype: str) -> list[Array]:
    shapes = (shape, shape[:-1], shape[-1:])
    return [(rng.standard_normal(s) / 4).astype(dtype) for s in shapes]


def _is_made_between(function: Any) -> bool:
    """Whether there is a loop over a band in which nothing is folded, and whose numbers wait on the stack."""
    return re.search(r"range\(h, least\(.*\n(?: +t\d+ = .*\n)+ +st_\w+\(r24", str(function.source)) is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", NUMBERS)
def test_a_loss_and_its_gradients(count: int, dtype: str) -> None:
    """Bands that are whole, and such that are not; a single chunk and several."""
    (x, y, w), z = _declared(("n", 50), dtype)
    loss = _loss(z, y, gc)
    by_w, by_x = (gc.compile([x, y, w], [loss, gc.grad(loss, leaf)]) for leaf in (w, x))
    assert _is_made_between(by_w)
    assert _is_made_between(by_x)
    arrays = _drawn(seeded(count), (count, 50), dtype)
    X, Y, W = (a.astype(np.float64) for a in arrays)
    Z, rtol = X @ W, 2e-5 if dtype == "float32" else 1e-12
    slope = _slope(Z, Y)
    for function, wanted in ((by_w, slope @ X), (by_x, slope[:, None] * W)):
        value, gradient = function(*arrays)
        np.testing.assert_allclose(value, _loss(Z, Y, np), rtol=rtol)
        np.testing.assert_allclose(gradient, wanted, rtol=rtol, atol=rtol * max(1, count) ** 0.5)


def _around(x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


PROGRAMS: dict[str, Callable[..., list[Any]]] = {  # of x, y, w, what rows of x come to, and graphc or NumPy
    "two functions, one of the other": lambda x, y, w, z, xp: [
        xp.sum(x * xp.log1p(xp.exp(z) + y * y)[..., None], _around(x)),
        xp.sum(xp.exp(z)),
    ],
    "values that are stored": lambda x, y, w, z, xp: [
        xp.sin(z),
        xp.sum(x * xp.sin(z)[..., None], _around(x)),
    ],
    "of distances, and of extremes": lambda x, y, w, z, xp: [
        xp.sum(xp.exp(-xp.sum((x - w) ** 2, -1)) * y),
        (x - w) * (xp.exp(-xp.sum((x - w) ** 2, -1)) * xp.cos(xp.max(x, -1)))[..., None],
    ],
}


@pytest.mark.parametrize("shape", [(70, 50), (33, 40), (3, 40, 33), (2, 3, 20, 64), (100, 1, 30)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    symbols = (*(f"d{k}" for k in range(len(shape) - 1)), shape[-1])
    leaves, z = _declared(symbols, dtype)
    function = gc.compile(leaves, PROGRAMS[name](*leaves, z, gc))
    assert _is_made_between(function)
    arrays = _drawn(seeded(name), shape, dtype)
    for steps in (1, -1):  # values that lie side by side, and such that don't
        x, y, w = arrays[0], arrays[1][::steps], arrays[2]
        found = function(x, y, w)
        X, Y, W = (a.astype(np.float64) for a in (x, y, w))
        wanted = PROGRAMS[name](X, Y, W, X @ W, np)
        rtol = 1e-4 if dtype == "float32" else 1e-11
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def test_loops_that_are_interpreted_agree() -> None:
    """Every access is checked there; rows beyond the last band are read by nobody."""
    (x, y, w), z = _declared(("n", 30), "float32")
    loss = _loss(z, y, gc)
    outputs = [loss, gc.grad(loss, w)]
    compiled, debugged = (gc.compile([x, y, w], outputs, options=gc.Options(debug=debug)) for debug in (False, True))
    for count in (0, 5, 4 * LANES, 4 * LANES + 1):
        arrays = _drawn(seeded(count), (count, 30), "float32")
        for a, b in zip(compiled(*arrays), debugged(*arrays), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_numbers_are_the_same_whatever_the_number_of_threads() -> None:
    (x, y, w), z = _declared(("n", 50), "float32")
    loss = _loss(z, y, gc)
    arrays = _drawn(seeded("threads"), (20_000, 50), "float32")
    found = []
    for threads in (1, 2):
        function = gc.compile([x, y, w], [loss, gc.grad(loss, x)], options=gc.Options(threads=threads))
        found.append([np.asarray(a).tobytes() for a in function(*arrays)])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("length", "make"),
    [
        (50, lambda x, z, gc: x * gc.tanh(z)[:, None]),  # one number of each row
        (50, lambda x, z, gc: [gc.sum(gc.sqrt(z)), x * gc.sqrt(z)[:, None]]),  # no vector math
        (130, lambda x, z, gc: [gc.sum(gc.tanh(z)), x * gc.tanh(z)[:, None]]),  # a long row
        ("m", lambda x, z, gc: [gc.sum(gc.tanh(z)), x * gc.tanh(z)[:, None]]),
        (0, lambda x, z, gc: [gc.sum(gc.tanh(z)), x * gc.tanh(z)[:, None]]),
        (50, lambda x, z, gc: [gc.sum(gc.tanh(z)), gc.exp(x) * gc.tanh(gc.sum(gc.exp(x), -1))[:, None]]),  # kept
    ],
)
def test_others_are_made_within_rows(length: Any, make: Callable[..., Any]) -> None:
    (x, y, w), z = _declared(("n", length), "float32")
    assert not _is_made_between(gc.compile([x, y, w], make(x, z, gc)))
