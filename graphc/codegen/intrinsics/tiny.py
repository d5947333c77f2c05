"""Products of many pairs of tiny matrices: lanes are pairs.

A pair by itself has a call, a mask and a sum that waits for each product; here a vector has an element of every pair,
squares of elements are transposed in registers, and results are transposed back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from graphc.codegen.intrinsics.pack import by_vectors, columns_of, put_columns
from graphc.codegen.intrinsics.vectors import Values, Vectors, call_body, integer, type_name


@cache
def tiny(code: str, m: int, k: int, n: int, a_turned: int, b_turned: int) -> Any:
    """The intrinsic of products of [m, k] and [k, n]; see `products` below for its parameters."""

    def emit(lanes: Vectors, *arguments: ir.Value) -> None:
        _emit(lanes, (m, k, n), bool(a_turned), bool(b_turned), *arguments)

    name = "x".join(map(str, (m, k, n, a_turned, b_turned)))
    typed = call_body(code, f"tiny_{type_name(code)}_{name}", emit)

    @intrinsic
    def products(typingctx: Any, count: Any, a: Any, a_step: Any, b: Any, b_step: Any, c: Any) -> Any:
        """C[i] = A[i] @ B[i] for i < count: A[i] at a + i*a_step, B[i] at b + i*b_step, C[i] one behind the other.

        The elements of each matrix are contiguous, row by row, or, of one that is turned, column by column.
        """
        return typed(count, a, a_step, b, b_step, c)

    return products


def _emit(
    lanes: Vectors, sizes: tuple[int, int, int], a_turned: bool, b_turned: bool,
    count: ir.Value, a: ir.Value, a_step: ir.Value, b: ir.Value, b_step: ir.Value, c: ir.Value,
) -> None:  # fmt: skip
    """Every element is one chain of multiply-adds in the order of the sum, as in other products."""
    (m, k, n), last = sizes, lanes.builder.sub(count, integer(1))

    def pairs(is_whole: bool, first: ir.Value, _: Values) -> Values:
        end = None if is_whole else last
        left = _rows(columns_of(lanes, m * k, a, a_step, first, end), m, k, a_turned)
        right = _rows(columns_of(lanes, k * n, b, b_step, first, end), k, n, b_turned)
        results = []
        for row in left:
            for j in range(n):
                total: ir.Value = lanes.zero
                for value, others in zip(row, right, strict=True):
                    total = lanes.fma(value, others[j], total)
                results.append(total)
        put_columns(lanes, results, c, integer(m * n * lanes.bytes), first, end)
        return []

    by_vectors(lanes, count, count, pairs)


def _rows(elements: Values, rows: int, columns: int, is_turned: bool) -> list[Values]:
    if is_turned:
        return [elements[row::rows] for row in range(rows)]
    return [elements[row * columns : (row + 1) * columns] for row in range(rows)]
