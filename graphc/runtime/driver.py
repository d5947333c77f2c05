"""The compiled driver: the way into a compiled function, and runs of many steps.

This file is text for graphc.runtime.native, never called as Python: every function takes and returns int64 values,
most of them addresses of blocks of words, which graphc.runtime.layout describes.  `entry` is a CPython builtin of
kind METH_FASTCALL; whatever is unusual it refuses, and Python's slow path converts, explains or waits.  The GIL is
the lock of pool, shapes and guards: nothing here lets go of it between a look and a change.
"""

from __future__ import annotations

from graphc import state
from graphc.codegen.program import HEADER_WORDS
from graphc.runtime import layout as at
from graphc.runtime.phases import execute
from graphc.runtime.sharing import enter_guards, give, hold
from graphc.runtime.words import call, copy, load, load32, stack, store


def entry(self: int, args: int, nargs: int) -> int:
    """PyObject *entry(PyObject *self, PyObject *const *args, Py_ssize_t nargs), where `self` is the descriptor."""
    D = load(self + at.ARRAY_DATA, 0)
    inputs = load(D, at.INPUTS)
    if nargs != inputs + load(D, at.GIVEN) * load(D, at.OUTPUTS):
        return refuse(D, 0, 0)
    if accepts(D, args, nargs) == 0:
        return refuse(D, 0, 0)
    arrays = stack(nargs + 1)
    result = 0
    if borrow(D, args, arrays):
        result = answer(D, args, arrays)
    for k in range(inputs):
        array = load(arrays, k)
        if array != load(args, k) and array != 0:
            call(load(load(D, at.API), at.DECREF), array)
    return result


def refuse(D: int, b: int, c: int) -> int:
    api = load(D, at.API)
    call(load(api, at.INCREF), load(api, at.REFUSAL))
    return load(api, at.REFUSAL)


def accepts(D: int, args: int, nargs: int) -> int:
    """Whether each argument is an array of the declared dtype and rank, and given outputs can be written in place."""
    ndarray = load(load(D, at.API), at.NDARRAY)
    writable = at.IN_PLACE | at.WRITEABLE
    inputs = load(D, at.INPUTS)
    for k in range(nargs):
        array = load(args, k)
        row = at.TABLE + at.ROW * k
        if load(array + at.OBJECT_TYPE, 0) != ndarray:
            return 0
        if load(array + at.ARRAY_DTYPE, 0) != load(D, row + at.DTYPE):
            return 0
        if load32(array + at.ARRAY_NDIM) != load(D, row + at.NDIM):
            return 0
        if k >= inputs and load32(array + at.ARRAY_FLAGS) & writable != writable:
            return 0
    return 1


def borrow(D: int, args: int, arrays: int) -> int:
    """The inputs as arrays that lie in C order, copied where they do not; 0 if there is no memory."""
    made = 1
    for k in range(load(D, at.INPUTS)):
        array = load(args, k)
        if load32(array + at.ARRAY_FLAGS) & at.IN_PLACE != at.IN_PLACE:
            array = 0
            if made:
                array = call(load(load(D, at.API), at.NEW_COPY), load(args, k), 0)
            if array == 0:
                made = 0
        store(arrays, k, array)
    return made


def answer(D: int, args: int, arrays: int) -> int:
    """The result for inputs that lie in place, a refusal, or what failed (bytes)."""
    shape = find(D, arrays, 0)
    frame = 0
    if shape:
        frame = available(D, shape, 0)
    if frame == 0:
        return refuse(D, 0, 0)
    given = load(D, at.GIVEN)
    outputs = load(D, at.OUTPUTS)
    results = args + 8 * load(D, at.INPUTS)
    if given:
        if fit(D, shape, results) == 0:
            return refuse(D, 0, 0)
    else:
        results = stack(outputs + 1)
        if create(D, shape, results) == 0:
            return 0
    pool = load(D, at.POOL)
    store(pool, 0, load(pool, 0) - 1)
    load_shape(D, frame, shape)
    first = HEADER_WORDS + load(D, at.INPUTS)
    for k in range(load(D, at.INPUTS)):
        store(frame, HEADER_WORDS + k, load(load(arrays, k) + at.ARRAY_DATA, 0))
    for k in range(outputs):
        store(frame, first + k, load(load(results, k) + at.ARRAY_DATA, 0))
    if run(D, frame, load(shape, at.RELEASES)):
        if given == 0:
            drop(D, results, outputs)
        return report(D, frame, 0)
    give(pool, frame, 0)
    return wrap(D, results, 0)


def report(D: int, frame: int, c: int) -> int:
    """The words that tell of a failure, copied to a bytes object; the workspace goes back into the pool."""
    failure = call(load(load(D, at.API), at.NEW_BYTES), frame, 8 * at.FAILURE_WORDS)
    give(load(D, at.POOL), frame, 0)
    return failure


