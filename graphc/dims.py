"""Dimensions: ints, or polynomials over symbols and the atoms floor(p / k), max(p, q), min(p, q).

In: ints and symbol names.  Out: values in normal form, so that equal dimensions compare equal.  The same algebra
serves index expressions of the code generator, where loop variables are symbols.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from numbers import Integral
from typing import Any, ClassVar, Union

Dim = Union[int, "Poly"]
Monomial = tuple[tuple["Atom", int], ...]
Terms = tuple[tuple[Monomial, int], ...]
_MOST = 2**31  # of a divisor that is made of two
_KEPT = 8_192  # sums and products: index expressions are the same few again and again


@dataclass(frozen=True)
class Atom:
    """A symbol (kind "symbol", one name) or a function of dimensions (kind "floor", "max" or "min", two operands)."""

    kind: str
    operands: tuple[Any, ...]

    @cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.operands))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        if self.kind == "symbol":
            return str(self.operands[0])
        first, second = self.operands
        floor = f"({_enclosed(first)} // {_enclosed(second, products=True)})"
        return floor if self.kind == "floor" else f"{self.kind}({first}, {second})"

    def evaluate(self, values: Mapping[str, int]) -> int:
        if self.kind == "symbol":
            return values[self.operands[0]]
        first, second = (evaluate(p, values) for p in self.operands)
        if self.kind == "floor":
            return first // second if second else 0  # a constraint then says that the sizes do not fit
        return max(first, second) if self.kind == "max" else min(first, second)

    def __reduce__(self) -> tuple[Any, ...]:
        return Atom, (self.kind, self.operands)


class Poly:
    """A polynomial with integer coefficients in normal form; made by arithmetic, never directly.

    Arithmetic with integers gives a dimension again.  `beyond(name, first, second)`, which graphc.operators fills in,
    does all other arithmetic: there the dimension is a number.  `apart(first, second)`, which graphc.trace fills in, is
    told of what was compared and found not to be the same, and of one dimension twice where a table is searched for it.

    >>> n = symbol("n")
    >>> (n + 1) * (n - 1) == n * n - 1
    True
    """

    __slots__ = ("terms", "_hash")

    beyond: ClassVar[Any]
    apart: ClassVar[Any] = staticmethod(lambda first, second: None)

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __reduce__(self) -> tuple[Any, ...]:
        return Poly, (self.terms,)

    def __hash__(self) -> int:
        Poly.apart(self, self)
        return self._hash

    def __eq__(self, other: object) -> bool:
        known = isinstance(other, Poly)
        if known and self.terms == other.terms:  # type: ignore[attr-defined]
            return True
        Poly.apart(self, other)
        return False if known else NotImplemented

    def _meet(self, name: str, other: Any, swapped: bool = False) -> Any:
        """Arithmetic with what is neither an int nor a dimension."""
        whole = isinstance(other, Integral)
        pair = (self, int(other) if whole else other)
        return (getattr(operator, name) if whole else partial(Poly.beyond, name))(*pair[:: -1 if swapped else 1])

    def __add__(self, other: Dim) -> Dim:
        if type(other) is not Poly and type(other) is not int:
            return self._meet("add", other)  # type: ignore[no-any-return]
        return _sum(self.terms, _terms(other))

    def __mul__(self, other: Dim) -> Dim:
        if type(other) is not Poly and type(other) is not int:
            return self._meet("mul", other)  # type: ignore[no-any-return]
        return _product(self.terms, _terms(other))

    def __radd__(self, other: Any) -> Any:
        return self + other if type(other) is int else self._meet("add", other, swapped=True)

    def __rmul__(self, other: Any) -> Any:
        return self * other if type(other) is int else self._meet("mul", other, swapped=True)

    def __neg__(self) -> Dim:
        return self * -1

    def __pos__(self) -> Dim:
        return self

    def __sub__(self, other: Any) -> Any:
        return self + other * -1 if type(other) is Poly or type(other) is int else self._meet("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self * -1 + other if type(other) is int else self._meet("sub", other, swapped=True)

    def __floordiv__(self, other: Any) -> Any:
        return floor_div(self, other) if type(other) is Poly or type(other) is int else self._meet("floordiv", other)

    def __rfloordiv__(self, other: Any) -> Any:
        return floor_div(other, self) if type(other) is int else self._meet("floordiv", other, swapped=True)

    def __mod__(self, other: Any) -> Any:
        if type(other) is not Poly and type(other) is not int:
            return self._meet("mod", other)
        return self - floor_div(self, other) * other

    def __rmod__(self, other: Any) -> Any:
        return other - floor_div(other, self) * self if type(other) is int else self._meet("mod", other, swapped=True)

    def __pow__(self, other: Any) -> Any:
        whole = isinstance(other, Integral) and int(other) >= 0
        return product([self] * int(other)) if whole else Poly.beyond("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return Poly.beyond("pow", other, self)

    def __truediv__(self, other: Any) -> Any:
        return Poly.beyond("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return Poly.beyond("truediv", other, self)

    def __str__(self) -> str:
        """The text; n - max(n - 5, 0), the normal form of min(n, 5), is said as the shorter of both."""
        plain = self._plain()
        less = [t for t in self.terms if t[1] == -1 and [(a.kind, power) for a, power in t[0]] == [("max", 1)]]
        if len(less) != 1:
            return plain
        rest = self + Poly(((less[0][0], 1),))
        sides = sorted((str(rest - operand) for operand in less[0][0][0][0].operands), key=lambda t: (t.isdigit(), t))
        return min(plain, f"min({', '.join(sides)})", key=len)

    def _plain(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            factors = [str(a) for a, power in monomial for _ in range(power)]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign, body = "-" if coefficient < 0 else "+", "*".join(factors)
            text = f"{text} {sign} {body}" if text else (f"-{body}" if coefficient < 0 else body)
        return text

    __repr__ = __str__


def _enclosed(p: Dim, products: bool = False) -> str:
    text = str(p)
    is_term = isinstance(p, int) or (len(p.terms) == 1 and not (products and text != str(p.terms[0][0][0][0])))
    return text if is_term else f"({text})"


def _terms(p: Dim) -> Terms:
    return p.terms if isinstance(p, Poly) else ((((), int(p)),) if p else ())


@lru_cache(maxsize=_KEPT)
def _sum(first: Terms, second: Terms) -> Dim:
    total = dict(first)
    for monomial, coefficient in second:
        total[monomial] = total.get(monomial, 0) + coefficient
    return _normal(total)


@lru_cache(maxsize=_KEPT)
def _product(first: Terms, second: Terms) -> Dim:
    total: dict[Monomial, int] = {}
    for m1, c1 in first:
        for m2, c2 in second:
            monomial = _times(m1, m2)
            total[monomial] = total.get(monomial, 0) + c1 * c2
    return _normal(total)


def _times(m1: Monomial, m2: Monomial) -> Monomial:
    powers = dict(m1)
    for atom, power in m2:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


def _normal(total: Mapping[Monomial, int]) -> Dim:
    kept = [(m, c) for m, c in total.items() if c]
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    kept.sort(key=lambda term: (-sum([p for _, p in term[0]]), [(str(a), p) for a, p in term[0]]))
    return Poly(tuple(kept))


@lru_cache(maxsize=4096)
def atom_of(kind: str, *operands: Any) -> Dim:
    """The dimension that an atom of this kind is by itself, as it stands."""
    return Poly((((((Atom(kind, operands)), 1),), 1),))


def symbol(name: str) -> Dim:
    """The dimension named `name`: an int >= 0 known at the call."""
    return atom_of("symbol", name)


def floor_div(p: Dim, k: Dim) -> Dim:
    """floor(p / k), taking out what k divides exactly.

    >>> n = symbol("n")
    >>> floor_div(6 * n + 3, 3), floor_div(n * n, n), floor_div(floor_div(n + 1, 2) + 1, 3)
    (2*n + 1, n, ((n + 3) // 6))
    """
    if isinstance(p, int) and isinstance(k, int):
        return p // k
    whole: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, coefficient in _terms(p):
        quotient = _divide_term(monomial, coefficient, k)
        if quotient is None:
            rest[monomial] = coefficient
        else:
            whole[quotient[0]] = whole.get(quotient[0], 0) + quotient[1]
    remainder, out = _normal(rest), _normal(whole)
    if isinstance(remainder, int) and isinstance(k, int):
        return out + remainder // k
    return out if remainder == 0 else out + _floor_of_floor(remainder, k)


def _floor_of_floor(p: Dim, k: Dim) -> Dim:
    """floor(p / k), where floor((floor(q / a) + c) / k) is floor((q + a*c) / (a*k)) of positive numbers a and k."""
    inner, rest = _alone(p, "floor")
    a = inner[1] if inner else 0
    if isinstance(rest, int) and isinstance(k, int) and isinstance(a, int) and a > 0 < k and a * k < _MOST:
        return floor_div(inner[0] + a * rest, a * k)
    return atom_of("floor", p, k)


def _alone(p: Dim, kind: str) -> tuple[tuple[Any, ...], Dim]:
    """The operands of the one atom of a kind that stands in p by itself, and the rest of p; no operands without one."""
    found = [m for m, c in _terms(p) if c == 1 and len(m) == 1 and m[0][1] == 1 and m[0][0].kind == kind]
    return (found[0][0][0].operands, p - Poly(((found[0], 1),))) if len(found) == 1 else ((), p)


def _divide_term(monomial: Monomial, coefficient: int, k: Dim) -> tuple[Monomial, int] | None:
    """The term over k, where k is one term that divides it exactly; None if it is not."""
    terms = tuple(_terms(k))
    if len(terms) != 1 or coefficient % terms[0][1]:
        return None
    powers = dict(monomial)
    for atom, power in terms[0][0]:
        if powers.get(atom, 0) < power:
            return None
        powers[atom] -= power
    return tuple((a, p) for a, p in powers.items() if p), coefficient // terms[0][1]


def dim_max(p: Dim, q: Dim) -> Dim:
    """max(p, q), decided where the difference has a known sign."""
    return _extreme("max", p, q, lambda a, b: is_nonnegative(a - b))


def blocks(size: Dim, block: Dim) -> Dim:
    """How many blocks a size is cut into, at least one: max(1, ceil(size / block))."""
    return dim_max(1, floor_div(size + block - 1, block))


def dim_min(p: Dim, q: Dim) -> Dim:
    """min(p, q), decided where the difference has a known sign."""
    return _extreme("min", p, q, lambda a, b: is_nonnegative(b - a))


def _extreme(kind: str, p: Dim, q: Dim, wins: Callable[[Dim, Dim], bool]) -> Dim:
    """max or min of p and q; of a max of max, what loses against another one is left out."""
    if wins(p, q) or wins(q, p):
        return p if wins(p, q) else q
    for outer, other in ((p, q), (q, p)):
        inner, rest = _alone(outer, kind)
        for a, b in (inner, inner[::-1]) if inner else ():
            if wins(other, a + rest):
                return _extreme(kind, b + rest, other, wins)
    return atom_of(kind, *sorted((p, q), key=str))


def _atom_nonnegative(atom: Atom) -> bool:
    if atom.kind == "symbol":
        return True
    signs = [is_nonnegative(p) for p in atom.operands]
    return any(signs) if atom.kind == "max" else all(signs)


@lru_cache(maxsize=4096)
def is_nonnegative(p: Dim) -> bool:
    """True if p >= 0 whatever the symbols; False means not known.

    >>> n = symbol("n")
    >>> is_nonnegative(n - floor_div(n, 2)), is_nonnegative(n - dim_max(n - 3, 0)), is_nonnegative(n - 1)
    (True, True, False)
    """
    if all(c >= 0 and all(_atom_nonnegative(a) for a, _ in m) for m, c in _terms(p)):
        return True
    alone = ((m[0][0], c) for m, c in _terms(p) if len(m) == 1 and m[0][1] == 1 and m[0][0].kind != "symbol")
    return any(_bounded_nonnegative(p, atom, c) for atom, c in alone)


def _bounded_nonnegative(p: Dim, atom: Atom, c: int) -> bool:
    """Whether p, in which a floor, max or min stands with factor c, is >= 0 with bounds in the atom's place."""
    rest, (first, second) = p - c * atom_of(atom.kind, *atom.operands), atom.operands
    if atom.kind != "floor":
        one_is_enough = (c > 0) == (atom.kind == "max")  # a bound from below; else whichever of both it is
        return (any if one_is_enough else all)(is_nonnegative(rest + c * operand) for operand in (first, second))
    if not isinstance(second, int) or second < 1:
        return False
    return is_nonnegative(rest * second + c * (first if c < 0 else first - second + 1))


def is_positive(p: Dim) -> bool:
    """True if p >= 1 whatever the symbols; False means not known."""
    return is_nonnegative(p - 1)


def same(p: Dim, q: Dim) -> bool | None:
    """Whether two dimensions are equal: True, False, or None where it depends on the symbols."""
    if p is q:
        return True
    difference = p - q
    if isinstance(difference, int):
        return difference == 0
    return False if is_positive(difference) or is_positive(-difference) else None


def evaluate(p: Dim, values: Mapping[str, int]) -> int:
    """The value of p where the symbols have these values."""
    if isinstance(p, int):
        return p
    total = 0
    for monomial, coefficient in p.terms:
        for atom, power in monomial:
            coefficient *= atom.evaluate(values) ** power
        total += coefficient
    return total


def symbols(p: Dim) -> set[str]:
    """Names of the symbols in p."""
    found: set[str] = set()
    for monomial, _ in _terms(p):
        for atom, _ in monomial:
            found |= {atom.operands[0]} if atom.kind == "symbol" else set().union(*map(symbols, atom.operands))
    return found


def substitute(p: Dim, values: Mapping[str, Dim]) -> Dim:
    """p with dimensions put for symbols."""
    if isinstance(p, int):
        return p
    terms = ([_substitute_atom(a, values) for a, power in m for _ in range(power)] for m, _ in p.terms)
    return sum((c * product(factors) for factors, (_, c) in zip(terms, p.terms, strict=True)), 0)


def _substitute_atom(atom: Atom, values: Mapping[str, Dim]) -> Dim:
    if atom.kind == "symbol":
        name = atom.operands[0]
        return values[name] if name in values else symbol(name)
    p, q = (substitute(operand, values) for operand in atom.operands)
    return {"floor": floor_div, "max": dim_max, "min": dim_min}[atom.kind](p, q)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dimensions."""
    return math.prod(dims)
