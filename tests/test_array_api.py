"""The array API standard and NumPy's names: every function on every dtype and many shapes gives what NumPy gives.

Nodes are asked for their namespace and nothing else, so that what runs here is a function written to the standard.
"""

from __future__ import annotations

import doctest
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import evaluate, seeded

import graphc as gc
from graphc.op import REGISTRY
from graphc.operators import OTHER_NAMES
from graphc.ops.extremes import greater, smaller
from graphc.types import DTYPES, FLOATS, INTEGERS, SIGNED, DType, bool_

SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (5,), (2, 3), (0, 3), (2, 0), (1, 3), (3, 1, 2), (2, 1, 3, 2))
PAIRS = (
    *((s, s) for s in SHAPES),
    *(((), s) for s in SHAPES[3:7]),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((0, 1), (1, 3)),
    ((2, 1, 3, 1), (4, 1, 2)),
)
NUMERIC = (*FLOATS, *INTEGERS)
ALL = (*NUMERIC, bool_)
WHOLE = (*INTEGERS, bool_)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.inf, -np.inf, np.nan)


def drawn(shape: tuple[int, ...], dtype: DType, *key: Any) -> Any:
    rng = seeded("array api", shape, str(dtype), *key)
    if dtype == bool_:
        return rng.random(shape) < 0.5
    if dtype.is_integer:
        return rng.integers(-5 if dtype in SIGNED else 0, 6, shape).astype(dtype.numpy)
    return rng.choice(SPECIAL, shape).astype(dtype.numpy)


def check(ours: Callable[..., Any], numpys: Callable[..., Any], *values: Any, exact: bool = True) -> None:
    """The function on inputs, interpreted, gives what NumPy's gives on values: dtype, shape and elements."""
    inputs = [gc.input(f"x{k}", v.shape, v.dtype) for k, v in enumerate(values)]
    xp = inputs[0].__array_namespace__(api_version="2024.12")
    with np.errstate(all="ignore"):
        wanted = numpys(*values)
        made = ours(xp, *inputs)
        made, wanted = (v if isinstance(v, (tuple, list)) else (v,) for v in (made, wanted))
        assert len(made) == len(wanted)
        for node, value in zip(made, map(np.asarray, wanted), strict=True):
            assert (node.dtype, node.shape) == (value.dtype, value.shape)
            (found,) = evaluate([node], inputs, values)
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
            if exact or value.dtype.kind != "f":
                np.testing.assert_array_equal(found, value)
            else:
                np.testing.assert_allclose(found, value, rtol=16 * np.finfo(value.dtype).eps)


