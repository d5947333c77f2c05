"""Keys, updates, segments and searches, held against NumPy; what is written in place; what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from support import seeded
from test_schedule import kinds, planned

import graphc as gc
from graphc.schedule.task import Copy, Place, Scatter, writes
from graphc.types import INTEGERS, DType

Values = np.ndarray[Any, Any]


def compiled(node: Any, values: dict[Any, Values]) -> Any:
    """The value by machine code, and the same with every access checked."""
    inputs, given = list(values), list(values.values())
    found = gc.compile(inputs, node)(*given)
    again = gc.compile(inputs, node, options=gc.Options(debug=True))(*given)
    np.testing.assert_allclose(found, again, rtol=1e-15)
    return found


# keys


def random_key(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A key with arrays of several ranks between slices, ints, new axes and an Ellipsis."""
    own = [(), (3,), (2, 1), (2, 3), (1, 3)]
    items: list[Any] = []
    for size in shape[: rng.integers(1, len(shape) + 1)]:
        kind = rng.integers(5)
        if kind < 2:
            items.append(rng.integers(-size, size, own[rng.integers(len(own))]).astype("int64"))
        elif kind == 2:
            items.append(int(rng.integers(-size, size)))
        else:
            ends = [None, 0, 1, -1, 2, -7, 9]
            items.append(slice(*(ends[rng.integers(len(ends))] for _ in range(2)), int(rng.choice([1, 1, 2, -1, -2]))))
        if rng.random() < 0.2:
            items.append(None)
    if rng.random() < 0.3:
        named = sum(item is not None for item in items)
        items.insert(int(rng.integers(len(items) + 1)) if named == len(shape) else len(items), Ellipsis)
    return tuple(items)


@pytest.mark.parametrize("seed", range(12))
def test_keys_of_all_forms_are_numpys(seed: int) -> None:
    """Many keys on arrays of rank 1 to 5, reads and sums at them; the arrays are inputs, or known."""
    rng = seeded("keys", seed)
    nodes, values, expected = [], {}, []
    for k in range(8):
        shape = tuple(int(d) for d in rng.integers(1, 5, rng.integers(1, 6)))
        x = gc.input(f"x{k}", shape)
        values[x] = rng.normal(size=shape)
        key, declared = random_key(rng, shape), []
        for n, item in enumerate(key):
            if isinstance(item, np.ndarray) and rng.random() < 0.7:
                declared.append(gc.input(f"k{k}_{n}", item.shape, item.dtype))
                values[declared[-1]] = item
            else:
                declared.append(item)
        amounts = rng.normal(size=values[x][key].shape)
        nodes += [x[tuple(declared)], x.at[tuple(declared)].add(amounts)]
        whole = values[x].copy()
        np.add.at(whole, key, amounts)
        expected += [values[x][key], whole]
    for actual, wanted in zip(gc.compile(list(values), tuple(nodes))(*values.values()), expected, strict=True):
        assert actual.shape == wanted.shape
        np.testing.assert_allclose(actual, wanted, rtol=1e-14)


@pytest.mark.parametrize("key", list(itertools.product([0, [1, 0], slice(None), None], repeat=3)), ids=str)
def test_where_the_axes_of_arrays_stand(key: tuple[Any, ...]) -> None:
    x = gc.input("x", (2, 3, 4))
    assert x[key].shape == np.zeros((2, 3, 4))[key].shape


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_positions_of_any_integer_dtype(dtype: DType) -> None:
    x, i = gc.input("x", (200,)), gc.input("i", ("n",), dtype)
    a = np.arange(200.0)
    at = np.array([0, 127, 3] if dtype.kind == "u" else [0, -1, -100], dtype.numpy)
    whole = a.copy()
    whole[at] = 7.0
    f = gc.compile([x, i], (x[i], x.at[i].set(7.0)))
    for actual, expected in zip(f(a, at), (a[at], whole), strict=True):
        np.testing.assert_array_equal(actual, expected)
    if dtype.kind == "u":
        wrong = np.array([np.iinfo(dtype.numpy).max], dtype.numpy)
        with pytest.raises(gc.InputError, match=r"gather: position \d+ does not lie on axis 0, which has length 200"):
            f(a, wrong)


