"""Instructions of AVX-512 that take floats apart and put them together, for which LLVM has no name of all machines.

In: one lane.  Out: a call of a function that names its vector variants, as in `rare.py`, so that the loop around it is
vectorised.  Each variant is the instruction on a register of its width, one lane the same on the lowest of 128 bits:
so the bits do not depend on the width.  When the vectoriser is through, all of them are put in place
(`graphc.runtime.backend`).  Who asks for one must have looked at `there`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import cgutils

from graphc.codegen.intrinsics.target import host_features

I8, I32 = ir.IntType(8), ir.IntType(32)
PREFIX = "graphc_avx512_"
AS_SET = I32(4)  # round as the control register says
NORMALISED = I32(0b1011)  # getmant: from 3/4 to 3/2, NaN of negative numbers
PURE = ("nounwind", "willreturn", "memory(none)")


def there() -> bool:
    """Whether the machine has them, on registers of every width."""
    return {"avx512f", "avx512vl", "avx512dq"} <= host_features()


def instruction(builder: ir.IRBuilder, name: str, *lanes: ir.Value) -> ir.Value:
    """`scalef`, `getexp` or `getmant` of one lane, or of whole registers."""
    if isinstance(lanes[0].type, ir.VectorType):
        return _emit(builder, name, lanes)
    module = builder.module
    if getattr(module, "alone", False):
        return _of_one(builder, name, lanes)
    full_name = f"{PREFIX}{name}_{_suffix(lanes[0].type)}"
    function = module.globals.get(full_name) or _define(module, full_name, name, lanes[0].type, len(lanes))
    return builder.call(function, lanes)


def _bits(lane: ir.Type) -> int:
    return 64 if isinstance(lane, ir.DoubleType) else 32


def _suffix(lane: ir.Type) -> str:
    return "pd" if isinstance(lane, ir.DoubleType) else "ps"


def _emit(builder: ir.IRBuilder, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """The instruction on registers: its operands, what lanes that are masked out would be, and the mask of all."""
    kind = operands[0].type
    bits = kind.count * _bits(kind.element)
    if bits > 512:
        return _emit_halves(builder, name, operands)
    mask = ir.Constant(ir.IntType(max(kind.count, 8)), -1)
    immediate = [NORMALISED] if name == "getmant" else []
    rounding = [AS_SET] if bits == 512 else []
    arguments = [*operands, *immediate, ir.Constant(kind, ir.Undefined), mask, *rounding]
    signature = ir.FunctionType(kind, [a.type for a in arguments])
    full_name = f"llvm.x86.avx512.mask.{name}.{_suffix(kind.element)}.{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, full_name), arguments)


def _of_one(builder: ir.IRBuilder, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """The instruction on the lowest lane of 128 bits."""
    lane = operands[0].type
    undefined = ir.Constant(ir.VectorType(lane, 128 // _bits(lane)), ir.Undefined)
    lowest = [builder.insert_element(undefined, x, I32(0)) for x in operands]
    return builder.extract_element(_emit(builder, name, lowest), I32(0))


def _emit_halves(builder: ir.IRBuilder, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """The instruction on vectors of two registers: float64 beside as many float32."""
    count = operands[0].type.count
    halves = []
    for start in (0, count // 2):
        lanes = ir.Constant(ir.VectorType(I32, count // 2), list(range(start, start + count // 2)))
        halves.append(_emit(builder, name, [builder.shuffle_vector(x, x, lanes) for x in operands]))
    return builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(I32, count), list(range(count))))


def _define(module: ir.Module, full_name: str, name: str, lane: ir.Type, arity: int) -> ir.Function:
    """The function of one lane, which has to stay a call until the vectoriser has looked, and its variants."""
    narrow = 128 // _bits(lane)
    widths = (narrow, 2 * narrow, 4 * narrow, 8 * narrow)
    variants = ",".join(f"_ZGV_LLVM_N{w}{'v' * arity}_{full_name}({full_name}.v{w})" for w in widths)

    def body(builder: ir.IRBuilder, *operands: ir.Value) -> ir.Value:
        return _of_one(builder, name, operands)

    def variant(builder: ir.IRBuilder, *operands: ir.Value) -> ir.Value:
        return _emit(builder, name, operands)

    attributes = ("noinline", f'"vector-function-abi-variant"="{variants}"')
    scalar = _function(module, full_name, lane, arity, "linkonce_odr", attributes, body)
    for width in widths:  # only the attribute refers to them: hence weak
        vector = ir.VectorType(lane, width)
        _function(module, f"{full_name}.v{width}", vector, arity, "weak_odr", ("alwaysinline",), variant)
    return scalar


def _function(
    module: ir.Module,
    name: str,
    kind: ir.Type,
    arity: int,
    linkage: str,
    attributes: Sequence[str],
    body: Callable[..., ir.Value],
) -> ir.Function:
    function = ir.Function(module, ir.FunctionType(kind, [kind] * arity), name)
    function.linkage = linkage
    for attribute in (*attributes, *PURE):
        set.add(function.attributes, attribute)  # llvmlite's own add knows a fixed list only
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(body(builder, *function.args))
    return function
