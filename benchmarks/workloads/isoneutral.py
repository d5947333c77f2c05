"""Isopycnal diffusion tensor on a staggered grid, after pyhpc-benchmarks' `isoneutral_mixing` (Unlicense).

Positive lengths and a K_iso of about 100 keep the tapering alive, where the source draws everything from N(0, 1).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative
from benchmarks.workloads.eos import grid

RHO, SIGMA, STEEP, TINY = 1024.0, 1e-3, 50.0, 1e-20
LENGTHS = {"dxt": 1000, "dxu": 1000, "dyt": 1000, "dyu": 1000, "dzt": 1, "dzw": 1, "zt": 100, "cost": 1, "cosu": 1}
AXES = {"dxt": 0, "dxu": 0, "dyt": 1, "dyu": 1, "dzt": 2, "dzw": 2, "zt": 2, "cost": 1, "cosu": 1}
PAIRS = tuple(itertools.product(range(2), range(2)))

Box = tuple[slice, slice, slice]


def draw(shape: tuple[int, int, int]) -> Arrays:
    rng = np.random.default_rng(17)
    drawn = {f"mask{c}": (rng.random(shape) < 0.8).astype(np.float64) for c in "TUVW"}
    drawn |= {name: scale * rng.uniform(0.5, 1.5, size=shape[AXES[name]]) for name, scale in LENGTHS.items()}
    drawn |= {name: rng.normal(size=shape) for name in ("K_iso", "K_11", "K_22", "K_33")}
    drawn["K_iso"] = 100.0 * np.abs(drawn["K_iso"])
    return drawn | {name: rng.normal(size=(*shape, 3)) for name in ("salt", "temp")}


class Mixing:
    """The seven fields.  `across[axis]` holds the differences of temperature and salt along that axis."""

    def __init__(self, xp: Any, a: Any, shape: tuple[int, int, int]) -> None:
        self.xp, self.a, self.shape = xp, a, shape
        temp, salt = a["temp"][..., 0], a["salt"][..., 0]
        pressure = 1 + 1.1e-8 * 9.81 * RHO * xp.abs(a["zt"])
        self.by_temp = -RHO * a["maskT"] * (1e-5 * (temp - 9.85) + 1.67e-4 * pressure)
        self.by_salt = 0.78e-3 * RHO * a["maskT"]
        lengths = self.along("dxu") * self.along("cost"), self.along("dyu"), self.along("dzw")
        self.across = [
            [self.difference(field, axis, a[mask], length) for field in (temp, salt)]
            for axis, (mask, length) in enumerate(zip(("maskU", "maskV", "maskW"), lengths, strict=True))
        ]

    def along(self, name: str) -> Any:
        """A vector of lengths along its axis of the grid."""
        return self.a[name][tuple(slice(None) if axis == AXES[name] else None for axis in range(3))]

    def difference(self, field: Any, axis: int, mask: Any, length: Any) -> Any:
        """mask (next - here) / length; 0 in the last plane."""
        here, there = ([slice(None)] * 3 for _ in range(2))
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        inner = mask[tuple(here)] * (field[tuple(there)] - field[tuple(here)]) / length[tuple(here)]
        return self.xp.pad(inner, [(0, int(i == axis)) for i in range(3)])

    def slope(self, axis: int, at: Box, across: Box, down: Box) -> Any:
        """Change of density along `axis` by its change downwards, which is nowhere above -TINY."""
        (temp, salt), (temp_z, salt_z) = self.across[axis], self.across[2]
        by_temp, by_salt = self.by_temp[at], self.by_salt[at]
        steepness = by_temp * temp_z[down] + by_salt * salt_z[down]
        return -(by_temp * temp[across] + by_salt * salt[across]) / (self.xp.minimum(0.0, steepness) - TINY)

    def taper(self, s: Any) -> Any:
        return (1 + self.xp.tanh((SIGMA - self.xp.abs(s)) / SIGMA)) / 2

    def placed(self, block: Any, box: Box) -> Any:
        """`block` at `box` in a field of zeros."""
        ends = zip(box, self.shape, strict=True)
        return self.xp.pad(block, [(part.start, n - part.stop) for part, n in ends])

    def replaced(self, old: Any, block: Any, box: Box) -> Any:
        """`old` with `block` at `box`; above and below the block with zeros."""
        axes = ((np.arange(n), part) for n, part in zip(self.shape[:2], box[:2], strict=True))
        rows, columns = (np.isin(every, every[part]) for every, part in axes)
        return self.xp.where(rows[:, None, None] & columns[:, None], self.placed(block, box), old)

    def gathered(self, parts: list[Any]) -> Any:
        """Four fields, shift by shift, as one [x, y, z, 2, 2]."""
        return self.xp.reshape(self.xp.stack(parts, axis=-1), (*self.shape, 2, 2))

    def face(self, axis: int, mask: Any, old: Any) -> tuple[Any, Any]:
        """K and Ai on east faces (axis 0) or north faces (axis 1)."""
        xp, (nx, ny, nz) = self.xp, self.shape

        def box(shift: int, k: slice) -> Box:
            starts = [1 + shift if i == axis else 2 for i in range(2)]
            stops = [n - 2 + (shift if i == axis else 0) for i, n in enumerate((nx, ny))]
            return slice(starts[0], stops[0]), slice(starts[1], stops[1]), k

        pair = self.a["K_iso"][box(0, slice(0, nz))] + self.a["K_iso"][box(1, slice(0, nz))]
        local = xp.concat([pair[:, :, :1] / 2, (pair[:, :, 1:] + pair[:, :, :-1]) / 4], axis=2)
        total, parts = 0.0, []
        for shift, kr in PAIRS:
            k, kz = slice(1 - kr, nz), slice(0, nz - 1 + kr)
            s = self.slope(axis, box(shift, k), box(0, k), box(shift, kz))
            m, taper = mask[box(0, k)], self.taper(s)
            part = self.a["dzw"][kz] * m * xp.maximum(STEEP, local[:, :, k] * taper)
            total = total + xp.pad(part, [(0, 0), (0, 0), (1 - kr, 0)])
            parts.append(self.placed(taper * s * m, box(0, k)))
        return self.replaced(old, total / (4 * self.a["dzt"]), box(0, slice(0, nz))), self.gathered(parts)

    def top(self) -> tuple[Any, Any, Any]:
        """K_33, Ai_bx and Ai_by on top faces."""
        nx, ny, nz = self.shape
        here = slice(2, nx - 2), slice(2, ny - 2), slice(0, nz - 1)
        mask, iso = self.a["maskW"][here], self.a["K_iso"][here]
        lengths = self.along("dxu"), self.along("dyu") * self.along("cosu")
        over = 4 * self.along("dxt")[here[0]], 4 * (self.along("dyt") * self.along("cost"))[:, here[1]]
        total, fields = 0.0, []
        for axis in range(2):
            parts = []
            for shift, kr in PAIRS:
                beside = list(here)
                beside[axis] = slice(1 + shift, self.shape[axis] - 3 + shift)
                below = slice(kr, nz - 1 + kr)
                s = self.slope(axis, (*here[:2], below), (beside[0], beside[1], below), here)
                length = lengths[axis][(slice(None),) * axis + (beside[axis],)]
                taper = self.taper(s)
                total = total + length / over[axis] * taper * s**2
                parts.append(self.placed(taper * s * mask, here))
            fields.append(self.gathered(parts))
        return self.replaced(self.a["K_33"], mask * iso * total, here), *fields


def value(xp: Any, a: Any, shape: tuple[int, int, int]) -> Any:
    mixing = Mixing(xp, a, shape)
    k11, east = mixing.face(0, a["maskU"], a["K_11"])
    k22, north = mixing.face(1, a["maskV"], a["K_22"])
    k33, below_x, below_y = mixing.top()
    tensors = {"Ai_ez": east, "Ai_nz": north, "Ai_bx": below_x, "Ai_by": below_y}
    fields = {"K_11": k11, "K_22": k22, "K_33": k33, **tensors}
    return sum(xp.sum(field) for field in fields.values()), fields


RECORD = Derivative(
    name="isoneutral",
    sizes={"test": {"shape": (8, 7, 4)}, **{f"n{n}": {"shape": grid(n)} for n in (4096, 65536, 1048576)}},
    draw=draw,
    wrt=("temp", "salt", "K_iso"),
    forms={"": value},
    outputs=("K_11", "K_22", "K_33", "Ai_ez", "Ai_nz", "Ai_bx", "Ai_by"),
)
