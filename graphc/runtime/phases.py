"""The run of a program: chunks of phases in their order, loops and choices between them, and what may end it early.

This file is text for graphc.runtime.backend, as graphc.runtime.driver is.
"""

from __future__ import annotations

from graphc.runtime import layout as at
from graphc.runtime.region import allowed, alone, share
from graphc.runtime.words import call, load, load8, stack, store


def execute(D: int, frame: int, times: int) -> int:
    """Every chunk of every phase, in order; stops where a check fails.  Returns the status.

    `times` is 0, or where to note how long each phase takes, and how often it runs.
    """
    watch = stack(at.WATCH)
    start(watch, frame, 0)
    status = every_phase(D, frame, times, watch)
    end(D, watch, 0)
    return status


def start(watch: int, frame: int, c: int) -> int:
    """Begin to watch a run, in a frame that may tell of a failure of the last one."""
    store(frame, at.STATUS, 0)
    store(frame, at.FAILED, 0)
    store(watch, at.TESTS_LEFT, 1)
    store(watch, at.TESTS, 1)
    store(watch, at.LOOKED, 0)
    store(watch, at.WAY, at.UNSEEN)
    return store(watch, at.SINCE, 0)


def every_phase(D: int, frame: int, times: int, watch: int) -> int:
    """The same with what watches it."""
    kernels = load(D, at.KERNELS)
    chunks = load(D, at.CHUNKS_AT)
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
                apart_or_together(D, kernel, frame, row, -count, watch)
            else:
                alone(kernel, frame, row, count)
            if load(frame, at.STATUS):
                return load(frame, at.STATUS)
            phase += 1
        if times:
            note(D, times, ran)
    return 0


def apart_or_together(D: int, kernel: int, frame: int, row: int, chunks: int, watch: int) -> int:
    """Run every chunk of a phase, by all threads; if it is brief, only where that proves faster."""
    if chunks < at.BRIEF:
        return share(D, kernel, frame, row, chunks)
    if load(watch, at.WAY) == at.UNSEEN:
        choose(D, watch, 0)
    if load(watch, at.WAY) == at.TOGETHER:
        return share(D, kernel, frame, row, chunks - at.BRIEF)
    return alone(kernel, frame, row, chunks - at.BRIEF)


def choose(D: int, watch: int, c: int) -> int:
    """Choose how a run deals with its brief phases.

    How far processors are from one another, how soon a call follows the last one, and who else wants the processors,
    decide whether the microseconds that threads save are more than those until they have met.  So some runs are timed
    either way now and then, and the others do what took less time: often at first, when a process may do much else, and
    after a choice unlike the last one, which something else that ran meanwhile may have made.
    """
    if allowed(D, 0, 0) < 2:
        return store(watch, at.WAY, at.APART)
    run = load(D, at.CYCLED)
    store(D, at.CYCLED, run + 1)
    if run + 1 >= load(D, at.CYCLE):
        store(D, at.CYCLED, 0)
        if load(D, at.CYCLE) < at.LONG_CYCLE:
            store(D, at.CYCLE, 2 * load(D, at.CYCLE))
    if run == 0:
        store(D, at.TIME_APART, 0)
        store(D, at.TIME_TOGETHER, 0)
    way = at.APART
    if run < at.TRIAL:
        way = at.TOGETHER
    if run >= 2 * at.TRIAL and load(D, at.TIME_TOGETHER) < load(D, at.TIME_APART):
        way = at.TOGETHER
    if run == 2 * at.TRIAL and way != load(D, at.CHOSEN):
        store(D, at.CHOSEN, way)
        store(D, at.CYCLE, at.SHORT_CYCLE)
    if run < 2 * at.TRIAL and run & (at.TRIAL - 1) >= at.WARM:
        store(watch, at.SINCE, clock(D))
    return store(watch, at.WAY, way)


def end(D: int, watch: int, c: int) -> int:
    """Note how long a run took, if it is one of those that are timed."""
    if load(watch, at.SINCE):
        spent = at.TIME_APART + load(watch, at.WAY)
        store(D, spent, load(D, spent) + clock(D) - load(watch, at.SINCE))
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
