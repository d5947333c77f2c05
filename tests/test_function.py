"""gc.function: what is traced when, trees, derivatives, sizes, methods, errors at the user's line, threads."""

from __future__ import annotations

import gc as garbage
import os
import pickle
import threading
import time
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from support import draw, mapped, public_ops, seeded

import graphc as gc
from graphc.declare import FUNCTIONS
from graphc.interpret import interpret
from graphc.op import Array, Op
from graphc.signature import Call, Signature
from graphc.specialise import Leaves, Tracing

X = np.arange(3.0)


def same(found: Any, wanted: Any) -> None:
    """Equal trees: structure, dtypes and values."""
    assert type(found) is type(wanted) or isinstance(wanted, (int, float, np.ndarray, np.generic))
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for k, v in wanted.items():
            same(found[k], v)
    elif isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted)
        for f, w in zip(found, wanted, strict=True):
            same(f, w)
    elif wanted is not None:
        wanted = np.asarray(wanted)
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


class Counted:
    """A function, and how often Python ran it."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.runs = 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.runs += 1
            return function(*args, **kwargs)

        counted.__wrapped__ = function  # type: ignore[attr-defined]  # its signature
        self.of = gc.function(counted, **options)

    @property
    def specialisations(self) -> int:
        found: int = self.of.stats["specialisations"]
        return found


# what is compiled when


def test_new_sizes_and_values_compile_nothing_and_trace_nothing() -> None:
    f = Counted(lambda x, a: x * a)
    for n in (0, 2, 3, 1000):
        same(f.of(np.ones(n), float(n)), np.full(n, float(n)))
    assert (f.runs, f.specialisations) == (1, 1)


def test_dtype_rank_structure_and_kind_of_number_are_told_apart() -> None:
    f = Counted(lambda x, a: x["x"] + a)
    calls = [
        ({"x": X}, X),
        ({"x": X.astype(np.float32)}, X),
        ({"x": np.ones((2, 3))}, X),
        ({"x": X, "y": X}, X),
        ({"x": X}, 2.0),
        ({"x": X}, 2),
        ({"x": X}, np.float64(2.0)),
    ]
    for k, (x, a) in enumerate(calls, 1):
        for _ in range(2):
            same(f.of(x, a), x["x"] + a)
        assert f.specialisations == k


def test_sizes_of_one_broadcast_and_have_code_of_their_own() -> None:
    f = gc.function(lambda x, y: x + y)
    shapes = [((4, 3), (4, 3)), ((1, 3), (4, 1)), ((1, 1), (5, 2)), ((1, 7), (2, 1)), ((0, 3), (1, 3)), ((1,), (1,))]
    for first, second in shapes:
        same(f(np.ones(first), np.full(second, 2.0)), np.ones(first) + np.full(second, 2.0))
    assert f.stats["specialisations"] == 5  # the second and the fourth are of one kind


def test_sizes_that_must_agree_are_one_symbol_and_those_that_are_known_a_number() -> None:
    weights = gc.parameter("w", np.ones((3, 2)))
    f = gc.function(lambda x, y, z: gc.sum((x @ y) @ weights) + gc.sum(z + x[0] + y[:, 0]))
    x, y, z = np.ones((4, 5)), np.ones((5, 3)), np.ones(5)
    same(f(x, y, z), ((x @ y) @ np.ones((3, 2))).sum() + (z + x[0] + y[:, 0]).sum())
    assert repr(f.compiled(x, y, z)) == (
        "<compiled <lambda>(x: float64[x_0, x_1], y: float64[x_1, 3], z: float64[x_1]) -> float64[]>"
    )
    same(f(np.ones((2, 9)), np.ones((9, 3)), np.ones(9)), 9 * 2 * 3 * 2.0 + 27)
    assert f.stats["specialisations"] == 1


def test_chance_equality_of_sizes_means_nothing() -> None:
    f = Counted(lambda x, y: gc.sum(x) + gc.sum(y))
    f.of(X, X)
    same(f.of(X, np.ones(5)), 8.0)
    assert f.runs == 1


def test_a_function_that_compares_sizes_is_compiled_for_those_that_are_equal() -> None:
    def product(x: Any, y: Any) -> Any:
        assert x.shape == y.shape, "one shape"
        return x * y

    f = gc.function(product)
    for n in (3, 4, 0):
        same(f(np.ones(n), np.ones(n)), np.ones(n))
    assert f.stats["specialisations"] == 1
    with pytest.raises(AssertionError, match="one shape"):
        f(np.ones(3), np.ones(4))
    with pytest.raises(AssertionError, match="one shape"):
        f(np.ones((2, 3)), np.ones((3, 3)))
    same(f(np.ones((2, 2)), np.ones((2, 2))), np.ones((2, 2)))
    same(f(np.ones((2, 3)), np.ones((2, 3))), np.ones((2, 3)))


def test_sizes_that_the_function_asks_for_are_numbers() -> None:
    def cross(x: Any, scale: Any) -> Any:
        a, b, c = x[0]
        return gc.cross(x, x[::-1]) * scale + a * len(x[0]) + b - c

    f = Counted(cross)
    rng = np.random.default_rng(0)

    def wanted(x: Any, scale: Any) -> Any:
        return np.cross(x, x[::-1]) * scale + x[0, 0] * 3 + x[0, 1] - x[0, 2]

    for n in (4, 3, 7, 3):
        x = rng.normal(size=(n, 3))
        same(f.of(x, np.ones(3)), wanted(x, np.ones(3)))
    assert repr(f.of.compiled(x, np.ones(3))).startswith("<compiled counted(x: float64[x_0, 3], scale: float64[3])")
    traced = f.runs
    same(f.of(x, np.ones((3, 1))), wanted(x, np.ones((3, 1))))
    assert f.runs > traced
    with pytest.raises(ValueError, match=r"not enough values|too many values"):
        f.of(np.ones((4, 2)), np.ones(3))
    assert f.specialisations == 2


# Ops that ask for the length of an axis where masks, numbers of repeats or starts are given for it, or it is unstacked.
ASKING = {"cross", "unstack", "repeat", "getitem", "dynamic_slice", "dynamic_update_slice"}
ASKING |= {"add_at", "max_at", "min_at", "multiply_at", "set_at"}


class Taken:
    """What stands for an array among the arguments of an op."""

    def __init__(self, place: int) -> None:
        self.place = place


@pytest.mark.parametrize("op", public_ops(), ids=lambda op: op.name)
def test_every_op_takes_symbols_for_sizes_but_where_it_asks_for_a_number(op: Op) -> None:
    dtype = gc.float64 if gc.float64 in op.dtypes else next(iter(op.dtypes), gc.bool)
    for k, sample in enumerate(op.samples):
        rng, values = seeded(op.name, k), []

        def taken(value: Any, values: Any = values) -> Taken:
            values.append(value)
            return Taken(len(values) - 1)

        drawn = mapped((sample.args, dict(sample.kwargs)), lambda a, rng=rng: draw(a, dtype, rng), Array)
        arguments = mapped(drawn, taken, np.ndarray)

        def function(*xs: Any, arguments: Any = arguments) -> Any:
            args, kwargs = mapped(arguments, lambda t: xs[t.place], Taken)
            return FUNCTIONS[op.name](*args, **kwargs)

        call = Call(Signature.of(function, ()), tuple(values), {})
        traced = Tracing(function, op.name, call, Leaves(call)).settled()
        assert not traced.pattern
        assert len(traced.fixed) <= (op.name in ASKING)
        found = interpret(gc.Graph(tuple(traced.nodes), tuple(traced.inputs)), values)
        with np.errstate(all="ignore"):
            wanted = op.reference(*drawn[0], **drawn[1])
        for f, w in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
            np.testing.assert_allclose(f, w, rtol=1e-9, atol=1e-12)


def test_a_size_that_is_asserted_is_a_number() -> None:
    def f(x: Any, y: Any) -> Any:
        assert x.shape[1] == 3
        assert x.shape[0] == y.shape[0]
        return gc.sum(x) + gc.sum(y)

    g = gc.function(f)
    for n in (3, 5, 2):
        same(g(np.ones((n, 3)), np.ones((n, 3))), 6.0 * n)
    assert repr(g.compiled(np.ones((4, 3)), np.ones((4, 2)))) == (
        "<compiled f(x: float64[x_0, 3], y: float64[x_0, y_1]) -> float64[]>"
    )
    for shape in ((4, 4), (5, 3)):
        with pytest.raises(AssertionError):
            g(np.ones(shape), np.ones((4, 3)))


def test_what_a_function_makes_of_a_comparison_of_sizes_is_what_holds_at_the_call() -> None:
    def f(x: Any, y: Any) -> Any:
        if x.shape == y.shape:
            return gc.sum(x * y)
        if x.shape[0] in (2, 3) or y.size == 6:
            return gc.sum(x) * 10.0
        return gc.sum(x) * (100.0 if x.shape[0] + 1 != y.shape[0] else 1000.0)

    def wanted(x: Any, y: Any) -> float:
        if x.shape == y.shape:
            return float((x * y).sum())
        factor = 10.0 if x.shape[0] in (2, 3) or y.size == 6 else 100.0 if x.shape[0] + 1 != y.shape[0] else 1000.0
        return float(x.sum() * factor)

    g = gc.function(f)
    for _ in range(2):
        for n in (7, 0, 2, 3, 5, 4):
            for m in (0, 7, 6, 5, 4, 3, 2):
                same(g(np.ones(n), np.ones(m)), wanted(np.ones(n), np.ones(m)))
    found = gc.function(lambda x: x * {3: 10.0}.get(x.shape[0], 1.0) * (x.shape[0] in {2, 3} or 0.5))
    for n in (5, 3, 2, 5):
        same(found(np.ones(n)), np.full(n, {5: 0.5, 3: 10.0, 2: 1.0}[n]))
    few = gc.function(lambda x: x if x.shape[0] == 0 else x + 1.0)
    for n in (2, 3, 0, 5, 7, 0):
        same(few(np.ones(n)), np.full(n, 2.0))
    assert few.stats["specialisations"] == 2
    step = gc.function(lambda x: gc.scan(lambda c, e: (c + (gc.sum(e) if e.shape[0] == 3 else 0.0), None), 0.0, x)[0])
    same(step(np.ones((2, 5))), 0.0)
    same(step(np.ones((2, 3))), 6.0)


def test_a_number_for_each_size_where_steps_are_unrolled() -> None:
    f = Counted(lambda x: sum(x[k] * k for k in range(x.shape[0])))
    for n in (3, 4, 3, 4):
        same(f.of(np.ones(n)), n * (n - 1) / 2)
    assert f.specialisations == 2
    assert gc.function(lambda x: 1.0 if x.shape[0] * 0.5 > 1 else x[0])(X) == 1.0


def test_sizes_that_fit_as_numbers_alone_are_numbers() -> None:
    f = gc.function(lambda x: x + gc.concat([x[:-1], gc.ones(1)]))  # for one size the second operand is broadcast
    for n in (5, 0, 3, 0, 7):
        x = np.arange(float(n))
        same(f(x), x + np.concatenate([x[:-1], np.ones(1)]))
    assert f.stats["specialisations"] == 2


def test_sizes_that_never_fit_are_refused_each_time_and_nothing_is_kept() -> None:
    f = gc.function(lambda p: gc.max(p["x"]) + gc.sum(p["x"] * p["y"]))
    same(f({"x": X, "y": X}), 7.0)
    for _ in range(3):
        with pytest.raises(gc.InputError, match="must not be empty"):
            f({"x": np.ones(0), "y": np.ones(0)})
        with pytest.raises(gc.InputError, match="p_x_0 == p_y_0 must hold"):
            f({"x": np.ones(2), "y": np.ones(3)})
    assert f.stats["specialisations"] == 1


def test_sizes_as_numbers() -> None:
    f = Counted(lambda x: sum(x[k] * k for k in range(x.shape[0])), symbolic=False)
    for n in (3, 4, 3, 4, 1):
        same(f.of(np.ones(n)), n * (n - 1) / 2)
    assert f.specialisations == f.runs == 3


def test_static_arguments_are_handed_on_and_told_apart_by_type_and_sign() -> None:
    seen: list[Any] = []

    def power(x: Any, k: Any, *, mode: Any = "up") -> Any:
        seen.append((k, mode))
        return x / k if mode == "down" else x

    f = gc.function(power, static=("k", "mode"))
    for k in (2, 2.0, True, -0.0, 0.0, (1, 2.0), (1.0, 2)):
        f(X, k)
    assert [repr(k) for k, _ in seen] == ["2", "2.0", "True", "-0.0", "0.0", "(1, 2.0)", "(1.0, 2)"]
    same(f(X, 2, mode="down"), X / 2)
    same(f(X, k=2, mode="down"), X / 2)
    assert len(seen) == 8


def test_a_call_is_not_taken_for_another_one_of_the_same_arrays() -> None:
    x, two = np.ones(3, np.float32), np.array(2.0)

    @gc.function(static="k")
    def f(x: Any, y: Any = 5.0, *, z: Any = 0.0, k: Any = 1) -> Any:
        x = x["x"] if isinstance(x, dict) else x
        return (x * y + z) * k

    g = gc.function(lambda x, y=5.0, *, z=0.0: ((x["x"] if isinstance(x, dict) else x) * y + z) * 1)
    for _ in range(2):
        for h in (f, g):
            same(h(x, two), x * two)
            same(h(x, 2.0), x * np.float32(2.0))
            same(h(x, two), x * two)
            same(h(x, z=two), x * np.float32(5.0) + two)
            same(h({"x": x}, two), x * two)
            same(h({"x": x}), x * np.float32(5.0))
            same(h(x), x * np.float32(5.0))
            same(h(x, two), x * two)
            same(h(x.astype(float), two), x * two)
            same(h(np.ones((1, 3)), np.ones((2, 1))), np.ones((2, 3)))
            same(h(np.ones((2, 3)), np.ones((2, 3))), np.ones((2, 3)))
        same(f(x, k=2), x * np.float32(10.0))
        same(f(x), x * np.float32(5.0))


def test_the_last_call_is_told_whatever_way_it_took() -> None:
    f = gc.function(lambda x: x * 2.0)
    y = X.astype(np.float32)
    for _ in range(3):
        f(X), f(X)
        assert "float64" in f.compiled(X).source
        assert f.source == f.compiled(X).source
        f(y), f(2.0), f(y)
        assert f.source == f.compiled(y).source
        f(2.0)
        assert f.source == f.compiled(2.0).source


# values


@pytest.mark.parametrize(
    "args",
    [
        (np.ones(3, np.float32), 2.0),
        (np.ones(3, np.float32), 2),
        (np.ones(3, np.float32), np.float64(2.0)),
        (np.ones(3, np.int8), 2),
        (np.ones(3, np.int8), True),
        (np.ones(3, np.int32), 2.5),
        (np.ones(3, np.float32), np.ones(3)),
        (np.array([True, False]), np.array([1, 2], np.uint8)),
        (True, 2),
        (2.0, 3),
        (np.ones((4, 6))[::2, ::3], np.arange(4.0).reshape(2, 2).T),
        (np.ones((2, 1, 3, 2, 2)), np.ones((4, 1, 2, 1))),
        (np.ones((0, 3)), np.ones(3)),
    ],
    ids=str,
)
def test_dtypes_and_shapes_are_numpys(args: tuple[Any, Any]) -> None:
    f = gc.function(lambda x, y: (x + y, x * y))
    for _ in range(2):  # the second by the short way
        same(f(*args), (np.asarray(np.add(*args)), np.asarray(np.multiply(*args))))


def test_trees_of_arguments_and_results() -> None:
    Pair = namedtuple("Pair", "first second")
    f = gc.function(lambda p, x, b: {"y": p["w"][0] @ x + p["w"][1], "p": Pair(x, None), "b": [] if b is None else [b]})
    w, x = np.ones((2, 3)), X
    same(f({"w": (w, 2.0)}, x, None), {"y": w @ x + 2.0, "p": Pair(x, None), "b": []})
    same(f({"w": [w, np.ones(2)]}, x, b=1.0), {"y": w @ x + 1.0, "p": Pair(x, None), "b": [1.0]})
    assert type(f(p={"w": (w, 2.0)}, x=x, b=None)["p"]) is Pair


def test_keywords_and_defaults() -> None:
    f = Counted(lambda x, y=2.0, *rest, z=1.0: x * y + z + sum(rest))
    same(f.of(X), X * 2 + 1)
    same(f.of(X, 3.0), X * 3 + 1)
    same(f.of(x=X, y=3.0), X * 3 + 1)
    same(f.of(X, y=3.0), X * 3 + 1)
    assert f.specialisations == 2
    same(f.of(X, z=X), X * 3)
    same(f.of(X, 1.0, 5.0, X, z=2.0), X * 2 + 7)
    same(f.of.grad(1)(2.0, y=3.0), 2.0)


def test_names_that_a_compiled_function_keeps_for_itself() -> None:
    same(gc.function(lambda out, order, batch_size: out + order * batch_size)(X, X, 2.0), 3 * X)


def test_numbers_are_arguments_that_index_and_shapes_are_results() -> None:
    f = gc.function(lambda x, k: (x[k], x.shape[0] * 2, 0.5 * x.shape[0], True, np.ones(2)))
    same(f(X, 1), (1.0, 6, 1.5, True, np.ones(2)))
    same(f(X, 2), (2.0, 6, 1.5, True, np.ones(2)))


def test_a_parameter_is_read_at_each_call_and_a_constant_kept() -> None:
    w, c = gc.parameter("w", [1.0, 2.0, 3.0]), np.ones(3)
    f = gc.function(lambda x: gc.sum(w * x * c))
    assert float(f(X)) == 8.0
    w.assign([0.0, 0.0, 1.0])
    step = gc.compile([], (), updates={w: w + 1.0})
    assert float(f(X)) == 2.0
    step()
    assert float(f(X)) == 5.0
    same(f.grad()(X), np.array([1.0, 1.0, 2.0]))
    same(gc.function(lambda x: gc.grad(f(x), w))(X), X)


def test_a_function_in_c_or_a_partial_one_or_an_object() -> None:
    class Scaled:
        def __call__(self, x: Any) -> Any:
            return 3.0 * x

    from functools import partial

    same(gc.function(np.sin)(X), np.sin(X))
    same(gc.function(partial(gc.multiply, 2.0))(X), 2.0 * X)
    same(gc.function(Scaled())(X), 3.0 * X)


# among nodes


def test_among_nodes_it_is_the_function_itself() -> None:
    f = gc.function(lambda x, y: x * y)
    x = gc.input("x", ("n",))
    assert f(x, 2.0) is x * 2.0
    assert f(x, X).operands[1].op.name == "constant"
    assert f(x.shape[0], 2.0) is not None
    same(gc.compile([x], f(x, f(x, x)))(X), X**3)


def test_functions_in_functions_in_loops_and_in_gradients() -> None:
    square = gc.function(lambda x: x * x)
    norm = gc.function(lambda x: gc.sum(square(x)))
    same(norm(X), 5.0)

    @gc.function
    def descend(x: Any, rate: Any) -> Any:
        return gc.scan(lambda x, _: (x - rate * norm.grad()(x), norm(x)), x, length=3)

    x, ys = X, []
    for _ in range(3):
        ys.append((x * x).sum())
        x = x - 0.25 * 2 * x
    same(descend(X, 0.25), (x, np.array(ys)))
    same(gc.function(lambda x: gc.grad(norm(x), x))(X), 2 * X)
    same(gc.function(lambda x, t: gc.cond(t, square, gc.exp, x))(X, True), X * X)


def test_while_another_function_is_traced_it_is_part_of_it_whatever_its_arguments() -> None:
    w = gc.parameter("w", [1.0, 2.0, 3.0])
    prior = gc.function(lambda scale=1.0: gc.sum(w * w) * scale)
    table = gc.function(lambda x: gc.exp(x))
    same(prior(), 14.0)
    same(table(X), np.exp(X))
    x = gc.input("x", (3,))

    def loss(x: Any) -> Any:
        return gc.sum(x * table(X)) + prior() + prior(scale=2.0)

    f = gc.function(lambda x: (loss(x), gc.grad(loss(x), w)))
    g = gc.compile([x], gc.vmap(lambda x: gc.grad(prior() * x, w))(x))
    h = gc.compile([x], gc.scan(lambda c, x: (c + prior(), None), 0.0, x)[0])
    k = gc.compile([x], gc.grad(gc.function(loss)(x), w))
    for values in ([1.0, 2.0, 3.0], [0.0, 1.0, 0.0]):
        w.assign(values)
        v = np.array(values)
        same(f(X), ((X * np.exp(X)).sum() + 3 * (v * v).sum(), 6 * v))
        same(g(X), 2 * v * X[:, None])
        same(h(X), 3 * (v * v).sum())
        same(k(X), 6 * v)


def test_numbers_are_arguments_of_functions_with_an_adjoint_of_their_own_and_of_roots() -> None:
    own = gc.custom_vjp(lambda x, k: x * k, lambda g, y, x, k: (g * 7.0, gc.sum(g * x)))
    f = gc.function(own)
    same(f(X.astype(np.float32), 2.0), 2 * X.astype(np.float32))
    same(gc.function(lambda x, k: gc.sum(own(x, k))).grad((0, 1))(X, 2.0), (np.full(3, 7.0), 3.0))
    root = gc.function(gc.implicit(lambda a: gc.sqrt(gc.stop_gradient(a)), lambda x, a: x * x - a))
    same(root.value_and_grad()(4.0), (2.0, 0.25))


def test_it_may_call_itself() -> None:
    @gc.function(static="n")
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    same(power(X, 3), X**3)

    @gc.function
    def endless(x: Any) -> Any:
        return endless(x)

    with pytest.raises(RecursionError):
        endless(X)


def test_what_it_takes_from_around_is_no_argument() -> None:
    x = gc.input("x", ("n",))
    f = gc.function(lambda y: gc.sum(x * y))
    same(gc.compile([x], f.grad()(x))(X), X)  # not 2 * x


# derivatives


def test_derivatives_of_trees_by_several_arguments() -> None:
    f = gc.function(lambda p, x, k: gc.sum(p["w"] @ x * k) + p["b"] ** 2)
    w, p = np.ones((2, 3)), {"w": np.ones((2, 3)), "b": 3.0}
    wanted = {"w": np.tile(2 * X, (2, 1)), "b": np.array(6.0)}
    same(f.grad()(p, X, 2.0), wanted)
    same(f.grad((1, 0))(p, X, 2.0), (w.sum(0) * 2, wanted))
    same(f.grad([1])(p, X, 2.0), (w.sum(0) * 2,))
    same(f.value_and_grad(2)(p, X, 2.0), (6.0 * 2 + 9.0, (w @ X).sum()))
    same(f.grad(1).jacobian(2)(p, X, 2.0), w.sum(0))


def test_the_same_array_twice_is_two_arguments() -> None:
    f = gc.function(lambda x, y: gc.sum(x * x * y))
    same(f.grad()(X, X), 2 * X * X)
    x = gc.input("x", (3,))
    same(gc.compile([x], f.grad()(x, x))(X), 2 * X * X)
    same(gc.compile([x], gc.grad(f(x, x), x))(X), 3 * X * X)


def test_products_jacobians_hessians_and_batches() -> None:
    f = gc.function(lambda x, a: gc.sin(x) * a)
    g = gc.function(lambda x, a: gc.sum(x**3) * a)
    v = np.array([1.0, 2.0, -1.0])
    same(f.jvp()(X, 2.0, v), 2 * np.cos(X) * v)
    same(f.jvp((0, 1))(X, 2.0, (v, 1.0)), 2 * np.cos(X) * v + np.sin(X))
    same(f.vjp()(X, 2.0, v), 2 * np.cos(X) * v)
    same(f.jvp()(X, v, a=2.0), 2 * np.cos(X) * v)
    same(g.hvp()(X, 2.0, v), 12 * X * v)
    same(f.jacobian((0, 1))(X, 2.0), (np.diag(2 * np.cos(X)), np.sin(X)))
    same(g.hessian()(X, 2.0), np.diag(12 * X))
    rows = np.stack([X, 2 * X])
    same(g.grad().vmap((0, None))(rows, 2.0), 6 * rows**2)
    same(g.vmap((0, 0))(rows, np.ones(2)), (rows**3).sum(1))
    same(f.vmap((1, None), 1)(rows.T, 2.0), 2 * np.sin(rows.T))
    same(f.jvp().vmap((0, None, 0))(rows, 2.0, rows), 2 * np.cos(rows) * rows)


def test_static_arguments_and_batches() -> None:
    f = gc.function(lambda x, k, *, s=1.0: gc.sum(x) * k * s, static="k")
    same(f.vmap()(np.ones((2, 3)), 2, s=3.0), np.full(2, 18.0))
    same(f.grad()(X, 2), np.full(3, 2.0))
    same(f.jvp()(X, 2, X), 6.0)
    with pytest.raises(gc.DeclarationError, match="argument 1, 'k', is static"):
        f.grad(1)


def test_functions_of_the_package_take_functions() -> None:
    f = gc.function(lambda x: gc.sum(x**3))
    v = np.ones(3)
    same(gc.grad(f)(X), 3 * X**2)
    same(gc.grad(lambda x, y: x * y, 1)(2.0, 3.0), 2.0)
    same(gc.value_and_grad(f)(X), (9.0, 3 * X**2))
    same(gc.vjp(f)(X, 2.0), 6 * X**2)
    same(gc.jvp(f)(X, v), 15.0)
    same(gc.hvp(f)(X, v), 6 * X)
    same(gc.jacobian(f, argnums=0)(X), 3 * X**2)
    same(gc.hessian(f)(X), np.diag(6 * X))
    same(gc.vmap(f)(np.ones((2, 3))), np.full(2, 3.0))
    x = gc.input("x", (2, 3))
    assert isinstance(gc.vmap(lambda x: gc.sum(x))(x), gc.Node)
    assert isinstance(gc.vmap(f)(x), gc.Node)
    assert gc.grad(y=gc.sum(x), wrt=x).shape == (2, 3)


def test_what_is_derived_again_is_not_compiled_again() -> None:
    f = Counted(lambda x: gc.sum(x * x))
    for _ in range(3):
        same(f.of.grad()(X), 2 * X)
        same(f.of.vmap(in_axes=[0])(np.ones((2, 3))), np.full(2, 3.0))
    assert f.runs == 2


def test_a_jacobian_with_a_pattern_of_zeros() -> None:
    f = Counted(lambda x, a: x[1:] * x[:-1] * a)
    x = np.arange(1.0, 5.0)
    pattern = np.eye(3, 4) + np.eye(3, 4, 1) != 0
    whole = f.of.jacobian()(x, 2.0)
    for given in (pattern, pattern.copy(), csr_matrix(pattern)):
        same(f.of.jacobian(sparsity=given)(x, 2.0), whole[pattern])
        runs = f.runs
        same(gc.jacobian(f.of, 0, sparsity=given)(x, 3.0), 1.5 * whole[pattern])
        assert f.runs == runs
    same(pickle.loads(pickle.dumps(cube.jacobian(sparsity=np.eye(3))))(X), 3 * X**2)
    with pytest.raises(gc.GraphcError):
        f.of.jacobian(sparsity=np.eye(3))(x, 2.0)


# methods


class Model:
    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.weight = gc.parameter("weight", scale)

    @gc.function
    def loss(self, x: Any, power: Any = 2.0) -> Any:
        """A loss."""
        return gc.sum(x**power) * self.scale * self.weight

    @staticmethod
    @gc.function
    def twice(x: Any) -> Any:
        return 2.0 * x


def test_methods_belong_to_their_object() -> None:
    first, second = Model(2.0), Model(3.0)
    for _ in range(2):
        same(first.loss(X), 20.0)
        same(second.loss(X), 45.0)
        same(first.loss.grad()(X), 8 * X)
    second.weight.assign(1.0)
    same(second.loss(X, power=1.0), 9.0)
    assert (first.loss.stats["specialisations"], second.loss.stats["specialisations"]) == (1, 2)
    assert Model.loss.__doc__ == first.loss.__doc__ == "A loss."
    same(Model.twice(X), 2 * X)


def test_a_method_keeps_no_object_alive() -> None:
    model = Model(2.0)
    model.loss(X), model.loss.grad()(X)
    gone = weakref.ref(model)
    del model
    garbage.collect()
    assert gone() is None
    assert not Model.__dict__["loss"]._bound


def test_an_object_without_weak_references_has_no_such_method() -> None:
    class Slots:
        __slots__ = ()
        f = gc.function(lambda self, x: x)

    with pytest.raises(gc.DeclarationError, match="can't be a method of Slots objects, which take no weak references"):
        Slots().f(X)


# looking


def test_source_stats_and_explain_are_of_the_last_call() -> None:
    f = gc.function(lambda x: gc.exp(x))
    assert not hasattr(f, "source")
    with pytest.raises(gc.PropertyError, match="has not been called"):
        f.explain()
    f(X)
    wide = f.source
    f(X.astype(np.float32))
    assert f.source != wide == f.compiled(X).source
    assert f.compiled(X) is f.compiled(np.ones(7))
    f(X)
    assert f.source == wide
    assert f.stats["specialisations"] == 2
    assert f.stats["flops"] == f.compiled(X).stats["flops"] > 0
    assert "exp" in f.explain()
    assert repr(f) == "<function <lambda>, 2 specialisations>"


def test_copies_by_name() -> None:
    assert pickle.loads(pickle.dumps(Model.loss)) is Model.loss
    same(pickle.loads(pickle.dumps(cube.grad()))(2.0), 12.0)
    same(pickle.loads(pickle.dumps(cube.vmap(out_axes=0)))(X), X**3)
    method = pickle.loads(pickle.dumps(Model(2.0).loss))
    same(method(X), 20.0)


@gc.function
def cube(x: Any) -> Any:
    return x**3


# errors


def test_errors_stand_at_the_users_line() -> None:
    f = gc.function(lambda x: x)
    with pytest.raises(gc.DeclarationError, match=r'test_function.py:\d+: f\("text"\)  # here'):
        f("text")  # here


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda f: f({"a": ["text"]}), gc.DeclarationError, r"argument x\['a'\]\[0\] is a str: neither an array, nor"),
        (lambda f: f(object()), gc.DeclarationError, r"is a object.*gc.function\(static='x'\)"),
        (lambda f: f(np.float64), gc.DeclarationError, "argument x is a type"),
        (lambda f: f(1j), gc.DeclarationError, "argument x is a complex"),
        (lambda f: f([np.ones(2, complex)]), gc.DTypeError, r"argument x\[0\]: dtype complex128 is not supported"),
        (lambda f: f({"h": np.ones(2, np.float16)}), gc.DTypeError, r"argument x\['h'\]: dtype float16"),
        (lambda f: f(np.ones(2, ">f8")), gc.DTypeError, "byte-swapped"),
        (lambda f: f(np.array(["a"])), gc.DTypeError, "argument x: "),
        (lambda f: f(np.ma.array([1.0, 2.0])), gc.DTypeError, "argument x: the value is a masked array"),
        (lambda f: f(2**70), gc.DTypeError, "does not fit int64"),
        (lambda f: f(), TypeError, "missing 1 required positional argument"),
        (lambda f: f(X, X), TypeError, "takes 1 positional argument"),
        (lambda f: f(X, y=X), TypeError, "unexpected keyword argument 'y'"),
        (lambda f: f(X, x=X), TypeError, "multiple values for argument 'x'"),
        (lambda f: f.compiled(gc.input("x", ())), gc.DeclarationError, "compiled takes arrays"),
        (lambda f: f.grad(1), gc.DeclarationError, "takes x by position: there is no argument 1"),
        (lambda f: f.grad(-1), gc.DeclarationError, "there is no argument -1"),
        (lambda f: f.grad(True), gc.DeclarationError, "argnums is the place of an argument"),
        (lambda f: f.grad(()), gc.DeclarationError, "argnums is the place of an argument"),
        (lambda f: f.grad((0, 0)), gc.DeclarationError, "names an argument twice"),
        (lambda f: f.grad()(X), gc.GradientError, "grad needs a scalar"),
        (lambda f: f.grad()(3), gc.GradientError, "is not float"),
        (lambda f: f.grad()({"a": 1.0}), gc.GradientError, "needs a scalar, got a tree"),
        (lambda f: f.jvp()(X), gc.DeclarationError, "argument 0 is not given"),
        (lambda f: f.jvp()({"a": X}, X), gc.GradientError, "the tangent of x must be a tree like"),
        (lambda f: f.vmap()(2.0), gc.ShapeError, "has no axis for the batch"),
        (lambda f: gc.function(3), gc.DeclarationError, "takes a function of nodes, got int"),
        (lambda f: gc.function(lambda x: x, static="y"), gc.DeclarationError, "names 'y', and the parameters are x"),
        (lambda f: gc.function(lambda x: x, static=3), gc.DeclarationError, "static is a name of a parameter"),
        (lambda f: gc.function(lambda x: x, static="x")(X), gc.DeclarationError, "static argument x has no hash"),
        (lambda f: gc.function(lambda x: None)(X), gc.DeclarationError, "gives None, and not a node"),
        (lambda f: gc.function(lambda x: {})(X), gc.DeclarationError, "gives {}, and not a node"),
        (lambda f: gc.function(lambda x: {"a": [x, "s"]})(X), gc.DTypeError, r"result\['a'\]\[1\] can't be a node"),
        (lambda f: gc.function(lambda x: -x if gc.sum(x) > 0 else x)(X), gc.DeclarationError, "decide an `if`"),
        (lambda f: gc.function(lambda k: list(range(k)))(3), gc.DeclarationError, "this number is known at the call"),
        (lambda f: gc.function(lambda x: x + gc.zeros("n"))(X), gc.DeclarationError, "no input has the dimension 'n'"),
    ],
)
def test_refused(call: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(gc.function(lambda x: x))


def test_a_function_as_it_was_traced_is_told_with_an_error() -> None:
    with pytest.raises(gc.DeclarationError) as found:
        gc.function(lambda x, k: [x[i] for i in range(k)])(X, 2)
    assert found.value.__notes__ == [
        "traced as <lambda>(x: float64[3], k: int64[]); gc.function(static='k') has the number itself"
    ]


def test_sizes_that_do_not_fit_are_told_at_the_line_that_needs_them() -> None:
    def product(x: Any, w: Any) -> Any:
        return x @ w  # here

    f = gc.function(product)
    for _ in range(2):  # before and after it has been compiled
        with pytest.raises(gc.InputError, match=r"x_1 == w_0 must hold(.|\n)*# here"):
            f(np.ones((2, 3)), np.ones((4, 5)))
        f(np.ones((2, 3)), np.ones((3, 5)))
    with pytest.raises(gc.InputError, match="x_1 == w_0 must hold"):
        f(np.ones((2, 3)), w=np.ones((4, 5)))


def test_a_node_from_around_has_no_value_in_a_call() -> None:
    x = gc.input("around", ("n",))
    with pytest.raises(gc.DeclarationError, match=r"uses input 'around'.*which has no value in a call"):
        gc.function(lambda y: x * y)(X)


def test_a_list_that_holds_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(gc.DeclarationError, match="argument x holds itself"):
        gc.function(lambda x: x)(endless)


def test_what_the_function_raises_comes_out_and_nothing_is_kept() -> None:
    broken = True

    @gc.function
    def f(x: Any) -> Any:
        if broken:
            raise KeyError("mine")
        return x + 1.0

    with pytest.raises(KeyError, match="mine"):
        f(X)
    broken = False
    same(f(X), X + 1)


def test_an_int_that_does_not_fit_is_told_after_one_that_did() -> None:
    f = gc.function(lambda x, k: x * k)
    same(f(X, 2), 2 * X)
    with pytest.raises(gc.DTypeError, match="does not fit int64"):
        f(X, 2**70)


def test_positions_out_of_range_are_told_as_they_are() -> None:
    f = gc.function(lambda x, k: x[k])
    for k in (1, 7):
        for _ in range(2):
            if k == 1:
                same(f(X, k), 1.0)
            else:
                with pytest.raises(gc.InputError, match="7"):
                    f(X, k)


# threads and forks


def test_threads_that_call_first_at_once_trace_once() -> None:
    f, start, found = Counted(lambda x: gc.sum(gc.exp(x))), threading.Barrier(6), []

    def call() -> None:
        start.wait()
        found.append(float(f.of(X)))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(found)) == 1
    assert f.runs == 1


def test_threads_that_call_with_other_sizes_and_dtypes() -> None:
    @gc.function
    def f(x: Any, a: Any) -> Any:
        first, *_ = x
        return gc.sum(x * x) * a + first

    failed: list[Any] = []

    def call(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(150):
            x = rng.integers(1, 5, rng.integers(1, 5)).astype(rng.choice(["float32", "float64", "int32"]))
            a = [2.0, 3, x[0], x[:1].reshape(())][rng.integers(4)]
            try:
                same(f(x, a), np.add(np.sum(x * x) * a, x[0]))
            except Exception as error:
                failed.append((x, a, error))

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    assert f.stats["specialisations"] <= 4 * 3 * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_does_not_wait_for_a_thread_that_is_not_there() -> None:
    f, held, done = Counted(lambda x: gc.sum(gc.exp(x))), threading.Event(), threading.Event()
    f.of(X)  # what a child would have to compile it can't while a thread compiles
    key = Call(Signature.of(f.of, ()), (X.astype(np.float32),), {}).key

    def hold() -> None:
        with f.of._made.lock(key):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        try:
            os._exit(int(f.of(X.astype(np.float32)) != np.exp(X.astype(np.float32)).sum()))
        finally:
            os._exit(2)
    ended: tuple[int, int] = (0, -1)
    for _ in range(600):
        ended = os.waitpid(child, os.WNOHANG)
        if ended[0]:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
    done.set()
    thread.join()
    assert ended == (child, 0)
