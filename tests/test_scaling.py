"""From declaration to the lowered graph, work grows as programs do, whatever their form, and Python's stack never does.

Work is counted as calls of Python functions: that a shared machine is slow at times does not change it.
"""

from __future__ import annotations

import gc as collector
import hashlib
import importlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from programs.check import graph_of
from programs.profiles import profile_of, random_program
from scaling_programs import PROGRAMS, Made

import graphc as gc
from graphc.codegen.program import Failure, Program
from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.passes import RULES, run_pipeline
from graphc.rewrite import rewrite
from graphc.runtime import cache
from graphc.runtime.places import constraints, numbered, placed
from graphc.schedule.lower import lower

_compile = importlib.import_module("graphc.compile")
_HERE = Path(__file__).parent

SMALL = {
    "chain": 400, "vector_chain": 150, "sum_of_terms": 150, "used_often": 150, "guarded_chain": 60,
    "logistic_map": 150, "lstm": 8, "deep": 16, "transformer": 2,
}
LARGE = {
    "chain": 5000, "vector_chain": 2000, "sum_of_terms": 2000, "used_often": 5000, "guarded_chain": 1000,
    "logistic_map": 1000, "lstm": 20, "cholesky": 12, "deep": 100, "transformer": 4,
}
A_NODE = 210  # calls of Python functions from declaration to the lowered graph; a rule tried in vain at each adds one


def unit_of(made: Made) -> Any:
    inputs, outputs, updates = made
    return _compile._unit(inputs, outputs, updates or {}, gc.Options(), "f")


