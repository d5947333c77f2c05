"""Arithmetic: one scalar expression an op; operands broadcast.

Integers wrap as NumPy's do.  bool adds as `or` and multiplies as `and`; it can't be subtracted or negated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.op import Array, Family, Op, Reject, Sample, register
from graphc.ops.rules import elementwise, no_cotangents
from graphc.ops.samples import BOTH_BOOL, MISFIT, ONE_BOOL, example, pair, single
from graphc.types import FLOATS, INTEGERS, bool_

NUMBERS = (*FLOATS, *INTEGERS)
ALL = (*NUMBERS, bool_)
BOOL_ADDS = {"f": "x + y", "i": "plus(x, y)", "u": "plus(x, y)", "b": "x | y"}
BOOL_MULTIPLIES = {"f": "x * y", "i": "times(x, y)", "u": "times(x, y)", "b": "x & y"}


def promoting(name: str) -> Any:
    """The public call of a binary op whose operands meet in one dtype."""
    return lambda b, x, y, /: b.primitive(name, b.promoted(x, y))


register(
    Op(
        name="add",
        doc="x + y."
        + example("gc.add([1, 2], 0.5)", "array([1.5, 2.5])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(ALL),
        define=promoting("add"),
        reference=np.add,
        body=BOOL_ADDS,
        adjoint=lambda b, g, out, x, y: (g, g),
        dtypes=ALL,
        samples=pair(),
        rejects=(MISFIT,),
        tf=lambda tf, x, y: tf.add(x, y),
    )
)

register(
    Op(
        name="subtract",
        doc="x - y."
        + example("gc.subtract([5, 7], [[1], [2]])", "array([[4, 6],\n       [3, 5]])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS),
        define=promoting("subtract"),
        reference=np.subtract,
        body={"f": "x - y", "i": "minus(x, y)", "u": "minus(x, y)"},
        adjoint=lambda b, g, out, x, y: (g, -g),
        dtypes=NUMBERS,
        samples=pair(),
        rejects=(MISFIT, BOTH_BOOL),
        tf=lambda tf, x, y: tf.subtract(x, y),
    )
)

register(
    Op(
        name="multiply",
        doc="x * y."
        + example("gc.multiply([1.0, 2.0], 10)", "array([10., 20.])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(ALL),
        define=promoting("multiply"),
        reference=np.multiply,
        body=BOOL_MULTIPLIES,
        adjoint=lambda b, g, out, x, y: (g * y, g * x),
        dtypes=ALL,
        samples=pair(),
        rejects=(MISFIT,),
        tf=lambda tf, x, y: tf.multiply(x, y),
    )
)


def _divide_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Where y is broadcast, the sum that undoes it is taken before the quotient."""
    share = g / y
    return share, -(share * out if y.shape == out.shape else g * out / y)


