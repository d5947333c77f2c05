"""Names of inputs, outputs, parameters, layers, metrics and functions, whatever they hold, wherever they go."""

from __future__ import annotations

import ast
import json
import pickle
import re
import xml.etree.ElementTree as ET
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc

NAMES = {
    "quotes": "it's \"so\"",
    "three quotes": "'''\"\"\"",
    "line ends": "a\nb\r\nc",
    "code": "x = 1\nimport os; os.abort()  #",
    "a place in a text": "{x} {0} %s %(x)s \\g<0> \\1",
    "slashes": "../../etc/passwd//",
    "backslashes": "a\\b\\n\\",
    "markup": "</text></td><script>&amp;<!--]]>",
    "markup of the terminal": "[bold red]x[/]",
    "spaces": " \t ",
    "other scripts": "größe 名前 🎲 \u202eabc",
    "control": "\x01\x1b[31m\x7f",
    "a keyword": "lambda",
    "a name of the text": "T",
    "long": "n" * 500,
}
WHOLE = "".join(NAMES.values())

each_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


def start(name: str) -> str:
    """What a drawing shows of the name: its start, with a sign for what can't be printed."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)[:30]


@pytest.fixture(scope="module")
def function() -> Any:
    """A function with an input, an output and a parameter of every name, and all of them for its own."""
    inputs = [gc.input(name, ("n",)) for name in NAMES.values()]
    parameters = [gc.parameter(name, np.ones(2)) for name in NAMES.values()]
    outputs = {str(x.name): gc.sum(w) * gc.sum(x * x) for x, w in zip(inputs, parameters, strict=True)}
    return gc.compile(inputs, outputs, updates={w: w + 1.0 for w in parameters}, name=WHOLE)


def test_calls_and_pickles_take_names_as_they_are(function: Any) -> None:
    values = {name: np.array([float(k)]) for k, name in enumerate(NAMES.values())}
    again = pickle.loads(pickle.dumps(function))
    assert again.stats["from_cache"]
    for f in (function, again):
        assert f.name == WHOLE
        found = f(**values)
        assert {name: float(v) for name, v in found.items()} == {n: 2.0 * v[0] ** 2 for n, v in values.items()}
        assert {s.name for s in f.program.inputs} == {s.name for s in f.program.parameters} == set(NAMES.values())
    f = pickle.loads(pickle.dumps(function))
    assert list(f.run(**values)) == list(NAMES.values())


@each_name
def test_errors_name_a_name(name: str, function: Any) -> None:
    values = {n: np.zeros(1) for n in NAMES.values()}
    with pytest.raises(gc.InputError, match=re.escape(repr(name))):
        function(**{**values, name: np.zeros((1, 1))})
    with pytest.raises(gc.ShapeError, match=re.escape(repr(name))):
        gc.input(name, (7,)) + gc.input("other", (8,))
    assert repr(name) in repr(gc.input(name, ()))


def test_looking_shows_names_and_they_break_out_of_nothing(function: Any, tmp_path: Path) -> None:
    function.draw(tmp_path / "g.svg")
    texts = {t.text for t in ET.parse(tmp_path / "g.svg").getroot().iter("{http://www.w3.org/2000/svg}text")}
    function.draw(tmp_path / "g.dot")
    labels = re.findall(r'label=("(?:[^"\\]|\\.)*")', (tmp_path / "g.dot").read_text(encoding="utf-8"))
    lines = {line for label in labels for line in json.loads(label).split("\n")}
    explained, page = function.explain(), function._repr_html_()
    for name in NAMES.values():
        for drawn in (texts, lines):
            assert any(text.startswith(start(name)) for text in drawn if text)
            assert any(text.startswith(f"→ {start(name)}") for text in drawn if text)
        line = "".join(c if c.isprintable() else "\ufffd" for c in name)  # a name takes no line of its own
        assert re.search(f"updates .*{re.escape(line)}.* (in place|at the end)\n", explained)
        assert escape(start(name)) in page
    assert "<script>" not in page
    assert {type(n) for n in ast.parse(function.source).body} == {ast.Assign, ast.FunctionDef}
    assert repr(function).startswith(f"<compiled {WHOLE}(")


def test_layers_and_metrics_of_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def metric(name: str) -> Any:
        def largest(t: gc.Node, y: gc.Node) -> gc.Node:
            return gc.max(gc.abs(t - y))

        largest.__name__ = name
        return largest

    layers = [gc.nn.Activation("linear", name=name) for name in NAMES.values()]
    model = gc.nn.Sequential([gc.nn.Dense(1, name=NAMES["quotes"] + WHOLE), *layers], seed=0)
    model.compile("sgd", "mse", metrics=[metric(name) for name in NAMES.values()])
    x = np.ones((4, 3), np.float32)
    for verbose in (2, 1):
        history = model.fit(x, x[:, :1], verbose=verbose).history
        assert list(history) == ["loss", *NAMES.values()]
        shown = capsys.readouterr().out
        printed = [n for n in NAMES.values() if n.isprintable() and n.strip() and len(n) < 80]
        assert all(f"{name}: {history[name][0]:.4f}" in shown for name in printed)
    assert all(repr(name) in repr(model) for name in NAMES.values())
    model.summary()
    summary = capsys.readouterr().out
    assert all(name in summary for name in NAMES.values())
    assert "<script>" not in model._repr_html_() + model.history._repr_html_()
    before = [w.value for w in model.parameters()]
    model.save_weights(tmp_path / "w.npz")
    for w in model.parameters():
        w.assign(np.zeros_like(w.value))
    model.load_weights(tmp_path / "w.npz")
    for a, w in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(a, w.value)


@pytest.mark.parametrize("name", ["", None, 3, b"x"])
def test_what_is_no_name_is_refused(name: Any) -> None:
    for make in (lambda: gc.input(name, ()), lambda: gc.parameter(name, 1.0)):
        with pytest.raises(gc.DeclarationError, match="a name is a non-empty string"):
            make()
