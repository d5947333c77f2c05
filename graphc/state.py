"""Storage of parameters: memory that never moves, shared by every compiled function that uses it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from typing import Any

import numpy as np

ALIGNMENT = 64


def aligned(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Fresh zeroed memory of at least one byte that begins on a 64-byte boundary."""
    raw = np.zeros(max(nbytes, 1) + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + max(nbytes, 1)]


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """Who may use a parameter: Python alone (`with lock`), one call that writes it, or any number that read it.

    Compiled calls look at two words while they hold the GIL: the first counts the calls that read (-1: one writes),
    the second is 1 while Python wants the parameter.  Python sets the second, then waits for the first to be 0.
    Threads that wait get the lock in the order in which they came; the one that has it may take it again.
    """

    def __init__(self) -> None:
        self.words = np.zeros(2, np.int64)
        self.reset()
        _locks.add(self)

    def reset(self) -> None:
        """Free the lock, whoever holds it: in a forked child the other threads are gone."""
        self.words[:] = 0
        self._mutex = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner != me:
            turn = threading.Lock()
            turn.acquire()
            with self._mutex:
                self._waiting.append((me, turn))
                if self._owner is None:
                    self._pass_on()
            self._await(turn, me)
        self._depth += 1

    def _await(self, turn: threading.Lock, me: int) -> None:
        try:
            turn.acquire()
            self.words[1] = 1
            while self.words[0]:
                time.sleep(20e-6)
        except BaseException:
            with self._mutex:
                if self._owner == me:
                    self._pass_on()
                else:
                    self._waiting.remove((me, turn))
            raise

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1
        if not self._depth:
            with self._mutex:
                self._pass_on()

    def _pass_on(self) -> None:
        """Give the lock to the first that waits, if there is one."""
        if self._waiting:
            self._owner, turn = self._waiting.popleft()
            turn.release()
        else:
            self._owner = None
            self.words[1] = 0


def _reset_all() -> None:
    for lock in list(_locks):
        lock.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)


class State:
    """The value of one parameter: a name, an array at a fixed address, and the lock that guards it."""

    def __init__(self, name: str, value: np.ndarray[Any, Any]) -> None:
        self.name = name
        self.array: np.ndarray[Any, Any] = aligned(value.nbytes)[: value.nbytes].view(value.dtype).reshape(value.shape)
        self.array[...] = value
        self.lock = Lock()

    @property
    def address(self) -> int:
        return int(self.array.ctypes.data)

    def __reduce__(self) -> tuple[Any, ...]:
        with self.lock:
            return State, (self.name, self.array.copy())
