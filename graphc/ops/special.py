"""Special functions of likelihoods: logarithms with their zeros guarded, the normal distribution, gamma, Bessel.

Each has the name and the special values of scipy.special (logaddexp NumPy's, log1mexp those of jax.nn), and stands
beside the other elementwise functions: SciPy's own are NumPy ufuncs, so that scipy.special.gammaln(node) gives
gc.gammaln(node).  Computed in float32 or float64; integers and bool are computed in float64.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DeclarationError
from graphc.op import Array, Family, Op, Reject, Sample, register
from graphc.ops.rules import elementwise
from graphc.ops.samples import MISFIT, example, pair, single
from graphc.ops.transcendental import TWO_OVER_ROOT_PI, scipy_special
from graphc.types import FLOATS, float32

ROOT_HALF, ROOT_TWO_PI = math.sqrt(0.5), math.sqrt(2 * math.pi)
MOST_DERIVATIVES = 1000  # of digamma: beyond them the exponents of polygamma would cost digits


def _op(name: str, doc: str, shown: tuple[str, str], adjoint: Any, samples: tuple[Sample, ...], **more: Any) -> Op:
    """One intrinsic of as many operands as the samples have."""
    two = len(samples[0].args) == 2
    fields: dict[str, Any] = {"reference": scipy_special(name), "rejects": (MISFIT,) if two else ()} | more
    define: Callable[..., Any] = lambda b, x, /: b.primitive(name, b.floating(x))  # noqa: E731
    if two:
        define = lambda b, x, y, /: b.primitive(name, b.floating(x, y))  # noqa: E731
    return Op(
        name=name,
        doc=doc + example(*shown),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=define,
        body=f"{name}(x, y)" if two else f"{name}(x)",
        adjoint=adjoint,
        dtypes=FLOATS,
        samples=samples,
        **fields,
    )


# logarithms


def _xlogy_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Where x = 0 and no logarithm exists both slopes are 0, and elsewhere what they are."""
    safe = b.where(b.logical_and(x == 0, y <= 0), 1, y)
    return g * b.log(safe), g * (x / safe)


def _xlog1py_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    safe = b.where(b.logical_and(x == 0, y <= -1), 0, y)
    return g * b.log1p(safe), g * (x / (1 + safe))


def _logaddexp_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    apart = b.where(b.logical_and(x == y, b.isinf(x)), 0, x - y)  # of equal infinities each has a half
    return g * b.sigmoid(apart), g * b.sigmoid(-apart)


def _log1mexp_reference(x: Any) -> Any:
    return np.where(x < math.log(2), np.log(-np.expm1(-x)), np.log1p(-np.exp(-x)))


for _record in (
    _op(
        "xlogy",
        "x * log(y), and 0 where x = 0 unless y is NaN; there both slopes are 0 if y <= 0.",
        ("gc.xlogy([0.0, 2.0], [0.0, gc.e])", "array([0., 2.])"),
        _xlogy_adjoint,
        pair(0.2, 3.0),
        tf=lambda tf, x, y: tf.math.xlogy(x, y),
    ),
    _op(
        "xlog1py",
        "x * log1p(y), and 0 where x = 0 unless y is NaN; there both slopes are 0 if y <= -1.",
        ("gc.xlog1py([0.0, 2.0], [-1.0, 1e-10])", "array([0.e+00, 2.e-10])"),
        _xlog1py_adjoint,
        pair(-0.8, 3.0),
        tf=lambda tf, x, y: tf.math.xlog1py(x, y),
    ),
    _op(
        "logaddexp",
        "log(exp(x) + exp(y)), which neither overflows nor underflows.",
        ("gc.logaddexp([-1000.0, 0.0], [-1000.0, -gc.inf])", "array([-999.30685282,    0.        ])"),
        _logaddexp_adjoint,
        pair(),
        reference=np.logaddexp,
    ),
    _op(
        "log1mexp",
        "log(1 - exp(-x)) for x >= 0, accurate near 0 and far from it; NaN where x < 0.",
        ("gc.log1mexp([1e-20, 50.0])", "array([-4.60517019e+01, -1.92874985e-22])"),
        lambda b, g, out, x: (g * (b.exp(-x) / -b.expm1(-x)),),  # not 1/expm1(x), whose own slope is 0 · inf far out
        single(0.2, 3.0),
        reference=_log1mexp_reference,
    ),
    _op(
        "logit",
        "log(x / (1 - x)), the inverse of sigmoid; NaN outside of [0, 1].",
        ("gc.logit([0.0, 0.5, 1e-300])", "array([        -inf,    0.       , -690.7755279])"),
        lambda b, g, out, x: (g / (x * (1 - x)),),
        single(0.1, 0.9),
    ),
):
    register(_record)


