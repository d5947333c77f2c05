"""The compiled driver: the way into a compiled function.

This file is text for graphc.runtime.backend, never called as Python: every function takes and returns int64 values,
most of them addresses of blocks of words, which graphc.runtime.layout describes.  `entry` is a CPython builtin of
kind METH_FASTCALL | METH_KEYWORDS; whatever is unusual goes to a Python callable, which converts, explains or waits.
The GIL is the lock of pool, shapes and guards: nothing here lets go of it between a look and a change.
"""

from __future__ import annotations

from graphc import state
from graphc.codegen.program import HEADER_WORDS
from graphc.runtime import layout as at
from graphc.runtime.execution import run
from graphc.runtime.sharing import give
from graphc.runtime.words import call, copy, load, load32, stack, store

REFUSED = 1  # no object has this address


def entry(self: int, args: int, nargs: int, names: int) -> int:
    """PyObject *entry(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames).

    `self` is the descriptor.  What is refused goes to its caller; so does a result that is more than plain arrays.
    """
    D = load(self + at.ARRAY_DATA, 0)
    if names == 0:
        return enter(D, args, nargs, names, 0)
    outputs = load(D, at.OUTPUTS)
    given = stack(outputs + 1)
    if named(D, args + 8 * nargs, names, given) == 0:
        return refuse(D, args, nargs, names)
    for k in range(outputs):  # another thread may take them out of a list while this one works
        call(load(load(D, at.API), at.INCREF), load(given, k))
    result = enter(D, args, nargs, names, given)
    drop(D, given, outputs)
    return result


def enter(D: int, args: int, nargs: int, names: int, results: int) -> int:
    """The result for arguments, and for outputs that are given by name or behind them."""
    inputs = load(D, at.INPUTS)
    positional = nargs
    if names == 0 and load(D, at.GIVEN):
        results = args + 8 * inputs
        positional = nargs - load(D, at.OUTPUTS)
    if positional != inputs:
        return refuse(D, args, nargs, names)
    if accepts(D, args, results) == 0:
        return refuse(D, args, nargs, names)
    arrays = stack(inputs + 1)
    result = 0
    if borrow(D, args, arrays):
        result = answer(D, arrays, results)
    for k in range(inputs):
        array = load(arrays, k)
        if array != load(args, k) and array != 0:
            call(load(load(D, at.API), at.DECREF), array)
    if result == REFUSED:
        return refuse(D, args, nargs, names)
    if result == 0 or load(D, at.FINISH) == 0:
        return result
    given = 0
    if names:
        given = load(args, nargs)
    return finished(D, result, given)


def named(D: int, values: int, names: int, into: int) -> int:
    """Whether `out=` is the only name, and holds as many objects as there are outputs, which go to `into`."""
    api = load(D, at.API)
    if load(names + at.TUPLE_SIZE, 0) != 1 or load(D, at.CONTAINER) == 0:
        return 0
    if load(names + load(api, at.TUPLE_ITEMS), 0) != load(api, at.OUT):
        return 0
    given = load(values, 0)
    if load(D, at.CONTAINER) == at.ALONE:
        store(into, 0, given)
        return 1
    if load(D, at.CONTAINER) == load(api, at.DICT):
        return by_keys(D, given, into)
    kind = load(given + at.OBJECT_TYPE, 0)
    items = given + load(api, at.TUPLE_ITEMS)
    if kind == load(api, at.LIST):
        items = load(given + at.LIST_ITEMS, 0)
    elif kind != load(api, at.TUPLE):
        return 0
    if load(given + at.TUPLE_SIZE, 0) != load(D, at.OUTPUTS):
        return 0
    for k in range(load(D, at.OUTPUTS)):
        store(into, k, load(items, k))
    return 1


def by_keys(D: int, given: int, into: int) -> int:
    """Whether a dict has the keys of the outputs and no others; its values go to `into`."""
    api = load(D, at.API)
    if load(given + at.OBJECT_TYPE, 0) != load(api, at.DICT):
        return 0
    if call(load(api, at.DICT_SIZE), given) != load(D, at.OUTPUTS):
        return 0
    for k in range(load(D, at.OUTPUTS)):
        value = call(load(api, at.GET_BY_KEY), given, key(D, k, 0))
        if value == 0:
            return 0
        store(into, k, value)
    return 1


def key(D: int, k: int, c: int) -> int:
    """The key of output k, where the outputs are a dict."""
    return load(load(D, at.KEYS) + load(load(D, at.API), at.TUPLE_ITEMS), k)


def refuse(D: int, args: int, nargs: int, names: int) -> int:
    """What the caller makes of these arguments, or NotImplemented where there is none."""
    api = load(D, at.API)
    if load(D, at.CALLER):
        return call(load(api, at.VECTORCALL), load(D, at.CALLER), args, nargs, names)
    call(load(api, at.INCREF), load(api, at.REFUSAL))
    return load(api, at.REFUSAL)


def finished(D: int, result: int, given: int) -> int:
    """The result as the user wants it, or the error that its bytes tell of; what was given for it, if anything was."""
    api = load(D, at.API)
    if load(result + at.OBJECT_TYPE, 0) != load(api, at.BYTES):
        if given:
            call(load(api, at.INCREF), given)
            call(load(api, at.DECREF), result)
            return given
        if load(D, at.CONTAINER):
            return result
    final = call(load(api, at.CALL_ONE), load(D, at.FINISH), result)
    call(load(api, at.DECREF), result)
    return final


