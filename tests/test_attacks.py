"""The smallest programs that once gave wrong results or failed inside, each compared with NumPy."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics.routine import KernelModule
from graphc.graph import Graph
from graphc.interpret import interpret
from graphc.runtime.frontend import lower

RNG = np.random.default_rng(7)


def real(*shape: int) -> Any:
    return RNG.uniform(0.5, 2.0, shape)


def check(nodes: Any, inputs: dict[Any, Any], *expected: Any) -> None:
    """Compiled `nodes` at the inputs' values, against the expected values; memory that is not written is seen."""
    nodes = nodes if isinstance(nodes, tuple) else (nodes,)
    f = gc.compile(list(inputs), nodes)
    got = f(*inputs.values())
    assert len(got) == len(expected)
    marked = tuple(np.full(v.shape, np.nan if v.dtype.kind == "f" else 99).astype(v.dtype) for v in got)
    for values in (got, f(*inputs.values(), out=marked)):
        for value, wanted in zip(values, expected, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-12)


# One value read under a condition and without one.


def test_gradients_of_overlapping_slices() -> None:
    x = gc.input("x", (4, 3))
    wanted = np.ones((4, 3)) + (np.arange(4) >= 1)[:, None]
    check(gc.grad(gc.sum(x) + gc.sum(x[1:]), x), {x: real(4, 3)}, wanted)
    check(gc.grad(gc.sum(x[1:]) + gc.sum(x), x), {x: real(4, 3)}, wanted)


def test_gradient_of_overlapping_scaled_slices() -> None:
    x, s, v = gc.input("x", (4, 3)), gc.input("s", ()), real(4, 3)
    y = gc.sum(x * s) + gc.sum(x[2:] * s)
    check(gc.grad(y, (x, s)), {x: v, s: 3.0}, 3.0 * (1.0 + (np.arange(4) >= 2)[:, None] * np.ones((4, 3))),
          v.sum() + v[2:].sum())  # fmt: skip


def test_a_scalar_padded_and_not() -> None:
    s = gc.input("s", ())
    wanted = np.full((4, 4), 3.0) + np.pad(np.full((2, 2), 3.0), 1)
    check(gc.pad(gc.broadcast_to(s, (2, 2)), 1) + s, {s: 3.0}, wanted)
    check(s + gc.pad(gc.broadcast_to(s, (2, 2)), 1), {s: 3.0}, wanted)


def test_a_broadcast_cotangent_flipped_and_not() -> None:
    x, c = gc.input("x", (3, 2)), gc.input("c", (2,))
    spread = gc.broadcast_to(c, (3, 2))
    check(gc.vjp(gc.flip(x), x, spread) + spread, {x: real(3, 2), c: [1.0, 5.0]}, np.full((3, 2), 6.0))
    s = gc.input("s", ())
    spread = gc.broadcast_to(s, (3, 2))
    check(gc.vjp(x[::-2], x, gc.broadcast_to(s, (2, 2))) + spread, {x: real(3, 2), s: 2.0}, [[4, 4], [2, 2], [4, 4]])


# Sums over separated axes, and sums that go to two places.


@pytest.mark.parametrize("shape", [(64, 8, 8, 64), (300, 3, 5, 40), (2000, 2, 3, 7), (3, 2, 3, 2)])
def test_sums_over_separated_axes(shape: tuple[int, ...]) -> None:
    x, v = gc.input("x", shape), real(*shape)
    check((gc.sum(x, axis=(0, 2)), gc.max(x, axis=(0, 2))), {x: v}, v.sum((0, 2)), v.max((0, 2)))
    check((gc.sum(x, axis=(0, 3)), gc.sum(x, axis=(1, 3))), {x: v}, v.sum((0, 3)), v.sum((1, 3)))


