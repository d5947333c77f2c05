"""A random program: Python text that declares it, the values that it runs on, and what must hold of its sizes.

The lines say `gc.…`; run with graphc they declare nodes, run with `evaluate.NAMESPACE` they compute with NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .unrolled import HELPERS

Values = np.ndarray[Any, Any]
Sizes = dict[str, int]

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 3.0, 0.25)
BORDER = (0.0, -0.0, -1.0, -0.5, 1.0, 0.5, 2.0, 1.5, -2.0)


@dataclass(frozen=True)
class Leaf:
    """An input or a parameter.

    `draws` says how its values are drawn: "plain" (uniform), "special", "border", "whole" (small integers), "wide" (any
    integers), or "position d": from the end or the start of an axis of length d.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    draws: str = "plain"
    is_parameter: bool = False

    def sized(self, sizes: Sizes) -> tuple[int, ...]:
        return tuple(sizes[d] if isinstance(d, str) else d for d in self.shape)

    def values(self, seed: int, sizes: Sizes, astray: bool = False) -> Values:
        """Its values in a program of this seed and these sizes; `astray`: the last position lies beyond its axis."""
        rng = np.random.default_rng([seed % 2**32, *self.name.encode(), *sizes.values()])
        shape, dtype = self.sized(sizes), np.dtype(self.dtype)
        if dtype.kind == "b":
            return np.asarray(rng.random(shape) < 0.5)
        if self.draws.startswith("position"):
            length = self.draws.split()[1]
            n = sizes[length] if length in sizes else int(length)
            places = np.asarray(rng.integers(-n if dtype.kind == "i" else 0, max(n, 1), shape)).astype(dtype)
            if astray:
                places.flat[-1:] = n
            return places
        if dtype.kind in "iu":
            return _integers(rng, shape, dtype, self.draws)
        if self.draws in ("special", "border"):
            return np.asarray(rng.choice(np.array(SPECIAL if self.draws == "special" else BORDER), shape)).astype(dtype)
        return np.asarray(rng.uniform(-2, 2, shape)).astype(dtype)

    def declared(self) -> str:
        if self.is_parameter:
            return f'{self.name} = gc.parameter("{self.name}", np.zeros({self.shape}, "{self.dtype}"))'
        return f'{self.name} = gc.input("{self.name}", {self.shape}, "{self.dtype}")'


def _integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], draws: str) -> Values:
    limits = np.iinfo(dtype)
    if draws == "wide":
        pool = [limits.min, limits.min + 1, limits.max, limits.max - 1, 0, 1, 2, 3, 7, 100]
        pool += [-1, -2, -3] if limits.min < 0 else []
        return np.asarray(rng.choice(np.array(pool, dtype), shape))
    return np.asarray(rng.integers(-3 if limits.min < 0 else 0, 5, shape)).astype(dtype)


@dataclass(frozen=True)
class Line:
    """`target = expression`, over earlier targets and leaves; a gradient has the name of its scalar and of its wrts."""

    target: str
    expression: str
    of: str = ""
    wrt: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.target} = {self.expression}"

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(t.strip() for t in self.target.split(",") if t.strip())


@dataclass(frozen=True)
class Program:
    seed: int
    sizes: Sizes  # those it was drawn with, none of them 0 or 1
    leaves: tuple[Leaf, ...]
    lines: tuple[Line, ...]
    outputs: tuple[str, ...]
    updates: tuple[tuple[str, str], ...] = ()
    small: bool = True  # whether its text is made with small borders
    machine: bool = False  # whether it is compiled to machine code as well
    other_sizes: tuple[Sizes, ...] = ()
    kind: str = "general"  # the profile's name
    stray: bool = False  # whether it names a dimension that no input has, so that it must be refused
    simulate: bool = True  # whether its loops are interpreted
    remat: str = "speed"  # "memory": what the adjoint reads is computed again, whether or not that saves anything

    @property
    def inputs(self) -> tuple[Leaf, ...]:
        return tuple(leaf for leaf in self.leaves if not leaf.is_parameter)

    @property
    def parameters(self) -> tuple[Leaf, ...]:
        return tuple(leaf for leaf in self.leaves if leaf.is_parameter)

    @property
    def leaf_names(self) -> set[str]:
        return {leaf.name for leaf in self.leaves}

    def values(self, sizes: Sizes, astray: bool = False) -> dict[str, Values]:
        return {leaf.name: leaf.values(self.seed, sizes, astray) for leaf in self.leaves}

    def declaration(self) -> str:
        """The text that declares everything; line k of it is line k + 1 of the program."""
        return "\n".join([*(leaf.declared() for leaf in self.leaves), *(line.text for line in self.lines)]) + "\n"

    def call(self) -> str:
        inputs = ", ".join(leaf.name for leaf in self.inputs)
        outputs = "".join(f"{name}, " for name in self.outputs)
        updates = ", ".join(f"{p}: {v}" for p, v in self.updates)
        options = "" if self.remat == "speed" else f', options=gc.Options(remat="{self.remat}")'
        return f"f = gc.compile([{inputs}], ({outputs.strip()}), updates={{{updates}}}{options})"

    def __str__(self) -> str:
        """Text that a reader can paste."""
        head = "import numpy as np\nimport graphc as gc\n"
        helpers = [name for name in HELPERS if any(f"{name}(" in line.expression for line in self.lines)]
        head += f"from tests.programs.unrolled import {', '.join(helpers)}\n" if helpers else ""
        sizes = ", ".join(f"{k} = {v}" for k, v in self.sizes.items())
        note = f"# seed {self.seed}" + (f", drawn with {sizes}" if sizes else "")
        note += ", small borders" if self.small else ""
        return f"{note}\n{head}{self.declaration()}{self.call()}\n"
