"""The functions of scalar bodies in NumPy: what each must compute, written from its contract.

In: scalars.  Out: a scalar.  Where NumPy or SciPy has the function it is theirs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from graphc.codegen.printer import CODES


def cast(code: str) -> Callable[[Any], Any]:
    """The conversion to a dtype."""
    dtype = CODES[code].numpy
    if dtype.kind == "b":
        return lambda x: bool(x != 0)
    return lambda x: np.asarray(x).astype(dtype)[()]


def _lost(s: Any, x: Any) -> Any:
    t = s + x
    part = t - s
    error = (s - (t - part)) + (x - part)
    return error if t - t == 0 else type(t)(0)


def _int_pow(x: Any, y: Any) -> Any:
    bits = x.dtype.itemsize * 8
    base, exponent = int(x), int(y)
    if exponent < 0:
        power = 0 if base == 0 or abs(base) != 1 else base ** (-exponent % 2)
    else:
        power = pow(base, exponent, 1 << bits)
    return np.array(power % (1 << bits), f"u{bits // 8}").astype(x.dtype)[()]


def _pow(x: Any, y: Any) -> Any:
    """NumPy takes the root of these, whose sign and infinity are others."""
    return abs(x) if y == 0.5 and (x == 0 or x == -np.inf) else np.power(x, y)


def _better(greater: bool) -> Any:
    def choose(x: Any, y: Any) -> Any:
        if y != y:
            return y
        return y if (y > x if greater else y < x) else x

    return choose


def _kept(function: Any) -> Any:
    """The function with the dtype of its operands for its result."""
    return lambda x, *more: x.dtype.type(function(x, *more))


def _log1mexp(x: Any) -> Any:
    return np.log(-np.expm1(-x)) if x < 0.7 else np.log1p(-np.exp(-x))


def _betaln(x: Any, y: Any) -> Any:
    return special.betaln(x, y) if min(x, y) >= 0 else np.nan


def _zeta(s: Any, m: Any, x: Any) -> Any:
    return np.exp2(np.float64(m)) * special.zeta(np.float64(s), np.float64(x))


_UFUNCS = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan", "sinh", "cosh",
    "tanh", "floor", "ceil", "trunc", "rint", "sign", "copysign", "hypot", "floor_divide", "remainder",
    "isnan", "isinf", "isfinite", "fabs",
)  # fmt: skip
_SPECIAL = (
    "xlogy", "xlog1py", "logit", "erf", "erfc", "erfcx", "ndtr", "log_ndtr", "erfinv", "ndtri", "gammaln", "digamma",
    "i0e", "i1e",
)  # fmt: skip
_ARCS = {f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")}
PLAIN: dict[str, Any] = {
    **{name: getattr(np, name) for name in _UFUNCS},
    **_ARCS,
    **{dtype.name: dtype.numpy.type for dtype in CODES.values() if dtype.kind != "b"},
    "fabs": np.abs,
    "pow": _pow,
    "whole_power": np.power,
    "half_power": _pow,
    "over": operator.truediv,
    "share": operator.truediv,
    "int_pow": _int_pow,
    "bit_and": np.bitwise_and,
    "bit_or": np.bitwise_or,
    "bit_xor": np.bitwise_xor,
    "bit_not": np.invert,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "next_after": np.nextafter,
    "plus": np.add,
    "minus": np.subtract,
    "times": np.multiply,
    "apart": lambda x: x,
    "fmax": _better(True),
    "fmin": _better(False),
    "rsqrt": lambda x: type(x)(1) / np.sqrt(x),
    "sigmoid": _kept(special.expit),
    **{name: _kept(getattr(special, name)) for name in _SPECIAL},
    "logaddexp": np.logaddexp,
    "log1mexp": _kept(_log1mexp),
    "betaln": _kept(_betaln),
    "zeta": _kept(_zeta),
    "select": lambda condition, x, y: x if condition else y,
    "lost": _lost,
    "least": min,
    "most": max,
    "quotient": lambda p, k: p // k,
    "multiple": lambda p, k: p % k == 0,
    "on_axis": lambda at, size: at % size if -size <= at < size else 0,
    "wide": lambda: None,
    "light": lambda: None,
    "flush": lambda: 0,
    "restore": lambda word: None,
}
_ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv, operator.and_, operator.or_)
_RELATIONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
_SIGNS: dict[tuple[str, int], Callable[..., Any]] = {
    ("-", 1): operator.neg,
    ("not", 1): operator.not_,
    **{(s, 2): f for s, f in zip(["+", "-", "*", "/", "&", "|"], _ARITHMETIC, strict=True)},
    **{(s, 2): f for s, f in zip(["==", "!=", "<", "<=", ">", ">="], _RELATIONS, strict=True)},
}


def function(name: str, operands: int) -> Callable[..., Any]:
    """The function of this name, or sign, and number of operands."""
    if (name, operands) in _SIGNS:
        return _SIGNS[name, operands]
    return cast(name.removeprefix("to_")) if name.startswith("to_") else PLAIN[name]
