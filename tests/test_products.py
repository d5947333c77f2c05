"""Matrix products, tensordot and einsum against NumPy over seeded families of shapes, with and without symbols."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import evaluate, seeded

import graphc as gc
from graphc.codegen import kernels, packed, product
from graphc.codegen.along_sum import PART_DEPTH
from graphc.codegen.intrinsics import target
from graphc.codegen.intrinsics.target import has_many_registers, has_two_multiply_adds, host_vector_bytes
from graphc.codegen.kernels import CACHED, CHUNK_FLOPS, HALF_FLOPS, MANY_CHUNKS, steps_of_chunk
from graphc.codegen.packed import NARROW_CHUNK, two_shares
from graphc.graph import Graph, Node
from graphc.state import aligned

FAMILY = range(60)
BY_TILE = [(130, 300, 500), (33, 784, 513), (70, 2000, 129), (1100, 3, 700)]  # whose panels the first tile fills


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
    columns, others = (64, 192) if has_many_registers() else (64, 48)  # whole tiles, which know it
    if has_two_multiply_adds():  # whose tiles have three vectors
        columns, others = 192, 48
    one = kernels_of(32, 64, columns)
    assert len(one) == 1
    assert one == kernels_of(32, 64, others) == kernels_of(32, 80, columns)
    if not has_two_multiply_adds():
        # 64 rows of B, 512 bytes apart, are all that L1 has places for, which counts where tiles read a panel there
        assert (one == kernels_of(32, 64, 128)) == has_many_registers()
    many = kernels_of(320, 32, 64)
    assert kernels_of(320, 80, 64) == many
    assert "light()" in kernels_of(32, 600, columns)[-1]  # long tiles, for which LLVM makes less of what is around them
    assert "light()" not in "".join((*one, *many))
    unknown = kernels_of("n", 32, 64)  # which have low tiles for when rows are few, unless the sum is short
    assert unknown != many == kernels_of("n", 31, 64)
    asking = kernels_of("n", "k", 64)  # and of any length, so that tiles ask for what comes
    assert asking == kernels_of("n", 100, 64) != unknown
    packed = kernels_of(320, 700, 700)  # by blocks of a sum, be it short or long, and parts of many rows
    assert packed == kernels_of(640, 200, 704) == kernels_of(130, 2000, 700) != many
    blocked = kernels_of(2000, 2000, 1000)
    assert blocked == kernels_of(500, 900, 1000) == kernels_of(1000, 4000, 1000) != packed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(48, 96, 512), (64, 130, 912), (50, 500, 192), (100, 96, 256)])
def test_products_have_the_same_bits_wherever_an_array_begins(sizes: tuple[int, ...], dtype: str) -> None:
    """Vectors of a B that begins within a line of cache lie in two, so it is copied by panels."""
    m, k, n = sizes
    a, b = (seeded("lines", shape).normal(size=shape).astype(dtype) for shape in ((m, k), (k, n)))
    x, y = gc.input("x", a.shape, dtype), gc.input("y", b.shape, dtype)
    function = gc.compile([x, y], x @ y)
    assert any("into_line" in text for text in function.program.kernels) == has_two_multiply_adds()
    memory, found = aligned(b.nbytes + 128), []
    for start in (0, 64, b.itemsize, 16, 64 - b.itemsize):
        there = memory[start : start + b.nbytes].view(dtype).reshape(b.shape)
        there[:] = b
        found.append(function(a, there))
    np.testing.assert_allclose(found[0], a @ b, rtol=0, atol=1e-3 if dtype == "float32" else 1e-12)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize(
    ("name", "nbytes", "twice"),
    [("emeraldrapids", 64, True), ("znver5", 64, True), ("znver4", 64, False), ("unheard-of", 64, False),
     ("emeraldrapids", 32, False), ("haswell", 32, False)],
)  # fmt: skip
def test_names_of_processors_tell_of_multiply_adds(
    name: str, nbytes: int, twice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "host_vector_bytes", lambda: nbytes)
    monkeypatch.setattr(target, "compiled_for", lambda: (name, ""))
    assert has_two_multiply_adds.__wrapped__() is twice


@pytest.mark.parametrize(
    ("name", "features", "taken"),
    [
        ("rocketlake", "+avx512f,+amx-tile,+fma", "sapphirerapids"),
        ("rocketlake", "+avx512f,-amx-tile,+fma", "rocketlake"),
        ("graniterapids", "+avx512f,+amx-tile", "graniterapids"),
        ("znver4", "+avx512f", "znver4"),
    ],
)
def test_features_tell_of_processors_of_which_a_virtual_machine_names_another(
    name: str, features: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX"):
        monkeypatch.delenv(setting, raising=False)
    monkeypatch.setattr(target.llvm, "get_host_cpu_name", lambda: name)
    monkeypatch.setattr(target.llvm, "get_host_cpu_features", lambda: SimpleNamespace(flatten=lambda: features))
    assert target.compiled_for() == (taken, features)


def test_a_processor_that_is_set_is_taken_by_its_name() -> None:
    asked = "from graphc.codegen.intrinsics import target; print(*target.compiled_for())"
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx512f,+amx-tile"}
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["generic", "+avx512f,+amx-tile"]


@pytest.mark.skipif(not has_many_registers(), reason="of narrow vectors nobody knows")
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("shape", [*BY_TILE, (500, 700, 288), (300, 1030, 97)])
def test_products_with_one_and_two_multiply_adds_a_cycle(
    shape: tuple[int, int, int], twice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles, panels and chunks of the other kind of processor, with both layouts of A and B, are right here too."""
    for module in (target, kernels, packed, product):
        monkeypatch.setattr(module, "has_two_multiply_adds", lambda: twice)
    m, k, n = shape
    rng = np.random.default_rng(7)
    a, b = rng.integers(-4, 5, (m, k)).astype(np.float32), rng.integers(-4, 5, (k, n)).astype(np.float32)
    for across, turned in itertools.product((False, True), repeat=2):
        x = gc.input("x", (k, m) if across else (m, k), gc.float32)
        w = gc.input("w", (n, k) if turned else (k, n), gc.float32)
        made = (x.T if across else x) @ (w.T if turned else w)
        f = gc.compile([x, w], made, options=gc.Options(cache=False))
        assert not across or "micro_panel" not in f.source
        by_tile = "micro_packing" in f.source
        assert across or ("micro_panel" in f.source) == (twice and ("pack_" in f.source or by_tile))
        assert by_tile == (twice and not across and not turned and shape in BY_TILE)
        got = f(*(np.ascontiguousarray(v) for v in (a.T if across else a, b.T if turned else b)))
        np.testing.assert_array_equal(got, a @ b)


