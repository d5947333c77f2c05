"""exp and what is made of it, as intrinsics: exp exp2 expm1 tanh sinh cosh sigmoid, float32 and float64.

All of them but exp2 reduce x = n·ln2 + r with n whole and |r| <= ln2/2, and take e^r = 1 + r·(1 + r·EXP_TAIL(r)), what
is least added first.  With AVX-512 powers alone take n in sixteenths, 2^n from a register and a shorter polynomial
(Tang 1989, Table-driven implementation of the exponential function).
Polynomials: weighted least squares on Chebyshev points with mpmath (tests/minimax.py), highest power first.
Errors: the two numbers after a docstring's formula are the largest measured, float32 and float64, in units of the
spacing at the exact value.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from graphc.codegen.intrinsics import instructions
from graphc.codegen.intrinsics.exponents import (
    Step,
    between_steps,
    held_rest,
    nearest,
    nearest_step,
    power_of_two,
    scale,
)
from graphc.codegen.intrinsics.lanes import Lanes, float_intrinsic
from graphc.codegen.intrinsics.pairs import LN2, LOG2_E, Pair, brief_quotient, constant
from graphc.codegen.intrinsics.target import underflows_slowly

# (e^r - 1 - r)/r² on |r| <= ln2/2; the error relative to r is 2^-26.1 and 2^-55.6
EXP_TAIL = (
    (0.001393369, 0.0083668195, 0.041666478, 0.1666654, 0.5),
    (2.5109145832168022e-08, 2.762631306591546e-07, 2.7557243862350308e-06, 2.4801504476758892e-05,
     0.00019841269886514685, 0.0013888888932357046, 0.008333333333321454, 0.04166666666657367,
     0.16666666666666677, 0.5000000000000006),
)
# the same for |r| <= ln2/32; the error relative to e^r is 2^-29.2 and 2^-56.1
EXP_TAIL_OF_STEP = (
    (0.16667016, 0.5000166),
    (0.0013889121584890664, 0.0083334757817992, 0.04166666666000484, 0.1666666666428039, 0.5000000000000006),
)
# (2^r - 1)/r for |r| <= 1/2; the error relative to 2^r is 2^-28.2 and 2^-59.4
EXP2 = (
    (0.00015456358, 0.0013391643, 0.009618077, 0.05550358, 0.2402265, 0.6931472),
    (
        2.551622817412896e-11, 4.465566862098615e-10, 7.055064418414828e-09, 1.0177985498492046e-07,
        1.3215486312772803e-06, 1.5252734037022494e-05, 0.000154035303940562, 0.0013333558146164316,
        0.009618129107628048, 0.055504108664822936, 0.24022650695910072, 0.6931471805599453,
    ),
)  # fmt: skip
# the same for |r| <= 1/32; the error relative to 2^r is 2^-29.1 and 2^-56.9
EXP2_OF_STEP = (
    (0.055502977, 0.2402345, 0.6931472),
    (0.0001540378171619128, 0.0013333823890094485, 0.009618129106191553, 0.05550410865159974, 0.24022650695910094,
     0.693147180559947),
)  # fmt: skip
# (sinh x - x)/x³ in x² for x up to 1.2; the error relative to sinh is 2^-30.9 and 2^-58.9
SINH = (
    (2.8480201e-06, 0.00019829524, 0.008333393, 0.16666666),
    (7.808832551689229e-13, 1.6055302609926747e-10, 2.5052153206764707e-08, 2.7557318928696396e-06,
     0.00019841269842312846, 0.008333333333331576, 0.16666666666666677),
)
# Where e^x has rounded to 0 and where it has overflowed
EXP_RANGE = ((-104.0, 89.0), (-746.0, 710.0))


class Reduced(NamedTuple):
    """x = n·ln2 + r + low: n whole, low the part of r below its last place."""

    n: ir.Value
    r: ir.Value
    low: ir.Value


def whole_and_rest(lanes: Lanes, x: ir.Value) -> Pair:
    """n and x - n·LN2[0]."""
    n = nearest(lanes, x, LOG2_E[0])
    return n, _exact_rest(lanes, n, x)


def _exact_rest(lanes: Lanes, n: ir.Value, x: ir.Value) -> ir.Value:
    """x - n·LN2[0], exact by fma, being a small multiple of 2^-53, or of 2^-57 (Cody and Waite 1980)."""
    return lanes.fma(lanes.neg(n), constant(lanes, LN2)[0], x)


def reduce(lanes: Lanes, high: ir.Value, low: ir.Value | None = None) -> Reduced:
    """The reduction of high + low."""
    n, exact = whole_and_rest(lanes, high)
    minus_n, ln2 = lanes.neg(n), constant(lanes, LN2)[1]
    rest = lanes.mul(minus_n, ln2) if low is None else lanes.fma(minus_n, ln2, low)  # may be fused with the sum
    return Reduced(n, *lanes.fast_two_sum(exact, rest))


def tail(lanes: Lanes, r: ir.Value) -> ir.Value:
    """e^r - 1 - r."""
    return lanes.mul(lanes.mul(r, r), lanes.two_chains(r, lanes.table(*EXP_TAIL)))


def step_and_rest(lanes: Lanes, high: ir.Value, low: ir.Value | None = None) -> tuple[Step, ir.Value]:
    """high + low as a step's n·ln2 and a rest, without what that loses."""
    step = nearest_step(lanes, high, LOG2_E[0])
    minus_n, ln2_low = lanes.neg(step.n), constant(lanes, LN2)[1]
    exact = _exact_rest(lanes, step.n, high)
    if low is None:
        return step, lanes.fma(minus_n, ln2_low, exact)
    return step, lanes.add(exact, lanes.fma(minus_n, ln2_low, low))


