"""Passes over the samples.

In: a compiled step, arrays; for each pass an order of rows, and the report that is told.  Out: means over the samples
by name.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from graphc.nn.progress import Report

Array = np.ndarray[Any, Any]
Values = dict[str, float]


@contextlib.contextmanager
def passes(step: Any, x: Array, y: Array, batch_size: int) -> Iterator[Callable[..., Values]]:
    """A function of an order and a report that makes a pass over the samples, whole or in pieces."""
    with step.runs(x=x, t=y, batch_size=batch_size) as run:
        yield functools.partial(_pass, run, len(x), batch_size)


def _pass(
    run: Callable[..., Any], samples: int, batch_size: int, order: Array | None = None, shown: Report | None = None
) -> Values:
    """One pass; in pieces that are short enough to tell about progress where that is wanted."""
    if shown is None or shown.interval is None:
        return means(run(order), samples, batch_size)
    order = np.arange(samples) if order is None else order
    parts = []
    for piece in _pieces(order, batch_size, shown.interval):
        parts.append(run(piece))
        shown.advance(len(piece), means(parts[-1], len(piece), batch_size))
    return means({name: np.concatenate([p[name] for p in parts]) for name in parts[0]}, samples, batch_size)


def _pieces(order: Array, batch_size: int, interval: float) -> Iterator[Array]:
    """Whole batches of the order, as many at a time as took about `interval` seconds so far."""
    done, steps = 0, 1
    while done < len(order):
        start = time.perf_counter()
        yield order[done : done + steps * batch_size]
        done += steps * batch_size
        steps = min(2 * steps, max(1, int(steps * interval / (time.perf_counter() - start))))


def means(values: Mapping[str, Array], samples: int, batch_size: int) -> Values:
    """Means over the samples of values that are means over batches, of which the last may be smaller."""
    sizes = _sizes(samples, batch_size)
    return {name: float(np.dot(np.asarray(v, np.float64), sizes) / samples) for name, v in values.items()}


@functools.lru_cache(16)
def _sizes(samples: int, batch_size: int) -> Array:
    """How many samples each batch has."""
    return np.minimum(batch_size, samples - np.arange(0, samples, batch_size)).astype(np.float64)
