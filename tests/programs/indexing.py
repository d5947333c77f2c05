"""Reads and updates at positions, by NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def places(x: Any, key: Any, mode: str | None = None) -> Any:
    """The number of every element of x that the key names, and -1 for what mode "drop" leaves out."""
    items, outside, axis, whole = [], np.zeros((), bool), 0, list(x.shape)
    for item in key if isinstance(key, tuple) else (key,):
        if mode and item is not None and not isinstance(item, slice):
            size, at = x.shape[axis], np.asarray(item).astype(np.int64)
            whole[axis] = max(size, int(mode == "drop"))  # nothing is inside an axis that is empty
            from_start = np.where(at < 0, at + size, at)
            outside = outside | (from_start < 0) | (from_start >= size)
            item = at % size if mode == "wrap" else np.clip(from_start, 0, whole[axis] - 1)
        axis += item is not None
        items.append(item)
    numbers = np.arange(np.prod(whole, dtype=int)).reshape(whole)[tuple(items)]
    if mode == "drop":  # the arrays' axes come first in the keys that are drawn with it
        spread = outside.reshape(outside.shape + (1,) * (numbers.ndim - outside.ndim))
        numbers = np.where(spread, -1, numbers)
    return numbers


def update_at(change: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The function that changes elements one after the other."""

    def call(x: Any, key: Any, values: Any, mode: str | None = None) -> Any:
        x = np.asarray(x)
        if isinstance(key, np.ndarray) and key.dtype == bool:
            spread = key.reshape(key.shape + (1,) * (x.ndim - key.ndim))
            return np.where(spread, change(x, np.asarray(values, x.dtype)), x)
        numbers, out = places(x, key, mode), x.copy().reshape(-1)
        values = np.broadcast_to(np.asarray(values, x.dtype), numbers.shape)
        for number, value in zip(numbers.ravel(), values.ravel(), strict=True):
            if number >= 0:
                out[number] = change(out[number], value)
        return out.reshape(x.shape)

    return call


def get_at(x: Any, key: Any, mode: str | None = None, fill_value: Any = None) -> Any:
    numbers = places(x, key, "drop" if mode == "fill" else mode)
    found = np.asarray(x).reshape(-1)[numbers] if np.size(x) else np.zeros(numbers.shape, np.asarray(x).dtype)
    return found if fill_value is None else np.where(numbers < 0, np.asarray(fill_value, found.dtype), found)


def segments(change: Callable[[Any, Any], Any], start: float) -> Callable[..., Any]:
    """The function that folds rows by their labels."""

    def call(x: Any, labels: Any, count: int, mode: str | None = None) -> Any:
        out = np.full((count, *np.shape(x)[np.ndim(labels) :]), start, np.asarray(x).dtype)
        for at in np.ndindex(np.shape(labels)):
            if 0 <= labels[at] < count or mode is None:
                out[labels[at]] = change(out[labels[at]], x[at])
        return out

    return call


def _slice(x: Any, starts: Any, sizes: Any) -> tuple[slice, ...]:
    first = [min(max(s + d if s < 0 else s, 0), d - k) for s, d, k in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(f, f + k) for f, k in zip(first, sizes, strict=True))


def _updated_slice(x: Any, update: Any, starts: Any) -> Any:
    out = x.copy()
    out[_slice(x, [int(s) for s in starts], update.shape)] = update
    return out


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "set_at": update_at(lambda old, new: new),
    "add_at": update_at(np.add),
    "multiply_at": update_at(np.multiply),
    "min_at": update_at(np.minimum),
    "max_at": update_at(np.maximum),
    "get_at": get_at,
    "segment_sum": segments(np.add, 0.0),
    "segment_prod": segments(np.multiply, 1.0),
    "segment_max": segments(np.maximum, -np.inf),
    "bincount": lambda x, length: np.bincount(x, minlength=length),
    "searchsorted": lambda x, v, side: np.asarray(np.searchsorted(x, v, side)),
    "dynamic_slice": lambda x, starts, sizes: x[_slice(x, [int(s) for s in starts], sizes)],
    "dynamic_update_slice": _updated_slice,
}
