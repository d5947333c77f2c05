"""What a program keeps between calls: free workspaces, and the shapes that it has seen.

In: a Program and what its frames hold.  Out: the blocks of words in which the compiled driver finds both.  Only
compiled code (graphc.runtime.sharing) takes, gives and counts references, so nothing that comes between two lines of
Python, a handler, an interrupt or another thread, can lose a workspace or free one that is in use.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence

import numpy as np

from graphc.codegen.program import Program
from graphc.runtime import entry
from graphc.runtime import layout as at
from graphc.runtime.workspace import Dims, Memory, Shape, make_workspace
from graphc.state import address

living: set[weakref.ref[Pool]] = set()


class Pool:
    """The free workspaces of a program, at most 64; `fixed` are the addresses of parameters and constants."""

    _ALL = sys.maxsize  # when a process ends, a module may lose its names before the last pool goes

    def __init__(self, program: Program, fixed: Sequence[int]) -> None:
        self._program, self._fixed = program, fixed
        self._most = 0
        self._take = entry.native_function("take", makes_object=True)
        self._offer = entry.native_function("offer")
        self.words = np.zeros(at.POOL_WORDS, np.int64)
        self.words[at.POOL_API] = address(entry.api_table())
        self.address = address(self.words)
        living.add(weakref.ref(self, living.discard))  # no Python runs for that when it dies

    def take(self, nbytes: int) -> Memory:
        """A workspace of at least `nbytes`, the caller's own until it is given."""
        memory = self._take(self.address, nbytes, 0)
        if memory is NotImplemented:
            memory = make_workspace(self._program, max(self._most, nbytes), self._fixed)
            self._most = memory.nbytes
        owned: Memory = memory
        return owned

    def give(self, memory: Memory) -> None:
        """Keep a workspace for the next call, unless there are enough."""
        self._offer(self.address, address(memory), 0)

    def clear(self) -> None:
        """Free what is free."""
        self._most = 0
        self._take(self.address, self._ALL, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of the workspaces that the pool owns."""
        return int(self.words[at.POOL_BYTES])

    __del__ = clear


class Shapes:
    """What the shapes of calls fix, for the last 64 or so."""

    def __init__(self) -> None:
        self._known: dict[tuple[Dims, ...], Shape] = {}
        self._remember, self._forget = entry.native_function("remember"), entry.native_function("forget")
        self.words = np.zeros(at.SHAPES_WORDS, np.int64)
        self.words[at.SHAPES_API] = address(entry.api_table())
        self.address = address(self.words)

    def get(self, key: tuple[Dims, ...]) -> Shape | None:
        return self._known.get(key)

    def add(self, key: tuple[Dims, ...], shape: Shape) -> None:
        """Make a shape known to the driver, if it is not."""
        self._known[key] = shape
        gone = self._remember(self.address, shape.address, 0)
        for k, s in list(self._known.items()) if gone else ():
            if s.address == gone:
                self._known.pop(k, None)

    @property
    def latest(self) -> Shape | None:
        """The shape of the last call."""
        first = int(self.words[1])
        return next((s for s in list(self._known.values()) if s.address == first), None)

    def __del__(self) -> None:
        self._forget(self.address, 0, 0)
