"""Access to memory by address, blocks on the stack, and casts.

In: names such as `ld_f4_3_1` (load float32, nest 3, storage 1) that the code generator prints.  Out: Numba intrinsics.
Two accesses of one nest with different storage numbers never overlap: they carry LLVM alias scopes that belong to
the nest, never to the function, since storage is used again by later nests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from graphc.codegen.intrinsics.constants import positions
from graphc.codegen.intrinsics.routine import KernelModule, align_stack
from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.intrinsics.vectors import POINTER, pieces
from graphc.codegen.program import FAILED

I8, I64 = ir.IntType(8), ir.IntType(64)
NUMBA_TYPES: dict[str, Any] = {
    "f4": types.float32,
    "f8": types.float64,
    "i1": types.int8,
    "i2": types.int16,
    "i4": types.int32,
    "i8": types.int64,
    "u1": types.uint8,
    "u2": types.uint16,
    "u4": types.uint32,
    "u8": types.uint64,
    "b1": types.boolean,
}


@cache
def _memory_type(code: str, lanes: int = 0) -> ir.Type:
    """The type of an element, or of so many."""
    if lanes:
        return ir.VectorType(_memory_type(code), lanes)
    if code == "f4":
        return ir.FloatType()
    return ir.DoubleType() if code == "f8" else ir.IntType(8 * int(code[1]))


def _element(builder: ir.IRBuilder, code: str, address: ir.Value, index: ir.Value) -> ir.Value:
    """The place of an element, which lies in its array: so LLVM may read more than one of a strided array at once."""
    return builder.gep(_pointer(builder, address), [index], inbounds=True, source_etype=_memory_type(code))


def _pointer(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """An address as a pointer, of which a block of a kernel has one."""
    if not isinstance(builder.module, KernelModule):
        return builder.inttoptr(address, POINTER)
    known, key = builder.module.pointers, (builder.block, address)
    if key not in known:
        known[key] = builder.inttoptr(address, POINTER)
    return known[key]


MAX_STORAGES = 64  # accesses to further storages of a nest are emitted without a scope


def _tag(instruction: Any, builder: ir.IRBuilder, code: str, nest: int, storage: int) -> None:
    instruction.align = 1 if code == "b1" else int(code[1])
    tell_apart(instruction, builder, nest, storage)


def tell_apart(instruction: Any, builder: ir.IRBuilder, nest: int, storage: int) -> None:
    """Note that an access touches nothing of other storages of the nest."""
    if isinstance(builder.module, KernelModule) and storage < MAX_STORAGES:
        builder.module.accesses.setdefault(nest, {}).setdefault(storage, []).append(instruction)


@cache
def load(code: str, nest: int, storage: int) -> Any:
    """Intrinsic (address, i) -> element i of the array of this dtype that begins at the address."""

    @intrinsic
    def load_element(typingctx: Any, address: Any, i: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            value = builder.load(_element(builder, code, *args), typ=_memory_type(code))
            _tag(value, builder, code, nest, storage)
            return builder.icmp_unsigned("!=", value, I8(0)) if code == "b1" else value

        return NUMBA_TYPES[code](types.int64, types.int64), codegen

    return load_element


@cache
def store(code: str, nest: int, storage: int) -> Any:
    """Intrinsic (address, i, value): store element i."""

    @intrinsic
    def store_element(typingctx: Any, address: Any, i: Any, value: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            address, i, value = args
            value = builder.zext(value, I8) if code == "b1" else value
            _tag(builder.store(value, _element(builder, code, address, i)), builder, code, nest, storage)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, NUMBA_TYPES[code]), codegen

    return store_element


def load_lanes(
    b: ir.IRBuilder, code: str, scope: tuple[int, int], place: tuple[ir.Value, ir.Value], count: int, lanes: int
) -> ir.Value:
    """A vector from address and index on, of which `count` elements are there, and zeros behind them."""
    vector = ir.Constant(_memory_type(code, lanes), 0.0 if code[0] == "f" else 0)
    for first, size in pieces(count, lanes):
        part = b.load(_piece(b, code, place, first), typ=_memory_type(code, size))
        _tag(part, b, code, *scope)
        if size == lanes:
            vector = part
            break
        wide = b.shuffle_vector(part, part, positions(tuple(k % size for k in range(lanes))))
        inside = range(first, first + size)
        chosen = tuple(lanes + k - first if k in inside else k for k in range(lanes))
        vector = b.shuffle_vector(vector, wide, positions(chosen))
    return b.icmp_unsigned("!=", vector, ir.Constant(vector.type, 0)) if code == "b1" else vector


def store_lanes(
    b: ir.IRBuilder, code: str, scope: tuple[int, int], place: tuple[ir.Value, ir.Value], value: ir.Value, count: int
) -> None:
    """The first `count` lanes to address and index."""
    lanes = value.type.count
    value = b.zext(value, ir.VectorType(I8, lanes)) if code == "b1" else value
    for first, size in pieces(count, lanes):
        inside = positions(range(first, first + size))
        part = value if size == lanes else b.shuffle_vector(value, value, inside)
        _tag(b.store(part, _piece(b, code, place, first)), b, code, *scope)


def _piece(b: ir.IRBuilder, code: str, place: tuple[ir.Value, ir.Value], first: int) -> ir.Value:
    address, index = place
    return _element(b, code, address, b.add(index, I64(first), flags=["nsw"]) if first else index)


@intrinsic
def word(typingctx: Any, frame: Any, index: Any) -> Any:
    """int64 word `index` of the frame; words do not change while a program runs."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        value = builder.load(_element(builder, "i8", *args), typ=I64)
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value

    return types.int64(types.int64, types.int64), codegen


