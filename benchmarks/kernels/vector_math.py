"""Functions of single elements, against NumPy's, or SciPy's where NumPy has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.special

import graphc as gc
from benchmarks.kernels.case import Array, Case, Subject, compiled, empty, normal, tolerance

COUNT = 32_768
SPREAD = 5.0


def _positive(x: Array) -> Array:
    return np.abs(x)


def _above_one(x: Array) -> Array:
    return np.abs(x) + x.dtype.type(1)


def _inside(x: Array) -> Array:
    return np.clip(np.tanh(x), x.dtype.type(-0.999999), x.dtype.type(0.999999))


def _unit(x: Array) -> Array:
    return np.clip(np.abs(np.tanh(x)), x.dtype.type(1e-6), x.dtype.type(0.999999))


def _negative(x: Array) -> Array:
    return -np.abs(x) - x.dtype.type(1e-3)


Domain = Callable[[Array], Array]
ANY: Domain = np.ascontiguousarray
NUMPY: dict[str, tuple[Domain, ...]] = {
    **dict.fromkeys(("exp", "exp2", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh"), (ANY,)),
    **dict.fromkeys(("cbrt", "abs", "negative", "sign", "floor", "ceil", "trunc", "round", "reciprocal"), (ANY,)),
    **dict.fromkeys(("log", "log2", "log10", "log1p", "sqrt"), (_positive,)),
    **dict.fromkeys(("asin", "acos", "atanh"), (_inside,)),
    "acosh": (_above_one,),
    **dict.fromkeys(("isnan", "isinf", "isfinite"), (ANY,)),
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "maximum", "minimum"), (ANY, ANY)),
    **dict.fromkeys(("atan2", "hypot", "copysign", "nextafter", "logaddexp", "equal", "less"), (ANY, ANY)),
    **dict.fromkeys(("floor_divide", "remainder"), (ANY, _above_one)),
    "pow": (_positive, ANY),
}
SCIPY: dict[str, tuple[str, tuple[Domain, ...]]] = {  # with its name there
    **{name: (name, (ANY,)) for name in ("erf", "erfc", "erfcx", "i0e", "i1e", "ndtr", "log_ndtr")},
    "sigmoid": ("expit", (ANY,)),
    "logit": ("logit", (_unit,)),
    "erfinv": ("erfinv", (_inside,)),
    "ndtri": ("ndtri", (_unit,)),
    "gammaln": ("gammaln", (_above_one,)),
    "digamma": ("digamma", (_above_one,)),
    "betaln": ("betaln", (_above_one, _above_one)),
    "xlogy": ("xlogy", (_positive, _positive)),
    "xlog1py": ("xlog1py", (_positive, _positive)),
}
OTHERS: dict[str, tuple[Callable[..., Any], tuple[Domain, ...]]] = {  # that neither has
    "rsqrt": (lambda x, out: np.divide(x.dtype.type(1), np.sqrt(x, out=out), out=out), (_positive,)),
    "log1mexp": (lambda x, out: np.log(-np.expm1(x, out=out), out=out), (_negative,)),
}


def cases() -> Iterator[Case]:
    for dtype in ("float32", "float64"):
        for name, domains in NUMPY.items():
            yield Case(name, dtype, partial(_subject, name, dtype, domains, "numpy", getattr(np, name)))
        for name, (theirs, domains) in SCIPY.items():
            yield Case(name, dtype, partial(_subject, name, dtype, domains, "scipy", getattr(scipy.special, theirs)))
        for name, (numpy, domains) in OTHERS.items():
            yield Case(name, dtype, partial(_subject, name, dtype, domains, "numpy", numpy))


def _subject(name: str, dtype: str, domains: tuple[Domain, ...], peer: str, theirs: Callable[..., Any]) -> Subject:
    arrays = [domain(normal((COUNT,), dtype, k, SPREAD)) for k, domain in enumerate(domains)]
    if name == "pow":
        arrays[1] = arrays[1] / arrays[1].dtype.type(SPREAD)
    function, out = compiled(arrays, getattr(gc, name))
    their_out = empty(out.shape, out.dtype)
    call = [lambda: theirs(*arrays, out=their_out)]
    return Subject(function, arrays, out, {peer: call}, 4 * tolerance(dtype), scale=0.1)