def accepts(D: int, args: int, results: int) -> int:
    """Whether each argument is an array of the declared dtype and rank, and given outputs can be written in place."""
    row = D + 8 * at.TABLE
    for k in range(load(D, at.INPUTS)):
        if is_declared(D, load(args, k), row) == 0:
            return 0
        row += 8 * at.ROW
    if results == 0:
        return 1
    writable = at.IN_PLACE | at.WRITEABLE
    for k in range(load(D, at.OUTPUTS)):
        if is_declared(D, load(results, k), row) == 0:
            return 0
        if load32(load(results, k) + at.ARRAY_FLAGS) & writable != writable:
            return 0
        row += 8 * at.ROW
    return 1


def is_declared(D: int, array: int, row: int) -> int:
    if load(array + at.OBJECT_TYPE, 0) != load(load(D, at.API), at.NDARRAY):
        return 0
    rank = load32(array + at.ARRAY_NDIM)
    return load(array + at.ARRAY_DTYPE, 0) == load(row, at.DTYPE) and rank == load(row, at.NDIM)


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


def answer(D: int, arrays: int, given: int) -> int:
    """The result for inputs that lie in place, written to what is given for it; REFUSED; or what failed (bytes)."""
    shape = find(D, arrays, 0)
    frame = 0
    if shape:
        frame = available(D, shape, 0)
    if frame == 0:
        return REFUSED
    outputs = load(D, at.OUTPUTS)
    results = given
    if given:
        if fit(D, shape, results) == 0 or apart(D, arrays, results) == 0:
            return REFUSED
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
    return wrap(D, results, given)


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
    """A free workspace that is large enough, left in the pool; 0 if there is none or another call holds a parameter.

    Also 0 where threads are wanted that have not been started.
    """
    pool = load(D, at.POOL)
    free = load(pool, 0)
    if free == 0:
        return 0
    if load(shape, at.SHARES) and load(load(D, at.REGION), at.READY) == 0:
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


def apart(D: int, arrays: int, results: int) -> int:
    """Whether no output that is given overlaps an input, or another one."""
    inputs = load(D, at.INPUTS)
    first = D + 8 * (at.TABLE + at.ROW * inputs)
    for k in range(load(D, at.OUTPUTS)):
        row = first + 8 * at.ROW * k
        for i in range(inputs):
            if meet(load(results, k), row, load(arrays, i), D + 8 * (at.TABLE + at.ROW * i)):
                return 0
        for i in range(k):
            if meet(load(results, k), row, load(results, i), first + 8 * at.ROW * i):
                return 0
    return 1


def meet(one: int, its_row: int, other: int, other_row: int) -> int:
    """Whether two arrays that lie in place share a byte."""
    begin = load(one + at.ARRAY_DATA, 0)
    also = load(other + at.ARRAY_DATA, 0)
    return begin < also + bytes_of(other, other_row, 0) and also < begin + bytes_of(one, its_row, 0)


def bytes_of(array: int, row: int, c: int) -> int:
    nbytes = load(row, at.ITEMSIZE)
    for i in range(load(row, at.NDIM)):
        nbytes = nbytes * load(load(array + at.ARRAY_DIMS, 0), i)
    return nbytes


def create(D: int, shape: int, results: int) -> int:
    """New arrays for the outputs; 0 if there is no memory (and then none is left)."""
    if load(shape, at.LARGE) == 0:
        return create_all(D, shape, results)
    api = load(D, at.API)
    before = call(load(api, at.SET_HANDLER), load(D, at.HANDLER))
    if before == 0:
        return 0
    created = create_all(D, shape, results)
    call(load(api, at.DECREF), call(load(api, at.SET_HANDLER), before))
    call(load(api, at.DECREF), before)
    return created


def create_all(D: int, shape: int, results: int) -> int:
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


def wrap(D: int, results: int, given: int) -> int:
    """The one output, or all in a container; given arrays stay their owner's too, who has a container already."""
    api = load(D, at.API)
    outputs = load(D, at.OUTPUTS)
    if given:
        for k in range(outputs):
            call(load(api, at.INCREF), load(results, k))
    if load(D, at.SINGLE):
        return load(results, 0)
    if given == 0 and load(D, at.CONTAINER) == load(api, at.DICT):
        return as_dict(D, results, 0)
    new = load(api, at.NEW_TUPLE)
    put = load(api, at.SET_ITEM)
    if given == 0 and load(D, at.CONTAINER) == load(api, at.LIST):
        new = load(api, at.NEW_LIST)
        put = load(api, at.SET_LIST_ITEM)
    result = call(new, outputs)
    if result == 0:
        drop(D, results, outputs)
        return 0
    for k in range(outputs):
        call(put, result, k, load(results, k))
    return result


def as_dict(D: int, results: int, c: int) -> int:
    api = load(D, at.API)
    result = call(load(api, at.NEW_DICT))
    for k in range(load(D, at.OUTPUTS)):
        if result and call(load(api, at.SET_BY_KEY), result, key(D, k, 0), load(results, k)) & 1:  # -1, an int
            call(load(api, at.DECREF), result)
            result = 0
    drop(D, results, load(D, at.OUTPUTS))
    return result
