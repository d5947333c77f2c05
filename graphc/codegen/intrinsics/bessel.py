"""Exponentially scaled modified Bessel functions of order 0 and 1 as intrinsics, float32 and float64.

    |x| < 10    exp(-|x|)·P(x²/4), P the power series, all of whose terms are positive (for I1 times x/2)
    beyond      P(20/|x| - 1)/sqrt|x|

Polynomials: interpolation at Chebyshev points with mpmath (tests/minimax_special.py), highest power first.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from graphc.codegen.intrinsics.exponential import exp_of
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic, in_plain_float64

# error 2^-54.6
I0_NEAR = (
    1.242386709255715e-34, 1.7351861597031836e-32, 8.415322527648029e-30, 2.2594353579451245e-27,
    5.856628926522908e-25, 1.3155526766768224e-22, 2.5789740029876572e-20, 4.3583829407634844e-18,
    6.276082155461239e-16, 7.594058354857519e-14, 7.594058433172707e-12, 6.151187326522551e-10,
    3.936759889150595e-08, 1.929012345678757e-06, 6.944444444444488e-05, 0.0017361111111111106,
    0.027777777777777776, 0.25, 1.0, 1.0,
)  # fmt: skip
# error 2^-55.8
I1_NEAR = (
    2.3909330249785267e-35, -3.342658592206438e-33, 9.391671630230458e-31, 1.0096975224382097e-28,
    3.8081261652611417e-26, 8.720918617360407e-24, 1.843360306231164e-21, 3.3523670150941934e-19,
    5.230102856443392e-17, 6.9036855432140504e-15, 7.594058766923884e-13, 6.834652563209047e-11,
    4.9209498624992545e-09, 2.7557319223609244e-07, 1.1574074074083213e-05, 0.000347222222222208,
    0.006944444444444457, 0.08333333333333333, 0.5, 1.0,
)  # fmt: skip
# error 2^-54.0
I0_FAR = (
    -8.725600616782947e-14, 3.2006938581455625e-12, 3.195254244699186e-12, -2.221505691085246e-11,
    -2.5111442255290387e-11, 6.498592637284887e-11, 1.028147837957813e-10, -7.437572665504225e-11,
    -2.431538031498036e-10, -1.2746900599634426e-10, 1.5183980134227467e-10, 3.8259007323496515e-10,
    6.335088275633722e-10, 1.2770739221150075e-09, 3.5594786515911603e-09, 1.3635716301817486e-08,
    7.078400266813156e-08, 5.041257050145761e-07, 5.152033951243811e-06, 8.311327263898362e-05,
    0.002645885967186205, 0.4015097608312065,
)  # fmt: skip
# error 2^-54.0
I1_FAR = (
    -2.5179334887882442e-15, -3.3917371879989533e-12, -2.6613406517203503e-12, 2.3588483180754447e-11,
    2.399708446150354e-11, -6.95932298667852e-11, -1.0337816407937556e-10, 8.273310115349318e-11,
    2.52133635401027e-10, 1.2651931952896799e-10, -1.6468541076682057e-10, -4.0695520655702533e-10,
    -6.79524562659108e-10, -1.3925015725742035e-09, -3.965004387510427e-09, -1.5598728660797966e-08,
    -8.389643157545683e-08, -6.294295917367173e-07, -7.012361313314784e-06, -0.00013480146633963391,
    -0.007730905126755941, 0.39133972251206706,
)  # fmt: skip
FAR_FROM = 10.0


def _scaled(lanes: Lanes, size: ir.Value, order: int, series: Sequence[float], far: Sequence[float]) -> ir.Value:
    """exp(-size)·series(size²/4), times size/2 for order 1; or the far polynomial over the root.

    The rounding of size²/4 is made good in the exponent: where it counts the series grows as exp(size).
    """
    half = lanes.mul(lanes.clamp(size, 0.0, FAR_FROM), lanes.const(0.5))
    square, low = lanes.two_product(half, half)
    lost = lanes.div(low, lanes.clamp(half, 1.0, FAR_FROM))
    near = lanes.mul(exp_of(lanes, lanes.mul(half, lanes.const(-2.0)), lost), lanes.horner(square, series))
    near = lanes.mul(near, half) if order == 1 else near
    inverse = lanes.div(lanes.const(1.0), lanes.clamp(size, FAR_FROM, float("inf")))
    polynomial = lanes.horner(lanes.fma(inverse, lanes.const(2 * FAR_FROM), lanes.const(-1.0)), far)
    outer = lanes.div(polynomial, lanes.sqrt(size))
    return lanes.select(lanes.compare("<", size, lanes.const(FAR_FROM)), near, outer)


@float_intrinsic
@in_plain_float64
def i0e(lanes: Lanes, x: ir.Value) -> ir.Value:
    """exp(-|x|)·I0(x)."""
    return _scaled(lanes, lanes.abs(x), 0, I0_NEAR, I0_FAR)


@float_intrinsic
@in_plain_float64
def i1e(lanes: Lanes, x: ir.Value) -> ir.Value:
    """exp(-|x|)·I1(x), an odd function."""
    return lanes.copysign(_scaled(lanes, lanes.abs(x), 1, I1_NEAR, I1_FAR), x)
