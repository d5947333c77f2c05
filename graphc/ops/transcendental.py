"""Powers, exponentials, logarithms, trigonometric and hyperbolic functions, the error function.

Each is one intrinsic of the vector math, in float32 or float64; integers and bool are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.op import Family, Op, register
from graphc.ops.rules import elementwise
from graphc.ops.samples import MISFIT, example, pair, single
from graphc.types import FLOATS


def scipy_special(name: str) -> Callable[..., Any]:
    """The function of scipy.special, which is imported when it is first called."""

    def reference(*arrays: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arrays)

    return reference


_EXAMPLES = {
    "sqrt": ("gc.sqrt([4.0, 9.0])", "array([2., 3.])"),
    "rsqrt": ("gc.rsqrt([4.0, 0.25])", "array([0.5, 2. ])"),
    "cbrt": ("gc.cbrt([-8.0, 27.0])", "array([-2.,  3.])"),
    "exp": ("gc.exp([0.0, 1.0])", "array([1.        , 2.71828183])"),
    "exp2": ("gc.exp2([-1.0, 3.0])", "array([0.5, 8. ])"),
    "expm1": ("gc.expm1(1e-10)", "array(1.e-10)"),
    "log": ("gc.log([1.0, gc.e, 0.0])", "array([  0.,   1., -inf])"),
    "log1p": ("gc.log1p(1e-10)", "array(1.e-10)"),
    "log2": ("gc.log2([8.0, 0.5])", "array([ 3., -1.])"),
    "log10": ("gc.log10([1000.0, 0.01])", "array([ 3., -2.])"),
    "sin": ("gc.sin([0.0, gc.pi / 2])", "array([0., 1.])"),
    "cos": ("gc.cos([0.0, gc.pi])", "array([ 1., -1.])"),
    "tan": ("gc.tan([0.0, gc.pi / 4])", "array([0., 1.])"),
    "asin": ("gc.asin([0.0, 1.0])", "array([0.        , 1.57079633])"),
    "acos": ("gc.acos([1.0, -1.0])", "array([0.        , 3.14159265])"),
    "atan": ("gc.atan([1.0, gc.inf])", "array([0.78539816, 1.57079633])"),
    "sinh": ("gc.sinh([0.0, 1.0])", "array([0.        , 1.17520119])"),
    "cosh": ("gc.cosh([0.0, 1.0])", "array([1.        , 1.54308063])"),
    "tanh": ("gc.tanh([0.0, 1.0, 100.0])", "array([0.        , 0.76159416, 1.        ])"),
    "asinh": ("gc.asinh([0.0, 1.0])", "array([0.        , 0.88137359])"),
    "acosh": ("gc.acosh([1.0, 2.0])", "array([0.       , 1.3169579])"),
    "atanh": ("gc.atanh([0.0, 0.5, 1.0])", "array([0.        , 0.54930614,        inf])"),
    "erf": ("gc.erf([0.0, 1.0])", "array([0.        , 0.84270079])"),
    "erfc": ("gc.erfc([0.0, 10.0])", "array([1.00000000e+00, 2.08848758e-45])"),
    "sigmoid": ("gc.sigmoid([-1000.0, 0.0, 1000.0])", "array([0. , 0.5, 1. ])"),
}


def _unary(
    name: str, doc: str, reference: Any, adjoint: Any, low: float = -2.0, high: float = 2.0, tf: str | None = None
) -> Op:
    """A function of one float; `adjoint` is (b, g, out, x) -> cotangent, `tf` its name in tf.math."""
    return Op(
        name=name,
        doc=doc + example(*_EXAMPLES[name]),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, /: b.primitive(name, b.floating(x)),
        reference=reference,
        body=f"{name}(x)",
        adjoint=lambda b, g, out, x: (adjoint(b, g, out, x),),
        dtypes=FLOATS,
        samples=single(low, high),
        tf=None if tf is None else lambda module, x: getattr(module.math, tf)(x),
    )


LN2, LN10 = math.log(2), math.log(10)
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)

for _op in (
    # roots
    _unary("sqrt", "The square root; NaN where x < 0.", np.sqrt, lambda b, g, y, x: 0.5 * g / y, 0.1, 3.0, "sqrt"),
    _unary(
        "rsqrt", "1 / sqrt(x).", lambda x: 1 / np.sqrt(x), lambda b, g, y, x: -0.5 * g * (y * y * y), 0.1, 3.0, "rsqrt"
    ),
    _unary("cbrt", "The cube root, of negative numbers too.", np.cbrt, lambda b, g, y, x: g / (3 * (y * y)), 0.1, 3.0),
    # exponentials and logarithms
    _unary("exp", "The exponential function, e**x.", np.exp, lambda b, g, y, x: g * y, tf="exp"),
    _unary("exp2", "2**x.", np.exp2, lambda b, g, y, x: g * (y * LN2)),
    _unary("expm1", "exp(x) - 1, accurate near 0.", np.expm1, lambda b, g, y, x: g * (y + 1), tf="expm1"),
    _unary(
        "log", "The natural logarithm; -inf at 0, NaN where x < 0.", np.log, lambda b, g, y, x: g / x, 0.1, 3.0, "log"
    ),
    _unary("log1p", "log(1 + x), accurate near 0.", np.log1p, lambda b, g, y, x: g / (1 + x), -0.9, 3.0, "log1p"),
    _unary("log2", "The logarithm to base 2.", np.log2, lambda b, g, y, x: g / (x * LN2), 0.1, 3.0),
    _unary("log10", "The logarithm to base 10.", np.log10, lambda b, g, y, x: g / (x * LN10), 0.1, 3.0),
    # trigonometric
    _unary("sin", "The sine of an angle in radians.", np.sin, lambda b, g, y, x: g * b.cos(x), tf="sin"),
    _unary("cos", "The cosine of an angle in radians.", np.cos, lambda b, g, y, x: -(g * b.sin(x)), tf="cos"),
    _unary("tan", "The tangent of an angle in radians.", np.tan, lambda b, g, y, x: g * (1 + y * y), -1.2, 1.2, "tan"),
    _unary(
        "asin",
        "The arc sine, in [-pi/2, pi/2].",
        np.arcsin,
        lambda b, g, y, x: g * b.rsqrt(1 - x * x),
        -0.9,
        0.9,
        "asin",
    ),
    _unary(
        "acos",
        "The arc cosine, in [0, pi].",
        np.arccos,
        lambda b, g, y, x: -(g * b.rsqrt(1 - x * x)),
        -0.9,
        0.9,
        "acos",
    ),
    _unary("atan", "The arc tangent, in [-pi/2, pi/2].", np.arctan, lambda b, g, y, x: g / (1 + x * x), tf="atan"),
    # hyperbolic
    _unary("sinh", "The hyperbolic sine.", np.sinh, lambda b, g, y, x: g * b.cosh(x), tf="sinh"),
    _unary("cosh", "The hyperbolic cosine.", np.cosh, lambda b, g, y, x: g * b.sinh(x), tf="cosh"),
    _unary("tanh", "The hyperbolic tangent.", np.tanh, lambda b, g, y, x: g * (1 - y * y), tf="tanh"),
    _unary("asinh", "The inverse hyperbolic sine.", np.arcsinh, lambda b, g, y, x: g * b.rsqrt(1 + x * x), tf="asinh"),
    _unary(
        "acosh",
        "The inverse hyperbolic cosine, for x >= 1.",
        np.arccosh,
        lambda b, g, y, x: g * b.rsqrt(x * x - 1),
        1.1,
        3.0,
        "acosh",
    ),
    _unary(
        "atanh",
        "The inverse hyperbolic tangent, for |x| <= 1.",
        np.arctanh,
        lambda b, g, y, x: g / (1 - x * x),
        -0.9,
        0.9,
        "atanh",
    ),
    # error function and logistic function
    _unary(
        "erf",
        "The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.",
        scipy_special("erf"),
        lambda b, g, y, x: g * (TWO_OVER_ROOT_PI * b.exp(-(x * x))),
        tf="erf",
    ),
    _unary(
        "erfc",
        "1 - erf(x), accurate for large x.",
        scipy_special("erfc"),
        lambda b, g, y, x: g * (-TWO_OVER_ROOT_PI * b.exp(-(x * x))),
        tf="erfc",
    ),
    _unary("sigmoid", "1 / (1 + exp(-x)).", scipy_special("expit"), lambda b, g, y, x: g * (y * (1 - y)), tf="sigmoid"),
):
    register(_op)


def _atan2_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    share = g / (x * x + y * y)
    return share * y, -(share * x)


register(
    Op(
        name="atan2",
        doc="The angle of the point (abscissa y, ordinate x), in [-pi, pi]; signed zeros and infinities as in C99."
        + example("gc.atan2([1.0, 0.0], [0.0, -1.0])", "array([1.57079633, 3.14159265])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, y, /: b.primitive("atan2", b.floating(x, y)),
        reference=np.arctan2,
        body="atan2(x, y)",
        adjoint=_atan2_adjoint,
        dtypes=FLOATS,
        samples=pair(0.2, 2.0),
        rejects=(MISFIT,),
        tf=lambda tf, x, y: tf.atan2(x, y),
    )
)


def _hypot_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    share = g / b.where(out == 0, 1, out)  # at the origin the slopes are 0, not 0/0
    return share * x, share * y


register(
    Op(
        name="hypot",
        doc="sqrt(x**2 + y**2) without overflow or underflow on the way; the derivatives at the origin are 0."
        + example("gc.hypot([3.0, 1e200], [4.0, 1e200])", "array([5.00000000e+000, 1.41421356e+200])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, y, /: b.primitive("hypot", b.floating(x, y)),
        reference=np.hypot,
        body="hypot(x, y)",
        adjoint=_hypot_adjoint,
        dtypes=FLOATS,
        samples=pair(0.2, 2.0),
        rejects=(MISFIT,),
    )
)
