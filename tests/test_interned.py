"""Nodes leave their table when they die, and nothing of Python runs then."""

from __future__ import annotations

import gc as garbage
import sys
from types import FrameType
from typing import Any

import pytest

import graphc as gc
from graphc.graph import _intern


def declared_in_a_cycle(count: int) -> list[Any]:
    """Some nodes, a constant and a parameter among them, which go with the next collection of garbage."""
    x = y = gc.parameter("x", [1.0, 2.0])
    for k in range(count):
        y = gc.sin(y) + k
    cycle = [x, y]
    cycle.append(cycle)
    return cycle


@pytest.fixture
def by_hand() -> Any:
    """Garbage is collected when asked for."""
    garbage.collect()
    garbage.disable()
    yield
    garbage.enable()


def test_no_python_runs_when_nodes_and_parameters_die(by_hand: None) -> None:
    """An interrupt that fell into that would be lost."""
    declared_in_a_cycle(300)
    ran: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            ran.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}")

    sys.setprofile(note)
    found = garbage.collect()
    sys.setprofile(None)
    assert found > 600
    assert [name for name in ran if name.startswith(("graphc", "weakref"))] == []


def test_the_dead_are_taken_out_with_the_next_node(by_hand: None) -> None:
    before = len(_intern._entries)
    for _ in range(5):
        cycle = declared_in_a_cycle(100)
        assert gc.sin(cycle[0]) is gc.sin(cycle[0])
        del cycle
        garbage.collect()
        first = gc.input("first", (3,))
        assert len(_intern._entries) <= before + 1
        del first


def test_what_is_declared_again_is_found_again(by_hand: None) -> None:
    """In the place of one that is dead and not yet taken out."""
    x = gc.input("x", (3,))
    y = gc.cos(x)
    del y
    again = gc.cos(x)
    gc.exp(x)
    assert gc.cos(x) is again
