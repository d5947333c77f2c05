"""Tables of short inverses c of numbers m from 3/4 to 3/2, and of -log2 c, by which a logarithm begins (Tang 1990).

log2 m = -log2 c + log2(1 + r) with r = m·c - 1.  Each c has so few bits that r has no more than a float, so fma makes
it without error; where m is next to 1, c is 1.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np


class Inverses(NamedTuple):
    """By the lowest bits of the whole number nearest to m·parts: c; -log2 c in whole numbers of a unit, to which any
    exponent can be added without error; and what is missing of it."""

    parts: int
    inverse: tuple[float, ...]
    log: tuple[float, ...]
    rest: tuple[float, ...]


def _table(parts: int, unit: float, double: bool) -> Inverses:
    rows = [(1.0, 0.0, 0.0)] * parts
    for place in range(3 * parts // 4, 3 * parts // 2 + 1):
        c = _short_inverse(max(place - 0.5, 0.75 * parts) / parts, min(place + 0.5, 1.5 * parts) / parts)
        log = _minus_log2(c)
        high = math.floor(log / Decimal(unit) + Decimal("0.5")) * unit
        rest = float(log - Decimal(high))
        rows[place % parts] = c, high, rest if double else float(np.float32(rest))
    return Inverses(parts, *zip(*rows, strict=True))


def _short_inverse(low: float, high: float) -> float:
    """The c for which m·c - 1 is smallest for m from low to high, of those for which it is exact."""

    def largest(c: float) -> float:
        return max(abs(low * c - 1), abs(high * c - 1))

    most = 2.0 if low >= 1 else 1.0  # of what r may be, times the bits of c: floats below 1 lie closer
    inverses = [(count / 2**bits, most / 2**bits) for bits in range(8) for count in range(2**bits * 3 // 2 + 1)]
    return float(min((c for c, limit in inverses if largest(c) <= limit), key=largest))


def _minus_log2(c: float) -> Decimal:
    with localcontext() as context:
        context.prec = 50
        return -(Decimal(c).ln() / Decimal(2).ln())


# float32 and float64, as many as two registers of AVX-512 have lanes
INVERSES = _table(32, 2.0**-16, double=False), _table(16, 2.0**-42, double=True)
