"""One pass over the samples.

In: a compiled step, arrays, an order of rows, and the report that is told.  Out: means over the samples by name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphc.nn.progress import Report

Array = np.ndarray[Any, Any]
Values = dict[str, float]


def run_epoch(step: Any, x: Array, y: Array, batch_size: int, order: Array | None, shown: Report) -> Values:
    """One pass over the samples, whole or in pieces that are short enough to tell about progress."""
    if shown.interval is None:
        return means(step.run(x=x, t=y, batch_size=batch_size, order=order), len(x), batch_size)
    order = np.arange(len(x)) if order is None else order
    parts = []
    for piece in _pieces(order, batch_size, shown.interval):
        parts.append(step.run(x=x, t=y, batch_size=batch_size, order=piece))
        shown.advance(len(piece), means(parts[-1], len(piece), batch_size))
    return means({name: np.concatenate([p[name] for p in parts]) for name in parts[0]}, len(x), batch_size)


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
    sizes = np.minimum(batch_size, samples - np.arange(0, samples, batch_size))
    return {name: float(np.dot(np.asarray(v, np.float64), sizes) / samples) for name, v in values.items()}
