"""What the names of emitted text mean: intrinsics, made as they are asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

from graphc.types import FLOATS, INTEGERS

_MODULES = (
    "pointwise", "exponential", "logarithmic", "power", "trigonometric", "special", "bits", "logistic", "normal",
    "gamma", "zeta", "beta", "bessel", "memory", "division", "subnormal",
)  # fmt: skip
_SCALARS = {t.name: t.numpy.type for t in (*FLOATS, *INTEGERS)}


@cache
def meaning(name: str) -> Any:
    """What a name of the text stands for that it does not bind: an intrinsic, a scalar of NumPy's; else None."""
    known = _plain_names()
    return known[name] if name in known else _made(name)


@cache
def _plain_names() -> dict[str, Any]:
    import importlib

    known: dict[str, Any] = dict(_SCALARS)
    for module in _MODULES:
        content = vars(importlib.import_module(f"graphc.codegen.intrinsics.{module}"))
        known.update({k: v for k, v in content.items() if type(v).__name__ == "_Intrinsic"})
    return known


def _made(name: str) -> Any:
    """Intrinsics that come in families: ld_f4_2_0, to_f4, sum_f4, stack_0, micro_f4_6x4, dots_f4_4x4, pack_f4_4 ..."""
    from graphc.codegen.intrinsics import along, columns, gemm, memory, own, stream, tiny, total, whole
    from graphc.codegen.intrinsics.listed import fetch_listed

    words = name.split("_")
    at = next((k for k, word in enumerate(words) if word in memory.NUMBA_TYPES), len(words))
    family, numbers = "_".join(words[:at]), [int(n) for word in words[at + 1 :] for n in word.split("x")]
    code = words[at] if at < len(words) else ""
    match family:
        case "ld" | "st":
            return memory.FACTORIES[family](code, *numbers)
        case "sum" | "product" | "max" | "min":
            return total.total(family, code)
        case "rows_sum" | "rows_product" | "rows_max" | "rows_min":
            return along.along(words[1], code)
        case "argmax" | "argmin":
            return (total if code[0] == "f" else whole).position(family, code)
        case "deviation" | "logsumexp":
            return total.state(family, code)
        case "fetch":
            return stream.fetch
        case "fetch_listed":
            return fetch_listed
        case "stream" | "stream_apart":
            return stream.stream(code, family.removeprefix("stream"))
        case "store_lines":
            return stream.store_lines(code, *numbers)
        case "store_or_keep":
            return stream.store_or_keep(code, *numbers)
        case "into_line":
            return stream.into_line(code)
        case "own":
            return own.own(*numbers)
        case "to":
            return memory.cast(code)
        case "pack" | "deal" | "collect" | "turn" | "sweep" | "micro" | "micro_transposed" | "dots":
            return getattr(gemm, family)(code, *numbers)
        case "pack_rows" | "pack_columns" | "pack_elements":
            return gemm.pack(code, *numbers, way=words[1])
    for tile in ("micro_transposed", "micro", "dots", "sweep"):
        if family.startswith(f"{tile}_"):
            return getattr(gemm, tile)(code, *numbers, more=family.removeprefix(f"{tile}_"))
    if family == "tiny":
        return tiny.tiny(code, *numbers)
    if words[0] == "fetch":
        return stream.fetch_lines(int(words[2]), {"lines": 2, "near": 1, "own": 0}[words[1]])
    if words[0] == "columns":
        return columns.columns(words[1], code)
    return memory.stack(int(words[1])) if words[0] == "stack" else _of_rows(family, code)


def _of_rows(family: str, code: str) -> Any:
    """Intrinsics for what runs along one axis, by their first word."""
    from graphc.codegen.intrinsics import abreast, search, selection, sort

    first, *more = family.split("_")
    match first:
        case "sort":
            return sort.sort(code)
        case "argsort":
            return sort.argsort(code)
        case "largest" | "smallest":
            return selection.selection(first, code)
        case "scan":
            return abreast.scan_on(code) if len(more) > 1 else abreast.scan(*more, code)
        case "search":
            return search.search(*more, code)
    return None
