"""Memory of a program that is interpreted: regions with bounds, and who wrote each element.

An address is (1 + region) << 40 plus a byte, so that on both sides of a region lies a guard that no other region is
near to; arrays of the caller's begin within a line of cache.  What a kernel must not do is a Fault: read or write
outside an array, read what nobody wrote, race with another chunk of the phase, or reach one array through two storages
that the code declares disjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SHIFT = 40
MASK = (1 << SHIFT) - 1
UNWRITTEN, GIVEN = -1, 0


class Fault(Exception):
    """A kernel did what no kernel may do; `kind` is one word for it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Region:
    """One array or buffer; elements are NumPy scalars, `writers` tell which chunk wrote them."""

    def __init__(self, name: str, nbytes: int, life: tuple[int, int] | None = None) -> None:
        self.name, self.nbytes, self.life = name, nbytes, life
        self.begins = 0  # so many bytes after a line of cache
        self.zero: Any = None
        self.itemsize = 0  # 0 as long as nothing is known of what it holds
        self.data: list[Any] = []
        self.writers: list[int] = []
        self.cleared: list[tuple[int, int, int]] = []  # first byte, bytes, writer, until a dtype is known

    def fill(self, array: np.ndarray[Any, Any]) -> None:
        """Hold the values of an array that is given."""
        self.itemsize, self.zero = array.itemsize, array.dtype.type(0)
        self.data = list(array.ravel())
        self.writers = [GIVEN] * array.size

    def forget(self) -> None:
        """Nothing in it is written any longer."""
        self.itemsize, self.cleared = 0, []

    def sized(self, dtype: np.dtype[Any]) -> None:
        """Hold elements of this size; a buffer may be used again for another dtype of that size."""
        if self.itemsize:
            raise Fault("type", f"{self.name} has elements of {self.itemsize} bytes and is used as {dtype}")
        count = self.nbytes // dtype.itemsize
        self.itemsize, self.data, self.writers = dtype.itemsize, [None] * count, [UNWRITTEN] * count
        self.zero = dtype.type(0)
        self._zero()

    def _zero(self) -> None:
        for start, nbytes, writer in self.cleared:
            where, count = slice(start // self.itemsize, (start + nbytes) // self.itemsize), nbytes // self.itemsize
            self.data[where], self.writers[where] = [self.zero] * count, [writer] * count
        self.cleared = []

    def clear(self, start: int, nbytes: int, writer: int) -> None:
        """Zeros, of the dtype that the region has, or that the next access tells."""
        if not 0 <= start <= self.nbytes - nbytes:
            raise Fault("bounds", f"{nbytes} bytes of {self.name} are cleared, which has {self.nbytes}")
        if nbytes == self.nbytes:
            self.forget()
        self.cleared.append((start, nbytes, writer))
        if self.itemsize:
            self._zero()

    def write(self, at: int, value: Any, writer: int) -> None:
        self.data[at], self.writers[at] = value, writer

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The values, all of which must have been written."""
        if not self.itemsize:
            self.sized(dtype)
        if UNWRITTEN in self.writers:
            raise Fault("unwritten", f"{self.name} has elements that nobody wrote")
        return np.array(self.data, dtype).reshape(shape)


class Block(Region):
    """A block on the stack: elements of several sizes, of which none may be read that others have been written over."""

    def __init__(self, name: str, nbytes: int) -> None:
        super().__init__(name, nbytes)
        self.others: dict[int, tuple[list[Any], list[int]]] = {}  # elements of sizes that it had before

    def forget(self) -> None:
        super().forget()
        self.others.clear()

    def sized(self, dtype: np.dtype[Any]) -> None:
        if self.itemsize:
            self.others[self.itemsize] = self.data, self.writers
            self.itemsize = 0
        known = self.others.pop(dtype.itemsize, None)
        super().sized(dtype)
        if known is not None:
            self.data, self.writers = known

    def write(self, at: int, value: Any, writer: int) -> None:
        super().write(at, value, writer)
        for size, (_, writers) in self.others.items():
            first, last = at * self.itemsize // size, ((at + 1) * self.itemsize - 1) // size
            writers[first : last + 1] = [UNWRITTEN] * (last + 1 - first)


class Memory:
    """All regions of one call, and the chunk that runs."""

    def __init__(self) -> None:
        self.regions: dict[int, Region] = {}
        self.stacks: dict[int, int] = {}
        self.storages: dict[tuple[int, int], tuple[int, bool]] = {}
        self.phase, self.me = 0, GIVEN
        self.run = 0  # counts the phases that have run, in each step of a loop anew

    def clear(self) -> None:
        """A new call begins: no region is left of the one before."""
        self.regions.clear()
        self.stacks.clear()
        self.run = 0

    def add(self, region: Region, begins: int = 0) -> int:
        """The address of a new region, so many bytes after a line of cache."""
        self.regions[number := len(self.regions) + 1] = region
        region.begins = begins
        return (number << SHIFT) + begins

    def place(self, address: int) -> tuple[Region, int]:
        """The region, and the byte of it."""
        region, at = self.regions.get(int(address) >> SHIFT), int(address) & MASK
        if region is None:
            raise Fault("bounds", f"byte {at} of no array, which has 0")
        return region, at - region.begins

    def begin_phase(self, phase: int) -> None:
        self.phase, self.run = phase, self.run + 1

    def begin(self, chunk: int) -> None:
        """A chunk begins: blocks on the stack are its own, and so are the scopes of its nests."""
        self.me = self.run << 32 | chunk + 1
        self.storages.clear()
        for address in self.stacks.values():
            self.regions[address >> SHIFT].forget()

    def stack(self, number: int, elements: int) -> int:
        if number not in self.stacks:
            self.stacks[number] = self.add(Block(f"r{number}", 8 * elements))
        return self.stacks[number]

    def find(self, address: int, dtype: np.dtype[Any]) -> tuple[Region, int]:
        """The region and the position of an element."""
        region, at = self.place(address)
        if not 0 <= at <= region.nbytes - dtype.itemsize:
            raise Fault("bounds", f"byte {at} of {region.name}, which has {region.nbytes}")
        if at % dtype.itemsize:
            raise Fault("alignment", f"byte {at} of {region.name} as {dtype}")
        if region.life is not None and not region.life[0] <= self.phase <= region.life[1]:
            raise Fault("life", f"{region.name} lives from phase {region.life}, used in phase {self.phase}")
        if region.itemsize != dtype.itemsize:
            region.sized(dtype)
        return region, at // dtype.itemsize

    def load(self, address: int, dtype: np.dtype[Any]) -> Any:
        region, at = self.find(address, dtype)
        writer = region.writers[at]
        if writer == UNWRITTEN:
            raise Fault("unwritten", f"element {at} of {region.name} is read, which nobody wrote")
        if writer != self.me and writer >> 32 == self.run:
            raise Fault("race", f"element {at} of {region.name} is read by one chunk and written by another")
        value = region.data[at]
        if value.dtype != dtype:
            raise Fault("type", f"element {at} of {region.name} holds {value.dtype} and is read as {dtype}")
        return value

    def store(self, address: int, dtype: np.dtype[Any], value: Any) -> None:
        region, at = self.find(address, dtype)
        writer = region.writers[at]
        if writer != self.me and writer > 0 and writer >> 32 == self.run:
            raise Fault("race", f"element {at} of {region.name} is written by two chunks")
        region.write(at, value, self.me)

    def grid(self, address: int, steps: Sequence[int], sizes: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """The addresses of a strided array."""
        at = np.array(int(address))
        for step, size in zip(steps, sizes, strict=True):
            at = at[..., None] + int(step) * np.arange(int(size))
        return at

    def load_all(self, addresses: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        values = [self.load(a, dtype) for a in addresses.ravel().tolist()]
        return np.array(values, dtype).reshape(addresses.shape)

    def store_all(self, addresses: Any, dtype: np.dtype[Any], values: Any) -> None:
        for a, v in zip(addresses.ravel().tolist(), values.ravel(), strict=True):
            self.store(a, dtype, v)

    def declare(self, nest: int, storage: int, address: int, writes: bool) -> None:
        """An access through a storage of a nest: two storages of one nest must not reach the same array."""
        key = nest, int(address) >> SHIFT
        known = self.storages.get(key)
        if known is None:
            self.storages[key] = storage, writes
            return
        if known[0] != storage and (known[1] or writes):
            name = self.regions[key[1]].name
            raise Fault("alias", f"{name} is reached through storages {known[0]} and {storage} of nest {nest}")
        if writes and not known[1]:
            self.storages[key] = storage, True
