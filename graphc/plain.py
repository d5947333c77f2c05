"""Dimensions as nested lists of ints and strings, for JSON, and back."""

from __future__ import annotations

from typing import Any

from graphc.dims import Atom, Dim, atom_of, symbol


def to_plain(p: Dim) -> Any:
    """p as nested lists of ints and strings, for JSON."""
    if isinstance(p, int):
        return p
    return [[coefficient, [_plain_power(*power) for power in monomial]] for monomial, coefficient in p.terms]


def _plain_power(atom: Atom, power: int) -> list[Any]:
    operands = atom.operands if atom.kind == "symbol" else map(to_plain, atom.operands)
    return [atom.kind, *operands, power]


def from_plain(plain: Any) -> Dim:
    """The inverse of to_plain."""
    if isinstance(plain, int):
        return plain
    total: Dim = 0
    for coefficient, factors in plain:
        term: Dim = coefficient
        for kind, *operands, power in factors:
            atom = symbol(operands[0]) if kind == "symbol" else atom_of(kind, *(from_plain(o) for o in operands))
            for _ in range(power):
                term = term * atom
        total = total + term
    return total
