"""Products of many pairs of tiny matrices, whose lanes are pairs: sizes, orders, layouts and numbers of pairs."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics.target import host_vector_bytes

Values = np.ndarray[Any, Any]
COUNTS = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000)
SHAPES = (
    *((1, 2, 2), (2, 2, 1), (2, 1, 2), (1, 1, 3), (3, 3, 3), (4, 4, 4), (2, 3, 4), (5, 1, 7), (8, 8, 1), (1, 8, 8)),
    *((3, 5, 4), (2, 16, 2), (6, 6, 6), (1, 64, 1), (4, 4, 5)),
)


def close(found: Values, a: Values, b: Values, spec: str) -> None:
    wide = np.einsum(spec, a.astype(np.longdouble), b.astype(np.longdouble))
    size = np.einsum(spec, abs(a).astype(float), abs(b).astype(float))
    assert found.shape == wide.shape
    assert (abs(found - wide) <= 16 * np.finfo(found.dtype).eps * size + np.finfo(found.dtype).tiny).all()


def is_tiny(f: gc.CompiledFunction) -> bool:
    return "tiny_" in f.source


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_number_of_pairs_in_every_order(shape: tuple[int, int, int], dtype: str) -> None:
    rng, (m, k, n) = np.random.default_rng(1), shape
    specs, inputs, outputs = [], [], []
    for left, right in product(("xij", "xji"), ("xjk", "xkj")):
        sizes = {"i": m, "j": k, "k": n}
        pair = [gc.input(f"{c}{len(specs)}", ("x", *(sizes[c] for c in labels[1:])), dtype) for c, labels in
                (("a", left), ("b", right))]  # fmt: skip
        specs.append(f"{left},{right}->xik")
        inputs += pair
        outputs.append(gc.einsum(specs[-1], *pair))
    f = gc.compile(inputs, tuple(outputs))
    assert is_tiny(f) == (k > 1)  # else there is no sum
    for count in COUNTS:
        arrays = [rng.normal(size=(count, *i.shape[1:])).astype(dtype) for i in inputs]
        for number, found in enumerate(f(*arrays)):
            close(found, *arrays[2 * number : 2 * number + 2], specs[number])


LAYOUTS: dict[str, Any] = {
    "as they are": lambda x: x,
    "every third": lambda x: x[::3],
    "reversed": lambda x: x[::-1],
    "cut": lambda x: x[5:-7],
    "turned": lambda x: gc.permute_dims(x, (0, 2, 1)),
    "with gaps": lambda x: x[:, :2, :2],
    "computed": lambda x: gc.tanh(x) + 1,
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout: str, debug: bool) -> None:
    rng, moved = np.random.default_rng(2), LAYOUTS[layout]
    a, b = rng.normal(size=(2, 50, 3, 3))
    x, y = gc.input("x", a.shape), gc.input("y", b.shape)
    outputs = (moved(x) @ moved(y), gc.matmul(moved(x), moved(y)[:, :, 0][..., None])[..., 0], moved(x) @ moved(x))
    found = gc.compile([x, y], outputs, options=gc.Options(debug=debug))(a, b)
    c, d = gc.compile([x, y], (moved(x), moved(y)))(a, b)
    for actual, expected in zip(found, (c @ d, (c @ d[:, :, :1])[..., 0], c @ c), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def test_batches_of_several_axes() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(3, 20, 2, 2)), rng.normal(size=(20, 2, 3, 2))
    x, y = gc.input("x", a.shape), gc.input("y", b.shape)
    f = gc.compile([x, y], (gc.einsum("abij,bjak->abik", x, y), x @ x, gc.einsum("abij,abj->abi", x, x[:, :, 0])))
    assert is_tiny(f)
    wanted = np.einsum("abij,bjak->abik", a, b), a @ a, np.einsum("abij,abj->abi", a, a[:, :, 0])
    for actual, expected in zip(f(a, b), wanted, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def test_one_matrix_for_all_and_few_pairs_are_as_ever() -> None:
    few = host_vector_bytes() // 8 - 1
    x, y, z = gc.input("x", (3, 3)), gc.input("y", (50, 3, 3)), gc.input("z", (few, 3, 3))
    for out in (x @ y, y @ x, z @ z):
        assert not is_tiny(gc.compile([x, y, z], out))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_threads_nor_on_other_pairs(dtype: str) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 20_001, 3, 3)).astype(dtype)
    a[7, 1, 2], b[9_000, 0, 0], b[20_000] = np.nan, np.inf, -0.0
    x, y = gc.input("x", ("n", 3, 3), dtype), gc.input("y", ("n", 3, 3), dtype)
    first = None
    for threads in (1, 2, 3):
        found = gc.compile([x, y], x @ y, options=gc.Options(threads=threads))(a, b)
        first = found if first is None else first
        assert np.array_equal(found.view(np.uint8), first.view(np.uint8))
    one = gc.compile([x, y], x @ y)
    for k in (0, 7, 9_000, 20_000):
        assert np.array_equal(one(a[k : k + 1], b[k : k + 1])[0].view(np.uint8), first[k].view(np.uint8))


def test_gradients() -> None:
    rng = np.random.default_rng(5)
    a, b, v = rng.normal(size=(40, 3, 3)), rng.normal(size=(40, 3, 3)), rng.normal(size=(40, 3))
    x, y, z = gc.input("x", a.shape), gc.input("y", b.shape), gc.input("z", v.shape)
    loss = gc.sum(gc.sin(gc.einsum("nij,njk,nk->ni", x, y, z)))
    found = gc.compile([x, y, z], gc.grad(loss, [x, y, z]))(a, b, v)
    slope = np.cos(np.einsum("nij,njk,nk->ni", a, b, v))
    wanted = (
        np.einsum("ni,njk,nk->nij", slope, b, v),
        np.einsum("ni,nij,nk->njk", slope, a, v),
        np.einsum("ni,nij,njk->nk", slope, a, b),
    )
    for actual, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-12)
