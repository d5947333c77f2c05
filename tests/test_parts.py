"""Forward, adjoint and update: which part a node belongs to, and which lines, layers and names of the user's it has."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from golden_programs import PROGRAMS
from support_inspect import PROGRAM, declared_in, parts_of, phases, section, sections

import graphc as gc
from graphc.inspect.names import output_names, outputs_of
from graphc.inspect.parts import parts


def test_the_parts_of_a_step_by_an_optimiser() -> None:
    x, w = gc.input("x", ("n", 3)), gc.parameter("w", np.ones(3))
    loss = gc.sum(gc.tanh(x @ w))
    for optimizer in (gc.optim.SGD(0.1), gc.optim.Adam(0.1)):
        for outputs in (loss, ()):  # the adjoint needs the forward part, whether or not it is an output
            found = parts_of(gc.compile([x], outputs, updates=optimizer.updates(loss, [w])))
            assert "tanh" in found["forward"]
            assert not found["adjoint"] & {"tanh", "pow", "sqrt"}
            assert {"subtract"} <= found["update"]
            assert ("sqrt" in found["update"]) is isinstance(optimizer, gc.optim.Adam)
            assert not {"sqrt", "pow"} & found["forward"]


def test_an_update_of_an_optimiser_that_is_an_output_too() -> None:
    w = gc.parameter("w", np.ones(3))
    loss = gc.sum(gc.sinh(w))
    updates = gc.optim.Adam(0.1).updates(loss, [w])
    found = parts_of(gc.compile([], {"loss": loss, "new": updates[w]}, updates=updates))
    assert {"sqrt", "pow", "subtract"} <= found["update"]
    assert found["adjoint"] == {"cosh"}
    assert found["forward"] == {"sinh", "sum"}


def test_an_update_that_is_written_by_hand() -> None:
    x, w = gc.input("x", ("n",)), gc.parameter("w", 1.0)
    loss = gc.sum(gc.sinh(x * w))
    g = gc.grad(loss, w)
    clipped = g / gc.maximum(gc.abs(g), 1.0)
    found = parts_of(gc.compile([x], loss, updates={w: w - 0.1 * clipped}))
    assert "sinh" in found["forward"]
    assert "cosh" in found["adjoint"]
    assert found["update"] >= {"abs", "maximum", "divide", "subtract"}
    assert not {"abs", "maximum"} & (found["forward"] | found["adjoint"])
    shown = parts_of(gc.compile([x], (loss, gc.abs(g)), updates={w: w - 0.1 * clipped}))
    assert "abs" in shown["adjoint"]  # an output needs it as well


def test_an_update_without_a_gradient() -> None:
    x, mean = gc.input("x", ("n",)), gc.parameter("mean", 0.0)
    found = parts_of(gc.compile([x], gc.exp(x), updates={mean: gc.sqrt(gc.abs(mean)) + gc.max(x)}))
    assert found == {"forward": {"exp"}, "update": {"sqrt", "abs", "add", "max"}}


def test_derivatives_of_derivatives_are_adjoint() -> None:
    x = gc.input("x", ())
    g = gc.grad(gc.sin(x), x)
    found = parts_of(gc.compile([x], gc.grad(gc.exp(g), x)))
    assert found["adjoint"] >= {"sin", "exp"}
    assert "forward" not in found
    w = gc.parameter("w", 2.0)
    penalty = gc.sinh(gc.grad(gc.sin(w * x), x))  # needs an adjoint, and another adjoint needs it
    found = parts_of(gc.compile([x], (), updates={w: w - gc.grad(penalty, w)}))
    assert "cosh" in found["adjoint"]
    assert "cosh" not in found["forward"] | found["update"]


def test_what_the_forward_part_declared_stays_forward() -> None:
    x = gc.input("x", ("n",))
    y = gc.exp(x)
    f = gc.compile([x], (y, gc.grad(gc.sum(y), x)))
    assert parts_of(f) == {"forward": {"exp"}}
    x = gc.input("x", ("n",))
    g = gc.grad(gc.sum(x * x), x)
    assert parts_of(gc.compile([x], g)) == {"adjoint": {"add"}}


def test_what_all_programs_share_belongs_to_its_readers() -> None:
    """The length of an axis as a number is one node in all programs: no program shows the line of another."""
    first, second = (gc.input(name, ("n_shared",)) for name in "xy")
    gradient = gc.grad(gc.mean(first * first), first)
    mean = gc.compile([second], gc.mean(second) + gc.sum(gc.zeros(second.shape[0]) + 1.0 / second.shape[0]))
    kept = gc.compile([first], gradient)
    assert parts_of(mean).keys() == {"forward"}
    assert parts_of(kept).keys() == {"adjoint"}
    for f in (mean, kept):
        rows = f.program.records["graph"]
        shared = [row for row in rows if row["op"] == "iota"]
        assert shared
        assert all(row["line"] is None for row in shared)


def test_stabilised_values_keep_their_part() -> None:
    x = gc.input("x", ("n",))
    y = gc.sum(gc.log(1.0 + gc.exp(x)))
    rows = gc.compile([x], {"y": y, "dx": gc.grad(y, x)}).program.records
    of = dict(zip(map(str, rows["graph"]), parts(rows["graph"], rows["lines"]), strict=True))
    for part, output in (("forward", 0), ("adjoint", 1)):
        (row,) = (r for r in rows["graph"] if ["output", output] in r["gives"])
        assert of[str(row)] == part


def test_a_gradient_that_raises_leaves_no_mark() -> None:
    x, i = gc.input("x", ("n",)), gc.input("i", ("n",), "int64")
    with pytest.raises(gc.GradientError):
        gc.grad(gc.sum(x), i)
    with pytest.raises(gc.ShapeError):
        gc.vjp(x, x, np.ones((2, 2, 2)))
    assert parts_of(gc.compile([x], gc.sinh(x))) == {"forward": {"sinh"}}


def test_layers_are_named_inside_one_another() -> None:
    class Block(gc.nn.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            self.inner = gc.nn.Dense(2, activation="tanh", name="inner")

        def apply(self, x: gc.Node) -> gc.Node:
            return gc.sinh(self.inner(x))

    x = gc.input("x", ("n", 3))
    records = gc.compile([x], gc.cosh(gc.nn.Sequential([Block(), gc.nn.Dense(1)])(x))).program.records
    layers = [(row["op"], records["lines"][row["line"]][3]) for row in records["graph"]]
    wanted = {"tanh": "block/inner", "sinh": "block", "cosh": ""}
    assert {op: layer for op, layer in layers if op in wanted} == wanted
    assert {layer for op, layer in layers if op == "contract"} == {"block/inner", "dense"}


def test_sections_come_in_order_with_the_buffers_last() -> None:
    titles = list(sections(PROGRAMS["training_step"]().compile().explain()))
    assert (titles[0], titles[-1]) == ("passes", "buffers")
    assert {"forward", "adjoint", "update"} <= set(titles)
    assert titles.index("forward") < titles.index("adjoint") < titles.index("update")
    x = gc.input("x", ("n",))
    y = gc.sum(gc.tanh(x) ** 2)
    both = gc.compile([x], {"y": y, "dx": gc.grad(y, x)}).explain()
    assert section(both, "forward and adjoint")[2] == "reads x; writes dx; scratch b0"
    assert section(both, "forward")[2] == "writes y; scratch b0"  # chunks are combined


def test_phases_that_only_copy_stand_where_their_results_do() -> None:
    x, w, v = gc.input("x", ("n",)), gc.parameter("w", np.ones(3)), gc.parameter("v", np.zeros(3))
    told = sections(gc.compile([x], {"y": x, "old": w}, updates={w: v, v: w}).explain())
    assert list(told) == ["passes", "forward", "update", "buffers"]
    assert [line for line in told["forward"] if "writes" in line] == ["reads x; writes y", "reads w; writes old"]
    assert [line.split("; ")[1] for line in told["update"] if line.startswith("reads")] == [
        "writes b0",
        *("updates w at the end", "updates v at the end"),
    ]


def test_phases_tell_the_users_lines() -> None:
    told = sections(declared_in("program.py", PROGRAM)["step"].explain())
    error, loss = 'program.py:4: error = gc.tanh(x @ w) - t', "program.py:5: loss = gc.mean(error * error)"
    update = "program.py:7: step = gc.compile([x, t], loss, updates={w: w - 0.37 * g})"
    lines = {title: {line for line in lines if line.startswith("from ")} for title, lines in told.items()}
    assert f"from {error}" in lines["forward and adjoint"]  # the adjoint is that of the error, wherever `grad` stands
    assert lines["adjoint and update"] == {f"from {error}", f"from {update}"}  # the new value follows the gradient
    assert {f"from {line}" for line in (error, loss, update)} == set().union(*lines.values())


def test_an_adjoint_tells_the_lines_that_it_is_the_adjoint_of() -> None:
    text = """
