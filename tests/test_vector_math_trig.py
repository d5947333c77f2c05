"""sin, cos and tan where it is hardest: next to multiples of pi/2, for every exponent; and that loops vectorise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import ulp
from numba import from_dtype, njit, types

from graphc.codegen.intrinsics.angle import HALF_PI, HUGE, PI, TWO_OVER_PI
from graphc.codegen.intrinsics.trigonometric import cos, sin, tan

Floats = np.ndarray[Any, Any]

FUNCTIONS = {"sin": (sin, mpmath.sin), "cos": (cos, mpmath.cos), "tan": (tan, mpmath.tan)}

both = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: np.dtype(dtype).name)
each = pytest.mark.parametrize("name", FUNCTIONS)


@cache
def loop(name: str, dtype: Any) -> Any:
    """out[i] = f(x[i]), compiled as graphc compiles."""
    function, _ = FUNCTIONS[name]
    array = from_dtype(np.dtype(dtype))[::1]

    def run(x: Floats, out: Floats) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    return njit([types.void(array, array)], fastmath={"contract"}, error_model="numpy")(run)


def results(name: str, x: Floats) -> Floats:
    out = np.empty_like(x)
    loop(name, x.dtype.type)(x, out)
    return out


def convergents(value: Fraction) -> Iterator[tuple[int, int]]:
    """Numerators and denominators of the continued fraction."""
    (p, q), (p_next, q_next) = (0, 1), (1, 0)
    while True:
        whole = value.numerator // value.denominator
        p, q, p_next, q_next = p_next, q_next, whole * p_next + p, whole * q_next + q
        yield p_next, q_next
        if value == whole:
            return
        value = 1 / (value - whole)


@cache
def nearest_to_turns(dtype: Any) -> Floats:
    """For every exponent the significands m that bring m·2^e next to a multiple of pi/2, from a quarter turn on.

    m·2^e/(pi/2) is next to a whole number where m is the denominator of a convergent of 2^e/(pi/2); multiples of m are
    nearly as good, and the last convergent that fits leads the hardest cases of its exponent.
    """
    info = np.finfo(dtype)
    digits = info.nmant + 1
    points = []
    for e in range(1 - digits, int(info.maxexp) - digits + 1):
        denominators = []
        for _, q in convergents(2 / PI * Fraction(2) ** e):
            if q >> digits:
                break
            denominators.append(q)
        for q in denominators[-2:]:
            points += [np.ldexp(float(q * k), e) for k in (1, 2, 3, 5) if q * k >> digits == 0]
    return np.array(points, dtype)


@each
@both
def test_nearest_to_quarter_turns(name: str, dtype: Any) -> None:
    x = nearest_to_turns(dtype)
    x = np.concatenate([x, -x])
    exact = ulp.exactly(FUNCTIONS[name][1], x)
    error, at = ulp.worst(results(name, x), exact, x)
    assert error <= 2, f"{name}{at} is wrong by {error:.3f} units"


def test_the_hardest_cases_are_among_them() -> None:
    assert 6381956970095103 * 2.0**797 in nearest_to_turns(np.float64)
    assert np.float32(16367173 * 2.0**72) in nearest_to_turns(np.float32)
    with mpmath.workdps(60):
        assert abs(mpmath.cos(mpmath.mpf(6381956970095103) * 2**797)) < 5e-19


@each
@both
def test_where_the_reduction_changes(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(4)
    huge = HUGE[dtype is np.float64]
    x = np.concatenate([ulp.near(centre, dtype, 1000, rng) for centre in (huge, -huge, float(np.finfo(dtype).max))])
    exact = ulp.exactly(FUNCTIONS[name][1], x)
    error, at = ulp.worst(results(name, x), exact, x)
    assert error <= 2, f"{name}{at} is wrong by {error:.3f} units"


@each
@both
def test_huge_lanes_leave_the_others_alone(name: str, dtype: Any) -> None:
    """A vector with one, several or only huge lanes gives what each lane gives by itself."""
    rng = np.random.default_rng(5)
    x = (rng.standard_normal(4096) * 10).astype(dtype)
    huge = rng.random(x.size) < np.repeat([0.0, 0.02, 0.5, 1.0], x.size // 4)
    x[huge] *= dtype(1e25)
    x[::97] = np.inf
    alone = np.concatenate([results(name, x[i : i + 1]) for i in range(x.size)])
    assert np.array_equal(results(name, x), alone, equal_nan=True)


@each
@both
def test_loop_is_vectorised(name: str, dtype: Any) -> None:
    """The rare call does not keep LLVM from vectors of the loop's type (a wide enough machine assumed)."""
    code = loop(name, dtype)
    kind = {np.float32: "float", np.float64: "double"}[dtype]
    text = code.inspect_llvm(code.signatures[0])
    assert f"x {kind}> @llvm.fma." in text


def test_constants_against_mpmath() -> None:
    def whole(value: Fraction) -> Any:
        return mpmath.mpf(value.numerator) / value.denominator

    with mpmath.workprec(1500):
        assert abs(whole(PI) - mpmath.pi) < mpmath.mpf(2) ** -1390
        assert abs(sum(map(mpmath.mpf, HALF_PI)) - mpmath.pi / 2) < mpmath.mpf(2) ** -160
        stream = sum(word << 64 * (19 - i) for i, word in enumerate(TWO_OVER_PI))
        assert stream == int(mpmath.floor(2 / mpmath.pi * mpmath.mpf(2) ** (64 * 19)))


def test_two_functions_in_one_module() -> None:
    """sin defines the function of its huge arguments once a module, and modules that both have it can be linked."""

    def linked(inner: Callable[..., Any]) -> Any:
        @njit(error_model="numpy")
        def outer(x: Any) -> Any:
            return inner(x) + sin(x) * cos(x) + sin(x)

        return outer

    @njit(error_model="numpy")
    def inner(x: Any) -> Any:
        return sin(x)

    x = 1e22
    expected = 2 * float(mpmath.sin(x)) + float(mpmath.sin(x)) * float(mpmath.cos(x))
    assert linked(inner)(x) == pytest.approx(expected, rel=1e-14)