def find(D: int, arrays: int, c: int) -> int:
    """The known shape that the arrays have, moved to the front; 0 if it is new."""
    shapes = load(D, at.SHAPES)
    for s in range(1, load(shapes, 0) + 1):
        shape = load(shapes, s)
        if matches(D, arrays, shape):
            for k in range(s, 1, -1):
                store(shapes, k, load(shapes, k - 1))
            store(shapes, 1, shape)
            return shape
    return 0


def matches(D: int, arrays: int, shape: int) -> int:
    known = at.HEAD
    for k in range(load(D, at.INPUTS)):
        dims = load(load(arrays, k) + at.ARRAY_DIMS, 0)
        for i in range(load(D, at.TABLE + at.ROW * k + at.NDIM)):
            if load(dims, i) != load(shape, known):
                return 0
            known += 1
    return 1


def available(D: int, shape: int, c: int) -> int:
    """A free workspace that is large enough, left in the pool; 0 if there is none or another call holds a parameter."""
    pool = load(D, at.POOL)
    free = load(pool, 0)
    if free == 0:
        return 0
    frame = load(pool, free)
    if load(frame, at.CAPACITY) < load(shape, at.NBYTES):
        return 0
    row = at.TABLE + at.ROW * (load(D, at.INPUTS) + load(D, at.OUTPUTS))
    for _ in range(load(D, at.PARAMETERS)):
        guard = load(D, row + at.GUARD)
        holders = load(guard, state.HOLDERS)
        if load(guard, state.WANTED) or holders < 0 or (holders > 0 and load(D, row + at.WRITES)):
            return 0
        row += at.ROW
    return frame


def fit(D: int, shape: int, results: int) -> int:
    """Whether the given outputs have the shapes of the results."""
    expected = at.HEAD + load(D, at.KEY_DIMS)
    row = at.TABLE + at.ROW * load(D, at.INPUTS)
    for k in range(load(D, at.OUTPUTS)):
        dims = load(load(results, k) + at.ARRAY_DIMS, 0)
        for i in range(load(D, row + at.NDIM)):
            if load(dims, i) != load(shape, expected):
                return 0
            expected += 1
        row += at.ROW
    return 1


def create(D: int, shape: int, results: int) -> int:
    """New arrays for the outputs; 0 if there is no memory (and then none is left)."""
    api = load(D, at.API)
    dims = shape + 8 * (at.HEAD + load(D, at.KEY_DIMS))
    row = at.TABLE + at.ROW * load(D, at.INPUTS)
    for k in range(load(D, at.OUTPUTS)):
        ndim = load(D, row + at.NDIM)
        typenum = load(D, row + at.TYPENUM)
        array = call(load(api, at.NEW_ARRAY), load(api, at.NDARRAY), ndim, dims, typenum, 0, 0, 0, 0, 0)
        if array == 0:
            drop(D, results, k)
            return 0
        store(results, k, array)
        dims += 8 * ndim
        row += at.ROW
    return 1


def drop(D: int, objects: int, n: int) -> int:
    for k in range(n):
        call(load(load(D, at.API), at.DECREF), load(objects, k))
    return 0


def load_shape(D: int, frame: int, shape: int) -> int:
    """Fill the frame's words that depend on the shape, unless they are there."""
    if load(frame, at.LOADED) != load(shape, at.IDENTITY):
        words = shape + 8 * (at.HEAD + load(D, at.KEY_DIMS))
        row = at.TABLE + at.ROW * load(D, at.INPUTS)
        for _ in range(load(D, at.OUTPUTS)):
            words += 8 * load(D, row + at.NDIM)
            row += at.ROW
        first = load(D, at.PREPARED_AT)
        copy(frame + 8 * first, words, 8 * load(D, at.PREPARED))
        for k in range(first, first + load(D, at.BUFFERS)):
            store(frame, k, frame + load(frame, k))
        store(frame, at.LOADED, load(shape, at.IDENTITY))
    return 0


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
    store(frame, at.THREAD, thread)
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
    store(load(R, at.FULL), at.THREAD, thread)
    store(load(R, at.TAIL), at.THREAD, thread)
    status = steps(R, 0, 0)
    call(load(load(D, at.API), at.RESTORE_THREAD), thread)
    hold(D, -1, 0)
    return status


def wrap(D: int, results: int, c: int) -> int:
    """The one output, or a tuple of all; given arrays stay their owner's too."""
    api = load(D, at.API)
    outputs = load(D, at.OUTPUTS)
    if load(D, at.GIVEN):
        for k in range(outputs):
            call(load(api, at.INCREF), load(results, k))
    if load(D, at.SINGLE):
        return load(results, 0)
    result = call(load(api, at.NEW_TUPLE), outputs)
    if result == 0:
        drop(D, results, outputs)
        return 0
    for k in range(outputs):
        call(load(api, at.SET_ITEM), result, k, load(results, k))
    return result


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
