"""What a function has made, and how a call finds it.

In: calls.  Out: the specialisation that serves one, if it is there.  For a call of plain arrays by position the last
one that was used for such is tried, which compares dtypes and shapes itself.  Those of plain arrays and Python numbers
are found by one look into a table; of where sizes are numbers, 1 among them, by a second one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import DTypeError
from graphc.signature import SCALARS, Call
from graphc.trace import at_line

if TYPE_CHECKING:
    from graphc.specialise import Specialisation

_PLAIN = {*SCALARS, np.ndarray}
_MOST_AT_ONCE = 1024  # kinds of calls


class Made:
    """The specialisations of a function, and what those functions have made that are derived of it."""

    def __init__(self) -> None:
        self.derived: dict[Any, Made] = {}
        self.latest: Specialisation | None = None
        self.trial: tuple[Specialisation, Callable[..., Any]] | None = None  # what to try with plain arrays
        self._by_key: dict[Any, list[Specialisation]] = {}
        self._at_once: dict[Any, tuple[Specialisation, Callable[..., Any]] | None] = {}  # None where sizes matter
        self._locks: dict[Any, threading.RLock] = {}

    @property
    def count(self) -> int:
        """How many specialisations there are."""
        return sum(map(len, self._by_key.values()))

    def lock(self, key: Any) -> threading.RLock:
        """The lock under which one thread makes what the others wait for; a child of a fork has its own."""
        return self._locks.setdefault((os.getpid(), key), threading.RLock())

    def known(self, call: Call, fitting: bool) -> Specialisation | None:
        """What serves the call; `fitting`: and takes its sizes, which is slower to tell than to try."""
        found = (s for s in self._by_key.get(call.key, ()) if s.serves(call.arrays))
        return next((s for s in found if not fitting or s.fits(call.arrays)), None)

    def kept(self, call: Call, new: Specialisation) -> Specialisation:
        """A new one, which serves further calls."""
        self._by_key.setdefault(call.key, []).append(new)
        return new

    def find(self, args: tuple[Any, ...]) -> tuple[Specialisation, Callable[..., Any]] | None:
        """What serves a call that was noted, and what to call with its arguments."""
        key = _key(args)
        found = self._at_once.get(key)
        if found is None and key in self._at_once:
            found = self._at_once.get(_key_with_sizes(args))
        if found:
            self._try_next(*found)
        return found

    def _try_next(self, found: Specialisation, run: Callable[..., Any]) -> None:
        if found.attempt and run is found.run:  # there are no numbers among the arguments
            self.trial = found, found.attempt

    def note(self, call: Call, found: Specialisation) -> None:
        """See to it that the next call like this one is found at once, if it is of plain arrays and numbers alone."""
        if call.keeps_values or not _PLAIN.issuperset(map(type, call.args)):
            return
        key, known = _key(call.args), self._at_once
        if len(known) >= _MOST_AT_ONCE:
            known.clear()
        run = found.run if SCALARS.keys().isdisjoint(key) else _converting(found.run)
        if call.symbolic and found.serves_all and np.ndarray not in key:
            known[key] = found, run
        else:
            known[key] = None
            known[_key_with_sizes(call.args)] = found, run  # of numbers alone this is the same key
        self._try_next(found, run)


def _key(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What tells calls of plain arrays and Python numbers from others; of arrays with sizes of 1 the type alone."""
    return tuple([(a.dtype, a.ndim) if type(a) is np.ndarray and 1 not in a.shape else type(a) for a in args])


def _key_with_sizes(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([(a.dtype, a.shape) if type(a) is np.ndarray else type(a) for a in args])


def _converting(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, which takes arrays, of arrays and Python numbers."""

    def convert_and_run(*args: Any) -> Any:
        try:
            arrays = [a if type(a) is np.ndarray else np.array(a, SCALARS[type(a)]) for a in args]
        except OverflowError:
            raise DTypeError(f"a Python int among the arguments does not fit int64{at_line()}") from None
        return run(*arrays)

    return convert_and_run
