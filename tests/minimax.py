"""How the polynomials of graphc's vector math are made.  Run it to print the tables.

A fit is weighted least squares on Chebyshev points, which is within a small factor of the best possible.  Coefficients
are rounded to the float type one by one, lowest power first, and the rest fitted again after each, so that the small
ones make good the rounding of the large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

DIGITS = 60

Real = Callable[[Any], Any]


@dataclass(frozen=True)
class Fit:
    """A polynomial for `function` between two bounds: how many coefficients for float32 and float64, and the weight
    that makes an error of the polynomial one of the result (where the two are not wanted, 0)."""

    name: str
    function: Real
    weight: Real
    bounds: Callable[[], tuple[Any, Any]]
    counts: tuple[int, int]


def log_tail(square: Any) -> Any:
    """(2·atanh(t/2) - t)/t³ for t² given."""
    t = mpmath.sqrt(square)
    return (2 * mpmath.atanh(t / 2) - t) / t**3


def log2_tail(r: Any) -> Any:
    """(log2(1 + r) - log2(e)·(r - r²/2))/r³."""
    return (mpmath.log1p(r) - r + r**2 / 2) / r**3 / mpmath.log(2)


def half_ln2() -> Any:
    return mpmath.log(2) / 2


def step_bounds(unit: Any) -> tuple[Any, Any]:
    """Half a sixteenth of a unit, and a little where steps are rounded."""
    return -unit * mpf("1.01") / 32, unit * mpf("1.01") / 32


def log_bounds() -> tuple[Any, Any]:
    """t² for t = f/(1 + f/2) with f up to 1/2."""
    return mpf(0), mpf(4) / 25


def fraction_bounds() -> tuple[Any, Any]:
    """f where 1 + f is from 3/4 to 3/2."""
    return mpf(-1) / 4, mpf(1) / 2


def angle_bounds() -> tuple[Any, Any]:
    """Squares of what the reduction leaves of an angle: a quarter of pi, and a little where turns are rounded."""
    return mpf(0), (mpf("1.01") * mpmath.pi / 4) ** 2


def half_bounds() -> tuple[Any, Any]:
    return mpf(0), mpf(1) / 4


def odd_tail(function: Real) -> Real:
    """(f x - x)/x³ of an odd function for x² given."""
    return lambda z: (function(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1) / z


def scaled_erfc(q: Any) -> Any:
    """(P - 1)/(1 + q) with P = (1 + 2x)·exp(x²)·erfc x and q = (x - 3.5)/(x + 3.5)."""
    x = mpf(3.5) * (1 + q) / (1 - q)
    return ((1 + 2 * x) * mpmath.exp(x * x) * mpmath.erfc(x) - 1) / (1 + q)


FITS = (
    Fit("EXP_TAIL", lambda r: (mpmath.expm1(r) - r) / r**2, lambda r: r, lambda: (-half_ln2(), half_ln2()), (5, 10)),
    Fit("EXP_TAIL_OF_STEP", lambda r: (mpmath.expm1(r) - r) / r**2, lambda r: r**2, lambda: step_bounds(mpmath.log(2)),
        (2, 5)),
    Fit("EXP2_OF_STEP", lambda r: mpmath.expm1(r * mpmath.log(2)) / r, lambda r: r, lambda: step_bounds(mpf(1)),
        (3, 6)),
    Fit("SINH", odd_tail(mpmath.sinh), lambda z: z * mpmath.sqrt(z) / mpmath.sinh(mpmath.sqrt(z)),
        lambda: (mpf(0), mpf("1.2") ** 2), (4, 7)),
    Fit("LOG_TAIL", log_tail, lambda z: z, log_bounds, (3, 8)),
    Fit("LOG_EXCESS", lambda f: (f - mpmath.log1p(f)) / f**2, lambda f: f, fraction_bounds, (9, 0)),
    Fit("LOG2_EXCESS", lambda f: (f - mpmath.log1p(f)) / f**2 / mpmath.log(2), lambda f: f * mpmath.log(2),
        fraction_bounds, (9, 0)),
    Fit("LOG2_SLOPE", lambda r: mpmath.log1p(r) / r / mpmath.log(2), lambda r: mpmath.log(2),
        lambda: (mpf("-0.0391"), mpf("0.0421")), (5, 10)),
    Fit("LOG10_SLOPE", lambda r: mpmath.log1p(r) / r / mpmath.log(10), lambda r: mpmath.log(10),
        lambda: (mpf("-0.0387"), mpf("0.0415")), (5, 0)),
    Fit("LOG10_SLOPE_DOUBLE", lambda r: mpmath.log1p(r) / r / mpmath.log(10), lambda r: mpmath.log(10),
        lambda: (mpf("-0.0385"), mpf("0.0418")), (0, 10)),
    Fit("LOG2_TAIL", log2_tail, lambda r: mpf(1), lambda: (mpf("-0.0289"), mpf("0.0298")), (3, 0)),
    Fit("LOG2_TAIL_DOUBLE", log2_tail, lambda r: mpf(1), lambda: (mpf("-0.0508"), mpf("0.0547")), (0, 10)),
    Fit("EXP2", lambda r: mpmath.expm1(r * mpmath.log(2)) / r, lambda r: r, lambda: (mpf(-1) / 2, mpf(1) / 2), (6, 12)),
    Fit("SINE", odd_tail(mpmath.sin), lambda z: z, angle_bounds, (3, 6)),
    Fit("COSINE", lambda z: (mpmath.cos(mpmath.sqrt(z)) - 1 + z / 2) / z**2, lambda z: z**2, angle_bounds, (3, 6)),
    Fit("TANGENT", odd_tail(mpmath.tan), lambda z: z * mpmath.sqrt(z) / mpmath.tan(mpmath.sqrt(z)), angle_bounds,
        (6, 14)),
    Fit("ARC_TANGENT", odd_tail(mpmath.atan), lambda z: z, lambda: (mpf(0), mpf(1)), (9, 20)),
    Fit("ARC_TANGENT_OF_STEP", odd_tail(mpmath.atan), lambda z: z, lambda: (mpf(0), mpf("0.0339") ** 2), (0, 4)),
    Fit("ARC_SINE", odd_tail(mpmath.asin), lambda z: z, half_bounds, (5, 13)),
    Fit("ERF", lambda z: mpmath.erf(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1, lambda z: mpf(1),
        lambda: (mpf(0), mpf(1)), (7, 12)),
    Fit("LOG_ERFC", lambda x: mpmath.log(mpmath.erfc(x)), mpmath.erfc, lambda: (mpf(1), mpf(6)), (7, 18)),
    Fit("SCALED_ERFC", scaled_erfc, lambda q: 1 + q, lambda: (mpf(-1), mpf(7) / 9), (10, 22)),
)  # fmt: skip


def chebyshev(low: Any, high: Any, count: int) -> list[Any]:
    angles = (mpmath.pi * (2 * i + 1) / (2 * count) for i in range(count))
    return [(low + high) / 2 + (high - low) / 2 * mpmath.cos(angle) for angle in angles]


def coefficients(fit: Fit, double: bool) -> tuple[float, ...]:
    """Highest power first, as the intrinsics have them."""
    with mpmath.workdps(DIGITS):
        count = fit.counts[double]
        points = chebyshev(*fit.bounds(), 5 * count)
        weights, rest = [fit.weight(x) for x in points], [fit.function(x) for x in points]
        found: list[float] = []
        for power in range(count):
            rows = [[w * x**j for j in range(power, count)] for w, x in zip(weights, points, strict=True)]
            values = [w * y for w, y in zip(weights, rest, strict=True)]
            lowest = float(mpmath.qr_solve(mpmath.matrix(rows), mpmath.matrix(values))[0][0])
            found.append(lowest if double else float(np.float32(lowest)))
            rest = [y - mpf(found[-1]) * x**power for x, y in zip(points, rest, strict=True)]
        return tuple(reversed(found))


def largest_error(fit: Fit, table: tuple[float, ...]) -> float:
    """The largest weighted error, as a power of two."""
    with mpmath.workdps(DIGITS):
        points = chebyshev(*fit.bounds(), 499)
        errors = (fit.weight(x) * (fit.function(x) - mpmath.polyval(list(map(mpf, table)), x)) for x in points)
        return float(mpmath.log(max(map(abs, errors)), 2))


if __name__ == "__main__":
    for fit in FITS:
        for double in (False, True):
            if fit.counts[double]:
                table = coefficients(fit, double)
                shown = ", ".join(repr(c) if double else str(np.float32(c)) for c in table)
                print(f"{fit.name} float{64 if double else 32} 2^{largest_error(fit, table):.1f}\n    {shown}")
