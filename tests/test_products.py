"""Matrix products, tensordot and einsum against NumPy over seeded families of shapes, with and without symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import evaluate, seeded

import graphc as gc
from graphc.graph import Graph, Node

FAMILY = range(60)


def agree(declare: Any, expected: Any, arrays: list[Any], symbolic: bool) -> None:
    """The declaration on inputs of these arrays' shapes has NumPy's type and value, and so has its gradient's type."""
    leaves = [gc.input(f"x{k}", named(a.shape) if symbolic else a.shape, a.dtype) for k, a in enumerate(arrays)]
    node: Node = declare(*leaves)
    (value,) = evaluate([node], leaves, arrays)
    assert value.dtype == expected.dtype
    assert value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    if node.dtype.is_float:
        gradients = evaluate(gc.grad(gc.sum(node), leaves), leaves, arrays)
        assert [g.shape for g in gradients] == [a.shape for a in arrays]


def named(shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The shape with one symbol for each length but 1."""
    return tuple(d if d == 1 else f"d{d}" for d in shape)


def integers(rng: np.random.Generator, shape: Any) -> Any:
    return rng.integers(-3, 4, shape)


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("seed", FAMILY)
def test_matmul(seed: int, symbolic: bool) -> None:
    rng = seeded("matmul", seed)
    m, k, n = rng.choice([1, 2, 3, 5], 3).tolist()
    batch = rng.choice([2, 4], 3).tolist()
    shapes = []
    for matrix, vector in (((m, k), (k,)), ((k, n), (k,))):
        if rng.random() < 0.2:
            shapes.append(vector)
        else:
            lead = [1 if rng.random() < 0.4 else d for d in batch[rng.integers(0, 4) :]]
            shapes.append((*lead, *matrix))
    arrays = [rng.normal(size=s) for s in shapes]
    if seed % 3 == 0:
        arrays = [integers(rng, s) for s in shapes]
    agree(gc.matmul, np.matmul(*arrays), arrays, symbolic)


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("seed", FAMILY)
def test_tensordot(seed: int, symbolic: bool) -> None:
    rng = seeded("tensordot", seed)
    shared = rng.choice([1, 2, 3], rng.integers(0, 3)).tolist()
    ranks = [len(shared) + int(rng.integers(0, 3)) for _ in range(2)]
    axes = [rng.permutation(rank)[: len(shared)].tolist() for rank in ranks]
    shapes = [rng.choice([1, 2, 4], rank).tolist() for rank in ranks]
    for shape, side in zip(shapes, axes, strict=True):
        for k, d in zip(side, shared, strict=True):
            shape[k] = d
    arrays = [rng.normal(size=s) for s in shapes]
    pairs: Any = tuple(
        tuple(k - rank if rng.random() < 0.3 else k for k in side) for side, rank in zip(axes, ranks, strict=True)
    )
    agree(lambda x, y: gc.tensordot(x, y, axes=pairs), np.tensordot(*arrays, pairs), arrays, symbolic)


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("seed", range(150))
def test_einsum(seed: int, symbolic: bool) -> None:
    rng = seeded("einsum", seed)
    letters = list("abXyz")
    lengths = dict(zip(letters, (2, 3, 4, 2, 5), strict=True))
    terms = ["".join(rng.choice(letters, rng.integers(0, 4))) for _ in range(rng.integers(1, 4))]
    shapes = [[lengths[c] for c in term] for term in terms]
    used = sorted(set("".join(terms)))
    out = "".join(rng.permutation(used)[: rng.integers(0, len(used) + 1)]) if used else ""
    subscripts = ",".join(terms) + (f"->{out}" if rng.random() < 0.8 else "")
    if rng.random() < 0.3:
        subscripts = ",".join("..." + term for term in terms) + f"->{out[:1]}...{out[1:]}"
        for shape in shapes:
            shape[:0] = [1 if rng.random() < 0.5 else d for d in (6, 7)[rng.integers(0, 3) :]]
    arrays = [rng.normal(size=s) for s in shapes]
    agree(lambda *xs: gc.einsum(subscripts, *xs), np.einsum(subscripts, *arrays), arrays, symbolic)


def test_implicit_result_keeps_dots_first() -> None:
    rng = seeded("dots")
    arrays = [rng.normal(size=(2, 3, 4)), rng.normal(size=(5, 3, 1))]
    with pytest.raises(gc.ShapeError, match=r"dimensions under '\.\.\.' must be equal"):
        gc.einsum("b...,b...", *(gc.input(f"x{k}", a.shape) for k, a in enumerate((arrays[0], arrays[1][:2, :2]))))
    agree(lambda x, y: gc.einsum("b...,a...", x, y), np.einsum("b...,a...", *arrays), arrays, False)


def test_broadcast_axes_are_not_contracted() -> None:
    """A batch of length 1 is dropped, and a product without a sum is elementwise: nothing is materialised."""
    x, y = gc.input("x", (1, 3, 4)), gc.input("y", ("n", 4, 5))
    (product,) = (node for node in Graph((x @ y,)).nodes if node.op.name == "_contract")
    assert [o.shape for o in product.operands] == [(3, 4), y.shape]
    elementwise = gc.einsum("ij,j->ij", gc.input("a", ("n", 3)), gc.input("b", (3,)))
    assert elementwise.op.name == "multiply"
    assert "broadcast_to" not in {node.op.name for node in Graph((elementwise,)).nodes}


def test_what_one_operand_alone_has_is_summed_first() -> None:
    a, b = gc.input("a", (3, 4)), gc.input("b", (4, 5))
    names = {node.op.name for node in Graph((gc.einsum("ij,kl->", a, b),)).nodes}
    assert "_contract" not in names
    assert evaluate([gc.einsum("ij,kl->", a, b)], [a, b], [np.ones(a.shape), np.ones(b.shape)])[0] == 240


def test_products_take_the_dtype_in_which_operands_meet() -> None:
    x, n = gc.input("x", (2, 2), gc.float32), gc.input("n", (2, 2), gc.int8)
    assert gc.matmul(x, n).dtype == gc.float32
    assert gc.matmul(n, n).dtype == gc.int8
    assert gc.matmul(n, gc.input("u", (2,), gc.uint8)).dtype == gc.int16
    with pytest.raises(gc.DTypeError, match="bool"):
        gc.matmul(gc.input("p", (2, 2), gc.bool_), gc.input("q", (2, 2), gc.bool_))


def test_errors_tell_operands_and_shapes() -> None:
    x, y = gc.input("x", ("n", 3)), gc.input("y", (4, "m"))
    with pytest.raises(gc.ShapeError) as error:
        x @ y
    text = str(error.value)
    assert (
        "the last dimension of the first operand and the last but one of the second must be equal, got 3 and 4" in text
    )
    assert "operand 0: input 'x': float64[n, 3]" in text
    assert "operand 1: input 'y': float64[4, m]" in text
    assert "test_products.py" in text


def test_symbols_never_stand_for_one() -> None:
    x, y = gc.input("x", (2, "n")), gc.input("y", (1, 3))
    (found,) = (c for node in Graph((x @ y,)).nodes for c in node.constraints)
    assert (str(found.left), found.relation, found.right) == ("n", "==", 1)
    with pytest.raises(gc.ShapeError, match="labelled 'n' must be equal, got n and 1"):
        gc.einsum("mn,nk->mnk", x, y)


def test_gradients_have_the_shapes_of_what_they_belong_to() -> None:
    x, w = gc.input("x", ("b", "n")), gc.input("w", (4, 3))
    slopes = gc.grad(gc.sum(x @ w), [x, w])
    assert [g.shape for g in slopes] == [x.shape, w.shape]


def kernels_of(m: object, k: object, n: object) -> tuple[str, ...]:
    x, w = gc.input("x", (m, k), gc.float32), gc.input("w", (k, n), gc.float32)
    return gc.compile([x, w], x @ w).program.kernels


def test_products_of_other_sizes_share_their_kernel() -> None:
    """Sizes, steps and how the result is cut are words of the row: a tile and a way of reading B are one text."""
    one = kernels_of(32, 64, 64)
    assert len(one) == 1
    assert one == kernels_of(32, 64, 128) == kernels_of(32, 100, 64)
    many = kernels_of("n", 64, 64)  # of rows of unknown number, in higher tiles
    assert many == kernels_of("n", "k", 64) == kernels_of(320, 64, 64) != one
    packed = kernels_of(320, 700, 700)  # by blocks of a sum, be it short or long, and parts of many rows
    assert packed == kernels_of(640, 200, 300) == kernels_of(2000, 2000, 700) != many


def test_equal_sizes_are_not_taken_for_one() -> None:
    """A square product and its like share a kernel, so nothing may rest on rows being as many as columns."""
    x = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) % 7
    y = np.arange(64 * 192, dtype=np.float32).reshape(64, 192) % 5
    a, b = gc.input("a", (64, 64), gc.float32), gc.input("b", (64, 192), gc.float32)
    square, wide = gc.compile([a], a @ a), gc.compile([a, b], a @ b)
    np.testing.assert_array_equal(square(x), x @ x)
    np.testing.assert_array_equal(wide(x, y), x @ y)


def test_a_sum_follows_a_product_of_one_row() -> None:
    x, w = gc.input("x", (1, 2)), gc.input("w", (2, 2))
    y = x @ w
    f = gc.compile([x, w], y - gc.mean(y, axis=-1, keepdims=True))
    a, b = np.array([[1.0, 2.0]]), np.array([[1.0, 2.0], [3.0, 5.0]])
    np.testing.assert_allclose(f(a, b), a @ b - (a @ b).mean(axis=-1, keepdims=True))
