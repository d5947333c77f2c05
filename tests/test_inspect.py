"""explain says what was recorded, drawings show the graph."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_programs import PROGRAMS
from support_inspect import PROGRAM, declared_in, phases, section

import graphc as gc
from graphc.codegen.program import Program
from graphc.inspect.layout import BETWEEN, layout
from graphc.inspect.names import outputs_of
from graphc.inspect.parts import parts

over_programs = pytest.mark.parametrize("name", PROGRAMS)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def training() -> Any:
    """The golden training step and its values."""
    golden = PROGRAMS["training_step"]()
    return golden.compile(), golden


# explain


def test_passes_are_told_with_what_fired_and_the_nodes_before_and_after() -> None:
    records = {
        "passes": [
            {"pass": "simplify", "says": "", "rules": {"x * 1": 3, "fold": 12}, "nodes_before": 20, "nodes_after": 5},
            {"pass": "merge", "says": "", "rules": {}, "nodes_before": 5, "nodes_after": 5},
        ]
    }
    program = Program("empty", *((),) * 11, (), records=records)
    assert gc.inspect.explain(program) == (
        "passes\n  simplify: 20 -> 5 nodes\n     3 x x * 1\n    12 x fold\n  merge: 5 -> 5 nodes"
    )


@over_programs
def test_every_phase_of_the_source_is_told_with_its_chunks(name: str) -> None:
    function = PROGRAMS[name]().compile()
    lines = phases(function.explain())
    for k, phase in enumerate(function.program.phases):
        at = lines.index(f"{k} {phase.title}")
        assert lines[at + 1].startswith(f"{phase.chunks} chunk")


@over_programs
def test_what_phases_read_and_write_is_what_their_text_loads_and_stores(name: str) -> None:
    """The text of nests names each load and store; products and scatters go by their three addresses."""
    function = PROGRAMS[name]().compile()
    program = function.program
    values = iter(program.values)
    for phase, told in zip(program.phases, program.records["schedule"]["phases"], strict=True):
        text = program.kernels[phase.kernel]
        used = set(re.findall(r"\bp\d+\b", text))  # the other words are numbers, which may be equal to those of places
        words = enumerate(itertools.islice(values, phase.words))
        names = {value: f"p{k}" for k, value in words if f"p{k}" in used}
        named = {role: {names[program.word(*place)] for place in told[role]} for role in ("reads", "writes", "scratch")}
        assert named["reads"] | named["writes"] | named["scratch"] == used
        if told["kind"] == "nest":
            loads = "(?:ld|sum|product|max|min|first_of|columns)"  # a block that lies in memory is folded where it lies
            loaded, stored = (set(re.findall(rf"\b{what}_\w+\((p\d+)\b", text)) for what in (loads, "st"))
            loaded |= set(re.findall(r"\bdeal_\w+\(16, count, (p\d+)", text))
            stored |= set(re.findall(r"\b(?:columns|collect)_.*, (p\d+)", text))
            assert named["reads"] <= loaded
            assert named["writes"] <= stored <= named["writes"] | named["scratch"]


def test_places_go_by_the_users_names(training: Any) -> None:
    function, _ = training
    lines = phases(function.explain())
    assert lines[2].startswith("reads x, dense/kernel, dense/bias; writes b")
    last = re.compile(r"; updates .*, (dense\S*) in place(?:; scratch b\d+)?$")
    written = [found for line in lines for found in last.findall(line)]
    assert written == ["dense_1/kernel", "dense/kernel", "dense_1/bias", "dense/bias"]


def test_updates_in_place_and_at_the_end_are_told_apart() -> None:
    golden = PROGRAMS["in_place_updates"]()
    lines = phases(golden.compile().explain())
    written = re.compile(r"updates (?:.*, )?(\w+) (in place|at the end)$")
    how = {found[1]: found[2] for found in map(written.search, lines) if found}
    assert set(how) == {"p", "q", "r"}
    assert how["r"] == "at the end"  # it is read at other elements than it is written
    assert any(re.fullmatch(r"reads b\d+; updates r at the end", line) for line in lines)
    safe = gc.parameter("safe", np.zeros(3))
    alone = gc.compile([], (), updates={safe: safe + 1.0})
    assert section(alone.explain(), "update")[2] == "reads safe; updates safe in place"


def test_buffers_are_told_with_size_and_life(training: Any) -> None:
    function, _ = training
    program = function.program
    found = {}
    for line in section(function.explain(), "buffers"):
        match = re.match(r"b(\d+) (\S.*\]): (.*) bytes, phases (\d+) to (\d+)", line)
        assert match is not None, line
        found[int(match[1])] = match
    assert found
    for number, match in found.items():
        buffer = program.buffers[number]
        assert match[3] == str(buffer.nbytes)
        assert (int(match[4]), int(match[5])) == (buffer.first, buffer.last)
    assert {int(b) for b in re.findall(r"\bb(\d+) = T", function.source)} <= set(found)


def test_a_program_from_the_cache_explains_the_same() -> None:
    x = gc.input("x", ("n",))
    cold, warm = (gc.compile([x], gc.sum(gc.cosh(x) * 3.25)) for _ in range(2))
    assert (cold.stats["from_cache"], warm.stats["from_cache"]) == (False, True)
    assert cold.explain() == warm.explain()


def test_a_program_without_records_still_says_its_phases() -> None:
    x = gc.input("x", ("n",))
    program = gc.compile([x], x * 2.0).program
    bare = replace(program, records={})
    assert section(gc.inspect.explain(bare), "phases")[0] == f"0 {program.phases[0].title}"


# drawing


def boxes(path: Path) -> list[list[str]]:
    """The texts of each box of an SVG file."""
    root = ET.parse(path).getroot()
    groups = [g for g in root.iter(f"{SVG}g") if g.get("data-kind")]
    return [[t.text or "" for t in g.iter(f"{SVG}text")] for g in groups]


@over_programs
def test_a_drawing_of_a_function_shows_every_node(name: str, tmp_path: Path) -> None:
    function = PROGRAMS[name]().compile()
    function.draw(tmp_path / "graph.svg")
    drawn = [text for box in boxes(tmp_path / "graph.svg") for text in box]
    rows = function.program.records["graph"]
    inner = [r for r in rows if r["op"] not in ("input", "parameter", "constant")]
    for op in {r["op"] for r in inner}:
        assert sum(text == op or text.startswith(f"{op}(") for text in drawn) == sum(r["op"] == op for r in inner)
    for output in outputs_of(function):
        assert f"→ {output}" in drawn
    for slot in function.program.parameters:
        assert slot.name in drawn or f"→ new {slot.name}" in drawn


@over_programs
def test_a_node_has_the_phase_whose_text_computes_it(name: str) -> None:
    program = PROGRAMS[name]().compile().program
    for row in program.records["graph"]:
        if row["gives"]:
            (phase,) = row["phases"] or (None,)
            while row["op"] == "reshape":  # which lies as its operand does
                row = program.records["graph"][row["operands"][0]]
            if phase is not None and not program.phases[phase].title.startswith("product"):
                assert row["op"] in program.phases[phase].title


def test_a_graph_a_node_and_a_program_can_be_drawn(tmp_path: Path) -> None:
    x = gc.input("x", ("n",))
    y = gc.sum(gc.tanh(x) * 2.5)
    f = gc.compile([x], y)
    for k, what in enumerate((y, gc.Graph((y,), (x,)), f.program, f)):
        gc.inspect.draw(what, str(tmp_path / f"{k}.svg"))
        drawn = boxes(tmp_path / f"{k}.svg")
        assert any("tanh" in box for box in drawn)
        assert any("→ output" in box for box in drawn)
        assert any("multiply(·, 2.5)" in box or "multiply(2.5, ·)" in box for box in drawn)
        assert len(drawn) == 4
    assert (tmp_path / "0.svg").read_text() == (tmp_path / "1.svg").read_text()


def styled(path: Path) -> list[tuple[str, dict[str, str], list[str], str]]:
    """Kind, style of the frame, texts and tip of each box of an SVG file."""
    found = []
    for g in ET.parse(path).getroot().iter(f"{SVG}g"):
        if kind := g.get("data-kind"):
            frame = g.find(f"{SVG}rect")
            assert frame is not None
            style = dict(part.split(":", 1) for part in str(frame.get("style")).split(";"))
            texts = [t.text or "" for t in g.iter(f"{SVG}text")]
            found.append((kind, style, texts, g.findtext(f"{SVG}title", "")))
    return found


def test_parts_have_a_colour_each_and_a_legend(training: Any, tmp_path: Path) -> None:
    function, _ = training
    function.draw(tmp_path / "graph.svg")
    drawn = styled(tmp_path / "graph.svg")
    records = function.program.records
    counts = Counter(kind for kind, *_ in drawn)
    wanted = Counter(part for part in parts(records["graph"], records["lines"]) if part)
    assert {part: counts[part] for part in wanted} == wanted
    assert set(wanted) == {"forward", "adjoint", "update"}
    colours = {kind: {(s["fill"], s["stroke"]) for k, s, *_ in drawn if k == kind} for kind in counts}
    assert all(len(found) == 1 for found in colours.values())
    assert len(set.union(*colours.values())) == len(colours)
    root = ET.parse(tmp_path / "graph.svg").getroot()
    legend = [t.text for t in root.findall(f"{SVG}text")]
    assert legend[:3] == ["forward", "adjoint", "update"]
    assert [text for text in legend if text and not text.isdigit()][-1] == function.program.phases[-1].title


def test_a_node_that_is_computed_again_has_dashes_and_no_number(tmp_path: Path) -> None:
    f = declared_in("program.py", PROGRAM)["step"]
    f.draw(tmp_path / "graph.svg")
    drawn = [box for box in styled(tmp_path / "graph.svg") if box[0] not in ("input", "parameter")]
    again = [texts for _, style, texts, _ in drawn if style["stroke-dasharray"] != "none"]
    rows = [row for row in f.program.records["graph"] if row["op"] not in ("input", "parameter", "constant")]
    assert {texts[0] for texts in again} == {"iota", "reshape"}  # the number of rows, in two phases
    assert len(again) == sum(len(row["phases"]) > 1 for row in rows) == 2
    assert all(texts[-1].isdigit() is (texts not in again) for _, _, texts, _ in drawn)
    gc.inspect.draw(gc.exp(gc.input("x", ())), tmp_path / "node.svg")  # what was not compiled has no phases
    assert all(style["stroke-dasharray"] == "none" for _, style, *_ in styled(tmp_path / "node.svg"))


def test_a_drawing_names_outputs_layers_and_the_users_lines(tmp_path: Path) -> None:
    text = "x = gc.input('x', ('n', 3))\ny = gc.nn.Sequential([gc.nn.Dense(2), gc.nn.Dense(1)])(x)\n"
    scope = declared_in("layers.py", text)
    f = gc.compile([scope["x"]], {"mean": gc.mean(scope["y"]), "all": [scope["y"]]})
    f.draw(tmp_path / "graph.svg")
    drawn = styled(tmp_path / "graph.svg")
    texts = {line for _, _, lines, _ in drawn for line in lines}
    assert texts >= {"→ mean", "→ all[0]", "in dense", "in dense_1", "dense_1/kernel"}
    tips = {tip for _, _, lines, tip in drawn if "in dense_1" in lines}
    assert tips == {"layers.py:2: y = gc.nn.Sequential([gc.nn.Dense(2), gc.nn.Dense(1)])(x)"}
    f.draw(tmp_path / "graph.dot")
    assert "in dense_1" in (tmp_path / "graph.dot").read_text()


def test_names_cannot_break_out_of_a_drawing(tmp_path: Path) -> None:
    name = '</text><script>"&\\'
    x = gc.input(name, ())
    gc.inspect.draw(gc.sin(x), tmp_path / "graph.svg")
    assert any(name in box for box in boxes(tmp_path / "graph.svg"))
    gc.inspect.draw(gc.sin(x), tmp_path / "graph.dot")
    assert '</text><script>\\"&\\\\' in (tmp_path / "graph.dot").read_text()


@pytest.mark.parametrize("name", ["g.png", "g.pdf", "g.SVG.txt", "g", "svg", "g.jpg"])
def test_a_drawing_of_another_kind_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(gc.DeclarationError, match=r"a drawing ends in \.svg, \.dot, \.gv, got .*write '.*\.svg'"):
        gc.inspect.draw(gc.sin(gc.input("x", ())), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_drawing_is_what_its_ending_says(tmp_path: Path) -> None:
    for name, start in (("g.svg", "<svg "), ("g.dot", "digraph "), ("g.gv", "digraph ")):
        gc.inspect.draw(gc.sin(gc.input("x", ())), tmp_path / name)
        assert (tmp_path / name).read_text().startswith(start)


def test_dot_has_a_cluster_for_each_phase_with_nodes(training: Any, tmp_path: Path) -> None:
    function, _ = training
    function.draw(tmp_path / "graph.dot")
    text = (tmp_path / "graph.dot").read_text()
    phases = {r["phases"][0] for r in function.program.records["graph"] if len(r["phases"]) == 1}
    assert {int(k) for k in re.findall(r"subgraph cluster_(\d+)", text)} == phases
    assert text.count("{") == text.count("}")
    names = re.findall(r"(n\d+) \[label", text)
    assert len(names) == len(set(names))
    assert {n for edge in re.findall(r"(n\d+) -> (n\d+);", text) for n in edge} <= set(names)


def test_drawing_is_the_same_every_time(training: Any, tmp_path: Path) -> None:
    function, _ = training
    for k in range(2):
        function.draw(tmp_path / f"{k}.svg")
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()


@pytest.mark.parametrize("what", [3, "graph", None])
def test_other_things_are_not_drawn(what: Any, tmp_path: Path) -> None:
    with pytest.raises(gc.DeclarationError, match="drawings are made of"):
        gc.inspect.draw(what, tmp_path / "graph.svg")
    assert not list(tmp_path.iterdir())


# layout


def test_layout_leads_edges_down_and_keeps_boxes_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        edges = sorted({(int(a), int(b)) for a, b in rng.integers(0, 40, (70, 2)) if a < b})
        sizes = [(float(w), float(h)) for w, h in rng.integers(20, 120, (40, 2))]
        placed = layout(sizes, edges)
        for (source, target), route in zip(edges, placed.routes, strict=True):
            assert route[0] == (placed.centres[source][0], placed.centres[source][1] + sizes[source][1] / 2)
            assert route[-1] == (placed.centres[target][0], placed.centres[target][1] - sizes[target][1] / 2)
            assert all(upper[1] < lower[1] for upper, lower in itertools.pairwise(route))
        for a, b in itertools.combinations(range(40), 2):
            (xa, ya), (xb, yb) = placed.centres[a], placed.centres[b]
            beside = abs(xa - xb) >= (sizes[a][0] + sizes[b][0]) / 2 + BETWEEN - 1e-6
            assert beside or abs(ya - yb) >= (sizes[a][1] + sizes[b][1]) / 2
        for (x, _), (width, _) in zip(placed.centres, sizes, strict=True):
            assert width / 2 - 1e-6 <= x <= placed.width - width / 2 + 1e-6


def test_layout_of_a_chain_is_straight_and_of_nothing_is_empty() -> None:
    placed = layout([(50.0, 20.0)] * 5, [(k, k + 1) for k in range(4)])
    assert len({round(x, 6) for x, _ in placed.centres}) == 1
    empty = layout([], [])
    assert (empty.centres, empty.routes, empty.width, empty.height) == ([], [], 0.0, 0.0)


def test_layout_uncrosses_what_can_be_uncrossed() -> None:
    """A tree whose leaves are numbered in turn, one of the first branch and one of the second."""
    placed = layout([(30.0, 10.0)] * 7, [(0, 1), (0, 2), (1, 4), (1, 6), (2, 3), (2, 5)])
    x = [c[0] for c in placed.centres]
    first, second = (x[1], x[4], x[6]), (x[2], x[3], x[5])
    assert max(first) < min(second) or max(second) < min(first)


def test_a_leaf_that_is_a_result_has_one_box(tmp_path: Path) -> None:
    x = gc.input("x", ("n",))
    gc.inspect.draw(gc.Graph((gc.sin(x), x), (x,)), tmp_path / "graph.svg")
    drawn = boxes(tmp_path / "graph.svg")
    assert sorted(box[0] for box in drawn) == ["sin", "x"]
    assert sorted(box[-1] for box in drawn) == ["→ output[0]", "→ output[1]"]
