"""Trees of what a user gives and gets back: dicts, lists, tuples and named tuples, nested.

In: what a user wrote.  Out: its leaves in order, and a skeleton in which numbers stand for them.  Every container
comes back as what it was, a child of dict, list or tuple too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

Skeleton = Any  # an int (the leaf's number), or a tuple, list or dict of skeletons


def flatten(value: Any) -> tuple[list[Any], Skeleton]:
    """The leaves of a tree, and its skeleton.

    >>> flatten({"y": "a", "g": ["b", ("c",)]})
    (['a', 'b', 'c'], {'y': 0, 'g': [1, (2,)]})
    """
    leaves: list[Any] = []
    return leaves, _skeleton(value, leaves)


def _skeleton(value: Any, leaves: list[Any]) -> Skeleton:
    if isinstance(value, dict):
        return _dict_like(value, {k: _skeleton(v, leaves) for k, v in value.items()})
    if isinstance(value, (tuple, list)):
        return _sequence_like(value, [_skeleton(v, leaves) for v in value])
    leaves.append(value)
    return len(leaves) - 1


def leaves_like(skeleton: Skeleton, value: Any) -> list[Any] | None:
    """The leaves, in order, of a value of this structure (a list may stand for a tuple); None if it has another."""
    if isinstance(skeleton, dict):
        same = isinstance(value, dict) and value.keys() == skeleton.keys()
        parts = [(v, value[k]) for k, v in skeleton.items()] if same else None
    elif isinstance(skeleton, (tuple, list)):
        same = isinstance(value, (tuple, list)) and len(value) == len(skeleton)
        parts = list(zip(skeleton, value, strict=True)) if same else None
    else:
        return None if isinstance(value, (dict, tuple, list)) else [value]
    found = [leaves_like(s, v) for s, v in parts or ()]
    return None if parts is None or None in found else [leaf for leaves in found for leaf in leaves or ()]


def spread(skeleton: Skeleton, value: Any) -> list[Any] | None:
    """For each leaf of the structure what `value`, which may be shallower, has there; None if it has another structure.

    >>> spread({"y": 0, "g": [1, (2,)]}, {"y": "a", "g": "b"})
    ['a', 'b', 'b']
    """
    if not isinstance(value, (dict, tuple, list)):
        return [value] * len(flatten(skeleton)[0])
    if isinstance(value, dict):
        fits = isinstance(skeleton, dict) and skeleton.keys() == value.keys()
        pairs = [(part, value[k]) for k, part in skeleton.items()] if fits else None
    else:
        fits = isinstance(skeleton, (tuple, list)) and len(skeleton) == len(value)
        pairs = list(zip(skeleton, value, strict=True)) if fits else None
    found = [spread(part, own) for part, own in pairs or ()]
    return None if pairs is None or None in found else [leaf for leaves in found for leaf in leaves or ()]


def unflatten(skeleton: Skeleton, leaves: Sequence[Any]) -> Any:
    """The tree with these leaves.

    >>> unflatten({"y": 0, "g": [1, (2,)]}, "abc")
    {'y': 'a', 'g': ['b', ('c',)]}
    """
    if isinstance(skeleton, dict):
        return _dict_like(skeleton, {k: unflatten(v, leaves) for k, v in skeleton.items()})
    if isinstance(skeleton, (tuple, list)):
        return _sequence_like(skeleton, [unflatten(v, leaves) for v in skeleton])
    return leaves[skeleton]


def _dict_like(model: dict[Any, Any], items: dict[Any, Any]) -> dict[Any, Any]:
    if type(model) is dict:
        return items
    same = copy.copy(model)  # a defaultdict keeps its factory
    dict.update(same, items)  # a Counter's own update would add
    return same


def _sequence_like(model: Any, parts: list[Any]) -> Any:
    return model._make(parts) if hasattr(model, "_make") else type(model)(parts)
