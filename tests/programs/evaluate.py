"""Programs by NumPy: a namespace of functions with graphc's names, and gradients by differences.

In: a Program and its sizes.  Out: the value of every target.  Nothing of graphc is used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import special

from .indexing import FUNCTIONS
from .program import Line, Program, Values
from .unrolled import HELPERS
from .windows import FUNCTIONS as WINDOWS


def _float(x: Any) -> Any:
    x = np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _like(function: Any) -> Any:
    """A function of floats, in the dtype of its operand."""
    return lambda x: np.asarray(function(_float(x)), _float(x).dtype)


def _axes(x: Any, axis: Any) -> Any:
    return tuple(range(np.ndim(x))) if axis is None else axis


def _logsumexp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    x, axis = _float(x), _axes(x, axis)
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


def _softmax(x: Any, axis: int = -1) -> Any:
    return np.exp(_log_softmax(x, axis))


def _log_softmax(x: Any, axis: int = -1) -> Any:
    return _float(x) - _logsumexp(x, axis, keepdims=True)


def _gelu(x: Any, approximate: bool = False) -> Any:
    x = _float(x)
    if approximate:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x**3)))
    return 0.5 * x * special.erfc(-x / np.sqrt(x.dtype.type(2)))


def _one_hot(i: Any, k: int, dtype: str = "float64") -> Values:
    return (np.asarray(i)[..., None] == np.arange(k)).astype(dtype)


def _take_along(x: Any, i: Any, axis: int = -1) -> Values:
    """With broadcasting of all other axes, as graphc has it."""
    x, i = np.asarray(x), np.asarray(i)
    axis %= x.ndim
    shape = np.broadcast_shapes(tuple(1 if k == axis else d for k, d in enumerate(x.shape)), i.shape)
    whole = tuple(x.shape[axis] if k == axis else d for k, d in enumerate(shape))
    return np.take_along_axis(np.broadcast_to(x, whole), np.broadcast_to(i, shape), axis)


def _turned(function: Any, x: Any, axis: int, turned: bool) -> Values:
    return np.flip(function(np.flip(x, axis)), axis) if turned else function(x)


def _argsort(x: Any, axis: int = -1, descending: bool = False) -> Values:
    found = _turned(lambda y: np.argsort(y, axis, kind="stable"), x, axis, descending)
    return x.shape[axis] - 1 - found if descending else found


def _top_k(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Values, Values]:
    if k > np.shape(x)[axis]:  # np.take does not see it where another axis is empty
        raise IndexError(f"no {k} among {np.shape(x)[axis]}")
    at = np.take(_argsort(np.asarray(x), axis, largest), np.arange(k), axis)
    return np.take_along_axis(np.asarray(x), at, axis), at


def _of_floats(function: Any) -> Any:
    """A float function, which takes integers and bool in float64 where NumPy takes short ones in float16."""

    def call(*operands: Any) -> Any:
        whole = np.result_type(*operands).kind not in "f"
        return function(*(np.asarray(x, np.float64) for x in operands)) if whole else function(*operands)

    return call


def _expand(x: Any, axis: int = 0) -> Values:
    return np.expand_dims(x, axis)


def _divided(function: Any, by_zero: Any) -> Any:
    """Integer division, where dividing by 0 gives what graphc promises."""

    def divide(x: Any, y: Any) -> Any:
        out = function(x, y)
        return np.where(np.equal(y, 0), np.asarray(by_zero, out.dtype), out) if out.dtype.kind in "iu" else out

    return divide


NAMESPACE = SimpleNamespace(
    **{
        name: getattr(np, name)
        for name in [
            "abs",
            "add",
            "astype",
            "broadcast_to",
            "ceil",
            "concat",
            "cumulative_prod",
            "cumulative_sum",
            "divide",
            "equal",
            "flip",
            "floor",
            "greater",
            "greater_equal",
            "isfinite",
            "isinf",
            "isnan",
            "less",
            "less_equal",
            "logical_and",
            "logical_not",
            "logical_or",
            "logical_xor",
            "matmul",
            "matrix_transpose",
            "max",
            "maximum",
            "mean",
            "min",
            "minimum",
            "moveaxis",
            "multiply",
            "negative",
            "not_equal",
            "ones",
            "outer",
            "pad",
            "permute_dims",
            "positive",
            "pow",
            "prod",
            "reshape",
            "round",
            "sign",
            "squeeze",
            "stack",
            "std",
            "subtract",
            "sum",
            "take",
            "tensordot",
            "trunc",
            "var",
            "vecdot",
            "where",
            "zeros",
            "all",
            "any",
            "argmax",
            "argmin",
            "arange",
            "square",
            "einsum",
            "clip",
            *("bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift"),
            *("bitwise_xor", "copysign", "count_nonzero", "diagonal", "diff", "eye", "linspace", "nextafter", "repeat"),
            *("roll", "signbit", "swapaxes", "tile", "trace", "tril", "triu"),
        ]
    },
    **{
        name: _of_floats(getattr(np, name))
        for name in (
            *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "exp", "exp2"),
            *("expm1", "hypot", "log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh"),
        )
    },
    constant=lambda value, dtype=None: np.asarray(value, dtype),
    relu=lambda x: np.maximum(x, np.zeros((), np.asarray(x).dtype)),
    floor_divide=_divided(np.floor_divide, 0),
    remainder=_divided(np.remainder, 0),
    reciprocal=lambda x: 1 / _float(x),
    rsqrt=lambda x: 1 / np.sqrt(_float(x)),
    sigmoid=_like(special.expit),
    silu=lambda x: _float(x) * special.expit(_float(x)),
    softplus=lambda x: np.logaddexp(_float(x), _float(x).dtype.type(0)),
    **{
        name: _of_floats(getattr(special, name))
        for name in (
            *("digamma", "erf", "erfc", "erfcx", "erfinv", "gammaln", "i0e", "i1e", "log_ndtr", "logit", "ndtr"),
            *("ndtri", "xlogy", "xlog1py"),
        )
    },
    betaln=_of_floats(lambda x, y: np.where(np.minimum(x, y) >= 0, special.betaln(x, y), np.nan)),
    logaddexp=_of_floats(np.logaddexp),
    log1mexp=_of_floats(lambda x: np.where(x < 0.7, np.log(-np.expm1(-x)), np.log1p(-np.exp(-x)))),
    multigammaln=lambda a, d: _like(
        lambda y: np.where(
            y > (d - 1) / 2,
            np.sum([special.gammaln(y - j / 2) for j in range(d)], axis=0) + d * (d - 1) / 4 * np.log(np.pi),
            np.nan,
        )
    )(a),
    polygamma=lambda n, x: _like(lambda y: special.polygamma(n, y))(x),
    gelu=_gelu,
    logsumexp=_logsumexp,
    softmax=_softmax,
    log_softmax=_log_softmax,
    one_hot=_one_hot,
    take_along_axis=_take_along,
    expand_dims=_expand,
    **FUNCTIONS,
    **WINDOWS,
    sort=lambda x, axis=-1, descending=False: _turned(lambda y: np.sort(y, axis, kind="stable"), x, axis, descending),
    argsort=_argsort,
    top_k=_top_k,
    stop_gradient=lambda x: x,
)


class Unknown:
    """A value that NumPy can't tell: a gradient, or what is made from one; touching it is an error of this kind."""

    class Used(Exception):
        pass

    def __getattr__(self, name: str) -> Any:
        raise Unknown.Used

    def _refuse(self, *_: Any) -> Any:
        raise Unknown.Used

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __neg__ = __getitem__ = __pow__ = __matmul__ = __rmatmul__ = __array__ = __gt__ = __lt__ = __iter__ = _refuse


