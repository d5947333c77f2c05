"""What the scalar bodies of elementwise ops call beside vector math: extremes, rounding, division, choice and tests.

In: Numba scalars of one type, float32, float64 or any integer.  Out: a value of that type, or a truth value.
Loops vectorise all but `int_pow`, and `floor_divide` and `remainder` of floats where there is no fma.
Signs, NaN, infinities and division by zero are those of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from graphc.codegen.intrinsics.division import divided
from graphc.codegen.intrinsics.lanes import I64, Lanes, count_of, number_of, opaque


class Integers:
    """IR building on one integer type: what `Lanes` is for floats."""

    def __init__(self, builder: ir.IRBuilder, kind: Any) -> None:
        self.builder = builder
        self.signed = kind.signed
        self.bits = kind.bitwidth
        self.int = ir.IntType(kind.bitwidth)

    def const(self, value: int) -> ir.Constant:
        return ir.Constant(self.int, value)

    def compare(self, relation: str, a: ir.Value, b: ir.Value) -> ir.Value:
        return (self.builder.icmp_signed if self.signed else self.builder.icmp_unsigned)(relation, a, b)

    def select(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.select(condition, a, b)

    def negative(self, x: ir.Value) -> ir.Value:
        """Whether x < 0: never, if the type is unsigned."""
        return self.compare("<", x, self.const(0))


Kind = Lanes | Integers
Emitter = Callable[..., ir.Value]


def _kind(builder: ir.IRBuilder, x: Any, value: ir.Value) -> Kind:
    return Integers(builder, x) if isinstance(x, types.Integer) else Lanes(builder, x == types.float64, count_of(value))


def _intrinsic(emit: Emitter, result: Any) -> Any:
    """A Numba intrinsic of `emit(kind, *operands)`, the operands of one type; its result has type `result(operand)`."""

    def typed(*operands: Any) -> Any:
        x = operands[0]
        if not isinstance(x, (types.Float, types.Integer)) or any(o != x for o in operands):
            return None

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[ir.Value]) -> ir.Value:
            return emit(_kind(builder, x, args[0]), *args)

        return result(x)(*operands), codegen

    template: Any = lambda typingctx, x: typed(x)  # noqa: E731
    if emit.__code__.co_argcount == 3:
        template = lambda typingctx, x, y: typed(x, y)  # noqa: E731
    template.__name__, template.__doc__ = emit.__name__, emit.__doc__
    return intrinsic(template)


def pointwise(emit: Emitter) -> Any:
    """An intrinsic whose result has the type of its operands."""
    return _intrinsic(emit, lambda x: x)


def predicate(emit: Emitter) -> Any:
    """An intrinsic whose result is a truth value."""
    return _intrinsic(emit, lambda x: types.boolean)


# integers that wrap: what Numba makes of `x + y` lets LLVM conclude that it does not


def integers(kind: Kind) -> Integers:
    """The kind, if it is one of integers."""
    if not isinstance(kind, Integers):
        raise TypeError("this intrinsic takes integers")
    return kind


@pointwise
def plus(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """x + y modulo 2^bits."""
    return integers(kind).builder.add(x, y)


@pointwise
def minus(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """x - y modulo 2^bits."""
    return integers(kind).builder.sub(x, y)


@pointwise
def times(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """x * y modulo 2^bits."""
    return integers(kind).builder.mul(x, y)


@pointwise
def apart(kind: Kind, x: ir.Value) -> ir.Value:
    """x, of which LLVM does not know how it came about: products with it are not made of those with its factors."""
    n = integers(kind)
    return n.builder.trunc(opaque(n.builder, n.builder.zext(x, I64)), n.int)


# extremes and signs


def _better(kind: Kind, relation: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """y if `y relation x`, else x; NaN if either is.  The machine's max and min do the first choice in one step."""
    if isinstance(x, ir.Constant) and not isinstance(y, ir.Constant):
        x, y = y, x
    chosen = kind.select(kind.compare(relation, y, x), y, x)
    if not isinstance(kind, Lanes):
        return chosen
    if isinstance(y, ir.Constant):
        return _better_than_constant(kind, relation, x, y)
    meet = kind.builder.and_ if relation == ">" else kind.builder.or_
    zero = kind.as_float(meet(kind.as_int(x), kind.as_int(y)))  # of equals: two zeros, else x as it is
    chosen = kind.select(kind.compare("==", x, y), zero, chosen)
    return kind.select(kind.is_nan(y), y, chosen)


