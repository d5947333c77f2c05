"""Short loops over rows are done as whole vectors, and so are the ends of others, however long the rows are."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics.routine import KernelModule
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.graph import Graph
from graphc.interpret import interpret
from graphc.runtime.backend import Backend, text_of
from graphc.runtime.frontend import lower
from graphc.runtime.short import WHOLE, lanes_of

LANES = host_vector_bytes() // 4  # of float32
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42, 88.5, -88.5, 1.0, -1.0, 0.5, 1e20, -2.75]

# An expression for every function that takes vectors.
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: partial(lambda f, x, y: f(x), getattr(gc, name)) for name in (
        "exp", "exp2", "expm1", "tanh", "sigmoid", "sinh", "cosh", "log", "log2", "log10", "log1p", "sqrt", "rsqrt",
        "erf", "erfc", "floor", "ceil", "trunc", "sign", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "asinh",
        "acosh", "atanh", "log1mexp", "logit", "erfcx", "ndtr", "log_ndtr", "erfinv", "ndtri", "i0e", "i1e", "gammaln",
        "digamma",
    )},
    **{name: getattr(gc, name) for name in (
        "atan2", "hypot", "xlogy", "xlog1py", "pow", "logaddexp", "betaln", "floor_divide", "remainder",
    )},
    "next_after": gc.nextafter,
    "to_f4": lambda x, y: x.astype("float64").astype("float32") + (x > y).astype("float32"),
    "to_f8": lambda x, y: x.astype("float64") + (x > y).astype("float64"),
    "rint": lambda x, y: gc.round(x),
    "fabs": lambda x, y: gc.abs(x),
    "fmax": lambda x, y: gc.maximum(x, y) + gc.maximum(0, x) + gc.maximum(x, -0.0),
    "fmin": lambda x, y: gc.minimum(x, y) + gc.minimum(0, x) + gc.minimum(x, -0.0),
    "copysign": lambda x, y: gc.copysign(x, y),
    "over": lambda x, y: x / gc.sum(gc.abs(y), axis=1, keepdims=True),
    "share": lambda x, y: gc.softmax(gc.minimum(x, 9)) * y,
    "whole_power": lambda x, y: x**5 + y**-4,
    "half_power": lambda x, y: x**2.5 + y**-0.5,
    "select": lambda x, y: gc.where(x >= y, x, -y),
    "isnan": lambda x, y: gc.where(gc.isnan(x), y, x),
    "isinf": lambda x, y: gc.where(gc.isinf(x), y, x),
    "isfinite": lambda x, y: gc.where(gc.isfinite(x), y, x),
}  # fmt: skip


def test_every_function_has_an_expression() -> None:
    assert set(FUNCTIONS) == WHOLE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_vectors_have_the_bits_of_other_loops(name: str, dtype: str) -> None:
    """Beside a fold of rows, in loops that are short and ragged, and long ones; special values in every lane."""
    expression = FUNCTIONS[name]

    def values(length: int) -> Any:
        x, y = (gc.input(n, ("n", length), dtype) for n in "xy")
        z = expression(x, y)
        return gc.compile([x, y], (z, gc.max(z, axis=1)))

    rng = np.random.default_rng(3)
    for length in (3, 10, LANES, LANES + 5, 2 * LANES, 3 * LANES + 1, 9 * LANES + 3):
        a, b = (rng.normal(size=(len(SPECIAL), length)).astype(dtype) for _ in range(2))
        a[np.arange(len(SPECIAL)), np.arange(len(SPECIAL)) % length] = SPECIAL
        a[1:, -1] = SPECIAL[:-1]
        short = values(length)(a, b)[0]
        if name == "over":
            a = a / np.abs(b).sum(1, keepdims=True, dtype=dtype)
            np.testing.assert_allclose(short, a, rtol=1e-6 if dtype == "float32" else 1e-14, atol=1e-43)  # subnormal
            continue
        if name == "share":
            e = np.exp(np.minimum(a, 9) - np.minimum(a, 9).max(1, keepdims=True))
            expected = e / e.sum(1, keepdims=True) * b
            rtol, atol = (1e-6, 1e-36) if dtype == "float32" else (1e-14, 0)
            np.testing.assert_allclose(short, expected, rtol=rtol, atol=atol)
            continue
        whole = np.zeros((2, len(SPECIAL), 300), dtype)
        whole[0, :, :length], whole[1, :, :length] = a, b
        np.testing.assert_array_equal(short, values(300)(*whole)[0][:, :length])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [2, 3, 5, 7, 8, 10, 15, 16, 17, 31, 32, 33, 50, 63, 64, 100, 127, 129, 200])
def test_softmax_and_friends(columns: int, dtype: str) -> None:
    """Several sweeps, sums of columns beside those of rows, what is stored and read again."""
    x, w = (gc.input(n, ("n", columns), dtype) for n in "xw")
    b = gc.input("b", (columns,), dtype)
    y, z, t = gc.softmax(x + b), gc.log_softmax(x * b), gc.tanh(x) * gc.erf(w)
    outputs = (y, z, t, *(gc.grad(gc.sum(f * w), [x, b, w]) for f in (y, z, t)), gc.where(x > b, x, w), gc.relu(x + b))
    outputs = tuple(leaf for part in outputs for leaf in (part if isinstance(part, list) else [part]))
    function, bound = gc.compile([x, w, b], outputs), 2e-5 if dtype == "float32" else 1e-13
    rng = np.random.default_rng(1)
    for rows in (1, 2, 9):
        arrays = [rng.normal(size=s).astype(dtype) for s in ((rows, columns), (rows, columns), (columns,))]
        found, wanted = function(*arrays), interpret(Graph(outputs, (x, w, b)), arrays)
        for have, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(have, want, rtol=bound, atol=bound)


def test_parameters_change_in_place() -> None:
    p, x = gc.parameter("p", np.arange(7.0)), gc.input("x", (5, 7))
    step = gc.compile([x], gc.sum(gc.exp(x), axis=1), updates={p: 2 * p - gc.sum(x * x, axis=0)})
    a, value = np.random.default_rng(0).normal(size=(5, 7)), np.arange(7.0)
    for _ in range(3):
        np.testing.assert_allclose(step(a), np.exp(a).sum(1), rtol=1e-13)
        value = 2 * value - (a * a).sum(0)
        np.testing.assert_allclose(p.value, value, rtol=1e-12)


WHOLE_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "themselves": lambda f, k: k, "largest": lambda f, k: f.maximum(k, 2), "sizes": lambda f, k: f.abs(k),
    "squares": lambda f, k: k * k, "rests": lambda f, k: k % 3, "choices": lambda f, k: f.where(k > 2, k, 1),
    "others": lambda f, k: k[:, ::-1], "found": lambda f, k: f.take_along_axis(k, (k % 2).astype("int64"), axis=1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64", "bool"])
def test_choices_by_whole_numbers_and_truths(dtype: str) -> None:
    """What loops load beside floats is compared in vectors; what computes with it, or finds places by it, is not."""
    rng = np.random.default_rng(0)
    for columns in (3, 10, 8 * LANES + 3):
        x, k = rng.normal(size=(5, columns)).astype("float32"), rng.integers(0, 6, (5, columns)).astype(dtype)
        given = gc.input("x", x.shape, gc.float32), gc.input("k", k.shape, dtype)
        programs = list(WHOLE_NUMBERS.values()) if dtype != "bool" else [WHOLE_NUMBERS["themselves"]]

        def made(f: Any, x: Any, k: Any, programs: Any = programs) -> list[Any]:
            tests = [program(f, k) for program in programs]
            return [f.where(t if dtype == "bool" else t > 1, x - f.max(x, axis=1, keepdims=True), -x) for t in tests]

        for a, b in zip(gc.compile(given, made(gc, *given))(x, k), made(np, x, k), strict=True):
            np.testing.assert_array_equal(a, b)


KERNEL = """
def kernel(T, s, chunk, worker):
    wide()
    p0 = word(T, 0)
    p1 = word(T, 1)
    r0 = stack_0()
    for i in range({count}):
        {body}
