"""What a process makes once, whichever threads ask for it at the same time.

In: functions without arguments.  Out: functions that return what the first call made.  There is one lock for all,
since making one thing may need another; a fork waits for it (see graphc.runtime.fork).  It is a lock of the
standard library that `with` takes and leaves without a moment in between, so no interrupt leaves it held; and it is
re-entrant, so a signal handler or a finalizer may ask too.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

_T = TypeVar("_T")
lock = threading.RLock()


def once(make: Callable[[], _T]) -> Callable[[], _T]:
    """`make`, called the first time only; what it returned is never freed, for code holds addresses in it."""
    made: list[_T] = []
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))  # it outlives even the module, at the end of the interpreter

    @wraps(make)
    def get() -> _T:
        if not made:
            with lock:
                if not made:
                    made.append(make())
        return made[0]

    return get
