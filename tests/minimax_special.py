"""How the polynomials of graphc's special functions are made.  Run it to print the tables.

As in `minimax.py`, for float64 alone, since all of these are computed in it: the fit is an interpolation at Chebyshev
points.  The three lowest coefficients are rounded one by one, each made good by the rest, the others at once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import mpmath
from minimax import DIGITS, chebyshev
from mpmath import mpf

from graphc.codegen.intrinsics.beta import GROUND
from graphc.codegen.intrinsics.gamma import DIGAMMA_GROUND, DIGAMMA_WHOLE, DIGAMMA_ZERO

REFITTED = 3

Real = Callable[[Any], Any]


@dataclass(frozen=True)
class Fit:
    """A polynomial for `function` between two bounds, with so many coefficients, and how many bits are right."""

    name: str
    function: Real
    low: Any
    high: Any
    count: int
    bits: float = 53.3


def around(function: Real, centre: Any) -> Real:
    """The function of x in terms of s = (x - centre)/(x + centre)."""
    return lambda s: function(centre * (1 + s) / (1 - s))


def at(x: Any, centre: Any) -> Any:
    """s for x."""
    return (mpf(x) - centre) / (mpf(x) + centre)


def in_inverse_square(function: Real) -> Real:
    return lambda z: function(1 / mpmath.sqrt(z))


def gammaln_over_zeros(x: Any) -> Any:
    return mpmath.loggamma(x) / ((x - 1) * (x - 2))


def taylor(centre: int) -> tuple[Any, Any]:
    """The two lowest coefficients of G in s: G and its slope at the centre."""
    if centre == 1:
        return mpmath.euler, 2 * (mpmath.euler - mpmath.zeta(2) / 2)
    value, slope = gammaln_over_zeros(mpf(centre)), mpmath.digamma(centre)
    zeros = mpf(centre - 1) * (centre - 2)
    return value, 2 * centre * (slope - value * (2 * centre - 3)) / zeros


def gammaln_beyond(centre: int) -> Real:
    """(G - its two lowest terms)/s²."""

    def function(s: Any) -> Any:
        first, second = taylor(centre)
        return (around(gammaln_over_zeros, centre)(s) - first - second * s) / s**2

    return function


def stirling_rest(x: Any) -> Any:
    """x times what Stirling's formula lacks of gammaln x."""
    return x * (mpmath.loggamma(x) - (x - mpf(1) / 2) * mpmath.log(x) + x - mpmath.log(2 * mpmath.pi) / 2)


def gammaln_rest(x: Any) -> Any:
    """What (x + 1/2)·log(x + GROUND) - x lacks of gammaln(x + 1), less log sqrt 2, since betaln's terms are halved."""
    lead = (x + mpf(1) / 2) * mpmath.log(x + GROUND) - x
    return mpmath.loggamma(x + 1) - lead - mpmath.log(2) / 2


def digamma_slope(x: Any) -> Any:
    """(x + DIGAMMA_GROUND)/d times what log(1 + d/DIGAMMA_WHOLE) lacks of digamma(x + 1) - 1/zero, d being x - zero."""
    zero = mpmath.findroot(mpmath.digamma, DIGAMMA_ZERO[0])
    above = x - zero
    return (x + DIGAMMA_GROUND) * (mpmath.digamma(x + 1) - 1 / zero - mpmath.log1p(above / DIGAMMA_WHOLE)) / above


def erfcx(x: Any) -> Any:
    return mpmath.exp(x * x) * mpmath.erfc(x)


def erfcx_far(x: Any) -> Any:
    return mpmath.sqrt(mpmath.pi) * x * erfcx(x)


def quantile(w: Any) -> Any:
    """erfinv(y)/y for w = -log(1 - y²), by Newton's method on log erfc where y is next to 1."""
    y = mpmath.sqrt(-mpmath.expm1(-w))
    if w < 2:
        return mpmath.erfinv(y) / y
    target, x = mpmath.log(mpmath.exp(-w) / (1 + y)), mpmath.sqrt(w) * mpf("0.9")
    step = mpf(1)
    while abs(step) > mpf(10) ** (8 - DIGITS):
        scaled = erfcx(x)
        step = (mpmath.log(scaled) - x * x - target) * scaled * mpmath.sqrt(mpmath.pi) / 2
        x += step
    return x / y


def bessel_near(order: int) -> Real:
    """I0(x) and I1(x)/(x/2) for x²/4."""
    return lambda q: mpmath.besseli(order, 2 * mpmath.sqrt(q)) / mpmath.sqrt(q) ** order


def bessel_far(order: int) -> Real:
    """sqrt(x)·exp(-x)·I(x) for 20/x - 1."""

    def function(v: Any) -> Any:
        x = 20 / (1 + v)
        return mpmath.sqrt(x) * mpmath.exp(-x) * mpmath.besseli(order, x)

    return function


THIRD = mpf(1) / 3
MEDIUM, FAR = mpf("3.875"), mpf("12.8")  # centres of square roots of w

