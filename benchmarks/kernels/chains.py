"""Elementwise chains, against copies of the same streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import graphc as gc
from benchmarks.kernels.case import Array, Case, Subject, compiled, empty, normal, tolerance
from benchmarks.kernels.copy import copies

SIZES = (100_000, 30_000_000)
MATRIX = (5_000, 6_000)


def ten_multiply_adds(a: Any, b: Any) -> Any:
    """Ten that alternate between the two arrays."""
    x = a
    for k in range(10):
        x = x * (a, b)[k % 2] + (b, a)[k % 2]
    return x


CHAINS: dict[str, tuple[int, Callable[..., Any]]] = {  # how many arrays, of one length
    "a + b": (2, lambda a, b: a + b),
    "a·b + c": (3, lambda a, b, c: a * b + c),
    "max(a·0.5 + b, 0)": (2, lambda a, b: _maximum(a * 0.5 + b)),
    "ten multiply-adds": (2, ten_multiply_adds),
    "one to three": (1, lambda a: (a * 2.0, a + 1.0, a * a)),
    "strided a[::2]": (1, lambda a: a[::2] * 2.0),
}
ON_MATRIX: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Any]]] = {  # shapes of the arrays
    "row and column": ((MATRIX, (1, MATRIX[1]), (MATRIX[0], 1)), lambda a, row, column: a * row + column),
    "transposed operand": ((MATRIX, MATRIX[::-1]), lambda a, b: a + b.T),
}


def _maximum(x: Any) -> Any:
    return np.maximum(x, x.dtype.type(0)) if isinstance(x, np.ndarray) else gc.maximum(x, 0.0)


def cases() -> Iterator[Case]:
    for dtype in ("float32", "float64"):
        for size in SIZES:
            for name, (count, chain) in CHAINS.items():
                yield Case(f"{name} [{size:,}]", dtype, partial(_subject, dtype, ((size,),) * count, chain))
        for name, (shapes, chain) in ON_MATRIX.items():
            yield Case(f"{name} [{MATRIX[0]:,}, {MATRIX[1]:,}]", dtype, partial(_subject, dtype, shapes, chain))


def _subject(dtype: str, shapes: tuple[tuple[int, ...], ...], chain: Callable[..., Any]) -> Subject:
    arrays = [normal(shape, dtype, k, 0.3) for k, shape in enumerate(shapes)]
    function, out = compiled(arrays, chain)
    targets = [empty(o.shape, dtype) for o in (out if isinstance(out, tuple) else (out,))]
    streams: list[Array] = [a for a in arrays if a.size >= targets[0].size]
    peers = {"copy": copies(streams, targets, gc.get_num_threads())}
    return Subject(function, arrays, out, peers, tolerance(dtype), wanted=lambda: chain(*arrays))
