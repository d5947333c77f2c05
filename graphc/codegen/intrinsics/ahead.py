"""Sweeps over memory that ask for what comes later, where caches hold little of all that is read.

In: vectors and the bytes of all that is read.  Out: what the sweep gives, with requests or without: the processor by
itself foresees too little of memory, and where caches hold the elements, each request is a load more.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from graphc.codegen.intrinsics.target import has_two_multiply_adds
from graphc.codegen.intrinsics.vectors import I64, Control, Values, Vectors, integer

FAR = 24 << 20  # bytes that are read, of which caches hold little
ONE_STREAM, EACH_OF_TWO = 4096, 2048  # bytes ahead, where one row or block is read at a time, and where two are


class Asking(Vectors):
    """Vectors whose loads ask for what lies so many bytes ahead."""

    def __init__(self, like: Vectors, ahead: int) -> None:
        super().__init__(like.builder, like.dtype)
        self.ahead = ahead

    def load(self, pointer: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        self.prefetch(self.builder.add(self.builder.ptrtoint(pointer, I64), integer(self.ahead)))
        return super().load(pointer, mask)


def choose_far(
    lanes: Control, read: ir.Value, ahead: int, far: Callable[[], Values], near: Callable[[], Values]
) -> Values:
    """The values of one of two branches, by whether more is read than caches hold.

    One stream is foreseen as well as it can be, unless two multiply-adds start in a cycle.
    """
    if ahead == ONE_STREAM and not has_two_multiply_adds():
        return near()
    return lanes.choose(lanes.builder.icmp_signed(">", read, integer(FAR)), far, near)


def swept(lanes: Vectors, read: ir.Value, ahead: int, sweep: Callable[[Vectors], Values]) -> Values:
    """What a sweep gives, which asks so many bytes ahead if more is read than caches hold."""
    return choose_far(lanes, read, ahead, lambda: sweep(Asking(lanes, ahead)), lambda: sweep(lanes))
