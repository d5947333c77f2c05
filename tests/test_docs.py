"""README, the docs and the docstrings are true: examples run, generated parts are up to date, links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
import zlib
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest

import graphc as gc
from graphc import losses
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.declare import FUNCTIONS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
WITH_EXAMPLES = [p for p in PAGES if ">>>" in p.read_text(encoding="utf-8")]
WITH_PARTS = [p for p in PAGES if re.search(r"^<!-- [\w ]+: begin -->$", p.read_text(encoding="utf-8"), re.MULTILINE)]
FLAGS = doctest.ELLIPSIS
MODULES = sorted(m.name for m in pkgutil.walk_packages(gc.__path__, "graphc."))
SITE_TOOLS = ("sphinx", "myst_parser", "furo", "sphinx_copybutton")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=shown)


# what is generated


def generated(call: str) -> str:
    """What docs/make.py makes, in a process without the ops that tests register."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "docs")])}
    program = f"import make, sys; sys.stdout.buffer.write(make.{call}.encode())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    return done.stdout.decode()


def test_op_table_is_up_to_date() -> None:
    assert (ROOT / "docs/ops.md").read_text(encoding="utf-8") == generated("ops_table()"), "run: python docs/make.py"


@pytest.mark.parametrize("page", WITH_PARTS, ids=shown)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    if page.name == "reading.md" and host_vector_bytes() != 64:
        pytest.skip("it shows a kernel for vectors of 64 bytes")
    text = generated(f"page_text({shown(page)!r})")
    assert page.read_text(encoding="utf-8") == text, "run: python docs/make.py"


def test_drawing_is_up_to_date() -> None:
    """But for the coordinates, which come out of a solver."""
    drawn, kept = generated("drawing()"), (ROOT / "docs/images/step.svg").read_text(encoding="utf-8")
    assert re.sub(r"-?\d+\.\d", "", drawn) == re.sub(r"-?\d+\.\d", "", kept), "run: python docs/make.py"


def test_what_is_said_to_be_missing_of_the_standard_is_missing() -> None:
    assert generated("array_api.stale().__repr__()") == "[]"


def test_the_standard_is_there_but_for_what_a_reason_is_given_for() -> None:
    text = (ROOT / "docs/array-api.md").read_text(encoding="utf-8")
    missing = re.findall(r"`(\w+)` \| no \| not there yet", text)
    assert set(missing) <= {"logaddexp", "searchsorted"}


# examples


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=shown)
def test_examples_of_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some of them write files
    found = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS)
    assert found.attempted >= 4
    assert found.failed == 0


@every_page
def test_code_on_pages_is_run_or_generated(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^<!-- ([\w ]+): begin -->\n.*?^<!-- \1: end -->$", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```(\S*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    by_hand = [body for language, body in blocks if not (language in ("sh", "{toctree}") or body.startswith(">>>"))]
    assert by_hand == []


@pytest.mark.parametrize("name", ["graphc", *MODULES])
def test_docstring_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    known = {"gc": gc} if name == "graphc" else {}  # what the examples of the op records are made with
    found = doctest.testmod(importlib.import_module(name), extraglobs=known, optionflags=FLAGS)
    assert found.failed == 0, capsys.readouterr().out
    assert found.attempted >= (len(FUNCTIONS) if name == "graphc" else 0)


def public_objects() -> dict[str, Any]:
    """Functions and classes that users call or catch, and what their classes give, by name."""
    found = {f"graphc.{name}": getattr(gc, name) for name in gc.__all__}
    for module in (losses, gc.nn, gc.optim, gc.inspect):
        found |= {f"{module.__name__}.{name}": value for name, value in public_of(module).items()}
    found = {k: v for k, v in found.items() if inspect.isclass(v) or inspect.isfunction(v)}
    for name, value in list(found.items()):
        found |= {f"{name}.{k}": member for k, member in members(value).items()}
    return found


def members(value: Any) -> dict[str, Any]:
    """Public methods and properties of a class, those that it inherits from another class of graphc included."""
    own = [c for c in getattr(value, "__mro__", ()) if c.__module__.startswith("graphc")]
    names = [k for c in own for k, v in vars(c).items() if is_public(k) and is_documented(v)]
    return {k: getattr(value, k) for k in names}


def is_public(name: str) -> bool:
    return name[0] != "_" or name == "__call__"


def is_documented(member: Any) -> bool:
    return inspect.isfunction(member) or isinstance(member, (property, cached_property))


def lack(value: Any) -> str | None:
    """What a public thing has no part of: a docstring, or an example, which a property need not have."""
    text = inspect.getdoc(value)
    if not text:
        return "a docstring"
    return None if ">>>" in text or isinstance(value, (property, cached_property)) else "an example"


def public_of(module: ModuleType) -> dict[str, Any]:
    names = getattr(module, "__all__", None) or [
        k for k, v in vars(module).items() if k[0] != "_" and getattr(v, "__module__", "") == module.__name__
    ]
    return {name: getattr(module, name) for name in names}


def test_public_names_have_a_docstring_and_an_example() -> None:
    found = public_objects()
    assert {"graphc.Node.assign", "graphc.nn.Dense.apply", "graphc.inspect.Kernel.gflops"} <= found.keys()
    assert {name: what for name, value in found.items() if (what := lack(value))} == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [(None, "a docstring"), ("", "a docstring"), ("Does it.", "an example"), ("Does it.\n\n>>> 1\n1", None)],
)
def test_what_a_docstring_lacks_is_found(text: str | None, what: str | None) -> None:
    def function() -> None: ...

    function.__doc__ = text
    assert lack(function) == what


