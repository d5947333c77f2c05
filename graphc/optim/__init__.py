"""Optimisers with the names, arguments and defaults of Keras: from a loss and parameters to updates for `compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import DeclarationError
from graphc.optim.adam import Adam
from graphc.optim.optimizer import Optimizer, Updates
from graphc.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer", "Updates", "get"]

BY_NAME: dict[str, Callable[[], Optimizer]] = {"sgd": SGD, "adam": Adam}


def get(optimizer: Any) -> Optimizer:
    """A new optimiser of this name with its defaults, or `optimizer` itself if it is one; DeclarationError for others.

    >>> get("adam").beta_2
    0.999
    """
    if isinstance(optimizer, str) and optimizer.lower() in BY_NAME:
        return BY_NAME[optimizer.lower()]()
    if not isinstance(optimizer, Optimizer):
        known = ", ".join(BY_NAME)
        raise DeclarationError(f"an optimiser is one of {known}, or an object of gc.optim, got {optimizer!r}")
    return optimizer
