"""LLVM IR for kernels written with explicit vectors: a thin vocabulary over llvmlite's builder, and functions of it.

In: an IR builder.  Out: values on it.  Addresses, strides and counts are i64 (bytes, bytes, elements); vectors are as
wide as the host's registers, whatever width LLVM's vectoriser would prefer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.constants import positions, undefined
from graphc.codegen.intrinsics.exponential import exp_of_any
from graphc.codegen.intrinsics.lanes import Lanes, opaque
from graphc.codegen.intrinsics.routine import call_routine
from graphc.codegen.intrinsics.target import host_vector_bytes

I1, I32, I64, POINTER = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.PointerType()
Values = list[ir.Value]


def integer(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def type_name(dtype: DTypeLike) -> str:
    """f32, f64, or i8 to i64."""
    return f"{'f' if np.dtype(dtype).kind == 'f' else 'i'}{8 * np.dtype(dtype).itemsize}"


def prefetch(builder: ir.IRBuilder, address: ir.Value, level: int) -> None:
    """Asks for the line of an address, which need not be readable, to be in L1 or L2; level 0: in L1, to be written."""
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    hints = [ir.Constant(I32, k) for k in (int(level == 0), 4 - max(level, 1), 1)]  # written, how near, data
    builder.call(function, [builder.inttoptr(address, POINTER), *hints])


def splat(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """One value in so many lanes; a vector as it is."""
    if isinstance(value.type, ir.VectorType):
        return value
    vector = ir.VectorType(value.type, lanes)
    if isinstance(value, ir.Constant):
        return ir.Constant(vector, value.constant)
    lane0 = builder.insert_element(undefined(vector), value, I32(0))
    return builder.shuffle_vector(lane0, lane0, positions((0,) * lanes))


class Control:
    """Loops and branches, with the values that they carry; `bytes` to an element, `lanes` to a vector."""

    def __init__(self, builder: ir.IRBuilder, nbytes: int) -> None:
        self.builder, self.bytes = builder, nbytes
        self.lanes = host_vector_bytes() // nbytes

    def less(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.icmp_signed("<", a, b)

    def least(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def splat(self, scalar: ir.Value) -> ir.Value:
        """One scalar in every lane."""
        return splat(self.builder, scalar, self.lanes)

    def shuffle(self, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
        """The given lanes of a (0 .. lanes-1) and b (lanes ..)."""
        return self.builder.shuffle_vector(a, b, positions(tuple(lanes)))

    def loop(
        self, start: ir.Value, stop: ir.Value, step: int, carried: Values, body: Callable[[ir.Value, Values], Values]
    ) -> Values:
        """`for i in range(start, stop, step): carried = body(i, carried)`; the last carried values."""
        builder, entry = self.builder, self.builder.block
        repeat, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", start, stop), repeat, done)
        builder.position_at_end(repeat)
        index, *old = (self._phi([(value, entry)]) for value in (start, *carried))
        new = body(index, old)
        following = builder.add(index, integer(step))
        for phi, value in zip((index, *old), (following, *new), strict=True):
            phi.add_incoming(value, builder.block)
        latch = builder.block
        builder.cbranch(builder.icmp_signed("<", following, stop), repeat, done)
        builder.position_at_end(done)
        return [self._phi([(a, entry), (b, latch)]) for a, b in zip(carried, new, strict=True)]

    def repeat(self, carried: Values, test: Callable[[Values], ir.Value], body: Callable[[Values], Values]) -> Values:
        """`while test(carried): carried = body(carried)`; the last carried values."""
        builder, entry = self.builder, self.builder.block
        again, inside, done = (builder.append_basic_block(name) for name in ("while", "do", "done"))
        builder.branch(again)
        builder.position_at_end(again)
        old = [self._phi([(value, entry)]) for value in carried]
        builder.cbranch(test(old), inside, done)
        builder.position_at_end(inside)
        for phi, value in zip(old, body(old), strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(again)
        builder.position_at_end(done)
        return old

    def choose(self, condition: ir.Value, yes: Callable[[], Values], no: Callable[[], Values]) -> Values:
        """The values of one of two branches."""
        builder = self.builder
        blocks = [builder.append_basic_block(name) for name in ("yes", "no")]
        join = builder.append_basic_block("join")
        builder.cbranch(condition, *blocks)
        ends: list[tuple[Values, ir.Block]] = []
        for block, branch in zip(blocks, (yes, no), strict=True):
            builder.position_at_end(block)
            ends.append((branch(), builder.block))
            builder.branch(join)
        builder.position_at_end(join)
        (a, from_a), (b, from_b) = ends
        return [self._phi([(x, from_a), (y, from_b)]) for x, y in zip(a, b, strict=True)]

    def _phi(self, incoming: Sequence[tuple[ir.Value, ir.Block]]) -> ir.PhiInstr:
        phi = self.builder.phi(incoming[0][0].type)
        for value, block in incoming:
            phi.add_incoming(value, block)
        return phi


def pieces(count: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Where pieces begin, and their lengths, powers of two: they may be loaded again as they were stored."""
    first, size = 0, lanes
    while first < count:
        while size > count - first:
            size //= 2
        yield first, size
        first += size


