"""How dynamic enthalpy of sea water changes with temperature: the 48-term equation of TEOS-10, 2010.

After pyhpc-benchmarks' `equation_of_state` (Unlicense), from the ocean model Veros.  The field is made by the rules of
differentiation, which `Dual` applies; what is measured is the derivative of that field's sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative

V = (
    math.nan,  # the coefficients are counted from 1
    9.998420897506056e2, 2.839940833161907, -3.147759265588511e-2, 1.181805545074306e-3,
    -6.698001071123802, -2.986498947203215e-2, 2.327859407479162e-4, -3.988822378968490e-2,
    5.095422573880500e-4, -1.426984671633621e-5, 1.645039373682922e-7, -2.233269627352527e-2,
    -3.436090079851880e-4, 3.726050720345733e-6, -1.806789763745328e-4, 6.876837219536232e-7,
    -3.087032500374211e-7, -1.988366587925593e-8, -1.061519070296458e-11, 1.550932729220080e-10,
    1.0, 2.775927747785646e-3, -2.349607444135925e-5, 1.119513357486743e-6,
    6.743689325042773e-10, -7.521448093615448e-3, -2.764306979894411e-5, 1.262937315098546e-7,
    9.527875081696435e-10, -1.811147201949891e-11, -3.303308871386421e-5, 3.801564588876298e-7,
    -7.672876869259043e-9, -4.634182341116144e-11, 2.681097235569143e-12, 5.419326551148740e-6,
    -2.742185394906099e-5, -3.212746477974189e-7, 3.191413910561627e-9, -1.931012931541776e-12,
    -1.105097577149576e-7, 6.211426728363857e-10, -1.119011592875110e-10, -1.941660213148725e-11,
    -1.864826425365600e-14, 1.119522344879478e-14, -1.200507748551599e-15, 6.057902487546866e-17,
)  # fmt: skip


def grid(n: int) -> tuple[int, int, int]:
    """The grid that stands for n elements."""
    side = n ** (1 / 3)
    return math.ceil(2 * side), math.ceil(2 * side), math.ceil(side / 4)


def draw(shape: tuple[int, int, int]) -> Arrays:
    rng = np.random.default_rng(17)
    return {
        "sa": rng.uniform(0.01, 10.0, size=shape),
        "ct": rng.uniform(-12.0, 20.0, size=shape),
        "p": rng.uniform(0.0, 1000.0, size=(1, 1, shape[2])),
    }


@dataclass(frozen=True)
class Dual:
    """A value and its derivative with respect to temperature."""

    v: Any
    d: Any

    def __add__(self, other: Any) -> Dual:
        return Dual(self.v + other.v, self.d + other.d) if isinstance(other, Dual) else Dual(self.v + other, self.d)

    def __sub__(self, other: Dual) -> Dual:
        return Dual(self.v - other.v, self.d - other.d)

    def __mul__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            return Dual(self.v * other.v, self.d * other.v + self.v * other.d)
        return Dual(self.v * other, self.d * other)

    def __truediv__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            quotient = self.v / other.v
            return Dual(quotient, (self.d - quotient * other.d) / other.v)
        return Dual(self.v / other, self.d / other)

    def sqrt(self, xp: Any) -> Dual:
        root = xp.sqrt(self.v)
        return Dual(root, self.d / (2 * root))

    def log(self, xp: Any) -> Dual:
        return Dual(xp.log(self.v), self.d / self.v)


def polynomial(c: Any, first: int, last: int) -> Dual:
    """V[first] + V[first + 1] c + … + V[last] c^(last - first)."""
    value, slope = V[last], 0.0
    for i in range(last - 1, first - 1, -1):
        value, slope = value * c + V[i], slope * c + value
    return Dual(value, slope)


def coefficients(xp: Any, sa: Any, c: Any) -> tuple[Dual, ...]:
    """a0, a1, a2, b0 … b3: the density is (a0 + 2 a1 p + a2 p^2) / (b0 + b1 p + b2 p^2 + b3 p^3)."""
    s = xp.sqrt(sa)
    a0 = polynomial(c, 1, 4) + (polynomial(c, 5, 7) + polynomial(c, 8, 11) * s) * sa
    a1 = (polynomial(c, 12, 14) + polynomial(c, 15, 16) * sa) * 0.5
    a2 = polynomial(c, 17, 19) + V[20] * sa
    b0 = polynomial(c, 21, 25) + (polynomial(c, 26, 30) + polynomial(c, 31, 35) * s + V[36] * sa) * sa
    b1 = polynomial(c, 37, 40) + polynomial(c, 41, 42) * sa
    b2 = polynomial(c, 43, 45) + Dual(V[46] * sa * c, V[46] * sa)
    return a0, a1, a2, b0, b1, b2, polynomial(c, 47, 48)


def enthalpy(xp: Any, sa: Any, ct: Any, p: Any) -> Dual:
    """10^4 times the integral of 1 / density over the pressure, in closed form."""
    a0, a1, a2, b0, b1, b2, b3 = coefficients(xp, sa, ct)
    u, c1 = a1 / a2, b3 / a2
    c0 = (b2 - a1 * c1 * 2) / a2
    r1 = b1 - a0 * c1 - a1 * c0 * 2
    r0 = b0 - a0 * c0
    w = (a1 * a1 - a0 * a2).sqrt(xp)
    log1 = ((a1 * 2 + a2 * p) * p / a0 + 1).log(xp)
    log2 = (a2 * w * (2 * p) / ((a1 - w) * (a1 + w + a2 * p)) + 1).log(xp)
    rational = c0 * p + c1 * (p * p / 2)
    return (rational + r1 / a2 * log1 * 0.5 + (r0 - r1 * u) / w * log2 * 0.5) * 1e4


def value(xp: Any, a: Any, shape: tuple[int, int, int]) -> Any:
    field = enthalpy(xp, a["sa"], a["ct"], a["p"]).d
    return xp.sum(field), {"field": field}


RECORD = Derivative(
    name="eos",
    sizes={"test": {"shape": (5, 4, 3)}, **{f"n{n}": {"shape": grid(n)} for n in (4096, 65536, 1048576)}},
    draw=draw,
    wrt=("sa", "ct", "p"),
    forms={"": value},
    outputs=("field",),
    tolerance=1e-6,  # float64 loses seven digits in this field
)
