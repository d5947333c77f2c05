"""Structures of outputs: nodes in tuples, lists and dicts, nested.

In: what a user wrote.  Out: its leaves in order, and a skeleton in which numbers stand for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Skeleton = Any  # an int (the leaf's number), or a tuple, list or dict of skeletons


def flatten(value: Any) -> tuple[list[Any], Skeleton]:
    """The leaves of a structure, and its skeleton.

    >>> flatten({"y": "a", "g": ["b", ("c",)]})
    (['a', 'b', 'c'], {'y': 0, 'g': [1, (2,)]})
    """
    leaves: list[Any] = []
    return leaves, _skeleton(value, leaves)


def _skeleton(value: Any, leaves: list[Any]) -> Skeleton:
    if isinstance(value, dict):
        return {k: _skeleton(v, leaves) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)([_skeleton(v, leaves) for v in value])
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


def unflatten(skeleton: Skeleton, leaves: Sequence[Any]) -> Any:
    """The structure with these leaves."""
    if isinstance(skeleton, dict):
        return {k: unflatten(v, leaves) for k, v in skeleton.items()}
    if isinstance(skeleton, (tuple, list)):
        return type(skeleton)([unflatten(v, leaves) for v in skeleton])
    return leaves[skeleton]
