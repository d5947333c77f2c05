"""Nodes by what tells them apart, for as long as somebody keeps them.

A garbage collection may bury thousands of nodes in the midst of a call, and what is raised in what Python runs for one
of them, such as an interrupt, Python drops.  So nothing of Python runs then: the dead are noted, by a list's own
method, and taken out of the table when the next node comes.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc.graph import Node


class _Entry(weakref.ref[Any]):
    """A node in the table, and its key."""

    __slots__ = ("key",)
    key: Any


class Interned:
    """The table.  `get` may be called at any time, `setdefault` by one thread at a time."""

    def __init__(self) -> None:
        self._entries: dict[Any, _Entry] = {}
        self._dead: list[_Entry] = []

    def get(self, key: Any) -> Node | None:
        """The living node with this key."""
        entry = self._entries.get(key)
        return None if entry is None else entry()

    def setdefault(self, key: Any, node: Node) -> Node:
        """The living node with this key, which is this one if there was none."""
        if self._dead:
            self._bury()
        known = self.get(key)
        if known is not None:
            return known
        entry = _Entry(node, self._dead.append)
        entry.key = key
        self._entries[key] = entry
        return node

    def _bury(self) -> None:
        """Take the dead out, but for those in whose place there is another node by now."""
        with suppress(IndexError):  # a signal's handler may bury them, too
            while self._dead:
                entry = self._dead.pop()
                if self._entries.get(entry.key) is entry:
                    del self._entries[entry.key]