def test_sums_over_separated_axes_of_symbolic_sizes() -> None:
    x, v = gc.input("x", ("n", 3, 5, "m")), real(700, 3, 5, 40)
    check((gc.sum(x, axis=(0, 2)), gc.sum(x * x, axis=(1, 2))), {x: v}, v.sum((0, 2)), (v * v).sum((1, 2)))
    x, v = gc.input("x", ("a", "b", 2, 3, 7)), real(90, 5, 2, 3, 7)
    check(gc.sum(x, axis=(1, 3)), {x: v}, v.sum((1, 3)))


def test_an_expensive_value_kept_for_a_second_sweep_over_separated_axes() -> None:
    x, v = gc.input("x", (9, 13, 50, 60)), real(9, 13, 50, 60)
    check(gc.std(gc.tanh(x), axis=(0, 1, 3)), {x: v}, np.tanh(v).std((0, 1, 3)))


def test_a_batched_column_sum_with_two_places() -> None:
    x, p, v = gc.input("x", (3, 5, 7)), gc.parameter("p", np.zeros((3, 7))), real(3, 5, 7)
    s = gc.sum(x, axis=1)
    check((s, s, s), {x: v}, *[v.sum(1)] * 3)
    np.testing.assert_allclose(gc.compile([x], s, updates={p: s})(v), v.sum(1))
    np.testing.assert_allclose(p.value, v.sum(1))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["sum", "max", "prod", "argmax"])
def test_an_update_by_a_reduction_that_is_no_output(name: str, axis: int) -> None:
    x, v = gc.input("x", (4, 3)), real(4, 3)
    node = getattr(gc, name)(x, axis=axis)
    p = gc.parameter("p", np.zeros(node.shape, node.dtype.numpy))
    gc.compile([x], gc.sum(x), updates={p: node})(v)
    np.testing.assert_allclose(p.value, getattr(np, name)(v, axis=axis))


# Contractions of length 0 and 1.


@pytest.mark.parametrize("sizes", [(2, 0, 3, 4), (2, 3, 0, 4), (2, 0, 0, 4), (0, 2, 3, 4), (2, 3, 4, 0), (1, 1, 1, 1)])
def test_einsum_with_two_summed_labels_of_any_length(sizes: tuple[int, ...]) -> None:
    i, j, k, n = sizes
    a, b = real(i, j, k), real(n, k, j)
    x, y = gc.input("x", a.shape), gc.input("y", b.shape)
    check(gc.einsum("ijk,lkj->il", x, y), {x: a, y: b}, np.einsum("ijk,lkj->il", a, b))
    x, y = gc.input("x", ("i", "j", "k")), gc.input("y", ("l", "k", "j"))
    check(gc.einsum("ijk,lkj->il", x, y), {x: a, y: b}, np.einsum("ijk,lkj->il", a, b))


@pytest.mark.parametrize("k", [0, 1, 2])
def test_einsum_whose_last_label_is_short(k: int) -> None:
    a, b = real(3, 4), real(4, 5, k)
    x, y = gc.input("x", a.shape), gc.input("y", b.shape)
    check(gc.einsum("ia,ajk->jik", x, y), {x: a, y: b}, np.einsum("ia,ajk->jik", a, b))
    check(gc.einsum("ia,ajk->kji", x, y), {x: a, y: b}, np.einsum("ia,ajk->kji", a, b))


# Comparisons that LLVM may not fold away.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_of_absolute_values(dtype: str) -> None:
    x, v = gc.input("x", (40,), dtype), np.linspace(-2, 2, 40).astype(dtype)
    absolute = np.abs(v)
    check((gc.maximum(0, gc.abs(x)), gc.relu(gc.abs(x)), gc.minimum(0, -gc.abs(x)), gc.maximum(gc.abs(x), 1)), {x: v},
          absolute, absolute, -absolute, np.maximum(absolute, 1))  # fmt: skip
    check((gc.clip(gc.abs(x), 0, 1), gc.where(gc.abs(x) > 0, x, 7), gc.sign(gc.abs(x)), gc.abs(x) >= 0), {x: v},
          np.clip(absolute, 0, 1), v, np.sign(absolute), absolute >= 0)  # fmt: skip
    check((gc.where(gc.abs(x) < 0, 1, x), gc.maximum(0, gc.sqrt(gc.abs(x)))), {x: v}, v, np.sqrt(absolute))


