"""The names of emitted text as Python functions over watched memory.

In: a text, and the memory of an interpreter.  Out: a namespace for the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.printer import CODES
from graphc.debug.functions import PLAIN, cast
from graphc.debug.interpreter import UNTOLD
from graphc.debug.kernels import KERNELS
from graphc.debug.memory import Memory

_NAME = re.compile(r"\b([A-Za-z_]\w*)\b")
_KERNEL = re.compile(rf"({'|'.join(KERNELS)})_([fiub]\d)(?:_([\dx]+))?")


def namespace(text: str, memory: Memory, bound: dict[str, Any]) -> dict[str, Any]:
    """What the names that `text` uses stand for; `bound` are those of a run."""
    known = {**PLAIN, **bound, "clear": lambda *args: KERNELS["clear"](memory, None, (), *args)}
    found = {}
    for name in set(_NAME.findall(text)):
        value = known[name] if name in known else _made(name, memory)
        if value is not None:
            found[name] = value
    return found


def _made(name: str, memory: Memory) -> Any:
    if m := re.fullmatch(r"(ld|st)_([a-z]\d)_(\d+)_(\d+)", name):
        return (_load if m[1] == "ld" else _store)(memory, CODES[m[2]].numpy, int(m[3]), int(m[4]))
    if m := re.fullmatch(r"stack_(\d+)", name):
        return lambda number=int(m[1]): memory.stack(number, BLOCK)
    if (m := re.fullmatch(r"to_([a-z]\d)", name)) and m[1] in CODES:
        return cast(m[1])
    if re.fullmatch(r"fetch(_(lines|near|own)_\d+)?", name):
        return lambda *args: None  # what is asked for need not be there
    if m := _KERNEL.fullmatch(name):
        return _kernel(memory, m[1], CODES[m[2]].numpy, tuple(int(n) for n in (m[3] or "").split("x") if n))
    return None


def _kernel(memory: Memory, name: str, dtype: Any, tile: tuple[int, ...]) -> Callable[..., Any]:
    return lambda *args: KERNELS[name](memory, dtype, tile, *args)


def _load(memory: Memory, dtype: Any, nest: int, storage: int) -> Callable[..., Any]:
    def load(address: int, i: int) -> Any:
        if storage < UNTOLD:
            memory.declare(nest, storage, address, False)
        return memory.load(address + int(i) * dtype.itemsize, dtype)

    return load


def _store(memory: Memory, dtype: Any, nest: int, storage: int) -> Callable[..., Any]:
    def store(address: int, i: int, value: Any) -> None:
        if storage < UNTOLD:
            memory.declare(nest, storage, address, True)
        memory.store(address + int(i) * dtype.itemsize, dtype, dtype.type(value))

    return store