def test_symbolic_axes_and_sizes_0_and_1() -> None:
    x, u, i = gc.input("x", ("n", 3, "m")), gc.input("u", ("k", 1), "int32"), gc.input("i", ("j",), "int64")
    f = gc.compile([x, u, i], (x[u, :, i], x.at[u, 1:, i].multiply(2.0), gc.grad(gc.sum(x[u, ::2, i] ** 2), x)))
    for n, m, k, j in ((4, 5, 2, 3), (1, 1, 1, 1), (2, 2, 0, 3), (2, 2, 3, 0), (0, 2, 0, 2), (0, 0, 0, 0)):
        rng = np.random.default_rng(n)
        a = rng.normal(size=(n, 3, m))
        p, q = rng.integers(-n, max(n, 1), (k, 1)).astype("int32"), rng.integers(-m, max(m, 1), j)
        if n == 0 or m == 0:
            p, q = p[:0], q[:0] if m == 0 else q % max(m, 1)
        scaled, slope = a.copy(), np.zeros_like(a)
        np.multiply.at(scaled, (p, slice(1, None), q), 2.0)
        np.add.at(slope, (p, slice(None, None, 2), q), 2 * a[p, ::2, q])
        for actual, expected in zip(f(a, p, q), (a[p, :, q], scaled, slope), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-14)


def test_masks() -> None:
    x, mask, row = gc.input("x", ("n", 3)), gc.input("mask", ("n",), "bool"), gc.input("row", (3,))
    a, chosen, r = np.arange(12.0).reshape(4, 3), np.array([True, False, True, False]), np.array([1.0, 2.0, 3.0])
    expected = a.copy()
    expected[chosen] = r
    np.testing.assert_array_equal(compiled(x.at[mask].set(row), {x: a, mask: chosen, row: r}), expected)
    expected = a.copy()
    expected[a > 4] *= 10
    np.testing.assert_array_equal(compiled(x.at[x > 4].multiply(10.0), {x: a}), expected)
    y = gc.input("y", (4, 3))
    np.testing.assert_array_equal(compiled(y[chosen, 1:], {y: a}), a[chosen, 1:])
    expected = a.copy()
    expected[chosen] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    np.testing.assert_array_equal(compiled(y.at[chosen].set([[1, 2, 3], [4, 5, 6]]), {y: a}), expected)
    np.testing.assert_array_equal(compiled(y[a > 4], {y: a}), a[a > 4])
    with pytest.raises(gc.ShapeError, match=r"the mask has shape \[1\], the axes from 0 on \[n\]"):
        x.at[gc.input("c", (1,), "bool")].set(0.0)


# updates


def test_of_values_of_one_element_the_last_stays_and_alone_gets_a_cotangent() -> None:
    x, v, i = gc.input("x", (3,)), gc.input("v", (4,)), gc.input("i", (4,), "int64")
    y = x.at[i].set(v)
    to_x, to_v = gc.vjp(y, [x, v], [1.0, 10.0, 100.0])
    values = {x: np.zeros(3), v: np.arange(1.0, 5.0), i: np.array([1, 0, -2, 1])}
    assert compiled(y, values).tolist() == [2.0, 4.0, 0.0]
    assert compiled(to_x, values).tolist() == [0.0, 0.0, 100.0]
    assert compiled(to_v, values).tolist() == [0.0, 1.0, 0.0, 10.0]


