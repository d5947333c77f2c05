"""The names of emitted text as Python functions: what each must compute, written from its contract.

In: a Memory.  Out: a namespace for the text.  Where NumPy has the function it is NumPy's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from graphc.codegen.intrinsics.target import host_vector_bytes

from .memory import DTYPES, SHIFT, Fault, Memory

_NAME = re.compile(r"\b([A-Za-z_]\w*)\b")
_BLOCK = 1_024
_SUFFIX = r"(?P<code>f\d)_(?P<rows>\d+)x(?P<columns>\d+)"


def namespace(text: str, memory: Memory, status: list[int], word: Callable[[int, int], int]) -> dict[str, Any]:
    """What the names that `text` uses stand for; `status` is where a failed check leaves its traces."""
    known = {**PLAIN, "word": word, "checked": _checked(status), "clear": _clear(memory)}
    found = {}
    for name in set(_NAME.findall(text)):
        value = known[name] if name in known else _made(name, memory)
        if value is not None:
            found[name] = value
    return found


def _made(name: str, memory: Memory) -> Any:
    if m := re.fullmatch(r"(ld|st)_([a-z]\d)_(\d+)_(\d+)", name):
        return (_load if m[1] == "ld" else _store)(memory, DTYPES[m[2]], int(m[3]), int(m[4]))
    if m := re.fullmatch(r"(sum|product|max|min)_(f\d)", name):
        return _total(memory, m[1], DTYPES[m[2]])
    if m := re.fullmatch(r"first_of_(f\d)", name):
        return _first_of(memory, DTYPES[m[1]])
    if m := re.fullmatch(r"columns_(add|maximum|minimum)_(f\d)", name):
        return _columns(memory, m[1], DTYPES[m[2]])
    if m := re.fullmatch(r"stack_(\d+)", name):
        return lambda number=int(m[1]): memory.stack(number, _BLOCK)
    if (m := re.fullmatch(r"to_([a-z]\d)", name)) and m[1] in DTYPES:
        return _cast(DTYPES[m[1]])
    if m := re.fullmatch(f"micro_{_SUFFIX}", name):
        return _micro(memory, DTYPES[m["code"]], int(m["rows"]), int(m["columns"]))
    if m := re.fullmatch(f"micro_transposed_{_SUFFIX}", name):
        return _micro_transposed(memory, DTYPES[m["code"]], int(m["rows"]), int(m["columns"]))
    if m := re.fullmatch(f"dots_{_SUFFIX}", name):
        return _dots(memory, DTYPES[m["code"]], int(m["rows"]), int(m["columns"]))
    if m := re.fullmatch(r"pack_(f\d)_(\d+)", name):
        return _pack(memory, DTYPES[m[1]], int(m[2]))
    return None


# memory

_UNTOLD = 24  # storages from this number on are emitted without a scope


def _load(memory: Memory, dtype: np.dtype[Any], nest: int, storage: int) -> Any:
    size = dtype.itemsize

    def load(address: int, i: int) -> Any:
        if storage < _UNTOLD:
            memory.declare(nest, storage, address, False)
        return memory.load(address + int(i) * size, dtype)

    return load


def _store(memory: Memory, dtype: np.dtype[Any], nest: int, storage: int) -> Any:
    size, made = dtype.itemsize, dtype.type

    def store(address: int, i: int, value: Any) -> None:
        if storage < _UNTOLD:
            memory.declare(nest, storage, address, True)
        memory.store(address + int(i) * size, dtype, made(value))

    return store


def _clear(memory: Memory) -> Any:
    def clear(address: int, nbytes: int) -> None:
        region = memory.regions[address >> SHIFT]
        region.clear(nbytes, memory.me)

    return clear


def _checked(status: list[int]) -> Any:
    def checked(frame: int, failure: int, index: int, size: int) -> int:
        wrapped = int(index) + size if index < 0 else int(index)
        if 0 <= wrapped < size:
            return wrapped
        if not status:
            status[:] = [failure, int(index), size]
        return 0

    return checked


# blocks

_FOLDS = {"sum": np.add, "product": np.multiply, "max": np.maximum, "min": np.minimum}
_NEUTRAL = {"sum": -0.0, "product": 1.0, "max": -np.inf, "min": np.inf}


def _block(memory: Memory, address: int, n: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return memory.load_all(memory.grid(address, [dtype.itemsize], [n], dtype), dtype)


def _total(memory: Memory, operation: str, dtype: np.dtype[Any]) -> Any:
    def total(address: int, n: int) -> Any:
        if n <= 0:
            return dtype.type(_NEUTRAL[operation])
        return _FOLDS[operation].reduce(_block(memory, address, n, dtype))

    return total


def _columns(memory: Memory, operation: str, dtype: np.dtype[Any]) -> Any:
    fold = {"add": np.add, "maximum": np.maximum, "minimum": np.minimum}[operation]

    def columns(x: int, row: int, rows: int, n: int, a: int) -> None:
        places = memory.grid(a, [dtype.itemsize], [n], dtype)
        for k in range(rows):
            values = fold(memory.load_all(places, dtype), _block(memory, x + k * row, n, dtype))
            memory.store_all(places, dtype, values)

    return columns


def _first_of(memory: Memory, dtype: np.dtype[Any]) -> Any:
    def first_of(address: int, n: int, value: Any) -> int:
        block = _block(memory, address, n, dtype)
        return int(np.flatnonzero((block == value) | np.isnan(block))[0])

    return first_of


# products


def _within(rows: int, cols: int, most_rows: int, most_columns: int) -> None:
    """A tile has at least one row; where a mask leaves no column, nothing is read of B and nothing is stored."""
    if not 1 <= rows <= most_rows or not 0 <= cols <= most_columns:
        raise Fault("tile", f"{rows} rows and {cols} columns of a tile of {most_rows} and {most_columns}")


def _lanes(dtype: np.dtype[Any]) -> int:
    return host_vector_bytes() // dtype.itemsize


def _product(memory: Memory, dtype: np.dtype[Any], a: Any, b: Any, c: Any, accumulate: Any) -> None:
    """C = A @ B, or C + A @ B, where each is the addresses of its elements."""
    start = memory.load_all(c, dtype) if accumulate else dtype.type(0)
    memory.store_all(c, dtype, np.asarray(start + memory.load_all(a, dtype) @ memory.load_all(b, dtype), dtype))


def _micro(memory: Memory, dtype: np.dtype[Any], height: int, vectors: int) -> Any:
    size = dtype.itemsize

    def micro(rows, cols, K, a, a_row, a_col, b, b_row, c, c_row, accumulate):  # type: ignore[no-untyped-def]
        _within(rows, cols, height, vectors * _lanes(dtype))
        left = memory.grid(a, (a_row, a_col), (rows, K), dtype)
        right = memory.grid(b, (b_row, size), (K, cols), dtype)
        _product(memory, dtype, left, right, memory.grid(c, (c_row, size), (rows, cols), dtype), accumulate)

    return micro


def _micro_transposed(memory: Memory, dtype: np.dtype[Any], height: int, vectors: int) -> Any:
    size = dtype.itemsize

    def micro(rows, cols, K, a, a_row, a_col, b, b_row, c, c_col):  # type: ignore[no-untyped-def]
        _within(rows, cols, height, vectors * _lanes(dtype))
        left = memory.grid(a, (a_row, a_col), (rows, K), dtype)
        right = memory.grid(b, (b_row, size), (K, cols), dtype)
        _product(memory, dtype, left, right, memory.grid(c, (size, c_col), (rows, cols), dtype), 0)

    return micro


def _dots(memory: Memory, dtype: np.dtype[Any], height: int, width: int) -> Any:
    size = dtype.itemsize

    def dots(rows, cols, K, a, a_row, b, b_col, c, c_row, accumulate):  # type: ignore[no-untyped-def]
        _within(rows, cols, height, width)
        left = memory.grid(a, (a_row, size), (rows, K), dtype)
        right = memory.grid(b, (size, b_col), (K, cols), dtype)
        _product(memory, dtype, left, right, memory.grid(c, (c_row, size), (rows, cols), dtype), accumulate)

    return dots


def _pack(memory: Memory, dtype: np.dtype[Any], vectors: int) -> Any:
    size, width = dtype.itemsize, vectors * _lanes(dtype)

    def pack(K, cols, b, b_row, b_col, p):  # type: ignore[no-untyped-def]
        values = np.zeros((K, width), dtype)
        values[:, :cols] = memory.load_all(memory.grid(b, (b_row, b_col), (K, cols), dtype), dtype)
        memory.store_all(memory.grid(p, (width * size, size), (K, width), dtype), dtype, values)

    return pack


# scalars


def _cast(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        return lambda x: bool(x != 0)
    return lambda x: np.asarray(x).astype(dtype)[()]


def _lost(s: Any, x: Any) -> Any:
    t = s + x
    part = t - s
    error = (s - (t - part)) + (x - part)
    return error if t - t == 0 else type(t)(0)


def _int_pow(x: Any, y: Any) -> Any:
    bits = x.dtype.itemsize * 8
    base, exponent = int(x), int(y)
    if exponent < 0:
        power = 0 if base == 0 or abs(base) != 1 else base ** (-exponent % 2)
    else:
        power = pow(base, exponent, 1 << bits)
    return np.array(power % (1 << bits), f"u{bits // 8}").astype(x.dtype)[()]


def _better(greater: bool) -> Any:
    def choose(x: Any, y: Any) -> Any:
        if y != y:
            return y
        return y if (y > x if greater else y < x) else x

    return choose


def _sigmoid(x: Any) -> Any:
    return special.expit(x)


def _kept(function: Any) -> Any:
    """The function with the dtype of its operand for its result."""
    return lambda x: x.dtype.type(function(x))


_UFUNCS = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan", "sinh", "cosh",
    "tanh", "floor", "ceil", "trunc", "rint", "sign", "copysign", "hypot", "floor_divide", "remainder",
    "isnan", "isinf", "isfinite", "fabs",
)  # fmt: skip
_ARCS = {f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")}
PLAIN: dict[str, Any] = {
    **{name: getattr(np, name) for name in _UFUNCS},
    **_ARCS,
    **{dtype.name: dtype.type for dtype in DTYPES.values() if dtype.kind != "b"},
    "fabs": np.abs,
    "pow": np.power,
    "int_pow": _int_pow,
    "plus": np.add,
    "minus": np.subtract,
    "times": np.multiply,
    "fmax": _better(True),
    "fmin": _better(False),
    "rsqrt": lambda x: type(x)(1) / np.sqrt(x),
    "sigmoid": _kept(_sigmoid),
    "erf": _kept(special.erf),
    "erfc": _kept(special.erfc),
    "select": lambda condition, x, y: x if condition else y,
    "lost": _lost,
    "least": min,
    "most": max,
    "quotient": lambda p, k: p // k,
    "multiple": lambda p, k: p % k == 0,
    "wide": lambda: None,
}
