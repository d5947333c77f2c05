"""What moving the same bytes takes: the fastest of memcpy and loops of our own, with and without streaming stores.

In: arrays that are read and written.  Out: calls that read all of the former and write all of the latter.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, reduce
from typing import Any

import numpy as np
from llvmlite import ir

from benchmarks.kernels.case import Array, Call
from graphc.codegen.intrinsics.routine import LaneBuilder
from graphc.codegen.intrinsics.vectors import I32, I64, POINTER, Values, Vectors, integer
from graphc.runtime.backend import object_file, text_of
from graphc.runtime.native import PREFIX, Native

_LINE = 64  # bytes: what arrays begin and end with, and a part of them for a thread


def copies(reads: Sequence[Array], writes: Sequence[Array], threads: int) -> list[Call]:
    """The calls; an array that is n times as long as those written is read as n of them."""
    least = min(a.nbytes for a in writes)
    whole = [a.reshape(-1).view(np.uint8) for a in (*reads, *writes)]
    parts = [part for a in whole[: len(reads)] for part in _parts(a, least)]
    targets = [part for a in whole[len(reads) :] for part in _parts(a, least)]
    addresses = [a.ctypes.data for a in (*parts, *targets)]
    if any(a % _LINE for a in addresses):
        raise ValueError("arrays that are copied begin with a line of cache")
    loops = [_loop(len(parts), len(targets), streams) for streams in (False, True)]
    found = [_shared(loop, addresses, least, threads) for loop in loops]
    if len(parts) == len(targets):
        found.append(lambda: [np.copyto(to, part) for part, to in zip(parts, targets, strict=True)])
    return found


def _parts(array: Any, nbytes: int) -> list[Any]:
    count = max(1, round(array.nbytes / nbytes))
    size = array.nbytes // count // _LINE * _LINE
    return [array[k * size : (k + 1) * size] for k in range(count)]


def _shared(loop: Callable[..., None], addresses: Sequence[int], nbytes: int, threads: int) -> Call:
    """The loop over whole lines of arrays, by several threads where there are."""
    size = -(-nbytes // threads // _LINE) * _LINE
    starts = range(0, nbytes // _LINE * _LINE, size)
    jobs = [([a + s for a in addresses], min(size, nbytes // _LINE * _LINE - s)) for s in starts]
    if len(jobs) == 1:
        return lambda: loop(*jobs[0][0], jobs[0][1])
    pool = _pool(threads)
    return lambda: [f.result() for f in [pool.submit(loop, *places, count) for places, count in jobs]]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


@cache
def _loop(reads: int, writes: int, streams: bool) -> Callable[..., None]:
    """A C function of the addresses of arrays and their bytes: each that is written gets all that is read, combined."""
    module = ir.Module("copy")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * (reads + writes + 1)), f"{PREFIX}copy")
    builder = LaneBuilder(function.append_basic_block("entry"))
    *places, nbytes = function.args
    lanes = Vectors(builder, "f8")
    width, kind = lanes.lanes * lanes.bytes, ir.VectorType(I64, lanes.lanes)

    def body(at: Any, _: Values) -> Values:
        pointers = [builder.inttoptr(builder.add(place, at), POINTER) for place in places]
        read = [builder.load(p, typ=kind, align=width) for p in pointers[:reads]]
        combined = reduce(builder.xor, read)
        for pointer in pointers[reads:]:
            store = builder.store(combined, pointer, align=width)
            if streams:
                store.set_metadata("nontemporal", module.add_metadata([ir.Constant(I32, 1)]))
        return []

    lanes.loop(integer(0), nbytes, width, [], body)
    builder.ret_void()
    native = Native((object_file(text_of(module), True),), ("copy",))
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * (reads + writes + 1))(native["copy"])
    call.keeps = native  # type: ignore[attr-defined]
    return call
