"""Declaring graphs: leaves, what becomes a node, public functions made from the op records.

In: what a user writes.  Out: nodes.  FUNCTIONS holds every public function by name; BUILDER hands them to the records.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.dims import Poly
from graphc.errors import DeclarationError, DTypeError, GraphcError, ShapeError
from graphc.graph import Node, describe, make
from graphc.line import users_line
from graphc.literal import Identity, Literal
from graphc.op import REGISTRY, Op
from graphc.state import State
from graphc.types import DType, TensorType, as_dtype, as_shape, bool_, float64, float_for, int64

FUNCTIONS: dict[str, Callable[..., Any]] = {}
OWN_OPS = frozenset(REGISTRY.values())  # those that graphc's sources define, and no user


def input(name: str, shape: Any, dtype: Any = float64) -> Node:
    """A value given at each call: an array of this shape and dtype.

    A call gives it by `name`, and errors name it.  A string in `shape` is a symbolic dimension: an int >= 0 that is
    known at the call, the same wherever it stands.

    Raises DeclarationError for an empty name, ShapeError for what is no dimension, DTypeError for an unknown dtype.

    >>> input("x", ("batch", 784), "float32")
    <input 'x': float32[batch, 784] (declared at ...)>
    """
    attrs = {"name": as_name(name), "type": TensorType(as_dtype(dtype), as_shape(shape)), "identity": Identity()}
    return make(REGISTRY["input"], (), attrs)


def parameter(name: str, value: Any, dtype: Any = None) -> Node:
    """State with a value: compiled functions read it, updates write it; `value` copies it out, read-only, `assign` in.

    `name` stands in errors and files of weights.  Without `dtype` the value decides it; shape and dtype never change.

    Raises DTypeError if `dtype` does not hold the value (floats may be rounded to a float dtype), ShapeError for rows
    that differ in length, DeclarationError for an empty name or a node.

    >>> w = parameter("w", [1.0, 2.0])
    >>> w.assign([3.0, 4.0])
    >>> w.value
    array([3., 4.])
    """
    array = as_array(value, None if dtype is None else as_dtype(dtype))
    state = State(as_name(name), array)
    attrs = {"name": name, "type": TensorType(as_dtype(array.dtype), array.shape), "state": state}
    return make(REGISTRY["parameter"], (), attrs)


def constant(value: Any, dtype: Any = None) -> Node:
    """A value that never changes; `dtype` is taken from the value where it is not given.

    Raises DTypeError if `dtype` does not hold the value (floats may be rounded to a float dtype), ShapeError for rows
    that differ in length, DeclarationError for a node.

    >>> constant([[1, 2], [3, 4]])
    <constant(...): int64[2, 2] (declared at ...)>
    """
    array = as_array(value, None if dtype is None else as_dtype(dtype))
    return make(REGISTRY["constant"], (), {"value": Literal(array)})


def as_name(name: Any) -> str:
    """A name that files, texts and errors can hold."""
    if not isinstance(name, str) or not name:
        raise DeclarationError(f"a name is a non-empty string, got {name!r}")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in name):
        raise DeclarationError(f"a name holds neither NUL nor lone surrogates, which no file can, got {name!a}")
    return name


def as_array(value: Any, dtype: DType | None = None) -> np.ndarray[Any, Any]:
    """`value` as a native array of a supported dtype, with an error that says what is wrong with it."""
    if isinstance(value, Node):
        raise DeclarationError(f"a value is wanted here, not the node {describe(value)}")
    refuse_masked(value)
    try:
        array = np.asarray(value)
    except GraphcError:  # there is a node among the values, and it said so
        raise
    except ValueError as error:
        raise ShapeError(f"the value is not an array: its rows differ in length ({error})") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"values of dtype {array.dtype} are not supported")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if dtype is None:
        as_dtype(array.dtype)
        return array
    return _held(value, array, dtype)


def _held(value: Any, array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    """`array` in another dtype: floats round, integers and bool must hold every value exactly."""
    if dtype.is_float or array.dtype == dtype.numpy or array.dtype.kind == "b":
        return array.astype(dtype.numpy)
    if array.dtype.kind == "f" and not isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value, object)  # NumPy makes floats of ints from 2**63 on that stand beside others
    limits = None if dtype == bool_ else np.iinfo(dtype.numpy)
    low, end = (0, 2) if limits is None else (limits.min, limits.max + 1)
    with np.errstate(invalid="ignore"):
        fits = (array >= low) & (array < end) & (array % 1 == 0)
    if not np.all(fits):
        wrong = array[np.logical_not(fits)].flat[0]
        advice = f"write np.asarray(value).astype({dtype.name!r}) if another value is meant"
        raise DTypeError(f"{dtype} does not hold {wrong}; {advice}\n  at {users_line()}")
    return array.astype(dtype.numpy)


class Number:
    """A Python float that the call knows: a dimension in arithmetic with floats, a Python float that a loop carries.

    It is computed in float64, and is as weak as a Python float: it takes the dtype of the arrays it meets.
    """

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __repr__(self) -> str:
        return f"<number that the call knows (declared at {self.node.line})>"

    def __getattr__(self, name: str) -> Any:
        """What else a node has."""
        if name.startswith("_") or name == "node":
            raise AttributeError(name)
        return getattr(self.node, name)


class Whole(Number):
    """A Number that is a Python int: what stands for one among the carries of a loop."""

    __slots__ = ()


def as_weak_as(value: Any, node: Node) -> Any:
    """The node as weak as the value that it stands for: a Number for a Python number, else itself."""
    kind = WEAK.get(type(value))
    return Number(node) if kind is float else Whole(node) if kind is int else node


WEAK = {bool: bool, int: int, float: float, Poly: int, Number: float, Whole: int}  # none of these widens what it meets


def refuse_masked(value: Any) -> None:
    """Raise DTypeError for a masked array, alone or in lists: NumPy's conversion would drop the mask in silence."""
    if isinstance(value, (list, tuple)):
        if not set(map(type, value)) <= WEAK.keys():  # a long list of numbers is told at once
            for v in value:
                refuse_masked(v)
    elif "numpy.ma" in sys.modules and isinstance(value, np.ma.MaskedArray):  # importing it takes 10 ms
        raise DTypeError("the value is a masked array, and masks are not kept; write value.filled(0.0), or what fits")


