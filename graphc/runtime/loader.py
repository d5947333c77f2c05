"""Object files in memory: all that a warm start needs of a linker, so that it never loads LLVM.

In: ELF object files for AMD64 of the large code model, whose code refers to everything by whole addresses.  Out:
memory that may be run, and where symbols lie in it.  Files of any other kind are Unfit, and graphc.runtime.linker takes
them.  The layouts are those of the System V ABI and its AMD64 supplement.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

_MAGIC = b"\x7fELF\2\1\1"  # 64 bits, little-endian
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_WORD = struct.Struct("<Q")
_RELOCATABLE, _AMD64 = 1, 62  # kind of file, machine
_BITS, _SYMBOLS, _RELOCATIONS, _ZEROS, _OLD_RELOCATIONS = 1, 2, 4, 8, 9  # kinds of sections
_IS_LOADED = 2  # flag of a section
_WHOLE_ADDRESS = 1  # kind of a relocation
_LOCAL = 0  # binding of a symbol


class Unfit(Exception):
    """Object files ask for more than is done here."""


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    start: int
    size: int
    link: int
    info: int
    alignment: int
    row: int


class _Object:
    """One file; the sections that are loaded have places in the memory from `start` on."""

    def __init__(self, code: bytes, start: int) -> None:
        header = _HEADER.unpack_from(code)
        if not code.startswith(_MAGIC) or header[1:3] != (_RELOCATABLE, _AMD64):
            raise Unfit("no object file for AMD64")
        self.code, self.end = code, start
        self.sections = [_Section(*_SECTION.unpack_from(code, header[6] + header[11] * k)) for k in range(header[12])]
        self.places: dict[int, int] = {}
        for number, s in enumerate(self.sections):
            if s.flags & _IS_LOADED and s.kind in (_BITS, _ZEROS):
                self.places[number] = -(-self.end // (s.alignment or 1)) * (s.alignment or 1)
                self.end = self.places[number] + s.size

    def content(self, s: _Section) -> bytes:
        return self.code[s.start : s.start + s.size] if s.kind != _ZEROS else bytes(s.size)

    @cached_property
    def symbols(self) -> list[tuple[str, int | None]]:
        """Name and place of each symbol: no name if other files do not see it, None if it is defined elsewhere."""
        found: list[tuple[str, int | None]] = []
        for table in (s for s in self.sections if s.kind == _SYMBOLS):
            names = self.content(self.sections[table.link])
            for name, info, _, section, value, _ in _SYMBOL.iter_unpack(self.content(table)):
                place = self.places[section] + value if section in self.places else None
                seen = names[name : names.index(b"\0", name)].decode() if info >> 4 != _LOCAL else ""
                found.append((seen, place))
        return found

    def relocations(self) -> Iterator[tuple[int, int, int]]:
        """Places of whole addresses, with the number of the symbol and what is added to its address."""
        for table in self.sections:
            if table.kind not in (_RELOCATIONS, _OLD_RELOCATIONS) or table.info not in self.places:
                continue
            for offset, info, more in _RELOCATION.iter_unpack(self.content(table)):
                if table.kind != _RELOCATIONS or info & 0xFFFFFFFF != _WHOLE_ADDRESS:
                    raise Unfit("a relocation of another kind")
                yield self.places[table.info] + offset, info >> 32, more


def load(parts: Sequence[bytes], elsewhere: Mapping[str, int]) -> tuple[mmap.mmap, dict[str, int]]:
    """Memory that holds object files, ready to run as long as it lives, and the addresses of their symbols.

    Raises Unfit if a file is of another kind, or what it refers to is neither in another one, nor `elsewhere`, nor in
    the process.
    """
    try:
        return _load(parts, elsewhere)
    except (struct.error, IndexError, ValueError, OSError) as error:
        raise Unfit(str(error)) from error


def _load(parts: Sequence[bytes], elsewhere: Mapping[str, int]) -> tuple[mmap.mmap, dict[str, int]]:
    objects: list[_Object] = []
    for code in parts:
        objects.append(_Object(code, objects[-1].end if objects else 0))
    end = objects[-1].end if objects else 1
    memory = mmap.mmap(-1, end, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    known = {name: base + place for o in objects for name, place in o.symbols if place is not None}
    reached = {**elsewhere, **known}
    for o in objects:
        for number, place in o.places.items():
            memory[place : place + o.sections[number].size] = o.content(o.sections[number])
        for place, number, more in o.relocations():
            name, target = o.symbols[number]
            address = base + target if target is not None else reached.get(name) or _of_process(name)
            _WORD.pack_into(memory, place, address + more & 2**64 - 1)
    _make_runnable(base, len(memory))
    return memory, known


def _of_process(name: str) -> int:
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
    except AttributeError:
        raise Unfit(f"{name} is nowhere") from None


def _make_runnable(base: int, size: int) -> None:
    protect: Any = ctypes.CDLL(None, use_errno=True).mprotect
    if protect(ctypes.c_void_p(base), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
