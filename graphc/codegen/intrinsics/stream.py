"""Writing past the caches, where nobody reads soon, and asking for what is read soon.

A line of cache that is written whole need not be read before: a quarter of what a sum of two arrays moves.  Such stores
may be late for other threads, until the next locked instruction of this one; there is one wherever a phase is shared
out or done, and where a lock is left, that of the interpreter too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphc.codegen.intrinsics.memory import tell_apart
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.intrinsics.vectors import I32, I64, POINTER, Control, Values, Vectors, integer, prefetch


@cache
def stream(code: str, apart: str = "") -> Any:
    """Intrinsic (n, source, to): n elements of the dtype of this code go from `source` to `to`, past the caches.

    They follow what was streamed before, or else are "apart": then parts of lines go to the caches.
    """
    size = int(code[1])

    def body(builder: ir.IRBuilder, *arguments: ir.Value) -> None:
        _emit(Control(builder, size), bool(apart), *arguments)

    @intrinsic
    def streamed(typingctx: Any, n: Any, source: Any, to: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> Any:
            call_routine(builder, f"stream{apart}_{size}", ir.VoidType(), arguments, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), codegen

    return streamed


def _emit(lanes: Control, apart: bool, n: ir.Value, source: ir.Value, to: ir.Value) -> None:
    """Whole vectors where they are aligned; elements before and after: the other part of their line is streamed too.

    That has to come at once: else a line is written to memory twice, each time with what it had there read before.
    """
    b, width = lanes.builder, lanes.lanes * lanes.bytes
    end = b.mul(n, integer(lanes.bytes))
    begin = lanes.least(b.and_(b.neg(to), integer(width - 1)), end)
    whole = b.add(begin, b.and_(b.sub(end, begin), integer(-width)))

    def move(kind: ir.Type, align: int, past_caches: bool) -> Any:
        def one(at: ir.Value, _: Values) -> Values:
            read, write = (b.inttoptr(b.add(base, at), POINTER) for base in (source, to))
            _store(b, b.load(read, typ=kind, align=lanes.bytes), write, align, past_caches)
            return []

        return one

    element = move(ir.IntType(8 * lanes.bytes), lanes.bytes, not apart)
    lanes.loop(integer(0), begin, lanes.bytes, [], element)
    lanes.loop(begin, whole, width, [], move(ir.VectorType(I64, width // 8), width, True))
    lanes.loop(whole, end, lanes.bytes, [], element)


def _store(builder: ir.IRBuilder, value: ir.Value, write: ir.Value, align: int, past_caches: bool) -> Any:
    store = builder.store(value, write, align=align)
    if past_caches:
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(I32, 1)]))
    return store


@cache
def store_lines(code: str, count: int) -> Any:
    """Intrinsic (source, to): so many elements, which are whole lines, go from `source` to `to`, inline.

    They go past the caches if `to` is where a line begins: half of a line waits for the other, or is written alone.
    What the loop before has stored at `source` LLVM takes from registers.
    """

    @intrinsic
    def stored(typingctx: Any, source: Any, to: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> Any:
            source, to = arguments
            into = builder.and_(to, integer(LINE - 1))
            _store_lines(builder, code, count, (source, to, to, into))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 2), codegen

    return stored


@cache
def store_or_keep(code: str, count: int, nest: int, storage: int) -> Any:
    """Intrinsic (source, to, instead, into): the same, but they go plainly elsewhere if `to` lies so far into a line.

    `source` is that storage of the nest, of which nothing that is written here is any: in a loop, too, LLVM has what is
    stored there again and again in registers alone.
    """

    @intrinsic
    def stored(typingctx: Any, source: Any, to: Any, instead: Any, into: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> Any:
            loads, stores = _store_lines(builder, code, count, arguments)
            for load in loads:
                tell_apart(load, builder, nest, storage)
            for store in stores:
                tell_apart(store, builder, nest, ~storage)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return stored


def _store_lines(
    builder: ir.IRBuilder, code: str, count: int, where: Sequence[ir.Value]
) -> tuple[list[Any], list[Any]]:
    """From the first of three addresses to the second if that lies 0 into a line, else to the third: loads and stores.

    One of the two ways ends with a mark: else LLVM would make one of them, which is not past the caches.
    """
    lanes, (source, to, instead, into) = Vectors(builder, code), where
    places, width = range(0, count, lanes.lanes), lanes.lanes * lanes.bytes
    vectors, stores = [lanes.load(lanes.pointer(source, k)) for k in places], []

    def store(to: ir.Value, align: int, past_caches: bool) -> Values:
        for vector, k in zip(vectors, places, strict=True):
            stores.append(_store(builder, vector, lanes.pointer(to, k), align, past_caches))
        if past_caches:
            mark = builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", (), True)
            set.add(mark.attributes, "memory(none)")
        return []

    in_line = builder.icmp_unsigned("==", into, integer(0))
    lanes.choose(in_line, lambda: store(to, width, True), lambda: store(instead, lanes.bytes, False))
    return vectors, stores


@intrinsic
def fetch(typingctx: Any, address: Any, step: Any, count: Any, nbytes: Any) -> Any:
    """Ask for the lines of `count` columns of so many bytes, `step` bytes apart; they need not be readable."""

    def body(builder: ir.IRBuilder, address: ir.Value, step: ir.Value, count: ir.Value, nbytes: ir.Value) -> None:
        lanes = Vectors(builder, "f4")

        def column(k: ir.Value, _: Values) -> Values:
            start = builder.add(address, builder.mul(k, step))

            def line(at: ir.Value, _: Values) -> Values:
                lanes.prefetch(at)
                return []

            return lanes.loop(builder.and_(start, integer(-LINE)), builder.add(start, nbytes), LINE, [], line)

        lanes.loop(integer(0), count, 1, [], column)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> Any:
        call_routine(builder, "fetch", ir.VoidType(), arguments, body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@cache
def into_line(code: str) -> Any:
    """Intrinsic (address) -> how many elements of the dtype of this code its line of cache has before it."""

    @intrinsic
    def elements(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> Any:
            return builder.udiv(builder.and_(arguments[0], integer(LINE - 1)), integer(int(code[1])))

        return types.int64(types.int64), codegen

    return elements


@cache
def fetch_lines(count: int, level: int) -> Any:
    """Intrinsic (address): ask for so many lines, as `prefetch` does, inline; they need not be readable."""

    @intrinsic
    def ask(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> Any:
            for k in range(count):
                prefetch(builder, builder.add(arguments[0], integer(k * LINE)), level)
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    return ask