def convert(value: Any, weak: DType | None = None) -> Node:
    """A node for `value`; a Python scalar, a dimension and a Number take the dtype `weak`."""
    if isinstance(value, Node):
        value.type  # noqa: B018  (a node with several results is refused here)
        return value
    if isinstance(value, Poly):
        dtype = int64 if weak in (None, bool_) else weak
        place = make(REGISTRY["_iota"], (), {"start": value, "size": 1, "dtype": dtype})
        value = make(REGISTRY["reshape"], (place,), {"shape": ()})
        return value if weak is None else astype(value, weak)
    if isinstance(value, Number):
        return astype(value.node, weak or value.node.dtype)
    if weak is not None and _is_plain(value, weak):
        return make(REGISTRY["constant"], (), {"value": _literal(repr(value), weak)})
    if type(value) in WEAK and weak is not None:
        return constant(_checked(value, weak), weak)
    return constant(value)


_EXACT = 2**53  # up to which a float64 has every integer


def _is_plain(value: Any, dtype: DType) -> bool:
    """Whether its text tells all of a Python number: not of a NaN, which may have a sign."""
    if type(value) is int:
        return dtype.is_float and abs(value) <= _EXACT
    return type(value) is float and value == value


@lru_cache(maxsize=1024)
def _literal(text: str, dtype: DType) -> Literal:
    """The value of a Python number by its text, which -0.0 does not share: a program has the same ones often."""
    return Literal(as_array(float(text), dtype))


def _checked(value: Any, dtype: DType) -> Any:
    if dtype.is_integer and type(value) is int:
        limits = np.iinfo(dtype.numpy)
        if not limits.min <= value <= limits.max:
            raise DTypeError(f"the Python int {value} does not fit {dtype}")
    return value


def _strong(values: Sequence[Any]) -> list[Any]:
    return [v if isinstance(v, Node) or type(v) in WEAK else constant(v) for v in values]


def _met(values: Sequence[Any], dtypes: Sequence[str] = ()) -> DType:
    """The dtype in which nodes and Python scalars meet, with further dtypes by name."""
    kinds = [v.dtype.name if isinstance(v, Node) else WEAK[type(v)] for v in values]
    return _meeting(tuple(dict.fromkeys([*dtypes, *kinds])))


@lru_cache(maxsize=1024)
def _meeting(kinds: tuple[str | type, ...]) -> DType:
    """The dtype in which dtypes, by name, and types of Python scalars meet: of those the value does not matter."""
    return as_dtype(np.result_type(*(np.dtype(k) if isinstance(k, str) else k(1) for k in kinds)))


