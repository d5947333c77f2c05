"""Where buffers lie in a workspace.  This file is text for graphc.runtime.backend, as graphc.runtime.driver is."""

from __future__ import annotations

from graphc.runtime import layout as at
from graphc.runtime.words import load, store


def arrange(rows: int, count: int, c: int) -> int:
    """Give buffers their offsets, in the order of their rows; the bytes that they need.

    Each gets the smallest gap that it fits between those before it that are alive at the same time.
    """
    head = -1
    total = 0
    for k in range(count):
        row = rows + at.BUFFER * k
        place = gap(rows, row, head)
        store(row, at.OFFSET, place)
        head = insert(rows, k, head)
        if place + load(row, at.SIZE) > total:
            total = place + load(row, at.SIZE)
    return total


def gap(rows: int, row: int, head: int) -> int:
    """Where a buffer fits best, or the end of all that live with it."""
    size = load(row, at.SIZE)
    end = 0
    best = -1
    least = 0
    j = head
    while j >= 0:
        other = rows + at.BUFFER * j
        if load(other, at.FIRST) <= load(row, at.LAST) and load(row, at.FIRST) <= load(other, at.LAST):
            free = load(other, at.OFFSET) - end
            if free >= size and (best < 0 or free < least):
                best = end
                least = free
            if load(other, at.OFFSET) + load(other, at.SIZE) > end:
                end = load(other, at.OFFSET) + load(other, at.SIZE)
        j = load(other, at.NEXT)
    if best < 0:
        best = end
    return best


def insert(rows: int, k: int, head: int) -> int:
    """Put row k into the list of rows by offset that begins at `head`; the new head."""
    row = rows + at.BUFFER * k
    before = -1
    j = head
    while j >= 0 and load(rows + at.BUFFER * j, at.OFFSET) < load(row, at.OFFSET):
        before = j
        j = load(rows + at.BUFFER * j, at.NEXT)
    store(row, at.NEXT, j)
    if before < 0:
        return k
    store(rows + at.BUFFER * before, at.NEXT, k)
    return head
