"""betaln as an intrinsic, float32 and float64: gammaln a + gammaln b - gammaln(a + b), where a <= b.

    b < 8       the three as pairs, with a + b corrected for its rounding
    a < 8 <= b  gammaln a - a·log b + (a - (a + b - 1/2)·log(1 + a/b)) + what Stirling's formula lacks at b and a + b
    8 <= a      the same with Stirling's formula for a too: all large terms have one sign
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.codegen.intrinsics.gamma import FAR, gammaln_inner, gammaln_positive, log_as_pair, stirling_rest
from graphc.codegen.intrinsics.lanes import Lanes, in_float64, long_intrinsic
from graphc.codegen.intrinsics.logarithmic import log_one_plus, logarithm
from graphc.codegen.intrinsics.pairs import LN2, Pair, product, rough_inverse

HALF_LOG_TWO_PI = 0.9189385332046727


def _added(lanes: Lanes, first: Pair, second: Pair) -> Pair:
    high, low = lanes.two_sum(first[0], second[0])
    return high, lanes.add(low, lanes.add(first[1], second[1]))


def _small(lanes: Lanes, a: ir.Value, gamma_a: Pair, b: ir.Value, log_b: Pair) -> Pair:
    """For b < FAR; the slope of gammaln at a + b is about log(a + b) where its rounding counts."""
    high, low = lanes.two_sum(a, b)
    log = log_as_pair(lanes, high)
    whole = gammaln_positive(lanes, high, log)
    half_inverse = lanes.mul(rough_inverse(lanes, lanes.clamp(high, 1.0, 2 * FAR)), lanes.const(0.5))
    slope = lanes.sub(log[0], half_inverse)
    parts = _added(lanes, gamma_a, gammaln_inner(lanes, b, log_b))
    high, rest = lanes.two_sum(parts[0], lanes.neg(whole[0]))
    return high, lanes.add(rest, lanes.sub(parts[1], lanes.fma(low, slope, whole[1])))


def _large(lanes: Lanes, a: ir.Value, gamma_a: Pair, b: ir.Value, log_b: Pair) -> ir.Value:
    """For b >= FAR."""
    half, far = lanes.const(0.5), lanes.const(FAR)
    ratio = lanes.div(a, b)
    log_sum = log_one_plus(lanes, ratio)
    stirling = lanes.sub(stirling_rest(lanes, b), stirling_rest(lanes, lanes.add(a, b)))
    spread = lanes.fma(b, log_sum, lanes.mul(lanes.sub(a, half), log_sum))
    # a < FAR
    lead = product(lanes, (a, lanes.const(0.0)), log_b)
    high, low = lanes.two_sum(gamma_a[0], lanes.neg(lead[0]))
    low = lanes.add(lanes.sub(gamma_a[1], lead[1]), low)
    mixed = lanes.add(high, lanes.add(low, lanes.add(lanes.sub(a, spread), stirling)))
    # a >= FAR
    held = lanes.select(lanes.compare("<", a, far), far, a)
    between = lanes.mul(lanes.sub(a, half), logarithm(lanes, ratio, None, LN2))
    rest = lanes.add(lanes.const(HALF_LOG_TWO_PI), lanes.add(stirling, stirling_rest(lanes, held)))
    both = lanes.add(lanes.sub(between, spread), lanes.fma(log_b[0], lanes.const(-0.5), rest))
    return lanes.select(lanes.compare("<", a, far), mixed, both)


@long_intrinsic
@in_float64
def betaln(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """log B(x, y) for x, y >= 0, NaN below.  Next to its zeros the error counts in units of 1."""
    zero, infinity, far = lanes.const(0.0), lanes.const(math.inf), lanes.const(FAR)
    swap = lanes.compare(">", x, y)
    a, b = lanes.select(swap, y, x), lanes.select(swap, x, y)
    log_b = log_as_pair(lanes, b)
    gamma_a = gammaln_inner(lanes, a, log_as_pair(lanes, a))  # of a >= FAR it is not used
    near = lanes.compare("<", b, far)
    inner = lanes.select(near, b, lanes.const(1.0))
    small = _small(lanes, lanes.select(near, a, lanes.const(1.0)), gamma_a, inner, log_b)
    outer = lanes.select(near, far, b)
    value = lanes.select(near, lanes.add(*small), _large(lanes, a, gamma_a, outer, log_b))
    value = lanes.select(lanes.compare("==", b, infinity), lanes.neg(infinity), value)
    value = lanes.select(lanes.compare("==", a, zero), infinity, value)
    wrong = lanes.builder.or_(lanes.builder.fcmp_unordered("uno", x, y), lanes.compare("<", a, zero))
    return lanes.select(wrong, lanes.const(math.nan), value)