FITS = (
    Fit("GAMMALN_NEAR", gammaln_beyond(1), -THIRD, THIRD, 20, 52),
    Fit("GAMMALN_MIDDLE", gammaln_beyond(4), -THIRD, THIRD, 20, 52),
    Fit("STIRLING", in_inverse_square(stirling_rest), mpf(0), mpf(1) / 64, 7),
    Fit("REST", around(gammaln_rest, GROUND), mpf(-1), mpf(1), 17),
    Fit("DIGAMMA_SLOPE", around(digamma_slope, DIGAMMA_GROUND), mpf(-1), mpf(1), 18),
    Fit("ERFCX_FAR", in_inverse_square(erfcx_far), mpf(0), mpf("27.5") ** -2, 6),
    Fit("QUANTILE_NEAR", lambda v: quantile(v + mpf("3.125")), mpf("-3.125"), mpf("3.125"), 26),
    Fit("QUANTILE_MEDIUM", around(lambda r: quantile(r * r), MEDIUM), at(2.5, MEDIUM), at(6.01, MEDIUM), 26),
    Fit("QUANTILE_FAR", around(lambda r: quantile(r * r), FAR), at(6, FAR), at(27.3, FAR), 26),
    Fit("I0_NEAR", bessel_near(0), mpf(0), mpf(25), 20),
    Fit("I1_NEAR", bessel_near(1), mpf(0), mpf(25), 20),
    Fit("I0_FAR", bessel_far(0), mpf(-1), mpf(1), 22),
    Fit("I1_FAR", bessel_far(1), mpf(-1), mpf(1), 22),
)


@dataclass(frozen=True)
class PieceFit:
    """Polynomials for `function` from 0 on by halves of the octaves of x + shift, so many as a register or two hold."""

    name: str
    function: Real
    shift: float
    pieces: int
    count: int
    bits: float


PIECES = (PieceFit("ERFCX", erfcx, 2.0, 8, 19, 56.3), PieceFit("QUANTILE", quantile, 3.0, 16, 16, 54.3))


def bounds_by_place(fit: PieceFit) -> tuple[tuple[float, float], ...]:
    """Where each piece begins and ends, by its place."""
    found: dict[int, tuple[float, float]] = {}
    low = fit.shift
    for _ in range(fit.pieces):
        octave = 2.0 ** math.floor(math.log2(low))
        high = 1.5 * octave if low < 1.5 * octave else 2 * octave
        found[_place(low, fit.pieces)] = (low - fit.shift, high - fit.shift)
        low = high
    return tuple(found[place] for place in range(fit.pieces))


def _place(shifted: float, pieces: int) -> int:
    """The low bits of the exponent and the first digit after the point, as by_pieces takes them."""
    return (struct.unpack("<Q", struct.pack("<d", shifted))[0] >> 51) % pieces


def middle(fit: PieceFit, low: float, high: float) -> float:
    """Next to the middle, where the function is nearest to a float."""
    unit = (high - low) * 2.0**-16

    def distance(x: float) -> Any:
        exact = fit.function(mpf(x))
        return abs(mpf(float(exact)) / exact - 1)

    with mpmath.workdps(DIGITS):
        return min(((low + high) / 2 + k * unit for k in range(-500, 501)), key=distance)


def about(fit: PieceFit, middle: float, low: float, high: float) -> Fit:
    """The polynomial of a piece, in what x is beyond the middle."""
    low, high = mpf(low) - middle, mpf(high) - middle
    return Fit(fit.name, lambda x: fit.function(x + mpf(middle)), low, high, fit.count, fit.bits)


def coefficients(fit: Fit) -> tuple[float, ...]:
    """Highest power first, as the intrinsics have them."""
    with mpmath.workdps(DIGITS):
        points = chebyshev(fit.low, fit.high, fit.count + 2)
        rest = [fit.function(x) for x in points]
        found: list[float] = []
        for power in range(REFITTED + 1):
            rows = [[x**j for j in range(power, fit.count)] for x in points]
            solution = mpmath.qr_solve(mpmath.matrix(rows), mpmath.matrix(rest))[0]
            if power == REFITTED:
                return tuple(reversed([*found, *map(float, solution)]))
            found.append(float(solution[0]))
            rest = [y - mpf(found[-1]) * x**power for x, y in zip(points, rest, strict=True)]
        raise AssertionError


def largest_error(fit: Fit, table: tuple[float, ...]) -> float:
    """The largest relative error, as a power of two."""
    with mpmath.workdps(DIGITS):
        points = chebyshev(fit.low, fit.high, 100)
        values = ((reduce(lambda p, c, x=x: p * x + c, map(mpf, table)), fit.function(x)) for x in points)
        return float(mpmath.log(max(abs(value / exact - 1) for value, exact in values), 2))


if __name__ == "__main__":
    for fit in FITS:
        table = coefficients(fit)
        print(f"{fit.name} 2^{largest_error(fit, table):.1f}\n    {', '.join(map(repr, table))}")
    for pieces in PIECES:
        for bounds in bounds_by_place(pieces):
            fit = about(pieces, middle(pieces, *bounds), *bounds)
            table = coefficients(fit)
            print(f"{fit.name} from {bounds[0]} about {bounds[0] - float(fit.low)}, 2^{largest_error(fit, table):.1f}")
            print(f"    {', '.join(map(repr, table))}")
