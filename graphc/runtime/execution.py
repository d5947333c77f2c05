"""The run of a compiled function with the GIL or without, and runs of many steps.

This file is text for graphc.runtime.backend, as graphc.runtime.driver is.
"""

from __future__ import annotations

from graphc.runtime import layout as at
from graphc.runtime.phases import choose, end, every_phase, execute, start
from graphc.runtime.region import share
from graphc.runtime.sharing import enter_guards, hold
from graphc.runtime.words import call, copy, load, stack, store


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


def steps(R: int, b: int, c: int) -> int:
    """Steps from R[STEP] to R[END]; stops at the first that fails.  Returns its status, or 0."""
    D = load(R, at.DESCRIPTOR)
    watch = stack(at.WATCH)
    while load(R, at.STEP) < load(R, at.END):
        frame = load(R, at.FULL)
        rows = load(R, at.BATCH)
        if load(R, at.STEP) == load(R, at.TAIL_STEP):
            frame = load(R, at.TAIL)
            rows = load(R, at.REST)
        start(watch, frame, 0)
        if load(R, at.IS_BRIEF):
            choose(D, watch, 0)
        place(R, frame, rows, load(watch, at.WAY))
        status = every_phase(D, frame, 0, watch)
        end(D, watch, 0)
        if status:
            return status
        store(R, at.STEP, load(R, at.STEP) + 1)
    return 0


def place(R: int, frame: int, rows: int, way: int) -> int:
    """Point the frame at this step's slices of the inputs and at its places in the outputs."""
    first = load(R, at.STEP) * load(R, at.BATCH)
    order = load(R, at.ORDER)
    row = R + 8 * at.RUN_HEAD
    for _ in range(load(R, at.SLICED)):
        address = load(row, at.BASE) + first * load(row, at.STRIDE)
        if order:
            store(row, at.NUMBERS, order + 8 * first)
            store(row, at.ROWS_GATHERED, rows)
            address = find_rows(R, frame, row, way)
        store(frame, load(row, at.WORD), address)
        row += 8 * at.RUN_ROW
    for _ in range(load(load(R, at.DESCRIPTOR), at.OUTPUTS)):
        store(frame, load(row, at.WORD), load(row, at.BASE) + load(R, at.STEP) * load(row, at.STRIDE))
        row += 8 * at.RUN_ROW
    return 0


def find_rows(R: int, frame: int, row: int, way: int) -> int:
    """Where this step finds the rows of an input that it wants: where they lie, as its list says; or gathered."""
    if load(row, at.LISTED):
        return list_rows(row, 0, 0)
    if way == at.TOGETHER and load(row, at.ROWS_GATHERED) * load(row, at.STRIDE) >= at.HALVED:
        share(load(R, at.DESCRIPTOR), load(R, at.GATHER), frame, row, 2)
    else:
        copy_rows(row, 0, load(row, at.STRIDE))
    return load(row, at.GATHERED)


def list_rows(row: int, b: int, c: int) -> int:
    """Say how many bytes from the first of all rows each one is that is wanted; the address of the first of all."""
    numbers = load(row, at.NUMBERS)
    listed = load(row, at.GATHERED)
    for k in range(load(row, at.ROWS_GATHERED)):
        store(listed, k, load(numbers, k) * load(row, at.STRIDE))
    return load(row, at.BASE)


def gather(frame: int, row: int, half: int) -> int:
    """A chunk of what a step gathers: each row's first or second half, as products cut a sum along the rows."""
    nbytes = load(row, at.STRIDE)
    middle = (nbytes // 2 + at.LINE_BYTES - 1) // at.LINE_BYTES * at.LINE_BYTES
    if middle > nbytes:
        middle = nbytes
    if half:
        return copy_rows(row, middle, nbytes)
    return copy_rows(row, 0, middle)


def copy_rows(row: int, begin: int, end: int) -> int:
    """Copy these bytes of each row that is wanted to the place for gathered rows."""
    nbytes = load(row, at.STRIDE)
    numbers = load(row, at.NUMBERS)
    for k in range(load(row, at.ROWS_GATHERED)):
        source = load(row, at.BASE) + load(numbers, k) * nbytes + begin
        copy(load(row, at.GATHERED) + k * nbytes + begin, source, end - begin)
    return 0
