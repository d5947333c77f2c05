"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import graphc as gc
from graphc.declare import FUNCTIONS


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_import_leaves_the_heavy_packages_out() -> None:
    heavy = "numba llvmlite scipy networkx rich tensorflow"
    assert run(f"import graphc, sys; print([m for m in {heavy.split()} if m in sys.modules])") == "[]"


@pytest.mark.parametrize("name", gc.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert hasattr(gc, name)
    assert name in dir(gc)


def test_functions_of_the_records_are_public() -> None:
    assert set(FUNCTIONS) <= set(gc.__all__)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        gc.no_such_name  # noqa: B018


@pytest.mark.parametrize("first", ["import graphc.compile", "import graphc.optim, graphc.compile", "graphc.compile"])
def test_compile_is_the_function_whatever_was_imported_first(first: str) -> None:
    assert run(f"import graphc; {first}; print(type(graphc.compile).__name__)") == "function"


def test_a_node_finds_this_namespace() -> None:
    assert gc.input("x", ()).__array_namespace__() is gc
