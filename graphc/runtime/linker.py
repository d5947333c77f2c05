"""Object files in memory by LLVM's linker, where graphc.runtime.loader does not take them.

In: object files of any platform.  Out: a library of llvmlite's, and the addresses of the symbols asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm

from graphc.runtime.once import once

_LIBRARIES = 32  # of one linker
_linkers: dict[int, Any] = {}  # the newest, by number
_counter = itertools.count()


def link(
    parts: Sequence[bytes], symbols: Iterable[str], elsewhere: Mapping[str, int]
) -> tuple[Any, dict[str, int]]:
    """What keeps the code in memory, and the addresses of symbols.  Raises RuntimeError if one is nowhere.

    `elsewhere`: the addresses of what lies in other memory.
    """
    builder = llvm.JITLibraryBuilder().add_current_process()
    for name, address in elsewhere.items():
        builder.import_symbol(name, address)
    for code in parts:
        builder.add_object_img(code)
    names = list(symbols)
    for symbol in names:
        builder.export_symbol(symbol)
    number = next(_counter)
    linker = _linker(number)
    library = builder.link(linker, f"graphc{number}")
    return (linker, library), {symbol: library[symbol] for symbol in names}


@once
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _linker(number: int) -> Any:
    """The linker for the library of this number.

    Of a library that is gone, its linker keeps some kilobytes.  So there is a new one now and then, and one that links
    no more goes with the last of its libraries.
    """
    _initialize()
    group = number // _LIBRARIES
    linker = _linkers.get(group) or _linkers.setdefault(group, llvm.create_lljit_compiler(suppress_errors=True))
    for old in [k for k in list(_linkers) if k < group]:
        _linkers.pop(old, None)
    return linker