def stages(declare: Callable[[], Made]) -> Iterator[tuple[str, Any]]:
    """The stages from declaration to the lowered graph, each with what it made."""
    unit = unit_of(declare())
    yield "declared", unit.graph
    yield "key", cache.make_key(unit.text, repr(unit.options))
    unit.graph.verify()
    yield "verified", unit.is_kept
    graph, _ = run_pipeline(unit.graph)
    yield "passed", graph
    yield "lowered", lower(graph)
    yield "places", constraints(unit.graph)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls of graphc's functions, by name."""
    calls: Counter[str] = Counter()
    package = str(Path(gc.__file__).parent)

    def count(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            calls[frame.f_code.co_qualname] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def work(declare: Callable[[], Made]) -> tuple[dict[str, int], int]:
    """Calls of each stage, and the number of nodes that were declared."""
    done, nodes = {}, 0
    making = stages(declare)
    while True:
        with counted() as calls:
            made = next(making, None)
        if made is None:
            return done, nodes
        done[made[0]] = calls.total()
        nodes = len(made[1].nodes) if made[0] == "declared" else nodes


@pytest.mark.parametrize("name", SMALL)
def test_work_grows_as_the_program_does(name: str) -> None:
    PROGRAMS[name](2)
    once, nodes = work(lambda: PROGRAMS[name](SMALL[name]))
    twice, more = work(lambda: PROGRAMS[name](2 * SMALL[name]))
    assert 1.8 <= more / nodes <= 2.2
    slower = {stage: n / once[stage] for stage, n in twice.items() if n > 1000 and n > 2.2 * once[stage]}
    assert not slower
    assert sum(twice.values()) < A_NODE * more


def test_work_of_a_factorisation_grows_as_its_nodes() -> None:
    once, nodes = work(lambda: PROGRAMS["cholesky"](8))
    more_done, more = work(lambda: PROGRAMS["cholesky"](10))
    assert more / nodes > 1.7
    slower = {s: n / once[s] for s, n in more_done.items() if n > 1000 and n > 1.1 * once[s] * more / nodes}
    assert not slower


def test_a_walk_of_each_node_over_all_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts tell what is quadratic."""

    def slow(graph: Graph) -> Graph:
        for n in graph.nodes:
            for other in graph.nodes:
                other.name if other is n else other.ndim  # noqa: B018
        return graph

    monkeypatch.setattr(sys.modules[__name__], "lower", slow)
    monkeypatch.setitem(SMALL, "chain", 50)
    with pytest.raises(AssertionError, match="lowered"):
        test_work_grows_as_the_program_does("chain")


@pytest.mark.parametrize("name", LARGE)
def test_large_programs_pass_without_recursion(name: str) -> None:
    limit = sys.getrecursionlimit()
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    sys.setrecursionlimit(depth + 120)
    try:
        made = dict(stages(lambda: PROGRAMS[name](LARGE[name])))
    finally:
        sys.setrecursionlimit(limit)
    assert len(made["lowered"].nodes) > 500
    assert made["verified"]


def test_a_chain_of_any_length_is_let_go() -> None:
    x = gc.input("x", ())
    z = x
    for _ in range(30_000):
        z = gc.sin(z)
    assert len(Graph((z,)).nodes) == 30_001
    del z
    collector.collect()
    assert gc.sin(x).operands == (x,)


# What each node costs.


def test_a_node_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = unit_of(PROGRAMS["deep"](3)).graph
    inferred: Counter[Node] = Counter()
    seen = Graph.verify

    def verify(self: Graph, known: Any = ()) -> None:
        inferred.update(set(self.nodes) - set(known))
        seen(self, known)

    monkeypatch.setattr(Graph, "verify", verify)
    graph.verify()
    run_pipeline(graph)
    assert max(inferred.values()) == 1


def test_a_pass_that_changes_nothing_gives_the_graph_itself() -> None:
    x = gc.input("x", ("n",))
    graph = Graph((gc.sin(x) * x,), (x,))
    assert run_pipeline(graph)[0] is graph
    assert lower(graph) is graph


@pytest.mark.parametrize("seed", [s for s in range(100) if profile_of(s) != "stray"])
def test_rules_fit_only_over_the_operands_that_they_name(seed: int) -> None:
    graph, _ = graph_of(random_program(seed))
    rules = tuple(RULES.values())
    every, fired = rewrite(graph, [replace(rule, over="") for rule in rules])
    chosen, those = rewrite(graph, rules)
    assert every.text == chosen.text
    assert fired == those


def test_a_rule_whose_operands_are_named_wrongly_is_told() -> None:
    x = gc.input("x", ())
    graph = Graph((gc.log(gc.exp(x)),))
    wrong = replace(RULES["log of exp"], over="sin")
    assert rewrite(graph, [wrong])[0] is graph
    assert rewrite(graph, [replace(wrong, over="")])[0].outputs == (x,)


def test_a_rule_looks_at_an_op_a_family_or_all() -> None:
    x = gc.input("x", (3,))
    graph = Graph((gc.sum(gc.sin(x)), gc.cos(x)))
    looked = {}
    for op in ("sin", Family.ELEMENTWISE, Family.REDUCTION, "*"):
        seen: list[str] = []
        rule = replace(RULES["fold"], op=op, over="", apply=lambda b, n, seen=seen: seen.append(n.op.name))
        rewrite(graph, [rule])
        looked[op] = seen
    assert looked["sin"] == ["sin"]
    assert looked[Family.ELEMENTWISE] == ["sin", "cos"]
    assert looked[Family.REDUCTION] == ["sum"]
    assert looked["*"] == ["input", "sin", "sum", "cos"]


# Guards.


def _masked(steps: int) -> Node:
    """A recurrence that stops at a length of each row's own, as padded sequences have it."""
    x, w, length = gc.input("x", ("batch",)), gc.input("w", ()), gc.input("length", ("batch",))
    h = x
    for t in range(steps):
        h = gc.where(length > t, gc.tanh(h * w), h)
    return gc.grad(gc.sum(gc.where(x > 0, gc.where(x < 5, h, 0.0), 0.0)), w)


def _nested(steps: int) -> Node:
    x = gc.input("x", ("n",))
    z = x
    for k in range(steps):
        z = gc.where(x > k / steps, gc.sqrt(z), x)
    return gc.grad(gc.sum(z), x)


@pytest.mark.parametrize("declare", [_masked, _nested])
def test_choices_within_choices_cost_what_they_are_many(declare: Callable[[int], Node]) -> None:
    few, more, many = (len(Graph((declare(n),)).nodes) for n in (20, 40, 80))
    assert many - more <= 2 * (more - few) * 1.02


def test_slopes_stay_guarded_within_many_choices() -> None:
    """An infinite slope where a choice was not taken, below ten that were."""
    x = gc.input("x", ("n",))
    z = gc.where(x > 0, gc.sqrt(x), 1.0)
    for k in range(10):
        z = gc.where(x > -k - 1, z * 1.5, x)
    slope = gc.compile([x], gc.grad(gc.sum(z), x))([-0.5, 0.0, 4.0, -20.0])
    assert slope.tolist() == [0.0, 0.0, 0.25 * 1.5**10, 1.0]


# Lines that the cache keeps.


def _failing(steps: int) -> tuple[Program, Graph]:
    x, k = gc.input("x", ("n",)), gc.input("k", (1,), "int64")
    total = x[0]
    for _ in range(steps):
        total = gc.sum(gc.take(x * total, k))
    graph = Graph((total,), (x, k))
    lines = [str(n.line) for n in graph.nodes if n.op.family is Family.GATHER]
    program = Program("f", "", (), (), (), (), (), (), (), (), (), (), ())
    return replace(program, failures=tuple(Failure("{}", line) for line in lines)), graph


def test_places_of_many_failures_on_one_line_are_written_once() -> None:
    program, graph = _failing(200)
    assert len(program.failures) == 200
    kept = Program.from_json(numbered(program, graph.nodes).to_json())
    assert sum(len(f.line) for f in kept.failures) < 10 * len(graph.nodes)
    again = placed(kept, graph, graph.nodes, "here")
    assert again is not None
    assert again.failures == program.failures


def test_places_of_no_node_are_where_it_is_compiled() -> None:
    program, graph = _failing(1)
    lost = replace(program, failures=(Failure("{}", "elsewhere"), Failure("{}", "elsewhere")))
    kept = Program.from_json(numbered(lost, graph.nodes).to_json())
    again = placed(kept, graph, graph.nodes, "here")
    assert again is not None
    assert [f.line for f in again.failures] == ["here", "here"]


# Processes.


def digest(seed: int) -> str:
    """A few letters for what the stages make of a random program."""
    try:
        graph, _ = graph_of(random_program(seed))
        unit = _compile._unit(graph.inputs, graph.outputs, {}, gc.Options(), "f")
    except gc.GraphcError as error:
        return type(error).__name__
    passed, records = run_pipeline(graph)
    fired = [record["rules"] for record in records]
    lines = [n.line.number for n in passed.nodes]
    told = (unit.text, passed.text, lower(passed).text, fired, constraints(graph), lines)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16] + cache.make_key(unit.text)[:8]


def test_stages_do_not_depend_on_the_process() -> None:
    code = "from test_scaling import digest\nfor seed in range(60): print(seed, digest(seed))\n"
    path = os.pathsep.join([str(_HERE), str(_HERE.parent)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2", "3")
    ]
    found = [process.communicate()[0] for process in processes]
    assert found[0] == found[1] == found[2]
    assert len(set(found[0].split())) > 100


def test_an_order_by_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(0)
    monkeypatch.setattr(Graph, "text", property(lambda self: str([id(n) for n in self.nodes])))
    assert digest(0) != before
