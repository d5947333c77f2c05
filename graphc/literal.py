"""What leaves are told apart by.

In: a value, or nothing.  Out: keys under which a constant is one with its equals, and an input with none.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


class Identity:
    """What makes a leaf differ from every other leaf."""

    __slots__ = ("__weakref__",)


class Slot(Identity):
    """What an input of a body differs by: it stands for a value inside of a loop or a branch, and for none outside."""

    __slots__ = ()


class Literal:
    """The value of a constant, compared by dtype, shape and bytes (so that -0.0, NaN, True and 1 differ)."""

    __slots__ = ("array", "_key", "_hash")

    def __init__(self, value: Any) -> None:
        array = np.array(value, order="C")
        array.flags.writeable = False
        self.array = array
        self._key = (array.dtype.str, array.shape, array.tobytes())
        self._hash = hash(self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        return Literal, (self.array,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if self.array.size <= 4:
            return str(self.array.tolist())
        return f"<{hashlib.sha256(self._key[2]).hexdigest()[:16]}>"
