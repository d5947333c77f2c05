"""Stabilised forms at extreme inputs: value, first and second derivative against exact ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest

import graphc as gc
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.passes import run_pipeline
from graphc.stabilise import stabilise
from graphc.types import FLOATS, DType

Exact = Callable[[Any], Any]
EXTREMES = (-1e4, -800.0, -88.0, -20.0, -1.5, -0.25, 0.0, 0.25, 1.5, 20.0, 88.0, 800.0, 1e4)
SMALL = tuple(x for x in EXTREMES if abs(x) <= 88) + (-1e-6, 1e-6)


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:
    with mpmath.workdps(60):
        yield


def _s(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def _slope(x: Any) -> Any:
    return _s(x) * _s(-x)


def _curve(x: Any) -> Any:
    return _slope(x) * (_s(-x) - _s(x))


def _softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x))


SIGMOID = (_s, _slope, _curve)
SOFTPLUS = (_softplus, _s, _slope)
LOG_SIGMOID = (lambda x: -_softplus(-x), lambda x: _s(-x), lambda x: -_slope(x))
LOG_COMPLEMENT = (lambda x: -_softplus(x), lambda x: -_s(x), lambda x: -_slope(x))
# form; its value, first and second derivative; inputs
FORMS: dict[str, tuple[Callable[[Node], Node], tuple[Exact, Exact, Exact], tuple[float, ...]]] = {
    "log(sigmoid(x))": (lambda x: gc.log(gc.sigmoid(x)), LOG_SIGMOID, EXTREMES),
    "log(sigmoid(-x))": (lambda x: gc.log(gc.sigmoid(-x)), LOG_COMPLEMENT, EXTREMES),
    "log(1 - sigmoid(x))": (lambda x: gc.log(1 - gc.sigmoid(x)), LOG_COMPLEMENT, EXTREMES),
    "log1p(-sigmoid(x))": (lambda x: gc.log1p(-gc.sigmoid(x)), LOG_COMPLEMENT, EXTREMES),
    "1 - sigmoid(x)": (
        lambda x: 1 - gc.sigmoid(x),
        (lambda x: _s(-x), lambda x: -_slope(x), lambda x: -_curve(x)),
        EXTREMES,
    ),
    "log(1 + exp(x))": (lambda x: gc.log(1 + gc.exp(x)), SOFTPLUS, EXTREMES),
    "log(exp(x) + 1)": (lambda x: gc.log(gc.exp(x) + 1), SOFTPLUS, EXTREMES),
    "log1p(exp(x))": (lambda x: gc.log1p(gc.exp(x)), SOFTPLUS, EXTREMES),
    "softplus(x)": (lambda x: gc.softplus(x), SOFTPLUS, EXTREMES),
    "1 / (1 + exp(-x))": (lambda x: 1 / (1 + gc.exp(-x)), SIGMOID, EXTREMES),
    "reciprocal(1 + exp(-x))": (lambda x: gc.reciprocal(1 + gc.exp(-x)), SIGMOID, EXTREMES),
    "exp(x) / (1 + exp(x))": (lambda x: gc.exp(x) / (1 + gc.exp(x)), SIGMOID, EXTREMES),
    "log(exp(x))": (lambda x: gc.log(gc.exp(x)), (lambda x: x, lambda x: 1, lambda x: 0), EXTREMES),
    "log(1 / (1 + exp(-x)))": (lambda x: gc.log(1 / (1 + gc.exp(-x))), LOG_SIGMOID, EXTREMES),
    "exp(x) - 1": (lambda x: gc.exp(x) - 1, (mpmath.expm1, mpmath.exp, mpmath.exp), SMALL),
    "1 - exp(x)": (
        lambda x: 1 - gc.exp(x),
        (lambda x: -mpmath.expm1(x), lambda x: -mpmath.exp(x), lambda x: -mpmath.exp(x)),
        SMALL,
    ),
    "log(1 + x)": (
        lambda x: gc.log(1 + x),
        (mpmath.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2),
        (-0.5, -1e-7, 0.0, 1e-7, 3.0, 1e4),
    ),
    "x**2": (lambda x: x**2, (lambda x: x**2, lambda x: 2 * x, lambda x: 2), EXTREMES),
    "x**3": (lambda x: x**3, (lambda x: x**3, lambda x: 3 * x**2, lambda x: 6 * x), EXTREMES),
    "x**-1": (
        lambda x: x**-1,
        (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
        tuple(x for x in EXTREMES if x),
    ),
}


def _derivatives(y: Node, x: Node) -> tuple[Node, ...]:
    first = gc.grad(gc.sum(y), x)
    return y, first, gc.grad(gc.sum(first), x)


def _evaluated(nodes: tuple[Node, ...], x: Node, value: Any) -> tuple[Any, ...]:
    """Values of the stabilised graph, as the pipeline makes it."""
    graph, _ = stabilise(Graph(nodes, (x,)))
    graph.verify()
    return interpret(graph, [value])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_value_and_derivatives_are_exact_at_extremes(name: str, dtype: DType) -> None:
    form, exact, inputs = FORMS[name]
    points = np.array(inputs, dtype.numpy)
    x = gc.input("x", points.shape, dtype)
    limits = np.finfo(dtype.numpy)
    for order, got in enumerate(_evaluated(_derivatives(form(x), x), x, points)):
        for point, value in zip(points, got, strict=True):
            expected = exact[order](mpmath.mpf(float(point)))
            error = abs(mpmath.mpf(float(value)) - expected)
            bound = 16 * float(limits.eps) * abs(expected) + 4 * float(limits.smallest_normal)
            assert error <= bound, f"derivative {order} of {name} at {point}: {value} instead of {float(expected)}"


ROWS = (
    [0.0, 0.0, 0.0],
    [1e4, 0.0, -1e4],
    [-1e4, -1e4, -9999.0],
    [800.0, 799.0, 1.0],
    [-89.0, 88.0, 87.5],
    [3.0, 1e4, 1e4],
)


def _exact_softmax(row: Any) -> list[Any]:
    top = max(mpmath.mpf(float(v)) for v in row)
    terms = [mpmath.exp(mpmath.mpf(float(v)) - top) for v in row]
    return [t / sum(terms) for t in terms]


def _exact_lse(row: Any) -> Any:
    top = max(mpmath.mpf(float(v)) for v in row)
    return top + mpmath.log(sum(mpmath.exp(mpmath.mpf(float(v)) - top) for v in row))


def _near(got: Any, expected: Any, dtype: DType) -> None:
    """Within 16 epsilons of the value or of 1."""
    expected = np.array([[float(v) for v in row] for row in expected])
    eps = float(np.finfo(dtype.numpy).eps)
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=16 * eps, atol=16 * eps)


SOFTMAXES: dict[str, Callable[[Node], Node]] = {
    "softmax": lambda x: gc.softmax(x),
    "keepdims": lambda x: gc.exp(x) / gc.sum(gc.exp(x), axis=-1, keepdims=True),
    "reshaped": lambda x: gc.exp(x) / gc.reshape(gc.sum(gc.exp(x), axis=1), (x.shape[0], 1)),
    "broadcast": lambda x: gc.exp(x) / gc.broadcast_to(gc.sum(gc.exp(x), axis=1, keepdims=True), x.shape),
    "shifted by hand": lambda x: (
        gc.exp(x - gc.max(x, axis=1, keepdims=True))
        / gc.sum(gc.exp(x - gc.max(x, axis=1, keepdims=True)), axis=1, keepdims=True)
    ),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", SOFTMAXES)
@pytest.mark.parametrize("shape", [(6, 3), ("n", 3), ("n", "m")], ids=str)
def test_softmax_and_its_logarithm(name: str, dtype: DType, shape: Any) -> None:
    rows = np.array(ROWS, dtype.numpy)
    x = gc.input("x", shape, dtype)
    p = SOFTMAXES[name](x)
    log_p = gc.log(p)
    moved = gc.log(gc.permute_dims(p))
    slope = gc.grad(gc.sum(log_p[:, 0]), x)
    weights = gc.arange(x.shape[1], dtype=dtype) + 1
    curve = gc.grad(gc.sum(slope * weights), x)
    got = _evaluated((p, log_p, moved, slope, curve), x, rows)
    exact = [_exact_softmax(row) for row in rows]
    _near(got[0], exact, dtype)
    _near(got[1], [[mpmath.mpf(float(v)) - _exact_lse(row) for v in row] for row in rows], dtype)
    np.testing.assert_array_equal(got[2], got[1].T)
    _near(got[3], [[int(k == 0) - q for k, q in enumerate(row)] for row in exact], dtype)
    curvature = []
    for row in exact:
        mean = sum(w * q for w, q in enumerate(row, start=1))
        curvature.append([-q * (w - mean) for w, q in enumerate(row, start=1)])
    _near(got[4], curvature, dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(6, 3), ("n", 3), ("n", "m")], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_log_of_sum_and_of_mean_of_exp(dtype: DType, shape: Any, keepdims: bool) -> None:
    rows = np.array(ROWS, dtype.numpy)
    x = gc.input("x", shape, dtype)
    y = gc.log(gc.sum(gc.exp(x), axis=1, keepdims=keepdims))
    mean = gc.log(gc.mean(gc.exp(x), axis=1, keepdims=keepdims))
    value, average, slope = _evaluated((y, mean, gc.grad(gc.sum(y), x)), x, rows)
    exact = [[_exact_lse(row)] for row in rows]
    _near(value.reshape(-1, 1), exact, dtype)
    _near(average.reshape(-1, 1), [[v - mpmath.log(3)] for (v,) in exact], dtype)
    _near(slope, [_exact_softmax(row) for row in rows], dtype)


def test_sums_over_nothing_stay_what_they_were() -> None:
    x = gc.input("x", (2, "n"))
    y = gc.log(gc.sum(gc.exp(x), axis=1))
    p = gc.exp(x) / gc.sum(gc.exp(x), axis=1, keepdims=True)
    graph, fired = stabilise(Graph((y, p, gc.grad(gc.sum(y), x)), (x,)))
    assert fired["log of sum of exp"] == fired["softmax"] == 1
    value, shares, slope = interpret(graph, [np.zeros((2, 0))])
    assert value.tolist() == [-np.inf, -np.inf]
    assert shares.shape == slope.shape == (2, 0)


def test_infinities_and_nan_of_log_of_sum_of_exp() -> None:
    rows = np.array([[-np.inf, -np.inf], [-np.inf, 2.0], [np.inf, 1.0], [np.nan, 1.0]])
    x = gc.input("x", (4, 2))
    (value,) = _evaluated((gc.log(gc.sum(gc.exp(x), axis=1)),), x, rows)
    np.testing.assert_array_equal(value, [-np.inf, 2.0, np.inf, np.nan])


def test_chosen_log_probability() -> None:
    """The logarithm of a gathered softmax, as a likelihood of labels is written."""
    x, k = gc.input("x", ("n", 3)), gc.input("k", ("n", 1), gc.int64)
    y = gc.sum(gc.log(gc.take_along_axis(gc.exp(x) / gc.sum(gc.exp(x), axis=1, keepdims=True), k, axis=1)))
    graph, _ = stabilise(Graph((y, gc.grad(y, x)), (x, k)))
    value, slope = interpret(graph, [np.array([[1e4, 0.0, -1e4]]), np.array([[2]])])
    assert value == -2e4
    np.testing.assert_array_equal(slope, [[-1.0, 0.0, 1.0]])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(5, 7), ("n", 7)])
def test_the_slope_of_a_softmax_divides_once(axis: int, shape: Any) -> None:
    x, g = gc.input("x", shape), gc.input("g", shape)
    e = gc.exp(x - gc.stop_gradient(gc.max(x, axis=axis, keepdims=True)))
    y = e / gc.sum(e, axis=axis, keepdims=True)
    outputs = (y, gc.grad(gc.sum(y * g), x))
    graph, records = run_pipeline(Graph(outputs, (x, g)))
    assert sum("slope of softmax" in record["rules"] for record in records) == 1
    assert sum(node.op.name == "divide" for node in graph.nodes) == 1
    rng = np.random.default_rng(0)
    a, w = 300 * rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    terms = np.exp(a - a.max(axis=axis, keepdims=True))
    shares = terms / terms.sum(axis=axis, keepdims=True)
    slope = shares * (w - (w * shares).sum(axis=axis, keepdims=True))
    for got, want in zip(gc.compile([x, g], outputs)(a, w), (shares, slope), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("spread", [lambda s: s, lambda s: s[None, :], lambda s: gc.broadcast_to(s, (3, 3))])
def test_a_sum_that_lies_across_is_another_divisor(spread: Callable[[Node], Node]) -> None:
    """Of a square: the sums of rows divide the rows here, the columns there."""
    x, g, t = (gc.input(name, (3, 3)) for name in "xgt")
    e = gc.exp(x - gc.stop_gradient(gc.max(x, axis=1, keepdims=True)))
    s = gc.sum(e, axis=1)
    a, b, c = (np.random.default_rng(k).normal(size=(3, 3)) for k in range(3))
    terms = np.exp(a - a.max(axis=1, keepdims=True))
    sums = terms.sum(axis=1)
    for sign in (1, -1):
        node = (g / s[:, None] + sign * (t / spread(s))) * e
        want = (b / sums[:, None] + sign * (c / sums)) * terms
        np.testing.assert_allclose(gc.compile([x, g, t], node)(a, b, c), want, rtol=1e-13)


def test_other_quotients_of_exponentials_stay() -> None:
    x, g, s = (gc.input(name, (3, 4)) for name in "xgs")
    e, t = gc.exp(x), gc.sum(gc.exp(x), axis=1, keepdims=True)
    for node in ((g / s - 1 / s) * e, (g / t - 1 / s) * e, (g / t + 1) * e, (g / t - 2 / t) * gc.exp(2 * x)):
        assert "slope of softmax" not in stabilise(Graph((node,)))[1]


LEFT_ALONE = ("log1p(exp(-|x|))", "shifted softmax", "log_softmax", "logsumexp", "wrong axis", "log(2 + x)", "x**2.5")


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_stable_or_something_else_is_left_alone(name: str) -> None:
    x = gc.input("x", (3, 3))
    node = {
        "log1p(exp(-|x|))": lambda: gc.log1p(gc.exp(-gc.abs(x))) + gc.softplus(x),
        "shifted softmax": lambda: gc.softmax(x, axis=0),
        "log_softmax": lambda: gc.log_softmax(x),
        "logsumexp": lambda: gc.logsumexp(x, axis=1),
        "wrong axis": lambda: gc.exp(x) / gc.sum(gc.exp(x), axis=1),
        "log(2 + x)": lambda: gc.log(2 + x),
        "x**2.5": lambda: x**2.5,
    }[name]()
    graph, fired = stabilise(Graph((node,)))
    assert graph.outputs[0] is node
    assert not fired


def test_stabilising_twice_changes_nothing() -> None:
    x = gc.input("x", ("n", "m"))
    nodes = [
        gc.log(gc.sum(gc.exp(x), axis=1)),
        *(gc.log(f(x)) for f in SOFTMAXES.values()),
        *(f(x) for f, _, _ in FORMS.values()),
    ]
    once, fired = stabilise(Graph(tuple(nodes)))
    assert fired
    twice, again = stabilise(once)
    assert not again
    assert all(p is q for p, q in zip(once.outputs, twice.outputs, strict=True))
