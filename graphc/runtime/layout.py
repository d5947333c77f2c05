"""Where things stand in the blocks of int64 words that Python and the compiled driver share."""

from __future__ import annotations

import time

from graphc.codegen import program

# The frame: words that belong to the runtime (see graphc.codegen.program for the others).
STATUS, POSITION, VALUE, ITERATION, FAILURE_WORDS = range(5)
LOADED, CAPACITY, FRAME_OWNER = 4, 5, 6  # identity of the shape loaded; bytes of the workspace; its array object
FAILED = program.FAILED  # 1 + the number of the chunk whose check failed, 0 if none has; -1 while it is being written
INTERRUPTED = 1 << 40  # a status: the user wants a while loop to end

# While loops ask for interrupts about this often: nanoseconds between two looks, beyond which there are fewer or more.
SOON, LATE, MONOTONIC = 50_000_000, 200_000_000, time.CLOCK_MONOTONIC
TESTS_LEFT, TESTS, LOOKED, WAY, SINCE, WATCH = range(6)  # until the next look, between looks, when the last one was

# How a run deals with its brief phases, and since when it is timed, if it is.
APART, TOGETHER, UNSEEN = range(3)
BRIEF = 1 << 40  # is added to the number of chunks of a phase that is shared where that proves faster
# Runs until both ways are tried again, at first and at last; how many try each, of which the first are not timed.
SHORT_CYCLE, LONG_CYCLE, TRIAL, WARM = 256, 8192, 64, 32

# What a run is timed with: when the last phase ended; then a row for each phase, and one more.
LAST_TIME, FIRST_TIME = range(2)
NANOSECONDS, RUNS, TIME_ROW = range(3)

# The descriptor of a compiled function.
(
    API,  # address of the table of C functions below
    KERNELS,  # address of a table: for each phase, the address of its kernel and where its row lies, bytes from T
    INPUTS,  # how many there are
    OUTPUTS,
    PARAMETERS,
    PHASES,
    SINGLE,  # 1: the result is the one output, 0: a tuple
    GIVEN,  # 1: arrays for the outputs follow the inputs
    CALLER,  # address of the Python callable that takes what is refused; 0: the refusal is returned
    FINISH,  # address of the one that gives results their structure, and takes failures; or 0
    CONTAINER,  # ALONE, or the address of tuple, list or dict, if outputs are given back in no more; else 0
    KEYS,  # address of the tuple of the dict's keys
    REGION,  # address of the parallel region
    THREADS,  # the most that may share a phase of this function, or 0
    HANDLER,  # address of NumPy's memory handler for results, if one is large
    POOL,  # address of the pool of free workspaces
    SHAPES,  # address of the known shapes
    KEY_DIMS,  # how many dimensions all inputs have together
    PREPARED_AT,  # the frame's first word that depends on the shape; those of the buffers come first
    PREPARED,  # how many such words there are
    BUFFERS,
    CHUNKS_AT,  # the frame's first word that holds a number of chunks
    CYCLED,  # how many runs with brief phases there were in this cycle
    CYCLE,  # how many it has
    TIME_APART,  # nanoseconds of those that were timed
    TIME_TOGETHER,
    CHOSEN,  # the way of those that were not
    TABLE,  # rows of the inputs, then of the outputs, then of the parameters
) = range(28)
ROW = 4
ALONE = 1  # no object has this address
DTYPE, NDIM, TYPENUM, ITEMSIZE = range(ROW)  # of inputs and outputs: NumPy's dtype, rank, number and bytes of the dtype
GUARD, WRITES = range(2)  # of parameters: address of the guard (see graphc.state), 1 if a call changes it

# A known shape.  After the head: dimensions of inputs, dimensions of outputs, prepared words.
# RELEASES: 1 if the call lets other threads run meanwhile; SHARES: 1 if a phase is shared out, whose number of chunks
# is negative; LARGE: 1 if a result has so many bytes.
IDENTITY, NBYTES, RELEASES, SHARES, LARGE, SHAPE_OWNER, HEAD = range(7)
LARGE_BYTES = 1 << 18

# Memory of large results that is free, in pieces (see graphc.runtime.recycling): how many blocks, their bytes, and at
# most how many bytes; NumPy's own functions; then a row for each block.
KEPT, KEPT_BYTES, MOST_BYTES, OWN_CONTEXT, OWN_ALLOCATE, OWN_ZEROS, OWN_REALLOCATE, OWN_FREE, KEPT_HEAD = range(9)
BLOCK, BLOCK_BYTES, KEPT_ROW = range(3)
MOST_KEPT, PIECE = 32, 1 << 16
LINE_BYTES = 64
BESIDE_BLOCK = LINE_BYTES + 16  # up to a line before the block, with two words: its length, and where NumPy's own is

