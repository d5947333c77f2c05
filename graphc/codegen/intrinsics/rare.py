"""A way out of straight-line code that leaves a loop vectorisable.

In: the value that straight-line code found for every lane, and the few arguments for which it is wrong.  Out: the
right value.  LLVM's loop vectoriser gives up at branches it cannot flatten and at calls it cannot widen; but it widens
a call of a function that names its own vector variants (the attribute `vector-function-abi-variant`).  So the choice
between fast and slow hides in such a function: its variants test all lanes at once and return at once if no lane asks
for more, and are inlined after vectorisation.  Measured on AVX-512: 0.3 ns a float64 while nothing is rare, 10 ns for
one that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import cgutils

from graphc.codegen.intrinsics.lanes import I32, Lanes

WIDTHS = (2, 4, 8, 16, 32)
PURE = ("nounwind", "willreturn", "memory(none)")
Slow = Callable[..., ir.Value]


def unless_rare(
    lanes: Lanes, name: str, common: ir.Value, rare: ir.Value, slow: Slow, more: Sequence[ir.Value] = ()
) -> ir.Value:
    """`common` where `rare` is zero, else `slow(rare, *more)`.

    `slow` emits scalar code, which may branch and read constants; `name` must stand for it and its float type all over
    the process.
    """
    choice = lanes.builder.module.globals.get(name) or _define_choice(lanes, name, slow, 2 + len(more))
    return lanes.builder.call(choice, [common, rare, *more])


def _define_choice(lanes: Lanes, name: str, slow: Slow, arity: int) -> ir.Function:
    """choice(common, rare, …), one lane; not inlined, or its branch would be met before the loop is vectorised."""
    variants = ",".join(f"_ZGV_LLVM_N{width}{'v' * arity}_{name}({_variant(name, width)})" for width in WIDTHS)
    attribute = f'"vector-function-abi-variant"="{variants}"'
    choice = _function(lanes.builder.module, name, [lanes.float] * arity, "linkonce_odr", "noinline", attribute)
    common, rare, *more = choice.args
    builder = ir.IRBuilder(choice.append_basic_block())
    scalar = Lanes(builder, lanes.double)
    with builder.if_then(scalar.compare("!=", rare, scalar.const(0.0)), likely=False):
        builder.ret(slow(scalar, rare, *more))
    builder.ret(common)
    for width in WIDTHS:
        _define_variant(lanes, choice, width)
    return choice


def _define_variant(lanes: Lanes, choice: ir.Function, width: int) -> None:
    """choice for a whole vector: lane by lane if any is rare, else no more than the test."""
    # Only an attribute refers to it, and it has to live until the vectoriser looks: hence weak.
    vector = ir.VectorType(lanes.float, width)
    operands = [vector] * len(choice.args)
    function = _function(choice.module, _variant(choice.name, width), operands, "weak_odr", "alwaysinline")
    common, rare = function.args[:2]
    builder = ir.IRBuilder(function.append_basic_block())
    with builder.if_then(_any_bit(lanes, builder, rare, width), likely=False):
        result = common
        for lane in map(I32, range(width)):
            alone = [builder.extract_element(operand, lane) for operand in function.args]
            result = builder.insert_element(result, builder.call(choice, alone), lane)
        builder.ret(result)
    builder.ret(common)


def _any_bit(lanes: Lanes, builder: ir.IRBuilder, vector: ir.Value, width: int) -> ir.Value:
    """Whether a bit is set anywhere in the vector."""
    integers = ir.VectorType(lanes.int, width)
    signature = ir.FunctionType(lanes.int, [integers])
    name = f"llvm.vector.reduce.or.v{width}i{lanes.bits}"
    reduction = cgutils.get_or_insert_function(builder.module, signature, name)
    bits = builder.call(reduction, [builder.bitcast(vector, integers)])
    return builder.icmp_unsigned("!=", bits, lanes.integer(0))


def _variant(name: str, width: int) -> str:
    return f"{name}.v{width}"


def _function(
    module: ir.Module, name: str, operands: Sequence[ir.Type], linkage: str, *attributes: str
) -> ir.Function:
    function = ir.Function(module, ir.FunctionType(operands[0], operands), name)
    function.linkage = linkage
    for attribute in (*attributes, *PURE):
        set.add(function.attributes, attribute)  # llvmlite's own add knows a fixed list only
    return function
