"""Folds of pairs of points that have few coordinates: along many points, not along few coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.graph import Node
from graphc.schedule.lower import lower

NUMBERS = {"float32": 7, "float64": 3}  # the most that go so
VALUES: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "weighted": lambda xp, x, y, w, c: w[..., None] * (x[..., :, None, :] - y[..., None, :, :]),
    "chosen": lambda xp, x, y, w, c: xp.where(w[..., None] > 0, x[..., :, None, :] - y[..., None, :, :], c),
    "of vector math": lambda xp, x, y, w, c: xp.exp(w)[..., None] * (x[..., :, None, :] - xp.tanh(y)[..., None, :, :]),
    "beside a row": lambda xp, x, y, w, c: (x[..., :, None, :] - y[..., None, :, :]) * c + c,
}
SIZES = [(40, 70), (64, 32), (2, 1000), (130, 33), (0, 40), (40, 0), (1, 1), (1, 3000)]


def _turned(node: Node) -> bool:
    """Whether something is stored in another order for a fold."""
    return any(n.op.stored for n in lower(gc.Graph([node])).nodes)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("name", VALUES)
def test_folds_over_points(name: str, dtype: str, known: bool) -> None:
    """Of both axes, compared with NumPy."""
    few = NUMBERS[dtype]
    for n, m in SIZES:
        shapes = [(n, few), (m, few), (n, m), (few,)]
        symbols = shapes if known else [("n", few), ("m", few), ("n", "m"), (few,)]
        values = [np.random.default_rng(k).normal(size=s).astype(dtype) for k, s in enumerate(shapes)]
        nodes = [gc.input("xywc"[k], s, dtype) for k, s in enumerate(symbols)]
        of_pairs = VALUES[name](gc, *nodes)
        wanted = VALUES[name](np, *(v.astype("float64") for v in values))
        found = gc.compile(nodes, [gc.sum(of_pairs, axis=0), gc.sum(of_pairs, axis=1, keepdims=True)])(*values)
        for got, want in zip(found, [wanted.sum(0), wanted.sum(1, keepdims=True)], strict=True):
            scale = 1e-5 if dtype == "float32" else 1e-13
            np.testing.assert_allclose(got, want, rtol=100 * scale, atol=scale * max(n, m))


@pytest.mark.parametrize("op", ["max", "min", "prod"])
def test_other_folds_in_batches(op: str) -> None:
    x, y = (np.random.default_rng(k).normal(size=(3, size, 3)) for k, size in enumerate((40, 50)))
    a, b = gc.input("x", x.shape), gc.input("y", y.shape)
    for axis in (0, 1, 2):
        got = gc.compile([a, b], getattr(gc, op)(a[:, :, None] - b[:, None], axis=axis))(x, y)
        np.testing.assert_allclose(got, getattr(np, op)(x[:, :, None] - y[:, None], axis=axis), rtol=1e-10)


def _fold(n: Any, m: Any, few: int, dtype: str = "float64", axis: int = 1) -> Node:
    x, y = gc.input("x", (n, few), dtype), gc.input("y", (m, few), dtype)
    return gc.sum(x[:, None] - y, axis=axis)


WHICH: dict[str, tuple[Node, bool]] = {
    "pairs": (_fold(64, 64, 3), True),
    "the other axis": (_fold(64, 64, 3, axis=0), True),
    "unknown points": (_fold("n", "n", 2), True),
    "more float32": (_fold(64, 64, 7, "float32"), True),
    "as many as fill a vector": (_fold(64, 64, 4), False),
    "one coordinate": (_fold(64, 64, 1), False),
    "over coordinates": (_fold(64, 64, 3, axis=2), False),
    "few points": (_fold(200, 31, 3), False),
    "little work": (_fold(32, 32, 3), False),
    "of few others": (_fold(7, 1000, 3), False),
    "of an array as large": (gc.sum(gc.input("x", (64, 64, 3)) * 2.0, axis=1), False),
    "of vector math for each": (gc.sum(gc.exp(gc.input("x", (64, 1, 3)) - gc.input("y", (64, 3))), axis=1), False),
}


@pytest.mark.parametrize("name", WHICH)
def test_which_folds(name: str) -> None:
    fold, wanted = WHICH[name]
    assert _turned(fold) == wanted


def test_values_of_a_pair_are_made_once() -> None:
    """And what lies in memory is not stored again."""
    x, w = gc.input("x", (64, 3)), gc.input("w", (64, 64))
    for of_pair, stored in ((w, 1), (w * 2.0, 2), (gc.exp(w), 1)):
        fold = gc.sum(of_pair[:, :, None] * (x[:, None] - x), axis=1)
        assert sum(n.op.stored for n in lower(gc.Graph([fold])).nodes) == stored


def test_gradients_of_energies() -> None:
    """The forces between bodies, as derived by hand."""
    rng = np.random.default_rng(0)
    points, masses = rng.normal(size=(50, 3)), rng.random(50)
    x, m = gc.input("x", ("n", 3)), gc.input("m", ("n",))
    squares = gc.sum((x[:, None] - x) ** 2, axis=-1) + 0.01
    energy = -0.5 * gc.sum(m[:, None] * m / gc.sqrt(squares))
    apart = points[:, None] - points
    cubes = ((apart**2).sum(-1) + 0.01) ** 1.5
    wanted = ((masses[:, None] * masses / cubes)[..., None] * apart).sum(1)
    np.testing.assert_allclose(gc.compile([x, m], gc.grad(energy, x))(points, masses), wanted, rtol=1e-10, atol=1e-10)
