"""Types of nodes: a dtype and a shape; promotion as in NumPy 2, broadcasting with symbolic dimensions.

In: dtypes and shapes as a user writes them.  Out: TensorType values, and the constraints that a declaration could
not decide (two symbols that must be equal) for the call to check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np

from graphc.dims import Dim, Poly, evaluate, same, symbol
from graphc.errors import DeclarationError, DTypeError, ShapeError

Shape = tuple[Dim, ...]


@dataclass(frozen=True, eq=False)
class DType:
    """An element type: `name` as in NumPy, `kind` one of f i u b, `size` in bytes.

    It is equal to whatever names it: another DType, a name, a NumPy dtype or scalar type, float, int and bool.  In
    dicts and sets it is found by its name, "float64"; other names of it, such as "f8", have hashes of their own.

    >>> float64 == "float64", float64 == np.float64, {float64: 8}["float64"]
    (True, True, 8)
    """

    name: str
    kind: str
    size: int

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The same, by the name under which NumPy looks for it where it is given a dtype."""
        return self.numpy

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, DType):
            return self.name == other.name
        if not isinstance(other, (str, type, np.dtype)):
            return NotImplemented
        try:
            return self.name == as_dtype(other).name
        except (DTypeError, ValueError, SyntaxError):  # NumPy parses names
            return False

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"graphc.{self.name}"


DTYPES = {
    d.name: d
    for d in (
        *(DType(f"float{8 * n}", "f", n) for n in (4, 8)),
        *(DType(f"int{8 * n}", "i", n) for n in (1, 2, 4, 8)),
        *(DType(f"uint{8 * n}", "u", n) for n in (1, 2, 4, 8)),
        DType("bool", "b", 1),
    )
}
_NATIVE = {d.numpy: d for d in DTYPES.values()}
float32, float64 = DTYPES["float32"], DTYPES["float64"]
int8, int16, int32, int64 = (DTYPES[f"int{n}"] for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DTYPES[f"uint{n}"] for n in (8, 16, 32, 64))
bool_ = DTYPES["bool"]
FLOATS = (float32, float64)
SIGNED = (int8, int16, int32, int64)
INTEGERS = (*SIGNED, uint8, uint16, uint32, uint64)


def as_dtype(value: Any) -> DType:
    """The DType that `value` (a DType, a NumPy dtype, a name, float, int or bool) names."""
    if isinstance(value, DType):
        return value
    if isinstance(value, np.dtype) and value in _NATIVE:
        return _NATIVE[value]
    try:
        name = np.dtype(value).name
        native = np.dtype(value).isnative
    except TypeError:
        name, native = repr(value), True
    if name not in DTYPES:
        raise DTypeError(f"dtype {name} is not supported; graphc has {', '.join(DTYPES)}")
    if not native:
        raise DTypeError(f"dtype {np.dtype(value).str!r} is byte-swapped; write {name!r}")
    return DTYPES[name]


def float_for(dtype: DType) -> DType:
    """The float dtype in which a float function of `dtype` is computed, as NumPy has it (float64 for integers)."""
    return dtype if dtype.is_float else float64


@dataclass(frozen=True)
class TensorType:
    """The dtype and shape of one result of a node."""

    dtype: DType
    shape: Shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def _text(self) -> str:
        return f"{self.dtype}{shape_text(self.shape)}"

    def __str__(self) -> str:
        return self._text


@dataclass(frozen=True)
class Constraint:
    """`left relation right` must hold at the call (relation "==" or ">="); `text` says why."""

    left: Dim
    relation: str
    right: Dim
    text: str

    def broken(self, sizes: Mapping[str, int]) -> str:
        """What does not hold where symbols have these sizes; "" where it holds."""
        left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        if left == right if self.relation == "==" else left >= right:
            return ""
        asked = f"{self.text}: {self.left} {self.relation} {self.right} must hold"
        return f"{asked}, but with {sizes_text(sizes)} that is {left} {self.relation} {right}"


def sizes_text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{k} = {v}" for k, v in sorted(sizes.items())) or "these inputs"


def shape_text(shape: Sequence[Dim]) -> str:
    return "[" + ", ".join(str(d) for d in shape) + "]"


def as_dim(value: Any) -> Dim:
    """A dimension as a user writes it: an int >= 0, the name of a symbol, or an expression of dimensions."""
    if isinstance(value, Poly):
        return value
    if isinstance(value, str):
        if not value.isidentifier():
            raise DeclarationError(f"{value!r} can't name a dimension: write an identifier such as 'batch'")
        return symbol(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if value < 0:
            raise ShapeError(f"a dimension must be >= 0, got {value}")
        return int(value)
    raise ShapeError(f"a dimension is an int, or a name such as 'batch' for one that the call knows, got {value!r}")


def as_shape(value: Any) -> Shape:
    """A shape as a user writes it: a dimension or a sequence of dimensions."""
    if isinstance(value, (int, str, Poly, np.integer)):
        value = (value,)
    try:
        items = tuple(value)
    except TypeError:
        raise ShapeError(f"a shape is a sequence of dimensions, got {value!r}") from None
    return tuple(as_dim(d) for d in items)


class DoesNotBroadcast(Exception):
    """Two dimensions that can't be broadcast together, seen before the operands' names are known."""


def broadcast_dims(p: Dim, q: Dim, found: list[Constraint]) -> Dim:
    """The dimension that p and q broadcast to; what can't be decided is added to `found`.

    Only a literal 1 broadcasts: a symbol never silently stands for 1.
    """
    if p == 1:
        return q
    if q == 1:
        return p
    equal = same(p, q)
    if equal is False:
        raise DoesNotBroadcast
    if equal is None:
        found.append(Constraint(p, "==", q, "dimensions that meet elementwise must be equal"))
    return q if isinstance(q, int) else p


def broadcast(shapes: Sequence[Shape], found: list[Constraint]) -> Shape:
    """The shape that all shapes broadcast to, as in NumPy; undecided equalities are added to `found`."""
    if shapes and shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = [1] * rank
    for shape in shapes:
        for k, d in enumerate(shape, start=rank - len(shape)):
            out[k] = broadcast_dims(out[k], d, found)
    return tuple(out)


def is_int(value: object) -> TypeGuard[int]:
    """Whether a value is an int, Python's or NumPy's, and no bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def normalize_axis(axis: Any, ndim: int, what: str) -> int:
    """`axis` as an int in [0, ndim); `what` names the op in the error."""
    if not is_int(axis):
        raise ShapeError(f"{what}: an axis is an int, got {axis!r}")
    if not -ndim <= axis < ndim:
        allowed = f"from {-ndim} to {ndim - 1}" if ndim else "none, since the operand is 0-d"
        raise ShapeError(f"{what}: axis {axis} does not exist; allowed are {allowed}")
    return int(axis) % ndim


def normalize_axes(axis: Any, ndim: int, what: str) -> tuple[int, ...]:
    """`axis` (None for all, an int, or ints) as sorted distinct ints in [0, ndim)."""
    if axis is None:
        return tuple(range(ndim))
    axes = [normalize_axis(a, ndim, what) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{what}: axis {axis} names an axis twice")
    return tuple(sorted(axes))