def exp_of_rest(lanes: Lanes, step: Step, r: ir.Value) -> ir.Value:
    """What `scale` by the step makes e^x."""
    if step.place is None:
        return exp_near_zero(lanes, r)
    return between_steps(lanes, step.place, rise_of_rest(lanes, r))


def rise_of_rest(lanes: Lanes, r: ir.Value) -> ir.Value:
    """e^r - 1 for what a step of a sixteenth leaves."""
    return lanes.mul(r, lanes.horner(r, (*lanes.table(*EXP_TAIL_OF_STEP), 1.0)))


def exp_of(lanes: Lanes, high: ir.Value, low: ir.Value | None = None) -> ir.Value:
    """e^(high + low) for high within EXP_RANGE."""
    step, r = step_and_rest(lanes, high, low)
    return scale(lanes, exp_of_rest(lanes, step, r), step.n)


def normal_exp_of(lanes: Lanes, x: ir.Value) -> ir.Value:
    """e^x where that is a normal number."""
    step, r = step_and_rest(lanes, x)
    power = exp_of_rest(lanes, step, r)
    return scale(lanes, power, step.n) if instructions.there() else lanes.mul(power, power_of_two(lanes, step.n))


def exp_of_any(lanes: Lanes, x: ir.Value) -> ir.Value:
    """e^x."""
    limits = lanes.pick(*EXP_RANGE)
    gone = lanes.compare("<", x, lanes.const(limits[0]))
    step, r = step_and_rest(lanes, _held(lanes, x, limits))
    r = held_rest(lanes, r, LN2[0])
    return scale(lanes, unless(lanes, gone, exp_of_rest(lanes, step, r)), step.n)


def exp_of_negative(lanes: Lanes, x: ir.Value) -> ir.Value:
    """e^x for x <= 0, by whole steps alone: the powers between are rounded, which sigmoid could not bear."""
    lowest = lanes.const(lanes.pick(*EXP_RANGE)[0])
    gone = lanes.compare("<", x, lowest)
    reduced = reduce(lanes, lanes.select(gone, lowest, x))
    return scale(lanes, unless(lanes, gone, exp_near_zero(lanes, reduced.r)), reduced.n)


def unless(lanes: Lanes, gone: ir.Value, power: ir.Value) -> ir.Value:
    """The power, or 0 where it would underflow to that, unless the processor finds it by itself as fast."""
    return lanes.select(gone, lanes.const(0.0), power) if underflows_slowly() else power


def _held(lanes: Lanes, x: ir.Value, limits: tuple[float, float]) -> ir.Value:
    """x within its limits, unless `held_rest` does for that."""
    return x if instructions.there() else lanes.clamp(x, *limits)


def exp_near_zero(lanes: Lanes, r: ir.Value) -> ir.Value:
    """e^r, the addition of 1 last."""
    one = lanes.const(1.0)
    slope = lanes.fma(r, lanes.horner(r, lanes.table(*EXP_TAIL)), one)
    return lanes.fma(r, slope, one)


def _exp2_of_rest(lanes: Lanes, step: Step, r: ir.Value) -> ir.Value:
    """What `scale` by the step makes 2^x."""
    if step.place is None:
        return exp2_near_zero(lanes, r)
    return between_steps(lanes, step.place, lanes.mul(r, lanes.horner(r, lanes.pick(*EXP2_OF_STEP))))


def exp2_near_zero(lanes: Lanes, r: ir.Value) -> ir.Value:
    """2^r, the addition of 1 last."""
    return lanes.fma(r, lanes.horner(r, lanes.pick(*EXP2)), lanes.const(1.0))


