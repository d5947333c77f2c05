"""Phases of a few microseconds, which threads share where that proves faster."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.runtime import layout as at
from graphc.runtime import region, threads
from graphc.runtime.backend import compile_modules
from graphc.runtime.native import Native

pytestmark = pytest.mark.skipif(
    threads.most_threads() < 2 or host_vector_bytes() < 64, reason="one thread has nobody to share with"
)
rng = np.random.default_rng(0)


def step(width: int, gathers: bool = False) -> tuple[Any, Any]:
    """A step of descent whose first product is brief, with rows of so many floats; not only products read them."""
    w = gc.parameter("w", np.linspace(-0.1, 0.1, width * 10, dtype="f4").reshape(width, 10))
    v = gc.parameter("v", np.linspace(-0.1, 0.1, 7_840, dtype="f4").reshape(784, 10))
    x, c = gc.input("x", ("m", width), gc.float32), gc.input("c", (64, 784), gc.float32)
    loss = gc.mean(gc.tanh(x @ w) ** 2) + gc.mean(gc.tanh(c @ v) ** 2) + (gc.mean(gc.cos(x)) if gathers else 0.0)
    updates = {p: p - 0.01 * g for p, g in zip((w, v), gc.grad(loss, [w, v]), strict=True)}
    return gc.compile([x, c], loss, updates=updates), v


def chosen(f: Any, way: int) -> None:
    """Have the next runs choose this way, as if it had been faster."""
    words = f._machine.descriptor
    words[at.CYCLED], words[at.CYCLE] = 2 * at.TRIAL, at.LONG_CYCLE
    words[at.TIME_APART], words[at.TIME_TOGETHER] = (1, 2) if way == at.APART else (2, 1)


def words_of_chunks(f: Any) -> list[int]:
    words, program = f._machine.last_shape.words, f._program
    return [int(n) for n in words[program.word("phase", 0) - program.words :][: len(program.phases)]]


def test_what_is_brief_and_what_is_not() -> None:
    """Products of a few microseconds are brief; what rather moves bytes is one thread's; what is long, everyone's."""
    x, y = gc.input("x", ("m", 784), gc.float32), gc.input("y", ("n",), gc.float32)
    f = gc.compile([x, y], (x @ np.ones((784, 10), "f4"), y + 1))
    found = []
    for m, n in ((4, 10), (32, 40_000), (400, 400_000)):
        f(np.ones((m, 784), "f4"), np.ones(n, "f4"))
        found.append(sorted(-1 if c <= -at.BRIEF else c for c in words_of_chunks(f)))
    assert [sum(c < 0 for c in counts) for counts in found] == [0, 1, 2]
    assert -1 in found[1]
    assert min(found[2]) < -1


def test_short_phases_are_shared_beside_long_ones() -> None:
    """Threads are awake then, and an array that one of them writes alone lies in the wrong cache for the others."""
    y, z = gc.input("y", ("n",)), gc.input("z", ("k",))
    f = gc.compile([y, z], (gc.exp(y), gc.exp(z)))
    shared, brief = [], []
    for n, k in ((30_000, 30_000), (30_000, 1_000_000), (3_000, 1_000_000)):
        f(np.ones(n), np.ones(k))
        counts = words_of_chunks(f)
        shared.append(sum(-at.BRIEF < c < 0 for c in counts))
        brief.append(sum(c <= -at.BRIEF for c in counts))
    assert shared == [0, 2, 1]
    assert brief == [2, 0, 0]  # where that proves faster


@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("width", [1, 16, 17, 257, 784])
def test_both_ways_give_the_same_bits(width: int, gathers: bool) -> None:
    """Rows of a batch may be gathered by halves then; they may be shorter than a line of cache."""
    batch = at.HALVED // (4 * width) + 3
    x, c = rng.normal(size=(batch + 5, width)).astype("f4"), rng.normal(size=(64, 784)).astype("f4")
    order = rng.integers(len(x), size=3 * batch + 7)
    results = []
    for way in (at.APART, at.TOGETHER):
        f, v = step(width, gathers)
        chosen(f, way)
        losses = f.run(x=x, c=c, batch_size=batch, order=order)
        results.append((losses, v.value))
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)
    f, v = step(width, gathers)
    by_hand = [f(x[order[k : k + batch]], c) for k in range(0, len(order), batch)]
    assert np.array_equal(by_hand, results[0][0])


def test_rows_are_gathered_whole_after_a_failure() -> None:
    """Chunks after one that failed are passed over, but not those of another step in the same frame."""
    x, c = gc.input("x", ("m", 784), gc.float32), gc.input("c", (64, 784), gc.float32)
    chosen_rows = gc.take(gc.sum(c, axis=1), gc.astype(x[:, 0], gc.int64))
    f = gc.compile([x, c], gc.sum(gc.tanh(c @ np.ones((784, 10), "f4"))) + gc.sum(chosen_rows) + gc.sum(x))
    arrays = np.zeros((32, 784), "f4"), np.ones((64, 784), "f4")
    arrays[0][:, 1:] = rng.normal(size=(32, 783))
    (expected,) = f.run(x=arrays[0], c=arrays[1], batch_size=32)
    wrong = np.full((32, 784), 64, "f4")
    for _ in range(3):
        chosen(f, at.TOGETHER)
        with pytest.raises(gc.InputError, match="64"):
            f(wrong, arrays[1])
        chosen(f, at.TOGETHER)
        found = f.run(x=arrays[0], c=arrays[1], batch_size=32, order=np.arange(96) % 32)
        assert found.tolist() == [expected] * 3


def test_either_way_is_tried_now_and_then() -> None:
    f, _ = step(784)
    words = f._machine.descriptor
    x, c = np.ones((32, 784), "f4"), np.ones((64, 784), "f4")
    f.run(x=x, c=c, batch_size=32, order=np.arange(32).repeat(2 * at.TRIAL))
    assert words[at.CYCLED] == 2 * at.TRIAL
    assert min(words[at.TIME_APART], words[at.TIME_TOGETHER]) > 0
    for cycle in (at.SHORT_CYCLE, 2 * at.SHORT_CYCLE, at.LONG_CYCLE // 2, at.LONG_CYCLE, at.LONG_CYCLE):
        words[at.CYCLED], words[at.CYCLE] = cycle - 1, cycle
        f.run(x=x, c=c, batch_size=32, order=np.arange(32))
        assert (words[at.CYCLED], words[at.CYCLE]) == (0, min(2 * cycle, at.LONG_CYCLE))
        f.run(x=x, c=c, batch_size=32, order=np.arange(32))
        assert (words[at.CYCLED], words[at.TIME_APART], words[at.TIME_TOGETHER]) == (1, 0, 0)


def test_a_choice_unlike_the_last_one_is_soon_tried_again() -> None:
    """What runs beside a trial for less than a millisecond would else decide for a tenth of a second."""
    f, _ = step(784)
    words = f._machine.descriptor
    x, c = np.ones((32, 784), "f4"), np.ones((64, 784), "f4")
    last = at.APART
    for way in (at.TOGETHER, at.TOGETHER, at.APART, at.APART, at.TOGETHER):
        chosen(f, way)
        f.run(x=x, c=c, batch_size=32, order=np.arange(32).repeat(2))
        assert words[at.CYCLED] == 2 * at.TRIAL + 2
        assert words[at.CYCLE] == (at.LONG_CYCLE if way == last else at.SHORT_CYCLE)
        assert words[at.CHOSEN] == way
        last = way


def test_nobody_helps_before_his_own_part_is_there() -> None:
    """Who sees the first part of a phase before its own is published leaves it to whom it belongs to."""
    unfinished = Native((compile_modules(region),), ("unfinished",))
    find = ctypes.CFUNCTYPE(*[ctypes.c_int64] * 4)(unfinished["unfinished"])
    for mine, left in itertools.product((4, 5), (0, 1)):
        words = np.zeros(at.PARTS + 2 * at.PART_WORDS, np.int64)
        words[at.LIMIT] = 2
        first, second = at.PARTS, at.PARTS + at.PART_WORDS
        words[first] = 5 * region.NEXT_PHASE + 1  # a chunk of phase 5 is left to the thread with number 0
        words[second] = mine * region.NEXT_PHASE + left
        base = words.ctypes.data
        wanted = second if left else first if mine == 5 else None
        assert find(base, 1, 0) == (0 if wanted is None else base + 8 * wanted)