# the normal distribution


def _erfcx_adjoint(b: Any, g: Any, out: Any, x: Any) -> tuple[Any]:
    """2x·erfcx - 2/sqrt(pi) cancels for large x, where the series in 1/x² stands for it."""
    far = 5 if x.dtype == float32 else 25
    inverse_square = 1 / (x * x)
    series: Any = 0.0
    for k in range(7, -1, -1):  # (-1)^k·(2k + 1)!!/2^k
        coefficient = (-1) ** k * math.prod(range(1, 2 * k + 2, 2)) / 2**k
        series = coefficient + inverse_square * series if k < 7 else coefficient
    tail = (-0.5 * TWO_OVER_ROOT_PI) * (inverse_square * series)
    return (g * b.where(x > far, tail, 2 * (x * out) - TWO_OVER_ROOT_PI),)


def _log_ndtr_adjoint(b: Any, g: Any, out: Any, x: Any) -> tuple[Any]:
    """The density over the distribution function; below 0 by erfcx, which loses none of the digits that x² would."""
    above = b.exp(-0.5 * (x * x)) / (ROOT_TWO_PI * b.ndtr(x))
    below = math.sqrt(2 / math.pi) / b.erfcx(-ROOT_HALF * x)
    return (g * b.where(x > 0, above, below),)


for _record in (
    _op(
        "erfcx",
        "exp(x**2) * erfc(x), which has no underflow for large x.",
        ("gc.erfcx([0.0, 1e10])", "array([1.00000000e+00, 5.64189584e-11])"),
        _erfcx_adjoint,
        single(),
    ),
    _op(
        "ndtr",
        "The distribution function of the standard normal distribution, accurate for x < 0 down to underflow.",
        ("gc.ndtr([-30.0, 0.0])", "array([4.90671393e-198, 5.00000000e-001])"),
        lambda b, g, out, x: (g * (b.exp(-0.5 * (x * x)) / ROOT_TWO_PI),),
        single(),
    ),
    _op(
        "log_ndtr",
        "log(ndtr(x)), accurate for all x.",
        ("gc.log_ndtr([-1e10, 0.0, 10.0])", "array([-5.00000000e+19, -6.93147181e-01, -7.61985302e-24])"),
        _log_ndtr_adjoint,
        single(),
    ),
    _op(
        "erfinv",
        "The inverse of erf; NaN outside of [-1, 1].",
        ("gc.erfinv([0.0, 0.5, 1.0])", "array([0.        , 0.47693628,        inf])"),
        lambda b, g, out, x: (g * (b.exp(out * out) / TWO_OVER_ROOT_PI),),
        single(-0.9, 0.9),
        tf=lambda tf, x: tf.math.erfinv(x),
    ),
    _op(
        "ndtri",
        "The inverse of ndtr, the quantiles of the standard normal distribution; NaN outside of [0, 1].",
        ("gc.ndtri([1e-300, 0.5, 0.975])", "array([-37.0470963 ,   0.        ,   1.95996398])"),
        lambda b, g, out, x: (g * (b.exp(0.5 * (out * out)) * ROOT_TWO_PI),),
        single(0.1, 0.9),
        tf=lambda tf, x: tf.math.ndtri(x),
    ),
):
    register(_record)


# gamma and beta