@pytest.mark.parametrize("inner", [lambda x: x, abs, lambda x: -x, lambda x: -abs(x)])
@pytest.mark.parametrize("bound", [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_extreme_beside_a_constant(dtype: str, bound: float, inner: Callable[[Any], Any]) -> None:
    """Alone: LLVM takes other comparisons together with it.  Of two zeros the positive one is greater."""
    values = [0.0, 1.0, 2.0, 5.0, 1e-45, np.inf]
    v = np.array([*values, *(-x for x in values), np.nan] * 3, dtype)
    y, c, x = inner(v), np.array(bound, dtype), gc.input("x", v.shape, dtype)
    zeros = (y == 0) & (c == 0)
    for ours, theirs, meet in ((gc.maximum, np.maximum, np.logical_and), (gc.minimum, np.minimum, np.logical_or)):
        got = gc.compile([x], ours(inner(x), c))(v)
        want = np.where(zeros, np.where(meet(np.signbit(y), np.signbit(c)), -0.0, 0.0), theirs(y, c))
        numbers = ~np.isnan(want)
        assert np.array_equal(got, want, equal_nan=True)
        assert np.array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))


_CONTRACT = """
def kernel(T, s, chunk):
    for i in range(chunk):
        x = ld_f8_1_0(T, i)
        y = ld_f8_1_1(s, i)
        st_f8_1_2(T, i + chunk, fmax(x * y + x, select(x < y, sqrt(y), -x)) - x / y)
"""


def test_contract_stands_on_sums_and_products_alone() -> None:
    """Where it stands on a comparison, LLVM may hand it on to a choice, and take max(0, |x|) for max(0, x)."""
    module = KernelModule()
    lower(_CONTRACT, "kernel", module)
    flagged = {m[1] for m in re.finditer(r"= (?:tail )?(\w+) contract ", str(module))}
    assert {"fadd", "fmul"} <= flagged <= {"fadd", "fmul", "fsub", "fneg"}


# Dimensions as numbers.


def test_a_dimension_times_a_float() -> None:
    x, s = gc.input("x", ("n",)), gc.input("s", ())
    n = x.shape[0]
    cases = (
        -0.5 * n * gc.log(s),
        1.5 * n * s,
        (n + 0.5) * s,
        n * s,
        s * n,
        s + n,
        n - s,
        s / n,
        n / s,
        n**s,
        n / 4 * s,
    )
    for size in (0, 1, 7):
        r = float(size)
        with np.errstate(all="ignore"):
            wanted = (-0.5 * r * np.log(3.0), 4.5 * r, (r + 0.5) * 3, r * 3, r * 3, r + 3, r - 3, 3 / np.float64(r),
                      r / 3, r**3.0, r / 4 * 3)  # fmt: skip
        check(cases, {x: np.zeros(size), s: 3.0}, *wanted)


