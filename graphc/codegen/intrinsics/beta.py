"""betaln as an intrinsic, float32 and float64: one formula for all a <= b.

With gammaln(x + 1) = (x + 1/2)·log(x + g) - x + rest(x), where rest is smooth from 0 to infinity, and c = a + b

    betaln = a·log((a + g)/(c + g)) + b·log((b + g)/(c + g)) - log(a·(b/c)/sqrt p) + rest(a) + rest(b) - rest(c)
    p = (a + g)·(b + g)/(c + g)

Its terms are no larger than the result, but where that is next to 0, and what 1/(c + g) is wrong by the first two make
good between them.  The rest is a polynomial in s = (x - g)/(x + g).  All sums are taken of halves, lest they overflow.
Polynomial: interpolation at Chebyshev points with mpmath (tests/minimax_special.py), highest power first.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, in_plain_float64, shortened
from graphc.codegen.intrinsics.logarithmic import log_in_terms, log_terms
from graphc.codegen.intrinsics.pairs import LN2, Pair

GROUND = 1.625  # g
# less log sqrt 2, since p is halved; error 2^-53.8
REST = (
    5.357648393137696e-12, -4.720991823857123e-11, 1.278307332488517e-10, -5.418430072233448e-10,
    2.9641001791255697e-09, -1.2348148067248725e-08, 5.816521920791731e-08, -2.7819130195987477e-07,
    1.2745241616137464e-06, -6.1992512946602594e-06, 3.062845130174935e-05, -0.00015173176830568134,
    0.0008021239845659654, -0.004563334319944361, 0.028066409635466655, -0.22693222298419075,
    -0.8498817754810652,
)  # fmt: skip
RESTS = (shortened(REST, 1.0), REST)
TINY = (2.0**-900, 200)  # what is less has to be 2^200 times as large, lest products of it be subnormal


def _slope(lanes: Lanes, inverse: ir.Value) -> ir.Value:
    """rest(x), but for its constant, given 1/(x/2 + g/2)."""
    s = lanes.fma(inverse, lanes.const(-GROUND), lanes.const(1.0))
    return lanes.mul(s, lanes.horner(s, lanes.table(*RESTS)[:-1]))


def _log_complement(lanes: Lanes, w: ir.Value) -> Pair:
    """log(1 - w) for w from 0 to 1/2."""
    high = lanes.compare(">", w, lanes.const(0.25))
    f = lanes.select(high, lanes.fma(w, lanes.const(-2.0), lanes.const(1.0)), lanes.neg(w))
    return log_terms(lanes, lanes.select(high, lanes.const(-1.0), lanes.const(0.0)), f)


def _positive(lanes: Lanes, a: ir.Value, b: ir.Value) -> ir.Value:
    """betaln for 0 < a <= b < inf."""
    half, one, ground = lanes.const(0.5), lanes.const(1.0), lanes.const(GROUND / 2)
    limit, doublings = TINY
    tiny = lanes.compare("<", a, lanes.const(limit))
    x, y = lanes.mul(lanes.select(tiny, lanes.const(limit), a), half), lanes.mul(b, half)
    x_up, y_up = lanes.add(x, ground), lanes.add(y, ground)
    inverse = lanes.div(one, lanes.add(y_up, x))
    share, ratio = lanes.mul(x, inverse), lanes.mul(x_up, inverse)
    slopes = lanes.add(_slope(lanes, lanes.div(one, x_up)), _slope(lanes, lanes.div(one, y_up)))
    slopes = lanes.sub(slopes, _slope(lanes, inverse))
    root = lanes.sqrt(lanes.mul(x_up, lanes.sub(one, share)))
    up = lanes.const(2.0 ** (doublings - 1))
    low = lanes.select(tiny, lanes.mul(a, up), x)
    high = lanes.select(tiny, lanes.mul(lanes.select(lanes.compare("<", b, one), b, one), up), y)
    factor = lanes.mul(lanes.div(root, low), lanes.div(lanes.add(low, high), high))
    shift = lanes.select(tiny, lanes.const(doublings * LN2[0] + REST[-1]), lanes.const(REST[-1]))
    terms = (one, log_in_terms(lanes, factor)), (b, _log_complement(lanes, share)), (a, log_in_terms(lanes, ratio))
    value = lanes.add(slopes, shift)
    for part in (1, 0):  # the larger terms last
        for multiple, log in terms:
            value = lanes.fma(multiple, log[part], value)
    return value


@float_intrinsic
@in_plain_float64
def betaln(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """log B(x, y) for x, y >= 0, NaN below.  Next to its zeros the error counts in units of 1."""
    zero, one, infinity = lanes.const(0.0), lanes.const(1.0), lanes.const(math.inf)
    swap = lanes.compare(">", x, y)
    a, b = lanes.select(swap, y, x), lanes.select(swap, x, y)
    value = _positive(lanes, a, b)
    value = lanes.select(lanes.compare("==", b, infinity), lanes.neg(infinity), value)
    value = lanes.select(lanes.compare("==", a, zero), infinity, value)
    uniform = lanes.builder.and_(lanes.compare("==", a, one), lanes.compare("==", b, one))
    wrong = lanes.builder.or_(lanes.builder.fcmp_unordered("uno", x, y), lanes.compare("<", a, zero))
    return lanes.select(wrong, lanes.const(math.nan), lanes.select(uniform, zero, value))
