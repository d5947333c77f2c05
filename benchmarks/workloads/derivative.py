"""A scalar and its gradients: workloads whose programs are written once, over the words that a peer has for arrays.

A *form* is a function `value(xp, arrays, **size)` that gives the scalar, or the scalar and a dict of further outputs.
`xp` has the names of the array API, and those that `benchmarks/peers` tells; a workload has several forms where it is
not plain which one is the fastest for a peer.  What is right is stored (`benchmarks/expected.npz`): in full for the
sizes whose names begin with `test`, as fingerprints for the others.  Inputs are rounded to `dtype`, and those of sizes
that begin with `f32` to float32; what is right is computed in float64 of what they are then.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks import reference
from benchmarks.reference import Arrays
from benchmarks.workloads.record import Tolerance

ROUNDED = 1e-5  # the tolerance of float32


@dataclass(frozen=True)
class Derivative:
    """A workload: the gradient of its value with respect to the inputs `wrt`; `constants` are data of the program.

    Forward alone gives the value and the further `outputs`.  The gradient comes with the value, and with the further
    outputs where `gradient_gives_outputs`.  `jacobian(xp, arrays, **size)` gives what `jacobian_outputs` names, by
    `xp.gradient(function, tree)`.  `exact(arrays, **size)` gives the results in closed form, in NumPy, where sizes
    begin with `f32`.
    """

    name: str
    sizes: Mapping[str, Mapping[str, Any]]
    draw: Callable[..., Arrays]
    wrt: tuple[str, ...]
    forms: Mapping[str, Callable[..., Any]]
    constants: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    jacobian: Callable[..., Arrays] | None = None
    jacobian_outputs: tuple[str, ...] = ()
    gradient_gives_outputs: bool = False
    exact: Callable[..., Arrays] | None = None
    dtype: type = np.float64
    tolerance: float = 1e-9
    measured: Literal["steady"] = "steady"
    builder: str = "derivative"

    @property
    def timed(self) -> tuple[str, ...]:
        return ("forward", "gradient", "jacobian") if self.jacobian else ("forward", "gradient")

    def inputs(self, size: str) -> Arrays:
        dtype = np.float32 if size.startswith("f32") else self.dtype
        drawn = self.draw(**self.sizes[size])
        return {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in drawn.items()}

    def variants(self, peers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """The ways in which a peer with these variants writes the program: each with each form."""
        pairs = itertools.product(self.forms, peers.get(self.builder, ()))
        return tuple(f"{form} {variant}".strip() for form, variant in pairs)

    def form_of(self, variant: str) -> str:
        return next((form for form in self.forms if form in variant.split()), "")

    def results(self, xp: Any, form: str, size: str, arrays: Any) -> dict[str, Callable[[], Arrays]]:
        """What makes the results of every measure, as the trees that `peers.by_name` reads.

        `xp.value_and_grad(function, tree)`, where the function gives a scalar and more, gives ((scalar, more), grads).
        """
        moving = {name: arrays[name] for name in self.wrt}

        def value(moving: Any) -> tuple[Any, Arrays]:
            found = self.forms[form](xp, {**arrays, **moving}, **self.sizes[size])
            return found if isinstance(found, tuple) else (found, {})

        def forward() -> Arrays:
            found, outputs = value(moving)
            return {"value": found, "out": outputs}

        def gradient() -> Arrays:
            (found, outputs), grads = xp.value_and_grad(value, moving)
            return {"value": found, "grad": grads, "out": outputs if self.gradient_gives_outputs else {}}

        def jacobian() -> Arrays:
            assert self.jacobian is not None
            return {"out": self.jacobian(xp, arrays, **self.sizes[size])}

        makers = {"forward": forward, "gradient": gradient, "jacobian": jacobian}
        return {measure: makers[measure] for measure in self.timed}

    def unlike_stored(self, size: str, arrays: Arrays) -> list[str]:
        """Names of the inputs that are not those for which results are stored."""
        return reference.disagreements(self.name, size, arrays)

    def expected(self, size: str, arrays: Arrays) -> Iterator[Arrays]:
        """What is stored, or computed of rounded inputs, by names such as `value`, `grad/x` and `out/price`."""
        if size.startswith("f32"):
            assert self.exact is not None
            wide = {name: array.astype(np.float64) for name, array in arrays.items()}
            yield self.exact(wide, **self.sizes[size])
            return
        stored = reference.stored(self.name, size)
        if not stored:
            raise LookupError(f"no results of {self.name}/{size} are stored")
        yield {name: array for name, array in stored.items() if not name.startswith("in/")}

    def disagreement(self, size: str, got: Arrays, rights: Iterator[Arrays], measure: str = "gradient") -> str:
        """Empty if what is stored of the results of `measure` is there and right; otherwise what is off, how far."""
        rounded = size.startswith("f32")
        want, bound = next(rights), Tolerance(relative=ROUNDED if rounded else self.tolerance)
        needed = {
            "forward": ["value", *(f"out/{name}" for name in self.outputs if f"out/{name}" in want)],
            "gradient": ["value", *(f"grad/{name}" for name in self.wrt)],
            "jacobian": [f"out/{name}" for name in self.jacobian_outputs],
        }[measure]
        if missing := [name for name in needed if name not in got]:
            return f"no result for {', '.join(missing)}"
        small = rounded or size.startswith("test")
        seen = {name: got[name] if small else _mark(name, got[name]) for name in want if name in got}
        excesses = {name: bound.excess(value, want[name]) for name, value in seen.items()}
        return ", ".join(f"{name} is off by {e:.3g} times the tolerance" for name, e in excesses.items() if not e <= 1)


def _mark(name: str, array: Any) -> Any:
    return array if name == "value" else reference.fingerprint(np.asarray(array))
