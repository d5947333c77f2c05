"""The constants and coefficients of the vector math are the ones their comments say."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import minimax
import minimax_special
import mpmath
import numpy as np
import pytest

from graphc.codegen.intrinsics import (
    bessel,
    beta,
    exponential,
    exponents,
    gamma,
    logarithmic,
    normal,
    pairs,
    piecewise,
    power,
    special,
    trigonometric,
    zeta,
)
from graphc.codegen.intrinsics.inverses import ACCURATE_LOG2, ACCURATE_LOG10, INVERSES, Accurate

PAIRS = (
    (pairs.LN2, lambda: mpmath.log(2)),
    (pairs.LOG2_E, lambda: 1 / mpmath.log(2)),
    (pairs.LOG10_E, lambda: 1 / mpmath.log(10)),
    (pairs.LOG10_2, lambda: mpmath.log10(2)),
    (gamma.DIGAMMA_ZERO, lambda: mpmath.findroot(mpmath.digamma, gamma.DIGAMMA_ZERO[0])),
    (gamma.STIRLING_CONSTANT, lambda: (mpmath.log(2 * mpmath.pi) - 1) / 2),
    *((gamma.NEAR_TERMS[k], lambda k=k: minimax_special.taylor(1)[k]) for k in (0, 1)),
    *((gamma.MIDDLE_TERMS[k], lambda k=k: minimax_special.taylor(4)[k]) for k in (0, 1)),
)
TABLES = {
    "EXP_TAIL": exponential.EXP_TAIL,
    "EXP_TAIL_OF_STEP": exponential.EXP_TAIL_OF_STEP,
    "EXP2_OF_STEP": exponential.EXP2_OF_STEP,
    "SINH": exponential.SINH,
    "LOG_TAIL": logarithmic.LOG_TAIL,
    "LOG2_EXCESS": (logarithmic.LOG2_EXCESS,),
    "LOG_EXCESS": (logarithmic.LOG_EXCESS,),
    "LOG2_SLOPE": (ACCURATE_LOG2[0].slope, ACCURATE_LOG2[1].slope),
    "LOG10_SLOPE": (ACCURATE_LOG10[0].slope,),
    "LOG10_SLOPE_DOUBLE": ((), ACCURATE_LOG10[1].slope),
    "LOG2_TAIL": power.LOG2_TAIL[:1],
    "LOG2_TAIL_DOUBLE": ((), power.LOG2_TAIL[1]),
    "EXP2": exponential.EXP2,
    "SINE": trigonometric.SINE,
    "COSINE": trigonometric.COSINE,
    "TANGENT": trigonometric.TANGENT,
    "ARC_TANGENT": trigonometric.ARC_TANGENT,
    "ARC_TANGENT_OF_STEP": ((), trigonometric.ARC_TANGENT_OF_STEP),
    "ARC_SINE": trigonometric.ARC_SINE,
    "ERF": special.ERF,
    "LOG_ERFC": special.LOG_ERFC,
    "SCALED_ERFC": special.SCALED_ERFC,
}


def test_pairs_of_constants() -> None:
    for pair, value in PAIRS:
        with mpmath.workdps(60):
            exact = value()
            assert pair == (float(exact), float(exact - float(exact)))


def test_powers_between_whole_numbers() -> None:
    with mpmath.workdps(60):
        exact = [mpmath.mpf(2) ** (mpmath.mpf(k) / exponents.STEPS) for k in range(exponents.STEPS)]
        assert list(exponents.POWERS) == [float(power) for power in exact]
        nearest = [float(np.float32(power)) for power in exponents.POWERS]
        assert all(abs(n - e) <= mpmath.mpf(2) ** -24 for n, e in zip(nearest, exact, strict=True))


@pytest.mark.parametrize("fit", minimax.FITS, ids=lambda fit: fit.name)
def test_tables_are_the_fits(fit: minimax.Fit) -> None:
    single, *double = TABLES[fit.name]
    if single:
        assert tuple(np.float32(single)) == tuple(np.float32(minimax.coefficients(fit, False)))
    for table in double:
        assert table == minimax.coefficients(fit, True)


@pytest.mark.parametrize("fit", minimax_special.FITS, ids=lambda fit: fit.name)
def test_tables_of_special_functions_are_the_fits(fit: minimax_special.Fit) -> None:
    (table,) = (vars(module)[fit.name] for module in (beta, gamma, normal, bessel) if fit.name in vars(module))
    assert table == minimax_special.coefficients(fit)
    assert minimax_special.largest_error(fit, table) <= -fit.bits


@pytest.mark.parametrize("fit", minimax_special.PIECES, ids=lambda fit: fit.name)
def test_pieces_are_the_fits(fit: minimax_special.PieceFit) -> None:
    """Middles are where the function is a float but for 2^-61; pieces meet one another, and are found by their bits."""
    pieces, bounds = vars(piecewise)[fit.name], minimax_special.bounds_by_place(fit)
    assert pieces.shift == fit.shift
    assert len(pieces.middles) == len(pieces.polynomials) == len(bounds) == fit.pieces
    for middle, table, (low, high) in zip(pieces.middles, pieces.polynomials, bounds, strict=True):
        about = minimax_special.about(fit, middle, low, high)
        with mpmath.workdps(60):
            value = about.function(0)
            assert abs(mpmath.mpf(table[-1]) / value - 1) < mpmath.mpf(2) ** -61
        assert table == minimax_special.coefficients(about)
        assert minimax_special.largest_error(about, table) <= -fit.bits


@pytest.mark.parametrize("double", [False, True])
def test_inverses(double: bool) -> None:
    """What fma makes of m and its inverse is exact, and as small as the polynomial takes it; logarithms are right."""
    table, dtype = INVERSES[double], (np.float32, np.float64)[double]
    low, high = ((-0.0289, 0.0298), (-0.0508, 0.0547))[double]
    m = np.random.default_rng(0).uniform(0.75, 1.5, 10_000).astype(dtype)
    edges = (np.arange(3 * table.parts // 4, 3 * table.parts // 2) + 0.5) / table.parts
    m = np.concatenate([m, edges, np.nextafter(edges.astype(dtype), dtype(1)), [0.75, 1.5, 1.0]]).astype(dtype)
    for value in m.tolist():
        place = round(value * table.parts) % table.parts
        r = Fraction(value) * Fraction(table.inverse[place]) - 1
        assert Fraction(float(dtype(float(r)))) == r
        assert low < r < high
    exponents = np.arange(-1100, 1100) if double else np.arange(-150, 150)
    for c, log, rest in zip(table.inverse, table.log, table.rest, strict=True):
        assert all(dtype(k) + dtype(log) == k + Fraction(log) for k in exponents.tolist())
        with mpmath.workdps(60):
            assert abs(mpmath.mpf(log) + mpmath.mpf(rest) + mpmath.log(c, 2)) < (2.0**-90 if double else 2.0**-41)
    assert (table.inverse[0], table.log[0], table.rest[0]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("table", "dtype", "base", "bounds"),
    [
        (ACCURATE_LOG2[0], np.float32, 2, (-0.0391, 0.0421)),
        (ACCURATE_LOG2[1], np.float64, 2, (-0.0391, 0.0421)),
        (ACCURATE_LOG10[0], np.float32, 10, (-0.0387, 0.0415)),
        (ACCURATE_LOG10[1], np.float64, 10, (-0.0385, 0.0418)),
    ],
)
def test_accurate_tables(table: Accurate, dtype: Any, base: int, bounds: tuple[float, float]) -> None:
    """Logarithms are nearly floats, and what is left of a number is as small as the polynomial takes it."""
    for place in range(12, 25):
        c, log = (float(dtype(numbers[place % 16])) for numbers in (table.inverse, table.log))
        with mpmath.workdps(60):
            assert abs(mpmath.mpf(log) + mpmath.log(c, base)) <= np.spacing(dtype(abs(log))) / 2000
        edges = max(place - 0.5, 12) / 16, min(place + 0.5, 24) / 16
        assert all(bounds[0] < m * c - 1 < bounds[1] for m in edges)


def test_steps_of_arc_tangents() -> None:
    """Angles are nearly floats, and what is left of one is as small as the polynomial takes it."""
    last = len(trigonometric.SLOPES) - 1
    for place, (slope, angle) in enumerate(zip(trigonometric.SLOPES, trigonometric.ANGLES, strict=True)):
        with mpmath.workdps(60):
            assert abs(mpmath.mpf(angle) - mpmath.atan(slope)) <= np.spacing(angle) / 1000
        for ratio in (max(place - 0.501, 0) / last, min(place + 0.501, last) / last):
            assert abs(ratio - slope) / (1 + ratio * slope) < 0.0339


def test_rest_of_zeta() -> None:
    exact = [mpmath.bernoulli(2 * j) / mpmath.factorial(2 * j) for j in range(1, len(zeta.REST) + 1)]
    np.testing.assert_allclose(zeta.REST, [float(b) for b in exact], rtol=1e-15)