def _better_than_constant(kind: Lanes, relation: str, x: ir.Value, constant: ir.Constant) -> ir.Value:
    """The same by one comparison, which a NaN fails: which of two zeros wins is known, of other equals it is the same.

    LLVM 20 takes a second one, `x is NaN`, together with `|y| > 0` for `y > 0`.
    """
    number = number_of(constant)
    if math.isnan(number):
        return constant
    loses = number == 0 and (math.copysign(1, number) < 0) == (relation == ">")
    beats = relation if loses else f"{relation}="
    return kind.select(kind.compare(beats, constant, x), constant, x)


@pointwise
def fmax(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """The greater one, of zeros the positive one; NaN if either is."""
    return _better(kind, ">", x, y)


@pointwise
def fmin(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """The smaller one, of zeros the negative one; NaN if either is."""
    return _better(kind, "<", x, y)


@pointwise
def fabs(kind: Kind, x: ir.Value) -> ir.Value:
    """|x|; the most negative integer stays as it is."""
    if isinstance(kind, Lanes):
        return kind.abs(x)
    return kind.select(kind.negative(x), kind.builder.neg(x), x)


@pointwise
def sign(kind: Kind, x: ir.Value) -> ir.Value:
    """1, 0 or -1; NaN of NaN."""
    if isinstance(kind, Lanes):
        zero, one, minus, otherwise = kind.const(0.0), kind.const(1.0), kind.const(-1.0), kind.abs(x)
    else:
        zero, one, minus, otherwise = kind.const(0), kind.const(1), kind.const(-1), x
    below = kind.select(kind.compare("<", x, zero), minus, otherwise)
    return kind.select(kind.compare(">", x, zero), one, below)


@pointwise
def copysign(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """|x| with the sign bit of y; floats only."""
    return floats(kind).copysign(x, y)


# rounding


def floats(kind: Kind) -> Lanes:
    """The kind, if it is one of floats."""
    if not isinstance(kind, Lanes):
        raise TypeError("this intrinsic takes floats")
    return kind


@pointwise
def floor(kind: Kind, x: ir.Value) -> ir.Value:
    """The greatest integer <= x."""
    return floats(kind).call("floor", x)


@pointwise
def ceil(kind: Kind, x: ir.Value) -> ir.Value:
    """The least integer >= x."""
    return floats(kind).call("ceil", x)


@pointwise
def trunc(kind: Kind, x: ir.Value) -> ir.Value:
    """The nearest integer towards zero."""
    return floats(kind).call("trunc", x)


@pointwise
def rint(kind: Kind, x: ir.Value) -> ir.Value:
    """The nearest integer, the even one of two."""
    return floats(kind).rint(x)


# division


@pointwise
def floor_divide(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """floor(x / y); of integers 0 if y = 0; of floats from the exact remainder, x / y if y = 0."""
    return divided(kind, x, y, 0) if isinstance(kind, Lanes) else _divide_integers(kind, x, y)[0]


@pointwise
def remainder(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """x - y floor(x / y), exact, with the sign of y; if y = 0, it is 0 of integers and NaN of floats."""
    return divided(kind, x, y, 1) if isinstance(kind, Lanes) else _divide_integers(kind, x, y)[1]


def _divide_integers(n: Integers, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Quotient and remainder; where the machine would trap it divides by 1, which leaves x and 0."""
    builder, zero, one = n.builder, n.const(0), n.const(1)
    by_zero = n.compare("==", y, zero)
    if not n.signed:
        divisor = n.select(by_zero, one, y)
        quotient = _quotient(n, x, divisor)
        return n.select(by_zero, zero, quotient), builder.sub(x, builder.mul(quotient, divisor))
    most_negative = n.compare("==", x, n.const(-(1 << (n.bits - 1))))
    overflows = builder.and_(most_negative, n.compare("==", y, n.const(-1)))
    divisor = n.select(builder.or_(by_zero, overflows), one, y)
    quotient = _quotient(n, x, divisor)
    rest = builder.sub(x, builder.mul(quotient, divisor))
    differ = builder.and_(n.compare("!=", rest, zero), n.negative(builder.xor(rest, divisor)))
    quotient = n.select(differ, builder.sub(quotient, one), quotient)
    return n.select(by_zero, zero, quotient), n.select(differ, builder.add(rest, divisor), rest)


def _quotient(n: Integers, x: ir.Value, y: ir.Value) -> ir.Value:
    """x / y towards zero, y not 0, by floats that vectors can divide: of up to 16 bits float32, of 32 bits float64.

    A quotient that is not whole lies at least 1/|y| from a whole number, and its rounding moves it by less.
    """
    b = n.builder
    if n.bits == 64 or isinstance(y, ir.Constant):  # by a constant, LLVM multiplies
        return b.sdiv(x, y) if n.signed else b.udiv(x, y)
    kind: ir.Type = ir.FloatType() if n.bits <= 16 else ir.DoubleType()
    if n.signed:
        return b.fptosi(b.fdiv(b.sitofp(x, kind), b.sitofp(y, kind)), n.int)
    return b.fptoui(b.fdiv(b.uitofp(x, kind), b.uitofp(y, kind)), n.int)


@pointwise
def int_pow(kind: Kind, x: ir.Value, y: ir.Value) -> ir.Value:
    """x**y of integers by repeated squaring, modulo 2^bits; y < 0 gives 1/x rounded to zero, and 0 if x = 0."""
    if not isinstance(kind, Integers):
        raise TypeError("int_pow takes integers")
    builder, zero, one = kind.builder, kind.const(0), kind.const(1)
    negative = kind.negative(y)
    # of the integers only 1 and -1 have inverses: they are their own, so |y| does as well as y
    unit = builder.or_(kind.compare("==", x, one), kind.compare("==", x, kind.const(-1)))
    base = kind.select(builder.or_(builder.not_(negative), unit), x, zero)
    exponent = kind.select(negative, builder.neg(y), y)
    power, factor, left = (cgutils.alloca_once_value(builder, v) for v in (one, base, exponent))
    repeat, body, done = (builder.append_basic_block(f"int_pow.{name}") for name in ("repeat", "body", "done"))
    builder.branch(repeat)
    builder.position_at_end(repeat)
    builder.cbranch(kind.compare("!=", builder.load(left), zero), body, done)
    builder.position_at_end(body)
    n, f, p = builder.load(left), builder.load(factor), builder.load(power)
    odd = builder.trunc(n, ir.IntType(1))
    builder.store(kind.select(odd, builder.mul(p, f), p), power)
    builder.store(builder.mul(f, f), factor)
    builder.store(builder.lshr(n, one), left)
    builder.branch(repeat)
    builder.position_at_end(done)
    return builder.load(power)


# choice and tests


@intrinsic
def select(typingctx: Any, condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y; both are computed, so that no branch is left."""
    if x != y or not isinstance(condition, (types.Boolean, types.Integer)):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[ir.Value]) -> ir.Value:
        holds, a, b = args
        if not count_of(holds) and holds.type.width > 1:
            holds = builder.icmp_unsigned("!=", holds, ir.Constant(holds.type, 0))
        return builder.select(holds, a, b)

    return x(condition, x, y), codegen


@predicate
def isnan(kind: Kind, x: ir.Value) -> ir.Value:
    """Whether x is NaN; never, if it is an integer."""
    return kind.is_nan(x) if isinstance(kind, Lanes) else ir.Constant(ir.IntType(1), 0)


@predicate
def isinf(kind: Kind, x: ir.Value) -> ir.Value:
    """Whether x is infinite; never, if it is an integer."""
    if isinstance(kind, Lanes):
        return kind.compare("==", kind.abs(x), kind.const(float("inf")))
    return ir.Constant(ir.IntType(1), 0)


@predicate
def isfinite(kind: Kind, x: ir.Value) -> ir.Value:
    """Whether x is a finite number; always, if it is an integer."""
    if isinstance(kind, Lanes):
        return kind.compare("<", kind.abs(x), kind.const(float("inf")))
    return ir.Constant(ir.IntType(1), 1)
