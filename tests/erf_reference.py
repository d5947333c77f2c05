"""erf and erfc in long double, for whole arrays: NumPy has them in no type, SciPy in float64 only.

erfcx = exp(x²)·erfc x is smooth, so a Taylor polynomial about the nearest multiple of 1/16 gives it; the coefficients
follow from erfcx' = 2x·erfcx - 2/sqrt(pi), in mpmath.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[Any]

STEPS, LAST, TERMS = 16, 30, 18  # grid points to a unit, end of the grid, terms of a Taylor polynomial (|h| <= 1/32)
SERIES = 28  # terms of erf's series, for |x| <= 1


def _long(value: Any) -> Any:
    high = float(value)
    return np.longdouble(high) + np.longdouble(float(value - high))


@cache
def _taylor() -> Floats:
    """Row k, column i: the k-th Taylor coefficient of erfcx at i / STEPS."""
    with mpmath.workdps(60):
        slope = 2 / mpmath.sqrt(mpmath.pi)
        columns = []
        for i in range(STEPS * LAST + 1):
            x = mpmath.mpf(i) / STEPS
            c = [mpmath.exp(x * x) * mpmath.erfc(x)]
            c.append(2 * x * c[0] - slope)
            for k in range(1, TERMS - 1):
                c.append((2 * x * c[k] + 2 * c[k - 1]) / (k + 1))
            columns.append([_long(value) for value in c])
    return np.array(columns, np.longdouble).T.copy()


@cache
def _series() -> list[Any]:
    """Coefficients of erf x / x in x²."""
    with mpmath.workdps(60):
        scale = 2 / mpmath.sqrt(mpmath.pi)
        return [_long(scale * (-1) ** n / (mpmath.factorial(n) * (2 * n + 1))) for n in range(SERIES)]


def _erfc_positive(x: Floats) -> Floats:
    """exp(-x²)·erfcx x, with x² = s² + (x - s)(x + s), s of 32 bits, so that no rounding of x² is amplified."""
    x = np.where(x > LAST, np.longdouble(LAST), x)  # where erfc is below any float64
    place = np.rint(np.where(np.isnan(x), 0, x) * STEPS).astype(np.int64)
    h = x - place / np.longdouble(STEPS)
    value = np.zeros_like(x)
    for coefficients in _taylor()[::-1]:
        value = value * h + coefficients[place]
    s = np.rint(x * 2.0**26) / 2.0**26
    return value * np.exp(-s * s) * np.exp(-(x - s) * (x + s))


def erfc(x: Floats) -> Floats:
    if x.dtype == np.float64:
        return np.asarray(special.erfc(x))
    positive = _erfc_positive(np.abs(x))
    return np.where(x < 0, 2 - positive, positive)


def erf(x: Floats) -> Floats:
    if x.dtype == np.float64:
        return np.asarray(special.erf(x))
    square = np.minimum(x * x, 1)
    value = np.zeros_like(x)
    for coefficient in _series()[::-1]:
        value = value * square + coefficient
    far = np.copysign(1 - _erfc_positive(np.abs(x)), x)
    return np.where(np.abs(x) <= 1, value * x, far)
