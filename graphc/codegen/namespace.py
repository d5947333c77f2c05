"""The names of emitted text: intrinsics by name, made as they are asked for."""

from __future__ import annotations

import re
from typing import Any

from graphc.types import FLOATS, INTEGERS

_NAME = re.compile(r"\b([A-Za-z_]\w*)\b")
_MODULES = ("pointwise", "exponential", "logarithmic", "power", "trigonometric", "special", "memory")
_SCALARS = {t.name: t.numpy.type for t in (*FLOATS, *INTEGERS)}


def namespace(text: str) -> dict[str, Any]:
    """What the names that `text` uses stand for."""
    known = _plain_names()
    found: dict[str, Any] = {}
    for name in set(_NAME.findall(text)):
        value = known.get(name)
        if value is None:
            value = _made(name)
        if value is not None:
            found[name] = value
    return found


def _plain_names() -> dict[str, Any]:
    import importlib

    known: dict[str, Any] = dict(_SCALARS)
    for module in _MODULES:
        content = vars(importlib.import_module(f"graphc.codegen.intrinsics.{module}"))
        known.update({k: v for k, v in content.items() if type(v).__name__ == "_Intrinsic"})
    return known


def _made(name: str) -> Any:
    """Intrinsics that come in families: ld_f4_2_0, to_f4, sum_f4, stack_0, micro_f4_6x4, dots_f4_4x4, pack_f4_4 ..."""
    from graphc.codegen.intrinsics import columns, gemm, memory, total

    head, _, rest = name.partition("_")
    if head in memory.FACTORIES and (match := re.fullmatch(r"([a-z]\d)_(\d+)_(\d+)", rest)):
        return memory.FACTORIES[head](match[1], int(match[2]), int(match[3]))
    if head in ("sum", "product", "max", "min") and rest in ("f4", "f8"):
        return total.total(head, rest)
    if match := re.fullmatch(r"columns_(add|maximum|minimum)_(f\d)", name):
        return columns.columns(match[1], match[2])
    if match := re.fullmatch(r"first_of_(f\d)", name):
        return total.first_of(match[1])
    if head == "stack" and rest.isdigit():
        return total.stack(int(rest))
    if head == "to" and rest in memory.NUMBA_TYPES:
        return memory.cast(rest)
    if match := re.fullmatch(r"micro_transposed_(f\d)_(\d+)x(\d+)", name):
        return gemm.micro_transposed(match[1], int(match[2]), int(match[3]))
    if head == "dots" and (match := re.fullmatch(r"(f\d)_(\d+)x(\d+)", rest)):
        return gemm.dots(match[1], int(match[2]), int(match[3]))
    if head == "micro" and (match := re.fullmatch(r"(f\d)_(\d+)x(\d+)", rest)):
        return gemm.micro(match[1], int(match[2]), int(match[3]))
    if head == "pack" and (match := re.fullmatch(r"(f\d)_(\d+)", rest)):
        return gemm.pack(match[1], int(match[2]))
    return None
