"""Error of a float function in units of the spacing of floats at the exact value, and the points to measure it at.

The exact value is held in long double, whose 64 bits of mantissa (where the platform has them: WIDE) add 2^-11 of a
float64's spacing; it comes from NumPy's long double functions or, slowly but beyond doubt, from mpmath.  Beside a
float32 it is rounded to float64, which adds 2^-30 of a float32's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[Any]

WIDE = np.finfo(np.longdouble).nmant >= 63


def error(result: Floats, exact: Floats) -> Floats:
    """|result - exact| over the spacing of result's type at exact, point by point.

    An infinity counts as the float that would follow the largest, so that overflow one step early is an error of one.
    NaN for a number or a number for NaN, and a zero of the wrong sign, are errors of infinity.
    """
    info = np.finfo(result.dtype)
    wide = np.float64 if result.dtype == np.float32 else np.longdouble  # ten times slower
    beyond = np.ldexp(wide(1), int(info.maxexp))
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        got, want = (np.clip(values.astype(wide), -beyond, beyond) for values in (result, exact))
        distance = (np.abs(got - want) / spacing(want, result.dtype)).astype(np.float64)
    both_zero = (result == 0) & (exact == 0)
    wrong = (np.isnan(result) != np.isnan(exact)) | (both_zero & (np.signbit(result) != np.signbit(exact)))
    return np.where(wrong, np.inf, np.where(np.isnan(exact), 0.0, distance))


def spacing(exact: Floats, dtype: DTypeLike) -> Floats:
    """The distance between the floats of this type around the exact value, or beside the largest of them."""
    info = np.finfo(dtype)
    size = np.minimum(np.abs(exact), exact.dtype.type(info.max))
    near = size.astype(np.float64)
    near = np.where(near > size, np.nextafter(near, 0), near)  # not the power of two above it
    exponent = np.frexp(near)[1] - info.nmant - 1
    least = int(np.log2(np.longdouble(info.smallest_subnormal)))
    return np.ldexp(1.0, np.where(near > 0, np.maximum(exponent, least), least))


def worst(result: Floats, exact: Floats, *operands: Floats) -> tuple[float, tuple[float, ...]]:
    """The largest error and the operands at which it stands."""
    errors = error(result, exact)
    at = int(np.argmax(errors))
    return float(errors[at]), tuple(float(x[at]) for x in operands)


def exactly(function: Callable[..., Any], *operands: Floats, bits: int = 200) -> Floats:
    """mpmath's value of the function at each point, rounded to long double."""
    with mpmath.workprec(bits):
        return np.array([_long(function(*map(mpmath.mpf, map(float, point)))) for point in zip(*operands, strict=True)])


def _long(value: Any) -> Any:
    """A long double from an mpmath number, by two doubles of its mantissa, as its exponent may be too large for one."""
    mantissa, exponent = mpmath.frexp(value)
    high = float(mantissa)
    return np.ldexp(np.longdouble(high) + np.longdouble(float(mantissa - high)), exponent)


def steps(x: Floats, count: int) -> Floats:
    """The floats `count` steps away from zero from x: a function wrong by so many units."""
    for _ in range(count):
        x = np.nextafter(x, np.copysign(np.asarray(np.inf, x.dtype), x))
    return x


def _unsigned(dtype: DTypeLike) -> DTypeLike:
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


def finite(dtype: DTypeLike, count: int, rng: np.random.Generator) -> Floats:
    """Finite floats drawn uniformly over their bit patterns: as many between 2^-3 and 2^-2 as between 2^30 and 2^31."""
    unsigned = _unsigned(dtype)
    magnitudes = rng.integers(0, np.asarray(np.inf, dtype).view(unsigned), count, dtype=unsigned).view(dtype)
    signs: Floats = rng.choice(np.array([1, -1], dtype), count)
    return magnitudes * signs


def near(centre: float, dtype: DTypeLike, count: int, rng: np.random.Generator) -> Floats:
    """Floats on both sides of the centre: half of them its next neighbours, half at distances of every magnitude."""
    info, unsigned = np.finfo(dtype), _unsigned(dtype)
    size = abs(np.asarray(centre, dtype))
    bits = int(size.view(unsigned))
    largest = int(np.asarray(info.max).view(unsigned))
    first = min(max(0, bits - count // 4), largest - count // 2)
    neighbours = np.arange(first, first + count // 2).astype(unsigned).view(dtype)
    scale = size if size > 0 else np.asarray(1, dtype)
    deepest = info.nmant + 1 if size > 0 else -info.minexp + info.nmant
    distances = scale * np.exp2(-rng.uniform(0, deepest, count - neighbours.size)).astype(dtype)
    distances *= rng.choice(np.array([1, -1], dtype), distances.size)
    if size == 0:
        neighbours = neighbours * rng.choice(np.array([1, -1], dtype), neighbours.size)
    with np.errstate(over="ignore"):
        points = np.concatenate([neighbours, size + distances])
    sign = np.asarray(np.copysign(1.0, centre), dtype)
    return sign * points[np.isfinite(points)]
