"""What a peer is: a package that may be installed, and a module here that writes the programs with it.

A peer's module has

    configure(threads)                      called once, before anything else of the package is used
    training(arrays, variant) -> Program    see Program; the batch is a third of the rows
    call(arrays, variant) -> Program
    fit(arrays, variant) -> Fit             only where the peer has such a method
    derivative(workload, size, form, variant, arrays) -> {measure: Program}
                                            whose results `by_name` reads; its variants stand at the workload's
                                            builder: `derivative`, or `recurrence` where loops carry values, or
                                            `update` where they write arrays, or `convolution`

and imports its package at the top: importing it is what `import` costs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.reference import Arrays


@dataclass(frozen=True)
class Program:
    """A program declared but not compiled.

    compile   gives the function that is timed; what it returns is ready when it returns
    batches   arguments of successive calls, already where and as the peer likes them
    state     reads the parameters back as NumPy arrays by name, without changing them
    reset     puts the state back to what it was before the first call
    """

    compile: Callable[[], Callable[..., Any]]
    batches: Sequence[tuple[Any, ...]]
    state: Callable[[], Arrays]
    reset: Callable[[], None]


@dataclass(frozen=True)
class Fit:
    """A model declared but not compiled; `fit(epochs, shuffle)` trains it and returns the history.

    The history has `loss`, `validation_loss` and `accuracy` (of the validation rows), one value an epoch.
    """

    fit: Callable[[int, bool], Arrays]


@dataclass(frozen=True)
class Peer:
    """A row of PEERS.  `variants` names the ways to write each builder's program, "" where there is one."""

    name: str
    module: str
    package: str
    distributions: tuple[str, ...]
    variants: Mapping[str, tuple[str, ...]]

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    def versions(self) -> dict[str, str]:
        found = {}
        for name in self.distributions:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = "not a distribution"
        return found


PEERS = (
    Peer(
        name="graphc",
        module="benchmarks.peers.graphc_",
        package="graphc",
        distributions=("graphc", "numpy", "numba", "llvmlite"),
        variants=dict.fromkeys(("training", "call", "fit", "derivative", "recurrence", "update", "convolution"), ("",)),
    ),
    Peer(
        name="tensorflow",
        module="benchmarks.peers.tensorflow_",
        package="tensorflow",
        distributions=("tensorflow", "keras"),
        variants={
            "training": ("listing", "function", "jit_compile"),
            "call": ("function", "jit_compile"),
            "fit": ("listing",),
            "derivative": ("function", "jit_compile"),
            **dict.fromkeys(("recurrence", "convolution"), ("function", "jit_compile")),
        },
    ),
    Peer(
        name="jax",
        module="benchmarks.peers.jax_",
        package="jax",
        distributions=("jax", "jaxlib"),
        variants=dict.fromkeys(("training", "call", "derivative", "recurrence", "update", "convolution"), ("",)),
    ),
    Peer(
        name="torch",
        module="benchmarks.peers.torch_",
        package="torch",
        distributions=("torch",),
        variants={
            **dict.fromkeys(("training", "call", "derivative"), ("eager", "compile")),
            "recurrence": ("eager",),
            "convolution": ("eager", "compile", "eager channels_last", "compile channels_last"),
        },
    ),
    Peer(
        name="pytensor",
        module="benchmarks.peers.pytensor_",
        package="pytensor",
        distributions=("pytensor", "numba"),
        variants=dict.fromkeys(("training", "call", "derivative"), ("",)),
    ),
)


class Formulas:
    """What the forms of a derivative call and most peers have no function of their own for, by the words they have."""

    def layer_norm(self: Any, z: Any, gain: Any, shift: Any) -> Any:
        """Rows of mean 0 and variance 1, the variance with 1e-5 added, times gain and with shift added."""
        centred = z - self.mean(z, axis=-1, keepdims=True)
        return gain * centred / self.sqrt(self.mean(centred**2, axis=-1, keepdims=True) + 1e-5) + shift

    def attention(self: Any, queries: Any, keys: Any, values: Any, scale: float) -> Any:
        """softmax(scale queries keys') values, for each batch and head."""
        return self.softmax(scale * (queries @ self.swapaxes(keys, -2, -1)), axis=-1) @ values

    def gelu(self: Any, x: Any) -> Any:
        """x times the normal distribution function, exactly."""
        return x * (1 + self.erf(x * 0.5**0.5)) / 2


def batches_of(arrays: Arrays) -> list[tuple[Any, Any]]:
    """The three batches (x, t) of a training workload."""
    size = len(arrays["x"]) // 3
    return [(arrays["x"][i : i + size], arrays["t"][i : i + size]) for i in range(0, 3 * size, size)]


def by_name(result: Any) -> Arrays:
    """The tree of results of a derivative as NumPy arrays, by names such as `value`, `grad/x`, `out/price`."""
    groups = ((f"{group}/{name}", array) for group in ("grad", "out") for name, array in result.get(group, {}).items())
    value = {"value": result["value"]} if "value" in result else {}
    return {name: np.asarray(array) for name, array in {**value, **dict(groups)}.items()}
