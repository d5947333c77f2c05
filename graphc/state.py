"""Storage of parameters: memory that never moves, and the guard by which calls, reads and writes take turns.

A guard is three words that change while the GIL is held, and nothing that runs Python holds it: a compiled call takes
it, works and leaves it inside one C function, and so does a read or a write of the value.  So no signal handler,
finalizer or interrupt can meet a guard that its own thread holds, and whoever waits for one holds none.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

ALIGNMENT = 64
_DATA, _word_at = 16, ctypes.c_ssize_t.from_address  # bytes before the word of an array object that is its address
_PROBE = np.zeros(1)
_IS_KNOWN = sys.implementation.name == "cpython" and (
    _word_at(id(_PROBE) + _DATA).value == _PROBE.__array_interface__["data"][0]
)

# A guard: how many calls read the parameter (-1: one writes it); the number of the claim that is first in turn, or 0;
# and until when (ns) that claim holds others off.  A claim that is given up lapses by itself.
HOLDERS, WANTED, UNTIL, GUARD_WORDS = range(4)

# A claim: its number, the older the smaller, and the time (ns); then what is to be copied, if it is for a copy.
NUMBER, NOW, TO, SOURCE, NBYTES, WRITING, CLAIM_WORDS = range(7)

FORK = 1  # the number of a fork's claim, older than all
LEASE = 10_000_000  # ns for which a claim holds others off; who waits renews it every millisecond
LONG_LEASE = 100 * LEASE  # of a claim that nobody renews

_ClaimWords = ctypes.c_int64 * CLAIM_WORDS
_numbers = itertools.count(FORK + 1)
_mover: Callable[[int, int, int], int] | None = None  # (guard, claim, 0) -> 0 if it is not our turn
living: set[weakref.ref[State]] = set()


def aligned(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Fresh zeroed memory of at least one byte that begins on a 64-byte boundary."""
    raw = np.zeros(max(nbytes, 1) + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + max(nbytes, 1)]


def aligned_copy(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values in memory that begins on a 64-byte boundary, row after row."""
    copy: np.ndarray[Any, Any] = aligned(value.nbytes)[: value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy


def address(array: np.ndarray[Any, Any]) -> int:
    """Where the memory of an array begins.

    `array.__array_interface__` takes ten times as long as a look into NumPy's object, where that is as known;
    `array.ctypes` would import modules, which a last finalizer can't.
    """
    return _word_at(id(array) + _DATA).value if _IS_KNOWN else int(array.__array_interface__["data"][0])


def install(mover: Callable[[int, int, int], int]) -> None:
    """From now on there may be compiled calls, and `mover` copies in turn with them."""
    global _mover
    _mover = mover


class Claim:
    """A place in the row of those that wait; `words` is what compiled code sees of it."""

    def __init__(self, *copy: int) -> None:
        self.words = _ClaimWords(next(_numbers), time.monotonic_ns(), *copy)
        self.address = ctypes.addressof(self.words)
        self._pause = 10e-6

    def wait(self) -> None:
        """Let others go on for a moment.  Raises RuntimeError where they never will, while the interpreter ends."""
        if sys.is_finalizing():
            raise RuntimeError("the interpreter ends while another thread uses the parameter")
        self._pause = min(2 * self._pause, 1e-3)
        time.sleep(self._pause)
        self.words[NOW] = time.monotonic_ns()


class State:
    """The value of one parameter: a name, an array at a fixed address, and the guard of that array."""

    def __init__(self, name: str, value: np.ndarray[Any, Any]) -> None:
        self.name = name
        self.array = aligned_copy(value)
        self.guard = np.zeros(GUARD_WORDS, np.int64)
        self._guard_address = address(self.guard)
        living.add(weakref.ref(self, living.discard))  # no Python runs when it dies: see graphc/interned.py

    @property
    def address(self) -> int:
        return address(self.array)

    def read(self) -> np.ndarray[Any, Any]:
        """A copy of the value, between two calls that write it; it is read-only, lest it be taken for the value."""
        copy = np.empty_like(self.array)
        self._move(copy, self.array, 0)
        copy.flags.writeable = False
        return copy

    def write(self, value: np.ndarray[Any, Any]) -> None:
        """Set the value, between two calls; `value` has the parameter's shape and is cast to its dtype."""
        self._move(self.array, np.asarray(value, self.array.dtype, order="C"), 1)

    def _move(self, to: np.ndarray[Any, Any], source: np.ndarray[Any, Any], writing: int) -> None:
        claim = Claim(address(to), address(source), to.nbytes, writing)
        if _mover is None and self._moved_plainly(to, source, claim):
            return
        mover = _mover
        while mover is not None and not mover(self._guard_address, claim.address, 0):
            claim.wait()

    def _moved_plainly(self, to: np.ndarray[Any, Any], source: np.ndarray[Any, Any], claim: Claim) -> bool:
        """Copy without a driver: no call has begun, none begins under our claim, and the GIL keeps threads apart."""
        self.guard[WANTED:] = claim.words[NUMBER], claim.words[NOW] + LONG_LEASE
        alone = _mover is None
        if alone:
            _bytes(to)[:] = _bytes(source)
        self.guard[WANTED] = 0
        return alone

    def __reduce__(self) -> tuple[Any, ...]:
        return State, (self.name, self.read())


def _bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """The bytes of an array, which are copied without leaving the GIL."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)
