"""Loops that Python unrolls while a program is declared: the same text makes nodes and computes with NumPy."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any


def repeat(step: Callable[[Any], Any], start: Any, times: int) -> Any:
    """step(step(... start))."""
    return functools.reduce(lambda z, _: step(z), range(times), start)


def unroll(step: Callable[..., tuple[Any, ...]], start: tuple[Any, ...], times: int) -> tuple[Any, ...]:
    """Several carried values: step(t, *carried) gives the next ones."""
    return functools.reduce(lambda carried, t: step(t, *carried), range(times), start)


def fan(term: Callable[[int], Any], count: int) -> Any:
    """term(0) + term(1) + …, added from the left."""
    return functools.reduce(operator.add, map(term, range(count)))


def tree(term: Callable[[int], Any], count: int) -> Any:
    """term(0) + term(1) + …, added in pairs."""
    terms = [term(k) for k in range(count)]
    while len(terms) > 1:
        terms = [sum(terms[k + 1 : k + 2], terms[k]) for k in range(0, len(terms), 2)]
    return terms[0]


def cholesky(square_root: Callable[[Any], Any], a: Any, n: int) -> list[Any]:
    """The elements of the lower factor of the n x n matrix a, row by row, each a scalar."""
    rows: list[list[Any]] = []
    for i in range(n):
        rows.append([])
        for j in range(i + 1):
            rest = a[i, j]
            for k in range(j):
                rest = rest - rows[i][k] * rows[j][k]
            rows[i].append(square_root(rest) if i == j else rest / rows[j][j])
    return [value for row in rows for value in row]


def solved(rows: list[Any], b: Any, n: int) -> list[Any]:
    """y with L @ y = b, where `rows` holds the lower triangle of L row by row."""
    found: list[Any] = []
    for i in range(n):
        first = i * (i + 1) // 2
        rest = b[i]
        for k in range(i):
            rest = rest - rows[first + k] * found[k]
        found.append(rest / rows[first + i])
    return found


HELPERS = {f.__name__: f for f in (repeat, unroll, fan, tree, cholesky, solved)}
