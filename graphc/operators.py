"""What nodes, dimensions and numbers do: operators, NumPy's protocols, the values of parameters.

In: the public functions by name.  Out: the attributes of Node, Poly and Number that a user writes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.at import At
from graphc.declare import FUNCTIONS, WEAK, Number, Whole, as_array, convert
from graphc.dims import Poly
from graphc.errors import DeclarationError, DTypeError, PropertyError, ShapeError
from graphc.graph import Node, describe
from graphc.line import users_line
from graphc.state import State
from graphc.types import float64, int64, shape_text

_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
_COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
_UNARY = {"neg": "negative", "abs": "abs", "invert": "bitwise_invert", "pos": "positive"}
# Other names of functions: NumPy's, and those of the standard that mean nothing of their own without complex numbers.
OTHER_NAMES = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "around": "round",
    "array": "asarray",
    "bitwise_not": "bitwise_invert",
    "concatenate": "concat",
    "conj": "positive",
    "conjugate": "positive",
    "empty": "zeros",
    "empty_like": "zeros_like",
    "fabs": "abs",
    "expit": "sigmoid",
    "fix": "trunc",
    "imag": "zeros_like",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "mod": "remainder",
    "power": "pow",
    "psi": "digamma",
    "real": "positive",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "transpose": "permute_dims",
    "true_divide": "divide",
}


def _attach_operators() -> None:
    def binary(name: str, swapped: bool) -> Callable[[Any, Any], Any]:
        def method(self: Any, other: Any) -> Any:
            return FUNCTIONS[name](other, self) if swapped else FUNCTIONS[name](self, other)

        return method

    def of_numbers(name: str, swapped: bool) -> Callable[[Any, Any], Any]:
        return lambda self, other: _with_number(name, *((other, self) if swapped else (self, other)))

    for short, name in (_OPERATORS | _COMPARISONS).items():
        setattr(Node, f"__{short}__", binary(name, False))
        setattr(Number, f"__{short}__", of_numbers(name, False))
        if short in _OPERATORS:
            setattr(Node, f"__r{short}__", binary(name, True))
            setattr(Number, f"__r{short}__", of_numbers(name, True))
    for short in ("lt", "le", "gt", "ge"):  # `==` of dimensions tells whether they are one
        setattr(Poly, f"__{short}__", binary(_COMPARISONS[short], False))
    for short, name in _UNARY.items():
        setattr(Node, f"__{short}__", lambda self, name=name: FUNCTIONS[name](self))
        setattr(Number, f"__{short}__", lambda self, name=name: type(self)(FUNCTIONS[name](self.node)))


def _with_number(name: str, *operands: Any) -> Any:
    """Arithmetic in which a dimension is a number: a Number where only Python scalars meet it, else a node."""
    if all(type(v) in WEAK for v in operands):
        whole = Whole in map(type, operands) and float not in [WEAK[type(v)] for v in operands]
        out = FUNCTIONS[name](*(convert(v, int64 if whole else float64) for v in operands))
        return {float64: Number, int64: Whole}.get(out.dtype, lambda node: node)(out)
    return FUNCTIONS[name](*operands)


def _array_ufunc(self: Node, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    if method != "__call__" or kwargs:
        raise DeclarationError(f"np.{ufunc.__name__}: {method} and keywords {sorted(kwargs)} do not apply to nodes")
    return _numpy_function(ufunc.__name__)(*args)


def _dimension_ufunc(self: Poly, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """NumPy's functions of dimensions: those of integers give a dimension again."""
    short = {name: short for short, name in _OPERATORS.items()}.get(OTHER_NAMES.get(ufunc.__name__, ufunc.__name__))
    if short in ("add", "sub", "mul", "floordiv", "mod") and all(isinstance(a, (Poly, np.integer)) for a in args):
        first, second = (a if isinstance(a, Poly) else int(a) for a in args)
        return getattr(operator, short)(first, second)
    return _array_ufunc(convert(self), ufunc, method, *args, **kwargs)