@cache
def cast(code: str) -> Any:
    """Intrinsic x -> x as this dtype: C's rules, integers wrap, x != 0 for bool."""

    @intrinsic
    def convert(typingctx: Any, x: Any) -> Any:
        target = NUMBA_TYPES[code]
        if not isinstance(x, (types.Integer, types.Float, types.Boolean)):
            return None

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return _convert(builder, args[0], source, target)

        source = types.unliteral(x)
        return target(source), codegen

    return convert


def _convert(b: ir.IRBuilder, value: Any, source: Any, target: Any) -> Any:
    if isinstance(target, types.Boolean):
        if isinstance(source, types.Boolean):
            return value
        compare = b.fcmp_unordered if isinstance(source, types.Float) else b.icmp_signed
        return compare("!=", value, ir.Constant(value.type, 0))
    if isinstance(source, types.Float):
        return _convert_float(b, value, source, target)
    signed = source in types.signed_domain
    if isinstance(target, types.Float):
        llvm = _float_type(target, value)
        return b.sitofp(value, llvm) if signed else b.uitofp(value, llvm)
    width, have = target.bitwidth, 1 if isinstance(source, types.Boolean) else source.bitwidth
    if width == have:
        return value
    if width < have:
        return b.trunc(value, ir.IntType(width))
    return b.sext(value, ir.IntType(width)) if signed else b.zext(value, ir.IntType(width))


def _float_type(target: Any, value: Any) -> ir.Type:
    """That of a value converted to a float, in every lane."""
    lane = ir.FloatType() if target.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(lane, value.type.count) if isinstance(value.type, ir.VectorType) else lane


def _convert_float(b: ir.IRBuilder, value: Any, source: Any, target: Any) -> Any:
    if isinstance(target, types.Float):
        if source.bitwidth == target.bitwidth:
            return value
        return (b.fpext if target.bitwidth == 64 else b.fptrunc)(value, _float_type(target, value))
    if target == types.uint64:  # as C compilers do: the upper half goes through an offset
        half = ir.Constant(value.type, 2.0**63)
        upper = b.fcmp_ordered(">=", value, half)
        low = b.fptosi(b.select(upper, b.fsub(value, half), value), I64)
        return b.xor(low, b.select(upper, I64(-(2**63)), I64(0)))
    if source.bitwidth == 32 and (target.bitwidth < 32 or target == types.int32):
        whole = _to_int32(b, value)
        return whole if target.bitwidth == 32 else b.trunc(whole, ir.IntType(target.bitwidth))
    return b.trunc(b.fptosi(value, I64), ir.IntType(target.bitwidth)) if target.bitwidth < 64 else b.fptosi(value, I64)


def _to_int32(b: ir.IRBuilder, value: Any) -> Any:
    """Of float32, whose vectors have as many int32; the least where there is none, which LLVM leaves open."""
    whole, below, end = ir.IntType(32), -(2.0**31) - 1, 2.0**31
    above, less = (b.fcmp_ordered(r, value, ir.Constant(value.type, x)) for r, x in ((">", below), ("<", end)))
    inside = b.and_(above, less)
    held = b.select(inside, value, ir.Constant(value.type, 0.0))
    return b.select(inside, b.fptosi(held, whole), whole(-(2**31)))