def test_slopes_at_ties_and_zeros() -> None:
    x, v = gc.input("x", (2,)), gc.input("v", (3,))

    def slopes(y: Any, a: list[float], b: list[float]) -> list[list[float]]:
        return [g.tolist() for g in gc.compile([x, v], gc.vjp(y, (x, v), [1.0, 1.0]))(a, b)]

    for y in (x.at[[0, 0, 1]].max(v), x.at[[0, 0, 1]].min(v)):
        assert slopes(y, [2.0, 0.0], [2.0, 2.0, 0.0]) == [[1 / 3, 0.5], [1 / 3, 1 / 3, 0.5]]
    y = x.at[[0, 0, 1]].multiply(v)
    assert slopes(y, [2.0, 3.0], [0.0, 5.0, 0.0]) == [[0.0, 0.0], [10.0, 0.0, 3.0]]
    assert slopes(y, [2.0, 3.0], [0.0, 0.0, 4.0]) == [[0.0, 4.0], [0.0, 0.0, 3.0]]
    assert slopes(y, [0.0, 3.0], [2.0, 5.0, 4.0]) == [[10.0, 4.0], [0.0, 0.0, 3.0]]


def test_values_that_read_the_array_itself_at_other_elements() -> None:
    x, i = gc.input("x", (6,)), gc.input("i", (3,), "int64")
    a, at = np.arange(1.0, 7.0), np.array([5, 0, 2])
    e = np.exp(a)
    y = gc.exp(x)
    for z, key, values in (
        (y.at[1:].set(y[:-1]), slice(1, None), e[:-1]),
        (y.at[::-1].set(y), slice(None, None, -1), e),
        (y.at[i].add(y[i - 1] * 2.0), at, e[at - 1] * 2.0),
        (y.at[1:].set(y[:-1] * 2.0 + y[1:]), slice(1, None), e[:-1] * 2.0 + e[1:]),
        (y.at[i].set(gc.sum(y)), at, e.sum()),
        (y.at[gc.astype(y[:3] * 0.0, "int64") + 2].set(y[3:]), [2, 2, 2], e[3:]),
    ):
        expected = e.copy()
        if z.op.name == "_scatter" and z.attrs["combine"] == "add":
            np.add.at(expected, key, values)
        else:
            expected[key] = values
        np.testing.assert_allclose(compiled(z, {x: a, i: at}), expected, rtol=1e-15)


def test_modes() -> None:
    x, i = gc.input("x", (3,)), gc.input("i", (4,), "int64")
    values = {x: np.array([1.0, 2.0, 3.0]), i: np.array([-1, -5, 3, 1])}
    assert compiled(x.at[i].get(mode="clip"), values).tolist() == [3.0, 1.0, 3.0, 2.0]
    assert compiled(x.at[i].get(mode="wrap"), values).tolist() == [3.0, 2.0, 1.0, 2.0]
    assert compiled(x.at[i].get(mode="fill", fill_value=9), values).tolist() == [3.0, 9.0, 9.0, 2.0]
    assert compiled(x.at[i].add(10.0, mode="drop"), values).tolist() == [1.0, 12.0, 13.0]
    assert compiled(x.at[i].add(10.0, mode="clip"), values).tolist() == [11.0, 12.0, 23.0]
    assert compiled(x.at[i].add(10.0, mode="wrap"), values).tolist() == [11.0, 22.0, 13.0]
    g = gc.grad(gc.sum(x.at[i].get(mode="fill", fill_value=0.0) ** 2), x)
    assert compiled(g, values).tolist() == [0.0, 4.0, 6.0]
    big = gc.input("big", (2,), "uint64")
    at = np.array([2**64 - 1, 1], np.uint64)
    assert compiled(x.at[big].set(0.0, mode="drop"), {x: values[x], big: at}).tolist() == [1.0, 0.0, 3.0]
    assert compiled(x.at[big].get(mode="clip"), {x: values[x], big: at}).tolist() == [3.0, 2.0]


