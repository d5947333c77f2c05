"""The kernels that touch memory by themselves, in NumPy: folds of blocks, tiles of products, packing, zeros.

In: the memory, the elements' dtype, the sizes of the tile, and the arguments of a Use.  Out: what it gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.codegen.intrinsics.target import LINE, host_vector_bytes
from graphc.codegen.loop_ir import FETCHING
from graphc.debug.functions import PLAIN
from graphc.debug.memory import Fault, Memory

Tile = tuple[int, ...]


# blocks

_FOLDS: dict[str, Any] = {"sum": np.add, "product": np.multiply, "max": np.maximum, "min": np.minimum}


def _neutral(operation: str, dtype: np.dtype[Any]) -> Any:
    if operation in ("sum", "product"):
        return dtype.type({"sum": -0.0, "product": 1.0}[operation])
    if dtype.kind == "b":
        return operation == "min"
    least, most = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return dtype.type(least if operation == "max" else most)


def _block(memory: Memory, address: int, n: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return memory.load_all(memory.grid(address, [dtype.itemsize], [n], dtype), dtype)


def _fold(operation: str) -> Callable[..., Any]:
    def fold(memory: Memory, dtype: np.dtype[Any], tile: Tile, address: int, n: int) -> Any:
        if n <= 0:
            return _neutral(operation, dtype)
        return _FOLDS[operation].reduce(_block(memory, address, n, dtype), dtype=dtype)

    return fold


def _along(operation: str) -> Callable[..., None]:
    fold = _fold(operation)

    def along(memory, dtype, tile, x, row, rows, n, to, read):  # type: ignore[no-untyped-def]
        found = [fold(memory, dtype, tile, x + k * row, n) for k in range(rows)]
        memory.store_all(memory.grid(to, [dtype.itemsize], [rows], dtype), dtype, np.array(found, dtype))

    return along


def _position(operation: str) -> Callable[..., int]:
    """NumPy's argmax and argmin have the first, and the first NaN."""

    def position(memory: Memory, dtype: np.dtype[Any], tile: Tile, address: int, n: int, read: int) -> int:
        return int(getattr(np, operation)(_block(memory, address, n, dtype)))

    return position


def _rows(memory: Memory, dtype: np.dtype[Any], x: int, row: int, rows: int, n: int) -> Any:
    return (_block(memory, x + k * row, n, dtype) for k in range(rows))


def _columns(fold: Any) -> Callable[..., Any]:
    def columns(memory, dtype, tile, x, row, rows, n, a):  # type: ignore[no-untyped-def]
        places = memory.grid(a, [dtype.itemsize], [n], dtype)
        for values in _rows(memory, dtype, x, row, rows, n):
            memory.store_all(places, dtype, fold(memory.load_all(places, dtype), values))

    return columns


def _columns_position(better: Any) -> Callable[..., Any]:
    def columns(memory, dtype, tile, x, row, rows, n, a, at, first):  # type: ignore[no-untyped-def]
        places, positions = memory.grid(a, [dtype.itemsize], [n], dtype), memory.grid(at, [8], [n], np.dtype(np.int64))
        for k, values in enumerate(_rows(memory, dtype, x, row, rows, n)):
            best = memory.load_all(places, dtype)
            takes = better(values, best) | (np.isnan(values) & ~np.isnan(best))
            memory.store_all(places, dtype, np.where(takes, values, best))
            memory.store_all(positions[takes], np.dtype(np.int64), np.full(takes.sum(), first + k))

    return columns


def _moments(values: np.ndarray[Any, Any]) -> Any:
    """Means over the first axis, nothing of them left over, and squared distances."""
    return values.mean(0), np.zeros(values.shape[1:]), values.var(0) * len(values)


def _deviation(memory, dtype, tile, address, n, to, read):  # type: ignore[no-untyped-def]
    parts = np.array(_moments(_block(memory, address, n, dtype)), dtype)
    memory.store_all(memory.grid(to, [dtype.itemsize], [3], dtype), dtype, parts)


def _columns_deviation(memory, dtype, tile, x, row, rows, n, *parts):  # type: ignore[no-untyped-def]
    if rows > 0:
        values = np.array(list(_rows(memory, dtype, x, row, rows, n)), dtype)
        for address, part in zip(parts, _moments(values), strict=True):
            memory.store_all(memory.grid(address, [dtype.itemsize], [n], dtype), dtype, part.astype(dtype))


