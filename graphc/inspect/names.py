"""Names of results as the user wrote them, and texts of what may hold anything.

In: a compiled function, or the structure of its outputs.  Out: `loss`, `grads.w`, `output[0]` for the outputs in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphc.tree import Skeleton


def output_names(structure: Skeleton) -> list[str]:
    """A name for each output, by its place in the structure; keys and fields at the top are names by themselves.

    >>> output_names({"loss": 0, "grads": {"w": 1, "b": [2, 3]}})
    ['loss', 'grads.w', 'grads.b[0]', 'grads.b[1]']
    >>> output_names((0, {"dense/bias": 1})), output_names(0)
    (['output[0]', "output[1]['dense/bias']"], ['output'])
    """
    return list(_names(structure, ""))


def _names(structure: Skeleton, path: str) -> Iterator[str]:
    if isinstance(structure, dict):
        for key, value in structure.items():
            yield from _names(value, _below(path, key))
    elif hasattr(structure, "_fields"):
        for field, value in zip(structure._fields, structure, strict=True):
            yield from _names(value, _below(path, field))
    elif isinstance(structure, (tuple, list)):
        for k, value in enumerate(structure):
            yield from _names(value, f"{path or 'output'}[{k}]")
    else:
        yield path or "output"


def _below(path: str, key: Any) -> str:
    if isinstance(key, str) and (not path or key.isidentifier()):
        return f"{path}.{key}" if path else key
    return f"{path or 'output'}[{key!r}]"


def outputs_of(what: Any) -> list[str]:
    """The names of a compiled function's outputs, or of those of a Program or Graph, which know no structure."""
    count = len(getattr(what, "program", what).outputs)
    return output_names(getattr(what, "_structure", 0 if count == 1 else tuple(range(count))))
