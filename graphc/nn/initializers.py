"""Initial values of parameters, with Keras's names and distributions.

In: a name, values or a function, and the shape, dtype and generator.  Out: an array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.declare import as_array
from graphc.errors import DeclarationError, ShapeError
from graphc.types import DType, shape_text

Initializer = Callable[[tuple[int, ...], np.random.Generator], np.ndarray[Any, Any]]

_CUT = 2.0  # normal distributions are cut at this many standard deviations
_DEVIATION = 0.87962566103423978  # standard deviation of the standard normal distribution cut at _CUT
_SMALL = 0.05  # Keras's deviation, or limit, of the initialisers that ignore the shape


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Numbers of inputs and outputs that meet in a weight of this shape, (..., inputs, outputs)."""
    if len(shape) < 2:
        return (float(math.prod(shape)),) * 2
    field = math.prod(shape[:-2])
    return float(field * shape[-2]), float(field * shape[-1])


def _uniform(limit: float) -> Initializer:
    return lambda shape, rng: rng.uniform(-limit, limit, shape)


def _truncated(deviation: float) -> Initializer:
    def initial(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        values = np.asarray(rng.standard_normal(shape))
        while (outside := np.abs(values) > _CUT).any():
            values[outside] = rng.standard_normal(np.count_nonzero(outside))
        return deviation * values

    return initial


def _scaled(numerator: float, count: Callable[[float, float], float], uniform: bool) -> Initializer:
    """Values of variance numerator / count(inputs, outputs)."""

    def initial(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        variance = numerator / max(1.0, count(*fans(shape)))
        draw = _uniform(math.sqrt(3.0 * variance)) if uniform else _truncated(math.sqrt(variance) / _DEVIATION)
        return draw(shape, rng)

    return initial


_FAMILIES: dict[str, tuple[float, Callable[[float, float], float]]] = {
    "glorot": (1.0, lambda inputs, outputs: (inputs + outputs) / 2.0),
    "he": (2.0, lambda inputs, outputs: inputs),
    "lecun": (1.0, lambda inputs, outputs: inputs),
}

BY_NAME: dict[str, Initializer] = {
    "zeros": lambda shape, rng: np.zeros(shape),
    "ones": lambda shape, rng: np.ones(shape),
    "random_normal": lambda shape, rng: rng.normal(0.0, _SMALL, shape),
    "random_uniform": _uniform(_SMALL),
    "truncated_normal": _truncated(_SMALL),
    **{f"{name}_uniform": _scaled(*rule, uniform=True) for name, rule in _FAMILIES.items()},
    **{f"{name}_normal": _scaled(*rule, uniform=False) for name, rule in _FAMILIES.items()},
}


def check(initializer: Any) -> None:
    """Raise DeclarationError for a name that is not known."""
    if isinstance(initializer, str) and initializer.lower() not in BY_NAME:
        raise DeclarationError(f"no initialiser is called {initializer!r}; there are {', '.join(sorted(BY_NAME))}")


def initial(initializer: Any, shape: tuple[int, ...], dtype: DType, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Values of this shape and dtype by `initializer`: a name, an array, or a function of (shape, dtype).

    Raises DeclarationError for an unknown name, ShapeError for values of another shape.
    """
    check(initializer)
    if isinstance(initializer, str):
        return BY_NAME[initializer.lower()](shape, rng).astype(dtype.numpy)
    values = as_array(initializer(shape, dtype.name) if callable(initializer) else initializer, dtype)
    if values.shape != shape:
        raise ShapeError(f"initial values have shape {shape_text(values.shape)}, the parameter has {shape_text(shape)}")
    return values
