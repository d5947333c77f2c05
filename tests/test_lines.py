"""The lines of failures and constraints are those of the program that runs now, wherever its code comes from."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

PROGRAM = """
import graphc as gc
x = gc.input("x", ("n",))
i = gc.input("i", ("m",), "int64")
j = gc.input("j", ("m",), "int64")
{declared}
f = gc.compile([x, i, j], a + b)
print(f.stats["from_cache"])
for at, before in ((5, 0), (0, 5)):
    try:
        f([1.0, 2.0], [at], [before])
    except gc.InputError as error:
        print(str(error).split(".py:")[1])
try:
    f([], [0], [0])
except gc.InputError as error:
    print(str(error).split(".py:")[1])
"""
A, B = "a = gc.sum(gc.take(x, i))", "b = gc.max(gc.take(x, j)) + gc.max(x)"


@pytest.fixture(autouse=True)
def _private_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def run(folder: Path, name: str, declared: str) -> list[str]:
    """Whether the code came from the cache, then the line of each failure."""
    path = folder / f"{name}.py"
    path.write_text(PROGRAM.format(declared=declared))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(path.read_text(), path, "exec"), {})
    return said.getvalue().splitlines()


def test_lines_are_those_of_now(tmp_path: Path) -> None:
    assert run(tmp_path, "one", f"{A}\n{B}") == ["False", f"6: {A}", f"7: {B}", f"7: {B}"]
    assert run(tmp_path, "two", f"# moved down\n{A}\n\n{B}") == ["True", f"7: {A}", f"9: {B}", f"9: {B}"]


def test_one_line_that_became_two_is_compiled_anew(tmp_path: Path) -> None:
    together = f"6: {A}; {B}"
    assert run(tmp_path, "one", f"{A}; {B}") == ["False", together, together, together]
    assert run(tmp_path, "two", f"{A}\n{B}") == ["False", f"6: {A}", f"7: {B}", f"7: {B}"]
    assert run(tmp_path, "three", f"{A}\n{B}") == ["True", f"6: {A}", f"7: {B}", f"7: {B}"]