def _array_function(self: Node, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return _numpy_function(function.__name__, function.__module__)(*args, **kwargs)


def _numpy_function(name: str, module: str = "numpy") -> Callable[..., Any]:
    given, name = name, OTHER_NAMES.get(name, name)
    if name not in FUNCTIONS:
        raise DeclarationError(f"{module.replace('numpy', 'np', 1)}.{given} has no counterpart in graphc")
    return FUNCTIONS[name]


def _array(self: Node, *args: Any, **kwargs: Any) -> Any:
    raise DeclarationError(
        f"{describe(self)} has no value while the graph is declared; compile it: gc.compile([...], node)"
    )


def _length(self: Node) -> int:
    if not self.shape or isinstance(self.shape[0], Poly):
        says = "has no len(): its first dimension is not a fixed number; x.shape[0] is one to compute with"
        raise DeclarationError(f"{describe(self)} {says}\n  at {users_line()}")
    return int(self.shape[0])


def _no_number(self: Poly | Number) -> Any:
    what = f"the dimension {self}" if isinstance(self, Poly) else "this number"
    advice = "arithmetic with floats and nodes takes it as it is, gc.arange and shapes take dimensions"
    raise DeclarationError(
        f"{what} is known at the call only, so it is no int or float while the graph is declared, and no length of a "
        f"range or list; {advice}\n  at {users_line()}"
    )


def _no_truth(self: Poly | Number) -> bool:
    what = f"the dimension {self}" if isinstance(self, Poly) else "this number"
    advice = f"write gc.where({self if isinstance(self, Poly) else 'number'} > 0, a, b)"
    raise DeclarationError(
        f"{what} is known at the call only, so it can't decide an `if` or `while`; {advice}\n  at {users_line()}"
    )


def _state(node: Node) -> State:
    if node.op.name != "parameter":
        raise PropertyError(f"only parameters have a value; {describe(node)}")
    state: State = node.attrs["state"]
    return state


def _value(self: Node) -> np.ndarray[Any, Any]:
    """A copy of a parameter's value at this moment; PropertyError for other nodes.

    >>> import graphc as gc
    >>> gc.parameter("w", [1.0, 2.0]).value
    array([1., 2.])
    """
    return _state(self).read()


def _assign(self: Node, value: Any) -> None:
    """Set a parameter to a value of its shape, whose dtype casts safely; Python numbers take the parameter's dtype.

    Raises ShapeError or DTypeError for a value that does not fit, PropertyError for other nodes.

    >>> import graphc as gc
    >>> w = gc.parameter("w", [1.0, 2.0])
    >>> w.assign([3, 4])
    >>> w.value
    array([3., 4.])
    """
    state, array, name = _state(self), as_array(value), f"parameter {self.name!r}"
    if array.shape != state.array.shape:
        raise ShapeError(f"{name} has shape {shape_text(self.shape)}; it can't be assigned {shape_text(array.shape)}")
    if not np.can_cast(array.dtype, state.array.dtype, "safe") and not _is_weak(value, array, state.array.dtype):
        raise DTypeError(f"{name} is {self.dtype}, got {array.dtype}; write w.assign(a.astype({str(self.dtype)!r}))")
    state.write(array)


def _is_weak(value: Any, array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> bool:
    """Whether `value` is made of Python scalars, which take the dtype they meet."""
    fits = dtype.kind == "f" or (dtype.kind in "iu" and array.dtype.kind in "iub")
    return fits and not isinstance(value, (np.ndarray, np.generic))


def _setitem(self: Node, key: Any, value: Any) -> None:
    raise DeclarationError(
        f"{describe(self)} does not change; write x = x.at[key].set(value), or .add(value) for x[key] += value\n"
        f"  at {users_line()}"
    )


def _getitem(self: Node, key: Any) -> Node:
    result: Node = FUNCTIONS["getitem"](self, key)
    return result


_attach_operators()
Poly.beyond = staticmethod(lambda short, first, second: _with_number(_OPERATORS[short], first, second))
Poly.__array_ufunc__ = _dimension_ufunc  # type: ignore[attr-defined]
Number.__array_ufunc__ = _array_ufunc  # type: ignore[attr-defined]
for _kind in (Poly, Number):
    for _name in ("int", "float", "index", "len"):
        setattr(_kind, f"__{_name}__", _no_number)
    _kind.__bool__ = _no_truth  # type: ignore[union-attr]
Number.__getitem__ = lambda self, key: self.node[key]  # type: ignore[misc]
Poly.__abs__ = lambda self: FUNCTIONS["abs"](self)  # type: ignore[attr-defined]
for _divided in (Node, Poly, Number):
    for _name, _pair in {
        "__divmod__": lambda self, other: (self // other, self % other),
        "__rdivmod__": lambda self, other: (other // self, other % self),
    }.items():
        setattr(_divided, _name, _pair)
for _name, _method in {
    "__array_ufunc__": _array_ufunc,
    "__array_function__": _array_function,
    "__array__": _array,
    "__float__": _array,
    "__int__": _array,
    "__index__": _array,
    "__len__": _length,
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    "at": property(At, doc=At.__doc__),
    "value": property(_value),
    "assign": _assign,
}.items():
    setattr(Node, _name, _method)