@pytest.mark.skipif(
    not has_many_registers() or has_two_multiply_adds(), reason="tiles read a panel more often than L2 would give it"
)
def test_rows_that_are_near_are_read_where_they_lie() -> None:
    """At most 2 KB apart and 800; of a left operand that is contiguous along rows, a megabyte."""
    near, unknown = kernels_of(700, 800, 448), kernels_of("n", 784, 512)  # of those few have low tiles
    assert near == kernels_of(3000, 300, 512) != kernels_of(700, 784, 513)
    assert unknown == kernels_of("n", 800, 448) != kernels_of("n", 784, 513)
    assert not any("pack" in text for text in (*near, *unknown))
    for rows, packs in ((500, False), (1000, True)):
        x, y = gc.input("x", (500, rows), gc.float32), gc.input("y", (500, 200), gc.float32)
        a, b = (np.arange(node.size, dtype=np.float32).reshape(node.shape) % 7 for node in (x, y))
        f = gc.compile([x, y], gc.transpose(x) @ y)
        assert ("pack_" in f.source) == packs
        np.testing.assert_array_equal(f(a, b), a.T @ b)
    for columns, packs in ((500, False), (1000, True)):  # from the last row of B to the first
        x, y = gc.input("x", ("n", 700), gc.float32), gc.input("y", (700, columns), gc.float32)
        a, b = (np.arange(np.prod(s), dtype=np.float32).reshape(s) % 5 for s in ((90, 700), (700, columns)))
        f = gc.compile([x, y], x @ y[::-1])
        assert ("pack_" in f.source) == packs
        np.testing.assert_array_equal(f(a, b), a @ b[::-1])


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


