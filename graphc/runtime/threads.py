"""Threads that share the phases of a call: how many there may be, and the region in which they wait for work.

Workers are threads of Python inside compiled code (graphc.runtime.region) that has let go of the GIL.  They are started
when a call first wants them, sleep when there is nothing to do, and are gone at the end of the process.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import platform
import sys
import threading
from pathlib import Path

import numpy as np

from graphc.errors import InputError
from graphc.runtime import entry
from graphc.runtime import layout as at
from graphc.runtime.native import processors
from graphc.runtime.once import once
from graphc.state import address
from graphc.types import is_int

_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
_FUNCTIONS = {
    at.SYSCALL: "syscall",
    at.YIELD: "sched_yield",
    at.GET_PROCESSOR: "sched_getcpu",
    at.GET_AFFINITY: "sched_getaffinity",
    at.SET_AFFINITY: "sched_setaffinity",
}  # of the C library
_FUTEX = {"x86_64": 202, "aarch64": 98}  # the number of the system call


def get_num_threads() -> int:
    """How many threads may share a phase of a call.

    At first these are as many as the process has processors, by its affinity and its control group's quota, or what
    NUMBA_NUM_THREADS or OMP_NUM_THREADS says.

    >>> import graphc as gc
    >>> gc.get_num_threads() >= 1
    True
    """
    return int(region().words[at.MOST_THREADS])


def set_num_threads(count: int) -> None:
    """Set how many threads may share a phase of a call, from now on and in all threads of Python.

    Results are the same bits for every number.  Raises InputError for what is no int from 1 to the number at the start
    of the process; set NUMBA_NUM_THREADS to begin with more than there are processors.

    >>> import graphc as gc
    >>> before = gc.get_num_threads()
    >>> gc.set_num_threads(1)
    >>> gc.get_num_threads()
    1
    >>> gc.set_num_threads(before)
    """
    most = most_threads()
    if not is_int(count) or not 1 <= count <= most:
        raise InputError(f"the number of threads is an int from 1 to {most}, got {count!r}")
    region().set_most(int(count))


@once
def most_threads() -> int:
    """The number of threads at the start: what the user's environment says, or the processors there are."""
    for name in _VARIABLES:
        text = os.environ.get(name, "").split(",")[0].strip()
        if text and not (text.isdigit() and int(text) >= 1):
            raise InputError(f"{name} is a number of threads, at least 1; it is {os.environ[name]!r}")
        if text:
            return int(text) if supported() else 1
    return max(1, math.ceil(min(processors(), _quota()))) if supported() else 1


def supported() -> bool:
    """Whether threads can wait for one another here; where they can't, each call is one thread's."""
    return sys.platform == "linux" and platform.machine() in _FUTEX


def _quota(root: Path = Path("/sys/fs/cgroup"), mine: Path = Path("/proc/self/cgroup")) -> float:
    """How many processors the control groups of the process allow."""
    try:
        names = [line.split(":", 2)[2].strip("/") for line in mine.read_text().splitlines()]
    except (OSError, IndexError):
        names = []
    folders = {folder for name in ["", *names] for folder in (root / name, *(root / name).parents)}
    found = [_quota_of(folder) for folder in folders if folder == root or root in folder.parents]
    found.append(_quota_of(root / "cpu"))
    return min(found)


def _quota_of(folder: Path) -> float:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()[:2]
            if quota not in ("max", "-1"):
                return max(int(quota) / int(period), 1)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return math.inf


class Region:
    """The words of the process's parallel region, and its workers."""

    def __init__(self) -> None:
        words = at.PARTS + at.PART_WORDS * most_threads()
        self._memory = np.zeros(words + 8, np.int64)
        first = -address(self._memory) % 64 // 8
        self.words = self._memory[first : first + words]  # from the start of a cache line
        self.address = address(self.words)
        self._workers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._prepare(most_threads())

    def _prepare(self, most: int) -> None:
        self.words[:] = 0
        self.words[at.MOST_THREADS] = most
        if supported():
            library = ctypes.CDLL(None)
            for word, name in _FUNCTIONS.items():
                self.words[word] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
            self.words[at.FUTEX] = _FUTEX[platform.machine()]
            self.words[at.PROCESSORS] = processors()

    def set_most(self, count: int) -> None:
        self.words[at.MOST_THREADS] = count
        self.words[at.READY] = 0

    def open(self) -> None:
        """Have as many workers as there may be; those that are too many sleep."""
        if self.words[at.READY]:
            return
        with self._lock:
            work = entry.native_function("work", holds_gil=False)
            while len(self._workers) + 1 < self.words[at.MOST_THREADS]:
                arguments = (self.address, len(self._workers) + 1, 0)
                worker = threading.Thread(target=work, args=arguments, name="graphc worker", daemon=True)
                worker.start()
                self._workers.append(worker)
                part = at.PARTS + at.PART_WORDS * len(self._workers)
                self.words[part + at.THREAD] = worker.native_id or -1  # which no thread is
            self.words[at.WORKERS] = len(self._workers)
            self.words[at.READY] = 1

    def forget(self) -> None:
        """In a forked child, which has no workers, and where nobody runs a phase."""
        self._lock = threading.Lock()
        self._workers.clear()
        self._prepare(int(self.words[at.MOST_THREADS]))

    def close(self) -> None:
        """At the end of the process: no thread is left in compiled code."""
        if self._workers:
            entry.native_function("close")(self.address, 0, 0)
            for worker in self._workers:
                worker.join()
            self._workers.clear()
            self.words[at.WORKERS] = 0


@once
def region() -> Region:
    """The region of this process."""
    made = Region()
    atexit.register(made.close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.forget)
    return made
