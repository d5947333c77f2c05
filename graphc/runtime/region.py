"""The parallel region: the chunks of a phase shared out among the threads of a process.

This file is text for graphc.runtime.backend, as graphc.runtime.driver is.  A phase is a list of chunks that is cut by
size, never by the number of threads.  Each thread has a part of them, the same share of every phase, since what it has
written in one lies in its cache in the next; who is through with his own helps the others.  A chunk is claimed by
taking one from a part's ticket, which holds the number of the phase and how many chunks are left.  Who has claimed a
chunk finds what to do in the region's words: they change only when every chunk is done.  Workers that find nothing to
do spin for a while, then sleep.
"""

from __future__ import annotations

from graphc.runtime import layout as at
from graphc.runtime.words import add_at, call, exchange, exchange_if, load, load_at, pause, stack, store, store_at

LEFT = 0xFFFFFFFF  # the ticket's part that counts chunks; above it stands the number of the phase
NEXT_PHASE = 0x100000000
MOST_PHASES = 0x7FFFFFFF
SPINS = 1000  # some tens of microseconds, after which who waits for a worker lets others run
IDLE_SPINS = 5000  # some hundred, after which a worker sleeps: longer than what a caller does alone between two phases
MOST_PROCESSORS = 1024  # bits of the mask of those that a thread may use
# Of futex: FUTEX_WAIT_BITSET_PRIVATE, FUTEX_WAKE_BITSET_PRIVATE, every sleeper, and how many kinds of them there are.
WAIT, WAKE, ALL, KINDS = 137, 138, 0x7FFFFFFF, 32


def share(D: int, kernel: int, frame: int, row: int, chunks: int) -> int:
    """Run every chunk of a phase, by as many threads as may; alone where the region is taken, or nobody is there."""
    R = load(D, at.REGION)
    limit = allowed(D, 0, 0)
    if limit < 2 or chunks > LEFT:
        return alone(kernel, frame, row, chunks)
    if exchange_if(R + 8 * at.TAKEN, 0, 1) == 0:
        return alone(kernel, frame, row, chunks)
    store(R, at.KERNEL, kernel)
    store(R, at.FRAME, frame)
    store(R, at.KERNEL_ROW, row)
    store(R, at.LIMIT, limit)
    store_at(R + 8 * at.DONE, 0)
    number = (load(R, at.PHASE_NUMBER) + 1) & MOST_PHASES
    store(R, at.PHASE_NUMBER, number)
    publish(R, number, chunks)
    add_at(R + 8 * at.GATE, 1)
    if load_at(R + 8 * at.SLEEPING):
        wake(R, sleepers(R))
    served = 1
    while served:
        served = serve(R, 0, 0)
    spins = 0
    while load_at(R + 8 * at.DONE) < chunks:
        pause()
        spins += 1
        if spins > SPINS:  # a worker has a chunk and no processor
            call(load(R, at.YIELD))
    exchange(R + 8 * at.TAKEN, 0)
    return load(frame, at.STATUS)


def allowed(D: int, b: int, c: int) -> int:
    """How many threads may share a phase of this function; 1 where there are no workers."""
    R = load(D, at.REGION)
    limit = load(R, at.MOST_THREADS)
    if load(D, at.THREADS) != 0 and load(D, at.THREADS) < limit:
        limit = load(D, at.THREADS)
    if load(R, at.WORKERS) == 0:
        limit = 1
    return limit


def publish(R: int, number: int, chunks: int) -> int:
    """Give each thread its part of the chunks of a phase."""
    limit = load(R, at.LIMIT)
    end = 0
    part = R + 8 * at.PARTS
    for thread in range(limit):
        begin = end
        end = (thread + 1) * chunks // limit
        store(part, at.PART_END, end)
        store_at(part + 8 * at.TICKET, number * NEXT_PHASE + end - begin)
        part += 8 * at.PART_WORDS
    return 0


def alone(kernel: int, frame: int, row: int, chunks: int) -> int:
    """Run every chunk of a phase in order; stops where a check fails."""
    for chunk in range(chunks):
        call(kernel, frame, row, chunk, 0)
        if load(frame, at.STATUS):
            return load(frame, at.STATUS)
    return 0


def serve(R: int, index: int, c: int) -> int:
    """Claim a chunk for the thread of this index, of its own part or else of the next that has one, and run it.

    Returns 0 if none is left.  One that comes after a chunk that failed is passed over.
    """
    part = unfinished(R, index, 0)
    if part == 0:
        return 0
    ticket = load_at(part + 8 * at.TICKET)
    left = ticket & LEFT
    if left == 0:
        return 1
    if exchange_if(part + 8 * at.TICKET, ticket, ticket - 1):
        frame = load(R, at.FRAME)
        chunk = load(part, at.PART_END) - left
        failed = load_at(frame + 8 * at.FAILED)
        if failed <= 0 or chunk < failed:
            call(load(R, at.KERNEL), frame, load(R, at.KERNEL_ROW), chunk, index)
        add_at(R + 8 * at.DONE, 1)
    return 1