x, w = gc.input("x", ("n", 3)), gc.parameter("w", np.ones((3, 2)))
h = x @ w
y = gc.sum(gc.tanh(h))
f = gc.compile([x], gc.grad(y, w))
g = gc.compile([x], gc.grad(gc.sum(gc.grad(y, w)), w))
"""
    scope = declared_in("adjoint.py", text)
    told = phases(scope["f"].explain())
    product = next(k for k, line in enumerate(told) if "product ik,ij->kj" in line)
    assert next(line for line in told[product:] if line.startswith("from")) == "from adjoint.py:3: h = x @ w"
    records = scope["g"].program.records  # a derivative of a derivative is told by what was declared at first
    assert {line[1] for line in records["lines"] if line[2] == "adjoint"} == {3, 4}


def test_a_program_from_the_cache_tells_the_lines_of_now() -> None:
    text = PROGRAM.replace("0.37", "0.41")
    cold = declared_in("cold.py", text)["step"]
    warm = declared_in("warm.py", "# moved down\n\n" + text)["step"]
    assert (cold.stats["from_cache"], warm.stats["from_cache"]) == (False, True)
    moved = re.sub(r"cold\.py:(\d+)", lambda found: f"warm.py:{int(found[1]) + 2}", cold.explain())
    assert moved == warm.explain() != cold.explain()


def test_parts_and_names_of_a_program_from_the_cache_are_those_of_now() -> None:
    x = gc.input("x", ())
    y = gc.sinh(x)
    derived = gc.compile([x], (y, gc.grad(y, x)), name="twice")
    x = gc.input("x", ())
    by_hand = gc.compile([x], {"y": gc.sinh(x), "slope": 1.0 * gc.cosh(x)}, name="twice")
    assert by_hand.stats["from_cache"], "the gradient is written by hand as it is derived"
    assert parts_of(derived) == {"forward": {"sinh"}, "adjoint": {"cosh"}}
    assert parts_of(by_hand) == {"forward": {"sinh", "cosh"}}
    assert outputs_of(derived) == ["output[0]", "output[1]"]
    assert outputs_of(by_hand) == ["y", "slope"]


def test_many_lines_are_counted() -> None:
    text = "x = z = gc.input('x', ('n',))\n" + "".join(f"z = gc.sin(z + {k}.0)\n" for k in range(20))
    told = phases(gc.compile([(scope := declared_in("long.py", text))["x"]], scope["z"]).explain())
    assert [line for line in told if line.startswith("from")][-1] == "from 12 other lines"


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (0, ["output"]),
        ((0, 1), ["output[0]", "output[1]"]),
        ({"loss": 0}, ["loss"]),
        ({"a": {"b": [0, (1,)]}, "c": 2}, ["a.b[0]", "a.b[1][0]", "c"]),
        ({3: 0, "w/b": 1, ("k",): {"w/b": 2}}, ["output[3]", "w/b", "output[('k',)]['w/b']"]),
        (NamedTuple("Result", [("y", int), ("g", Any)])(0, {"w": 1}), ["y", "g.w"]),
        ([[], {}, 0], ["output[2]"]),
    ],
)
def test_outputs_have_the_names_of_what_is_returned(structure: Any, names: list[str]) -> None:
    assert output_names(structure) == names
