"""JAX as a peer of kernels, where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.kernels.case import Array, Call


def jax_call(function: Callable[..., Any], arrays: Sequence[Array]) -> Call | None:
    """A call of `function(jax, *arrays)`, compiled; None without JAX.  It waits for the result."""
    if importlib.util.find_spec("jax") is None:
        return None
    import jax

    jax.config.update("jax_enable_x64", True)
    there = [jax.device_put(a) for a in arrays]
    compiled = jax.jit(lambda *x: function(jax, *x))
    return lambda: jax.block_until_ready(compiled(*there))