def _shrunk(values: Any, top: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.exp(np.where(values == top, 0, values - top))


def _logsumexp(memory, dtype, tile, address, n, to, read):  # type: ignore[no-untyped-def]
    values = _block(memory, address, n, dtype)
    top = values.max(initial=-np.inf)
    parts = np.array([top, _shrunk(values, top).sum()], dtype)
    memory.store_all(memory.grid(to, [dtype.itemsize], [2], dtype), dtype, parts)


def _columns_logsumexp(memory, dtype, tile, x, row, rows, n, a, b):  # type: ignore[no-untyped-def]
    tops, sums = (memory.grid(address, [dtype.itemsize], [n], dtype) for address in (a, b))
    for values in _rows(memory, dtype, x, row, rows, n):
        old = memory.load_all(tops, dtype)
        top = np.fmax(old, values)
        total = memory.load_all(sums, dtype) * _shrunk(old, top) + _shrunk(values, top)
        memory.store_all(tops, dtype, top)
        memory.store_all(sums, dtype, total)


def _clear(memory: Memory, dtype: Any, tile: Tile, address: int, nbytes: int) -> None:
    region, at = memory.place(address)
    region.clear(at, nbytes, memory.me)


def _stream(memory: Memory, dtype: Any, tile: Tile, n: int, source: int, to: int) -> None:
    memory.store_all(memory.grid(to, [dtype.itemsize], [n], dtype), dtype, _block(memory, source, n, dtype))


def _store_or_keep(memory: Memory, dtype: Any, tile: Tile, source: int, to: int, instead: int, into: int) -> None:
    _stream(memory, dtype, tile, tile[0], source, instead if into else to)


# products


def _within(rows: int, cols: int, tile: Tile) -> None:
    """A tile has at least one row; where a mask leaves no column, nothing is read of B and nothing is stored."""
    if not 1 <= rows <= tile[0] or not 0 <= cols <= tile[1]:
        raise Fault("tile", f"{rows} rows and {cols} columns of a tile of {tile[0]} and {tile[1]}")


def _vectors(tile: Tile, dtype: np.dtype[Any]) -> Tile:
    """Rows and columns of a tile whose columns are counted in vectors."""
    return tile[0], tile[1] * (host_vector_bytes() // dtype.itemsize)


def _fits_tail(cols: int, tile: Tile, dtype: np.dtype[Any]) -> None:
    """A tile with a tail has no masks for vectors before the last of it: these are whole."""
    _, vectors, *tail = tile
    lanes = host_vector_bytes() // dtype.itemsize
    for halves in tail:
        if cols != vectors * lanes and not (halves - 1) // 2 * lanes <= cols <= halves * lanes // 2:
            raise Fault("tile", f"{cols} columns of a tile of {vectors} vectors, or {halves} halves of one, of {lanes}")


def _product(memory: Memory, dtype: np.dtype[Any], operands: tuple[Any, Any], c: Any, accumulate: Any) -> None:
    """C = A @ B, or C + A @ B, where each is the addresses of its elements."""
    start = memory.load_all(c, dtype) if accumulate else dtype.type(0)
    a, b = (memory.load_all(operand, dtype) for operand in operands)
    memory.store_all(c, dtype, np.asarray(start + a @ b, dtype))


def _operands(memory: Memory, dtype: np.dtype[Any], size: Tile, a: Tile, b: Tile, outer: Tile) -> tuple[Any, Any]:
    """The addresses of A [rows, sum] and B [sum, columns], of (address, steps), where the sum may be two loops."""
    (rows, K, cols), (count, a_outer, b_outer) = size, outer or (1, 0, 0)
    left = memory.grid(a[0], (a[1], a_outer, a[2]), (rows, count, K), dtype)
    right = memory.grid(b[0], (b_outer, b[1], b[2]), (count, K, cols), dtype)
    return left.reshape(rows, count * K), right.reshape(count * K, cols)


def _micro(memory, dtype, tile, rows, cols, K, a, a_row, a_col, b, b_row, c, c_row, accumulate, *outer):  # type: ignore[no-untyped-def]
    _within(rows, cols, _vectors(tile, dtype))
    _fits_tail(cols, tile, dtype)
    size = dtype.itemsize
    operands = _operands(memory, dtype, (rows, K, cols), (a, a_row, a_col), (b, b_row, size), outer)
    _product(memory, dtype, operands, memory.grid(c, (c_row, size), (rows, cols), dtype), accumulate)


def _micro_transposed(memory, dtype, tile, rows, cols, K, a, a_row, a_col, b, b_row, c, c_col, *outer):  # type: ignore[no-untyped-def]
    _within(rows, cols, _vectors(tile, dtype))
    size = dtype.itemsize
    operands = _operands(memory, dtype, (rows, K, cols), (a, a_row, a_col), (b, b_row, size), outer)
    _product(memory, dtype, operands, memory.grid(c, (size, c_col), (rows, cols), dtype), 0)


def _sweep(memory, dtype, tile, cols, K, a, a_row, a_col, b, b_row, c, c_row):  # type: ignore[no-untyped-def]
    size, rows = dtype.itemsize, tile[1]
    operands = _operands(memory, dtype, (rows, K, cols), (a, a_row, a_col), (b, b_row, size), ())
    _product(memory, dtype, operands, memory.grid(c, (c_row, size), (rows, cols), dtype), 0)


def _dots(memory, dtype, tile, rows, cols, K, a, a_row, b, b_col, c, c_row, accumulate, *outer):  # type: ignore[no-untyped-def]
    _within(rows, cols, tile)
    size = dtype.itemsize
    operands = _operands(memory, dtype, (rows, K, cols), (a, a_row, size), (b, size, b_col), outer)
    _product(memory, dtype, operands, memory.grid(c, (c_row, size), (rows, cols), dtype), accumulate)


def _tiny(memory, dtype, tile, count, a, a_step, b, b_step, c):  # type: ignore[no-untyped-def]
    (m, k, n, *turned), size = tile, dtype.itemsize

    def matrices(address: int, step: int, rows: int, columns: int, is_turned: int) -> Any:
        steps = (size, rows * size) if is_turned else (columns * size, size)
        return memory.grid(address, (step, *steps), (count, rows, columns), dtype)

    left, right = matrices(a, a_step, m, k, turned[0]), matrices(b, b_step, k, n, turned[1])
    products = memory.load_all(left, dtype) @ memory.load_all(right, dtype)
    memory.store_all(matrices(c, m * n * size, m, n, 0), dtype, products)


def _pack(memory, dtype, tile, K, cols, b, b_row, b_col, panel):  # type: ignore[no-untyped-def]
    size, (width,) = dtype.itemsize, tile
    values = np.zeros((K, width), dtype)
    values[:, :cols] = memory.load_all(memory.grid(b, (b_row, b_col), (K, cols), dtype), dtype)
    memory.store_all(memory.grid(panel, (width * size, size), (K, width), dtype), dtype, values)


def _micro_packing(memory: Memory, dtype: Any, tile: Tile, *args: int) -> None:
    """A tile, then the panel of what it has read of B."""
    *of_tile, panel = args
    _micro(memory, dtype, tile, *of_tile)  # type: ignore[no-untyped-call]
    (_, cols, K), (b, b_row), size = of_tile[:3], of_tile[6:8], dtype.itemsize
    width = tile[1] * host_vector_bytes() // size
    _pack(memory, dtype, (width,), K, cols, b, b_row, size, panel)  # type: ignore[no-untyped-call]


def _pack_contiguous(step: int) -> Callable[..., None]:
    """The same where this step, of rows or of columns, has to be that of elements."""

    def run(memory: Memory, dtype: Any, tile: Tile, *args: int) -> None:
        if args[3:5][step] != dtype.itemsize:
            raise Fault("panel", f"steps of {args[3:5]} bytes from row to row and from column to column")
        _pack(memory, dtype, tile, *args)  # type: ignore[no-untyped-call]

    return run


def _deal(memory, dtype, tile, K, there, b, b_row, columns):  # type: ignore[no-untyped-def]
    size, (count, pitch) = dtype.itemsize, tile
    values = memory.load_all(memory.grid(b, (size, b_row), (count, there), dtype), dtype)
    values = np.pad(values, ((0, 0), (0, K - there)), mode="edge")
    memory.store_all(memory.grid(columns, (pitch * size, size), (count, K), dtype), dtype, values)


def _collect(memory, dtype, tile, K, columns, b, b_row):  # type: ignore[no-untyped-def]
    size, (count, pitch) = dtype.itemsize, tile
    values = memory.load_all(memory.grid(columns, (pitch * size, size), (count, K), dtype), dtype)
    memory.store_all(memory.grid(b, (size, b_row), (count, K), dtype), dtype, values)


def _turn(memory, dtype, tile, K, cols, b, b_col, copy, copy_row):  # type: ignore[no-untyped-def]
    values = memory.load_all(memory.grid(b, (dtype.itemsize, b_col), (K, cols), dtype), dtype)
    memory.store_all(memory.grid(copy, (copy_row, dtype.itemsize), (K, cols), dtype), dtype, values)


def _in_order(kernel: Callable[..., None]) -> Callable[..., None]:
    """The same of rows that a list might tell, where there is none."""

    def run(memory: Memory, dtype: Any, tile: Tile, *args: int) -> None:
        *args_in_order, address, _ = args
        if address:
            raise Fault("list", "rows of an input are listed")
        kernel(memory, dtype, tile, *args_in_order)

    return run


# scans


def _scan_sum(memory, dtype, tile, n, x, x_row, y, y_row, before=0, more=0):  # type: ignore[no-untyped-def]
    """Sums of float32 in float64; those of float64 with what rounding has lost; after what is before rows, if it is."""
    rows, size = host_vector_bytes() // dtype.itemsize, dtype.itemsize
    values = memory.load_all(memory.grid(x, (x_row, size), (rows, n), dtype), dtype)
    wide = values.astype(np.float64) if dtype.kind == "f" else values
    places = [memory.grid(at, (8,), (rows,), wide.dtype) for at in (before, more)]
    first = memory.load_all(places[0], wide.dtype)[:, None] if before else np.full((rows, 1), -0.0).astype(wide.dtype)
    sums = np.cumsum(np.concatenate([first, wide], axis=1), axis=1, dtype=wide.dtype)
    sums, before_each = sums[:, 1:], sums[:, :-1]
    if dtype == np.float64:
        added = memory.load_all(places[1], wide.dtype)[:, None] if more else 0.0
        part = sums - before_each
        error = (before_each - (sums - part)) + (wide - part)
        sums = sums - (added - np.cumsum(np.where(np.isfinite(sums), error, 0), axis=1))
    memory.store_all(memory.grid(y, (y_row, size), (rows, n), dtype), dtype, sums.astype(dtype))


def _scan_product(memory, dtype, tile, n, x, x_row, y, y_row):  # type: ignore[no-untyped-def]
    rows, size = host_vector_bytes() // dtype.itemsize, dtype.itemsize
    values = memory.load_all(memory.grid(x, (x_row, size), (rows, n), dtype), dtype)
    products = np.cumprod(values, axis=1, dtype=dtype)
    memory.store_all(memory.grid(y, (y_row, size), (rows, n), dtype), dtype, products)


# sorts


def _sort(memory, dtype, tile, x, step, n, y, spare):  # type: ignore[no-untyped-def]
    values = np.sort(memory.load_all(memory.grid(x, [step], [n], dtype), dtype), kind="stable")
    for place in (spare, y):
        memory.store_all(memory.grid(place, [dtype.itemsize], [n], dtype), dtype, values)


def _argsort(memory, dtype, tile, x, step, n, y, spare, at, spare_at):  # type: ignore[no-untyped-def]
    found = np.argsort(memory.load_all(memory.grid(x, [step], [n], dtype), dtype), kind="stable")
    for place in (spare_at, at):
        memory.store_all(memory.grid(place, [found.itemsize], [n], found.dtype), found.dtype, found)
    _sort(memory, dtype, tile, x, step, n, y, spare)  # type: ignore[no-untyped-call]


def _selection(largest: bool) -> Callable[..., None]:
    def run(memory, dtype, tile, x, step, n, k, room, keys, spare, at, spare_at):  # type: ignore[no-untyped-def]
        values = memory.load_all(memory.grid(x, [step], [n], dtype), dtype)
        order = np.argsort(values[::-1] if largest else values, kind="stable")
        found = (n - 1 - order[::-1] if largest else order)[:k]
        for place in (keys, spare):
            memory.store_all(memory.grid(place, [dtype.itemsize], [room], dtype), dtype, np.zeros(room, dtype))
        for place in (at, spare_at):
            kept = np.append(found, np.zeros(room - k, np.int64))
            memory.store_all(memory.grid(place, [kept.itemsize], [room], kept.dtype), kept.dtype, kept)

    return run


def _search(side: Any) -> Callable[..., None]:
    def run(memory, dtype, tile, x, step, n, values, v_step, count, found, f_step):  # type: ignore[no-untyped-def]
        """Elements are looked at as the routine does: they need not rise."""
        wanted = memory.load_all(memory.grid(values, [v_step], [count], dtype), dtype)
        known, left = np.zeros(count, np.int64), n
        while left:
            half = max(left // 2, 1)
            pairs = zip(memory.load_all(x + (known + half - 1) * step, dtype), wanted, strict=True)
            known += half * np.array([np.searchsorted([e], v, side) for e, v in pairs], np.int64)
            left = left - half if left > 1 else 0
        memory.store_all(memory.grid(found, [f_step], [count], known.dtype), known.dtype, known)

    return run


KERNELS: dict[str, Callable[..., Any]] = {
    **{operation: _fold(operation) for operation in _FOLDS},
    **{f"rows_{operation}": _along(operation) for operation in _FOLDS},
    **{operation: _position(operation) for operation in ("argmax", "argmin")},
    **{f"columns_{operation}": _columns(_FOLDS[operation]) for operation in _FOLDS},
    "columns_argmax": _columns_position(np.greater),
    "columns_argmin": _columns_position(np.less),
    "deviation": _deviation,
    "logsumexp": _logsumexp,
    "columns_logsumexp": _columns_logsumexp,
    "columns_deviation": _columns_deviation,
    "clear": _clear,
    "flush": lambda memory, dtype, tile: 0,
    "restore": lambda memory, dtype, tile, word: None,
    "on_axis": lambda memory, dtype, tile, at, size: PLAIN["on_axis"](at, size),
    "into_line": lambda memory, dtype, tile, address: address % LINE // dtype.itemsize,
    **dict.fromkeys(("stream", "stream_apart"), _stream),
    "store_lines": lambda memory, dtype, tile, source, to: _stream(memory, dtype, tile, tile[0], source, to),
    "store_or_keep": _store_or_keep,
    **dict.fromkeys(FETCHING, lambda memory, dtype, tile, *args: None),  # what is asked for need not be there
    "sort": _sort,
    "argsort": _argsort,
    "largest": _selection(True),
    "smallest": _selection(False),
    "search_left": _search("left"),
    "search_right": _search("right"),
    **dict.fromkeys(("micro", "micro_panel", "micro_nested"), _micro),
    "micro_packing": _micro_packing,
    **dict.fromkeys(("micro_asking_ahead", "micro_asking_rows", "micro_asking_lines"), _micro),
    **dict.fromkeys(("micro_transposed", "micro_transposed_nested"), _micro_transposed),
    **dict.fromkeys(("dots", "dots_rows_in_turn", "dots_columns_in_turn", "dots_nested"), _dots),
    "micro_rows_listed": _in_order(_micro),
    "micro_transposed_sum_listed": _in_order(_micro_transposed),
    **dict.fromkeys(("dots_rows_listed", "dots_rows_in_turn_rows_listed"), _in_order(_dots)),
    "sweep": _sweep,
    "sweep_sum_listed": _in_order(_sweep),
    **dict.fromkeys(("pack", "pack_elements"), _pack),
    "pack_columns": _pack_contiguous(0),
    "pack_rows": _pack_contiguous(1),
    "tiny": _tiny,
    "deal": _deal,
    "collect": _collect,
    "turn": _turn,
    **dict.fromkeys(("scan_sum", "scan_sum_on"), _scan_sum),
    "scan_product": _scan_product,
}
