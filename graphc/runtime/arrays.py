"""Memory of large results, which later results take over, and giving it back.

In: NumPy's own memory handler.  Out: a handler for arrays that the driver makes.  Fresh pages cost a third of a pass
over 120 MB; NumPy frees such arrays to the system, which hands out pages anew, each cleared at its first use.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

import numpy as np

from graphc.runtime import entry
from graphc.runtime import layout as at
from graphc.runtime.once import once
from graphc.runtime.pool import living
from graphc.state import address

_NAME = b"mem_handler"  # of the capsules in which NumPy wants them
_VERSION = 1
_MOST_BYTES, _PART = 1 << 30, 16  # kept at most, and at most this part of what the machine has


class _Handler(ctypes.Structure):  # NumPy's PyDataMem_Handler
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("allocate_zeros", ctypes.c_void_p),
        ("reallocate", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


@once
def recycler() -> tuple[Any, entry.Words, _Handler]:
    """A handler as NumPy takes it, and what it stands for: the words of the free blocks, and its functions."""
    own = _Handler.from_address(entry.capsule_pointer(entry.default_handler(), _NAME))
    kept = np.zeros(at.KEPT_HEAD + at.KEPT_ROW * at.MOST_KEPT, np.int64)
    kept[at.MOST_BYTES] = _most_bytes()
    kept[at.OWN_CONTEXT] = own.context or 0
    kept[at.OWN_ALLOCATE], kept[at.OWN_ZEROS] = own.allocate, own.allocate_zeros
    kept[at.OWN_REALLOCATE], kept[at.OWN_FREE] = own.reallocate, own.free
    functions = (entry.driver()[name] for name in ("allocate", "allocate_zeros", "reallocate", "free"))
    handler = _Handler(b"graphc", _VERSION, address(kept), *functions)
    new = ctypes.pythonapi.PyCapsule_New
    new.argtypes, new.restype = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p), ctypes.py_object
    return new(ctypes.addressof(handler), _NAME, None), kept, handler


def release_memory() -> None:
    """Give back memory that is kept for later calls: of large results that are gone, and workspaces of all functions.

    Up to 1 GiB, or a sixteenth of the machine's memory, of results of 256 KiB and more is kept when NumPy frees them,
    since fresh pages would take a third of the time of such calls.  Calls that run meanwhile keep what they use.

    >>> import graphc as gc
    >>> gc.release_memory()
    """
    if entry.supported():
        entry.native_function("release")(address(recycler()[1]), 0, 0)
    for reference in list(living):
        if (pool := reference()) is not None:
            pool.clear()


def _most_bytes() -> int:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return min(_MOST_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _PART)
    return _MOST_BYTES // _PART