register(
    Op(
        name="divide",
        doc="x / y; of integers in float64."
        + example("gc.divide([1, 2], 4)", "array([0.25, 0.5 ])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, y, /: b.primitive("divide", b.floating(x, y)),
        reference=np.divide,
        body="x / y",
        adjoint=_divide_adjoint,
        dtypes=FLOATS,
        samples=pair(0.5, 2.0),
        rejects=(MISFIT,),
        tf=lambda tf, x, y: tf.divide(x, y),
    )
)

register(
    Op(
        name="floor_divide",
        doc="The greatest integer <= x / y, computed from the exact remainder; integers divided by 0 give 0."
        + example("gc.floor_divide([7, -7], 2)", "array([ 3, -4])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS),
        define=promoting("floor_divide"),
        reference=np.floor_divide,
        body="floor_divide(x, y)",
        adjoint=no_cotangents,
        dtypes=NUMBERS,
        samples=pair(1.0, 4.0),
        rejects=(MISFIT, BOTH_BOOL),
        tf=lambda tf, x, y: tf.math.floordiv(x, y),
    )
)

register(
    Op(
        name="remainder",
        doc="x - y * floor(x / y), exact, with the sign of y; of integers 0 where y = 0."
        + example("gc.remainder([7, -7], 3)", "array([1, 2])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS),
        define=promoting("remainder"),
        reference=np.remainder,
        body="remainder(x, y)",
        adjoint=lambda b, g, out, x, y: (g, -(g * b.floor_divide(x, y))),
        dtypes=NUMBERS,
        samples=pair(1.0, 4.0),
        rejects=(MISFIT, BOTH_BOOL),
        tf=lambda tf, x, y: tf.math.floormod(x, y),
    )
)

register(
    Op(
        name="negative",
        doc="-x."
        + example("gc.negative([1, -2])", "array([-1,  2])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS),
        define=lambda b, x, /: b.primitive("negative", (b.convert(x),)),
        reference=np.negative,
        body={"f": "-x", "i": "minus(zero, x)", "u": "minus(zero, x)"},
        adjoint=lambda b, g, out, x: (-g,),
        dtypes=NUMBERS,
        samples=single(),
        rejects=(ONE_BOOL,),
        tf=lambda tf, x: tf.negative(x),
    )
)

register(
    Op(
        name="positive",
        doc="x itself."
        + example("gc.positive([1, -2])", "array([ 1, -2])"),
        define=lambda b, x, /: b.convert(x),
        reference=np.positive,
        dtypes=NUMBERS,
        samples=single(),
    )
)

register(
    Op(
        name="square",
        doc="x * x."
        + example("gc.square([1.0, -3.0])", "array([1., 9.])"),
        define=lambda b, x, /: b.multiply(x, x),
        reference=np.square,
        dtypes=NUMBERS,
        samples=single(),
        tf=lambda tf, x: tf.square(x),
    )
)

register(
    Op(
        name="reciprocal",
        doc="1 / x; of integers in float64."
        + example("gc.reciprocal([2, 4])", "array([0.5 , 0.25])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, /: b.primitive("reciprocal", b.floating(x)),
        reference=lambda x: np.divide(1, x),
        body="one / x",
        adjoint=lambda b, g, out, x: (-(g * (out * out)),),
        dtypes=FLOATS,
        samples=single(0.5, 2.0),
        tf=lambda tf, x: tf.math.reciprocal(x),
    )
)


WHOLE_POWERS = 16  # of a number or its root: from there on products take as long as a power


def _pow(b: Any, x: Any, y: Any, /) -> Any:
    x, y = b.promoted(x, y)
    if y.dtype.is_integer and y.op.name == "constant" and (y.attrs["value"].array < 0).any():
        raise DTypeError("an integer to a negative integer power is not an integer; write a float base or exponent")
    return b.primitive("pow", (x, y))


def _pow_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    exponent = y
    if not (y.op.name == "constant" and y.attrs["value"].array.all()):
        # Where y = 0 the slope along x is 0, though x**(y - 1) may be infinite: there x**0 stands for it.
        exponent = b.where(b.logical_and(y == 0, b.isinf(1 / x)), 1, y)
    # Where x <= 0 no slope along y exists: it is 0, as in TensorFlow.
    undefined = x <= 0
    along_y = b.where(undefined, 0, out) * b.log(b.where(undefined, 1, x))
    return g * (y * x ** (exponent - 1)), g * along_y


def _pow_reference(x: Any, y: Any) -> Any:
    dtype = np.result_type(x, y)
    if dtype.kind == "f":  # of some exponents 0.5 NumPy takes the root, which has a sign of 0 and none of -inf
        is_end = np.equal(y, 0.5) & (np.equal(x, 0) | np.equal(x, -np.inf))
        return np.where(is_end, np.abs(x), np.power(x, y))
    if dtype.kind != "i":
        return np.power(x, y)
    x, y = np.asarray(x, dtype), np.asarray(y, dtype)
    odd = np.remainder(y, 2) == 1
    inverse = np.select([np.equal(x, 1), np.equal(x, -1)], [1, np.where(odd, -1, 1)], 0)
    power = np.power(x, np.maximum(y, 0))
    return np.where(np.less(y, 0), inverse.astype(dtype), power)


register(
    Op(
        name="pow",
        doc="x**y; of integers modulo 2**bits, and 1/x**-y rounded towards zero where an exponent is negative."
        + example("gc.pow(2, [0, 1, 10])", "array([   1,    2, 1024])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS),
        define=_pow,
        reference=_pow_reference,
        body={"f": "pow(x, y)", "i": "int_pow(x, y)", "u": "int_pow(x, y)"},
        adjoint=_pow_adjoint,
        dtypes=NUMBERS,
        samples=(
            Sample((Array((3, 4), 0.5, 3.0), Array((3, 4), 0.0, 4.0))),
            Sample((Array((3, 1), 0.5, 3.0), Array((4,), 0.0, 4.0))),
            Sample((Array(()), 2)),
            Sample((Array((0, 2)), 3)),
        ),
        rejects=(
            MISFIT,
            BOTH_BOOL,
            Reject((Array((3,), kind="index"), -1), DTypeError, "negative integer power"),
        ),
        tf=lambda tf, x, y: tf.pow(x, y),
    )
)
for _name, _what in (
    ("whole_power", f"a whole number y below {WHOLE_POWERS} in size."),
    ("half_power", f"half of an odd number below {WHOLE_POWERS} in size, y."),
):
    register(
        Op(
            name=f"_{_name}",
            doc=f"x**y of floats for {_what}",
            family=Family.ELEMENTWISE,
            infer=elementwise(FLOATS),
            reference=_pow_reference,
            body=f"{_name}(x, y)",
            adjoint=_pow_adjoint,
            dtypes=FLOATS,
        )
    )
