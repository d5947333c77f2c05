"""What threads bring, and what they cost where they bring nothing; squares beside the machine's peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

import graphc as gc
from benchmarks.limits.line import Line, agree, drawn, fastest
from benchmarks.limits.work import CNN, DEEP, TRANSFORMER, VAE, Size, Work, works
from benchmarks.machine import pools
from graphc.runtime.roofline import multiply_adds
from graphc.tree import flatten

SIDES, SHARED = (256, 512, 1000), 512  # of squares; which are shared out from there on
PHASES, ELEMENTS = 10, 20_000  # of small phases, which are shared out
TINY = 3  # elements of what is not
CROWD = 8  # threads
COMPUTING: tuple[Size, ...] = (DEEP, CNN, (*CNN[:2], "shifted"), TRANSFORMER, (*TRANSFORMER[:2], "joined"), VAE)


def best(work: Work, few: int = 1, many: int = 2) -> list[float]:
    """Seconds of it on few threads and on many, whose first results have the same bits."""
    calls, results = [work.begin(), work.begin()], []
    on = [partial(gc.set_num_threads, threads) for threads in (few, many)]
    for prepare, call in zip(on, calls, strict=True):
        prepare()
        results.append([np.array(result) for result in flatten(call())[0]])
    agree(*results, 0.0)
    return fastest(*calls, before=on)


def squares(sides: Sequence[int] = SIDES) -> Iterator[Line]:
    adding, flops = multiply_adds("float32")
    for side in sides:
        a, b = (array.astype(np.float32) for array in drawn((side, side), (side, side)))
        x, y = gc.input("x", a.shape, a.dtype), gc.input("y", b.shape, b.dtype)
        product = gc.compile([x, y], x @ y)
        agree(product(a, b), a.astype(np.float64) @ b, 1e-5)
        title, call = f"{side}×{side}×{side} float32", partial(product, a, b, out=np.empty_like(a))
        gc.set_num_threads(1)
        seconds, least = fastest(call, adding)  # by turns: what a core can do changes with its company
        share, peak = 2 * side**3 / seconds / (flops / least), 1e-9 * flops / least
        yield Line(title, share, 0.93, "×", f"multiply-adds alone, {peak:.0f} GFLOP/s", at_least=True)
        if side >= SHARED:
            yield _scaling(title, *best(Work(title, lambda call=call: call)), 1.85)  # type: ignore[misc]


def two_threads(sizes: Sequence[Size] = COMPUTING) -> Iterator[Line]:
    for work in works(sizes):
        yield _scaling(work.title, *best(work), 1.75)


def _scaling(title: str, one: float, two: float, limit: float) -> Line:
    return Line(f"{title}, two threads", one / two, limit, "×", f"as fast as one, {1e3 * one:.3g} ms", at_least=True)


def _sums(count: int, elements: int) -> Work:
    """So many sums, each of what the one before gave: phases that wait for one another."""
    (array,) = drawn((elements,))
    x, total = gc.input("x", array.shape), gc.constant(0.0)
    for _ in range(count):
        total = gc.sum(gc.tanh(x + total))
    function = gc.compile([x], total)
    return Work(f"{count} phases of {elements:,} elements", lambda: partial(function, array))


def small_phases() -> Iterator[Line]:
    work = _sums(PHASES, ELEMENTS)
    one, two = best(work)
    yield Line(f"{work.title}, two threads", 1e6 * (two - one), 5, "µs", f"more than one's {1e6 * one:.1f}")


def too_small() -> Iterator[Line]:
    one, two = (1e9 * seconds for seconds in best(_sums(1, TINY)))
    yield Line("a call too small to share", two - one, 2, "ns", f"more than one thread's {one:.0f}")


def crowd(size: Size = CNN, threads: int = CROWD) -> Iterator[Line]:
    """More threads than processors, in a process that may have so many."""
    command = [sys.executable, "-m", "benchmarks.limits.sharing", *size, str(threads)]
    run = subprocess.run(command, env=os.environ | pools(threads), capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stderr)
    title, one, many = json.loads(run.stdout)
    yield Line(f"{title}, {threads} threads", many / one, 10, "×", f"as long as one's {1e3 * one:.3g} ms")


def _crowded(name: str, size: str, form: str, threads: str) -> None:
    (work,) = works([(name, size, form)])
    print(json.dumps([work.title, *best(work, 1, int(threads))]))


if __name__ == "__main__":
    _crowded(*sys.argv[1:])
