"""Log posterior of a Gaussian mixture, after GradBench's `gmm` (MIT), from ADBench (arXiv 1807.10129)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(d: int, k: int, n: int, m: int, gamma: float) -> Arrays:
    rng = np.random.default_rng(31337)
    return {
        "x": rng.normal(size=(n, d)),
        "alpha": rng.normal(size=k),
        "mu": rng.uniform(size=(k, d)),
        "q": rng.normal(size=(k, d)),
        "l": rng.normal(size=(k, d * (d - 1) // 2)),
    }


def factors(xp: Any, q: Any, lower: Any, k: int, d: int) -> Any:
    """[k, d, d], lower triangular: exp(q) on the diagonal, `lower` below it, column by column."""
    columns, rows = np.triu_indices(d, 1)
    places = np.zeros((d, d), np.int64)
    places[rows, columns] = np.arange(len(rows))
    below = xp.reshape(xp.take(lower, places.ravel(), axis=1), (k, d, d)) * xp.asarray(np.tri(d, k=-1))
    return below + xp.exp(q)[:, :, None] * xp.asarray(np.eye(d))


def prior(q: Any, factor: Any, xp: Any, d: int, k: int, m: int, gamma: float) -> Any:
    """Log density of the Wishart prior of the precisions."""
    freedom = d + m + 1
    log_gamma = d * (d - 1) / 4 * math.log(math.pi) + sum(math.lgamma((freedom - i) / 2) for i in range(d))
    constant = k * (freedom * d * math.log(gamma / math.sqrt(2.0)) - log_gamma)
    return constant - gamma**2 / 2 * xp.sum(factor**2) + m * xp.sum(q)


def posterior(xp: Any, a: Any, squares: Any, d: int, k: int, n: int, m: int, gamma: float) -> Any:
    """The value; `squares(factor) -> [k, n]` are the squared distances."""
    factor = factors(xp, a["q"], a["l"], k, d)
    beta = (a["alpha"] + xp.sum(a["q"], axis=1))[:, None] - 0.5 * squares(factor)
    weights = d / 2 * math.log(2 * math.pi) + xp.logsumexp(a["alpha"], axis=0)
    likelihood = xp.sum(xp.logsumexp(beta, axis=0)) - n * weights
    return likelihood + prior(a["q"], factor, xp, d, k, m, gamma)


def centred(xp: Any, a: Any, d: int, k: int, n: int, m: int, gamma: float) -> Any:
    """Points are centred first; one product a component."""

    def squares(factor: Any) -> Any:
        centre = a["x"][None, :, :] - a["mu"][:, None, :]
        return xp.sum((centre @ xp.matrix_transpose(factor)) ** 2, axis=2)

    return posterior(xp, a, squares, d, k, n, m, gamma)


def joined(xp: Any, a: Any, d: int, k: int, n: int, m: int, gamma: float) -> Any:
    """One product for all components, then the means are taken off."""

    def squares(factor: Any) -> Any:
        white = xp.reshape(xp.reshape(factor, (k * d, d)) @ a["x"].T, (k, d, n))
        return xp.sum((white - factor @ a["mu"][:, :, None]) ** 2, axis=1)

    return posterior(xp, a, squares, d, k, n, m, gamma)


RECORD = Derivative(
    name="gmm",
    sizes={
        "test": {"d": 3, "k": 4, "n": 20, "m": 2, "gamma": 0.7},
        **{
            f"d{d}_k{k}": {"d": d, "k": k, "n": 1000, "m": 0, "gamma": 1.0}
            for d, k in ((2, 5), (10, 25), (20, 50), (64, 100))
        },
    },
    draw=draw,
    wrt=("alpha", "mu", "q", "l"),
    forms={"centred": centred, "joined": joined},
)
