"""Bits of integers, and the float next to another, as straight-line code.

In: Numba scalars of one type.  Out: a value of that type.
"""

from __future__ import annotations

from llvmlite import ir

from graphc.codegen.intrinsics.pointwise import Integers, Kind, floats, integers, pointwise


@pointwise
def bit_and(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """The bits that both have."""
    return integers(kind).builder.and_(x, y)


@pointwise
def bit_or(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """The bits that either has."""
    return integers(kind).builder.or_(x, y)


@pointwise
def bit_xor(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """The bits that one of both has."""
    return integers(kind).builder.xor(x, y)


@pointwise
def bit_not(kind: Kind, x: ir.Value) -> ir.Value:
    """The bits that x does not have."""
    return integers(kind).builder.not_(x)


@pointwise
def shift_left(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """x times 2**y modulo 2^bits; 0 where y < 0 or y >= bits, of which the machine's own shift says nothing."""
    n = integers(kind)
    inside, places = _places(n, y)
    return n.select(inside, n.builder.shl(x, places), n.const(0))


@pointwise
def shift_right(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """floor(x / 2**y); what all shifts leave, 0 or -1, where y < 0 or y >= bits."""
    n = integers(kind)
    inside, places = _places(n, y)
    if not n.signed:
        return n.select(inside, n.builder.lshr(x, places), n.const(0))
    return n.builder.ashr(x, n.select(inside, y, n.const(n.bits - 1)))


def _places(n: Integers, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Whether 0 <= y < bits, and y, or 0 where it does not."""
    inside = n.builder.icmp_unsigned("<", y, n.const(n.bits))
    return inside, n.select(inside, y, n.const(0))


@pointwise
def next_after(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """The float next to x towards y: as integers, floats of one sign stand in the order of their size."""
    f = floats(kind)
    bits, one = f.as_int(x), f.integer(1)
    zero = f.compare("==", x, f.const(0.0))
    grows = f.builder.icmp_unsigned("==", f.compare("<", x, y), f.compare(">", x, f.const(0.0)))
    moved = f.as_float(f.builder.select(grows, f.builder.add(bits, one), f.builder.sub(bits, one)))
    moved = f.select(zero, f.copysign(f.as_float(one), y), moved)
    moved = f.select(f.compare("==", x, y), y, moved)
    return f.select(f.builder.or_(f.is_nan(x), f.is_nan(y)), f.add(x, y), moved)
