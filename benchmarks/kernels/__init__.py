"""Families of kernels beside NumPy, SciPy, JAX and copies: `python -m benchmarks kernels [FAMILY ...]`.

case.py      a line of a list: program, arrays, peers
copy.py      what moving the same bytes takes
measure.py   agreement, then medians of samples that take turns
report.py    the table, means, JSON
products.py, vector_math.py, chains.py, reductions.py, rows.py   the lists
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.kernels import chains, products, reductions, rows, vector_math
from benchmarks.kernels.case import Case

FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "products": products.cases,
    "vector_math": vector_math.cases,
    "chains": chains.cases,
    "reductions": reductions.cases,
    "rows": rows.cases,
}