# The pool of free workspaces: how many are free, their frames; how many it owns, those in use by calls included, and
# the bytes of these.  The known shapes: how many, then they themselves, the last used first.
MOST_WORKSPACES = MOST_SHAPES = 64
OWNED, POOL_BYTES, POOL_API, POOL_WORDS = range(1 + MOST_WORKSPACES, 5 + MOST_WORKSPACES)
SHAPES_API, SHAPES_WORDS = range(1 + MOST_SHAPES, 3 + MOST_SHAPES)

# Control phases: what stands in the place of a kernel's address, and the words of their rows.
LOOP_BEGIN, LOOP_END, TEST, GO, CHOOSE, BOUND = -1, -2, -3, -4, -5, -6
TRIP, AFTER, FIRST_PHASE, COUNTER, REVERSE, POSITION_AT, MOVED, ROWS = range(8)  # of a loop; then 3 words a row
ROW_WORD, ROW_OF, ROW_STEP, ROW_WORDS = range(4)

# C functions and objects.
(
    NDARRAY,
    NEW_ARRAY,
    NEW_COPY,
    INCREF,
    DECREF,
    NEW_TUPLE,
    SET_ITEM,
    NEW_BYTES,
    SAVE_THREAD,
    RESTORE_THREAD,
    VECTORCALL,
    CALL_ONE,
    TAKE_GIL,
    LEAVE_GIL,
    INTERRUPT,
    CLOCK,
    SET_HANDLER,
    REFUSAL,
    BYTES,
    TUPLE,
    TUPLE_ITEMS,  # bytes before a tuple's items
    LIST,
    NEW_LIST,
    SET_LIST_ITEM,
    DICT,
    NEW_DICT,
    DICT_SIZE,
    GET_BY_KEY,
    SET_BY_KEY,
    OUT,  # the name of a keyword
    API_WORDS,
) = range(31)

# The parallel region (see graphc.runtime.region).  Words that several threads write have a cache line of their own.
# PROCESSORS: how many there are; the next three words are functions that tell and say where threads run.
TAKEN, WORKERS, READY, MOST_THREADS, SYSCALL, FUTEX, YIELD, CLOSED = range(8)
KERNEL, FRAME, KERNEL_ROW, LIMIT, PHASE_NUMBER = range(8, 13)
DONE, GATE, SLEEPING = 16, 24, 25
PROCESSORS, GET_PROCESSOR, GET_AFFINITY, SET_AFFINITY, PARTS = 32, 33, 34, 35, 40
# Of a thread: its part of the chunks, its number, and while it sleeps the processor it ran on last and the one that it
# is kept from, counted from 1, and whether it has been called.
TICKET, PART_END, THREAD, RAN_AT, KEPT_FROM, CALLED, PART_WORDS = 0, 1, 2, 3, 4, 5, 8

# A run of many steps.  After the head: rows of the sliced inputs, then of the outputs.
# IS_BRIEF: 1 if a step has brief phases; GATHER: address of the function that gathers.
DESCRIPTOR, FULL, TAIL, TAIL_STEP, BATCH, REST, ORDER, SLICED, STEP, END, IS_BRIEF, GATHER, RUN_HEAD = range(13)
# Frame word, address, bytes a row, address of gathered rows (of a list, where LISTED is 1); in a step, where the rows'
# numbers are, and how many.
WORD, BASE, STRIDE, GATHERED, LISTED, NUMBERS, ROWS_GATHERED, RUN_ROW = range(8)
HALVED = 1 << 15  # bytes from which threads that share a step's brief phases also share what it gathers

# Bytes in CPython's and NumPy's objects on 64-bit machines; graphc.runtime.entry checks them.
OBJECT_TYPE, TUPLE_SIZE, LIST_ITEMS = 8, 16, 24  # the size of a list stands where a tuple's does
ARRAY_DATA, ARRAY_NDIM, ARRAY_DIMS, ARRAY_DTYPE, ARRAY_FLAGS = 16, 24, 32, 56, 64
C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400
IN_PLACE = C_CONTIGUOUS | ALIGNED

# A buffer that is given its place in a workspace; rows are a list by offset, which ends with NEXT -1.
SIZE, FIRST, LAST, OFFSET, NEXT = range(5)
BUFFER = 8 * 5  # bytes