class Vectors(Control):
    """Vectors of one dtype: floats, integers, or bools, which are bytes."""

    def __init__(self, builder: ir.IRBuilder, dtype: DTypeLike, lanes: int = 0) -> None:
        super().__init__(builder, np.dtype(dtype).itemsize)
        self.lanes = lanes or self.lanes
        self.dtype, self.kind = dtype, np.dtype(dtype).kind
        self.name = type_name(dtype)
        self.int = ir.IntType(8 * self.bytes)
        self.element: ir.Type = {"f32": ir.FloatType(), "f64": ir.DoubleType()}.get(self.name, self.int)
        self.type = ir.VectorType(self.element, self.lanes)
        self.zero = self.constant(0)
        self.negative_zero = self.constant(-0.0 if self.is_float else 0)  # what adds nothing to any number
        self.none = ir.Constant(ir.VectorType(I1, self.lanes), 0)  # a mask

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    def constant(self, value: float) -> ir.Constant:
        """The number in every lane."""
        return ir.Constant(self.type, float(value) if self.is_float else value)

    @property
    def masks_are_free(self) -> bool:
        """Whether masks have registers of their own (AVX-512): stores cost no more with them, nor most loads."""
        return self.lanes * self.bytes == 64

    @property
    def has_masks(self) -> bool:
        """Whether loads and stores can be masked; else LLVM makes a branch for each lane."""
        return self.bytes >= 4 or self.masks_are_free

    # integers
    def offset(self, base: ir.Value, stride: ir.Value, count: int) -> ir.Value:
        """base + count * stride."""
        return self.builder.add(base, self.builder.mul(stride, integer(count))) if count else base

    def integers(self, values: Iterable[int]) -> ir.Constant:
        """A vector of integers as wide as the elements."""
        return ir.Constant(ir.VectorType(self.int, self.lanes), list(values))

    def opaque(self, address: ir.Value) -> ir.Value:
        """The same number, of which LLVM does not know how it came about: loops keep it in a register."""
        return opaque(self.builder, address)

    # memory
    def pointer(self, address: ir.Value, elements: int = 0) -> ir.Value:
        """The pointer this many elements beyond an address."""
        pointer = self.builder.inttoptr(address, POINTER)
        return self.builder.gep(pointer, [integer(elements)], source_etype=self.element) if elements else pointer

    def load(self, pointer: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """A vector; lanes that are masked out are zero and are not read."""
        if mask is None:
            return self.builder.load(pointer, align=self.bytes, typ=self.type)
        parameters = [pointer, ir.Constant(I32, self.bytes), mask, self.zero]
        return self._call("llvm.masked.load", self.type, parameters, suffix=".p0")

    def store(self, value: ir.Value, pointer: ir.Value, mask: ir.Value | None = None) -> None:
        """Stores a vector; lanes that are masked out are not written."""
        if mask is None:
            self.builder.store(value, pointer, align=self.bytes)
        else:
            self._call("llvm.masked.store", ir.VoidType(), [value, pointer, ir.Constant(I32, self.bytes), mask], ".p0")

    def store_first(self, value: ir.Value, address: ir.Value, count: int) -> None:
        """Stores so many lanes in pieces of 1, 2, 4, ...: without AVX-512, a store with a mask takes a dozen cycles."""
        for first, size in pieces(count, self.lanes):
            part = value if size == self.lanes else self.shuffle(value, value, range(first, first + size))
            self.builder.store(part, self.pointer(address, first), align=self.bytes)

    def load_scalar(self, pointer: ir.Value) -> ir.Value:
        return self.builder.load(pointer, align=self.bytes, typ=self.element)

    def store_positions(self, value: ir.Value, address: ir.Value, mask: ir.Value) -> None:
        """Stores int64 lanes, as many as a vector of floats has, where the mask is set."""
        kind = ir.VectorType(I64, self.lanes)
        signature = ir.FunctionType(ir.VoidType(), [kind, POINTER, I32, mask.type])
        function = cgutils.get_or_insert_function(
            self.builder.module, signature, f"llvm.masked.store.v{self.lanes}i64.p0"
        )
        self.builder.call(function, [value, self.builder.inttoptr(address, POINTER), ir.Constant(I32, 8), mask])

    def store_scalar(self, value: ir.Value, pointer: ir.Value) -> None:
        self.builder.store(value, pointer, align=self.bytes)

    def prefetch(self, address: ir.Value) -> None:
        """Asks for the line of an address, which need not be readable, to be in L2."""
        prefetch(self.builder, address, 2)

    # numbers
    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return (self.builder.fadd if self.is_float else self.builder.add)(a, b)

    def mul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return (self.builder.fmul if self.is_float else self.builder.mul)(a, b)

    def compare(self, relation: str, a: ir.Value, b: ir.Value) -> ir.Value:
        """Whether a stands in the relation to b, which a NaN does not; elements or vectors."""
        builder = self.builder
        kinds = {"f": builder.fcmp_ordered, "i": builder.icmp_signed}
        return kinds.get(self.kind, builder.icmp_unsigned)(relation, a, b)

    # lanes
    def first(self, count: ir.Value) -> ir.Value:
        """The mask of the first `count` lanes: none if it is negative, all if it exceeds their number."""
        count = self.builder.trunc(self.least(count, integer(self.lanes)), I32)
        return self.builder.icmp_signed("<", positions(range(self.lanes)), self.splat(count))

    def some(self, count: int) -> ir.Constant | None:
        """The mask of the first `count` lanes, at least one; None if it is all of them."""
        flags = [int(lane < count) for lane in range(self.lanes)]
        return None if count >= self.lanes else ir.Constant(ir.VectorType(I1, self.lanes), flags)

    def any(self, mask: ir.Value) -> ir.Value:
        """Whether a lane of the mask is set."""
        flags = self.builder.bitcast(mask, ir.IntType(self.lanes))
        return self.builder.icmp_unsigned("!=", flags, ir.Constant(flags.type, 0))

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a * b + c, rounded once wherever the host has such an instruction."""
        return self._call("llvm.fmuladd", self.type, [a, b, c])

    def call(self, name: str, *vectors: ir.Value) -> ir.Value:
        """An LLVM intrinsic on vectors of this type."""
        return self._call(name, self.type, list(vectors))

    def rotate(self, vector: ir.Value, lane: int) -> ir.Value:
        """The vector from this lane on, then what came before it."""
        return self.shuffle(vector, vector, [(lane + j) % self.lanes for j in range(self.lanes)]) if lane else vector

    def exchange(self, a: ir.Value, b: ir.Value, block: int) -> tuple[ir.Value, ir.Value]:
        """The even blocks of a with those of b in the gaps, and the odd blocks of b with those of a in the gaps."""
        even = [lane if not lane & block else self.lanes + lane - block for lane in range(self.lanes)]
        odd = [lane + block if not lane & block else self.lanes + lane for lane in range(self.lanes)]
        return self.shuffle(a, b, even), self.shuffle(a, b, odd)

    def transpose(self, square: Values) -> Values:
        """Transposes as many vectors as each has lanes: exchanges blocks of 1, 2, 4, ... across the diagonal.

        Fewer, a power of two, are as many squares side by side.
        """
        square, block = list(square), 1
        while block < len(square):
            for i in range(len(square)):
                if not i & block:
                    square[i], square[i + block] = self.exchange(square[i], square[i + block], block)
            block *= 2
        return square

    def sums(self, square: Values) -> ir.Value:
        """The sums over the lanes of as many vectors as each has lanes: lane t is that of vector t.

        Halves are added until one vector is left; the order of the additions is the same for every vector.
        """
        while len(square) > 1:
            half = len(square) // 2
            square = [
                self.builder.fadd(*self.exchange(a, b, half)) for a, b in zip(square[:half], square[half:], strict=True)
            ]
        return square[0]

    def _call(self, name: str, result: ir.Type, arguments: Values, suffix: str = "") -> ir.Value:
        """Call an LLVM intrinsic that is overloaded on this vector type."""
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        full_name = f"{name}.v{self.lanes}{self.name}{suffix}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, signature, full_name), arguments)

    # vector math
    def exp(self, x: ir.Value) -> ir.Value:
        """e^x, as in other code."""
        wide = Lanes(self.builder, self.bytes == 8, self.lanes)
        return exp_of_any(wide, x)


def on_addresses(name: str, body: Callable[..., None]) -> Callable[..., tuple[Any, Any]]:
    """What an intrinsic of all-int64 parameters returns to Numba: a call of a routine that gives nothing."""

    def typed(*parameters: Any) -> tuple[Any, Any]:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Values) -> ir.Value:
            call_routine(builder, name, ir.VoidType(), arguments, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * len(parameters)), codegen

    return typed


Emitter = Callable[..., None]  # (vectors, *arguments), the arguments i64


def call_body(dtype: DTypeLike, name: str, emit: Emitter) -> Callable[..., tuple[Any, Any]]:
    """The same of the routine `emit(vectors, *arguments)`."""

    def body(builder: ir.IRBuilder, *arguments: ir.Value) -> None:
        emit(Vectors(builder, dtype), *arguments)

    return on_addresses(name, body)
