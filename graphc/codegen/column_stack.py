"""Columns on the stack, for rows that go abreast.

In: how many are wanted, one after the other.  Out: blocks of the stack, and where in them columns begin.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.codegen.few_elements import ROWS
from graphc.codegen.intrinsics.target import BLOCK, LINE
from graphc.codegen.views import up
from graphc.schedule.task import Place
from graphc.types import DType

OnStack = tuple[Place, int]  # columns of 16 elements: a block, and their first element there
_FIRST = 32  # block on the stack
_BLOCK = 8 * BLOCK  # bytes


@dataclass
class ColumnStack:
    """Blocks on the stack, in which columns of 16 elements stand one after the other."""

    used: int = 0

    def columns(self, count: int, dtype: DType) -> OnStack:
        """So many columns: the place, and their first element there."""
        size = up(count * ROWS * dtype.size, LINE)
        if self.used % _BLOCK + size > _BLOCK:
            self.used = up(self.used, _BLOCK)
        first, self.used = self.used, self.used + size
        return Place("stack", _FIRST + first // _BLOCK), first % _BLOCK // dtype.size