# how the rows of the left operand lie, and sizes at which its blocks and those of the right operand are copied
BLOCKED: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "one block and a bit": ("ik,kj->ij", (193, 6000), (6000, 49)),
    "blocks of a deep sum": ("ik,kj->ij", (385, 1025), (1025, 130)),
    "parts of rows and columns": ("ik,kj->ij", (1030, 300), (300, 530)),
    "left transposed": ("ki,kj->ij", (1000, 129), (1000, 33)),
    "left transposed, many columns": ("ki,kj->ij", (1025, 200), (1025, 140)),
    "left backwards": ("ik,kj->ij", (300, 900), (900, 100)),
    "right transposed": ("ik,jk->ij", (300, 900), (130, 900)),
    "batch": ("bki,bkj->bij", (3, 1000, 70), (3, 1000, 45)),
    "batch of wide ones": ("bki,bkj->bij", (2, 400, 200), (2, 400, 550)),
    "two sums": ("aik,akj->ij", (3, 300, 900), (3, 900, 100)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("columns", [2, 3, 5, 10, 11])
def test_few_columns_are_copied_so_that_lanes_run_along_the_sum(columns: int, symbolic: bool, dtype: str) -> None:
    """About the bounds of blocks of the sum, of tiles, and of what is few; a nest follows; any number of threads."""
    rng = np.random.default_rng(columns)
    for depth in (127, 128, 399, 512, 513, 784, 1025):
        every = (1, 9, 4, 8, 5, 16, 13, 50, 12, 230)
        for rows in every if symbolic else every[depth % 2 :: 2]:  # each is compiled by itself
            x = gc.input("x", ("n" if symbolic else rows, depth), dtype)
            w, b = gc.input("w", (depth, columns), dtype), gc.input("b", (columns,), dtype)
            outputs = (x @ w, gc.maximum(x @ w + b, 0))
            arrays = [rng.normal(size=s).astype(dtype) for s in ((rows, depth), (depth, columns), (columns,))]
            exact = arrays[0].astype(float) @ arrays[1].astype(float)
            function = gc.compile([x, w, b], outputs, options=gc.Options(threads=1 + rows % 3))
            bound = (2e-5 if dtype == "float32" else 1e-13) * np.sqrt(depth)
            for have, want in zip(function(*arrays), (exact, np.maximum(exact + arrays[2], 0)), strict=True):
                np.testing.assert_allclose(have, want, rtol=bound, atol=bound)
    lanes = host_vector_bytes() // np.dtype(dtype).itemsize
    assert ("dots_" in function.source) == (10 * columns <= 7 * (columns + -columns % lanes))


def few_columns() -> int:
    """So few columns that lanes run along the sum."""
    lanes = host_vector_bytes() // 4
    if lanes < 8:
        pytest.skip("no lanes are idle")
    return 10 if lanes == 16 else 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 10, 17, 64, 200])
