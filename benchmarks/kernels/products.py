"""Matrix products, against NumPy's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.kernels.case import Case, Subject, compiled, empty, normal, tolerance

Sizes = tuple[int, int, int]  # m × k × n

SQUARES = (4, 8, 16, 32, 64, 100, 128, 256, 512, 1000, 1024, 2048, 4096)
MOST = {"float32": 4096, "float64": 2048}  # of squares
SKINNY: tuple[Sizes, ...] = (
    *((32, 784, 10), (128, 784, 512), (128, 512, 10), (64, 400, 120), (512, 64, 64), (10000, 16, 16)),
    *((16, 10000, 16), (16, 16, 10000), (1000, 3, 1000), (7, 5, 3), (33, 65, 17), (255, 257, 63)),
)
LEFT_TRANSPOSED: tuple[Sizes, ...] = ((784, 32, 10), (784, 128, 512), (512, 128, 10), (256, 4096, 64))
RIGHT_TRANSPOSED: tuple[Sizes, ...] = ((32, 10, 784), (128, 512, 784), (64, 64, 4096), (1000, 100, 1000))
VECTORS: tuple[Sizes, ...] = ((1, 1024, 1024), (1024, 1024, 1), (1, 4096, 10), (1000, 1, 1000))
BATCHED: tuple[tuple[int, Sizes, bool], ...] = (  # whether the right one is the same for all
    *((512, (8, 8, 8), False), (64, (64, 32, 64), False), (32, (64, 64, 32), True)),
)


def cases() -> Iterator[Case]:
    for dtype in ("float32", "float64"):
        squares = [(n, n, n) for n in SQUARES if n <= MOST[dtype]]
        for form, sizes in (
            ("", (*squares, *SKINNY, *VECTORS)),
            ("left transposed", LEFT_TRANSPOSED),
            ("right transposed", RIGHT_TRANSPOSED),
        ):
            for size in sizes:
                name = f"{'×'.join(map(str, size))} {form}".strip()
                yield Case(name, dtype, partial(_product, dtype, (), (), size, form))
        for batch, size, shared in BATCHED:
            name = f"{batch} of {'×'.join(map(str, size))}{', right one broadcast' * shared}"
            yield Case(name, dtype, partial(_product, dtype, (batch,), () if shared else (batch,), size, ""))


def _product(dtype: str, left: tuple[int, ...], right: tuple[int, ...], size: Sizes, form: str) -> Subject:
    m, k, n = size
    a = normal((*left, k, m) if form.startswith("left") else (*left, m, k), dtype, 1)
    b = normal((*right, n, k) if form.startswith("right") else (*right, k, n), dtype, 2)

    def operands(x, y):  # type: ignore[no-untyped-def]
        return (x.T if form.startswith("left") else x), (y.T if form.startswith("right") else y)

    function, out = compiled((a, b), lambda x, y: operands(x, y)[0] @ operands(x, y)[1])
    theirs = empty(out.shape, dtype)
    left_one, right_one = operands(a, b)
    numpy = [lambda: np.matmul(left_one, right_one, out=theirs)]
    return Subject(function, (a, b), out, {"numpy": numpy}, tolerance(dtype) * max(1, k) ** 0.5)
