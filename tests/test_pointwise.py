"""Pointwise intrinsics against NumPy, bit for bit, in every dtype, on pairs of special values."""

from __future__ import annotations

import re
from typing import Any

import numba
import numpy as np
import pytest

from graphc.codegen.intrinsics import pointwise as pw
from graphc.codegen.intrinsics.division import LARGE
from graphc.types import FLOATS, INTEGERS, DType

_fmax, _fmin, _fabs, _sign, _copysign = pw.fmax, pw.fmin, pw.fabs, pw.sign, pw.copysign
_floor, _ceil, _trunc, _rint = pw.floor, pw.ceil, pw.trunc, pw.rint
_floor_divide, _remainder, _int_pow = pw.floor_divide, pw.remainder, pw.int_pow
_select, _isnan, _isinf, _isfinite = pw.select, pw.isnan, pw.isinf, pw.isfinite


def _common(x, y, out):
    for k in range(x.size):
        out[0, k] = _fmax(x[k], y[k])
        out[1, k] = _fmin(x[k], y[k])
        out[2, k] = _fabs(x[k])
        out[3, k] = _sign(x[k])
        out[4, k] = _floor_divide(x[k], y[k])
        out[5, k] = _remainder(x[k], y[k])
        out[6, k] = _select(x[k] < y[k], x[k], y[k])
        out[7, k] = _isnan(x[k])
        out[8, k] = _isinf(x[k])
        out[9, k] = _isfinite(x[k])


def _of_floats(x, y, out):
    for k in range(x.size):
        out[0, k] = _floor(x[k])
        out[1, k] = _ceil(x[k])
        out[2, k] = _trunc(x[k])
        out[3, k] = _rint(x[k])
        out[4, k] = _copysign(x[k], y[k])


def _of_integers(x, y, out):
    for k in range(x.size):
        out[0, k] = _int_pow(x[k], y[k])


def _run(kernel: Any, x: Any, y: Any, rows: int) -> Any:
    out = np.empty((rows, x.size), x.dtype)
    element = numba.from_dtype(x.dtype)
    signature = numba.void(element[::1], element[::1], element[:, ::1])
    numba.njit(signature, error_model="numpy", fastmath={"contract"})(kernel)(x, y, out)
    return out


