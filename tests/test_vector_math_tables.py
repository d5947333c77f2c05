"""The constants and coefficients of the vector math are the ones their comments say."""

from __future__ import annotations

import minimax
import mpmath
import numpy as np
import pytest

from graphc.codegen.intrinsics import exponential, logarithmic, pairs, power, special, trigonometric

PAIRS = (
    (pairs.LN2, lambda: mpmath.log(2)),
    (pairs.LOG2_E, lambda: 1 / mpmath.log(2)),
    (pairs.LOG10_E, lambda: 1 / mpmath.log(10)),
    (pairs.LOG10_2, lambda: mpmath.log10(2)),
    (power.TWELFTH, lambda: mpmath.mpf(1) / 12),
)
TABLES = {
    "EXP_TAIL": exponential.EXP_TAIL,
    "SINH_TAIL": exponential.SINH_TAIL,
    "COSH_TAIL": exponential.COSH_TAIL,
    "LOG_TAIL": logarithmic.LOG_TAIL,
    "POW_TAIL": power.POW_TAIL,
    "INVERSE_CUBE_ROOT": (power.INVERSE_CUBE_ROOT,),
    "SINE": trigonometric.SINE,
    "COSINE": trigonometric.COSINE,
    "ARC_TANGENT": trigonometric.ARC_TANGENT,
    "ARC_SINE": trigonometric.ARC_SINE,
    "ERF": special.ERF,
    "SCALED_ERFC": special.SCALED_ERFC,
}


def test_pairs_of_constants() -> None:
    for pair, value in PAIRS:
        with mpmath.workdps(60):
            exact = value()
            assert pair == (float(exact), float(exact - float(exact)))


@pytest.mark.parametrize("fit", minimax.FITS, ids=lambda fit: fit.name)
def test_tables_are_the_fits(fit: minimax.Fit) -> None:
    single, *double = TABLES[fit.name]
    assert tuple(np.float32(single)) == tuple(np.float32(minimax.coefficients(fit, False)))
    for table in double:
        assert table == minimax.coefficients(fit, True)