def test_integer_arithmetic_of_dimensions_stays_a_dimension() -> None:
    n = gc.input("x", ("n",)).shape[0]
    for d in (n + 1, 2 * n, n - 3, n // 2, n % 3, n * n, -n, 3 - n, np.int64(2) * n, n + np.int32(1)):
        assert str(gc.input("y", (d,)).shape[0]) == str(d)
        assert not isinstance(d, type(gc.constant(0)))


# Constants filled by broadcasting, where arrays are expected.


def test_gradients_of_a_sum_of_a_product() -> None:
    x, u, a, b = gc.input("x", (3, 4)), gc.input("u", (4, 5)), real(3, 4), real(4, 5)
    one = np.ones((3, 5))
    check(gc.grad(gc.sum(x @ u), (x, u)), {x: a, u: b}, one @ b.T, a.T @ one)


def test_a_filled_constant_in_a_product_a_gather_and_a_scatter() -> None:
    u, i, b = gc.input("u", (4, 5)), gc.input("i", (3,), "int64"), real(4, 5)
    check((gc.zeros((3, 4)) @ u, u @ gc.ones((5, 2)), gc.ones((3, 4)) @ gc.ones((4, 2))), {u: b},
          np.zeros((3, 5)), b @ np.ones((5, 2)), np.full((3, 2), 4.0))  # fmt: skip
    at = np.array([0, 4, 4])
    check(gc.take(gc.ones((5,)), i), {i: at}, np.ones(3))
    check(gc.take(u, gc.zeros((3,), dtype="int64"), axis=1), {u: b}, b[:, [0, 0, 0]])
    x = gc.input("x", (5,))
    check(gc.grad(gc.sum(gc.take(x, i)), x), {x: real(5), i: at}, [1.0, 0, 0, 0, 2.0])


# Valid programs that failed inside.


def test_rules_keep_the_names_of_symbols() -> None:
    x, y, c = gc.input("x", ("n",)), gc.input("y", ("m",)), gc.input("c", ("m",), "bool")
    a, b, t = real(3), real(3), np.array([True, False, True])
    check((-x + y, y + -x, x - -y, -x * y, x * -y, -x * -y, x / -y), {x: a, y: b}, b - a, b - a, a + b, -a * b, -a * b,
          a * b, -a / b)  # fmt: skip
    check((gc.where(gc.logical_not(c), x, y), gc.where(c, gc.where(c, x, 0), y)), {x: a, y: b, c: t},
          np.where(t, b, a), np.where(t, a, b))  # fmt: skip
    check((x * gc.ones(("m",)), gc.where(c, x, x)), {x: a, y: b, c: t}, a, a)


def test_take_along_axis_of_padded_and_joined_values() -> None:
    x, i, a = gc.input("x", (3, 4)), gc.input("i", (3, 2), "int64"), real(3, 4)
    at = np.array([[0, 5], [2, 1], [-1, 3]])
    check(gc.take_along_axis(gc.pad(x, 1)[1:4], i, 1), {x: a, i: at}, np.take_along_axis(np.pad(a, 1)[1:4], at, 1))
    joined = np.concatenate([a, a[:, :2]], 1)
    check(gc.take_along_axis(gc.concat([x, x[:, :2]], axis=1), i, 1), {x: a, i: at}, np.take_along_axis(joined, at, 1))


def test_a_dimension_that_no_input_has_is_told_at_the_users_line() -> None:
    q = gc.input("q", (3,))
    with pytest.raises(gc.DeclarationError, match=r"no input has the dimension 'n'(.|\n)*test_attacks"):
        gc.compile([q], (gc.zeros(("n",)), q))


# Long chains.


def test_a_chain_of_hundreds() -> None:
    z = gc.input("z", ())
    y, wanted = z, 0.3
    for _ in range(400):
        y, wanted = gc.sin(y) + 0.1, np.sin(wanted) + 0.1
    check(y, {z: 0.3}, wanted)


def test_a_recurrence_whose_steps_read_the_last_twice() -> None:
    z = gc.input("z", (3,))
    v = np.array([0.1, 0.2, 0.3])
    y, wanted = z, v
    for _ in range(40):
        y, wanted = 3.2 * y * (1 - y), 3.2 * wanted * (1 - wanted)
    check(y, {z: v}, wanted)
    y = z
    for _ in range(40):
        y = y + y
    check(y, {z: v}, v * 2.0**40)


# Guards.


def test_guards_hold_where_they_are_summed_or_squared() -> None:
    x, v = gc.input("x", ("n",)), np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    with np.errstate(all="ignore"):
        inverse = np.where(v > 0, 1 / v, 0)
    two = gc.where(x > 0, gc.log(x), 0) + gc.where(x > 1, gc.log(x), 0)
    check(gc.grad(gc.sum(two), x), {x: v}, inverse + np.where(v > 1, inverse, 0))
    check(gc.grad(gc.sum(gc.where(x > 0, gc.sqrt(x), 0) ** 2), x), {x: v}, (v > 0) * 1.0)
    check(gc.grad(gc.sum(two * two), x), {x: v},
          2 * np.where(v > 0, np.log(np.where(v > 0, v, 1)), 0) * inverse * (1 + (v > 1)) ** 2)  # fmt: skip


# Rules in every dtype; signs of zero.


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int64"])
def test_the_absolute_value_of_a_negated_integer(dtype: str) -> None:
    x, v = gc.input("x", (4,), dtype), np.array([0, 1, 2, 100]).astype(dtype)
    check((gc.abs(-x), gc.abs(gc.abs(x)), gc.sign(-x)), {x: v}, np.abs(-v), np.abs(v), np.sign(-v))


_ZEROS = np.array([0.0, -0.0, 0.0, -0.0, 1.0, -1.0, np.nan])


def same_bits(got: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_greater_of_two_zeros_is_the_positive_one(dtype: str) -> None:
    a, b = (v.ravel().astype(dtype) for v in np.meshgrid(_ZEROS, _ZEROS))
    zeros = (a == 0) & (b == 0)
    great, small = (np.where(zeros, z, f(a, b)) for f, z in ((np.maximum, a + b), (np.minimum, -(-a + -b))))
    x, y = gc.input("x", ("n",), dtype), gc.input("y", ("n",), dtype)
    f = gc.compile([x, y], (gc.maximum(x, y), gc.maximum(y, x), gc.minimum(x, y), gc.minimum(y, x)))
    for size in (len(a), 1, 7):  # vectors, and what is left of one
        for got, wanted in zip(f(a[:size], b[:size]), (great, great, small, small), strict=True):
            same_bits(got, wanted[:size])
    for c in (0.0, -0.0, 1.0):
        one = np.full(_ZEROS.shape, c)
        zeros = (_ZEROS == 0) & (c == 0)
        great = np.where(zeros, _ZEROS + one, np.maximum(_ZEROS, one))
        small = np.where(zeros, -(-_ZEROS + -one), np.minimum(_ZEROS, one))
        nodes = (gc.maximum(x, c), gc.maximum(c, x), gc.minimum(x, c), gc.minimum(c, x))
        for got, wanted in zip(gc.compile([x], nodes)(_ZEROS.astype(dtype)), (great, great, small, small), strict=True):
            same_bits(got, wanted)
        for got, wanted in zip(
            interpret(Graph(nodes, (x,)), [_ZEROS.astype(dtype)]), (great, great, small, small), strict=True
        ):
            same_bits(got, wanted)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_extremes_of_zeros_of_both_signs(axis: int | None) -> None:
    v = np.full((40, 40), -0.0)
    v[3:, 17] = v[20, ::3] = 0.0
    x = gc.input("x", ("n", "m"))
    nodes = (gc.max(x, axis=axis), gc.min(x, axis=axis), gc.max(-x, axis=axis))
    positive, negative = ~np.signbit(v), np.signbit(v)
    wanted = (
        np.where(positive.any(axis), 0.0, -0.0),
        np.where(negative.any(axis), -0.0, 0.0),
        np.where(negative.any(axis), 0.0, -0.0),
    )
    for got, expected in zip(gc.compile([x], nodes)(v), wanted, strict=True):
        same_bits(got, expected)
    for got, expected in zip(interpret(Graph(nodes, (x,)), [v]), wanted, strict=True):
        same_bits(got, expected)


# Length 0.


def test_a_constraint_is_checked_at_length_0() -> None:
    x, y = gc.input("x", ("m", "n")), gc.input("y", ("k", "p"))
    f = gc.compile([x, y], x @ y)
    with pytest.raises(gc.InputError, match="n == k must hold"):
        f(np.zeros((0, 3)), np.zeros((2, 0)))
    g = gc.compile([x], gc.reshape(x, (5,)))
    with pytest.raises(gc.InputError):
        g(np.zeros((0, 5)))


def test_a_position_does_not_lie_on_an_axis_of_length_0() -> None:
    x, i = gc.input("x", ("n", "m")), gc.input("i", ("k",), "int64")
    f = gc.compile([x, i], gc.take(x, i, axis=0))
    assert f(np.zeros((0, 3)), np.zeros(0, int)).shape == (0, 3)
    total = gc.compile([x, i], gc.sum(gc.take(x, i, axis=0), axis=1))
    assert f(np.zeros((2, 0)), [1, -2]).shape == (2, 0)
    for shape in ((0, 3), (0, 0), (2, 0)):
        for g in (f, total):
            with pytest.raises(gc.InputError, match="position 5 does not lie on axis 0"):
                g(np.zeros(shape), [5])


def test_nothing_is_added_at_a_position_on_an_axis_of_length_0() -> None:
    x, i = gc.input("x", ("n",)), gc.input("i", ("k",), "int64")
    f = gc.compile([x, i], gc.grad(gc.sum(gc.take(gc.flip(x), i)), x))
    assert f(np.zeros(0), np.zeros(0, int)).shape == (0,)
    for at in (0, -1, 5):
        with pytest.raises(gc.InputError):
            f(np.zeros(0), [at])
    x = gc.input("x", ("n", "m"))
    f = gc.compile([x, i], gc.grad(gc.sum(gc.take(x, i, axis=0) ** 2), x))
    with pytest.raises(gc.InputError):
        f(np.zeros((3, 0)), [3])


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
def test_integers_wrap_and_nothing_is_concluded_from_their_not_doing_so(dtype: str) -> None:
    limits = np.iinfo(dtype)
    v = np.array([limits.min, limits.min + 1, 0, 1, limits.max // 2 + 1, limits.max], dtype)
    k = gc.input("k", ("n",), dtype)
    one = v.dtype.type(1)
    with np.errstate(all="ignore"):
        square = v * v
        wanted = (v + one > v, v - one < v, square, np.where(square == 0, 0, v % np.where(square == 0, 1, square)),
                  v.sum(dtype=v.dtype), np.where(v == 0, one, -v))  # fmt: skip
    nodes = (k + 1 > k, k - 1 < k, k * k, gc.remainder(k, gc.square(k)), gc.astype(gc.sum(k), dtype),
             gc.where(k == 0, 1, -k))  # fmt: skip
    for got, expected in zip(gc.compile([k], nodes)(v), wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


# The user's line.


def test_a_failure_names_the_users_line() -> None:
    x, i = gc.input("x", (3,)), gc.input("i", (1,), "int64")
    y = gc.take(x * 1.0, i)  # this line
    line = sys._getframe().f_lineno - 1
    with pytest.raises(gc.InputError, match=rf"test_attacks\.py:{line}"):
        gc.compile([x, i], y)([1.0, 2.0, 3.0], [3])


# What a thread needs of its stack.


def test_many_sums_on_a_small_stack() -> None:
    x = gc.input("x", ("n", 64))
    f = gc.compile([x], tuple(gc.sum(gc.tanh(x * (k + 1.0))) for k in range(64)))
    v, found = RNG.uniform(-1, 1, (100, 64)), []
    size = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.append(f(v)))
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    np.testing.assert_allclose(found[0], [np.tanh(v * (k + 1.0)).sum() for k in range(64)])


def test_nothing_is_loaded_before_a_loop_that_does_not_run() -> None:
    """A slice from the end of an axis has no element, and the first that it would have lies outside of the array."""
    x = gc.input("x", (1, 1, 1, 1))
    y = gc.max(gc.minimum(x[:, ::-1, :-1, 1:], -0.5), axis=-3)
    for debug in (False, True):
        assert gc.compile([x], y, options=gc.Options(debug=debug))(np.ones((1, 1, 1, 1))).shape == (1, 0, 0)
    (kernel,) = gc.compile([x], y).program.kernels
    assert kernel.index("for ") < kernel.index("ld_f8_1_0(p1, ")
