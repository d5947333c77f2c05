"""Memory of large results, used again after NumPy has freed it: the functions of a memory handler of NumPy's.

This file is text for graphc.runtime.backend, as graphc.runtime.driver is.  `kept` is the handler's context: the blocks
that are free, the oldest first, and NumPy's own functions, through which all memory comes and goes.  NumPy holds the
GIL when it calls, so nothing comes between a look and a change.
"""

from __future__ import annotations

from graphc.runtime import layout as at
from graphc.runtime.words import call, copy, load, store


def rounded(nbytes: int, b: int, c: int) -> int:
    """The bytes of the block in which an array lies: NumPy tells how long an array is when it frees it, and no more."""
    if nbytes < at.LARGE_BYTES:
        return nbytes
    return (nbytes + at.PIECE - 1) & -at.PIECE


def allocate(kept: int, nbytes: int, c: int) -> int:
    """void *malloc(void *context, size_t size): a free block of this length, else a new one."""
    size = rounded(nbytes, 0, 0)
    for k in range(load(kept, at.KEPT)):
        if load(kept, at.KEPT_HEAD + at.KEPT_ROW * k + at.BLOCK_BYTES) == size:
            return taken(kept, k, 0)
    own = call(load(kept, at.OWN_ALLOCATE), load(kept, at.OWN_CONTEXT), size + at.BESIDE_BLOCK)
    if own == 0:
        release(kept, 0, 0)
        own = call(load(kept, at.OWN_ALLOCATE), load(kept, at.OWN_CONTEXT), size + at.BESIDE_BLOCK)
    return block_in(own, size, 0)


def block_in(own: int, size: int, c: int) -> int:
    """The block in what NumPy has given: it begins a line of cache, as streaming stores want it."""
    if own == 0:
        return 0
    block = (own + at.BESIDE_BLOCK - 1) & -at.LINE_BYTES
    store(block, -1, own)
    store(block, -2, size)
    return block


def allocate_zeros(kept: int, count: int, nbytes: int) -> int:
    """void *calloc(void *context, size_t nelem, size_t elsize)."""
    size = rounded(count * nbytes, 0, 0)
    return block_in(call(load(kept, at.OWN_ZEROS), load(kept, at.OWN_CONTEXT), size + at.BESIDE_BLOCK, 1), size, 0)


def reallocate(kept: int, block: int, nbytes: int) -> int:
    """void *realloc(void *context, void *ptr, size_t new_size)."""
    new = allocate(kept, nbytes, 0)
    if new:
        size = load(block, -2)
        if nbytes < size:
            copy(new, block, nbytes)
        else:
            copy(new, block, size)
        free(kept, block, size)
    return new


def free(kept: int, block: int, nbytes: int) -> int:
    """void free(void *context, void *ptr, size_t size): keep a large block; the oldest go where there are too many."""
    size = rounded(nbytes, 0, 0)
    if size < at.LARGE_BYTES or size > load(kept, at.MOST_BYTES):
        return discard(kept, block, size)
    while load(kept, at.KEPT) == at.MOST_KEPT or load(kept, at.KEPT_BYTES) + size > load(kept, at.MOST_BYTES):
        drop_oldest(kept, 0, 0)
    row = kept + 8 * (at.KEPT_HEAD + at.KEPT_ROW * load(kept, at.KEPT))
    store(row, at.BLOCK, block)
    store(row, at.BLOCK_BYTES, size)
    store(kept, at.KEPT, load(kept, at.KEPT) + 1)
    store(kept, at.KEPT_BYTES, load(kept, at.KEPT_BYTES) + size)
    return 0


def release(kept: int, b: int, c: int) -> int:
    """Give all blocks back to NumPy."""
    while load(kept, at.KEPT):
        drop_oldest(kept, 0, 0)
    return 0


def drop_oldest(kept: int, b: int, c: int) -> int:
    size = load(kept, at.KEPT_HEAD + at.BLOCK_BYTES)
    return discard(kept, taken(kept, 0, 0), size)


def discard(kept: int, block: int, size: int) -> int:
    call(load(kept, at.OWN_FREE), load(kept, at.OWN_CONTEXT), load(block, -1), size + at.BESIDE_BLOCK)
    return 0


def taken(kept: int, k: int, c: int) -> int:
    """Block k, which is free no more."""
    row = kept + 8 * (at.KEPT_HEAD + at.KEPT_ROW * k)
    block = load(row, at.BLOCK)
    store(kept, at.KEPT, load(kept, at.KEPT) - 1)
    store(kept, at.KEPT_BYTES, load(kept, at.KEPT_BYTES) - load(row, at.BLOCK_BYTES))
    for _ in range(k, load(kept, at.KEPT)):
        store(row, at.BLOCK, load(row, at.KEPT_ROW + at.BLOCK))
        store(row, at.BLOCK_BYTES, load(row, at.KEPT_ROW + at.BLOCK_BYTES))
        row += 8 * at.KEPT_ROW
    return block
