"""vmap: each batched program against its function on one example after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from support_loops import check_slopes, close, values

import graphc as gc
from graphc.dims import symbols
from graphc.errors import DeclarationError, ShapeError
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import Family

RNG = np.random.default_rng(3)


def one_by_one(function: Callable[..., Any], arrays: Sequence[Any], axes: Sequence[int | None], size: int) -> Any:
    """What the function gives for each example, stacked along the first axis."""
    rows = []
    for k in range(size):
        row = [a if axis is None else np.take(a, k, axis) for a, axis in zip(arrays, axes, strict=True)]
        inputs = [gc.input(f"x{j}", np.shape(a), np.asarray(a).dtype) for j, a in enumerate(row)]
        rows.append(interpret(Graph((gc.constant(0.0) + function(*inputs),), tuple(inputs)), row)[0])
    return np.stack(rows)


def check(function: Callable[..., Any], *arrays: Any, axes: Sequence[int | None], slopes: bool = True) -> Node:
    """The batched function gives what it gives one by one, and its gradient is the slope."""
    arrays = tuple(np.asarray(a) for a in arrays)
    inputs = [gc.input(f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    found: Node = gc.vmap(function, in_axes=tuple(axes))(*inputs)
    sizes = {a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None}
    (size,) = sizes
    (got,) = values([found], inputs, arrays)
    close([got], [one_by_one(function, arrays, axes, size)])
    if slopes:
        check_slopes(gc.sum(gc.sin(found)), inputs, arrays)
    return found


A, B, C = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=3)
M, N = RNG.normal(size=(4, 3, 2)), RNG.normal(size=(2, 5))
FAMILIES: dict[str, Callable[..., Any]] = {
    "elementwise": lambda x, y: gc.sin(x) * y + x,
    "ranks": lambda x, y: x[0] * y[:, None] + gc.where(y > 0, x[1], y),
    "sum": lambda x, y: gc.sum(x * y),
    "reductions": lambda x, y: gc.max(gc.outer(x, y), axis=1) + gc.logsumexp(x) + gc.var(y) + gc.prod(x),
    "movement": lambda x, y: gc.concat([gc.flip(x), gc.reshape(gc.stack([y, x]), -1)[1:], [1.0]]),
    "broadcast": lambda x, y: gc.broadcast_to(x, (2, 5, 3)) * gc.broadcast_to(y[0], (2, 1, 3)),
    "pad": lambda x, y: gc.pad(x, (1, 2), constant_values=2.0)[::2] * y[0],
    "transpose": lambda x, y: gc.permute_dims(gc.outer(x, y), (1, 0)),
    "products": lambda x, y: gc.outer(x, y) @ gc.outer(y, y) @ x,
    "scans": lambda x, y: gc.cumulative_sum(x) * gc.cumulative_prod(gc.outer(x, y), axis=0),
    "sort": lambda x, y: gc.sort(x) + gc.sort(x + y, descending=True),
    "gather": lambda x, y: gc.take(x, gc.argsort(y)) + gc.take(x, [0, 0, -1]) * y,
    "argmax": lambda x, y: gc.take(x, gc.argmax(y)) * y,
    "scatter": lambda x, y: gc.grad(gc.sum(gc.take(x, gc.argsort(y)) * gc.sin(gc.take(x, [1, 1, 2]))), x),
    "softmax": lambda x, y: gc.softmax(x) * gc.log_softmax(y),
    "iota": lambda x, y: gc.astype(gc.arange(3), "float64") * x[0] + y,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name: str) -> None:
    """Both operands batched, and one of them shared."""
    function = FAMILIES[name]
    check(function, A, B, axes=(0, 0))
    check(function, A, C, axes=(0, None))
    check(function, C, B.T, axes=(None, -1))


def test_a_batch_of_one_and_of_none() -> None:
    for name, function in FAMILIES.items():
        x, y = gc.input("x", ("batch", 3)), gc.input("y", (3,))
        for axes, left, right in (((0, None), x, y), ((None, 0), y, x)):
            node = gc.vmap(function, axes)(left, right)
            assert [str(d) for d in node.shape[:1]] == ["batch"], name
            for size in (0, 1, 2):
                arrays = [A[:size], C]
                (found,) = interpret(Graph((node,), (x, y)), arrays)
                row = [arrays[k] for k in ((0, 1) if axes == (0, None) else (1, 0))]
                if size:
                    close([found], [one_by_one(function, row, axes, size)])
                else:
                    assert found.shape[0] == 0


def test_a_symbolic_batch_compiles_to_one_program() -> None:
    x, w = gc.input("x", ("batch", "n")), gc.input("w", ("n", "n"))
    node = gc.vmap(lambda x: gc.grad(gc.sum(gc.tanh(w @ x)), w))(x)
    f = gc.compile([x, w], node)
    for b, n in ((1, 1), (3, 2), (0, 2), (2, 0)):
        xs, ws = RNG.normal(size=(b, n)), RNG.normal(size=(n, n))
        close([f(xs, ws)], [np.einsum("bi,bj->bij", 1 - np.tanh(xs @ ws.T) ** 2, xs)])


def test_axes_in_and_out() -> None:
    x, y = gc.input("x", (2, 4, 3)), gc.input("y", (4, 5))

    def function(p: Any, scale: Any) -> Any:
        return {"a": p["x"] * scale, "b": [gc.sum(p["y"]), scale * 2.0]}

    outs = {"a": -1, "b": [0, None]}
    found = gc.vmap(function, in_axes=({"x": -2, "y": 0}, None), out_axes=outs)({"x": x, "y": y}, 2.0)
    assert found["a"].shape == (2, 3, 4)
    assert found["b"][0].shape == (4,)
    assert found["b"][1].shape == ()
    a, b = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(4, 5))
    close(
        values([found["a"], *found["b"]], [x, y], [a, b]),
        [np.moveaxis(2 * a, 1, -1), b.sum(axis=1), 4.0],
    )


def test_arguments_that_are_shared_may_be_anything() -> None:
    x = gc.input("x", (4, 3))
    found = gc.vmap(lambda x, how, n: getattr(gc, how)(x) * n, in_axes=(0, None, None))(x, "sum", 3)
    close(values([found], [x], [A]), [3 * A.sum(axis=1)])


def test_what_is_not_batched_stays_as_it_is() -> None:
    x, w = gc.input("x", (4, 3)), gc.input("w", (3, 3))
    found = gc.vmap(lambda x: gc.exp(w) @ x + gc.sum(w))(x)
    shapes = {n.shape for n in Graph((found,)).nodes if n.op.name in ("exp", "sum")}
    assert shapes == {(3, 3), ()}
    assert not any(n.op.name == "broadcast_to" for n in Graph((found,)).nodes)


def test_a_result_that_is_the_same_for_all_is_repeated() -> None:
    x, w = gc.input("x", (4, 3)), gc.input("w", (2,))
    found = gc.vmap(lambda x: (w, x), out_axes=1)(x)
    close(values(found, [x, w], [A, [1.0, 2.0]]), [np.repeat([[1.0], [2.0]], 4, axis=1), A.T])


def test_nested() -> None:
    x, y = gc.input("x", (4, 3)), gc.input("y", (5, 3))
    found = gc.vmap(lambda a: gc.vmap(lambda b: gc.sum(gc.tanh(a * b)))(y))(x)
    q = RNG.normal(size=(5, 3))
    close(values([found], [x, y], [A, q]), [np.tanh(A[:, None] * q[None]).sum(axis=-1)])
    check_slopes(gc.sum(found**2), [x, y], [A, q])


def test_nested_over_one_node_in_two_places() -> None:
    x = gc.input("x", (2, 3, 4))
    v = RNG.normal(size=(2, 3, 4))
    inner = gc.vmap(lambda v, w: v * gc.sum(w), in_axes=(0, 1))
    found = gc.vmap(inner, in_axes=(1, 1), out_axes=-1)(x, gc.permute_dims(x, (2, 1, 0)))
    close(values([found], [x], [v]), [np.einsum("ijk,ijl->ikj", v, np.ones((2, 3, 1)) * v.sum(axis=2)[..., None])])
    twice = gc.vmap(lambda a, b: a * gc.sum(b))(x, x)
    close(values([twice], [x], [v]), [v * v.sum(axis=(1, 2), keepdims=True)])


def test_gradients_inside_and_outside() -> None:
    def function(x: Any, y: Any) -> Any:
        return gc.grad(gc.sum(gc.sin(x) * y * x), x)

    check(function, A, B, axes=(0, 0))
    check(lambda x, y: gc.hessian(gc.sum(gc.sin(x) * y * x) ** 2, x), A, B, axes=(0, 0))
    check(lambda x, y: gc.jacobian(gc.outer(x, gc.sin(x * y)), y), A, B, axes=(0, 0))
    check(lambda x, y: gc.hvp(gc.sum(gc.sin(x) * y * x) ** 2, x, y), A, B, axes=(0, 0))


# loops and choices


def test_a_loop_whose_carry_becomes_batched() -> None:
    """The carry begins alike for all examples; the position and a running count stay so."""

    def function(x: Any, y: Any) -> Any:
        def step(carry: Any, e: Any) -> Any:
            c, count = carry
            return (gc.sin(c) * e + count, count + 1.0), (c * x, count)

        (c, count), (ys, counts) = gc.scan(step, (1.0, 0.0), y)
        return c + count + gc.sum(ys) + gc.sum(counts)

    node = check(function, A, B, axes=(0, 0))
    (loop,) = [n for n in Graph((node,)).nodes if n.op.family is Family.LOOP]
    assert sorted(len(t.shape) for t in loop.types) == [0, 1, 1, 3]
    check(function, A, C, axes=(0, None))
    check(function, C, B, axes=(None, 0))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", [None, 2])
def test_loops_of_matrices(reverse: bool, checkpoint: int | None) -> None:
    def function(x: Any, m: Any) -> Any:
        c, ys = gc.scan(
            lambda c, e: (gc.tanh(m @ c) * e, c[0]), x, gc.sin(x), reverse=reverse, checkpoint=checkpoint
        )
        return c + ys

    check(function, A, RNG.normal(size=(3, 3)), axes=(0, None))
    check(function, C, RNG.normal(size=(3, 4, 3)), axes=(None, 1))


def test_loops_in_loops_and_maps() -> None:
    def function(x: Any, y: Any) -> Any:
        return gc.map(lambda e: gc.fori_loop(0, 3, lambda i, c: c * e + y[0], x), y)

    check(function, A, B, axes=(0, 0))
    check(function, A, C, axes=(0, None))


def test_positions_of_a_loop() -> None:
    def function(x: Any, y: Any) -> Any:
        return gc.fori_loop(0, 3, lambda i, c: c + gc.take(x, i) * gc.take(y, 2 - i), gc.sum(y))

    check(function, A, B, axes=(0, 0))
    check(function, C, B, axes=(None, 0))


def test_a_while_loop_that_ends_for_each_example_by_itself() -> None:
    def function(x: Any, y: Any) -> Any:
        def going(c: Any) -> Any:
            return gc.sum(c[0] * c[0]) < 30.0

        found, steps = gc.while_loop(going, lambda c: (c[0] * 1.5 + y, c[1] + 1), (x, 0), bound=20)
        return found * gc.astype(steps, "float64")

    check(function, A, B, axes=(0, 0))
    check(function, A, C, axes=(0, None))
    check(function, A * 100, B, axes=(0, 0))


def test_a_while_loop_whose_condition_is_the_same_for_all() -> None:
    def function(x: Any, y: Any) -> Any:
        return gc.while_loop(lambda c: c[1] < 3, lambda c: (c[0] * gc.sin(y) + x, c[1] + 1), (x, 0), bound=5)[0]

    node = check(function, A, B, axes=(0, 0))
    (loop,) = [n for n in Graph((node,)).nodes if n.op.family is Family.WHILE]
    assert not any(n.op.name == "where" for n in loop.attrs["body"].nodes)


def test_those_that_are_done_read_nothing_out_of_range() -> None:
    """Each example stops at the first number that is negative, or at the end, whose position is none."""

    def function(x: Any, y: Any) -> Any:
        return gc.while_loop(
            lambda c: gc.logical_and(c[0] < 3, c[1] > -1.0),
            lambda c: (c[0] + 1, gc.minimum(c[1], gc.take(x, c[0]))),
            (0, 5.0),
        )[1]

    check(function, np.array([[1.0, 2.0, 3.0], [1.0, -2.0, 3.0], [-3.0, 1.0, 1.0]]), C, axes=(0, None), slopes=False)


def test_a_choice_for_all_stays_a_choice() -> None:
    def function(x: Any, y: Any) -> Any:
        return gc.cond(gc.sum(y) > 0, lambda a: a * y[0], lambda a: (a - 1.0) * gc.sum(a), x)

    node = check(function, A, C, axes=(0, None))
    assert sum(n.op.family is Family.CHOICE for n in Graph((node,)).nodes) == 1


def test_a_choice_for_each_example_selects() -> None:
    def function(x: Any, y: Any) -> Any:
        return gc.cond(x[0] > 0, lambda a: gc.sqrt(a[0]) * y, lambda a: y * 2.0, x)

    node = check(function, A, B, axes=(0, 0))
    assert not any(n.op.family is Family.CHOICE for n in Graph((node,)).nodes)
    check(function, A, C, axes=(0, None))


def test_numbers_of_branches_that_are_out_of_range() -> None:
    def function(k: Any, x: Any) -> Any:
        return gc.switch(k, [gc.sin, gc.cos, lambda x: x * x], x)

    check(function, np.array([-3, 0, 1, 2, 9]), C, axes=(0, None))
    check(function, np.array([2]), RNG.normal(size=(1, 3)), axes=(0, 0))


def test_branches_that_are_not_taken_do_nothing() -> None:
    """Neither a position out of range nor a loop without end harms an example that the branch is not for."""

    def function(k: Any, x: Any) -> Any:
        def read(k: Any) -> Any:
            return gc.take(x, k)

        def turn(k: Any) -> Any:
            return gc.astype(gc.while_loop(lambda c: c != 7, lambda c: gc.where(c > 7, c, c + 1), k), "float64")

        def inner(k: Any) -> Any:
            return gc.cond(k > 7, lambda k: gc.astype(k, "float64"), turn, k)

        return gc.cond(k < 3, read, inner, k)

    check(function, np.array([0, 2, 5, 7, 8, 100]), C, axes=(0, None), slopes=False)
    check(function, np.array([0, 2, 1]), C, axes=(0, None), slopes=False)


def test_positions_that_all_share_in_a_branch_that_none_takes() -> None:
    def function(x: Any, k: Any) -> Any:
        return gc.cond(x > 0, lambda x: x * gc.take(gc.constant([1.0, 2.0]), k), lambda x: x, x)

    x, k = gc.input("x", (3,)), gc.input("k", (), "int64")
    node = gc.vmap(function, (0, None))(x, k)
    close(values([node], [x, k], [[-1.0, -2.0, -3.0], 9]), [[-1.0, -2.0, -3.0]])


def test_inside_of_a_step() -> None:
    """vmap within scan, over what the loop carries, with a vmap around both."""

    def function(x: Any, y: Any) -> Any:
        return gc.scan(lambda c, e: (gc.vmap(lambda a, b: gc.sin(a) * b + e)(c, y), None), x, y)[0]

    check(function, A, B, axes=(0, 0))


def test_integers_and_bools() -> None:
    def function(k: Any, x: Any) -> Any:
        return gc.astype(gc.any(k > 1), "float64") + gc.sum(k) // 2 * gc.astype(gc.argmax(x), "int64")

    check(function, np.arange(12).reshape(4, 3), B, axes=(0, 0), slopes=False)


def test_searches() -> None:
    def function(x: Any, y: Any) -> Any:
        return gc.searchsorted(gc.sort(x), y)

    for axes in ((0, 0), (0, None), (None, 0)):
        x, y = (C if axis is None else a for axis, a in zip(axes, (A, B), strict=True))
        check(function, x, y, axes=axes, slopes=False)


def test_reads_and_updates_at_positions() -> None:
    """Pairs of positions, of which the source, the positions, the values, or all are batched."""

    def function(m: Any, k: Any, v: Any) -> Any:
        return gc.sin(m.at[k, [1, 0, 1]].add(v).at[0].multiply(v[:2]))[k, 1] * m[[0, 2, 1], k % 2]

    m, k = RNG.normal(size=(4, 3, 2)), np.array([[0, 1, 2], [2, 0, 0], [1, 1, -1], [0, -2, 0]])
    for axes in ((0, 0, 0), (0, None, None), (None, 0, None), (None, None, 0), (0, 0, None)):
        args = [a if axis == 0 else a[0] for axis, a in zip(axes, (m, k, A), strict=True)]
        check(function, *args, axes=axes)


def test_several_results_of_a_node() -> None:
    from support_ops import sin_cos

    x = gc.input("x", (4, 3))
    found = gc.vmap(lambda x: sin_cos(x))(x)
    close(values(found, [x], [A]), [np.sin(A), np.cos(A)])


def test_two_symbols_for_the_batch_must_agree() -> None:
    x, y = gc.input("x", ("a",)), gc.input("y", ("b",))
    node = gc.vmap(lambda x, y: x + y)(x, y)
    assert len(symbols(node.shape[0])) == 1
    f = gc.compile([x, y], node)
    close([f([1.0], [2.0])], [[3.0]])
    with pytest.raises(gc.InputError):
        f([1.0], [2.0, 3.0])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: gc.vmap(3), DeclarationError, "takes a function"),
        (lambda x: gc.vmap(gc.sin, None)(x), DeclarationError, "at least one argument"),
        (lambda x: gc.vmap(gc.sin)(), DeclarationError, "at least one argument"),
        (lambda x: gc.vmap(gc.sin, 2)(x), ShapeError, "argument 0: axis 2 does not exist"),
        (lambda x: gc.vmap(gc.sin, 0.5)(x), ShapeError, "an axis is an int"),
        (lambda x: gc.vmap(gc.sin, (0, 0))(x), DeclarationError, "tells of 2 arguments, and there are 1"),
        (lambda x: gc.vmap(gc.add)(x, 1.0), ShapeError, "argument 1 has no axis for the batch"),
        (lambda x: gc.vmap(gc.add)(x, x.mT), ShapeError, "must have one size, got 4, 3"),
        (lambda x: gc.vmap(lambda t: t[0], ([0, 1],))([x]), DeclarationError, r"in_axes \[0, 1\] do not fit"),
        (lambda x: gc.vmap(gc.sin, 0, (0, 0))(x), DeclarationError, "out_axes"),
        (lambda x: gc.vmap(gc.sin, 0, None)(x), DeclarationError, "differs between examples"),
        (lambda x: gc.vmap(gc.sin, 0, 5)(x), ShapeError, "result: axis 5 does not exist"),
        (lambda x: gc.vmap(lambda x: "a")(x), gc.GraphcError, "result can't be a node"),
    ],
)
def test_what_can_not_be(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call(gc.input("x", (4, 3)))


def test_random_nests_of_families() -> None:
    """Two functions, one after the other, under two batches."""
    names = sorted(FAMILIES)
    for first, second in itertools.islice(itertools.product(names, names), 0, None, 7):
        f, g = FAMILIES[first], FAMILIES[second]

        def function(x: Any, y: Any, f: Any = f, g: Any = g) -> Any:
            return g(gc.reshape(f(x, y), -1)[:3] if f(x, y).ndim else gc.stack([f(x, y)] * 3), x)

        x, y = gc.input("x", (2, 4, 3)), gc.input("y", (4, 3))
        node = gc.vmap(gc.vmap(function), in_axes=(0, None))(x, y)
        whole = np.stack([A, B])
        (found,) = interpret(Graph((node,), (x, y)), [whole, A[::-1]])
        for k in range(2):
            close([found[k]], [one_by_one(function, [whole[k], A[::-1]], (0, 0), 4)])


@pytest.mark.parametrize("first", [[1.0, 4.0, 9.0], [-1.0, -4.0, -9.0], [1.0, -4.0, -0.5]])
def test_slopes_of_what_examples_share_where_some_do_not_take_the_branch(first: list[float]) -> None:
    """At examples that are idle the branch is NaN or infinite; what they share must not hear of it."""
    z = np.stack([first, [1.0, 2.0, 3.0]], axis=1)
    w = np.array([[1.0, 2.0], [0.5, -1.0]])
    zs, ws, s = gc.input("z", (3, 2)), gc.input("w", (2, 2)), gc.input("s", ())

    def function(v: Any) -> Any:
        return gc.cond(v[0] > 0, lambda: gc.sum(ws @ gc.log(v)) * gc.sqrt(s), lambda: gc.sum(v))

    y = gc.sum(gc.vmap(function)(zs))
    found = values([y, *gc.grad(y, [ws, s, zs])], [zs, ws, s], [z, w, 0.25])
    taken = z[z[:, 0] > 0]
    logs = np.log(taken).sum(axis=0)
    slopes = np.where(z[:, :1] > 0, w.sum(axis=0) / np.abs(z) * 0.5, 1.0)
    close(found[1:], [np.tile(0.5 * logs, (2, 1)), np.sum(w @ logs), slopes])
    (idle,) = values([gc.grad(y, s)], [zs, ws, s], [-np.abs(z), w, 0.0])
    assert idle == 0.0
