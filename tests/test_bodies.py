"""Bodies: how they are cut, told apart, kept and written; and what the passes make of loops."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from loop_programs import Loops, program
from support_loops import check_slopes, close, derivatives, held, optimised, values

import graphc as gc
from graphc.errors import DeclarationError, GraphcError, InputError
from graphc.graph import Graph, Node, make
from graphc.interpret import interpret
from graphc.join import join
from graphc.line import inside
from graphc.op import REGISTRY, Family
from graphc.ops.bodies import results
from graphc.ops.loop_parts import Loop
from graphc.ops.min_cut import NEVER, min_cut
from graphc.passes import run_pipeline
from graphc.passes.trim import trim


def loop_of(*outputs: Node) -> Loop:
    (node,) = held(optimised(outputs))
    return Loop.of(node)


def names(nodes: Any) -> list[str]:
    return [n.op.name for n in nodes]


# Cutting


def test_what_depends_on_no_carry_and_no_element_is_an_operand() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())
    carry, _ = gc.scan(lambda c, e: (c * gc.exp(w) + e * gc.exp(w) + gc.sum(x), None), 0.0, x)
    loop = Loop.of(carry)
    assert names(loop.given.values()) == ["exp", "sum"]
    assert names(carry.attrs["body"].nodes).count("exp") == 0


def test_an_inner_loop_leaves_too() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())
    carry, _ = gc.scan(lambda c, e: (c + gc.fori_loop(0, 3, lambda i, d: d * w, w) * e, None), 0.0, x)
    assert [n.op.family for n in Loop.of(carry).given.values()] == [Family.LOOP]
    assert len(held(Graph((carry,)))) == 2


def test_constants_and_views_are_read_in_the_body_and_slices_are_taken_outside() -> None:
    x, w = gc.input("x", ("n", 3)), gc.input("w", (5, 3, 3))
    carry, _ = gc.scan(lambda c, e: (c @ w[2].T + e * 0.5 + gc.arange(3), None), gc.zeros((3,)), x)
    body = carry.attrs["body"]
    assert names(Loop.of(carry).given.values()) == ["_slice"]
    assert {"reshape", "permute_dims", "_iota", "constant"} <= set(names(body.nodes))
    rows, _ = gc.scan(lambda c, e: (c + gc.broadcast_to(gc.exp(w[0, 0, 0]), (3,)) * e, None), gc.zeros((3,)), x)
    assert [n.shape for n in Loop.of(rows).given.values()] == [()]


def test_the_parts_of_a_node_are_at_hand() -> None:
    x, h, w = gc.input("x", ("n",)), gc.input("h", ()), gc.input("w", ())
    carry, _ = gc.scan(lambda c, e: (c * w + e, c), h, x, reverse=True)
    loop = Loop.of(carry.operands[0])
    body = carry.operands[0].attrs["body"]
    assert [n.name for n in body.inputs] == ["position", "carry0", "element0", "given0"]
    assert (loop.inits, loop.arrays, [*loop.given.values()]) == ((h,), (x,), [w])
    assert (loop.length, loop.reverse) == (x.shape[0], True)
    assert (loop.new, loop.ys) == (body.outputs[:1], body.outputs[1:])


# Identity, text, pickles, lines


def recurrence(x: Node, w: Node) -> Node:
    def outer(c: Node, e: Node) -> Any:
        d = gc.fori_loop(0, 3, lambda i, d: gc.sin(d * w) + e, c)
        return gc.cond(d > 0, lambda: d * w, lambda: gc.while_loop(lambda v: v < 0, lambda v: v + 1, d, bound=3)), d

    carry, ys = gc.scan(outer, w, x)
    return carry + gc.sum(ys * ys)


def test_equal_loops_are_one_node() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())
    assert recurrence(x, w) is recurrence(x, w)
    assert recurrence(x, w) is not recurrence(x, w + 1)
    first, _ = gc.scan(lambda c, e: (c * e, None), w, x)
    other, _ = gc.scan(lambda c, e: (c * e + 0, None), w, x)
    backward, _ = gc.scan(lambda c, e: (c * e, None), w, x, reverse=True)
    assert len({first, other, backward}) == 3


def test_graphs_are_equal_up_to_their_inputs() -> None:
    def twice(name: str, leaf: Node) -> Graph:
        x = gc.input(name, ())
        return Graph((x * leaf,), (x,))

    a, b = gc.input("a", ()), gc.input("a", ())
    assert twice("x", a) == twice("x", a)
    assert hash(twice("x", a)) == hash(twice("x", a))
    assert twice("x", a) != twice("x", b)
    assert twice("x", a) != twice("y", a)
    x, y, z = gc.input("x", ()), gc.input("y", ()), gc.input("z", (), "int8")
    assert Graph((x,), (x, y)) != Graph((x,), (y, x))
    assert Graph((x,), (x, y)) != Graph((x,), (x, z))


def test_pickles_keep_loops() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())
    y = recurrence(x, w)
    graph = Graph((y, *derivatives(y, [x, w])), (x, w))
    copy = pickle.loads(pickle.dumps(graph))
    copy.verify()
    assert copy.text == graph.text
    arrays = [np.array([0.5, -1.5, 0.3]), 0.7]
    for a, b in zip(interpret(copy, arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_array_equal(a, b)
    assert run_pipeline(copy)[0].text == run_pipeline(graph)[0].text


PROGRAM = """
import sys
sys.path[:0] = {path!r}
import graphc as gc
from support_loops import derivatives, optimised
from test_bodies import recurrence
x, w = gc.input("x", ("n",)), gc.input("w", ())
y = recurrence(x, w)
print(optimised([y, *derivatives(y, [x, w])], [x, w]).text)
"""


def test_texts_are_the_same_in_every_process() -> None:
    texts = set()
    for seed in ("0", "1", "2"):
        command = [sys.executable, "-c", PROGRAM.format(path=sys.path)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed}, check=False
        )
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1


def test_lines_layers_and_parts_are_kept_in_bodies() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())

    def step(c: Node, e: Node) -> Any:
        with inside("cell"):
            c = gc.tanh(c * w)
        return c + e, None

    carry, _ = gc.scan(step, w, x)
    graph = optimised([carry, gc.grad(carry, w)], [x, w])
    for tanh in (n for loop in held(graph) for n in loop.attrs["body"].nodes if n.op.name == "tanh"):
        assert (tanh.line.purpose.part, tanh.line.purpose.layer) == ("forward", "cell")
        assert "tanh(c * w)" in str(tanh.line)
    backward = held(graph)[1].attrs["body"]
    parts = {n.line.purpose.part for n in backward.nodes if n.op.name == "multiply"}
    assert "adjoint" in parts


def test_a_body_that_does_not_fit_is_refused() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())
    carry, _ = gc.scan(lambda c, e: (c * e, None), w, x)
    attrs = dict(carry.attrs)
    with pytest.raises(DeclarationError, match="the body takes"):
        make(REGISTRY["_loop"], (gc.astype(w, "float32"), x), attrs)
    body = attrs["body"]
    attrs["body"] = Graph((gc.astype(body.outputs[0], "float32"),), body.inputs)
    with pytest.raises(DeclarationError, match="a carry of type float64"):
        make(REGISTRY["_loop"], carry.operands, attrs)


def test_threads_trace_by_themselves() -> None:
    """Each step waits for the other thread, so that both traces are open at once."""
    meet, found = threading.Barrier(2), {}

    def declare(name: str) -> None:
        x, w = gc.input(name, (3,)), gc.input("w", ())

        def step(c: Node, e: Node) -> Any:
            meet.wait()
            c = c * gc.exp(w) + e
            meet.wait()
            return c, None

        found[name] = (gc.scan(step, w, x)[0], [x, w])

    threads = [threading.Thread(target=declare, args=(name,)) for name in "ab"]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for carry, leaves in found.values():
        assert names(Loop.of(carry).given.values()) == ["exp"]
        close(values([carry], leaves, [[1.0, 1.0, 1.0], 0.0]), [3.0])


def test_a_step_that_raises_leaves_nothing_behind() -> None:
    x = gc.input("x", ("n",))

    def step(c: Node, e: Node) -> Any:
        gc.scan(lambda d, f: 1 / 0, c, x)

    with pytest.raises(ZeroDivisionError):
        gc.scan(step, 0.0, x)
    carry, _ = gc.scan(lambda c, e: (c + e, None), 0.0, x)
    close(values([carry], [x], [[1.0, 2.0]]), [3.0])


def test_bodies_may_be_deep() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())

    def step(c: Node, e: Node) -> Any:
        for _ in range(2000):
            c = c * 0.999 + e
        return c, c

    carry, _ = gc.scan(step, w, x)
    (value,) = values([gc.grad(carry, w)], [x, w], [[0.0], 1.0])
    close([value], [0.999**2000])
    nested = w
    for _ in range(12):
        nested = gc.fori_loop(0, 1, lambda i, c, inner=nested: c + gc.sin(c), nested)
    assert len(held(Graph((nested,)))) == 12


# What the passes do


def test_a_value_and_its_gradient_share_the_forward_loop() -> None:
    x, w, h = gc.input("x", ("n", 3)), gc.input("w", (3, 3)), gc.input("h", (3,))
    carry, ys = gc.scan(lambda c, e: (gc.tanh(c @ w + e), gc.sum(c)), h, x)
    y = gc.sum(carry) + gc.sum(ys * ys)
    first = gc.grad(y, [x, w, h])
    assert len(held(optimised([y, *first]))) == 2
    assert len(held(optimised(derivatives(y, [x, w, h])))) == 4


def test_nested_loops_of_a_value_and_its_gradient_are_shared_at_every_depth() -> None:
    x, h = gc.input("x", ("n",)), gc.input("h", ())

    def nested(depth: int, c: Node) -> Node:
        if not depth:
            return gc.sin(c * h)
        return gc.scan(lambda d, e: (nested(depth - 1, d) + e, None), c, x)[0]

    for depth in (1, 2, 3):
        y = nested(depth, h)
        assert len(held(optimised([y, gc.grad(y, h)]))) == 2 * depth


@pytest.mark.parametrize("seed", [2, 5, 10])
def test_trimming_and_joining_twice_changes_nothing(seed: int) -> None:
    outside = [gc.input("a", ()), gc.input("v", (3,)), gc.input("m", (3, 3))]
    y = program(seed, Loops(), outside)
    graph = join(trim(Graph((y, *derivatives(y, outside)), tuple(outside)))[0])[0]
    assert join(graph)[0] is graph
    assert trim(graph)[0] is graph


def test_an_element_that_is_always_the_same_is_none() -> None:
    w, h = gc.input("w", (3,)), gc.input("h", (3,))
    every = [
        gc.ones((5, 3)),
        gc.broadcast_to(w, (5, 3)),
        gc.broadcast_to(gc.reshape(w, (1, 3)), (5, 3)),
        gc.permute_dims(gc.broadcast_to(gc.sum(w), (3, 5)), (1, 0)),
    ]
    carry, ys = gc.scan(lambda c, es: (gc.sin(c) + sum(es[1:], es[0]), gc.sum(c)), h, every)
    assert len(loop_of(carry, ys).elements) == 0
    moving = gc.broadcast_to(gc.reshape(gc.input("z", (5,)), (5, 1)), (5, 3))
    assert len(loop_of(gc.scan(lambda c, e: (gc.sin(c) + e, None), h, moving)[0]).elements) == 1
    arrays = [np.arange(3.0), np.array([0.5, -1.0, 2.0])]
    outputs = [carry, ys, *gc.grad(gc.sum(carry) + gc.sum(ys), [w, h])]
    close(gc.compile([w, h], tuple(outputs))(*arrays), interpret(Graph(tuple(outputs), (w, h)), arrays))


def test_saved_is_what_is_small() -> None:
    """A step that reads one element of a carried array and sets another saves numbers, not the array."""
    k, v = gc.input("k", ("n",), "int64"), gc.input("v", (50,))

    def step(c: Node, j: Node) -> Any:
        here = gc.sin(gc.take(c, j)) * gc.take(c, j)
        return gc.where(gc.arange(50) == j + 1, here, c), None

    carry, _ = gc.scan(step, v, k)
    forward, backward = held(optimised([gc.sum(carry), gc.grad(gc.sum(carry), v)]))
    assert {(y.shape, y.dtype.name) for y in Loop.of(forward).ys} <= {((), "float64"), ((1,), "float64")}
    assert 1 <= len(Loop.of(forward).ys) <= 3
    adding = [n for n in backward.attrs["body"].nodes if n.op.family is Family.SCATTER]
    assert adding


def test_choices_and_bounded_loops_save_what_is_small() -> None:
    """The array is carried through a choice, of which the adjoint needs numbers only."""
    k, v, w = gc.input("k", ("n",), "int64"), gc.input("v", (50,)), gc.input("w", ())

    def changed(c: Node, j: Node) -> Node:
        return gc.where(gc.arange(50) == j, gc.sin(gc.take(c, j) * w), c)

    def scanned() -> Node:
        return gc.scan(lambda c, j: (gc.cond(j > 1, lambda: changed(c, j), lambda: c), None), v, k)[0]

    def counted() -> Node:
        return gc.while_loop(lambda c: c[1] < 3, lambda c: (changed(*c), c[1] + 1), (v, 0), bound=5)[0]

    arrays = [np.array([0, 3, 2, 3]), np.linspace(0.1, 1, 50), 1.3]
    for carry in (scanned(), counted()):
        y = gc.sum(carry * carry)
        for loop in held(optimised([y, *gc.grad(y, [v, w])], [k, v, w])):
            assert all(a.size < 50 for a in Loop.of(loop).ys)
            assert len(held(loop.attrs["body"], Family.CHOICE)) == 1
        check_slopes(y, [k, v, w], arrays)
        check_slopes(gc.sum(gc.grad(y, v)), [k, v, w], arrays)


def test_choices_by_the_same_number_are_one() -> None:
    x, w = gc.input("x", ()), gc.input("w", ())

    def choices(*outputs: Node) -> int:
        return len(held(optimised(outputs, [x, w]), Family.CHOICE))

    y = gc.cond(x > 0, lambda: gc.sin(x * w), lambda: w * w)
    z = gc.cond(x > 0, lambda: gc.cos(x), lambda: w)
    assert choices(y, z) == 1
    assert choices(y, gc.cond(x > 1, lambda: gc.cos(x), lambda: w)) == 2
    assert choices(y, gc.cond(x > 0, lambda: gc.cos(y), lambda: w)) == 2
    assert choices(y, *gc.grad(y, [x, w])) == 2
    close(values([y, z, *gc.grad(y + z, [x, w])], [x, w], [0.5, 2.0])[:2], [np.sin(1.0), np.cos(0.5)])


def test_cotangents_of_arrays_read_at_positions_are_added_to_what_is_carried() -> None:
    k, v = gc.input("k", ("n",), "int64"), gc.input("v", (50,))
    carry, _ = gc.scan(lambda c, j: (c * gc.take(v, j) + gc.take(v, j + 1), None), 1.0, k)
    backward = held(optimised([gc.grad(carry, v)]))[1]
    loop = Loop.of(backward)
    (place,) = [i for i, c in enumerate(loop.carries) if c.shape == (50,)]
    total = loop.new[place]
    while total.op.family is Family.SCATTER:  # which adds to the array that it is given
        total = total.operands[0]
    assert total is loop.carries[place]


def test_what_a_step_gives_back_already_is_not_computed_again() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())

    def step(c: Node, e: Node) -> Any:
        c = gc.tanh(c * e)
        return c, c

    _, ys = gc.scan(step, w, x)
    backward = held(optimised([gc.sum(ys), *gc.grad(gc.sum(ys), [x, w])]))[1]
    assert "tanh" not in names(backward.attrs["body"].nodes)


def test_a_product_is_saved_and_not_computed_again() -> None:
    x, w, h = gc.input("x", ("n", 40)), gc.input("w", (40, 40)), gc.input("h", (40,))
    carry, _ = gc.scan(lambda c, e: (gc.sin(c @ w + e), None), h, x)
    forward, backward = held(optimised([*gc.grad(gc.sum(carry), [x, w, h])]))
    assert names(forward.attrs["body"].nodes).count("_contract") == 1
    assert names(backward.attrs["body"].nodes).count("_contract") == 1


def test_checkpoints_save_carries_only() -> None:
    x, h = gc.input("x", (12,)), gc.input("h", ())
    carry, _ = gc.scan(lambda c, e: (gc.sin(gc.exp(c) * e) * gc.cos(c), None), h, x, checkpoint=4)
    loops = held(optimised([carry, *gc.grad(carry, [x, h])]))
    outer = [n for n in loops if n.attrs["length"] == 3]
    assert [len(n.attrs["body"].outputs) - n.attrs["carries"] for n in outer] == [1, 1]
    assert Loop.of(outer[0]).ys[0] is Loop.of(outer[0]).carries[0]


def test_recomputed_loops_nest() -> None:
    """A loop in segments whose step is one in segments: the same derivatives."""
    x, h = gc.input("x", ("n", 4)), gc.input("h", ())

    def nested(outer: int | None, within: int | None) -> Node:
        def step(c: Node, row: Node) -> Any:
            c, ys = gc.scan(lambda d, e: (gc.sin(d * e) + d, d * e), c, row, checkpoint=within)
            return c, gc.sum(ys * ys)

        carry, ys = gc.scan(step, h, x, checkpoint=outer)
        return carry + gc.sum(ys)

    arrays = [np.linspace(-1, 1, 20).reshape(5, 4), 0.4]
    wanted = values(derivatives(nested(None, None), [x, h]), [x, h], arrays)
    close(values(derivatives(nested(2, 3), [x, h]), [x, h], arrays), wanted)


def test_unread_carries_unwanted_ys_and_arrays_go() -> None:
    x, z = gc.input("x", ("n",)), gc.input("z", ("n",))
    (a, _, _), _ = gc.scan(lambda c, e: ((c[0] + e[0], c[1] * e[1], c[2] + c[1]), c), (0.0, 1.0, 2.0), (x, z))
    loop = loop_of(a)
    assert (len(loop.carries), len(loop.arrays), len(loop.ys)) == (1, 1, 0)


def test_what_only_unread_results_of_an_inner_loop_need_goes() -> None:
    x = gc.input("x", ("n",))

    def step(c: Any, e: Node) -> Any:
        (a, b), _ = gc.scan(lambda d, _: ((d[0] + e, gc.exp(d[1])), None), c, length=3)
        return (a, b), None

    (a, _), _ = gc.scan(step, (0.0, 0.0), x)
    graph = optimised([a], [x])
    assert "exp" not in graph.text
    assert [n.attrs["carries"] for n in held(graph)] == [1, 1]


def test_carries_that_keep_their_value_are_nodes_outside() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())
    (total, kept), _ = gc.scan(lambda c, e: ((c[0] + e * gc.exp(c[1]), c[1]), None), (0.0, w), x)
    graph = optimised([total, kept], [x, w])
    assert graph.outputs[1] is w
    loop = Loop.of(held(graph)[0])
    assert (len(loop.carries), names(loop.given.values())) == (1, ["exp"])


def test_ys_that_are_elements_or_never_change_are_no_ys() -> None:
    x, w = gc.input("x", ("n",)), gc.input("w", ())
    carry, (same, still, none) = gc.scan(lambda c, e: (c + e, (e, gc.exp(w), 1.0)), 0.0, x)
    graph = optimised([same, still, none], [x, w])
    assert not held(graph)
    assert graph.outputs[0] is x
    close(values([same, still, none, carry], [x, w], [[1.0, 2.0], 0.0]), [[1.0, 2.0], [1.0, 1.0], [1.0, 1.0], 3.0])


def test_carries_that_begin_and_move_alike_are_one() -> None:
    x = gc.input("x", ("n",))

    def step(c: Any, e: Node) -> Any:
        a, b, d, f = c
        return (b * e + d, a * e + d, d + a, f + 1), (a, b)

    (a, b, d, f), (rows, columns) = gc.scan(step, (0.5, 0.5, 0.5, 0.5), x)
    loop = loop_of(a + b + d + f + gc.sum(rows * columns))
    assert (len(loop.carries), len(loop.ys)) == (3, 1)
    close(values([a - b, f], [x], [[1.0, 2.0, 3.0]]), [0.0, 3.5])


def test_loops_over_the_same_carries_are_one_and_others_are_not() -> None:
    x, h = gc.input("x", ("n",)), gc.input("h", ())

    def loops(*found: Any) -> int:
        total = gc.constant(0.0)
        for carry, ys in found:
            total = total + carry + (0.0 if ys is None else gc.sum(ys))
        return len(held(optimised([total], [x, h])))

    step = lambda c, e: (gc.sin(c) + e, gc.exp(c))  # noqa: E731
    more = lambda c, e: ((gc.sin(c[0]) + e, c[0] * c[1]), gc.cos(c[0]))  # noqa: E731
    wider = gc.scan(more, (h, 1.0), x)
    assert loops(gc.scan(step, h, x), (wider[0][0] + wider[0][1], wider[1])) == 1
    assert loops(gc.scan(step, h, x), gc.scan(step, h, x, reverse=True)) == 2
    assert loops(gc.scan(step, h, x), gc.scan(lambda c, e: (gc.cos(c) + e, None), h, x)) == 2
    first = gc.scan(step, h, x)
    assert loops(first, gc.scan(lambda c, e: (gc.sin(c) + e[0], e[1] * c), h, (x, first[1]))) == 2
    maps = [(gc.constant(0.0), gc.map(f, x)) for f in (gc.sin, gc.cos)]
    assert loops(*maps) == 1


def test_loops_that_share_a_body_are_told_apart_by_what_they_read() -> None:
    x, y, h, v, w = (gc.input(name, shape) for name, shape in zip("xyhvw", [("n",), ("n",), (), (), ()], strict=True))
    (a, b), _ = gc.scan(lambda c, e: ((gc.sin(c[0] * v) + e, c[1] + c[0]), None), (h, h), x)
    loop = a.operands[0]
    arrays = [[0.1, 0.2], [0.3, 0.4], 0.5, 0.6, 0.7]
    for operands in ((h, h, x, w), (h, h, y, v), (h, w, x, v), (w, h, x, v), (h, h, y, w)):
        others = results(make(loop.op, operands, loop.attrs))
        values([a, b, *others], [x, y, h, v, w], arrays)
    p = gc.cond(h > 0, lambda: v * v, lambda: v + 1)
    q = make(p.op, (p.operands[0], w), p.attrs)
    values([p, q], [x, y, h, v, w], arrays)


def test_ways_between_loops_do_not_become_circles() -> None:
    """a -> d and c -> b, where a and b, and c and d, would each be one loop: one pair is joined."""
    x, h, k = gc.input("x", ("n",)), gc.input("h", ()), gc.input("k", ())
    sine = lambda c, e: (gc.sin(c) + e, c)  # noqa: E731
    cosine = lambda c, e: (gc.cos(c) + e, c)  # noqa: E731
    (a, a_rows), (c, c_rows) = gc.scan(sine, h, x), gc.scan(cosine, k, x)
    _, b = gc.scan(lambda s, e: (gc.sin(s) + e[0], s * e[1]), h, (x, c_rows))
    _, d = gc.scan(lambda s, e: (gc.cos(s) + e[0], s * e[1]), k, (x, a_rows))
    values([a + c + gc.sum(b) + gc.sum(d)], [x, h, k], [[0.1, 0.2, 0.3], 0.4, 0.5])
    assert len(held(optimised([a + c + gc.sum(b) + gc.sum(d)], [x, h, k]))) == 3


def test_sums_of_products_leave_the_loop() -> None:
    x, w, h = gc.input("x", ("n", 4, 40)), gc.input("w", (40, 40)), gc.input("h", (4, 40))
    carry, _ = gc.scan(lambda c, e: (gc.tanh(c @ w + e), None), h, x)
    slope = gc.grad(gc.sum(carry), w)
    graph = optimised([slope], [x, w, h])
    assert names(graph.nodes).count("_contract") == 1
    assert all(c.shape != (40, 40) for n in held(graph) for c in Loop.of(n).carries)
    rng = np.random.default_rng(3)
    values([slope], [x, w, h], [rng.normal(size=(3, 4, 40)), rng.normal(size=(40, 40)), rng.normal(size=(4, 40))])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sums_of_products_of_every_form(sign: float) -> None:
    u, v = gc.input("u", ("n", 30)), gc.input("v", ("n", 20))
    begun = gc.input("begun", (20, 30))

    def step(c: Any, e: Any) -> Any:
        outer = e[0][:, None] * gc.sin(e[1])
        return (c[0] + sign * outer.T if sign > 0 else c[0] - outer.T, c[1] - outer * 1.0), None

    (a, b), _ = gc.scan(step, (begun, gc.zeros((30, 20))), (u, v))
    graph = optimised([a, b], [u, v, begun])
    assert all(n.attrs["carries"] == 0 for n in held(graph))
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=(5, 30)), rng.normal(size=(5, 20)), rng.normal(size=(20, 30))]
    total = np.einsum("ni,nj->ij", arrays[0], np.sin(arrays[1]))
    close(values([a, b], [u, v, begun], arrays), [arrays[2] + sign * total.T, -total])


def test_sums_of_products_with_axes_of_length_one() -> None:
    u, v = gc.input("u", ("n", 30)), gc.input("v", ("n", 20))

    def step(c: Node, e: Any) -> Any:
        return c + e[0][None, :, None] * gc.sin(e[1])[None, None, :], None

    total, _ = gc.scan(step, gc.zeros((1, 30, 20)), (u, v))
    wide, _ = gc.scan(step, gc.zeros((2, 30, 20)), (u, v))
    for carry in (total, wide):
        assert not held(optimised([carry], [u, v]))[0].attrs["carries"]
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=(5, 30)), rng.normal(size=(5, 20))]
    wanted = np.einsum("ni,nj->ij", arrays[0], np.sin(arrays[1]))
    close(values([total, wide], [u, v], arrays), [wanted[None], [wanted, wanted]])


@pytest.mark.parametrize(
    ("new", "stays"),
    [
        (lambda c, a, b: (c + a) - b, False),
        (lambda c, a, b: b + (a + c), False),
        (lambda c, a, b: (c - a) + b, False),
        (lambda c, a, b: (a - c) + b, True),  # its sign alternates
        (lambda c, a, b: (c + a) + c * b, True),
        (lambda c, a, b: (c + a) + gc.sin(b), True),  # a sine is no product
        (lambda c, a, b: gc.sin(c + a) + b, True),
    ],
)
def test_sums_of_several_products(new: Any, stays: bool) -> None:
    u, v, begun = gc.input("u", ("n", 30)), gc.input("v", ("n", 20)), gc.input("begun", (30, 20))

    def step(c: Node, e: Any) -> Any:
        return new(c, e[0][:, None] * e[1], gc.sin(e[0])[:, None] * gc.cos(e[1])), None

    total, _ = gc.scan(step, begun, (u, v))
    left = [n.attrs["carries"] for n in held(optimised([total], [u, v, begun]))]
    assert left == [int(stays)]
    rng = np.random.default_rng(4)
    values([total], [u, v, begun], [rng.normal(size=shape) for shape in ((5, 30), (5, 20), (30, 20))])


def test_a_hessian_vector_product_adds_up_outside_of_loops() -> None:
    x, w, v = gc.input("x", ("n", 20)), gc.input("w", (20, 20)), gc.input("v", (20, 20))
    last, _ = gc.scan(lambda h, x: (gc.tanh(w @ h + x), None), gc.zeros((20,)), x)
    graph = optimised([gc.hvp(gc.sum(last**2), w, v)], [x, w, v])
    assert all(c.shape != (20, 20) for n in held(graph) for c in Loop.of(n).carries)


def test_sums_that_something_reads_stay() -> None:
    u, v = gc.input("u", ("n", 30)), gc.input("v", ("n", 20))

    def step(c: Node, e: Any) -> Any:
        new = c + e[0][:, None] * e[1]
        return new, gc.sum(new)

    total, ys = gc.scan(step, gc.zeros((30, 20)), (u, v))
    graph = optimised([total, ys], [u, v])
    assert held(graph)[0].attrs["carries"] == 1


# What is saved


@pytest.mark.parametrize("seed", range(60))
def test_min_cut_weighs_least(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    edges = [(i, j) for j in range(n) for i in range(j) if rng.random() < 0.35]
    saving = [int(w) for w in rng.integers(1, 9, n)]
    again = {k: NEVER if rng.random() < 0.3 else int(rng.integers(6)) for k in range(n) if rng.random() < 0.8}
    wanted = [k for k in range(n) if rng.random() < 0.5]

    def weight(saved: set[int]) -> int:
        waiting, computed = [k for k in wanted if k not in saved], set()
        while waiting:
            k = waiting.pop()
            computed.add(k)
            waiting += [i for i, j in edges if j == k and i not in computed | saved]
        return sum(saving[k] for k in saved) + sum(again.get(k, 0) for k in computed)

    every = (set(c) for size in range(n + 1) for c in itertools.combinations(range(n), size))
    assert weight(min_cut(saving, again, edges, wanted)) == min(map(weight, every))


def test_min_cut_of_a_long_chain_takes_no_long() -> None:
    n = 20_000
    again = {0: NEVER, **{k: 3 + k % 5 for k in range(1, n)}}
    saved = min_cut([8] * n, again, [(k, k + 1) for k in range(n - 1)], range(0, n, 2))
    assert 0 < len(saved) <= n // 2


# Errors


X = gc.input("x", (4,))
ROWS = gc.input("rows", ("n", 3))
SINGLE = gc.input("single", (), "float32")
COUNT = gc.input("count", (), "int64")


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: gc.scan(lambda c, x: (c + x, None), 0.0, ROWS), "float64\\[3\\].*gc.broadcast_to\\(init, \\(3,\\)\\)"),
        (lambda: gc.scan(lambda c, x: (gc.sum(c), None), ROWS, X), "end the step with an array of shape \\[n, 3\\]"),
        (lambda: gc.scan(lambda c, x: (c + x, None), SINGLE, X), 'gc.astype\\(init, "float64"\\), or end the step'),
        (lambda: gc.scan(lambda c, x: (c * 0.5, None), COUNT, X), "before the step: int64\\[\\].*float64\\[\\]"),
        (lambda: gc.scan(lambda c, x: ({"a": c["a"]}, 0), {"a": 0.0, "b": COUNT}, X), "'b': int64\\[\\].*'a': float64"),
        (lambda: gc.scan(lambda c, x: (c["a"], 0), {"a": [0.0, ROWS]}, X), "structure.*after it:        \\[float64"),
        (lambda: gc.scan(lambda c, x: ((c[0], x > 0), 0), (0.0, True), X[:, None]), "carry\\[1\\] becomes greater"),
        (lambda: gc.scan(lambda c, x: c, 0.0, X), "pair \\(carry, y\\).*got float64"),
        (lambda: gc.scan(lambda c, x: (c, "a"), 0.0, X), "y can't be a node"),
        (lambda: gc.scan(lambda c, x: (c, x), "abc", X), "carry can't be a node"),
        (lambda: gc.scan(lambda c, x: (c, c), 0.0), "length=n"),
        (lambda: gc.scan(lambda c, x: (c, c), 0.0, {"a": SINGLE}), "x\\['a'\\] has no leading axis"),
        (lambda: gc.scan(lambda c, x: (c, c), 0.0, [X, gc.zeros((5,))]), "agree.*x\\[0\\].*x\\[1\\]"),
        (lambda: gc.scan(lambda c, x: (c, c), 0.0, X, length=5), "agree.*length=5"),
        (lambda: gc.scan(lambda c, x: (c, c), 0.0, length=-1), "the length.*>= 0, got -1"),
        (lambda: gc.scan(lambda c, x: (c, c), 0.0, length=2.5), "the length.*got 2.5"),
        (lambda: gc.scan(lambda c, x: (c, c), 0.0, X, checkpoint=0), "checkpoint.*got 0"),
        (lambda: gc.scan(lambda c, x: (c if x > 0 else x, 0), 0.0, X), "gc.cond, gc.while_loop"),
        (lambda: gc.scan(lambda c, x: (c, x + gc.zeros((5,))), 0.0, X[:, None] * gc.zeros((4, 3))), "broadcast"),
        (lambda: gc.fori_loop(0, COUNT, lambda i, c: c, 0.0), "bounds are ints or dimensions.*gc.while_loop"),
        (lambda: gc.fori_loop(0, 2.5, lambda i, c: c, 0.0), "got 2.5"),
        (lambda: gc.fori_loop(0, 3, lambda i, c: (c, c), 0.0), "fori_loop: a step gives back carries"),
        (lambda: gc.map(gc.sin, None), "got None"),
        (lambda: gc.while_loop(lambda c: c, lambda c: c, 0.0), "condition is a bool scalar.*x != 0"),
        (lambda: gc.while_loop(lambda c: c > X, lambda c: c, 0.0), "bool scalar.*gc.all"),
        (lambda: gc.while_loop(lambda c: c > 0, lambda c: (c,), 0.0), "while_loop: a step gives back carries"),
        (lambda: gc.while_loop(lambda c: c > 0, lambda c: c, 0.0, bound=-2), "the bound.*got -2"),
        (lambda: gc.cond(SINGLE, lambda: 1, lambda: 2), "cond: the condition is a bool scalar"),
        (lambda: gc.cond(X > 0, lambda: 1, lambda: 2), "bool scalar.*gc.where"),
        (lambda: gc.cond(SINGLE > 0, lambda: 1.0, lambda: X), "no: float64\\[4\\].*yes: float"),
        (lambda: gc.cond(SINGLE > 0, lambda: SINGLE, lambda: X[0]), "no: float64\\[\\].*yes: float32\\[\\]"),
        (lambda: gc.cond(SINGLE > 0, lambda: (SINGLE, 1), lambda: {"a": 1}), "no: {'a': int}.*yes: \\(float32"),
        (lambda: gc.cond(SINGLE > 0, lambda: COUNT, lambda: 0.5), "no: float.*yes: int64"),
        (lambda: gc.switch(SINGLE, [lambda: 1]), "index is an integer scalar"),
        (lambda: gc.switch(gc.arange(3), [lambda: 1]), "index is an integer scalar"),
        (lambda: gc.switch(COUNT, []), "at least one function"),
        (lambda: gc.switch(COUNT, [lambda: 1, lambda: 2, lambda: X]), "branch 0: int.*branch 2: float64\\[4\\]"),
    ],
)
def test_errors_say_what_would_fit_at_the_users_line(declare: Any, says: str) -> None:
    with pytest.raises(GraphcError, match=f"(?s){says}") as raised:
        declare()
    assert "test_bodies.py:" in str(raised.value)
    assert isinstance(raised.value, (ValueError, TypeError))


def test_a_value_that_left_its_step_is_refused() -> None:
    x, left = gc.input("x", (4,)), []

    def step(c: Node, e: Node) -> Any:
        left.append(c * e)
        return c + e, None

    carry, _ = gc.scan(step, gc.constant(0.0), x)
    for outputs in (left[0], [carry, gc.scan(lambda c, e: (c + left[0], None), 0.0, x)[0]]):
        with pytest.raises(DeclarationError, match=r"(?s)'carry', which stands for a value inside.*test_bodies.py"):
            gc.compile([x], outputs)
    other = gc.input("other", ())
    with pytest.raises(DeclarationError, match=r"need input 'other'.*not listed"):
        gc.compile([x], gc.scan(lambda c, e: (c * other + e, None), 0.0, x)[0])


def test_dimensions_in_bodies_must_be_known() -> None:
    x = gc.input("x", (4,))
    carry, _ = gc.scan(lambda c, e: (c + e * gc.sum(gc.ones(("m",)) * e), None), 0.0, x)
    with pytest.raises(DeclarationError, match="no input has the dimension 'm'"):
        gc.compile([x], carry)


# Reads at the position of a loop


@pytest.mark.parametrize("reverse", [False, True])
def test_reads_at_the_position_are_elements(reverse: bool) -> None:
    x, m = gc.input("x", ("n",)), gc.input("m", (3, "n"))
    arrays = [np.array([0.5, 2.0, -1.0, 0.3]), np.arange(12.0).reshape(3, 4) / 10]

    def by_position(i: Node, c: Node) -> Node:
        return gc.sin(c * x[i]) + gc.sum(m[:, i])

    def by_element(c: Node, e: Any) -> Any:
        return gc.sin(c * e[0]) + gc.sum(e[1]), None

    n = x.shape[0]
    y, _ = gc.scan(lambda c, i: (by_position(i, c), None), 1.0, gc.arange(n), reverse=reverse)
    z, _ = gc.scan(by_element, 1.0, (x, m.T), reverse=reverse)
    close(values(derivatives(y, [x, m]), [x, m], arrays), values(derivatives(z, [x, m]), [x, m], arrays))
    families = {n.op.family for loop in held(optimised(gc.grad(y, [x, m]))) for n in loop.attrs["body"].nodes}
    assert not families & {Family.GATHER, Family.SCATTER}
    if not reverse:
        assert optimised([gc.fori_loop(0, n, by_position, 1.0)], [x, m]) == optimised([y], [x, m])


@pytest.mark.parametrize(("low", "ahead"), [(1, 0), (1, 1), (0, 2), (0, -1)])
def test_reads_further_on_and_behind(low: int, ahead: int) -> None:
    """Behind the position there may be the end of the array, which is read at its place."""
    x = gc.input("x", ("n",))
    n = x.shape[0]
    high = n - max(ahead, 0)
    y = gc.fori_loop(low, high, lambda i, c: c * 0.5 + gc.take(x, i + ahead) * gc.take(x, i), 0.0)
    for size in (2, 3, 6):
        array = np.linspace(1, 2, size)
        value = 0.0
        for i in range(low, size - max(ahead, 0)):
            value = value * 0.5 + array[i + ahead] * array[i]
        close(values([y], [x], [array]), [value])
        (slope,) = values([gc.grad(y, x)], [x], [array])
        moved = np.zeros(size)
        for k in range(size):
            step = np.eye(size)[k] * 1e-6
            a, b = (interpret(Graph((y,), (x,)), [array + s])[0] for s in (step, -step))
            moved[k] = (a - b) / 2e-6
        np.testing.assert_allclose(slope, moved, atol=1e-8)
    loops = held(optimised([gc.grad(y, x)]))
    scatters = [n for loop in loops for n in loop.attrs["body"].nodes if n.op.family is Family.SCATTER]
    assert bool(scatters) == (ahead < 0)


def test_reads_that_may_end_too_early_stay_reads() -> None:
    x, k = gc.input("x", ("n",)), gc.input("k", ("m",))
    y = gc.fori_loop(0, k.shape[0], lambda i, c: c + gc.take(x, i), 0.0)
    close(values([y], [x, k], [[1.0, 2.0, 3.0], [0.0, 0.0]]), [3.0])
    with pytest.raises(InputError, match="position 2 does not lie on axis 0"):
        interpret(Graph((y,), (x, k)), [[1.0, 2.0], [0.0, 0.0, 0.0]])
    fixed = gc.input("fixed", (3,))
    y = gc.fori_loop(0, 5, lambda i, c: c + gc.take(fixed, i), 0.0)
    with pytest.raises(InputError, match="position 3 does not lie on axis 0"):
        interpret(Graph((y,), (fixed,)), [[1.0, 2.0, 3.0]])
