"""A way out of straight-line code that leaves a loop vectorisable.

In: the value that straight-line code found for every lane, and the few arguments for which it is wrong.  Out: the
right value.  LLVM's loop vectoriser gives up at branches it cannot flatten and at calls it cannot widen; but it widens
a call of a function that names its own vector variants (`variants.py`).  So the choice
between fast and slow hides in such a function: its variants test all lanes at once and return at once if no lane asks
for more, and are inlined after vectorisation.  Measured on AVX-512: 0.3 ns a float64 while nothing is rare, 10 ns for
one that is taken alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from graphc.codegen.intrinsics.lanes import I32, Lanes
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.intrinsics.variants import define, variant_of

Emit = Callable[..., ir.Value]


def unless_rare(
    lanes: Lanes, name: str, common: ir.Value, rare: Emit, slow: Emit, operands: Sequence[ir.Value]
) -> ir.Value:
    """`common`, but `slow(*operands)` for each lane that is `rare(*operands)`.

    `slow` emits scalar code, which may branch and read constants; `name` must stand for both and their float type all
    over the process.  Their lanes are not plain.
    """
    lanes = Lanes(lanes.builder, lanes.double, lanes.count)

    def asks(lanes: Lanes, common: ir.Value, *operands: ir.Value) -> ir.Value:
        return rare(lanes, *operands)

    def answer(lanes: Lanes, *operands: ir.Value) -> ir.Value:
        return _lane_by_lane(lanes, name, operands) if lanes.count else slow(lanes, *operands[1:])

    return _choice(lanes, name, asks, answer, (common, *operands))


def unless_special(
    lanes: Lanes, name: str, common: ir.Value, special: Emit, settled: Emit, operands: Sequence[ir.Value]
) -> ir.Value:
    """`common`, or `settled(common, *operands)` for all lanes of a vector of which one is `special(*operands)`.

    Both emit straight-line code, of the kind of lanes given, for which `name` must stand, too; `settled` leaves lanes
    as they are that are not special.
    """
    if lanes.count or getattr(lanes.builder.module, "alone", False):
        return settled(lanes, common, *operands)

    def asks(lanes: Lanes, common: ir.Value, *operands: ir.Value) -> ir.Value:
        return special(lanes, *operands)

    return _choice(lanes, name, asks, settled, (common, *operands))


def _choice(lanes: Lanes, name: str, asks: Emit, answer: Emit, operands: Sequence[ir.Value]) -> ir.Value:
    """A call of the function that returns its first operand, or where a lane `asks` for it, the answer.

    Of vectors its variant is called.
    """
    module = lanes.builder.module
    choice = module.globals.get(name)
    if choice is None:

        def body(builder: ir.IRBuilder, count: int, operands: Sequence[ir.Value]) -> None:
            inside = lanes.like(builder, count)
            found = asks(inside, *operands)
            if count:  # any lane
                found = builder.icmp_unsigned("!=", builder.bitcast(found, ir.IntType(count)), ir.IntType(count)(0))
            with builder.if_then(found, likely=False):
                builder.ret(answer(inside, *operands))
            builder.ret(operands[0])

        one = lanes.like(lanes.builder, 0).float
        choice = define(module, name, one, [one] * len(operands), _widths(lanes), body)
    if lanes.count:
        choice = module.globals[variant_of(name, lanes.count)]
    return lanes.builder.call(choice, operands)


def _widths(lanes: Lanes) -> tuple[int, ...]:
    """Lanes of a register, of half of one, for what is left of a loop, and of two, beside narrower types.

    A variant that is never called takes LLVM as long as one that is, but for its code.
    """
    widest = host_vector_bytes() * 8 // lanes.bits
    return tuple(width for width in (widest // 2, widest, 2 * widest) if width > 1)


def _lane_by_lane(lanes: Lanes, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """The choice of one lane, for each lane of a vector."""
    builder, result = lanes.builder, operands[0]
    choice = builder.module.globals[name]
    for lane in map(I32, range(lanes.count)):
        alone = [builder.extract_element(operand, lane) for operand in operands]
        result = builder.insert_element(result, builder.call(choice, alone), lane)
    return result
