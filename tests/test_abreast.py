"""Rows of few elements are computed side by side: a vector has one element of each of 16 rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import assert_close

import graphc as gc
from graphc.codegen.few_elements import MOST_BYTES, ROWS
from graphc.codegen.intrinsics.far import MOST as MATH
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.printer import code_of
from graphc.schedule.values import LONGEST

Arrays = dict[str, Any]
NUMBERS = (0, 1, 3, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS - 3, 1000)  # of rows
MOST, ALONE = MOST_BYTES[host_vector_bytes()]


def _shifted(f: Any, x: Any) -> Any:
    return x - f.max(x, axis=1, keepdims=True)


def _softmax(f: Any, x: Any) -> Any:
    e = f.exp(_shifted(f, x))
    return e / f.sum(e, axis=1, keepdims=True)


# What rows make, in terms that gc and NumPy share: x and y are rows, v is one, r and c have an element for each.
PROGRAMS: dict[str, Callable[..., Any]] = {
    "vector math": lambda f, x, y, v, r, c: (
        f.sum(f.exp(x * y) * f.log(x + r[:, None]), axis=1), f.tanh(x - f.max(f.exp(y), axis=1, keepdims=True)) * c,
        f.sum(f.exp(v) * x, axis=1) + f.log(f.sum(f.exp(f.tanh(y)), axis=1)),
    ),
    "folds": lambda f, x, y, v, r, c: (f.sum(x * x, axis=1), f.max(x + v, axis=1), f.min(x * c, axis=1)),
    "products": lambda f, x, y, v, r, c: (f.prod(x, axis=1), f.sum(y, axis=1) * r),
    "softmax": lambda f, x, y, v, r, c: (_softmax(f, x + v),),
    "centred": lambda f, x, y, v, r, c: (x - f.sum(x, axis=1, keepdims=True) / x.shape[1],),
    "normed": lambda f, x, y, v, r, c: (
        (x - f.mean(x, axis=1, keepdims=True)) / f.sqrt(f.mean(_shifted(f, x) ** 2, axis=1, keepdims=True) + c),
    ),
    "columns": lambda f, x, y, v, r, c: (
        f.sum(_shifted(f, x) * r[:, None], axis=0), f.max(_shifted(f, y), axis=0), _shifted(f, y),
    ),
    "totals": lambda f, x, y, v, r, c: (
        f.sum(f.sqrt(f.sum(x * x, axis=1))), f.sum(_shifted(f, y) * x), f.max(_shifted(f, x) * v), f.sum(x, axis=1),
    ),
    "rows in turn": lambda f, x, y, v, r, c: (
        f.sum(y * (f.sum(x, axis=1, keepdims=True) + r[:, None]), axis=1), f.sum(x, axis=1, keepdims=True) * c,
    ),
}  # fmt: skip


def _arrays(rows: int, length: int, dtype: str) -> Arrays:
    rng = np.random.default_rng(rows + 100 * length)
    shapes = {"x": (rows, length), "y": (rows, length), "v": (length,), "r": (rows,), "c": (rows, 1)}
    return {name: rng.uniform(0.5, 1.5, shape).astype(dtype) for name, shape in shapes.items()}


def _compiled(program: Callable[..., Any], length: int, dtype: str, rows: int | str = "n", **options: Any) -> Any:
    shapes = {"x": (rows, length), "y": (rows, length), "v": (length,), "r": (rows,), "c": (rows, 1)}
    given = [gc.input(name, shape, dtype) for name, shape in shapes.items()]
    return gc.compile(given, program(gc, *given), options=gc.Options(**options))


@pytest.mark.parametrize("shape", [("n", 3), ("n", 3, 1), ("n", 1, 3), (1, "n", 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vector_math_waits_along_rows_wherever_these_lie(shape: tuple[Any, ...], dtype: str) -> None:
    """What is made of an array in any order of its axes, and folded along the one of few elements."""
    x = gc.input("x", shape, dtype)
    for order in itertools.permutations(range(len(shape))):
        axis = order.index(shape.index(3))

        def program(f: Any, x: Any, order: Any = order, axis: int = axis) -> Any:
            y = f.tanh(f.permute_dims(x, order))
            return f.prod(y + 1.25, axis=axis), f.sum(f.exp(y), axis=axis)

        made = gc.compile([x], program(gc, x))
        assert f"deal_{code_of(x.dtype)}_3x{ROWS}(" in str(made.source)
        for rows in (1, 2, ROWS + 1, 100):
            given = np.random.default_rng(rows).normal(size=[rows if d == "n" else d for d in shape]).astype(dtype)
            assert_close(made(given), program(np, given), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [2, 3, 5, 8, 10, 12, 15, 16, 17, 24])
@pytest.mark.parametrize("name", PROGRAMS)
def test_rows_are_those_of_numpy(name: str, length: int, dtype: str) -> None:
    """Of every number of rows at the borders of a band; folds over no rows at all are left out."""
    program = PROGRAMS[name]
    made = _compiled(program, length, dtype)
    for rows in NUMBERS if name not in ("columns", "totals") else NUMBERS[1:]:
        given = _arrays(rows, length, dtype)
        assert_close(made(**given), program(np, **given), dtype)


@pytest.mark.parametrize("length", [2, 3, 8, 10])
@pytest.mark.parametrize("name", PROGRAMS)
def test_they_are_abreast(name: str, length: int) -> None:
    """Rows of few bytes are copied to columns, and what they make is copied back."""
    source = str(_compiled(PROGRAMS[name], length, "float32").source)
    few = length * 4 <= (ALONE if name == "centred" else MOST)
    assert (f"deal_f4_{length}x{ROWS}(" in source) == few


@pytest.mark.parametrize("name", PROGRAMS)
def test_of_a_known_number_and_in_several_chunks(name: str) -> None:
    """The same bits for every number of threads."""
    program, given = PROGRAMS[name], _arrays(9_001, 3, "float32")
    known = _compiled(program, 3, "float32", 9_001)
    found = known(**given)
    assert_close(found, program(np, **given), "float32")
    for threads in (1, 3):
        other = _compiled(program, 3, "float32", 9_001, threads=threads)
        for a, b in zip(found, other(**given), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", NUMBERS)
def test_the_interpreter_does_the_same(rows: int, dtype: str) -> None:
    """Kernels at length, every access looked at: the lanes of a last band that have no row, among them."""
    for name in ("softmax", "columns", "totals"):
        if rows or name == "softmax":
            checked = _compiled(PROGRAMS[name], 5, dtype, debug=True)
            made, given = _compiled(PROGRAMS[name], 5, dtype), _arrays(rows, 5, dtype)
            for a, b in zip(checked(**given), made(**given), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_after_a_product() -> None:
    """Rows of a product go on in its phase, also where they are looked at access by access."""
    x, w = gc.input("x", ("n", 6)), gc.input("w", (6, 5))
    z = x @ w
    outputs = gc.softmax(z, axis=1), gc.logsumexp(z, axis=1), gc.sum(gc.tanh(z), axis=0)
    given, weights = np.random.default_rng(0).normal(size=(19, 6)), np.random.default_rng(1).normal(size=(6, 5))
    zs = given @ weights
    e = np.exp(zs - zs.max(1, keepdims=True))
    wanted = e / e.sum(1, keepdims=True), np.log(np.exp(zs).sum(1)), np.tanh(zs).sum(0)
    for debug in (False, True):
        made = gc.compile([x, w], outputs, options=gc.Options(debug=debug))
        for a, b in zip(made(given, weights), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_row_is_nobody_elses() -> None:
    """NaN, infinities and zeros stay in their rows, though lanes without a row repeat the last one."""
    x = gc.input("x", ("n", 3), gc.float64)
    z = x - gc.max(x, axis=1, keepdims=True)
    made = gc.compile([x], (z, gc.sum(x, axis=1), gc.sum(z, axis=0), gc.max(x, axis=1)))
    for rows in (1, 5, ROWS, ROWS + 2):
        for special in (np.nan, np.inf, -np.inf, -0.0):
            given = np.full((rows, 3), 2.0)
            given[rows - 1] = special
            with np.errstate(invalid="ignore"):
                wanted = given - given.max(1, keepdims=True)
                for a, b in zip(made(given), (wanted, given.sum(1), wanted.sum(0), given.max(1)), strict=True):
                    np.testing.assert_array_equal(a, b)
    assert gc.compile([x], gc.sum(x * x, axis=1))(np.full((3, 3), 1e200)).tolist() == [np.inf] * 3


def test_rows_may_be_parts_of_others() -> None:
    """Slices of wider rows, and of every other row; what lies otherwise is not abreast, and right."""
    x = gc.input("x", ("n", 12))
    parts = {
        "x[:, 2:5]": True, "x[:, 9:12]": True, "x[1:, 3:6]": True, "x[::2, 0:3]": True,
        "x[:, 5:2:-1]": False, "x[:, 0:6:2]": False,
    }  # fmt: skip
    given = np.random.default_rng(0).uniform(1, 2, (37, 12)).astype("float32")
    for part, is_abreast in parts.items():
        made = gc.compile([x], gc.sum(eval(part) ** 2, axis=1))
        np.testing.assert_allclose(made(given), np.sum(eval(part, {"x": given}) ** 2, axis=1), rtol=1e-6)
        assert ("deal_" in str(made.source)) == is_abreast, part
    both = gc.compile([x], gc.sum(x[:, 0:3] * x[:, 1:4], axis=1) + gc.max(x[:, 6:9], axis=1))
    wanted = np.sum(given[:, 0:3] * given[:, 1:4], axis=1) + given[:, 6:9].max(1)
    np.testing.assert_allclose(both(given), wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pairs(dtype: str) -> None:
    """Rows along two axes: distances of points from each other, with slopes, sums and columns."""
    q, w = gc.input("q", ("n", 3), dtype), gc.input("w", ("n",), dtype)
    d = q[:, None, :] - q[None, :, :]
    far = gc.sqrt(gc.sum(d * d, axis=2) + 1)
    near = d / far[:, :, None] * w[:, None, None]
    shares = gc.softmax(d * gc.tanh(far)[:, :, None], axis=2)
    slopes = gc.grad(gc.sum(far), [q])[0]
    made = gc.compile([q, w], (far, near, gc.sum(near, axis=(0, 1)), gc.sum(far), slopes, shares))
    assert f"deal_{'f4' if dtype == 'float32' else 'f8'}_3x{ROWS}(" in str(made.source)
    for n in (1, 3, ROWS, ROWS + 5, 70):
        x, y = (np.random.default_rng(n).uniform(1, 2, shape).astype(dtype) for shape in ((n, 3), (n,)))
        ds = x[:, None] - x[None]
        fars = np.sqrt((ds * ds).sum(2) + 1)
        nears = ds / fars[:, :, None] * y[:, None, None]
        parts = _softmax(np, (ds * np.tanh(fars)[:, :, None]).reshape(n * n, 3)).reshape(n, n, 3)
        wanted = fars, nears, nears.sum((0, 1)), fars.sum(), 2 * (ds / fars[:, :, None]).sum(1), parts
        eps = float(np.finfo(dtype).eps)
        for a, b in zip(made(x, y), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=100 * eps, atol=n * n * eps)


@pytest.mark.parametrize("columns", [4, 5])
def test_folds_before_a_log_sum_exp(columns: int) -> None:
    """What a row has come to waits while vector math is made."""
    x = gc.input("x", ("n", columns), gc.float64)
    total, top = gc.sum(x, axis=1, keepdims=True), gc.max(x, axis=1)
    made = gc.compile([x], (gc.logsumexp(x * total, axis=1) + top, gc.logsumexp(x, axis=1) * total[:, 0], total))
    assert ("deal_" in str(made.source)) == (columns * 8 <= MOST_BYTES[host_vector_bytes()][0])
    given = np.random.default_rng(0).normal(size=(21, columns))
    sums = given.sum(1, keepdims=True)
    lse = np.logaddexp.reduce
    wanted = lse(given * sums, axis=1) + given.max(1), lse(given, axis=1) * sums[:, 0], sums
    for a, b in zip(made(given), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_log_sum_exp_that_other_rows_have_made() -> None:
    """It is loaded like any number of a row, and not made again: rows of y are other ones than those of x."""
    x, y = gc.input("x", (20, 5)), gc.input("y", (3, 20, 5))
    output = gc.sum(y * x, axis=-1) - gc.logsumexp(x, axis=-1)
    rng = np.random.default_rng(0)
    given = rng.normal(size=(20, 5)), rng.normal(size=(3, 20, 5))
    wanted = (given[1] * given[0]).sum(-1) - np.log(np.exp(given[0]).sum(-1))
    for debug in (True, False):
        made = gc.compile([x, y], output, options=gc.Options(debug=debug))
        np.testing.assert_allclose(made(*given), wanted, rtol=1e-5)


def test_what_is_not() -> None:
    """Long rows, few of them, functions without vectors, more vector math than a kernel has bodies of, integers."""
    x, i = gc.input("x", ("n", 4)), gc.input("i", ("n", 4), gc.int32)
    several = gc.input("several", (3, 4))
    long = gc.input("long", ("n", LONGEST + 1))
    wide = gc.input("wide", ("n", MOST // 8 + 1), gc.float64)
    for given, made in (
        (long, gc.sum(gc.exp(long - gc.max(long, axis=1, keepdims=True)), axis=1)),
        (wide, gc.sum(wide * wide, axis=1)),
        (several, gc.sum(several * several, axis=1)),
        (x, gc.sum(gc.polygamma(2, x), axis=1)),
        (x, gc.sum(sum(gc.exp(x / k) for k in range(1, MATH + 2)), axis=1)),
        (i, gc.sum(i * i, axis=1)),
        (x, gc.argmax(x * x, axis=1)),
    ):
        assert "deal_" not in str(gc.compile([given], made).source)


def test_log_sum_exp_of_infinities() -> None:
    x = gc.input("x", ("n", 3), gc.float64)
    made = gc.compile([x], (gc.logsumexp(x, axis=1), gc.softmax(x, axis=1)))
    assert "deal_" in str(made.source)
    inf, nan = np.inf, np.nan
    given = np.array([[-inf, -inf, -inf], [inf, 0, 1], [inf, inf, -inf], [nan, 0, inf], [-inf, 2, -inf], [800, 801, 0]])
    found, shares = made(np.tile(given, (5, 1)))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found, np.logaddexp.reduce(np.tile(given, (5, 1)), axis=1), rtol=1e-15)
    np.testing.assert_allclose(shares[4:6], [[0, 1, 0], [1 / (1 + np.e), np.e / (1 + np.e), 0]], rtol=1e-15)


def test_gradients_of_a_mixture() -> None:
    """A likelihood of three components, and its slopes."""
    x, m, s = gc.input("x", ("n", 1), gc.float64), gc.parameter("m", np.arange(3.0)), gc.parameter("s", np.ones(3))
    loss = -gc.sum(gc.logsumexp(-0.5 * ((x - m) / s) ** 2 - gc.log(s), axis=1))
    made = gc.compile([x], (loss, *gc.grad(loss, [m, s])))
    assert f"for q in range({ROWS})" in str(made.source)
    given = np.random.default_rng(1).normal(1, 2, (333, 1))
    zs = -0.5 * (given - np.arange(3.0)) ** 2
    share = np.exp(zs - np.log(np.exp(zs).sum(1, keepdims=True)))
    value, slope_m, slope_s = made(given)
    np.testing.assert_allclose(value, -np.log(np.exp(zs).sum(1)).sum(), rtol=1e-12)
    np.testing.assert_allclose(slope_m, -(share * (given - np.arange(3.0))).sum(0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(slope_s, -(share * ((given - np.arange(3.0)) ** 2 - 1)).sum(0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("length", [2, 3, 8])
def test_rows_that_are_the_same_for_all_of_another_axis(dtype: str, known: bool, length: int) -> None:
    """Bands are around the loop over the other axis: distances of pairs, whole rows, totals and gradients of these."""
    for n, m in ((1, 4), (3, 15), (8, 8), (16, 16), (17, 17), (2, 33), (40, 50)):
        rng = np.random.default_rng(n)
        a, b = rng.normal(size=(n, length)).astype(dtype), rng.normal(size=(m, length)).astype(dtype)
        x, y = (gc.input(k, (v.shape[0] if known else k + "n", length), dtype) for k, v in (("x", a), ("y", b)))
        apart = x[:, None] - y
        squares = gc.sum(apart**2, axis=-1)
        twice = gc.sum((gc.stack([x, x * 2])[:, :, None] - y) ** 2, axis=-1)
        near = gc.sum(gc.exp(-squares))
        chosen = gc.input("c", squares.shape, "int32")
        some = gc.where(chosen == 1, gc.sqrt(squares), chosen.astype(dtype))
        upper = gc.triu(1.0 / (squares + 1.0), k=1)
        outputs = (squares, gc.softmax(apart, axis=-1), near, gc.grad(near, y), twice, some, upper, gc.sum(upper))
        d = a[:, None].astype(float) - b
        close, e = np.exp(-(d**2).sum(-1)), np.exp(d - d.max(-1, keepdims=True))
        many = ((np.stack([a, a * 2])[:, :, None].astype(float) - b) ** 2).sum(-1)
        c = rng.integers(-1, 3, (n, m)).astype(np.int32)
        part, above = np.where(c == 1, np.sqrt((d**2).sum(-1)), c), np.triu(1 / ((d**2).sum(-1) + 1), k=1)
        slope = 2 * (close[..., None] * d).sum(0)
        shares = e / e.sum(-1, keepdims=True)
        wanted = ((d**2).sum(-1), shares, close.sum(), slope, many, part, above, above.sum())
        for threads in (1, 2):
            found = gc.compile([x, y, chosen], outputs, options=gc.Options(threads=threads))(a, b, c)
            for actual, expected in zip(found, wanted, strict=True):
                limit = 3e-5 if dtype == "float32" else 1e-12
                np.testing.assert_allclose(actual, expected, rtol=limit, atol=limit)


def test_what_rows_read_is_copied_once_for_all_of_another_axis() -> None:
    p = gc.input("p", (200, 3), "float32")
    source = gc.compile([p], gc.sum((p[:, None] - p) ** 2, axis=-1)).source
    assert source.index("for h in") < source.index("deal_f4") < source.index("for i0 in")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(10, 10), (10, 8), (8, 10), (4, 4), ("n", 8), (5, 8, 8), (8, 5, 8), (8, 8, 8)])
def test_what_elements_have_by_themselves(shape: tuple[Any, ...], dtype: str) -> None:
    """Whole numbers of columns, of rows and of both, where there are as many of one as of the other, too."""
    rng, known = np.random.default_rng(0), tuple(8 if d == "n" else d for d in shape)
    a = rng.normal(size=known).astype(dtype)
    c, r = rng.integers(0, 3, known[-1]).astype(np.int32), rng.integers(0, 3, (*known[:-1], 1)).astype(np.int32)
    x, by_column = gc.input("x", shape, dtype), gc.input("c", (shape[-1],), "int32")
    by_row, rows = gc.input("r", (*shape[:-1], 1), "int32"), gc.arange(x.shape[-2])[:, None]
    counts, at = gc.arange(known[-1]), np.arange(known[-2])[:, None]
    limit = 1e-4 if dtype == "float32" else 1e-10

    def both(gc: Any, x: Any, c: Any, r: Any, counts: Any, rows: Any) -> tuple[Any, ...]:
        return (
            gc.sum(gc.where(c == 1, gc.tanh(x), 0.0), axis=-1),
            gc.sum(gc.where((c == 1) & (r > 0), x, 0.0), axis=-1),
            gc.sum(gc.where(counts > r, x * x, 0.0), axis=-1),
            gc.sum(gc.where(counts > rows, x * x, 0.0), axis=-1),
            gc.max(gc.where(rows == 2, -x, x), axis=-1),
        )

    found = gc.compile([x, by_column, by_row], both(gc, x, by_column, by_row, counts, rows))(a, c, r)
    for actual, expected in zip(found, both(np, a, c, r, np.arange(known[-1]), at), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=limit, atol=limit)
    y = gc.softmax(x * by_column.astype(dtype), axis=-1)
    shares = np.exp(a * c) / np.exp(a * c).sum(-1, keepdims=True)
    np.testing.assert_allclose(gc.compile([x, by_column], y)(a, c), shares, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [4, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 2])
def test_what_rows_have_side_by_side(rows: int, dtype: str) -> None:
    """Numbers, truths and counts of a whole band are read as vectors, those of a last one singly; truths are joined."""
    rng = np.random.default_rng(rows)
    x, w = rng.normal(size=(rows, 4)).astype(dtype), rng.normal(size=(3, rows)).astype(dtype)
    keep, count = rng.random((3, rows)) < 0.5, rng.integers(0, 4, rows).astype("int8")
    given = [gc.input(n, a.shape, a.dtype) for n, a in zip("xwkc", (x, w, keep, count), strict=True)]

    def made(f: Any, x: Any, w: Any, keep: Any, count: Any) -> list[Any]:
        total = f.sum(x * f.sin(x), axis=1)
        some = (keep | (count == 2)) & ~(total > w)
        return [some, f.where(some, total * w, f.sign(total)), f.where(count > 1, total, f.arctan(total) + w[1, ::-1])]

    f = gc.compile(given, made(_Named(), *given))
    assert f"if count == {ROWS}" in str(f.source)
    for a, b in zip(f(x, w, keep, count), made(np, x, w, keep, count), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6)


def test_rows_that_differ_by_their_place_alone() -> None:
    """Zeros before ones are read from no array."""
    x = gc.input("x", (20, 2))
    slopes = gc.grad(gc.sum(x[3:]), x)
    given = np.random.default_rng(0).normal(size=(20, 2))
    wanted = np.repeat([0.0, 1.0], [3, 17])
    np.testing.assert_array_equal(gc.compile([x], gc.min(slopes, axis=1))(given), wanted)
    made = gc.compile([x], gc.sum(x * slopes, axis=1))
    np.testing.assert_allclose(made(given), given.sum(1) * wanted)


@pytest.mark.parametrize("rows", [4, ROWS - 1, ROWS, 2 * ROWS + 1])
def test_what_rows_come_to_in_another_dtype(rows: int) -> None:
    """Float32 rows beside whole numbers and float64 are float64, as NumPy's; elements stay what they are."""
    rng = np.random.default_rng(rows)
    x, e = rng.normal(size=(rows, 3)).astype("float32"), rng.normal(size=(rows, rows))
    count = rng.integers(0, 5, rows).astype("int32")
    given = [gc.input(n, a.shape, a.dtype) for n, a in zip("xec", (x, e, count), strict=True)]

    def made(f: Any, x: Any, e: Any, count: Any) -> list[Any]:
        total, apart = f.sum(x * x, axis=1), f.sum((x[:, None] - x) ** 2, axis=2)
        mixed = f.exp(-total) * count + (total > 1)
        return [
            mixed,
            f.sum(mixed),
            total,
            apart * e,
            f.sum(1 / (apart + f.abs(e))),
            mixed.astype("float32")[:, None] * x,
        ]

    f = gc.compile(given, made(gc, *given))
    assert f"deal_f4_3x{ROWS}(" in str(f.source)
    for a, b in zip(f(x, e, count), made(np, x, e, count), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def test_rows_of_an_array_without_elements() -> None:
    x = gc.input("x", (7, 7, 0, "n", 4), "float32")
    f = gc.compile([x], gc.vmap(gc.trace, in_axes=3)(x))
    assert f(np.zeros((7, 7, 0, 3, 4), "float32")).shape == (3, 0, 4)


class _Named:
    """graphc by NumPy's names."""

    def __getattr__(self, name: str) -> Any:
        return getattr(gc, {"arctan": "atan"}.get(name, name))