# name -> dtypes
UNARY: dict[str, Any] = {
    **dict.fromkeys(["abs", "square"], NUMERIC),
    **dict.fromkeys(["negative", "positive", "sign", "real", "conj"], NUMERIC),
    **dict.fromkeys(["floor", "ceil", "trunc"], ALL),
    **dict.fromkeys(["round", "isnan", "isinf", "isfinite", "imag"], NUMERIC),
    **dict.fromkeys(["bitwise_invert"], WHOLE),
    **dict.fromkeys(["signbit", "reciprocal"], FLOATS),
    "logical_not": (bool_,),
}
FLOATING = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]
BINARY: dict[str, Any] = {
    **dict.fromkeys(["add", "multiply", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"], ALL),
    **dict.fromkeys(["subtract", "floor_divide", "remainder"], NUMERIC),
    **dict.fromkeys(["divide", "copysign", "nextafter"], FLOATS),
    **dict.fromkeys(["bitwise_and", "bitwise_or", "bitwise_xor"], WHOLE),
    **dict.fromkeys(["bitwise_left_shift", "bitwise_right_shift"], INTEGERS),
    **dict.fromkeys(["logical_and", "logical_or", "logical_xor"], (bool_,)),
    **dict.fromkeys(["maximum", "minimum"], ALL),
}
NUMPYS: dict[str, Any] = {"maximum": greater, "minimum": smaller}


def cases(table: dict[str, Any]) -> list[Any]:
    return [pytest.param(name, dtype, id=f"{name}-{dtype}") for name, dtypes in table.items() for dtype in dtypes]


@pytest.mark.parametrize(("name", "dtype"), cases(UNARY))
def test_functions_of_one_array(name: str, dtype: DType) -> None:
    for shape in SHAPES:
        check(lambda xp, x: getattr(xp, name)(x), NUMPYS.get(name, getattr(np, name)), drawn(shape, dtype, name))


@pytest.mark.parametrize(("name", "dtype"), cases(dict.fromkeys(FLOATING, FLOATS)))
def test_float_functions(name: str, dtype: DType) -> None:
    for shape in SHAPES:
        check(lambda xp, x: getattr(xp, name)(x), getattr(np, name), drawn(shape, dtype, name), exact=False)


@pytest.mark.parametrize(("name", "dtype"), cases(BINARY))
def test_functions_of_two_arrays(name: str, dtype: DType) -> None:
    for first, second in PAIRS:
        values = drawn(first, dtype, name), drawn(second, dtype, name, 2)
        check(lambda xp, x, y: getattr(xp, name)(x, y), NUMPYS.get(name, getattr(np, name)), *values)


@pytest.mark.parametrize("pair", list(itertools.product(ALL, ALL)), ids=lambda p: "-".join(map(str, p)))
def test_two_dtypes_meet_as_numpys_do(pair: tuple[DType, DType]) -> None:
    x, y = (np.ones(2, d.numpy) for d in pair)
    check(lambda xp, x, y: xp.add(x, y), np.add, x, y)
    assert gc.result_type(*pair) == np.result_type(x, y)
    assert gc.can_cast(*pair) == np.can_cast(x.dtype, y.dtype)


# reductions: name -> dtypes
FOLDS: dict[str, Any] = {
    **dict.fromkeys(["sum", "prod"], NUMERIC),
    **dict.fromkeys(["all", "any"], ALL),
    "count_nonzero": ALL,
}


@pytest.mark.parametrize(("name", "dtype"), cases(FOLDS))
def test_reductions(name: str, dtype: DType) -> None:
    for shape in SHAPES:
        x = drawn(shape, dtype if name in ("all", "any", "count_nonzero") or dtype.is_integer else FLOATS[1], name)
        x = np.where(np.isfinite(x), x, 2).astype(dtype.numpy)
        axes = (None, *range(-len(shape), len(shape)), tuple(range(len(shape))))
        for axis, keepdims in itertools.product(axes, (False, True)):
            how = {"axis": axis, "keepdims": keepdims}
            check(lambda xp, x, how=how: getattr(xp, name)(x, **how), lambda x, h=how: getattr(np, name)(x, **h), x)


MOVED: dict[str, Callable[..., Any]] = {
    "flip": lambda xp, x: xp.flip(x),
    "roll": lambda xp, x: xp.roll(x, 2),
    "reshape": lambda xp, x: xp.reshape(x, (-1,)) if x.size else xp.reshape(x, (0, 7)),
    "expand_dims": lambda xp, x: xp.expand_dims(x, axis=-1),
    "squeeze": lambda xp, x: xp.squeeze(x, axis=tuple(k for k, d in enumerate(x.shape) if d == 1)),
    "permute_dims": lambda xp, x: xp.permute_dims(x, tuple(reversed(range(x.ndim)))),
    "broadcast_to": lambda xp, x: xp.broadcast_to(x, (2, *x.shape)),
    "tile": lambda xp, x: xp.tile(x, (2, 1, 2)),
    "repeat": lambda xp, x: xp.repeat(x, 2),
    "stack": lambda xp, x: xp.stack([x, x], axis=-1),
    "concat": lambda xp, x: xp.concat([x, x], axis=None),
    "zeros_like": lambda xp, x: xp.zeros_like(x),
    "ones_like": lambda xp, x: xp.ones_like(x),
    "full_like": lambda xp, x: xp.full_like(x, 1),
    "broadcast_arrays": lambda xp, x: tuple(xp.broadcast_arrays(x, x)),
    "where": lambda xp, x: xp.where(x == x, x, xp.zeros_like(x)),
}
ALONG: dict[str, Callable[..., Any]] = {
    "flip": lambda xp, x, k: xp.flip(x, axis=k),
    "roll": lambda xp, x, k: xp.roll(x, -1, axis=k),
    "repeat": lambda xp, x, k: xp.repeat(x, 2, axis=k),
    "concat": lambda xp, x, k: xp.concat([x, x], axis=k),
    "moveaxis": lambda xp, x, k: xp.moveaxis(x, k, 0),
    "diff": lambda xp, x, k: xp.diff(x, axis=k),
    "diff twice": lambda xp, x, k: xp.diff(x, axis=k, n=2),
    "unstack": lambda xp, x, k: xp.unstack(x, axis=k),
    "sort": lambda xp, x, k: xp.sort(x, axis=k),
    "argsort": lambda xp, x, k: xp.argsort(x, axis=k, stable=True),
    "take": lambda xp, x, k: xp.take(x, xp.asarray([0, 0]), axis=k) if x.shape[k] else x,
    "swapaxes": lambda xp, x, k: xp.swapaxes(x, k, -1),
    "split": lambda xp, x, k: tuple(xp.split(x, [1, 2], axis=k)),
    "cumsum": lambda xp, x, k: xp.cumsum(xp.where(xp.isfinite(x), x, xp.ones_like(x)), axis=k),
    "cumulative_sum": lambda xp, x, k: xp.cumulative_sum(
        xp.where(xp.isfinite(x), x, xp.ones_like(x)), axis=k, include_initial=True
    ),
    "argmax": lambda xp, x, k: xp.argmax(x, axis=k) if x.shape[k] else x,
    "argmin": lambda xp, x, k: xp.argmin(x, axis=k) if x.shape[k] else x,
}
MATRICES: dict[str, Callable[..., Any]] = {
    "tril": lambda xp, x: xp.tril(x, k=1),
    "triu": lambda xp, x: xp.triu(x, k=-1),
    "matrix_transpose": lambda xp, x: xp.matrix_transpose(x),
    "diagonal": lambda xp, x: xp.diagonal(x, 1),
    "trace": lambda xp, x: xp.trace(xp.where(x == 1, x, xp.zeros_like(x))),
    "mT": lambda xp, x: x.mT,
    "T": lambda xp, x: x.T,
}


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("name", MOVED)
def test_elements_in_other_places(name: str, dtype: DType) -> None:
    for shape in SHAPES:
        check(MOVED[name], lambda x: MOVED[name](np, x), drawn(shape, dtype, name))


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("name", ALONG)
def test_elements_along_every_axis(name: str, dtype: DType) -> None:
    if dtype == bool_ and name.startswith("cum"):
        pytest.skip("isfinite takes numbers")
    for shape in SHAPES:
        for k in range(-len(shape), len(shape)):
            x = drawn(shape, dtype, name)
            check(lambda xp, x, k=k: ALONG[name](xp, x, k), lambda x, k=k: ALONG[name](np, x, k), x)


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("name", MATRICES)
def test_matrices(name: str, dtype: DType) -> None:
    for shape in (s for s in SHAPES if len(s) >= 2):
        check(MATRICES[name], lambda x: MATRICES[name](np, x), drawn(shape, dtype, name))


def _added(x: Any, y: Any) -> Any:
    x = x + x
    x += y
    x *= y
    x -= 1
    return x


OPERATORS: dict[str, tuple[Callable[..., Any], Any]] = {
    "in-place": (_added, NUMERIC),
    "x & y": (lambda x, y: x & y, WHOLE),
    "x | y": (lambda x, y: x | y, WHOLE),
    "x ^ y": (lambda x, y: x ^ y, WHOLE),
    "~x": (lambda x, y: ~x, WHOLE),
    "x << y": (lambda x, y: x << abs(y), INTEGERS),
    "x >> y": (lambda x, y: x >> abs(y), INTEGERS),
    "1 << y": (lambda x, y: 1 << abs(y), INTEGERS),
    "x // 2": (lambda x, y: x // 2, NUMERIC),
    "x % 3": (lambda x, y: x % 3, NUMERIC),
    "2 - x": (lambda x, y: 2 - x, NUMERIC),
    "x ** 2": (lambda x, y: x**2, NUMERIC),
    "-x": (lambda x, y: -x, NUMERIC),
    "True | x": (lambda x, y: True | x, (bool_,)),
}


@pytest.mark.parametrize(
    ("name", "dtype"), [pytest.param(n, d, id=f"{n}-{d}") for n, (_, dtypes) in OPERATORS.items() for d in dtypes]
)
def test_operators(name: str, dtype: DType) -> None:
    function = OPERATORS[name][0]
    for first, second in PAIRS[: len(SHAPES)] if name == "in-place" else PAIRS:
        check(lambda xp, x, y: function(x, y), function, drawn(first, dtype, name), drawn(second, dtype, name, 2))


METHODS: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.reshape(3, -1),
    "reshape of a tuple": lambda x: x.reshape((3, -1)),
    "transpose": lambda x: x.transpose(),
    "transpose of axes": lambda x: x.transpose(1, 0),
    "transpose of a tuple": lambda x: x.transpose((1, 0)),
    "transpose of None": lambda x: x.transpose(None),
    "flatten": lambda x: x.flatten(),
    "ravel": lambda x: x.ravel(),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "squeeze": lambda x: x[:1].squeeze(),
    "squeeze of an axis": lambda x: x[:1].squeeze(0),
    "repeat": lambda x: x.repeat(2, axis=1),
    "clip": lambda x: x.clip(0.25, 0.5),
    "round": lambda x: x.round(),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(axis=0),
    "max": lambda x: x.max(),
    "max along": lambda x: x.max(0),
    "min": lambda x: x.min(axis=1, keepdims=True),
    "sum": lambda x: x.sum(axis=(0, 1)),
    "sum as": lambda x: x.sum(axis=0, dtype="float32"),
    "prod": lambda x: x.prod(),
    "mean": lambda x: x.mean(1),
    "std": lambda x: x.std(axis=0),
    "var": lambda x: x.var(),
    "all": lambda x: (x > 0).all(),
    "any": lambda x: (x > 0.9).any(axis=0),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(),
    "argsort": lambda x: x.argsort(),
    "dot": lambda x: x.dot(x.T),
    "trace": lambda x: x.trace(),
    "diagonal": lambda x: x.diagonal(1),
    "astype": lambda x: x.astype("int32"),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    values = seeded("methods").random((2, 3))
    check(lambda xp, x: METHODS[name](x), METHODS[name], values, exact=False)


EXAMPLES = doctest.DocTestFinder(recurse=False)


@pytest.mark.parametrize("name", sorted(k for k, v in vars(gc.Node).items() if k[0] != "_" and callable(v)))
def test_examples_of_methods(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    method = getattr(gc.Node, name)
    (test,) = EXAMPLES.find(method, name, globs={})
    assert test.examples
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0, capsys.readouterr().out


# programs written to the standard


def standardised(x: Any) -> Any:
    xp = x.__array_namespace__()
    centred = x - xp.mean(x, axis=0, keepdims=True)
    return centred / xp.std(x, axis=0, keepdims=True, correction=1)


def pairwise(x: Any) -> Any:
    xp = x.__array_namespace__()
    apart = xp.expand_dims(x, axis=1) - xp.expand_dims(x, axis=0)
    return xp.sqrt(xp.sum(xp.square(apart), axis=-1)) + xp.eye(x.shape[0], dtype=x.dtype)


def smoothed(x: Any) -> Any:
    xp = x.__array_namespace__()
    weights = xp.linspace(0.0, 1.0, 3, dtype=x.dtype)
    shifted = [w * xp.roll(x, k, axis=0) for k, w in enumerate(xp.unstack(weights))]
    out = xp.zeros_like(x)
    for s in shifted:
        out += s
    return xp.where(xp.astype(xp.arange(x.shape[0]) % 2, xp.bool)[:, None], out, x)


def spectrum(x: Any) -> Any:
    xp = x.__array_namespace__()
    limits = xp.finfo(x.dtype)
    kept = xp.clip(x, limits.eps, limits.max)
    total = xp.cumulative_sum(xp.log(kept), axis=0)
    rows = xp.concat([total, xp.full((1, x.shape[1]), xp.pi, dtype=x.dtype)])
    return rows.T @ xp.ones((x.shape[0] + 1,), dtype=x.dtype)


@pytest.mark.parametrize("program", [standardised, pairwise, smoothed, spectrum])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_programs_written_to_the_standard(program: Callable[[Any], Any], dtype: DType) -> None:
    x = seeded("programs").random((4, 3)).astype(dtype.numpy)
    node = gc.input("x", ("n", 3), dtype)
    expected = program(x)
    found = gc.compile([node], program(node))(x)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=64 * np.finfo(dtype.numpy).eps)


# facts about the namespace


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_are_of_the_same_functions(name: str) -> None:
    function = getattr(gc, name)
    assert function is getattr(gc, OTHER_NAMES[name])
    x = gc.input("x", (2, 3))
    if isinstance(getattr(np, name, None), np.ufunc) and "f" in {d.kind for d in REGISTRY[OTHER_NAMES[name]].dtypes}:
        arguments = [x] * getattr(np, name).nin
        assert getattr(np, name)(*arguments) is function(*arguments)


def test_limits_of_dtypes_are_numpys() -> None:
    for dtype in FLOATS:
        ours, numpys = gc.finfo(dtype), np.finfo(dtype.numpy)
        for name in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(ours, name) == getattr(numpys, name)
            assert type(getattr(ours, name)) in (int, float)
        assert gc.finfo(gc.input("x", (), dtype)) == ours
    for dtype in INTEGERS:
        known = gc.iinfo(dtype)
        limits = np.iinfo(dtype.numpy)
        assert (known.bits, known.max, known.min, known.dtype) == (limits.bits, limits.max, limits.min, dtype)
    with pytest.raises(gc.DTypeError, match="see iinfo"):
        gc.finfo("int8")
    with pytest.raises(gc.DTypeError, match="see finfo"):
        gc.iinfo("float32")


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_numpy_takes_these_dtypes(dtype: DType) -> None:
    assert np.dtype(dtype) == dtype.numpy == dtype  # type: ignore[call-overload]
    assert np.zeros(2, dtype).dtype == dtype  # type: ignore[call-overload]
    assert np.ones(2).astype(dtype).dtype == dtype  # type: ignore[arg-type]


KINDS = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric")


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_dtypes_are_numpys(kind: str) -> None:
    assert {d for d in DTYPES.values() if gc.isdtype(d, kind)} == {
        d for d in DTYPES.values() if np.isdtype(d.numpy, kind)
    }
    info = gc.__array_namespace_info__()
    assert info.dtypes(kind=kind) == {n: d for n, d in DTYPES.items() if gc.isdtype(d, kind)}


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(gc.DTypeError, match="a kind of dtype is one of"):
        gc.isdtype("int8", "integer")


def test_a_standard_that_is_not_known_is_refused() -> None:
    with pytest.raises(gc.DeclarationError, match=r"of 2021\.12, .* not of '1999'\n  at "):
        gc.input("x", ()).__array_namespace__(api_version="1999")