def _pairs(dtype: DType) -> tuple[Any, Any]:
    """All pairs of special values, and as many random ones of very different sizes."""
    rng = np.random.default_rng(7)
    if dtype.is_float:
        info = np.finfo(dtype.numpy)
        special = [0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 7.0, 1e-3, 0.1, float(info.max), float(info.tiny), np.inf, np.nan]
        special += [float(info.smallest_subnormal), 2.0**info.nmant, 2.0 ** (info.nmant + 1) + 2]
        values = np.array([*special, *(-v for v in special)], dtype.numpy)
        drawn = rng.standard_normal((2, 4000)) * 10.0 ** rng.integers(-9, 10, (2, 4000))
    else:
        limits = np.iinfo(dtype.numpy)
        near = [0, 1, 2, 3, 7, limits.max // 2, limits.max - 1, limits.max, limits.min, limits.min + 1]
        values = np.array(near + ([-1, -2, -3, -7] if limits.min else []), dtype.numpy)
        drawn = rng.integers(limits.min, limits.max, (2, 4000), dtype.numpy, endpoint=True)
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    return tuple(np.concatenate([a, b.astype(dtype.numpy)]) for a, b in zip((x, y), drawn, strict=True))


def _same(actual: Any, expected: Any, x: Any, y: Any, what: str) -> None:
    expected = np.asarray(expected).astype(actual.dtype)
    equal = (actual == expected) | ((actual != actual) & (expected != expected))
    if actual.dtype.kind == "f" and what not in ("fmax", "fmin", "sign"):  # there NumPy's own zeros have no fixed sign
        equal &= (np.signbit(actual) == np.signbit(expected)) | (actual != actual)
    bad = np.flatnonzero(~equal)[:5]
    assert not bad.size, f"{what}: {[(x[k], y[k], actual[k], expected[k]) for k in bad]}"


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
def test_common(dtype: DType) -> None:
    x, y = _pairs(dtype)
    got = _run(_common, x, y, 10)
    with np.errstate(all="ignore"):
        expected = {
            "fmax": np.maximum(x, y),
            "fmin": np.minimum(x, y),
            "fabs": np.abs(x),
            "sign": np.sign(x),
            "floor_divide": np.floor_divide(x, y),
            "remainder": np.remainder(x, y),
            "select": np.where(x < y, x, y),
            "isnan": np.isnan(x),
            "isinf": np.isinf(x),
            "isfinite": np.isfinite(x),
        }
    for row, (name, value) in zip(got, expected.items(), strict=True):
        _same(row, value, x, y, name)


def _next_to_multiples(dtype: DType, most: float) -> tuple[Any, Any]:
    """x at multiples of y, up to so many times, and the floats beside them, of all signs."""
    rng = np.random.default_rng(11)
    y = rng.standard_normal(3000).astype(dtype.numpy)
    times = np.exp2(rng.uniform(0, np.log2(most), y.size)).astype(dtype.numpy)
    x = np.round(times) * y * rng.choice([-1, 1], y.size).astype(dtype.numpy)
    beside = [x, *(np.nextafter(x, dtype.numpy.type(side)) for side in (-np.inf, np.inf))]
    return np.concatenate(beside), np.tile(y, 3)


@pytest.mark.parametrize("scale", [1.0, 2.0**-80, "least"], ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_whole_quotients_of_floats_next_to_whole_ones(dtype: DType, scale: Any) -> None:
    """The rounded ratio is a whole number where the exact one is less, up to where that is left to fmod, and beyond."""
    x, y = _next_to_multiples(dtype, 8 * LARGE[dtype.size == 8])
    factor = dtype.numpy.type(scale if scale != "least" else np.finfo(dtype.numpy).smallest_subnormal * 1000)
    x, y = x * factor, y * factor
    got = _run(_common, x, y, 10)
    with np.errstate(all="ignore"):
        _same(got[4], np.floor_divide(x, y), x, y, "floor_divide")
        _same(got[5], np.remainder(x, y), x, y, "remainder")


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_rounding(dtype: DType) -> None:
    x, y = _pairs(dtype)
    got = _run(_of_floats, x, y, 5)
    for row, function in zip(got, (np.floor, np.ceil, np.trunc, np.rint), strict=False):
        _same(row, function(x), x, y, function.__name__)
    _same(got[4], np.copysign(x, y), x, y, "copysign")


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_powers(dtype: DType) -> None:
    x, y = _pairs(dtype)
    (got,) = _run(_of_integers, x, y, 1)
    bits = 8 * dtype.size
    powers = [_power(int(a), int(b), bits) for a, b in zip(x, y, strict=True)]
    expected = np.array(powers, np.uint64).astype(dtype.numpy)
    assert (got == expected).all()


def _power(x: int, y: int, bits: int) -> int:
    if y < 0:
        inverse = {1: 1, -1: 1 if y % 2 == 0 else -1}.get(x, 0)
        return inverse % 2**bits
    return pow(x, y, 2**bits)


def test_zeros_are_ordered_by_their_sign() -> None:
    x, y = np.array([0.0, -0.0]), np.array([-0.0, 0.0])
    got = _run(_common, x, y, 10)
    assert np.signbit(got[0]).tolist() == [False, False]
    assert np.signbit(got[1]).tolist() == [True, True]


def test_extremes_vectorise() -> None:
    """fmax of float32 runs on vectors and no call is left in the loop."""
    element = numba.float32
    signature = numba.void(element[::1], element[::1], element[::1])

    def kernel(x, y, out):
        for k in range(x.size):
            out[k] = _select(x[k] > y[k], _fmax(x[k], y[k]), _rint(_fabs(y[k])))

    compiled = numba.njit(signature, error_model="numpy", fastmath={"contract"})(kernel)
    text = compiled.inspect_llvm(compiled.signatures[0])
    assert "x float> @llvm.rint" in text
    assert re.search(r"fcmp (contract )?o[gl]t <", text)


def test_whole_quotients_vectorise() -> None:
    """Lanes are divided together; C's fmod stands only in the function of one lane."""
    element = numba.float64
    signature = numba.void(element[::1], element[::1], element[::1])

    def kernel(x, y, out):
        for k in range(x.size):
            out[k] = _floor_divide(x[k], y[k]) + _remainder(x[k], y[k])

    compiled = numba.njit(signature, error_model="numpy", fastmath={"contract"})(kernel)
    text = compiled.inspect_llvm(compiled.signatures[0])
    assert re.search(r"fdiv (contract )?<\d+ x double>", text)