"""
BODIES = {  # and whether they are done as vectors
    "st_f4_1_1(p1, i, ld_f4_1_0(p0, i) + ld_f4_1_0(p0, 3))": True,
    "st_f4_1_1(p1, i, ld_f4_1_1(p1, i) + ld_f4_1_1(p1, 3))": False,
    "st_f4_1_1(p1, i + chunk, exp(ld_f4_1_0(p0, chunk + i)))": True,
    "st_f4_1_1(r0, i, ld_f4_1_0(p0, chunk))": True,
    "st_f4_1_1(p1, i, ld_f4_1_1(p1, i) * ld_f4_1_0(p0, i))": True,
    "st_f4_1_1(p1, i + 1, ld_f4_1_1(p1, i))": False,
    "st_f4_1_1(r0, i + 16, ld_f4_1_1(r0, i)); st_f4_1_1(r0, i + 32, ld_f4_1_1(r0, i + 16))": True,
    "st_f4_1_1(r0, i + 10, ld_f4_1_1(r0, i + 20)); st_f4_1_1(r0, i, ld_f4_1_1(r0, i))": True,
    "st_f4_1_1(r0, i + 5, ld_f4_1_1(r0, i)); st_f4_1_1(r0, i + 32, ld_f4_1_1(r0, i))": False,
    "st_f4_1_1(r0, i + 32, ld_f4_1_1(r0, i)); st_f4_1_1(r0, i + 9, ld_f4_1_1(r0, i))": False,
    "st_f4_1_1(r0, chunk*16 + i + 16, ld_f4_1_1(r0, chunk*16 + i))": True,
    "st_f4_1_1(r0, chunk*16 + i + 16, ld_f4_1_1(r0, i))": False,
    "st_f4_1_1(r0, i + 16, ld_f4_1_1(p1, i))": False,
    "st_f4_1_1(p1, i*2, ld_f4_1_0(p0, i))": False,
    "st_f4_1_1(p1, 7 - i, ld_f4_1_0(p0, i))": False,
    "st_f4_1_1(p1, 7, ld_f4_1_0(p0, i))": False,
    "st_f4_1_1(p1, i, zeta(ld_f4_1_0(p0, i)))": False,
    "k = ld_i4_1_0(p0, i); st_i4_1_1(p1, i, k)": True,
    "k = ld_i4_1_0(p0, i); st_i4_1_1(p1, i, k + k)": False,
    "b = ld_b1_1_0(p0, i); c = ld_b1_1_1(p1, i); d = not b; st_b1_1_1(p1, i, b & c | d)": True,
    "k = ld_i4_1_0(p0, i); c = k & k > 3; st_f4_1_1(p1, i, select(c, ld_f4_1_0(p0, i), ld_f4_1_0(p0, 3)))": False,
    "k = ld_i8_1_2(p0, i); c = k < chunk; st_f4_1_1(p1, i, select(c, ld_f4_1_0(p0, i), ld_f4_1_0(p0, 3)))": True,
    "c = ld_b1_1_2(p0, i); st_f4_1_1(p1, i, select(c, ld_f4_1_0(p0, i), ld_f4_1_0(p0, 3)))": True,
    "k = ld_i8_1_2(p0, i); st_f4_1_1(p1, i, ld_f4_1_0(p0, k))": False,
    "k = ld_i8_1_2(p0, i); c = fabs(k) < chunk; st_f4_1_1(p1, i, select(c, ld_f4_1_0(p0, i), ld_f4_1_0(p0, 3)))": False,
    "k = ld_i8_1_2(p0, i); st_f4_1_1(p1, i, select(k == k + chunk, ld_f4_1_0(p0, i), ld_f4_1_0(p0, 3)))": False,
    "st_f4_1_1(p1, i, select(ld_b1_1_2(p0, i), ld_f4_1_0(p0, i), ld_f4_1_0(p0, 3)))": False,
    "st_f4_1_64(p1, i, ld_f4_1_0(p0, i))": False,
    "st_f4_1_1(p1, i, to_f4(i))": False,
}


@pytest.mark.parametrize("body", BODIES)
def test_loops_that_are_done_as_vectors(body: str) -> None:
    (function,) = ast.parse(KERNEL.format(count=10, body=body)).body
    assert isinstance(function, ast.FunctionDef)
    loop = function.body[-1]
    assert isinstance(loop, ast.For)
    assert (lanes_of("i", 10, loop.body) > 0) == BODIES[body]


@pytest.mark.parametrize(("at", "whole"), [("i", True), ("chunk*3 + i", False)])
def test_only_a_block_that_is_one_row_has_room_behind_it(at: str, whole: bool) -> None:
    """The last of many short rows in a block may end where the block does."""
    module = KernelModule()
    lower(KERNEL.format(count=3, body=f"st_f8_1_1(r0, {at}, exp(ld_f8_1_0(p0, i)))"), "kernel", module)
    stored = [int(n) for n in re.findall(r"store <(\d+) x double>", str(module))]
    assert max(stored) == (host_vector_bytes() // 8 if whole and LANES > 4 else 2)


@pytest.mark.parametrize(("function", "loops"), [("exp", 0), ("gammaln", 1)])
def test_much_code_is_not_repeated(function: str, loops: int) -> None:
    """Of eight vectors of a long function LLVM makes a loop."""
    text = KERNEL.format(count=8 * LANES, body=f"st_f4_1_1(p1, i, {function}(ld_f4_1_0(p0, i)))")
    module = KernelModule()
    lower(text, "kernel", module)
    assert len(re.findall(r"icmp slt i64 %[^,]*, \d+", str(module))) == loops


@pytest.mark.parametrize(("count", "loops"), [(1, 1), (LANES - 1, 0), (LANES, 0), (8 * LANES - 1, 0), (8 * LANES, 0),
                                              (8 * LANES + 1, 1), (9 * LANES, 1)])  # fmt: skip
def test_lengths_that_are_done_as_vectors(count: int, loops: int) -> None:
    """Of more than eight vectors LLVM makes what are whole ones, and the rest is one here."""
    text = KERNEL.format(count=count, body="st_f4_1_1(p1, i, exp(ld_f4_1_0(p0, i)))")
    module = KernelModule()
    lower(text, "kernel", module)
    printed = str(module)
    assert printed.count("phi") == loops
    ends = re.findall(r"icmp slt i64 %[^,]*, (\d+)", printed)
    assert ends == [str(count if count == 1 else count - count % LANES)] * loops
    assert loops or "vector.body" not in str(Backend().optimised(text_of(module)))
