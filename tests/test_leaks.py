"""What a function that is dropped leaves behind: nothing."""

from __future__ import annotations

import gc as garbage
import linecache
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gc


def load_and_drop(times: int) -> None:
    for _ in range(times):
        x = gc.input("x", ("n",))
        assert gc.compile([x], gc.sum(x * 2.0))(np.ones(3)) == 6


def resident() -> int:
    """Bytes of memory in use."""
    garbage.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_function_that_is_loaded_and_dropped_leaves_nothing() -> None:
    load_and_drop(200)
    before = resident()
    load_and_drop(500)
    assert (resident() - before) / 500 < 2_000  # it was 9,000, in the linker


def test_a_compilation_leaves_no_text_behind() -> None:
    x = gc.input("x", ("n",))
    gc.compile([x], gc.sum(x * 3.0), options=gc.Options(cache=False))
    assert not [name for name in linecache.cache if "graphc function" in name]


def test_workspaces_go_with_their_function() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    x = gc.input("x", ("n",))
    y = gc.exp(x)
    outputs = (gc.max(y / gc.sum(y)), gc.sum(y))

    def use() -> None:
        f = gc.compile([x], outputs)
        f(np.ones(1_000_000))
        assert f.stats["workspace"] > 8_000_000

    use()
    before = resident()
    for _ in range(20):
        use()
    assert resident() - before < 40_000_000  # twenty would be 160,000,000