def result_type(*values: Any) -> DType:
    """The dtype in which the `values`, nodes, arrays, dtypes and Python scalars, meet, as NumPy 2 has it.

    Raises DeclarationError without values, DTypeError for values of a dtype that there is not.

    >>> result_type(input("a", (), "float32"), 1.0)
    graphc.float32
    """
    if not values:
        raise DeclarationError("result_type takes at least one value")
    dtypes = [as_dtype(v).name for v in values if isinstance(v, _DTYPE_NAMES)]
    return _met(_strong([v for v in values if not isinstance(v, _DTYPE_NAMES)]), dtypes)


_DTYPE_NAMES = (DType, np.dtype, type, str)


def promoted(*values: Any, dtype: DType | None = None) -> tuple[Node, ...]:
    """Nodes of one dtype: `dtype`, or the one in which the values meet."""
    nodes = _strong(values)
    return _in_dtype(nodes, dtype or _met(nodes))


def _in_dtype(values: Sequence[Any], dtype: DType) -> tuple[Node, ...]:
    return tuple([v if isinstance(v, Node) and v.dtype is dtype else astype(convert(v, dtype), dtype) for v in values])


def floating(*values: Any) -> tuple[Node, ...]:
    """Nodes of one float dtype: the one in which the values meet, float64 for integers and bool."""
    nodes = _strong(values)
    return _in_dtype(nodes, float_for(_met(nodes)))


def astype(x: Any, dtype: Any) -> Node:
    """The node itself if it has the dtype, else its conversion."""
    node, dtype = convert(x), as_dtype(dtype)
    if node.dtype == dtype:
        return node
    if node.op.name == "constant":
        return constant(node.attrs["value"].array.astype(dtype.numpy))
    return make(REGISTRY["astype"], (node,), {"dtype": dtype})


def is_declared(value: Any) -> bool:
    """Whether a value is known at the call alone: a node, a dimension, or a number made of dimensions."""
    return isinstance(value, (Node, Poly, Number))


def holds_node(values: Any) -> bool:
    """Whether lists hold what is declared, at any depth."""
    return any(holds_node(v) if isinstance(v, (list, tuple)) else is_declared(v) for v in values)


class Builder:
    """What the records build expressions with: every public function by name, and the helpers below."""

    convert = staticmethod(convert)
    constant = staticmethod(constant)
    astype = staticmethod(astype)
    holds_node = staticmethod(holds_node)
    is_declared = staticmethod(is_declared)
    promoted = staticmethod(promoted)
    floating = staticmethod(floating)
    result_type = staticmethod(result_type)

    @staticmethod
    def primitive(name: str, operands: Sequence[Node], **attrs: Any) -> Node:
        """The node of the primitive `name` on nodes."""
        return make(REGISTRY[name], operands, attrs)

    def __getattr__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(f"no op is called {name!r}")
        return FUNCTIONS[name]


BUILDER = Builder()


def public_function(op: Op) -> Callable[..., Any]:
    """The function that users call: `op.define` with the builder filled in, and errors that name the operands."""
    define = op.define
    assert define is not None
    parameters = list(inspect.signature(define).parameters.values())[1:]
    signature = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])

    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return define(BUILDER, *args, **kwargs)
        except TypeError as error:
            if isinstance(error, GraphcError):
                raise _with_operands(op, args, error) from None
            raise _arity_error(op, signature, args, kwargs) or error from None
        except GraphcError as error:
            raise _with_operands(op, args, error) from None

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.doc
    function.__module__ = "graphc"
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _arity_error(op: Op, signature: inspect.Signature, args: Any, kwargs: Any) -> GraphcError | None:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return DeclarationError(f"{op.name}: {error}; its signature is {op.name}{signature}\n  at {users_line()}")
    return None


def _with_operands(op: Op, args: Any, error: GraphcError) -> GraphcError:
    text = str(error)
    if "\n  at " in text:  # the primitive has told already; say which public call it came from
        told = text.startswith(f"{op.name}:") or " in gc." in text
        return error if told else type(error)(f"{text}\n  in gc.{op.name}")
    rows = "".join(f"\n  operand {k}: {describe(a)}" for k, a in enumerate(args) if isinstance(a, Node))
    head = "" if text.startswith(f"{op.name}:") else f"{op.name}: "
    return type(error)(f"{head}{text}{rows}\n  at {users_line()}")


FUNCTIONS.update({op.name: public_function(op) for op in REGISTRY.values() if op.define and op.name[0] != "_"})
