"""Forks: what they wait for, and what a child sets right.

A fork copies the memory of all threads and goes on with one.  So it waits until no other thread writes a parameter,
makes what there is once or is inside llvmlite, and keeps all from beginning until it is done.  It does not wait for
compilations, which may take long: a child that was forked in one can load what the cache has, and says so where it
would have to compile.
"""

from __future__ import annotations

import operator
import os
import sys
import threading
import time
from collections import deque
from functools import cached_property, partial
from typing import Any

from graphc import dims, graph, state
from graphc.runtime import entry, native, once, pool

_SECONDS = 5.0
_one_at_a_time = threading.RLock()
_forks: dict[int, list[_Fork]] = {}  # by thread; more than one if a handler forks in a fork


@once.once
def watch() -> None:
    """See to it that forks leave both processes whole."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


class _Fork:
    """The locks that one fork holds.

    It waits for LLVM's and, for some seconds, for what is made once, which may import modules.  What compilations hold
    it takes if it is free, and else knows that one is under way.  One C call takes the locks and notes them, another
    leaves them, so no interrupt leaves one that is not noted.
    """

    def __init__(self) -> None:
        llvm = getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None)
        numba = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
        self.patience: dict[Any, float] = {_one_at_a_time: -1, once.lock: _SECONDS}
        self.patience |= ({llvm._lock._lock: -1} if llvm else {}) | {native.compiling: 0}
        self.patience |= {numba._lock: 0} if numba else {}
        self.got: list[bool] = []

    def hold(self) -> None:
        takes = [
            partial(lock.acquire, False) if seconds == 0 else partial(lock.acquire, True, seconds)
            for lock, seconds in self.patience.items()
        ]
        self.got.extend(map(operator.call, takes))

    def leave(self) -> None:
        held = [lock.release for lock, got in zip(self.patience, self.got, strict=False) if got]
        deque(map(operator.call, reversed(held)), maxlen=0)

    @property
    def in_a_compilation(self) -> bool:
        return self.got != [True] * len(self.patience)


def _before() -> None:
    fork = _Fork()
    _forks.setdefault(threading.get_ident(), []).append(fork)
    fork.hold()
    while not _parameters_are_whole():
        time.sleep(50e-6)


def _parameters_are_whole() -> bool:
    """Whether no call writes a parameter; none begins from now on, for a fork's claim is the oldest."""
    until = time.monotonic_ns() + state.LONG_LEASE
    states = _states()
    for s in states:
        s.guard[state.WANTED :] = state.FORK, until
    return all(s.guard[state.HOLDERS] >= 0 for s in states)


def _states() -> list[state.State]:
    return [s for reference in list(state.living) if (s := reference()) is not None]


def _in_parent() -> None:
    for s in _states():
        s.guard[state.WANTED :] = 0
    if mine := _forks.get(threading.get_ident()):
        mine.pop().leave()


def _in_child() -> None:
    """The other threads are gone: nobody waits, calls or uses a workspace, and locks that they held are made anew."""
    for s in _states():
        s.guard[:] = 0
    graph.intern_lock = threading.RLock()
    for prop in (*vars(graph.Graph).values(), *vars(dims.Poly).values()):
        if isinstance(prop, cached_property) and hasattr(prop, "lock"):  # Python 3.11 has one for all instances
            prop.lock = threading.RLock()
    for reference in list(pool.living):
        if (p := reference()) is not None:
            entry.native_function("disown")(p.address, 0, 0)
    if mine := _forks.get(threading.get_ident()):
        fork = mine.pop()
        native.forked_in_a_compilation |= fork.in_a_compilation
        fork.leave()
    once.lock = threading.RLock()