UNKNOWN = Unknown()
STEP = 1e-6  # of differences


def assign(line: Line, names: dict[str, Any]) -> None:
    """Run one line; a gradient, and what is made from one, is unknown."""
    if line.wrt:
        names.update(dict.fromkeys(line.targets, UNKNOWN))
        return
    try:
        with np.errstate(all="ignore"):
            exec(line.text, names)
            for target in line.targets:
                names[target] = np.asarray(names[target])
    except Unknown.Used:
        names.update(dict.fromkeys(line.targets, UNKNOWN))


def evaluate(program: Program, sizes: Mapping[str, int], astray: bool = False) -> dict[str, Any]:
    """The value of every leaf and target."""
    values = program.values(dict(sizes), astray)
    names: dict[str, Any] = {"gc": NAMESPACE, "np": np, **HELPERS, **values}
    for line in program.lines:
        assign(line, names)
    return names


def slopes(
    program: Program, line: Line, known: Mapping[str, Any], count: int = 6
) -> list[tuple[str, tuple[int, ...], float]]:
    """Derivatives by differences at some elements of leaves: (wrt, position, slope), where both sides agree.

    Other values may be the same node as a part of another line, which NumPy does not see.
    """
    rng = np.random.default_rng(program.seed % 2**32)
    found = []
    for name in line.wrt:
        value = known[name]
        if all(leaf.name != name for leaf in program.leaves) or value.dtype != np.float64 or not value.size:
            continue
        for flat in rng.choice(value.size, min(count, value.size), replace=False):
            at = tuple(int(i) for i in np.unravel_index(flat, value.shape))
            slope = _slope(program, line, known, name, at)
            if slope is not None:
                found.append((name, at, slope))
    return found


def moved(program: Program, line: Line, known: Mapping[str, Any], name: str, at: tuple[int, ...], by: float) -> float:
    """The scalar of a gradient where one element of a leaf is moved."""
    value = known[name].copy()
    value[at] += by
    names = {**known, name: value}
    made = {name}
    for earlier in program.lines[: program.lines.index(line)]:
        if any(m in earlier.expression for m in made):
            assign(earlier, names)
            made.update(earlier.targets)
    out = names[line.of]
    return float("nan") if out is UNKNOWN else float(out)


def _slope(program: Program, line: Line, known: Mapping[str, Any], name: str, at: tuple[int, ...]) -> float | None:
    with np.errstate(all="ignore"):
        left, middle, right = (moved(program, line, known, name, at, by) for by in (-STEP, 0.0, STEP))
        forward, backward = (right - middle) / STEP, (middle - left) / STEP
    noise = 1e-9 * abs(middle) / STEP
    if not abs(forward - backward) <= 1e-3 * (1e-3 + abs(forward)) + noise:
        return None
    return (right - left) / (2 * STEP)
