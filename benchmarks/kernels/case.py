"""One line of a family's list: a program, its arrays, and who does the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

import graphc as gc
from graphc.state import aligned

Call = Callable[[], Any]
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Subject:
    """A compiled function with the arrays that it takes and writes, and its peers.

    Each peer has a call, or several of which the fastest counts; those of `unchecked` peers give no results.
    `relative` is how far results may be apart: of the value and, times `scale`, of the largest one, at most 1.
    """

    function: Any
    arrays: Sequence[Array]
    out: Any
    peers: dict[str, Sequence[Call]]
    relative: float
    scale: float = 1.0
    unchecked: frozenset[str] = frozenset({"copy"})
    wanted: Call | None = None  # what results must be, where no peer tells

    def call(self) -> Any:
        return self.function(*self.arrays, out=self.out)


@dataclass(frozen=True)
class Case:
    """What is measured; nothing is drawn or compiled before `make` is called."""

    name: str
    dtype: str
    make: Callable[[], Subject] = field(compare=False)


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array whose memory is there, from the start of a line of cache, as streaming stores want it."""
    kind = np.dtype(dtype)
    return aligned(int(np.prod(shape)) * kind.itemsize).view(kind)[: int(np.prod(shape))].reshape(shape)


@lru_cache(maxsize=4)
def normal(shape: tuple[int, ...], dtype: str, seed: int = 0, scale: float = 1.0) -> Array:
    """Values of a normal distribution, which nobody changes; drawn in pieces, since some arrays are large."""
    found = empty(shape, dtype)
    rng = np.random.default_rng(seed)
    flat = found.reshape(-1)
    for first in range(0, flat.size, 1 << 20):
        part = flat[first : first + (1 << 20)]
        part[:] = scale * rng.standard_normal(part.size, np.float32)
    return found


def tolerance(dtype: Any) -> float:
    """What two good ways of computing the same may differ by."""
    return {4: 1e-5, 8: 1e-12}.get(np.dtype(dtype).itemsize, 0.0) if np.dtype(dtype).kind == "f" else 0.0


def inputs(arrays: Sequence[Array]) -> list[Any]:
    return [gc.input(f"x{k}", a.shape, str(a.dtype)) for k, a in enumerate(arrays)]


def compiled(arrays: Sequence[Array], make: Callable[..., Any]) -> tuple[Any, Any]:
    """The function of arrays that `make` declares, and arrays for its outputs, in the same structure."""
    nodes = inputs(arrays)
    made = make(*nodes)
    outputs = made if isinstance(made, tuple) else (made,)
    out = tuple(empty(tuple(map(int, node.shape)), node.dtype.numpy) for node in outputs)
    return gc.compile(nodes, made), out if isinstance(made, tuple) else out[0]