def test_no_position_of_many_that_are_alike_is_checked() -> None:
    """Where all of an array's positions are one number it is read once, unless there are none of them."""
    x, k = gc.input("x", ("n", 2)), gc.input("k", (), "int64")
    for number, at in ((gc.constant(1), 1), (k, 1), (k + 1, 2)):
        places = gc.broadcast_to(number, (x.shape[0],))
        outputs = gc.take(x, places, axis=0), gc.set_at(x, places, 5.0), x[places, gc.broadcast_to(k, x.shape[:1])]
        f = gc.compile([x, k], outputs)
        for found in f(np.ones((0, 2)), 1):
            assert found.size == 0
        a = np.arange(6.0).reshape(3, 2)
        changed = a.copy()
        changed[at] = 5
        for have, want in zip(f(a, 1), (a[[at] * 3], changed, a[[at] * 3, 1]), strict=True):
            np.testing.assert_array_equal(have, want)
        with pytest.raises(gc.InputError, match="does not lie on axis"):
            f(a[:1], 1)


def test_positions_that_lie_across_the_loops_are_checked_where_they_lie() -> None:
    """Examples along the last axis of the positions: loops copy these by tiles, but not what they check before."""
    x, k = gc.input("x", ("m", 4)), gc.input("k", (1, 64, "e"), "int64")
    f = gc.compile([x, k], gc.vmap(lambda k: gc.take_along_axis(x, k, axis=1), in_axes=2)(k))
    a = np.random.default_rng(0).normal(size=(3, 4))
    for examples in (0, 1, 70):
        at = np.random.default_rng(1).integers(0, 4, (1, 64, examples))
        wanted = np.stack([np.take_along_axis(a, np.repeat(i, 3, 0), 1) for i in np.moveaxis(at, 2, 0)] or [a[:, :0]])
        found = np.asarray(f(a, at))
        assert np.array_equal(found, wanted) if examples else found.shape == (0, 3, 64)
    with pytest.raises(gc.InputError, match="position 4 does not lie on axis 1"):
        f(a[:0], np.full((1, 64, 2), 4))


def test_an_empty_axis_under_every_mode() -> None:
    x, i = gc.input("x", ("n", 2)), gc.input("i", ("k",), "int64")
    filled = gc.compile([x, i], (x.at[i].get(mode="fill", fill_value=5.0), x.at[i].add(1.0, mode="drop")))
    found, whole = filled(np.zeros((0, 2)), np.array([0, -1]))
    assert found.tolist() == [[5.0, 5.0], [5.0, 5.0]]
    assert whole.shape == (0, 2)
    for node in (x.at[i].get(mode="clip"), x[i], x.at[i].add(1.0), x.at[i].set(1.0, mode="clip"), x.at[0].set(1.0)):
        f = gc.compile([x, i], node)
        with pytest.raises(gc.InputError, match="does not lie on axis 0, which has length 0"):
            f(np.zeros((0, 2)), np.array([0]))


# what is written in place

P = gc.parameter("p", np.arange(6.0))
AT, V = gc.input("i", (), "int64"), gc.input("v", ())


def test_an_update_of_a_parameter_writes_its_own_elements_alone() -> None:
    tasks = planned([AT, V], (), {P: P.at[AT].set(V)})[0].tasks
    assert [type(t).__name__ for t in tasks] == ["Nest", "Scatter"]
    assert writes(tasks[1]) == {Place("parameter", 0)}
    p = gc.parameter("p", np.arange(6.0))
    f = gc.compile([AT, V], (), updates={p: p.at[AT].set(V)})
    assert "for" not in f.source.split("def kernel_1")[1].split("# phases")[0], "one element is written"
    f(2, 9.0)
    f(-1, 8.0)
    assert p.value.tolist() == [0.0, 1.0, 9.0, 3.0, 4.0, 8.0]


def test_reads_of_the_old_value_come_before() -> None:
    assert kinds([AT, V], (P[AT], gc.sum(P)), {P: P.at[AT].set(V)})[-1] == "_scatter"
    assert kinds([AT, V], P * 2.0, {P: P.at[AT].set(V)})[-1] == "_scatter"
    assert kinds([AT, V], (), {P: P.at[AT].add(P[AT - 1])})[-1] == "_scatter"
    assert kinds([AT, V], (), {P: P.at[1:].set(P[:-1] * V)}) == ["multiply", "_scatter"]
    assert kinds([AT, V], (), {P: (P * 0.5).at[AT].set(V)}) == ["_position", "where"]
    tasks = planned([AT, V], P.at[AT].set(V), {P: P.at[AT].set(V)})[0].tasks
    assert [type(t) for t in tasks[-2:]] == [Scatter, Copy], "one copy, from the parameter to the output"


