"""Bundle adjustment, all observations in one call, after GradBench's `ba` (MIT), from ADBench.

Cameras and points are perturbed, each its own, so that a wrong index shows; the source repeats one of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative

ROTATION, CENTRE = (-0.758453, -1.109613, -0.845551), (34.556073, 39.676747, 53.881673)
FOCAL, PRINCIPAL, RADIAL = (419.194514,), (5.864426, -8.518870), (0.087812, 0.002739)
CAMERA = np.array(ROTATION + CENTRE + FOCAL + PRINCIPAL + RADIAL)
POINT = np.array([7.203245, 0.001144, 3.023326])
FEATURE = np.array([271.760969, 834.209256])


def draw(n: int, m: int, p: int) -> Arrays:
    """n cameras, m points, p observations; of few cameras the first has no rotation."""
    rng = np.random.default_rng(31337)
    cameras = CAMERA * (1 + 0.01 * rng.normal(size=(n, 11)))
    if n <= 8:
        cameras[0, :3] = 0.0
    return {
        "cams": cameras,
        "points": POINT + 0.1 * rng.normal(size=(m, 3)),
        "w": rng.uniform(0.2, 1.0, size=p),
        "feats": FEATURE * (1 + 0.01 * rng.normal(size=(p, 2))),
        "cam_index": np.arange(p) % n,
        "point_index": np.arange(p) % m,
    }


def cross(a: Any, b: Any) -> list[Any]:
    return [a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))]


def dot(a: Any, b: Any) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def residuals(xp: Any, features: Any, camera: Any, point: Any, w: Any) -> list[Any]:
    """The two weighted residuals of every observation, from the 11 numbers of its camera and the 3 of its point."""
    rotation, (focal, ux, uy, k1, k2) = camera[:3], camera[6:]
    v = [x - c for x, c in zip(point, camera[3:6], strict=True)]
    square = dot(rotation, rotation)
    still = xp.equal(square, 0.0)
    theta = xp.sqrt(xp.where(still, 1.0, square))
    axis = [r / theta for r in rotation]
    cos, sin, along = xp.cos(theta), xp.sin(theta), dot(axis, v)
    turned = [v * cos + c * sin + a * along * (1 - cos) for v, c, a in zip(v, cross(axis, v), axis, strict=True)]
    straight = [v + c for v, c in zip(v, cross(rotation, v), strict=True)]
    y = [xp.where(still, s, t) for s, t in zip(straight, turned, strict=True)]
    e = y[0] / y[2], y[1] / y[2]
    s = e[0] ** 2 + e[1] ** 2
    scale = focal * (1 + k1 * s + k2 * s**2)
    return [w * (scale * e[i] + u - features[:, i]) for i, u in enumerate((ux, uy))]


def rows(xp: Any, array: Any, index: Any, width: int) -> list[Any]:
    """The columns of the rows that are seen."""
    found = xp.take(array, index, axis=0)
    return [found[:, i] for i in range(width)]


def columns(xp: Any, array: Any, index: Any, width: int) -> list[Any]:
    """What is seen of every column."""
    return [xp.take(array[:, i], index, axis=0) for i in range(width)]


def value(xp: Any, a: Any, gather: Callable[..., list[Any]]) -> Any:
    camera, point = gather(xp, a["cams"], a["cam_index"], 11), gather(xp, a["points"], a["point_index"], 3)
    first, second = residuals(xp, a["feats"], camera, point, a["w"])
    of_weights = 1 - a["w"] ** 2
    total = 0.5 * xp.sum(first**2 + second**2) + 0.5 * xp.sum(of_weights**2)
    return total, {"residuals": xp.stack([first, second], axis=1), "w_err": of_weights}


def jacobian(xp: Any, a: Any, n: int, m: int, p: int) -> Arrays:
    """Observations are independent: the gradients of the sums of all residuals are the rows of the Jacobian."""
    seen = rows(xp, a["cams"], a["cam_index"], 11), rows(xp, a["points"], a["point_index"], 3), a["w"]

    def row(i: int) -> Any:
        camera, point, w = xp.gradient(lambda tree: xp.sum(residuals(xp, a["feats"], *tree)[i]), seen)
        return xp.stack([*camera, *point, w], axis=1)

    return {"blocks": xp.stack([row(0), row(1)], axis=1), "w_err_dw": -2 * a["w"]}


RECORD = Derivative(
    name="ba",
    sizes={
        "test": {"n": 5, "m": 11, "p": 40},
        "ba1": {"n": 49, "m": 7776, "p": 31843},
        "ba5": {"n": 257, "m": 65132, "p": 225911},
        "ba8": {"n": 88, "m": 64298, "p": 383937},
    },
    draw=draw,
    wrt=("cams", "points", "w"),
    forms={
        "rows": lambda xp, a, n, m, p: value(xp, a, rows),
        "columns": lambda xp, a, n, m, p: value(xp, a, columns),
    },
    outputs=("residuals", "w_err"),
    jacobian=jacobian,
    jacobian_outputs=("blocks", "w_err_dw"),
)
