"""Symbolic dimensions through every shape op and subscript: types, values at several sizes, constraints, gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import evaluate, seeded

import graphc as gc
from graphc.dims import Poly, symbol
from graphc.dims import evaluate as size_of
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.types import Constraint

SIZES = (0, 1, 2, 3, 7)

# Each as graphc and as NumPy write it, of x with shape (n, 4) and y with shape (n,).
ALIKE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "merge": lambda lib, x, y: lib.reshape(x, (-1,)),
    "split off": lambda lib, x, y: lib.reshape(x, (-1, 2)),
    "unit axes": lambda lib, x, y: lib.reshape(x, (1, -1, 1, 4)),
    "expand_dims": lambda lib, x, y: lib.expand_dims(x, (0, -1)),
    "squeeze": lambda lib, x, y: lib.squeeze(lib.expand_dims(x, 1), axis=1),
    "permute_dims": lambda lib, x, y: lib.permute_dims(x),
    "matrix_transpose": lambda lib, x, y: lib.matrix_transpose(x),
    "moveaxis": lambda lib, x, y: lib.moveaxis(x, 0, -1),
    "concat rows": lambda lib, x, y: lib.concat([x, x[1:], x]),
    "concat columns": lambda lib, x, y: lib.concat([x, y[:, None]], axis=1),
    "concat flat": lambda lib, x, y: lib.concat([x, y], axis=None),
    "stack": lambda lib, x, y: lib.stack([y, y * 2], axis=-1),
    "flip": lambda lib, x, y: lib.flip(x),
    "flip rows": lambda lib, x, y: lib.flip(x, axis=0),
    "pad": lambda lib, x, y: lib.pad(x, ((2, 1), (0, 3)), constant_values=0.5),
    "add": lambda lib, x, y: x[1:] - x[:-1],
    "ends": lambda lib, x, y: y[:3] + y[-3:],
    "rotate": lambda lib, x, y: lib.concat([y[2:], y[:2]]) + y,
    "every other": lambda lib, x, y: x[::2, ::-2],
    "both": lambda lib, x, y: x[::-1][1:-1, 1:3],
    "new axes": lambda lib, x, y: x[None, ..., None, 1:],
    "column": lambda lib, x, y: x[:, -2],
    "columns": lambda lib, x, y: x[1:, [3, 0, 3, -1]],
    "half": lambda lib, x, y: y[: y.shape[0] // 2],
    "sum": lambda lib, x, y: lib.sum(x, axis=0, keepdims=True),
    "mean": lambda lib, x, y: lib.mean(x, axis=-1),
    "var": lambda lib, x, y: lib.var(x, axis=1, correction=1),
    "product": lambda lib, x, y: lib.matmul(lib.permute_dims(x), x),
    "outer": lambda lib, x, y: lib.outer(y, x),
    "einsum": lambda lib, x, y: lib.einsum("ni,n,nj->ij", x, y, x),
    "tensordot": lambda lib, x, y: lib.tensordot(x, y, axes=(0, 0)),
}


def inputs() -> tuple[Node, Node]:
    return gc.input("x", ("n", 4)), gc.input("y", ("n",))


def values(n: int) -> tuple[Any, Any]:
    rng = seeded("shapes", n)
    return rng.normal(size=(n, 4)), rng.normal(size=n)


def constraints(*outputs: Node) -> list[Constraint]:
    return [c for node in Graph(outputs).nodes for c in node.constraints]


def holds(c: Constraint, **sizes: int) -> bool:
    left, right = size_of(c.left, sizes), size_of(c.right, sizes)
    return left == right if c.relation == "==" else left >= right


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ALIKE)
def test_one_declaration_serves_every_size(name: str, n: int) -> None:
    x, y = inputs()
    node = ALIKE[name](gc, x, y)
    arrays = values(n)
    expected = ALIKE[name](np, *arrays)
    assert tuple(size_of(d, {"n": n}) for d in node.shape) == expected.shape
    np.testing.assert_allclose(evaluate([node], (x, y), arrays)[0], expected, rtol=1e-13, atol=1e-13)
    assert all(holds(c, n=n) for c in constraints(node)), "NumPy has no objection to this size"


@pytest.mark.parametrize("name", ALIKE)
def test_gradient_is_that_of_fixed_sizes(name: str) -> None:
    arrays = values(3)
    found = []
    for leaves in (inputs(), (gc.input("x", (3, 4)), gc.input("y", (3,)))):
        node = ALIKE[name](gc, *leaves)
        f = gc.sum(gc.sin(node) * node)
        first = gc.grad(f, leaves)
        second = gc.grad(gc.sum(first[0] * leaves[0]) + gc.sum(first[1] * leaves[1]), leaves)
        found.append(evaluate([*first, *second], leaves, arrays))
    for symbolic, fixed in zip(*found, strict=True):
        np.testing.assert_allclose(symbolic, fixed, rtol=1e-12, atol=1e-12)
    assert any(np.any(part != 0) for part in found[0])


BOUNDS = (None, *range(-6, 7))
STEPS = (None, 1, 2, 3, -1, -2, -5)


@pytest.mark.parametrize("step", STEPS)
def test_slices_are_those_of_python_at_every_size(step: int | None) -> None:
    y = gc.input("y", ("n",))
    for first, last in itertools.product(BOUNDS, BOUNDS):
        key = slice(first, last, step)
        node = y[key]
        for n in range(8):
            expected = range(*key.indices(n))
            assert size_of(node.shape[0], {"n": n}) == len(expected), f"{key} of {n}"
            if expected and node is not y:
                (begin,), (stride,) = node.attrs["start"], node.attrs["step"]
                assert [size_of(begin, {"n": n}) + k * stride for k in range(len(expected))] == list(expected), f"{key}"


def test_slices_that_are_equal_at_every_size_have_one_length() -> None:
    y = gc.input("y", ("n",))
    for one, other in ((y[1:], y[:-1]), (y[:3], y[-3:]), (y[2:5], y[-5:-2]), (y[2:-1], y[1:-2]), (y[::-1][:2], y[:2])):
        assert one.shape == other.shape
    assert gc.concat([y[:2], y[2:]]).shape == y.shape
    assert str(y[1:].type) == "float64[max(0, n - 1)]"
    assert not constraints(y[1:] + y[:-1], y[:3] + y[-3:])


CHECKED = {
    "last": (lambda x, y, q: y[-1], ("n - 1", ">=", "0", "index n - 1 must lie on axis 0, which has length n")),
    "fourth": (lambda x, y, q: y[3], ("n - 4", ">=", "0", "index 3 must lie on axis 0, which has length n")),
    "fourth last": (lambda x, y, q: y[-4], ("n - 4", ">=", "0", "index n - 4 must lie on axis 0, which has length n")),
    "thirds": (
        lambda x, y, q: gc.reshape(x, (-1, 3)),
        ("3*(4*n // 3)", "==", "4*n", "3 must divide 4*n, the number of elements of [n, 4]"),
    ),
    "other symbol": (
        lambda x, y, q: gc.reshape(x, ("m", 3)),
        ("3*m", "==", "4*n", "[n, 4] must have as many elements as [m, 3]"),
    ),
    "largest": (
        lambda x, y, q: gc.max(x, axis=0),
        ("n", ">=", "1", "axis 0 must not be empty: an extreme value of nothing does not exist"),
    ),
    "position": (
        lambda x, y, q: gc.argmin(x),
        ("4*n", ">=", "1", "axis 0 must not be empty: an extreme value of nothing does not exist"),
    ),
    "broadcast": (
        lambda x, y, q: gc.broadcast_to(y, (2, "m")),
        ("n", "==", "m", "[n] broadcasts to [2, m] only where dimensions are equal or 1"),
    ),
    "joined": (
        lambda x, y, q: gc.stack([y, q]),
        ("n", "==", "m", "lengths of axis 1 must be equal, since axis 0 is joined"),
    ),
    "product": (lambda x, y, q: y @ q, ("n", "==", "m", "dimensions that are paired in a product must be equal")),
    "elementwise": (lambda x, y, q: y * q, ("n", "==", "m", "dimensions that meet elementwise must be equal")),
}


@pytest.mark.parametrize("name", CHECKED)
def test_what_is_not_decided_is_checked_at_the_call(name: str) -> None:
    declare, expected = CHECKED[name]
    (found,) = constraints(declare(*inputs(), gc.input("q", ("m",))))
    assert (str(found.left), found.relation, str(found.right), found.text) == expected


def test_constraints_refuse_exactly_the_sizes_that_numpy_refuses() -> None:
    for name in ("last", "fourth", "fourth last", "thirds", "largest", "position"):
        declare, _ = CHECKED[name]
        (found,) = constraints(declare(*inputs(), gc.input("q", ("m",))))
        for n in range(9):
            allowed = {"last": n >= 1, "thirds": n % 3 == 0, "largest": n >= 1, "position": n >= 1}
            assert holds(found, n=n) == allowed.get(name, n >= 4), f"{name} at {n}"


def test_symbols_never_stand_for_one() -> None:
    x, _ = inputs()
    with pytest.raises(gc.ShapeError, match="axis 0 has length n; only an axis of length 1 can be dropped"):
        gc.squeeze(x, 0)
    assert gc.squeeze(x).shape == x.shape
    (found,) = constraints(x * gc.input("z", ("m", 4)))
    assert found.relation == "=="


def test_errors_with_symbols_name_them() -> None:
    x, y = inputs()
    n: Any = symbol("n")
    with pytest.raises(gc.DeclarationError, match="n - 2 may be negative or not"):
        y[n - 2 :]
    with pytest.raises(gc.ShapeError, match="index n does not lie on axis 0, which has length n"):
        y[n]
    with pytest.raises(gc.ShapeError, match=r"leading dimensions \[n\] and \[n \+ 1\] do not broadcast"):
        gc.matmul(x[:, None, :], gc.pad(x, ((0, 1), (0, 0)))[:, :, None])
    with pytest.raises(gc.ShapeError, match=r"got n and n \+ 1"):
        gc.vecdot(y, gc.pad(y, (0, 1)))
    with pytest.raises(gc.ShapeError, match="3 elements"):
        gc.reshape(gc.input("three", (3,)), ("n", 2, 0))


def test_errors_point_at_the_users_line_and_operands() -> None:
    x, _ = inputs()
    with pytest.raises(gc.ShapeError) as error:
        gc.reshape(x, (-1, 3))[:, 5]
    assert "index 5 does not lie on axis 1, which has length 3" in str(error.value)
    assert "test_shapes.py" in str(error.value)
    assert "operand 0: reshape(...): float64[(4*n // 3), 3]" in str(error.value)


def test_taking_from_and_counting_along_symbolic_axes() -> None:
    x, _ = inputs()
    positions = gc.input("p", ("k", 2), gc.int64)
    rows = gc.take(x, positions, axis=0)
    hot = gc.one_hot(positions, "n", dtype=gc.float32)
    assert str(rows.type) == "float64[k, 2, 4]"
    assert str(hot.type) == "float32[k, 2, n]"
    a, p = values(5)[0], np.array([[0, -1], [4, 2], [1, 1]])
    taken, one = evaluate([rows, hot], (x, positions), (a, p))
    np.testing.assert_array_equal(taken, a[p])
    np.testing.assert_array_equal(one, np.eye(6)[p][:, :, :5])
    (back,) = evaluate([gc.grad(gc.sum(rows), x)], (x, positions), (a, p))
    np.testing.assert_array_equal(back, np.bincount(p.ravel() % 5, minlength=5)[:, None] * np.ones(4))


def test_positions_outside_are_input_errors() -> None:
    x, _ = inputs()
    p = gc.input("p", (2,), gc.int64)
    loss = gc.sum(gc.take(x, p, axis=0))
    for node in (loss, gc.grad(loss, x)):
        with pytest.raises(gc.InputError, match="position -4 does not lie on axis 0, which has length 3"):
            evaluate([node], (x, p), (values(3)[0], np.array([1, -4])))


def test_subscripts_of_fixed_axes_are_numpys() -> None:
    rng = seeded("subscripts")
    a = rng.normal(size=(4, 5, 6))
    x = gc.input("x", a.shape)
    parts = [
        None,
        Ellipsis,
        *(slice(*s) for s in ((None, None, -1), (1, None), (-3, -1), (4, 1, -2), (9, None))),
        0,
        -2,
        3,
    ]
    for _ in range(200):
        key = tuple(parts[k] for k in rng.integers(0, len(parts), rng.integers(1, 5)))
        if sum(k is Ellipsis for k in key) > 1 or sum(k is not None and k is not Ellipsis for k in key) > 3:
            continue
        np.testing.assert_array_equal(evaluate([x[key]], [x], [a])[0], a[key], err_msg=str(key))


def test_sizes_are_known_to_be_at_least_zero() -> None:
    y = gc.input("y", ("n",))
    for node in (y[3:], y[:3], y[1:4], y[::3], y[-4:2], y[: y.shape[0] // 2]):
        assert isinstance(node.shape[0], Poly)
        assert not constraints(gc.mean(node)), "the number of elements is not negative"


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "float32", "bool"])
def test_truth_values_are_numbers_of_every_dtype(dtype: str) -> None:
    k = gc.input("k", (2,), dtype)
    values = np.array([0, 1], dtype)
    for found, wanted in ((k + True, values + True), (gc.constant([True, False], dtype), np.array([1, 0], dtype))):
        (value,) = evaluate([found], [k], [values])
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value, wanted)


def test_nothing_is_read_of_an_array_without_elements() -> None:
    """Reshaped, repeated and reshaped again: every read stays within loops, which do not run."""
    x = gc.input("x", ("n", 0))
    made = (gc.tile(gc.stack([x, x]), 2), gc.repeat(gc.concat([x, x]), 2, axis=1))
    for value in gc.compile([x], made, options=gc.Options(debug=True))(np.zeros((2, 0))):
        assert value.size == 0


@pytest.mark.parametrize("shape", [(0, 0, "n"), (0, 0, "n", "n"), (0, 0, 3), (0, 2, "n"), (2, 0, "n")])
def test_several_axes_without_elements(shape: tuple[int | str, ...]) -> None:
    """Loops over nothing run nowhere, as the check of loops has to know, too."""
    x = gc.input("x", shape)
    y = gc.where(gc.repeat(x, 2, axis=0) > 0, gc.repeat(gc.tanh(x), 2, axis=0), 1.0)
    a = np.zeros([3 if d == "n" else int(d) for d in shape])
    for debug in (False, True):
        found = gc.compile([x], (y, gc.max(y, axis=-1)), options=gc.Options(debug=debug))(a)
        wanted = np.repeat(a, 2, axis=0)
        assert [f.shape for f in found] == [wanted.shape, wanted.shape[:-1]]


def test_gradient_of_what_is_not_in_the_graph_has_no_negative_dimension() -> None:
    x, w, a = gc.input("x", (1, "n", "n", 2), "float64"), gc.input("w", (3, 3, 2, 1), "float64"), gc.input("a", ())
    f = gc.compile([x, w, a], gc.grad(a, [gc.convolution(x, w, padding="valid")]))
    arguments = [np.ones((1, 1, 1, 2)), np.ones((3, 3, 2, 1)), 1.0]
    with pytest.raises(gc.InputError, match="no dimension is negative: n - 2 >= 0 must hold, but with n = 1"):
        f(*arguments)
    assert f(np.ones((1, 4, 4, 2)), *arguments[1:])[0].shape == (1, 2, 2, 1)


def test_interpreter_asks_what_a_call_asks() -> None:
    x = gc.input("x", ("n", "n", 1))
    graph = Graph((gc.max_pool(gc.avg_pool(x[None], 2), 3, strides=1),), (x,))
    with pytest.raises(gc.InputError, match=r"a window reaches over 3 elements, and the axis has \(n // 2\)"):
        interpret(graph, [np.ones((3, 3, 1))])
    assert interpret(graph, [np.ones((7, 7, 1))])[0].shape == (1, 1, 1, 1)
