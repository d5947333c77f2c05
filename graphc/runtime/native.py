"""Functions in memory, made of object files that the cache has or graphc.runtime.backend makes.

A process that finds its kernels in the cache imports neither Numba nor llvmlite.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from graphc.errors import GraphcError
from graphc.runtime.loader import Unfit, load

PREFIX = "graphc_"  # no function of a text may meet a name of the C library
compiling = threading.RLock()  # held by whoever compiles, from before Numba is imported
forked_in_a_compilation = False  # this process began while another thread of its parent held that lock, or Numba's


def check_compiler() -> None:
    """Raises GraphcError where compiling would wait for a thread that is not there."""
    if forked_in_a_compilation:
        raise GraphcError(
            "this process was forked while another thread compiled, so it can load what the cache has but not compile; "
            'compile before forking, fork when no thread compiles, or start it by multiprocessing.get_context("spawn")'
        )


def kernel_name(text: str) -> str:
    """The name of a kernel's function: its content, in short."""
    return "kernel_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """A compilation makes very many objects and frees few: collections in between cost up to a quarter of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def dissolve(*objects: Any) -> None:
    """Empty objects that refer to each other and that nobody needs: a collection takes longer to find them."""
    for thing in objects:
        vars(thing).clear()


class Native:
    """Functions in memory; their addresses are valid as long as this object lives.

    `elsewhere`: the addresses of what parts call that lies in other memory, by symbol.
    """

    def __init__(
        self, parts: Sequence[bytes], names: Iterable[str], elsewhere: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        symbols = {name: PREFIX + name for name in names}
        self._memory: Any
        try:
            self._memory, found = load(parts, elsewhere)
        except Unfit:
            from graphc.runtime.linker import link

            self._memory, found = link(parts, symbols.values(), elsewhere)
        self._addresses = {name: found[symbol] for name, symbol in symbols.items()}

    def __getitem__(self, name: str) -> int:
        """The address of a function."""
        return self._addresses[name]