# names, links, commands


def test_readme_has_two_commands_that_the_package_knows() -> None:
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("python3 -m venv ")]
    extras = [m[1] for line in lines for m in re.finditer(r"\.\[(\w+)\]", line)]
    assert len(lines) == len(extras) == 2
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(known)
    assert any(requirement.startswith("pytest-xdist") for requirement in known["test"])


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths such as `graphc/schedule/fuse.py` in backquotes, from the root of the tree."""
    named = re.findall(r"`((?:graphc|tests|docs|examples|benchmarks)/[\w/.]*)`", page.read_text(encoding="utf-8"))
    assert [n for n in named if not (ROOT / n).exists()] == []


def resolves(module: Any, path: str) -> bool:
    """Whether a dotted path such as "nn.Dense" leads somewhere from a module."""
    for part in path.split("."):
        if not hasattr(module, part):
            try:
                importlib.import_module(f"{module.__name__}.{part}")
            except (AttributeError, ImportError):
                return False
        module = getattr(module, part)
    return True


@pytest.mark.parametrize(
    ("short", "module"),
    [("gc", "graphc"), ("np", "numpy"), ("scipy", "scipy"), ("keras", "keras"), ("tf", "tensorflow"), ("jax", "jax")],
)
def test_names_on_pages_exist(short: str, module: str) -> None:
    """Every dotted name in backquotes, such as `gc.nn.Dense`, where the package that it is from is installed."""
    found = pytest.importorskip(module)
    pages = {shown(p): p.read_text(encoding="utf-8") for p in PAGES}
    names = {(page, name) for page, text in pages.items() for name in re.findall(rf"`{short}\.([\w.]*\w)", text)}
    assert names
    assert sorted((page, name) for page, name in names if not resolves(found, name)) == []


# the site


class Page(HTMLParser):
    """What a page of the site refers to, and what on it can be referred to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id":
                self.anchors.add(value or "")
            elif key in ("href", "src") and value and not re.match(r"[a-z]+:|//", value):
                self.targets.append(unquote(value.partition("?")[0] if "#" not in value else value))


def broken(folder: Path) -> list[tuple[str, str]]:
    """References of the pages in a folder to files or anchors that are not there."""
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for target in page.targets:
            file, _, anchor = target.partition("#")
            other = (path.parent / file).resolve() if file else path
            if not other.exists() or (anchor and other in pages and anchor not in pages[other].anchors):
                found.append((path.name, target))
    return found


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<a href="b.html#there">', []),
        ('<a href="#here"><h1 id="here">', []),
        ('<a href="https://x.org/none"><img src="data:x">', []),
        ('<a href="c.html">', ["c.html"]),
        ('<a href="b.html#none">', ["b.html#none"]),
        ('<a href="#none">', ["#none"]),
        ('<img src="none.svg">', ["none.svg"]),
    ],
)
def test_broken_references_are_found(html: str, found: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text('<p id="there">')
    assert broken(tmp_path) == [("a.html", target) for target in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by README's command: with a warning the build fails."""
    missing = [name for name in SITE_TOOLS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the extra `docs` is not installed: there is no {', '.join(missing)}")
    command = re.search(r"python (-m sphinx .* docs )site`", README.read_text(encoding="utf-8"))
    assert command, "README says how the site is built"
    folder = tmp_path_factory.mktemp("site")
    arguments = [sys.executable, *command[1].split(), str(folder), "-d", str(tmp_path_factory.mktemp("doctrees"))]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_site_has_every_page_and_no_broken_reference(site: Path) -> None:
    wanted = {p.relative_to(ROOT / "docs").with_suffix(".html") for p in PAGES if p != README}
    assert sorted(wanted - {p.relative_to(site) for p in site.rglob("*.html")}) == []
    assert broken(site.resolve()) == []


def test_site_documents_every_public_name(site: Path) -> None:
    wanted = {f"graphc.{name}" for name in gc.__all__ if not isinstance(getattr(gc, name), ModuleType)}
    wanted |= {f"{m.__name__}.{name}" for m in (gc.nn, losses, gc.optim, gc.inspect) for name in public_of(m)}
    wanted |= {f"graphc.{c.__name__}.{k}" for c in (gc.Node, gc.CompiledFunction) for k in vars(c) if k[0] != "_"}
    lines = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    assert sorted(wanted - {line.split()[0] for line in lines}) == []