def _whole(value: Any, what: str, low: int, high: int | None = None) -> int:
    """`value` as an int within bounds."""
    limits = f"at least {low}" if high is None else f"from {low} to {high}"
    try:
        number = operator.index(value)
    except (TypeError, DeclarationError):
        number = low - 1
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise DeclarationError(f"{what} is a Python int {limits}, got {value!r}")
    return number


def _polygamma(b: Any, n: Any, x: Any, /) -> Any:
    """(-1)^(n + 1)·n!·zeta(n + 1, x), n! being 2^m times a number from 1 to 2, so that neither overflows alone."""
    n = _whole(n, "the order of polygamma", 0, MOST_DERIVATIVES)
    if n == 0:
        return b.digamma(x)
    (x,) = b.floating(x)
    factorial = math.factorial(n)
    m = factorial.bit_length() - 1
    value = b.primitive("_zeta", (b.constant(n + 1.0, x.dtype), b.constant(float(m), x.dtype), x))
    factor = factorial / 2**m if n % 2 else -(factorial / 2**m)
    return value if factor == 1 else factor * value


def _polygamma_reference(n: Any, x: Any) -> Any:
    """SciPy's, which is NaN at NaN and infinite for all n at poles, as here, but promotes float32."""
    return np.asarray(scipy_special("polygamma")(n, x)).astype(np.result_type(x, np.float32))


def _gammaln_reference(x: Any) -> Any:
    """SciPy's, save next to 0, where it is infinite too early, and at -inf, where C99 and JAX have inf."""
    size = np.abs(x)
    return np.select([np.isinf(x), size < 1e-30], [size, -np.log(size)], scipy_special("gammaln")(x))


def _zeta_values(s: Any, m: Any, x: Any) -> Any:
    return (np.exp2(np.float64(m)) * scipy_special("zeta")(np.float64(s), np.float64(x))).astype(x.dtype)


def _betaln_reference(x: Any, y: Any) -> Any:
    """SciPy's for x, y >= 0, save for the tiny and the large, where it loses digits, overflows or is NaN."""
    least, most = np.float64(np.minimum(x, y)), np.float64(np.maximum(x, y))
    ratio = np.where(np.isinf(most), 0, least / most)
    tiny = np.log1p(ratio) - np.log(least)  # (x + y)/(x y)
    stirling = least * np.log(ratio) - least * np.log1p(ratio) - most * np.log1p(ratio)
    stirling += 0.5 * (math.log(2 * math.pi) + np.log1p(ratio) - np.log(least))
    wrong = np.isnan(least) | (least < 0)
    value = np.select(
        [wrong, least == 0, np.isinf(most), least < 1e-300, least > 1e20],
        [np.nan, np.inf, -np.inf, tiny, stirling],
        scipy_special("betaln")(x, y),
    )
    return value.astype(np.result_type(x, y))


def _betaln_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    whole = b.digamma(x + y)
    return g * (b.digamma(x) - whole), g * (b.digamma(y) - whole)


def _multigammaln(b: Any, a: Any, d: Any, /) -> Any:
    d = _whole(d, "the dimension of multigammaln", 1)
    (a,) = b.floating(a)
    total = b.gammaln(a)
    for j in range(1, d):
        total = total + b.gammaln(a - j / 2)
    return b.where(a > (d - 1) / 2, total + d * (d - 1) / 4 * math.log(math.pi), math.nan)


def _multigammaln_reference(a: Any, d: Any) -> Any:
    shifted = np.asarray(a, np.float64)[..., None] - np.arange(d) / 2
    total = scipy_special("gammaln")(shifted).sum(axis=-1) + d * (d - 1) / 4 * math.log(math.pi)
    return np.where(a > (d - 1) / 2, total, np.nan).astype(np.asarray(a).dtype)


