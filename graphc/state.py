"""Storage of parameters: memory that never moves, shared by every compiled function that uses it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

ALIGNMENT = 64


def aligned(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Fresh zeroed memory of at least one byte that begins on a 64-byte boundary."""
    raw = np.zeros(max(nbytes, 1) + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + max(nbytes, 1)]


class State:
    """The value of one parameter: a name, an array at a fixed address, and the lock that a writing call takes."""

    def __init__(self, name: str, value: np.ndarray[Any, Any]) -> None:
        self.name = name
        self.array = aligned(value.nbytes)[: value.nbytes].view(value.dtype).reshape(value.shape)
        self.array[...] = value
        self.lock = threading.RLock()

    @property
    def address(self) -> int:
        return int(self.array.ctypes.data)

    def __reduce__(self) -> tuple[Any, ...]:
        with self.lock:
            return State, (self.name, self.array.copy())
