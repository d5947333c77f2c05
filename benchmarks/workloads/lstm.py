"""Next-character loss of an LSTM whose weight matrices are diagonal, after GradBench's `lstm` (MIT), from ADBench."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reference import Arrays
from benchmarks.workloads.derivative import Derivative


def draw(layers: int, chars: int, bits: int) -> Arrays:
    """A text of random characters, 2 % of them curly quotes, which take 14 bits; uniform states and weights."""
    rng = np.random.default_rng(31337)
    codes = rng.integers(32, 127, size=chars)
    codes[rng.random(chars) < 0.02] = 8217
    digits = np.arange(bits)[::-1]
    return {
        "sequence": (codes[:, None] >> digits & 1).astype(np.float64),
        "state": rng.random((2 * layers, bits)),
        "main": rng.random((2 * layers, 4 * bits)),
        "extra": rng.random((3, bits)),
    }


def value(xp: Any, a: Any, layers: int, chars: int, bits: int) -> Any:
    gates = xp.reshape(a["main"], (layers, 2, 4, bits))
    scale_in, scale_out, shift = (a["extra"][i] for i in range(3))

    def step(states: Any, x: Any) -> Any:
        new = []
        for (hidden, cell), layer in zip(states, range(layers), strict=True):
            (wf, wi, wo, wc), (bf, bi, bo, bc) = ([gates[layer, part, gate] for gate in range(4)] for part in range(2))
            forget, ingate = xp.sigmoid(x * wf + bf), xp.sigmoid(hidden * wi + bi)
            cell = cell * forget + ingate * xp.tanh(hidden * wc + bc)
            x = xp.sigmoid(x * wo + bo) * xp.tanh(cell)
            new.append((x, cell))
        return tuple(new), x

    start = tuple((a["state"][2 * i], a["state"][2 * i + 1]) for i in range(layers))
    _, top = xp.scan(step, start, a["sequence"][:-1] * scale_in)
    y = top * scale_out + shift
    norm = y - xp.log(2.0 + xp.sum(xp.exp(y), axis=1, keepdims=True))  # the 2 belongs to the definition
    return -xp.mean(a["sequence"][1:] * norm)


RECORD = Derivative(
    name="lstm",
    sizes={
        "test": {"layers": 2, "chars": 12, "bits": 14},
        "l2_c1024": {"layers": 2, "chars": 1024, "bits": 14},
        "l4_c4096": {"layers": 4, "chars": 4096, "bits": 14},
        "l6_c8192": {"layers": 6, "chars": 8192, "bits": 14},
    },
    draw=draw,
    builder="recurrence",
    wrt=("main", "extra"),
    forms={"": value},
)
