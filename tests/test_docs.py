"""README, the docs and the docstrings are true: examples run, generated parts are up to date, links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import graphc as gc
from graphc import losses
from graphc.declare import FUNCTIONS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
FLAGS = doctest.ELLIPSIS
MODULES = sorted(m.name for m in pkgutil.walk_packages(gc.__path__, "graphc."))


def generated(what: str) -> str:
    """What docs/make.py makes, in a process without the ops that tests register."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "docs")])}
    program = f"import make, sys; sys.stdout.buffer.write(make.{what}().encode())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    return done.stdout.decode()


def test_op_table_is_up_to_date() -> None:
    assert (ROOT / "docs" / "ops.md").read_text(encoding="utf-8") == generated("ops_table"), "run: python docs/make.py"


def test_kernel_in_readme_is_what_the_example_compiles_to() -> None:
    assert README.read_text(encoding="utf-8") == generated("readme_with_kernel"), "run: python docs/make.py"


def test_example_in_readme() -> None:
    found = doctest.testfile(str(README), module_relative=False, optionflags=FLAGS)
    assert found.attempted >= 9
    assert found.failed == 0


@pytest.mark.parametrize("name", ["graphc", *MODULES])
def test_docstring_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert found.failed == 0, capsys.readouterr().out


def public_objects() -> dict[str, Any]:
    """Functions and classes that users call, by name, but for errors and the functions of the op records."""
    found = {name: getattr(gc, name) for name in gc.__all__ if name not in FUNCTIONS}
    for module in (losses, gc.nn, gc.optim):
        found |= {f"{module.__name__}.{name}": value for name, value in public_of(module).items()}
    return {k: v for k, v in found.items() if is_called(v)}


def public_of(module: ModuleType) -> dict[str, Any]:
    names = getattr(module, "__all__", None) or [
        k for k, v in vars(module).items() if k[0] != "_" and getattr(v, "__module__", "") == module.__name__
    ]
    return {name: getattr(module, name) for name in names}


def is_called(value: Any) -> bool:
    if inspect.isclass(value):
        return not issubclass(value, Exception)
    return inspect.isfunction(value) and value.__name__ not in FUNCTIONS


@pytest.mark.parametrize("name", sorted(public_objects()))
def test_public_names_have_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(public_objects()[name]) or "")


def test_readme_has_two_commands_that_the_package_knows() -> None:
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("python3 -m venv ")]
    extras = [m[1] for line in lines for m in re.finditer(r"\.\[(\w+)\]", line)]
    assert len(lines) == len(extras) == 2
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(known)
    assert any(requirement.startswith("pytest-xdist") for requirement in known["test"])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths such as `graphc/schedule/fuse.py` in backquotes, from the root of the tree."""
    named = re.findall(r"`((?:graphc|tests|docs|examples|benchmarks)/[\w/.]*)`", page.read_text(encoding="utf-8"))
    assert [n for n in named if not (ROOT / n).exists()] == []
