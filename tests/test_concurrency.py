"""Threads, signal handlers, finalizers, interrupts, forks, exits: nothing crashes, hangs or is seen half done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the programs fork")
PROGRAMS = Path(__file__).with_name("concurrent_programs.py")


def tried(name: str, count: int, seconds: float) -> str:
    """The line that a program prints."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, "-X", "faulthandler", str(PROGRAMS), name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=seconds)
    line = done.stdout.strip()
    print(f"{name}: {line}")  # shown by `pytest -s`
    assert line.endswith(" good"), f"{line}\n{done.stderr[-4000:]}"
    return line


SHORT_AND_LONG = {
    "first_uses": (20, 200),
    "interrupts": (1_500, 10_000),
    "handler_uses": (1_500, 10_000),
    "finalizers": (1_500, 10_000),
    "forks": (20, 1_000),
    "forks_in_handlers": (20, 1_000),
    "forks_at_first": (6, 100),
    "exits": (10, 200),
}


@pytest.mark.parametrize("name", SHORT_AND_LONG)
def test_a_few(name: str) -> None:
    tried(name, SHORT_AND_LONG[name][0], 300)


@pytest.mark.long
@pytest.mark.parametrize("name", SHORT_AND_LONG)
def test_many(name: str) -> None:
    tried(name, SHORT_AND_LONG[name][1], 3000)
