"""Methods and properties of nodes by NumPy's names, and the namespace that the array API standard asks for.

In: the public functions by name.  Out: the attributes of Node.  A method does what the function of its name does.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from graphc.declare import FUNCTIONS
from graphc.errors import DeclarationError, PropertyError, ShapeError
from graphc.graph import Node
from graphc.line import users_line

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def _array_namespace(self: Node, *, api_version: str | None = None) -> Any:
    if api_version is not None and api_version not in _VERSIONS:
        known = ", ".join(_VERSIONS)
        raise DeclarationError(
            f"graphc follows the array API standard of {known}, not of {api_version!r}\n  at {users_line()}"
        )
    return importlib.import_module("graphc")


def _matrix_transposed(self: Node) -> Node:
    """The node with its last two axes swapped; PropertyError below two dimensions.

    >>> import graphc as gc
    >>> gc.input("x", (5, 2, "n")).mT.shape
    (5, n, 2)
    """
    try:
        result: Node = FUNCTIONS["matrix_transpose"](self)
    except ShapeError as error:
        raise PropertyError(str(error)) from None
    return result


def _transposed(self: Node) -> Any:
    """The node with its axes in reverse order.

    >>> import graphc as gc
    >>> gc.input("x", (5, 2, "n")).T.shape
    (n, 2, 5)
    """
    return FUNCTIONS["permute_dims"](self)


def _transpose(self: Node, *axes: Any) -> Any:
    """The node with its axes in another order, reversed where none is given: `x.transpose(1, 0)` or `((1, 0))`.

    Raises ShapeError unless every axis is named once.

    >>> import graphc as gc
    >>> gc.input("x", (5, 2, "n")).transpose(1, 2, 0).shape
    (2, n, 5)
    """
    return FUNCTIONS["permute_dims"](self, *([axes] if axes and not _is_one(axes) else axes))


def _reshape(self: Node, *shape: Any) -> Any:
    """The elements in row-major order in another shape, `x.reshape(2, -1)` or `((2, -1))`; one dimension may be -1.

    Raises ShapeError if the number of elements differs.

    >>> import graphc as gc
    >>> gc.input("x", ("n", 6)).reshape(-1, 3).shape
    (2*n, 3)
    """
    return FUNCTIONS["reshape"](self, shape[0] if len(shape) == 1 else shape)


def _is_one(arguments: tuple[Any, ...]) -> bool:
    """Whether a list or tuple, or None, is given instead of its items."""
    return len(arguments) == 1 and (arguments[0] is None or isinstance(arguments[0], (tuple, list)))


def _flatten(self: Node) -> Any:
    """The elements in row-major order along one axis.

    >>> import graphc as gc
    >>> gc.input("x", ("n", 6)).flatten().shape
    (6*n,)
    """
    return FUNCTIONS["reshape"](self, -1)


_MATRIX = "gc.constant([[3, 1], [2, 5]])"
# What a method of a function's name gives on that matrix.
_CALLS = {
    "all": ("()", "array(True)"),
    "any": ("(axis=0)", "array([ True,  True])"),
    "argmax": ("(axis=1)", "array([0, 1])"),
    "argmin": ("()", "array(1)"),
    "argsort": ("()", "array([[1, 0],\n       [0, 1]])"),
    "astype": ('("float64")', "array([[3., 1.],\n       [2., 5.]])"),
    "clip": ("(2, 4)", "array([[3, 2],\n       [2, 4]])"),
    "cumprod": ("(axis=1)", "array([[ 3,  3],\n       [ 2, 10]])"),
    "cumsum": ("()", "array([ 3,  4,  6, 11])"),
    "diagonal": ("()", "array([3, 5])"),
    "dot": ("([1, 10])", "array([13, 52])"),
    "max": ("(axis=1)", "array([3, 5])"),
    "mean": ("(0)", "array([2.5, 3. ])"),
    "min": ("(1)", "array([1, 2])"),
    "prod": ("()", "array(30)"),
    "repeat": ("(2, axis=0)", "array([[3, 1],\n       [3, 1],\n       [2, 5],\n       [2, 5]])"),
    "round": ("()", "array([[3, 1],\n       [2, 5]])"),
    "squeeze": ("()", "array([[3, 1],\n       [2, 5]])"),
    "std": ("(axis=1)", "array([1. , 1.5])"),
    "sum": ("(axis=1, keepdims=True)", "array([[4],\n       [7]])"),
    "swapaxes": ("(0, 1)", "array([[3, 2],\n       [1, 5]])"),
    "trace": ("()", "array(8)"),
    "var": ("(correction=1)", "array(2.91666667)"),
}


def _method(name: str, call: str, gives: str) -> Callable[..., Any]:
    function = FUNCTIONS[name]

    def method(self: Node, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    sentence = (function.__doc__ or "").partition("\n\n")[0]
    method.__name__, method.__qualname__ = name, f"Node.{name}"
    method.__doc__ = (
        f"{sentence}\n\nThe node is the first argument of `gc.{name}`, which says more.\n\n"
        f">>> import graphc as gc\n>>> gc.compile([], {_MATRIX}.{name}{call})()\n{gives}"
    )
    first, *others = inspect.signature(function).parameters.values()
    own = first.replace(name="self", kind=inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = inspect.Signature([own, *others])  # type: ignore[attr-defined]
    return method


for _name, (_call, _gives) in _CALLS.items():
    setattr(Node, _name, _method(_name, _call, _gives))
for _name, _attribute in {
    "__array_namespace__": _array_namespace,
    "T": property(_transposed),
    "mT": property(_matrix_transposed),
    "flatten": _flatten,
    "ravel": _flatten,
    "reshape": _reshape,
    "transpose": _transpose,
}.items():
    setattr(Node, _name, _attribute)
