"""Convolution and pooling by NumPy: x is padded, and each window of it lies along axes of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .program import Values


def _pairs(x: Values, reach: list[int], strides: Any, padding: Any) -> list[tuple[int, int]]:
    """How many elements stand before and behind each spatial axis."""
    if padding == "valid":
        return [(0, 0)] * len(reach)
    if padding != "same":
        return [(int(low), int(high)) for low, high in np.broadcast_to(padding, (len(reach), 2))]
    found = []
    for length, r, stride in zip(x.shape[1:-1], reach, strides, strict=True):
        if not length:
            raise ValueError("an empty axis has no windows")
        more = max((-(-length // stride) - 1) * stride + r - length, 0)
        found.append((more // 2, more - more // 2))
    return found


def _windows(x: Values, places: tuple[int, ...], strides: Any, padding: Any, dilation: Any, fill: Any) -> Values:
    """[batch, *positions, channels, *places]"""
    n = x.ndim - 2
    strides, dilation = np.broadcast_to(strides, n).tolist(), np.broadcast_to(dilation, n).tolist()
    reach = [(k - 1) * d + 1 for k, d in zip(places, dilation, strict=True)]
    x = np.pad(x, [(0, 0), *_pairs(x, reach, strides, padding), (0, 0)], constant_values=fill)
    found = sliding_window_view(x, reach, tuple(range(1, n + 1)))
    positions, inner = (tuple(slice(None, None, s) for s in steps) for steps in (strides, dilation))
    return found[(slice(None), *positions, slice(None), *inner)]


def convolution(x: Any, w: Any, *, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    n, dtype = x.ndim - 2, np.result_type(x, w)
    found = _windows(x, w.shape[:n], strides, padding, dilation, 0)
    if found.shape[n + 1] != w.shape[n] * groups or w.shape[-1] % groups:
        raise ValueError("the channels are not those of the groups")
    summed = list(range(n + 1, 2 * n + 2)), [n, *range(n)]
    pairs = zip(np.split(found, groups, n + 1), np.split(w, groups, -1), strict=True)
    return np.concatenate([np.tensordot(a, b, summed) for a, b in pairs], -1).astype(dtype)


def max_pool(x: Any, window: Any, strides: Any = None, padding: Any = "valid") -> Any:
    n = x.ndim - 2
    fill = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    places = tuple(np.broadcast_to(window, n).tolist())
    return _windows(x, places, places if strides is None else strides, padding, 1, fill).max(tuple(range(-n, 0)))


def avg_pool(x: Any, window: Any, strides: Any = None, padding: Any = "valid") -> Any:
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    n = x.ndim - 2
    places = tuple(np.broadcast_to(window, n).tolist())
    steps = places if strides is None else strides
    total, count = (
        _windows(v, places, steps, padding, 1, 0).sum(tuple(range(-n, 0))) for v in (x, np.ones(x.shape, x.dtype))
    )
    return total / count


FUNCTIONS = {"convolution": convolution, "max_pool": max_pool, "avg_pool": avg_pool}
