"""Storage of parameters: memory that never moves, shared by every compiled function that uses it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Any

import numpy as np

ALIGNMENT = 64


def aligned(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Fresh zeroed memory of at least one byte that begins on a 64-byte boundary."""
    raw = np.zeros(max(nbytes, 1) + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + max(nbytes, 1)]


class Lock:
    """Who may use a parameter: Python alone (`with lock`), one call that writes it, or any number that read it.

    Compiled calls look at two words while they hold the GIL: the first counts the calls that read (-1: one writes),
    the second is 1 while Python wants the parameter.  Python sets the second, then waits for the first to be 0.
    """

    _all: weakref.WeakSet[Lock] = weakref.WeakSet()

    def __init__(self) -> None:
        self.words = np.zeros(2, np.int64)
        self._depth = 0
        self._threads = threading.RLock()
        self._all.add(self)

    def __enter__(self) -> None:
        self._threads.acquire()
        self._depth += 1
        self.words[1] = 1
        try:
            while self.words[0]:
                time.sleep(20e-6)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self.words[1] = 0
        self._threads.release()

    @classmethod
    def _forked(cls) -> None:
        """In a forked child no other thread lives, whatever the words say."""
        for lock in cls._all:
            lock.words[:] = 0
            lock._depth = 0
            lock._threads = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Lock._forked)


class State:
    """The value of one parameter: a name, an array at a fixed address, and the lock that guards it."""

    def __init__(self, name: str, value: np.ndarray[Any, Any]) -> None:
        self.name = name
        self.array = aligned(value.nbytes)[: value.nbytes].view(value.dtype).reshape(value.shape)
        self.array[...] = value
        self.lock = Lock()

    @property
    def address(self) -> int:
        return int(self.array.ctypes.data)

    def __reduce__(self) -> tuple[Any, ...]:
        with self.lock:
            return State, (self.name, self.array.copy())
