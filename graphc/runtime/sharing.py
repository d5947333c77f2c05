"""What calls share, changed by compiled code alone: guards of parameters, pools of workspaces, tables of shapes.

This file is text for graphc.runtime.native, as graphc.runtime.driver is.  Each function looks and changes while it
holds the GIL, and no Python runs before it returns: neither another thread nor what interrupts its own finds anything
half done.  Pools and tables own array objects by their reference counts.
"""

from __future__ import annotations

from graphc import state
from graphc.runtime import layout as at
from graphc.runtime.words import call, copy, load, store


def may(guard: int, writes: int, claim: int) -> int:
    """Whether it is this claim's turn; if a call holds the guard, the claim is noted, unless an older one waits."""
    now = load(claim, state.NOW)
    wanted = load(guard, state.WANTED)
    if wanted != 0 and wanted < load(claim, state.NUMBER) and now < load(guard, state.UNTIL):
        return 0
    holders = load(guard, state.HOLDERS)
    if holders < 0 or (holders > 0 and writes):
        store(guard, state.WANTED, load(claim, state.NUMBER))
        store(guard, state.UNTIL, now + state.LEASE)
        return 0
    return 1


def move(guard: int, claim: int, c: int) -> int:
    """Copy to or from a parameter in turn; 0 if it is not our turn."""
    if may(guard, load(claim, state.WRITING), claim) == 0:
        return 0
    store(guard, state.WANTED, 0)
    copy(load(claim, state.TO), load(claim, state.SOURCE), load(claim, state.NBYTES))
    return 1


def enter_guards(D: int, claim: int, c: int) -> int:
    """Take the guards of all parameters of a function, or none; 0 if it is not our turn."""
    first = at.TABLE + at.ROW * (load(D, at.INPUTS) + load(D, at.OUTPUTS))
    ours = 1
    row = first
    for _ in range(load(D, at.PARAMETERS)):
        if may(load(D, row + at.GUARD), load(D, row + at.WRITES), claim) == 0:
            ours = 0
        row += at.ROW
    if ours == 0:
        return 0
    row = first
    for _ in range(load(D, at.PARAMETERS)):
        store(load(D, row + at.GUARD), state.WANTED, 0)
        row += at.ROW
    hold(D, 1, 0)
    return 1


def hold(D: int, sign: int, c: int) -> int:
    """Take (1) or leave (-1) the guards: a reader adds 1, a writer takes 1 away."""
    row = at.TABLE + at.ROW * (load(D, at.INPUTS) + load(D, at.OUTPUTS))
    for _ in range(load(D, at.PARAMETERS)):
        guard = load(D, row + at.GUARD)
        store(guard, state.HOLDERS, load(guard, state.HOLDERS) + sign * (1 - 2 * load(D, row + at.WRITES)))
        row += at.ROW
    return 0


def give(pool: int, frame: int, c: int) -> int:
    """Put a workspace that the pool owns back among the free ones."""
    free = load(pool, 0) + 1
    store(pool, free, frame)
    store(pool, 0, free)
    return 0


def offer(pool: int, frame: int, c: int) -> int:
    """Let the pool own a workspace, unless it owns as many as it can."""
    owned = load(pool, at.OWNED)
    if owned < at.MOST_WORKSPACES:
        call(load(load(pool, at.POOL_API), at.INCREF), load(frame, at.FRAME_OWNER))
        store(pool, at.OWNED, owned + 1)
        store(pool, at.POOL_BYTES, load(pool, at.POOL_BYTES) + load(frame, at.CAPACITY))
        give(pool, frame, 0)
    return 0


def take(pool: int, nbytes: int, c: int) -> int:
    """A free workspace of at least `nbytes` as a new reference, or NotImplemented; smaller ones before it are freed."""
    api = load(pool, at.POOL_API)
    while load(pool, 0) > 0:
        free = load(pool, 0)
        frame = load(pool, free)
        capacity = load(frame, at.CAPACITY)
        store(pool, 0, free - 1)
        store(pool, at.OWNED, load(pool, at.OWNED) - 1)
        store(pool, at.POOL_BYTES, load(pool, at.POOL_BYTES) - capacity)
        if capacity >= nbytes:
            return load(frame, at.FRAME_OWNER)
        call(load(api, at.DECREF), load(frame, at.FRAME_OWNER))
    call(load(api, at.INCREF), load(api, at.REFUSAL))
    return load(api, at.REFUSAL)


def disown(pool: int, b: int, c: int) -> int:
    """In a forked child: only what is free is owned, the rest was in use by threads that are gone."""
    store(pool, at.OWNED, load(pool, 0))
    store(pool, at.POOL_BYTES, 0)
    for k in range(1, load(pool, 0) + 1):
        store(pool, at.POOL_BYTES, load(pool, at.POOL_BYTES) + load(load(pool, k), at.CAPACITY))
    return 0


def remember(shapes: int, shape: int, c: int) -> int:
    """Put a shape in front if it is new; returns the one that had to go, or 0."""
    known = load(shapes, 0)
    for k in range(1, known + 1):
        if load(shapes, k) == shape:
            return 0
    api = load(shapes, at.SHAPES_API)
    call(load(api, at.INCREF), load(shape, at.SHAPE_OWNER))
    gone = 0
    if known == at.MOST_SHAPES:
        gone = load(shapes, known)
    else:
        known += 1
        store(shapes, 0, known)
    for k in range(known, 1, -1):
        store(shapes, k, load(shapes, k - 1))
    store(shapes, 1, shape)
    if gone:
        call(load(api, at.DECREF), load(gone, at.SHAPE_OWNER))
    return gone


def forget(shapes: int, b: int, c: int) -> int:
    """Let go of every shape."""
    known = load(shapes, 0)
    store(shapes, 0, 0)
    for k in range(1, known + 1):
        call(load(load(shapes, at.SHAPES_API), at.DECREF), load(load(shapes, k), at.SHAPE_OWNER))
    return 0
