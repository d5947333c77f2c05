"""Colouring: which columns of a sparse matrix may share a product with it.

In: where a matrix may have elements other than 0.  Out: a colour for each column, or for each row, such that no two
of one colour meet in a row, or a column: the product with the sum of their unit vectors tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.types import shape_text

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Colouring:
    """`colours`, `count` of them, of the columns if `by_columns`, else of the rows.

    `rows` and `columns` tell where the elements lie, row by row.
    """

    by_columns: bool
    colours: Array
    count: int
    rows: Array
    columns: Array

    @staticmethod
    def of(pattern: Any, shape: tuple[int, int]) -> Colouring:
        """The colouring of the columns or of the rows, whichever has fewer colours; of the columns if it is the same.

        Raises ShapeError or DTypeError for a pattern that is no matrix of this shape.
        """
        rows, columns = _elements(pattern, shape)
        by_row, by_column = _grouped(columns, rows, shape[0]), _grouped(rows, columns, shape[1])
        of_rows, of_columns = _least(by_row, shape[1]), _least(by_column, shape[0])
        forward = max(of_columns, default=-1) <= max(of_rows, default=-1)
        colours = of_columns if forward else of_rows
        return Colouring(forward, np.array(colours, np.int64), max(colours, default=-1) + 1, rows, columns)


def _elements(pattern: Any, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Rows and columns of the elements of a pattern, row by row."""
    from scipy import sparse  # importing it takes longer than all of graphc

    if not sparse.issparse(pattern):
        pattern = np.asarray(pattern)
        if pattern.dtype.kind not in "biuf":
            raise DTypeError(f"a pattern is a matrix of bools, of NumPy or scipy.sparse, got dtype {pattern.dtype}")
    if pattern.shape != shape:
        says = f"the pattern has a row for each element of y and a column for each of x, {shape_text(shape)}"
        raise ShapeError(f"{says}, got {shape_text(pattern.shape)}")
    found = sparse.csr_matrix(pattern != 0)
    found.sum_duplicates()
    found.eliminate_zeros()
    rows = np.repeat(np.arange(shape[0]), np.diff(found.indptr))
    return rows.astype(np.int64), found.indices.astype(np.int64)


def _grouped(values: Array, by: Array, count: int) -> list[list[int]]:
    """The values of each group."""
    order = np.argsort(by, kind="stable")
    ends = np.cumsum(np.bincount(by, minlength=count))[:-1]
    return [part.tolist() for part in np.split(values[order], ends)] if count else []


def _least(lines: list[list[int]], crossing: int) -> list[int]:
    """The colours of lines, each given by what it crosses; of two orders that are tried, the one that needs fewer."""
    longest = sorted(range(len(lines)), key=lambda k: -len(lines[k]))
    return min((_greedy(lines, order, crossing) for order in (range(len(lines)), longest)), key=max, default=[])


def _greedy(lines: list[list[int]], order: Iterable[int], crossing: int) -> list[int]:
    """For each line, in this order, the first colour that no line has that meets it; sets of colours are bits."""
    taken = [0] * crossing
    colours = [0] * len(lines)
    for k in order:
        met = 0
        for at in lines[k]:
            met |= taken[at]
        free = ~met & (met + 1)
        colours[k] = free.bit_length() - 1
        for at in lines[k]:
            taken[at] |= free
    return colours
