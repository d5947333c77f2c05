"""Reductions and cumulative operations, against NumPy's or SciPy's, and JAX's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.special

import graphc as gc
from benchmarks.kernels.case import Array, Case, Subject, compiled, empty, normal, tolerance
from benchmarks.kernels.jax_ import jax_call

Axes = int | tuple[int, ...] | None
SHAPES: tuple[tuple[str, tuple[int, ...], bool, tuple[Axes, ...]], ...] = (  # name, shape, transposed, axes
    ("[1000]", (1_000,), False, (0,)),
    ("[100000]", (100_000,), False, (0,)),
    ("[10^7]", (10_000_000,), False, (0,)),
    ("[1000, 1200]", (1_000, 1_200), False, (0, 1)),
    ("[1200, 1000] transposed", (1_200, 1_000), True, (0, 1)),
    ("[128, 128, 128]", (128, 128, 128), False, (0, 1, 2, (0, 2), (1, 2))),
    ("[16384, 1024]", (16_384, 1_024), False, (0, 1)),
)
FLOATS, WITH_INTEGERS = ("float32", "float64"), ("float32", "float64", "int64")
REDUCTIONS: dict[str, tuple[str, ...]] = {
    "sum": WITH_INTEGERS, "mean": FLOATS, "max": WITH_INTEGERS, "min": WITH_INTEGERS, "var": FLOATS,
    "prod": WITH_INTEGERS, "any": ("bool",), "argmax": WITH_INTEGERS, "logsumexp": FLOATS,
}  # fmt: skip
CUMULATIVE: dict[str, tuple[str, str]] = {  # by the array API, in NumPy and JAX
    "cumulative_sum": ("cumsum", "cumsum"),
    "cumulative_prod": ("cumprod", "cumprod"),
}
_ONE_AXIS = ("argmax", *CUMULATIVE)


def cases() -> Iterator[Case]:
    for name in (*REDUCTIONS, *CUMULATIVE):
        for dtype in REDUCTIONS.get(name, WITH_INTEGERS):
            for title, shape, transposed, axes in SHAPES:
                for axis in axes:
                    if not (isinstance(axis, tuple) and name in _ONE_AXIS):
                        made = partial(_subject, name, dtype, shape, transposed, axis)
                        yield Case(f"{name} {title} axis {axis}", dtype, made)


def _drawn(name: str, shape: tuple[int, ...], dtype: str) -> Array:
    if dtype == "bool":
        return np.zeros(shape, bool)
    if "prod" in name:
        return (1 + normal(shape, "float64", 0, 1e-3)).astype(dtype) if dtype != "int64" else np.full(shape, 3)
    return normal(shape, dtype, 0, 100.0 if dtype == "int64" else 1.0)


def _subject(name: str, dtype: str, shape: tuple[int, ...], transposed: bool, axis: Axes) -> Subject:
    array = _drawn(name, shape, dtype)
    turned: Callable[[Any], Any] = (lambda x: x.T) if transposed else (lambda x: x)
    function, out = compiled((array,), lambda x: getattr(gc, name)(turned(x), axis=axis))
    ours = turned(array)
    peers = {"numpy": [_numpy(name, ours, axis, empty(out.shape, out.dtype))]}
    jax = jax_call(partial(_jax, name, axis, transposed), (array,))
    if jax is not None:
        peers["jax"] = [jax]
    length = ours.size // max(out.size, 1) if name not in CUMULATIVE else ours.shape[axis or 0]
    return Subject(function, (array,), out, peers, tolerance(dtype) * max(10, length**0.5))


def _numpy(name: str, array: Array, axis: Axes, out: Array) -> Callable[[], Any]:
    if name == "logsumexp":
        return lambda: scipy.special.logsumexp(array, axis=axis)
    if name in CUMULATIVE:
        return lambda: getattr(np, CUMULATIVE[name][0])(array, axis=axis, out=out)
    return lambda: getattr(np, name)(array, axis=axis, out=out)


def _jax(name: str, axis: Axes, transposed: bool, jax: Any, x: Any) -> Any:
    x = x.T if transposed else x
    if name == "logsumexp":
        return jax.nn.logsumexp(x, axis=axis)
    return getattr(jax.numpy, CUMULATIVE[name][1] if name in CUMULATIVE else name)(x, axis=axis)
