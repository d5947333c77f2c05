"""What notebooks show of nodes, graphs, functions, profiles, models and histories, looked at by a browser."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.inspect.profile import Kernel, Profile
from graphc.runtime.roofline import Roofline

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1000,800"),
    "--virtual-time-budget=5000",
)
NASTY = "</text><script>alert(1)</script>\"'&\\\n\t\x01"


def function() -> Any:
    x, t = gc.input("x", ("n", 4)), gc.input(NASTY, ("n", 2))
    w = gc.parameter("w</td>", np.ones((4, 2)))
    loss = gc.mean((gc.tanh(x @ w) - t) ** 2)
    return gc.compile([x, t], {"loss": loss}, updates={w: w - 0.1 * gc.grad(loss, w)}, name="step")


def model() -> gc.nn.Sequential:
    m = gc.nn.Sequential([gc.nn.Dense(5, activation="relu", name="<b>first"), gc.nn.Dense(1)], seed=0)
    m.build((None, 4))
    m.layers[0].trainable = False
    return m


def history(**values: list[float]) -> gc.nn.History:
    h = gc.nn.History()
    for k in range(max(map(len, values.values()))):
        h.add(k, {name: row[k] for name, row in values.items()})
    return h


def renderings() -> dict[str, str]:
    f, x = function(), gc.input("x", (3,))
    curve = [1.0 / (k + 1) for k in range(30)]
    return {
        "node": (gc.sum(gc.tanh(x) * 2.5))._repr_svg_(),
        "graph": gc.Graph((gc.sin(x), x), (x,))._repr_svg_(),
        "function": f._repr_html_(),
        "profile": f.profile(np.ones((3, 4)), np.ones((3, 2)), repeat=2)._repr_html_(),
        "model": model()._repr_html_(),
        "unbuilt": gc.nn.Sequential([gc.nn.Dense(2)])._repr_html_(),
        "history": history(loss=curve, val_loss=curve[::-1], **{"<i>accuracy of some kind": curve})._repr_html_(),
        "short": history(loss=[math.nan], val_auc=[0.5])._repr_html_(),
    }


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return renderings()


class Elements(HTMLParser):
    """Tags that are opened, and whether all are closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_renderings_are_well_formed_and_hold_no_style_that_could_leak(rendered: dict[str, str]) -> None:
    for name, text in rendered.items():
        found = Elements(text)
        assert found.open == [], name
        assert not {tag for tag, _ in found.tags} & {"style", "script", "link", "b", "i"}, name
        assert not any({"class", "id", "onclick", "onload"} & set(attrs) for _, attrs in found.tags), name
        for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            ET.fromstring(svg)


def test_renderings_say_what_they_show(rendered: dict[str, str]) -> None:
    texts = {name: " ".join(Elements(text).texts) for name, text in rendered.items()}
    for name, words in {
        "node": ["tanh", "→ output"],
        "graph": ["sin", "→ output[1]"],
        "function": ["<compiled step(", "def kernel_0", "→ loss", "→ new w</td>", "update", "writes loss"],
        "profile": ["GFLOP/s", "all kernels", "kernel 0", "def kernel_0", "of FMA's limit", "w</td>", "triad"],
        "model": ["<b>first", "kernel [4, 5], bias [5] (not trainable)", "total 31", "trainable 6"],
        "unbuilt": ["Sequential, without parameters so far", "dense"],
        "history": ["epochs: 30", "val_loss", "<i>accuracy o…", "epoch"],
        "short": ["epochs: 1", "val_auc", "0.5"],
    }.items():
        assert all(word in re.sub(r"\s+", " ", texts[name]) for word in words), (name, texts[name])


def test_a_graph_that_is_too_large_to_look_at_is_told_as_text() -> None:
    x = z = gc.input("x", ())
    for k in range(500):
        z = gc.sin(z) + float(k)
    assert z._repr_svg_() is None
    f = gc.compile([x], x + 1.0)
    f.program.records.clear()  # as a program without records
    assert "<svg" not in f._repr_html_()


def test_curves_have_gaps_where_a_value_is_not_finite_and_stay_in_their_panel() -> None:
    drawn = history(loss=[1.0, 2.0, math.inf, 3.0, math.nan, 4.0, 5.0])._repr_html_()
    assert len(re.findall("<polyline", drawn)) == 2
    assert len(re.findall("<circle", drawn)) == 1
    for values in ([1e308, -1e308, 0.0], [5e-324, 0.0, 1.0], [7.0] * 3):
        points = re.findall(r'points="(.*?)"', history(loss=values)._repr_html_())[0].split()
        assert all(0 <= float(y) <= 190 for y in (p.split(",")[1] for p in points))
    long = history(loss=[float(k) for k in range(10_000)])._repr_html_()
    assert len(long) < 12_000
    assert gc.nn.History()._repr_html_()


def test_a_profile_shows_shares_as_bars() -> None:
    line = Roofline(1, (1,), (1.0,), {"float32": 1.0, "float64": 1.0}, ())
    kernels = Kernel(0, "add", 3.0, 1, 1, 1), Kernel(1, "sum <x>", 1.0, 1, 1, 1)
    text = Profile(kernels, 4.0, 5.0, line)._repr_html_()
    assert re.findall(r"transparent (\S+?)%", text) == ["75.0", "25.0"]
    assert "sum &lt;x&gt;" in text
    assert Profile((Kernel(0, "nothing", 0.0, 0, 0, 0),), 0.0, 0.0, line)._repr_html_()


_PAGE = """<!doctype html><meta charset="utf-8"><style>
body.light {{ background: #ffffff; color: #1f2328 }} body.dark {{ background: #111111; color: #d4d4d4 }}
tbody tr:nth-child(odd) {{ background: #888 }} th, td {{ border: 3px solid red }} pre {{ background: #777 }}
.input, .node {{ display: none }} html {{ overflow-y: scroll }}
body.hostile text {{ font: 30px serif; fill: #123; text-anchor: end }} body.hostile svg {{ background: red }}
body.hostile svg * {{ fill: red; stroke: blue; stroke-width: 9; stroke-dasharray: 1 }}
</style><body><div id="host"><h1>Title</h1><p class="title type edge number gives">Text <code>code</code></p>
<table><tr><th>a</th><td>b</td></tr></table><pre>pre</pre><details><summary>s</summary>d</details>
<svg width="50" height="20"><text y="12" class="title">svg</text><path class="edge" d="M0 0 L9 9"/></svg></div>
<div id="output"></div><script type="application/json" id="renderings">{renderings}</script>
<pre id="result"></pre><script>{script}</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_shows_them_in_light_and_dark(rendered: dict[str, str], tmp_path: Path) -> None:
    script = (Path(__file__).parent / "notebook_page.js").read_text(encoding="utf-8")
    data = json.dumps(list(rendered.values())).replace("<", "\\u003c")
    page = tmp_path / "page.html"
    page.write_text(_PAGE.format(renderings=data, script=script), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    told = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told is not None, done.stderr
    assert told[1], "the script failed"
    for theme, found in json.loads(unescape(told[1])).items():
        assert found["pale"] == [], theme
        assert found["outside"] == [], theme
        assert found["texts"] > 150
        assert found["drawings"] == 6
        assert not found["leaks"], theme
        assert not found["wide"], theme
        assert found["elements"] == 0
        assert found["changed"] == [], theme
