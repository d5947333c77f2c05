"""graphc compiles a computation graph and its adjoint into a few SIMD kernels for the CPU at hand.

>>> import graphc as gc
>>> x = gc.input("x", ("n",))
>>> y = gc.sum(gc.tanh(x) ** 2)
>>> f = gc.compile([x], {"y": y, "dx": gc.grad(y, x)})
>>> f([0.0, 1.0])["y"]
array(0.58002566)

Names are those of the Python array API standard, then NumPy's.  Numba is imported by the first compilation.
"""

from __future__ import annotations

import importlib
import sys
from math import e, inf, nan, pi
from types import ModuleType
from typing import Any

import graphc.methods  # noqa: F401  (gives nodes their methods)
from graphc.branches import cond, switch
from graphc.control import associative_scan, checkpoint, fori_loop, map, scan, while_loop
from graphc.custom import custom_vjp
from graphc.custom_op import custom_op
from graphc.declare import FUNCTIONS, constant, input, parameter, result_type
from graphc.derivatives import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp, vmap
from graphc.errors import (
    CacheError,
    DebugError,
    DeclarationError,
    DTypeError,
    GradientError,
    GraphcError,
    InputError,
    PropertyError,
    ShapeError,
)
from graphc.function import Function, function
from graphc.graph import Graph, Node
from graphc.implicit import implicit
from graphc.operators import OTHER_NAMES
from graphc.ops.item import item
from graphc.standard import VERSION, can_cast, finfo, iinfo, isdtype, namespace_info
from graphc.tangent import linearize
from graphc.types import (
    bool_,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)

newaxis = None
bool = bool_
_OTHERS = {name: FUNCTIONS[standard] for name, standard in OTHER_NAMES.items()}
globals().update(FUNCTIONS | _OTHERS)
__array_api_version__, __array_namespace_info__ = VERSION, namespace_info

# Imported when they are first asked for.
_LATER_MODULES = ("inspect", "losses", "nn", "optim")
_LATER_NAMES = {
    "CompiledFunction": "graphc.runtime.function",
    "Options": "graphc.compile",
    "compile": "graphc.compile",
    "get_num_threads": "graphc.runtime.threads",
    "release_memory": "graphc.runtime.arrays",
    "set_num_threads": "graphc.runtime.threads",
}

__all__ = [
    "CacheError",
    "DTypeError",
    "DebugError",
    "DeclarationError",
    "Function",
    "GradientError",
    "Graph",
    "GraphcError",
    "InputError",
    "Node",
    "PropertyError",
    "ShapeError",
    "associative_scan",
    "bool",
    "bool_",
    "can_cast",
    "checkpoint",
    "cond",
    "constant",
    "custom_op",
    "custom_vjp",
    "e",
    "finfo",
    "float32",
    "float64",
    "fori_loop",
    "function",
    "grad",
    "hessian",
    "hvp",
    "iinfo",
    "implicit",
    "inf",
    "input",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "item",
    "jacobian",
    "jvp",
    "linearize",
    "map",
    "nan",
    "newaxis",
    "parameter",
    "pi",
    "result_type",
    "scan",
    "switch",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
__all__ += [*sorted(FUNCTIONS), *_OTHERS, *_LATER_MODULES, *_LATER_NAMES]


def _drawn(self: Any) -> Any:
    return importlib.import_module("graphc.inspect.draw").svg(self)


Node._repr_svg_ = Graph._repr_svg_ = _drawn  # type: ignore[attr-defined]  # notebooks show a node as its graph


def __getattr__(name: str) -> Any:
    if name in _LATER_MODULES:
        return importlib.import_module(f"graphc.{name}")
    if name not in _LATER_NAMES:
        raise AttributeError(f"module 'graphc' has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_LATER_NAMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """This package: importing the file compile.py must not put the module where the function `compile` stands.

    A pickle of it is its name, so that functions of a notebook, which hold it, can go to other processes.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "compile" and isinstance(value, ModuleType):
            value = value.compile
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