@float_intrinsic
def exp(lanes: Lanes, x: ir.Value) -> ir.Value:
    """e^x = 2^n·e^r; 0.93 or 1.0, and 0.92 or 1.13."""
    return exp_of_any(lanes, x)


@float_intrinsic
def exp2(lanes: Lanes, x: ir.Value) -> ir.Value:
    """2^x = 2^n·2^(x - n), n the step nearest to x; 0.88 or 0.99, and 0.86 or 1.08."""
    limits = lanes.pick((-151.0, 129.0), (-1077.0, 1025.0))
    gone = lanes.compare("<", x, lanes.const(limits[0]))
    x = _held(lanes, x, limits)
    step = nearest_step(lanes, x)
    r = held_rest(lanes, lanes.sub(x, step.n))
    return scale(lanes, unless(lanes, gone, _exp2_of_rest(lanes, step, r)), step.n)


@float_intrinsic
def expm1(lanes: Lanes, x: ir.Value) -> ir.Value:
    """e^x - 1 = 2·((2^(n-1) - 1/2) + 2^(n-1)·(e^r - 1)), where 2^n might overflow; 1.36 and 1.22."""
    n, high = whole_and_rest(lanes, lanes.clamp(x, *lanes.pick((-20.0, 89.0), (-40.0, 710.0))))
    power, half = power_of_two(lanes, lanes.sub(n, lanes.const(1.0))), lanes.const(0.5)
    minus_low = lanes.neg(constant(lanes, LN2)[1])
    low = lanes.fma(n, minus_low, tail(lanes, lanes.fma(n, minus_low, high)))
    value = lanes.fma(power, low, lanes.fma(power, high, lanes.sub(power, half)))
    return lanes.copysign(lanes.add(value, value), x)


@float_intrinsic
def tanh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """t/(t + 2) for t = e^2|x| - 1 = 2^n·(e^r - 1) + (2^n - 1); 1.81 and 1.77."""
    size, one = lanes.abs(x), lanes.const(1.0)
    limit, twice = lanes.const(lanes.pick(20.0, 44.0)), lanes.add(size, size)
    n, r = whole_and_rest(lanes, lanes.select(lanes.compare(">", twice, limit), limit, twice))
    power, rest = power_of_two(lanes, n), tail(lanes, r)
    if lanes.double:  # ln2 as float32 is off by 0.03 units only
        rest = lanes.fma(n, lanes.neg(constant(lanes, LN2)[1]), rest)
    t = lanes.fma(power, lanes.add(r, rest), lanes.sub(power, one))
    return lanes.copysign(brief_quotient(lanes, t, lanes.fast_two_sum(lanes.const(2.0), t)), x)


@float_intrinsic
def sigmoid(lanes: Lanes, x: ir.Value) -> ir.Value:
    """1/(1 + e^-x), below 0 e^x/(1 + e^x); 1.97 and 1.91."""
    one = lanes.const(1.0)
    power = exp_of_negative(lanes, lanes.neg(lanes.abs(x)))
    numerator = lanes.select(lanes.compare("<", x, lanes.const(0.0)), power, one)
    whole, lost = lanes.fast_two_sum(one, power)
    value = lanes.div(numerator, whole)
    return lanes.fma(lanes.neg(value), lost, value)  # what counts for small powers, where the whole is about 1


def half_exp(lanes: Lanes, size: ir.Value) -> tuple[ir.Value, ir.Value]:
    """e^size/2 and e^-size/2 for size >= 0; the first overflows where sinh and cosh do."""
    limit = lanes.const(lanes.pick(89.5, 710.6))
    reduced = reduce(lanes, lanes.select(lanes.compare(">", size, limit), limit, size))
    rise = scale(lanes, exp_near_zero(lanes, reduced.r), lanes.sub(reduced.n, lanes.const(1.0)))
    return rise, lanes.div(lanes.const(0.25), rise)


@float_intrinsic
def sinh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """(e^|x| - e^-|x|)/2, below 1.2 |x| + |x|³·SINH(x²); 1.62 and 1.62."""
    size = lanes.abs(x)
    square = lanes.mul(size, size)
    near = lanes.fma(lanes.mul(square, size), lanes.horner(square, lanes.table(*SINH)), size)
    far = lanes.sub(*half_exp(lanes, size))
    return lanes.copysign(lanes.select(lanes.compare("<", size, lanes.const(1.2)), near, far), x)


@float_intrinsic
def cosh(lanes: Lanes, x: ir.Value) -> ir.Value:
    """(e^|x| + e^-|x|)/2; 1.36 and 1.37."""
    return lanes.add(*half_exp(lanes, lanes.abs(x)))
