"""x.at[key]: reads and updates of the elements that a key names, as methods.

In: an array and a key.  Out: nodes; an update is a new array, and x stays what it was.
"""

from __future__ import annotations

from typing import Any

from graphc.declare import FUNCTIONS
from graphc.graph import Node


class At:
    """The elements of an array by key: `x.at[key].set(v)`, `.add`, `.multiply`, `.min`, `.max` and `.get`.

    The key is what x[key] takes, or a mask that is a node.  Where nothing reads the old array any more, the new one is
    written in its memory.

    >>> import graphc as gc
    >>> x = gc.constant([1, 2, 3])
    >>> gc.compile([], (x.at[[0, 0]].add([10, 20]), x.at[x > 1].set(0)))()
    (array([31,  2,  3]), array([1, 0, 0]))
    """

    __slots__ = ("_array",)

    def __init__(self, array: Node) -> None:
        self._array = array

    def __getitem__(self, key: Any) -> Elements:
        return Elements(self._array, key)


class Elements:
    """The elements of an array that a key names.

    Values broadcast to their shape, and must fit the array's dtype.  Where the key names an element more than once,
    values are taken in their order.  A position beyond its axis is an error at the call; with `mode` "clip" it is the
    nearest end, with "wrap" the rest by the length, and with "drop" its value is left out.

    >>> import graphc as gc
    >>> x = gc.constant([1, 2, 3])
    >>> gc.compile([], x.at[[0, 9]].add(5, mode="drop"))()
    array([6, 2, 3])
    """

    __slots__ = ("_array", "_key")

    def __init__(self, array: Node, key: Any) -> None:
        self._array, self._key = array, key

    def get(self, *, mode: str | None = None, fill_value: Any = None) -> Node:
        """The elements, as `gc.get_at`; with `mode` "fill", `fill_value` (NaN) where a position is beyond its axis.

        >>> import graphc as gc
        >>> gc.compile([], gc.constant([1.0, 2.0]).at[[1, 2]].get(mode="fill"))()
        array([ 2., nan])
        """
        return self._call("get_at", mode=mode, fill_value=fill_value)

    def set(self, values: Any, *, mode: str | None = None) -> Node:
        """The array with values there, as `gc.set_at`; of several values of an element the last stays.

        >>> import graphc as gc
        >>> gc.compile([], gc.constant([1, 2, 3]).at[1:].set(0))()
        array([1, 0, 0])
        """
        return self._call("set_at", values, mode=mode)

    def add(self, values: Any, *, mode: str | None = None) -> Node:
        """The array with values added there, as `gc.add_at`.

        >>> import graphc as gc
        >>> gc.compile([], gc.constant([1, 2, 3]).at[[0, 0]].add(1))()
        array([3, 2, 3])
        """
        return self._call("add_at", values, mode=mode)

    def multiply(self, values: Any, *, mode: str | None = None) -> Node:
        """The array multiplied there by values, as `gc.multiply_at`.

        >>> import graphc as gc
        >>> gc.compile([], gc.constant([1, 2, 3]).at[-1].multiply(10))()
        array([ 1,  2, 30])
        """
        return self._call("multiply_at", values, mode=mode)

    def min(self, values: Any, *, mode: str | None = None) -> Node:
        """The array with the least of its elements and the values there, as `gc.min_at`.

        >>> import graphc as gc
        >>> gc.compile([], gc.constant([1, 2, 3]).at[...].min(2))()
        array([1, 2, 2])
        """
        return self._call("min_at", values, mode=mode)

    def max(self, values: Any, *, mode: str | None = None) -> Node:
        """The array with the greatest of its elements and the values there, as `gc.max_at`.

        >>> import graphc as gc
        >>> gc.compile([], gc.constant([1, 2, 3]).at[...].max(2))()
        array([2, 2, 3])
        """
        return self._call("max_at", values, mode=mode)

    def _call(self, name: str, *values: Any, **how: Any) -> Node:
        result: Node = FUNCTIONS[name](self._array, self._key, *values, **how)
        return result
