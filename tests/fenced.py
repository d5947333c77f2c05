"""Memory between pages that may not be touched."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fenced(size: int, at_end: bool) -> NDArray[Any]:
    """Bytes that begin or end at a page whose touching is fatal."""
    page = mmap.PAGESIZE
    pages = max(1, -(-size // page))
    memory = mmap.mmap(-1, (pages + 2) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (address, address + (pages + 1) * page):
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
    start = page + (pages * page - size if at_end else 0)
    return np.frombuffer(memory, np.uint8, size, start)