def unfinished(R: int, index: int, c: int) -> int:
    """The part with chunks left that comes first from the one of this index on; 0 if there is none.

    Others are helped with no phase but that of the thread's own part: while parts are being published, it would find
    theirs before its own, and each would do what the other has in its cache.
    """
    limit = load(R, at.LIMIT)
    own = load_at(R + 8 * (at.PARTS + at.PART_WORDS * index + at.TICKET))
    number = own - (own & LEFT)
    thread = index
    for _ in range(limit):
        part = R + 8 * (at.PARTS + at.PART_WORDS * thread)
        ticket = load_at(part + 8 * at.TICKET)
        if ticket & LEFT and ticket - (ticket & LEFT) == number:
            return part
        thread += 1
        if thread >= limit:
            thread = 0
    return 0


def work(R: int, index: int, c: int) -> int:
    """What a worker does until the region is closed; the caller of a phase has index 0."""
    idle = 0
    while load_at(R + 8 * at.CLOSED) == 0:
        set_free(R, R + 8 * (at.PARTS + at.PART_WORDS * index))
        served = 0
        if index < load(R, at.LIMIT):
            served = serve(R, index, 0)
        if served:
            idle = 0
        else:
            pause()
            idle += 1
            if idle > IDLE_SPINS:
                sleep(R, index, 0)
                idle = 0
    return 0


def sleep(R: int, index: int, c: int) -> int:
    """Wait for the gate to move, unless it has, since whoever moves it looks for sleepers afterwards."""
    part = R + 8 * (at.PARTS + at.PART_WORDS * index)
    store(part, at.CALLED, 0)
    store_at(part + 8 * at.RAN_AT, processor(R) + 1)
    add_at(R + 8 * at.SLEEPING, 1)
    gate = load_at(R + 8 * at.GATE)
    busy = load_at(R + 8 * at.CLOSED)
    if index < load(R, at.LIMIT):
        busy = busy + unfinished(R, index, 0)
    if busy == 0:
        call(load(R, at.SYSCALL), load(R, at.FUTEX), R + 8 * at.GATE, WAIT, gate & LEFT, 0, 0, kind_of(index))
    add_at(R + 8 * at.SLEEPING, -1)
    store_at(part + 8 * at.RAN_AT, 0)
    return 0


def set_free(R: int, part: int) -> int:
    """Let this thread run on all processors again, even if it was kept from one when it was awake already."""
    kept_from = load_at(part + 8 * at.KEPT_FROM)
    if kept_from:
        confine(R, 0, kept_from - 1, 1)
        store_at(part + 8 * at.KEPT_FROM, 0)
    return 0


def processor(R: int) -> int:
    """The number of the processor that this thread runs on."""
    return call(load(R, at.GET_PROCESSOR)) & LEFT


def sleepers(R: int) -> int:
    """The kinds of the workers that sleep and may share the phase; they are kept from the caller's processor.

    That is, until they are awake, those that would wake up there.  Where processors have been busy, Linux looks for an
    idle one only where a thread ran last and where it is woken.  A worker on the caller's processor waits until the
    caller's time is up, or the caller for one that waits for work.
    """
    here = processor(R)
    kinds = 0
    index = 1
    part = R + 8 * (at.PARTS + at.PART_WORDS)
    while index < load(R, at.LIMIT):
        ran_at = load_at(part + 8 * at.RAN_AT)
        if ran_at:
            kinds = kinds | kind_of(index)
            if index < load(R, at.PROCESSORS) and (ran_at == here + 1 or load(part, at.CALLED)):
                keep_from(R, part, here)
            store(part, at.CALLED, 1)
        index += 1
        part += 8 * at.PART_WORDS
    return kinds


def keep_from(R: int, part: int, place: int) -> int:
    """Keep a sleeper from a processor until it is awake, unless it is kept from one already."""
    if load_at(part + 8 * at.KEPT_FROM) == 0 and confine(R, load(part, at.THREAD), place, 0):
        store_at(part + 8 * at.KEPT_FROM, place + 1)  # afterwards, so that it is always given back
    return 0


def wake(R: int, kinds: int) -> int:
    """Wake the workers of these kinds."""
    if kinds == 0:
        return 0
    return call(load(R, at.SYSCALL), load(R, at.FUTEX), R + 8 * at.GATE, WAKE, ALL, 0, 0, kinds)


def kind_of(index: int) -> int:
    """The bit by which a worker is woken."""
    return power_of_two(index - index // KINDS * KINDS)


def power_of_two(n: int) -> int:
    """2^n."""
    power = 1
    for _ in range(n):
        power += power
    return power


def confine(R: int, thread: int, place: int, allowed: int) -> int:
    """Say whether a thread (0: this one) may use a processor; returns whether that is new.

    It is as before if the thread would have none.
    """
    if place >= MOST_PROCESSORS:
        return 0
    mask = stack(MOST_PROCESSORS // 64)
    if call(load(R, at.GET_AFFINITY), thread, MOST_PROCESSORS // 8, mask) & LEFT:
        return 0
    bit = power_of_two(place - place // 64 * 64)
    before = load(mask, place // 64)
    after = before - (before & bit) + allowed * bit
    if after == before:
        return 0
    store(mask, place // 64, after)
    return 1 - (call(load(R, at.SET_AFFINITY), thread, MOST_PROCESSORS // 8, mask) & 1)


def close(R: int, b: int, c: int) -> int:
    """Have every worker return."""
    store_at(R + 8 * at.CLOSED, 1)
    add_at(R + 8 * at.GATE, 1)
    wake(R, LEFT)
    return 0
