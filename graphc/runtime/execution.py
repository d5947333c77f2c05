"""The run of a compiled function's phases, and runs of many steps.

This file is text for graphc.runtime.backend, as graphc.runtime.driver is.
"""

from __future__ import annotations

from graphc.runtime import layout as at
from graphc.runtime.region import alone, share
from graphc.runtime.sharing import enter_guards, hold
from graphc.runtime.words import call, copy, load, load8, store


def run(D: int, frame: int, releases: int) -> int:
    """Run the program; a long one lets other threads run meanwhile and holds the parameters against them."""
    if releases == 0:
        return execute(D, frame, 0)
    hold(D, 1, 0)
    return run_held(D, frame, 0)


def run_held(D: int, frame: int, c: int) -> int:
    """Run the program without the GIL, and leave the guards, which are taken."""
    api = load(D, at.API)
    thread = call(load(api, at.SAVE_THREAD))
    status = execute(D, frame, 0)
    call(load(api, at.RESTORE_THREAD), thread)
    hold(D, -1, 0)
    return status


def execute_in_turn(D: int, frame: int, claim: int) -> int:
    """The status of a run that lets other threads run meanwhile, or -1 if it is not its turn."""
    if enter_guards(D, claim, 0) == 0:
        return -1
    return run_held(D, frame, 0)


def steps_in_turn(R: int, b: int, claim: int) -> int:
    """The status of the steps of a run, or -1 if it is not their turn."""
    D = load(R, at.DESCRIPTOR)
    if enter_guards(D, claim, 0) == 0:
        return -1
    thread = call(load(load(D, at.API), at.SAVE_THREAD))
    status = steps(R, 0, 0)
    call(load(load(D, at.API), at.RESTORE_THREAD), thread)
    hold(D, -1, 0)
    return status


def execute(D: int, frame: int, c: int) -> int:
    """Every chunk of every phase, in order; stops where a check fails.  Returns the status."""
    kernels = load(D, at.KERNELS)
    chunks = load(D, at.CHUNKS_AT)
    store(frame, at.STATUS, 0)
    store(frame, at.FAILED, 0)
    phase = 0
    phases = load(D, at.PHASES)
    while phase < phases:
        kernel = load(kernels, 2 * phase)
        row = frame + load(kernels, 2 * phase + 1)
        count = load(frame, chunks + phase)
        if kernel < 0 and count:
            phase = next_phase(frame, row, kernel, phase)
        else:
            if count < 0:
                share(D, kernel, frame, row, -count)
            else:
                alone(kernel, frame, row, count)
            if load(frame, at.STATUS):
                return load(frame, at.STATUS)
            phase += 1
    return 0


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


def steps(R: int, b: int, c: int) -> int:
    """Steps from R[STEP] to R[END]; stops at the first that fails.  Returns its status, or 0."""
    while load(R, at.STEP) < load(R, at.END):
        frame = load(R, at.FULL)
        rows = load(R, at.BATCH)
        if load(R, at.STEP) == load(R, at.TAIL_STEP):
            frame = load(R, at.TAIL)
            rows = load(R, at.REST)
        place(R, frame, rows)
        status = execute(load(R, at.DESCRIPTOR), frame, 0)
        if status:
            return status
        store(R, at.STEP, load(R, at.STEP) + 1)
    return 0


def place(R: int, frame: int, rows: int) -> int:
    """Point the frame at this step's slices of the inputs and at its places in the outputs."""
    first = load(R, at.STEP) * load(R, at.BATCH)
    order = load(R, at.ORDER)
    row = R + 8 * at.RUN_HEAD
    for _ in range(load(R, at.SLICED)):
        address = load(row, at.BASE) + first * load(row, at.STRIDE)
        if order:
            address = load(row, at.GATHERED)
            gather(row, order + 8 * first, rows)
        store(frame, load(row, at.WORD), address)
        row += 8 * at.RUN_ROW
    for _ in range(load(load(R, at.DESCRIPTOR), at.OUTPUTS)):
        store(frame, load(row, at.WORD), load(row, at.BASE) + load(R, at.STEP) * load(row, at.STRIDE))
        row += 8 * at.RUN_ROW
    return 0


def gather(row: int, order: int, rows: int) -> int:
    """Copy the rows that `order` names to the place for gathered rows."""
    nbytes = load(row, at.STRIDE)
    for k in range(rows):
        copy(load(row, at.GATHERED) + k * nbytes, load(row, at.BASE) + load(order, k) * nbytes, nbytes)
    return 0
