"""A way out of straight-line code that leaves a loop vectorisable.

In: the value that straight-line code found for every lane, and the few arguments for which it is wrong.  Out: the
right value.  LLVM's loop vectoriser gives up at branches it cannot flatten and at calls it cannot widen; but it widens
a call of a function that names its own vector variants (the attribute `vector-function-abi-variant`).  So the choice
between fast and slow hides in such a function: its variants test all lanes at once and return at once if no lane asks
for more, and are inlined after vectorisation.  Measured on AVX-512: 0.3 ns a float64 while nothing is rare, 10 ns for
one that is taken alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from graphc.codegen.intrinsics.lanes import I32, Lanes
from graphc.codegen.intrinsics.target import host_vector_bytes

PURE = ("nounwind", "willreturn", "memory(none)")
Emit = Callable[..., ir.Value]


def unless_rare(
    lanes: Lanes, name: str, common: ir.Value, rare: Emit, slow: Emit, operands: Sequence[ir.Value]
) -> ir.Value:
    """`common`, but `slow(*operands)` for each lane that is `rare(*operands)`.

    `slow` emits scalar code, which may branch and read constants; `name` must stand for both and their float type all
    over the process.
    """

    def asks(lanes: Lanes, common: ir.Value, *operands: ir.Value) -> ir.Value:
        return rare(lanes, *operands)

    def answer(lanes: Lanes, *operands: ir.Value) -> ir.Value:
        return _lane_by_lane(lanes, name, operands) if lanes.count else slow(lanes, *operands[1:])

    return _choice(lanes, name, asks, answer, (common, *operands))


def unless_special(
    lanes: Lanes, name: str, common: ir.Value, special: Emit, settled: Emit, operands: Sequence[ir.Value]
) -> ir.Value:
    """`common`, or `settled(common, *operands)` for all lanes of a vector of which one is `special(*operands)`.

    Both emit straight-line code; `settled` leaves lanes as they are that are not special.
    """
    if lanes.count or getattr(lanes.builder.module, "alone", False):
        return settled(lanes, common, *operands)

    def asks(lanes: Lanes, common: ir.Value, *operands: ir.Value) -> ir.Value:
        return special(lanes, *operands)

    return _choice(lanes, name, asks, settled, (common, *operands))


def _choice(lanes: Lanes, name: str, asks: Emit, answer: Emit, operands: Sequence[ir.Value]) -> ir.Value:
    """A call of the function that returns its first operand, or where a lane `asks` for it, the answer."""
    choice = lanes.builder.module.globals.get(name) or _define(lanes, name, asks, answer, len(operands))
    return lanes.builder.call(choice, operands)


def _define(lanes: Lanes, name: str, asks: Emit, answer: Emit, arity: int) -> ir.Function:
    """The choice of one lane; not inlined, or its branch would be met before the loop is vectorised."""
    widths = _widths(lanes)
    variants = ",".join(f"_ZGV_LLVM_N{width}{'v' * arity}_{name}({_variant(name, width)})" for width in widths)
    attribute = f'"vector-function-abi-variant"="{variants}"'
    choice = _function(lanes.builder.module, name, [lanes.float] * arity, "linkonce_odr", "noinline", attribute)
    _define_body(choice, lanes.double, 0, asks, answer)
    for width in widths:
        # Only an attribute refers to it, and it has to live until the vectoriser looks: hence weak.
        operands = [ir.VectorType(lanes.float, width)] * arity
        function = _function(choice.module, _variant(name, width), operands, "weak_odr", "alwaysinline")
        _define_body(function, lanes.double, width, asks, answer)
    return choice


def _widths(lanes: Lanes) -> tuple[int, ...]:
    """Lanes of a register, of half of one, for what is left of a loop, and of two, beside narrower types.

    A variant that is never called takes LLVM as long as one that is, but for its code.
    """
    widest = host_vector_bytes() * 8 // lanes.bits
    return tuple(width for width in (widest // 2, widest, 2 * widest) if width > 1)


def _define_body(function: ir.Function, double: bool, count: int, asks: Emit, answer: Emit) -> None:
    builder = ir.IRBuilder(function.append_basic_block())
    lanes = Lanes(builder, double, count)
    found = asks(lanes, *function.args)
    if count:  # any lane
        found = builder.icmp_unsigned("!=", builder.bitcast(found, ir.IntType(count)), ir.IntType(count)(0))
    with builder.if_then(found, likely=False):
        builder.ret(answer(lanes, *function.args))
    builder.ret(function.args[0])


def _lane_by_lane(lanes: Lanes, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """The choice of one lane, for each lane of a vector."""
    builder, result = lanes.builder, operands[0]
    choice = builder.module.globals[name]
    for lane in map(I32, range(lanes.count)):
        alone = [builder.extract_element(operand, lane) for operand in operands]
        result = builder.insert_element(result, builder.call(choice, alone), lane)
    return result


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
