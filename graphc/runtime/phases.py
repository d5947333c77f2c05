"""The run of a program: chunks of phases in their order, loops and choices between them, and what may end it early.

This file is text for graphc.runtime.backend, as graphc.runtime.driver is.
"""

from __future__ import annotations

from graphc.runtime import layout as at
from graphc.runtime.region import alone, share
from graphc.runtime.words import call, load, load8, stack, store


def execute(D: int, frame: int, times: int) -> int:
    """Every chunk of every phase, in order; stops where a check fails.  Returns the status.

    `times` is 0, or where to note how long each phase takes, and how often it runs.
    """
    kernels = load(D, at.KERNELS)
    chunks = load(D, at.CHUNKS_AT)
    store(frame, at.STATUS, 0)
    store(frame, at.FAILED, 0)
    watch = stack(at.WATCH)
    store(watch, at.TESTS_LEFT, 1)
    store(watch, at.TESTS, 1)
    store(watch, at.LOOKED, 0)
    phase = 0
    phases = load(D, at.PHASES)
    if times:
        note(D, times, phases)
    while phase < phases:
        ran = phase
        kernel = load(kernels, 2 * phase)
        row = frame + load(kernels, 2 * phase + 1)
        count = load(frame, chunks + phase)
        if kernel < 0 and count:
            stop = 0
            if kernel == at.TEST:
                stop = interrupted(D, watch, 0)
            if stop:
                store(frame, at.STATUS, at.INTERRUPTED)
                return at.INTERRUPTED
            phase = next_phase(frame, row, kernel, phase)
        else:
            if count < 0:
                share(D, kernel, frame, row, -count)
            else:
                alone(kernel, frame, row, count)
            if load(frame, at.STATUS):
                return load(frame, at.STATUS)
            phase += 1
        if times:
            note(D, times, ran)
    return 0


def note(D: int, times: int, phase: int) -> int:
    """Count a run of a phase, and the nanoseconds since the last note; the row behind the last phase is nobody's."""
    now = clock(D)
    row = times + 8 * (at.FIRST_TIME + at.TIME_ROW * phase)
    store(row, at.NANOSECONDS, load(row, at.NANOSECONDS) + now - load(times, at.LAST_TIME))
    store(row, at.RUNS, load(row, at.RUNS) + 1)
    store(times, at.LAST_TIME, clock(D))
    return 0


def clock(D: int) -> int:
    """Nanoseconds from some moment."""
    time = stack(2)
    call(load(load(D, at.API), at.CLOCK), at.MONOTONIC, time)
    return load(time, 0) * 1000000000 + load(time, 1)


def interrupted(D: int, watch: int, c: int) -> int:
    """Whether the user wants a while loop to end; it is asked now and then, for which the GIL is taken."""
    left = load(watch, at.TESTS_LEFT) - 1
    store(watch, at.TESTS_LEFT, left)
    if left > 0:
        return 0
    api = load(D, at.API)
    now = clock(D)
    tests = load(watch, at.TESTS)
    if load(watch, at.LOOKED) == 0:
        store(watch, at.LOOKED, now)
    since = now - load(watch, at.LOOKED)
    if since < at.SOON:
        store(watch, at.TESTS, 2 * tests)
        store(watch, at.TESTS_LEFT, tests)
        return 0
    store(watch, at.LOOKED, now)
    if since > at.LATE:
        tests = 1
    store(watch, at.TESTS, tests)
    store(watch, at.TESTS_LEFT, tests)
    held = call(load(api, at.TAKE_GIL))
    found = call(load(api, at.INTERRUPT)) & 1
    call(load(api, at.LEAVE_GIL), held)
    return found


def next_phase(frame: int, row: int, control: int, phase: int) -> int:
    """Where to go on after a control phase."""
    if control == at.LOOP_END:
        counter = frame + 8 * load(row, at.COUNTER)
        left = load(counter, 1) - 1
        if left == 0:
            return phase + 1
        store(counter, 1, left)
        point(frame, row, counter, load(counter, 0) + 1 - 2 * load(row, at.REVERSE))
        return load(row, at.FIRST_PHASE)
    if control == at.LOOP_BEGIN:
        trip = load(row, at.TRIP)
        if trip <= 0:
            return load(row, at.AFTER)
        counter = frame + 8 * load(row, at.COUNTER)
        store(counter, 1, trip)
        store(frame, load(row, at.POSITION_AT), counter)
        point(frame, row, counter, load(row, at.REVERSE) * (trip - 1))
        return phase + 1
    if control == at.TEST:
        counter = frame + 8 * load(row, 2)
        left = load(counter, 1)
        if left != 0 and load8(load(frame, load(row, 0))):
            store(counter, 0, load(counter, 0) + 1)
            store(counter, 1, left - 1)
            return phase + 1
        return load(row, 1)
    if control == at.BOUND:
        counter = frame + 8 * load(row, 0)
        store(counter, 0, 0)
        store(counter, 1, load(row, 1))
        store(frame, load(row, 2), counter)
        return phase + 1
    if control == at.GO:
        return load(row, 0)
    branch = load(load(frame, load(row, 0)), 0)
    if branch < 0:
        branch = 0
    if branch >= load(row, 1):
        branch = load(row, 1) - 1
    return load(row, 2 + branch)


def point(frame: int, row: int, counter: int, position: int) -> int:
    """Go to a position of a loop: the addresses of its rows move."""
    store(counter, 0, position)
    moved = row + 8 * at.ROWS
    for _ in range(load(row, at.MOVED)):
        start = load(frame, load(moved, at.ROW_OF))
        store(frame, load(moved, at.ROW_WORD), start + position * load(moved, at.ROW_STEP))
        moved += 8 * at.ROW_WORDS
    return 0
