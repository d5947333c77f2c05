"""Control phases, interpreted: which phase is next, and where the rows of loops are.

In: a control phase, and what the memory holds.  Out: the number of the next phase; addresses move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.codegen.loop_ir import Control
from graphc.codegen.program import Buffer
from graphc.debug.memory import SHIFT, Memory, Region
from graphc.dims import evaluate
from graphc.schedule.task import Place


class Controls:
    """The loops of one call."""

    def __init__(
        self, memory: Memory, sizes: Mapping[str, int], addresses: dict[Place, int], buffers: Sequence[Buffer]
    ) -> None:
        self.memory, self.sizes, self.addresses, self.buffers = memory, sizes, addresses, buffers
        self.at: dict[Place, tuple[int, int]] = {}  # by counter: position, and how many steps are left

    def after(self, number: int, control: Control) -> int:
        """The phase after a control phase."""
        words: list[Any] = [w if isinstance(w, Place) else evaluate(w, self.sizes) for w in control.row]
        match control.what:
            case "begin":
                return self._begin(number, words)
            case "end":
                return self._end(number, words)
            case "bound":
                self._count(words[0], words[2], 0, words[1])
                return number + 1
            case "test":
                held, left = self.at[words[2]]
                if left == 0 or not self._value(words[0], np.bool_):
                    return int(words[1])
                self._count(words[2], words[3], held + 1, left - 1)
                return number + 1
            case "go":
                self._forget(words[0], number)
                return int(words[0])
        which, count, *firsts = words
        return int(firsts[min(max(int(self._value(which, np.int64)), 0), count - 1)])

    def _value(self, place: Any, dtype: Any) -> Any:
        self.memory.begin(0)
        return self.memory.load(self.addresses[place], np.dtype(dtype))

    def _begin(self, number: int, words: Sequence[Any]) -> int:
        trip, after, _, _, reverse, *_ = words
        if trip <= 0:
            return int(after)
        self._point(words, (trip - 1) * reverse, trip)
        return number + 1

    def _end(self, number: int, words: Sequence[Any]) -> int:
        position, left = self.at[words[3]]
        if left == 1:
            return number + 1
        self._forget(words[2], number)
        self._point(words, position + 1 - 2 * words[4], left - 1)
        return int(words[2])

    def _point(self, words: Sequence[Any], position: int, left: int) -> None:
        _, _, _, counter, _, place, _, *rows = words
        self._count(counter, place, position, left)
        for row, of, step in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
            self.addresses[row] = self.addresses[of] + position * step

    def _count(self, counter: Place, place: Place, position: int, left: int) -> None:
        self.at[counter] = position, left
        if place not in self.addresses:
            self.addresses[place] = self.memory.add(Region(f"position of {counter}", 8))
        self.memory.regions[self.addresses[place] >> SHIFT].fill(np.array([position]))

    def _forget(self, first: int, last: int) -> None:
        """What lives within a step is not there in the next."""
        for k, buffer in enumerate(self.buffers):
            if first <= buffer.first and buffer.last <= last:
                self.memory.regions[self.addresses[Place("buffer", k)] >> SHIFT].forget()
