"""Tables of inverses c of numbers m from 3/4 to 3/2, and of -log c, by which a logarithm begins.

log m = -log c + log(1 + r) with r = m·c - 1; where m is next to 1, c is 1.  For a logarithm that has to be better than
its type (INVERSES), each c has so few bits that r has no more than a float, and fma makes it without error (Tang 1990).
For one that has not, each c is one whose logarithm is nearly a float (ACCURATE_*; Gal 1986).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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

    def inverses(of: int) -> Iterator[float]:
        near = range(math.floor((of - most) / high), math.ceil((of + most) / low) + 1)
        return (c for c in (count / of for count in near) if largest(c) <= most / of)

    return min((c for bits in range(8) for c in inverses(2**bits)), key=largest)


def _minus_log2(c: float) -> Decimal:
    with localcontext() as context:
        context.prec = 50
        return -(Decimal(c).ln() / Decimal(2).ln())


# float32 and float64, as many as two registers of AVX-512 have lanes
INVERSES = _table(32, 2.0**-16, double=False), _table(16, 2.0**-42, double=True)


class Accurate(NamedTuple):
    """By the lowest bits of the whole number nearest to 16·m: c, and -log c, to a 2,000th of its last place; and the
    polynomial log(1 + r)/r, highest power first (tests/minimax.py)."""

    inverse: tuple[float, ...]
    log: tuple[float, ...]
    slope: tuple[float, ...]


# Of float32 and float64.  r is from -0.0391 to 0.0421 and from -0.0385 to 0.0417, the error is 2^-26.1 and 2^-55.9;
# of log10 from -0.0387 to 0.0415 and from -0.0385 to 0.0418, and 2^-25.3 and 2^-55.1.
ACCURATE_LOG2 = (
    Accurate(
        (1.0, 0.9416143, 0.88934195, 0.84247124, 0.8000308, 0.7621539, 0.727235, 0.695387,
         0.6668252, 1.0, 1.0, 1.0, 1.3337849, 1.2300788, 1.1422507, 1.0658835),
        (0.0, 0.08679191, 0.16918986, 0.24730065, 0.3218725, 0.3918457, 0.45950642, 0.524112,
         0.5846195, 0.0, 0.0, 0.0, -0.41552606, -0.29875076, -0.19187927, -0.092049785),
        (0.26498848, -0.36107823, 0.4809461, -0.7213474, 1.442695),
    ),
    Accurate(
        (1.0, 0.9411691841155572, 0.8889010446267898, 0.8421203124757539, 0.8000189202467327, 0.7619062509236443,
         0.7272574271402299, 0.6956614516579116, 0.6666672971977312, 1.0, 1.0, 1.0, 1.3332881029437393,
         1.23074958230877, 1.1428540781717125, 1.0666475903229236),
        (0.0, 0.087474010461448, 0.1699052724265748, 0.2479017311771731, 0.3218939751081653, 0.39231460326880885,
         0.45946196991631716, 0.5235427153103314, 0.5849611362257415, 0.0, 0.0, 0.0, -0.41498855820465663,
         -0.2995372499516822, -0.19264120920654543, -0.0930836028984037),
        (-0.14142905005332485, 0.16072333232304187, -0.18034700369593437, 0.20609891464566363, -0.24044916233344063,
         0.2885390081715573, -0.3606737602266397, 0.4808983469630935, -0.7213475204444812, 1.4426950408889634),
    ),
)  # fmt: skip
ACCURATE_LOG10 = (
    Accurate(
        (1.0, 0.9410119, 0.8885929, 0.8416596, 0.80031466, 0.76188225, 0.72726387, 0.69553876,
         0.6668601, 1.0, 1.0, 1.0, 1.3330427, 1.2305058, 1.1428922, 1.0658978),
        (0.0, 0.026404882, 0.05129716, 0.074863516, 0.096739225, 0.11811215, 0.13830799, 0.15767866,
         0.17596526, 0.0, 0.0, 0.0, -0.124844074, -0.09008367, -0.058005285, -0.027715575),
        (0.099069126, -0.10876634, 0.14474012, -0.21714714, 0.4342945),
    ),
    Accurate(
        (1.0, 0.9411850155357987, 0.8889044958139232, 0.8421234078241863, 0.7999979964046082, 0.7618773907001037,
         0.7272663460780089, 0.695640380396755, 0.6666902032271285, 1.0, 1.0, 1.0, 1.3333814859383382,
         1.2307740865324148, 1.142894147262841, 1.0666316364006103),
        (0.0, 0.02632499577769976, 0.05114489726272219, 0.07462426074518634, 0.09691110069744674, 0.1181149142598773,
         0.1383065087447732, 0.15761521609645823, 0.17607592662883678, 0.0, 0.0, 0.0, -0.12495442063307381,
         -0.09017834377102249, -0.05800600870808737, -0.028014460755495227),
        (-0.04209132608250533, 0.04835043951704413, -0.05429127766085434, 0.062042059626814236, -0.07238240894547546,
         0.08685889626607095, -0.10857362047758705, 0.14476482730116083, -0.21714724095162574, 0.4342944819032518),
    ),
)  # fmt: skip