@intrinsic
def lost(typingctx: Any, s: Any, x: Any) -> Any:
    """What s + x loses to rounding (Knuth's two-sum), 0 where the sum is not finite."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        s, x = args
        t = b.fadd(s, x)
        part = b.fsub(t, s)
        error = b.fadd(b.fsub(s, b.fsub(t, part)), b.fsub(x, part))
        return b.select(b.fcmp_ordered("==", b.fsub(t, t), ir.Constant(t.type, 0.0)), error, ir.Constant(t.type, 0.0))

    return s(s, s), codegen


def _extreme(relation: str, name: str) -> Any:
    """min or max of two int64; Python's own are compiled by Numba as functions of their own, which takes 50 ms."""

    def template(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return builder.select(builder.icmp_signed(relation, *args), *args)

        return types.int64(types.int64, types.int64), codegen

    template.__name__ = name
    return intrinsic(template)


least = _extreme("<", "least")
most = _extreme(">", "most")


@intrinsic
def quotient(typingctx: Any, p: Any, k: Any) -> Any:
    """floor(p / k) for k > 0."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        p, k = args
        if isinstance(k, ir.Constant) and k.constant & (k.constant - 1) == 0:
            return b.ashr(p, I64(k.constant.bit_length() - 1))
        toward_zero = b.sdiv(p, k)
        rest = b.sub(p, b.mul(toward_zero, k))
        return b.select(b.icmp_signed("<", rest, I64(0)), b.sub(toward_zero, I64(1)), toward_zero)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def multiple(typingctx: Any, p: Any, k: Any) -> Any:
    """Whether k > 0 divides p >= 0."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return b.icmp_unsigned("==", b.urem(*args), I64(0))

    return types.boolean(types.int64, types.int64), codegen


@intrinsic
def checked(typingctx: Any, frame: Any, chunk: Any, failure: Any, index: Any, size: Any, iteration: Any) -> Any:
    """`index` from the end if negative; where it is out of range the frame's status is set and 0 comes back."""
    return _checked(wraps=True)


@intrinsic
def labelled(typingctx: Any, frame: Any, chunk: Any, failure: Any, index: Any, size: Any, iteration: Any) -> Any:
    """The same of an index that is out of range if negative."""
    return _checked(wraps=False)


def _checked(wraps: bool) -> tuple[Any, Any]:
    def codegen(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        frame, chunk, failure, index, size, iteration = args
        wrapped = b.select(b.icmp_signed("<", index, I64(0)), b.add(index, size), index) if wraps else index
        bad = b.icmp_unsigned(">=", wrapped, size)
        with b.if_then(bad, likely=False):
            note(b, frame, chunk, (failure, index, size, iteration))
        return b.select(bad, I64(0), wrapped)

    return types.int64(*[types.int64] * 6), codegen


@intrinsic
def on_axis(typingctx: Any, index: Any, size: Any) -> Any:
    """`index` from the end if negative; 0 where it is out of range, which is known already."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        index, size = args
        wrapped = b.select(b.icmp_signed("<", index, I64(0)), b.add(index, size), index)
        return b.select(b.icmp_unsigned("<", wrapped, size), wrapped, I64(0))

    return types.int64(types.int64, types.int64), codegen


def note(b: ir.IRBuilder, frame: Any, chunk: Any, told: Sequence[Any]) -> None:
    """Write what failed, unless a chunk before this one has, or this one: threads run chunks at the same time."""
    words, number = b.inttoptr(frame, I64.as_pointer()), b.add(chunk, I64(1))
    failed, again, entered = b.gep(words, [I64(FAILED)]), b.append_basic_block("note"), b.append_basic_block("noting")
    b.branch(again)
    b.position_at_end(again)
    before = b.atomic_rmw("xchg", failed, I64(-1), "seq_cst")  # -1 while somebody writes
    b.cbranch(b.icmp_signed("==", before, I64(-1)), again, entered)
    b.position_at_end(entered)
    first = b.or_(b.icmp_signed("==", before, I64(0)), b.icmp_signed("<", number, before))
    with b.if_then(first):
        for k, word in enumerate(told):
            b.store(word, b.gep(words, [I64(k)]))
    b.store_atomic(b.select(first, number, before), failed, "seq_cst", 8)


@intrinsic
def clear(typingctx: Any, address: Any, nbytes: Any) -> Any:
    """Set bytes to zero."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        cgutils.memset(b, b.inttoptr(args[0], I8.as_pointer()), args[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def wide(typingctx: Any) -> Any:
    """Ask LLVM for vectors as wide as the host has in the function that calls this (it prefers 256 bits), on its stack
    too.
    """

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        # llvmlite knows a fixed list of attributes, so the set is written past its check
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        align_stack(builder.function)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def light(typingctx: Any) -> Any:
    """Tell that what is beside the routines takes no time."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        if isinstance(builder.module, KernelModule):
            builder.module.is_light = True
        return context.get_dummy_value()

    return types.void(), codegen


@cache
def stack(number: int) -> Any:
    """Intrinsic () -> the address of a block of BLOCK elements on the calling function's stack, always the same one."""

    @intrinsic
    def block(typingctx: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            blocks = builder.function.__dict__.setdefault("_graphc_stack", {})
            if number not in blocks:
                with builder.goto_entry_block():
                    blocks[number] = builder.alloca(ir.ArrayType(I64, BLOCK))
                    blocks[number].align = 64
            return builder.ptrtoint(blocks[number], I64)

        return types.int64(), codegen

    return block


FACTORIES: dict[str, Callable[..., Any]] = {"ld": load, "st": store}
