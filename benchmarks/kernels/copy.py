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
from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.intrinsics.vectors import I32, I64, POINTER, Values, Vectors, integer
from graphc.runtime.backend import object_file, text_of
from graphc.runtime.native import PREFIX, Native


def copies(reads: Sequence[Array], writes: Sequence[Array], threads: int) -> list[Call]:
    """The calls; an array that is n times as long as those written is read as n of them."""
    least = min(a.nbytes for a in writes)
    parts, targets = ([part for a in arrays for part in _parts(a, least)] for arrays in (reads, writes))
    loops = [_loop(len(parts), len(targets), streams) for streams in (False, True)]
    found: list[Call] = [_Copy(loop, [*parts, *targets], count) for loop in loops for count in {1, threads}]
    if len(parts) == len(targets):
        found.append(lambda: [np.copyto(to, part) for part, to in zip(parts, targets, strict=True)])
    return found


def _parts(array: Array, nbytes: int) -> list[Any]:
    """The bytes of an array, cut into pieces as long as the shortest that is written, to whole lines of cache."""
    whole = array.reshape(-1).view(np.uint8)
    count = max(1, round(array.nbytes / nbytes))
    size = array.nbytes // count // LINE * LINE
    return [whole[k * size : (k + 1) * size] for k in range(count)]


class _Copy:
    """A call of a loop over pieces of one length, by several threads where there are; it keeps their memory."""

    def __init__(self, loop: Callable[..., None], pieces: Sequence[Array], threads: int) -> None:
        self.loop, self.pieces, self.threads = loop, pieces, threads
        addresses, nbytes = [a.ctypes.data for a in pieces], min(a.nbytes for a in pieces)
        if any(a % LINE for a in addresses):
            raise ValueError("arrays that are copied begin with a line of cache")
        size = max(-(-nbytes // threads // LINE) * LINE, LINE)
        self.jobs = [([a + k for a in addresses], min(size, nbytes - k)) for k in range(0, nbytes, size)]

    def __call__(self) -> None:
        if len(self.jobs) == 1:
            ((places, nbytes),) = self.jobs
            self.loop(*places, nbytes)
        else:
            for job in [_pool(self.threads).submit(self.loop, *places, n) for places, n in self.jobs]:
                job.result()


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
    native = Native((object_file(text_of(module)),), ("copy",))
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * (reads + writes + 1))(native["copy"])
    call.keeps = native  # type: ignore[attr-defined]
    return call
