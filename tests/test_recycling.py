"""Memory of large results, which later results take over."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import layout as at
from graphc.runtime.arrays import recycler
from graphc.state import address

LARGE = at.LARGE_BYTES // 8  # float64 elements of the smallest result that is kept
handler_name = np._core.multiarray.get_handler_name  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    gc.release_memory()
    yield
    gc.release_memory()


def plus_one() -> Any:
    x = gc.input("x", ("n",))
    return gc.compile([x], x + 1.0)


def kept() -> tuple[int, int]:
    """Blocks that are free, and their bytes."""
    words = recycler()[1]
    return int(words[at.KEPT]), int(words[at.KEPT_BYTES])


def test_a_result_takes_the_memory_of_one_that_is_gone() -> None:
    f, x = plus_one(), np.arange(LARGE, dtype=float)
    first = f(x)
    place = address(first)
    second = f(x)  # while the first is there
    assert address(second) != place
    np.testing.assert_array_equal(first, x + 1)
    del first
    assert kept() == (1, at.LARGE_BYTES)
    third = f(x * 2)
    assert address(third) == place
    assert kept() == (0, 0)
    np.testing.assert_array_equal(second, x + 1)
    np.testing.assert_array_equal(third, x * 2 + 1)


@pytest.mark.parametrize("n", [LARGE - 1, LARGE, LARGE + 1, LARGE + at.PIECE // 8])
def test_sizes_about_the_bound(n: int) -> None:
    f = plus_one()
    for k in range(3):
        x = np.full(n, float(k))
        np.testing.assert_array_equal(f(x), x + 1)
    assert kept()[0] == int(n >= LARGE)
    assert kept()[1] % at.PIECE == 0


def test_large_results_begin_a_line_of_cache() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], (x + 1.0, x * 2.0, gc.sum(x)))
    for n in (LARGE, LARGE + 1, 3 * LARGE):
        results = [f(np.ones(n)) for _ in range(3)]
        assert not any(address(array) % 64 for found in results for array in found)


def test_a_view_keeps_the_memory() -> None:
    f, x = plus_one(), np.arange(LARGE, dtype=float)
    view = f(x)[::2]
    assert kept() == (0, 0)
    f(x * 3)
    np.testing.assert_array_equal(view, x[::2] + 1)
    del view
    assert kept() == (2, 2 * at.LARGE_BYTES)


def test_only_results_of_graphc_have_the_handler() -> None:
    f = plus_one()
    assert handler_name(f(np.zeros(LARGE))) == "graphc"
    assert handler_name(np.zeros(LARGE)) == "default_allocator"
    assert handler_name(f(np.zeros(3))) == "default_allocator"


def test_small_and_large_results_of_one_call() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], {"small": gc.sum(x), "large": x * 2.0, "again": x * 3.0})
    values = np.arange(LARGE, dtype=float)
    for _ in range(3):
        found = f(values)
        np.testing.assert_array_equal(found["large"], values * 2)
        np.testing.assert_array_equal(found["again"], values * 3)
        assert found["small"] == values.sum()
        del found
    assert kept()[0] == 2


def change_length(array: Any) -> None:
    array.resize(5, refcheck=False)


def grow(array: Any) -> None:
    array.resize(2 * LARGE, refcheck=False)


@pytest.mark.parametrize("change", [change_length, grow])
def test_arrays_may_be_resized(change: Callable[[Any], None]) -> None:
    f, x = plus_one(), np.arange(LARGE, dtype=float)
    result = f(x)
    change(result)
    common = min(len(result), LARGE)
    np.testing.assert_array_equal(result[:common], x[:common] + 1)
    length = len(result)
    del result
    assert kept()[0] == 1 + (length >= LARGE)  # the block from which it was copied
    again = f(np.zeros(max(length, 8)))
    np.testing.assert_array_equal(again, 1.0)


def test_the_oldest_blocks_go_where_there_are_too_many() -> None:
    f = plus_one()
    words = recycler()[1]
    before, words[at.MOST_BYTES] = words[at.MOST_BYTES], 3 * at.LARGE_BYTES
    try:
        results = [f(np.zeros(LARGE + k * at.PIECE // 8)) for k in range(4)]
        while results:
            results.pop(0)
        assert kept()[1] <= 3 * at.LARGE_BYTES
        f(np.zeros(4 * LARGE))  # more than is ever kept
        assert kept()[1] <= 3 * at.LARGE_BYTES
    finally:
        words[at.MOST_BYTES] = before
    many = [f(np.zeros(LARGE)) for _ in range(at.MOST_KEPT + 3)]
    many.clear()
    assert kept()[0] <= at.MOST_KEPT
    gc.release_memory()
    assert kept() == (0, 0)


def test_results_that_no_memory_holds_leave_numpy_as_it_was() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.broadcast_to(x, (2**22, *x.shape)) + 1.0)
    with pytest.raises(MemoryError):
        f(np.zeros(2**19))
    assert handler_name(np.zeros(LARGE)) == "default_allocator"
    np.testing.assert_array_equal(f(np.zeros(1))[:3], np.ones((3, 1)))


IN_LITTLE_MEMORY = """
import resource, numpy as np, graphc as gc
from graphc.runtime import layout as at
from graphc.runtime.arrays import recycler
gc.set_num_threads(1)
x = gc.input("x", ("n",))
f = gc.compile([x], x + 1.0)
results = [f(np.zeros(4 * 2**20)) for _ in range(12)]  # of 32 MB
results.clear()
assert recycler()[1][at.KEPT] == 12
given = np.zeros(20 * 2**20)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60 * 2**20, -1))
assert f(given)[-1] == 1.0  # 160 MB, for which the others go
assert recycler()[1][at.KEPT] <= 1
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_kept_goes_where_memory_is_wanted() -> None:
    done = subprocess.run([sys.executable, "-c", IN_LITTLE_MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_threads() -> None:
    f, wrong = plus_one(), []

    def work(seed: int) -> None:
        for k in range(8):
            x = np.full(LARGE + k % 3, float(seed * 100 + k))
            first = f(x)
            second = f(-x)
            if not (first == x + 1).all() or not (second == 1 - x).all():
                wrong.append((seed, k))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
