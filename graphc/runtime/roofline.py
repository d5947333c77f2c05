"""What the machine can do at most: bytes a second from memory of every size, and multiply-adds a second.

In: a number of threads.  Out: a Roofline, measured once for the processor and that number, and kept in the cache;
the loop by which its peak was found, for who measures beside it.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache as cache_forever
from itertools import accumulate
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np

from graphc.runtime import cache
from graphc.runtime.native import PREFIX, Native, check_compiler, compiling
from graphc.state import address, aligned, aligned_copy

_SMALLEST = 1 << 14  # bytes of three arrays
_SAMPLE, _SAMPLES = 0.001, 6  # seconds of each, and how many; the best counts
_CACHES = ((1 << 15, "L1"), (1 << 20, "L2"), (1 << 25, "L3"))  # where the system does not tell
_MEMORY = "DRAM"
_TRIADS, _PEAKS = ("triad", "triad_past_caches"), {"float32": "f4", "float64": "f8"}
_LOOPS = Path(__file__).parent.parent / "codegen" / "intrinsics" / "limits.py"


@dataclass(frozen=True)
class Roofline:
    """The limits of some threads together: GB/s by the bytes that loops go through again and again, GFLOP/s by dtype.

    `levels` are the sizes of what memory there is, of all threads' caches together, with its name; the last has no end.

    >>> line = Roofline(1, (1 << 14, 1 << 24), (400.0, 40.0), {"float32": 200.0, "float64": 100.0}, ((1 << 15, "L1"),))
    >>> line.bandwidth(1000), round(line.bandwidth(1 << 19)), line.bandwidth(1 << 40), line.level(1 << 20)
    (400.0, 126, 40.0, 'DRAM')
    >>> line.least(flops=10**6, nbytes=4000, footprint=4000, dtype="float32")
    (5e-06, 'FMA')
    """

    threads: int
    footprints: tuple[int, ...]
    bandwidths: tuple[float, ...]
    peaks: Mapping[str, float]
    levels: tuple[tuple[int, str], ...]

    def bandwidth(self, footprint: int) -> float:
        """GB/s for loops over so many bytes: between two measured sizes, on the line between their logarithms."""
        after = bisect_left(self.footprints, footprint)
        if after in (0, len(self.footprints)):
            return self.bandwidths[min(after, len(self.bandwidths) - 1)]
        (low, high), (fast, slow) = (each[after - 1 : after + 1] for each in (self.footprints, self.bandwidths))
        part = log(footprint / low) / log(high / low)
        return exp((1 - part) * log(fast) + part * log(slow))

    def level(self, footprint: int) -> str:
        """The memory that holds so many bytes."""
        return next((name for size, name in self.levels if footprint <= size), _MEMORY)

    def least(self, flops: int, nbytes: int, footprint: int, dtype: str) -> tuple[float, str]:
        """The seconds that work takes at least, and what it waits for: a level of memory, or multiply-adds (FMA).

        `footprint` are the bytes among which it moves `nbytes`.
        """
        moving, computing = nbytes / self.bandwidth(footprint) / 1e9, flops / self.peaks[dtype] / 1e9
        return (moving, self.level(footprint)) if moving >= computing else (computing, "FMA")


@cache_forever
def roofline(threads: int) -> Roofline:
    """The limits of this machine for so many threads; measured if the cache does not have them, in about a second."""
    key = cache.machine_key("roofline", _LOOPS.read_text(), str(threads))
    kept = cache.load(key)
    if kept is not None:
        return _plain(json.loads(kept.text))
    measured = _Measuring(threads).roofline()
    cache.store(key, cache.Entry(json.dumps(asdict(measured)), ()))
    return measured


def multiply_adds(dtype: str) -> tuple[Callable[[], None], int]:
    """A call that does nothing but multiply-adds, as fast as this thread can, and how many flops they are.

    >>> call, flops = multiply_adds("float32")
    >>> call(), flops % 200
    (None, 0)
    """
    measuring, code, rounds = _Measuring(1), _PEAKS[dtype], 100_000
    numbers, function = _factors(code), measuring.function(f"multiply_add_{code}", 2)

    def call() -> None:
        function(address(numbers), rounds)

    return call, measuring.flops(code, rounds)


def _factors(code: str) -> np.ndarray[Any, Any]:
    """What the loop of multiply-adds takes and changes: a vector, however wide."""
    return aligned_copy(np.full(64, 0.5, code))


def _plain(kept: Mapping[str, object]) -> Roofline:
    return Roofline(**{k: _tuples(v) for k, v in kept.items()})  # type: ignore[arg-type]


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


class _Measuring:
    """Threads that run the same loop at the same time, each on arrays of its own."""

    def __init__(self, threads: int) -> None:
        check_compiler()
        with compiling:
            from graphc.codegen.intrinsics import limits
            from graphc.codegen.intrinsics.routine import Effort
            from graphc.runtime.backend import object_file, text_of

            code = object_file(text_of(limits.module(PREFIX)), Effort.LINES)
        self.threads, self.flops, self.step = threads, limits.flops, limits.STEP
        self.native = Native((code,), (*_TRIADS, *(f"multiply_add_{c}" for c in _PEAKS.values())))

    def function(self, name: str, words: int) -> Callable[..., None]:
        """One of the loops, which takes so many words and leaves Python to other threads."""
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * words)(self.native[name])
        function.code = self.native  # type: ignore[attr-defined]  # which goes when nobody has it
        return function

    def roofline(self) -> Roofline:
        caches = _caches()
        own, shared = caches[:-1], caches[-1]
        levels = (*((size * self.threads, name) for size, name in own), shared)
        most = min(2 * shared[0], os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)
        footprints = tuple(self.threads * _SMALLEST << k for k in range(max(1, (most // _SMALLEST).bit_length())))
        arrays = [self._arrays(footprints[-1] // self.threads) for _ in range(self.threads)]
        measured = [self._bandwidth(size, arrays) for size in footprints]
        speeds = tuple(accumulate(measured[::-1], max))[::-1]  # fewer bytes are no slower to reach
        peaks = {name: self._peak(code) for name, code in _PEAKS.items()}
        return Roofline(self.threads, footprints, speeds, peaks, levels)

    def _arrays(self, nbytes: int) -> tuple[np.ndarray[Any, Any], list[int]]:
        """Memory for three arrays of so many bytes together, and where they begin: not on the same place of a page."""
        each = self._each(nbytes)
        memory = aligned(3 * each + 4096)
        memory[:] = 1
        return memory, [address(memory) + k * (each + 1088) for k in range(3)]

    def _each(self, nbytes: int) -> int:
        return max(nbytes // 3 // self.step, 1) * self.step

    def _bandwidth(self, footprint: int, arrays: Sequence[tuple[object, list[int]]]) -> float:
        each = self._each(footprint // self.threads)
        given = [(*places, each) for _, places in arrays]
        return max(3 * each * self.threads / self._fastest(name, given) / 1e9 for name in _TRIADS)

    def _peak(self, code: str) -> float:
        numbers = [_factors(code) for _ in range(self.threads)]
        rounds = 1000
        taken = self._fastest(f"multiply_add_{code}", [(address(n),) for n in numbers], rounds)
        return self.flops(code, rounds) * self.threads / taken / 1e9

    def _fastest(self, name: str, given: Sequence[Sequence[int]], rounds: int = 1) -> float:
        """Seconds of so many rounds of a function on all threads at once, at best."""
        function, repeats = self.function(name, len(given[0]) + 1), 1
        while (taken := self._together(function, given, repeats * rounds)) < _SAMPLE:
            repeats *= 2
        best = min(taken, *(self._together(function, given, repeats * rounds) for _ in range(_SAMPLES)))
        return best / repeats

    def _together(self, function: Callable[..., None], given: Sequence[Sequence[int]], repeats: int) -> float:
        """Seconds that the slowest thread has run; what others take of its processor meanwhile is no time of its."""
        barrier, taken = threading.Barrier(len(given)), []

        def run(arguments: Sequence[int]) -> None:
            barrier.wait()
            begin = time.thread_time()
            function(*arguments, repeats)
            taken.append(time.thread_time() - begin)

        workers = [threading.Thread(target=run, args=(arguments,)) for arguments in given[1:]]
        for worker in workers:
            worker.start()
        run(given[0])
        for worker in workers:
            worker.join()
        return max(taken)


def _caches(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> tuple[tuple[int, str], ...]:
    """The caches that hold data, the smallest first, with their names; the last one is shared by processors."""
    found: dict[str, int] = {}
    for folder in sorted(root.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            if kind in ("Data", "Unified"):
                found[f"L{int(level)}"] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return tuple(sorted((size, name) for name, size in found.items())) if len(found) > 1 else _CACHES
