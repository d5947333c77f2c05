"""Sorting networks: comparisons in an order that does not depend on what is compared, a vector of them at a time.

A bitonic sort (K. E. Batcher, Sorting networks and their applications, AFIPS 1968) of as many items as some registers
have lanes.  Two registers are compared lane by lane; so what is compared has to lie in two of them.  Of the number of
an item some bits are that of its register, the others that of its lane; which ones, changes: two shuffles of a pair of
registers make a bit of the lane one of the register, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from llvmlite import ir

from graphc.codegen.intrinsics.constants import positions

Item = tuple[ir.Value, ...]  # vectors of which lanes move together
Exchange = Callable[[Item, Item], tuple[Item, Item]]  # lane by lane, what comes first and what comes last
Step = tuple[int, bool]  # which bit of the numbers differs, and whether all lower ones do, too


def bits_of(size: int) -> int:
    """The binary logarithm of a power of two."""
    return size.bit_length() - 1


class Network:
    """A network for one number of registers, a power of two; lanes have so many bytes.

    `at` has for each bit of a place, those of the lane before those of the register, the bit of the item's number.
    """

    def __init__(self, builder: ir.IRBuilder, exchange: Exchange, lanes: int, nbytes: int, registers: int) -> None:
        self.builder, self.exchange = builder, exchange
        self.lanes, self.registers = bits_of(lanes), bits_of(registers)
        self.size = self.lanes + self.registers
        # Shuffles of two registers are cheap within 16 bytes, and between parts of 16 bytes.
        self.part = min(bits_of(16 // nbytes), self.lanes)
        self.items: list[Item] = []
        self.at: list[int] = []

    def sort(self, items: Sequence[Item]) -> list[Item]:
        """Items of any order in order, register by register."""
        self.at = [*range(self.registers, self.size), *range(self.registers)]
        return self._run(items, [(k, k == top) for top in range(self.size) for k in reversed(range(top + 1))])

    def merge(self, items: Sequence[Item]) -> list[Item]:
        """The same of items that rise and fall, or fall and rise."""
        self.at = [*range(self.size)]
        return self._run(items, [(k, False) for k in reversed(range(self.size))])

    def turn(self, item: Item) -> Item:
        """The lanes from the last one to the first."""
        return self._flip(item, (1 << self.lanes) - 1)

    def _run(self, items: Sequence[Item], steps: Sequence[Step]) -> list[Item]:
        self.items = list(items)
        for k, (bit, is_turned) in enumerate(steps):
            if self.at.index(bit) < self.lanes:
                self._pull(bit, [later for later, _ in steps[k + 1 :]])
            self._compare(self.at.index(bit) - self.lanes, bit, is_turned)
        self._settle()
        return self.items

    def _compare(self, place: int, bit: int, is_turned: bool) -> None:
        """Put in order what differs in a bit, which is at this place of registers' numbers.

        What comes last of it stays where it was compared: where all lower bits differ, it is turned.
        """
        lower = [p for p, other in enumerate(self.at) if is_turned and other < bit]
        lanes = sum(1 << p for p in lower if p < self.lanes)
        registers = sum(1 << (p - self.lanes) for p in lower if p >= self.lanes)
        old = list(self.items)
        for k in range(len(old)):
            if not k >> place & 1:
                other = self._flip(old[k ^ registers ^ 1 << place], lanes)
                self.items[k], self.items[k | 1 << place] = self.exchange(old[k], other)

    def _pull(self, bit: int, later: Sequence[int]) -> None:
        """Have a bit of lanes be one of registers, in place of that which is wanted last."""
        wanted = {other: k for k, other in reversed(list(enumerate(later)))}
        held = self.at[self.lanes :]
        self._swap(self.at.index(bit), max(range(len(held)), key=lambda p: (wanted.get(held[p], len(later)), held[p])))

    def _swap(self, lane: int, place: int) -> None:
        """Have the bit at this place of lanes and that at this place of registers change sides.

        The former's neighbours move up to it, as far as shuffles are cheap, and the latter comes behind these.
        """
        end = self.part if lane < self.part else self.lanes
        lists: list[list[int]] = [[], []]
        for new in range(1 << self.lanes):
            low, middle, high = new & (1 << lane) - 1, new >> lane & (1 << end - lane - 1) - 1, new >> end
            old = low | middle << lane + 1 | high << end
            from_second = new >> end - 1 & 1
            for is_set, sources in enumerate(lists):
                sources.append(old | is_set << lane | from_second << self.lanes)
        for k in range(len(self.items)):
            if not k >> place & 1:
                pair = self.items[k], self.items[k | 1 << place]
                self.items[k], self.items[k | 1 << place] = (self._shuffle(*pair, sources) for sources in lists)
        bit = self.at.pop(lane)
        self.at.insert(end - 1, self.at[self.lanes - 1 + place])
        self.at[self.lanes + place] = bit

    def _settle(self) -> None:
        """Have the bits where they belong: the low ones are those of lanes, in their order."""
        while any(bit < self.lanes for bit in self.at[self.lanes :]):
            place = next(p for p in count() if self.at[self.lanes + p] < self.lanes)
            self._swap(next(p for p in count() if self.at[p] >= self.lanes), place)
        order = [self._moved(lane, 0, self.lanes) for lane in range(1 << self.lanes)]
        self.items = [self._shuffle(item, item, order) for item in self.items]
        self.items = [self.items[self._moved(k, self.lanes, self.size)] for k in range(len(self.items))]

    def _moved(self, number: int, start: int, stop: int) -> int:
        """Where the lane, or the register, is that belongs at this number."""
        return sum((number >> (bit - start) & 1) << (self.at.index(bit) - start) for bit in range(start, stop))

    def _flip(self, item: Item, lanes: int) -> Item:
        """The lane of which these bits differ, in each lane."""
        return self._shuffle(item, item, [lane ^ lanes for lane in range(1 << self.lanes)])

    def _shuffle(self, a: Item, b: Item, lanes: Sequence[int]) -> Item:
        """The given lanes of a, or of b, which come behind a's."""
        if list(lanes) == list(range(1 << self.lanes)):
            return a
        return tuple(
            self.builder.shuffle_vector(x, y, positions(tuple(lanes))) for x, y in zip(a, b, strict=True)
        )