def test_tiles_are_as_low_as_the_rows_that_a_call_brings(columns: int, dtype: str) -> None:
    """Of any number of rows, also none, whatever tiles there are for it; with a nest before it, and the gradients."""
    depth, rng = 130, np.random.default_rng(5)
    x, w = gc.input("x", ("n", depth), dtype), gc.input("w", (depth, columns), dtype)
    y, z = x @ w, (x + 1) @ w
    f = gc.compile([x, w], [y, z, *gc.grad(gc.sum(y * y), [x, w])])
    for rows in (0, 1, 2, 3, 4, 5, 8, 9, 12, 13, 16, 17, 33):
        a, b = rng.standard_normal((rows, depth)), rng.standard_normal((depth, columns))
        expected = (a @ b, (a + 1) @ b, 2 * a @ b @ b.T, 2 * a.T @ (a @ b))
        for have, want in zip(f(a.astype(dtype), b.astype(dtype)), expected, strict=True):
            np.testing.assert_allclose(have, want, rtol=0, atol=2e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("depth", [128, 511, 513, 767, 768, 784, 785, 1535, 1536, 1537, 3_999])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_is_cut_into_parts_for_threads(depth: int, dtype: str) -> None:
    """In a phase before the rest, if it is long; none where the call tells of few rows."""
    columns, rng = few_columns(), np.random.default_rng(3)
    columns //= 1 if dtype == "float32" else 2
    w, v = gc.input("w", (depth, columns), dtype), gc.input("v", (columns,), dtype)

    def compiled(rows: Any) -> Any:
        x = gc.input("x", (rows, depth), dtype)
        f = gc.compile([x, w, v], gc.relu(x @ w + v), options=gc.Options(cache=False))
        apart = [True] if depth >= 2 * PART_DEPTH else []
        assert [p.title.startswith("parts of") for p in f._program.phases] == [*apart, False]
        return f

    for f, sizes in ((compiled("m"), (0, 1, 4, 5, 13, 600)), (compiled(9), (9,)), (compiled(600), (600,))):
        for m in sizes:
            a, b, c = (rng.normal(size=s).astype(dtype) for s in ((m, depth), (depth, columns), columns))
            expected, scale = np.maximum(a.astype("f8") @ b + c, 0), np.abs(a).astype("f8") @ np.abs(b) + 1
            assert (np.abs(f(a, b, c) - expected) <= 8 * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize(("depth", "columns"), [(64, 5_000), (65, 4_999), (1_000, 521), (777, 1_001), (3_001, 260)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row_goes_through_a_large_matrix_row_by_row(depth: int, columns: int, dtype: str) -> None:
    """In parts of the sum, each a chunk; rows of the matrix may have gaps, and be read from the last to the first."""
    rng = np.random.default_rng(4)
    a, b, bias = (rng.normal(size=s).astype(dtype) for s in (2 * depth, (depth, columns + 3), columns))
    x, w, v = gc.input("x", a.shape, dtype), gc.input("w", b.shape, dtype), gc.input("v", bias.shape, dtype)
    cases = (
        (x[:depth] @ w[:, 3:], a[:depth], b[:, 3:]),
        (x[::2] @ w[::-1, 1:-2], a[::2], b[::-1, 1:-2]),
        (gc.reshape(x[depth:], (1, depth)) @ w[:, :-3], a[None, depth:], b[:, :-3]),
    )
    for number, (made, left, right) in enumerate(cases):
        every = gc.Options(), gc.Options(threads=1), gc.Options(debug=True)
        functions = [gc.compile([x, w, v], gc.relu(made + v), options=o) for o in every[: 3 if number == 1 else 2]]
        results, f = [f(a, b, bias) for f in functions], functions[0]
        assert [p.title.startswith("parts of") for p in f._program.phases] == [True, False]
        assert f._program.phases[0].chunks > 1
        expected = np.maximum(left.astype("f8") @ right + bias, 0)
        scale = np.abs(left).astype("f8") @ np.abs(right) + 1
        assert (np.abs(results[0] - expected) <= 8 * np.finfo(dtype).eps * scale).all()
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_allclose(results[0], results[-1], rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-3)


WIDE_ROWS = ((1, 4_099, 64), (2, 4_096, 97), (7, 1_030, 1_025), (12, 513, 600), (12, 14_150, 64))
NARROW_ROWS = ((1, 60, 5_001), (3, 7, 40_001), (12, 8, 33_000))


@pytest.mark.parametrize(("few", "wide", "depth"), WIDE_ROWS + NARROW_ROWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_and_few_columns_go_through_a_large_operand_row_by_row(
    few: int, wide: int, depth: int, dtype: str
) -> None:
    """Two that are not exchanged, two that are; rows may have gaps, and be read from the last to the first."""
    rng = np.random.default_rng(4)
    small, large = (rng.normal(size=s).astype(dtype) for s in ((few, 2 * depth), (depth, wide + 3)))
    x, w = gc.input("x", small.shape, dtype), gc.input("w", large.shape, dtype)
    wide_s, wide_l, turn = small.astype("f8"), large.astype("f8"), gc.transpose
    cases = (
        (x[:, :depth] @ w[:, 3:], wide_s[:, :depth] @ wide_l[:, 3:]),
        (x[:, ::2] @ w[::-1, 1:-2], wide_s[:, ::2] @ wide_l[::-1, 1:-2]),
        (turn(w[:, 3:]) @ turn(x[:, depth:]), wide_l[:, 3:].T @ wide_s[:, depth:].T),
        (turn(w[::-1, :-3]) @ gc.reshape(x, (2 * depth, few))[::2], wide_l[::-1, :-3].T @ wide_s.reshape(-1, few)[::2]),
    )
    scale = 8 * np.finfo(dtype).eps * depth * np.abs(small).max() * np.abs(large).max()
    for number, (made, expected) in enumerate(cases):
        every = gc.Options(), gc.Options(threads=1), gc.Options(debug=True)
        checked = number % 2 and few * wide < 50_000  # every access, element by element
        functions = [gc.compile([x, w], gc.relu(made), options=o) for o in every[: 3 if checked else 2]]
        results, f = [f(small, large) for f in functions], functions[0]
        assert [p.title.startswith("parts of") for p in f._program.phases] == [True, False]
        assert "sweep_" in f.source or (few, wide, depth) in NARROW_ROWS  # of which a tile may hold a part's result
        np.testing.assert_array_equal(results[0], results[1])
        for result in results:
            np.testing.assert_allclose(result, np.maximum(expected, 0), rtol=0, atol=scale)


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row_goes_through_a_matrix_of_any_depth(exchanged: bool, dtype: str) -> None:
    """Row by row if the call has so many that no cache holds them: then the sum is one of parts."""
    rng, wide = np.random.default_rng(5), 20_000
    x, w = gc.input("x", ("k",), dtype), gc.input("w", ("k", wide), dtype)
    made = gc.transpose(w) @ gc.reshape(x, ("k", 1)) if exchanged else x @ w
    functions = [gc.compile([x, w], made, options=gc.Options(threads=n)) for n in (None, 1)]
    assert "sweep_" in functions[0].source
    longest = CACHED // (wide * np.dtype(dtype).itemsize)
    for k in (0, 1, 9, longest, longest + 1, 2 * longest + 5):
        a, b = rng.normal(size=k).astype(dtype), rng.normal(size=(k, wide)).astype(dtype)
        expected = (b.T.astype("f8") @ a[:, None]) if exchanged else a @ b.astype("f8")
        first, second = (f(a, b) for f in functions)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, expected, rtol=0, atol=40 * np.finfo(dtype).eps * np.sqrt(k + 1))


def test_a_sum_in_parts_within_a_loop() -> None:
    columns, rng = few_columns(), np.random.default_rng(3)
    y, v = gc.input("y", (3, 40, 600), gc.float32), gc.input("v", (600, columns), gc.float32)
    total, _ = gc.scan(lambda carry, e: (carry + gc.sum(e @ v, axis=0), carry), gc.zeros((columns,), gc.float32), y)
    for options in (gc.Options(cache=False), gc.Options(debug=True)):
        a, b = (rng.normal(size=s).astype("f4") for s in ((3, 40, 600), (600, columns)))
        got = gc.compile([y, v], total, options=options)(a, b)
        np.testing.assert_allclose(got, (a.astype("f8") @ b).sum((0, 1)), rtol=1e-4, atol=3e-3)


@pytest.mark.parametrize(("rows", "depth", "columns"), [(1_000, 3, 1_100), (2_111, 8, 700), (40, 1, 33_333)])
@pytest.mark.parametrize("follows", [False, True])
def test_large_results_of_few_products_are_made_row_by_row(rows: int, depth: int, columns: int, follows: bool) -> None:
    rng = np.random.default_rng(depth)
    a, b = rng.normal(size=(rows, depth)), rng.normal(size=(depth, columns))
    x, w = gc.input("x", a.shape), gc.input("w", b.shape)
    made, expected = (gc.relu(x @ w) if follows else x @ w), (np.maximum(a @ b, 0) if follows else a @ b)
    functions = [gc.compile([x, w], made, options=gc.Options(threads=n)) for n in (None, 1)]
    assert functions[0]._program.phases[0].chunks >= rows // 20
    results = [f(a, b) for f in functions]
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("steps", [1, 3, 5, 8])
@pytest.mark.parametrize("rows", [1, 5, 30, 31])
def test_few_long_steps_are_chunks_by_rows(steps: int, rows: int) -> None:
    """A loop of few steps around a product, and one over a part of the sum, as in the gradient of a convolution."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(128, steps, 70, rows)), rng.normal(size=(128, 70, 16))
    x, w = gc.input("x", a.shape), gc.input("w", b.shape)
    f = gc.compile([x, w], gc.einsum("wekr,wkc->erc", x, w), options=gc.Options(cache=False))
    np.testing.assert_allclose(f(a, b), np.einsum("wekr,wkc->erc", a, b, optimize=True), rtol=1e-9, atol=1e-9)
    if rows >= 30 and steps in (3, 5):
        assert f._program.phases[0].chunks > steps


@pytest.mark.parametrize("columns", [70, 72, 100, 120, 150])
@pytest.mark.parametrize("rows", [7, 64, 65, 400])
def test_few_panels_of_columns_are_halved(rows: int, columns: int) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(rows, 300)), rng.normal(size=(300, columns))
    for turned in (False, True):
        x, w = gc.input("x", a.shape), gc.input("w", b.T.shape if turned else b.shape)
        f = gc.compile([x, w], x @ (w.T if turned else w), options=gc.Options(cache=False))
        np.testing.assert_allclose(f(a, np.ascontiguousarray(b.T) if turned else b), a @ b, rtol=1e-9, atol=1e-10)
        chunks = f._program.phases[0].chunks
        assert chunks % 2 == 0 or chunks >= MANY_CHUNKS or rows * columns < 7_000


@pytest.mark.parametrize("rows", [511, 512, 784, 1_001])
def test_of_many_rows_two_threads_have_halves(rows: int) -> None:
    """Where there are twice as many as columns: panels are even, and a chunk has the rows of one half."""
    rng, columns, depth = np.random.default_rng(7), 256, 64
    a, b = (rng.normal(size=(depth, n)).astype("f") for n in (rows, columns))
    x, w = gc.input("x", a.shape, "float32"), gc.input("w", b.shape, "float32")
    f = gc.compile([x, w], x.T @ w, options=gc.Options(cache=False, threads=2))
    np.testing.assert_allclose(f(a, b), a.astype("f8").T @ b.astype("f8"), rtol=1e-5, atol=1e-4)
    width = target.tile("float32", columns, rows)[1] * host_vector_bytes() // 4
    halved = rows >= 2 * columns and 2 * rows * depth * width >= 2 * HALF_FLOPS
    assert f._program.phases[0].chunks == -(-columns // width) * (2 if halved else 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rows", "columns", "depth"),
    [
        *((31, 128, 1_022), (32, 65, 1_022), (64, 64, 1_022), (128, 100, 513), (128, 100, 1_022)),
        *((64, 128, 256), (64, 255, 4_000), (64, 256, 4_000), (129, 128, 1_022)),
    ],
)
def test_a_deep_sum_of_whole_rows_is_cut_in_halves(rows: int, columns: int, depth: int, dtype: str) -> None:
    """Each thread reads its half of the rows, and of it writes a small result; the operands may be turned, or views."""
    rng = np.random.default_rng(8)
    a, b = (rng.normal(size=(2 * depth, n)).astype(dtype) for n in (rows, columns + 3))
    x, w = gc.input("x", a.shape, dtype), gc.input("w", b.shape, dtype)
    f = gc.compile([x, w], x[::-2].T @ w[1::2, 3:], options=gc.Options(cache=False))
    wanted = a[::-2].astype("f8").T @ b[1::2, 3:].astype("f8")
    rtol, atol = (1e-4, 1e-3) if dtype == "float32" else (1e-11, 1e-11)
    np.testing.assert_allclose(f(a, b), wanted, rtol=rtol, atol=atol)
    small = rows * columns * a.itemsize <= 2**16 and (rows + columns) * depth >= 8 * rows * columns
    halved = small and depth % 2 == 0 and rows >= 32 and 64 < columns < 256 and rows * columns * depth >= CHUNK_FLOPS
    panels = -(-columns // (target.tile(dtype, columns, rows)[1] * host_vector_bytes() // a.itemsize))
    halved = halved and not ("pack_" in f.source and panels >= MANY_CHUNKS)  # which are shared out themselves
    assert [p.title.startswith("combine") for p in f._program.phases] == [False, True][: 1 + halved]


@pytest.mark.parametrize("step", [8, 24, 32, 48, 64])
def test_chunks_of_columns_are_even_for_two_threads(step: int) -> None:
    for columns in range(512, 1500):
        widest = step * -(-columns // 4 // step)
        width = two_shares(widest, columns, step)
        assert width % step == 0
        assert min(widest, NARROW_CHUNK // step * step) <= width <= widest
        first = -(-columns // width) // 2 * width  # where the region has the second thread begin
        assert max(first, columns - first) <= columns / 2 + 4 / 3 * step
    assert two_shares(288, 1000, 48) == 240
    assert two_shares(256, 1024, 64) == 256
    assert two_shares(160, 160, 160) == 160  # a tile that is wider than a narrow chunk


@pytest.mark.parametrize("length", [None, 0, 1, 2, 7, 31, 48, 49, 784, 10_000])
@pytest.mark.parametrize(("flops", "step"), [(1, 1), (640, 16), (16_000, 3), (10**7, 12)])
def test_chunks_of_little_are_two_that_are_alike(length: int | None, flops: int, step: int) -> None:
    size = steps_of_chunk(gc.dims.symbol("n") if length is None else length, flops, step)
    assert size >= step
    assert size % step == 0
    if length is None:
        return
    count = -(-length // size)
    assert count * flops * size <= max(2 * CHUNK_FLOPS, flops * step) * max(count, 1)
    if 2 * HALF_FLOPS <= length * flops <= CHUNK_FLOPS and length >= 2 * step:
        assert count == 2
        assert length - size > size - 2 * step


def test_a_chunk_of_dot_products_is_interpreted_as_it_is_compiled() -> None:
    x, w = gc.input("x", ("n", 200)), gc.input("w", (200, 3))
    rng = np.random.default_rng(0)
    for rows in (3, 20):
        arrays = [rng.normal(size=s) for s in ((rows, 200), (200, 3))]
        compiled, interpreted = (gc.compile([x, w], x @ w, options=gc.Options(debug=d)) for d in (False, True))
        np.testing.assert_allclose(interpreted(*arrays), arrays[0] @ arrays[1], rtol=1e-12)
        np.testing.assert_allclose(compiled(*arrays), interpreted(*arrays), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", BLOCKED)
def test_large_operands_go_block_by_block(form: str, dtype: str) -> None:
    labels, *shapes = BLOCKED[form]
    rng = seeded(form, dtype)
    x, y = (rng.integers(-4, 5, shape).astype(dtype) for shape in shapes)
    a, b = gc.input("a", x.shape, dtype), gc.input("b", y.shape, dtype)
    turned, plain = (a[::-1], x[::-1]) if form == "left backwards" else (a, x)
    f = gc.compile([a, b], gc.einsum(labels, turned, b))
    assert "bottom" in f.source
    expected = np.einsum(labels, plain, y, optimize=True)
    np.testing.assert_array_equal(f(x, y), expected)  # sums of small integers are exact


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["plain", "left transposed", "dots", "batch", "blocked"])
def test_products_take_subnormal_numbers_for_zero(form: str, dtype: str) -> None:
    """And nothing else does: neither what follows in the same kernel, nor who calls."""
    shape = {"dots": (9, 300, 9), "blocked": (300, 1200, 100)}.get(form, (40, 30, 50))
    m, k, n = shape
    tiny = np.finfo(dtype).tiny
    x, y = np.full((m, k), tiny / 2, dtype), np.full((k, n), 0.5, dtype)
    x[0], x[1] = tiny, 2 * tiny  # a product of the first row is subnormal, and so 0; one of the second is normal
    wide_x, wide_y = (np.stack([v, v]) if form == "batch" else v for v in (x, y))
    a = gc.input("a", wide_x.swapaxes(-1, -2).shape if form == "left transposed" else wide_x.shape, dtype)
    b = gc.input("b", (n, k) if form == "dots" else wide_y.shape, dtype)
    left = gc.matrix_transpose(a) if form == "left transposed" else a
    right = gc.matrix_transpose(b) if form == "dots" else b
    f = gc.compile([a, b], (left @ right, left @ right + gc.asarray(tiny / 2, dtype=dtype), a * 0.5))
    given_x = np.ascontiguousarray(wide_x.swapaxes(-1, -2)) if form == "left transposed" else wide_x
    given_y = np.ascontiguousarray(y.T) if form == "dots" else wide_y
    product, more, half = f(given_x, given_y)
    rows = np.zeros(m, dtype)
    rows[1] = tiny * k
    np.testing.assert_array_equal(product, np.broadcast_to(rows[:, None], product.shape))
    np.testing.assert_array_equal(more, product + np.asarray(tiny / 2, dtype))
    np.testing.assert_array_equal(half, given_x * np.asarray(0.5, dtype))
    assert half.min() == tiny / 4
    assert (np.asarray(tiny, dtype) * np.asarray(0.5, dtype)) > 0


@pytest.mark.parametrize("dtype", [gc.float32, gc.float64])
@pytest.mark.parametrize("form", ["ik,kj->ij", "ki,kj->ij", "ik,jk->ij", "ki,kj->ji"])
def test_tiles_write_nothing_beside_their_result(form: str, dtype: Any) -> None:
    """Without AVX-512, tiles that are whole, and copies, are stored in pieces instead of with a mask."""
    rng = seeded("beside", form, str(dtype))
    for m, n, k in ((5, 10, 32), (784, 10, 33), (33, 5, 600), (33, 17, 130), (130, 8, 128), (64, 200, 1), (7, 3, 0)):
        sizes = {"i": m, "j": n, "k": k}
        a, b = (integers(rng, [sizes[label] for label in part]).astype(dtype.numpy) for part in form[:5].split(","))
        x, y = gc.input("x", a.shape, dtype), gc.input("y", b.shape, dtype)
        f = gc.compile([x, y], gc.einsum(form, x, y))
        expected = np.einsum(form, a, b)
        room = np.full(expected.size + 64, 7, dtype.numpy)
        f(a, b, out=room[32:-32].reshape(expected.shape))
        np.testing.assert_array_equal(room[32:-32].reshape(expected.shape), expected)
        assert set(np.concatenate([room[:32], room[-32:]])) == {7}
