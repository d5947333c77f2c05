"""LLVM IR for vector math: a thin vocabulary over llvmlite's builder, the same for float32 and float64.

In: Numba's IR builder inside an intrinsic.  Out: values on it.  Every function built here is straight-line code
(selects, no branches, no memory), so that LLVM's loop vectoriser turns one lane into a full vector.
The only fast-math flag of a compiled module is `contract`; code that compensates rounding must therefore ask for
`fma` explicitly and never rely on `a*b` being rounded before it is added.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from graphc.codegen.intrinsics import instructions

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


LONG, PART = 20, 8  # terms of a polynomial that is taken by parts, and of a part


class Lanes:
    """One float type's worth of IR building.

    `double` tells which of float32 and float64 the values are; `bits` is 32 or 64, `mantissa` 23 or 52.
    `count`: values are vectors of so many lanes; 0: they are one lane.
    `plain`: roundings are not made good; `short`: no more is wanted than float32 has.
    """

    plain = short = False

    def __init__(self, builder: ir.IRBuilder, double: bool, count: int = 0) -> None:
        self.builder = builder
        self.double = double
        self.count = count
        self.bits = 64 if double else 32
        self.mantissa = 52 if double else 23
        self.bias = 1023 if double else 127
        self.float: ir.Type = self._wide(ir.DoubleType() if double else ir.FloatType())
        self.int: ir.Type = self._wide(I64 if double else I32)

    def like(self, builder: ir.IRBuilder, count: int) -> Lanes:
        """Lanes of the same kind, so many of them, in another function."""
        return Lanes(builder, self.double, count)

    def _wide(self, lane: ir.Type) -> ir.Type:
        return ir.VectorType(lane, self.count) if self.count else lane

    # constants
    def const(self, value: float) -> ir.Constant:
        return self._all(self.float, float(value if self.double else np.float32(value)))

    def integer(self, value: int) -> ir.Constant:
        return self._all(self.int, value)

    def _all(self, kind: ir.Type, value: Any) -> ir.Constant:
        return ir.Constant(kind, value)

    def pick(self, single: Any, double: Any) -> Any:
        """Whichever of the two belongs to this float type: a limit, a table of coefficients."""
        return double if self.double else single

    def table(self, single: Any, double: Any) -> Any:
        """Whichever of two tables of coefficients is as good as the values are to be."""
        return double if self.double and not self.short else single

    # floating arithmetic
    def call(self, name: str, *args: ir.Value) -> ir.Value:
        """`llvm.<name>` on floats of this type, for instance fma, rint, fabs, copysign, minnum."""
        kind = (f"v{self.count}" if self.count else "") + ("f64" if self.double else "f32")
        signature = ir.FunctionType(self.float, [self.float] * len(args))
        function = cgutils.get_or_insert_function(self.builder.module, signature, f"llvm.{name}.{kind}")
        return self.builder.call(function, args)

    def instruction(self, name: str, *args: ir.Value) -> ir.Value:
        """One of AVX-512 on floats of this type (graphc.codegen.intrinsics.instructions)."""
        return instructions.instruction(self.builder, name, *args)

    def lookup(self, name: str, table: Sequence[float], place: ir.Value) -> ir.Value:
        """The number at an integer's lowest bits, of a table of 16 float64 or 32 float32 for which the name stands."""
        return instructions.lookup(self.builder, name, table, self.float, place)

    @property
    def has_tables(self) -> bool:
        """Whether tables of 16 of these floats, which are float64, lie in registers, as steps and pieces want it."""
        return self.double and instructions.there()

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b)

    def mul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fmul(a, b)

    def div(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fdiv(a, b)

    def neg(self, a: ir.Value) -> ir.Value:
        return self.builder.fneg(a)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self.call("fma", a, b, c)

    def abs(self, a: ir.Value) -> ir.Value:
        return self.call("fabs", a)

    def sqrt(self, a: ir.Value) -> ir.Value:
        return self.call("sqrt", a)

    def rint(self, a: ir.Value) -> ir.Value:
        return self.call("rint", a)

    def copysign(self, magnitude: ir.Value, sign: ir.Value) -> ir.Value:
        return self.call("copysign", magnitude, sign)

    def horner(self, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
        """The polynomial with these coefficients, highest power first."""
        return self._polynomial(x, [self.const(c) for c in coefficients])

    def horner_of(self, x: ir.Value, *choices: tuple[ir.Value | None, Sequence[float]]) -> ir.Value:
        """The polynomial of the first table whose condition holds, the last one's being None."""
        length = max(len(table) for _, table in choices)
        tables = [(condition, (*[0.0] * (length - len(table)), *table)) for condition, table in choices]

        def chosen(position: int) -> ir.Value:
            value: ir.Value = self.const(tables[-1][1][position])
            for condition, table in tables[-2::-1]:
                value = self.select(condition, self.const(table[position]), value)
            return value

        return self._polynomial(x, list(map(chosen, range(length))))

    def _polynomial(self, x: ir.Value, terms: Sequence[ir.Value]) -> ir.Value:
        """By Horner's rule; a long one by parts, which do not wait for one another."""
        if len(terms) < LONG:
            p = terms[0]
            for c in terms[1:]:
                p = self.fma(p, x, c)
            return p
        first = len(terms) % PART or PART
        parts = [terms[:first], *(terms[k : k + PART] for k in range(first, len(terms), PART))]
        power = x
        for _ in range(PART.bit_length() - 1):
            power = self.mul(power, power)
        return self._polynomial(power, [self._polynomial(x, part) for part in parts])

    # error-free transformations: pairs whose unevaluated sum is the exact result
    def two_sum(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        """a + b and its rounding error; a product among them has to be a `rounded_product`."""
        s = self.add(a, b)
        t = self.sub(s, a)
        return s, self.add(self.sub(a, self.sub(s, t)), self.sub(b, t))

    def fast_two_sum(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The same in half the steps, for |a| >= |b| or a = 0."""
        s = self.add(a, b)
        return s, self.add(self.sub(a, s), b)

    def rounded_product(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a * b where `contract` cannot reach it (a zero comes out as +0)."""
        return self.fma(a, b, self.const(0.0))

    def two_product(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        """a * b and its rounding error."""
        p = self.rounded_product(a, b)
        return p, self.fma(a, b, self.neg(p))

    def two_chains(self, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
        """The same polynomial as even(x²) + x·odd(x²): one multiplication more, half the latency."""
        return self.chains_of(x, [self.const(c) for c in coefficients])

    def chains_of(self, x: ir.Value, terms: Sequence[ir.Value]) -> ir.Value:
        """The same for coefficients that lanes choose."""
        square = self.mul(x, x)
        even, odd = (self._polynomial(square, terms[last::-2][::-1]) for last in (-1, -2))
        return self.fma(x, odd, even)

    # choice
    def compare(self, relation: str, a: ir.Value, b: ir.Value) -> ir.Value:
        """Ordered comparison (false if an operand is NaN): relation is one of < <= == > >= !=."""
        return self.builder.fcmp_ordered(relation, a, b)

    def is_nan(self, a: ir.Value) -> ir.Value:
        return self.either_nan(a, a)

    def either_nan(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fcmp_unordered("uno", a, b)

    def select(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.select(condition, a, b)

    def clamp(self, x: ir.Value, low: float, high: float) -> ir.Value:
        """x held between the two bounds; NaN stays NaN."""
        x = self.select(self.compare(">", x, self.const(high)), self.const(high), x)
        return self.select(self.compare("<", x, self.const(low)), self.const(low), x)

    def bound(self, x: ir.Value, low: float, high: float) -> ir.Value:
        """The same, but NaN becomes `high`."""
        x = self.select(self.compare("<", x, self.const(high)), x, self.const(high))
        return self.select(self.compare(">", x, self.const(low)), x, self.const(low))

    # bits
    def as_int(self, a: ir.Value) -> ir.Value:
        return self.builder.bitcast(a, self.int)

    def as_float(self, a: ir.Value) -> ir.Value:
        return self.builder.bitcast(a, self.float)

    def sign_bit(self, a: ir.Value) -> ir.Value:
        """The sign of `a` as an integer: all bits but the top one clear."""
        return self.builder.and_(self.as_int(a), self.integer(1 << (self.bits - 1)))

    def flip(self, a: ir.Value, sign_bit: ir.Value) -> ir.Value:
        """-a where the sign bit is set, else a; bit for bit, zeros included."""
        return self.as_float(self.builder.xor(self.as_int(a), sign_bit))

    def from_int(self, a: ir.Value) -> ir.Value:
        return self.builder.sitofp(a, self.float)

    # widths
    def widen(self, a: ir.Value) -> ir.Value:
        return self.builder.fpext(a, self._wide(ir.DoubleType()))

    def narrow(self, a: ir.Value) -> ir.Value:
        return self.builder.fptrunc(a, self._wide(ir.FloatType()))

    def in_double(self) -> Lanes:
        return self if self.double else Lanes(self.builder, True, self.count)

    def without_pairs(self) -> PlainLanes:
        return PlainLanes(self.builder, self.double, self.count, self.short)


class PlainLanes(Lanes):
    """What roundings lose is the constant 0, and folded away."""

    plain = True

    def __init__(self, builder: ir.IRBuilder, double: bool, count: int = 0, short: bool = False) -> None:
        super().__init__(builder, double, count)
        self.short = short
        self.nothing = self.const(0.0)

    def like(self, builder: ir.IRBuilder, count: int) -> Lanes:
        return PlainLanes(builder, self.double, count, self.short)

    def _is_nothing(self, a: ir.Value) -> bool:
        return isinstance(a, ir.Constant) and number_of(a) == 0

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        if self._is_nothing(a):
            return b
        return a if self._is_nothing(b) else super().add(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return a if self._is_nothing(b) else super().sub(a, b)

    def mul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.nothing if self._is_nothing(a) or self._is_nothing(b) else super().mul(a, b)

    def neg(self, a: ir.Value) -> ir.Value:
        return a if self._is_nothing(a) else super().neg(a)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        if self._is_nothing(a) or self._is_nothing(b):
            return c
        return self.mul(a, b) if self._is_nothing(c) else super().fma(a, b, c)

    def select(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        return a if self._is_nothing(a) and self._is_nothing(b) else super().select(condition, a, b)

    def two_sum(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        return self.add(a, b), self.nothing

    def fast_two_sum(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        return self.add(a, b), self.nothing

    def two_product(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        return self.mul(a, b), self.nothing

    def rounded_product(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.mul(a, b)


def shortened(table: Sequence[float], reach: float, bits: int = 27) -> tuple[float, ...]:
    """The polynomial by the Chebyshev terms that count on [-reach, reach], where so many bits are wanted."""
    powers = [c * reach**k for k, c in enumerate(reversed(table))]
    terms = np.polynomial.chebyshev.poly2cheb(powers)
    count = max(k for k, c in enumerate(terms) if abs(c) >= abs(terms[0]) * 2.0**-bits) + 1
    short = np.polynomial.chebyshev.cheb2poly(terms[:count])
    return tuple(float(c) / reach**k for k, c in enumerate(short))[::-1]


Emitter = Callable[..., Any]
VECTOR_MATH: dict[Any, int] = {}  # each with how many functions' worth of code it is


def float_intrinsic(emit: Emitter) -> Any:
    """Make a Numba intrinsic of `emit(lanes, *floats) -> float`; all operands have the one type, float32 or float64.

    A kernel that calls very many of them calls routines (graphc.codegen.intrinsics.far).
    """
    made = machine_intrinsic(emit)
    VECTOR_MATH[made] = 1
    return made


def long_intrinsic(emit: Emitter) -> Any:
    """The same for what is so long that kernels call it as a routine, which is compiled once a machine."""
    made = machine_intrinsic(emit)
    VECTOR_MATH[made] = 100
    return made


def in_float64(emit: Emitter) -> Emitter:
    """The same function, float32 computed in float64: of what takes many steps each would cost digits."""
    return _widened(emit, Lanes.in_double)


def in_plain_float64(emit: Emitter) -> Emitter:
    """The same where no terms cancel, so that float32 needs neither pairs nor long polynomials."""
    return _widened(emit, lambda lanes: PlainLanes(lanes.builder, True, lanes.count, short=True))


def _widened(emit: Emitter, wide: Callable[[Lanes], Lanes]) -> Emitter:
    @wraps(emit)
    def widened(lanes: Lanes, *operands: ir.Value) -> ir.Value:
        if lanes.double:
            return emit(lanes, *operands)
        return lanes.narrow(emit(wide(lanes), *map(lanes.widen, operands)))

    return widened


def opaque(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    """The same number of 64 bits, of which LLVM does not know how it came about."""
    pointer = ir.PointerType()
    kind = ir.FunctionType(pointer, [pointer])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.launder.invariant.group.p0")
    return builder.ptrtoint(builder.call(function, [builder.inttoptr(word, pointer)]), I64)


def count_of(value: ir.Value) -> int:
    """The lanes of a vector; 0 of one lane."""
    return value.type.count if isinstance(value.type, ir.VectorType) else 0


def number_of(constant: ir.Constant) -> Any:
    """The number that a constant is, in every lane."""
    return constant.constant[0].constant if count_of(constant) else constant.constant


def machine_intrinsic(emit: Emitter) -> Any:
    """The same for what takes the machine an instruction or two."""
    arity = len(inspect.signature(emit).parameters) - 1

    def typed(*operands: Any) -> Any:
        x = operands[0]
        if x not in (types.float32, types.float64) or any(o != x for o in operands):
            return None

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[ir.Value]) -> ir.Value:
            far = getattr(builder.module, "far", None)
            if far is not None and made in VECTOR_MATH:
                return far(builder, emit, x == types.float64, args)
            return emit(Lanes(builder, x == types.float64, count_of(args[0])), *args)

        return x(*operands), codegen

    templates: tuple[Any, ...] = (
        lambda typingctx, x: typed(x),
        lambda typingctx, x, y: typed(x, y),
        lambda typingctx, x, y, z: typed(x, y, z),
    )
    template = templates[arity - 1]
    template.__name__ = emit.__name__
    template.__doc__ = emit.__doc__
    made = intrinsic(template)
    return made