def test_several_updates_in_a_row_are_one_array() -> None:
    y = P.at[AT].set(V).at[0].add(1.0).at[AT - 1].multiply(2.0)
    tasks = planned([AT, V], (), {P: y})[0].tasks
    scatters = [t for t in tasks if isinstance(t, Scatter)]
    assert [writes(t) for t in scatters] == [{Place("parameter", 0)}] * 3
    assert not any(isinstance(t, Copy) for t in tasks)
    q = gc.parameter("q", np.arange(6.0))
    chain = q.at[AT].set(V).at[0].add(q[AT]).at[AT - 1].multiply(2.0)
    step = gc.compile([AT, V], gc.sum(q), updates={q: chain})
    assert step(3, 9.0) == 15.0
    assert q.value.tolist() == [3.0, 1.0, 4.0, 9.0, 4.0, 5.0]
    with pytest.raises(gc.InputError, match="position -7"):
        step(-6, 9.0)
    assert q.value.tolist() == [3.0, 1.0, 4.0, 9.0, 4.0, 5.0]
    both = planned([AT, V], P.at[AT].set(V), {P: P.at[AT].set(V).at[0].add(1.0)})[0].tasks
    assert sum(isinstance(t, Scatter) for t in both) == 2
    x = gc.input("x", (50,))
    found = planned([x, AT, V], gc.exp(x).at[AT].set(V).at[0].add(1.0).at[AT - 1].multiply(2.0))[0]
    assert all(Place("output", 0) in writes(t) for t in found.tasks if isinstance(t, Scatter))
    assert not any(isinstance(t, Copy) for t in found.tasks)


def test_a_failed_update_has_changed_nothing() -> None:
    p, q = gc.parameter("p", np.zeros(3)), gc.parameter("q", np.zeros(3))
    i, j = gc.input("i", (2,), "int64"), gc.input("j", (2,), "int64")
    f = gc.compile([i, j], (), updates={p: p.at[i].add(1.0), q: q.at[j].set(1.0)})
    for at in (([0, 1], [0, 3]), ([0, 3], [0, 1]), ([-4, 0], [0, 0])):
        with pytest.raises(gc.InputError, match=r"scatter: position -?\d does not lie on axis 0, which has length 3"):
            f(*at)
        assert not p.value.any()
        assert not q.value.any()
    f([0, 0], [-1, 1])
    assert (p.value.tolist(), q.value.tolist()) == ([2.0, 0.0, 0.0], [0.0, 1.0, 1.0])


def test_two_parameters_that_read_each_other() -> None:
    p, q = gc.parameter("p", np.arange(3.0)), gc.parameter("q", np.arange(3.0, 6.0))
    f = gc.compile([AT], (p, q), updates={p: p.at[AT].set(q[0]), q: q.at[:2].set(p[1:])})
    f(2)
    assert (p.value.tolist(), q.value.tolist()) == ([0.0, 1.0, 3.0], [1.0, 2.0, 5.0])


# segments, bins, searches


