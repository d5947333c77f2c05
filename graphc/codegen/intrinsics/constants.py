"""Constants of vectors that come again and again: llvmlite makes a constant of every lane, and prints each."""

from __future__ import annotations

from functools import cache

from llvmlite import ir

_I32 = ir.IntType(32)


@cache
def undefined(vector: ir.VectorType) -> ir.Constant:
    """Any value."""
    return ir.Constant(vector, ir.Undefined)


@cache
def positions(lanes: tuple[int, ...] | range) -> ir.Constant:
    """The numbers of lanes, as a shuffle takes them."""
    return ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