for _record in (
    _op(
        "gammaln",
        "log(abs(gamma(x))); infinite at 0 and at the negative integers.",
        ("gc.gammaln([1.0, 5.0, 1e10])", "array([0.00000000e+00, 3.17805383e+00, 2.20258509e+11])"),
        lambda b, g, out, x: (g * b.digamma(x),),
        single(0.3, 4.0),
        reference=_gammaln_reference,
        tf=lambda tf, x: tf.math.lgamma(x),
    ),
    _op(
        "digamma",
        "The derivative of gammaln; infinite at 0 with the other sign, NaN at the negative integers.",
        ("gc.digamma([1.0, 10.0])", "array([-0.57721566,  2.25175259])"),
        lambda b, g, out, x: (g * b.polygamma(1, x),),
        single(0.3, 4.0),
        tf=lambda tf, x: tf.math.digamma(x),
    ),
    Op(
        name="_zeta",
        doc="2**y times Hurwitz's zeta function, the sum of (z + k)**-x over k >= 0, for whole x >= 2.",
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        reference=_zeta_values,
        body="zeta(x, y, z)",
        adjoint=lambda b, g, out, s, m, x: (None, None, -(g * (s * b.primitive("_zeta", (s + 1, m, x))))),
    ),
    Op(
        name="polygamma",
        doc="The derivative of order n of digamma, n a Python int from 0 to 1000; infinite at 0 and at the negative "
        "integers for n > 0." + example("gc.polygamma(1, [1.0, 10.0])", "array([1.64493407, 0.10516634])"),
        reference=_polygamma_reference,
        define=_polygamma,
        dtypes=FLOATS,
        samples=tuple(Sample((n, *s.args)) for n in (1, 0, 2, 7) for s in single(0.5, 4.0)[: 3 if n == 1 else 1]),
        rejects=tuple(
            Reject((n, Array((3,))), DeclarationError, "the order of polygamma is a Python int from 0 to 1000")
            for n in (-1, 1001, 1.5, True)
        ),
        tf=lambda tf, n, x: tf.math.polygamma(tf.cast(n, x.dtype), x),
    ),
    _op(
        "betaln",
        "gammaln(x) + gammaln(y) - gammaln(x + y) for x, y >= 0 without its cancellation; NaN below 0.",
        ("gc.betaln([1.0, 1e10], [4.0, 0.5])", "array([ -1.38629436, -10.94056052])"),
        _betaln_adjoint,
        tuple(Sample((Array(s.args[0].shape, 0.3, 3.0), s.args[1])) for s in pair(0.3, 3.0)),
        reference=_betaln_reference,
    ),
    Op(
        name="multigammaln",
        doc="The logarithm of the multivariate gamma function of dimension d, a Python int: d(d - 1)/4 * log(pi) + the "
        "sum of gammaln(a - j/2) over j < d; NaN unless a > (d - 1)/2."
        + example("gc.multigammaln([0.9, 5.0], 3)", "array([      nan, 9.1406447])"),
        reference=_multigammaln_reference,
        define=_multigammaln,
        dtypes=FLOATS,
        samples=tuple(Sample((*s.args, d)) for d in (3, 1) for s in single(1.5, 5.0)),
        rejects=(Reject((Array((3,)), 0), DeclarationError, "multigammaln is a Python int at least 1"),),
    ),
):
    register(_record)


# Bessel functions


def _i1e_adjoint(b: Any, g: Any, out: Any, x: Any) -> tuple[Any]:
    origin = x == 0
    share = b.where(origin, 0.5, out / b.where(origin, 1, x))
    return (g * (b.i0e(x) - b.sign(x) * out - share),)


for _record in (
    _op(
        "i0e",
        "exp(-abs(x)) times the modified Bessel function of order 0; the derivative at 0 is 0.",
        ("gc.i0e([0.0, 1000.0])", "array([1.        , 0.01261724])"),
        lambda b, g, out, x: (g * (b.i1e(x) - b.sign(x) * out),),
        single(0.2, 4.0),
        tf=lambda tf, x: tf.math.bessel_i0e(x),
    ),
    _op(
        "i1e",
        "exp(-abs(x)) times the modified Bessel function of order 1; the derivative at 0 is 1/2.",
        ("gc.i1e([0.0, 1000.0])", "array([0.        , 0.01261093])"),
        _i1e_adjoint,
        single(0.2, 4.0),
        tf=lambda tf, x: tf.math.bessel_i1e(x),
    ),
):
    register(_record)