def test_segments_without_rows_and_wrong_labels() -> None:
    x, k = gc.input("x", ("n",)), gc.input("k", ("n",), "int8")
    nodes = tuple(getattr(gc, f"segment_{name}")(x, k, 3) for name in ("sum", "prod", "max", "min"))
    f = gc.compile([x, k], nodes)
    assert [y.tolist() for y in f([2.0, 3.0], np.array([2, 2], np.int8))] == [
        [0.0, 0.0, 5.0],
        [1.0, 1.0, 6.0],
        [-np.inf, -np.inf, 3.0],
        [np.inf, np.inf, 2.0],
    ]
    for label in (-1, 3):
        with pytest.raises(gc.InputError, match=f"position {label} does not lie on axis 0, which has length 3"):
            f([1.0], np.array([label], np.int8))
    n = gc.input("n", (4,))
    assert gc.segment_sum(n, [0, 1, 0, 1], "groups").shape[0] == gc.input("g", ("groups",)).shape[0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint64"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_searches_of_every_length(dtype: str, side: Any) -> None:
    x, v = gc.input("x", ("n",), dtype), gc.input("v", ("m",), dtype)
    f = gc.compile([x, v], (gc.searchsorted(x, v, side=side), gc.searchsorted(x[::-1][::2], v, side=side)))
    for n in (0, 1, 2, 3, 7, 8, 9, 100, 1000):
        rng = np.random.default_rng(n)
        a, b = rng.integers(0, 100, n).astype(dtype), rng.integers(0, 110, 50).astype(dtype)
        if dtype.startswith("float"):
            a[: n // 8], b[:5] = np.nan, (np.nan, -0.0, 0.0, np.inf, -np.inf)
        a = np.sort(a)
        assert f(a, b)[0].tolist() == np.searchsorted(a, b, side).tolist()
        back = np.sort(-a if dtype != "uint64" else a)[::-1] if dtype != "uint64" else np.sort(a)[::-1]
        b = -b if dtype != "uint64" else b
        if not np.isnan(back.astype(float)).any():
            assert f(back.copy(), b)[1].tolist() == np.searchsorted(back[::-1][::2], b, side).tolist()


def test_dynamic_slices_move_back_inside() -> None:
    x, at = gc.input("x", ("n", 4)), gc.input("at", (2,), "int32")
    f = gc.compile([x, at], (gc.dynamic_slice(x, at, (2, 3)), gc.dynamic_update_slice(x, np.zeros((2, 3)), at)))
    a = np.arange(20.0).reshape(5, 4)
    for start, (i, j) in {(0, 0): (0, 0), (9, 9): (3, 1), (-1, -9): (3, 0), (2, 1): (2, 1)}.items():
        whole = a.copy()
        whole[i : i + 2, j : j + 3] = 0.0
        found = f(a, np.array(start, np.int32))
        np.testing.assert_array_equal(found[0], a[i : i + 2, j : j + 3])
        np.testing.assert_array_equal(found[1], whole)
    with pytest.raises(gc.InputError, match="does not lie on axis 0, which has length 1"):
        f(a[:1], np.array([0, 0], np.int32))


# what is refused


def test_assignment_to_a_node_says_what_to_write() -> None:
    x = gc.input("x", (3,))
    with pytest.raises(gc.DeclarationError, match=r"write x = x.at\[key\].set\(value\)") as caught:
        x[0] = 1.0
    assert __file__ in str(caught.value)
    with pytest.raises(gc.DeclarationError, match=r"\.add\(value\) for x\[key\] \+= value"):
        x[0] += 1.0


def test_errors_name_operand_and_line() -> None:
    x = gc.input("x", (3, 4), "float32")
    for build, error, says in (
        (lambda: x.at[0].set([1.0, 2.0]), gc.ShapeError, r"set_at: values of shape \[2\] do not broadcast to \[4\]"),
        (lambda: x.at[5].add(1.0), gc.ShapeError, "add_at: position 5 does not lie on axis 0, which has length 3"),
        (lambda: x.at[0].set(np.float64(1.0)), gc.DTypeError, "values of float64 do not fit an array of float32"),
        (lambda: x[gc.input("f", (2,))], gc.DTypeError, "positions are integers, got input 'f'"),
        (lambda: x[0, 1, 2], gc.ShapeError, "names 3 axes, but the operand has 2"),
    ):
        with pytest.raises(error, match=says) as caught:
            build()
        assert "operand 0: input 'x': float32[3, 4]" in str(caught.value)
        assert __file__ in str(caught.value)
